//! The aggregates from their definitions: sort the rows, fold them, with big integers where a sum must
//! be exact. Slow and plain on purpose; tests compare the accumulators with it, and whole programs
//! with an interpreter that is built on it. It shares no arithmetic with the accumulators, except for
//! the estimate of a HyperLogLog sketch, which has no other definition.

use std::collections::BTreeMap;

use num_bigint::{BigInt, BigUint, Sign};

use super::{Aggregate, AggregateFunction, sketch};
use crate::data::key::{decode_value, encode_value};
use crate::data::value::compare_floats;
use crate::data::{DataType, Type, Value};

/// A row of a group.
pub struct ReferenceRow {
    pub time: i64,
    /// Its place.
    pub at: i64,
    /// Partition and position.
    pub seq: (u32, u64),
    /// The values of all columns.
    pub values: Vec<Value>,
}

/// An instant, partition and position.
type Rank = (i64, (u32, u64));

/// A value that is not null, and when it came.
struct Entry {
    by_time: Rank,
    by_place: Rank,
    value: Value,
}

/// The result of `aggregate` over the group `rows`; a sum that overflows is null.
pub fn aggregate_rows(aggregate: &Aggregate, rows: &[ReferenceRow]) -> Value {
    use AggregateFunction::*;
    let entries = sorted_entries(aggregate, rows);
    let values: Vec<Value> = entries.iter().map(|e| e.value.clone()).collect();
    match &aggregate.function {
        CountRows => Value::Int(rows.len() as i64),
        Count => Value::Int(values.len() as i64),
        CountIf => Value::Int(values.iter().filter(|v| **v == Value::Bool(true)).count() as i64),
        Collect | CollectRows => Value::List(values),
        CountDistinct => Value::Int(tally(&entries, |e| e.by_time).len() as i64),
        ApproxCountDistinct => Value::Int(estimate(&values)),
        CollectDistinct => {
            let mut distinct = tally(&entries, |e| e.by_time);
            distinct.sort_by(|a, b| a.first.cmp(&b.first).then_with(|| a.value.compare(&b.value)));
            Value::List(distinct.into_iter().map(|t| t.value).collect())
        }
        TopK { k } => Value::List(by_frequency(&entries).into_iter().take(*k as usize).collect()),
        Sum
        | Avg
        | Min
        | Max
        | First
        | Last
        | Stddev
        | Variance
        | Median
        | Percentile { .. }
        | Ema { .. }
        | Mode
        | Any
        | All
        | StringJoin { .. }
            if values.is_empty() =>
        {
            Value::Null
        }
        Sum => sum_of(&aggregate.ty, &values),
        Avg => mean_of(&aggregate.ty, &values),
        Min => values.into_iter().min_by(Value::compare).expect("not empty"),
        Max => values.into_iter().max_by(Value::compare).expect("not empty"),
        First => values[0].clone(),
        Last => values[values.len() - 1].clone(),
        Stddev | Variance => spread_of(aggregate, &values),
        Median => percentile(&aggregate.ty, values, 0.5),
        Percentile { p } => percentile(&aggregate.ty, values, *p),
        Ema { n } => {
            let alpha = 2.0 / (f64::from(*n) + 1.0);
            let fold = |ema: f64, v: f64| alpha * v + (1.0 - alpha) * ema;
            Value::Float(canonical_float(values.iter().map(float).reduce(fold).expect("not empty")))
        }
        Mode => by_frequency(&entries).swap_remove(0),
        Any => Value::Bool(values.contains(&Value::Bool(true))),
        All => Value::Bool(!values.contains(&Value::Bool(false))),
        StringJoin { sep } => {
            let text = |v: &Value| if let Value::Str(s) = v { s.to_string() } else { unreachable!("{v:?}") };
            Value::str(&values.iter().map(text).collect::<Vec<_>>().join(sep))
        }
    }
}

/// What is aggregated, without nulls, in order of (time, seq, value).
fn sorted_entries(aggregate: &Aggregate, rows: &[ReferenceRow]) -> Vec<Entry> {
    let value = |row: &ReferenceRow| match &aggregate.function {
        AggregateFunction::CountRows => Value::Int(0),
        AggregateFunction::CollectRows => {
            let columns = aggregate.args.iter().zip(&aggregate.arg_types);
            Value::Record(columns.map(|(&i, ty)| canonical(&row.values[i], ty)).collect())
        }
        _ => canonical(&row.values[aggregate.args[0]], &aggregate.arg_types[0]),
    };
    let entry =
        |row: &ReferenceRow| Entry { by_time: (row.time, row.seq), by_place: (row.at, row.seq), value: value(row) };
    let mut entries: Vec<Entry> = rows.iter().map(entry).collect();
    entries.retain(|e| !e.value.is_null());
    entries.sort_by(|a, b| a.by_time.cmp(&b.by_time).then_with(|| a.value.compare(&b.value)));
    entries
}

/// The value with one zero, one NaN, and maps sorted by key.
fn canonical(value: &Value, ty: &DataType) -> Value {
    let mut key = Vec::new();
    encode_value(value, &mut key);
    decode_value(&mut key.as_slice(), ty)
}

fn canonical_float(v: f64) -> f64 {
    if v.is_nan() { f64::NAN.copysign(1.0) } else { v }
}

fn float(v: &Value) -> f64 {
    match v {
        Value::Float(v) => *v,
        Value::Int(v) | Value::Timestamp(v) | Value::Duration(v) => *v as f64,
        other => unreachable!("{other:?} is no number"),
    }
}

fn whole(v: &Value) -> i64 {
    match v {
        Value::Int(v) | Value::Timestamp(v) | Value::Duration(v) => *v,
        other => unreachable!("{other:?} is no whole number"),
    }
}

/// A whole number as a value of a type that has such.
fn whole_value(ty: &DataType, v: i64) -> Value {
    match ty.ty {
        Type::Timestamp => Value::Timestamp(v),
        Type::Duration => Value::Duration(v),
        _ => Value::Int(v),
    }
}

fn floats(values: &[Value]) -> Vec<f64> {
    values.iter().map(float).collect()
}

fn whole_sum(values: &[Value]) -> BigInt {
    values.iter().map(|v| BigInt::from(whole(v))).sum()
}

fn sum_of(ty: &DataType, values: &[Value]) -> Value {
    if ty.ty == Type::Float {
        return Value::Float(sum(&floats(values)));
    }
    i64::try_from(whole_sum(values)).map_or(Value::Null, |v| whole_value(ty, v))
}

fn mean_of(ty: &DataType, values: &[Value]) -> Value {
    let count = BigInt::from(values.len());
    match (&values[0], &ty.ty) {
        (Value::Float(_), _) => Value::Float(mean(&floats(values))),
        (_, Type::Float) => Value::Float(nearest(&whole_sum(values), &count, 0)),
        _ => {
            // round(a / n) = floor((2a + n) / 2n), except that ties go to the even neighbour.
            let (twice, two) = (whole_sum(values) * 2 + &count, count * 2);
            let floor = div_floor(&twice, &two);
            let tie = &floor * &two == twice && floor.bit(0);
            let mean = if tie { floor - 1 } else { floor };
            whole_value(ty, i64::try_from(mean).expect("a mean is within the range of its values"))
        }
    }
}

fn div_floor(a: &BigInt, b: &BigInt) -> BigInt {
    let quotient = a / b;
    if a.sign() == Sign::Minus && &quotient * b != *a { quotient - 1 } else { quotient }
}

fn spread_of(aggregate: &Aggregate, values: &[Value]) -> Value {
    if values.len() < 2 {
        return Value::Null;
    }
    let units: Option<Vec<BigInt>> = match values[0] {
        Value::Float(_) => floats(values).into_iter().map(units).collect(),
        _ => Some(values.iter().map(|v| BigInt::from(whole(v)) << UNIT).collect()),
    };
    let root = aggregate.function == AggregateFunction::Stddev;
    let spread = units.map_or(f64::NAN, |units| spread(&units, root));
    match aggregate.ty.ty {
        Type::Duration => Value::Duration(spread.round_ties_even() as i64),
        _ => Value::Float(spread),
    }
}

/// Linear interpolation between the closest ranks.
fn percentile(ty: &DataType, mut values: Vec<Value>, p: f64) -> Value {
    values.sort_by(Value::compare);
    let rank = p * (values.len() - 1) as f64;
    let (low, fraction) = (rank.floor() as usize, rank - rank.floor());
    let (a, b) = (&values[low], &values[(low + 1).min(values.len() - 1)]);
    if ty.ty == Type::Float {
        let (a, b) = (float(a), float(b));
        let between = match () {
            () if fraction == 0.0 || compare_floats(a, b).is_eq() => a,
            () if (b - a).is_infinite() => a * (1.0 - fraction) + b * fraction,
            () => a + (b - a) * fraction,
        };
        return Value::Float(canonical_float(between));
    }
    let (a, b) = (whole(a), whole(b));
    let step = ((i128::from(b) - i128::from(a)) as f64 * fraction).round_ties_even() as i128;
    whole_value(ty, (i128::from(a) + step) as i64)
}

/// How often a value came, and when first.
struct Tally {
    value: Value,
    count: usize,
    first: Rank,
}

/// The different values; which came first, goes by `rank`.
fn tally(entries: &[Entry], rank: fn(&Entry) -> Rank) -> Vec<Tally> {
    let mut tallies: BTreeMap<Vec<u8>, Tally> = BTreeMap::new();
    for entry in entries {
        let mut key = Vec::new();
        encode_value(&entry.value, &mut key);
        let new = Tally { value: entry.value.clone(), count: 0, first: rank(entry) };
        let tally = tallies.entry(key).or_insert(new);
        tally.count += 1;
        tally.first = tally.first.min(rank(entry));
    }
    tallies.into_values().collect()
}

fn by_frequency(entries: &[Entry]) -> Vec<Value> {
    let mut tallies = tally(entries, |e| e.by_place);
    tallies.sort_by(|a, b| b.count.cmp(&a.count).then(a.first.cmp(&b.first)).then_with(|| a.value.compare(&b.value)));
    tallies.into_iter().map(|t| t.value).collect()
}

fn estimate(values: &[Value]) -> i64 {
    let mut registers = vec![0; sketch::REGISTERS];
    for value in values {
        let (register, rank) = sketch::place(sketch::hash_value(value));
        registers[register] = rank.max(registers[register]);
    }
    sketch::estimate(&sketch::count_ranks(&registers))
}

/// Doubles are whole multiples of 2^-UNIT.
const UNIT: u64 = 1074;

/// A finite double in units of 2^-UNIT; `None` for others.
fn units(v: f64) -> Option<BigInt> {
    if !v.is_finite() {
        return None;
    }
    let (biased, fraction) = (v.to_bits() >> 52 & 0x7ff, v.to_bits() << 12 >> 12);
    let magnitude = match biased {
        0 => BigInt::from(fraction),
        _ => BigInt::from(fraction | 1 << 52) << (biased - 1),
    };
    Some(if v < 0.0 { -magnitude } else { magnitude })
}

/// The exact sum of doubles, rounded once.
pub(super) fn sum(values: &[f64]) -> f64 {
    sum_with(values, &BigInt::ZERO)
}

/// The exact sum of doubles and a whole number, rounded once.
pub(super) fn sum_with(values: &[f64], more: &BigInt) -> f64 {
    special_sum(values).unwrap_or_else(|| {
        let total: BigInt = values.iter().filter_map(|&v| units(v)).sum();
        nearest(&(total + (more << UNIT)), &BigInt::from(1), -(UNIT as i64))
    })
}

/// The sum where it is infinite or NaN because of a value that is.
fn special_sum(values: &[f64]) -> Option<f64> {
    let specials: Vec<f64> = values.iter().copied().filter(|v| !v.is_finite()).collect();
    specials.iter().copied().reduce(|a, b| a + b).map(canonical_float)
}

/// The exact mean, rounded once.
pub(super) fn mean(values: &[f64]) -> f64 {
    special_sum(values).unwrap_or_else(|| {
        let total: BigInt = values.iter().filter_map(|&v| units(v)).sum();
        nearest(&total, &BigInt::from(values.len()), -(UNIT as i64))
    })
}

/// Sample variance of finite doubles.
#[cfg(test)]
pub(super) fn variance(values: &[f64]) -> f64 {
    spread(&values.iter().filter_map(|&v| units(v)).collect::<Vec<_>>(), false)
}

/// Sample standard deviation of finite doubles.
#[cfg(test)]
pub(super) fn stddev(values: &[f64]) -> f64 {
    spread(&values.iter().filter_map(|&v| units(v)).collect::<Vec<_>>(), true)
}

/// `Σ (x − mean)² / (n − 1)`, or its root, of values in units of 2^-UNIT.
fn spread(values: &[BigInt], root: bool) -> f64 {
    let n = BigInt::from(values.len());
    let total: BigInt = values.iter().sum();
    // With n·x instead of x all deviations are whole; the sum of their squares is n² times too great.
    let squares: BigInt = values.iter().map(|x| (&n * x - &total).pow(2)).sum();
    let divisor = &n * &n * (&n - 1);
    if !root {
        return nearest(&squares, &divisor, -2 * UNIT as i64);
    }
    // A root of 300 bits more than the result needs; what is below only matters as being there.
    let quotient: BigInt = (squares << 600) / divisor;
    let floor = quotient.sqrt();
    let exact = &floor * &floor == quotient;
    let sticky = (floor << 1) + i32::from(!exact);
    nearest(&sticky, &BigInt::from(1), -(UNIT as i64) - 300 - 1)
}

/// The double nearest to `a / b · 2^exponent`, ties to even; `b` is positive.
fn nearest(a: &BigInt, b: &BigInt, exponent: i64) -> f64 {
    const GUARD: i64 = 200;
    let scaled = a.magnitude() << GUARD as u64;
    let (quotient, rest) = (&scaled / b.magnitude(), &scaled % b.magnitude());
    // One bit for all that is cut off.
    let sticky = (quotient << 1u8) + u8::from(rest != BigUint::ZERO);
    let magnitude = nearest_whole(&sticky, exponent - GUARD - 1);
    if a.sign() == Sign::Minus { -magnitude } else { magnitude }
}

/// The double nearest to `v · 2^exponent`.
fn nearest_whole(v: &BigUint, exponent: i64) -> f64 {
    let last = (exponent + v.bits() as i64 - 53).max(-(UNIT as i64));
    let mantissa = if last <= exponent {
        v << (exponent - last) as u64
    } else {
        let cut = (last - exponent) as u64;
        let (kept, half) = (v >> cut, BigUint::from(1u8) << (cut - 1));
        let rest = v - (&kept << cut);
        let up = rest > half || rest == half && kept.bit(0);
        kept + u8::from(up)
    };
    let mut mantissa = u64::try_from(mantissa).expect("53 bits");
    let mut biased = last + UNIT as i64 + 1;
    if mantissa == 1 << 53 {
        (mantissa, biased) = (1 << 52, biased + 1);
    }
    match mantissa >> 52 {
        0 => f64::from_bits(mantissa),
        _ if biased >= 0x7ff => f64::INFINITY,
        _ => f64::from_bits((biased as u64) << 52 | mantissa & !(1 << 52)),
    }
}
