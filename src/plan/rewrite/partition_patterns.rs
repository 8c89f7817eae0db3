//! Finds the key of a pattern that has none: `user`, where every later step asks for `user == l.user`.
//!
//! A key spreads the pattern over the workers, and lets a row meet only the partial matches that it can continue.
//! It is found where every step asks for an attribute of its row to equal that of a row which the match has taken,
//! one way or another. Then all rows of a match agree in it, and rows with another value neither continue the match
//! nor end it, so that they may as well not be there. Only steps that can do nothing but begin a match need ask
//! nothing.
//!
//! The conditions stay: a row whose attribute is null satisfies none of them, although all such rows have one key.
//!
//! # Where it would change the answer, it is not done
//! - `strict` and `skip_past_last` let rows of different values meet: any row ends a match, one match hinders another.
//! - Trends are one row for all matches of a key.
//! - Without `within`, it is the cap on partial matches that bounds the state, so it must stay one for all; and where
//!   the program sets a cap, it means that one. The default cap holds for each value.
//! - A capacity counts entries by their keys: more keys would lose entries to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::{Type, Value};
use crate::expr::{BinaryOp, Comparison, Expr};
use crate::pattern::automaton::Move;
use crate::pattern::program::Program;
use crate::pattern::{AfterMatch, Gives, MAX_RUNS_DEFAULT, MemoryValue, Pattern, SOURCE_COLUMN, Selection};
use crate::plan::logical::{Op, Plan};
use crate::sema::hir::{Keyed, KeyedKind};

/// Most choices that are tried for one pattern.
const TRIES_MAX: usize = 1_000;

pub fn partition_patterns(mut plan: Plan) -> Plan {
    for node in &mut plan.nodes {
        if let Op::Keyed { keyed: Keyed { key, kind: KeyedKind::Pattern(pattern) }, .. } = &mut node.op
            && key.is_empty()
        {
            key.extend(found_key(pattern));
        }
    }
    plan
}

/// Each source's attribute.
type Attributes = BTreeMap<i64, Expr>;

/// A step asks for `own` to equal `other` of a row that the step `of` has taken.
struct Tie {
    own: Expr,
    of: usize,
    other: Expr,
}

/// The key that the conditions imply.
fn found_key(pattern: &Pattern) -> Option<Expr> {
    let is_free = pattern.selection != Selection::Strict
        && pattern.after_match != AfterMatch::SkipPastLast
        && pattern.within_ns.is_some()
        && pattern.max_runs == MAX_RUNS_DEFAULT
        && !matches!(pattern.gives, Gives::Trends(_));
    if !is_free {
        return None;
    }
    let program = Program::new(pattern).ok()?;
    let later: BTreeSet<usize> =
        program.automaton.states[1..].iter().flat_map(|s| &s.moves).map(|m| step_of(*m)).collect();
    let ties: Vec<(usize, Vec<Tie>)> = later.iter().map(|step| (*step, ties(&program, *step))).collect();
    let mut tries = 0;
    let attributes = assigned(&program, &ties, Attributes::new(), &mut tries)?;
    // A source that nothing is tied to has no attribute.
    let has_attribute = program.steps.iter().all(|s| attributes.contains_key(&s.source));
    let mut types = attributes.values().map(|e| e.data_type().ty);
    let ty = types.next()?;
    (has_attribute && types.all(|other| other == ty)).then(|| chosen(attributes))
}

fn step_of(m: Move) -> usize {
    match m {
        Move::Take { step, .. } | Move::Watch { step } => step,
    }
}

fn ties(program: &Program, step: usize) -> Vec<Tie> {
    let tie = |c: &crate::pattern::program::Compared| {
        let memory = &program.memories[c.memory];
        let other = match &memory.value {
            MemoryValue::Last(e) | MemoryValue::First(e) => e,
            MemoryValue::Count | MemoryValue::Aggregate(_) => return None,
        };
        let is_tie = c.op == Comparison::Equal && is_attribute(&c.left) && is_attribute(other);
        is_tie.then(|| Tie { own: loosened(&c.left), of: memory.step, other: loosened(other) })
    };
    program.steps[step].compared.iter().filter_map(tie).collect()
}

/// What costs nothing to evaluate again, cannot fail, and is equal exactly where its encodings are.
fn is_attribute(e: &Expr) -> bool {
    let comparable = match e.data_type().ty {
        Type::Int | Type::Float | Type::Bool | Type::Str | Type::Timestamp | Type::Duration => true,
        Type::Null | Type::List(_) | Type::Map(_) | Type::Record(_) => false,
    };
    comparable && is_plain(e)
}

fn is_plain(e: &Expr) -> bool {
    match e {
        Expr::Column { .. } => true,
        Expr::Field { record, .. } => is_plain(record),
        Expr::Cast { arg, ty, .. } => is_plain(arg) && arg.data_type().ty == Type::Int && ty.ty == Type::Float,
        _ => false,
    }
}

/// The same whether a step's source may lack the column or not.
fn loosened(e: &Expr) -> Expr {
    match e {
        Expr::Column { index, ty } => Expr::column(*index, ty.clone().with_nullable(true)),
        e => e.clone(),
    }
}

/// Gives the sources attributes so that each of the steps is tied by one of its ties.
fn assigned(
    program: &Program,
    steps: &[(usize, Vec<Tie>)],
    attributes: Attributes,
    tries: &mut usize,
) -> Option<Attributes> {
    let Some(((step, ties), rest)) = steps.split_first() else { return Some(attributes) };
    for tie in ties {
        *tries += 1;
        if *tries > TRIES_MAX {
            return None;
        }
        let mut extended = attributes.clone();
        let sources = [(program.steps[*step].source, &tie.own), (program.steps[tie.of].source, &tie.other)];
        let fits = sources.into_iter().all(|(source, e)| extended.entry(source).or_insert_with(|| e.clone()) == e);
        if fits && let Some(all) = assigned(program, rest, extended, tries) {
            return Some(all);
        }
    }
    None
}

/// The attribute of a row's source.
fn chosen(attributes: Attributes) -> Expr {
    let count = |e: &Expr| attributes.values().filter(|other| *other == e).count();
    // What most sources have needs no test.
    let usual = attributes.values().max_by_key(|e| count(e)).expect("a source has an attribute").clone();
    let nullable = attributes.values().any(|e| e.data_type().nullable);
    let ty = usual.data_type().with_nullable(nullable);
    attributes.iter().rev().filter(|(_, e)| **e != usual).fold(usual.clone(), |otherwise, (source, e)| {
        let condition = Expr::Binary {
            op: BinaryOp::Equal,
            left: Box::new(Expr::column(SOURCE_COLUMN, Type::Int.required())),
            right: Box::new(Expr::literal(Value::Int(*source), Type::Int)),
            ty: Type::Bool.required(),
        };
        let (then, otherwise) = (Box::new(e.clone()), Box::new(otherwise));
        Expr::If { condition: Box::new(condition), then, otherwise, ty: ty.clone() }
    })
}

#[cfg(test)]
mod tests;
