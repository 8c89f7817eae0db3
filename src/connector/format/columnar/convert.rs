//! Arrow arrays of any type to the physical form of ours, where nothing is lost on the way.
//!
//! A value that does not fit (an unsigned beyond 64 bits, a string that is no timestamp) is a fault of
//! its row, like a null where none may be; so is every value of a column of another kind altogether.
//! Faults of nested values are faults of the row that holds them.

use std::sync::Arc;

use arrow_array::builder::Int64Builder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int64Array, ListArray, MapArray, StructArray, new_null_array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType as ArrowType, TimeUnit as ArrowUnit};

use crate::connector::format::column::ns_per;
use crate::connector::spec::TimeUnit;
use crate::data::time::{parse_duration, parse_timestamp};
use crate::data::types::{arrow_fields, list_item, map_entries};
use crate::data::{DataType, Field, Type};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Null,
    /// What was found instead.
    Wrong(String),
}

/// The array in the physical form of `ty`, and the rows (ascending) that do not have it; these hold
/// anything.
pub(super) fn convert(
    array: &ArrayRef,
    ty: &DataType,
    unit: Option<TimeUnit>,
    faults: &mut Vec<(u32, Fault)>,
) -> ArrayRef {
    let mut own = Vec::new();
    if !ty.nullable && array.logical_null_count() > 0 {
        let nulls = array.logical_nulls().expect("there are nulls");
        own.extend((0..array.len()).filter(|&i| nulls.is_null(i)).map(|i| (i as u32, Fault::Null)));
    }
    let array = unpacked(array);
    let out = match &ty.ty {
        Type::Null => new_null_array(&ArrowType::Null, array.len()),
        Type::Int => convert_int(&array, &mut own),
        Type::Float => convert_float(&array, &mut own),
        Type::Bool => cast_if(matches!(array.data_type(), ArrowType::Boolean), &array, &ArrowType::Boolean, &mut own),
        Type::Str => {
            let text = matches!(array.data_type(), ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View);
            cast_if(text, &array, &ArrowType::Utf8, &mut own)
        }
        Type::Timestamp => convert_timestamp(&array, unit, &mut own),
        Type::Duration => convert_duration(&array, unit, &mut own),
        Type::List(item) => convert_list(&array, item, unit, &mut own),
        Type::Map(value) => convert_map(&array, value, unit, &mut own),
        Type::Record(fields) => convert_record(&array, fields, &mut own),
    };
    own.sort_by_key(|(row, _)| *row);
    faults.extend(own);
    out
}

/// Dictionaries and runs as plain values.
fn unpacked(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        ArrowType::Dictionary(_, values) => arrow_cast::cast(array, values).unwrap_or_else(|_| array.clone()),
        _ => array.clone(),
    }
}

fn is_integer(ty: &ArrowType) -> bool {
    ty.is_integer()
}

/// Casts if the kinds agree; else every value is a fault.
fn cast_if(agrees: bool, array: &ArrayRef, to: &ArrowType, faults: &mut Vec<(u32, Fault)>) -> ArrayRef {
    let cast = if agrees { arrow_cast::cast(array, to).ok() } else { None };
    let out = cast.unwrap_or_else(|| new_null_array(to, array.len()));
    add_lost(array, &out, faults);
    out
}

/// Values that the conversion has turned into nulls.
fn add_lost(before: &ArrayRef, after: &ArrayRef, faults: &mut Vec<(u32, Fault)>) {
    if after.logical_null_count() == before.logical_null_count() {
        return;
    }
    let is_null = |nulls: &Option<NullBuffer>, i: usize| nulls.as_ref().is_some_and(|n| n.is_null(i));
    let (had, has) = (before.logical_nulls(), after.logical_nulls());
    let lost = (0..before.len()).filter(|&i| !is_null(&had, i) && is_null(&has, i));
    faults.extend(lost.map(|i| (i as u32, Fault::Wrong(kind_name(before.data_type())))));
}

fn kind_name(ty: &ArrowType) -> String {
    match ty {
        ArrowType::Boolean => "a bool".to_string(),
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => "a string".to_string(),
        ArrowType::List(_) | ArrowType::LargeList(_) | ArrowType::FixedSizeList(_, _) => "a list".to_string(),
        ArrowType::Struct(_) => "a record".to_string(),
        ArrowType::Map(_, _) => "a map".to_string(),
        ty if ty.is_integer() => "an int".to_string(),
        ty if ty.is_floating() => "a float".to_string(),
        ty => format!("of type {ty}"),
    }
}

fn convert_int(array: &ArrayRef, faults: &mut Vec<(u32, Fault)>) -> ArrayRef {
    cast_if(is_integer(array.data_type()), array, &ArrowType::Int64, faults)
}

fn convert_float(array: &ArrayRef, faults: &mut Vec<(u32, Fault)>) -> ArrayRef {
    let ty = array.data_type();
    let decimal = matches!(
        ty,
        ArrowType::Decimal32(..) | ArrowType::Decimal64(..) | ArrowType::Decimal128(..) | ArrowType::Decimal256(..)
    );
    let out = cast_if(ty.is_integer() || ty.is_floating() || decimal, array, &ArrowType::Float64, faults);
    debug_assert!(out.as_primitive_opt::<Float64Type>().is_some());
    out
}

fn convert_timestamp(array: &ArrayRef, unit: Option<TimeUnit>, faults: &mut Vec<(u32, Fault)>) -> ArrayRef {
    let ns = ArrowType::Timestamp(ArrowUnit::Nanosecond, None);
    match array.data_type() {
        ArrowType::Timestamp(..) | ArrowType::Date32 | ArrowType::Date64 => {
            // A zone says how the instant is shown; without one it is taken as UTC.
            let zoneless = match array.data_type() {
                ArrowType::Timestamp(unit, Some(_)) => {
                    arrow_cast::cast(array, &ArrowType::Timestamp(*unit, Some("UTC".into()))).ok()
                }
                _ => Some(array.clone()),
            };
            let cast = zoneless.map(|a| cast_safely(&a, &ns)).unwrap_or_else(|| new_null_array(&ns, array.len()));
            let out = arrow_cast::cast(&cast, &ArrowType::Int64).expect("timestamps are ints");
            add_lost(array, &out, faults);
            out
        }
        _ => int_or_text(array, unit, faults, &|text| parse_timestamp(text.as_bytes())),
    }
}

fn convert_duration(array: &ArrayRef, unit: Option<TimeUnit>, faults: &mut Vec<(u32, Fault)>) -> ArrayRef {
    match array.data_type() {
        ArrowType::Duration(_) => {
            let ns = cast_safely(array, &ArrowType::Duration(ArrowUnit::Nanosecond));
            let out = arrow_cast::cast(&ns, &ArrowType::Int64).expect("durations are ints");
            add_lost(array, &out, faults);
            out
        }
        _ => int_or_text(array, Some(unit.unwrap_or(TimeUnit::Nanoseconds)), faults, &parse_duration),
    }
}

/// What overflows becomes null.
fn cast_safely(array: &ArrayRef, to: &ArrowType) -> ArrayRef {
    arrow_cast::cast(array, to).unwrap_or_else(|_| new_null_array(to, array.len()))
}

/// Instants or durations that are written as ints in a unit, or as text.
fn int_or_text(
    array: &ArrayRef,
    unit: Option<TimeUnit>,
    faults: &mut Vec<(u32, Fault)>,
    parse: &dyn Fn(&str) -> Option<i64>,
) -> ArrayRef {
    let out: ArrayRef = match (array.data_type(), unit) {
        (ty, Some(unit)) if is_integer(ty) => {
            let ints = cast_safely(array, &ArrowType::Int64);
            let scaled = ints.as_primitive::<Int64Type>().iter().map(|v| v.and_then(|v| v.checked_mul(ns_per(unit))));
            Arc::new(scaled.collect::<Int64Array>())
        }
        (ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View, _) => {
            let texts = cast_safely(array, &ArrowType::Utf8);
            let mut out = Int64Builder::with_capacity(array.len());
            texts.as_string::<i32>().iter().for_each(|text| out.append_option(text.and_then(parse)));
            Arc::new(out.finish())
        }
        _ => new_null_array(&ArrowType::Int64, array.len()),
    };
    add_lost(array, &out, faults);
    out
}

/// Moves faults of items to the rows that hold them; one per row is enough. Items of null rows do not
/// count.
fn lift(items: Vec<(u32, Fault)>, offsets: &[i32], nulls: Option<&NullBuffer>, faults: &mut Vec<(u32, Fault)>) {
    for (item, fault) in items {
        let row = offsets.partition_point(|&o| o <= item as i32) - 1;
        let counts = row + 1 < offsets.len() && nulls.is_none_or(|n| n.is_valid(row));
        if counts && faults.last().is_none_or(|(last, _)| *last != row as u32) {
            faults.push((row as u32, fault));
        }
    }
}

fn convert_list(array: &ArrayRef, item: &DataType, unit: Option<TimeUnit>, faults: &mut Vec<(u32, Fault)>) -> ArrayRef {
    let to = Type::List(Box::new(item.clone())).arrow();
    let list = match array.data_type() {
        ArrowType::List(_) => Some(array.clone()),
        ArrowType::LargeList(field) | ArrowType::FixedSizeList(field, _) => {
            arrow_cast::cast(array, &ArrowType::List(field.clone())).ok()
        }
        _ => None,
    };
    let Some(list) = list else { return cast_if(false, array, &to, faults) };
    let list = list.as_list::<i32>();
    let mut item_faults = Vec::new();
    let items = convert(list.values(), item, unit, &mut item_faults);
    lift(item_faults, list.value_offsets(), list.nulls(), faults);
    Arc::new(ListArray::new(list_item(item), list.offsets().clone(), items, list.nulls().cloned()))
}

fn convert_map(array: &ArrayRef, value: &DataType, unit: Option<TimeUnit>, faults: &mut Vec<(u32, Fault)>) -> ArrayRef {
    let to = Type::Map(Box::new(value.clone())).arrow();
    let Some(map) = array.as_map_opt() else { return cast_if(false, array, &to, faults) };
    let mut item_faults = Vec::new();
    let keys = convert(map.keys(), &Type::Str.required(), None, &mut item_faults);
    let values = convert(map.values(), value, unit, &mut item_faults);
    item_faults.sort_by_key(|(item, _)| *item);
    lift(item_faults, map.value_offsets(), map.nulls(), faults);
    let entries = map_entries(value);
    let ArrowType::Struct(fields) = entries.data_type().clone() else { unreachable!("entries are a struct") };
    // A key that is no string is a fault of its row, but the array must hold together until then.
    if keys.null_count() > 0 {
        return cast_if(false, array, &to, faults);
    }
    let pairs = StructArray::new(fields, vec![keys, values], None);
    let offsets: OffsetBuffer<i32> = map.offsets().clone();
    Arc::new(MapArray::new(entries, offsets, pairs, map.nulls().cloned(), false))
}

fn convert_record(array: &ArrayRef, fields: &[Field], faults: &mut Vec<(u32, Fault)>) -> ArrayRef {
    let to = ArrowType::Struct(arrow_fields(fields));
    let Some(record) = array.as_struct_opt() else { return cast_if(false, array, &to, faults) };
    let mut members = Vec::with_capacity(fields.len());
    let mut member_faults = Vec::new();
    for field in fields {
        let member = match record.column_by_name(&field.name) {
            Some(column) => convert(column, &field.data_type, None, &mut member_faults),
            None => {
                let null = |row| (row as u32, Fault::Null);
                let required = !field.data_type.nullable;
                member_faults.extend((0..record.len()).filter(|_| required).map(null));
                new_null_array(&field.data_type.arrow(), record.len())
            }
        };
        members.push(member);
    }
    member_faults.retain(|(row, _)| record.is_valid(*row as usize));
    faults.extend(member_faults);
    let nulls = record.nulls().cloned();
    let out = StructArray::try_new_with_length(arrow_fields(fields), members, nulls, record.len());
    Arc::new(out.expect("members are in the physical form of their fields"))
}
