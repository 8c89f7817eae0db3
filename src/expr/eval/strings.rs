//! Operators of strings: concatenation, `like`, `matches`; and the patterns that they compile.
//!
//! A pattern is nearly always a literal, but an expression is plain data with no room for what it
//! compiles to, so compiled patterns are kept per thread, by their text and within a bound.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, StringArray};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use memchr::memmem;
use regex::Regex;

use super::Errors;
use super::operand::{Operand, union_nulls};
use crate::expr::BinaryOp;

/// Most patterns kept at once for each thread. Programs have fewer; a pattern that is a column may
/// have any number, and they must not pile up.
const PATTERNS_MAX: usize = 256;

/// Most bytes that one string column can hold, by the 32-bit offsets of Arrow's strings.
const COLUMN_BYTES_MAX: usize = i32::MAX as usize;

/// Why a literal pattern of `like` or `matches` is not one; `None` if it is.
pub fn check_pattern(op: BinaryOp, pattern: &str) -> Option<String> {
    if op != BinaryOp::Matches {
        return None;
    }
    // The error is drawn over several lines, the last of which says what is wrong.
    let error = Regex::new(pattern).err()?.to_string();
    let reason = error.lines().last().unwrap_or_default();
    Some(reason.trim_start_matches("error: ").to_string())
}

/// A string column in the making. A row that would not fit its offsets fails rather than panics.
pub(crate) struct StrColumn {
    data: String,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl StrColumn {
    pub(crate) fn with_capacity(rows: usize, bytes: usize) -> StrColumn {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        StrColumn { data: String::with_capacity(bytes), offsets, nulls: NullBufferBuilder::new(rows) }
    }

    /// Appends what `write` appends to the buffer that it is given.
    pub(crate) fn push_with(&mut self, errors: &Errors, write: impl FnOnce(&mut String)) {
        let start = self.data.len();
        write(&mut self.data);
        if self.data.len() > COLUMN_BYTES_MAX {
            self.data.truncate(start);
            errors.add(1);
            return self.push_null();
        }
        self.nulls.append_non_null();
        self.offsets.push(self.data.len() as i32);
    }

    /// As [`StrColumn::push_with`], null when `write` says `None`.
    pub(crate) fn try_push_with(&mut self, errors: &Errors, write: impl FnOnce(&mut String) -> Option<()>) {
        let start = self.data.len();
        if write(&mut self.data).is_some() {
            let added = self.data.split_off(start);
            self.push_with(errors, |buffer| buffer.push_str(&added));
        } else {
            self.data.truncate(start);
            self.push_null();
        }
    }

    pub(crate) fn push_null(&mut self) {
        self.nulls.append_null();
        self.offsets.push(self.data.len() as i32);
    }

    pub(crate) fn finish(mut self) -> ArrayRef {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let data = Buffer::from_vec(self.data.into_bytes());
        Arc::new(StringArray::new(offsets, data, self.nulls.finish()))
    }
}

/// The strings of each row one after the other; null where one of them is.
pub(crate) fn concat(args: &[&Operand], rows: usize, errors: &Errors) -> ArrayRef {
    let nulls = union_nulls(args, rows);
    let columns: Vec<_> = args.iter().map(|a| (a.strings(), *a)).collect();
    let bytes =
        columns.iter().map(|(s, a)| if a.is_scalar() { rows * s.value_data().len() } else { s.value_data().len() });
    let mut out = StrColumn::with_capacity(rows, bytes.sum::<usize>().min(COLUMN_BYTES_MAX));
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            out.push_null();
        } else {
            out.push_with(errors, |buffer| {
                columns.iter().for_each(|(strings, arg)| buffer.push_str(strings.value(arg.index(row))))
            });
        }
    }
    out.finish()
}

/// A compiled `like` pattern; the common shapes need no regular expression.
enum Like {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(Box<memmem::Finder<'static>>),
    General(Regex),
}

impl Like {
    fn compile(pattern: &str) -> Like {
        // The text between `%`s, or `None` once `_` makes that not enough.
        let mut pieces = Some(vec![String::new()]);
        let mut regex = String::from(r"(?s)\A");
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => {
                    regex.push_str(".*");
                    pieces.iter_mut().for_each(|p| p.push(String::new()));
                }
                '_' => {
                    regex.push('.');
                    pieces = None;
                }
                c => {
                    // A `\` at the very end escapes nothing and stands for itself.
                    let literal = if c == '\\' { chars.next().unwrap_or(c) } else { c };
                    regex.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
                    pieces.iter_mut().for_each(|p| p.last_mut().expect("never empty").push(literal));
                }
            }
        }
        regex.push_str(r"\z");
        match pieces.as_deref() {
            Some([exact]) => Like::Exact(exact.clone()),
            Some([prefix, end]) if end.is_empty() => Like::Prefix(prefix.clone()),
            Some([start, suffix]) if start.is_empty() => Like::Suffix(suffix.clone()),
            Some([start, middle, end]) if start.is_empty() && end.is_empty() => {
                Like::Contains(Box::new(memmem::Finder::new(middle).into_owned()))
            }
            _ => Like::General(Regex::new(&regex).expect("an escaped pattern is a regular expression")),
        }
    }

    fn is_match(&self, text: &str) -> bool {
        match self {
            Like::Exact(s) => text == s,
            Like::Prefix(s) => text.starts_with(s.as_str()),
            Like::Suffix(s) => text.ends_with(s.as_str()),
            Like::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Like::General(regex) => regex.is_match(text),
        }
    }
}

thread_local! {
    static LIKES: RefCell<HashMap<String, Rc<Like>>> = RefCell::default();
    static REGEXES: RefCell<HashMap<String, Option<Rc<Regex>>>> = RefCell::default();
}

fn cached<T: Clone>(cache: &RefCell<HashMap<String, T>>, pattern: &str, compile: impl FnOnce(&str) -> T) -> T {
    let mut cache = cache.borrow_mut();
    if let Some(found) = cache.get(pattern) {
        return found.clone();
    }
    if cache.len() == PATTERNS_MAX {
        cache.clear();
    }
    let compiled = compile(pattern);
    cache.insert(pattern.to_string(), compiled.clone());
    compiled
}

/// The compiled regular expression, or `None` if it is not one.
pub(crate) fn regex(pattern: &str) -> Option<Rc<Regex>> {
    REGEXES.with(|cache| cached(cache, pattern, |p| Regex::new(p).ok().map(Rc::new)))
}

/// Compiled patterns of a column row by row, without a look-up while the pattern stays the same.
pub(crate) struct Patterns<'a, T> {
    column: &'a Operand,
    current: Option<(usize, T)>,
    compile: fn(&str) -> T,
}

impl<'a> Patterns<'a, Option<Rc<Regex>>> {
    pub(crate) fn regexes(column: &'a Operand) -> Self {
        Patterns { column, current: None, compile: regex }
    }
}

impl<T> Patterns<'_, T> {
    /// The pattern of a row in which it is not null.
    pub(crate) fn get(&mut self, row: usize) -> &T {
        let index = self.column.index(row);
        let strings = self.column.strings();
        let same = self.current.as_ref().is_some_and(|c| c.0 == index || strings.value(c.0) == strings.value(index));
        if !same {
            self.current = None;
        }
        let compile = self.compile;
        &self.current.get_or_insert_with(|| (index, compile(strings.value(index)))).1
    }
}

pub(super) fn like(text: &Operand, pattern: &Operand, rows: usize) -> ArrayRef {
    let compile = |p: &str| LIKES.with(|cache| cached(cache, p, |p| Rc::new(Like::compile(p))));
    let mut patterns = Patterns { column: pattern, current: None, compile };
    let strings = text.strings();
    test_each(text, pattern, rows, |row| Some(patterns.get(row).is_match(strings.value(text.index(row)))))
}

pub(super) fn matches(text: &Operand, pattern: &Operand, rows: usize, errors: &Errors) -> ArrayRef {
    let mut patterns = Patterns::regexes(pattern);
    let strings = text.strings();
    test_each(text, pattern, rows, |row| match patterns.get(row) {
        Some(regex) => Some(regex.is_match(strings.value(text.index(row)))),
        None => {
            errors.add(1);
            None
        }
    })
}

/// `test` of each row in which neither operand is null.
fn test_each(a: &Operand, b: &Operand, rows: usize, mut test: impl FnMut(usize) -> Option<bool>) -> ArrayRef {
    let nulls = union_nulls(&[a, b], rows);
    let row = |row: usize| if nulls.as_ref().is_some_and(|n| n.is_null(row)) { None } else { test(row) };
    Arc::new(BooleanArray::from_iter((0..rows).map(row)))
}
