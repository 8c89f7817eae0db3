//! A batch of rows with everything about them that can be computed for all at once: which steps they fit as far as the
//! row alone decides, the values that comparisons look at, and what is remembered and kept of rows that are taken.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, StringArray};

use super::index::Form;
use super::program::{General, Program, StepProgram};
use super::{MemoryValue, SOURCE_COLUMN, Slot};
use crate::data::array::{array_of_values, value_at};
use crate::data::key::{encode_field, ordered_float, ordered_int};
use crate::data::value::compare_floats;
use crate::data::{Batch, DataType, Type, Value};
use crate::expr::{Errors, Expr, add_columns, evaluate};

/// See the module's doc.
pub struct Prepared<'a> {
    pub batch: &'a Batch,
    /// By row, as bits: the steps that it fits, but for what comparisons and general conditions say.
    pub fits: Vec<u64>,
    steps: Vec<PreparedStep>,
    pub errors: &'a Errors,
}

struct PreparedStep {
    compared: Vec<Cells>,
    /// As the step's memories.
    remembered: Vec<Remembered>,
    kept: Vec<(Column, DataType)>,
}

enum Remembered {
    Value(Cells),
    Count,
    Args(Vec<Column>),
}

/// Where a row's value stands in a column: that has values of all rows, or of those rows only that fit a step.
#[derive(Clone)]
struct At(Option<Arc<Vec<u32>>>);

impl At {
    #[inline]
    fn index(&self, row: usize) -> usize {
        self.0.as_ref().map_or(row, |at| at[row] as usize)
    }
}

/// Values that are looked at as arrays.
struct Column {
    array: ArrayRef,
    at: At,
}

/// Values that are looked at one by one.
struct Cells {
    values: Typed,
    at: At,
}

enum Typed {
    Ints(Int64Array, fn(i64) -> Value),
    Floats(Float64Array),
    Strings(StringArray),
    Others(ArrayRef, DataType),
}

impl Cells {
    fn new(column: Column, ty: &DataType) -> Cells {
        let Column { array, at } = column;
        let values = match &ty.ty {
            Type::Int => Typed::Ints(array.as_primitive::<Int64Type>().clone(), Value::Int),
            Type::Timestamp => Typed::Ints(array.as_primitive::<Int64Type>().clone(), Value::Timestamp),
            Type::Duration => Typed::Ints(array.as_primitive::<Int64Type>().clone(), Value::Duration),
            Type::Float => Typed::Floats(array.as_primitive::<Float64Type>().clone()),
            Type::Str => Typed::Strings(array.as_string::<i32>().clone()),
            Type::Null | Type::Bool | Type::List(_) | Type::Map(_) | Type::Record(_) => {
                Typed::Others(array, ty.clone())
            }
        };
        Cells { values, at }
    }

    fn value(&self, row: usize) -> Value {
        let i = self.at.index(row);
        match &self.values {
            Typed::Ints(values, _) if values.is_null(i) => Value::Null,
            Typed::Ints(values, make) => make(values.value(i)),
            Typed::Floats(values) if values.is_null(i) => Value::Null,
            Typed::Floats(values) => Value::Float(values.value(i)),
            Typed::Strings(values) if values.is_null(i) => Value::Null,
            Typed::Strings(values) => Value::str(values.value(i)),
            Typed::Others(values, ty) => value_at(values.as_ref(), ty, i),
        }
    }

    /// The place of the row's value in an index.
    #[inline]
    fn place(&self, row: usize, form: Form) -> Option<u64> {
        let i = self.at.index(row);
        match &self.values {
            Typed::Ints(values, _) => (!values.is_null(i)).then(|| ordered_int(values.value(i))),
            Typed::Floats(values) => (!values.is_null(i)).then(|| ordered_float(values.value(i))),
            Typed::Strings(values) => (!values.is_null(i)).then(|| form.place_of_str(values.value(i))),
            Typed::Others(..) => form.place(&self.value(row)),
        }
    }

    /// How the row's value compares with another of its type; `None` if one of them is null.
    #[inline]
    fn compare(&self, row: usize, other: &Value) -> Option<Ordering> {
        let i = self.at.index(row);
        match (&self.values, other) {
            (_, Value::Null) => None,
            (Typed::Ints(values, _), Value::Int(b) | Value::Timestamp(b) | Value::Duration(b)) => {
                (!values.is_null(i)).then(|| values.value(i).cmp(b))
            }
            (Typed::Floats(values), Value::Float(b)) => {
                (!values.is_null(i)).then(|| compare_floats(values.value(i), *b))
            }
            (Typed::Strings(values), Value::Str(b)) => (!values.is_null(i)).then(|| values.value(i).cmp(b)),
            (_, other) => Some(self.value(row)).filter(|v| !v.is_null()).map(|v| v.compare(other)),
        }
    }
}

impl<'a> Prepared<'a> {
    pub fn new(program: &Program, batch: &'a Batch, errors: &'a Errors) -> Prepared<'a> {
        let sources = batch.columns[SOURCE_COLUMN].as_primitive::<Int64Type>();
        let mut fits = vec![0; batch.len()];
        let mut steps = Vec::with_capacity(program.steps.len());
        for (id, step) in program.steps.iter().enumerate() {
            let mut rows = Rows::of(batch, |row| sources.value(row) == step.source);
            if !step.local.is_empty() {
                let condition = match step.local.as_slice() {
                    [only] => only.clone(),
                    all => Expr::And(all.to_vec()),
                };
                rows = rows.filter(&condition, errors);
            }
            rows.for_each(|row| fits[row] |= 1 << id);
            steps.push(PreparedStep::new(program, step, &mut rows, errors));
        }
        Prepared { batch, fits, steps, errors }
    }

    /// Whether a row that [fits](Self::fits) the step also does with what was taken.
    #[inline]
    pub fn satisfies(&self, program: &Program, step: usize, row: usize, memories: &[Value]) -> bool {
        let compared = program.steps[step].compared.iter().zip(&self.steps[step].compared);
        for (condition, cells) in compared {
            if !cells.compare(row, &memories[condition.memory]).is_some_and(|order| condition.op.holds(order)) {
                return false;
            }
        }
        program.steps[step].general.iter().all(|general| self.general(program, general, row, memories))
    }

    /// The place, in an index, of what the step's comparison number `compared` asks of a row that fits the step.
    pub fn place(&self, step: usize, compared: usize, row: usize, form: Form) -> Option<u64> {
        self.steps[step].compared[compared].place(row, form)
    }

    fn general(&self, program: &Program, general: &General, row: usize, memories: &[Value]) -> bool {
        let column = |slot: &Slot| match slot {
            Slot::Memory(m) => array_of_values(&program.memories[*m].data_type(), &memories[*m..=*m]),
            Slot::Column(c) => self.batch.columns[*c].slice(row, 1),
        };
        let pair = Batch {
            columns: general.of.iter().map(column).collect(),
            time: self.batch.time.slice(row, 1),
            at: self.batch.at.as_ref().map(|at| at.slice(row, 1)),
            ..Batch::default()
        };
        let fits = evaluate(&general.expr, &pair, self.errors);
        let fits = fits.as_boolean();
        fits.is_valid(0) && fits.value(0)
    }

    /// What is remembered of a row by the step's memory number `i`.
    pub fn remembered(&self, step: usize, i: usize, row: usize) -> Option<Value> {
        match &self.steps[step].remembered[i] {
            Remembered::Value(cells) => Some(cells.value(row)),
            Remembered::Count | Remembered::Args(_) => None,
        }
    }

    /// The arguments, as columns of one row, of the aggregate that is the step's memory number `i`.
    pub fn args(&self, step: usize, i: usize, row: usize) -> Vec<ArrayRef> {
        match &self.steps[step].remembered[i] {
            Remembered::Args(args) => args.iter().map(|arg| arg.array.slice(arg.at.index(row), 1)).collect(),
            Remembered::Value(_) | Remembered::Count => Vec::new(),
        }
    }

    /// A kept value of a row that fits the step.
    pub fn kept_value(&self, step: usize, position: usize, row: usize) -> Value {
        let (column, ty) = &self.steps[step].kept[position];
        value_at(column.array.as_ref(), ty, column.at.index(row))
    }

    /// What is kept of a row that the step takes.
    pub fn kept(&self, step: usize, row: usize) -> Box<[u8]> {
        let kept = &self.steps[step].kept;
        if kept.is_empty() {
            return Box::default();
        }
        let mut out = Vec::with_capacity(kept.len() * 9);
        for (column, ty) in kept {
            encode_field(&column.array, ty, column.at.index(row), &mut out);
        }
        out.into()
    }
}

impl PreparedStep {
    fn new(program: &Program, step: &StepProgram, rows: &mut Rows<'_>, errors: &Errors) -> PreparedStep {
        let compared = step.compared.iter().map(|c| rows.cells(&c.left, errors)).collect();
        let remembered = step.memories.iter().map(|&m| match &program.memories[m].value {
            MemoryValue::Last(e) | MemoryValue::First(e) => Remembered::Value(rows.cells(e, errors)),
            MemoryValue::Count => Remembered::Count,
            MemoryValue::Aggregate(call) => {
                Remembered::Args(call.args.iter().map(|e| rows.values(e, errors)).collect())
            }
        });
        let remembered = remembered.collect();
        let kept = step.kept.iter().map(|e| (rows.values(e, errors), e.data_type())).collect();
        PreparedStep { compared, remembered, kept }
    }
}

/// Some rows of a batch.
struct Rows<'a> {
    batch: &'a Batch,
    /// `None`: all.
    indices: Option<Vec<u32>>,
    /// By row of the batch: its place among them.
    at: Option<Arc<Vec<u32>>>,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a Batch, is_one: impl Fn(usize) -> bool) -> Rows<'a> {
        let indices: Vec<u32> = (0..batch.len() as u32).filter(|&row| is_one(row as usize)).collect();
        let indices = (indices.len() < batch.len()).then_some(indices);
        Rows { batch, indices, at: None }
    }

    fn filter(self, condition: &Expr, errors: &Errors) -> Rows<'a> {
        let mask: ArrayRef = match &self.indices {
            None => evaluate(condition, self.batch, errors),
            Some(indices) => evaluate(condition, &taken(self.batch, condition, indices), errors),
        };
        let mask: &BooleanArray = mask.as_boolean();
        let is_true = |i: usize| mask.is_valid(i) && mask.value(i);
        let kept: Vec<u32> = match &self.indices {
            None if (0..mask.len()).all(is_true) => return self,
            None => (0..mask.len() as u32).filter(|&i| is_true(i as usize)).collect(),
            Some(indices) => indices.iter().enumerate().filter(|(i, _)| is_true(*i)).map(|(_, row)| *row).collect(),
        };
        Rows { batch: self.batch, indices: Some(kept), at: None }
    }

    fn for_each(&self, mut visit: impl FnMut(usize)) {
        match &self.indices {
            None => (0..self.batch.len()).for_each(visit),
            Some(indices) => indices.iter().for_each(|&row| visit(row as usize)),
        }
    }

    /// The values of `e` for these rows; of others nothing is computed, so that nothing in them can fail.
    fn values(&mut self, e: &Expr, errors: &Errors) -> Column {
        if let Expr::Column { index, .. } = e {
            return Column { array: self.batch.columns[*index].clone(), at: At(None) };
        }
        let Some(indices) = &self.indices else {
            return Column { array: evaluate(e, self.batch, errors), at: At(None) };
        };
        let at = self.at.get_or_insert_with(|| {
            let mut at = vec![0; self.batch.len()];
            indices.iter().enumerate().for_each(|(i, &row)| at[row as usize] = i as u32);
            Arc::new(at)
        });
        Column { array: evaluate(e, &taken(self.batch, e, indices), errors), at: At(Some(at.clone())) }
    }

    fn cells(&mut self, e: &Expr, errors: &Errors) -> Cells {
        Cells::new(self.values(e, errors), &e.data_type())
    }
}

/// The rows at `indices`, with those columns only that `e` reads.
fn taken(batch: &Batch, e: &Expr, indices: &[u32]) -> Batch {
    let mut read = BTreeSet::new();
    add_columns(e, &mut read);
    let nothing: ArrayRef = Arc::new(NullArray::new(batch.len()));
    let column = |(i, column): (usize, &ArrayRef)| if read.contains(&i) { column.clone() } else { nothing.clone() };
    let columns = batch.columns.iter().enumerate().map(column).collect();
    Batch { columns, time: batch.time.clone(), at: batch.at.clone(), ..Batch::default() }.take(indices)
}
