//! Whether a row satisfies a step's condition, evaluated as it was written, value by value.

use crate::data::Value;
use crate::expr::Expr;
use crate::expr::aggregate::Aggregate;
use crate::expr::aggregate::reference::{ReferenceRow, aggregate_rows};
use crate::expr::reference::evaluate_row;
use crate::pattern::{Call, Memory, MemoryValue, Pattern, SOURCE_COLUMN};

/// A row of the input, in the order of the key.
#[derive(Clone, Debug)]
pub struct ReferenceInput {
    pub time: i64,
    /// As the columns of the pattern's input.
    pub columns: Vec<Value>,
}

/// Whether row number `row` fits a step of a partial match that has `taken` rows, each in a step.
pub fn holds(pattern: &Pattern, rows: &[ReferenceInput], step: usize, row: usize, taken: &[(usize, usize)]) -> bool {
    let (step, row) = (&pattern.steps[step], &rows[row]);
    if row.columns[SOURCE_COLUMN] != Value::Int(step.source) {
        return false;
    }
    let Some(condition) = &step.condition else { return true };
    let memories = pattern.memories.iter().map(|m| remembered(m, rows, taken));
    let values: Vec<Value> = memories.chain(row.columns.iter().cloned()).collect();
    evaluate_row(condition, &values, row.time, row.time).0 == Value::Bool(true)
}

fn remembered(memory: &Memory, rows: &[ReferenceInput], taken: &[(usize, usize)]) -> Value {
    let of_step = taken.iter().filter(|(_, step)| *step == memory.step);
    let rows: Vec<&ReferenceInput> = of_step.map(|(row, _)| &rows[*row]).collect();
    match &memory.value {
        MemoryValue::Last(e) => rows.last().map_or(Value::Null, |row| value(e, row)),
        MemoryValue::First(e) => rows.first().map_or(Value::Null, |row| value(e, row)),
        MemoryValue::Count => Value::Int(rows.len() as i64),
        MemoryValue::Aggregate(call) => aggregated(call, &rows),
    }
}

fn value(e: &Expr, row: &ReferenceInput) -> Value {
    evaluate_row(e, &row.columns, row.time, row.time).0
}

fn aggregated(call: &Call, rows: &[&ReferenceInput]) -> Value {
    let aggregate = Aggregate {
        function: call.function.clone(),
        args: (0..call.args.len()).collect(),
        arg_types: call.args.iter().map(Expr::data_type).collect(),
        ty: call.ty.clone(),
    };
    let row = |(i, row): (usize, &&ReferenceInput)| ReferenceRow {
        time: row.time,
        at: row.time,
        seq: (0, i as u64),
        values: call.args.iter().map(|e| value(e, row)).collect(),
    };
    aggregate_rows(&aggregate, &rows.iter().enumerate().map(row).collect::<Vec<_>>())
}
