//! One scalar value: literals and constants, test oracles, and the rare paths that handle a single
//! row. Hot paths work on Arrow arrays and never build these.
//!
//! [`Value::compare`] is the one order of VPL values: null first, `-0.0` equal to `0.0`, NaN equal to
//! itself and after every number, strings by code point. The key encoding ([`super::key`]) agrees with it.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A typed scalar. Two values of one column always are of the same variant, or null.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(Arc<str>),
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Nanoseconds.
    Duration(i64),
    List(Vec<Value>),
    /// In insertion order; keys are unique.
    Map(Vec<(Arc<str>, Value)>),
    /// Positional, by the fields of the record type.
    Record(Vec<Value>),
}

/// Identity: whether one may stand for the other wherever it is shown. So `-0.0` is not `0.0`, and NaN is
/// NaN; how the language compares values is [`Value::compare`].
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        use Value::{Bool, Duration, Float, Int, List, Map, Null, Record, Str, Timestamp};
        match (self, other) {
            (Null, Null) => true,
            (Int(a), Int(b)) | (Timestamp(a), Timestamp(b)) | (Duration(a), Duration(b)) => a == b,
            (Float(a), Float(b)) => a.to_bits() == b.to_bits(),
            (Bool(a), Bool(b)) => a == b,
            (Str(a), Str(b)) => a == b,
            (List(a), List(b)) | (Record(a), Record(b)) => a == b,
            (Map(a), Map(b)) => a == b,
            (
                Null | Int(_) | Float(_) | Bool(_) | Str(_) | Timestamp(_) | Duration(_) | List(_) | Map(_) | Record(_),
                _,
            ) => false,
        }
    }
}

impl Value {
    pub fn str(s: &str) -> Value {
        Value::Str(s.into())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The total order of values of one type (see the module's doc); values of different types, which
    /// a checked program never compares, order by variant.
    pub fn compare(&self, other: &Value) -> Ordering {
        use Value::*;
        match (self, other) {
            (Int(a), Int(b)) | (Timestamp(a), Timestamp(b)) | (Duration(a), Duration(b)) => a.cmp(b),
            (Float(a), Float(b)) => compare_floats(*a, *b),
            (Int(a), Float(b)) => compare_floats(*a as f64, *b),
            (Float(a), Int(b)) => compare_floats(*a, *b as f64),
            (Bool(a), Bool(b)) => a.cmp(b),
            (Str(a), Str(b)) => a.cmp(b),
            (List(a), List(b)) | (Record(a), Record(b)) => compare_all(a, b),
            (Map(a), Map(b)) => compare_entries(a, b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::Float(_) => 3,
            Value::Str(_) => 4,
            Value::Timestamp(_) => 5,
            Value::Duration(_) => 6,
            Value::List(_) => 7,
            Value::Map(_) => 8,
            Value::Record(_) => 9,
        }
    }
}

/// The order of floats: `-0.0 == 0.0`, NaN equals NaN and comes last.
pub fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn compare_all(a: &[Value], b: &[Value]) -> Ordering {
    let differing = a.iter().zip(b).map(|(x, y)| x.compare(y)).find(|o| o.is_ne());
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// Maps are equal whatever the order of their entries, as their keys' encodings are.
fn compare_entries(a: &[(Arc<str>, Value)], b: &[(Arc<str>, Value)]) -> Ordering {
    let sorted = |entries: &[(Arc<str>, Value)]| {
        let mut entries = entries.to_vec();
        entries.sort_by(|x, y| x.0.cmp(&y.0));
        entries
    };
    let (a, b) = (sorted(a), sorted(b));
    let entry = |x: &(Arc<str>, Value), y: &(Arc<str>, Value)| x.0.cmp(&y.0).then_with(|| x.1.compare(&y.1));
    let differing = a.iter().zip(&b).map(|(x, y)| entry(x, y)).find(|o| o.is_ne());
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}
