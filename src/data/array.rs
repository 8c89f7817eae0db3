//! Between single values and Arrow arrays, for the paths that handle a value at a time: literals,
//! decoded keys, aggregate results of nested type, test oracles.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, ListArray, MapArray, NullArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};

use super::types::{DataType, Type, arrow_fields, list_item, map_entries};
use super::value::Value;

/// The value of `array`, a column of type `ty`, at `row`.
pub fn value_at(array: &dyn Array, ty: &DataType, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match &ty.ty {
        Type::Null => Value::Null,
        Type::Int => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        Type::Timestamp => Value::Timestamp(array.as_primitive::<Int64Type>().value(row)),
        Type::Duration => Value::Duration(array.as_primitive::<Int64Type>().value(row)),
        Type::Float => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        Type::Bool => Value::Bool(array.as_boolean().value(row)),
        Type::Str => Value::str(array.as_string::<i32>().value(row)),
        Type::List(item) => {
            let items = array.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|i| value_at(&items, item, i)).collect())
        }
        Type::Map(value) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1));
            Value::Map((0..keys.len()).map(|i| (keys.value(i).into(), value_at(values, value, i))).collect())
        }
        Type::Record(fields) => {
            let record = array.as_struct();
            Value::Record(
                fields.iter().enumerate().map(|(i, f)| value_at(record.column(i), &f.data_type, row)).collect(),
            )
        }
    }
}

/// A column of type `ty` with the given values.
///
/// # Panics
/// When a value is neither null nor of the type.
pub fn array_of_values(ty: &DataType, values: &[Value]) -> ArrayRef {
    match &ty.ty {
        Type::Null => Arc::new(NullArray::new(values.len())),
        Type::Int | Type::Timestamp | Type::Duration => {
            let mut b = Int64Builder::with_capacity(values.len());
            values.iter().for_each(|v| b.append_option(as_int(v)));
            Arc::new(b.finish())
        }
        Type::Float => {
            let mut b = Float64Builder::with_capacity(values.len());
            values.iter().for_each(|v| b.append_option(as_float(v)));
            Arc::new(b.finish())
        }
        Type::Bool => {
            let mut b = BooleanBuilder::with_capacity(values.len());
            values.iter().for_each(|v| b.append_option(as_bool(v)));
            Arc::new(b.finish())
        }
        Type::Str => {
            let mut b = StringBuilder::new();
            values.iter().for_each(|v| b.append_option(as_str(v)));
            Arc::new(b.finish())
        }
        Type::List(item) => array_of_lists(item, values),
        Type::Map(value) => array_of_maps(value, values),
        Type::Record(fields) => {
            let column = |i: usize| -> Vec<Value> {
                values.iter().map(|v| if let Value::Record(r) = v { r[i].clone() } else { Value::Null }).collect()
            };
            let columns = fields.iter().enumerate().map(|(i, f)| array_of_values(&f.data_type, &column(i))).collect();
            let array = StructArray::try_new_with_length(arrow_fields(fields), columns, nulls(values), values.len());
            Arc::new(array.expect("columns are built from the record's fields"))
        }
    }
}

fn array_of_lists(item: &DataType, values: &[Value]) -> ArrayRef {
    let lists = || values.iter().map(|v| if let Value::List(items) = v { items.as_slice() } else { &[] });
    let items: Vec<Value> = lists().flatten().cloned().collect();
    let offsets = OffsetBuffer::from_lengths(lists().map(<[Value]>::len));
    Arc::new(ListArray::new(list_item(item), offsets, array_of_values(item, &items), nulls(values)))
}

fn array_of_maps(value: &DataType, values: &[Value]) -> ArrayRef {
    let maps = || values.iter().map(|v| if let Value::Map(entries) = v { entries.as_slice() } else { &[] });
    let keys: Vec<Value> = maps().flatten().map(|(k, _)| Value::Str(k.clone())).collect();
    let items: Vec<Value> = maps().flatten().map(|(_, v)| v.clone()).collect();
    let offsets = OffsetBuffer::from_lengths(maps().map(<[_]>::len));
    let entries = map_entries(value);
    let arrow_schema::DataType::Struct(fields) = entries.data_type().clone() else {
        unreachable!("entries are a struct")
    };
    let columns = vec![array_of_values(&Type::Str.required(), &keys), array_of_values(value, &items)];
    let entry_array = StructArray::new(fields, columns, None);
    Arc::new(MapArray::new(entries, offsets, entry_array, nulls(values), false))
}

fn nulls(values: &[Value]) -> Option<NullBuffer> {
    let valid: Vec<bool> = values.iter().map(|v| !v.is_null()).collect();
    valid.contains(&false).then(|| NullBuffer::from(valid))
}

fn as_int(v: &Value) -> Option<i64> {
    match v {
        Value::Int(v) | Value::Timestamp(v) | Value::Duration(v) => Some(*v),
        Value::Null => None,
        other => panic!("{other:?} in a column of integers"),
    }
}

fn as_float(v: &Value) -> Option<f64> {
    match v {
        Value::Float(v) => Some(*v),
        Value::Int(v) => Some(*v as f64),
        Value::Null => None,
        other => panic!("{other:?} in a column of floats"),
    }
}

fn as_bool(v: &Value) -> Option<bool> {
    match v {
        Value::Bool(v) => Some(*v),
        Value::Null => None,
        other => panic!("{other:?} in a column of booleans"),
    }
}

fn as_str(v: &Value) -> Option<&str> {
    match v {
        Value::Str(s) => Some(s),
        Value::Null => None,
        other => panic!("{other:?} in a column of strings"),
    }
}
