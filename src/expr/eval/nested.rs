//! Lists, maps and records: making them, taking them apart, and `in`.
//!
//! Reaching for what is not there (an index out of range, a missing key) gives null and is no error:
//! programs ask for what may be missing. Indices and slices count from the end when negative, and
//! strings are sliced by code point.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, ListArray, StringArray, StructArray, UInt32Array};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use hashbrown::HashSet;

use super::cast::map_of;
use super::compare::equal;
use super::operand::{Operand, Values, is_null, mask_nulls, pack};
use super::scope::Scope;
use super::strings::StrColumn;
use super::{Errors, operand};
use crate::data::types::{arrow_fields, list_item};
use crate::data::{DataType, Type};
use crate::expr::Expr;

/// Field number `index` of a record column; null where the record is.
pub(super) fn field(record: &ArrayRef, index: usize) -> ArrayRef {
    let record = record.as_struct();
    mask_nulls(record.column(index).clone(), record.nulls())
}

pub(super) fn record(fields: &[Expr], ty: &DataType, scope: &Scope<'_>) -> Operand {
    let Type::Record(members) = &ty.ty else { unreachable!("a record has a record type, not {ty}") };
    let values: Vec<_> = fields.iter().map(|f| operand(f, scope)).collect();
    scope.lift(&values.iter().collect::<Vec<_>>(), |rows, _| {
        let columns = values.iter().map(|v| v.clone().into_array(rows)).collect();
        let array = StructArray::try_new_with_length(arrow_fields(members), columns, None, rows);
        Arc::new(array.expect("fields have the record's types"))
    })
}

pub(super) fn list(items: &[Expr], ty: &DataType, scope: &Scope<'_>) -> Operand {
    let Type::List(item) = &ty.ty else { unreachable!("a list has a list type, not {ty}") };
    let values: Vec<_> = items.iter().map(|i| operand(i, scope)).collect();
    scope.lift(&values.iter().collect::<Vec<_>>(), |rows, _| {
        let offsets = OffsetBuffer::from_repeated_length(values.len(), rows);
        Arc::new(ListArray::new(list_item(item), offsets, row_by_row(&values, item, rows), None))
    })
}

pub(super) fn map(entries: &[(String, Expr)], ty: &DataType, scope: &Scope<'_>) -> Operand {
    let Type::Map(value) = &ty.ty else { unreachable!("a map has a map type, not {ty}") };
    let values: Vec<_> = entries.iter().map(|(_, e)| operand(e, scope)).collect();
    scope.lift(&values.iter().collect::<Vec<_>>(), |rows, _| {
        let offsets = OffsetBuffer::from_repeated_length(values.len(), rows);
        let names = entries.iter().map(|(key, _)| key.as_str());
        let keys = StringArray::from_iter_values((0..rows).flat_map(|_| names.clone()));
        map_of(value, offsets, Arc::new(keys), row_by_row(&values, value, rows), None)
    })
}

/// The values of the first row, then those of the second, and so on.
fn row_by_row(values: &[Operand], ty: &DataType, rows: usize) -> ArrayRef {
    if values.is_empty() {
        return arrow_array::new_empty_array(&ty.arrow());
    }
    let arrays: Vec<_> = values.iter().map(|v| v.array().as_ref()).collect();
    let of_row = |row: usize| values.iter().enumerate().map(move |(i, v)| (i, v.index(row)));
    let places: Vec<_> = (0..rows).flat_map(of_row).collect();
    interleave(&arrays, &places).expect("items have one type")
}

pub(super) fn index(container: &Expr, index: &Expr, scope: &Scope<'_>) -> Operand {
    let ty = container.data_type().ty;
    let (container, index) = (operand(container, scope), operand(index, scope));
    scope.lift(&[&container, &index], |rows, _| match ty {
        Type::List(_) => list_items(&container, &index, rows),
        Type::Map(_) => map_values(&container, &index, rows),
        Type::Null
        | Type::Int
        | Type::Float
        | Type::Bool
        | Type::Str
        | Type::Timestamp
        | Type::Duration
        | Type::Record(_) => unreachable!("{ty} has no items"),
    })
}

/// Item `index` of each row's list.
pub(crate) fn list_items(list: &Operand, index: &Operand, rows: usize) -> ArrayRef {
    let lists = list.array().as_list::<i32>();
    let offsets = lists.value_offsets();
    let indices = index.ints();
    let item = |row: usize| {
        let (of_list, of_index) = (list.index(row), index.index(row));
        if lists.is_null(of_list) || index.array().is_null(of_index) {
            return None;
        }
        let (start, end) = (offsets[of_list] as i64, offsets[of_list + 1] as i64);
        let i = indices.get(row);
        let from = if i < 0 { end } else { start };
        let at = from.checked_add(i)?;
        (start..end).contains(&at).then_some(at as u32)
    };
    let picked = UInt32Array::from_iter((0..rows).map(item));
    take(lists.values(), &picked, None).expect("items are within the list")
}

/// The value under `key` in each row's map.
pub(crate) fn map_values(map: &Operand, key: &Operand, rows: usize) -> ArrayRef {
    let maps = map.array().as_map();
    let (names, wanted) = (maps.keys().as_string::<i32>(), key.strings());
    let offsets = maps.value_offsets();
    let entry = |row: usize| {
        let (of_map, of_key) = (map.index(row), key.index(row));
        if maps.is_null(of_map) || wanted.is_null(of_key) {
            return None;
        }
        let key = wanted.value(of_key);
        (offsets[of_map] as u32..offsets[of_map + 1] as u32).find(|&i| names.value(i as usize) == key)
    };
    let picked = UInt32Array::from_iter((0..rows).map(entry));
    take(maps.values(), &picked, None).expect("entries are within the map")
}

pub(super) fn slice(container: &Expr, from: Option<&Expr>, to: Option<&Expr>, scope: &Scope<'_>) -> Operand {
    let ty = container.data_type().ty;
    let container = operand(container, scope);
    let (from, to) = (from.map(|e| operand(e, scope)), to.map(|e| operand(e, scope)));
    let args: Vec<_> = std::iter::once(&container).chain(&from).chain(&to).collect();
    scope.lift(&args, |rows, errors| match &ty {
        Type::List(item) => slice_lists(&container, from.as_ref(), to.as_ref(), item, rows),
        Type::Str => slice_strings(&container, from.as_ref(), to.as_ref(), rows, errors),
        Type::Null
        | Type::Int
        | Type::Float
        | Type::Bool
        | Type::Timestamp
        | Type::Duration
        | Type::Map(_)
        | Type::Record(_) => unreachable!("{ty} has no slices"),
    })
}

/// One end of a slice in a row: `None` if it is null, `default` if it is not given.
fn bound(end: Option<&Operand>, row: usize, default: i64) -> Option<i64> {
    let Some(end) = end else { return Some(default) };
    (!is_null(end.array(), end.index(row))).then(|| end.ints().get(row))
}

/// Python's slice: ends beyond the sequence stop at it, negative ones count from its end.
pub(crate) fn slice_range(from: i64, to: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let clamp = |end: i64| if end < 0 { end.saturating_add(len).max(0) } else { end.min(len) };
    let (from, to) = (clamp(from), clamp(to));
    from as usize..to.max(from) as usize
}

pub(crate) fn slice_lists(
    list: &Operand,
    from: Option<&Operand>,
    to: Option<&Operand>,
    item: &DataType,
    rows: usize,
) -> ArrayRef {
    let lists = list.array().as_list::<i32>();
    let offsets = lists.value_offsets();
    let mut picked = Vec::new();
    let mut lengths = Vec::with_capacity(rows);
    let mut nulls = NullBufferBuilder::new(rows);
    for row in 0..rows {
        let i = list.index(row);
        let ends = bound(from, row, 0).zip(bound(to, row, i64::MAX)).filter(|_| lists.is_valid(i));
        nulls.append(ends.is_some());
        let Some((from, to)) = ends else {
            lengths.push(0);
            continue;
        };
        let start = offsets[i] as usize;
        let range = slice_range(from, to, offsets[i + 1] as usize - start);
        lengths.push(range.len());
        picked.extend(range.map(|k| (start + k) as u32));
    }
    let items = take(lists.values(), &UInt32Array::from(picked), None).expect("items are within the list");
    Arc::new(ListArray::new(list_item(item), OffsetBuffer::from_lengths(lengths), items, nulls.finish()))
}

pub(crate) fn slice_strings(
    text: &Operand,
    from: Option<&Operand>,
    to: Option<&Operand>,
    rows: usize,
    errors: &Errors,
) -> ArrayRef {
    let strings = text.strings();
    let mut out = StrColumn::with_capacity(rows, 0);
    for row in 0..rows {
        let i = text.index(row);
        match bound(from, row, 0).zip(bound(to, row, i64::MAX)).filter(|_| strings.is_valid(i)) {
            Some((from, to)) => out.push_with(errors, |buffer| buffer.push_str(slice_str(strings.value(i), from, to))),
            None => out.push_null(),
        }
    }
    out.finish()
}

/// Code points `from..to` of a string.
pub(crate) fn slice_str(text: &str, from: i64, to: i64) -> &str {
    if text.is_ascii() {
        return &text[slice_range(from, to, text.len())];
    }
    let range = slice_range(from, to, text.chars().count());
    let mut places = text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()));
    let start = places.nth(range.start).expect("the slice is within the string");
    let end =
        if range.is_empty() { start } else { places.nth(range.len() - 1).expect("the slice is within the string") };
    &text[start..end]
}

/// `value in list`: any of the equalities, by the rules of `or`. Nothing is in an empty list.
pub(super) fn contains(value: &Expr, list: &Expr, scope: &Scope<'_>) -> Operand {
    let ty = value.data_type().ty;
    let (value, list) = (operand(value, scope), operand(list, scope));
    scope.lift(&[&value, &list], |rows, _| Arc::new(is_in(&value, &list, &ty, rows)))
}

pub(crate) fn is_in(value: &Operand, list: &Operand, ty: &Type, rows: usize) -> BooleanArray {
    if *list.array().data_type() == arrow_schema::DataType::Null || list.is_null_scalar() {
        return BooleanArray::new_null(rows);
    }
    match list {
        Operand::Scalar(list) if matches!(value, Operand::Array(_)) => {
            let items = list.as_list::<i32>().value(0);
            if !items.is_empty() && *ty != Type::Null {
                return in_constant(value, &items, ty, rows);
            }
        }
        Operand::Scalar(_) | Operand::Array(_) => {}
    }
    let lists = list.array().as_list::<i32>();
    let items = Operand::Array(lists.values().clone());
    let in_row = |row: usize| {
        let i = list.index(row);
        if lists.is_null(i) {
            return None;
        }
        let range = lists.value_offsets()[i] as usize..lists.value_offsets()[i + 1] as usize;
        if range.is_empty() {
            return Some(false);
        }
        if is_null(value.array(), value.index(row)) {
            return None;
        }
        let wanted = Operand::Scalar(value.array().slice(value.index(row), 1));
        let mut unknown = false;
        for i in range {
            match is_null(items.array(), i) {
                true => unknown = true,
                false if equal(&wanted, &Operand::Scalar(items.array().slice(i, 1)), ty, 1).value(0) => {
                    return Some(true);
                }
                false => {}
            }
        }
        (!unknown).then_some(false)
    };
    BooleanArray::from_iter((0..rows).map(in_row))
}

/// `in` with a constant list that is not empty.
fn in_constant(value: &Operand, items: &ArrayRef, ty: &Type, rows: usize) -> BooleanArray {
    let known: Vec<usize> = (0..items.len()).filter(|&i| !is_null(items, i)).collect();
    let found = match (ty, value) {
        (Type::Int | Type::Timestamp | Type::Duration, Operand::Array(_)) => {
            let all = items.as_primitive::<arrow_array::types::Int64Type>();
            let wanted: HashSet<i64> = known.iter().map(|&i| all.value(i)).collect();
            match value.ints() {
                Values::All(values) => pack(values, |v| wanted.contains(&v)),
                Values::One(_) => unreachable!("the value is a column"),
            }
        }
        (Type::Str, Operand::Array(_)) => {
            let all = items.as_string::<i32>();
            let wanted: HashSet<&str> = known.iter().map(|&i| all.value(i)).collect();
            let strings = value.strings();
            arrow_buffer::BooleanBuffer::collect_bool(rows, |row| wanted.contains(strings.value(row)))
        }
        _ => {
            let is = |i: &usize| equal(value, &Operand::Scalar(items.slice(*i, 1)), ty, rows);
            let none = arrow_buffer::BooleanBuffer::new_unset(rows);
            known.iter().map(is).fold(none, |found, next| &found | &next)
        }
    };
    let nulls = value.nulls(rows);
    if known.len() == items.len() {
        return BooleanArray::new(found, nulls);
    }
    // What is not found among the known items may equal one that is null.
    let unknown = arrow_buffer::NullBuffer::new(found.clone());
    BooleanArray::new(found, arrow_buffer::NullBuffer::union(nulls.as_ref(), Some(&unknown)))
}
