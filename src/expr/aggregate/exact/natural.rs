//! Natural numbers of any size, as far as the last step of an exact aggregate needs them: products,
//! differences and quotients before the single rounding to a double. It runs once per result, so it is
//! written for plainness; the hot paths never come here. Not a general big-integer library.

use std::cmp::Ordering;

/// Little-endian digits to the base 2^32, without leading zeros: zero has no digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Natural(Vec<u32>);

/// The quotient of a division, and whether anything was cut off.
pub(crate) struct Quotient {
    pub floor: Natural,
    pub inexact: bool,
}

impl Natural {
    pub fn new(mut digits: Vec<u32>) -> Natural {
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Natural(digits)
    }

    pub fn digits(&self) -> &[u32] {
        &self.0
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub fn mul(&self, other: &Natural) -> Natural {
        let mut out = vec![0u32; self.0.len() + other.0.len()];
        for (i, &a) in self.0.iter().enumerate() {
            let mut carry = 0u64;
            for (j, &b) in other.0.iter().enumerate() {
                let v = u64::from(a) * u64::from(b) + u64::from(out[i + j]) + carry;
                out[i + j] = v as u32;
                carry = v >> 32;
            }
            out[i + other.0.len()] = carry as u32;
        }
        Natural::new(out)
    }

    pub fn shl(&self, bits: u32) -> Natural {
        let (words, rest) = ((bits / 32) as usize, bits % 32);
        let mut out = vec![0u32; words];
        let mut carry = 0u32;
        for &d in &self.0 {
            let v = u64::from(d) << rest;
            out.push(v as u32 | carry);
            carry = (v >> 32) as u32;
        }
        out.push(carry);
        Natural::new(out)
    }

    /// `self - other`, or `None` where that is negative.
    pub fn checked_sub(&self, other: &Natural) -> Option<Natural> {
        if (*self).cmp_to(other).is_lt() {
            return None;
        }
        let mut out = self.0.clone();
        let mut borrow = 0i64;
        for (i, digit) in out.iter_mut().enumerate() {
            let v = i64::from(*digit) - i64::from(other.0.get(i).copied().unwrap_or(0)) + borrow;
            *digit = v as u32;
            borrow = v >> 32;
        }
        Some(Natural::new(out))
    }

    fn cmp_to(&self, other: &Natural) -> Ordering {
        let length = self.0.len().cmp(&other.0.len());
        length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Division by `divisor`, which is not 0.
    pub fn div(&self, divisor: u64) -> Quotient {
        let mut out = self.0.clone();
        let inexact = match u32::try_from(divisor) {
            Ok(divisor) => divide_narrow(&mut out, divisor),
            Err(_) => divide_wide(&mut out, divisor),
        };
        Quotient { floor: Natural::new(out), inexact }
    }

    /// The leading 128 bits `top`, with the highest one set, so that the number is
    /// `top · 2^exponent` and a remainder below that; zero gives zero.
    pub fn leading(&self) -> Leading {
        let mut top = 0u128;
        let mut used = 0;
        for &d in self.0.iter().rev().take(4) {
            top = top << 32 | u128::from(d);
            used += 1;
        }
        let mut exponent = 32 * (self.0.len() - used) as i64;
        let mut inexact = self.0.iter().rev().skip(4).any(|&d| d != 0);
        let spare = top.leading_zeros();
        if top != 0 && spare > 0 {
            let next = self.0.len().checked_sub(used + 1).map_or(0, |i| self.0[i]);
            top <<= spare;
            // After four digits fewer than 32 bits are missing, so the fifth provides them all.
            if used == 4 {
                top |= u128::from(next) >> (32 - spare);
                let below = (next as u64) & ((1u64 << (32 - spare)) - 1);
                inexact = below != 0 || self.0.iter().rev().skip(5).any(|&d| d != 0);
            }
            exponent -= i64::from(spare);
        }
        Leading { top, exponent, inexact }
    }
}

impl From<u128> for Natural {
    fn from(v: u128) -> Natural {
        Natural::new((0..4).map(|i| (v >> (32 * i)) as u32).collect())
    }
}

fn divide_narrow(digits: &mut [u32], divisor: u32) -> bool {
    let mut rest = 0u64;
    for digit in digits.iter_mut().rev() {
        let v = rest << 32 | u64::from(*digit);
        *digit = (v / u64::from(divisor)) as u32;
        rest = v % u64::from(divisor);
    }
    rest != 0
}

fn divide_wide(digits: &mut [u32], divisor: u64) -> bool {
    let mut rest = 0u128;
    for digit in digits.iter_mut().rev() {
        let v = rest << 32 | u128::from(*digit);
        *digit = (v / u128::from(divisor)) as u32;
        rest = v % u128::from(divisor);
    }
    rest != 0
}

/// A number by its leading bits: at least `top · 2^exponent`, and more (by less than one unit of
/// `top`) if `inexact`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leading {
    pub top: u128,
    pub exponent: i64,
    pub inexact: bool,
}

impl Leading {
    /// The square root, as precise as rounding to a double needs it. `top` has its highest bit set or is 0.
    pub fn sqrt(self) -> Leading {
        let odd = self.exponent & 1;
        let (top, exponent) = (self.top >> odd, self.exponent + odd);
        let root = top.isqrt();
        let cut = self.top != top << odd || root * root != top;
        Leading { top: root, exponent: exponent / 2, inexact: self.inexact || cut }
    }

    /// The nearest double, ties to even. If `inexact`, `top` has 55 bits or more.
    pub fn round(self, negative: bool) -> f64 {
        let bits = 128 - i64::from(self.top.leading_zeros());
        // The weight of the last bit that the double keeps; subnormals keep fewer than 53.
        let last = (self.exponent + bits - 53).max(-1074);
        let cut = last - self.exponent;
        let mantissa = if cut <= 0 {
            (self.top as u64) << -cut
        } else if cut > 128 {
            0
        } else {
            round_off(self.top, cut as u32, self.inexact)
        };
        let magnitude = if last > 971 { f64::INFINITY } else { mantissa as f64 * power_of_two(last as i32) };
        if self.top == 0 {
            0.0
        } else if negative {
            -magnitude
        } else {
            magnitude
        }
    }
}

/// `top / 2^cut` to nearest, ties to even; `cut` in 1..=128.
fn round_off(top: u128, cut: u32, inexact: bool) -> u64 {
    let kept = if cut == 128 { 0 } else { (top >> cut) as u64 };
    let half = 1u128 << (cut - 1);
    let rest = top & (half | (half - 1));
    let up = rest > half || rest == half && (inexact || kept & 1 == 1);
    kept + u64::from(up)
}

/// 2^e, for e in -1074..=1023.
fn power_of_two(e: i32) -> f64 {
    if e >= -1022 { f64::from_bits(((e + 1023) as u64) << 52) } else { f64::from_bits(1 << (e + 1074)) }
}
