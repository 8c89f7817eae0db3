//! Functions by example, each called through its signature on a row of values and on a constant.

use crate::data::array::array_of_values;
use crate::data::time::{parse_duration, parse_timestamp};
use crate::data::{Batch, Type, Value};
use crate::expr::eval::Errors;
use crate::expr::{CastFailure, Expr, FunctionRef, evaluate};

use super::*;

fn int(v: i64) -> Value {
    Value::Int(v)
}

fn float(v: f64) -> Value {
    Value::Float(v)
}

fn str(v: &str) -> Value {
    Value::str(v)
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.to_vec())
}

fn time(text: &str) -> Value {
    Value::Timestamp(parse_timestamp(text.as_bytes()).unwrap())
}

fn duration(text: &str) -> Value {
    Value::Duration(parse_duration(text).unwrap())
}

fn type_of(value: &Value) -> DataType {
    let ty = match value {
        Value::Null => Type::Null,
        Value::Int(_) => Type::Int,
        Value::Float(_) => Type::Float,
        Value::Bool(_) => Type::Bool,
        Value::Str(_) => Type::Str,
        Value::Timestamp(_) => Type::Timestamp,
        Value::Duration(_) => Type::Duration,
        Value::List(items) => {
            let item = items.iter().map(type_of).reduce(|a, b| a.unify(&b).unwrap());
            Type::List(Box::new(item.unwrap_or(Type::Null.optional())))
        }
        Value::Map(entries) => {
            let value = entries.iter().map(|(_, v)| type_of(v)).reduce(|a, b| a.unify(&b).unwrap());
            Type::Map(Box::new(value.unwrap_or(Type::Null.optional())))
        }
        Value::Record(_) => panic!("a record's type has names"),
    };
    DataType { nullable: ty == Type::Null, ty }
}

/// The value of a call and whether it failed, both over constants and over columns.
fn call_counted<const N: usize>(name: &str, args: [Value; N]) -> (Value, bool) {
    let function = FunctionRef::by_name(name).unwrap_or_else(|| panic!("no function `{name}`"));
    let types: Vec<_> = args.iter().map(type_of).collect();
    let resolved = (function.0.resolve)(&types).unwrap();
    let widened =
        |arg: Expr, ty: &DataType| Expr::Cast { arg: Box::new(arg), ty: ty.clone(), on_failure: CastFailure::Count };
    let literal = |(value, ty): (&Value, &DataType)| Expr::Literal { value: value.clone(), ty: ty.clone() };
    let column = |(i, ty): (usize, &DataType)| Expr::column(i, ty.clone());
    let rows = 3;
    let columns = args.iter().zip(&types).map(|(v, ty)| array_of_values(ty, &vec![v.clone(); rows])).collect();
    let batch = Batch { columns, time: vec![0; rows].into(), ..Batch::default() };
    let mut results = Vec::new();
    for exprs in
        [args.iter().zip(&types).map(literal).collect::<Vec<_>>(), types.iter().enumerate().map(column).collect()]
    {
        let args = exprs.into_iter().zip(&resolved.args).map(|(e, ty)| widened(e, ty)).collect();
        let errors = Errors::default();
        let array = evaluate(&Expr::Call { function, args, ty: resolved.result.clone() }, &batch, &errors);
        assert_eq!(*array.data_type(), resolved.result.arrow(), "{name}");
        assert!([0, rows as u64].contains(&errors.count()), "{name} counted {} errors", errors.count());
        for row in 0..rows {
            results.push((crate::data::array::value_at(&array, &resolved.result, row), errors.count() > 0));
        }
    }
    let agree = |a: &(Value, bool), b: &(Value, bool)| a.0.compare(&b.0).is_eq() && a.1 == b.1;
    assert!(results.windows(2).all(|w| agree(&w[0], &w[1])), "{name} differs between rows: {results:?}");
    results.swap_remove(0)
}

fn call<const N: usize>(name: &str, args: [Value; N]) -> Value {
    let (value, failed) = call_counted(name, args);
    assert!(!failed, "{name} failed");
    value
}

fn fails<const N: usize>(name: &str, args: [Value; N]) {
    assert_eq!(call_counted(name, args), (Value::Null, true), "{name}");
}

#[test]
fn names_are_unique_and_sorted() {
    assert!(functions().windows(2).all(|w| w[0].name < w[1].name));
    assert!(functions().iter().all(|f| rejected(f.name).is_none()));
}

#[test]
fn every_line_of_a_signature_parses_and_names_its_function() {
    for function in functions() {
        for line in function.signature.lines() {
            assert!(signature::is_well_formed(line), "{line}");
            assert!(line.starts_with(&format!("{}(", function.name)), "{line}");
        }
        assert!(!function.doc.is_empty() && !function.doc.ends_with('.'), "{}", function.name);
    }
}

#[test]
fn every_function_of_null_is_typed_and_evaluated() {
    for function in functions() {
        for line in function.signature.lines() {
            let params = line.split_once(") -> ").unwrap().0.replace("{str: ", "");
            let count = params.matches(": ").count();
            let types = vec![Type::Null.optional(); count];
            let resolved = (function.resolve)(&types).unwrap_or_else(|e| panic!("{line}: {e}"));
            let args = resolved.args.iter().map(|ty| Expr::Literal { value: Value::Null, ty: ty.clone() }).collect();
            let batch = Batch { time: vec![0; 2].into(), ..Batch::default() };
            let errors = Errors::default();
            let call = Expr::Call { function: FunctionRef(function), args, ty: resolved.result.clone() };
            let array = evaluate(&call, &batch, &errors);
            assert_eq!((array.len(), array.data_type()), (2, &resolved.result.arrow()), "{line}");
            let nulls = array.logical_nulls().map_or(0, |n| n.null_count());
            let expected = if count == 0 || !resolved.result.nullable { 0 } else { 2 };
            assert_eq!((nulls, errors.count()), (expected, 0), "{line}");
        }
    }
}

#[test]
fn mathematics() {
    assert_eq!(call("abs", [int(-3)]), int(3));
    fails("abs", [int(i64::MIN)]);
    assert_eq!(call("abs", [duration("-5s")]), duration("5s"));
    assert_eq!(call("round", [float(2.5)]), float(3.0));
    assert_eq!(call("round", [float(-2.345), int(2)]), float(-2.35));
    assert_eq!(call("round", [int(1234), int(-2)]), float(1200.0));
    assert_eq!(call("round", [float(1e300), int(300)]), float(1e300));
    assert_eq!(call("floor", [float(-0.5)]), float(-1.0));
    assert_eq!(call("sign", [float(-0.5)]), float(-1.0));
    assert_eq!(call("log", [float(8.0), int(2)]), float(3.0));
    assert_eq!(call("least", [int(3), float(2.5), int(4)]), float(2.5));
    assert_eq!(call("greatest", [float(1.0), float(f64::NAN)]).compare(&float(f64::NAN)), std::cmp::Ordering::Equal);
    assert_eq!(call("greatest", [str("a"), str("é")]), str("é"));
    assert_eq!(call("least", [int(3), Value::Null]), Value::Null);
    assert_eq!(call("clamp", [int(11), int(0), int(10)]), int(10));
    assert_eq!(call("mod", [int(-7), int(3)]), int(2));
    fails("mod", [float(1.0), float(0.0)]);
    assert_eq!(call("gcd", [int(-12), int(18)]), int(6));
    fails("gcd", [int(i64::MIN), int(0)]);
    assert_eq!(call("lcm", [int(4), int(6)]), int(12));
    fails("lcm", [int(i64::MAX), int(i64::MAX - 1)]);
    assert_eq!(call("is_nan", [float(f64::NAN)]), Value::Bool(true));
}

#[test]
fn strings_count_code_points() {
    assert_eq!(call("len", [str("naïve")]), int(5));
    assert_eq!(call("upper", [str("straße")]), str("STRASSE"));
    assert_eq!(call("substr", [str("naïve"), int(2), int(2)]), str("ïv"));
    assert_eq!(call("substr", [str("naïve"), int(-2)]), str("ve"));
    assert_eq!(call("left", [str("abc"), int(2)]), str("ab"));
    assert_eq!(call("left", [str("abc"), int(-1)]), str("ab"));
    assert_eq!(call("right", [str("abc"), int(2)]), str("bc"));
    assert_eq!(call("right", [str("abc"), int(0)]), str(""));
    assert_eq!(call("right", [str("abc"), int(-1)]), str("bc"));
    assert_eq!(call("lpad", [str("7"), int(3), str("0")]), str("007"));
    assert_eq!(call("rpad", [str("abc"), int(2)]), str("ab"));
    fails("lpad", [str("7"), int(i64::MAX)]);
    assert_eq!(call("trim", [str("  x ")]), str("x"));
    assert_eq!(call("rtrim", [str("xab"), str("ab")]), str("x"));
    assert_eq!(call("reverse", [str("añb")]), str("bña"));
    assert_eq!(call("repeat", [str("ab"), int(3)]), str("ababab"));
    assert_eq!(call("repeat", [str(""), int(i64::MAX)]), str(""));
    fails("repeat", [str("ab"), int(i64::MAX)]);
    assert_eq!(call("index_of", [str("añb"), str("b")]), int(2));
    assert_eq!(call("index_of", [str("ab"), str("c")]), Value::Null);
    assert_eq!(call("char_at", [str("añb"), int(-2)]), str("ñ"));
    assert_eq!(call("char_at", [str("ab"), int(2)]), Value::Null);
    assert_eq!(call("split", [str("a,,b"), str(",")]), list([str("a"), str(""), str("b")]));
    assert_eq!(call("split", [str("añ"), str("")]), list([str("a"), str("ñ")]));
    assert_eq!(call("concat", [str("a"), str("b"), Value::Null]), Value::Null);
    assert_eq!(call("contains", [str("abc"), str("bc")]), Value::Bool(true));
    assert_eq!(call("replace", [str("aXbX"), str("X"), str("--")]), str("a--b--"));
}

#[test]
fn regular_expressions() {
    assert_eq!(call("regex_extract", [str("id=42;"), str(r"id=(\d+)"), int(1)]), str("42"));
    assert_eq!(call("regex_extract", [str("id=42;"), str(r"id=\d+")]), str("id=42"));
    assert_eq!(call("regex_extract", [str("x"), str(r"\d")]), Value::Null);
    assert_eq!(call("regex_replace", [str("a1b2"), str(r"(\d)"), str("<$1>")]), str("a<1>b<2>"));
    assert_eq!(call("regex_find_all", [str("a1b22"), str(r"\d+")]), list([str("1"), str("22")]));
    assert_eq!(call("regex_split", [str("a1b22c"), str(r"\d+")]), list([str("a"), str("b"), str("c")]));
    fails("regex_matches", [str("a"), str("(")]);
}

#[test]
fn calendars() {
    let t = time("2026-03-01T09:30:15.250Z");
    for (name, expected) in [
        ("year", 2026),
        ("quarter", 1),
        ("month", 3),
        ("week", 9),
        ("day", 1),
        ("weekday", 7),
        ("day_of_year", 60),
        ("hour", 9),
        ("minute", 30),
        ("second", 15),
        ("millisecond", 250),
    ] {
        assert_eq!(call(name, [t.clone()]), int(expected), "{name}");
    }
    assert_eq!(call("week", [time("2021-01-03")]), int(53));
    assert_eq!(call("week", [time("2024-12-30")]), int(1));
    assert_eq!(call("second", [time("1969-12-31T23:59:58Z")]), int(58));
    for (unit, expected) in [
        ("year", "2026-01-01"),
        ("quarter", "2026-01-01"),
        ("month", "2026-03-01"),
        ("week", "2026-02-23"),
        ("day", "2026-03-01"),
        ("hour", "2026-03-01T09:00:00Z"),
        ("minute", "2026-03-01T09:30:00Z"),
        ("second", "2026-03-01T09:30:15Z"),
    ] {
        assert_eq!(call("date_trunc", [str(unit), t.clone()]), time(expected), "{unit}");
    }
    fails("date_trunc", [str("fortnight"), t.clone()]);
    assert_eq!(call("date", [t.clone()]), time("2026-03-01"));
    assert_eq!(call("time_of_day", [t]), duration("9h30m15s250ms"));
    assert_eq!(call("make_time", [int(2024), int(2), int(29), int(12)]), time("2024-02-29T12:00:00Z"));
    fails("make_time", [int(2023), int(2), int(29)]);
}

#[test]
fn times_and_numbers() {
    let t = time("2026-03-01T09:30:00Z");
    assert_eq!(call("format_time", [t.clone(), str("%d.%m.%Y %H:%M")]), str("01.03.2026 09:30"));
    fails("format_time", [t.clone(), str("%!")]);
    assert_eq!(call("parse_time", [str("01.03.2026 09:30"), str("%d.%m.%Y %H:%M")]), t);
    assert_eq!(call("parse_time", [str("2026-03-01 10:30 +0100"), str("%Y-%m-%d %H:%M %z")]), t);
    assert_eq!(call("parse_time", [str("01/03/2026"), str("%d/%m/%Y")]), time("2026-03-01"));
    fails("parse_time", [str("yesterday")]);
    let ms = call("to_unix_ms", [t.clone()]);
    assert_eq!(call("from_unix_ms", [ms]), t);
    assert_eq!(call("to_unix_s", [time("1969-12-31T23:59:59.5Z")]), int(-1));
    fails("from_unix_s", [int(i64::MAX)]);
    assert_eq!(call("minutes", [int(90)]), duration("1h30m"));
    assert_eq!(call("hours", [float(0.5)]), duration("30m"));
    fails("days", [float(f64::NAN)]);
    assert_eq!(call("total_minutes", [duration("1h30m")]), float(90.0));
}

#[test]
fn lists_and_maps() {
    let numbers = list([int(3), int(1), Value::Null, int(3)]);
    assert_eq!(call("len", [numbers.clone()]), int(4));
    assert_eq!(call("list_sum", [numbers.clone()]), int(7));
    fails("list_sum", [list([int(i64::MAX), int(1)])]);
    assert_eq!(call("list_avg", [numbers.clone()]), float(7.0 / 3.0));
    assert_eq!(call("list_max", [numbers.clone()]), int(3));
    assert_eq!(call("list_min", [list([])]), Value::Null);
    assert_eq!(call("sort", [numbers.clone()]), list([Value::Null, int(1), int(3), int(3)]));
    assert_eq!(call("distinct", [numbers.clone()]), list([int(3), int(1), Value::Null]));
    assert_eq!(call("contains", [numbers.clone(), int(1)]), Value::Bool(true));
    assert_eq!(call("contains", [numbers.clone(), int(2)]), Value::Null);
    assert_eq!(call("contains", [list([int(1)]), float(1.5)]), Value::Bool(false));
    assert_eq!(call("get", [numbers.clone(), int(-4)]), int(3));
    assert_eq!(call("get", [numbers.clone(), int(4)]), Value::Null);
    assert_eq!(call("slice", [numbers.clone(), int(1), int(-1)]), list([int(1), Value::Null]));
    assert_eq!(call("index_of", [numbers, int(1)]), int(1));
    assert_eq!(call("range", [int(0), int(5), int(2)]), list([int(0), int(2), int(4)]));
    assert_eq!(call("range", [int(3), int(0), int(-2)]), list([int(3), int(1)]));
    fails("range", [int(0), int(1), int(0)]);
    fails("range", [int(i64::MIN), int(i64::MAX)]);
    assert_eq!(call("flatten", [list([list([int(1)]), list([]), list([int(2)])])]), list([int(1), int(2)]));
    assert_eq!(call("join_str", [list([str("a"), Value::Null, str("b")]), str("-")]), str("a-b"));
    assert_eq!(call("concat", [list([int(1)]), list([float(0.5)])]), list([float(1.0), float(0.5)]));
    let map = Value::Map(vec![("x".into(), int(1)), ("y".into(), Value::Null)]);
    assert_eq!(call("keys", [map.clone()]), list([str("x"), str("y")]));
    assert_eq!(call("values", [map.clone()]), list([int(1), Value::Null]));
    assert_eq!(call("has_key", [map.clone(), str("y")]), Value::Bool(true));
    assert_eq!(call("get", [map.clone(), str("z")]), Value::Null);
    assert_eq!(call("len", [map]), int(2));
}

#[test]
fn text_and_json() {
    assert_eq!(call("to_str", [float(1e21)]), str("1e21"));
    assert_eq!(call("to_str", [float(28.0)]), str("28.0"));
    assert_eq!(call("to_str", [Value::Null]), str("null"));
    assert_eq!(call("to_str", [time("2026-03-01")]), str("2026-03-01T00:00:00Z"));
    assert_eq!(call("to_str", [duration("90s")]), str("1m30s"));
    assert_eq!(call("to_str", [list([str("a\"b"), Value::Null])]), str(r#"["a\"b",null]"#));
    assert_eq!(call("to_json", [float(f64::NAN)]), str("null"));
    let json = str(r#"{"a": {"b": [1, "x", null]}, "c d": true}"#);
    assert_eq!(call("json_get", [json.clone(), str("$.a.b[1]")]), str("x"));
    assert_eq!(call("json_get", [json.clone(), str("a.b")]), str(r#"[1,"x",null]"#));
    assert_eq!(call("json_get", [json.clone(), str("a.b[2]")]), Value::Null);
    assert_eq!(call("json_get", [json.clone(), str("$[\"c d\"]")]), str("true"));
    assert_eq!(call("json_get", [json.clone(), str("a.z")]), Value::Null);
    fails("json_get", [str("{"), str("a")]);
    fails("json_get", [json, str("a.")]);
    assert_eq!(call("to_int", [str(" 12 ")]), int(12));
    fails("to_float", [str("twelve")]);
    assert_eq!(call("nullif", [int(0), float(0.0)]), Value::Null);
    assert_eq!(call("nullif", [int(1), Value::Null]), int(1));
}

/// Programs route and sample by hashes and keep them in their outputs: they may never change.
#[test]
fn hashes_are_pinned() {
    assert_eq!(call("hash", [str("varpulis"), int(1)]), int(925_020_876_967_234_823));
    assert_ne!(call("hash", [Value::Null]), Value::Null);
}
