//! An event of a log as the JSON object that says the same, so that one decoder knows how values
//! become columns.
//!
//! The type is the first member. An envelope with `data` would be misread where a type has a field of
//! that name.
//!
//! Names may stand without quotes, strings in either kind of quotes, durations and timestamps as in
//! VPL; lists and objects nest.

use crate::connector::format::encode::json::write_string;
use crate::data::time::{format_timestamp, parse_duration, parse_timestamp};

/// How deep values nest at most; it bounds the recursion.
const DEPTH_MAX: usize = 64;

/// Why a line is no event: what was expected, and at which byte of the event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub expected: String,
    pub at: usize,
}

/// The order of a type's fields, for positional events; `None` for a type that nobody knows.
pub(super) type FieldsOf<'a> = &'a dyn Fn(&str) -> Option<&'a [String]>;

/// Appends the event as `{"event_type":…, …}` and a line end.
pub(super) fn rewrite(event: &str, fields_of: FieldsOf<'_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let mut scan = Scan { text: event, at: 0 };
    let name = scan.word();
    if name.is_empty() {
        return Err(scan.expected("the name of an event type"));
    }
    out.extend_from_slice(b"{\"event_type\":");
    write_string(name, out);
    scan.skip_space();
    match scan.peek() {
        Some('{') => scan.members(out, 0)?,
        Some('(') => scan.positional(fields_of(name), name, out)?,
        Some(_) | None => return Err(scan.expected("`{` or `(`")),
    }
    scan.skip_space();
    scan.take(';');
    scan.skip_space();
    if !(scan.rest().is_empty() || scan.rest().starts_with('#') || scan.rest().starts_with("//")) {
        return Err(scan.expected("the end of the line"));
    }
    out.push(b'\n');
    Ok(())
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, c: char) -> bool {
        let there = self.rest().starts_with(c);
        self.at += if there { c.len_utf8() } else { 0 };
        there
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn expected(&self, what: &str) -> Unreadable {
        Unreadable { expected: what.to_string(), at: self.at }
    }

    /// Letters, digits and underscores.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Unreadable> {
        out.push(b'{');
        self.members(out, depth)
    }

    /// `{ name: value, … }`, each member after a comma unless the object has just been opened.
    fn members(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Unreadable> {
        self.take('{');
        loop {
            self.skip_space();
            if self.take('}') {
                break;
            }
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            match self.peek() {
                Some('"' | '\'') => self.string(out)?,
                Some(_) | None => match self.word() {
                    "" => return Err(self.expected("a field's name")),
                    name => write_string(name, out),
                },
            }
            self.skip_space();
            if !self.take(':') {
                return Err(self.expected("`:`"));
            }
            out.push(b':');
            self.value(out, depth + 1)?;
            self.comma_or('}')?;
        }
        out.push(b'}');
        Ok(())
    }

    /// `(value, …)`.
    fn positional(&mut self, fields: Option<&[String]>, name: &str, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        self.take('(');
        let mut count = 0;
        loop {
            self.skip_space();
            if self.take(')') {
                break;
            }
            // The fields of an unknown type are nobody's business, but it is counted by its name.
            if let Some(fields) = fields {
                let Some(field) = fields.get(count) else {
                    return Err(self.expected(&format!("`)`: {name} has {} fields", fields.len())));
                };
                out.push(b',');
                write_string(field, out);
                out.push(b':');
                self.value(out, 1)?;
            } else {
                self.value(&mut Vec::new(), 1)?;
            }
            count += 1;
            self.comma_or(')')?;
        }
        out.push(b'}');
        Ok(())
    }

    fn list(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Unreadable> {
        self.take('[');
        out.push(b'[');
        let mut first = true;
        loop {
            self.skip_space();
            if self.take(']') {
                break;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            self.value(out, depth + 1)?;
            self.comma_or(']')?;
        }
        out.push(b']');
        Ok(())
    }

    /// A comma may also stand before the closing bracket.
    fn comma_or(&mut self, close: char) -> Result<(), Unreadable> {
        self.skip_space();
        if self.take(',') || self.rest().starts_with(close) {
            return Ok(());
        }
        Err(self.expected(&format!("`,` or `{close}`")))
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Unreadable> {
        if depth > DEPTH_MAX {
            return Err(self.expected("values that nest less deeply"));
        }
        self.skip_space();
        match self.peek() {
            Some('"' | '\'') => self.string(out),
            Some('{') => self.object(out, depth),
            Some('[') => self.list(out, depth),
            Some(_) | None => self.scalar(out),
        }
    }

    /// A number, `true`, `false`, `null`, a duration or a timestamp.
    fn scalar(&mut self, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let rest = self.rest();
        let end = rest.find([',', ')', '}', ']', ' ', '\t']).unwrap_or(rest.len());
        let text = &rest[..end];
        if let Some(ns) = text.strip_prefix('@').and_then(|t| parse_timestamp(t.as_bytes())) {
            write_string(&format_timestamp(ns), out);
        } else if is_number(text) || matches!(text, "true" | "false" | "null") {
            out.extend(text.bytes().filter(|&b| b != b'_'));
        } else if parse_duration(text).is_some() {
            write_string(text, out);
        } else {
            return Err(self.expected("a value"));
        }
        self.at += end;
        Ok(())
    }

    /// A quoted string with VPL's escapes.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let start = self.at;
        let mut chars = self.rest().char_indices();
        let Some((_, quote)) = chars.next() else { return Err(self.expected("a string")) };
        let mut text = String::new();
        while let Some((i, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    write_string(&text, out);
                    self.at = start + i + 1;
                    return Ok(());
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('u') => {
                        let code: String = chars.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                        let c = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        text.push(c.ok_or_else(|| self.expected("a code point as in `\\u{e9}`"))?);
                    }
                    Some(c @ ('"' | '\'' | '\\' | '/')) => text.push(c),
                    Some(_) | None => return Err(self.expected("a string with known escapes")),
                },
                _ => text.push(c),
            }
        }
        Err(self.expected("a string that ends"))
    }
}

/// Whether the text, without underscores, is a number of JSON.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit() || b == b'_') && !t.starts_with('_');
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, Some(e.strip_prefix(['+', '-']).unwrap_or(e))),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((w, f)) => (w, Some(f)),
        None => (mantissa, None),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    digits(whole) && !leading_zero && fraction.is_none_or(digits) && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(event: &str) -> Result<String, Unreadable> {
        let fields = ["user".to_string(), "amount".to_string()];
        let fields_of = |name: &str| (name == "Transfer").then_some(&fields[..]);
        let mut out = Vec::new();
        rewrite(event, &fields_of, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn data(event: &str) -> serde_json::Value {
        let text = json(event).unwrap();
        let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert!(object.shift_remove("event_type").is_some());
        object.into()
    }

    #[test]
    fn the_forms_of_an_event() {
        use serde_json::json as j;
        assert_eq!(json("A {}").unwrap(), "{\"event_type\":\"A\"}\n");
        assert_eq!(data("A { a: 1, \"b c\": 'x\\'y', }; # end"), j!({"a": 1, "b c": "x'y"}));
        assert_eq!(
            data("A{a:-1.5e3,b:[1,[true,null]],c:{d:1_000}}"),
            j!({"a": -1500.0, "b": [1, [true, null]], "c": {"d": 1000}})
        );
        assert_eq!(data("A { d: 1h30m, t: @2026-03-01 }"), j!({"d": "1h30m", "t": "2026-03-01T00:00:00Z"}));
        assert_eq!(data("A { s: \"é\\u{e9}\\n\" }"), j!({"s": "éé\n"}));
        assert_eq!(data("Transfer(\"ann\", 12.5)"), j!({"user": "ann", "amount": 12.5}));
        assert_eq!(data("Transfer(\"ann\")"), j!({"user": "ann"}));
        assert_eq!(data("Unknown(1, 2)"), j!({}));
    }

    #[test]
    fn what_is_no_event_says_what_was_expected() {
        let expected = |event: &str| json(event).unwrap_err().expected;
        assert_eq!(expected("{ a: 1 }"), "the name of an event type");
        assert_eq!(expected("A"), "`{` or `(`");
        assert_eq!(expected("A { a 1 }"), "`:`");
        assert_eq!(expected("A { a: hot }"), "a value");
        assert_eq!(expected("A { a: 007 }"), "a value");
        assert_eq!(expected("A { a: 1"), "`,` or `}`");
        assert_eq!(expected("A { a: \"x"), "a string that ends");
        assert_eq!(expected("A {} B"), "the end of the line");
        assert_eq!(expected("Transfer(1, 2, 3)"), "`)`: Transfer has 2 fields");
        assert_eq!(expected(&format!("A {{ a: {}", "[".repeat(10_000))), "values that nest less deeply");
    }

    proptest! {
        #[test]
        fn what_is_read_is_json(text in "Transfer ?[({]([ab:,\"'\\\\u{}\\[\\]()0-9.@e_-]|é){0,30}[)}]") {
            if let Ok(out) = json(&text) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{}", out);
            }
        }
    }
}
