//! The evaluator: a typed expression over a batch gives a column.

use std::cell::Cell;

use arrow_array::{ArrayRef, BooleanArray};

use super::Expr;
use crate::data::Batch;

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
pub fn evaluate(_expr: &Expr, _batch: &Batch, _errors: &Errors) -> ArrayRef {
    todo!()
}

/// A boolean `expr` as a mask; null rows are null in the mask ([`Batch::filter`] drops them).
pub fn evaluate_predicate(_expr: &Expr, _batch: &Batch, _errors: &Errors) -> BooleanArray {
    todo!()
}
