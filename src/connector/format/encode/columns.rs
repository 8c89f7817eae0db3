//! Batches as Arrow record batches for others: inside, timestamps and durations are plain 64-bit
//! integers and every nested item may physically be null; outside, types say what they mean.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{DurationNanosecondType, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow_schema::{
    ArrowError, DataType as ArrowType, Field as ArrowField, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit,
};

use crate::data::{Batch, DataType, Field, Schema, Type};

/// The schema that other programs see.
pub fn outside_schema(schema: &Schema) -> SchemaRef {
    Arc::new(ArrowSchema::new(outside_fields(&schema.fields)))
}

fn outside_fields(fields: &[Field]) -> Fields {
    fields.iter().map(|f| outside_field(&f.name, &f.data_type)).collect()
}

fn outside_field(name: &str, ty: &DataType) -> ArrowField {
    ArrowField::new(name, outside_type(&ty.ty), ty.nullable || ty.ty == Type::Null)
}

fn outside_type(ty: &Type) -> ArrowType {
    match ty {
        Type::Timestamp => ArrowType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        Type::Duration => ArrowType::Duration(TimeUnit::Nanosecond),
        Type::List(item) => ArrowType::List(Arc::new(outside_field("item", item))),
        Type::Map(value) => ArrowType::Map(Arc::new(outside_entries(value)), false),
        Type::Record(fields) => ArrowType::Struct(outside_fields(fields)),
        Type::Null | Type::Int | Type::Float | Type::Bool | Type::Str => ty.arrow(),
    }
}

fn outside_entries(value: &DataType) -> ArrowField {
    let entry = Fields::from(vec![ArrowField::new("key", ArrowType::Utf8, false), outside_field("value", value)]);
    ArrowField::new("entries", ArrowType::Struct(entry), false)
}

/// The batch's columns under `outside`, which is [`outside_schema`] of `schema`.
///
/// # Errors
/// When a column that the schema says is never null has a null.
pub fn outside_batch(schema: &Schema, outside: &SchemaRef, batch: &Batch) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields.iter().zip(&batch.columns).map(|(f, c)| outside_array(c, &f.data_type.ty));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.len()));
    RecordBatch::try_new_with_options(outside.clone(), columns.collect::<Result<_, _>>()?, &options)
}

fn outside_array(array: &ArrayRef, ty: &Type) -> Result<ArrayRef, ArrowError> {
    Ok(match ty {
        Type::Null | Type::Int | Type::Float | Type::Bool | Type::Str => array.clone(),
        Type::Timestamp => {
            let ns = array.as_primitive::<Int64Type>().reinterpret_cast::<TimestampNanosecondType>();
            Arc::new(ns.with_timezone("UTC"))
        }
        Type::Duration => Arc::new(array.as_primitive::<Int64Type>().reinterpret_cast::<DurationNanosecondType>()),
        Type::List(item) => {
            let list = array.as_list::<i32>();
            let items = outside_array(list.values(), &item.ty)?;
            let field = Arc::new(outside_field("item", item));
            Arc::new(ListArray::try_new(field, list.offsets().clone(), items, list.nulls().cloned())?)
        }
        Type::Map(value) => {
            let map = array.as_map();
            let field = Arc::new(outside_entries(value));
            let ArrowType::Struct(entry) = field.data_type().clone() else { unreachable!("entries are a struct") };
            let columns = vec![map.keys().clone(), outside_array(map.values(), &value.ty)?];
            let entries = StructArray::try_new(entry, columns, None)?;
            Arc::new(MapArray::try_new(field, map.offsets().clone(), entries, map.nulls().cloned(), false)?)
        }
        Type::Record(fields) => {
            let record = array.as_struct();
            let members = fields.iter().zip(record.columns()).map(|(f, c)| outside_array(c, &f.data_type.ty));
            let members = members.collect::<Result<_, _>>()?;
            let nulls = record.nulls().cloned();
            Arc::new(StructArray::try_new_with_length(outside_fields(fields), members, nulls, record.len())?)
        }
    })
}
