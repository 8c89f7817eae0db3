//! The decoder against one that is slow and obvious: `serde_json`, a tree, and a lookup per field.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value as Tree;

use super::JsonDecoder;
use crate::connector::format::{Decoder, DecoderConfig};
use crate::connector::spec::{SourceType, TimeUnit};
use crate::connector::{Block, BlockData, Decoded, MalformedReason};
use crate::data::array::value_at;
use crate::data::time::{parse_duration, parse_timestamp};
use crate::data::{DataType, Field, Schema, Type, Value};

fn source_type(name: &str, fields: Vec<Field>, unit: Option<TimeUnit>) -> SourceType {
    SourceType {
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

/// What became of each row: its position with the type's index and values, the reason why it is
/// malformed, or the other type's name as far as it is told (it is counted only).
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Row(usize, Vec<Value>),
    Malformed(MalformedReason),
}

type Fates = (Vec<(u64, Fate)>, Vec<(String, u64)>);

fn fates(types: &[SourceType], decoded: &Decoded) -> Fates {
    let mut all = Vec::new();
    for (ty, rows) in decoded.types.iter().enumerate() {
        for (row, &position) in rows.positions.iter().enumerate() {
            let fields = types[ty].schema.fields.iter().zip(&rows.columns);
            let values = fields.map(|(f, column)| value_at(column, &f.data_type, row)).collect();
            all.push((position, Fate::Row(ty, values)));
        }
        assert!(rows.columns.iter().all(|c| c.len() == rows.positions.len()));
    }
    all.extend(decoded.malformed.iter().map(|m| (m.position, Fate::Malformed(m.reason))));
    all.sort_by_key(|(position, _)| *position);
    let mut others = decoded.other_types.clone();
    others.sort();
    let other_rows: u64 = others.iter().map(|(_, count)| count).sum();
    assert_eq!(all.len() as u64 + other_rows, decoded.rows, "every row once");
    (all, others)
}

/// The reference decoder.
fn reference(types: &[SourceType], text: &[u8]) -> Fates {
    let (mut all, mut others) = (Vec::new(), std::collections::BTreeMap::new());
    let mut position = 0;
    for line in text.split(|&b| b == b'\n') {
        if !line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
            match reference_row(types, line) {
                Ok(Ok((ty, values))) => all.push((position, Fate::Row(ty, values))),
                Ok(Err(other)) => *others.entry(other).or_insert(0) += 1,
                Err(reason) => all.push((position, Fate::Malformed(reason))),
            }
        }
        position += line.len() as u64 + 1;
    }
    (all, others.into_iter().collect())
}

type RowOrOther = Result<(usize, Vec<Value>), String>;

fn reference_row(types: &[SourceType], line: &[u8]) -> Result<RowOrOther, MalformedReason> {
    let line = std::str::from_utf8(line).map_err(|_| MalformedReason::InvalidUtf8)?;
    let Ok(Tree::Object(row)) = serde_json::from_str(line) else { return Err(MalformedReason::Syntax) };
    let text = |name: &str| row.get(name).and_then(Tree::as_str);
    let named = |name: &str| types.iter().position(|ty| ty.name == name);
    let declares =
        |ty: &SourceType, name: &str| ty.schema.index_of(name).is_some() || ty.declared.iter().any(|d| d == name);
    let event_type = text("event_type").filter(|_| types.len() > 1 || !declares(&types[0], "event_type"));
    let ty = match event_type {
        Some(name) => match named(name) {
            Some(ty) => ty,
            None => return Ok(Err(name.to_string())),
        },
        None => match text("type").and_then(named) {
            Some(ty) => ty,
            None if types.len() == 1 => 0,
            None => return Err(MalformedReason::MissingField),
        },
    };
    let envelope = event_type.is_some() && !declares(&types[ty], "data");
    let fields = row.get("data").and_then(Tree::as_object).filter(|_| envelope).unwrap_or(&row);
    let null = Tree::Null;
    let values = types[ty]
        .schema
        .fields
        .iter()
        .zip(&types[ty].time_units)
        .map(|(field, unit)| reference_value(&field.data_type, *unit, fields.get(&field.name).unwrap_or(&null)));
    Ok(Ok((ty, values.collect::<Result<_, _>>()?)))
}

fn reference_value(ty: &DataType, unit: Option<TimeUnit>, tree: &Tree) -> Result<Value, MalformedReason> {
    let scale = unit.map(crate::connector::format::column::ns_per);
    let value = match (&ty.ty, tree) {
        (_, Tree::Null) if ty.nullable => Some(Value::Null),
        (_, Tree::Null) => return Err(MalformedReason::MissingField),
        (Type::Int, Tree::Number(n)) => n.as_i64().map(Value::Int),
        (Type::Float, Tree::Number(n)) => n.as_f64().map(Value::Float),
        (Type::Bool, Tree::Bool(b)) => Some(Value::Bool(*b)),
        (Type::Str, Tree::String(s)) => Some(Value::str(s)),
        (Type::Timestamp, Tree::String(s)) => parse_timestamp(s.as_bytes()).map(Value::Timestamp),
        (Type::Timestamp, Tree::Number(n)) => {
            n.as_i64().zip(scale).and_then(|(n, s)| n.checked_mul(s)).map(Value::Timestamp)
        }
        (Type::Duration, Tree::String(s)) => parse_duration(s).map(Value::Duration),
        (Type::Duration, Tree::Number(n)) => {
            n.as_i64().and_then(|n| n.checked_mul(scale.unwrap_or(1))).map(Value::Duration)
        }
        (Type::List(item), Tree::Array(items)) => {
            Some(Value::List(items.iter().map(|i| reference_item(item, unit, i)).collect::<Result<_, _>>()?))
        }
        (Type::Map(value), Tree::Object(entries)) => {
            let entry = |(k, v): (&String, &Tree)| Ok((Arc::from(k.as_str()), reference_item(value, unit, v)?));
            Some(Value::Map(entries.iter().map(entry).collect::<Result<_, _>>()?))
        }
        (Type::Record(fields), Tree::Object(members)) => {
            let null = Tree::Null;
            let member = |f: &Field| reference_value(&f.data_type, unit, members.get(&f.name).unwrap_or(&null));
            Some(Value::Record(fields.iter().map(member).collect::<Result<_, _>>()?))
        }
        _ => None,
    };
    value.ok_or(MalformedReason::WrongType)
}

/// A null item where none may be is of the wrong type.
fn reference_item(ty: &DataType, unit: Option<TimeUnit>, tree: &Tree) -> Result<Value, MalformedReason> {
    match reference_value(ty, unit, tree) {
        Err(MalformedReason::MissingField) if tree.is_null() => Err(MalformedReason::WrongType),
        result => result,
    }
}

/// `serde_json` may round a float's last bit wrongly without its slower feature.
fn close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a == b || ((a - b) / b).abs() < 1e-14,
        (Value::List(a), Value::List(b)) | (Value::Record(a), Value::Record(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && close(&a.1, &b.1))
        }
        _ => a == b,
    }
}

fn assert_same(found: &Fates, expected: &Fates, text: &[u8]) {
    let same = |(a, b): (&(u64, Fate), &(u64, Fate))| {
        a.0 == b.0
            && match (&a.1, &b.1) {
                (Fate::Row(t, v), Fate::Row(u, w)) => {
                    t == u && v.len() == w.len() && v.iter().zip(w).all(|(v, w)| close(v, w))
                }
                (a, b) => a == b,
            }
    };
    let equal = found.0.len() == expected.0.len() && found.0.iter().zip(&expected.0).all(same) && found.1 == expected.1;
    assert!(equal, "{}\nfound    {found:?}\nexpected {expected:?}", String::from_utf8_lossy(text));
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

/// JSON as text: numbers and the order and repetition of members are kept.
#[derive(Debug, Clone)]
enum Json {
    Word(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Prints with white space and escapes as `entropy` has it.
fn print(json: &Json, entropy: &mut u64, out: &mut String) {
    let space = |entropy: &mut u64, out: &mut String| {
        *entropy = entropy.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        out.push_str(["", "", "", "", " ", "\t", "  ", "\r"][(*entropy >> 60) as usize & 7]);
    };
    space(entropy, out);
    match json {
        Json::Word(word) => out.push_str(word),
        Json::Text(text) => print_text(text, entropy, out),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                print(item, entropy, out);
            }
            space(entropy, out);
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (name, value)) in members.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                space(entropy, out);
                print_text(name, entropy, out);
                space(entropy, out);
                out.push(':');
                print(value, entropy, out);
            }
            space(entropy, out);
            out.push('}');
        }
    }
    space(entropy, out);
}

fn print_text(text: &str, entropy: &mut u64, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        *entropy = entropy.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        if c < ' ' || c == '"' || c == '\\' || *entropy >> 60 == 0 {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out.push('"');
}

fn scalar() -> impl Strategy<Value = Json> {
    const WORDS: &[&str] =
        &["null", "true", "false", "nul", "tru", "0", "-1", "12", "01", "1.", "99999999999999999999"];
    prop_oneof![
        prop::sample::select(WORDS).prop_map(|w| Json::Word(w.into())),
        "-?[1-9][0-9]{0,18}(\\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?".prop_map(Json::Word),
        any::<i64>().prop_map(|n| Json::Word(n.to_string())),
        "\\PC{0,12}".prop_map(Json::Text),
        "[a-z\"\\\\\n\t😀é]{0,20}".prop_map(Json::Text),
        "202[0-9]-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9]([.][0-9]{1,10})?)?(Z|[+-]0[0-9]:30)?)?"
            .prop_map(Json::Text),
        "([1-9][0-9]?h)?([1-9][0-9]?m)?([1-9]ms)?".prop_map(Json::Text),
    ]
}

fn member_name() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "id",
        "price",
        "ok",
        "name",
        "ts",
        "for",
        "tags",
        "sizes",
        "at",
        "path",
        "x",
        "y",
        "event_type",
        "type",
        "data",
        "declared",
        "a quite long name of a field that nothing declares",
    ];
    prop_oneof![9 => prop::sample::select(NAMES).prop_map(String::from), 1 => "[a-zé\"\\\\]{0,6}"]
}

fn json() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((member_name(), inner), 0..4).prop_map(Json::Object),
        ]
    })
}

fn word(regex: &'static str) -> BoxedStrategy<Json> {
    regex.prop_map(Json::Word).boxed()
}

/// A value that fits the field, mostly.
fn fitting(name: &str) -> BoxedStrategy<Json> {
    let point = || {
        let x = word("-?[1-9][0-9]{0,9}|null");
        prop_oneof![
            4 => (x, word("-?[1-9][0-9]{0,9}\\.[0-9]{1,8}|null"))
                .prop_map(|(x, y)| Json::Object(vec![("y".into(), y), ("x".into(), x)])),
            1 => json(),
        ]
    };
    match name {
        "id" => word("-?[1-9][0-9]{0,17}"),
        "price" => word("-?[1-9][0-9]{0,6}(\\.[0-9]{1,12})?|null"),
        "ok" => word("true|false|null"),
        "name" => "\\PC{0,20}".prop_map(Json::Text).boxed(),
        "ts" => prop_oneof![
            "20[0-9][0-9]-0[1-9]-[0-2][1-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?Z".prop_map(Json::Text),
            word("1[67][0-9]{11}"),
        ]
        .boxed(),
        "for" => prop_oneof!["[1-9][0-9]?h".prop_map(Json::Text), word("[1-9][0-9]{0,9}")].boxed(),
        "tags" => prop::collection::vec("[a-z]{0,9}".prop_map(Json::Text), 0..5).prop_map(Json::Array).boxed(),
        "sizes" => {
            prop::collection::vec(("[ab]{0,2}", word("-?[1-9][0-9]{0,5}|null")), 0..6).prop_map(Json::Object).boxed()
        }
        "at" => point().boxed(),
        "path" => prop::collection::vec(point(), 0..4).prop_map(Json::Array).boxed(),
        "event_type" | "type" => prop_oneof![
            4 => prop::sample::select(&["Wide", "Narrow", "Tag"][..]).prop_map(|n| Json::Text(n.into())),
            1 => "[A-Z]".prop_map(Json::Text),
        ]
        .boxed(),
        "data" => row(0).boxed(),
        _ => json().boxed(),
    }
}

/// An object whose members fit mostly; `data` in it only if `depth` is left.
fn row(depth: u32) -> impl Strategy<Value = Json> {
    let member = move || {
        member_name().prop_flat_map(move |name| {
            let value = if name == "data" && depth == 0 { scalar().boxed() } else { fitting(&name) };
            let any = if depth == 0 { scalar().boxed() } else { json().boxed() };
            (Just(name), prop_oneof![19 => value, 1 => any])
        })
    };
    let start = prop_oneof![
        Just(vec![]),
        Just(vec!["id"]),
        Just(vec!["id", "name"]),
        Just(vec!["event_type", "id", "name"]),
        Just(vec!["type", "name"]),
    ];
    let start = start.prop_flat_map(|names| {
        names.into_iter().map(|n| fitting(n).prop_map(move |v| (n.to_string(), v))).collect::<Vec<_>>()
    });
    (start, prop::collection::vec(member(), 0..6)).prop_map(|(mut members, more)| {
        members.extend(more);
        Json::Object(members)
    })
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let printed = |(json, mut entropy): (Json, u64)| {
        let mut out = String::new();
        print(&json, &mut entropy, &mut out);
        out.into_bytes()
    };
    let broken = (row(1), any::<u64>()).prop_map(printed).prop_flat_map(|line| {
        let byte = prop_oneof![prop::sample::select(b"{}[]\",:\\ 0-.eu".to_vec()), any::<u8>()];
        (Just(line), any::<prop::sample::Index>(), byte, 0..3).prop_map(|(mut line, at, byte, how)| {
            let at = at.index(line.len());
            match how {
                0 => line.truncate(at),
                1 => line[at] = byte,
                _ => line.insert(at, byte),
            }
            line
        })
    });
    prop_oneof![
        16 => (row(1), any::<u64>()).prop_map(printed),
        4 => broken,
        1 => (json(), any::<u64>()).prop_map(printed),
        1 => "[ \t\r]{0,3}".prop_map(String::into_bytes),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(line(), 0..12), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.join(&b'\n');
        if ended {
            text.push(b'\n');
        }
        text
    })
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
    let malformed: Vec<_> = decoded.malformed.iter().map(|m| (m.reason, m.position, m.line, &m.raw[..])).collect();
    assert_eq!(
        malformed,
        [
            (MalformedReason::Syntax, 1012, 3, &b"bad"[..]),
            (MalformedReason::InvalidUtf8, 1025, 5, &b"\xff{\"f\":3}"[..]),
            (MalformedReason::Syntax, 1034, 6, &b"last"[..]),
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
    assert!(decode_at(&mut decoder, br#"{"name":"n","new":1}"#, 9).unknown_fields.is_empty());
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
