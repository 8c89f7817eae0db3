//! Operators: their types come from [`crate::expr::typing`], the casts and the diagnostics from here.

use crate::data::{DataType, Type, Value};
use crate::diagnostic::{Span, codes};
use crate::expr::{BinaryOp, Expr, UnaryOp, typing};
use crate::sema::typer::{Typer, coerce, negate_if};
use crate::syntax::ast;

impl Typer<'_, '_> {
    pub(super) fn unary(&mut self, op: ast::UnaryOp, arg: &ast::Expr, span: Span) -> Option<Expr> {
        if op == ast::UnaryOp::Not {
            let arg = self.condition(arg, "the operand of `not`")?;
            return Some(negate_if(true, arg));
        }
        let arg = self.expr(arg)?;
        let op = match op {
            ast::UnaryOp::Negate => UnaryOp::Negate,
            ast::UnaryOp::BitNot => UnaryOp::BitNot,
            ast::UnaryOp::Not => unreachable!("handled above"),
        };
        let ty = match typing::unary(op, &arg.data_type()) {
            Ok(ty) => ty,
            Err(error) => {
                self.report(codes::BAD_OPERANDS, span, error.to_string());
                return None;
            }
        };
        if op == UnaryOp::Negate
            && let Some(literal) = negated_literal(&arg)
        {
            return Some(literal);
        }
        Some(Expr::Unary { op, arg: Box::new(coerce(arg, &ty.ty)), ty })
    }

    pub(super) fn binary(
        &mut self,
        op: ast::BinaryOp,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Option<Expr> {
        let op = match op {
            ast::BinaryOp::And => return self.logical(left, right, "and", Expr::And),
            ast::BinaryOp::Or => return self.logical(left, right, "or", Expr::Or),
            ast::BinaryOp::Coalesce => return self.coalesce(&[left, right]),
            ast::BinaryOp::Equal => BinaryOp::Equal,
            ast::BinaryOp::NotEqual => BinaryOp::NotEqual,
            ast::BinaryOp::Less => BinaryOp::Less,
            ast::BinaryOp::LessOrEqual => BinaryOp::LessOrEqual,
            ast::BinaryOp::Greater => BinaryOp::Greater,
            ast::BinaryOp::GreaterOrEqual => BinaryOp::GreaterOrEqual,
            ast::BinaryOp::Like => BinaryOp::Like,
            ast::BinaryOp::Matches => BinaryOp::Matches,
            ast::BinaryOp::BitOr => BinaryOp::BitOr,
            ast::BinaryOp::BitXor => BinaryOp::BitXor,
            ast::BinaryOp::BitAnd => BinaryOp::BitAnd,
            ast::BinaryOp::ShiftLeft => BinaryOp::ShiftLeft,
            ast::BinaryOp::ShiftRight => BinaryOp::ShiftRight,
            ast::BinaryOp::Add => BinaryOp::Add,
            ast::BinaryOp::Subtract => BinaryOp::Subtract,
            ast::BinaryOp::Multiply => BinaryOp::Multiply,
            ast::BinaryOp::Divide => BinaryOp::Divide,
            ast::BinaryOp::FloorDivide => BinaryOp::FloorDivide,
            ast::BinaryOp::Modulo => BinaryOp::Modulo,
            ast::BinaryOp::Power => BinaryOp::Power,
        };
        let (l, r) = (self.expr(left), self.expr(right));
        let (l, r) = (l?, r?);
        let (lt, rt) = (l.data_type(), r.data_type());
        let types = match typing::binary(op, &lt, &rt) {
            Ok(types) => types,
            Err(error) => {
                self.bad_operands(op, &lt, &rt, error.to_string(), span);
                return None;
            }
        };
        if op == BinaryOp::Matches {
            self.check_pattern(&r, right.span)?;
        }
        let (l, r) = if types.swapped { (r, l) } else { (l, r) };
        let (l, r) = (coerce(l, &types.left.ty), coerce(r, &types.right.ty));
        Some(Expr::Binary { op, left: Box::new(l), right: Box::new(r), ty: types.result })
    }

    fn bad_operands(&mut self, op: BinaryOp, left: &DataType, right: &DataType, found: String, span: Span) {
        let comparison = op.comparison().is_some();
        let message = match (comparison, left.unify(right)) {
            (true, Some(common)) => format!("values of type {common} have no order"),
            (true, None) => format!("cannot compare {left} with {right}"),
            (false, _) => found,
        };
        let hint = if op == BinaryOp::Add && (left.ty == Type::Str || right.ty == Type::Str) {
            Some("put values into text with f\"… {value} …\"")
        } else if comparison && (left.ty == Type::Str) != (right.ty == Type::Str) {
            Some("`cast(x as T)` changes the type of a value")
        } else if comparison && (left.ty == Type::Timestamp || right.ty == Type::Timestamp) {
            Some("a timestamp is written as in `@2026-03-01` or `@2026-03-01T09:30:00Z`")
        } else if left.ty == Type::Timestamp && right.ty.is_numeric() {
            Some("write the number as a duration, such as `5s`")
        } else {
            None
        };
        match hint {
            Some(hint) => self.report_with_hint(codes::BAD_OPERANDS, span, message, hint),
            None => self.report(codes::BAD_OPERANDS, span, message),
        }
    }

    /// A constant regular expression must be one.
    fn check_pattern(&mut self, pattern: &Expr, span: Span) -> Option<()> {
        if let Expr::Literal { value: Value::Str(text), .. } = pattern
            && let Err(error) = regex::Regex::new(text)
        {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ").to_string();
            self.report(codes::BAD_OPERANDS, span, format!("not a regular expression: {reason}"));
            return None;
        }
        Some(())
    }

    /// `and`, `or`: chains of one operator become one node.
    fn logical(
        &mut self,
        left: &ast::Expr,
        right: &ast::Expr,
        word: &str,
        make: fn(Vec<Expr>) -> Expr,
    ) -> Option<Expr> {
        let what = format!("an operand of `{word}`");
        let (l, r) = (self.condition(left, &what), self.condition(right, &what));
        let (l, r) = (l?, r?);
        let mut all = Vec::new();
        for side in [l, r] {
            match (word, side) {
                ("and", Expr::And(parts)) | ("or", Expr::Or(parts)) => all.extend(parts),
                (_, other) => all.push(other),
            }
        }
        Some(make(all))
    }

    /// The first that is not null, widened to what all have in common.
    pub(super) fn coalesce(&mut self, args: &[&ast::Expr]) -> Option<Expr> {
        let typed: Vec<Option<Expr>> = args.iter().map(|a| self.expr(a)).collect();
        let typed: Vec<Expr> = typed.into_iter().collect::<Option<_>>()?;
        let types: Vec<DataType> = typed.iter().map(Expr::data_type).collect();
        match typing::coalesce(&types) {
            Ok(ty) => Some(Expr::Coalesce { args: typed.into_iter().map(|e| coerce(e, &ty.ty)).collect(), ty }),
            Err(error) => {
                let span = args[0].span.to(args[args.len() - 1].span);
                self.report(codes::NO_COMMON_TYPE, span, error.to_string());
                None
            }
        }
    }

    pub(super) fn is_in(&mut self, value: &ast::Expr, list: &ast::Expr, negated: bool, span: Span) -> Option<Expr> {
        let (value, typed_list) = (self.expr(value), self.expr(list));
        let (value, typed_list) = (value?, typed_list?);
        match typing::contains(&value.data_type(), &typed_list.data_type()) {
            Ok((value_type, list_type)) => {
                let value = Box::new(coerce(value, &value_type.ty));
                let list = Box::new(coerce(typed_list, &list_type.ty));
                Some(negate_if(negated, Expr::In { value, list }))
            }
            Err(error) => {
                self.report(codes::BAD_OPERANDS, span, error.to_string());
                None
            }
        }
    }
}

fn negated_literal(e: &Expr) -> Option<Expr> {
    let Expr::Literal { value, ty } = e else { return None };
    let value = match value {
        Value::Int(v) => Value::Int(v.checked_neg()?),
        Value::Float(v) => Value::Float(-v),
        Value::Duration(v) => Value::Duration(v.checked_neg()?),
        Value::Null
        | Value::Bool(_)
        | Value::Str(_)
        | Value::Timestamp(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Record(_) => return None,
    };
    Some(Expr::Literal { value, ty: ty.clone() })
}
