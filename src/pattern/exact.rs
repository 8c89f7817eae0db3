//! Integers of any size, which are small almost always, and sums in them that are rounded once.

use num_bigint::{BigInt, Sign};

use super::bytes::{damaged, put, take, take_byte};
use crate::data::Value;
use crate::expr::aggregate::StateError;

/// An integer.
#[derive(Clone, Debug, PartialEq)]
pub enum Exact {
    Small(i128),
    Big(Box<BigInt>),
}

impl Default for Exact {
    fn default() -> Exact {
        Exact::Small(0)
    }
}

impl Exact {
    pub const ONE: Exact = Exact::Small(1);

    pub fn is_zero(&self) -> bool {
        matches!(self, Exact::Small(0))
    }

    fn big(&self) -> BigInt {
        match self {
            Exact::Small(v) => BigInt::from(*v),
            Exact::Big(v) => (**v).clone(),
        }
    }

    #[inline]
    pub fn add(&mut self, other: &Exact) {
        if let (Exact::Small(a), Exact::Small(b)) = (&mut *self, other)
            && let Some(sum) = a.checked_add(*b)
        {
            *a = sum;
            return;
        }
        *self = Exact::Big(Box::new(self.big() + other.big()));
    }

    fn times(&self, factor: i128) -> Exact {
        if let Exact::Small(v) = self
            && let Some(product) = v.checked_mul(factor)
        {
            return Exact::Small(product);
        }
        Exact::Big(Box::new(self.big() * factor))
    }

    fn shifted(&self, bits: u32) -> Exact {
        Exact::Big(Box::new(self.big() << bits))
    }

    /// `None` where it is too large.
    pub fn to_int(&self) -> Option<i64> {
        match self {
            Exact::Small(v) => i64::try_from(*v).ok(),
            Exact::Big(v) => i64::try_from(&**v).ok(),
        }
    }

    /// The nearest double to this times `2^exponent`.
    fn to_float(&self, exponent: i32) -> f64 {
        let big = self.big();
        let negative = big.sign() == Sign::Minus;
        let magnitude = big.magnitude();
        let bits = magnitude.bits();
        if bits == 0 {
            return 0.0;
        }
        // A normal number keeps 53 bits, a subnormal one fewer: rounded by hand, once, with what is cut off.
        let top = bits as i64 + i64::from(exponent);
        let keep = (53.min(top + 1074)).max(0);
        let cut = bits as i64 - keep;
        let mut mantissa: u64;
        let scale: i64;
        if cut <= 0 {
            mantissa = u64::try_from(magnitude).unwrap_or(u64::MAX);
            scale = i64::from(exponent);
        } else {
            let kept = magnitude >> cut as u64;
            mantissa = u64::try_from(&kept).unwrap_or(u64::MAX);
            let rest = magnitude - (kept << cut as u64);
            let half = num_bigint::BigUint::from(1u8) << (cut as u64 - 1);
            if rest > half || (rest == half && mantissa & 1 == 1) {
                mantissa += 1;
            }
            scale = i64::from(exponent) + cut;
        }
        let value = scaled(mantissa as f64, scale);
        if negative { -value } else { value }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let bytes = self.big().to_signed_bytes_le();
        put(bytes.len() as u64, out);
        out.extend(bytes);
    }

    pub fn decode(bytes: &mut &[u8]) -> Result<Exact, StateError> {
        let len = take(bytes)? as usize;
        let (number, rest) = bytes.split_at_checked(len).ok_or_else(|| damaged("it is cut off"))?;
        *bytes = rest;
        let big = BigInt::from_signed_bytes_le(number);
        Ok(i128::try_from(&big).map_or_else(|_| Exact::Big(Box::new(big)), Exact::Small))
    }
}

/// `value * 2^exponent`, in steps whose powers are doubles; exact where the result has room for all bits.
fn scaled(value: f64, exponent: i64) -> f64 {
    let (mut value, mut left) = (value, exponent.clamp(-3000, 3000) as i32);
    while left != 0 {
        let step = left.clamp(-900, 900);
        value *= 2f64.powi(step);
        left -= step;
    }
    value
}

/// Units of a sum of doubles that are not small: the least subnormal.
const LEAST_EXPONENT: i32 = -1074;
/// Units of one of which all are large enough.
const USUAL_EXPONENT: i32 = -75;

/// The sum of ints or doubles, each counted any number of times.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    total: Exact,
    /// The total is in units of the least subnormal instead of the usual ones.
    is_fine: bool,
    /// Infinities and NaN, which no exact sum has.
    special: Option<f64>,
    /// Whether anything was added.
    is_some: bool,
}

impl Sum {
    pub fn is_empty(&self) -> bool {
        !self.is_some
    }

    pub fn add(&mut self, other: &Sum) {
        if other.is_some {
            self.is_some = true;
            self.add_special(other.special);
            self.add_exact(&other.total, other.is_fine);
        }
    }

    /// Adds a value `times` times; null adds nothing.
    pub fn add_value(&mut self, value: &Value, times: &Exact) {
        match value {
            Value::Int(v) | Value::Duration(v) => self.total.add(&times.times(i128::from(*v))),
            Value::Float(v) if !v.is_finite() => self.add_special(Some(*v)),
            Value::Float(v) => {
                let (mantissa, exponent) = parts(*v);
                let usual = exponent - USUAL_EXPONENT;
                if (0..=74).contains(&usual) {
                    self.add_exact(&times.times(mantissa << usual), false);
                } else {
                    let fine = (exponent - LEAST_EXPONENT) as u32;
                    self.add_exact(&times.times(mantissa).shifted(fine), true);
                }
            }
            _ => return,
        }
        self.is_some = true;
    }

    fn add_exact(&mut self, other: &Exact, is_fine: bool) {
        const FINER: u32 = (USUAL_EXPONENT - LEAST_EXPONENT) as u32;
        match (self.is_fine, is_fine) {
            (false, true) => {
                self.total = self.total.shifted(FINER);
                self.is_fine = true;
                self.total.add(other);
            }
            (true, false) => self.total.add(&other.shifted(FINER)),
            (false, false) | (true, true) => self.total.add(other),
        }
    }

    fn add_special(&mut self, special: Option<f64>) {
        if let Some(special) = special {
            self.special = Some(self.special.unwrap_or(0.0) + special);
        }
    }

    pub fn to_int(&self) -> Option<i64> {
        self.total.to_int()
    }

    pub fn to_float(&self) -> f64 {
        let exponent = if self.is_fine { LEAST_EXPONENT } else { USUAL_EXPONENT };
        self.special.unwrap_or_else(|| self.total.to_float(exponent))
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some) | u8::from(self.is_fine) << 1 | u8::from(self.special.is_some()) << 2);
        if let Some(special) = self.special {
            out.extend(special.to_bits().to_le_bytes());
        }
        self.total.encode(out);
    }

    pub fn decode(bytes: &mut &[u8]) -> Result<Sum, StateError> {
        let flags = take_byte(bytes)?;
        let special = match flags & 4 {
            0 => None,
            _ => {
                let (bits, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| damaged("it is cut off"))?;
                *bytes = rest;
                Some(f64::from_bits(u64::from_le_bytes(*bits)))
            }
        };
        let total = Exact::decode(bytes)?;
        Ok(Sum { total, is_fine: flags & 2 != 0, special, is_some: flags & 1 != 0 })
    }
}

/// A finite double as a signed mantissa and an exponent of two.
fn parts(v: f64) -> (i128, i32) {
    let bits = v.to_bits();
    let (biased, fraction) = (((bits >> 52) & 0x7ff) as i32, (bits & ((1 << 52) - 1)) as i128);
    let (mantissa, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    (if v.is_sign_negative() { -mantissa } else { mantissa }, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum_of(values: &[(f64, u32)]) -> f64 {
        let mut sum = Sum::default();
        for (v, times) in values {
            sum.add_value(&Value::Float(*v), &Exact::Small(i128::from(*times)));
        }
        let mut bytes = Vec::new();
        sum.encode(&mut bytes);
        let back = Sum::decode(&mut bytes.as_slice()).expect("it was just written");
        assert_eq!(back.to_float().to_bits(), sum.to_float().to_bits());
        sum.to_float()
    }

    #[test]
    fn what_is_beyond_an_int_is_none() {
        let mut count = Exact::ONE;
        for _ in 0..200 {
            let twice = count.clone();
            count.add(&twice);
        }
        assert_eq!(count.to_int(), None);
        assert_eq!(count.to_float(0), 2f64.powi(200));
        assert_eq!(Exact::Small(i128::from(i64::MAX)).to_int(), Some(i64::MAX));
    }

    #[test]
    fn infinities_and_nan_are_those_of_a_plain_sum() {
        assert_eq!(sum_of(&[(f64::INFINITY, 1), (1.0, 2)]), f64::INFINITY);
        assert!(sum_of(&[(f64::INFINITY, 1), (f64::NEG_INFINITY, 2)]).is_nan());
        assert!(sum_of(&[(f64::NAN, 1)]).is_nan());
    }

    proptest! {
        /// One value, once, comes back bit by bit, whatever its size; and a value and its negative leave the others.
        #[test]
        fn sums_are_exact(v in any::<f64>().prop_filter("finite", |v| v.is_finite()), w in -1e15f64..1e15) {
            prop_assert_eq!(sum_of(&[(v, 1)]).to_bits(), (v + 0.0).to_bits());
            prop_assert_eq!(sum_of(&[(v, 3), (w, 1), (-v, 3)]), w);
        }

        #[test]
        fn few_whole_numbers_are_summed_as_doubles_are(values in prop::collection::vec((-1000i32..1000, 1u32..9), 1..20)) {
            let expected: i64 = values.iter().map(|(v, times)| i64::from(*v) * i64::from(*times)).sum();
            let floats: Vec<(f64, u32)> = values.iter().map(|(v, times)| (f64::from(*v), *times)).collect();
            prop_assert_eq!(sum_of(&floats), expected as f64);
        }
    }
}
