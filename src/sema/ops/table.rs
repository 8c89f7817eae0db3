//! The operators of tables: `.key` and `.delete`, which make one, `.changes` and `.snapshot`, which read one, and
//! `.enrich`, which looks up in one.

use std::collections::BTreeSet;

use crate::data::{DataType, Field, Schema, Type, Value};
use crate::diagnostic::{Diagnostic, Span, codes, nearest};
use crate::expr::Expr;
use crate::sema::arguments::{Arguments, Takes};
use crate::sema::globals::folded;
use crate::sema::hir::{Enrich, Keyed, KeyedKind, Lookup, Op, OpKind, Relation, Step};
use crate::sema::ops::{Chain, plain_name};
use crate::sema::row::{DIFF, OP, is_hidden, key_column};
use crate::sema::table::TableRef;
use crate::sema::typer::{Place, Typer, coerce};
use crate::syntax::ast::{self, ExprKind, StreamOp};

/// What a table's declaration has said so far.
pub struct TableParts {
    /// The field of the source's rows that is their event time.
    time: Option<usize>,
    key: Option<TableKey>,
    delete: Option<Expr>,
}

impl TableParts {
    pub fn of(time: Option<usize>) -> TableParts {
        TableParts { time, key: None, delete: None }
    }
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
        let TableParts { time, key, delete } = self.table.take()?;
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
        let delete = either(delete, self.all_null(time, &exprs));
        if has_delete && self.lateness.is_none() && !self.stateful() {
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
        let keyed = Keyed { key: exprs, kind: KeyedKind::Table { delete } };
        self.ops.push(Op { label: "table".to_string(), span, kind: OpKind::Keyed(keyed), schema });
        Some(Relation { key_names: names, is_derived: false })
    }

    /// That every field is null but the key and the time; nothing where that cannot be.
    fn all_null(&self, time: Option<usize>, key: &[Expr]) -> Option<Expr> {
        let mut times: BTreeSet<usize> = time.into_iter().collect();
        for op in &self.ops {
            if let OpKind::Step(Step::Project(exprs)) = &op.kind {
                let is_time = |e: &Expr| matches!(e, Expr::Column { index, .. } if times.contains(index));
                times = exprs.iter().enumerate().filter(|(_, e)| is_time(e)).map(|(i, _)| i).collect();
            }
        }
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

    /// `.enrich(T, on: k, fields: [a, b], default: …, required: true)`.
    pub(super) fn enrich(&mut self, op: &'a StreamOp) -> Option<()> {
        let known = ["on", "fields", "default", "required"];
        let args = self.arguments(op, &Takes { positional: (1, 1), named: &known })?;
        if let Some(pending) = &self.pending {
            let found = Diagnostic::error(codes::UNUSED_WINDOW, pending.span, "nothing uses this window");
            self.findings.push(found.with_label(op.span, "`.enrich` looks at one row at a time"));
            return None;
        }
        let at = self.table_named(&args.positional[0].value)?;
        let on = self.lookup_key(&args, at, op.span)?;
        let required = match args.get("required") {
            Some(e) => self.constants().boolean(e, "`required`")?,
            None => false,
        };
        let chosen = self.chosen(&args, at, op.span)?;
        if required && let Some(e) = args.get("default") {
            let message = "with `required: true` rows without a match are dropped, so that nothing needs a default";
            self.error_with_hint(codes::BAD_OPERATOR_ARGUMENTS, e.span, message, "leave one of them out");
            return None;
        }
        let defaults = self.defaults_of(&args, at, &chosen)?;
        let (table, from) = (self.tables[at].id, &self.tables[at].schema);
        let (mut fields, mut looked_up) = (self.row.schema.fields.clone(), Vec::new());
        for ((name, column), default) in chosen.into_iter().zip(defaults) {
            let ty = &from.fields[column].data_type;
            let nullable = ty.nullable || (!required && default.data_type().nullable);
            fields.push(Field::new(name, DataType { ty: ty.ty.clone(), nullable }));
            looked_up.push((column, default));
        }
        let schema = Schema::new(fields);
        self.row.schema = schema.clone();
        let lookup = Lookup { on, fields: looked_up, required };
        let label = format!("enrich {}", self.tables[at].name);
        self.ops.push(Op { label, span: op.span, kind: OpKind::Enrich(Enrich { table, lookup }), schema });
        Some(())
    }

    /// Which of the tables an expression names.
    fn table_named(&mut self, e: &ast::Expr) -> Option<usize> {
        let ExprKind::Name(name) = &e.kind else {
            self.error_with_hint(
                codes::NO_TABLE,
                e.span,
                "`.enrich` needs the name of a table",
                "as in `.enrich(T, on: k)`",
            );
            return None;
        };
        if let Some(at) = self.tables.iter().position(|t| t.name == *name) {
            return Some(at);
        }
        let decl = self.globals.streams.iter().find(|s| s.name.text == *name);
        if decl.is_some_and(|d| d.is_table) {
            // It is wrong, and reported.
            return None;
        }
        let tables = self.globals.streams.iter().filter(|s| s.is_table).map(|s| s.name.text.as_str());
        let found = Diagnostic::error(codes::NO_TABLE, e.span, format!("`{name}` is no table"));
        self.findings.push(match nearest(name, tables) {
            Some(near) => found.with_hint(format!("did you mean `{near}`?")),
            None => found.with_hint("`table T = E.key(k)` makes a table of the latest row per key"),
        });
        None
    }

    /// The values that are looked up, of the types of the table's key.
    fn lookup_key(&mut self, args: &Arguments<'a>, at: usize, span: Span) -> Option<Vec<Expr>> {
        let Some(on) = args.get("on") else {
            self.error_with_hint(codes::MISSING_OPTION, span, "`.enrich` needs `on:`", "the value that is looked up");
            return None;
        };
        let parts: Vec<&ast::Expr> = match &on.kind {
            ExprKind::List(parts) => parts.iter().collect(),
            _ => vec![on],
        };
        let TableRef { name, schema, relation, .. } = &self.tables[at];
        let (name, names) = (name.clone(), relation.key_names.clone());
        let types: Vec<DataType> =
            schema.fields.iter().filter(|f| f.name.starts_with("$key")).map(|f| f.data_type.clone()).collect();
        if parts.len() != types.len() {
            let message = format!(
                "the key of `{name}` is ({}), and `on:` has {} part{}",
                names.join(", "),
                parts.len(),
                if parts.len() == 1 { "" } else { "s" }
            );
            self.error(codes::KEY_MISMATCH, on.span, message);
            return None;
        }
        let mut exprs = Vec::with_capacity(parts.len());
        for ((part, ty), key) in parts.into_iter().zip(&types).zip(&names) {
            let typed = self.typed(part)?;
            let own = typed.data_type();
            if !own.unify(ty).is_some_and(|both| both.ty == ty.ty) {
                let message = format!("the key `{key}` of `{name}` is {}, and this is {}", ty.ty, own.ty);
                self.error_with_hint(
                    codes::KEY_MISMATCH,
                    part.span,
                    message,
                    format!("`cast(… as {})` would fit", ty.ty),
                );
                return None;
            }
            exprs.push(coerce(typed, &ty.ty));
        }
        Some(exprs)
    }

    /// The fields that are looked up: their names, and the table's columns.
    fn chosen(&mut self, args: &Arguments<'a>, at: usize, span: Span) -> Option<Vec<(String, usize)>> {
        let Some(list) = args.get("fields") else {
            let hint = "as in `fields: [name, tier]`";
            self.error_with_hint(codes::MISSING_OPTION, span, "`.enrich` needs `fields:`", hint);
            return None;
        };
        let items: Vec<(Option<&str>, &ast::Expr)> = match &list.kind {
            ExprKind::List(items) => items.iter().map(|e| (None, e)).collect(),
            ExprKind::Map(entries) => entries.iter().map(|(n, e)| (Some(n.as_str()), e)).collect(),
            _ => {
                let hint = "as in `fields: [name, tier]`, or `fields: {\"customer\": name}` under another name";
                self.error_with_hint(
                    codes::BAD_OPERATOR_ARGUMENTS,
                    list.span,
                    "`fields` is a list of the table's fields",
                    hint,
                );
                return None;
            }
        };
        let mut chosen = Vec::new();
        for (name, e) in items {
            let column = self.table_field(e, at)?;
            let name = name.map_or_else(|| self.tables[at].schema.fields[column].name.clone(), str::to_string);
            chosen.push(((name, column), e.span));
        }
        self.without_clash(chosen)
    }

    fn table_field(&mut self, e: &ast::Expr, at: usize) -> Option<usize> {
        let table = &self.tables[at];
        let ExprKind::Name(field) = &e.kind else {
            let message = format!("`fields` names fields of `{}`", table.name);
            self.error_with_hint(codes::BAD_OPERATOR_ARGUMENTS, e.span, message, "compute in an `.extend` behind it");
            return None;
        };
        if let Some(column) = table.schema.index_of(field).filter(|_| !is_hidden(field)) {
            return Some(column);
        }
        let found = Diagnostic::error(codes::UNKNOWN_NAME, e.span, format!("`{}` has no field `{field}`", table.name));
        let names = table.schema.fields.iter().map(|f| f.name.as_str()).filter(|n| !is_hidden(n));
        self.findings.push(match nearest(field, names) {
            Some(near) => found.with_hint(format!("did you mean `{near}`?")),
            None => found,
        });
        None
    }

    fn without_clash(&mut self, chosen: Vec<((String, usize), Span)>) -> Option<Vec<(String, usize)>> {
        let mut sound = true;
        let mut out: Vec<(String, usize)> = Vec::new();
        for ((name, column), span) in chosen {
            if is_hidden(&name) {
                self.error(codes::UNNAMED_FIELD, span, format!("`{name}` cannot be the name of a field"));
                sound = false;
            } else if self.row.field(&name).is_some() || out.iter().any(|(n, _)| *n == name) {
                let message = format!("two fields are named `{name}`");
                let hint = format!("`fields: {{\"other_name\": {name}}}` gives it another name");
                self.error_with_hint(codes::DUPLICATE_FIELD, span, message, hint);
                sound = false;
            }
            out.push((name, column));
        }
        sound.then_some(out)
    }

    /// For each chosen field what it is without a match: null, or as `default:` says.
    fn defaults_of(&mut self, args: &Arguments<'a>, at: usize, chosen: &[(String, usize)]) -> Option<Vec<Expr>> {
        let types: Vec<Type> =
            chosen.iter().map(|(_, c)| self.tables[at].schema.fields[*c].data_type.ty.clone()).collect();
        let mut defaults: Vec<Expr> = types.iter().map(|ty| Expr::literal(Value::Null, ty.clone())).collect();
        let Some(given) = args.get("default") else { return Some(defaults) };
        let ExprKind::Map(entries) = &given.kind else {
            let [(name, _)] = chosen else {
                let hint = "as in `default: {\"tier\": \"none\"}`";
                self.error_with_hint(
                    codes::BAD_OPERATOR_ARGUMENTS,
                    given.span,
                    "`default` names a value for each field",
                    hint,
                );
                return None;
            };
            defaults[0] = self.default_of(name, given, &types[0])?;
            return Some(defaults);
        };
        for (name, value) in entries {
            let Some(i) = chosen.iter().position(|(n, _)| n == name) else {
                let message = format!("`default` has a value for `{name}`, which `fields` does not name");
                self.error(codes::BAD_OPERATOR_ARGUMENTS, value.span, message);
                return None;
            };
            defaults[i] = self.default_of(name, value, &types[i])?;
        }
        Some(defaults)
    }

    fn default_of(&mut self, name: &str, e: &ast::Expr, ty: &Type) -> Option<Expr> {
        let mut typer = Typer::new(self.globals, Place::Constant, self.findings);
        let typed = typer.expr(e)?;
        let fitted = typer.fitted(typed, ty, e.span, codes::TYPE_MISMATCH, &format!("`{name}`"))?;
        folded(fitted, e, self.findings)
    }
}

fn either(a: Option<Expr>, b: Option<Expr>) -> Option<Expr> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Expr::Or(vec![a, b])),
        (a, b) => a.or(b),
    }
}
