//! Arithmetic and bit operators.
//!
//! Ints, timestamps and durations share their kernels. A checked kernel makes one pass that computes
//! every row without a branch and notes whether any of them failed; only then does a second pass find
//! the rows that did, leaving out null ones, whose values are arbitrary. Testing each row as it is
//! computed would cost the common case for the sake of the rare one.
//!
//! Float results follow IEEE, but division by zero fails as it does for ints. `//` and `%` of floats
//! are Python's: `a // b * b + a % b` is `a` but for rounding, and `%` has the sign of the divisor.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float64Array, Int64Array};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};

use super::Errors;
use super::operand::{Operand, Values, union_nulls};
use super::strings;
use crate::data::Type;
use crate::expr::BinaryOp;

pub(super) fn negate_floats(a: &Operand) -> ArrayRef {
    Arc::new(Float64Array::new(a.floats().map(|v| -v).into(), a.array().nulls().cloned()))
}

pub(super) fn negate_ints(a: &Operand, rows: usize, errors: &Errors) -> ArrayRef {
    let zero = Values::One(());
    let (values, nulls) = checked(a.ints(), zero, a.nulls(rows), errors, |v, ()| v.overflowing_neg());
    Arc::new(Int64Array::new(values, nulls))
}

pub(super) fn bit_not(a: &Operand) -> ArrayRef {
    Arc::new(Int64Array::new(a.ints().map(|v| !v).into(), a.array().nulls().cloned()))
}

/// An arithmetic or bit operator; `types` are those of the operands.
pub(crate) fn binary(
    op: BinaryOp,
    a: &Operand,
    b: &Operand,
    types: &(Type, Type),
    rows: usize,
    errors: &Errors,
) -> ArrayRef {
    match types {
        (Type::Str, Type::Str) => strings::concat(&[a, b], rows, errors),
        (Type::Float, Type::Float) => floats(op, a, b, rows, errors),
        (Type::Duration, Type::Float) => scaled(op, a, b, rows, errors),
        (Type::Duration, Type::Duration) if op == BinaryOp::Divide => {
            let nulls = union_nulls(&[a, b], rows);
            let ratio = |x: i64, y: i64| (x as f64 / y as f64, y == 0);
            let (values, nulls) = checked(a.ints(), b.ints(), nulls, errors, ratio);
            Arc::new(Float64Array::new(values, nulls))
        }
        _ => ints(op, a, b, rows, errors),
    }
}

fn ints(op: BinaryOp, a: &Operand, b: &Operand, rows: usize, errors: &Errors) -> ArrayRef {
    let nulls = union_nulls(&[a, b], rows);
    let (x, y) = (a.ints(), b.ints());
    let (values, nulls) = match op {
        BinaryOp::Add => checked(x, y, nulls, errors, i64::overflowing_add),
        BinaryOp::Subtract => checked(x, y, nulls, errors, i64::overflowing_sub),
        BinaryOp::Multiply => checked(x, y, nulls, errors, i64::overflowing_mul),
        BinaryOp::FloorDivide => checked(x, y, nulls, errors, floor_divide_ints),
        BinaryOp::Modulo => checked(x, y, nulls, errors, modulo_ints),
        BinaryOp::Power => checked(x, y, nulls, errors, power_ints),
        BinaryOp::ShiftLeft => checked(x, y, nulls, errors, |v, by| shift(v, by, i64::wrapping_shl)),
        BinaryOp::ShiftRight => checked(x, y, nulls, errors, |v, by| shift(v, by, i64::wrapping_shr)),
        BinaryOp::BitAnd => (x.zip(y, |a, b| a & b).into(), nulls),
        BinaryOp::BitOr => (x.zip(y, |a, b| a | b).into(), nulls),
        BinaryOp::BitXor => (x.zip(y, |a, b| a ^ b).into(), nulls),
        BinaryOp::Divide
        | BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual
        | BinaryOp::Like
        | BinaryOp::Matches => unreachable!("{op:?} is not an operator of ints"),
    };
    Arc::new(Int64Array::new(values, nulls))
}

fn floats(op: BinaryOp, a: &Operand, b: &Operand, rows: usize, errors: &Errors) -> ArrayRef {
    let nulls = union_nulls(&[a, b], rows);
    let (x, y) = (a.floats(), b.floats());
    let (values, nulls) = match op {
        BinaryOp::Add => (x.zip(y, |a, b| a + b).into(), nulls),
        BinaryOp::Subtract => (x.zip(y, |a, b| a - b).into(), nulls),
        BinaryOp::Multiply => (x.zip(y, |a, b| a * b).into(), nulls),
        BinaryOp::Power => (x.zip(y, f64::powf).into(), nulls),
        BinaryOp::Divide => checked(x, y, nulls, errors, |a, b| (a / b, b == 0.0)),
        BinaryOp::FloorDivide => checked(x, y, nulls, errors, |a, b| (floor_divide_floats(a, b), b == 0.0)),
        BinaryOp::Modulo => checked(x, y, nulls, errors, |a, b| (modulo_floats(a, b), b == 0.0)),
        BinaryOp::BitAnd
        | BinaryOp::BitOr
        | BinaryOp::BitXor
        | BinaryOp::ShiftLeft
        | BinaryOp::ShiftRight
        | BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual
        | BinaryOp::Like
        | BinaryOp::Matches => unreachable!("{op:?} is not an operator of floats"),
    };
    Arc::new(Float64Array::new(values, nulls))
}

/// A duration times or divided by a float, rounded to the nearest nanosecond.
fn scaled(op: BinaryOp, a: &Operand, b: &Operand, rows: usize, errors: &Errors) -> ArrayRef {
    let nulls = union_nulls(&[a, b], rows);
    let (values, nulls) = if op == BinaryOp::Multiply {
        checked(a.ints(), b.floats(), nulls, errors, |d, by| round_to_int(d as f64 * by))
    } else {
        checked(a.ints(), b.floats(), nulls, errors, |d, by| {
            let (ns, failed) = round_to_int(d as f64 / by);
            (ns, failed || by == 0.0)
        })
    };
    Arc::new(Int64Array::new(values, nulls))
}

/// Applies `f`, which gives a value and whether it failed, to each pair; failed rows become null and
/// are counted.
fn checked<A: Copy, B: Copy, R: arrow_buffer::ArrowNativeType>(
    a: Values<'_, A>,
    b: Values<'_, B>,
    nulls: Option<NullBuffer>,
    errors: &Errors,
    f: impl Fn(A, B) -> (R, bool),
) -> (ScalarBuffer<R>, Option<NullBuffer>) {
    let mut any_failed = false;
    let values = a.zip(b, |a, b| {
        let (value, failed) = f(a, b);
        any_failed |= failed;
        value
    });
    if !any_failed {
        return (values.into(), nulls);
    }
    let failed = a.zip_bits(b, |a, b| f(a, b).1);
    let failed = match &nulls {
        Some(nulls) => &failed & nulls.inner(),
        None => failed,
    };
    errors.add(failed.count_set_bits() as u64);
    let succeeded: BooleanBuffer = !&failed;
    (values.into(), NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::new(succeeded))))
}

fn floor_divide_ints(a: i64, b: i64) -> (i64, bool) {
    if b == 0 {
        return (0, true);
    }
    let (quotient, overflow) = a.overflowing_div(b);
    let inexact_and_negative = a.wrapping_rem(b) != 0 && (a < 0) != (b < 0);
    (quotient - inexact_and_negative as i64, overflow)
}

fn modulo_ints(a: i64, b: i64) -> (i64, bool) {
    if b == 0 {
        return (0, true);
    }
    let remainder = a.wrapping_rem(b);
    let other_sign = remainder != 0 && (remainder < 0) != (b < 0);
    (if other_sign { remainder + b } else { remainder }, false)
}

fn power_ints(base: i64, exponent: i64) -> (i64, bool) {
    if exponent < 0 {
        return (0, true);
    }
    match u32::try_from(exponent) {
        Ok(exponent) => base.overflowing_pow(exponent),
        // Only these three have powers beyond any exponent of 32 bits.
        Err(_) if base == 0 || base == 1 => (base, false),
        Err(_) if base == -1 => (if exponent % 2 == 0 { 1 } else { -1 }, false),
        Err(_) => (0, true),
    }
}

fn shift(value: i64, by: i64, f: impl Fn(i64, u32) -> i64) -> (i64, bool) {
    (f(value, by as u32), !(0..64).contains(&by))
}

fn round_to_int(value: f64) -> (i64, bool) {
    let rounded = value.round();
    // 2^63 is a float; the greatest int is not.
    let fits = rounded >= i64::MIN as f64 && rounded < -(i64::MIN as f64);
    (rounded as i64, !fits)
}

fn modulo_floats(a: f64, b: f64) -> f64 {
    let remainder = a % b;
    if remainder == 0.0 {
        return 0.0f64.copysign(b);
    }
    if (remainder < 0.0) != (b < 0.0) { remainder + b } else { remainder }
}

fn floor_divide_floats(a: f64, b: f64) -> f64 {
    let remainder = a % b;
    let mut quotient = (a - remainder) / b;
    if remainder != 0.0 && (remainder < 0.0) != (b < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0.0f64.copysign(a / b);
    }
    // The division above is exact in theory only; the nearest int is the quotient that was meant.
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}
