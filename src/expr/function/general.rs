//! Functions of values of any type: text, hash, conversions that read better than a cast.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};

use super::{Call, Function, function};
use crate::data::Value;
use crate::data::key::encode_keys;
use crate::expr::CastFailure;
use crate::expr::eval::cast::cast;
use crate::expr::text::write_text;

pub(super) const FUNCTIONS: &[Function] = &[
    function!(
        "hash",
        "hash(x: any, ...) -> int!",
        "a hash of all arguments, the same in every run and version; null has one too, and 1 and 1.0 differ",
        hash
    ),
    function!("nullif", "nullif(x: T, y: T) -> T?", "null if x equals y, else x", |c| {
        let one = |row: usize| {
            let (x, y) = (c.value(0, row), c.value(1, row));
            if !x.is_null() && x.compare(&y).is_eq() { Value::Null } else { x }
        };
        let values: Vec<_> = (0..c.rows).map(one).collect();
        crate::data::array::array_of_values(&c.resolved.result, &values)
    }),
    function!(
        "to_float",
        "to_float(x: int) -> float\nto_float(x: float) -> float\nto_float(x: str) -> float\nto_float(x: bool) -> float",
        "cast(x as float)",
        convert
    ),
    function!(
        "to_int",
        "to_int(x: int) -> int\nto_int(x: float) -> int\nto_int(x: str) -> int\nto_int(x: bool) -> int",
        "cast(x as int)",
        convert
    ),
    function!(
        "to_str",
        "to_str(x: any) -> str!",
        "x as an output row shows it; \"null\" for null, so that f-strings keep their other parts",
        |c| c.strings(|row, out| {
            write_text(c.args[0].array(), c.ty(0), c.args[0].index(row), out);
            Some(())
        })
    ),
];

fn hash(c: &Call<'_>) -> ArrayRef {
    let columns: Vec<_> =
        c.args.iter().zip(&c.resolved.args).map(|(arg, ty)| (arg.clone().into_array(c.rows), ty.clone())).collect();
    let keys = encode_keys(&columns, c.rows);
    Arc::new(Int64Array::from_iter_values((0..c.rows).map(|row| keys.hash(row) as i64)))
}

fn convert(c: &Call<'_>) -> ArrayRef {
    let array = c.args[0].array();
    cast(array, &c.resolved.args[0], &c.resolved.result, CastFailure::Count, c.rows, c.errors)
}
