//! Strings. Positions and lengths count code points, from 0, and from the end when negative, as in
//! `a[i]` and `a[from:to]`.

use arrow_array::ArrayRef;

use super::call::{append, append_chars};
use super::{Call, Function, function};
use crate::data::{Type, Value};
use crate::expr::eval::nested::{slice_str, slice_strings};
use crate::expr::eval::strings::concat;

/// Most bytes that `repeat` and the padding functions make of a row: a mistyped count must not exhaust memory.
const TEXT_BYTES_MAX: usize = 1 << 20;

pub(super) const FUNCTIONS: &[Function] = &[
    function!(
        "char_at",
        "char_at(s: str, index: int) -> str?",
        "the character at an index; null if there is none",
        |c| {
            c.strings(|row, out| {
                let (s, i) = (c.str(0, row)?, c.int(1, row)?);
                let len = s.chars().count() as i64;
                let at = if i < 0 { i + len } else { i };
                out.push(s.chars().nth(usize::try_from(at).ok()?)?);
                Some(())
            })
        }
    ),
    function!(
        "concat",
        "concat(s: str, ...) -> str\nconcat(list: [T], ...) -> [T]",
        "strings or lists, one after the other",
        |c| {
            if *c.ty(0) == Type::Str {
                return concat(&c.args.iter().collect::<Vec<_>>(), c.rows, c.errors);
            }
            c.values(|args| Some(Value::List(args.iter().flat_map(items).cloned().collect())))
        }
    ),
    function!("ends_with", "ends_with(s: str, suffix: str) -> bool", "whether s ends with a suffix", |c| {
        c.booleans(|row| Some(c.str(0, row)?.ends_with(c.str(1, row)?)))
    }),
    function!(
        "left",
        "left(s: str, n: int) -> str",
        "the first n characters; without the last -n if n is negative",
        |c| { c.strings(|row, out| append(out, slice_str(c.str(0, row)?, 0, c.int(1, row)?))) }
    ),
    function!("lower", "lower(s: str) -> str", "in lower case", |c| {
        c.strings(|row, out| append_chars(out, c.str(0, row)?.chars().flat_map(char::to_lowercase)))
    }),
    function!(
        "lpad",
        "lpad(s: str, length: int, fill: str?) -> str",
        "padded on the left with `fill` (default a space), or cut, to a length",
        |c| { pad(c, true) }
    ),
    function!(
        "ltrim",
        "ltrim(s: str, characters: str?) -> str",
        "without white space, or without any of `characters`, at its start",
        |c| { trim(c, true, false) }
    ),
    function!("repeat", "repeat(s: str, n: int) -> str", "n times over; fails beyond 1 MiB", |c| {
        c.strings(|row, out| {
            let (s, n) = (c.str(0, row)?, c.int(1, row)?.max(0) as usize);
            // Nothing, however often, is nothing; it must not take as long to make.
            let n = if s.is_empty() { 0 } else { n };
            let fits = s.len().checked_mul(n).is_some_and(|bytes| bytes <= TEXT_BYTES_MAX);
            c.or_fail(fits.then_some(()))?;
            out.extend(std::iter::repeat_n(s, n));
            Some(())
        })
    }),
    function!("replace", "replace(s: str, old: str, new: str) -> str", "with every `old` replaced", |c| {
        c.strings(|row, out| append(out, &c.str(0, row)?.replace(c.str(1, row)?, c.str(2, row)?)))
    }),
    function!(
        "right",
        "right(s: str, n: int) -> str",
        "the last n characters; without the first -n if n is negative",
        |c| {
            c.strings(|row, out| {
                let (s, n) = (c.str(0, row)?, c.int(1, row)?);
                if n != 0 {
                    out.push_str(slice_str(s, n.checked_neg().unwrap_or(i64::MAX), i64::MAX));
                }
                Some(())
            })
        }
    ),
    function!(
        "rpad",
        "rpad(s: str, length: int, fill: str?) -> str",
        "padded on the right with `fill` (default a space), or cut, to a length",
        |c| { pad(c, false) }
    ),
    function!(
        "rtrim",
        "rtrim(s: str, characters: str?) -> str",
        "without white space, or without any of `characters`, at its end",
        |c| { trim(c, false, true) }
    ),
    function!(
        "split",
        "split(s: str, separator: str) -> [str]",
        "the parts between separators; the characters if the separator is empty",
        |c| {
            c.values(|args| {
                let [Value::Str(s), Value::Str(separator)] = args else { unreachable!("split has two strings") };
                let parts = if separator.is_empty() {
                    s.chars().map(|c| Value::str(c.encode_utf8(&mut [0; 4]))).collect()
                } else {
                    s.split(separator.as_ref()).map(Value::str).collect()
                };
                Some(Value::List(parts))
            })
        }
    ),
    function!("starts_with", "starts_with(s: str, prefix: str) -> bool", "whether s starts with a prefix", |c| {
        c.booleans(|row| Some(c.str(0, row)?.starts_with(c.str(1, row)?)))
    }),
    function!(
        "substr",
        "substr(s: str, start: int, length: int?) -> str",
        "from a position, the rest or so many characters; s[start:start + length]",
        substr
    ),
    function!(
        "trim",
        "trim(s: str, characters: str?) -> str",
        "without white space, or without any of `characters`, at both ends",
        |c| { trim(c, true, true) }
    ),
    function!("upper", "upper(s: str) -> str", "in upper case", |c| {
        c.strings(|row, out| append_chars(out, c.str(0, row)?.chars().flat_map(char::to_uppercase)))
    }),
];

fn items(list: &Value) -> &[Value] {
    match list {
        Value::List(items) => items,
        other => unreachable!("{other:?} is not a list"),
    }
}

fn trim(c: &Call<'_>, start: bool, end: bool) -> ArrayRef {
    c.strings(|row, out| {
        let s = c.str(0, row)?;
        let characters = if c.has(1) { Some(c.str(1, row)?) } else { None };
        let drop = |ch: char| characters.map_or(ch.is_whitespace(), |set| set.contains(ch));
        let s = if start { s.trim_start_matches(drop) } else { s };
        out.push_str(if end { s.trim_end_matches(drop) } else { s });
        Some(())
    })
}

fn pad(c: &Call<'_>, left: bool) -> ArrayRef {
    c.strings(|row, out| {
        let (s, length) = (c.str(0, row)?, c.int(1, row)?.max(0));
        let fill = if c.has(2) { c.str(2, row)? } else { " " };
        let missing = length - s.chars().count() as i64;
        if missing <= 0 || fill.is_empty() {
            return append(out, slice_str(s, 0, length));
        }
        let fits = missing as u64 <= (TEXT_BYTES_MAX / 4) as u64;
        c.or_fail(fits.then_some(()))?;
        let padding = fill.chars().cycle().take(missing as usize);
        if left {
            out.extend(padding);
            out.push_str(s);
        } else {
            out.push_str(s);
            out.extend(padding);
        }
        Some(())
    })
}

fn substr(c: &Call<'_>) -> ArrayRef {
    if !c.has(2) {
        return slice_strings(&c.args[0], Some(&c.args[1]), None, c.rows, c.errors);
    }
    c.strings(|row, out| {
        let (s, start, length) = (c.str(0, row)?, c.int(1, row)?, c.int(2, row)?);
        // A start before the first character is the first character, as in a slice.
        let rest = slice_str(s, start, i64::MAX);
        append(out, slice_str(rest, 0, length.max(0)))
    })
}
