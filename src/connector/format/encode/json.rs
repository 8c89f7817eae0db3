//! Single values as JSON text, written from typed columns without a value in between.
//!
//! JSON has no NaN and no infinities: they are written as `null`. Timestamps are strings in RFC 3339,
//! durations strings in VPL's form. Floats are the shortest text that reads back as the same float.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use crate::data::time::{NS_PER_S, format_duration, write_timestamp};
use crate::data::{DataType, Type};

/// A column of a batch, ready to be written value by value.
pub struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Null,
    Int(&'a [i64]),
    Timestamp(&'a [i64]),
    Duration(&'a [i64]),
    Float(&'a [f64]),
    Bool(&'a BooleanBuffer),
    Str(&'a StringArray),
    List { offsets: &'a [i32], items: Box<Column<'a>> },
    Map { offsets: &'a [i32], keys: &'a StringArray, items: Box<Column<'a>> },
    Record(Vec<(Vec<u8>, Column<'a>)>),
}

impl<'a> Column<'a> {
    /// # Panics
    /// When the array is not of the physical form of `ty`.
    pub fn new(array: &'a dyn Array, ty: &DataType) -> Column<'a> {
        let values = match &ty.ty {
            Type::Null => Values::Null,
            Type::Int => Values::Int(array.as_primitive::<Int64Type>().values()),
            Type::Timestamp => Values::Timestamp(array.as_primitive::<Int64Type>().values()),
            Type::Duration => Values::Duration(array.as_primitive::<Int64Type>().values()),
            Type::Float => Values::Float(array.as_primitive::<Float64Type>().values()),
            Type::Bool => Values::Bool(array.as_boolean().values()),
            Type::Str => Values::Str(array.as_string::<i32>()),
            Type::List(item) => {
                let list = array.as_list::<i32>();
                Values::List { offsets: list.value_offsets(), items: Box::new(Column::new(list.values(), item)) }
            }
            Type::Map(value) => {
                let map = array.as_map();
                Values::Map {
                    offsets: map.value_offsets(),
                    keys: map.keys().as_string::<i32>(),
                    items: Box::new(Column::new(map.values(), value)),
                }
            }
            Type::Record(fields) => {
                let columns = array.as_struct().columns();
                let member = |(i, f): (usize, &crate::data::Field)| {
                    (name_prefix(&f.name, i == 0), Column::new(&columns[i], &f.data_type))
                };
                Values::Record(fields.iter().enumerate().map(member).collect())
            }
        };
        Column { nulls: array.nulls().filter(|n| n.null_count() > 0), values }
    }

    pub fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null) || self.nulls.is_some_and(|n| n.is_null(row))
    }

    /// Appends the value at `row`.
    #[inline]
    pub fn write(&self, row: usize, clock: &mut ClockText, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.values {
            Values::Null => unreachable!("every value of the column is null"),
            Values::Int(v) => write_int(v[row], out),
            Values::Float(v) => write_float(v[row], out),
            Values::Bool(v) => out.extend_from_slice(if v.value(row) { b"true" } else { b"false" }),
            Values::Str(v) => write_string(v.value(row), out),
            Values::Timestamp(v) => {
                out.push(b'"');
                clock.write(v[row], out);
                out.push(b'"');
            }
            Values::Duration(v) => {
                out.push(b'"');
                out.extend_from_slice(format_duration(v[row]).as_bytes());
                out.push(b'"');
            }
            Values::List { .. } | Values::Map { .. } | Values::Record(_) => self.write_nested(row, clock, out),
        }
    }

    fn write_nested(&self, row: usize, clock: &mut ClockText, out: &mut Vec<u8>) {
        match &self.values {
            Values::List { offsets, items } => {
                out.push(b'[');
                for i in offsets[row]..offsets[row + 1] {
                    if i > offsets[row] {
                        out.push(b',');
                    }
                    items.write(i as usize, clock, out);
                }
                out.push(b']');
            }
            Values::Map { offsets, keys, items } => {
                out.push(b'{');
                for i in offsets[row]..offsets[row + 1] {
                    if i > offsets[row] {
                        out.push(b',');
                    }
                    write_string(keys.value(i as usize), out);
                    out.push(b':');
                    items.write(i as usize, clock, out);
                }
                out.push(b'}');
            }
            Values::Record(members) => {
                for (prefix, column) in members {
                    out.extend_from_slice(prefix);
                    column.write(row, clock, out);
                }
                out.extend_from_slice(if members.is_empty() { b"{}" } else { b"}" });
            }
            Values::Null | Values::Int(_) | Values::Timestamp(_) | Values::Duration(_) => {}
            Values::Float(_) | Values::Bool(_) | Values::Str(_) => {}
        }
    }

    /// Appends the value as plain text: strings, timestamps and durations without quotes, nested
    /// values as JSON, null as nothing.
    pub fn write_text(&self, row: usize, clock: &mut ClockText, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        match &self.values {
            Values::Str(v) => out.extend_from_slice(v.value(row).as_bytes()),
            Values::Timestamp(v) => clock.write(v[row], out),
            Values::Duration(v) => out.extend_from_slice(format_duration(v[row]).as_bytes()),
            Values::Float(v) if !v[row].is_finite() => out.extend_from_slice(non_finite_text(v[row]).as_bytes()),
            Values::Null | Values::Int(_) | Values::Float(_) | Values::Bool(_) => self.write(row, clock, out),
            Values::List { .. } | Values::Map { .. } | Values::Record(_) => self.write_nested(row, clock, out),
        }
    }

    /// Whether [`Column::write_text`] gives nothing but letters, digits and the signs of numbers and
    /// times, which no format needs to quote.
    pub fn is_plain(&self) -> bool {
        match &self.values {
            Values::Null | Values::Int(_) | Values::Timestamp(_) | Values::Duration(_) => true,
            Values::Float(_) | Values::Bool(_) => true,
            Values::Str(_) | Values::List { .. } | Values::Map { .. } | Values::Record(_) => false,
        }
    }
}

fn non_finite_text(value: f64) -> &'static str {
    match (value.is_nan(), value > 0.0) {
        (true, _) => "NaN",
        (false, true) => "inf",
        (false, false) => "-inf",
    }
}

/// What stands before the value of a member: `{"name":` for the first, `,"name":` for the others.
pub fn name_prefix(name: &str, first: bool) -> Vec<u8> {
    let mut prefix = vec![if first { b'{' } else { b',' }];
    write_string(name, &mut prefix);
    prefix.push(b':');
    prefix
}

pub fn write_int(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub fn write_float(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends a string in quotes.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut from = 0;
    while let Some(i) = find_special(&bytes[from..]) {
        out.extend_from_slice(&bytes[from..from + i]);
        write_escape(bytes[from + i], out);
        from += i + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[(byte >> 4) as usize]);
            out.push(HEX[(byte & 15) as usize]);
        }
    }
}

/// The first byte that JSON escapes: a quote, a backslash or a control character. Eight bytes at a
/// time: strings that need no escape, nearly all, cost a few instructions per word.
fn find_special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let has_zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let mut at = 0;
    while let Some(word) = bytes.get(at..at + 8) {
        let x = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        let control = x.wrapping_sub(ONES * 0x20) & !x & HIGHS;
        let found = control | has_zero(x ^ (ONES * b'"' as u64)) | has_zero(x ^ (ONES * b'\\' as u64));
        if found != 0 {
            // A borrow can only mark bytes after a true one, so the first mark is right.
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
    bytes[at..].iter().position(special).map(|i| at + i)
}

/// Writes timestamps, remembering the text of the last second: neighbouring rows mostly share it.
#[derive(Debug, Default)]
pub struct ClockText {
    second: Option<i64>,
    /// `2026-03-01T09:30:00` of that second.
    text: Vec<u8>,
}

impl ClockText {
    pub fn write(&mut self, ns: i64, out: &mut Vec<u8>) {
        let (second, fraction) = (ns.div_euclid(NS_PER_S), ns.rem_euclid(NS_PER_S));
        let Some(whole) = second.checked_mul(NS_PER_S) else { return write_timestamp(ns, out) };
        if self.second != Some(second) {
            self.text.clear();
            write_timestamp(whole, &mut self.text);
            self.text.pop();
            self.second = Some(second);
        }
        out.extend_from_slice(&self.text);
        if fraction != 0 {
            write_fraction(fraction as u32, out);
        }
        out.push(b'Z');
    }
}

/// `.250`: as many groups of three digits as the fraction of a second needs.
fn write_fraction(ns: u32, out: &mut Vec<u8>) {
    let (mut value, digits) = match ns {
        _ if ns.is_multiple_of(1_000_000) => (ns / 1_000_000, 3),
        _ if ns.is_multiple_of(1_000) => (ns / 1_000, 6),
        _ => (ns, 9),
    };
    let mut text = [b'.'; 10];
    for slot in text[1..=digits].iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text[..=digits]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::time::format_timestamp;

    proptest! {
        #[test]
        fn strings_read_back(text in "\\PC{0,20}|[\\x00-\\x30\"\\\\é]{0,30}") {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn floats_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            let mut out = Vec::new();
            write_float(value, &mut out);
            let back: Option<f64> = std::str::from_utf8(&out).unwrap().parse().ok();
            prop_assert_eq!(back, value.is_finite().then_some(value));
        }

        #[test]
        fn the_remembered_second_changes_nothing(times in prop::collection::vec(any::<i64>(), 1..20), near: bool) {
            let mut clock = ClockText::default();
            for t in times {
                let ns = if near { t % 3_000_000_000 } else { t };
                let mut out = Vec::new();
                clock.write(ns, &mut out);
                prop_assert_eq!(String::from_utf8(out).unwrap(), format_timestamp(ns));
            }
        }
    }
}
