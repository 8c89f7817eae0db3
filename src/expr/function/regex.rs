//! Regular expressions, in the syntax of the `regex` crate: no look-around, no back-references, and
//! time linear in the text. A pattern that is not one fails.

use std::rc::Rc;

use regex::Regex;

use super::call::append;
use super::{Call, Function, function};
use crate::data::Value;
use crate::data::array::array_of_values;
use crate::expr::eval::strings::Patterns;

pub(super) const FUNCTIONS: &[Function] = &[
    function!(
        "regex_extract",
        "regex_extract(s: str, pattern: str, group: int?) -> str?",
        "what a group (default 0, the whole) of the first match took; null if there is none",
        |c| {
            let mut patterns = Patterns::regexes(&c.args[1]);
            c.strings(|row, out| {
                let group = c.int_or(2, row, 0)?;
                let (s, regex) = text_and_pattern(c, row, &mut patterns)?;
                let found = regex.captures(s)?.get(usize::try_from(group).ok()?)?;
                append(out, found.as_str())
            })
        }
    ),
    function!(
        "regex_find_all",
        "regex_find_all(s: str, pattern: str) -> [str]",
        "all matches that do not overlap, from left to right",
        |c| lists(c, |s, regex| regex.find_iter(s).map(|m| Value::str(m.as_str())).collect())
    ),
    function!(
        "regex_matches",
        "regex_matches(s: str, pattern: str) -> bool",
        "whether a pattern is found anywhere in s; `s matches pattern`",
        |c| {
            let mut patterns = Patterns::regexes(&c.args[1]);
            c.booleans(|row| {
                let (s, regex) = text_and_pattern(c, row, &mut patterns)?;
                Some(regex.is_match(s))
            })
        }
    ),
    function!(
        "regex_replace",
        "regex_replace(s: str, pattern: str, replacement: str) -> str",
        "with every match replaced; `$1` and `${name}` stand for groups",
        |c| {
            let mut patterns = Patterns::regexes(&c.args[1]);
            c.strings(|row, out| {
                let replacement = c.str(2, row)?;
                let (s, regex) = text_and_pattern(c, row, &mut patterns)?;
                append(out, &regex.replace_all(s, replacement))
            })
        }
    ),
    function!("regex_split", "regex_split(s: str, pattern: str) -> [str]", "the parts between matches", |c| {
        lists(c, |s, regex| regex.split(s).map(Value::str).collect())
    }),
];

type Regexes<'a> = Patterns<'a, Option<Rc<Regex>>>;

/// The first two arguments in a row; nothing if one is null or the pattern is not one.
fn text_and_pattern<'c>(c: &'c Call<'_>, row: usize, patterns: &mut Regexes<'_>) -> Option<(&'c str, Rc<Regex>)> {
    let s = c.str(0, row)?;
    c.str(1, row)?;
    let regex = c.or_fail(patterns.get(row).clone())?;
    Some((s, regex))
}

fn lists(c: &Call<'_>, f: impl Fn(&str, &Regex) -> Vec<Value>) -> arrow_array::ArrayRef {
    let mut patterns = Patterns::regexes(&c.args[1]);
    let mut list = |row| text_and_pattern(c, row, &mut patterns).map(|(s, regex)| Value::List(f(s, &regex)));
    let values: Vec<_> = (0..c.rows).map(|row| list(row).unwrap_or(Value::Null)).collect();
    array_of_values(&c.resolved.result, &values)
}
