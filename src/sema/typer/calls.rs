//! Calls: of the program's functions, of the language's scalar functions, and of aggregates.

use crate::data::{DataType, Field, Value};
use crate::diagnostic::{Span, codes, nearest};
use crate::expr::aggregate::{
    AggregateCall, AggregateEntry, AggregateFunction, ResolvedAggregate, aggregate, aggregates,
};
use crate::expr::{Expr, FunctionRef};
use crate::sema::fold::fold;
use crate::sema::hir;
use crate::sema::row::Row;
use crate::sema::typer::{Place, Typer, coerce};
use crate::syntax::ast::{self, Arg, Name};

/// Functions that other languages have and that would make a replay differ from the live run.
const CLOCKS: [&str; 6] = ["now", "today", "current_time", "current_timestamp", "random", "uuid"];

impl Typer<'_, '_> {
    pub(super) fn call(&mut self, function: &Name, args: &[Arg], span: Span) -> Option<Expr> {
        let name = function.text.as_str();
        for arg in args {
            if let Some(named) = &arg.name {
                self.report(codes::BAD_ARGUMENTS, named.span, format!("arguments of `{name}` have no names"));
                return None;
            }
        }
        if self.globals.functions.contains_key(name) {
            return self.inline(function, args, span);
        }
        if name == "coalesce" && !args.is_empty() {
            let args: Vec<&ast::Expr> = args.iter().map(|a| &a.value).collect();
            return self.coalesce(&args);
        }
        if let Some(found) = self.capture_call(function, args, span) {
            return found;
        }
        let in_group = matches!(self.place, Place::Group(_)) && self.inlining.is_empty();
        let in_pattern = self.captures().is_some();
        let scalar = FunctionRef::by_name(name);
        match (aggregate(name), scalar) {
            // What is both, such as `max`, is the scalar function where it has several arguments.
            (Some(_), Some(scalar)) if args.len() > 1 => self.scalar(scalar, args, span),
            (Some(entry), _) if in_group => self.aggregate(entry, args, span),
            (Some(_), Some(scalar)) if self.is_of_single_values(|typer| typer.takes(scalar, args)) => {
                self.scalar(scalar, args, span)
            }
            (Some(entry), _) if in_pattern => self.capture_aggregate(entry, args, span),
            (Some(_), Some(scalar)) if self.takes(scalar, args) => self.scalar(scalar, args, span),
            (Some(_), _) => {
                self.misplaced_aggregate(name, span);
                None
            }
            (None, Some(scalar)) => self.scalar(scalar, args, span),
            (None, None) => {
                self.unknown_function(function);
                None
            }
        }
    }

    /// Whether the scalar function has a signature for these arguments.
    fn takes(&mut self, function: FunctionRef, args: &[Arg]) -> bool {
        let reported = self.findings.len();
        let typed = self.typed_args(args);
        self.findings.truncate(reported);
        let types: Option<Vec<_>> = typed.map(|t| t.iter().map(Expr::data_type).collect());
        types.is_some_and(|types| (function.0.resolve)(&types).is_ok())
    }

    fn misplaced_aggregate(&mut self, name: &str, span: Span) {
        if self.in_aggregate {
            self.report(codes::NESTED_AGGREGATE, span, format!("the aggregate `{name}` stands inside another"));
            return;
        }
        self.report_with_hint(
            codes::MISPLACED_AGGREGATE,
            span,
            format!("the aggregate `{name}` stands outside `.aggregate`"),
            format!("name it in `.aggregate(x: {name}(…))` and use `x` here"),
        );
    }

    fn unknown_function(&mut self, function: &Name) {
        let name = function.text.as_str();
        if CLOCKS.contains(&name) {
            self.report_with_hint(
                codes::NOT_REPLAYABLE,
                function.span,
                format!("`{name}()` would make a replay differ from the live run"),
                "`event_time` is the time of the row",
            );
            return;
        }
        let own: Vec<String> = self.globals.functions.keys().cloned().collect();
        let mut known: Vec<&str> = crate::expr::function::functions().iter().map(|f| f.name).collect();
        known.extend(own.iter().map(String::as_str));
        known.extend(aggregates().iter().map(|a| a.name));
        let message = format!("there is no function `{name}`");
        match nearest(name, known) {
            Some(near) => {
                let hint = format!("did you mean `{near}`?");
                self.report_with_hint(codes::UNKNOWN_FUNCTION, function.span, message, hint);
            }
            None => self.report(codes::UNKNOWN_FUNCTION, function.span, message),
        }
    }

    fn typed_args(&mut self, args: &[Arg]) -> Option<Vec<Expr>> {
        let typed: Vec<Option<Expr>> = args.iter().map(|a| self.expr(&a.value)).collect();
        typed.into_iter().collect()
    }

    fn scalar(&mut self, function: FunctionRef, args: &[Arg], span: Span) -> Option<Expr> {
        let typed = self.typed_args(args)?;
        let types: Vec<_> = typed.iter().map(Expr::data_type).collect();
        match (function.0.resolve)(&types) {
            Ok(resolved) => {
                let args = typed.into_iter().zip(&resolved.args).map(|(e, ty)| coerce(e, &ty.ty)).collect();
                Some(Expr::Call { function, args, ty: resolved.result })
            }
            Err(reason) => {
                let hint = signature_hint(function.0.signature);
                self.report_with_hint(codes::BAD_ARGUMENTS, span, reason, hint);
                None
            }
        }
    }

    /// An aggregate over the rows of the group: its result is a column of the operator's output.
    fn aggregate(&mut self, entry: &AggregateEntry, args: &[Arg], span: Span) -> Option<Expr> {
        let Place::Group(group) = &mut self.place else { unreachable!("the caller has looked") };
        let row = group.row;
        let group = std::mem::replace(&mut self.place, Place::Row(row));
        self.in_aggregate = true;
        let call = self.aggregate_call(entry, row, args, span);
        self.in_aggregate = false;
        self.place = group;
        let call = call?;
        let Place::Group(group) = &mut self.place else { unreachable!("it was put back") };
        let ty = call.ty.clone();
        let position = group.aggregates.iter().position(|a| *a == call).unwrap_or_else(|| {
            group.aggregates.push(call);
            group.aggregates.len() - 1
        });
        Some(Expr::column(group.first() + position, ty))
    }

    fn aggregate_call(
        &mut self,
        entry: &AggregateEntry,
        row: &Row,
        args: &[Arg],
        span: Span,
    ) -> Option<hir::AggregateCall> {
        let typed = self.typed_args(args)?;
        let fields: Vec<(usize, Field)> = row.visible().map(|(i, f)| (i, f.clone())).collect();
        self.resolved_aggregate(entry, &fields, typed, span)
    }

    /// The aggregate of typed arguments over rows with these fields, which stand at these columns.
    pub(super) fn resolved_aggregate(
        &mut self,
        entry: &AggregateEntry,
        fields: &[(usize, Field)],
        typed: Vec<Expr>,
        span: Span,
    ) -> Option<hir::AggregateCall> {
        let types: Vec<DataType> = typed.iter().map(Expr::data_type).collect();
        let constants: Vec<Option<Value>> = typed.iter().map(constant).collect();
        let row: Vec<Field> = fields.iter().map(|(_, f)| f.clone()).collect();
        match (entry.resolve)(&AggregateCall { args: &types, constants: &constants, row: &row }) {
            Ok(ResolvedAggregate { function, args: widened, result }) => {
                let whole_rows = function == AggregateFunction::CollectRows;
                let column = |(i, f): &(usize, Field)| Expr::column(*i, f.data_type.clone());
                let args: Vec<Expr> = if whole_rows { fields.iter().map(column).collect() } else { typed };
                let args = args.into_iter().zip(&widened).map(|(e, t)| coerce(e, &t.ty)).collect();
                Some(hir::AggregateCall { function, args, ty: result })
            }
            Err(reason) => {
                let hint = signature_hint(entry.signature);
                self.report_with_hint(codes::BAD_ARGUMENTS, span, reason, hint);
                None
            }
        }
    }
}

/// A function may have several signatures, a line for each.
fn signature_hint(signature: &str) -> String {
    format!("its signature is {}", signature.lines().collect::<Vec<_>>().join(", "))
}

fn constant(e: &Expr) -> Option<Value> {
    match fold(e.clone()) {
        Ok(Expr::Literal { value, .. }) => Some(value),
        Ok(_) | Err(_) => None,
    }
}

/// Whether the aggregate keeps every value of its group, so that only a window bounds it.
pub fn keeps_all_values(function: &AggregateFunction) -> bool {
    use AggregateFunction::*;
    match function {
        Median | Percentile { .. } | CountDistinct | Collect | CollectRows | CollectDistinct => true,
        Mode | TopK { .. } | StringJoin { .. } => true,
        CountRows | Count | CountIf | Sum | Avg | Min | Max | First | Last => false,
        Stddev | Variance | ApproxCountDistinct | Ema { .. } | Any | All => false,
    }
}
