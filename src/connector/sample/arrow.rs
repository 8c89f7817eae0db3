//! The schema of columnar files as VPL sees it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType as ArrowType;

use super::shape::time_unit;
use super::{SampleError, SampledType};
use crate::connector::spec::TimeUnit;
use crate::data::{DataType, Field, Schema, Type};

/// The type of a batch's rows: the columns' types, nullable where the file's schema says so. Columns of
/// types that VPL does not have are left out.
pub fn of_batch(batch: &RecordBatch) -> SampledType {
    let (mut fields, mut units) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(ty) = vpl_type(field.data_type()) else { continue };
        let unit = if ty == Type::Int { unit_of_column(field.name(), column) } else { None };
        let ty = if unit.is_some() { Type::Timestamp } else { ty };
        fields.push(Field::new(field.name().clone(), ty.required().with_nullable(field.is_nullable())));
        units.push(unit);
    }
    SampledType::new(None, Schema::new(fields), units, batch.num_rows() as u64)
}

/// The type that rows of both have, fields by name.
pub fn unify(a: &SampledType, b: &SampledType) -> Result<SampledType, SampleError> {
    let (mut fields, mut units) = (Vec::new(), Vec::new());
    for (field, unit) in a.schema.fields.iter().zip(&a.time_units) {
        let other = b.schema.index_of(&field.name);
        let ty = match other.map(|i| &b.schema.fields[i].data_type) {
            Some(ty) => field.data_type.unify(ty).ok_or_else(|| SampleError::FilesDiffer {
                field: field.name.clone(),
                first: field.data_type.ty.clone(),
                second: ty.ty.clone(),
            })?,
            None => field.data_type.clone().with_nullable(true),
        };
        fields.push(Field::new(field.name.clone(), ty));
        units.push(unit.or(other.and_then(|i| b.time_units[i])));
    }
    let more = b.schema.fields.iter().zip(&b.time_units).filter(|(f, _)| a.schema.index_of(&f.name).is_none());
    for (field, unit) in more {
        fields.push(Field::new(field.name.clone(), field.data_type.clone().with_nullable(true)));
        units.push(*unit);
    }
    Ok(SampledType::new(a.name.clone(), Schema::new(fields), units, a.rows + b.rows))
}

fn unit_of_column(name: &str, column: &dyn Array) -> Option<TimeUnit> {
    let ints = arrow_cast::cast(column, &ArrowType::Int64).ok()?;
    let values = ints.as_primitive::<Int64Type>().iter().flatten();
    let range = values.fold(None, |range: Option<(i64, i64)>, v| {
        let (low, high) = range.unwrap_or((v, v));
        Some((low.min(v), high.max(v)))
    });
    range.and_then(|(low, high)| time_unit(name, low, high))
}

/// The VPL type that a column of an Arrow type is read as.
pub fn vpl_type(ty: &ArrowType) -> Option<Type> {
    let item = |field: &arrow_schema::Field| -> Option<DataType> {
        Some(vpl_type(field.data_type())?.required().with_nullable(field.is_nullable()))
    };
    Some(match ty {
        ArrowType::Boolean => Type::Bool,
        ArrowType::Int8 | ArrowType::Int16 | ArrowType::Int32 | ArrowType::Int64 => Type::Int,
        ArrowType::UInt8 | ArrowType::UInt16 | ArrowType::UInt32 | ArrowType::UInt64 => Type::Int,
        ArrowType::Float16 | ArrowType::Float32 | ArrowType::Float64 => Type::Float,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => Type::Str,
        ArrowType::Timestamp(_, _) | ArrowType::Date32 | ArrowType::Date64 => Type::Timestamp,
        ArrowType::Duration(_) => Type::Duration,
        ArrowType::Dictionary(_, value) => vpl_type(value)?,
        ArrowType::List(f) | ArrowType::LargeList(f) | ArrowType::FixedSizeList(f, _) => Type::List(Box::new(item(f)?)),
        ArrowType::Struct(fields) => {
            let field = |f: &Arc<arrow_schema::Field>| Some(Field::new(f.name().clone(), item(f)?));
            Type::Record(fields.iter().map(field).collect::<Option<_>>()?)
        }
        ArrowType::Map(entries, _) => match entries.data_type() {
            ArrowType::Struct(kv) if kv.len() == 2 && vpl_type(kv[0].data_type()) == Some(Type::Str) => {
                Type::Map(Box::new(item(&kv[1])?))
            }
            _ => return None,
        },
        _ => return None,
    })
}
