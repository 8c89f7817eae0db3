//! Exact sums against big integers.

use num_bigint::{BigInt, BigUint, Sign};
use proptest::prelude::*;

use super::*;
use crate::expr::aggregate::reference;

/// Doubles of all kinds: every exponent, everyday magnitudes, few bits, subnormals, the extremes.
fn doubles() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |v| v.is_finite()),
        -1e6..1e6f64,
        (-1000i32..1000).prop_map(|v| f64::from(v) / 10.0),
        (-1000i32..1000).prop_map(f64::from),
        (0u64..1 << 52, any::<bool>()).prop_map(|(m, n)| f64::from_bits(m | u64::from(n) << 63)),
        Just(f64::MAX),
        Just(-f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(5e-324),
        Just(0.0),
        Just(-0.0),
        Just(4503599627370495.5),
        Just(1e16),
        Just(1e-9),
    ]
}

fn sum_of(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::default();
    values.iter().for_each(|&v| sum.add(v));
    sum
}

/// Merges single sums in the tree that `picks` chooses.
fn merged(values: &[f64], picks: &[usize]) -> ExactSum {
    let mut parts: Vec<ExactSum> = values.iter().map(|&v| sum_of(&[v])).collect();
    for pick in picks.iter().cycle() {
        if parts.len() < 2 {
            break;
        }
        let part = parts.swap_remove(pick % parts.len());
        let into = pick / 7 % parts.len();
        parts[into].merge(&part);
    }
    parts.pop().unwrap_or_default()
}

fn squares_of(values: &[f64]) -> Wide {
    let mut squares = Wide::default();
    for &v in values {
        let p = parts(v);
        squares.add(false, u128::from(p.mantissa).pow(2), 2 * p.exponent);
    }
    squares
}

fn natural(v: &BigUint) -> Natural {
    Natural::new(v.to_u32_digits())
}

fn big(v: &Natural) -> BigUint {
    BigUint::new(v.digits().to_vec())
}

proptest! {
    #[test]
    fn sums_are_the_nearest_double(values in prop::collection::vec(doubles(), 0..20)) {
        prop_assert_eq!(sum_of(&values).sum().to_bits(), reference::sum(&values).to_bits());
    }

    #[test]
    fn cancellation_leaves_what_is_left(values in prop::collection::vec(doubles(), 0..10), tail in doubles()) {
        let all: Vec<f64> = values.iter().copied().chain([tail]).chain(values.iter().map(|v| -v)).collect();
        prop_assert_eq!(sum_of(&all).sum(), tail + 0.0);
    }

    #[test]
    fn any_merge_tree_gives_the_same(values in prop::collection::vec(doubles(), 1..20), picks in prop::collection::vec(any::<usize>(), 1..20)) {
        prop_assert_eq!(merged(&values, &picks).sum().to_bits(), sum_of(&values).sum().to_bits());
    }

    #[test]
    fn means_are_the_nearest_double(values in prop::collection::vec(doubles(), 1..20)) {
        let count = values.len() as u64;
        prop_assert_eq!(sum_of(&values).mean(count).to_bits(), reference::mean(&values).to_bits());
    }

    #[test]
    fn spreads_are_the_nearest_double(values in prop::collection::vec(doubles(), 2..12)) {
        let (sum, squares, n) = (sum_of(&values), squares_of(&values), values.len() as u64);
        prop_assert_eq!(spread(&sum, &squares, n, Spread::Variance), reference::variance(&values));
        prop_assert_eq!(spread(&sum, &squares, n, Spread::Stddev), reference::stddev(&values));
    }

    #[test]
    fn whole_numbers_are_summed_exactly(values in prop::collection::vec(any::<i64>(), 0..20), more in doubles()) {
        let mut sum = sum_of(&[more]);
        values.iter().for_each(|&v| sum.add_int(v));
        let total: BigInt = values.iter().map(|&v| BigInt::from(v)).sum();
        prop_assert_eq!(sum.sum(), reference::sum_with(&[more], &total));
    }

    #[test]
    fn a_saved_sum_is_the_sum(values in prop::collection::vec(doubles(), 0..20), more in doubles()) {
        let mut bytes = Vec::new();
        let mut sum = sum_of(&values);
        sum.encode(&mut bytes);
        let mut rest = bytes.as_slice();
        let mut read = ExactSum::decode(&mut rest, "sum").unwrap();
        prop_assert!(rest.is_empty());
        sum.add(more);
        read.add(more);
        prop_assert_eq!(read.sum().to_bits(), sum.sum().to_bits());
    }

    #[test]
    fn damaged_sums_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(mut sum) = ExactSum::decode(&mut bytes.as_slice(), "sum") {
            sum.add(1e300);
            let (_, _) = (sum.sum(), sum.mean(3));
        }
    }

    #[test]
    fn naturals_agree_with_a_library(a in prop::collection::vec(any::<u32>(), 0..12), b in prop::collection::vec(any::<u32>(), 0..12), d in 1u64.., narrow in 1u32.., shift in 0u32..200) {
        let (x, y) = (BigUint::new(a), BigUint::new(b));
        prop_assert_eq!(big(&natural(&x).mul(&natural(&y))), &x * &y);
        prop_assert_eq!(big(&natural(&x).shl(shift)), &x << shift);
        prop_assert_eq!(natural(&x).checked_sub(&natural(&y)).map(|n| big(&n)), (x >= y).then(|| &x - &y));
        for divisor in [d, u64::from(narrow)] {
            let quotient = natural(&x).div(divisor);
            prop_assert_eq!(big(&quotient.floor), &x / divisor);
            prop_assert_eq!(quotient.inexact, (&x % divisor) != BigUint::ZERO);
        }
        let leading = natural(&x).leading();
        if x != BigUint::ZERO {
            prop_assert_eq!(leading.top >> 127, 1);
            let back = BigInt::from_biguint(Sign::Plus, x.clone());
            let unit = leading.exponent;
            let scaled = if unit >= 0 { back >> unit } else { back << -unit };
            prop_assert_eq!(scaled, BigInt::from(leading.top));
            prop_assert_eq!(leading.inexact, unit > 0 && x.trailing_zeros().unwrap() < unit as u64);
        }
    }
}

#[test]
fn infinities_and_nan_act_as_in_ieee_sums() {
    let inf = f64::INFINITY;
    assert_eq!(sum_of(&[1.0, inf, 2.0]).sum(), inf);
    assert_eq!(sum_of(&[1.0, -inf]).mean(2), -inf);
    assert!(sum_of(&[inf, 1.0, -inf]).sum().is_nan());
    assert!(sum_of(&[f64::NAN, inf]).sum().is_nan());
}

#[test]
fn sums_beyond_the_largest_double_are_infinite_but_their_mean_is_not() {
    let sum = sum_of(&[f64::MAX, f64::MAX, f64::MAX]);
    assert_eq!(sum.sum(), f64::INFINITY);
    assert_eq!(sum.mean(3), f64::MAX);
}

#[test]
fn the_fast_path_overflows_into_the_wide_part() {
    let big = 4.0e15;
    let values = vec![big; 10_000];
    let sum = sum_of(&values);
    assert!(sum.wide.is_some());
    assert_eq!(sum.sum(), big * 10_000.0);
}

#[test]
fn carries_are_settled_before_limbs_overflow() {
    let mut wide = Wide::default();
    let mut doubling = Wide::default();
    wide.add(true, u128::from(u64::MAX), 0);
    doubling.merge(&wide);
    // 2^40 times the value, by merging with itself.
    for _ in 0..40 {
        let copy = doubling.clone();
        doubling.merge(&copy);
    }
    let (negative, magnitude, exponent) = doubling.magnitude();
    assert!(negative);
    assert_eq!(exponent, 0);
    assert_eq!(big(&magnitude), BigUint::from(u64::MAX) << 40);
}
