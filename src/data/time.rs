//! Timestamps and durations as text, and the range of times that a row may have.
//!
//! One parser and one printer serve the language, the decoders and the sinks, so that what is printed
//! can be read back: RFC 3339 for timestamps, VPL's own form (`1h30m`) for durations.

/// 1900-01-01T00:00:00Z. A row before it is malformed (`time_out_of_range`).
pub const TIME_MIN: i64 = -2_208_988_800 * NS_PER_S;
/// 2200-01-01T00:00:00Z. A row at or after it is malformed (`time_out_of_range`).
pub const TIME_MAX: i64 = 7_258_118_400 * NS_PER_S;

pub const NS_PER_US: i64 = 1_000;
pub const NS_PER_MS: i64 = 1_000_000;
pub const NS_PER_S: i64 = 1_000_000_000;
pub const NS_PER_MIN: i64 = 60 * NS_PER_S;
pub const NS_PER_H: i64 = 60 * NS_PER_MIN;
pub const NS_PER_DAY: i64 = 24 * NS_PER_H;

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar (Hinnant, "chrono-compatible
/// low-level date algorithms").
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let month_from_march = (month as i64 + 9) % 12;
    let doy = (153 * month_from_march + 2) / 5 + day as i64 - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// The date (year, month, day) that lies `days` after 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    let year = yoe + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

/// Parses RFC 3339 (also with a space for `T`, without seconds, without a zone = UTC) or a bare date.
/// `None` when the text is none of these or the instant does not fit 64-bit nanoseconds.
pub fn parse_timestamp(text: &[u8]) -> Option<i64> {
    parse_instant(text)?.try_into().ok()
}

/// Whether the text is a timestamp that does not fit 64-bit nanoseconds: before 1677 or after 2262.
pub fn is_distant_timestamp(text: &[u8]) -> bool {
    parse_instant(text).is_some_and(|ns| i64::try_from(ns).is_err())
}

fn parse_instant(text: &[u8]) -> Option<i128> {
    let midnight = parse_date(text.get(..10)?)? as i128 * NS_PER_DAY as i128;
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(midnight);
    }
    if !matches!(rest[0], b'T' | b't' | b' ') {
        return None;
    }
    let (time_ns, rest) = parse_time_of_day(&rest[1..])?;
    let zone_ns = parse_zone(rest)?;
    Some(midnight + (time_ns - zone_ns) as i128)
}

fn two_digits(text: &[u8]) -> Option<i64> {
    let (a, b) = (text.first()?.wrapping_sub(b'0'), text.get(1)?.wrapping_sub(b'0'));
    (a < 10 && b < 10).then_some((a * 10 + b) as i64)
}

fn parse_date(text: &[u8]) -> Option<i64> {
    if text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two_digits(text)? * 100 + two_digits(&text[2..])?;
    let (month, day) = (two_digits(&text[5..])? as u32, two_digits(&text[8..])? as u32);
    let valid = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    valid.then(|| days_from_civil(year, month, day))
}

/// The number of days of a month (1 to 12).
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fraction`; the ns since midnight and what follows.
fn parse_time_of_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, minute) = (two_digits(text)?, two_digits(text.get(3..)?)?);
    if text[2] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let mut ns = hour * NS_PER_H + minute * NS_PER_MIN;
    let mut rest = &text[5..];
    if rest.first() != Some(&b':') {
        return Some((ns, rest));
    }
    let second = two_digits(&rest[1..])?;
    // 60 is a leap second, which the scale of 1970 does not have: it becomes the next second.
    if second > 60 {
        return None;
    }
    ns += second * NS_PER_S;
    rest = &rest[3..];
    if matches!(rest.first(), Some(b'.' | b',')) {
        let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let mut unit = NS_PER_S / 10;
        for b in &rest[1..=digits] {
            ns += (b - b'0') as i64 * unit;
            unit /= 10;
        }
        rest = &rest[1 + digits..];
    }
    Some((ns, rest))
}

/// An offset from UTC in ns; nothing at all means UTC.
fn parse_zone(text: &[u8]) -> Option<i64> {
    let sign = match text.first() {
        None => return Some(0),
        Some(b'Z' | b'z') => return (text.len() == 1).then_some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    let hours = two_digits(&text[1..])?;
    let minutes = match &text[3..] {
        [] => 0,
        [b':', rest @ ..] | rest if rest.len() == 2 => two_digits(rest)?,
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * NS_PER_H + minutes * NS_PER_MIN))
}

/// Appends a timestamp as RFC 3339 in UTC, with as many groups of three decimals as it needs.
pub fn write_timestamp(ns: i64, out: &mut Vec<u8>) {
    let (days, of_day) = (ns.div_euclid(NS_PER_DAY), ns.rem_euclid(NS_PER_DAY));
    let (year, month, day) = civil_from_days(days);
    let seconds = of_day / NS_PER_S;
    push_digits(year as u64, 4, out);
    for (mark, value) in [
        (b'-', month as i64),
        (b'-', day as i64),
        (b'T', seconds / 3600),
        (b':', seconds / 60 % 60),
        (b':', seconds % 60),
    ] {
        out.push(mark);
        push_digits(value as u64, 2, out);
    }
    let fraction = (of_day % NS_PER_S) as u64;
    if fraction != 0 {
        out.push(b'.');
        if fraction.is_multiple_of(1_000_000) {
            push_digits(fraction / 1_000_000, 3, out);
        } else if fraction.is_multiple_of(1_000) {
            push_digits(fraction / 1_000, 6, out);
        } else {
            push_digits(fraction, 9, out);
        }
    }
    out.push(b'Z');
}

fn push_digits(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for slot in out[start..].iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// A timestamp as text; see [`write_timestamp`].
pub fn format_timestamp(ns: i64) -> String {
    let mut out = Vec::with_capacity(30);
    write_timestamp(ns, &mut out);
    String::from_utf8(out).expect("digits and punctuation")
}

const UNITS: [(&str, i64); 7] = [
    ("d", NS_PER_DAY),
    ("h", NS_PER_H),
    ("m", NS_PER_MIN),
    ("s", NS_PER_S),
    ("ms", NS_PER_MS),
    ("us", NS_PER_US),
    ("ns", 1),
];

/// Parses a duration in VPL's form, such as `250ms` or `1h30m`, with an optional sign.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '_')?;
        let number: i64 = rest[..digits].replace('_', "").parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = UNITS.iter().find(|u| u.0 == &rest[..letters])?.1;
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[letters..];
    }
    Some(sign * total)
}

/// A duration in VPL's form: `1h30m`, `250ms`, `0s`.
pub fn format_duration(ns: i64) -> String {
    if ns == 0 {
        return "0s".to_string();
    }
    let mut out = String::new();
    if ns < 0 {
        out.push('-');
    }
    let mut rest = ns.unsigned_abs();
    for (name, unit) in UNITS {
        let count = rest / unit as u64;
        if count > 0 {
            out.push_str(&format!("{count}{name}"));
            rest %= unit as u64;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_usual_forms_of_a_timestamp() {
        let noon = 20_513 * NS_PER_DAY + 12 * NS_PER_H;
        for text in [
            "2026-03-01T12:00:00Z",
            "2026-03-01 12:00:00",
            "2026-03-01T13:00:00+01:00",
            "2026-03-01T12:00",
            "2026-03-01T07:00:00.000-0500",
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), Some(noon), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-02-29",
            "2026-03-01T25:00:00Z",
            "2026-03-01T12:00:00+",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T",
            "2026-03-01T12:00:00Zx",
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn timestamps_round_trip(ns in TIME_MIN..TIME_MAX) {
            prop_assert_eq!(parse_timestamp(format_timestamp(ns).as_bytes()), Some(ns));
        }

        #[test]
        fn durations_round_trip(ns in -i64::MAX..i64::MAX) {
            prop_assert_eq!(parse_duration(&format_duration(ns)), Some(ns));
        }

        #[test]
        fn parsing_never_panics(text in prop::collection::vec(prop::sample::select(b"0123456789-T:.+Z ".to_vec()), 0..30)) {
            parse_timestamp(&text);
            parse_duration(&String::from_utf8(text).unwrap());
        }
    }
}
