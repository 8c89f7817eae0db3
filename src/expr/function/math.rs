//! Mathematics.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array};

use super::{Call, Function, function};
use crate::data::value::compare_floats;
use crate::data::{Type, Value};
use crate::expr::BinaryOp;
use crate::expr::eval::arithmetic;

pub(super) const FUNCTIONS: &[Function] = &[
    function!(
        "abs",
        "abs(x: int) -> int\nabs(x: float) -> float\nabs(x: duration) -> duration",
        "the absolute value",
        abs
    ),
    function!("acos", "acos(x: float) -> float", "the arc cosine, in radians", |c| c.map_floats(f64::acos)),
    function!("asin", "asin(x: float) -> float", "the arc sine, in radians", |c| c.map_floats(f64::asin)),
    function!("atan", "atan(x: float) -> float", "the arc tangent, in radians", |c| c.map_floats(f64::atan)),
    function!("atan2", "atan2(y: float, x: float) -> float", "the angle of the point (x, y), in radians", |c| {
        c.zip_floats(f64::atan2)
    }),
    function!("cbrt", "cbrt(x: float) -> float", "the cube root", |c| c.map_floats(f64::cbrt)),
    function!("ceil", "ceil(x: int) -> int\nceil(x: float) -> float", "the least whole number not below x", |c| {
        whole(c, f64::ceil)
    }),
    function!(
        "clamp",
        "clamp(x: T, low: T, high: T) -> T where T: ordered",
        "x, but at least low and at most high (which wins if they cross)",
        clamp
    ),
    function!("cos", "cos(x: float) -> float", "the cosine of an angle in radians", |c| c.map_floats(f64::cos)),
    function!("cosh", "cosh(x: float) -> float", "the hyperbolic cosine", |c| c.map_floats(f64::cosh)),
    function!("degrees", "degrees(x: float) -> float", "an angle in radians, in degrees", |c| {
        c.map_floats(f64::to_degrees)
    }),
    function!("e", "e() -> float", "Euler's number", |_| constant(std::f64::consts::E)),
    function!("exp", "exp(x: float) -> float", "e to the power of x", |c| c.map_floats(f64::exp)),
    function!(
        "floor",
        "floor(x: int) -> int\nfloor(x: float) -> float",
        "the greatest whole number not above x",
        |c| { whole(c, f64::floor) }
    ),
    function!("gcd", "gcd(a: int, b: int) -> int", "the greatest common divisor; 0 of two zeros", |c| {
        c.ints(|row| {
            let (a, b) = (c.int(0, row)?, c.int(1, row)?);
            c.or_fail(i64::try_from(gcd(a.unsigned_abs(), b.unsigned_abs())).ok())
        })
    }),
    function!("greatest", "greatest(x: T, y: T, ...) -> T where T: ordered", "the greatest argument", |c| {
        extreme(c, std::cmp::Ordering::Greater)
    }),
    function!("is_finite", "is_finite(x: float) -> bool", "whether x is neither NaN nor infinite", |c| {
        c.booleans(|row| Some(c.float(0, row)?.is_finite()))
    }),
    function!("is_nan", "is_nan(x: float) -> bool", "whether x is NaN", |c| {
        c.booleans(|row| Some(c.float(0, row)?.is_nan()))
    }),
    function!("lcm", "lcm(a: int, b: int) -> int", "the least common multiple; 0 if either is 0", |c| {
        c.ints(|row| {
            let (a, b) = (c.int(0, row)?, c.int(1, row)?);
            c.or_fail(lcm(a.unsigned_abs(), b.unsigned_abs()))
        })
    }),
    function!("least", "least(x: T, y: T, ...) -> T where T: ordered", "the least argument", |c| {
        extreme(c, std::cmp::Ordering::Less)
    }),
    function!("ln", "ln(x: float) -> float", "the natural logarithm", |c| c.map_floats(f64::ln)),
    function!("log", "log(x: float, base: float) -> float", "the logarithm to a base", |c| c.zip_floats(f64::log)),
    function!("log10", "log10(x: float) -> float", "the logarithm to base 10", |c| c.map_floats(f64::log10)),
    function!("log2", "log2(x: float) -> float", "the logarithm to base 2", |c| c.map_floats(f64::log2)),
    function!(
        "mod",
        "mod(a: int, b: int) -> int\nmod(a: float, b: float) -> float",
        "a % b, with the sign of b",
        |c| {
            let types = (c.ty(0).clone(), c.ty(1).clone());
            arithmetic::binary(BinaryOp::Modulo, &c.args[0], &c.args[1], &types, c.rows, c.errors)
        }
    ),
    function!("pi", "pi() -> float", "the circle's circumference over its diameter", |_| constant(
        std::f64::consts::PI
    )),
    function!("pow", "pow(x: float, y: float) -> float", "x to the power of y", |c| c.zip_floats(f64::powf)),
    function!("radians", "radians(x: float) -> float", "an angle in degrees, in radians", |c| {
        c.map_floats(f64::to_radians)
    }),
    function!(
        "round",
        "round(x: int) -> int\nround(x: float, digits: int?) -> float",
        "x to so many decimals (default 0; negative for tens), halves away from zero",
        round
    ),
    function!(
        "sign",
        "sign(x: int) -> int\nsign(x: float) -> float",
        "-1, 0 or 1 as x is less than, equal to or greater than 0; NaN of NaN",
        |c| {
            if *c.ty(0) == Type::Int {
                return c.map_ints(|x| Some(x.signum()));
            }
            c.map_floats(|x| if x == 0.0 || x.is_nan() { x } else { x.signum() })
        }
    ),
    function!("sin", "sin(x: float) -> float", "the sine of an angle in radians", |c| c.map_floats(f64::sin)),
    function!("sinh", "sinh(x: float) -> float", "the hyperbolic sine", |c| c.map_floats(f64::sinh)),
    function!("sqrt", "sqrt(x: float) -> float", "the square root", |c| c.map_floats(f64::sqrt)),
    function!("tan", "tan(x: float) -> float", "the tangent of an angle in radians", |c| c.map_floats(f64::tan)),
    function!("tanh", "tanh(x: float) -> float", "the hyperbolic tangent", |c| c.map_floats(f64::tanh)),
    function!("trunc", "trunc(x: int) -> int\ntrunc(x: float) -> float", "x without its decimals", |c| {
        whole(c, f64::trunc)
    }),
];

fn constant(value: f64) -> ArrayRef {
    Arc::new(Float64Array::from(vec![value]))
}

fn abs(c: &Call<'_>) -> ArrayRef {
    if *c.ty(0) == Type::Float { c.map_floats(f64::abs) } else { c.map_ints(i64::checked_abs) }
}

/// A rounding function, which leaves ints as they are.
fn whole(c: &Call<'_>, f: fn(f64) -> f64) -> ArrayRef {
    if *c.ty(0) == Type::Int { c.args[0].array().clone() } else { c.map_floats(f) }
}

fn round(c: &Call<'_>) -> ArrayRef {
    if !c.has(1) {
        return whole(c, f64::round);
    }
    c.floats(|row| Some(round_to(c.float(0, row)?, c.int(1, row)?)))
}

fn round_to(x: f64, digits: i64) -> f64 {
    // Beyond these a power of ten is infinite, and no float has such digits.
    if digits > 308 || !x.is_finite() {
        return x;
    }
    if digits < -308 {
        return 0.0f64.copysign(x);
    }
    let power = 10f64.powi(digits.unsigned_abs() as i32);
    let rounded = if digits >= 0 { (x * power).round() / power } else { (x / power).round() * power };
    // What overflows on the way has no decimals to round.
    if rounded.is_finite() { rounded } else { x }
}

fn clamp(c: &Call<'_>) -> ArrayRef {
    c.values(|args| {
        let [x, low, high] = args else { unreachable!("clamp has three arguments") };
        let raised = if x.compare(low).is_lt() { low } else { x };
        Some(if raised.compare(high).is_gt() { high } else { raised }.clone())
    })
}

/// The argument that is `wanted` among all; the first of equal ones.
fn extreme(c: &Call<'_>, wanted: std::cmp::Ordering) -> ArrayRef {
    let nulls = c.nulls();
    let (first, rest) = c.args.split_first().expect("at least two arguments");
    match c.ty(0) {
        Type::Float => {
            let better = |a: f64, b: f64| if compare_floats(b, a) == wanted { b } else { a };
            let fold =
                |row: usize| rest.iter().fold(first.floats().get(row), |best, arg| better(best, arg.floats().get(row)));
            Arc::new(Float64Array::new((0..c.rows).map(fold).collect(), nulls))
        }
        Type::Int | Type::Timestamp | Type::Duration => {
            let better = |a: i64, b: i64| if b.cmp(&a) == wanted { b } else { a };
            let fold =
                |row: usize| rest.iter().fold(first.ints().get(row), |best, arg| better(best, arg.ints().get(row)));
            Arc::new(Int64Array::new((0..c.rows).map(fold).collect(), nulls))
        }
        Type::Null | Type::Bool | Type::Str | Type::List(_) | Type::Map(_) | Type::Record(_) => c.values(|args| {
            let better = |a: Value, b: &Value| if b.compare(&a) == wanted { b.clone() } else { a };
            Some(args[1..].iter().fold(args[0].clone(), better))
        }),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u64, b: u64) -> Option<i64> {
    if a == 0 || b == 0 {
        return Some(0);
    }
    i64::try_from((a / gcd(a, b)).checked_mul(b)?).ok()
}
