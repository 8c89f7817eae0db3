//! Numbers in text, by JSON's grammar. Floats are rounded correctly, ints are exact or out of range.
//!
//! Short numbers, which nearly all are, take a path without a loop: digits are found and converted
//! eight at a time. The functions read the longest number at a place and leave it to the caller to
//! check what follows.

use super::swar::{digit_values, first_marked, load, mark_not_digits, number_of_digits};

/// Why there is no such number at the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFault {
    /// Not a number of the grammar.
    Syntax,
    /// A number with a fraction or exponent, where an int was wanted.
    Fraction,
    /// Beyond what the type holds.
    OutOfRange,
}

/// Powers of ten that a float holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

const INT_POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Digits of which every number fits 64 bits.
const DIGITS_MAX: usize = 19;

/// The int at `at` and where it ends.
#[inline(always)]
pub fn int(text: &[u8], at: usize) -> Result<(i64, usize), NumberFault> {
    let negative = text.get(at) == Some(&b'-');
    let start = at + negative as usize;
    let word = load(text, start);
    let values = digit_values(word);
    let count = first_marked(mark_not_digits(values));
    if count == 8 {
        return long_int(text, start, negative);
    }
    if count == 0 || (count > 1 && values & 0xff == 0) {
        return Err(NumberFault::Syntax);
    }
    if matches!((word >> (8 * count)) as u8, b'.' | b'e' | b'E') {
        return Err(NumberFault::Fraction);
    }
    let number = number_of_digits(values, count) as i64;
    Ok((if negative { -number } else { number }, start + count))
}

fn long_int(text: &[u8], start: usize, negative: bool) -> Result<(i64, usize), NumberFault> {
    let (number, end) = digits(text, start);
    if text[start] == b'0' {
        return Err(NumberFault::Syntax);
    }
    if matches!(text.get(end), Some(b'.' | b'e' | b'E')) {
        return Err(NumberFault::Fraction);
    }
    let number = number.ok_or(NumberFault::OutOfRange)?;
    let signed = if negative { 0i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() };
    Ok((signed.ok_or(NumberFault::OutOfRange)?, end))
}

/// The number of all digits from `start` on (none: 0), unless they are too many, and their end.
fn digits(text: &[u8], start: usize) -> (Option<u64>, usize) {
    let (mut number, mut at) = (0u64, start);
    loop {
        let values = digit_values(load(text, at));
        let count = first_marked(mark_not_digits(values));
        if count > 0 {
            number = number.wrapping_mul(INT_POWERS[count]).wrapping_add(number_of_digits(values, count));
        }
        at += count;
        if count < 8 {
            break;
        }
    }
    ((at - start <= DIGITS_MAX).then_some(number), at)
}

/// The float at `at` and where it ends.
#[inline(always)]
pub fn float(text: &[u8], at: usize) -> Result<(f64, usize), NumberFault> {
    let negative = text.get(at) == Some(&b'-');
    let start = at + negative as usize;
    let word = load(text, start);
    let values = digit_values(word);
    let marks = mark_not_digits(values);
    let whole = first_marked(marks);
    let end = first_marked(marks & marks.wrapping_sub(1));
    let after_whole = (word >> (8 * whole).min(56)) as u8;
    let leading_zero = whole > 1 && values & 0xff == 0;
    if whole == 0 || end == 8 || after_whole != b'.' || leading_zero {
        return other_float(text, at);
    }
    let fraction = end - whole - 1;
    if fraction == 0 || matches!((word >> (8 * end)) as u8, b'e' | b'E') {
        return other_float(text, at);
    }
    // The digits behind the point close up to those before it.
    let before = (1u64 << (8 * whole)) - 1;
    let closed = (values & before) | ((values >> 8) & !before);
    let number = number_of_digits(closed, end - 1) as f64 / POWERS[fraction];
    Ok((if negative { -number } else { number }, start + end))
}

/// Any float: whole, long, or with an exponent.
fn other_float(text: &[u8], at: usize) -> Result<(f64, usize), NumberFault> {
    let negative = text.get(at) == Some(&b'-');
    let start = at + negative as usize;
    let (whole, whole_end) = digits(text, start);
    check_whole(text, start, whole_end)?;
    let (mut mantissa, mut fraction, mut end) = (whole, 0, whole_end);
    if text.get(end) == Some(&b'.') {
        let (part, part_end) = digits(text, end + 1);
        fraction = part_end - end - 1;
        if fraction == 0 {
            return Err(NumberFault::Syntax);
        }
        end = part_end;
        let joined = |w: u64, p: u64| w.checked_mul(10u64.checked_pow(fraction as u32)?)?.checked_add(p);
        mantissa = mantissa.zip(part).and_then(|(w, p)| joined(w, p));
    }
    let exponent_end = exponent(text, end)?;
    if exponent_end == end
        && fraction < POWERS.len()
        && let Some(m) = mantissa
        && m <= 1 << 53
    {
        let number = m as f64 / POWERS[fraction];
        return Ok((if negative { -number } else { number }, end));
    }
    let number: f64 = fast_float2::parse(&text[at..exponent_end]).map_err(|_| NumberFault::Syntax)?;
    if number.is_finite() { Ok((number, exponent_end)) } else { Err(NumberFault::OutOfRange) }
}

/// Where the number at `at` ends, whatever its value.
pub fn skip(text: &[u8], at: usize) -> Result<usize, NumberFault> {
    let start = at + (text.get(at) == Some(&b'-')) as usize;
    let mut end = skip_digits(text, start);
    check_whole(text, start, end)?;
    if text.get(end) == Some(&b'.') {
        let fraction = end + 1;
        end = skip_digits(text, fraction);
        if end == fraction {
            return Err(NumberFault::Syntax);
        }
    }
    exponent(text, end)
}

fn check_whole(text: &[u8], start: usize, end: usize) -> Result<(), NumberFault> {
    let leading_zero = end > start + 1 && text[start] == b'0';
    if end == start || leading_zero { Err(NumberFault::Syntax) } else { Ok(()) }
}

/// Where the exponent at `at` ends; `at` itself where there is none.
fn exponent(text: &[u8], at: usize) -> Result<usize, NumberFault> {
    if !matches!(text.get(at), Some(b'e' | b'E')) {
        return Ok(at);
    }
    let digits = at + 1 + matches!(text.get(at + 1), Some(b'+' | b'-')) as usize;
    let end = skip_digits(text, digits);
    if end == digits { Err(NumberFault::Syntax) } else { Ok(end) }
}

#[inline]
fn skip_digits(text: &[u8], mut at: usize) -> usize {
    loop {
        let count = first_marked(mark_not_digits(digit_values(load(text, at))));
        at += count;
        if count < 8 {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) {
        for after in ["", ",", "}", "        ", "x1234567"] {
            let padded = format!("{text}{after}");
            let bytes = padded.as_bytes();
            let float_expected: f64 = text.parse().unwrap();
            if float_expected.is_finite() {
                let (number, end) = float(bytes, 0).unwrap();
                assert_eq!((number.to_bits(), end), (float_expected.to_bits(), text.len()), "{padded}");
            } else {
                assert_eq!(float(bytes, 0), Err(NumberFault::OutOfRange), "{padded}");
            }
            let int_expected = match text.parse::<i64>() {
                Ok(number) => Ok((number, text.len())),
                Err(_) if text.contains(['.', 'e', 'E']) => Err(NumberFault::Fraction),
                Err(_) => Err(NumberFault::OutOfRange),
            };
            assert_eq!(int(bytes, 0), int_expected, "{padded}");
            assert_eq!(skip(bytes, 0), Ok(text.len()), "{padded}");
        }
    }

    #[test]
    fn reads_the_extremes() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.5",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
            "18446744073709551616",
            "9007199254740993",
            "9007199254740993.0",
            "1e400",
            "1e-400",
            "1.7976931348623157e308",
            "5e-324",
            "0.1",
            "123456.7",
            "1234567.8",
            "12345678.9",
            "0.30000000000000004",
            "1E+5",
            "100000000000000000000000.5",
        ] {
            check(text);
        }
    }

    #[test]
    fn refuses_what_the_grammar_does_not_know() {
        for text in [
            "",
            "-",
            "+1",
            ".5",
            "1.",
            "1.e5",
            "01",
            "-01",
            "00.5",
            "000000001",
            "1e",
            "1e+",
            "x",
            "1.x",
            "0123456789.5",
        ] {
            for after in ["", ",", "        "] {
                let padded = format!("{text}{after}");
                assert_eq!(float(padded.as_bytes(), 0), Err(NumberFault::Syntax), "{padded}");
                assert_eq!(skip(padded.as_bytes(), 0), Err(NumberFault::Syntax), "{padded}");
                assert!(int(padded.as_bytes(), 0).is_err(), "{padded}");
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_of_the_grammar_read_as_the_standard_library_does(
            text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"
        ) {
            check(&text);
        }

        #[test]
        fn short_decimals_do_too(text in "-?(0|[1-9][0-9]{0,5})\\.[0-9]{1,5}") {
            check(&text);
        }

        #[test]
        fn nothing_panics(text in prop::collection::vec(prop::sample::select(b"0123456789-+.eE,".to_vec()), 0..40)) {
            let _ = (int(&text, 0), float(&text, 0), skip(&text, 0));
        }
    }
}
