//! The table of aggregates: name, signature, doc line, and which arguments each takes.
//!
//! `sema` resolves calls by it, `varpulis functions` and the docs are printed from it. What an
//! aggregate computes is elsewhere; that every name here has an accumulator is ensured by
//! [`AggregateFunction`], which calls resolve to.

use std::sync::Arc;

use super::AggregateFunction;
use crate::data::{DataType, Field, Type, Value};

/// One aggregate of the language.
pub struct AggregateEntry {
    pub name: &'static str,
    /// As printed by `varpulis functions`: `percentile(x: number, p: constant) -> float`.
    pub signature: &'static str,
    pub doc: &'static str,
    /// What a call means, or what is wrong with it.
    pub resolve: fn(&AggregateCall<'_>) -> Result<ResolvedAggregate, String>,
}

/// A call as written, with typed arguments.
pub struct AggregateCall<'a> {
    pub args: &'a [DataType],
    /// The values of those arguments that are constant expressions; as long as `args`.
    pub constants: &'a [Option<Value>],
    /// The fields of the rows that are aggregated, for `collect()`.
    pub row: &'a [Field],
}

/// What a call means.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedAggregate {
    /// Constant arguments are in here.
    pub function: AggregateFunction,
    /// The types to which the first arguments must be widened, as many as there are columns; for
    /// [`AggregateFunction::CollectRows`] the types of all columns of the row.
    pub args: Vec<DataType>,
    /// For a group with at least one row. Of an empty one, which only a pattern's capture can be,
    /// the result may be null besides, unless [`AggregateFunction::has_empty_result`].
    pub result: DataType,
}

/// All aggregates, sorted by name.
pub fn aggregates() -> &'static [AggregateEntry] {
    TABLE
}

/// The aggregate with this name.
pub fn aggregate(name: &str) -> Option<&'static AggregateEntry> {
    TABLE.iter().find(|a| a.name == name)
}

type Resolution = Result<ResolvedAggregate, String>;

static TABLE: &[AggregateEntry] = &[
    AggregateEntry {
        name: "all",
        signature: "all(x: bool) -> bool",
        doc: "whether x is true in all rows",
        resolve: |call| booleans(call, "all", AggregateFunction::All),
    },
    AggregateEntry {
        name: "any",
        signature: "any(x: bool) -> bool",
        doc: "whether x is true in any row",
        resolve: |call| booleans(call, "any", AggregateFunction::Any),
    },
    AggregateEntry {
        name: "approx_count_distinct",
        signature: "approx_count_distinct(x: any) -> int",
        doc: "number of different values, within about 2%, in 4 KiB or less (HyperLogLog)",
        resolve: |call| {
            let arg = any_value(call, "approx_count_distinct", 1)?;
            Ok(resolved(AggregateFunction::ApproxCountDistinct, arg, Type::Int.required()))
        },
    },
    AggregateEntry {
        name: "avg",
        signature: "avg(x: number | duration | timestamp) -> float | duration | timestamp",
        doc: "mean, rounded once; of numbers a float, of times to the nearest nanosecond",
        resolve: |call| {
            let arg = measure(call, "avg", 1)?;
            let result = continuous(&arg);
            Ok(resolved(AggregateFunction::Avg, arg, result))
        },
    },
    AggregateEntry {
        name: "collect",
        signature: "collect(x: T) -> [T], collect() -> [record]",
        doc: "list of the values, or without an argument of the rows, in order of event time",
        resolve: resolve_collect,
    },
    AggregateEntry {
        name: "collect_distinct",
        signature: "collect_distinct(x: T) -> [T]",
        doc: "list of the different values, in order of their first event time",
        resolve: |call| {
            let arg = any_value(call, "collect_distinct", 1)?;
            let result = list_of(&arg);
            Ok(resolved(AggregateFunction::CollectDistinct, arg, result))
        },
    },
    AggregateEntry {
        name: "count",
        signature: "count() -> int, count(x: any) -> int",
        doc: "number of rows, or of those where x is not null",
        resolve: |call| {
            if call.args.is_empty() {
                let function = AggregateFunction::CountRows;
                return Ok(ResolvedAggregate { function, args: Vec::new(), result: Type::Int.required() });
            }
            let arg = any_value(call, "count", 1)?;
            Ok(resolved(AggregateFunction::Count, arg, Type::Int.required()))
        },
    },
    AggregateEntry {
        name: "count_distinct",
        signature: "count_distinct(x: any) -> int",
        doc: "number of different values, exactly; keeps each of them",
        resolve: |call| {
            let arg = any_value(call, "count_distinct", 1)?;
            Ok(resolved(AggregateFunction::CountDistinct, arg, Type::Int.required()))
        },
    },
    AggregateEntry {
        name: "count_if",
        signature: "count_if(condition: bool) -> int",
        doc: "number of rows where the condition is true",
        resolve: |call| {
            let mut call = booleans(call, "count_if", AggregateFunction::CountIf)?;
            call.result = Type::Int.required();
            Ok(call)
        },
    },
    AggregateEntry {
        name: "ema",
        signature: "ema(x: number, n: constant int) -> float",
        doc: "exponential moving average over n rows in order of event time, alpha = 2 / (n + 1)",
        resolve: |call| {
            let arg = number(call, "ema", 2)?;
            let n = positive(call, "ema", "n")?;
            let arg = Type::Float.required().with_nullable(arg.nullable);
            Ok(resolved(AggregateFunction::Ema { n }, arg.clone(), arg))
        },
    },
    AggregateEntry {
        name: "first",
        signature: "first(x: T) -> T",
        doc: "value with the least event time, ties by order within the source",
        resolve: |call| same(call, "first", AggregateFunction::First),
    },
    AggregateEntry {
        name: "last",
        signature: "last(x: T) -> T",
        doc: "value with the greatest event time, ties by order within the source",
        resolve: |call| same(call, "last", AggregateFunction::Last),
    },
    AggregateEntry {
        name: "max",
        signature: "max(x: T) -> T",
        doc: "greatest value; NaN is greater than all numbers",
        resolve: |call| ordered(call, "max", AggregateFunction::Max),
    },
    AggregateEntry {
        name: "median",
        signature: "median(x: number | duration | timestamp) -> float | duration | timestamp",
        doc: "middle value, or the mean of the middle two; keeps all values",
        resolve: |call| {
            let arg = measure(call, "median", 1)?;
            let result = continuous(&arg);
            Ok(resolved(AggregateFunction::Median, arg, result))
        },
    },
    AggregateEntry {
        name: "min",
        signature: "min(x: T) -> T",
        doc: "least value; NaN is greater than all numbers",
        resolve: |call| ordered(call, "min", AggregateFunction::Min),
    },
    AggregateEntry {
        name: "mode",
        signature: "mode(x: T) -> T",
        doc: "most frequent value; of equally frequent ones, that which came first",
        resolve: |call| same(call, "mode", AggregateFunction::Mode),
    },
    AggregateEntry {
        name: "percentile",
        signature: "percentile(x: number | duration | timestamp, p: constant) -> float | duration | timestamp",
        doc: "value below which the fraction p (0 to 1) lies, interpolated linearly; keeps all values",
        resolve: |call| {
            let arg = measure(call, "percentile", 2)?;
            let p = fraction(call)?;
            let result = continuous(&arg);
            Ok(resolved(AggregateFunction::Percentile { p }, arg, result))
        },
    },
    AggregateEntry {
        name: "stddev",
        signature: "stddev(x: number | duration) -> float | duration",
        doc: "sample standard deviation; null for fewer than two values",
        resolve: |call| {
            let arg = measure(call, "stddev", 1)?;
            if arg.ty == Type::Timestamp {
                return Err(wrong_type("stddev", "a number or duration", &arg));
            }
            let result = continuous(&arg).with_nullable(true);
            Ok(resolved(AggregateFunction::Stddev, arg, result))
        },
    },
    AggregateEntry {
        name: "string_join",
        signature: "string_join(x: str, separator: constant str) -> str",
        doc: "the strings in order of event time, with the separator between them",
        resolve: resolve_string_join,
    },
    AggregateEntry {
        name: "sum",
        signature: "sum(x: int) -> int, sum(x: float) -> float, sum(x: duration) -> duration",
        doc: "sum; of floats exact and rounded once, of ints null if 64 bits do not hold it",
        resolve: resolve_sum,
    },
    AggregateEntry {
        name: "top_k",
        signature: "top_k(x: T, k: constant int) -> [T]",
        doc: "list of the k most frequent values, most frequent first, ties as mode",
        resolve: |call| {
            let arg = any_value(call, "top_k", 2)?;
            let k = positive(call, "top_k", "k")?;
            let result = list_of(&arg);
            Ok(resolved(AggregateFunction::TopK { k }, arg, result))
        },
    },
    AggregateEntry {
        name: "variance",
        signature: "variance(x: number) -> float",
        doc: "sample variance; null for fewer than two values",
        resolve: |call| {
            let arg = number(call, "variance", 1)?;
            Ok(resolved(AggregateFunction::Variance, arg, Type::Float.optional()))
        },
    },
];

fn resolve_collect(call: &AggregateCall<'_>) -> Resolution {
    if !call.args.is_empty() {
        let arg = any_value(call, "collect", 1)?;
        let result = list_of(&arg);
        return Ok(resolved(AggregateFunction::Collect, arg, result));
    }
    let args = call.row.iter().map(|f| f.data_type.clone()).collect();
    let record = Type::Record(Arc::from(call.row)).required();
    let result = Type::List(Box::new(record)).required();
    Ok(ResolvedAggregate { function: AggregateFunction::CollectRows, args, result })
}

fn resolve_string_join(call: &AggregateCall<'_>) -> Resolution {
    let arg = any_value(call, "string_join", 2)?;
    if arg.ty != Type::Str {
        return Err(wrong_type("string_join", "a str", &arg));
    }
    let Some(Value::Str(sep)) = &call.constants[1] else {
        return Err("the separator of `string_join` must be a constant str".into());
    };
    Ok(resolved(AggregateFunction::StringJoin { sep: sep.clone() }, arg.clone(), arg))
}

fn resolve_sum(call: &AggregateCall<'_>) -> Resolution {
    let arg = measure(call, "sum", 1)?;
    if arg.ty == Type::Timestamp {
        return Err(wrong_type("sum", "a number or duration", &arg));
    }
    // Only a float always holds its sum.
    let nullable = arg.nullable || arg.ty != Type::Float;
    Ok(resolved(AggregateFunction::Sum, arg.clone(), arg.with_nullable(nullable)))
}

fn resolved(function: AggregateFunction, arg: DataType, result: DataType) -> ResolvedAggregate {
    ResolvedAggregate { function, args: vec![arg], result }
}

/// The first of exactly `count` arguments.
fn any_value(call: &AggregateCall<'_>, name: &str, count: usize) -> Result<DataType, String> {
    if call.args.len() != count {
        let plural = if count == 1 { "" } else { "s" };
        return Err(format!("`{name}` takes {count} argument{plural}, not {}", call.args.len()));
    }
    let arg = &call.args[0];
    if arg.ty == Type::Null {
        return Err(format!("the argument of `{name}` is always null"));
    }
    Ok(arg.clone())
}

fn wrong_type(name: &str, expected: &str, found: &DataType) -> String {
    format!("`{name}` needs {expected}, not `{found}`")
}

fn number(call: &AggregateCall<'_>, name: &str, count: usize) -> Result<DataType, String> {
    let arg = any_value(call, name, count)?;
    if arg.ty.is_numeric() { Ok(arg) } else { Err(wrong_type(name, "a number", &arg)) }
}

/// A number or a time.
fn measure(call: &AggregateCall<'_>, name: &str, count: usize) -> Result<DataType, String> {
    let arg = any_value(call, name, count)?;
    match &arg.ty {
        Type::Int | Type::Float | Type::Duration | Type::Timestamp => Ok(arg),
        Type::Null | Type::Bool | Type::Str | Type::List(_) | Type::Map(_) | Type::Record(_) => {
            Err(wrong_type(name, "a number, duration or timestamp", &arg))
        }
    }
}

/// The type of a value between values: times stay times, numbers become floats.
fn continuous(arg: &DataType) -> DataType {
    let ty = if arg.ty.is_numeric() { Type::Float } else { arg.ty.clone() };
    DataType { ty, nullable: arg.nullable }
}

fn same(call: &AggregateCall<'_>, name: &str, function: AggregateFunction) -> Resolution {
    let arg = any_value(call, name, 1)?;
    Ok(resolved(function, arg.clone(), arg))
}

fn ordered(call: &AggregateCall<'_>, name: &str, function: AggregateFunction) -> Resolution {
    let arg = any_value(call, name, 1)?;
    if !arg.ty.is_ordered() {
        return Err(wrong_type(name, "values that have an order", &arg));
    }
    Ok(resolved(function, arg.clone(), arg))
}

fn booleans(call: &AggregateCall<'_>, name: &str, function: AggregateFunction) -> Resolution {
    let arg = any_value(call, name, 1)?;
    if arg.ty != Type::Bool {
        return Err(wrong_type(name, "a bool", &arg));
    }
    Ok(resolved(function, arg.clone(), arg))
}

/// Nulls are skipped, so that the items of a list are never null.
fn list_of(arg: &DataType) -> DataType {
    Type::List(Box::new(arg.clone().with_nullable(false))).required()
}

/// The second argument: a constant int of at least 1.
fn positive(call: &AggregateCall<'_>, name: &str, parameter: &str) -> Result<u32, String> {
    let n = match &call.constants[1] {
        Some(Value::Int(n)) => u32::try_from(*n).ok().filter(|&n| n > 0),
        Some(_) | None => None,
    };
    n.ok_or_else(|| format!("`{parameter}` of `{name}` must be a constant int between 1 and {}", u32::MAX))
}

/// The second argument of `percentile`.
fn fraction(call: &AggregateCall<'_>) -> Result<f64, String> {
    let p = match &call.constants[1] {
        Some(Value::Float(p)) => *p,
        Some(Value::Int(p)) => *p as f64,
        Some(_) | None => return Err("`p` of `percentile` must be a constant number between 0 and 1".into()),
    };
    if (0.0..=1.0).contains(&p) {
        Ok(p)
    } else if (1.0..=100.0).contains(&p) {
        Err(format!("`p` of `percentile` must be between 0 and 1: the {p}th percentile is {}", p / 100.0))
    } else {
        Err("`p` of `percentile` must be between 0 and 1".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(name: &str, args: &[DataType], constants: &[Option<Value>]) -> Resolution {
        let row = [Field::new("zone", Type::Str.optional()), Field::new("value", Type::Float.required())];
        let entry = aggregate(name).expect("a name of the table");
        (entry.resolve)(&AggregateCall { args, constants, row: &row })
    }

    fn result(name: &str, arg: Type) -> Result<String, String> {
        resolve(name, &[arg.required()], &[None]).map(|r| r.result.to_string())
    }

    #[test]
    fn names_are_sorted_and_signatures_begin_with_them() {
        assert!(TABLE.windows(2).all(|w| w[0].name < w[1].name));
        assert!(TABLE.iter().all(|a| a.signature.starts_with(&format!("{}(", a.name))));
    }

    #[test]
    fn results_follow_arguments() {
        assert_eq!(result("sum", Type::Int).unwrap(), "int?");
        assert_eq!(result("sum", Type::Float).unwrap(), "float");
        assert_eq!(result("avg", Type::Int).unwrap(), "float");
        assert_eq!(result("avg", Type::Duration).unwrap(), "duration");
        assert_eq!(result("stddev", Type::Int).unwrap(), "float?");
        assert_eq!(result("collect", Type::Str).unwrap(), "[str]");
        assert_eq!(resolve("collect", &[], &[]).unwrap().result.to_string(), "[{zone: str?, value: float}]");
        assert_eq!(resolve("count", &[], &[]).unwrap().function, AggregateFunction::CountRows);
    }

    #[test]
    fn constants_are_checked() {
        let p = |v: Value| resolve("percentile", &[Type::Int.required(), Type::Float.required()], &[None, Some(v)]);
        assert_eq!(p(Value::Float(0.95)).unwrap().function, AggregateFunction::Percentile { p: 0.95 });
        let error = p(Value::Int(95)).unwrap_err();
        assert_eq!(error, "`p` of `percentile` must be between 0 and 1: the 95th percentile is 0.95");
        assert!(p(Value::Float(f64::NAN)).is_err());
        let k = |v| resolve("top_k", &[Type::Str.required(), Type::Int.required()], &[None, v]);
        assert_eq!(k(Some(Value::Int(3))).unwrap().function, AggregateFunction::TopK { k: 3 });
        assert!(k(Some(Value::Int(0))).is_err());
        assert!(k(None).is_err());
    }

    #[test]
    fn arguments_are_checked() {
        assert_eq!(result("sum", Type::Str).unwrap_err(), "`sum` needs a number, duration or timestamp, not `str`");
        assert_eq!(resolve("min", &[], &[]).unwrap_err(), "`min` takes 1 argument, not 0");
        assert_eq!(result("max", Type::Null).unwrap_err(), "the argument of `max` is always null");
        assert!(result("variance", Type::Duration).is_err());
        assert!(result("min", Type::List(Box::new(Type::Int.required()))).is_err());
    }
}
