//! Casts, explicit and implicit.
//!
//! Ints, timestamps and durations cast into each other as counts of nanoseconds; floats truncate
//! toward zero; text is read as it is printed, white space around it aside. What cannot be done is null, and counted
//! unless the cast is a `try_cast`. Lists, maps and records cast item by item, and an item that cannot
//! be cast is null by itself: the rest of the value stays.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType as ArrowType;

use super::Errors;
use super::operand::all_null;
use super::strings::StrColumn;
use crate::data::time::{parse_duration, parse_timestamp};
use crate::data::types::{arrow_fields, list_item, map_entries};
use crate::data::{DataType, Field, Type};
use crate::expr::{CastFailure, text};

/// The values of `array`, of type `from`, as type `to`.
pub(crate) fn cast(
    array: &ArrayRef,
    from: &DataType,
    to: &DataType,
    on_failure: CastFailure,
    rows: usize,
    errors: &Errors,
) -> ArrayRef {
    match on_failure {
        CastFailure::Count => convert(array, &from.ty, &to.ty, rows, errors),
        CastFailure::Null => convert(array, &from.ty, &to.ty, rows, &Errors::default()),
    }
}

fn convert(array: &ArrayRef, from: &Type, to: &Type, rows: usize, errors: &Errors) -> ArrayRef {
    match (from, to) {
        _ if from == to => array.clone(),
        (Type::Null, _) => all_null(&to.arrow(), rows),
        (Type::Int, Type::Timestamp | Type::Duration) | (Type::Timestamp | Type::Duration, Type::Int) => array.clone(),
        (Type::Int, Type::Float) => {
            let values = ints(array).values().iter().map(|&v| v as f64).collect();
            Arc::new(Float64Array::new(values, array.nulls().cloned()))
        }
        (Type::Int, Type::Bool) => try_each(ints(array), errors, |v| Some(v != 0)).into_booleans(),
        (Type::Bool, Type::Int) => try_each(array.as_boolean(), errors, |v| Some(v as i64)).into_ints(),
        (Type::Bool, Type::Float) => try_each(array.as_boolean(), errors, |v| Some(v as i64 as f64)).into_floats(),
        (Type::Float, Type::Int) => try_each(array.as_primitive::<Float64Type>(), errors, float_to_int).into_ints(),
        (Type::Str, Type::Int) => {
            try_each(array.as_string::<i32>(), errors, |s: &str| s.trim().parse().ok()).into_ints()
        }
        (Type::Str, Type::Float) => {
            try_each(array.as_string::<i32>(), errors, |s: &str| s.trim().parse().ok()).into_floats()
        }
        (Type::Str, Type::Bool) => try_each(array.as_string::<i32>(), errors, parse_bool).into_booleans(),
        (Type::Str, Type::Timestamp) => {
            try_each(array.as_string::<i32>(), errors, |s: &str| parse_timestamp(s.trim().as_bytes())).into_ints()
        }
        (Type::Str, Type::Duration) => {
            try_each(array.as_string::<i32>(), errors, |s: &str| parse_duration(s.trim())).into_ints()
        }
        (_, Type::Str) => {
            let mut out = StrColumn::with_capacity(rows, rows * 8);
            for row in 0..rows {
                match array.is_valid(row) {
                    true => out.push_with(errors, |buffer| text::write_text(array, from, row, buffer)),
                    false => out.push_null(),
                }
            }
            out.finish()
        }
        (Type::List(a), Type::List(b)) => lists(array, a, b, errors),
        (Type::Map(a), Type::Map(b)) => maps(array, a, b, errors),
        (Type::Record(a), Type::Record(b)) => records(array, a, b, errors),
        _ => unreachable!("no cast from {from} to {to}"),
    }
}

fn float_to_int(value: f64) -> Option<i64> {
    // 2^63 is a float; the greatest int is not.
    (value >= i64::MIN as f64 && value < -(i64::MIN as f64)).then_some(value as i64)
}

fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Converted values, before it is known of which type the column is.
struct Converted<T>(Vec<Option<T>>);

impl Converted<i64> {
    fn into_ints(self) -> ArrayRef {
        Arc::new(Int64Array::from(self.0))
    }
}

impl Converted<f64> {
    fn into_floats(self) -> ArrayRef {
        Arc::new(Float64Array::from(self.0))
    }
}

impl Converted<bool> {
    fn into_booleans(self) -> ArrayRef {
        Arc::new(BooleanArray::from(self.0))
    }
}

/// `f` of each value that is not null; `None` is a failure.
fn try_each<A, T>(array: A, errors: &Errors, f: impl Fn(A::Item) -> Option<T>) -> Converted<T>
where
    A: arrow_array::ArrayAccessor,
{
    let mut failed = 0;
    let convert = |row: usize| {
        if array.is_null(row) {
            return None;
        }
        let value = f(array.value(row));
        failed += value.is_none() as u64;
        value
    };
    let out = (0..array.len()).map(convert).collect();
    errors.add(failed);
    Converted(out)
}

fn ints(array: &ArrayRef) -> &Int64Array {
    array.as_primitive::<Int64Type>()
}

/// Drops items that no list shows, so that only those that exist are converted and can fail.
fn compact(array: &ArrayRef) -> ArrayRef {
    let (offsets, items) = match array.data_type() {
        ArrowType::Map(..) => (array.as_map().offsets(), array.as_map().entries().len()),
        _ => (array.as_list::<i32>().offsets(), array.as_list::<i32>().values().len()),
    };
    let shown = |row: usize| (offsets[row + 1] - offsets[row]) as usize;
    let visible: usize = (0..array.len()).filter(|&row| array.is_valid(row)).map(shown).sum();
    if visible == items {
        return array.clone();
    }
    let all: Vec<_> = (0..array.len()).map(|row| (0, row)).collect();
    arrow_select::interleave::interleave(&[array.as_ref()], &all).expect("rows are within the array")
}

fn lists(array: &ArrayRef, from: &DataType, to: &DataType, errors: &Errors) -> ArrayRef {
    let array = compact(array);
    let (_, offsets, items, nulls) = array.as_list::<i32>().clone().into_parts();
    let items = convert(&items, &from.ty, &to.ty, items.len(), errors);
    Arc::new(ListArray::new(list_item(to), offsets, items, nulls))
}

fn maps(array: &ArrayRef, from: &DataType, to: &DataType, errors: &Errors) -> ArrayRef {
    let array = compact(array);
    let (_, offsets, entries, nulls, _) = array.as_map().clone().into_parts();
    let values = convert(entries.column(1), &from.ty, &to.ty, entries.len(), errors);
    map_of(to, offsets, entries.column(0).clone(), values, nulls)
}

/// A map array from its parts.
pub(super) fn map_of(
    value: &DataType,
    offsets: OffsetBuffer<i32>,
    keys: ArrayRef,
    values: ArrayRef,
    nulls: Option<arrow_buffer::NullBuffer>,
) -> ArrayRef {
    let field = map_entries(value);
    let ArrowType::Struct(fields) = field.data_type().clone() else { unreachable!("entries are a struct") };
    Arc::new(MapArray::new(field, offsets, StructArray::new(fields, vec![keys, values], None), nulls, false))
}

/// Fields by name; one that is missing is null, one that the target lacks is dropped.
fn records(array: &ArrayRef, from: &[Field], to: &[Field], errors: &Errors) -> ArrayRef {
    let record = array.as_struct();
    let rows = record.len();
    let column = |field: &Field| match from.iter().position(|f| f.name == field.name) {
        Some(i) => {
            let values = super::nested::field(array, i);
            convert(&values, &from[i].data_type.ty, &field.data_type.ty, rows, errors)
        }
        None => all_null(&field.data_type.arrow(), rows),
    };
    let columns = to.iter().map(column).collect();
    let array = StructArray::try_new_with_length(arrow_fields(to), columns, record.nulls().cloned(), rows);
    Arc::new(array.expect("columns have the record's types"))
}
