//! A pattern made ready to run: its automaton, and for each step how its condition is evaluated.
//!
//! A condition is cut at its `and`s. What depends on the row alone is evaluated once for a whole batch. A comparison of
//! the row with what one step has taken is too, on both sides: the value on the side of the step is computed when its row
//! is taken, and a run only compares two values. Everything else is evaluated for each pair of a row and a run.
//! `explain` prints the same division.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::automaton::{Automaton, Move, TooLarge};
use super::index::Indexing;
use super::{Gives, Memory, MemoryValue, Output, Pattern, Slot, Step};
use crate::data::DataType;
use crate::expr::{Comparison, Expr, add_columns, remap};

/// Most steps: those that a row fits are a word.
pub const STEPS_MAX: usize = 64;

/// See the module's doc.
#[derive(Clone, Debug)]
pub struct Program {
    pub automaton: Automaton,
    pub steps: Vec<StepProgram>,
    /// Those of the pattern, and others that comparisons need.
    pub memories: Vec<Memory>,
    /// By state: the steps that its moves are about, as bits.
    pub interest: Vec<u64>,
    /// How keys with many runs find those that a row may concern, if they can.
    pub indexing: Option<Rc<Indexing>>,
}

#[derive(Clone, Debug)]
pub struct StepProgram {
    pub name: String,
    pub source: i64,
    /// Over the columns of the input; all must be true.
    pub local: Vec<Expr>,
    pub compared: Vec<Compared>,
    pub general: Vec<General>,
    /// What must be kept of a row that the step takes: expressions over the input.
    pub kept: Vec<Expr>,
    /// The memories that a row taken by the step changes.
    pub memories: Vec<usize>,
}

/// A comparison with a memory, which stands on the right.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    pub op: Comparison,
    pub left: Expr,
    pub memory: usize,
}

/// A condition over memories and columns of the input: column `i` of `expr` is `of[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct General {
    pub expr: Expr,
    pub of: Vec<Slot>,
}

impl Program {
    pub fn new(pattern: &Pattern) -> Result<Program, TooLarge> {
        assert!(pattern.steps.len() <= STEPS_MAX, "sema has counted the steps");
        let automaton = Automaton::new(&pattern.root)?;
        let mut memories = pattern.memories.clone();
        let mut steps: Vec<StepProgram> = pattern.steps.iter().map(|s| step(pattern, s, &mut memories)).collect();
        count_for_firsts(&mut memories);
        for (i, memory) in memories.iter().enumerate() {
            steps[memory.step].memories.push(i);
        }
        for (id, values) in kept(&pattern.gives) {
            steps[id].kept = values;
        }
        let bit = |m: &Move| match m {
            Move::Take { step, .. } | Move::Watch { step } => 1 << step,
        };
        let interest = automaton.states.iter().map(|s| s.moves.iter().map(bit).fold(0, |all, b: u64| all | b));
        let interest = interest.collect();
        let indexing = Indexing::new(pattern.selection, &automaton, &steps, &memories).map(Rc::new);
        Ok(Program { automaton, steps, memories, interest, indexing })
    }
}

fn step(pattern: &Pattern, step: &Step, memories: &mut Vec<Memory>) -> StepProgram {
    let mut program = StepProgram {
        name: step.name.clone(),
        source: step.source,
        local: Vec::new(),
        compared: Vec::new(),
        general: Vec::new(),
        kept: Vec::new(),
        memories: Vec::new(),
    };
    let mut conjuncts = Vec::new();
    if let Some(condition) = &step.condition {
        flatten(condition, &mut conjuncts);
    }
    for conjunct in conjuncts {
        let mut read = Default::default();
        add_columns(&conjunct, &mut read);
        if read.iter().all(|i| matches!(pattern.slot(*i), Slot::Column(_))) {
            program.local.push(over_columns(pattern, conjunct));
        } else if let Some(compared) = comparison(pattern, &conjunct, memories) {
            program.compared.push(compared);
        } else {
            let of: Vec<Slot> = read.iter().map(|i| pattern.slot(*i)).collect();
            let order: BTreeMap<usize, usize> = read.iter().enumerate().map(|(new, old)| (*old, new)).collect();
            program.general.push(General { expr: remap(conjunct, &|i| order[&i]), of });
        }
    }
    program
}

fn flatten(e: &Expr, out: &mut Vec<Expr>) {
    match e {
        Expr::And(args) => args.iter().for_each(|arg| flatten(arg, out)),
        e => out.push(e.clone()),
    }
}

/// A condition that reads no memory, over the columns of the input.
fn over_columns(pattern: &Pattern, e: Expr) -> Expr {
    remap(e, &|i| i - pattern.memories.len())
}

/// What a side of a comparison depends on.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Row,
    Memories,
    Both,
}

fn side(pattern: &Pattern, e: &Expr) -> Side {
    let own = match e {
        Expr::Column { index, .. } => match pattern.slot(*index) {
            Slot::Memory(_) => Some(Side::Memories),
            Slot::Column(_) => Some(Side::Row),
        },
        Expr::EventTime | Expr::Place => Some(Side::Row),
        _ => None,
    };
    let mut found = own;
    e.for_each_child(&mut |child| {
        let of_child = side(pattern, child);
        // A constant is of either side; it counts as the row's until something says otherwise.
        let constant = !reads_anything(child);
        found = match (found, constant) {
            (found, true) => found,
            (None, false) => Some(of_child),
            (Some(before), false) if before == of_child => Some(before),
            (Some(_), false) => Some(Side::Both),
        };
    });
    found.unwrap_or(Side::Row)
}

fn reads_anything(e: &Expr) -> bool {
    let mut found = matches!(e, Expr::Column { .. } | Expr::EventTime | Expr::Place);
    e.for_each_child(&mut |child| found |= reads_anything(child));
    found
}

/// `e` as a comparison of the row with one memory, if it is one.
fn comparison(pattern: &Pattern, e: &Expr, memories: &mut Vec<Memory>) -> Option<Compared> {
    let Expr::Binary { op, left, right, .. } = e else { return None };
    let comparison = op.comparison()?;
    let (op, row, remembered) = match (side(pattern, left), side(pattern, right)) {
        (Side::Row, Side::Memories) => (comparison, left, right),
        (Side::Memories, Side::Row) => (comparison.flipped(), right, left),
        (Side::Row | Side::Memories | Side::Both, _) => return None,
    };
    let memory = as_memory(pattern, remembered, memories)?;
    Some(Compared { op, left: over_columns(pattern, (**row).clone()), memory })
}

/// A memory with the value of `e`, which reads memories only: one that there is, or one of the same row as those
/// that it reads.
fn as_memory(pattern: &Pattern, e: &Expr, memories: &mut Vec<Memory>) -> Option<usize> {
    if let Expr::Column { index, .. } = e {
        return Some(*index);
    }
    let mut read = Default::default();
    add_columns(e, &mut read);
    let step = pattern.memories[*read.first()?].step;
    let is_last = |i: &usize| {
        let memory = &pattern.memories[*i];
        memory.step == step && matches!(memory.value, MemoryValue::Last(_))
    };
    if !is_null_of_null(e) || !read.iter().all(is_last) {
        return None;
    }
    let value = replaced(e.clone(), &|i| match &pattern.memories[i].value {
        MemoryValue::Last(value) => value.clone(),
        MemoryValue::First(_) | MemoryValue::Count | MemoryValue::Aggregate(_) => unreachable!("it was looked at"),
    });
    let memory = Memory { step, value: MemoryValue::Last(value) };
    Some(memories.iter().position(|m| *m == memory).unwrap_or_else(|| {
        memories.push(memory);
        memories.len() - 1
    }))
}

fn replaced(e: Expr, of: &dyn Fn(usize) -> Expr) -> Expr {
    match e {
        Expr::Column { index, .. } => of(index),
        e => e.map_children(&mut |child| replaced(child, of)),
    }
}

/// Whether `e` is null where any of its columns is: what a step that took no row has for all of them.
fn is_null_of_null(e: &Expr) -> bool {
    let mut is = matches!(
        e,
        Expr::Column { .. } | Expr::Literal { .. } | Expr::Unary { .. } | Expr::Cast { .. } | Expr::Binary { .. }
    );
    e.for_each_child(&mut |child| is &= is_null_of_null(child));
    is
}

/// Whether a row is the first of its step is told by how many were taken before.
fn count_for_firsts(memories: &mut Vec<Memory>) {
    let firsts: Vec<usize> =
        memories.iter().filter(|m| matches!(m.value, MemoryValue::First(_))).map(|m| m.step).collect();
    for step in firsts {
        let count = Memory { step, value: MemoryValue::Count };
        if !memories.contains(&count) {
            memories.push(count);
        }
    }
}

/// By step: what the outputs read of its rows, each expression once.
fn kept(gives: &Gives) -> BTreeMap<usize, Vec<Expr>> {
    let mut kept: BTreeMap<usize, Vec<Expr>> = BTreeMap::new();
    let mut keep = |step: usize, value: &Expr| {
        let values = kept.entry(step).or_default();
        if !values.contains(value) {
            values.push(value.clone());
        }
    };
    match gives {
        Gives::Matches(outputs) | Gives::Timeouts(outputs) => {
            for output in outputs {
                match output {
                    Output::Single { step, value } => keep(*step, value),
                    Output::Aggregate { step, call } => call.args.iter().for_each(|arg| keep(*step, arg)),
                    Output::Key { .. } | Output::MatchStart | Output::MatchEnd | Output::LastStep | Output::Rows => {}
                }
            }
        }
        // What they sum is not kept row by row.
        Gives::Trends(_) => {}
    }
    kept
}

impl StepProgram {
    pub fn kept_types(&self) -> Vec<DataType> {
        self.kept.iter().map(Expr::data_type).collect()
    }
}
