//! Aggregates over the rows that a pattern's step has taken, and aggregates over matches.

use crate::data::{Field, Type};
use crate::diagnostic::{Span, codes};
use crate::expr::Expr;
use crate::expr::aggregate::{AggregateEntry, AggregateFunction};
use crate::pattern::{Call, MemoryValue, Output, Trend};
use crate::sema::typer::Typer;
use crate::sema::typer::captures::Asked;
use crate::syntax::ast::{Arg, Name};

impl Typer<'_, '_> {
    /// Calls that only patterns have; `None`: none of them.
    pub(super) fn capture_call(&mut self, function: &Name, args: &[Arg], span: Span) -> Option<Option<Expr>> {
        match function.text.as_str() {
            "prev" => Some(self.prev(args, span)),
            "count_trends" | "sum_trends" => Some(self.trend(&function.text, args, span)),
            _ => None,
        }
    }

    /// Whether a function of scalars is meant, which has the name of an aggregate: one over single values.
    pub(super) fn is_of_single_values(&mut self, takes: impl FnOnce(&mut Self) -> bool) -> bool {
        let Some(captures) = self.captures() else { return false };
        if captures.step().is_some_and(|step| captures.scope.steps[step].is_repeated()) {
            return false;
        }
        let asked = captures.asked_len();
        let fits = takes(self);
        if let Some(captures) = self.captures() {
            captures.truncate(asked);
        }
        fits
    }

    /// An aggregate over the rows of one step.
    pub(super) fn capture_aggregate(&mut self, entry: &AggregateEntry, args: &[Arg], span: Span) -> Option<Expr> {
        let name = entry.name;
        let captures = self.captures()?;
        if captures.over.is_some() {
            self.report(codes::NESTED_AGGREGATE, span, format!("the aggregate `{name}` stands inside another"));
            return None;
        }
        if matches!(captures.asked, Asked::Trends(_)) {
            let message = format!("`{name}` is of the rows of one match, and a trend is of many matches");
            let hint = "`count_trends()` and `sum_trends(a.field)` are the aggregates of trends";
            self.report_with_hint(codes::BAD_TREND, span, message, hint);
            return None;
        }
        let whole = args.first().and_then(|a| self.whole_rows(&a.value));
        let (step, typed) = match whole {
            Some(step) if matches!(name, "count" | "collect") && args.len() == 1 => {
                self.seen(step, args[0].value.span)?;
                self.not_alone(step, name, span)?;
                (step, Vec::new())
            }
            Some(_) | None => self.by_row(args, name, span)?,
        };
        let fields: Vec<(usize, Field)> = self.captures()?.scope.steps[step].fields();
        let call = self.resolved_aggregate(entry, &fields, typed, span)?;
        let captures = self.captures()?;
        let timeouts = matches!(captures.asked, Asked::Outputs { timeouts: true, .. });
        let may_lack = timeouts || captures.scope.may_lack(step, captures.step());
        let nullable = call.ty.nullable || may_lack && !counts_or_collects(&call.function);
        let call = Call { function: call.function, args: call.args, ty: call.ty.with_nullable(nullable) };
        match &captures.asked {
            Asked::Condition { .. } => self.remember(step, remembered(call), span),
            Asked::Outputs { .. } => Some(captures.output(Output::Aggregate { step, call })),
            Asked::Trends(_) => None,
        }
    }

    fn trend(&mut self, name: &str, args: &[Arg], span: Span) -> Option<Expr> {
        let in_trend = self.captures().is_some_and(|c| matches!(c.asked, Asked::Trends(_)) && c.over.is_none());
        if !in_trend {
            let message = format!("`{name}` stands outside `.trend_aggregate`");
            let hint = "as in `.trend_aggregate(n: count_trends(), total: sum_trends(b.amount))`";
            self.report_with_hint(codes::MISPLACED_AGGREGATE, span, message, hint);
            return None;
        }
        let wanted = if name == "count_trends" { 0 } else { 1 };
        if args.len() != wanted {
            let plural = if wanted == 1 { "" } else { "s" };
            let message = format!("`{name}` takes {wanted} argument{plural}, not {}", args.len());
            self.report(codes::BAD_ARGUMENTS, span, message);
            return None;
        }
        if wanted == 0 {
            return Some(self.captures()?.trend(Trend::Count));
        }
        let (step, mut typed) = self.by_row(args, name, span)?;
        let value = typed.remove(0);
        let ty = value.data_type();
        if !matches!(ty.ty, Type::Int | Type::Float) {
            self.report(codes::BAD_ARGUMENTS, span, format!("`{name}` adds up ints or floats, not {ty}"));
            return None;
        }
        Some(self.captures()?.trend(Trend::Sum { step, value }))
    }
}

/// Whether the aggregate of no rows is a value.
fn counts_or_collects(function: &AggregateFunction) -> bool {
    use AggregateFunction::*;
    match function {
        CountRows | Count | CountIf | CountDistinct | ApproxCountDistinct => true,
        Collect | CollectRows | CollectDistinct => true,
        Sum | Avg | Min | Max | First | Last | Stddev | Variance | Median | Percentile { .. } => false,
        Ema { .. } | Mode | TopK { .. } | Any | All | StringJoin { .. } => false,
    }
}

/// An aggregate as a run keeps it: the least that gives its value.
fn remembered(call: Call) -> MemoryValue {
    // `last` skips nulls, and a memory of the last row does not.
    let never_null = |e: &Expr| matches!(e, Expr::Column { ty, .. } if !ty.nullable);
    match (&call.function, call.args.as_slice()) {
        (AggregateFunction::CountRows, _) => MemoryValue::Count,
        (AggregateFunction::Last, [e]) if never_null(e) => MemoryValue::Last(e.clone()),
        (AggregateFunction::First, [e]) if never_null(e) => MemoryValue::First(e.clone()),
        (_, _) => MemoryValue::Aggregate(call),
    }
}
