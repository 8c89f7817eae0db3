//! From an expression as written to a typed one over column positions.
//!
//! [`Typer::expr`] gives `None` when it has reported what is wrong: whoever asked stays silent, so one
//! mistake is one diagnostic. Sugar ends here: functions of the program are inlined, interpolated
//! strings become concatenations, implicit widening becomes a cast.

pub mod calls;
pub mod captures;
mod functions;
pub mod members;
mod names;
pub mod operators;
mod taken;

use crate::data::{DataType, Type, Value};
use crate::diagnostic::{Code, Diagnostic, Span, codes};
use crate::expr::{CastFailure, Expr};
use crate::sema::globals::Globals;
use crate::sema::hir::AggregateCall;
use crate::sema::row::Row;
use crate::syntax::ast::{self, ExprKind, StrPart};

use captures::Captures;
pub use functions::check_functions;

/// Types the expressions of one place of the program.
pub struct Typer<'t, 'a> {
    pub globals: &'t Globals<'a>,
    pub findings: &'t mut Vec<Diagnostic>,
    place: Place<'t>,
    /// Parameters and `let`s of the functions that are being inlined; `None`: could not be typed.
    locals: Vec<(String, Option<Expr>)>,
    /// Functions that are being inlined, innermost last.
    inlining: Vec<String>,
    /// Whether the expression is an argument of an aggregate.
    in_aggregate: bool,
}

/// Where an expression stands, which decides what its names mean.
pub enum Place<'a> {
    /// No row at hand: names are constants.
    Constant,
    /// Over the columns of a row.
    Row(&'a Row),
    /// In `.aggregate`: over the group's key, its window and its aggregates.
    Group(Group<'a>),
    /// In a pattern: over the rows that its steps take.
    Captures(Captures<'a>),
}

/// What an expression in `.aggregate` may refer to.
pub struct Group<'a> {
    /// The rows that are aggregated.
    pub row: &'a Row,
    /// Whether the group has a window.
    pub windowed: bool,
    /// The aggregates found so far, equal ones once. Aggregate `i` is column `first + i` of the output.
    pub aggregates: Vec<AggregateCall>,
}

impl Group<'_> {
    /// The position of the first aggregate in the operator's output.
    pub fn first(&self) -> usize {
        self.row.key_names.len() + if self.windowed { 2 } else { 0 }
    }
}

impl<'t, 'a> Typer<'t, 'a> {
    pub fn new(globals: &'t Globals<'a>, place: Place<'t>, findings: &'t mut Vec<Diagnostic>) -> Typer<'t, 'a> {
        Typer { globals, findings, place, locals: Vec::new(), inlining: Vec::new(), in_aggregate: false }
    }

    /// The aggregates that a group's expressions called.
    pub fn into_aggregates(self) -> Vec<AggregateCall> {
        match self.place {
            Place::Group(group) => group.aggregates,
            Place::Constant | Place::Row(_) | Place::Captures(_) => Vec::new(),
        }
    }

    pub fn report(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.findings.push(Diagnostic::error(code, span, message));
    }

    pub fn report_with_hint(&mut self, code: Code, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Diagnostic::error(code, span, message).with_hint(hint));
    }

    pub fn expr(&mut self, e: &ast::Expr) -> Option<Expr> {
        match &e.kind {
            ExprKind::Null => Some(Expr::literal(Value::Null, Type::Null)),
            ExprKind::Bool(v) => Some(Expr::literal(Value::Bool(*v), Type::Bool)),
            ExprKind::Int(v) => Some(Expr::literal(Value::Int(*v), Type::Int)),
            ExprKind::Float(v) => Some(Expr::literal(Value::Float(*v), Type::Float)),
            ExprKind::Str(v) => Some(Expr::literal(Value::str(v), Type::Str)),
            ExprKind::Duration(v) => Some(Expr::literal(Value::Duration(*v), Type::Duration)),
            ExprKind::Timestamp(v) => Some(Expr::literal(Value::Timestamp(*v), Type::Timestamp)),
            ExprKind::Size(_) => {
                self.report(codes::BAD_OPERANDS, e.span, "a size in bytes can stand in options only");
                None
            }
            ExprKind::Interpolated(parts) => self.interpolated(parts),
            ExprKind::Name(name) => self.name(name, e.span),
            ExprKind::List(items) => self.list(items),
            ExprKind::Map(entries) => self.map(entries, e.span),
            ExprKind::Unary { op, arg } => self.unary(*op, arg, e.span),
            ExprKind::Binary { op, left, right } => self.binary(*op, left, right, e.span),
            ExprKind::IsNull { arg, negated } => {
                let arg = self.expr(arg)?;
                Some(negate_if(*negated, Expr::IsNull(Box::new(arg))))
            }
            ExprKind::In { value, list, negated } => self.is_in(value, list, *negated, e.span),
            ExprKind::If { condition, then, otherwise } => {
                let condition = self.condition(condition, "the condition of `if`");
                let (then_typed, otherwise_typed) = (self.expr(then), self.expr(otherwise));
                self.branches(condition?, then_typed?, otherwise_typed?, otherwise.span)
            }
            ExprKind::Field { base, name, optional } => self.member(base, name, *optional),
            ExprKind::Index { base, index } => self.index(base, index),
            ExprKind::Slice { base, from, to } => self.slice(base, from.as_deref(), to.as_deref()),
            ExprKind::Call { function, args } => self.call(function, args, e.span),
            ExprKind::Cast { arg, ty, fallible } => self.cast(arg, ty, *fallible, e.span),
            ExprKind::Error => None,
        }
    }

    /// A bool, or a diagnostic that says what should have been one.
    pub fn condition(&mut self, e: &ast::Expr, what: &str) -> Option<Expr> {
        let typed = self.expr(e)?;
        let ty = typed.data_type().ty;
        if !matches!(ty, Type::Bool | Type::Null) {
            self.report(codes::NOT_BOOL, e.span, format!("{what} is {ty}, not bool"));
            return None;
        }
        Some(coerce(typed, &Type::Bool))
    }

    /// Both branches of an `if` widened to their common type.
    fn branches(&mut self, condition: Expr, then: Expr, otherwise: Expr, span: Span) -> Option<Expr> {
        let (a, b) = (then.data_type(), otherwise.data_type());
        let Some(ty) = a.unify(&b) else {
            self.report(codes::NO_COMMON_TYPE, span, format!("one branch is {a}, the other {b}"));
            return None;
        };
        Some(Expr::If {
            condition: Box::new(condition),
            then: Box::new(coerce(then, &ty.ty)),
            otherwise: Box::new(coerce(otherwise, &ty.ty)),
            ty,
        })
    }

    /// `f"zone {zone}"`: a null part reads `null`, so that one missing field does not empty the text.
    fn interpolated(&mut self, parts: &[StrPart]) -> Option<Expr> {
        let mut text: Option<Expr> = None;
        let mut failed = false;
        for part in parts {
            let piece = match part {
                StrPart::Text(t) => Expr::literal(Value::str(t), Type::Str),
                StrPart::Expr(e) => match self.expr(e) {
                    Some(typed) => as_text(typed),
                    None => {
                        failed = true;
                        continue;
                    }
                },
            };
            text = Some(match text {
                None => piece,
                Some(before) => Expr::Binary {
                    op: crate::expr::BinaryOp::Add,
                    left: Box::new(before),
                    right: Box::new(piece),
                    ty: Type::Str.required(),
                },
            });
        }
        if failed { None } else { Some(text.unwrap_or_else(|| Expr::literal(Value::str(""), Type::Str))) }
    }
}

/// A value as the text that interpolation shows.
fn as_text(value: Expr) -> Expr {
    let ty = value.data_type();
    let text = if ty.ty == Type::Str {
        value
    } else {
        let ty = Type::Str.required().with_nullable(ty.nullable);
        Expr::Cast { arg: Box::new(value), ty, on_failure: CastFailure::Count }
    };
    if !ty.nullable {
        return text;
    }
    let null = Expr::literal(Value::str("null"), Type::Str);
    Expr::Coalesce { args: vec![text, null], ty: Type::Str.required() }
}

pub fn negate_if(negated: bool, e: Expr) -> Expr {
    if !negated {
        return e;
    }
    let ty = e.data_type();
    Expr::Unary { op: crate::expr::UnaryOp::Not, arg: Box::new(e), ty }
}

/// `e` widened to `ty`, which it is known to widen to; literals are widened at once.
pub fn coerce(e: Expr, ty: &Type) -> Expr {
    if e.data_type().ty == *ty {
        return e;
    }
    match e {
        Expr::Literal { value: Value::Null, .. } => Expr::literal(Value::Null, ty.clone()),
        Expr::Literal { value: Value::Int(v), .. } if *ty == Type::Float => {
            Expr::literal(Value::Float(v as f64), Type::Float)
        }
        Expr::List { items, ty: old } => match ty {
            Type::List(item) => {
                let items = items.into_iter().map(|i| coerce(i, &item.ty)).collect();
                Expr::List { items, ty: DataType { ty: ty.clone(), nullable: old.nullable } }
            }
            Type::Null
            | Type::Int
            | Type::Float
            | Type::Bool
            | Type::Str
            | Type::Timestamp
            | Type::Duration
            | Type::Map(_)
            | Type::Record(_) => unreachable!("a list widens to lists only"),
        },
        e => {
            let ty = DataType { ty: ty.clone(), nullable: e.data_type().nullable };
            Expr::Cast { arg: Box::new(e), ty, on_failure: CastFailure::Count }
        }
    }
}
