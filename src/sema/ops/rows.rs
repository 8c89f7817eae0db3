//! Operators that keep, order or drop whole rows: `.distinct`, `.order_by`, `.limit`, `.top`.
//!
//! In a window they make a list of its rows per key; consecutive ones become one operator where that
//! means the same. Sort keys travel as hidden columns, so that a `.limit` further down still takes the
//! first rows in the order that was asked for.

use crate::data::{Field, Schema, Type};
use crate::diagnostic::{Diagnostic, codes};
use crate::expr::Expr;
use crate::sema::arguments::Takes;
use crate::sema::hir::{KeyedKind, OpKind, SortKey, Windows};
use crate::sema::ops::Chain;
use crate::sema::row::{WINDOW_END, WINDOW_START, sort_column};
use crate::syntax::ast::{Arg, Direction, StreamOp};

impl<'a> Chain<'a, '_, '_> {
    pub(super) fn distinct(&mut self, op: &'a StreamOp) -> Option<()> {
        let args = self.arguments(op, &Takes { positional: (0, usize::MAX), named: &["within"] })?;
        let within_ns = match args.get("within") {
            Some(e) => Some(self.constants().duration(e, "`within`")?),
            None => None,
        };
        let by: Vec<Option<Expr>> = args.positional.iter().map(|a| self.typed(&a.value)).collect();
        let mut by: Vec<Expr> = by.into_iter().collect::<Option<_>>()?;
        if by.is_empty() {
            by = self.visible().into_iter().map(|(_, e)| e).collect();
        }
        if let (Some(pending), Some(e)) = (&self.pending, args.get("within")) {
            let found = Diagnostic::error(
                codes::BAD_OPERATOR_ARGUMENTS,
                e.span,
                "in a window `.distinct` lasts as long as the window",
            );
            self.findings.push(found.with_label(pending.span, "the window is here").with_hint("leave one of them out"));
            return None;
        }
        let in_window = self.pending.is_some() || (self.row.has_window() && within_ns.is_none());
        if !in_window {
            let schema = self.row.schema.clone();
            self.keyed("distinct", op.span, KeyedKind::Distinct { by, within_ns }, schema);
            return Some(());
        }
        self.warn_if_alone(op);
        if !self.join_last(|limit, distinct, columns| {
            let fits = limit.is_none() && distinct.is_none() && by.iter().all(|e| reads_below(e, columns));
            if fits {
                *distinct = Some(by.clone());
            }
            fits
        }) {
            self.rows("distinct", op, None, Some(by));
        }
        Some(())
    }

    pub(super) fn order_by(&mut self, op: &'a StreamOp) -> Option<()> {
        let args = self.arguments(op, &Takes { positional: (1, usize::MAX), named: &[] })?;
        self.needs_window(op)?;
        self.warn_if_alone(op);
        let mut keys = Vec::new();
        for arg in &args.positional {
            keys.push(self.sort_key(arg, Direction::Ascending));
        }
        let keys: Vec<SortKey> = keys.into_iter().collect::<Option<_>>()?;
        self.sort(op, keys);
        self.rows("order_by", op, None, None);
        Some(())
    }

    pub(super) fn top(&mut self, op: &'a StreamOp) -> Option<()> {
        self.needs_window(op)?;
        self.warn_if_alone(op);
        let (n, key) = self.first_by(op)?;
        self.sort(op, vec![key]);
        self.rows(&format!("top {n}"), op, Some(n), None);
        Some(())
    }

    /// What `.top(n, by: e)` says.
    pub(in crate::sema) fn first_by(&mut self, op: &'a StreamOp) -> Option<(u64, SortKey)> {
        let args = self.arguments(op, &Takes { positional: (1, 1), named: &["by"] })?;
        let n = self.constants().count(&args.positional[0].value, "the number of rows of `.top`")?;
        let Some(by) = op.args.iter().find(|a| a.name.as_ref().is_some_and(|n| n.text == "by")) else {
            self.error_with_hint(codes::MISSING_OPTION, op.span, "`.top` needs `by:`", "as in `.top(3, by: value)`");
            return None;
        };
        Some((n, self.sort_key(by, Direction::Descending)?))
    }

    pub(super) fn limit(&mut self, op: &'a StreamOp) -> Option<()> {
        let args = self.arguments(op, &Takes { positional: (1, 1), named: &[] })?;
        let n = self.constants().count(&args.positional[0].value, "the number of rows of `.limit`")?;
        if self.pending.is_none() && !self.row.has_window() {
            let schema = self.row.schema.clone();
            self.keyed(format!("limit {n}"), op.span, KeyedKind::Limit { n }, schema);
            return Some(());
        }
        self.warn_if_alone(op);
        let joined = self.join_last(|limit, _, _| {
            *limit = Some(limit.map_or(n, |before| before.min(n)));
            true
        });
        if !joined {
            self.rows(&format!("limit {n}"), op, Some(n), None);
        }
        Some(())
    }

    fn needs_window(&mut self, op: &StreamOp) -> Option<()> {
        if self.pending.is_some() || self.row.has_window() {
            return Some(());
        }
        let message =
            format!("`.{}` needs a window: without one it would wait for the last row for ever", op.name.text);
        self.error_with_hint(codes::WINDOW_NEEDED, op.span, message, "put `.window(…)` before it");
        None
    }

    /// Behind `.aggregate` each key and window has one row, which such an operator can only keep.
    fn warn_if_alone(&mut self, op: &StreamOp) {
        let mut alone = false;
        for op in &self.ops {
            match &op.kind {
                OpKind::Keyed(keyed) => {
                    alone = matches!(keyed.kind, KeyedKind::Aggregate { .. });
                }
                OpKind::Step(_) if op.label == "partition_by" => alone = false,
                OpKind::Step(_) | OpKind::Enrich(_) | OpKind::Relate(_) | OpKind::JoinTable { .. } => {}
            }
        }
        if alone && self.pending.is_none() && !self.row.key_names.is_empty() {
            let message = format!("each key has one row in a window, so `.{}` changes nothing", op.name.text);
            let found = Diagnostic::warning(codes::ONE_ROW_PER_GROUP, op.span, message);
            self.findings.push(found.with_hint("`.partition_by()` before it brings the window's rows together"));
        }
    }

    fn sort_key(&mut self, arg: &Arg, default: Direction) -> Option<SortKey> {
        let expr = self.typed(&arg.value)?;
        let ty = expr.data_type();
        if !ty.ty.is_ordered() {
            self.error(codes::NOT_ORDERED, arg.value.span, format!("values of type {ty} have no order"));
            return None;
        }
        let direction = arg.direction.map_or(default, |(d, _)| d);
        Some(SortKey { expr, descending: direction == Direction::Descending })
    }

    /// Puts sort keys into hidden columns, before those that the rows are sorted by already.
    fn sort(&mut self, op: &StreamOp, keys: Vec<SortKey>) {
        let old = (0..self.row.sort_descending.len()).filter_map(|i| self.row.named(&sort_column(i)));
        let all: Vec<Expr> = keys.iter().map(|k| k.expr.clone()).chain(old).collect();
        let descending = keys.iter().map(|k| k.descending).chain(self.row.sort_descending.iter().copied()).collect();
        let others = self.hidden().into_iter().filter(|(n, _)| !n.starts_with("$sort"));
        let hidden = others.chain(all.into_iter().enumerate().map(|(i, e)| (sort_column(i), e))).collect();
        let visible = self.visible();
        self.project(&op.name.text, op.span, visible, hidden);
        self.row.sort_descending = descending;
    }

    /// Lets the last operator do more, if it lists the rows of a window and `change` finds that it can.
    fn join_last(&mut self, change: impl FnOnce(&mut Option<u64>, &mut Option<Vec<Expr>>, usize) -> bool) -> bool {
        if self.pending.is_some() {
            return false;
        }
        let columns = self.row.schema.len();
        let Some(OpKind::Keyed(keyed)) = self.ops.last_mut().map(|op| &mut op.kind) else { return false };
        match &mut keyed.kind {
            KeyedKind::Rows { windows, limit, distinct, .. } => {
                let input = if matches!(windows, Windows::Upstream { .. }) { columns } else { columns - 2 };
                change(limit, distinct, input)
            }
            KeyedKind::Aggregate { .. }
            | KeyedKind::Running { .. }
            | KeyedKind::Distinct { .. }
            | KeyedKind::Limit { .. }
            | KeyedKind::Pattern(_)
            | KeyedKind::Table { .. }
            | KeyedKind::Changes { .. }
            | KeyedKind::Snapshot { .. } => false,
        }
    }

    /// A list of the window's rows, in the order that was last asked for.
    fn rows(&mut self, label: &str, op: &StreamOp, limit: Option<u64>, distinct: Option<Vec<Expr>>) {
        let (label, windows) = self.use_window(label);
        let Some(windows) = windows else { unreachable!("the callers have made sure of a window") };
        let keys = self.row.sort_descending.iter().enumerate();
        let order = keys
            .filter_map(|(i, &descending)| self.row.named(&sort_column(i)).map(|expr| SortKey { expr, descending }));
        let order = order.collect();
        let mut schema: Schema = self.row.schema.clone();
        if !matches!(windows, Windows::Upstream { .. }) {
            schema.fields.push(Field::new(WINDOW_START, Type::Timestamp.required()));
            schema.fields.push(Field::new(WINDOW_END, Type::Timestamp.required()));
        }
        self.keyed(label, op.span, KeyedKind::Rows { windows, order, limit, distinct }, schema);
    }
}

/// Whether the expression refers to none of the columns from `columns` on.
fn reads_below(e: &Expr, columns: usize) -> bool {
    let mut fits = !matches!(e, Expr::Column { index, .. } if *index >= columns);
    e.for_each_child(&mut |child| fits &= reads_below(child, columns));
    fits
}
