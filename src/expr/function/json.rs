//! JSON: values as JSON, and members of JSON that comes in a string.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value as Json;

use super::{Function, function};
use crate::expr::text::write_json;

pub(super) const FUNCTIONS: &[Function] = &[
    function!(
        "json_get",
        "json_get(json: str, path: str) -> str?",
        "the member at a path such as `a.b[0]` or `$.a[\"b c\"]`: a string as it is, anything else as JSON; null if there is none",
        |c| c.strings(|row, out| {
            let (text, path) = (c.str(0, row)?, c.str(1, row)?);
            let json: Json = c.or_fail(serde_json::from_str(text).ok())?;
            match follow(&json, c.or_fail(parse_path(path))?)? {
                Json::Null => return None,
                Json::String(s) => out.push_str(s),
                other => out.push_str(&other.to_string()),
            }
            Some(())
        })
    ),
    function!("to_json", "to_json(x: any) -> str!", "x as JSON; \"null\" for null, NaN and infinities", |c| {
        c.strings(|row, out| {
            write_json(c.args[0].array(), c.ty(0), c.args[0].index(row), out);
            Some(())
        })
    }),
];

/// One step of a path.
#[derive(Debug, PartialEq)]
enum Step {
    Member(String),
    Item(usize),
}

fn follow(json: &Json, path: Vec<Step>) -> Option<&Json> {
    path.iter().try_fold(json, |at, step| match step {
        Step::Member(name) => at.get(name),
        Step::Item(index) => at.get(index),
    })
}

/// `a.b[0]["c d"]`, with or without `$.` before it; `$` alone is the whole.
fn parse_path(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path.chars().peekable();
    if rest.next_if_eq(&'$').is_none() && rest.peek().is_some_and(|c| *c != '[') {
        steps.push(member(&mut rest)?);
    }
    while let Some(c) = rest.next() {
        let step = match c {
            '.' => member(&mut rest)?,
            '[' if rest.peek() == Some(&'"') => quoted(&mut rest)?,
            '[' => item(&mut rest)?,
            _ => return None,
        };
        steps.push(step);
    }
    Some(steps)
}

fn member(rest: &mut Peekable<Chars<'_>>) -> Option<Step> {
    let mut name = String::new();
    while let Some(c) = rest.next_if(|c| !matches!(c, '.' | '[' | ']')) {
        name.push(c);
    }
    (!name.is_empty()).then_some(Step::Member(name))
}

fn quoted(rest: &mut Peekable<Chars<'_>>) -> Option<Step> {
    rest.next();
    let mut name = String::new();
    loop {
        match rest.next()? {
            '"' => break,
            '\\' => name.push(rest.next()?),
            c => name.push(c),
        }
    }
    (rest.next() == Some(']')).then_some(Step::Member(name))
}

fn item(rest: &mut Peekable<Chars<'_>>) -> Option<Step> {
    let mut digits = String::new();
    while let Some(c) = rest.next_if(char::is_ascii_digit) {
        digits.push(c);
    }
    (rest.next() == Some(']')).then_some(Step::Item(digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_members_and_items() {
        let member = |s: &str| Step::Member(s.to_string());
        assert_eq!(parse_path("$.a.b[0]"), Some(vec![member("a"), member("b"), Step::Item(0)]));
        assert_eq!(parse_path("a[12][\"b \\\"c\"]"), Some(vec![member("a"), Step::Item(12), member("b \"c")]));
        assert_eq!(parse_path("[1]"), Some(vec![Step::Item(1)]));
        assert_eq!(parse_path("$"), Some(vec![]));
        for wrong in ["a.", "a[", "a[x]", "a]", "$a", "a[\"b]", "a..b"] {
            assert_eq!(parse_path(wrong), None, "{wrong}");
        }
    }
}
