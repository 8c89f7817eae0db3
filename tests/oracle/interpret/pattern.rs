//! What a pattern gives of the rows of a key: the definition of its semantics finds the matches, and what is said of
//! them is computed row by row.

use varpulis_runtime::data::Value;
use varpulis_runtime::expr::Expr;
use varpulis_runtime::pattern::reference::{ReferenceInput, ReferenceMatch, matches};
use varpulis_runtime::pattern::{Call, Gives, Output, Pattern};
use varpulis_runtime::sema::hir::{AggregateCall, Keyed};

use super::{Row, aggregate_of, key_values, value_of};

/// The rows of output for the rows of one key, in their order.
pub fn pattern_rows(keyed: &Keyed, pattern: &Pattern, key: &[u8], rows: &[Row]) -> Vec<Row> {
    let input = |row: &Row| ReferenceInput { time: row.time, columns: row.values.clone() };
    let (found, expired) = matches(pattern, &rows.iter().map(input).collect::<Vec<_>>());
    let (outputs, found) = match &pattern.gives {
        Gives::Matches(outputs) => (outputs, found),
        Gives::Timeouts(outputs) => (outputs, expired),
        Gives::Trends(_) => unreachable!("the generator asks for no trends"),
    };
    let key = key_values(keyed, key);
    let row = |found: ReferenceMatch| {
        let values = outputs.iter().map(|output| value(pattern, output, &key, rows, &found)).collect();
        // Rows of a match have no key by which they would be put out in order.
        Row { time: found.time, at: found.time, seq: (0, 0), key: Vec::new(), values }
    };
    found.into_iter().map(row).collect()
}

fn value(pattern: &Pattern, output: &Output, key: &[Value], rows: &[Row], found: &ReferenceMatch) -> Value {
    let taken = |step: usize| -> Vec<Row> {
        let of_step = found.rows.iter().filter(|(_, s)| *s == step).map(|(row, _)| rows[*row].clone());
        // Their order is that of the key.
        of_step.enumerate().map(|(i, row)| Row { seq: (0, i as u64), ..row }).collect()
    };
    let (first, last) = (found.rows[0], found.rows[found.rows.len() - 1]);
    match output {
        Output::Key { part, .. } => key[*part].clone(),
        Output::MatchStart => Value::Timestamp(rows[first.0].time),
        Output::MatchEnd => Value::Timestamp(rows[last.0].time),
        Output::LastStep => Value::str(&pattern.steps[last.1].name),
        Output::Rows => Value::Int(found.rows.len() as i64),
        Output::Single { step, value } => taken(*step).last().map_or(Value::Null, |row| value_of(value, row)),
        Output::Aggregate { step, call } => aggregated(call, &taken(*step)),
    }
}

fn aggregated(call: &Call, rows: &[Row]) -> Value {
    let Call { function, args, ty } = call.clone();
    let args: Vec<Expr> = args;
    aggregate_of(&AggregateCall { function, args, ty }, rows)
}
