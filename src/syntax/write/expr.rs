//! Expressions as text, with the parentheses that precedence needs.

use std::fmt::{self, Write};

use super::Writer;
use crate::data::time::{format_duration, format_timestamp};
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, StrPart, UnaryOp};
use crate::syntax::build::ladder::{COMPARISON, NOT, POWER, PRIMARY, UNARY, precedence};

impl Writer<'_> {
    /// Writes an expression, in parentheses if it binds looser than `least`.
    pub(super) fn expr(&mut self, expr: &Expr, least: u8) -> fmt::Result {
        if binding(&expr.kind) < least {
            self.out.push('(');
            self.bare(expr)?;
            self.out.push(')');
            return Ok(());
        }
        self.bare(expr)
    }

    fn bare(&mut self, expr: &Expr) -> fmt::Result {
        match &expr.kind {
            ExprKind::Null => self.out.write_str("null"),
            ExprKind::Bool(value) => write!(self.out, "{value}"),
            ExprKind::Int(value) => write!(self.out, "{value}"),
            ExprKind::Float(value) => write!(self.out, "{value:?}"),
            ExprKind::Str(value) => self.out.write_str(&quoted(value)),
            ExprKind::Interpolated(parts) => self.interpolated(parts),
            ExprKind::Duration(ns) => self.out.write_str(&format_duration(*ns)),
            ExprKind::Size(bytes) => write!(self.out, "{bytes}B"),
            ExprKind::Timestamp(ns) => write!(self.out, "@{}", format_timestamp(*ns)),
            ExprKind::Name(name) => self.out.write_str(name),
            ExprKind::List(items) => self.list(items),
            ExprKind::Map(entries) => self.map(entries),
            ExprKind::Call { function, args } => {
                self.out.push_str(&function.text);
                self.args(args)
            }
            ExprKind::Cast { arg, ty, fallible } => {
                self.out.push_str(if *fallible { "try_cast(" } else { "cast(" });
                self.expr(arg, 0)?;
                self.out.push_str(" as ");
                self.type_expr(ty)?;
                self.out.write_str(")")
            }
            ExprKind::Unary { op, arg } => self.unary(*op, arg),
            ExprKind::Binary { op, left, right } => self.binary(*op, left, right),
            ExprKind::IsNull { arg, negated } => {
                self.expr(arg, COMPARISON + 1)?;
                self.out.write_str(if *negated { " is not null" } else { " is null" })
            }
            ExprKind::In { value, list, negated } => {
                self.expr(value, COMPARISON + 1)?;
                self.out.push_str(if *negated { " not in " } else { " in " });
                self.expr(list, COMPARISON + 1)
            }
            ExprKind::If { condition, then, otherwise } => {
                self.out.push_str("if ");
                self.expr(condition, 1)?;
                self.out.push_str(" then ");
                self.expr(then, 1)?;
                self.out.push_str(" else ");
                self.expr(otherwise, 0)
            }
            ExprKind::Field { base, name, optional } => {
                self.expr(base, PRIMARY)?;
                write!(self.out, "{}{}", if *optional { "?." } else { "." }, name.text)
            }
            ExprKind::Index { base, index } => {
                self.expr(base, PRIMARY)?;
                self.out.push('[');
                self.expr(index, 0)?;
                self.out.write_str("]")
            }
            ExprKind::Slice { base, from, to } => self.slice(base, from.as_deref(), to.as_deref()),
            ExprKind::Error => self.out.write_str("<error>"),
        }
    }

    fn list(&mut self, items: &[Expr]) -> fmt::Result {
        self.out.push('[');
        for (i, item) in items.iter().enumerate() {
            self.comma(i);
            self.expr(item, 0)?;
        }
        self.out.write_str("]")
    }

    fn map(&mut self, entries: &[(String, Expr)]) -> fmt::Result {
        self.out.push('{');
        for (i, (key, value)) in entries.iter().enumerate() {
            self.comma(i);
            write!(self.out, "{}: ", quoted(key))?;
            self.expr(value, 0)?;
        }
        self.out.write_str("}")
    }

    fn slice(&mut self, base: &Expr, from: Option<&Expr>, to: Option<&Expr>) -> fmt::Result {
        self.expr(base, PRIMARY)?;
        self.out.push('[');
        from.iter().try_for_each(|from| self.expr(from, 0))?;
        self.out.push(':');
        to.iter().try_for_each(|to| self.expr(to, 0))?;
        self.out.write_str("]")
    }

    fn unary(&mut self, op: UnaryOp, arg: &Expr) -> fmt::Result {
        let (text, least) = match op {
            UnaryOp::Not => ("not ", NOT),
            UnaryOp::Negate => ("-", UNARY),
            UnaryOp::BitNot => ("~", UNARY),
        };
        self.out.push_str(text);
        self.expr(arg, least)
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> fmt::Result {
        let level = precedence(op);
        let (left_least, right_least) = match level {
            COMPARISON => (COMPARISON + 1, COMPARISON + 1),
            // A sign before `**` is legal without parentheses, but warned of.
            POWER => (PRIMARY, POWER),
            _ => (level, level + 1),
        };
        self.expr(left, left_least)?;
        write!(self.out, " {} ", symbol(op))?;
        self.expr(right, right_least)
    }

    fn interpolated(&mut self, parts: &[StrPart]) -> fmt::Result {
        self.out.push_str("f\"");
        for part in parts {
            match part {
                StrPart::Text(text) => {
                    // The braces of the text are doubled, those of escapes are not.
                    for piece in text.split_inclusive(['{', '}']) {
                        self.out.push_str(&escaped(piece));
                        self.out.extend(piece.chars().next_back().filter(|c| matches!(c, '{' | '}')));
                    }
                }
                StrPart::Expr(expr) => {
                    self.out.push('{');
                    let start = self.out.len();
                    self.expr(expr, 0)?;
                    if self.out[start..].starts_with('{') {
                        // Two braces would be a brace of the text.
                        self.out.insert(start, ' ');
                    }
                    self.out.push('}');
                }
            }
        }
        self.out.write_str("\"")
    }
}

/// How tightly an expression holds together.
fn binding(kind: &ExprKind) -> u8 {
    match kind {
        ExprKind::If { .. } => 0,
        ExprKind::Binary { op, .. } => precedence(*op),
        ExprKind::IsNull { .. } | ExprKind::In { .. } => COMPARISON,
        ExprKind::Unary { op: UnaryOp::Not, .. } => NOT,
        ExprKind::Unary { op: UnaryOp::Negate | UnaryOp::BitNot, .. } => UNARY,
        // A negative literal has a sign.
        ExprKind::Int(value) if *value < 0 => UNARY,
        ExprKind::Null
        | ExprKind::Bool(_)
        | ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Str(_)
        | ExprKind::Interpolated(_)
        | ExprKind::Duration(_)
        | ExprKind::Size(_)
        | ExprKind::Timestamp(_)
        | ExprKind::Name(_)
        | ExprKind::List(_)
        | ExprKind::Map(_)
        | ExprKind::Field { .. }
        | ExprKind::Index { .. }
        | ExprKind::Slice { .. }
        | ExprKind::Call { .. }
        | ExprKind::Cast { .. }
        | ExprKind::Error => PRIMARY,
    }
}

/// The operator as it is written.
pub fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Or => "or",
        BinaryOp::And => "and",
        BinaryOp::Equal => "==",
        BinaryOp::NotEqual => "!=",
        BinaryOp::Less => "<",
        BinaryOp::LessOrEqual => "<=",
        BinaryOp::Greater => ">",
        BinaryOp::GreaterOrEqual => ">=",
        BinaryOp::Like => "like",
        BinaryOp::Matches => "matches",
        BinaryOp::Coalesce => "??",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "^",
        BinaryOp::BitAnd => "&",
        BinaryOp::ShiftLeft => "<<",
        BinaryOp::ShiftRight => ">>",
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::FloorDivide => "//",
        BinaryOp::Modulo => "%",
        BinaryOp::Power => "**",
    }
}

/// A string literal with the escapes it needs.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
