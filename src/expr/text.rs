//! Values as text: what `to_str`, f-strings and `cast(x as str)` print, and `to_json`.
//!
//! Text is what an output row in JSONL shows, without the quotes of a string: timestamps as RFC 3339
//! in UTC, durations in VPL's form, floats in the fewest digits that read back the same. The text of a list,
//! map or record is its JSON. JSON has no NaN and no infinities: they are `null` there, as in output rows.

use std::fmt::Write;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};

use super::eval::operand::is_null;
use crate::data::time::{format_duration, format_timestamp};
use crate::data::{DataType, Type};

/// Appends the text of the value of `array`, a column of type `ty`, at `row`; `null` for null.
pub fn write_text(array: &dyn Array, ty: &Type, row: usize, out: &mut String) {
    if is_null(array, row) {
        return out.push_str("null");
    }
    match ty {
        Type::Null => out.push_str("null"),
        Type::Int => out.push_str(itoa::Buffer::new().format(int(array, row))),
        Type::Float => out.push_str(&format_float(array.as_primitive::<Float64Type>().value(row))),
        Type::Bool => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        Type::Str => out.push_str(array.as_string::<i32>().value(row)),
        Type::Timestamp => out.push_str(&format_timestamp(int(array, row))),
        Type::Duration => out.push_str(&format_duration(int(array, row))),
        Type::List(_) | Type::Map(_) | Type::Record(_) => write_json(array, ty, row, out),
    }
}

/// Appends the JSON of the value of `array`, a column of type `ty`, at `row`.
pub fn write_json(array: &dyn Array, ty: &Type, row: usize, out: &mut String) {
    if is_null(array, row) {
        return out.push_str("null");
    }
    match ty {
        Type::Null | Type::Int | Type::Bool => write_text(array, ty, row, out),
        Type::Float if !array.as_primitive::<Float64Type>().value(row).is_finite() => out.push_str("null"),
        Type::Float => write_text(array, ty, row, out),
        Type::Str => write_quoted(array.as_string::<i32>().value(row), out),
        Type::Timestamp | Type::Duration => {
            out.push('"');
            write_text(array, ty, row, out);
            out.push('"');
        }
        Type::List(item) => {
            let items = array.as_list::<i32>().value(row);
            write_all(out, ['[', ']'], items.len(), |i, out| write_json(&items, &item.ty, i, out));
        }
        Type::Map(value) => write_map(array, value, row, out),
        Type::Record(fields) => {
            let record = array.as_struct();
            write_all(out, ['{', '}'], fields.len(), |i, out| {
                write_quoted(&fields[i].name, out);
                out.push(':');
                write_json(record.column(i), &fields[i].data_type.ty, row, out);
            });
        }
    }
}

fn write_map(array: &dyn Array, value: &DataType, row: usize, out: &mut String) {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1));
    write_all(out, ['{', '}'], keys.len(), |i, out| {
        write_quoted(keys.value(i), out);
        out.push(':');
        write_json(values, &value.ty, i, out);
    });
}

fn write_all(out: &mut String, [open, close]: [char; 2], len: usize, mut item: impl FnMut(usize, &mut String)) {
    out.push(open);
    for i in 0..len {
        if i > 0 {
            out.push(',');
        }
        item(i, out);
    }
    out.push(close);
}

/// Appends a JSON string.
pub fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => write!(out, "\\u{:04x}", c as u32).expect("writing to a string"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A float in the fewest digits that read back the same; always with a point or an exponent.
pub fn format_float(value: f64) -> String {
    ryu::Buffer::new().format(value).to_string()
}

fn int(array: &dyn Array, row: usize) -> i64 {
    array.as_primitive::<Int64Type>().value(row)
}
