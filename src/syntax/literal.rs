//! The values of literals, from their text.
//!
//! One place decides what a literal means: the scanner asks it to report malformed ones (so that the
//! grammar only ever sees good ones), the tree builder asks it for the value.

use crate::data::time::{parse_duration, parse_timestamp};
use crate::diagnostic::{Code, codes, nearest};

/// The value of a token that begins with a digit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    /// 2^63, which is an int only under a unary minus.
    IntMinMagnitude,
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    /// Bytes.
    Size(u64),
}

/// Why a literal has no value.
#[derive(Clone, Debug, PartialEq)]
pub struct LiteralError {
    pub code: Code,
    pub message: String,
    pub hint: Option<String>,
    /// The offending bytes, relative to the token.
    pub at: std::ops::Range<usize>,
}

const DURATION_UNITS: &[&str] = &["ns", "us", "ms", "s", "m", "h", "d"];

/// Decimal units by SI, binary ones by IEC.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Units that people write and what VPL calls them.
const OTHER_UNITS: &[(&str, &str)] = &[
    ("sec secs second seconds S", "s"),
    ("min mins minute minutes", "m"),
    ("hr hrs hour hours H", "h"),
    ("day days D", "d"),
    ("msec msecs millis millisecond milliseconds", "ms"),
    ("usec usecs micros microsecond microseconds", "us"),
    ("nsec nanos nanosecond nanoseconds", "ns"),
    ("K k kb Kb", "KB"),
    ("Mb mb", "MB"),
    ("G g gb Gb", "GB"),
    ("T tb Tb", "TB"),
    ("kib KIB", "KiB"),
    ("mib MIB", "MiB"),
    ("gib GIB", "GiB"),
];

impl LiteralError {
    fn new(code: Code, text: &str, message: impl Into<String>) -> LiteralError {
        LiteralError { code, message: message.into(), hint: None, at: 0..text.len() }
    }

    fn hint(mut self, hint: impl Into<String>) -> LiteralError {
        self.hint = Some(hint.into());
        self
    }
}

/// The value of a number, duration or size.
pub fn number(text: &str) -> Result<Number, LiteralError> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let rest = &text[digits..];
    let is_exponent = |r: &str| {
        let r = r.strip_prefix(['e', 'E']).map(|r| r.strip_prefix(['+', '-']).unwrap_or(r));
        r.is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_digit() || b == b'_'))
    };
    if rest.is_empty() {
        int(text)
    } else if rest.starts_with('.') || is_exponent(rest) {
        float(text)
    } else {
        with_unit(text)
    }
}

/// Bytes, from a size such as `256MB` or a plain int, as a literal and everywhere else that one is written.
pub fn size(text: &str) -> Option<u64> {
    match number(text).ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))? {
        Number::Size(bytes) => Some(bytes),
        Number::Int(bytes) => u64::try_from(bytes).ok(),
        Number::IntMinMagnitude | Number::Float(_) | Number::Duration(_) => None,
    }
}

fn separators(text: &str) -> Result<(), LiteralError> {
    let bytes = text.as_bytes();
    let misplaced = (0..bytes.len()).any(|i| {
        let digit = |j: Option<usize>| j.and_then(|j| bytes.get(j)).is_some_and(u8::is_ascii_digit);
        bytes[i] == b'_' && !(digit(i.checked_sub(1)) && digit(Some(i + 1)))
    });
    if misplaced {
        let error = LiteralError::new(codes::INVALID_NUMBER, text, "misplaced `_` in a number");
        return Err(error.hint("a single `_` may stand between two digits"));
    }
    Ok(())
}

fn int(text: &str) -> Result<Number, LiteralError> {
    separators(text)?;
    match text.replace('_', "").parse::<u64>() {
        Ok(value) if value <= i64::MAX as u64 => Ok(Number::Int(value as i64)),
        Ok(value) if value == 1 << 63 => Ok(Number::IntMinMagnitude),
        Ok(_) | Err(_) => {
            let error = LiteralError::new(codes::INVALID_NUMBER, text, "the number does not fit a 64-bit int");
            Err(error.hint("write a float, as in `1e20`, if it need not be exact"))
        }
    }
}

fn float(text: &str) -> Result<Number, LiteralError> {
    let malformed = |message: &str| LiteralError::new(codes::INVALID_NUMBER, text, message);
    if let Some(unit) = text.find(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E') {
        let known = with_unit(&format!("1{}", &text[unit..]));
        return Err(match (known, &text[unit..]) {
            (Ok(Number::Duration(_)), "d") => malformed("decimal literals are not supported")
                .hint("write a float without `d`, or a duration in whole units such as `36h`"),
            (Ok(_), _) => malformed("durations and sizes are whole numbers of their unit")
                .hint("use smaller units, as in `1h30m` or `500ms`"),
            (Err(_), _) => malformed("malformed number"),
        });
    }
    separators(text)?;
    match text.replace('_', "").parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Number::Float(value)),
        Ok(_) => Err(malformed("the number does not fit a 64-bit float")),
        Err(_) => Err(malformed("malformed number")),
    }
}

/// A duration such as `1h30m`, or a size such as `64KiB`.
fn with_unit(text: &str) -> Result<Number, LiteralError> {
    if text.starts_with("0x") || text.starts_with("0b") || text.starts_with("0o") {
        return Err(LiteralError::new(codes::INVALID_NUMBER, text, "numbers are written in decimal"));
    }
    let mut units = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(rest.len());
        let after = &rest[digits..];
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let at = text.len() - after.len();
        units.push((&rest[..digits], &after[..letters], at..at + letters));
        rest = &after[letters..];
    }
    if let [(digits, unit, _)] = units.as_slice()
        && let Some((_, bytes)) = SIZE_UNITS.iter().find(|(name, _)| name == unit)
    {
        separators(digits)?;
        let value = digits.replace('_', "").parse::<u64>().ok().and_then(|n| n.checked_mul(*bytes));
        let value = value.filter(|&value| value <= i64::MAX as u64);
        return value
            .map(Number::Size)
            .ok_or_else(|| LiteralError::new(codes::INVALID_NUMBER, text, "the size does not fit 64 bits"));
    }
    for (i, (digits, unit, at)) in units.iter().enumerate() {
        separators(digits)?;
        if !DURATION_UNITS.contains(unit) {
            return Err(unknown_unit(digits, unit, at.clone()));
        }
        if units[..i].iter().any(|(_, earlier, _)| earlier == unit) {
            let error = LiteralError::new(
                codes::INVALID_NUMBER,
                text,
                format!("the unit `{unit}` is given twice in a duration"),
            );
            return Err(error);
        }
    }
    parse_duration(text)
        .map(Number::Duration)
        .ok_or_else(|| LiteralError::new(codes::INVALID_NUMBER, text, "the duration does not fit 64-bit nanoseconds"))
}

fn unknown_unit(digits: &str, unit: &str, at: std::ops::Range<usize>) -> LiteralError {
    let message =
        if unit.is_empty() { "a number without its unit".to_string() } else { format!("unknown unit `{unit}`") };
    let known = || DURATION_UNITS.iter().copied().chain(SIZE_UNITS.iter().map(|(name, _)| *name));
    let meant = OTHER_UNITS.iter().find(|(others, _)| others.split(' ').any(|other| other == unit));
    let hint =
        match (unit, meant.map(|(_, unit)| *unit).or_else(|| nearest(unit, known()).filter(|_| !unit.is_empty()))) {
            ("M", _) => format!("write `{digits}m` for minutes, `{digits}MB` for megabytes"),
            ("w" | "week" | "weeks", _) => "a week is `7d`".to_string(),
            (_, Some(meant)) => format!("did you mean `{digits}{meant}`?"),
            (_, None) => "durations end in ns, us, ms, s, m, h or d, sizes in B, KB, MB, GB, TB, KiB, MiB, GiB or TiB"
                .to_string(),
        };
    LiteralError { code: codes::UNKNOWN_UNIT, message, hint: Some(hint), at }
}

/// The value of `@2026-03-01` and its kin; `text` begins with the `@`.
pub fn timestamp(text: &str) -> Result<i64, LiteralError> {
    parse_timestamp(&text.as_bytes()[1..]).ok_or_else(|| {
        LiteralError::new(codes::INVALID_TIMESTAMP, text, "malformed timestamp")
            .hint("write `@2026-03-01` or `@2026-03-01T09:30:00.250+02:00`")
    })
}

/// The text of a string literal between its quotes. `interpolated` texts have doubled braces.
pub fn unescape(text: &str, interpolated: bool) -> Result<String, LiteralError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                let (value, length) = escape(&text[at..]).map_err(|mut error| {
                    error.at = at + error.at.start..at + error.at.end;
                    error
                })?;
                out.push(value);
                while chars.next_if(|(next, _)| *next < at + length).is_some() {}
            }
            '{' | '}' if interpolated => {
                chars.next_if(|(_, next)| *next == c);
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// The character that the escape at the start of `text` stands for, and the escape's length.
fn escape(text: &str) -> Result<(char, usize), LiteralError> {
    let error = |length: usize, message: &str| {
        let error = LiteralError::new(codes::INVALID_ESCAPE, &text[..length], message);
        error.hint("the escapes are \\n \\t \\\" \\' \\\\ and \\u{…}; a backslash itself is written `\\\\`")
    };
    let Some(c) = text[1..].chars().next() else { return Err(error(1, "unknown escape")) };
    match c {
        'n' => Ok(('\n', 2)),
        't' => Ok(('\t', 2)),
        '"' | '\'' | '\\' => Ok((c, 2)),
        'u' => {
            let Some((digits, _)) = text[2..].strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
                return Err(error(2, "`\\u` is followed by hexadecimal digits in braces"));
            };
            let length = 4 + digits.len();
            let hexadecimal = digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let value = u32::from_str_radix(digits, 16).ok().filter(|_| hexadecimal).and_then(char::from_u32);
            value.map(|value| (value, length)).ok_or_else(|| error(length, "not a Unicode character"))
        }
        _ => Err(error(1 + c.len_utf8(), &format!("unknown escape `\\{c}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_forms_of_the_language() {
        assert_eq!(number("1_000_000"), Ok(Number::Int(1_000_000)));
        assert_eq!(number("9223372036854775808"), Ok(Number::IntMinMagnitude));
        assert_eq!(number("3.5"), Ok(Number::Float(3.5)));
        assert_eq!(number("1e10"), Ok(Number::Float(1e10)));
        assert_eq!(number("1_0.2_5e-1_0"), Ok(Number::Float(10.25e-10)));
        assert_eq!(number("1h30m"), Ok(Number::Duration(5_400_000_000_000)));
        assert_eq!(number("10us"), Ok(Number::Duration(10_000)));
        assert_eq!(number("128MB"), Ok(Number::Size(128_000_000)));
        assert_eq!(number("64KiB"), Ok(Number::Size(65_536)));
    }

    #[test]
    fn malformed_numbers_say_what_is_meant() {
        let cases = [
            ("1__0", codes::INVALID_NUMBER, "a single `_`"),
            ("10_", codes::INVALID_NUMBER, "a single `_`"),
            ("9223372036854775809", codes::INVALID_NUMBER, "1e20"),
            ("1.5h", codes::INVALID_NUMBER, "1h30m"),
            ("1.05d", codes::INVALID_NUMBER, "without `d`"),
            ("5min", codes::UNKNOWN_UNIT, "`5m`"),
            ("2weeks", codes::UNKNOWN_UNIT, "7d"),
            ("5M", codes::UNKNOWN_UNIT, "5MB"),
            ("1h30", codes::UNKNOWN_UNIT, "end in"),
        ];
        for (text, code, hint) in cases {
            let error = number(text).unwrap_err();
            assert_eq!(error.code, code, "{text}");
            assert!(error.hint.as_deref().unwrap_or("").contains(hint), "{text}: {error:?}");
        }
        for text in ["0xff", "1m1m", "1e999", "99999999999d", "1.2.3", "99999999999TB"] {
            assert_eq!(number(text).unwrap_err().code, codes::INVALID_NUMBER, "{text}");
        }
    }

    #[test]
    fn escapes_are_those_of_the_language() {
        assert_eq!(unescape(r#"a\n\t\"\'\\\u{1F600}é"#, false).unwrap(), "a\n\t\"'\\😀é");
        assert_eq!(unescape("{{x}}", true).unwrap(), "{x}");
        for text in [r"\d", r"\u{110000}", r"\u{}", r"\u12", r"\u{1", r"\"] {
            assert_eq!(unescape(text, false).unwrap_err().code, codes::INVALID_ESCAPE, "{text}");
        }
        assert_eq!(unescape(r"ab\d", false).unwrap_err().at, 2..4);
    }
}
