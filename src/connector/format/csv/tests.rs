//! The decoder against one that is slow and obvious: cells by a state machine over characters, then one
//! conversion per type.

use std::sync::Arc;

use proptest::prelude::*;

use super::CsvDecoder;
use crate::connector::format::{Decoder, DecoderConfig};
use crate::connector::spec::{SourceType, TimeUnit};
use crate::connector::{Block, BlockContext, BlockData, CsvHeader, Decoded, MalformedReason};
use crate::data::array::value_at;
use crate::data::time::{is_distant_timestamp, parse_duration, parse_timestamp};
use crate::data::{DataType, Field, Schema, Type, Value};

fn source_type(name: &str, fields: Vec<Field>) -> SourceType {
    SourceType {
        is_read: true,
        name: name.into(),
        time_units: vec![Some(TimeUnit::Seconds); fields.len()],
        declared: fields.iter().map(|f| f.name.clone()).collect(),
        schema: Schema::new(fields),
        time: None,
        sampled: false,
    }
}

fn decode_at(decoder: &mut CsvDecoder, names: &[&str], delimiter: u8, text: &[u8], position: u64) -> Decoded {
    let names = names.iter().map(|n| n.to_string()).collect();
    let context = BlockContext::Header(Arc::new(CsvHeader { names, delimiter, lines: 1 }));
    decoder.decode(&Block { position, context, data: BlockData::Bytes(text.to_vec()), ..Block::default() })
}

fn decode(types: &[SourceType], names: &[&str], delimiter: u8, text: &[u8]) -> Decoded {
    let mut decoder = CsvDecoder::new(&DecoderConfig { types: types.to_vec() });
    decode_at(&mut decoder, names, delimiter, text, 0)
}

#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Row(usize, Vec<Value>),
    Malformed(MalformedReason),
}

type Fates = Vec<(u64, Fate)>;

/// Rows of other types are counted by the second number.
fn fates(types: &[SourceType], decoded: &Decoded) -> (Fates, u64) {
    let mut all = Vec::new();
    for (ty, rows) in decoded.types.iter().enumerate() {
        for (row, &position) in rows.positions.iter().enumerate() {
            let fields = types[ty].schema.fields.iter().zip(&rows.columns);
            let values = fields.map(|(f, column)| value_at(column, &f.data_type, row)).collect();
            all.push((position, Fate::Row(ty, values)));
        }
    }
    all.extend(decoded.malformed.iter().map(|m| (m.position, Fate::Malformed(m.reason))));
    all.sort_by_key(|(position, _)| *position);
    let others = decoded.other_types.iter().map(|(_, count)| count).sum();
    assert_eq!(all.len() as u64 + others, decoded.rows, "every row once");
    (all, others)
}

/// A cell's text and whether it was quoted, or `None` where the quotes are wrong.
type NaiveCell = Option<(Vec<u8>, bool)>;

/// Splits text into rows of cells, with each row's position.
fn naive_rows(text: &[u8], delimiter: u8) -> Vec<(usize, usize, Vec<NaiveCell>)> {
    let (mut rows, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let start = at;
        let mut cells = Vec::new();
        loop {
            let cell = naive_cell(text, &mut at, delimiter);
            cells.push(cell);
            if text.get(at) != Some(&delimiter) {
                break;
            }
            at += 1;
        }
        let end = at;
        let line_end = text[at..].iter().take_while(|b| **b != b'\n').count() + 1;
        at = (at + line_end).min(text.len());
        if end > start {
            rows.push((start, end, cells));
        }
    }
    rows
}

fn naive_cell(text: &[u8], at: &mut usize, delimiter: u8) -> NaiveCell {
    let mut out = Vec::new();
    let quoted = text.get(*at) == Some(&b'"');
    let mut good = true;
    if quoted {
        *at += 1;
        loop {
            match (text.get(*at), text.get(*at + 1)) {
                (None, _) => return None,
                (Some(b'"'), Some(b'"')) => {
                    out.push(b'"');
                    *at += 2;
                }
                (Some(b'"'), _) => {
                    *at += 1;
                    break;
                }
                (Some(b), _) => {
                    out.push(*b);
                    *at += 1;
                }
            }
        }
    }
    while let Some(&b) = text.get(*at) {
        let carriage_return = b == b'\r' && matches!(text.get(*at + 1), None | Some(b'\n'));
        if b == delimiter || b == b'\n' || carriage_return {
            break;
        }
        good &= !quoted;
        out.push(b);
        *at += 1;
    }
    good.then_some((out, quoted))
}

fn reference(types: &[SourceType], names: &[&str], delimiter: u8, text: &[u8]) -> (Fates, u64) {
    let (mut all, mut others) = (Vec::new(), 0);
    for (start, end, cells) in naive_rows(text, delimiter) {
        match reference_row(types, names, &text[start..end], &cells) {
            Ok(Some((ty, values))) => all.push((start as u64, Fate::Row(ty, values))),
            Ok(None) => others += 1,
            Err(reason) => all.push((start as u64, Fate::Malformed(reason))),
        }
    }
    (all, others)
}

fn reference_row(
    types: &[SourceType],
    names: &[&str],
    raw: &[u8],
    cells: &[NaiveCell],
) -> Result<Option<(usize, Vec<Value>)>, MalformedReason> {
    std::str::from_utf8(raw).map_err(|_| MalformedReason::InvalidUtf8)?;
    let cells: Option<Vec<_>> = cells.iter().cloned().collect();
    let cells = cells.filter(|cells| cells.len() == names.len()).ok_or(MalformedReason::Syntax)?;
    let cell = |name: &str| names.iter().rposition(|n| *n == name).map(|i| &cells[i]);
    let tag = |name: &str| {
        let text = cell(name).map(|(text, _)| String::from_utf8(text.clone()).unwrap());
        text.filter(|t| !t.is_empty() && t != "NA" && (types.len() > 1 || types[0].schema.index_of(name).is_none()))
    };
    let named = |name: String| types.iter().position(|ty| ty.name == name);
    let ty = match tag("event_type") {
        Some(name) => match named(name) {
            Some(ty) => ty,
            None => return Ok(None),
        },
        None => match tag("type").and_then(named) {
            Some(ty) => ty,
            None if types.len() == 1 => 0,
            None => return Err(MalformedReason::MissingField),
        },
    };
    let value = |field: &Field| match cell(&field.name) {
        Some((text, quoted)) => reference_value(&field.data_type, std::str::from_utf8(text).unwrap(), *quoted),
        None if field.data_type.nullable => Ok(Value::Null),
        None => Err(MalformedReason::MissingField),
    };
    let values = types[ty].schema.fields.iter().map(value);
    Ok(Some((ty, values.collect::<Result<_, _>>()?)))
}

fn reference_value(ty: &DataType, text: &str, quoted: bool) -> Result<Value, MalformedReason> {
    let null = |text: &str| text.is_empty() || text == "NA";
    if ty.ty == Type::Str {
        return Ok(if ty.nullable && !quoted && null(text) { Value::Null } else { Value::str(text) });
    }
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    if null(text) {
        return if ty.nullable { Ok(Value::Null) } else { Err(MalformedReason::MissingField) };
    }
    let seconds = || text.parse::<i64>().ok()?.checked_mul(1_000_000_000);
    let value = match &ty.ty {
        Type::Int => text.parse().ok().map(Value::Int),
        Type::Float => {
            let overflows = |v: &f64| v.is_infinite() && text.bytes().any(|b| b.is_ascii_digit());
            text.parse().ok().filter(|v| !overflows(v)).map(Value::Float)
        }
        Type::Bool => match &text.to_ascii_lowercase()[..] {
            "true" | "1" => Some(Value::Bool(true)),
            "false" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::Timestamp => parse_timestamp(text.as_bytes()).or_else(seconds).map(Value::Timestamp),
        Type::Duration => seconds().or_else(|| parse_duration(text)).map(Value::Duration),
        other => panic!("not in these tests: {other}"),
    };
    let distant = ty.ty == Type::Timestamp && is_distant_timestamp(text.as_bytes());
    value.ok_or(if distant { MalformedReason::TimeOutOfRange } else { MalformedReason::WrongType })
}

const NAMES: [&str; 8] = ["id", "price", "ok", "name", "note", "at", "for", "extra"];

fn types() -> Vec<SourceType> {
    let wide = vec![
        Field::new("note", Type::Str.optional()),
        Field::new("id", Type::Int.required()),
        Field::new("price", Type::Float.optional()),
        Field::new("ok", Type::Bool.optional()),
        Field::new("name", Type::Str.required()),
        Field::new("at", Type::Timestamp.optional()),
        Field::new("for", Type::Duration.optional()),
    ];
    vec![source_type("Wide", wide)]
}

fn fitting(column: usize) -> BoxedStrategy<String> {
    match column {
        0 => "[+-]?[0-9]{1,19}".boxed(),
        1 => "[+-]?[0-9]{1,9}(\\.[0-9]{0,12})?(e[0-9])?|NaN|inf|1e999".boxed(),
        2 => "true|false|TRUE|False|0|1|2".boxed(),
        5 => "20[0-9][0-9]-0[1-9]-[0-2][1-9]([T ][01][0-9]:[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?Z?)?|1[67][0-9]{8}"
            .boxed(),
        6 => "[1-9]h([1-9]m)?|[0-9]{1,9}".boxed(),
        _ => "[a-zé\"' ]{0,12}".boxed(),
    }
}

fn cell(column: usize) -> impl Strategy<Value = String> {
    let text = prop_oneof![
        16 => fitting(column),
        2 => prop::sample::select(&["", "NA", " ", "x"][..]).prop_map(String::from),
        1 => "[a-zé,;\"\r\n\t 1😀]{0,8}",
    ];
    (text, 0..10).prop_map(|(text, how)| match how {
        0 => format!("\"{}\"", text.replace('"', "\"\"")),
        1 => format!(" {text} "),
        2 => format!("\"{text}"),
        _ => text,
    })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let row = (0..NAMES.len()).map(|i| cell(i).boxed()).collect::<Vec<_>>();
    let row = (row, 0..30).prop_map(|(mut cells, how)| {
        match how {
            0 => drop(cells.pop()),
            1 => cells.push("more".into()),
            2 => cells.clear(),
            _ => {}
        }
        cells.join(",")
    });
    let line_end = prop::sample::select(&["\n", "\n", "\r\n"][..]);
    let change = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    (prop::collection::vec((row, line_end), 0..10), any::<bool>(), change).prop_map(|(rows, ended, change)| {
        let mut text: Vec<u8> = rows.iter().flat_map(|(row, end)| [row.as_str(), end]).collect::<String>().into_bytes();
        if !ended {
            text.pop();
        }
        if let Some((at, byte)) = change
            && !text.is_empty()
        {
            let at = at.index(text.len());
            text[at] = byte;
        }
        text
    })
}

/// NaN is equal to NaN here.
fn same(a: &(Fates, u64), b: &(Fates, u64)) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn decodes_as_the_reference_does(text in text()) {
        let types = types();
        let found = fates(&types, &decode(&types, &NAMES, b',', &text));
        let expected = reference(&types, &NAMES, b',', &text);
        prop_assert!(same(&found, &expected), "{:?}\n{:?}\n{:?}", String::from_utf8_lossy(&text), found, expected);
    }

    #[test]
    fn tags_are_those_of_the_reference(
        rows in prop::collection::vec("(A|B|C|NA|)\t(A|B|C|\"A\"|)\t[0-9x]{1,2}", 0..10),
        several: bool,
        order in prop::sample::select(vec![["event_type", "type", "n"], ["type", "n", "n"], ["x", "y", "n"]]),
    ) {
        let field = || vec![Field::new("n", Type::Int.required())];
        let mut types = vec![source_type("A", field()), source_type("B", field())];
        types.truncate(1 + several as usize);
        let text = rows.join("\n").into_bytes();
        let found = fates(&types, &decode(&types, &order, b'\t', &text));
        let expected = reference(&types, &order, b'\t', &text);
        prop_assert!(same(&found, &expected), "{:?}\n{:?}\n{:?}", rows, found, expected);
    }

    #[test]
    fn where_a_text_is_cut_makes_no_difference(text in text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let types = types();
        let whole = fates(&types, &decode(&types, &NAMES, b',', &text));
        let mut starts: Vec<usize> = naive_rows(&text, b',').iter().map(|(start, _, _)| *start).collect();
        starts.push(text.len());
        let mut ends: Vec<usize> = cuts.iter().map(|c| starts[c.index(starts.len())]).chain([text.len()]).collect();
        ends.sort();
        let mut decoder = CsvDecoder::new(&DecoderConfig { types: types.clone() });
        let (mut joined, mut start) = ((Vec::new(), 0), 0);
        for end in ends {
            let decoded = decode_at(&mut decoder, &NAMES, b',', &text[start..end], start as u64);
            let (rows, others) = fates(&types, &decoded);
            joined.0.extend(rows);
            joined.1 += others;
            start = end;
        }
        prop_assert!(same(&joined, &whole), "{:?}\n{:?}\n{:?}", String::from_utf8_lossy(&text), joined, whole);
    }

    #[test]
    fn no_bytes_make_it_panic(columns in 0usize..4, text in prop::collection::vec(
        prop_oneof![6 => prop::sample::select(b"\",\n\r1aN.".to_vec()), 1 => any::<u8>()], 0..100,
    )) {
        let (types, names) = (types(), &NAMES[..columns]);
        let found = fates(&types, &decode(&types, names, b',', &text));
        prop_assert_eq!(found.0.len() as u64 + found.1, naive_rows(&text, b',').len() as u64);
    }
}

#[test]
fn malformed_rows_tell_where_they_were() {
    let text = b"1,2,true,\"a\nb\",,,,\r\n\nx,2,true,n,,,,\n1,2\n1,,,\"n\"x,,,,\n7,0.5,1,\"q\"\"\",NA,,,\n8,,,\xff,,,,\n9,,,n,,,,z,z\n0,,,\"";
    let decoded = decode(&types(), &NAMES, b',', text);
    let malformed: Vec<_> = decoded.malformed.iter().map(|m| (m.reason, m.position, &m.detail[..])).collect();
    assert_eq!(
        malformed,
        [
            (MalformedReason::WrongType, 21, "field `id`: expected int, found `x`"),
            (MalformedReason::Syntax, 36, "2 values, but the header has 8"),
            (MalformedReason::Syntax, 40, "text after a closing quote"),
            (MalformedReason::InvalidUtf8, 73, "the row is not valid UTF-8"),
            (MalformedReason::Syntax, 83, "9 values, but the header has 8"),
            (MalformedReason::Syntax, 96, "quote is not closed"),
        ]
    );
    assert_eq!(decoded.malformed[0].raw, b"x,2,true,n,,,,");
    assert_eq!(decoded.types[0].positions, [0, 53]);
    assert_eq!(decoded.unknown_fields, ["extra"]);
}

#[test]
fn nested_cells_are_json() {
    let point = Type::Record(vec![Field::new("x", Type::Int.required())].into());
    let fields = vec![
        Field::new("tags", Type::List(Box::new(Type::Str.required())).optional()),
        Field::new("at", point.optional()),
    ];
    let types = vec![source_type("T", fields)];
    let text = b"\"[\"\"a\"\",\"\"b\"\"]\",{\"x\":1}\n,NA\n[1],\n[],{}\n\"[] x\",\n";
    let (rows, _) = fates(&types, &decode(&types, &["tags", "at"], b';', b""));
    assert!(rows.is_empty());
    let (rows, _) = fates(&types, &decode(&types, &["tags", "at"], b',', text));
    let fates: Vec<Fate> = rows.into_iter().map(|(_, fate)| fate).collect();
    assert_eq!(
        fates,
        [
            Fate::Row(0, vec![Value::List(vec![Value::str("a"), Value::str("b")]), Value::Record(vec![Value::Int(1)])]),
            Fate::Row(0, vec![Value::Null, Value::Null]),
            Fate::Malformed(MalformedReason::WrongType),
            Fate::Malformed(MalformedReason::WrongType),
            Fate::Malformed(MalformedReason::WrongType),
        ]
    );
}

#[test]
fn a_column_that_the_file_lacks_is_null_or_missing() {
    let decoded = decode(&types(), &["id", "name"], b',', b"1,n\n");
    assert_eq!(decoded.types[0].positions, [0]);
    let decoded = decode(&types(), &["name", "name "], b',', b"1,n\n");
    assert_eq!(decoded.malformed[0].detail, "no column `id`");
}
