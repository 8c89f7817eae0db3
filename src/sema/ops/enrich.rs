//! `.enrich`, which looks rows up in a table: what of the row, which fields, and what they are where there is no match.

use crate::data::{DataType, Field, Schema, Type, Value};
use crate::diagnostic::{Diagnostic, Span, codes, nearest};
use crate::expr::Expr;
use crate::sema::arguments::{Arguments, Takes};
use crate::sema::globals::folded;
use crate::sema::hir::{Enrich, Lookup, Op, OpKind};
use crate::sema::ops::Chain;
use crate::sema::row::is_hidden;
use crate::sema::table::TableRef;
use crate::sema::typer::{Place, Typer, coerce};
use crate::syntax::ast::{self, ExprKind, StreamOp};

impl<'a> Chain<'a, '_, '_> {
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
        if let (Some(fields), true, false) = (args.get("fields"), chosen.is_empty(), required) {
            let message = "`fields` names no field, so that nothing is looked up";
            let hint = "with `required: true` rows without a match would be dropped";
            self.error_with_hint(codes::BAD_OPERATOR_ARGUMENTS, fields.span, message, hint);
            return None;
        }
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
