//! RFC 3339 timestamps at a fixed layout, faster than the general parser.
//!
//! Rows of a log lie close in time: the date of the last one is remembered and compared as bytes, so
//! that the calendar is computed once a day. What does not have the layout is left to
//! [`crate::data::time::parse_timestamp`], with which this agrees wherever it gives an answer.

use super::swar::{digit_values, first_marked, load, mark_not_digits, number_of_digits};
use crate::data::time::{NS_PER_H, NS_PER_MIN, NS_PER_S, parse_timestamp};

/// `YYYY-MM-DD` with its `T` or space.
const DATE_BYTES: usize = 11;
/// As far as the longest layout that is known here reaches, and what may be loaded beyond it.
const REACH_BYTES: usize = 40;

const NS_PER_FRACTION_UNIT: [i64; 10] = [0, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// Remembers the last date; the answers do not depend on it.
#[derive(Clone, Debug)]
pub struct InstantParser {
    /// Bytes 0 to 8 and 3 to 11 of the date.
    date: (u64, u64),
    midnight_ns: i64,
}

impl Default for InstantParser {
    fn default() -> InstantParser {
        // A date that is right, since any text may be compared with it.
        let date = b"1970-01-01T";
        InstantParser { date: (load(date, 0), load(date, 3)), midnight_ns: 0 }
    }
}

impl InstantParser {
    /// The instant that begins at `at` as `2026-03-01T09:30:00`, with a fraction of up to 9 digits and
    /// a `Z` or neither, and where its text ends. The caller checks what follows.
    #[inline(always)]
    pub fn parse(&mut self, text: &[u8], at: usize) -> Option<(i64, usize)> {
        let text = text.get(at..)?.first_chunk::<REACH_BYTES>()?;
        let date = (load(text, 0), load(text, 3));
        if date != self.date {
            self.change_date(text, date)?;
        }
        let time = load(text, DATE_BYTES) ^ u64::from_le_bytes(*b"00:00:00");
        let colons = time & 0x0000_ff00_00ff_0000;
        // Digits and the colons' places, which are 0 now, all must be below 10.
        if colons != 0 || mark_not_digits(time) != 0 {
            return None;
        }
        let pairs = time.wrapping_mul(10).wrapping_add(time >> 8);
        let (hour, minute, second) = (pairs & 0xff, (pairs >> 24) & 0xff, (pairs >> 48) & 0xff);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let of_day = hour as i64 * NS_PER_H + minute as i64 * NS_PER_MIN + second as i64 * NS_PER_S;
        let (fraction_ns, end) = fraction(text, DATE_BYTES + 8)?;
        let end = end + (text[end] == b'Z') as usize;
        Some((self.midnight_ns.checked_add(of_day + fraction_ns)?, at + end))
    }

    #[cold]
    fn change_date(&mut self, text: &[u8; REACH_BYTES], date: (u64, u64)) -> Option<()> {
        if !matches!(text[DATE_BYTES - 1], b'T' | b't' | b' ') {
            return None;
        }
        self.midnight_ns = parse_timestamp(&text[..DATE_BYTES - 1])?;
        self.date = date;
        Some(())
    }
}

/// The fraction of a second at `at`, if there is one, in ns, and its end.
#[inline(always)]
fn fraction(text: &[u8; REACH_BYTES], at: usize) -> Option<(i64, usize)> {
    if text[at] != b'.' {
        return Some((0, at));
    }
    let values = digit_values(load(text, at + 1));
    let count = first_marked(mark_not_digits(values));
    if count == 0 {
        return None;
    }
    let number = number_of_digits(values, count) as i64;
    let ninth = text[at + 9].wrapping_sub(b'0');
    if count < 8 || ninth > 9 {
        return Some((number * NS_PER_FRACTION_UNIT[count], at + 1 + count));
    }
    let tenth_is_digit = text[at + 10].is_ascii_digit();
    (!tenth_is_digit).then_some((number * 10 + ninth as i64, at + 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::time::{TIME_MAX, TIME_MIN, format_timestamp};
    use proptest::prelude::*;

    fn padded(text: &str) -> Vec<u8> {
        format!("{text}\"                                        ").into_bytes()
    }

    #[test]
    fn bytes_of_zero_are_no_date() {
        let text = [&[0; DATE_BYTES][..], &padded("09:30:00Z")].concat();
        assert_eq!(InstantParser::default().parse(&text, 0), None);
        assert_eq!(InstantParser::default().parse(&padded("1970-01-01T00:00:01Z"), 0), Some((NS_PER_S, 20)));
    }

    proptest! {
        #[test]
        fn printed_timestamps_are_read(times in prop::collection::vec((TIME_MIN..TIME_MAX, 0u32..10), 1..20)) {
            let mut parser = InstantParser::default();
            for (ns, digits) in times {
                let unit = 10i64.pow(digits);
                let ns = ns.div_euclid(unit) * unit;
                let text = format_timestamp(ns);
                prop_assert_eq!(parser.parse(&padded(&text), 0), Some((ns, text.len())), "{}", text);
            }
        }

        #[test]
        fn answers_agree_with_the_general_parser(
            text in "(2026|0000|9999)-(0[0-9]|1[0-9])-[0-3][0-9][Tt x][0-2][0-9]:[0-7][0-9]:[0-7][0-9]([.,:][0-9]{0,11})?[Zz+]?"
        ) {
            let mut parser = InstantParser::default();
            if let Some((ns, end)) = parser.parse(&padded(&text), 0) && end == text.len() {
                prop_assert_eq!(Some(ns), parse_timestamp(text.as_bytes()), "{}", text);
            }
        }

        #[test]
        fn nothing_panics(text in prop::collection::vec(prop::sample::select(b"0123456789-T:.Z ".to_vec()), 0..60)) {
            InstantParser::default().parse(&text, 0);
        }
    }
}
