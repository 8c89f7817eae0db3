//! Three-valued logic, and the operators that evaluate an operand only for the rows that need it.
//!
//! `and`, `or`, `coalesce` and `if` go from operand to operand with the rows still undecided. Taking
//! those rows out of the batch costs a copy of the columns in use, so an operand that is *sure* (it
//! cannot fail and costs little) is evaluated over all rows instead: nobody can tell the difference.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;

use super::compare::{false_bits, ternary, true_bits};
use super::operand;
use super::operand::{Operand, boolean_array};
use super::scope::{Part, Scope, merge};
use crate::data::Type;
use crate::expr::{BinaryOp, Expr, UnaryOp};

pub(super) fn not(a: &Operand) -> ArrayRef {
    let mask = a.booleans();
    boolean_array(!mask.values(), mask.nulls().cloned())
}

pub(super) fn is_null(a: &Operand, scope: &Scope<'_>) -> Operand {
    scope.lift(&[a], |rows, _| {
        let bits = match a.nulls(rows) {
            Some(nulls) => !nulls.inner(),
            None => BooleanBuffer::new_unset(rows),
        };
        boolean_array(bits, None)
    })
}

pub(super) fn and(args: &[Expr], scope: &Scope<'_>) -> Operand {
    connect(args, scope, Connective::And)
}

pub(super) fn or(args: &[Expr], scope: &Scope<'_>) -> Operand {
    connect(args, scope, Connective::Or)
}

#[derive(Clone, Copy, PartialEq)]
enum Connective {
    And,
    Or,
}

impl Connective {
    /// The value that decides a row.
    fn deciding(self) -> bool {
        self == Connective::Or
    }

    fn decided(self, mask: &BooleanArray) -> BooleanBuffer {
        if self.deciding() { true_bits(mask) } else { false_bits(mask) }
    }

    fn combine(self, a: &BooleanArray, b: &BooleanArray) -> BooleanArray {
        if a.nulls().is_none() && b.nulls().is_none() {
            let bits = match self {
                Connective::And => a.values() & b.values(),
                Connective::Or => a.values() | b.values(),
            };
            return BooleanArray::new(bits, None);
        }
        let (a_true, a_false, b_true, b_false) = (true_bits(a), false_bits(a), true_bits(b), false_bits(b));
        match self {
            Connective::And => ternary(&a_true & &b_true, &(&a_false | &b_false)),
            Connective::Or => ternary(&a_true | &b_true, &(&a_false & &b_false)),
        }
    }
}

fn connect(args: &[Expr], scope: &Scope<'_>, connective: Connective) -> Operand {
    let (first, rest) = args.split_first().expect("a connective has operands");
    let mut so_far = operand(first, scope);
    for arg in rest {
        let decided = connective.decided(so_far.booleans());
        let open = decided.len() - decided.count_set_bits();
        if open == 0 {
            break;
        }
        let next = if open == decided.len() || is_sure(arg) {
            operand(arg, scope)
        } else {
            match operand(arg, &scope.select(&!&decided)) {
                Operand::Scalar(value) => Operand::Scalar(value),
                Operand::Array(values) => {
                    let neutral: ArrayRef = Arc::new(BooleanArray::from(vec![!connective.deciding()]));
                    let parts = [Part::Whole(Operand::Scalar(neutral)), Part::Selected(values)];
                    Operand::Array(merge(&parts, decided.iter().map(|done| !done as usize)))
                }
            }
        };
        so_far = combine(so_far, next, scope.rows, connective);
    }
    so_far
}

fn combine(a: Operand, b: Operand, rows: usize, connective: Connective) -> Operand {
    match (&a, &b) {
        (Operand::Scalar(_), Operand::Scalar(_)) => {
            Operand::Scalar(Arc::new(connective.combine(a.booleans(), b.booleans())))
        }
        _ => {
            let (a, b) = (Operand::Array(a.into_array(rows)), Operand::Array(b.into_array(rows)));
            Operand::Array(Arc::new(connective.combine(a.booleans(), b.booleans())))
        }
    }
}

pub(super) fn coalesce(args: &[Expr], scope: &Scope<'_>) -> Operand {
    let (first, rest) = args.split_first().expect("a coalesce has operands");
    let first = operand(first, scope);
    let Some(nulls) = first.nulls(scope.rows).filter(|n| n.null_count() > 0) else { return first };
    if rest.is_empty() {
        return first;
    }
    if nulls.null_count() == scope.rows {
        return coalesce(rest, scope);
    }
    let missing = !nulls.inner();
    let others = match rest {
        [only] if is_sure(only) => Part::Whole(operand(only, scope)),
        _ => part(coalesce(rest, &scope.select(&missing))),
    };
    Operand::Array(merge(&[Part::Whole(first), others], missing.iter().map(usize::from)))
}

pub(super) fn choose(condition: &Expr, then: &Expr, otherwise: &Expr, scope: &Scope<'_>) -> Operand {
    let condition = operand(condition, scope);
    // A condition that is null takes the other branch, as false does.
    let taken = true_bits(condition.booleans());
    let count = taken.count_set_bits();
    if count == taken.len() {
        return operand(then, scope);
    }
    if count == 0 {
        return operand(otherwise, scope);
    }
    let branch = |expr: &Expr, rows: &dyn Fn() -> BooleanBuffer| {
        if is_sure(expr) { Part::Whole(operand(expr, scope)) } else { part(operand(expr, &scope.select(&rows()))) }
    };
    let parts = [branch(otherwise, &|| !&taken), branch(then, &|| taken.clone())];
    Operand::Array(merge(&parts, taken.iter().map(usize::from)))
}

fn part(selected: Operand) -> Part {
    match selected {
        Operand::Scalar(_) => Part::Whole(selected),
        Operand::Array(values) => Part::Selected(values),
    }
}

/// Whether an expression fails for no row and costs about as little as selecting rows would.
fn is_sure(expr: &Expr) -> bool {
    match expr {
        Expr::Column { .. } | Expr::Literal { .. } | Expr::EventTime | Expr::Place => true,
        Expr::Unary { op, arg, .. } => (*op != UnaryOp::Negate || arg.data_type().ty == Type::Float) && is_sure(arg),
        Expr::Binary { op, left, right, .. } => is_sure_operator(*op, left) && is_sure(left) && is_sure(right),
        Expr::And(args) | Expr::Or(args) => args.iter().all(is_sure),
        Expr::IsNull(arg) => is_sure(arg),
        Expr::Field { record, .. } => is_sure(record),
        Expr::Coalesce { .. }
        | Expr::If { .. }
        | Expr::In { .. }
        | Expr::Cast { .. }
        | Expr::Index { .. }
        | Expr::Slice { .. }
        | Expr::List { .. }
        | Expr::Map { .. }
        | Expr::Record { .. }
        | Expr::Call { .. } => false,
    }
}

fn is_sure_operator(op: BinaryOp, left: &Expr) -> bool {
    match op {
        BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply => left.data_type().ty == Type::Float,
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor => true,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual => left.data_type().ty.is_ordered(),
        BinaryOp::Divide
        | BinaryOp::FloorDivide
        | BinaryOp::Modulo
        | BinaryOp::Power
        | BinaryOp::ShiftLeft
        | BinaryOp::ShiftRight
        | BinaryOp::Like
        | BinaryOp::Matches => false,
    }
}
