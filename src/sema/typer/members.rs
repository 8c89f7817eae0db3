//! What is inside a value: members of records, items of lists and maps, slices; and the literals that
//! make such values.

use crate::data::{DataType, Type};
use crate::diagnostic::{Span, codes, nearest};
use crate::expr::{CastFailure, Expr, typing};
use crate::sema::typer::{Place, Typer, coerce};
use crate::syntax::ast::{self, ExprKind, Name};

impl Typer<'_, '_> {
    pub(super) fn member(&mut self, base: &ast::Expr, name: &Name, optional: bool) -> Option<Expr> {
        if let ExprKind::Name(alias) = &base.kind
            && let Some(found) = self.aliased(base, alias, name)
        {
            return found;
        }
        let record = self.expr(base)?;
        let ty = record.data_type();
        let Type::Record(fields) = &ty.ty else {
            let hint = match &ty.ty {
                Type::Map(_) => Some(format!("an entry of a map is taken with [\"{}\"]", name.text)),
                _ => None,
            };
            let message = format!("{ty} has no members");
            match hint {
                Some(hint) => self.report_with_hint(codes::NO_MEMBER, name.span, message, hint),
                None => self.report(codes::NO_MEMBER, name.span, message),
            }
            return None;
        };
        let Some(index) = fields.iter().position(|f| f.name == name.text) else {
            let known = fields.iter().map(|f| f.name.as_str());
            let message = format!("the record has no member `{}`", name.text);
            match nearest(&name.text, known) {
                Some(near) => {
                    let hint = format!("did you mean `{near}`?");
                    self.report_with_hint(codes::NO_MEMBER, name.span, message, hint);
                }
                None => self.report(codes::NO_MEMBER, name.span, message),
            }
            return None;
        };
        if ty.nullable && !optional {
            self.report_with_hint(
                codes::NULLABLE_RECORD,
                name.span,
                format!("the record that has `{}` may be null", name.text),
                format!("`?.{}` is null where the record is", name.text),
            );
            return None;
        }
        let member = fields[index].data_type.clone();
        let ty = member.clone().with_nullable(member.nullable || ty.nullable);
        Some(Expr::Field { record: Box::new(record), index, ty })
    }

    /// `e.field` where `e` is the alias of the row; `None` when it is not.
    fn aliased(&mut self, base: &ast::Expr, alias: &str, name: &Name) -> Option<Option<Expr>> {
        if !self.inlining.is_empty() {
            return None;
        }
        let row = match &self.place {
            Place::Constant => return None,
            Place::Row(row) => *row,
            Place::Group(group) => group.row,
            Place::Captures(_) => return self.capture_field(base, alias, name),
        };
        if let Some(part) = row.part(alias) {
            part.alias.used.set(true);
            return Some(self.part_field(row, part, base.span, name));
        }
        let known = row.alias.as_ref().filter(|a| a.name == alias)?;
        known.used.set(true);
        Some(self.name(&name.text, name.span))
    }

    pub(super) fn index(&mut self, base: &ast::Expr, index: &ast::Expr) -> Option<Expr> {
        let (container, typed) = (self.expr(base), self.expr(index));
        let (container, typed) = (container?, typed?);
        match typing::index(&container.data_type(), &typed.data_type()) {
            Ok((by, ty)) => {
                let index = Box::new(coerce(typed, &by.ty));
                Some(Expr::Index { container: Box::new(container), index, ty })
            }
            Err(error) => {
                self.report(codes::BAD_OPERANDS, base.span.to(index.span), error.to_string());
                None
            }
        }
    }

    pub(super) fn slice(&mut self, base: &ast::Expr, from: Option<&ast::Expr>, to: Option<&ast::Expr>) -> Option<Expr> {
        let container = self.expr(base);
        let from = from.map(|e| self.expr(e));
        let to = to.map(|e| self.expr(e));
        if from.as_ref().is_some_and(Option::is_none) || to.as_ref().is_some_and(Option::is_none) {
            return None;
        }
        let (container, from, to) = (container?, from.flatten(), to.flatten());
        let ends: Vec<DataType> = from.iter().chain(&to).map(Expr::data_type).collect();
        match typing::slice(&container.data_type(), &ends.iter().collect::<Vec<_>>()) {
            Ok(ty) => {
                let end = |e: Option<Expr>| e.map(|e| Box::new(coerce(e, &Type::Int)));
                Some(Expr::Slice { container: Box::new(container), from: end(from), to: end(to), ty })
            }
            Err(error) => {
                self.report(codes::BAD_OPERANDS, base.span, error.to_string());
                None
            }
        }
    }

    pub(super) fn list(&mut self, items: &[ast::Expr]) -> Option<Expr> {
        let typed: Vec<Option<Expr>> = items.iter().map(|i| self.expr(i)).collect();
        let typed: Vec<Expr> = typed.into_iter().collect::<Option<_>>()?;
        let spans: Vec<Span> = items.iter().map(|i| i.span).collect();
        let item = self.common_type(&typed, &spans, "items of a list")?;
        let items = typed.into_iter().map(|e| coerce(e, &item.ty)).collect();
        Some(Expr::List { items, ty: Type::List(Box::new(item)).required() })
    }

    pub(super) fn map(&mut self, entries: &[(String, ast::Expr)], span: Span) -> Option<Expr> {
        let typed: Vec<Option<Expr>> = entries.iter().map(|(_, v)| self.expr(v)).collect();
        let typed: Vec<Expr> = typed.into_iter().collect::<Option<_>>()?;
        let spans: Vec<Span> = entries.iter().map(|(_, v)| v.span).collect();
        for (i, (key, _)) in entries.iter().enumerate() {
            if entries[..i].iter().any(|(k, _)| k == key) {
                self.report(codes::DECLARED_TWICE, span, format!("the map has two entries `{key}`"));
                return None;
            }
        }
        let value = self.common_type(&typed, &spans, "values of a map")?;
        let keys = entries.iter().map(|(k, _)| k.clone());
        let entries = keys.zip(typed.into_iter().map(|e| coerce(e, &value.ty))).collect();
        Some(Expr::Map { entries, ty: Type::Map(Box::new(value)).required() })
    }

    /// What all items have in common; the diagnostic stands at the first that does not fit.
    fn common_type(&mut self, typed: &[Expr], spans: &[Span], what: &str) -> Option<DataType> {
        let types: Vec<DataType> = typed.iter().map(Expr::data_type).collect();
        for (i, span) in spans.iter().enumerate() {
            if let Err(error) = typing::common(&types[..=i]) {
                self.report(codes::NO_COMMON_TYPE, *span, format!("{what} have one type: {error}"));
                return None;
            }
        }
        typing::common(&types).ok()
    }

    pub(super) fn cast(&mut self, arg: &ast::Expr, ty: &ast::TypeExpr, fallible: bool, span: Span) -> Option<Expr> {
        let (typed, target) = (self.expr(arg), self.globals.types.resolve(ty, self.findings));
        let (typed, target) = (typed?, target?);
        let from = typed.data_type();
        let mut ty = match typing::cast(&from, &target) {
            Ok(ty) => ty,
            Err(error) => {
                self.report(codes::BAD_CAST, span, error.to_string());
                return None;
            }
        };
        if from.ty == ty.ty {
            return Some(typed);
        }
        ty.nullable |= fallible;
        let on_failure = if fallible { CastFailure::Null } else { CastFailure::Count };
        Some(Expr::Cast { arg: Box::new(typed), ty, on_failure })
    }
}
