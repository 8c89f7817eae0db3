//! Sequence patterns: what one is, its automaton, and the matcher that runs it over the rows of a key.
//!
//! A [`Pattern`] is made by `sema` from either form of the language, with its names resolved: steps refer to the
//! columns of *one* input, which holds the rows of all event types and streams that the pattern names, told apart
//! by a column. [`automaton`] makes states and moves of its tree; [`program`] says how its conditions are evaluated;
//! [`matcher`] applies rows to the runs of a key, and [`trends`] counts matches without making them. Nothing here knows
//! timely, tables or watermarks: the operator around it does (`dataflow/op/sequence.rs`).
//!
//! What the parts of a pattern mean is written down once, in `docs/patterns.md`, and as a program that can be
//! read, in `pattern/reference.rs`.

pub mod automaton;
mod bytes;
mod exact;
mod folds;
pub mod index;
pub mod keyed;
pub mod matcher;
pub mod output;
pub mod prepared;
pub mod program;
#[cfg(any(test, feature = "checked"))]
pub mod reference;
pub mod run;
mod runs;
mod saved;
#[cfg(test)]
mod tests;
pub mod trends;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::data::{DataType, Type};
use crate::expr::aggregate::AggregateFunction;
use crate::expr::{Expr, add_columns, remap};

/// Most partial matches of a key, unless the program says otherwise.
pub const MAX_RUNS_DEFAULT: u64 = 10_000;

/// Column of the input that says which of the pattern's inputs a row is from.
pub const SOURCE_COLUMN: usize = 0;

/// A pattern over the rows of one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// As they are written, from left to right; the other parts refer to them by position.
    pub steps: Vec<Step>,
    pub root: Node,
    /// A row belongs to a match only if its time is less than this after that of the first row.
    pub within_ns: Option<i64>,
    pub selection: Selection,
    pub after_match: AfterMatch,
    /// Most partial matches per key; beyond it the oldest is dropped, and counted.
    pub max_runs: u64,
    /// What the conditions ask of rows that were taken before.
    pub memories: Vec<Memory>,
    pub gives: Gives,
}

/// A step: rows of one input that satisfy a condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its alias, or else its type: for `explain` and `last_step`.
    pub name: String,
    /// The value of [`SOURCE_COLUMN`] of its rows.
    pub source: i64,
    /// Over [`Slot`]s. Only rows for which it is true fit.
    pub condition: Option<Expr>,
}

/// What a column of a step's condition stands for: memories come first, then the columns of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Memory(usize),
    Column(usize),
}

/// How steps follow each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Node {
    Step(usize),
    /// One after the other.
    Sequence(Vec<Node>),
    /// All, one after the other, in any order.
    AnyOrder(Vec<Node>),
    OneOf(Vec<Node>),
    /// From `min` to `max` times; `None`: any number.
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
    },
    /// Between two members of a sequence, or at the end of the pattern: no row of the step.
    Not(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    SkipTillNext,
    Strict,
    SkipTillAny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterMatch {
    NextRow,
    ToNextStart,
    SkipPastLast,
}

/// A value that a partial match has of the rows that one of its steps has taken so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub step: usize,
    pub value: MemoryValue,
}

/// Expressions are over the columns of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MemoryValue {
    /// Of the row that was taken last; null while there is none.
    Last(Expr),
    /// Of the row that was taken first; null while there is none.
    First(Expr),
    /// How many rows were taken.
    Count,
    Aggregate(Call),
}

/// An aggregate over the rows of a step, over expressions of the input. Of `collect()`: all fields of the step's type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub function: AggregateFunction,
    pub args: Vec<Expr>,
    pub ty: DataType,
}

/// What the operator gives. Its columns are the list's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Gives {
    /// A row for each match.
    Matches(Vec<Output>),
    /// A row for each partial match for which `within` has passed.
    Timeouts(Vec<Output>),
    /// A row for all matches of a key that become certain at one moment: with one row, or with the expiry of
    /// their first row.
    Trends(Vec<Trend>),
}

/// A column of a match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// A part of the operator's key.
    Key {
        part: usize,
        ty: DataType,
    },
    /// Times of the first row and of the last.
    MatchStart,
    MatchEnd,
    /// The name of the step that took a row last, and how many rows were taken.
    LastStep,
    Rows,
    /// Over the row of a step, the last that it took; null where it took none.
    Single {
        step: usize,
        value: Expr,
    },
    Aggregate {
        step: usize,
        call: Call,
    },
}

/// A column of an aggregate over matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Trend {
    Key {
        part: usize,
        ty: DataType,
    },
    /// How many matches.
    Count,
    /// The sum of `value`, an int or a float, over all rows of the step in all matches: a row counts once for each
    /// match that it is in.
    Sum {
        step: usize,
        value: Expr,
    },
}

impl Output {
    pub fn data_type(&self) -> DataType {
        match self {
            Output::Key { ty, .. } => ty.clone(),
            Output::MatchStart | Output::MatchEnd => Type::Timestamp.required(),
            Output::LastStep => Type::Str.required(),
            Output::Rows => Type::Int.required(),
            Output::Single { value, .. } => value.data_type().with_nullable(true),
            Output::Aggregate { call, .. } => call.ty.clone(),
        }
    }
}

impl Trend {
    pub fn data_type(&self) -> DataType {
        match self {
            Trend::Key { ty, .. } => ty.clone(),
            // More matches than an int can count are null, and counted as an error.
            Trend::Count => Type::Int.optional(),
            Trend::Sum { value, .. } => value.data_type().with_nullable(true),
        }
    }
}

impl Memory {
    pub fn data_type(&self) -> DataType {
        match &self.value {
            MemoryValue::Last(e) | MemoryValue::First(e) => e.data_type().with_nullable(true),
            MemoryValue::Count => Type::Int.required(),
            MemoryValue::Aggregate(call) => call.ty.clone(),
        }
    }
}

impl Pattern {
    /// The column of a condition that stands for `slot`.
    pub fn index_of(&self, slot: Slot) -> usize {
        match slot {
            Slot::Memory(i) => i,
            Slot::Column(i) => self.memories.len() + i,
        }
    }

    pub fn slot(&self, index: usize) -> Slot {
        match index.checked_sub(self.memories.len()) {
            None => Slot::Memory(index),
            Some(column) => Slot::Column(column),
        }
    }

    /// How long a match that has become certain may wait for others before it is emitted: under `skip_past_last` for
    /// all that began before it, which `within` ends, or else only the end of the input.
    pub fn delay_ns(&self) -> i64 {
        match self.after_match {
            AfterMatch::NextRow | AfterMatch::ToNextStart => 0,
            AfterMatch::SkipPastLast => self.within_ns.unwrap_or(i64::MAX),
        }
    }

    /// The types of the columns that it gives.
    pub fn output_types(&self) -> Vec<DataType> {
        match &self.gives {
            Gives::Matches(outputs) | Gives::Timeouts(outputs) => outputs.iter().map(Output::data_type).collect(),
            Gives::Trends(trends) => trends.iter().map(Trend::data_type).collect(),
        }
    }

    /// The columns of the input that it reads, beside the operator's key.
    pub fn columns(&self) -> BTreeSet<usize> {
        let mut read = BTreeSet::from([SOURCE_COLUMN]);
        self.row_exprs().for_each(|e| add_columns(e, &mut read));
        let mut of_conditions = BTreeSet::new();
        self.steps.iter().filter_map(|s| s.condition.as_ref()).for_each(|e| add_columns(e, &mut of_conditions));
        read.extend(of_conditions.into_iter().filter_map(|i| match self.slot(i) {
            Slot::Memory(_) => None,
            Slot::Column(column) => Some(column),
        }));
        read
    }

    /// Expressions over the columns of the input: all but the conditions.
    pub fn row_exprs(&self) -> impl Iterator<Item = &Expr> {
        let memories = self.memories.iter().flat_map(|m| match &m.value {
            MemoryValue::Last(e) | MemoryValue::First(e) => std::slice::from_ref(e),
            MemoryValue::Count => &[],
            MemoryValue::Aggregate(call) => &call.args,
        });
        let outputs = match &self.gives {
            Gives::Matches(outputs) | Gives::Timeouts(outputs) => outputs.as_slice(),
            Gives::Trends(_) => &[],
        };
        let outputs = outputs.iter().flat_map(|o| match o {
            Output::Single { value, .. } => std::slice::from_ref(value),
            Output::Aggregate { call, .. } => &call.args,
            Output::Key { .. } | Output::MatchStart | Output::MatchEnd | Output::LastStep | Output::Rows => &[],
        });
        let trends = match &self.gives {
            Gives::Trends(trends) => trends.as_slice(),
            Gives::Matches(_) | Gives::Timeouts(_) => &[],
        };
        let trends = trends.iter().filter_map(|t| match t {
            Trend::Sum { value, .. } => Some(value),
            Trend::Key { .. } | Trend::Count => None,
        });
        memories.chain(outputs).chain(trends)
    }

    /// Every expression over the columns of the input replaced by `of_row` of it, every condition by `of_condition`.
    pub fn map(&mut self, of_row: &mut dyn FnMut(Expr) -> Expr, of_condition: &mut dyn FnMut(Expr) -> Expr) {
        fn change(e: &mut Expr, f: &mut dyn FnMut(Expr) -> Expr) {
            *e = f(std::mem::replace(e, Expr::EventTime));
        }
        self.steps.iter_mut().filter_map(|s| s.condition.as_mut()).for_each(|e| change(e, of_condition));
        for memory in &mut self.memories {
            match &mut memory.value {
                MemoryValue::Last(e) | MemoryValue::First(e) => change(e, of_row),
                MemoryValue::Count => {}
                MemoryValue::Aggregate(call) => call.args.iter_mut().for_each(|e| change(e, of_row)),
            }
        }
        match &mut self.gives {
            Gives::Matches(outputs) | Gives::Timeouts(outputs) => {
                for output in outputs {
                    match output {
                        Output::Single { value, .. } => change(value, of_row),
                        Output::Aggregate { call, .. } => call.args.iter_mut().for_each(|e| change(e, of_row)),
                        Output::Key { .. }
                        | Output::MatchStart
                        | Output::MatchEnd
                        | Output::LastStep
                        | Output::Rows => {}
                    }
                }
            }
            Gives::Trends(trends) => {
                for trend in trends {
                    match trend {
                        Trend::Sum { value, .. } => change(value, of_row),
                        Trend::Key { .. } | Trend::Count => {}
                    }
                }
            }
        }
    }

    /// Every expression over the columns of the input replaced by `of_row` of it; in conditions its column `i` by
    /// `to(i)`.
    pub fn map_rows(&mut self, of_row: &mut dyn FnMut(Expr) -> Expr, to: &dyn Fn(usize) -> usize) {
        let memories = self.memories.len();
        let of_condition = |i: usize| i.checked_sub(memories).map_or(i, |column| memories + to(column));
        self.map(of_row, &mut |e| remap(e, &of_condition));
    }

    /// The same over an input whose column `i` has moved to `to(i)`.
    pub fn remap(&mut self, to: &dyn Fn(usize) -> usize) {
        self.map_rows(&mut |e| remap(e, to), to);
    }
}
