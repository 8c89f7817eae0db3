//! Operators that look at one row at a time.

use crate::data::Type;
use crate::diagnostic::codes;
use crate::expr::Expr;
use crate::sema::arguments::{Arguments, Takes};
use crate::sema::hir::{LogLevel, Step};
use crate::sema::ops::Chain;
use crate::sema::row::{is_hidden, key_column};
use crate::sema::typer::coerce;
use crate::syntax::ast::{Arg, Expr as AstExpr, ExprKind, StreamOp};

impl<'a> Chain<'a, '_, '_> {
    pub(super) fn filter(&mut self, op: &'a StreamOp) -> Option<()> {
        let name = format!(".{}", op.name.text);
        let args = self.arguments(op, &Takes { positional: (1, 1), named: &[] })?;
        let condition = self.condition(&args.positional[0].value, &format!("the condition of `{name}`"))?;
        self.step("where", op.span, Step::Filter(condition));
        Some(())
    }

    pub(super) fn having(&mut self, op: &'a StreamOp) -> Option<()> {
        if !self.aggregated {
            self.error_with_hint(
                codes::MISPLACED_HAVING,
                op.name.span,
                "`.having` filters the results of `.aggregate`, and there is none before it",
                "`.where` filters rows",
            );
            return None;
        }
        let args = self.arguments(op, &Takes { positional: (1, 1), named: &[] })?;
        let condition = self.condition(&args.positional[0].value, "the condition of `.having`")?;
        self.step("having", op.span, Step::Filter(condition));
        Some(())
    }

    pub(super) fn select(&mut self, op: &'a StreamOp) -> Option<()> {
        if op.args.is_empty() {
            self.error(codes::BAD_OPERATOR_ARGUMENTS, op.span, "`.select` needs at least one field");
            return None;
        }
        let fields = self.fields(&op.args)?;
        let hidden = self.hidden();
        self.project("select", op.span, fields, hidden);
        Some(())
    }

    /// Replaced fields keep their place, new ones come last.
    pub(super) fn extend(&mut self, op: &'a StreamOp) -> Option<()> {
        let added = self.fields(&op.args)?;
        let mut fields = self.visible();
        for (name, e) in added {
            match fields.iter_mut().find(|(n, _)| *n == name) {
                Some(field) => field.1 = e,
                None => fields.push((name, e)),
            }
        }
        let hidden = self.hidden();
        self.project("extend", op.span, fields, hidden);
        Some(())
    }

    pub(super) fn partition_by(&mut self, op: &'a StreamOp) -> Option<()> {
        let mut names = Vec::new();
        let mut parts = Vec::new();
        let mut fields = Vec::new();
        let mut sound = true;
        for (i, arg) in op.args.iter().enumerate() {
            let plain = plain_name(&arg.value);
            let name = arg.name.as_ref().map(|n| n.text.clone()).or(plain.clone());
            names.push(name.unwrap_or_else(|| format!("key{i}")));
            match self.typed(&arg.value) {
                Some(e) => {
                    fields.push(self.column_of(&e).filter(|_| plain.is_some()));
                    parts.push((key_column(i), e));
                }
                None => sound = false,
            }
        }
        // A key that cannot be typed still ends the one before.
        if !sound {
            return None;
        }
        let had_key = !self.row.key_names.is_empty();
        self.row.key_names = names;
        self.row.key_fields = fields;
        if !parts.is_empty() || had_key {
            let visible = self.visible();
            let others = self.hidden().into_iter().filter(|(n, _)| !n.starts_with("$key"));
            let hidden = others.chain(parts).collect();
            self.project("partition_by", op.span, visible, hidden);
        }
        Some(())
    }

    /// `.print()`, `.print("prefix", a, b: e)`: the named fields, or all, as a record.
    pub(super) fn print(&mut self, op: &'a StreamOp) -> Option<()> {
        let (prefix, args) = match op.args.split_first() {
            Some((Arg { name: None, value, .. }, rest)) if matches!(value.kind, ExprKind::Str(_)) => {
                (self.constants().text(value, "the prefix of `.print`")?, rest)
            }
            Some(_) | None => (self.name.text.clone(), op.args.as_slice()),
        };
        let expr = match args {
            [] => self.row.as_record(),
            [Arg { name: None, value, .. }] if plain_name(value).is_none() => self.typed(value)?,
            args => {
                let (names, values): (Vec<String>, Vec<Expr>) = self.fields(args)?.into_iter().unzip();
                let members = names.into_iter().zip(&values);
                let members = members.map(|(n, e)| crate::data::Field::new(n, e.data_type())).collect();
                Expr::Record { fields: values, ty: Type::Record(members).required() }
            }
        };
        self.step("print", op.span, Step::Print { prefix, expr });
        Some(())
    }

    pub(super) fn log(&mut self, op: &'a StreamOp) -> Option<()> {
        let args = self.arguments(op, &Takes { positional: (0, 1), named: &["level", "message"] })?;
        let levels = [
            ("debug", LogLevel::Debug),
            ("info", LogLevel::Info),
            ("warn", LogLevel::Warn),
            ("warning", LogLevel::Warn),
            ("error", LogLevel::Error),
        ];
        let level = match args.get("level") {
            Some(e) => self.constants().word(e, "the level of `.log`", &levels)?,
            None => LogLevel::Info,
        };
        let written = args.get("message").or(args.positional.first().map(|a| &a.value));
        let Some(written) = written else {
            self.error(codes::MISSING_OPTION, op.span, "`.log` needs a message");
            return None;
        };
        let message = self.typed(written)?;
        let ty = message.data_type();
        let message = match ty.ty {
            Type::Str | Type::Null => coerce(message, &Type::Str),
            _ => Expr::Cast {
                arg: Box::new(message),
                ty: Type::Str.required().with_nullable(ty.nullable),
                on_failure: crate::expr::CastFailure::Count,
            },
        };
        self.step("log", op.span, Step::Log { level, message });
        Some(())
    }

    /// Named expressions; a plain field or a member needs no name of its own.
    pub(super) fn fields(&mut self, args: &[Arg]) -> Option<Vec<(String, Expr)>> {
        let mut fields = Vec::with_capacity(args.len());
        let mut sound = true;
        for arg in args {
            let typed = self.typed(&arg.value);
            let name = match &arg.name {
                Some(name) => Some(name.text.clone()),
                None => self.name_of(&arg.value),
            };
            let span = arg.name.as_ref().map_or(arg.value.span, |n| n.span);
            match (name, typed) {
                (Some(name), Some(e)) if !self.duplicate(&fields, &name, span) => fields.push((name, e)),
                (_, _) => sound = false,
            }
        }
        sound.then_some(fields)
    }

    /// The field that an expression is, and nothing else.
    fn column_of(&self, e: &Expr) -> Option<String> {
        let Expr::Column { index, .. } = e else { return None };
        Some(self.row.schema.fields[*index].name.clone()).filter(|name| !is_hidden(name))
    }

    fn name_of(&mut self, e: &AstExpr) -> Option<String> {
        let name = plain_name(e);
        if name.is_none() && !matches!(e.kind, ExprKind::Error) {
            self.error_with_hint(
                codes::UNNAMED_FIELD,
                e.span,
                "the expression needs a name to become a field",
                "write `name: expression`",
            );
        }
        name
    }

    pub(in crate::sema) fn arguments(&mut self, op: &'a StreamOp, takes: &Takes<'_>) -> Option<Arguments<'a>> {
        let what = format!("`.{}`", op.name.text);
        let code = codes::BAD_OPERATOR_ARGUMENTS;
        Arguments::read(what, op.span, &op.args, takes, code, self.findings)
    }
}

/// The last part of `field` or `record.member`.
pub fn plain_name(e: &AstExpr) -> Option<String> {
    match &e.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Field { name, .. } => Some(name.text.clone()),
        _ => None,
    }
}
