//! `variance` and `stddev`, from the exact count, sum and sum of squares.

use std::marker::PhantomData;

use arrow_array::builder::PrimitiveBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType};

use super::exact::{self, ExactSum, Spread, Wide};
use super::grouped::Fold;
use super::{Rows, StateError, state};
use crate::expr::Errors;

/// Of the values of a group: how many, Σx and Σx².
#[derive(Clone, Default)]
pub(super) struct Moments {
    rows: u64,
    sum: ExactSum,
    squares: Wide,
}

impl Moments {
    #[inline]
    fn add_float(&mut self, v: f64) {
        self.rows += 1;
        self.sum.add(v);
        if v.is_finite() {
            // The square of a 53-bit mantissa is exact in 128 bits: nothing over- or underflows here.
            let parts = exact::parts(v);
            self.squares.add(false, u128::from(parts.mantissa) * u128::from(parts.mantissa), 2 * parts.exponent);
        }
    }

    #[inline]
    fn add_int(&mut self, v: i64) {
        self.rows += 1;
        self.sum.add_int(v);
        let magnitude = u128::from(v.unsigned_abs());
        self.squares.add(false, magnitude * magnitude, 0);
    }

    fn merge(&mut self, other: &Moments) {
        self.rows += other.rows;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    fn spread(&self, spread: Spread) -> Option<f64> {
        (self.rows >= 2).then(|| exact::spread(&self.sum, &self.squares, self.rows, spread))
    }

    fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes() + self.squares.heap_bytes()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.rows.to_le_bytes());
        self.sum.encode(out);
        self.squares.encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Moments, StateError> {
        Ok(Moments {
            rows: state::take_rows(bytes, NAME)?,
            sum: ExactSum::decode(bytes, NAME)?,
            squares: Wide::decode(bytes, NAME)?,
        })
    }
}

const NAME: &str = "variance/stddev";

/// The numbers of a column, and the form of the result.
pub(super) trait Measure: 'static {
    type Input<'a>;
    type Arrow: ArrowPrimitiveType;

    fn input(args: &[ArrayRef]) -> Self::Input<'_>;
    fn add(moments: &mut Moments, input: &Self::Input<'_>, row: usize);
    /// The spread in the type of the result.
    fn result(spread: f64) -> <Self::Arrow as ArrowPrimitiveType>::Native;
}

/// `variance` or `stddev` of what `M` reads.
pub(super) struct SpreadOf<M> {
    spread: Spread,
    measure: PhantomData<M>,
}

impl<M> SpreadOf<M> {
    pub fn new(spread: Spread) -> SpreadOf<M> {
        SpreadOf { spread, measure: PhantomData }
    }
}

impl<M: Measure> Fold for SpreadOf<M> {
    type State = Moments;
    type Input<'a> = M::Input<'a>;
    type Builder = PrimitiveBuilder<M::Arrow>;
    const NAME: &'static str = NAME;

    fn input<'a>(&self, _rows: &Rows<'a>, args: &'a [ArrayRef]) -> M::Input<'a> {
        M::input(args)
    }

    #[inline]
    fn step(&self, state: &mut Moments, input: &M::Input<'_>, row: usize) {
        M::add(state, input, row);
    }

    fn merge(&self, into: &mut Moments, from: &Moments) {
        into.merge(from);
    }

    fn builder(&self, len: usize) -> Self::Builder {
        PrimitiveBuilder::with_capacity(len)
    }

    fn append(&self, state: &Moments, out: &mut Self::Builder, _errors: &Errors) {
        out.append_option(state.spread(self.spread).map(M::result));
    }

    #[inline]
    fn heap_bytes(&self, state: &Moments) -> usize {
        state.heap_bytes()
    }

    fn encode(&self, state: &Moments, out: &mut Vec<u8>) {
        state.encode(out);
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Moments, StateError> {
        Moments::decode(bytes)
    }
}

/// Floats, with a float as the result.
pub(super) struct OfFloats;

impl Measure for OfFloats {
    type Input<'a> = &'a [f64];
    type Arrow = Float64Type;

    fn input(args: &[ArrayRef]) -> &[f64] {
        args[0].as_primitive::<Float64Type>().values()
    }

    #[inline]
    fn add(moments: &mut Moments, input: &&[f64], row: usize) {
        moments.add_float(input[row]);
    }

    fn result(spread: f64) -> f64 {
        spread
    }
}

/// Ints, with a float as the result.
pub(super) struct OfInts;

impl Measure for OfInts {
    type Input<'a> = &'a [i64];
    type Arrow = Float64Type;

    fn input(args: &[ArrayRef]) -> &[i64] {
        args[0].as_primitive::<Int64Type>().values()
    }

    #[inline]
    fn add(moments: &mut Moments, input: &&[i64], row: usize) {
        moments.add_int(input[row]);
    }

    fn result(spread: f64) -> f64 {
        spread
    }
}

/// Durations: their deviation is one too, to the nearest nanosecond.
pub(super) struct OfDurations;

impl Measure for OfDurations {
    type Input<'a> = &'a [i64];
    type Arrow = Int64Type;

    fn input(args: &[ArrayRef]) -> &[i64] {
        OfInts::input(args)
    }

    #[inline]
    fn add(moments: &mut Moments, input: &&[i64], row: usize) {
        moments.add_int(input[row]);
    }

    fn result(spread: f64) -> i64 {
        // Two extreme durations deviate by 2^63.5: the cast then gives the greatest duration.
        spread.round_ties_even() as i64
    }
}
