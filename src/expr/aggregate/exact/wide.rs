//! A sum of numbers of any exponent, exact: the superaccumulator behind [`super::ExactSum`] and the
//! sum of squares.
//!
//! It holds a window of limbs over the range that its values have touched, so that ordinary data take
//! a few dozen bytes and only mixtures of huge and tiny ones the whole range of doubles. Limbs are
//! 32 bits apart and 64 wide: an addition touches three to five of them and carries nothing; carries
//! are settled before they could overflow.

use super::natural::Natural;
use crate::expr::aggregate::StateError;
use crate::expr::aggregate::state;

/// The sum of `limbs[i] · 2^(32 · (base + i))`.
///
/// Invariant: every limb is less than `2^32 + pending · 2^33` in magnitude.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wide {
    base: i32,
    /// Additions since carries were settled.
    pending: u32,
    limbs: Vec<i64>,
}

/// Additions between settlings: 2^28 · 2^33 stays clear of the 63 bits of a limb.
const PENDING_MAX: u32 = 1 << 28;
/// Limbs that sums of squares of doubles can reach, 2^64 of them: what a saved state may claim.
const LIMB_MIN: i32 = -70;
const LIMB_MAX: i32 = 70;

impl Wide {
    /// Adds `±magnitude · 2^exponent`.
    #[inline]
    pub fn add(&mut self, negative: bool, magnitude: u128, exponent: i32) {
        if magnitude == 0 {
            return;
        }
        let (at, shift) = (exponent.div_euclid(32), exponent.rem_euclid(32));
        let low = u128::from(magnitude as u64) << shift;
        let high = (magnitude >> 64) << shift;
        let pieces = [
            low as u32 as i64,
            (low >> 32) as u32 as i64,
            (low >> 64) as i64 + high as u32 as i64,
            (high >> 32) as u32 as i64,
            (high >> 64) as i64,
        ];
        let used = if high == 0 { 3 } else { 5 };
        let from = self.reach(at, used);
        for (limb, piece) in self.limbs[from..from + used].iter_mut().zip(pieces) {
            *limb += if negative { -piece } else { piece };
        }
        self.pending += 1;
        if self.pending >= PENDING_MAX {
            self.settle();
        }
    }

    pub fn merge(&mut self, other: &Wide) {
        if other.limbs.is_empty() {
            return;
        }
        if u64::from(self.pending) + u64::from(other.pending) + 1 >= u64::from(PENDING_MAX) {
            self.settle();
        }
        let settled;
        let other = if self.pending + other.pending + 1 >= PENDING_MAX {
            let mut copy = other.clone();
            copy.settle();
            settled = copy;
            &settled
        } else {
            other
        };
        let from = self.reach(other.base, other.limbs.len());
        for (limb, more) in self.limbs[from..].iter_mut().zip(&other.limbs) {
            *limb += more;
        }
        self.pending += other.pending + 1;
    }

    /// Makes the window cover `count` limbs from `at`; the index of the first.
    #[inline]
    fn reach(&mut self, at: i32, count: usize) -> usize {
        let from = at.wrapping_sub(self.base);
        if from >= 0 && from as usize + count <= self.limbs.len() {
            return from as usize;
        }
        self.widen(at, count)
    }

    #[cold]
    fn widen(&mut self, at: i32, count: usize) -> usize {
        if self.limbs.is_empty() {
            self.base = at;
        }
        if at < self.base {
            let missing = (self.base - at) as usize;
            self.limbs.splice(0..0, std::iter::repeat_n(0, missing));
            self.base = at;
        }
        let from = (at - self.base) as usize;
        if self.limbs.len() < from + count {
            self.limbs.resize(from + count, 0);
        }
        from
    }

    /// Carries what limbs hold beyond 32 bits; the last one keeps the sign.
    fn settle(&mut self) {
        let mut carry = 0;
        let Some(last) = self.limbs.len().checked_sub(1) else { return };
        for limb in &mut self.limbs[..last] {
            let v = *limb + carry;
            *limb = i64::from(v as u32);
            carry = v >> 32;
        }
        let v = self.limbs[last] + carry;
        if i32::try_from(v).is_ok() {
            self.limbs[last] = v;
        } else {
            self.limbs[last] = i64::from(v as u32);
            self.limbs.push(v >> 32);
        }
        self.pending = 0;
    }

    /// Whether it is negative, its magnitude, and the exponent of the magnitude's unit.
    pub fn magnitude(&self) -> (bool, Natural, i32) {
        let mut copy = self.clone();
        copy.settle();
        let negative = copy.limbs.last().is_some_and(|&top| top < 0);
        if negative {
            copy.limbs.iter_mut().for_each(|l| *l = -*l);
            copy.settle();
        }
        let digits = copy.limbs.iter().map(|&l| l as u32).collect();
        (negative, Natural::new(digits), 32 * self.base)
    }

    pub fn is_zero(&self) -> bool {
        self.magnitude().1.is_zero()
    }

    pub fn heap_bytes(&self) -> usize {
        self.limbs.capacity() * size_of::<i64>()
    }

    /// Sign, base, number of digits, digits.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (negative, magnitude, _) = self.magnitude();
        out.push(negative as u8);
        out.extend_from_slice(&self.base.to_le_bytes());
        out.extend_from_slice(&(magnitude.digits().len() as u32).to_le_bytes());
        magnitude.digits().iter().for_each(|d| out.extend_from_slice(&d.to_le_bytes()));
    }

    pub fn decode(bytes: &mut &[u8], aggregate: &'static str) -> Result<Wide, StateError> {
        let damaged = |reason| StateError { aggregate, reason };
        let negative = state::take_bool(bytes, aggregate)?;
        let base = i32::from_le_bytes(state::take(bytes, aggregate)?);
        let count = u32::from_le_bytes(state::take(bytes, aggregate)?);
        let end = i64::from(base) + i64::from(count);
        if base < LIMB_MIN && count > 0 || base > LIMB_MAX || end > i64::from(LIMB_MAX) {
            return Err(damaged("a sum is out of the range of doubles"));
        }
        let mut limbs = Vec::with_capacity(count as usize + 1);
        for _ in 0..count {
            let digit = i64::from(u32::from_le_bytes(state::take(bytes, aggregate)?));
            limbs.push(if negative { -digit } else { digit });
        }
        Ok(Wide { base, pending: 1, limbs })
    }
}
