//! Samples of each format, and that no row of a sample contradicts what was made of it.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::connector::MalformedReason;
use crate::connector::format::{DecoderConfig, decoder};
use crate::connector::spec::SourceType;

fn block(text: &str, header: Option<&str>) -> Block {
    let context = match header {
        Some(header) => {
            let names = header.split(',').map(String::from).collect();
            BlockContext::Header(Arc::new(CsvHeader { names, delimiter: b',', lines: 1 }))
        }
        None => BlockContext::Nothing,
    };
    Block { context, data: BlockData::Bytes(text.as_bytes().to_vec()), ..Block::default() }
}

fn sampler(names: &[&str], block: &Block) -> Sampler {
    let format = match &block.context {
        BlockContext::Header(_) => FileFormat::Csv { delimiter: None },
        BlockContext::Nothing | BlockContext::Time(_) => FileFormat::Jsonl,
    };
    let mut sampler = Sampler::new(format, names.iter().map(|n| n.to_string()).collect());
    sampler.add(block);
    sampler
}

fn shown(ty: &SampledType) -> String {
    let fields = ty.schema.fields.iter().map(|f| format!("{}: {}", f.name, f.data_type));
    fields.collect::<Vec<_>>().join(", ")
}

fn json(text: &str) -> SampledType {
    sampler(&["E"], &block(text, None)).sampled("E").expect("rows").expect("one type per field")
}

fn csv(header: &str, text: &str) -> SampledType {
    sampler(&["E"], &block(text, Some(header))).sampled("E").expect("rows").expect("one type per field")
}

#[test]
fn a_tag_is_no_field_of_another_kind() {
    let rows = r#"{"event_type":"A","v":1}
{"event_type":2,"v":1}
{"type":"E","v":2}
{"type":5,"v":2}
"#;
    let rows = block(rows, None);
    let sampler = sampler(&["E"], &rows);
    assert_eq!(shown(&sampler.sampled("E").unwrap().unwrap()), "v: int");
}

/// Were it a field of `E`, the row of `A` would be read as one.
#[test]
fn what_tags_rows_of_another_type_is_no_field() {
    let rows = block("{\"event_type\":\"A\",\"v\":1}\n{\"event_type\":null,\"n\":1}\n", None);
    let sampler = sampler(&["E"], &rows);
    assert_eq!(shown(&sampler.sampled("E").unwrap().unwrap()), "n: int");
    decode_sampled(&sampler, &rows, FileFormat::Jsonl).unwrap();
}

#[test]
fn fields_have_the_type_of_their_values() {
    let ty = json(
        r#"{"a":1,"b":1,"c":"x","d":true,"e":null,"f":[1,2],"g":{"x":1,"y":"2026-01-01"},"h":[],"i":"2026-01-01"}
{"a":2,"b":1.5,"c":"2026-01-01","e":null,"f":[null],"g":{"x":2},"h":[],"i":"2026-01-01T10:00:00Z","j":3}
"#,
    );
    assert_eq!(
        shown(&ty),
        "a: int, b: float, c: str, d: bool?, e: str?, f: [int?], g: {x: int, y: timestamp?}, h: [str?], i: timestamp, j: int?"
    );
    assert_eq!((ty.event_time, ty.rows), (Some(8), 2));
}

#[test]
fn ints_under_the_name_of_a_time_have_its_unit() {
    let unit = |text: &str| json(text).time_units[0];
    assert_eq!(unit(r#"{"ts":1772357400}"#), Some(TimeUnit::Seconds));
    assert_eq!(unit(r#"{"@timestamp":1772357400123}"#), Some(TimeUnit::Milliseconds));
    assert_eq!(unit(r#"{"created_at":1772357400123456}"#), Some(TimeUnit::Microseconds));
    assert_eq!(unit(r#"{"dep_time":1772357400123456789}"#), Some(TimeUnit::Nanoseconds));
    for text in [
        r#"{"dep_time":533}"#,
        r#"{"id":1772357400}"#,
        r#"{"ts":1772357400.5}"#,
        "{\"ts\":1772357400}\n{\"ts\":1772357400123}",
    ] {
        assert_eq!(unit(text), None, "{text}");
    }
}

#[test]
fn contradictions_name_the_field_and_both_types() {
    let text = "{\"a\":{\"b\":[1]}}\n{\"a\":{\"b\":[2,\"x\"]}}\n";
    let error = sampler(&["E"], &block(text, None)).sampled("E").expect("rows").unwrap_err();
    assert_eq!(error.to_string(), "field `a.b[]` is int in the row at byte 0, but str in that at byte 16");
}

#[test]
fn rows_are_told_apart_by_their_tag() {
    let text = r#"{"event_type":"A","n":1}
{"type":"B","n":"x"}
{"event_type":"A","data":{"n":2,"m":true},"n":"no field"}
{"type":"C","n":[]}
not a row
"#;
    let both = sampler(&["A", "B"], &block(text, None));
    assert_eq!(both.found().collect::<Vec<_>>(), [(Some("A"), 2), (Some("B"), 1), (None, 1)]);
    assert_eq!(shown(&both.sampled("A").unwrap().unwrap()), "n: int, m: bool?");
    assert_eq!(shown(&both.sampled("B").unwrap().unwrap()), "n: str");
    assert!(both.sampled("C").is_none());
    let only = sampler(&["C"], &block(text, None));
    assert_eq!(shown(&only.sampled("A").unwrap().unwrap()), "n: int, m: bool?");
    assert!(only.sampled("C").unwrap().is_err());
}

#[test]
fn cells_have_the_narrowest_type_that_fits_all() {
    let header = "i,f,b,t,s,zip,n,q,ts,type,none";
    let rows = "1,1,true,2026-01-01,x,007,NA,\"\",1772357400,Fixed wing,\n-2,1.5,FALSE,2026-01-02 10:00,1,1,5,\"NA\",1772357401,Glider,NA\n";
    let ty = csv(header, rows);
    assert_eq!(
        shown(&ty),
        "i: int, f: float, b: bool, t: timestamp, s: str, zip: str, n: int?, q: str, ts: timestamp, type: str, none: str?"
    );
    assert_eq!(ty.time_units[8], Some(TimeUnit::Seconds));
    assert_eq!(ty.event_time, Some(3));
    assert_eq!(shown(&csv("a,b", "18446744073709551616,NaN\n1,NaN\n")), "a: str, b: str");
}

#[test]
fn columns_have_the_types_of_their_file() {
    use arrow_array::{Int32Array, Int64Array, RecordBatch, StringArray};
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(Int32Array::from(vec![1])) as arrow_array::ArrayRef, false),
        ("s", Arc::new(StringArray::from(vec!["x"])), true),
        ("ts", Arc::new(Int64Array::from(vec![1_772_357_400_000])), false),
    ]);
    let mut sampler = Sampler::new(FileFormat::Parquet, vec!["E".into()]);
    sampler.add(&Block { data: BlockData::Rows(batch.unwrap()), ..Block::default() });
    let ty = sampler.sampled("E").unwrap().unwrap();
    assert_eq!(shown(&ty), "n: int, s: str?, ts: timestamp");
    assert_eq!((ty.time_units[2], ty.event_time), (Some(TimeUnit::Milliseconds), Some(2)));
    let more = |column: arrow_array::ArrayRef| Block {
        data: BlockData::Rows(RecordBatch::try_from_iter_with_nullable([("n", column, false)]).unwrap()),
        ..Block::default()
    };
    sampler.add(&more(Arc::new(arrow_array::Float32Array::from(vec![0.5, 1.5]))));
    let ty = sampler.sampled("E").unwrap().unwrap();
    assert_eq!((shown(&ty), ty.rows), ("n: float, s: str?, ts: timestamp?".to_string(), 3));
    sampler.add(&more(Arc::new(StringArray::from(vec!["x"]))));
    let error = sampler.sampled("E").unwrap().unwrap_err();
    assert_eq!(error.to_string(), "field `n` is float in one file, but str in another");
}

#[test]
fn a_declaration_says_what_was_sampled() {
    let ty = json(r#"{"ts":1772357400123,"a-b":1,"at":{"x":1.5},"sent_at":"2026-01-01"}"#);
    let expected = "event Reading:
    ts: timestamp         # the event time; an int in the input: ms since 1970
    # a-b: int: not a name in VPL
    at: {x: float}
    sent_at: timestamp
";
    assert_eq!(declaration(&ty, "Reading"), expected);
}

/// Decodes the rows with the schema that was sampled from them.
fn decode_sampled(sampler: &Sampler, block: &Block, format: FileFormat) -> Result<(), TestCaseError> {
    let Some(Ok(sampled)) = sampler.sampled("E") else { return Ok(()) };
    let ty = SourceType {
        is_read: true,
        name: "E".into(),
        declared: sampled.schema.fields.iter().map(|f| f.name.clone()).collect(),
        time_units: sampled.time_units,
        schema: sampled.schema,
        time: None,
        sampled: true,
    };
    let decoded = decoder(format, &DecoderConfig { types: vec![ty.clone()] }).decode(block);
    for m in &decoded.malformed {
        let contradicts = matches!(m.reason, MalformedReason::WrongType | MalformedReason::MissingField);
        prop_assert!(!contradicts, "{}: {}\n{:?}", String::from_utf8_lossy(&m.raw), m.detail, ty.schema);
    }
    prop_assert!(decoded.unknown_fields.is_empty(), "{:?}", decoded.unknown_fields);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_row_of_the_sample_contradicts_it(rows in prop::collection::vec(
        r#"\{("ts":17[0-9]{8},)?("n":[0-9]{1,3}(\.5)?,)?("s":("a"|"2026-01-0[1-9]"|null),)?("l":\[(1|1\.5|null)?\],)?("type":"[DEF]",|"r":\{("x":true)?\},)?("event_type":"[EF]",)?"end":0\}"#, 1..6,
    )) {
        let block = block(&rows.join("\n"), None);
        decode_sampled(&sampler(&["E"], &block), &block, FileFormat::Jsonl)?;
    }

    #[test]
    fn no_cell_of_the_sample_contradicts_it(rows in prop::collection::vec(
        "( ?-?[0-9]{1,3}|NA)?,(NaN|[0-9]\\.[0-9]|00|inf)?,(true|\"False\"|\"\"|0|NA),(2026-01-0[1-9]|17[0-9]{8}|17[0-9]{8}),(E|G|\"a\nb\"| NA)?", 1..5,
    )) {
        let block = block(&rows.join("\n"), Some("a,b,c,d_at,type"));
        decode_sampled(&sampler(&["E"], &block), &block, FileFormat::Csv { delimiter: None })?;
    }
}
