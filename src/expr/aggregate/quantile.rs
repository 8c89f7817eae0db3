//! `median` and `percentile`: they keep every value of a group, and select on output.
//!
//! Approximate sketches lost: their answers depend on how values were split over states.

use arrow_array::builder::PrimitiveBuilder;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType};

use super::domain::{self, Domain, Floats, Ints};
use super::grouped::Fold;
use super::{Rows, StateError, state};
use crate::expr::Errors;

/// A point between two neighbouring values, for the types that have such.
pub(super) trait Between: 'static {
    /// Keeps values as ordered integers.
    type Domain: for<'a> Domain<Item = i64, Ref<'a> = i64>;
    type Arrow: ArrowPrimitiveType;
    const DOMAIN: Self::Domain;

    /// What lies at `fraction` (0 to 1, exclusive) of the way from `low` to `high`.
    fn between(low: i64, high: i64, fraction: f64) -> <Self::Arrow as ArrowPrimitiveType>::Native;
}

/// The value below which the fraction `p` of a group lies.
pub(super) struct Quantile<B: Between> {
    p: f64,
    domain: B::Domain,
}

impl<B: Between> Quantile<B> {
    pub fn new(p: f64) -> Quantile<B> {
        Quantile { p, domain: B::DOMAIN }
    }

    /// The values around the rank, and how far the rank is from the lower one to the higher.
    fn point(&self, values: &[i64]) -> Option<(i64, i64, f64)> {
        let last = values.len().checked_sub(1)?;
        let rank = self.p * last as f64;
        let low = rank.floor();
        let mut values = values.to_vec();
        let (_, &mut at, above) = values.select_nth_unstable(low as usize);
        let next = above.iter().min().copied().unwrap_or(at);
        Some((at, next, rank - low))
    }
}

impl<B: Between> Fold for Quantile<B> {
    type State = Vec<i64>;
    type Input<'a> = <B::Domain as Domain>::Input<'a>;
    type Builder = PrimitiveBuilder<B::Arrow>;
    const NAME: &'static str = "median/percentile";

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> Self::Input<'a> {
        self.domain.input(rows, args)
    }

    #[inline]
    fn step(&self, state: &mut Vec<i64>, input: &Self::Input<'_>, row: usize) {
        state.push(B::Domain::get(input, row));
    }

    fn merge(&self, into: &mut Vec<i64>, from: &Vec<i64>) {
        into.extend_from_slice(from);
    }

    fn builder(&self, len: usize) -> Self::Builder {
        PrimitiveBuilder::with_capacity(len)
    }

    fn append(&self, state: &Vec<i64>, out: &mut Self::Builder, _errors: &Errors) {
        out.append_option(self.point(state).map(|(low, high, fraction)| B::between(low, high, fraction)));
    }

    #[inline]
    fn heap_bytes(&self, state: &Vec<i64>) -> usize {
        8 * state.capacity()
    }

    fn encode(&self, state: &Vec<i64>, out: &mut Vec<u8>) {
        state::put_count(state.len(), out);
        state.iter().for_each(|v| B::Domain::encode(v, out));
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Vec<i64>, StateError> {
        let count = state::take_count(bytes, B::Domain::ENCODED_BYTES_MIN, Self::NAME)?;
        (0..count).map(|_| self.domain.decode(bytes, Self::NAME)).collect()
    }
}

/// `low + (high - low) * fraction`, also where that passes infinity on the way.
fn interpolate(low: f64, high: f64, fraction: f64) -> f64 {
    // With 0 or equal values there is nothing to multiply an infinity by.
    if fraction == 0.0 || low == high {
        return low;
    }
    let step = high - low;
    let between = if step.is_infinite() { low * (1.0 - fraction) + high * fraction } else { low + step * fraction };
    // One NaN, whatever the operations left.
    domain::float_of(domain::ordered(between))
}

/// Between floats.
pub(super) struct BetweenFloats;

impl Between for BetweenFloats {
    type Domain = Floats;
    type Arrow = Float64Type;
    const DOMAIN: Floats = Floats;

    fn between(low: i64, high: i64, fraction: f64) -> f64 {
        interpolate(domain::float_of(low), domain::float_of(high), fraction)
    }
}

/// Between ints, a float.
pub(super) struct BetweenInts;

impl Between for BetweenInts {
    type Domain = Ints;
    type Arrow = Float64Type;
    const DOMAIN: Ints = Ints;

    fn between(low: i64, high: i64, fraction: f64) -> f64 {
        interpolate(low as f64, high as f64, fraction)
    }
}

/// Between durations or timestamps, to the nearest nanosecond, ties to even.
pub(super) struct BetweenTimes;

impl Between for BetweenTimes {
    type Domain = Ints;
    type Arrow = Int64Type;
    const DOMAIN: Ints = Ints;

    fn between(low: i64, high: i64, fraction: f64) -> i64 {
        let step = (i128::from(high) - i128::from(low)) as f64 * fraction;
        (i128::from(low) + step.round_ties_even() as i128) as i64
    }
}
