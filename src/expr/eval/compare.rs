//! Comparisons.
//!
//! Arrow's own kernels are not used for floats: their order is IEEE's total one, where `-0.0` is less
//! than `0.0` and NaNs differ by sign. Ours is [`Value::compare`]'s: zeros are equal, NaN equals itself
//! and is greater than every number. Lists, maps and records can be equal or not, but have no order;
//! nulls inside them are equal to each other.
//!
//! [`Value::compare`]: crate::data::Value::compare

use arrow_array::{Array, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use super::operand::{Operand, Values, union_nulls};
use crate::data::array::value_at;
use crate::data::{DataType, Type};
use crate::expr::Comparison;

/// Compares operands that both have the type `ty`.
pub(super) fn compare(comparison: Comparison, a: &Operand, b: &Operand, ty: &Type, rows: usize) -> BooleanArray {
    if *ty == Type::Null || a.is_null_scalar() || b.is_null_scalar() {
        return BooleanArray::new_null(rows);
    }
    // `x > y` is `y < x`, and `x >= y` is `not x < y`, since the order is total.
    let bits = match comparison {
        Comparison::Equal => equal(a, b, ty, rows),
        Comparison::NotEqual => !&equal(a, b, ty, rows),
        Comparison::Less => less(a, b, ty, rows),
        Comparison::Greater => less(b, a, ty, rows),
        Comparison::LessOrEqual => !&less(b, a, ty, rows),
        Comparison::GreaterOrEqual => !&less(a, b, ty, rows),
    };
    BooleanArray::new(bits, union_nulls(&[a, b], rows))
}

/// Where both values are equal; arbitrary where one is null.
pub(super) fn equal(a: &Operand, b: &Operand, ty: &Type, rows: usize) -> BooleanBuffer {
    match ty {
        Type::Int | Type::Timestamp | Type::Duration => a.ints().zip_bits(b.ints(), |x, y| x == y),
        Type::Float => a.floats().zip_bits(b.floats(), |x, y| (x == y) | (x.is_nan() & y.is_nan())),
        Type::Bool => {
            let (x, y) = (bits(a, rows), bits(b, rows));
            !&(&x ^ &y)
        }
        Type::Str => strings(a, b, rows, |x, y| x == y),
        Type::Null | Type::List(_) | Type::Map(_) | Type::Record(_) => {
            let ty = DataType { ty: ty.clone(), nullable: true };
            let value = |of: &Operand, row| value_at(of.array(), &ty, of.index(row));
            BooleanBuffer::collect_bool(rows, |row| value(a, row).compare(&value(b, row)).is_eq())
        }
    }
}

fn less(a: &Operand, b: &Operand, ty: &Type, rows: usize) -> BooleanBuffer {
    match ty {
        Type::Int | Type::Timestamp | Type::Duration => a.ints().zip_bits(b.ints(), |x, y| x < y),
        Type::Float => less_floats(a.floats(), b.floats()),
        Type::Bool => {
            let (x, y) = (bits(a, rows), bits(b, rows));
            &!&x & &y
        }
        Type::Str => strings(a, b, rows, |x, y| x < y),
        Type::Null | Type::List(_) | Type::Map(_) | Type::Record(_) => unreachable!("{ty} has no order"),
    }
}

fn less_floats(a: Values<'_, f64>, b: Values<'_, f64>) -> BooleanBuffer {
    match (a, b) {
        // A number on the right needs no test for NaN on the left: IEEE's comparison is false then, and right.
        (a, Values::One(y)) if !y.is_nan() => a.zip_bits(Values::One(y), |x, y| x < y),
        (a, b) => a.zip_bits(b, |x, y| (x < y) | (!x.is_nan() & y.is_nan())),
    }
}

/// The bits of a boolean operand for each row.
fn bits(a: &Operand, rows: usize) -> BooleanBuffer {
    let values = a.booleans().values();
    match a {
        Operand::Array(_) => values.clone(),
        Operand::Scalar(_) if values.value(0) => BooleanBuffer::new_set(rows),
        Operand::Scalar(_) => BooleanBuffer::new_unset(rows),
    }
}

/// UTF-8 keeps the order of code points, so that bytes may be compared.
fn strings(a: &Operand, b: &Operand, rows: usize, f: impl Fn(&[u8], &[u8]) -> bool) -> BooleanBuffer {
    let (x, y) = (a.strings(), b.strings());
    let at = |s: &arrow_array::StringArray, row: usize| {
        let offsets = s.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    };
    match (a, b) {
        (Operand::Array(_), Operand::Scalar(_)) => {
            let (data, other) = (x.value_data(), y.value(0).as_bytes());
            BooleanBuffer::collect_bool(rows, |row| f(&data[at(x, row)], other))
        }
        (Operand::Scalar(_), Operand::Array(_)) => {
            let (other, data) = (x.value(0).as_bytes(), y.value_data());
            BooleanBuffer::collect_bool(rows, |row| f(other, &data[at(y, row)]))
        }
        (Operand::Array(_), Operand::Array(_)) | (Operand::Scalar(_), Operand::Scalar(_)) => {
            let (left, right) = (x.value_data(), y.value_data());
            BooleanBuffer::collect_bool(rows, |row| f(&left[at(x, row)], &right[at(y, row)]))
        }
    }
}

/// Where `mask` is true; its nulls count as false.
pub(super) fn true_bits(mask: &BooleanArray) -> BooleanBuffer {
    match mask.nulls() {
        Some(nulls) => mask.values() & nulls.inner(),
        None => mask.values().clone(),
    }
}

/// Where `mask` is false; its nulls count as neither.
pub(super) fn false_bits(mask: &BooleanArray) -> BooleanBuffer {
    let zeros = !mask.values();
    match mask.nulls() {
        Some(nulls) => &zeros & nulls.inner(),
        None => zeros,
    }
}

/// The mask that is true and false where told, and null elsewhere.
pub(super) fn ternary(is_true: BooleanBuffer, is_false: &BooleanBuffer) -> BooleanArray {
    let known = &is_true | is_false;
    let nulls = (known.count_set_bits() < known.len()).then(|| NullBuffer::new(known));
    BooleanArray::new(is_true, nulls)
}
