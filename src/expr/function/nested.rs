//! Lists and maps, and the functions that strings share with them.
//!
//! Sums, extremes and averages of a list skip its nulls, as aggregates do; of nothing they are null.
//! Order and equality of items are those of values: nulls come first and equal each other.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use memchr::memmem;

use super::call::append_chars;
use super::{Call, Function, function};
use crate::data::key::encode_value;
use crate::data::{Type, Value};
use crate::expr::eval::nested::{is_in, list_items, map_values, slice_lists, slice_strings};

/// Most items of a list made by `range`: a mistyped end must not exhaust memory.
const RANGE_ITEMS_MAX: u64 = 1_000_000;

pub(super) const FUNCTIONS: &[Function] = &[
    function!(
        "contains",
        "contains(s: str, part: str) -> bool\ncontains(list: [T], value: T) -> bool",
        "whether a string has a part, or a list a value (`value in list`)",
        |c| if *c.ty(0) == Type::Str {
            c.booleans(|row| Some(memmem::find(c.str(0, row)?.as_bytes(), c.str(1, row)?.as_bytes()).is_some()))
        } else {
            Arc::new(is_in(&c.args[1], &c.args[0], c.ty(1), c.rows))
        }
    ),
    function!("distinct", "distinct(list: [T]) -> [T]", "the different items, in order of first appearance", |c| {
        map_list(c, |items| {
            let mut seen = HashSet::new();
            let is_new = |item: &Value| {
                let mut key = Vec::new();
                encode_value(item, &mut key);
                seen.insert(key)
            };
            items.into_iter().filter(is_new).collect()
        })
    }),
    function!("flatten", "flatten(lists: [[T]]) -> [T]", "the items of all lists, one list after the other", |c| {
        map_list(c, |lists| lists.into_iter().flat_map(into_items).collect())
    }),
    function!(
        "get",
        "get(list: [T], index: int) -> T?\nget(map: {str: T}, key: str) -> T?",
        "the item at an index or under a key, null if there is none; `list[index]`",
        |c| match c.ty(0) {
            Type::Map(_) => map_values(&c.args[0], &c.args[1], c.rows),
            _ => list_items(&c.args[0], &c.args[1], c.rows),
        }
    ),
    function!("has_key", "has_key(map: {str: T}, key: str) -> bool", "whether a map has an entry under a key", |c| {
        c.values(|args| {
            let [Value::Map(entries), Value::Str(key)] = args else { unreachable!("has_key has a map and a string") };
            Some(Value::Bool(entries.iter().any(|(k, _)| k == key)))
        })
    }),
    function!(
        "index_of",
        "index_of(s: str, part: str) -> int?\nindex_of(list: [T], value: T) -> int?",
        "where a string first has a part, or a list a value; null if nowhere",
        |c| if *c.ty(0) == Type::Str {
            c.ints(|row| {
                let (s, part) = (c.str(0, row)?, c.str(1, row)?);
                Some(s[..s.find(part)?].chars().count() as i64)
            })
        } else {
            c.values(|args| {
                let at = items(&args[0]).iter().position(|item| item.compare(&args[1]).is_eq())?;
                Some(Value::Int(at as i64))
            })
        }
    ),
    function!(
        "join_str",
        "join_str(list: [str], separator: str) -> str",
        "the strings that are not null, with separators between them",
        |c| {
            c.values(|args| {
                let Value::Str(separator) = &args[1] else { unreachable!("the separator is a string") };
                let parts: Vec<&str> = items(&args[0])
                    .iter()
                    .filter_map(|item| if let Value::Str(s) = item { Some(s.as_ref()) } else { None })
                    .collect();
                Some(Value::str(&parts.join(separator)))
            })
        }
    ),
    function!("keys", "keys(map: {str: T}) -> [str]", "the keys of a map, in its order", |c| {
        c.values(|args| Some(Value::List(entries(&args[0]).iter().map(|(k, _)| Value::Str(k.clone())).collect())))
    }),
    function!(
        "len",
        "len(s: str) -> int\nlen(list: [T]) -> int\nlen(map: {str: T}) -> int",
        "the number of characters, items or entries",
        len
    ),
    function!(
        "length",
        "length(s: str) -> int\nlength(list: [T]) -> int\nlength(map: {str: T}) -> int",
        "the same as `len`",
        len
    ),
    function!("list_avg", "list_avg(list: [float]) -> float?", "the average of the items that are not null", |c| {
        fold(c, |items| {
            let sum: f64 = items.iter().map(float).sum();
            (!items.is_empty()).then(|| Value::Float(sum / items.len() as f64))
        })
    }),
    function!("list_max", "list_max(list: [T]) -> T? where T: ordered", "the greatest item", |c| {
        fold(c, |items| items.iter().copied().reduce(|a, b| if b.compare(a).is_gt() { b } else { a }).cloned())
    }),
    function!("list_min", "list_min(list: [T]) -> T? where T: ordered", "the least item", |c| {
        fold(c, |items| items.iter().copied().reduce(|a, b| if b.compare(a).is_lt() { b } else { a }).cloned())
    }),
    function!(
        "list_sum",
        "list_sum(list: [int]) -> int?\nlist_sum(list: [float]) -> float?\nlist_sum(list: [duration]) -> duration?",
        "the sum of the items that are not null, from the first to the last",
        sum
    ),
    function!(
        "range",
        "range(from: int, to: int, step: int?) -> [int]",
        "from, from + step (default 1), … as long as before `to`; fails if step is 0 or beyond a million items",
        range
    ),
    function!("reverse", "reverse(s: str) -> str\nreverse(list: [T]) -> [T]", "from the last to the first", |c| {
        if *c.ty(0) == Type::Str {
            return c.strings(|row, out| append_chars(out, c.str(0, row)?.chars().rev()));
        }
        map_list(c, |items| items.into_iter().rev().collect())
    }),
    function!(
        "slice",
        "slice(s: str, from: int, to: int?) -> str\nslice(list: [T], from: int, to: int?) -> [T]",
        "the characters or items from one position to before another; `s[from:to]`",
        |c| match c.ty(0) {
            Type::List(item) => slice_lists(&c.args[0], Some(&c.args[1]), c.args.get(2), item, c.rows),
            _ => slice_strings(&c.args[0], Some(&c.args[1]), c.args.get(2), c.rows, c.errors),
        }
    ),
    function!("sort", "sort(list: [T]) -> [T] where T: ordered", "in ascending order, nulls first", |c| {
        map_list(c, |mut items| {
            items.sort_by(Value::compare);
            items
        })
    }),
    function!("values", "values(map: {str: T}) -> [T]", "the values of a map, in its order", |c| {
        c.values(|args| Some(Value::List(entries(&args[0]).iter().map(|(_, v)| v.clone()).collect())))
    }),
];

fn len(c: &Call<'_>) -> ArrayRef {
    let array = c.args[0].array();
    let offsets = match c.ty(0) {
        Type::List(_) => array.as_list::<i32>().value_offsets(),
        Type::Map(_) => array.as_map().value_offsets(),
        _ => return c.ints(|row| Some(c.str(0, row)?.chars().count() as i64)),
    };
    c.ints(|row| {
        let row = c.args[0].index(row);
        array.is_valid(row).then(|| (offsets[row + 1] - offsets[row]) as i64)
    })
}

fn sum(c: &Call<'_>) -> ArrayRef {
    let Type::List(item) = c.ty(0) else { unreachable!("list_sum has a list") };
    let item = item.ty.clone();
    fold(c, |items| {
        if items.is_empty() {
            return None;
        }
        if item == Type::Float {
            return Some(Value::Float(items.iter().map(float).sum()));
        }
        let total = items.iter().try_fold(0i64, |sum, value| match value {
            Value::Int(v) | Value::Duration(v) => sum.checked_add(*v),
            other => unreachable!("{other:?} in a list of {item}"),
        });
        let total = c.or_fail(total)?;
        Some(if item == Type::Duration { Value::Duration(total) } else { Value::Int(total) })
    })
}

fn range(c: &Call<'_>) -> ArrayRef {
    c.values(|args| {
        let arg = |i: usize| match args.get(i) {
            Some(Value::Int(v)) => *v as i128,
            Some(other) => unreachable!("{other:?} is not an int"),
            None => 1,
        };
        let (from, to, step) = (arg(0), arg(1), arg(2));
        if step == 0 {
            return c.fail();
        }
        let distance = if step > 0 { to - from } else { from - to };
        let count = (distance.max(0) + step.abs() - 1) / step.abs();
        if count > RANGE_ITEMS_MAX as i128 {
            return c.fail();
        }
        Some(Value::List((0..count).map(|i| Value::Int((from + i * step) as i64)).collect()))
    })
}

/// A list from the items of the list that is the only argument.
fn map_list(c: &Call<'_>, f: impl Fn(Vec<Value>) -> Vec<Value>) -> ArrayRef {
    c.values(|args| Some(Value::List(f(items(&args[0]).to_vec()))))
}

/// A value from those items of the only argument that are not null.
fn fold(c: &Call<'_>, f: impl Fn(&[&Value]) -> Option<Value>) -> ArrayRef {
    c.values(|args| f(&items(&args[0]).iter().filter(|v| !v.is_null()).collect::<Vec<_>>()))
}

fn items(list: &Value) -> &[Value] {
    match list {
        Value::List(items) => items,
        other => unreachable!("{other:?} is not a list"),
    }
}

/// The items of a list among lists; a null has none.
fn into_items(list: Value) -> Vec<Value> {
    if let Value::List(items) = list { items } else { Vec::new() }
}

fn entries(map: &Value) -> &[(Arc<str>, Value)] {
    match map {
        Value::Map(entries) => entries,
        other => unreachable!("{other:?} is not a map"),
    }
}

fn float(value: &&Value) -> f64 {
    match value {
        Value::Float(v) => *v,
        other => unreachable!("{other:?} is not a float"),
    }
}
