//! The parts that several stages print alike.

use crate::connector::sink::{Destination, Guarantee};
use crate::connector::spec::{
    Commit, FileFormat, Input, OnError, OutputFormat, TimeUnit, Watermark, WatermarkStrategy,
};
use crate::data::Schema;
use crate::data::time::format_duration;
use crate::expr::Expr;
use crate::expr::aggregate::AggregateFunction;
use crate::plan::explain::expr::expr;
use crate::sema::hir::{LogLevel, SortKey, Target, Windows};

/// `a: int, b: str?`
pub fn columns(schema: &Schema) -> String {
    schema.fields.iter().map(|f| format!("{}: {}", f.name, f.data_type)).collect::<Vec<_>>().join(", ")
}

pub fn exprs(list: &[Expr], schema: &Schema) -> String {
    list.iter().map(|e| expr(e, schema)).collect::<Vec<_>>().join(", ")
}

/// `a, b: x + 1`: the expressions with the names that they get.
pub fn named(list: &[Expr], input: &Schema, output: &Schema) -> String {
    let one = |(e, name): (&Expr, &str)| {
        let text = expr(e, input);
        if text == name { text } else { format!("{name}: {text}") }
    };
    let names = output.fields.iter().map(|f| f.name.as_str()).chain(std::iter::repeat("?"));
    list.iter().zip(names).map(one).collect::<Vec<_>>().join(", ")
}

pub fn windows(windows: &Windows, schema: &Schema) -> String {
    let name = |i: usize| schema.fields.get(i).map_or("?", |f| f.name.as_str());
    match windows {
        Windows::Time { size_ns, slide_ns, offset_ns, tz } => {
            let mut out = if slide_ns == size_ns {
                format!("tumbling {}", format_duration(*size_ns))
            } else {
                format!("sliding {} every {}", format_duration(*size_ns), format_duration(*slide_ns))
            };
            if *offset_ns != 0 {
                out += &format!(" offset {}", format_duration(*offset_ns));
            }
            if let Some(tz) = tz {
                out += &format!(" in {tz}");
            }
            out
        }
        Windows::Session { gap_ns } => format!("session gap {}", format_duration(*gap_ns)),
        Windows::Count { size, slide, partial } => {
            let partial = if *partial { ", partial" } else { "" };
            if slide == size { format!("{size} rows{partial}") } else { format!("{size} rows every {slide}{partial}") }
        }
        Windows::Upstream { start, end } => format!("upstream ({}, {})", name(*start), name(*end)),
    }
}

/// `avg(value)`, `percentile(value, 0.95)`; the arguments as text.
pub fn aggregate(function: &AggregateFunction, args: &[String]) -> String {
    let joined = args.join(", ");
    match function {
        AggregateFunction::CountRows => "count()".to_string(),
        AggregateFunction::Count => format!("count({joined})"),
        AggregateFunction::CountIf => format!("count_if({joined})"),
        AggregateFunction::Sum => format!("sum({joined})"),
        AggregateFunction::Avg => format!("avg({joined})"),
        AggregateFunction::Min => format!("min({joined})"),
        AggregateFunction::Max => format!("max({joined})"),
        AggregateFunction::First => format!("first({joined})"),
        AggregateFunction::Last => format!("last({joined})"),
        AggregateFunction::Stddev => format!("stddev({joined})"),
        AggregateFunction::Variance => format!("variance({joined})"),
        AggregateFunction::Median => format!("median({joined})"),
        AggregateFunction::Percentile { p } => format!("percentile({joined}, {p})"),
        AggregateFunction::CountDistinct => format!("count_distinct({joined})"),
        AggregateFunction::ApproxCountDistinct => format!("approx_count_distinct({joined})"),
        AggregateFunction::Collect => format!("collect({joined})"),
        AggregateFunction::CollectRows => format!("collect({{{joined}}})"),
        AggregateFunction::CollectDistinct => format!("collect_distinct({joined})"),
        AggregateFunction::Ema { n } => format!("ema({joined}, {n})"),
        AggregateFunction::Mode => format!("mode({joined})"),
        AggregateFunction::TopK { k } => format!("top_k({joined}, {k})"),
        AggregateFunction::Any => format!("any({joined})"),
        AggregateFunction::All => format!("all({joined})"),
        AggregateFunction::StringJoin { sep } => format!("string_join({joined}, {sep:?})"),
    }
}

/// `table`, and which rows delete.
pub fn table(delete: Option<&Expr>, schema: &Schema) -> String {
    let delete = delete.map_or(String::new(), |e| format!(", deleted when {}", expr(e, schema)));
    format!("table{delete}")
}

pub fn changes(as_diff: bool) -> &'static str {
    if as_diff { "changes as differences" } else { "changes" }
}

/// `a, b desc`
pub fn order(order: &[SortKey], schema: &Schema) -> String {
    let key = |k: &SortKey| format!("{}{}", expr(&k.expr, schema), if k.descending { " desc" } else { "" });
    order.iter().map(key).collect::<Vec<_>>().join(", ")
}

/// What a list of a window's rows does to them: `distinct …, order …, limit …`.
pub fn rows(order: &[SortKey], limit: Option<u64>, distinct: Option<&[Expr]>, schema: &Schema) -> String {
    let mut parts = Vec::new();
    if let Some(by) = distinct {
        parts.push(format!("distinct {}", exprs(by, schema)));
    }
    if !order.is_empty() {
        parts.push(format!("order by {}", self::order(order, schema)));
    }
    if let Some(n) = limit {
        parts.push(format!("limit {n}"));
    }
    parts.join(", ")
}

pub fn watermark(watermark: &Watermark) -> String {
    let strategy = match watermark.strategy {
        WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns } => {
            format!("out of order {}", format_duration(out_of_order_ns))
        }
        WatermarkStrategy::AtEnd => "at the end".to_string(),
        WatermarkStrategy::ProcessingTime => "processing time".to_string(),
    };
    match watermark.max_ahead_ns {
        Some(ns) => {
            format!("{strategy}, idle {}, at most {} ahead", format_duration(watermark.idle_ns), format_duration(ns))
        }
        None => strategy,
    }
}

pub fn input(input: &Input) -> String {
    match input {
        Input::Files { paths, format, time_unit, .. } => {
            let files = match paths.as_slice() {
                [one] => one.clone(),
                many => format!("{} files", many.len()),
            };
            format!("{files} ({}{})", file_format(*format), unit(*time_unit))
        }
        Input::Stdin { format, time_unit } => format!("stdin ({}{})", file_format(*format), unit(*time_unit)),
        Input::Follow { path, format, time_unit } => {
            format!("{path} ({}{}), followed", file_format(*format), unit(*time_unit))
        }
        Input::Generator { kind, rate_per_s, limit, seed } => {
            let rate = rate_per_s.map_or(String::new(), |r| format!(", {r}/s"));
            let limit = limit.map_or(String::new(), |n| format!(", {n} rows"));
            format!("generator {kind:?}{rate}{limit}, seed {seed}").to_lowercase()
        }
    }
}

fn file_format(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Jsonl => "jsonl",
        FileFormat::Csv { .. } => "csv",
        FileFormat::Evt => "evt",
        FileFormat::Parquet => "parquet",
        FileFormat::Arrow => "arrow",
    }
}

fn unit(unit: Option<TimeUnit>) -> &'static str {
    match unit {
        None => "",
        Some(TimeUnit::Seconds) => ", times in s",
        Some(TimeUnit::Milliseconds) => ", times in ms",
        Some(TimeUnit::Microseconds) => ", times in us",
        Some(TimeUnit::Nanoseconds) => ", times in ns",
    }
}

pub fn on_error(on_error: OnError) -> &'static str {
    match on_error {
        OnError::Skip => "skip",
        OnError::DeadLetter => "dead letter",
        OnError::Fail => "fail",
    }
}

pub fn target(target: &Target) -> String {
    match target {
        Target::Default => "default".to_string(),
        Target::Stdout { format } => format!("stdout ({})", output_format(*format)),
        Target::File { path, format, .. } => format!("{path} ({})", output_format(*format)),
    }
}

/// What a target promises where state is saved.
pub fn guarantee(target: &Target) -> String {
    let of = |destination: &Destination, format, commit| Guarantee::of(destination, format, commit).to_string();
    match target {
        Target::Default => format!(
            "{} on standard output, {} in a file",
            of(&Destination::Stdout, OutputFormat::Jsonl, Commit::AtOnce),
            of(&Destination::File(String::new()), OutputFormat::Jsonl, Commit::AtOnce)
        ),
        Target::Stdout { format } => of(&Destination::Stdout, *format, Commit::AtOnce),
        Target::File { path, format, commit } => of(&Destination::of(path), *format, *commit),
    }
}

fn output_format(format: OutputFormat) -> &'static str {
    match format {
        OutputFormat::Jsonl => "jsonl",
        OutputFormat::Csv => "csv",
        OutputFormat::Table => "table",
        OutputFormat::Parquet => "parquet",
        OutputFormat::Arrow => "arrow",
    }
}

pub fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}
