//! What a function sees of a call: its arguments row by row or as whole columns, and the ways to make
//! its result. A constant argument is one value, read again for every row, never a column of copies.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array};
use arrow_buffer::NullBuffer;

use super::Resolved;
use crate::data::array::{array_of_values, value_at};
use crate::data::{Type, Value};
use crate::expr::Errors;
use crate::expr::eval::operand::{Operand, union_nulls};
use crate::expr::eval::strings::StrColumn;

/// A call of a function over some rows.
pub struct Call<'a> {
    /// Of the resolved types.
    pub args: &'a [Operand],
    pub resolved: &'a Resolved,
    pub rows: usize,
    pub errors: &'a Errors,
}

impl Call<'_> {
    /// Counts a failed row; its value is null.
    pub(super) fn fail<T>(&self) -> Option<T> {
        self.errors.add(1);
        None
    }

    /// Counts the row as failed if there is no value.
    pub(super) fn or_fail<T>(&self, value: Option<T>) -> Option<T> {
        value.or_else(|| self.fail())
    }

    /// The type of an argument.
    pub(super) fn ty(&self, arg: usize) -> &Type {
        &self.resolved.args[arg].ty
    }

    /// Whether an optional argument was given.
    pub(super) fn has(&self, arg: usize) -> bool {
        arg < self.args.len()
    }

    pub(super) fn str(&self, arg: usize, row: usize) -> Option<&str> {
        let arg = &self.args[arg];
        let (strings, i) = (arg.strings(), arg.index(row));
        strings.is_valid(i).then(|| strings.value(i))
    }

    /// Of an int, timestamp or duration.
    pub(super) fn int(&self, arg: usize, row: usize) -> Option<i64> {
        let arg = &self.args[arg];
        arg.array().is_valid(arg.index(row)).then(|| arg.ints().get(row))
    }

    /// An optional argument, or what stands for it: `None` if it is null.
    pub(super) fn int_or(&self, arg: usize, row: usize, default: i64) -> Option<i64> {
        if self.has(arg) { self.int(arg, row) } else { Some(default) }
    }

    pub(super) fn float(&self, arg: usize, row: usize) -> Option<f64> {
        let arg = &self.args[arg];
        arg.array().is_valid(arg.index(row)).then(|| arg.floats().get(row))
    }

    /// Of whatever type; for arguments that need no speed.
    pub(super) fn value(&self, arg: usize, row: usize) -> Value {
        value_at(self.args[arg].array(), &self.resolved.args[arg], self.args[arg].index(row))
    }

    /// `f` of each float of the only argument.
    pub(super) fn map_floats(&self, f: impl Fn(f64) -> f64) -> ArrayRef {
        let arg = &self.args[0];
        Arc::new(Float64Array::new(arg.floats().map(f).into(), arg.array().nulls().cloned()))
    }

    /// `f` of each pair of floats of the two arguments.
    pub(super) fn zip_floats(&self, f: impl Fn(f64, f64) -> f64) -> ArrayRef {
        let nulls = union_nulls(&[&self.args[0], &self.args[1]], self.rows);
        Arc::new(Float64Array::new(self.args[0].floats().zip(self.args[1].floats(), f).into(), nulls))
    }

    /// `f` of each int, timestamp or duration of the only argument, where it is not null.
    pub(super) fn map_ints(&self, f: impl Fn(i64) -> Option<i64>) -> ArrayRef {
        self.ints(|row| self.or_fail(f(self.int(0, row)?)))
    }

    pub(super) fn ints(&self, f: impl FnMut(usize) -> Option<i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter((0..self.rows).map(f)))
    }

    pub(super) fn floats(&self, f: impl FnMut(usize) -> Option<f64>) -> ArrayRef {
        Arc::new(Float64Array::from_iter((0..self.rows).map(f)))
    }

    pub(super) fn booleans(&self, f: impl FnMut(usize) -> Option<bool>) -> ArrayRef {
        Arc::new(BooleanArray::from_iter((0..self.rows).map(f)))
    }

    /// Strings, which `f` appends to the buffer that it is given; `None` is null.
    pub(super) fn strings(&self, mut f: impl FnMut(usize, &mut String) -> Option<()>) -> ArrayRef {
        let mut out = StrColumn::with_capacity(self.rows, self.rows * 8);
        for row in 0..self.rows {
            out.try_push_with(self.errors, |buffer| f(row, buffer));
        }
        out.finish()
    }

    /// Values of the result's type, whatever it is, from the rows in which no argument is null; for
    /// functions that need no speed.
    pub(super) fn values(&self, mut f: impl FnMut(&[Value]) -> Option<Value>) -> ArrayRef {
        let nulls = self.nulls();
        let row = |row: usize| {
            if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                return Value::Null;
            }
            let args: Vec<_> = (0..self.args.len()).map(|arg| self.value(arg, row)).collect();
            f(&args).unwrap_or(Value::Null)
        };
        let values: Vec<_> = (0..self.rows).map(row).collect();
        array_of_values(&self.resolved.result, &values)
    }

    /// Where any argument is null.
    pub(super) fn nulls(&self) -> Option<NullBuffer> {
        union_nulls(&self.args.iter().collect::<Vec<_>>(), self.rows)
    }
}

/// Appends a text, as the last step of a row's string.
pub(super) fn append(out: &mut String, text: &str) -> Option<()> {
    out.push_str(text);
    Some(())
}

/// Appends characters, as the last step of a row's string.
pub(super) fn append_chars(out: &mut String, chars: impl Iterator<Item = char>) -> Option<()> {
    out.extend(chars);
    Some(())
}
