//! Parquet and Arrow files, written and read back.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    DictionaryArray, Float32Array, Int32Array, Int64Array, LargeStringArray, StringArray, TimestampMillisecondArray,
    UInt64Array,
};

use super::*;
use crate::connector::columns::{ArrowReader, ParquetReader};
use crate::connector::format::decoder;
use crate::connector::format::encode::jsonl::Meta;
use crate::connector::partition::{BlockReader, Polled};
use crate::connector::sink::{Destination, OutputStream, Route, Sink, Start, open};
use crate::connector::spec::{FileFormat, OutputFormat};
use crate::data::array::{array_of_values, value_at};
use crate::data::{Batch, DataType, Field, Schema, Type, Value};

fn source_type(name: &str, fields: &[(&str, DataType)]) -> SourceType {
    let schema = Schema::new(fields.iter().map(|(name, ty)| Field::new(*name, ty.clone())).collect());
    let declared = schema.fields.iter().map(|f| f.name.clone()).collect();
    SourceType {
        is_read: true,
        name: name.to_string(),
        time_units: vec![None; schema.len()],
        schema,
        time: None,
        sampled: false,
        declared,
    }
}

fn decode(types: Vec<SourceType>, columns: Vec<(&str, ArrayRef)>) -> Decoded {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let block = Block { position: 100, data: BlockData::Rows(batch), ..Block::default() };
    decoder(FileFormat::Arrow, &DecoderConfig { types }).decode(&block)
}

#[test]
fn columns_are_read_in_our_types() {
    let mut ty = source_type(
        "Trade",
        &[
            ("at", Type::Timestamp.required()),
            ("symbol", Type::Str.required()),
            ("price", Type::Float.required()),
            ("volume", Type::Int.optional()),
            ("note", Type::Str.optional()),
            ("seen", Type::Timestamp.optional()),
        ],
    );
    ty.time_units[5] = Some(TimeUnit::Seconds);
    let symbols: DictionaryArray<arrow_array::types::Int8Type> = vec!["a", "b", "a"].into_iter().collect();
    let decoded = decode(
        vec![ty],
        vec![
            ("at", Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3]).with_timezone("+02:00"))),
            ("symbol", Arc::new(symbols)),
            ("price", Arc::new(Float32Array::from(vec![0.5, 1.5, 2.5]))),
            ("volume", Arc::new(Int32Array::from(vec![Some(7), None, Some(-7)]))),
            ("seen", Arc::new(Int64Array::from(vec![10, 20, 30]))),
            ("extra", Arc::new(LargeStringArray::from(vec!["x", "y", "z"]))),
        ],
    );
    assert!(decoded.malformed.is_empty(), "{:?}", decoded.malformed);
    assert_eq!(decoded.unknown_fields, ["extra"]);
    let rows = &decoded.types[0];
    assert_eq!(rows.positions, [100, 101, 102]);
    let value = |column: usize, ty: Type, row| value_at(&rows.columns[column], &ty.optional(), row);
    assert_eq!(value(0, Type::Timestamp, 1), Value::Timestamp(2_000_000));
    assert_eq!(value(1, Type::Str, 2), Value::str("a"));
    assert_eq!(value(2, Type::Float, 0), Value::Float(0.5));
    assert_eq!((value(3, Type::Int, 1), value(3, Type::Int, 2)), (Value::Null, Value::Int(-7)));
    assert_eq!((value(4, Type::Str, 0), value(5, Type::Timestamp, 0)), (Value::Null, Value::Timestamp(10_000_000_000)));
}

#[test]
fn each_row_is_malformed_by_its_first_fault() {
    let types = vec![source_type(
        "T",
        &[
            ("n", Type::Int.required()),
            ("at", Type::Timestamp.optional()),
            ("tags", Type::List(Box::new(Type::Timestamp.required())).optional()),
        ],
    )];
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("2026-01-01")]);
    tags.append_null();
    tags.append_value([Some("2026-01-01"), None]);
    tags.append_value::<[Option<&str>; 0], &str>([]);
    tags.append_value([Some("never")]);
    let decoded = decode(
        types,
        vec![
            ("n", Arc::new(UInt64Array::from(vec![Some(1), Some(u64::MAX), Some(3), None, Some(5)]))),
            ("at", Arc::new(StringArray::from(vec!["2026-01-01T00:00:00Z", "x", "2026-01-01", "x", "2026-01-01"]))),
            ("tags", Arc::new(tags.finish())),
        ],
    );
    let found: Vec<_> = decoded.malformed.iter().map(|m| (m.position, m.reason, m.detail.as_str())).collect();
    let expected = [
        (101, MalformedReason::WrongType, "field `n` is an int, expected int"),
        (102, MalformedReason::MissingField, "field `tags` is null"),
        (103, MalformedReason::MissingField, "field `n` is null"),
        (104, MalformedReason::WrongType, "field `tags` is a string, expected [timestamp]"),
    ];
    assert_eq!(found, expected);
    assert_eq!(decoded.types[0].positions, [100]);
    assert_eq!(decoded.rows, 5);
    let raw = String::from_utf8(decoded.malformed[2].raw.clone()).unwrap();
    assert_eq!(raw, "{n: null, at: x, tags: []}");
}

#[test]
fn rows_are_told_apart_by_their_tag() {
    let types =
        || vec![source_type("A", &[("x", Type::Int.required())]), source_type("B", &[("y", Type::Str.required())])];
    let columns = |tag: &'static str| -> Vec<(&str, ArrayRef)> {
        vec![
            (tag, Arc::new(StringArray::from(vec![Some("A"), Some("B"), Some("C"), None]))),
            ("x", Arc::new(Int64Array::from(vec![Some(1), None, None, Some(4)]))),
            ("y", Arc::new(StringArray::from(vec![None, Some("b"), None, None]))),
        ]
    };
    let decoded = decode(types(), columns("event_type"));
    assert_eq!((&decoded.types[0].positions[..], &decoded.types[1].positions[..]), (&[100][..], &[101][..]));
    assert_eq!(decoded.other_types, [("C".to_string(), 1)]);
    assert_eq!(decoded.malformed[0].detail, "no `event_type`");
    // `type` is a tag only where it names one of the types.
    let decoded = decode(types(), columns("type"));
    assert_eq!((decoded.types[1].positions.len(), decoded.malformed.len()), (1, 2));
    // With one type, rows without a tag are of that type.
    let decoded = decode(types()[..1].to_vec(), columns("event_type"));
    assert_eq!(decoded.types[0].positions, [100, 103]);
}

/// A schema with every type, and rows for it.
fn every_type() -> (Schema, Batch) {
    let record =
        Type::Record([Field::new("p", Type::Timestamp.required()), Field::new("q", Type::Str.optional())].into());
    let columns = [
        ("i", Type::Int.required(), vec![Value::Int(1), Value::Int(-2)]),
        ("f", Type::Float.optional(), vec![Value::Float(0.1), Value::Null]),
        ("b", Type::Bool.optional(), vec![Value::Null, Value::Bool(true)]),
        ("s", Type::Str.required(), vec![Value::str(""), Value::str("é")]),
        ("t", Type::Timestamp.required(), vec![Value::Timestamp(1), Value::Timestamp(-1)]),
        ("d", Type::Duration.optional(), vec![Value::Duration(5), Value::Null]),
        (
            "l",
            Type::List(Box::new(Type::Duration.optional())).optional(),
            vec![Value::List(vec![Value::Duration(1), Value::Null]), Value::Null],
        ),
        (
            "m",
            Type::Map(Box::new(Type::Float.required())).required(),
            vec![Value::Map(vec![("k".into(), Value::Float(1.5))]), Value::Map(vec![])],
        ),
        ("r", record.optional(), vec![Value::Record(vec![Value::Timestamp(9), Value::Null]), Value::Null]),
    ];
    let schema = Schema::new(columns.iter().map(|(name, ty, _)| Field::new(*name, ty.clone())).collect());
    let columns = columns.iter().map(|(_, ty, values)| array_of_values(ty, values)).collect();
    (schema, Batch { columns, time: vec![0, 1].into(), ..Batch::default() })
}

#[test]
fn what_is_written_to_parquet_and_arrow_reads_back() {
    let (schema, batch) = every_type();
    let dir = tempfile::tempdir().unwrap();
    for (format, name) in [(OutputFormat::Parquet, "out.parquet"), (OutputFormat::Arrow, "out.arrow")] {
        let path = dir.path().join(name).to_str().unwrap().to_string();
        let stream = OutputStream { name: "Out".into(), schema: schema.clone() };
        let Sink::Batches(mut sink) =
            open(&Route::new(Destination::of(&path), format, Meta::Shown), &[stream], &Start::Anew).unwrap()
        else {
            panic!("columns are written in batches")
        };
        for _ in 0..3 {
            sink.write(0, &batch).unwrap();
        }
        sink.flush().unwrap();
        assert!(!std::fs::exists(&path).unwrap(), "half of a file is not to be seen");
        sink.finish().unwrap();
        let fields: Vec<_> = schema.fields.iter().map(|f| (f.name.as_str(), f.data_type.clone())).collect();
        let config = DecoderConfig { types: vec![source_type("Out", &fields)] };
        let mut reader: Box<dyn BlockReader> = match format {
            OutputFormat::Parquet => Box::new(ParquetReader::open(&path).unwrap()),
            _ => Box::new(ArrowReader::open(&path).unwrap()),
        };
        let Polled::Block(block) = reader.poll_block().unwrap() else { panic!("there are rows") };
        let decoded = ColumnarDecoder::new(&config).decode(&block);
        assert!(decoded.failed.is_none() && decoded.malformed.is_empty(), "{decoded:?}");
        assert!(matches!(reader.poll_block().unwrap(), Polled::End));
        assert_eq!((reader.position(), decoded.types[0].positions.len()), (6, 6));
        for (i, field) in schema.fields.iter().enumerate() {
            let found = &decoded.types[0].columns[i];
            for row in 0..6 {
                let expected = value_at(&batch.columns[i], &field.data_type, row % 2);
                assert_eq!(value_at(found, &field.data_type, row), expected, "{name} {}", field.name);
            }
        }
    }
}

#[test]
fn parts_of_a_row_group_join_to_the_whole() {
    let (schema, batch) = every_type();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.parquet").to_str().unwrap().to_string();
    let stream = OutputStream { name: "Out".into(), schema: schema.clone() };
    let Sink::Batches(mut sink) =
        open(&Route::new(Destination::of(&path), OutputFormat::Parquet, Meta::Shown), &[stream], &Start::Anew).unwrap()
    else {
        panic!("columns are written in batches")
    };
    (0..50).for_each(|_| sink.write(0, &batch).unwrap());
    sink.finish().unwrap();
    let config = DecoderConfig { types: vec![source_type("Out", &[("i", Type::Int.required())])] };
    let mut decoder = ColumnarDecoder::new(&config);
    let mut reader = ParquetReader::open(&path).unwrap();
    reader.set_target_bytes(100);
    let (mut ints, mut blocks, mut unknown) = (Vec::new(), 0, Vec::new());
    while let Polled::Block(block) = reader.poll_block().unwrap() {
        let decoded = decoder.decode(&block);
        unknown.extend(decoded.unknown_fields);
        let column = &decoded.types[0].columns[0];
        ints.extend((0..column.len()).map(|row| value_at(column, &Type::Int.required(), row)));
        blocks += 1;
    }
    assert!(blocks > 1);
    let expected: Vec<Value> = (0..100).map(|i| Value::Int(if i % 2 == 0 { 1 } else { -2 })).collect();
    assert_eq!(ints, expected);
    assert_eq!(unknown, ["b", "d", "f", "l", "m", "r", "s", "t"]);
    reader.seek(0).unwrap();
    let Polled::Block(block) = reader.poll_block().unwrap() else { panic!("there are rows") };
    assert_eq!(read_rows(&block).unwrap().unwrap().num_columns(), schema.len());
    reader.seek(7).unwrap();
    let Polled::Block(block) = reader.poll_block().unwrap() else { panic!("there are rows") };
    assert_eq!((block.position, decoder.decode(&block).types[0].positions[0]), (7, 7));
}

#[test]
fn a_damaged_file_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.parquet").to_str().unwrap().to_string();
    std::fs::write(&path, b"PAR1 and so on").unwrap();
    assert!(matches!(ParquetReader::open(&path).err(), Some(ReadError::Corrupt { .. })));
    let data = BlockData::RowGroup { path, row_group: 0, first: 0, rows: 1 };
    let decoded = ColumnarDecoder::new(&DecoderConfig { types: vec![] }).decode(&Block { data, ..Block::default() });
    assert!(decoded.failed.is_some());
}
