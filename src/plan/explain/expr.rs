//! Expressions as `explain` prints them: in the language's own form, with columns by their names.

use crate::data::time::{format_duration, format_timestamp};
use crate::data::{Schema, Type, Value};
use crate::expr::{BinaryOp, CastFailure, Expr, UnaryOp};

/// How tightly a form binds, loosest first, as in the language.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    If,
    Or,
    And,
    Not,
    Comparison,
    Coalesce,
    BitOr,
    BitXor,
    BitAnd,
    Shift,
    Sum,
    Product,
    Power,
    Unary,
    Postfix,
}

/// The expression over rows with these columns.
pub fn expr(e: &Expr, schema: &Schema) -> String {
    Printer { schema }.print(e, Binding::If)
}

struct Printer<'a> {
    schema: &'a Schema,
}

impl Printer<'_> {
    /// In parentheses if it binds less tightly than `least`.
    fn print(&self, e: &Expr, least: Binding) -> String {
        let (text, binding) = self.form(e);
        if binding < least { format!("({text})") } else { text }
    }

    fn all(&self, list: &[Expr]) -> String {
        list.iter().map(|e| self.print(e, Binding::If)).collect::<Vec<_>>().join(", ")
    }

    fn joined(&self, list: &[Expr], word: &str, binding: Binding) -> (String, Binding) {
        let inner = next(binding);
        (list.iter().map(|e| self.print(e, inner)).collect::<Vec<_>>().join(word), binding)
    }

    fn form(&self, e: &Expr) -> (String, Binding) {
        match e {
            Expr::Column { index, .. } => {
                let name = self.schema.fields.get(*index).map_or("?", |f| f.name.as_str());
                (name.to_string(), Binding::Postfix)
            }
            Expr::Literal { value, .. } => (literal(value), Binding::Postfix),
            Expr::EventTime => ("event_time".to_string(), Binding::Postfix),
            Expr::Place => ("$place".to_string(), Binding::Postfix),
            Expr::Unary { op: UnaryOp::Not, arg, .. } => {
                (format!("not {}", self.print(arg, Binding::Not)), Binding::Not)
            }
            Expr::Unary { op, arg, .. } => {
                (format!("{}{}", op.symbol(), self.print(arg, Binding::Unary)), Binding::Unary)
            }
            Expr::Binary { op, left, right, .. } => {
                let binding = binding_of(*op);
                // `**` groups to the right, everything else to the left; comparisons do not chain.
                let (l, r) = match binding {
                    Binding::Power => (next(binding), binding),
                    Binding::Comparison => (next(binding), next(binding)),
                    binding => (binding, next(binding)),
                };
                (format!("{} {} {}", self.print(left, l), op.symbol(), self.print(right, r)), binding)
            }
            Expr::And(args) => self.joined(args, " and ", Binding::And),
            Expr::Or(args) => self.joined(args, " or ", Binding::Or),
            Expr::Coalesce { args, .. } => self.joined(args, " ?? ", Binding::Coalesce),
            Expr::IsNull(arg) => {
                (format!("{} is null", self.print(arg, next(Binding::Comparison))), Binding::Comparison)
            }
            Expr::If { condition, then, otherwise, .. } => {
                let text = format!(
                    "if {} then {} else {}",
                    self.print(condition, Binding::If),
                    self.print(then, Binding::If),
                    self.print(otherwise, Binding::If)
                );
                (text, Binding::If)
            }
            Expr::In { value, list } => {
                let inner = next(Binding::Comparison);
                (format!("{} in {}", self.print(value, inner), self.print(list, inner)), Binding::Comparison)
            }
            Expr::Cast { .. }
            | Expr::Field { .. }
            | Expr::Index { .. }
            | Expr::Slice { .. }
            | Expr::List { .. }
            | Expr::Map { .. }
            | Expr::Record { .. }
            | Expr::Call { .. } => (self.closed(e), Binding::Postfix),
        }
    }

    /// Forms that need no parentheses around them.
    fn closed(&self, e: &Expr) -> String {
        match e {
            Expr::Cast { arg, ty, on_failure } => {
                let word = match on_failure {
                    CastFailure::Count => "cast",
                    CastFailure::Null => "try_cast",
                };
                format!("{word}({} as {})", self.print(arg, Binding::If), ty.ty)
            }
            Expr::Field { record, index, .. } => {
                let ty = record.data_type();
                let name = match &ty.ty {
                    Type::Record(fields) => fields.get(*index).map_or("?", |f| f.name.as_str()),
                    _ => "?",
                };
                let dot = if ty.nullable { "?." } else { "." };
                format!("{}{dot}{name}", self.print(record, Binding::Postfix))
            }
            Expr::Index { container, index, .. } => {
                format!("{}[{}]", self.print(container, Binding::Postfix), self.print(index, Binding::If))
            }
            Expr::Slice { container, from, to, .. } => {
                let end = |e: &Option<Box<Expr>>| e.as_ref().map_or(String::new(), |e| self.print(e, Binding::If));
                format!("{}[{}:{}]", self.print(container, Binding::Postfix), end(from), end(to))
            }
            Expr::List { items, .. } => format!("[{}]", self.all(items)),
            Expr::Map { entries, .. } => {
                let entry = |(k, e): &(String, Expr)| format!("{k:?}: {}", self.print(e, Binding::If));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
            Expr::Record { fields, ty } => {
                let names: Vec<&str> = match &ty.ty {
                    Type::Record(fields) => fields.iter().map(|f| f.name.as_str()).collect(),
                    _ => Vec::new(),
                };
                let member = |(e, name): (&Expr, &&str)| {
                    let value = self.print(e, Binding::If);
                    if value == **name { value } else { format!("{name}: {value}") }
                };
                format!("{{{}}}", fields.iter().zip(&names).map(member).collect::<Vec<_>>().join(", "))
            }
            Expr::Call { function, args, .. } => format!("{}({})", function.0.name, self.all(args)),
            other => self.print(other, Binding::Postfix),
        }
    }
}

fn next(binding: Binding) -> Binding {
    match binding {
        Binding::If => Binding::Or,
        Binding::Or => Binding::And,
        Binding::And => Binding::Not,
        Binding::Not => Binding::Comparison,
        Binding::Comparison => Binding::Coalesce,
        Binding::Coalesce => Binding::BitOr,
        Binding::BitOr => Binding::BitXor,
        Binding::BitXor => Binding::BitAnd,
        Binding::BitAnd => Binding::Shift,
        Binding::Shift => Binding::Sum,
        Binding::Sum => Binding::Product,
        Binding::Product => Binding::Power,
        Binding::Power => Binding::Unary,
        Binding::Unary | Binding::Postfix => Binding::Postfix,
    }
}

fn binding_of(op: BinaryOp) -> Binding {
    match op {
        BinaryOp::Add | BinaryOp::Subtract => Binding::Sum,
        BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::FloorDivide | BinaryOp::Modulo => Binding::Product,
        BinaryOp::Power => Binding::Power,
        BinaryOp::BitAnd => Binding::BitAnd,
        BinaryOp::BitOr => Binding::BitOr,
        BinaryOp::BitXor => Binding::BitXor,
        BinaryOp::ShiftLeft | BinaryOp::ShiftRight => Binding::Shift,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual
        | BinaryOp::Like
        | BinaryOp::Matches => Binding::Comparison,
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Int(v) => v.to_string(),
        Value::Float(v) if v.is_finite() && v.fract() == 0.0 && v.abs() < 1e15 => format!("{v:.1}"),
        Value::Float(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::Str(v) => format!("{v:?}"),
        Value::Timestamp(ns) => format!("@{}", format_timestamp(*ns)),
        Value::Duration(ns) => format_duration(*ns),
        Value::List(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entry = |(k, v): &(std::sync::Arc<str>, Value)| format!("{k:?}: {}", literal(v));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Record(values) => format!("{{{}}}", values.iter().map(literal).collect::<Vec<_>>().join(", ")),
    }
}
