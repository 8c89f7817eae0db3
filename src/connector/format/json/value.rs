//! One JSON value into a column of a declared type.
//!
//! A value that does not fit leaves the cursor anywhere and the column with parts of it: the row's
//! reader goes back to where the value began, skips it, and cuts the column.
//!
//! Decisions: an int is acceptable where a float is wanted, a float never where an int is, `3.0`
//! neither. A timestamp is a string (RFC 3339 or a date), or an int if the field has a unit. A duration
//! is a string in VPL's form, or an int in the field's unit, without one in ns. In records and maps the
//! last of several members of one name counts.

use super::cursor::{Cursor, Text};
use super::fault::{Fault, Syntax};
use crate::connector::format::column::{Column, Lists, Maps, Records, Values};
use crate::connector::format::instant::InstantParser;
use crate::connector::format::number::{self, NumberFault};
use crate::data::time::{is_distant_timestamp, parse_duration, parse_timestamp};

/// Reads the value at the cursor to the end of `column`; `depth` containers are open around it.
#[inline(always)]
pub fn read(cursor: &mut Cursor, column: &mut Column, instants: &mut InstantParser, depth: usize) -> Result<(), Fault> {
    match &mut column.values {
        Values::Int(values) => match number::int(cursor.text, cursor.at) {
            Ok((value, end)) => {
                cursor.at = end;
                values.push(value);
                Ok(())
            }
            Err(fault) => number_fault(cursor, column, fault, "int"),
        },
        Values::Float(values) => match number::float(cursor.text, cursor.at) {
            Ok((value, end)) => {
                cursor.at = end;
                values.push(value);
                Ok(())
            }
            Err(fault) => number_fault(cursor, column, fault, "float"),
        },
        Values::Timestamp(values, unit) if cursor.peek() == b'"' => {
            if let Some((value, end)) = instants.parse(cursor.text, cursor.at + 1)
                && cursor.text.get(end) == Some(&b'"')
            {
                cursor.at = end + 1;
                values.push(value);
                return Ok(());
            }
            values.push(other_timestamp(cursor, unit.is_some())?);
            Ok(())
        }
        Values::Str(strings) if cursor.peek() == b'"' => {
            let text = cursor.string()?;
            strings.push(cursor.bytes_of(&text));
            Ok(())
        }
        Values::Bool(values) => {
            if cursor.literal(b"true") {
                values.push(true);
            } else if cursor.literal(b"false") {
                values.push(false);
            } else {
                return null_or_wrong(cursor, column);
            }
            Ok(())
        }
        Values::Timestamp(..)
        | Values::Duration(..)
        | Values::Str(_)
        | Values::List(_)
        | Values::Map(_)
        | Values::Record(_)
        | Values::Null(_) => read_other(cursor, column, instants, depth),
    }
}

/// The types that need no speed, or a call anyway.
fn read_other(
    cursor: &mut Cursor,
    column: &mut Column,
    instants: &mut InstantParser,
    depth: usize,
) -> Result<(), Fault> {
    let next = cursor.peek();
    match &mut column.values {
        Values::Timestamp(values, Some(unit)) | Values::Duration(values, unit) if is_number(next) => {
            let value = scaled_int(cursor, *unit)?;
            values.push(value);
            Ok(())
        }
        Values::Duration(values, _) if next == b'"' => {
            let text = cursor.string()?;
            let parsed = std::str::from_utf8(cursor.bytes_of(&text)).ok().and_then(parse_duration);
            values.push(parsed.ok_or_else(|| Fault::wrong("duration", "string"))?);
            Ok(())
        }
        Values::List(lists) if next == b'[' => read_list(cursor, lists, instants, depth),
        Values::Map(maps) if next == b'{' => read_map(cursor, maps, instants, depth),
        Values::Record(records) if next == b'{' => read_record(cursor, records, instants, depth),
        Values::Int(_)
        | Values::Float(_)
        | Values::Bool(_)
        | Values::Timestamp(..)
        | Values::Duration(..)
        | Values::Str(_)
        | Values::List(_)
        | Values::Map(_)
        | Values::Record(_)
        | Values::Null(_) => null_or_wrong(cursor, column),
    }
}

fn is_number(byte: u8) -> bool {
    byte == b'-' || byte.is_ascii_digit()
}

/// A timestamp that has not the usual layout.
#[cold]
fn other_timestamp(cursor: &mut Cursor, has_unit: bool) -> Result<i64, Fault> {
    let text = cursor.string()?;
    let expected = if has_unit { "timestamp (RFC 3339 or an int)" } else { "timestamp (RFC 3339)" };
    let bytes = cursor.bytes_of(&text);
    parse_timestamp(bytes).ok_or_else(|| match is_distant_timestamp(bytes) {
        true => Fault::distant_time(),
        false => Fault::wrong(expected, "string"),
    })
}

#[inline]
fn scaled_int(cursor: &mut Cursor, unit: i64) -> Result<i64, Fault> {
    match number::int(cursor.text, cursor.at) {
        Ok((value, end)) => {
            cursor.at = end;
            value.checked_mul(unit).ok_or_else(|| Fault::wrong("an int within 64-bit ns", "a number out of range"))
        }
        Err(NumberFault::Syntax) => Err(Syntax("not a number of JSON").into()),
        Err(NumberFault::Fraction) => Err(Fault::wrong("int", "float")),
        Err(NumberFault::OutOfRange) => Err(Fault::wrong("int", "a number out of range")),
    }
}

#[cold]
fn number_fault(
    cursor: &mut Cursor,
    column: &mut Column,
    fault: NumberFault,
    expected: &'static str,
) -> Result<(), Fault> {
    match fault {
        NumberFault::Syntax if is_number(cursor.peek()) => Err(Syntax("not a number of JSON").into()),
        NumberFault::Syntax => null_or_wrong(cursor, column),
        NumberFault::Fraction => Err(Fault::wrong(expected, "float")),
        NumberFault::OutOfRange => Err(Fault::wrong(expected, "a number out of range")),
    }
}

/// The value is not of the column's type: a null that is allowed, or a fault.
#[cold]
fn null_or_wrong(cursor: &mut Cursor, column: &mut Column) -> Result<(), Fault> {
    if cursor.literal(b"null") {
        if !column.nullable {
            return Err(Fault::Null);
        }
        column.push_null();
        return Ok(());
    }
    let found = match cursor.peek() {
        b'"' => "string",
        b'{' => "object",
        b'[' => "array",
        b't' | b'f' => "bool",
        byte if is_number(byte) => number_kind(cursor),
        _ => return Err(Syntax("expected a value").into()),
    };
    Err(Fault::wrong(column.type_name(), found))
}

fn number_kind(cursor: &Cursor) -> &'static str {
    match number::int(cursor.text, cursor.at) {
        Ok(_) | Err(NumberFault::OutOfRange) => "int",
        Err(NumberFault::Fraction | NumberFault::Syntax) => "float",
    }
}

/// Not inlined into itself: [`read`] is, everywhere else.
#[inline(never)]
pub fn read_nested(
    cursor: &mut Cursor,
    column: &mut Column,
    instants: &mut InstantParser,
    depth: usize,
) -> Result<(), Fault> {
    read(cursor, column, instants, depth)
}

/// `null` for an item that must not be null is a value of the wrong type.
fn read_item(
    cursor: &mut Cursor,
    column: &mut Column,
    instants: &mut InstantParser,
    depth: usize,
    step: &dyn Fn() -> String,
) -> Result<(), Fault> {
    match read_nested(cursor, column, instants, depth) {
        Ok(()) => Ok(()),
        Err(Fault::Null) => Err(Fault::wrong(column.type_name(), "null").within(&step())),
        Err(fault @ Fault::Field(_)) => Err(fault.within(&step())),
        Err(fault @ Fault::Syntax(_)) => Err(fault),
    }
}

fn read_list(cursor: &mut Cursor, lists: &mut Lists, instants: &mut InstantParser, depth: usize) -> Result<(), Fault> {
    if cursor.open(b']', depth)? {
        loop {
            cursor.skip_space();
            read_item(cursor, &mut lists.item, instants, depth + 1, &|| "[]".to_string())?;
            if !cursor.another(b']')? {
                break;
            }
        }
    }
    lists.end_list();
    Ok(())
}

/// Reads a member's name and the colon.
fn read_name(cursor: &mut Cursor) -> Result<Text, Syntax> {
    cursor.skip_space();
    if cursor.peek() != b'"' {
        return Err(Syntax("expected a member's name"));
    }
    let name = cursor.string()?;
    cursor.expect(b':', "expected `:`")?;
    cursor.skip_space();
    Ok(name)
}

/// Reads the members first to know which count, then the values of those.
fn read_map(cursor: &mut Cursor, maps: &mut Maps, instants: &mut InstantParser, depth: usize) -> Result<(), Fault> {
    let mut entries: Vec<(Vec<u8>, usize)> = Vec::new();
    let mut places: hashbrown::HashMap<Vec<u8>, usize> = hashbrown::HashMap::new();
    if cursor.open(b'}', depth)? {
        loop {
            let name = read_name(cursor)?;
            let name = cursor.bytes_of(&name).to_vec();
            let place = *places.entry(name.clone()).or_insert(entries.len());
            if place == entries.len() {
                entries.push((name, cursor.at));
            } else {
                entries[place].1 = cursor.at;
            }
            cursor.skip_value(depth + 1)?;
            if !cursor.another(b'}')? {
                break;
            }
        }
    }
    let end = cursor.at;
    for (name, value_at) in entries {
        cursor.at = value_at;
        maps.keys.push(&name);
        read_item(cursor, &mut maps.value, instants, depth + 1, &|| format!(".{}", String::from_utf8_lossy(&name)))?;
    }
    cursor.at = end;
    maps.end_map();
    Ok(())
}

/// Reads where the members' values are, then the values in the order of the declaration.
fn read_record(
    cursor: &mut Cursor,
    records: &mut Records,
    instants: &mut InstantParser,
    depth: usize,
) -> Result<(), Fault> {
    let mut places: Vec<Option<usize>> = vec![None; records.members.len()];
    if cursor.open(b'}', depth)? {
        loop {
            let name = read_name(cursor)?;
            let bytes = cursor.bytes_of(&name);
            if let Some(member) = records.fields.iter().position(|f| f.name.as_bytes() == bytes) {
                places[member] = Some(cursor.at);
            }
            cursor.skip_value(depth + 1)?;
            if !cursor.another(b'}')? {
                break;
            }
        }
    }
    let end = cursor.at;
    for ((member, field), place) in records.members.iter_mut().zip(records.fields.iter()).zip(places) {
        let read = match place {
            Some(at) => {
                cursor.at = at;
                read_nested(cursor, member, instants, depth + 1)
            }
            None if member.nullable => {
                member.push_null();
                Ok(())
            }
            None => Err(Fault::Null),
        };
        match read {
            Ok(()) => {}
            Err(Fault::Null) => return Err(Fault::missing().within(&format!(".{}", field.name))),
            Err(fault @ Fault::Field(_)) => return Err(fault.within(&format!(".{}", field.name))),
            Err(fault @ Fault::Syntax(_)) => return Err(fault),
        }
    }
    cursor.at = end;
    records.end_record();
    Ok(())
}
