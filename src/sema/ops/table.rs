//! The operators of tables: `.key` and `.delete`, which make one, `.changes` and `.snapshot`, which read one.

use crate::data::{Field, Schema, Type};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::expr::Expr;
use crate::sema::arguments::Takes;
use crate::sema::hir::{Keyed, KeyedKind, Op, OpKind, Relation};
use crate::sema::ops::{Chain, plain_name};
use crate::sema::row::{DIFF, OP, key_column};
use crate::syntax::ast::{self, StreamOp};

/// What a table's declaration has said so far.
#[derive(Default)]
pub struct TableParts {
    key: Option<TableKey>,
    delete: Option<Expr>,
}

struct TableKey {
    span: Span,
    names: Vec<String>,
    exprs: Vec<Expr>,
}

/// What may stand in a table beside `.key` and `.delete`; the second part only before `.key`.
const IN_TABLES: [&str; 10] =
    ["allowed_lateness", "key", "delete", "where", "filter", "select", "extend", "watermark", "print", "log"];
const AFTER_KEY: usize = 3;

impl<'a> Chain<'a, '_, '_> {
    /// Whether an operator of a table's declaration stands where it may.
    pub(super) fn fits_table(&mut self, op: &StreamOp) -> bool {
        let Some(table) = &self.table else { return true };
        let name = op.name.text.as_str();
        let place = IN_TABLES.iter().position(|n| *n == name);
        match (place, &table.key) {
            (None, _) => {
                if !self.is_operator(name) {
                    return true;
                }
                let message = format!("`.{name}` is an operator of streams, and stands in a table");
                let this = &self.name.text;
                let hint = format!("a stream that begins with `{this}.changes()` may have it");
                self.error_with_hint(codes::NOT_IN_TABLE, op.name.span, message, hint);
                false
            }
            (Some(place), Some(key)) if place >= AFTER_KEY => {
                let message = format!("`.{name}` stands behind `.key`, which ends what a table's rows are made of");
                let found = Diagnostic::error(codes::NOT_IN_TABLE, op.name.span, message);
                self.findings.push(found.with_label(key.span, "`.key` is here").with_hint("put it before `.key`"));
                false
            }
            (Some(_), _) => true,
        }
    }

    /// An operator that only tables have.
    fn only_in_table(&mut self, op: &StreamOp) -> Option<()> {
        if self.table.is_some() {
            return Some(());
        }
        let name = &op.name.text;
        let message = format!("`.{name}` is an operator of tables, and stands in a stream");
        let hint = if name == "key" {
            "`table` declares a table; `.partition_by` gives a stream its key"
        } else {
            "`.where` keeps rows out"
        };
        self.error_with_hint(codes::NOT_OF_STREAM, op.name.span, message, hint);
        None
    }

    /// `.key(a, b)`: of each key the latest row is in the table.
    pub(super) fn key(&mut self, op: &'a StreamOp) -> Option<()> {
        self.only_in_table(op)?;
        let args = self.arguments(op, &Takes { positional: (1, usize::MAX), named: &[] })?;
        // What a key is made of are the columns that the table's rows have.
        self.drop_hidden();
        let exprs: Vec<Option<Expr>> = args.positional.iter().map(|a| self.typed(&a.value)).collect();
        let exprs: Vec<Expr> = exprs.into_iter().collect::<Option<_>>()?;
        let name = |(i, a): (usize, &&ast::Arg)| plain_name(&a.value).unwrap_or_else(|| format!("key{i}"));
        let names = args.positional.iter().enumerate().map(name).collect();
        let key = TableKey { span: op.span, names, exprs };
        let table = self.table.as_mut()?;
        if let Some(first) = table.key.replace(key) {
            let found = Diagnostic::error(codes::GIVEN_TWICE, op.span, "a table has one `.key`");
            self.findings.push(found.with_label(first.span, "the first one is here"));
            return None;
        }
        Some(())
    }

    /// `.delete(when: e)`: a row for which it is true takes the key's row out of the table.
    pub(super) fn delete(&mut self, op: &'a StreamOp) -> Option<()> {
        self.only_in_table(op)?;
        let args = self.arguments(op, &Takes { positional: (0, 0), named: &["when"] })?;
        let Some(when) = args.get("when") else {
            self.error(codes::MISSING_OPTION, op.span, "`.delete` needs `when:`");
            return None;
        };
        let condition = self.condition(when, "the condition of `.delete`")?;
        let table = self.table.as_mut()?;
        if table.key.is_none() {
            self.error_with_hint(
                codes::NO_TABLE_KEY,
                op.span,
                "`.delete` stands before `.key`",
                "put it behind `.key`",
            );
            return None;
        }
        if table.delete.replace(condition).is_some() {
            self.error(codes::GIVEN_TWICE, op.span, "a table has one `.delete`");
            return None;
        }
        Some(())
    }

    /// Ends a table's declaration: the operator that keeps its rows. Gives what makes the stream a table.
    pub fn finish_table(&mut self) -> Option<Relation> {
        let TableParts { key, delete } = self.table.take()?;
        let Some(TableKey { span, names, exprs }) = key else {
            let message = format!("the table `{}` has no key", self.name.text);
            self.error_with_hint(
                codes::NO_TABLE_KEY,
                self.name.span,
                message,
                "`.key(…)` says of what the latest row is kept",
            );
            return None;
        };
        let has_delete = delete.is_some();
        let delete = either(delete, self.all_null(&exprs));
        // No row comes too late for a table that says nothing of it.
        let lateness_ns = self.lateness.map(|(ns, _)| ns).or(self.defaults.lateness_ns).unwrap_or(i64::MAX);
        if has_delete && lateness_ns == i64::MAX && !self.stateful() {
            let message = format!(
                "`{}` remembers the keys of deleted rows for ever, since a row may come any time late",
                self.name.text
            );
            let found = Diagnostic::warning(codes::DELETIONS_KEPT, span, message);
            self.findings.push(
                found.with_hint("`.allowed_lateness(1d)` forgets them after a day, and drops rows that are later"),
            );
        }
        let mut fields = self.row.schema.fields.clone();
        fields.push(Field::new(DIFF, Type::Int.required()));
        fields.extend(exprs.iter().enumerate().map(|(i, e)| Field::new(key_column(i), e.data_type())));
        let schema = Schema::new(fields);
        self.row.schema = schema.clone();
        let keyed = Keyed { key: exprs, kind: KeyedKind::Table { delete, lateness_ns } };
        self.ops.push(Op { label: "table".to_string(), span, kind: OpKind::Keyed(keyed), schema });
        Some(Relation { key_names: names, is_derived: false })
    }

    /// That every field is null but the key and the time; nothing where that cannot be.
    fn all_null(&self, key: &[Expr]) -> Option<Expr> {
        let times = self.event_times();
        let is_key = |i: usize| key.iter().any(|e| matches!(e, Expr::Column { index, .. } if *index == i));
        let payload: Vec<usize> = (0..self.row.schema.len()).filter(|i| !is_key(*i) && !times.contains(i)).collect();
        let nullable = |i: &usize| self.row.schema.fields[*i].data_type.nullable;
        if payload.is_empty() || !payload.iter().all(nullable) {
            return None;
        }
        let mut all: Vec<Expr> = payload.iter().map(|i| Expr::IsNull(Box::new(self.row.column(*i)))).collect();
        Some(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
    }

    /// The columns of a table's changes at the beginning of a stream, or what is wrong.
    fn diff(&mut self, op: &StreamOp) -> Option<Expr> {
        let diff = self.row.named(DIFF).filter(|_| self.ops.is_empty() && self.table.is_none());
        if diff.is_none() {
            let message = format!("`.{}` follows the name of a table directly", op.name.text);
            let hint = format!("as in `stream {} = Table.{}()`", self.name.text, op.name.text);
            self.error_with_hint(codes::NOT_OF_STREAM, op.name.span, message, hint);
        }
        diff
    }

    /// `.changes()`: rows with `op`, or with `diff`.
    pub(super) fn changes(&mut self, op: &'a StreamOp) -> Option<()> {
        let diff = self.diff(op)?;
        let args = self.arguments(op, &Takes { positional: (0, 0), named: &["diff"] })?;
        let as_diff = match args.get("diff") {
            Some(e) => self.constants().boolean(e, "`diff`")?,
            None => false,
        };
        let name = if as_diff { "diff" } else { "op" };
        if self.row.field(name).is_some() {
            let message = format!("the table has a field `{name}`, and so have its changes");
            self.error_with_hint(
                codes::DUPLICATE_FIELD,
                op.span,
                message,
                "give the table's field another name by `.select`",
            );
            return None;
        }
        let mut fields = self.row.schema.fields.clone();
        fields.push(Field::new(OP, Type::Str.required()));
        let kind = KeyedKind::Changes { diff: diff.clone(), as_diff };
        self.keyed("changes", op.span, kind, Schema::new(fields));
        let mut fields = self.visible();
        let added = if as_diff { self.row.named(DIFF)? } else { self.row.named(OP)? };
        fields.push((name.to_string(), added));
        self.leave_table("changes", op.span, fields);
        Some(())
    }

    /// `.snapshot()`: the rows when the input has ended.
    pub(super) fn snapshot(&mut self, op: &'a StreamOp) -> Option<()> {
        let diff = self.diff(op)?;
        self.arguments(op, &Takes { positional: (0, 0), named: &[] })?;
        let kind = KeyedKind::Snapshot { diff, by: self.row.key() };
        let schema = self.row.schema.clone();
        // All rows on one worker, so that they may have one time, and the order of their keys.
        let keyed = Keyed { key: Vec::new(), kind };
        self.ops.push(Op { label: "snapshot".to_string(), span: op.span, kind: OpKind::Keyed(keyed), schema });
        let fields = self.visible();
        self.leave_table("snapshot", op.span, fields);
        Some(())
    }

    /// From here on rows are events, and have no key.
    fn leave_table(&mut self, label: &str, span: Span, fields: Vec<(String, Expr)>) {
        self.project(label, span, fields, Vec::new());
        self.row.key_names.clear();
        self.row.key_fields.clear();
    }
}

fn either(a: Option<Expr>, b: Option<Expr>) -> Option<Expr> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Expr::Or(vec![a, b])),
        (a, b) => a.or(b),
    }
}
