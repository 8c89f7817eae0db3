//! The static types of VPL and their physical form in Arrow.
//!
//! A type is known for every expression before anything runs. `timestamp` and `duration` are stored
//! as 64-bit integers (ns) like `int`, so that one set of kernels serves all three; sinks that have a
//! timestamp type of their own convert at the edge. Promotion (`int` widens to `float`) is decided
//! here and nowhere else.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType as ArrowType, Field as ArrowField, Fields};
use serde::{Deserialize, Serialize};

/// What kind of value; whether it may be null is a matter of [`DataType`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Type {
    /// The type of the literal `null` alone; unifies with every other type.
    Null,
    Int,
    Float,
    Bool,
    Str,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// Nanoseconds.
    Duration,
    List(Box<DataType>),
    /// Keys are strings.
    Map(Box<DataType>),
    Record(Arc<[Field]>),
}

/// A type together with whether its values may be null (`T?`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DataType {
    pub ty: Type,
    pub nullable: bool,
}

/// A named, typed column or record member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub data_type: DataType,
}

/// The columns of the rows on one edge of the plan, in order; names are unique.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schema {
    pub fields: Vec<Field>,
}

impl Type {
    pub fn required(self) -> DataType {
        DataType { ty: self, nullable: false }
    }

    pub fn optional(self) -> DataType {
        DataType { ty: self, nullable: true }
    }

    pub fn is_numeric(&self) -> bool {
        matches!(self, Type::Int | Type::Float)
    }

    /// Whether values have a total order that `<`, `min` and `order_by` may use.
    pub fn is_ordered(&self) -> bool {
        matches!(self, Type::Null | Type::Int | Type::Float | Type::Bool | Type::Str | Type::Timestamp | Type::Duration)
    }

    pub fn arrow(&self) -> ArrowType {
        match self {
            Type::Null => ArrowType::Null,
            Type::Int | Type::Timestamp | Type::Duration => ArrowType::Int64,
            Type::Float => ArrowType::Float64,
            Type::Bool => ArrowType::Boolean,
            Type::Str => ArrowType::Utf8,
            Type::List(item) => ArrowType::List(list_item(item)),
            Type::Map(value) => ArrowType::Map(map_entries(value), false),
            Type::Record(fields) => ArrowType::Struct(arrow_fields(fields)),
        }
    }
}

impl DataType {
    /// The least type both sides widen to, or `None` where they have nothing in common.
    pub fn unify(&self, other: &DataType) -> Option<DataType> {
        let nullable = self.nullable || other.nullable || self.ty == Type::Null || other.ty == Type::Null;
        let ty = match (&self.ty, &other.ty) {
            (a, b) if a == b => a.clone(),
            (Type::Null, t) | (t, Type::Null) => t.clone(),
            (Type::Int, Type::Float) | (Type::Float, Type::Int) => Type::Float,
            (Type::List(a), Type::List(b)) => Type::List(Box::new(a.unify(b)?)),
            (Type::Map(a), Type::Map(b)) => Type::Map(Box::new(a.unify(b)?)),
            (Type::Record(a), Type::Record(b)) => Type::Record(unify_records(a, b)?),
            _ => return None,
        };
        Some(DataType { ty, nullable })
    }

    pub fn with_nullable(mut self, nullable: bool) -> DataType {
        self.nullable = nullable;
        self
    }

    pub fn arrow(&self) -> ArrowType {
        self.ty.arrow()
    }
}

impl Field {
    pub fn new(name: impl Into<String>, data_type: DataType) -> Field {
        Field { name: name.into(), data_type }
    }
}

impl Schema {
    pub fn new(fields: Vec<Field>) -> Schema {
        Schema { fields }
    }

    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Fields by name; one that is missing on a side becomes nullable, as in a sampled union of rows.
fn unify_records(a: &[Field], b: &[Field]) -> Option<Arc<[Field]>> {
    let mut out = Vec::with_capacity(a.len());
    for f in a {
        let data_type = match b.iter().find(|g| g.name == f.name) {
            Some(g) => f.data_type.unify(&g.data_type)?,
            None => f.data_type.clone().with_nullable(true),
        };
        out.push(Field::new(f.name.clone(), data_type));
    }
    for g in b.iter().filter(|g| a.iter().all(|f| f.name != g.name)) {
        out.push(Field::new(g.name.clone(), g.data_type.clone().with_nullable(true)));
    }
    Some(out.into())
}

/// The Arrow field of a list's items. Physical nullability is always true: whether a null may occur
/// is the type checker's business, and one physical form per type keeps arrays of both castless.
pub fn list_item(item: &DataType) -> Arc<ArrowField> {
    Arc::new(ArrowField::new("item", item.arrow(), true))
}

/// The Arrow field of a map's entries (a struct of `key` and `value`).
pub fn map_entries(value: &DataType) -> Arc<ArrowField> {
    let entry = Fields::from(vec![
        ArrowField::new("key", ArrowType::Utf8, false),
        ArrowField::new("value", value.arrow(), true),
    ]);
    Arc::new(ArrowField::new("entries", ArrowType::Struct(entry), false))
}

/// The Arrow fields of a record.
pub fn arrow_fields(fields: &[Field]) -> Fields {
    fields.iter().map(|f| ArrowField::new(&f.name, f.data_type.arrow(), true)).collect()
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Null => f.write_str("null"),
            Type::Int => f.write_str("int"),
            Type::Float => f.write_str("float"),
            Type::Bool => f.write_str("bool"),
            Type::Str => f.write_str("str"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::List(item) => write!(f, "[{item}]"),
            Type::Map(value) => write!(f, "{{str: {value}}}"),
            Type::Record(fields) => {
                f.write_str("{")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", field.name, field.data_type)?;
                }
                f.write_str("}")
            }
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.nullable && self.ty != Type::Null { "?" } else { "" };
        write!(f, "{}{mark}", self.ty)
    }
}
