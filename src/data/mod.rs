//! What a row is: types, schemas, values, batches, keys and time. Everything else is built on this
//! module, and it depends on nothing else of ours.

pub mod array;
pub mod batch;
pub mod flight;
pub mod key;
pub mod time;
pub mod types;
pub mod value;

pub use batch::{Batch, Keys, Seq};
pub use types::{DataType, Field, Schema, Type};
pub use value::Value;
