//! The table of scalar functions: name, signature, doc line and implementation of each, in one place.

use arrow_array::ArrayRef;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Errors;
use super::eval::operand::Operand;
use crate::data::DataType;

/// One scalar function of the language.
pub struct Function {
    pub name: &'static str,
    /// As printed by `varpulis functions`: `round(x: float, digits: int?) -> float`.
    pub signature: &'static str,
    pub doc: &'static str,
    /// The types to which the arguments must be widened and the type of the result, or what is wrong.
    pub resolve: fn(&[DataType]) -> Result<Resolved, String>,
    /// The value for each row, or for the only row if all arguments are constant.
    pub evaluate: fn(&Call<'_>) -> ArrayRef,
}

/// A call of a function over some rows.
pub struct Call<'a> {
    /// Of the resolved types.
    pub args: &'a [Operand],
    pub resolved: &'a Resolved,
    pub rows: usize,
    pub errors: &'a Errors,
}

/// A signature chosen for a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub args: Vec<DataType>,
    pub result: DataType,
}

/// All functions, sorted by name.
pub fn functions() -> &'static [Function] {
    &[]
}

/// A function in a plan; serialized by name.
#[derive(Clone, Copy)]
pub struct FunctionRef(pub &'static Function);

impl FunctionRef {
    pub fn by_name(name: &str) -> Option<FunctionRef> {
        functions().iter().find(|f| f.name == name).map(FunctionRef)
    }
}

impl PartialEq for FunctionRef {
    fn eq(&self, other: &FunctionRef) -> bool {
        self.0.name == other.0.name
    }
}

impl std::fmt::Debug for FunctionRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

impl Serialize for FunctionRef {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0.name)
    }
}

impl<'de> Deserialize<'de> for FunctionRef {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<FunctionRef, D::Error> {
        let name = String::deserialize(d)?;
        FunctionRef::by_name(&name).ok_or_else(|| serde::de::Error::custom(format!("no function `{name}`")))
    }
}
