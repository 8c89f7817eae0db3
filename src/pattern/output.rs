//! Columns of matches: from lists of rows back to batches.
//!
//! All matches of a batch are taken apart at once. What was kept of their rows is decoded column by column, and
//! aggregates over a capture are those of the table, with a slot for each match.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};

use super::Output;
use super::program::Program;
use super::run::{Match, Row};
use crate::data::key::decode_keys;
use crate::data::{Batch, DataType};
use crate::expr::aggregate::{Aggregate, Rows};
use crate::expr::{Errors, Expr};

/// The rows that one step has in all matches.
struct Capture<'m> {
    /// By row: the match, in ascending order.
    of: Vec<u32>,
    rows: Vec<&'m Row>,
}

/// The rows of output, in the order in which the matches were found; `keys` has the encoded key of each, if an output is a part
/// of it.
pub fn columns(
    program: &Program,
    outputs: &[Output],
    key_types: &[DataType],
    matches: &[Match],
    keys: &[&[u8]],
    errors: &Errors,
) -> Batch {
    let captures = captures(program, matches);
    let column = |output: &Output| match output {
        Output::Key { part, .. } => decode_keys(keys.iter().copied(), key_types, *part),
        output => column(program, output, matches, &captures, errors),
    };
    let columns: Vec<ArrayRef> = outputs.iter().map(column).collect();
    Batch { columns, time: matches.iter().map(|m| m.time).collect(), ..Batch::default() }
}

fn captures<'m>(program: &Program, matches: &'m [Match]) -> Vec<Capture<'m>> {
    let mut captures: Vec<Capture<'m>> =
        program.steps.iter().map(|_| Capture { of: Vec::new(), rows: Vec::new() }).collect();
    let mut rows = Vec::new();
    for (i, found) in matches.iter().enumerate() {
        rows.clear();
        rows.extend(found.last.back());
        for taken in rows.iter().rev() {
            // Of steps of which nothing is kept, nobody asks more than how many rows they took.
            let capture = &mut captures[taken.step as usize];
            capture.of.push(i as u32);
            capture.rows.push(taken.row.as_ref());
        }
    }
    captures
}

fn column(
    program: &Program,
    output: &Output,
    matches: &[Match],
    captures: &[Capture<'_>],
    errors: &Errors,
) -> ArrayRef {
    match output {
        Output::Key { .. } => unreachable!("the key is no part of a match"),
        Output::MatchStart => Arc::new(matches.iter().map(|m| m.first_time).collect::<Int64Array>()),
        Output::MatchEnd => Arc::new(matches.iter().map(|m| m.last.row.time).collect::<Int64Array>()),
        Output::LastStep => {
            let names = matches.iter().map(|m| Some(program.steps[m.last.step as usize].name.as_str()));
            Arc::new(names.collect::<StringArray>())
        }
        Output::Rows => Arc::new(matches.iter().map(|m| i64::from(m.rows)).collect::<Int64Array>()),
        Output::Single { step, value } => single(program, *step, value, matches.len(), &captures[*step]),
        Output::Aggregate { step, call } => {
            let capture = &captures[*step];
            let args = call.args.iter().map(|arg| values(program, *step, arg, capture)).collect::<Vec<_>>();
            let aggregate = Aggregate {
                function: call.function.clone(),
                args: (0..args.len()).collect(),
                arg_types: call.args.iter().map(Expr::data_type).collect(),
                ty: call.ty.clone(),
            };
            let mut accumulator = aggregate.accumulator();
            let times: Vec<i64> = capture.rows.iter().map(|row| row.time).collect();
            // Rows of equal time come in the order of the key.
            let seq = crate::data::Seq {
                partition: vec![0; times.len()].into(),
                position: capture.rows.iter().map(|row| row.ordinal).collect(),
            };
            accumulator.update(&Rows { slots: &capture.of, times: &times, places: &times, seq: Some(&seq) }, &args);
            let slots: Vec<u32> = (0..matches.len() as u32).collect();
            accumulator.output(&slots, errors)
        }
    }
}

/// A kept value of all rows of a capture.
fn values(program: &Program, step: usize, value: &Expr, capture: &Capture<'_>) -> ArrayRef {
    let step = &program.steps[step];
    let position = step.kept.iter().position(|e| e == value).expect("what outputs read is kept");
    decode_keys(capture.rows.iter().map(|row| &*row.kept), &step.kept_types(), position)
}

/// The value of the last row that a step has in each match; null where it has none.
fn single(program: &Program, step: usize, value: &Expr, matches: usize, capture: &Capture<'_>) -> ArrayRef {
    let all = values(program, step, value, capture);
    if capture.of.len() == matches && capture.of.iter().enumerate().all(|(i, of)| i == *of as usize) {
        return all;
    }
    let mut last = vec![None; matches];
    capture.of.iter().enumerate().for_each(|(i, of)| last[*of as usize] = Some(i as u32));
    let indices = arrow_array::UInt32Array::from(last);
    arrow_select::take::take(&all, &indices, None).expect("indices are within the capture")
}
