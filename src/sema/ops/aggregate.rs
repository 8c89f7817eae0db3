//! `.aggregate(…)`: in a window, over the rows of one window upstream, or running.

use crate::data::{Field, Schema, Type};
use crate::diagnostic::codes;
use crate::expr::Expr;
use crate::expr::aggregate::aggregate;
use crate::sema::hir::{AggregateCall, KeyedKind, Windows};
use crate::sema::ops::Chain;
use crate::sema::ops::stateless::plain_name;
use crate::sema::row::{WINDOW_END, WINDOW_START, key_column};
use crate::sema::typer::{Group, Place, Typer};
use crate::syntax::ast::{Arg, Expr as AstExpr, ExprKind, StreamOp};

/// The fields of `.aggregate` over the operator's output, and the aggregates that they call.
type Aggregation = (Vec<(String, Expr)>, Vec<AggregateCall>);

impl<'a> Chain<'a, '_, '_> {
    pub(super) fn aggregate(&mut self, op: &'a StreamOp) -> Option<()> {
        if op.args.is_empty() {
            self.error_with_hint(
                codes::BAD_OPERATOR_ARGUMENTS,
                op.span,
                "`.aggregate` needs at least one aggregate",
                "as in `.aggregate(n: count())`",
            );
        }
        let windowed = self.pending.is_some() || self.row.has_window();
        let typed = self.group_fields(&op.args, windowed);
        let (label, windows) = self.use_window("aggregate");
        let (fields, aggregates) = typed?;
        let schema = self.output_schema(windows.is_some(), &aggregates);
        let kind = match windows {
            Some(windows) => KeyedKind::Aggregate { windows, aggregates },
            None => KeyedKind::Running { aggregates },
        };
        self.keyed(label, op.span, kind, schema);
        self.row.sort_descending.clear();
        self.row.key_fields = (0..self.row.key_names.len()).map(|part| field_of(&fields, part)).collect();
        let carried = self.row.key_names.len() + if windowed { 2 } else { 0 };
        let names = self.row.schema.fields[..carried].iter().map(|f| f.name.clone());
        let hidden = names.enumerate().map(|(i, name)| (name, self.row.column(i))).collect();
        let key_fields = self.row.key_fields.clone();
        self.project("aggregate", op.span, fields, hidden);
        self.row.key_fields = key_fields;
        self.aggregated = true;
        Some(())
    }

    /// The window that an operator works in, with the operator's label: the one that waits for it, or
    /// the one that the rows have from upstream.
    pub(super) fn use_window(&mut self, label: &str) -> (String, Option<Windows>) {
        if let Some(pending) = self.pending.take() {
            return (format!("{} {label}", pending.label), Some(pending.windows));
        }
        let bounds = (self.row.schema.index_of(WINDOW_START), self.row.schema.index_of(WINDOW_END));
        match bounds {
            (Some(start), Some(end)) => (format!("same window {label}"), Some(Windows::Upstream { start, end })),
            (_, _) => (label.to_string(), None),
        }
    }

    /// The fields over the operator's output, and the aggregates that they call.
    pub(in crate::sema) fn group_fields(&mut self, args: &[Arg], windowed: bool) -> Option<Aggregation> {
        let group = Group { row: &self.row, windowed, aggregates: Vec::new() };
        let mut typer = Typer::new(self.globals, Place::Group(group), self.findings);
        let typed: Vec<Option<Expr>> = args.iter().map(|a| typer.expr(&a.value)).collect();
        let aggregates = typer.into_aggregates();
        Some((self.named_fields(args, typed)?, aggregates))
    }

    /// The expressions of `args` under the names that the program gives them, or that theirs suggest.
    pub(in crate::sema) fn named_fields(
        &mut self,
        args: &[Arg],
        typed: Vec<Option<Expr>>,
    ) -> Option<Vec<(String, Expr)>> {
        let mut fields = Vec::with_capacity(args.len());
        let mut sound = true;
        for (arg, e) in args.iter().zip(typed) {
            let name = arg.name.as_ref().map(|n| n.text.clone()).or_else(|| default_name(&arg.value));
            let span = arg.name.as_ref().map_or(arg.value.span, |n| n.span);
            match (name, e) {
                (Some(name), Some(e)) if !self.duplicate(&fields, &name, span) => fields.push((name, e)),
                (None, Some(_)) => {
                    let message = "the expression needs a name to become a field";
                    self.error_with_hint(codes::UNNAMED_FIELD, span, message, "write `name: expression`");
                    sound = false;
                }
                (_, _) => sound = false,
            }
        }
        sound.then_some(fields)
    }

    /// The operator's own columns: the key, the window, the aggregates.
    fn output_schema(&self, windowed: bool, aggregates: &[AggregateCall]) -> Schema {
        let keys = self.row.key().into_iter().enumerate().map(|(i, e)| Field::new(key_column(i), e.data_type()));
        let mut fields: Vec<Field> = keys.collect();
        if windowed {
            fields.push(Field::new(WINDOW_START, Type::Timestamp.required()));
            fields.push(Field::new(WINDOW_END, Type::Timestamp.required()));
        }
        fields.extend(aggregates.iter().enumerate().map(|(i, a)| Field::new(format!("$agg{i}"), a.ty.clone())));
        Schema::new(fields)
    }
}

/// The field that is nothing but a part of the key.
pub fn field_of(fields: &[(String, Expr)], part: usize) -> Option<String> {
    let is_part = |e: &Expr| matches!(e, Expr::Column { index, .. } if *index == part);
    fields.iter().find(|(_, e)| is_part(e)).map(|(n, _)| n.clone())
}

/// `count()` → `count`, `avg(value)` → `avg_value`; a part of the key has its own name.
fn default_name(e: &AstExpr) -> Option<String> {
    match &e.kind {
        ExprKind::Call { function, args } if aggregate(&function.text).is_some() => {
            match args.first().map(|a| plain_name(&a.value)) {
                None => Some(function.text.clone()),
                Some(Some(field)) => Some(format!("{}_{field}", function.text)),
                Some(None) => Some(function.text.clone()),
            }
        }
        _ => plain_name(e),
    }
}
