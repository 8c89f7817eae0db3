//! The rows over which a subexpression is evaluated: a batch, or a selection of its rows.
//!
//! A branch that only some rows take is evaluated over those rows alone, so that a row's errors are
//! counted only where the program asked for the value. Columns are selected when an expression first
//! reads them: filtering the whole batch would copy columns that the branch does not use.

use std::cell::RefCell;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, UInt32Array};
use arrow_buffer::{BooleanBuffer, ScalarBuffer};
use arrow_select::interleave::interleave;

use super::Errors;
use super::operand::Operand;
use crate::data::Batch;

pub(crate) struct Scope<'a> {
    batch: &'a Batch,
    /// Rows of the batch; `None` means all.
    selected: Option<UInt32Array>,
    /// Columns already taken for the selection.
    taken: RefCell<Vec<(usize, ArrayRef)>>,
    pub(crate) rows: usize,
    pub(crate) errors: &'a Errors,
}

impl<'a> Scope<'a> {
    pub(crate) fn whole(batch: &'a Batch, errors: &'a Errors) -> Scope<'a> {
        Scope { batch, selected: None, taken: RefCell::default(), rows: batch.len(), errors }
    }

    /// The rows of this scope whose bit is set.
    pub(crate) fn select(&self, bits: &BooleanBuffer) -> Scope<'a> {
        let rows: UInt32Array = match &self.selected {
            None => bits.set_indices_u32().collect::<Vec<_>>().into(),
            Some(outer) => bits.set_indices().map(|i| outer.value(i)).collect::<Vec<_>>().into(),
        };
        Scope {
            batch: self.batch,
            rows: rows.len(),
            selected: Some(rows),
            taken: RefCell::default(),
            errors: self.errors,
        }
    }

    pub(crate) fn column(&self, index: usize) -> ArrayRef {
        let column = &self.batch.columns[index];
        let Some(rows) = &self.selected else { return column.clone() };
        if let Some((_, taken)) = self.taken.borrow().iter().find(|t| t.0 == index) {
            return taken.clone();
        }
        let taken = arrow_select::take::take(column, rows, None).expect("selected rows are within the batch");
        self.taken.borrow_mut().push((index, taken.clone()));
        taken
    }

    pub(crate) fn times(&self) -> ArrayRef {
        self.system(&self.batch.time)
    }

    pub(crate) fn places(&self) -> ArrayRef {
        self.system(self.batch.places())
    }

    fn system(&self, values: &ScalarBuffer<i64>) -> ArrayRef {
        let Some(rows) = &self.selected else { return Arc::new(Int64Array::new(values.clone(), None)) };
        Arc::new(Int64Array::from_iter_values(rows.values().iter().map(|&i| values[i as usize])))
    }

    /// Runs a kernel over all rows, or once if every operand is constant; the kernel is told how many
    /// rows it has. An error of a constant is an error of each row.
    pub(crate) fn lift(&self, args: &[&Operand], kernel: impl FnOnce(usize, &Errors) -> ArrayRef) -> Operand {
        if !args.iter().all(|a| a.is_scalar()) {
            return Operand::Array(kernel(self.rows, self.errors));
        }
        let errors = Errors::default();
        let value = kernel(1, &errors);
        self.errors.add(errors.count() * self.rows as u64);
        Operand::Scalar(value)
    }
}

/// A branch's values and how they are spread over the rows of the scope around it.
pub(crate) enum Part {
    /// One for every row of the scope, or a constant.
    Whole(Operand),
    /// One for every selected row, in order.
    Selected(ArrayRef),
}

impl Part {
    pub(crate) fn array(&self) -> &ArrayRef {
        match self {
            Part::Whole(operand) => operand.array(),
            Part::Selected(array) => array,
        }
    }
}

/// One column of the `parts`, of which `choice` names one for each row.
pub(crate) fn merge(parts: &[Part], choice: impl Iterator<Item = usize>) -> ArrayRef {
    let arrays: Vec<_> = parts.iter().map(|p| p.array().as_ref()).collect();
    let mut used = vec![0; parts.len()];
    let place = |(row, part): (usize, usize)| match &parts[part] {
        Part::Whole(operand) => (part, operand.index(row)),
        Part::Selected(_) => {
            used[part] += 1;
            (part, used[part] - 1)
        }
    };
    let places: Vec<_> = choice.enumerate().map(place).collect();
    interleave(&arrays, &places).expect("branches of an expression have one type")
}
