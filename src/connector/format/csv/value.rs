//! One cell of CSV into a column of a declared type.
//!
//! Decisions: an empty cell and `NA` are null, unless the column is a required `str`, for which they
//! are text; in quotes they are text for every `str`. Numbers may have a leading `+`, leading zeros and
//! spaces around them, floats may be `NaN` or `inf`. Bools are `true false 1 0` in any case. Timestamps
//! are RFC 3339 (also with a space for the `T`) or a date, or an int if the field has a unit; durations
//! VPL's form or an int. Lists, maps and records are JSON.

use super::cursor::{Cell, Cursor, Syntax};
use crate::connector::MalformedReason;
use crate::connector::format::column::{Column, Values};
use crate::connector::format::instant::InstantParser;
use crate::connector::format::{json, number};
use crate::data::time::{is_distant_timestamp, parse_duration, parse_timestamp};

/// Of a cell's text, what a message shows.
const SHOWN_CHARS: usize = 40;

/// Why a cell could not be put into its column.
#[derive(Debug)]
pub enum CellFault {
    Syntax(Syntax),
    Value(MalformedReason, String),
}

/// Reads the cell at the cursor to the end of `column`. After a fault the column may hold parts of it.
#[inline(always)]
pub fn read(cursor: &mut Cursor, column: &mut Column, instants: &mut InstantParser) -> Result<(), CellFault> {
    match &mut column.values {
        Values::Int(values) => {
            if let Ok((value, end)) = number::int(cursor.text, cursor.at)
                && cursor.ends_at(end)
            {
                values.push(value);
                cursor.at = end;
                return Ok(());
            }
        }
        Values::Float(values) => {
            if let Ok((value, end)) = number::float(cursor.text, cursor.at)
                && cursor.ends_at(end)
            {
                values.push(value);
                cursor.at = end;
                return Ok(());
            }
        }
        Values::Timestamp(values, _) => {
            if let Some((value, end)) = instants.parse(cursor.text, cursor.at)
                && cursor.ends_at(end)
            {
                values.push(value);
                cursor.at = end;
                return Ok(());
            }
        }
        Values::Str(strings) if !cursor.at_quote() => {
            let end = cursor.plain_end();
            let text = &cursor.text[cursor.at..end];
            if !column.nullable || !is_null(text) {
                strings.push(text);
                cursor.at = end;
                return Ok(());
            }
        }
        Values::Str(_)
        | Values::Bool(_)
        | Values::Duration(..)
        | Values::List(_)
        | Values::Map(_)
        | Values::Record(_)
        | Values::Null(_) => {}
    }
    read_other(cursor, column)
}

pub fn is_null(text: &[u8]) -> bool {
    text.is_empty() || text == b"NA"
}

#[inline(never)]
fn read_other(cursor: &mut Cursor, column: &mut Column) -> Result<(), CellFault> {
    let cell = cursor.cell().map_err(CellFault::Syntax)?;
    let text = cursor.bytes_of(&cell);
    if let Values::Str(strings) = &mut column.values
        && (cell.quoted || !column.nullable || !is_null(text))
    {
        strings.push(text);
        return Ok(());
    }
    let trimmed = text.trim_ascii();
    if is_null(trimmed) {
        return read_null(column, trimmed);
    }
    read_text(column, trimmed).ok_or_else(|| wrong_type(column, &cell, cursor))
}

fn read_null(column: &mut Column, text: &[u8]) -> Result<(), CellFault> {
    if column.nullable {
        column.push_null();
        return Ok(());
    }
    let what = if text.is_empty() { "empty" } else { "`NA`" };
    Err(CellFault::Value(MalformedReason::MissingField, format!("is {what}")))
}

#[cold]
fn wrong_type(column: &Column, cell: &Cell, cursor: &Cursor) -> CellFault {
    if matches!(column.values, Values::Timestamp(..)) && is_distant_timestamp(cursor.bytes_of(cell).trim_ascii()) {
        return CellFault::Value(MalformedReason::TimeOutOfRange, "the time is not in 1900 to 2200".to_string());
    }
    let text = String::from_utf8_lossy(cursor.bytes_of(cell));
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    let detail = format!("expected {}, found `{shown}{dots}`", column.type_name());
    CellFault::Value(MalformedReason::WrongType, detail)
}

/// Reads text that is not null and not a string's.
fn read_text(column: &mut Column, text: &[u8]) -> Option<()> {
    let utf8 = std::str::from_utf8(text).ok()?;
    match &mut column.values {
        Values::Int(values) => values.push(utf8.parse().ok()?),
        Values::Float(values) => values.push(float(utf8)?),
        Values::Bool(values) => values.push(bool(text)?),
        Values::Timestamp(values, unit) => {
            let int = || utf8.parse::<i64>().ok()?.checked_mul((*unit)?);
            values.push(parse_timestamp(text).or_else(int)?);
        }
        Values::Duration(values, unit) => {
            let int = || utf8.parse::<i64>().ok()?.checked_mul(*unit);
            values.push(int().or_else(|| parse_duration(utf8))?);
        }
        Values::List(_) | Values::Map(_) | Values::Record(_) => return json::read_whole(text, column).then_some(()),
        Values::Str(_) | Values::Null(_) => return None,
    }
    Some(())
}

/// A float, but not infinity for a number that is too large.
fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let overflow = value.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    (!overflow).then_some(value)
}

fn bool(text: &[u8]) -> Option<bool> {
    if text == b"1" || text.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if text == b"0" || text.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}
