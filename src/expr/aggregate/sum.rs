//! Sums and means: of whole numbers (int, duration, timestamp) in 128 bits, of floats exactly.
//!
//! What is kept ([`Total`]) and what is read from it in the end ([`Reading`]) are apart, because a sum
//! and a mean keep the same.

use std::marker::PhantomData;

use arrow_array::builder::PrimitiveBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType};

use super::exact::{ExactSum, ratio};
use super::grouped::Fold;
use super::{Rows, StateError, state};
use crate::expr::Errors;

/// A sum of numbers and of how many there were.
pub(super) trait Total: Default + 'static {
    type Arrow: ArrowPrimitiveType;

    fn rows(&self) -> u64;
    fn add(&mut self, v: <Self::Arrow as ArrowPrimitiveType>::Native);
    fn merge(&mut self, other: &Self);
    fn heap_bytes(&self) -> usize;
    fn encode(&self, out: &mut Vec<u8>);
    fn decode(bytes: &mut &[u8], aggregate: &'static str) -> Result<Self, StateError>;
}

/// A result that is read from a total.
pub(super) trait Reading: 'static {
    type Total: Total;
    type Arrow: ArrowPrimitiveType;
    const NAME: &'static str;

    /// The result, of at least one row; `None` where its type does not hold it.
    fn read(total: &Self::Total) -> Option<<Self::Arrow as ArrowPrimitiveType>::Native>;
}

/// The aggregate that keeps a total and gives a reading of it.
pub(super) struct Totalled<R>(PhantomData<R>);

impl<R> Totalled<R> {
    pub fn new() -> Totalled<R> {
        Totalled(PhantomData)
    }
}

impl<R: Reading> Fold for Totalled<R> {
    type State = R::Total;
    type Input<'a> = &'a [<<R::Total as Total>::Arrow as ArrowPrimitiveType>::Native];
    type Builder = PrimitiveBuilder<R::Arrow>;
    const NAME: &'static str = R::NAME;

    fn input<'a>(&self, _rows: &Rows<'a>, args: &'a [ArrayRef]) -> Self::Input<'a> {
        args[0].as_primitive::<<R::Total as Total>::Arrow>().values()
    }

    #[inline]
    fn step(&self, state: &mut R::Total, input: &Self::Input<'_>, row: usize) {
        state.add(input[row]);
    }

    fn merge(&self, into: &mut R::Total, from: &R::Total) {
        into.merge(from);
    }

    fn builder(&self, len: usize) -> Self::Builder {
        PrimitiveBuilder::with_capacity(len)
    }

    fn append(&self, state: &R::Total, out: &mut Self::Builder, errors: &Errors) {
        if state.rows() == 0 {
            return out.append_null();
        }
        let result = R::read(state);
        errors.add(result.is_none() as u64);
        out.append_option(result);
    }

    #[inline]
    fn heap_bytes(&self, state: &R::Total) -> usize {
        state.heap_bytes()
    }

    fn encode(&self, state: &R::Total, out: &mut Vec<u8>) {
        state.encode(out);
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<R::Total, StateError> {
        R::Total::decode(bytes, R::NAME)
    }
}

/// Of whole numbers. Fewer than 2^64 of 64 bits cannot overflow it.
#[derive(Clone, Copy, Default)]
pub(super) struct IntTotal {
    /// Two halves of an `i128`, which would pad the state to a multiple of 16 bytes.
    sum: [u64; 2],
    rows: u64,
}

impl IntTotal {
    #[inline]
    fn sum(&self) -> i128 {
        (u128::from(self.sum[1]) << 64 | u128::from(self.sum[0])) as i128
    }

    #[inline]
    fn set_sum(&mut self, v: i128) {
        self.sum = [v as u64, (v >> 64) as u64];
    }
}

impl Total for IntTotal {
    type Arrow = Int64Type;

    fn rows(&self) -> u64 {
        self.rows
    }

    #[inline]
    fn add(&mut self, v: i64) {
        self.set_sum(self.sum() + i128::from(v));
        self.rows += 1;
    }

    fn merge(&mut self, other: &IntTotal) {
        self.set_sum(self.sum() + other.sum());
        self.rows += other.rows;
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        0
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sum().to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
    }

    fn decode(bytes: &mut &[u8], aggregate: &'static str) -> Result<IntTotal, StateError> {
        let sum = i128::from_le_bytes(state::take(bytes, aggregate)?);
        let mut total = IntTotal { sum: [0; 2], rows: state::take_rows(bytes, aggregate)? };
        if sum.unsigned_abs() > u128::from(total.rows) << 63 {
            return Err(StateError { aggregate, reason: "a sum is out of the range of its rows" });
        }
        total.set_sum(sum);
        Ok(total)
    }
}

/// Of floats.
#[derive(Clone, Default)]
pub(super) struct FloatTotal {
    sum: ExactSum,
    rows: u64,
}

impl Total for FloatTotal {
    type Arrow = Float64Type;

    fn rows(&self) -> u64 {
        self.rows
    }

    #[inline]
    fn add(&mut self, v: f64) {
        self.sum.add(v);
        self.rows += 1;
    }

    fn merge(&mut self, other: &FloatTotal) {
        self.sum.merge(&other.sum);
        self.rows += other.rows;
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.sum.encode(out);
        out.extend_from_slice(&self.rows.to_le_bytes());
    }

    fn decode(bytes: &mut &[u8], aggregate: &'static str) -> Result<FloatTotal, StateError> {
        Ok(FloatTotal { sum: ExactSum::decode(bytes, aggregate)?, rows: state::take_rows(bytes, aggregate)? })
    }
}

/// `sum` of ints and durations; null where 64 bits do not hold it.
pub(super) struct SumOfInts;

impl Reading for SumOfInts {
    type Total = IntTotal;
    type Arrow = Int64Type;
    const NAME: &'static str = "sum";

    fn read(total: &IntTotal) -> Option<i64> {
        i64::try_from(total.sum()).ok()
    }
}

/// `avg` of ints, a float.
pub(super) struct MeanOfInts;

impl Reading for MeanOfInts {
    type Total = IntTotal;
    type Arrow = Float64Type;
    const NAME: &'static str = "avg";

    fn read(total: &IntTotal) -> Option<f64> {
        Some(ratio(total.sum(), total.rows, 0))
    }
}

/// `avg` of durations and timestamps: to the nearest nanosecond, ties to even.
pub(super) struct MeanOfTimes;

impl Reading for MeanOfTimes {
    type Total = IntTotal;
    type Arrow = Int64Type;
    const NAME: &'static str = "avg";

    fn read(total: &IntTotal) -> Option<i64> {
        Some(nearest(total.sum(), total.rows))
    }
}

/// `sum / rows` to the nearest whole number, ties to even. A mean is within its values' range.
fn nearest(sum: i128, rows: u64) -> i64 {
    let rows = i128::from(rows);
    let (floor, rest) = (sum.div_euclid(rows), sum.rem_euclid(rows));
    let up = 2 * rest > rows || 2 * rest == rows && floor & 1 == 1;
    (floor + i128::from(up)) as i64
}

/// `sum` of floats.
pub(super) struct SumOfFloats;

impl Reading for SumOfFloats {
    type Total = FloatTotal;
    type Arrow = Float64Type;
    const NAME: &'static str = "sum";

    fn read(total: &FloatTotal) -> Option<f64> {
        Some(total.sum.sum())
    }
}

/// `avg` of floats.
pub(super) struct MeanOfFloats;

impl Reading for MeanOfFloats {
    type Total = FloatTotal;
    type Arrow = Float64Type;
    const NAME: &'static str = "avg";

    fn read(total: &FloatTotal) -> Option<f64> {
        Some(total.sum.mean(total.rows))
    }
}
