//! The decoder against its reference on random rows, and what the reference cannot tell.

mod random;
mod reference;

use proptest::prelude::*;

use self::random::text;
use self::reference::{Fate, Fates, assert_same, fates, reference};
use super::JsonDecoder;
use crate::connector::format::{Decoder, DecoderConfig};
use crate::connector::spec::{SourceType, TimeUnit};
use crate::connector::{Block, BlockData, Decoded, MalformedReason};
use crate::data::{DataType, Field, Schema, Type, Value};

fn source_type(name: &str, fields: Vec<Field>, unit: Option<TimeUnit>) -> SourceType {
    SourceType {
        is_read: true,
        name: name.into(),
        time_units: vec![unit; fields.len()],
        declared: fields.iter().map(|f| f.name.clone()).chain(["declared".to_string()]).collect(),
        schema: Schema::new(fields),
        time: None,
        sampled: false,
    }
}

fn decode(types: &[SourceType], text: &[u8]) -> Decoded {
    decode_at(&mut JsonDecoder::new(&DecoderConfig { types: types.to_vec() }), text, 0)
}

fn decode_at(decoder: &mut JsonDecoder, text: &[u8], position: u64) -> Decoded {
    decoder.decode(&Block { position, data: BlockData::Bytes(text.to_vec()), ..Block::default() })
}

/// Every type, required and nullable, nested and not.
fn wide_type() -> SourceType {
    let point =
        Type::Record(vec![Field::new("x", Type::Int.required()), Field::new("y", Type::Float.optional())].into());
    let fields = vec![
        Field::new("id", Type::Int.required()),
        Field::new("price", Type::Float.optional()),
        Field::new("ok", Type::Bool.optional()),
        Field::new("name", Type::Str.optional()),
        Field::new("ts", Type::Timestamp.optional()),
        Field::new("for", Type::Duration.optional()),
        Field::new("tags", Type::List(Box::new(Type::Str.required())).optional()),
        Field::new("sizes", Type::Map(Box::new(Type::Int.optional())).optional()),
        Field::new("at", point.clone().optional()),
        Field::new("path", Type::List(Box::new(point.optional())).optional()),
    ];
    source_type("Wide", fields, Some(TimeUnit::Milliseconds))
}

fn narrow_type() -> SourceType {
    let fields = vec![Field::new("id", Type::Int.optional()), Field::new("name", Type::Str.required())];
    source_type("Narrow", fields, None)
}

/// Types that declare the tags as fields.
fn tag_type() -> SourceType {
    let fields = vec![Field::new("event_type", Type::Str.optional()), Field::new("type", Type::Str.optional())];
    let mut ty = source_type("Tag", fields, None);
    ty.declared.push("data".into());
    ty
}

fn type_sets() -> impl Strategy<Value = Vec<SourceType>> {
    prop::sample::select(vec![
        vec![wide_type()],
        vec![narrow_type()],
        vec![tag_type()],
        vec![wide_type(), narrow_type()],
        vec![narrow_type(), tag_type(), wide_type()],
    ])
}

/// Names of other types, cut at ends of text, are counted, so that rows can be compared part by part.
fn add_counts(into: &mut Vec<(String, u64)>, counts: Vec<(String, u64)>) {
    for (name, count) in counts {
        match into.iter_mut().find(|(n, _)| *n == name) {
            Some((_, n)) => *n += count,
            None => into.push((name, count)),
        }
    }
    into.sort();
}

/// Known differences of the reference: it refuses numbers beyond the range of a float, and reads `-0`
/// as a float.
fn comparable(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    !regex::Regex::new(r"[eE][+-]?[0-9]{3,}|-0\s*[,}\]]").expect("a regex").is_match(&text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn decodes_as_the_reference_does(types in type_sets(), text in text()) {
        prop_assume!(comparable(&text));
        assert_same(&fates(&types, &decode(&types, &text)), &reference(&types, &text), &text);
    }

    #[test]
    fn where_a_text_is_cut_makes_no_difference(
        types in type_sets(),
        text in text(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)
    ) {
        let whole = fates(&types, &decode(&types, &text));
        let line_ends: Vec<usize> = (0..text.len()).filter(|&i| text[i] == b'\n').map(|i| i + 1).collect();
        let mut ends: Vec<usize> = if line_ends.is_empty() { vec![] } else { cuts.iter().map(|c| line_ends[c.index(line_ends.len())]).collect() };
        ends.push(text.len());
        ends.sort();
        let (mut decoder, mut start) = (JsonDecoder::new(&DecoderConfig { types: types.clone() }), 0);
        let mut joined: Fates = Default::default();
        for end in ends {
            let (rows, others) = fates(&types, &decode_at(&mut decoder, &text[start..end], start as u64));
            joined.0.extend(rows);
            add_counts(&mut joined.1, others);
            start = end;
        }
        assert_same(&joined, &whole, &text);
    }

    #[test]
    fn no_bytes_make_it_panic_or_lose_a_line(types in type_sets(), text in prop::collection::vec(
        prop_oneof![
            4 => prop::sample::select(b"{}[]\",:\\ \n0123-.eEunltrfdsaid\r\t".to_vec()),
            1 => any::<u8>(),
        ],
        0..200,
    )) {
        let (rows, others) = fates(&types, &decode(&types, &text));
        let blank = |line: &&[u8]| line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r'));
        let lines = text.split(|&b| b == b'\n').filter(|line| !blank(line)).count() as u64;
        prop_assert_eq!(rows.len() as u64 + others.iter().map(|o| o.1).sum::<u64>(), lines);
    }
}

fn only(types: &[SourceType], text: &str) -> Result<Vec<Value>, (MalformedReason, String)> {
    let decoded = decode(types, text.as_bytes());
    assert_eq!(decoded.rows, 1, "{text}");
    if let Some(m) = decoded.malformed.first() {
        return Err((m.reason, m.detail.clone()));
    }
    match &fates(types, &decoded).0[..] {
        [(0, Fate::Row(_, values))] => Ok(values.clone()),
        other => panic!("{other:?}"),
    }
}

fn one_field(ty: DataType) -> Vec<SourceType> {
    vec![source_type("T", vec![Field::new("f", ty)], None)]
}

#[test]
fn details_name_the_field_and_what_was_found() {
    let wrong = |ty: Type, row: &str| only(&one_field(ty.required()), row).unwrap_err();
    let point = Type::Record(vec![Field::new("x", Type::Int.required())].into());
    for (ty, row, reason, detail) in [
        (Type::Float, r#"{"f":"3"}"#, MalformedReason::WrongType, "field `f`: expected float, found string"),
        (Type::Int, r#"{"f":3.0}"#, MalformedReason::WrongType, "field `f`: expected int, found float"),
        (
            Type::Int,
            r#"{"f":9223372036854775808}"#,
            MalformedReason::WrongType,
            "field `f`: expected int, found a number out of range",
        ),
        (
            Type::Float,
            r#"{"f":1e400}"#,
            MalformedReason::WrongType,
            "field `f`: expected float, found a number out of range",
        ),
        (Type::Str, r#"{"f":true}"#, MalformedReason::WrongType, "field `f`: expected str, found bool"),
        (
            Type::Timestamp,
            r#"{"f":17}"#,
            MalformedReason::WrongType,
            "field `f`: expected timestamp (RFC 3339), found int",
        ),
        (Type::Bool, r#"{"f":null}"#, MalformedReason::MissingField, "field `f` is null"),
        (Type::Bool, r#"{"g":null}"#, MalformedReason::MissingField, "field `f` is missing"),
        (point.clone(), r#"{"f":{}}"#, MalformedReason::MissingField, "field `f.x` is missing"),
        (
            Type::List(Box::new(point.required())),
            r#"{"f":[{"x":1},{"x":[]}]}"#,
            MalformedReason::WrongType,
            "field `f[].x`: expected int, found array",
        ),
        (
            Type::Map(Box::new(Type::Int.required())),
            r#"{"f":{"a":null}}"#,
            MalformedReason::WrongType,
            "field `f.a`: expected int, found null",
        ),
        (Type::Int, r#"{"f":1,}"#, MalformedReason::Syntax, "expected a member's name at byte 7 of the row"),
        (Type::Int, r#"{"f":1"#, MalformedReason::Syntax, "expected `,` or `}` at byte 6 of the row"),
        (Type::Int, r#"{"f":1,"g":"x"#, MalformedReason::Syntax, "string is not closed at byte 13 of the row"),
        (Type::Int, r#"[1]"#, MalformedReason::Syntax, "expected an object at byte 0 of the row"),
        (Type::Int, r#"{"f":1}{"f":2}"#, MalformedReason::Syntax, "expected the end of the line at byte 7 of the row"),
    ] {
        assert_eq!(wrong(ty, row), (reason, detail.to_string()), "{row}");
    }
}

#[test]
fn the_last_of_equal_names_counts() {
    let types = one_field(Type::Int.optional());
    assert_eq!(only(&types, r#"{"f":"x","f":1,"\u0066":2}"#), Ok(vec![Value::Int(2)]));
    assert_eq!(only(&types, r#"{"f":1,"f":null}"#), Ok(vec![Value::Null]));
    assert_eq!(only(&types, r#"{"f":1,"f":"x"}"#).unwrap_err().0, MalformedReason::WrongType);
}

#[test]
fn negative_zero_is_an_int_too() {
    assert_eq!(only(&one_field(Type::Int.required()), r#"{"f":-0}"#), Ok(vec![Value::Int(0)]));
    let zero = only(&one_field(Type::Float.required()), r#"{"f":-0}"#).expect("a float");
    assert!(matches!(zero[..], [Value::Float(zero)] if zero.is_sign_negative()));
}

#[test]
fn nesting_has_a_limit() {
    let types = one_field(Type::Int.optional());
    let nested = |depth: usize| format!(r#"{{"g":{}1{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!(only(&types, &nested(128)), Ok(vec![Value::Null]));
    assert_eq!(only(&types, &nested(129)).unwrap_err().0, MalformedReason::Syntax);
    assert_eq!(only(&types, &nested(1_000_000)).unwrap_err().0, MalformedReason::Syntax);
}

#[test]
fn malformed_rows_tell_where_they_were() {
    let types = one_field(Type::Int.required());
    let text = b"\n{\"f\":1}\r\n \nbad\r\n{\"f\":2}\n\xff{\"f\":3}\nlast";
    let decoded = decode_at(&mut JsonDecoder::new(&DecoderConfig { types }), text, 1000);
    let malformed: Vec<_> = decoded.malformed.iter().map(|m| (m.reason, m.position, &m.raw[..])).collect();
    assert_eq!(
        malformed,
        [
            (MalformedReason::Syntax, 1012, &b"bad"[..]),
            (MalformedReason::InvalidUtf8, 1025, &b"\xff{\"f\":3}"[..]),
            (MalformedReason::Syntax, 1034, &b"last"[..]),
        ]
    );
    assert_eq!(decoded.types[0].positions, [1001, 1017]);
    assert_eq!(decoded.rows, 5);
}

#[test]
fn unknown_fields_are_named_once() {
    let mut decoder = JsonDecoder::new(&DecoderConfig { types: vec![narrow_type()] });
    let text = br#"{"name":"n","b":1,"declared":2,"a":{"c":3},"b":4}
{"z":1}
{"y":1,"event_type":"Other"}
{"event_type":"Narrow","name":"n","type":"odd"}
"#;
    let decoded = decode_at(&mut decoder, text, 0);
    assert_eq!(decoded.unknown_fields, ["a", "b"]);
    assert_eq!(decoded.other_types, [("Other".to_string(), 1)]);
    let later = br#"{"name":"n","a":1,"new":1}"#;
    assert_eq!(decode_at(&mut decoder, later, 9).unknown_fields, ["new"]);
    assert!(decode_at(&mut decoder, later, 90).unknown_fields.is_empty());
}

#[test]
fn envelopes_hold_the_fields() {
    let types = vec![narrow_type(), wide_type()];
    for row in [
        r#"{"event_type":"Narrow","data":{"id":1,"name":"n"}}"#,
        r#"{"data":{"id":1,"name":"n"},"event_type":"Narrow","name":"beside"}"#,
        r#"{"event_type":"Narrow","id":7,"data":{"name":"n","id":1},"id":8}"#,
        r#"{"event_type":"Narrow","data":{"name":"other"},"data":{"id":1,"name":"n"}}"#,
    ] {
        assert_eq!(only(&types, row), Ok(vec![Value::Int(1), Value::str("n")]), "{row}");
        assert_eq!(only(&types[..1], row), Ok(vec![Value::Int(1), Value::str("n")]), "{row}");
    }
}
