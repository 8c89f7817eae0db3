//! The evaluator: a typed expression over a batch gives a column.
//!
//! There is one evaluator, and it is columnar: each node of an expression becomes one pass of a kernel
//! over arrays, and constants stay single values throughout. One file per family of operators holds
//! the kernels; this one only sends each node to its kernel. A row that fails gives null and is counted in
//! [`Errors`], once for each operator that fails on it; no data makes the evaluator panic. What an
//! operator means for one row is told in `reference.rs`, against which these kernels are tested.
//!
//! Types are not checked here: an expression that `sema` would not have made panics.

pub(crate) mod arithmetic;
pub(crate) mod cast;
mod compare;
mod logic;
pub(crate) mod nested;
pub(crate) mod operand;
mod scope;
pub(crate) mod strings;

use std::cell::Cell;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray};

use super::{BinaryOp, Expr, Family, UnaryOp};
use crate::data::array::array_of_values;
use crate::data::{Batch, Type};
use operand::Operand;
use scope::Scope;

pub use strings::check_pattern;

/// Evaluation errors of data (overflow, division by zero, a failed cast): each gives null and is
/// counted here; the operator that evaluates reports the count under its name.
#[derive(Debug, Default)]
pub struct Errors(Cell<u64>);

impl Errors {
    pub fn count(&self) -> u64 {
        self.0.get()
    }

    pub fn add(&self, n: u64) {
        self.0.set(self.0.get() + n);
    }
}

/// The value of `expr` for each row of `batch`, as an array of `expr.data_type().arrow()`.
pub fn evaluate(expr: &Expr, batch: &Batch, errors: &Errors) -> ArrayRef {
    operand(expr, &Scope::whole(batch, errors)).into_array(batch.len())
}

/// A boolean `expr` as a mask; null rows are null in the mask ([`Batch::filter`] drops them).
pub fn evaluate_predicate(expr: &Expr, batch: &Batch, errors: &Errors) -> BooleanArray {
    evaluate(expr, batch, errors).as_boolean().clone()
}

/// The value of `expr` for each row of the scope.
fn operand(expr: &Expr, scope: &Scope<'_>) -> Operand {
    match expr {
        Expr::Column { index, .. } => Operand::Array(scope.column(*index)),
        Expr::Literal { value, ty } => Operand::Scalar(array_of_values(ty, std::slice::from_ref(value))),
        Expr::EventTime => Operand::Array(scope.times()),
        Expr::Place => Operand::Array(scope.places()),
        Expr::Unary { op, arg, .. } => unary(*op, arg, scope),
        Expr::Binary { op, left, right, .. } => binary(*op, left, right, scope),
        Expr::And(args) => logic::and(args, scope),
        Expr::Or(args) => logic::or(args, scope),
        Expr::IsNull(arg) => logic::is_null(&operand(arg, scope), scope),
        Expr::Coalesce { args, .. } => logic::coalesce(args, scope),
        Expr::If { condition, then, otherwise, .. } => logic::choose(condition, then, otherwise, scope),
        Expr::In { value, list } => nested::contains(value, list, scope),
        Expr::Cast { arg, ty, on_failure } => {
            let (from, value) = (arg.data_type(), operand(arg, scope));
            scope.lift(&[&value], |rows, errors| cast::cast(value.array(), &from, ty, *on_failure, rows, errors))
        }
        Expr::Field { record, index, .. } => {
            let record = operand(record, scope);
            scope.lift(&[&record], |_, _| nested::field(record.array(), *index))
        }
        Expr::Index { container, index, .. } => nested::index(container, index, scope),
        Expr::Slice { container, from, to, .. } => nested::slice(container, from.as_deref(), to.as_deref(), scope),
        Expr::List { items, ty } => nested::list(items, ty, scope),
        Expr::Map { entries, ty } => nested::map(entries, ty, scope),
        Expr::Record { fields, ty } => nested::record(fields, ty, scope),
        Expr::Call { function, args, ty } => call(function, args, ty, scope),
    }
}

fn unary(op: UnaryOp, arg: &Expr, scope: &Scope<'_>) -> Operand {
    let value = operand(arg, scope);
    let ty = arg.data_type().ty;
    scope.lift(&[&value], |rows, errors| match op {
        UnaryOp::Not => logic::not(&value),
        UnaryOp::Negate if ty == Type::Float => arithmetic::negate_floats(&value),
        UnaryOp::Negate => arithmetic::negate_ints(&value, rows, errors),
        UnaryOp::BitNot => arithmetic::bit_not(&value),
    })
}

fn binary(op: BinaryOp, left: &Expr, right: &Expr, scope: &Scope<'_>) -> Operand {
    let types = (left.data_type().ty, right.data_type().ty);
    let (a, b) = (operand(left, scope), operand(right, scope));
    scope.lift(&[&a, &b], |rows, errors| match op.family() {
        Family::Arithmetic => arithmetic::binary(op, &a, &b, &types, rows, errors),
        Family::Comparison(comparison) => Arc::new(compare::compare(comparison, &a, &b, &types.0, rows)),
        Family::Like => strings::like(&a, &b, rows),
        Family::Matches => strings::matches(&a, &b, rows, errors),
    })
}

fn call(function: &super::FunctionRef, args: &[Expr], ty: &crate::data::DataType, scope: &Scope<'_>) -> Operand {
    let resolved = super::function::Resolved { args: args.iter().map(Expr::data_type).collect(), result: ty.clone() };
    let values: Vec<_> = args.iter().map(|a| operand(a, scope)).collect();
    scope.lift(&values.iter().collect::<Vec<_>>(), |rows, errors| {
        (function.0.evaluate)(&super::function::Call { args: &values, resolved: &resolved, rows, errors })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::array::value_at;
    use crate::data::{DataType, Value};
    use crate::expr::CastFailure;

    fn batch(columns: Vec<ArrayRef>) -> Batch {
        let rows = columns[0].len();
        Batch { columns, time: (0..rows as i64).collect(), ..Batch::default() }
    }

    fn ints(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(arrow_array::Int64Array::from(values.to_vec()))
    }

    fn column(index: usize, ty: Type) -> Expr {
        Expr::column(index, ty.optional())
    }

    fn op(op: BinaryOp, left: Expr, right: Expr, ty: Type) -> Expr {
        Expr::Binary { op, left: Box::new(left), right: Box::new(right), ty: ty.optional() }
    }

    fn values(expr: &Expr, batch: &Batch) -> (Vec<Value>, u64) {
        let errors = Errors::default();
        let (array, ty): (_, DataType) = (evaluate(expr, batch, &errors), expr.data_type());
        ((0..batch.len()).map(|row| value_at(&array, &ty, row)).collect(), errors.count())
    }

    #[test]
    fn a_failed_row_is_null_and_counted_once() {
        let rows = batch(vec![ints(&[Some(i64::MAX), Some(1), None]), ints(&[Some(1), Some(0), Some(0)])]);
        let (a, b) = (column(0, Type::Int), column(1, Type::Int));
        let sum = op(BinaryOp::Add, a.clone(), b.clone(), Type::Int);
        assert_eq!(values(&sum, &rows), (vec![Value::Null, Value::Int(1), Value::Null], 1));
        let remainder = op(BinaryOp::Modulo, a, b, Type::Int);
        assert_eq!(values(&remainder, &rows), (vec![Value::Int(0), Value::Null, Value::Null], 1));
    }

    #[test]
    fn a_constant_that_fails_counts_for_each_row() {
        let one = |v| Expr::literal(Value::Int(v), Type::Int);
        let rows = batch(vec![ints(&[Some(1), None, None])]);
        let broken = op(BinaryOp::FloorDivide, one(1), one(0), Type::Int);
        assert_eq!(values(&broken, &rows), (vec![Value::Null; 3], 3));
    }

    #[test]
    fn decided_rows_are_not_evaluated() {
        let rows = batch(vec![ints(&[Some(0), Some(2), None])]);
        let a = column(0, Type::Int);
        let zero = Expr::literal(Value::Int(0), Type::Int);
        let quotient = op(BinaryOp::FloorDivide, Expr::literal(Value::Int(4), Type::Int), a.clone(), Type::Int);
        let guard = op(BinaryOp::NotEqual, a, zero.clone(), Type::Bool);
        let both = Expr::And(vec![guard, op(BinaryOp::Greater, quotient, zero, Type::Bool)]);
        assert_eq!(values(&both, &rows), (vec![Value::Bool(false), Value::Bool(true), Value::Null], 0));
    }

    #[test]
    fn a_cast_that_fails_counts_but_a_try_cast_does_not() {
        let texts: ArrayRef = Arc::new(arrow_array::StringArray::from(vec![Some(" 42 "), Some("x"), None]));
        let rows = batch(vec![texts]);
        let cast =
            |on_failure| Expr::Cast { arg: Box::new(column(0, Type::Str)), ty: Type::Int.optional(), on_failure };
        let expected = vec![Value::Int(42), Value::Null, Value::Null];
        assert_eq!(values(&cast(CastFailure::Count), &rows), (expected.clone(), 1));
        assert_eq!(values(&cast(CastFailure::Null), &rows), (expected, 0));
    }
}
