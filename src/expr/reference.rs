//! What an expression means, one row at a time: the oracle against which the evaluator is tested, and on
//! which the oracle of whole programs stands.
//!
//! It is written from the language's contract on plain values and shares no kernel with the evaluator.
//! Where the evaluator picks rows, this one takes branches; where that one tests a batch for overflow,
//! this one computes in 128 bits. Only the functions of the table are called as they are, on columns
//! of one row: their own examples say whether they are right. Speed is of no concern here.

use std::cell::Cell;
use std::sync::Arc;

use super::eval::operand::Operand;
use super::function::{Call, Resolved};
use super::{BinaryOp, CastFailure, Errors, Expr, Family, FunctionRef, UnaryOp, text};
use crate::data::array::{array_of_values, value_at};
use crate::data::time::{parse_duration, parse_timestamp};
use crate::data::{DataType, Type, Value};

/// The value of `expr` for one row, and how many operators failed on it.
pub fn evaluate_row(expr: &Expr, row: &[Value], time: i64, place: i64) -> (Value, u64) {
    let row = Row { values: row, time, place, errors: Cell::new(0) };
    let value = row.eval(expr);
    (value, row.errors.get())
}

struct Row<'a> {
    values: &'a [Value],
    time: i64,
    place: i64,
    errors: Cell<u64>,
}

impl Row<'_> {
    fn fail(&self) -> Value {
        self.errors.set(self.errors.get() + 1);
        Value::Null
    }

    fn or_fail(&self, value: Option<Value>) -> Value {
        value.unwrap_or_else(|| self.fail())
    }

    fn eval(&self, expr: &Expr) -> Value {
        match expr {
            Expr::Column { index, .. } => self.values[*index].clone(),
            Expr::Literal { value: Value::Int(v), ty } if ty.ty == Type::Float => Value::Float(*v as f64),
            Expr::Literal { value, .. } => value.clone(),
            Expr::EventTime => Value::Timestamp(self.time),
            Expr::Place => Value::Timestamp(self.place),
            Expr::Unary { op, arg, .. } => self.unary(*op, self.eval(arg)),
            Expr::Binary { op, left, right, .. } => {
                let (left, right) = (self.eval(left), self.eval(right));
                if left.is_null() || right.is_null() { Value::Null } else { self.binary(*op, &left, &right) }
            }
            Expr::And(args) => self.connect(args, false),
            Expr::Or(args) => self.connect(args, true),
            Expr::IsNull(arg) => Value::Bool(self.eval(arg).is_null()),
            Expr::Coalesce { args, .. } => {
                args.iter().map(|a| self.eval(a)).find(|v| !v.is_null()).unwrap_or(Value::Null)
            }
            Expr::If { condition, then, otherwise, .. } => {
                if self.eval(condition) == Value::Bool(true) {
                    self.eval(then)
                } else {
                    self.eval(otherwise)
                }
            }
            Expr::In { value, list } => contains(&self.eval(value), &self.eval(list)),
            Expr::Cast { arg, ty, on_failure } => self.cast(arg, ty, *on_failure),
            Expr::Field { record, index, .. } => match self.eval(record) {
                Value::Record(fields) => fields[*index].clone(),
                _ => Value::Null,
            },
            Expr::Index { container, index, .. } => item(&self.eval(container), &self.eval(index)),
            Expr::Slice { container, from, to, .. } => {
                let container = self.eval(container);
                let end = |end: &Option<Box<Expr>>, default| match end.as_deref().map(|e| self.eval(e)) {
                    None => Some(default),
                    Some(Value::Int(v)) => Some(v),
                    Some(_) => None,
                };
                let (from, to) = (end(from, 0), end(to, i64::MAX));
                from.zip(to).map_or(Value::Null, |(from, to)| slice(&container, from, to))
            }
            Expr::List { items, .. } => Value::List(items.iter().map(|i| self.eval(i)).collect()),
            Expr::Map { entries, .. } => {
                Value::Map(entries.iter().map(|(k, v)| (k.as_str().into(), self.eval(v))).collect())
            }
            Expr::Record { fields, .. } => Value::Record(fields.iter().map(|f| self.eval(f)).collect()),
            Expr::Call { function, args, ty } => self.call(function, args, ty),
        }
    }

    /// `and` (decided by false) and `or` (decided by true).
    fn connect(&self, args: &[Expr], deciding: bool) -> Value {
        let mut result = Value::Bool(!deciding);
        for arg in args {
            match self.eval(arg) {
                Value::Bool(b) if b == deciding => return Value::Bool(deciding),
                Value::Null => result = Value::Null,
                _ => {}
            }
        }
        result
    }

    fn unary(&self, op: UnaryOp, value: Value) -> Value {
        match (op, value) {
            (_, Value::Null) => Value::Null,
            (UnaryOp::Not, Value::Bool(b)) => Value::Bool(!b),
            (UnaryOp::Negate, Value::Float(v)) => Value::Float(-v),
            (UnaryOp::Negate, Value::Int(v)) => self.int(-(v as i128), Value::Int),
            (UnaryOp::Negate, Value::Duration(v)) => self.int(-(v as i128), Value::Duration),
            (UnaryOp::BitNot, Value::Int(v)) => Value::Int(-1 - v),
            (op, value) => unreachable!("{op:?} of {value:?}"),
        }
    }

    /// An int, timestamp or duration, if it fits.
    fn int(&self, value: i128, kind: fn(i64) -> Value) -> Value {
        self.or_fail(i64::try_from(value).ok().map(kind))
    }

    fn binary(&self, op: BinaryOp, left: &Value, right: &Value) -> Value {
        match op.family() {
            Family::Comparison(comparison) => Value::Bool(comparison.holds(left.compare(right))),
            Family::Like => {
                let (text, pattern): (Vec<char>, Vec<char>) = (chars(left), chars(right));
                Value::Bool(like(&text, &pattern))
            }
            Family::Matches => {
                let text: String = chars(left).iter().collect();
                let pattern: String = chars(right).iter().collect();
                self.or_fail(regex::Regex::new(&pattern).ok().map(|r| Value::Bool(r.is_match(&text))))
            }
            Family::Arithmetic => self.arithmetic(op, left, right),
        }
    }

    fn arithmetic(&self, op: BinaryOp, left: &Value, right: &Value) -> Value {
        use Value::{Duration, Float, Int, Str, Timestamp};
        match (left, right) {
            (Str(a), Str(b)) => Value::str(&format!("{a}{b}")),
            (Float(a), Float(b)) => self.floats(op, *a, *b),
            (Int(a), Int(b)) => self.ints(op, *a, *b, Value::Int),
            (Timestamp(a), Timestamp(b)) => self.ints(op, *a, *b, Value::Duration),
            (Timestamp(a), Duration(b)) => self.ints(op, *a, *b, Value::Timestamp),
            (Duration(a), Duration(b)) if op == BinaryOp::Divide => match *b {
                0 => self.fail(),
                b => Float(*a as f64 / b as f64),
            },
            (Duration(a), Duration(b)) if op == BinaryOp::FloorDivide => self.ints(op, *a, *b, Value::Int),
            (Duration(a), Duration(b) | Int(b)) => self.ints(op, *a, *b, Value::Duration),
            (Duration(a), Float(b)) => {
                if op == BinaryOp::Divide && *b == 0.0 {
                    return self.fail();
                }
                let scaled = if op == BinaryOp::Multiply { *a as f64 * b } else { *a as f64 / b };
                self.or_fail(nearest(scaled.round()).map(Duration))
            }
            (a, b) => unreachable!("{op:?} of {a:?} and {b:?}"),
        }
    }

    fn ints(&self, op: BinaryOp, left: i64, right: i64, kind: fn(i64) -> Value) -> Value {
        let (a, b) = (left as i128, right as i128);
        let floor = || if b > 0 { a.div_euclid(b) } else { (-a).div_euclid(-b) };
        match op {
            BinaryOp::Add => self.int(a + b, kind),
            BinaryOp::Subtract => self.int(a - b, kind),
            BinaryOp::Multiply => self.int(a * b, kind),
            BinaryOp::FloorDivide | BinaryOp::Modulo if b == 0 => self.fail(),
            BinaryOp::FloorDivide => self.int(floor(), kind),
            BinaryOp::Modulo => self.int(a - floor() * b, kind),
            BinaryOp::Power => self.or_fail(power(a, b).map(kind)),
            BinaryOp::BitAnd => kind(left & right),
            BinaryOp::BitOr => kind(left | right),
            BinaryOp::BitXor => kind(left ^ right),
            BinaryOp::ShiftLeft | BinaryOp::ShiftRight if !(0..64).contains(&b) => self.fail(),
            BinaryOp::ShiftLeft => kind(left << right),
            BinaryOp::ShiftRight => kind(left >> right),
            op => unreachable!("{op:?} of ints"),
        }
    }

    fn floats(&self, op: BinaryOp, a: f64, b: f64) -> Value {
        let divides = matches!(op, BinaryOp::Divide | BinaryOp::FloorDivide | BinaryOp::Modulo);
        if divides && b == 0.0 {
            return self.fail();
        }
        Value::Float(match op {
            BinaryOp::Add => a + b,
            BinaryOp::Subtract => a - b,
            BinaryOp::Multiply => a * b,
            BinaryOp::Divide => a / b,
            BinaryOp::FloorDivide => python_divmod(a, b).0,
            BinaryOp::Modulo => python_divmod(a, b).1,
            BinaryOp::Power => a.powf(b),
            op => unreachable!("{op:?} of floats"),
        })
    }

    fn cast(&self, arg: &Expr, to: &DataType, on_failure: CastFailure) -> Value {
        let value = self.eval(arg);
        let before = self.errors.get();
        let value = self.convert(&value, &arg.data_type().ty, &to.ty);
        if on_failure == CastFailure::Null {
            self.errors.set(before);
        }
        value
    }

    fn convert(&self, value: &Value, from: &Type, to: &Type) -> Value {
        match (value, to) {
            (Value::Null, _) => Value::Null,
            _ if from == to => value.clone(),
            (_, Type::Str) => {
                let mut out = String::new();
                let array = array_of_values(&from.clone().optional(), std::slice::from_ref(value));
                text::write_text(&array, from, 0, &mut out);
                Value::str(&out)
            }
            (Value::Int(v), Type::Float) => Value::Float(*v as f64),
            (Value::Int(v), Type::Bool) => Value::Bool(*v != 0),
            (Value::Int(v), Type::Timestamp) => Value::Timestamp(*v),
            (Value::Int(v), Type::Duration) => Value::Duration(*v),
            (Value::Timestamp(v) | Value::Duration(v), Type::Int) => Value::Int(*v),
            (Value::Bool(b), Type::Int) => Value::Int(if *b { 1 } else { 0 }),
            (Value::Bool(b), Type::Float) => Value::Float(if *b { 1.0 } else { 0.0 }),
            (Value::Float(v), Type::Int) => self.or_fail(nearest(v.trunc()).map(Value::Int)),
            (Value::Str(s), _) => self.or_fail(parse(s.trim(), to)),
            (Value::List(items), Type::List(item_to)) => {
                let Type::List(item_from) = from else { unreachable!("a list of type {from}") };
                Value::List(items.iter().map(|i| self.convert(i, &item_from.ty, &item_to.ty)).collect())
            }
            (Value::Map(entries), Type::Map(value_to)) => {
                let Type::Map(value_from) = from else { unreachable!("a map of type {from}") };
                let convert = |(k, v): &(Arc<str>, Value)| (k.clone(), self.convert(v, &value_from.ty, &value_to.ty));
                Value::Map(entries.iter().map(convert).collect())
            }
            (Value::Record(values), Type::Record(fields_to)) => {
                let Type::Record(fields_from) = from else { unreachable!("a record of type {from}") };
                let field = |to: &crate::data::Field| match fields_from.iter().position(|f| f.name == to.name) {
                    Some(i) => self.convert(&values[i], &fields_from[i].data_type.ty, &to.data_type.ty),
                    None => Value::Null,
                };
                Value::Record(fields_to.iter().map(field).collect())
            }
            (value, to) => unreachable!("cast of {value:?} to {to}"),
        }
    }

    fn call(&self, function: &FunctionRef, args: &[Expr], ty: &DataType) -> Value {
        let column = |arg: &Expr| Operand::Array(array_of_values(&arg.data_type(), &[self.eval(arg)]));
        let values: Vec<_> = args.iter().map(column).collect();
        let resolved = Resolved { args: args.iter().map(Expr::data_type).collect(), result: ty.clone() };
        let errors = Errors::default();
        let array = (function.0.evaluate)(&Call { args: &values, resolved: &resolved, rows: 1, errors: &errors });
        self.errors.set(self.errors.get() + errors.count());
        value_at(&array, ty, 0)
    }
}

fn power(base: i128, exponent: i128) -> Option<i64> {
    if exponent < 0 {
        return None;
    }
    // These would multiply for as long as the exponent says.
    let exponent = if base.abs() <= 1 && exponent > 2 { 2 + exponent % 2 } else { exponent };
    let mut result = 1i128;
    for _ in 0..exponent {
        result *= base;
        i64::try_from(result).ok()?;
    }
    i64::try_from(result).ok()
}

/// A whole float as an int, if it fits.
fn nearest(value: f64) -> Option<i64> {
    (value.is_finite() && value.abs() < 1e20).then(|| i64::try_from(value as i128).ok()).flatten()
}

/// Python's `divmod`: the remainder has the sign of `b`, and `a` is about `quotient * b + remainder`.
fn python_divmod(a: f64, b: f64) -> (f64, f64) {
    let mut remainder = a % b;
    let mut quotient = (a - remainder) / b;
    if remainder == 0.0 {
        remainder = 0.0f64.copysign(b);
    } else if (b < 0.0) != (remainder < 0.0) {
        remainder += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0f64.copysign(a / b), remainder);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, remainder)
}

fn parse(text: &str, to: &Type) -> Option<Value> {
    match to {
        Type::Int => text.parse().ok().map(Value::Int),
        Type::Float => text.parse().ok().map(Value::Float),
        Type::Bool => match text.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::Timestamp => parse_timestamp(text.as_bytes()).map(Value::Timestamp),
        Type::Duration => parse_duration(text).map(Value::Duration),
        to => unreachable!("cast of a string to {to}"),
    }
}

fn chars(text: &Value) -> Vec<char> {
    match text {
        Value::Str(s) => s.chars().collect(),
        other => unreachable!("{other:?} is not a string"),
    }
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skipped| like(&text[skipped..], rest)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => text.first() == Some(literal) && like(&text[1..], rest),
    }
}

/// `or` over the equality with each item.
fn contains(value: &Value, list: &Value) -> Value {
    let Value::List(items) = list else { return Value::Null };
    let mut result = Value::Bool(false);
    for item in items {
        if value.is_null() || item.is_null() {
            result = Value::Null;
        } else if value.compare(item).is_eq() {
            return Value::Bool(true);
        }
    }
    result
}

fn item(container: &Value, index: &Value) -> Value {
    let found = match (container, index) {
        (Value::List(items), Value::Int(i)) => {
            let from_start = if *i < 0 { *i as i128 + items.len() as i128 } else { *i as i128 };
            usize::try_from(from_start).ok().and_then(|i| items.get(i))
        }
        (Value::Map(entries), Value::Str(key)) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
        _ => None,
    };
    found.cloned().unwrap_or(Value::Null)
}

fn slice(container: &Value, from: i64, to: i64) -> Value {
    let within = |len: usize| {
        let place = move |end: i64| if end < 0 { end as i128 + len as i128 } else { end as i128 };
        move |i: usize| (place(from)..place(to)).contains(&(i as i128))
    };
    match container {
        Value::List(items) => {
            let inside = within(items.len());
            Value::List(items.iter().enumerate().filter(|(i, _)| inside(*i)).map(|(_, v)| v.clone()).collect())
        }
        Value::Str(s) => {
            let inside = within(s.chars().count());
            let kept: String = s.chars().enumerate().filter(|(i, _)| inside(*i)).map(|(_, c)| c).collect();
            Value::str(&kept)
        }
        Value::Null => Value::Null,
        other => unreachable!("a slice of {other:?}"),
    }
}
