//! A decoder that is slow and obvious: `serde_json`, a tree, and a lookup per field.

use std::sync::Arc;

use serde_json::Value as Tree;

use crate::connector::spec::{SourceType, TimeUnit};
use crate::connector::{Decoded, MalformedReason};
use crate::data::array::value_at;
use crate::data::time::{parse_duration, parse_timestamp};
use crate::data::{DataType, Field, Type, Value};

/// What became of each row: its position with the type's index and values, the reason why it is
/// malformed, or the other type's name as far as it is told (it is counted only).
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Row(usize, Vec<Value>),
    Malformed(MalformedReason),
}

pub type Fates = (Vec<(u64, Fate)>, Vec<(String, u64)>);

pub fn fates(types: &[SourceType], decoded: &Decoded) -> Fates {
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
pub fn reference(types: &[SourceType], text: &[u8]) -> Fates {
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

pub fn assert_same(found: &Fates, expected: &Fates, text: &[u8]) {
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
