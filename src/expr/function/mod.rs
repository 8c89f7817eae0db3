//! The table of scalar functions: name, signature, doc line and implementation of each, in one place.
//!
//! The signature that `varpulis functions` prints is the one that calls are checked by (see
//! [`signature`]): there is no second description that could differ from it. Functions are pure. A
//! function of null is null and a row that fails gives null and is counted, unless the doc line says
//! otherwise. Float functions follow IEEE: outside their domain they give NaN or an infinity.

mod call;
mod general;
mod json;
mod math;
mod nested;
mod regex;
pub mod signature;
mod strings;
mod time;

use std::sync::LazyLock;

use arrow_array::ArrayRef;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use call::Call;

use crate::data::DataType;

/// One scalar function of the language.
#[derive(Clone, Copy)]
pub struct Function {
    pub name: &'static str,
    /// As printed by `varpulis functions`: `round(x: float, digits: int?) -> float`. One line for each overload.
    pub signature: &'static str,
    pub doc: &'static str,
    /// The types to which the arguments must be widened and the type of the result, or what is wrong.
    pub resolve: fn(&[DataType]) -> Result<Resolved, String>,
    /// The value for each row, or for the only row if all arguments are constant.
    pub evaluate: fn(&Call<'_>) -> ArrayRef,
}

/// A signature chosen for a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub args: Vec<DataType>,
    pub result: DataType,
}

/// An entry of the table whose calls are checked by its signature.
macro_rules! function {
    ($name:literal, $signature:literal, $doc:literal, $evaluate:expr) => {
        crate::expr::function::Function {
            name: $name,
            signature: $signature,
            doc: $doc,
            resolve: |args| crate::expr::function::signature::resolve($name, $signature, args),
            evaluate: $evaluate,
        }
    };
}
use function;

static TABLE: LazyLock<Vec<Function>> = LazyLock::new(|| {
    let families = [
        general::FUNCTIONS,
        json::FUNCTIONS,
        math::FUNCTIONS,
        nested::FUNCTIONS,
        regex::FUNCTIONS,
        strings::FUNCTIONS,
        time::FUNCTIONS,
    ];
    let mut all = families.concat();
    all.sort_by_key(|f| f.name);
    all
});

/// All functions, sorted by name.
pub fn functions() -> &'static [Function] {
    &TABLE
}

/// Why a name that other languages have as a function is not one here, and what to use.
pub fn rejected(name: &str) -> Option<&'static str> {
    match name {
        "now" | "today" | "current_time" | "current_timestamp" | "current_date" | "localtime" | "clock" => {
            Some("the clock would make a replay differ from the live run; use the row's own time")
        }
        "random" | "rand" | "random_int" | "shuffle" => {
            Some("a random number would make a replay differ from the live run; use `hash` of a field")
        }
        "uuid" | "uuid4" | "gen_random_uuid" | "nanoid" => Some(
            "a random identifier would make a replay differ from the live run; use `hash` of the fields that identify the row",
        ),
        _ => None,
    }
}

/// A function in a plan; serialized by name.
#[derive(Clone, Copy)]
pub struct FunctionRef(pub &'static Function);

impl FunctionRef {
    pub fn by_name(name: &str) -> Option<FunctionRef> {
        let found = functions().binary_search_by_key(&name, |f| f.name).ok()?;
        Some(FunctionRef(&functions()[found]))
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

#[cfg(test)]
mod tests;
