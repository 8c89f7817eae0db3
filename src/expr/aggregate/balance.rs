//! What rows that come and go add up to: aggregates of a relation whose rows can be taken back.
//!
//! A [`Balance`] is kept where an accumulator would be, and differs in that rows count any number of times, less than
//! none too. Two of them add up in any order to the balance of all their rows, and those of a row and of its removal to
//! nothing, exactly. Its result is read by the accumulator of the same aggregate, so that there is one rounding and one
//! notion of overflow. Aggregates that cannot forget a value without knowing others (`min`, `median`, …) have none.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};

use super::exact::{ExactSum, Specials, Wide, parts};
use super::state::VERSION;
use super::{Aggregate, AggregateFunction, Numeric};

/// See the module's doc. The order is one of representations, and means nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Balance {
    /// Rows, rows with a value, or rows with a true one, as the `Counted` says.
    Count(Counted, i64),
    Bools {
        yes: i64,
        no: i64,
    },
    Ints {
        rows: i64,
        sum: i128,
    },
    Floats(Box<Floats>),
    Moments(Box<Moments>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    Rows,
    Values,
    True,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Floats {
    rows: i64,
    /// Of those that are finite.
    sum: ExactSum,
    odd: Odd,
}

/// How many values were no numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Odd {
    nans: i64,
    positive: i64,
    negative: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moments {
    of_floats: bool,
    rows: i64,
    sum: ExactSum,
    squares: Wide,
    odd: Odd,
}

impl Odd {
    fn note(&mut self, v: f64, times: i64) {
        let count = match (v.is_nan(), v > 0.0) {
            (true, _) => &mut self.nans,
            (false, true) => &mut self.positive,
            (false, false) => &mut self.negative,
        };
        *count += times;
    }

    fn merge(&mut self, other: Odd) {
        self.nans += other.nans;
        self.positive += other.positive;
        self.negative += other.negative;
    }

    fn specials(self) -> Specials {
        let mut specials = Specials::default();
        let values = [(self.nans, f64::NAN), (self.positive, f64::INFINITY), (self.negative, f64::NEG_INFINITY)];
        values.iter().filter(|(count, _)| *count > 0).for_each(|(_, v)| specials.note(*v));
        specials
    }
}

impl Aggregate {
    /// Whether it can be kept up to date while rows go, without a look at all that are left.
    pub fn can_take_back(&self) -> bool {
        self.balance().is_some() || self.extreme().is_some()
    }

    /// Whether it is the greatest value of its rows, or the least; `None` of others.
    pub fn extreme(&self) -> Option<bool> {
        match self.function {
            AggregateFunction::Max => Some(true),
            AggregateFunction::Min => Some(false),
            _ => None,
        }
    }

    /// The balance of no rows; `None` for an aggregate from which rows cannot be taken back.
    pub fn balance(&self) -> Option<Balance> {
        use AggregateFunction::*;
        let ints = Balance::Ints { rows: 0, sum: 0 };
        Some(match &self.function {
            CountRows => Balance::Count(Counted::Rows, 0),
            Count => Balance::Count(Counted::Values, 0),
            CountIf => Balance::Count(Counted::True, 0),
            Any | All => Balance::Bools { yes: 0, no: 0 },
            Sum | Avg => match self.measure() {
                Numeric::Int | Numeric::Time => ints,
                Numeric::Float => Balance::Floats(Box::default()),
            },
            Stddev | Variance => {
                let of_floats = matches!(self.measure(), Numeric::Float);
                let (sum, squares) = (ExactSum::default(), Wide::default());
                Balance::Moments(Box::new(Moments { of_floats, rows: 0, sum, squares, odd: Odd::default() }))
            }
            Min | Max | First | Last | Median | Percentile { .. } | CountDistinct | ApproxCountDistinct => return None,
            Collect | CollectRows | CollectDistinct | Ema { .. } | Mode | TopK { .. } | StringJoin { .. } => {
                return None;
            }
        })
    }
}

impl Balance {
    /// Counts row `row` of the aggregate's arguments so many times more.
    pub fn add(&mut self, args: &[ArrayRef], row: usize, times: i64) {
        let is_null = || args[0].is_null(row);
        match self {
            Balance::Count(counted, count) => {
                let counts = match counted {
                    Counted::Rows => true,
                    Counted::Values => !is_null(),
                    Counted::True => !is_null() && args[0].as_boolean().value(row),
                };
                *count += if counts { times } else { 0 };
            }
            _ if is_null() => {}
            Balance::Bools { yes, no } => match args[0].as_boolean().value(row) {
                true => *yes += times,
                false => *no += times,
            },
            Balance::Ints { rows, sum } => {
                *rows += times;
                *sum += i128::from(args[0].as_primitive::<Int64Type>().value(row)) * i128::from(times);
            }
            Balance::Floats(floats) => {
                let Floats { rows, sum, odd } = &mut **floats;
                *rows += times;
                add_float(sum, odd, args[0].as_primitive::<Float64Type>().value(row), times);
            }
            Balance::Moments(moments) => moments.add(&args[0], row, times),
        }
    }

    /// Adds the rows of another balance of the same aggregate.
    pub fn merge(&mut self, other: &Balance) {
        match (self, other) {
            (Balance::Count(_, into), Balance::Count(_, from)) => *into += from,
            (Balance::Bools { yes, no }, Balance::Bools { yes: more_yes, no: more_no }) => {
                *yes += more_yes;
                *no += more_no;
            }
            (Balance::Ints { rows, sum }, Balance::Ints { rows: more_rows, sum: more }) => {
                *rows += more_rows;
                *sum += more;
            }
            (Balance::Floats(into), Balance::Floats(from)) => {
                into.rows += from.rows;
                into.sum.merge(&from.sum);
                into.odd.merge(from.odd);
            }
            (Balance::Moments(into), Balance::Moments(from)) => {
                into.rows += from.rows;
                into.sum.merge(&from.sum);
                into.squares.merge(&from.squares);
                into.odd.merge(from.odd);
            }
            (
                Balance::Count(..)
                | Balance::Bools { .. }
                | Balance::Ints { .. }
                | Balance::Floats(_)
                | Balance::Moments(_),
                _,
            ) => unreachable!("balances of one aggregate are alike"),
        }
    }

    /// Whether it is that of no rows.
    pub fn is_zero(&self) -> bool {
        match self {
            Balance::Count(_, count) => *count == 0,
            Balance::Bools { yes, no } => *yes == 0 && *no == 0,
            Balance::Ints { rows, sum } => *rows == 0 && *sum == 0,
            Balance::Floats(f) => f.rows == 0 && f.odd == Odd::default() && f.sum.is_zero(),
            Balance::Moments(m) => m.rows == 0 && m.odd == Odd::default() && m.sum.is_zero() && m.squares.is_zero(),
        }
    }

    /// Appends what the aggregate's [accumulator](super::Accumulator) reads; no count is negative.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Balance::Count(_, count) => out.extend_from_slice(&count.to_le_bytes()),
            Balance::Bools { yes, no } => out.extend_from_slice(&[(*yes > 0) as u8, (*no > 0) as u8]),
            Balance::Ints { rows, sum } => {
                out.extend_from_slice(&sum.to_le_bytes());
                out.extend_from_slice(&rows.to_le_bytes());
            }
            Balance::Floats(floats) => {
                floats.sum.with(floats.odd.specials()).encode(out);
                out.extend_from_slice(&floats.rows.to_le_bytes());
            }
            Balance::Moments(moments) => {
                out.extend_from_slice(&moments.rows.to_le_bytes());
                moments.sum.with(moments.odd.specials()).encode(out);
                moments.squares.encode(out);
            }
        }
    }
}

impl Moments {
    fn add(&mut self, values: &ArrayRef, row: usize, times: i64) {
        self.rows += times;
        let (magnitude, exponent) = if self.of_floats {
            let v = values.as_primitive::<Float64Type>().value(row);
            add_float(&mut self.sum, &mut self.odd, v, times);
            if !v.is_finite() {
                return;
            }
            let parts = parts(v);
            (u128::from(parts.mantissa), 2 * parts.exponent)
        } else {
            let v = values.as_primitive::<Int64Type>().value(row);
            repeat(times, |negative| self.sum.add_int_signed(v, negative));
            (u128::from(v.unsigned_abs()), 0)
        };
        repeat(times, |negative| self.squares.add(negative, magnitude * magnitude, exponent));
    }
}

fn add_float(sum: &mut ExactSum, odd: &mut Odd, v: f64, times: i64) {
    match v.is_finite() {
        true => repeat(times, |negative| sum.add(if negative { -v } else { v })),
        false => odd.note(v, times),
    }
}

/// Once for each time; a row rarely counts more than once.
fn repeat(times: i64, mut add: impl FnMut(bool)) {
    (0..times.unsigned_abs()).for_each(|_| add(times < 0));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array};

    use super::*;
    use crate::data::{DataType, Type};
    use crate::expr::Errors;
    use crate::expr::aggregate::Rows;

    fn aggregate(function: AggregateFunction, arg: Type, ty: Type) -> Aggregate {
        let ty = DataType { ty, nullable: true };
        Aggregate { function, args: vec![0], arg_types: vec![DataType { ty: arg, nullable: true }], ty }
    }

    /// The result over rows that are there now, by an accumulator that never saw others.
    fn expected(aggregate: &Aggregate, args: &[ArrayRef]) -> ArrayRef {
        let mut accumulator = aggregate.accumulator();
        let (slots, times) = (vec![0; args[0].len()], vec![0; args[0].len()]);
        accumulator.update(&Rows { slots: &slots, times: &times, places: &times, seq: None }, args);
        accumulator.output(&[0], &Errors::default())
    }

    fn read(aggregate: &Aggregate, balance: &Balance) -> ArrayRef {
        let (mut accumulator, mut bytes) = (aggregate.accumulator(), Vec::new());
        balance.encode(&mut bytes);
        accumulator.decode(0, &mut &bytes[..]).expect("a balance is read as a state");
        accumulator.output(&[0], &Errors::default())
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        use AggregateFunction::*;
        let floats = [1e300, 0.1, -7.25, f64::INFINITY, 1e-300, f64::NAN, 3.0, 0.2, 1e16];
        let ints = [i64::MAX, 5, -9, i64::MIN, 0, 77, 1 << 52];
        let floats: ArrayRef = Arc::new(floats.iter().map(|v| Some(*v)).chain([None]).collect::<Float64Array>());
        let ints: ArrayRef = Arc::new(ints.iter().map(|v| Some(*v)).chain([None]).collect::<Int64Array>());
        for function in [CountRows, Count, Sum, Avg, Stddev, Variance] {
            for (column, ty) in [(&floats, Type::Float), (&ints, Type::Int)] {
                let result = match (&function, &ty) {
                    (CountRows | Count, _) | (Sum, Type::Int) => Type::Int,
                    _ => Type::Float,
                };
                let aggregate = aggregate(function.clone(), ty, result);
                let args = [column.clone()];
                let mut balance = aggregate.balance().expect("rows can be taken back");
                (0..column.len()).for_each(|row| balance.add(&args, row, 2));
                // All but the last four go, one part of them by a merge.
                let mut gone = aggregate.balance().expect("rows can be taken back");
                let kept = column.len() - 4;
                (0..kept).for_each(|row| gone.add(&args, row, -1));
                balance.merge(&gone);
                (0..kept).for_each(|row| balance.add(&args, row, -1));
                (kept..column.len()).for_each(|row| balance.add(&args, row, -1));
                let left = [column.slice(kept, 4)];
                assert_eq!(&read(&aggregate, &balance), &expected(&aggregate, &left), "{aggregate:?}");
                (kept..column.len()).for_each(|row| balance.add(&args, row, -1));
                assert!(balance.is_zero(), "{aggregate:?}: {balance:?}");
            }
        }
    }
}
