//! Sums of doubles that are exact until they are read, and then rounded once.
//!
//! Floating-point addition depends on order; a sum over rows that arrive in any order, split over
//! workers and panes in any way, must not. So a sum is an integer: in units of 2^-75 it fits 128 bits
//! for values from about 1e-7 to 4e15 in magnitude, which is one shift and one addition per row. What
//! does not fit goes to a [`Wide`] beside it, and the two together are the sum. Whole numbers go the
//! same way. Infinities and NaN are flags, with the outcome of an IEEE sum.
//!
//! Kahan or pairwise sums lost: they are more precise than a plain loop, yet still depend on order.

mod natural;
#[cfg(test)]
mod tests;
mod wide;

use natural::{Leading, Natural};
pub(crate) use wide::Wide;

use super::{StateError, state};

/// The unit of the fast path is 2^-FRACTION.
const FRACTION: i32 = 75;
/// Shifts up to here leave a 53-bit mantissa below 2^127.
const SHIFT_MAX: i32 = 127 - 53;
/// Doubles are integers of 53 bits times 2^(biased exponent - BIAS).
const BIAS: i32 = 1075;
const MANTISSA: u64 = (1 << 52) - 1;
/// Extra low bits before a division, so that the quotient has 128 leading bits whatever the divisors.
const GUARD: u32 = 288;

/// The exact sum of the doubles (and whole numbers) added so far. The order is one of representations.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExactSum {
    /// Units of 2^-75, two halves of an `i128`: as one it would align, and pad, states to 16 bytes.
    small: [u64; 2],
    /// What did not fit; the sum is that plus `small`.
    wide: Option<Box<Wide>>,
    pub specials: Specials,
}

/// Which values that are no numbers were among the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Specials(u8);

const NAN: u8 = 1;
const POSITIVE: u8 = 2;
const NEGATIVE: u8 = 4;

impl Specials {
    pub fn note(&mut self, v: f64) {
        self.0 |= if v.is_nan() {
            NAN
        } else if v > 0.0 {
            POSITIVE
        } else {
            NEGATIVE
        };
    }

    pub fn merge(&mut self, other: Specials) {
        self.0 |= other.0;
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The sum, if these decide it.
    fn sum(self) -> Option<f64> {
        match self.0 {
            0 => None,
            POSITIVE => Some(f64::INFINITY),
            NEGATIVE => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    pub fn encode(self, out: &mut Vec<u8>) {
        out.push(self.0);
    }

    pub fn decode(bytes: &mut &[u8], aggregate: &'static str) -> Result<Specials, StateError> {
        let flags = u8::from_le_bytes(state::take(bytes, aggregate)?);
        if flags > NAN | POSITIVE | NEGATIVE {
            return Err(StateError { aggregate, reason: "unknown flags in a sum" });
        }
        Ok(Specials(flags))
    }
}

/// A finite double as `±mantissa · 2^exponent`.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    pub negative: bool,
    pub mantissa: u64,
    pub exponent: i32,
}

/// The parts of a finite double.
#[inline]
pub(crate) fn parts(v: f64) -> Parts {
    let bits = v.to_bits();
    let biased = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & MANTISSA;
    let negative = bits >> 63 == 1;
    if biased == 0 {
        Parts { negative, mantissa: fraction, exponent: 1 - BIAS }
    } else {
        Parts { negative, mantissa: fraction | (1 << 52), exponent: biased - BIAS }
    }
}

impl ExactSum {
    #[inline]
    pub fn add(&mut self, v: f64) {
        let bits = v.to_bits();
        let shift = ((bits >> 52) & 0x7ff) as i32 - BIAS + FRACTION;
        if (shift as u32) > SHIFT_MAX as u32 {
            return self.add_unusual(v);
        }
        let magnitude = i128::from((bits & MANTISSA) | (1 << 52)) << shift;
        self.add_units(if v < 0.0 { -magnitude } else { magnitude });
    }

    #[inline]
    pub fn add_int(&mut self, v: i64) {
        // 2^51 in magnitude, so that the shifted value is in range.
        if v.unsigned_abs() >> 51 == 0 {
            self.add_units(i128::from(v) << FRACTION);
        } else {
            self.wide().add(v < 0, v.unsigned_abs().into(), 0);
        }
    }

    /// Adds `v`, or takes it away.
    pub fn add_int_signed(&mut self, v: i64, negative: bool) {
        match (negative, v.checked_neg()) {
            (false, _) => self.add_int(v),
            (true, Some(v)) => self.add_int(v),
            (true, None) => self.wide().add(false, v.unsigned_abs().into(), 0),
        }
    }

    /// The same sum, with other values among its rows that are no numbers.
    pub fn with(&self, specials: Specials) -> ExactSum {
        ExactSum { specials, ..self.clone() }
    }

    /// Whether the finite values add up to nothing.
    pub fn is_zero(&self) -> bool {
        match &self.wide {
            None => self.small() == 0,
            Some(_) => self.magnitude().1.is_zero(),
        }
    }

    #[inline]
    fn add_units(&mut self, units: i128) {
        match self.small().checked_add(units) {
            Some(sum) => self.set_small(sum),
            None => self.spill(units),
        }
    }

    #[inline]
    fn small(&self) -> i128 {
        (u128::from(self.small[1]) << 64 | u128::from(self.small[0])) as i128
    }

    #[inline]
    fn set_small(&mut self, v: i128) {
        self.small = [v as u64, (v >> 64) as u64];
    }

    fn wide(&mut self) -> &mut Wide {
        self.wide.get_or_insert_default()
    }

    /// Makes room in the fast path, whose sum would overflow with `units` more.
    #[cold]
    fn spill(&mut self, units: i128) {
        let small = self.small();
        self.wide().add(small < 0, small.unsigned_abs(), -FRACTION);
        self.set_small(units);
    }

    /// Zeros, infinities, NaN, and numbers too large or too finely grained for the fast path.
    #[cold]
    fn add_unusual(&mut self, v: f64) {
        if v == 0.0 {
            return;
        }
        if !v.is_finite() {
            return self.specials.note(v);
        }
        let Parts { negative, mantissa, exponent } = parts(v);
        let coarse = exponent + mantissa.trailing_zeros() as i32;
        if exponent < -FRACTION && coarse >= -FRACTION {
            let magnitude = i128::from(mantissa >> (-FRACTION - exponent));
            return self.add_units(if negative { -magnitude } else { magnitude });
        }
        self.wide().add(negative, mantissa.into(), exponent);
    }

    pub fn merge(&mut self, other: &ExactSum) {
        self.specials.merge(other.specials);
        self.add_units(other.small());
        if let Some(wide) = &other.wide {
            self.wide().merge(wide);
        }
    }

    /// The sum, rounded to nearest.
    pub fn sum(&self) -> f64 {
        if let Some(special) = self.specials.sum() {
            return special;
        }
        if self.wide.is_none() {
            // No double below 2^-75 can come out, so that scaling is exact.
            return self.small() as f64 * f64::from_bits(((1023 - FRACTION) as u64) << 52);
        }
        let (negative, magnitude, exponent) = self.magnitude();
        let Leading { top, exponent: above, inexact } = magnitude.leading();
        Leading { top, exponent: above + i64::from(exponent), inexact }.round(negative)
    }

    /// The sum divided by `count`, rounded once; `count` is not 0.
    pub fn mean(&self, count: u64) -> f64 {
        if let Some(special) = self.specials.sum() {
            return special;
        }
        if self.wide.is_none() {
            return ratio(self.small(), count, -FRACTION);
        }
        let (negative, magnitude, exponent) = self.magnitude();
        let quotient = magnitude.shl(GUARD).div(count);
        quotient.leading(i64::from(exponent) - i64::from(GUARD)).round(negative)
    }

    /// Of a finite sum: whether it is negative, its magnitude, and the exponent of the magnitude's unit.
    fn magnitude(&self) -> (bool, Natural, i32) {
        let mut all = self.wide.as_deref().cloned().unwrap_or_default();
        let small = self.small();
        all.add(small < 0, small.unsigned_abs(), -FRACTION);
        all.magnitude()
    }

    pub fn heap_bytes(&self) -> usize {
        self.wide.as_deref().map_or(0, |w| size_of::<Wide>() + w.heap_bytes())
    }

    /// Flags, `small`, whether there is a wide part, and that.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.specials.encode(out);
        out.extend_from_slice(&self.small().to_le_bytes());
        out.push(self.wide.is_some() as u8);
        if let Some(wide) = &self.wide {
            wide.encode(out);
        }
    }

    pub fn decode(bytes: &mut &[u8], aggregate: &'static str) -> Result<ExactSum, StateError> {
        let mut sum = ExactSum { specials: Specials::decode(bytes, aggregate)?, ..ExactSum::default() };
        sum.set_small(i128::from_le_bytes(state::take(bytes, aggregate)?));
        if state::take_bool(bytes, aggregate)? {
            sum.wide = Some(Box::new(Wide::decode(bytes, aggregate)?));
        }
        Ok(sum)
    }
}

impl natural::Quotient {
    /// Its leading bits, where the unit of the floor is 2^exponent.
    fn leading(&self, exponent: i64) -> Leading {
        let leading = self.floor.leading();
        Leading { top: leading.top, exponent: leading.exponent + exponent, inexact: leading.inexact || self.inexact }
    }
}

/// `sum · 2^exponent / count`, rounded once; `count` is not 0.
pub(crate) fn ratio(sum: i128, count: u64, exponent: i32) -> f64 {
    if sum == 0 {
        return 0.0;
    }
    // With the highest bit set, the quotient by a 64-bit number has 63 bits or more.
    let spare = sum.unsigned_abs().leading_zeros();
    let magnitude = sum.unsigned_abs() << spare;
    if count.is_power_of_two() {
        // Of one row, above all: a division of 128 bits takes longer than all the rest.
        let exponent = i64::from(exponent) - i64::from(spare) - i64::from(count.trailing_zeros());
        return Leading { top: magnitude, exponent, inexact: false }.round(sum < 0);
    }
    let (top, rest) = (magnitude / u128::from(count), magnitude % u128::from(count));
    Leading { top, exponent: i64::from(exponent) - i64::from(spare), inexact: rest != 0 }.round(sum < 0)
}

/// Which root of the spread is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    Variance,
    Stddev,
}

/// Sample variance or its square root, of `count >= 2` values with these sums, rounded once: with the
/// exact `(n · Σx² − (Σx)²) / (n (n − 1))` nothing is lost to cancellation.
pub(crate) fn spread(sum: &ExactSum, squares: &Wide, count: u64, spread: Spread) -> f64 {
    if !sum.specials.is_empty() {
        return f64::NAN;
    }
    let (_, sum, sum_exponent) = sum.magnitude();
    let (_, squares, squares_exponent) = squares.magnitude();
    let exponent = squares_exponent.min(2 * sum_exponent);
    let left = squares.mul(&Natural::from(u128::from(count))).shl((squares_exponent - exponent) as u32);
    let right = sum.mul(&sum).shl((2 * sum_exponent - exponent) as u32);
    // By Cauchy and Schwarz it is never negative, unless a saved state was tampered with.
    let Some(difference) = left.checked_sub(&right) else { return f64::NAN };
    if difference.is_zero() {
        return 0.0;
    }
    let by_n = difference.shl(GUARD).div(count);
    let mut quotient = by_n.floor.div(count - 1);
    quotient.inexact |= by_n.inexact;
    let leading = quotient.leading(i64::from(exponent) - i64::from(GUARD));
    match spread {
        Spread::Variance => leading.round(false),
        Spread::Stddev => leading.sqrt().round(false),
    }
}
