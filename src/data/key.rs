//! The encoding of keys: equal values have equal bytes, and bytes sort as the values do.
//!
//! The encoding is ours and versioned because it is kept in checkpoints, decides which worker owns a
//! row, and orders output; Arrow's row format may change between its releases. The caller encodes the
//! *unified* type of all sides that must meet, so that `1` and `1.0` of a float key are one key.
//!
//! ```text
//! null        00
//! int …       01, 8 bytes big-endian with the sign flipped (timestamp and duration too)
//! float       01, 8 bytes big-endian in total order; one NaN, no -0.0
//! bool        01, 00 or 01
//! str         01, bytes with 00 as 00 FF, then 00 00
//! list        01, for each item 01 and the item, then 00
//! map         as a list of (key, value) sorted by key
//! record      01, its fields one after the other
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array};

use super::array::{array_of_values, value_at};
use super::batch::Keys;
use super::types::{DataType, Type};
use super::value::Value;

/// Changes whenever the bytes of any key do.
pub const KEY_VERSION: u32 = 1;
/// Seed of the key hash; part of the encoding's contract, since it decides key groups.
pub const KEY_SEED: u64 = 0x5641_5250_554c_4953;
/// Keys are dealt to workers by group, so that saved state knows groups and not workers.
pub const KEY_GROUPS: u64 = 4096;

/// The key group of a key's hash.
#[inline]
pub fn key_group(hash: u64) -> u16 {
    (hash % KEY_GROUPS) as u16
}

/// The worker, of `peers`, that owns a key group. Neighbouring groups have one owner, so that a worker
/// reads saved state, which lies in the order of groups, in one piece.
#[inline]
pub fn group_owner(group: u16, peers: usize) -> usize {
    group as usize * peers / KEY_GROUPS as usize
}

/// What of equal values is told apart.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Nothing: equal values have the same bytes, in the order of values.
    Key,
    /// Everything: -0.0, kinds of NaN, the order of a map's entries.
    Exact,
}

/// Encodes the key `columns` of `rows` rows; no columns give the empty key throughout.
pub fn encode_keys(columns: &[(ArrayRef, DataType)], rows: usize) -> Keys {
    match columns {
        [] => Keys::none(rows),
        [(column, ty)] if ty.ty == Type::Str => encode_strings(column),
        _ => {
            let mut data = Vec::with_capacity(rows * columns.len() * 10);
            let mut offsets = Vec::with_capacity(rows + 1);
            offsets.push(0);
            for row in 0..rows {
                for (column, ty) in columns {
                    encode_cell(column, ty, row, Form::Key, &mut data);
                }
                offsets.push(data.len() as u32);
            }
            Keys::new(data, offsets)
        }
    }
}

/// Appends row `row` of `columns` so that [`decode_keys`] gives back the very values, which as keys they need
/// not be. Not for comparing.
pub fn encode_row(columns: &[(ArrayRef, DataType)], row: usize, out: &mut Vec<u8>) {
    columns.iter().for_each(|(column, ty)| encode_cell(column, ty, row, Form::Exact, out));
}

/// As [`encode_row`], for one column.
pub fn encode_field(column: &ArrayRef, ty: &DataType, row: usize, out: &mut Vec<u8>) {
    encode_cell(column, ty, row, Form::Exact, out);
}

fn encode_strings(column: &ArrayRef) -> Keys {
    let strings = column.as_string::<i32>();
    let mut data = Vec::with_capacity(strings.value_data().len() + 3 * strings.len());
    let mut offsets = Vec::with_capacity(strings.len() + 1);
    offsets.push(0);
    for row in 0..strings.len() {
        if strings.is_null(row) {
            data.push(0);
        } else {
            data.push(1);
            encode_str(strings.value(row), &mut data);
        }
        offsets.push(data.len() as u32);
    }
    Keys::new(data, offsets)
}

fn encode_cell(column: &ArrayRef, ty: &DataType, row: usize, form: Form, out: &mut Vec<u8>) {
    if column.is_null(row) || ty.ty == Type::Null {
        out.push(0);
        return;
    }
    match &ty.ty {
        Type::Int | Type::Timestamp | Type::Duration => {
            out.push(1);
            encode_int(column.as_primitive::<Int64Type>().value(row), out);
        }
        Type::Float => {
            out.push(1);
            encode_float(column.as_primitive::<Float64Type>().value(row), form, out);
        }
        Type::Str => {
            out.push(1);
            encode_str(column.as_string::<i32>().value(row), out);
        }
        Type::Null | Type::Bool | Type::List(_) | Type::Map(_) | Type::Record(_) => {
            encode_in_form(&value_at(column.as_ref(), ty, row), form, out)
        }
    }
}

/// Encodes one value the way [`encode_keys`] encodes a cell.
pub fn encode_value(value: &Value, out: &mut Vec<u8>) {
    encode_in_form(value, Form::Key, out);
}

fn encode_in_form(value: &Value, form: Form, out: &mut Vec<u8>) {
    if value.is_null() {
        out.push(0);
        return;
    }
    out.push(1);
    match value {
        Value::Null => unreachable!("handled above"),
        Value::Int(v) | Value::Timestamp(v) | Value::Duration(v) => encode_int(*v, out),
        Value::Float(v) => encode_float(*v, form, out),
        Value::Bool(v) => out.push(*v as u8),
        Value::Str(s) => encode_str(s, out),
        Value::List(items) => {
            for item in items {
                out.push(1);
                encode_in_form(item, form, out);
            }
            out.push(0);
        }
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            if form == Form::Key {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
            }
            for (key, value) in entries {
                out.push(1);
                encode_str(key, out);
                encode_in_form(value, form, out);
            }
            out.push(0);
        }
        Value::Record(fields) => fields.iter().for_each(|f| encode_in_form(f, form, out)),
    }
}

fn encode_int(v: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&ordered_int(v).to_be_bytes());
}

fn encode_float(v: f64, form: Form, out: &mut Vec<u8>) {
    let ordered = match form {
        Form::Key => ordered_float(v),
        Form::Exact => ordered_bits(v.to_bits()),
    };
    out.extend_from_slice(&ordered.to_be_bytes());
}

/// A number that is greater where the int is.
#[inline]
pub fn ordered_int(v: i64) -> u64 {
    v as u64 ^ (1 << 63)
}

/// A number that is greater where the float is, in the order of [`compare_floats`](super::value::compare_floats): one
/// for all NaNs, and one for both zeros.
#[inline]
pub fn ordered_float(v: f64) -> u64 {
    let positive_nan = f64::NAN.to_bits() & !(1 << 63);
    ordered_bits(if v.is_nan() { positive_nan } else { (v + 0.0).to_bits() })
}

fn ordered_bits(bits: u64) -> u64 {
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

fn encode_str(s: &str, out: &mut Vec<u8>) {
    let bytes = s.as_bytes();
    if memchr::memchr(0, bytes).is_none() {
        out.extend_from_slice(bytes);
    } else {
        for &b in bytes {
            out.push(b);
            if b == 0 {
                out.push(0xff);
            }
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Encodes one value so that [`decode_value`] gives back the very value. Not for comparing.
pub fn encode_exact(value: &Value, out: &mut Vec<u8>) {
    encode_in_form(value, Form::Exact, out);
}

/// The column number `position` of the encoded `keys`, whose columns have the types `types`.
pub fn decode_keys<'a>(keys: impl Iterator<Item = &'a [u8]>, types: &[DataType], position: usize) -> ArrayRef {
    let mut cells: Vec<&[u8]> = keys.collect();
    cells.iter_mut().for_each(|cell| types[..position].iter().for_each(|ty| skip_value(cell, ty)));
    take_column(&mut cells, &types[position])
}

/// The columns of encoded `rows`, of the types `types`; of each row what they take is taken off the front.
pub fn decode_rows(rows: &mut [&[u8]], types: &[DataType]) -> Vec<ArrayRef> {
    types.iter().map(|ty| take_column(rows, ty)).collect()
}

/// The column of the values at the front of `cells`, which are taken off. What most columns are made of takes no
/// detour over values.
fn take_column(cells: &mut [&[u8]], ty: &DataType) -> ArrayRef {
    match &ty.ty {
        Type::Str => {
            let mut column = StringBuilder::with_capacity(cells.len(), 0);
            for cell in cells {
                match take_byte(cell) {
                    0 => column.append_null(),
                    _ => column.append_value(decode_str(cell)),
                }
            }
            Arc::new(column.finish())
        }
        Type::Int | Type::Timestamp | Type::Duration => {
            let int = |cell: &mut &[u8]| (take_byte(cell) != 0).then(|| decode_int(cell));
            Arc::new(cells.iter_mut().map(int).collect::<Int64Array>())
        }
        Type::Float => {
            let float = |cell: &mut &[u8]| (take_byte(cell) != 0).then(|| decode_float(cell));
            Arc::new(cells.iter_mut().map(float).collect::<Float64Array>())
        }
        Type::Null | Type::Bool | Type::List(_) | Type::Map(_) | Type::Record(_) => {
            let values: Vec<Value> = cells.iter_mut().map(|cell| decode_value(cell, ty)).collect();
            array_of_values(ty, &values)
        }
    }
}

/// Whether any part of an encoded key is null.
pub fn has_null(mut key: &[u8], types: &[DataType]) -> bool {
    types.iter().any(|ty| {
        let is_null = key.first() == Some(&0);
        skip_value(&mut key, ty);
        is_null
    })
}

/// Takes one value of type `ty` off the front without looking at it.
fn skip_value(bytes: &mut &[u8], ty: &DataType) {
    match &ty.ty {
        Type::Str => {
            if take_byte(bytes) != 0 {
                decode_str(bytes);
            }
        }
        Type::Int | Type::Timestamp | Type::Duration | Type::Float => {
            if take_byte(bytes) != 0 {
                take_word(bytes);
            }
        }
        Type::Null | Type::Bool | Type::List(_) | Type::Map(_) | Type::Record(_) => {
            decode_value(bytes, ty);
        }
    }
}

/// Takes one value of type `ty` off the front of encoded `bytes`.
///
/// # Panics
/// When the bytes are not an encoding of that type: keys are only ever made here.
pub fn decode_value(bytes: &mut &[u8], ty: &DataType) -> Value {
    if take_byte(bytes) == 0 {
        return Value::Null;
    }
    match &ty.ty {
        Type::Null => unreachable!("the only value of type null is null"),
        Type::Int => Value::Int(decode_int(bytes)),
        Type::Timestamp => Value::Timestamp(decode_int(bytes)),
        Type::Duration => Value::Duration(decode_int(bytes)),
        Type::Float => Value::Float(decode_float(bytes)),
        Type::Bool => Value::Bool(take_byte(bytes) == 1),
        Type::Str => Value::str(&decode_str(bytes)),
        Type::List(item) => {
            let mut items = Vec::new();
            while take_byte(bytes) == 1 {
                items.push(decode_value(bytes, item));
            }
            Value::List(items)
        }
        Type::Map(value) => {
            let mut entries = Vec::new();
            while take_byte(bytes) == 1 {
                let key = decode_str(bytes).as_ref().into();
                entries.push((key, decode_value(bytes, value)));
            }
            Value::Map(entries)
        }
        Type::Record(fields) => Value::Record(fields.iter().map(|f| decode_value(bytes, &f.data_type)).collect()),
    }
}

fn take_byte(bytes: &mut &[u8]) -> u8 {
    let (first, rest) = bytes.split_first().expect("a whole encoded key");
    *bytes = rest;
    *first
}

fn take_word(bytes: &mut &[u8]) -> u64 {
    let (word, rest) = bytes.split_first_chunk::<8>().expect("a whole encoded key");
    *bytes = rest;
    u64::from_be_bytes(*word)
}

fn decode_int(bytes: &mut &[u8]) -> i64 {
    (take_word(bytes) ^ (1 << 63)) as i64
}

fn decode_float(bytes: &mut &[u8]) -> f64 {
    let ordered = take_word(bytes);
    f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered })
}

fn decode_str<'a>(bytes: &mut &'a [u8]) -> Cow<'a, str> {
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).expect("keys are made from strings");
    let mut out = String::new();
    loop {
        let zero = memchr::memchr(0, bytes).expect("an encoded string is terminated");
        let (part, escape) = (text(&bytes[..zero]), bytes[zero + 1]);
        *bytes = &bytes[zero + 2..];
        if escape == 0 && out.is_empty() {
            return Cow::Borrowed(part);
        }
        out.push_str(part);
        if escape == 0 {
            return Cow::Owned(out);
        }
        out.push('\0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(v: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        encode_value(v, &mut out);
        out
    }

    fn floats() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), Just(0.0), Just(-0.0), Just(f64::NAN), Just(-f64::NAN), Just(f64::INFINITY)]
    }

    proptest! {
        #[test]
        fn bytes_sort_as_floats_do(a in floats(), b in floats()) {
            let (x, y) = (Value::Float(a), Value::Float(b));
            prop_assert_eq!(encoded(&x).cmp(&encoded(&y)), x.compare(&y));
        }

        #[test]
        fn bytes_sort_as_ints_do(a: i64, b: i64) {
            prop_assert_eq!(encoded(&Value::Int(a)).cmp(&encoded(&Value::Int(b))), a.cmp(&b));
        }

        #[test]
        fn bytes_sort_as_string_pairs_do(a in "[\\x00-\\x02a]{0,4}", b in "[\\x00-\\x02a]{0,4}", c in "[\\x00a]{0,2}", d in "[\\x00a]{0,2}") {
            let x = Value::Record(vec![Value::str(&a), Value::str(&c)]);
            let y = Value::Record(vec![Value::str(&b), Value::str(&d)]);
            prop_assert_eq!(encoded(&x).cmp(&encoded(&y)), x.compare(&y));
        }

        /// What keys take for equal stays apart in a row that is saved.
        #[test]
        fn rows_come_back_bit_by_bit(values in prop::collection::vec(floats(), 1..6), swapped: bool) {
            let (ty, map) = (Type::Float.required(), Type::Map(Box::new(Type::Float.required())).required());
            let mut entries = vec![("a".into(), Value::Float(values[0])), ("b".into(), Value::Float(-0.0))];
            if swapped {
                entries.swap(0, 1);
            }
            let floats: ArrayRef = array_of_values(&ty, &values.iter().map(|v| Value::Float(*v)).collect::<Vec<_>>());
            let maps = array_of_values(&map, &vec![Value::Map(entries.clone()); values.len()]);
            let columns = [(floats, ty.clone()), (maps, map.clone())];
            for (row, value) in values.iter().enumerate() {
                let mut bytes = Vec::new();
                encode_row(&columns, row, &mut bytes);
                let float = decode_keys([bytes.as_slice()].into_iter(), &[ty.clone(), map.clone()], 0);
                let Value::Float(back) = value_at(&float, &ty, 0) else { panic!("a float") };
                prop_assert_eq!(back.to_bits(), value.to_bits());
                let back = decode_keys([bytes.as_slice()].into_iter(), &[ty.clone(), map.clone()], 1);
                prop_assert_eq!(format!("{:?}", value_at(&back, &map, 0)), format!("{:?}", Value::Map(entries.clone())));
            }
        }

        /// A column of any type comes back out of keys of several columns, at any place.
        #[test]
        fn columns_round_trip(rows in prop::collection::vec(
            (prop::option::of("[\\x00-\\x02é]{0,4}"), prop::option::of(any::<i64>()), prop::option::of(floats())), 0..6,
        )) {
            let types = [Type::Str.optional(), Type::Int.optional(), Type::Float.optional()];
            let cell = |row: &(Option<String>, Option<i64>, Option<f64>), i: usize| match i {
                0 => row.0.as_deref().map_or(Value::Null, Value::str),
                1 => row.1.map_or(Value::Null, Value::Int),
                _ => row.2.map_or(Value::Null, Value::Float),
            };
            for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
                let types = order.map(|i: usize| types[i].clone());
                let column = |i: usize| rows.iter().map(|r| cell(r, order[i])).collect::<Vec<_>>();
                let columns: Vec<_> = (0..3).map(|i| (array_of_values(&types[i], &column(i)), types[i].clone())).collect();
                let keys = encode_keys(&columns, rows.len());
                for i in 0..3 {
                    let decoded = decode_keys((0..keys.len()).map(|k| keys.key(k)), &types, i);
                    for (row, value) in column(i).iter().enumerate() {
                        let same = value_at(&decoded, &types[i], row);
                        prop_assert_eq!(encoded(&same), encoded(value));
                    }
                }
            }
        }

        #[test]
        fn lists_round_trip(items in prop::collection::vec(prop::option::of("[\\x00-\\x7f]{0,5}"), 0..4)) {
            let list = Value::List(items.iter().map(|s| s.as_deref().map_or(Value::Null, Value::str)).collect());
            let ty = Type::List(Box::new(Type::Str.optional())).required();
            prop_assert_eq!(decode_value(&mut encoded(&list).as_slice(), &ty), list);
        }
    }
}
