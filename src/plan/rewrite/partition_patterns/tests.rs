//! Patterns over two sources, 0 and 1, and the keys that are found for them.

use super::*;
use crate::data::DataType;
use crate::expr::CastFailure;
use crate::pattern::{Memory, Node, Output, Step};

/// Columns of the input.
const USER: usize = 1;
const OWNER: usize = 2;
const N: usize = 3;
const F: usize = 4;

fn type_of(column: usize) -> DataType {
    match column {
        SOURCE_COLUMN => Type::Int.required(),
        N => Type::Int.optional(),
        F => Type::Float.optional(),
        _ => Type::Str.optional(),
    }
}

fn input(column: usize) -> Expr {
    Expr::column(column, type_of(column))
}

/// The column of the row that the step took last.
fn last(step: usize, column: usize) -> Memory {
    Memory { step, value: MemoryValue::Last(input(column)) }
}

fn equal(left: Expr, right: Expr) -> Expr {
    Expr::Binary { op: BinaryOp::Equal, left: Box::new(left), right: Box::new(right), ty: Type::Bool.optional() }
}

fn as_float(e: Expr) -> Expr {
    Expr::Cast { arg: Box::new(e), ty: Type::Float.optional(), on_failure: CastFailure::Count }
}

/// A pattern whose steps are of these sources; a condition is made of the memories' columns, then the input's.
fn pattern(root: Node, sources: &[i64], memories: &[Memory], conditions: &[(usize, Condition)]) -> Pattern {
    let mut steps: Vec<Step> =
        sources.iter().map(|source| Step { name: format!("s{source}"), source: *source, condition: None }).collect();
    let remembered = |i: usize| Expr::column(i, memories[i].data_type());
    let column = |i: usize| Expr::column(memories.len() + i, type_of(i));
    for (step, condition) in conditions {
        steps[*step].condition = Some(condition(&column, &remembered));
    }
    Pattern {
        steps,
        root,
        within_ns: Some(1),
        selection: Selection::SkipTillNext,
        after_match: AfterMatch::NextRow,
        max_runs: MAX_RUNS_DEFAULT,
        memories: memories.to_vec(),
        gives: Gives::Matches(vec![Output::MatchStart]),
    }
}

type Condition = fn(&dyn Fn(usize) -> Expr, &dyn Fn(usize) -> Expr) -> Expr;

fn sequence(steps: &[usize]) -> Node {
    Node::Sequence(steps.iter().map(|s| Node::Step(*s)).collect())
}

/// `A as a -> B where user == a.user`.
fn simple() -> Pattern {
    pattern(sequence(&[0, 1]), &[0, 1], &[last(0, USER)], &[(1, |c, m| equal(c(USER), m(0)))])
}

#[test]
fn an_equality_with_the_first_step_is_a_key() {
    assert_eq!(found_key(&simple()), Some(input(USER)));
    // Either way round, and among other conditions.
    let turned: Condition = |c, m| {
        let more = Expr::Binary {
            op: BinaryOp::Greater,
            left: Box::new(c(N)),
            right: Box::new(Expr::literal(Value::Int(1), Type::Int)),
            ty: Type::Bool.optional(),
        };
        Expr::And(vec![more, equal(m(0), c(USER))])
    };
    assert_eq!(found_key(&pattern(sequence(&[0, 1]), &[0, 1], &[last(0, USER)], &[(1, turned)])), Some(input(USER)));
    let either: Condition = |c, m| Expr::Or(vec![equal(m(0), c(USER)), equal(c(OWNER), m(0))]);
    assert_eq!(found_key(&pattern(sequence(&[0, 1]), &[0, 1], &[last(0, USER)], &[(1, either)])), None);
}

#[test]
fn ties_lead_from_step_to_step() {
    // A(user) -> B where owner == a.user -> A where user == b.owner.
    let chain = |third: Condition| {
        let memories = [last(0, USER), last(1, OWNER), last(1, USER)];
        pattern(sequence(&[0, 1, 2]), &[0, 1, 0], &memories, &[(1, |c, m| equal(c(OWNER), m(0))), (2, third)])
    };
    let is_source_0 = equal(Expr::column(0, Type::Int.required()), Expr::literal(Value::Int(0), Type::Int));
    let Expr::Binary { op, left, right, .. } = is_source_0 else { unreachable!() };
    let key = Expr::If {
        condition: Box::new(Expr::Binary { op, left, right, ty: Type::Bool.required() }),
        then: Box::new(input(USER)),
        otherwise: Box::new(input(OWNER)),
        ty: Type::Str.optional(),
    };
    assert_eq!(found_key(&chain(|c, m| equal(c(USER), m(1)))), Some(key.clone()));
    // It takes the second of two ties, since the first is to another attribute.
    let two: Condition = |c, m| Expr::And(vec![equal(c(USER), m(2)), equal(c(USER), m(1))]);
    assert_eq!(found_key(&chain(two)), Some(key));
    // Rows of one source cannot have two attributes.
    assert_eq!(found_key(&chain(|c, m| equal(c(OWNER), m(1)))), None);
    assert_eq!(found_key(&chain(|c, m| equal(c(USER), m(2)))), None);
}

#[test]
fn every_step_that_does_not_begin_the_match_is_tied() {
    let memories = [last(0, USER)];
    let tied: Condition = |c, m| equal(c(USER), m(0));
    let not = Node::Sequence(vec![Node::Step(0), Node::Not(1), Node::Step(2)]);
    assert_eq!(found_key(&pattern(not.clone(), &[0, 1, 1], &memories, &[(2, tied)])), None);
    assert_eq!(found_key(&pattern(not, &[0, 1, 1], &memories, &[(1, tied), (2, tied)])), Some(input(USER)));
    // The second row of a loop asks for nothing.
    let repeated = Node::Repeat { node: Box::new(Node::Step(0)), min: 1, max: None };
    let root = Node::Sequence(vec![repeated, Node::Step(1)]);
    assert_eq!(found_key(&pattern(root, &[0, 1], &memories, &[(1, tied)])), None);
    let repeated = Node::Repeat { node: Box::new(Node::Step(1)), min: 1, max: None };
    let root = Node::Sequence(vec![Node::Step(0), repeated, Node::Step(2)]);
    assert_eq!(found_key(&pattern(root, &[0, 1, 1], &memories, &[(1, tied), (2, tied)])), Some(input(USER)));
    // The members of `and` do not see each other.
    let any_order = Node::AnyOrder(vec![Node::Step(0), Node::Step(1)]);
    assert_eq!(found_key(&pattern(any_order, &[0, 1], &memories, &[(1, tied)])), None);
    // Nothing is known of a source that only begins matches.
    let one_of = Node::OneOf(vec![Node::Step(0), Node::Step(2)]);
    let root = Node::Sequence(vec![one_of, Node::Step(1)]);
    assert_eq!(found_key(&pattern(root.clone(), &[0, 1, 2], &memories, &[(1, tied)])), None);
    assert_eq!(found_key(&pattern(root, &[0, 1, 0], &memories, &[(1, tied)])), Some(input(USER)));
    assert_eq!(found_key(&pattern(Node::Step(0), &[0], &[], &[])), None);
}

#[test]
fn what_lets_other_rows_meet_is_left_alone() {
    let changed = |change: fn(&mut Pattern)| {
        let mut pattern = simple();
        change(&mut pattern);
        found_key(&pattern)
    };
    assert_eq!(changed(|p| p.selection = Selection::Strict), None);
    assert_eq!(changed(|p| p.after_match = AfterMatch::SkipPastLast), None);
    assert_eq!(changed(|p| p.within_ns = None), None);
    assert_eq!(changed(|p| p.max_runs = 5), None);
    assert_eq!(changed(|p| p.gives = Gives::Trends(Vec::new())), None);
    for change in [
        (|p| p.selection = Selection::SkipTillAny) as fn(&mut Pattern),
        |p| p.after_match = AfterMatch::ToNextStart,
        |p| p.gives = Gives::Timeouts(Vec::new()),
    ] {
        assert_eq!(changed(change), Some(input(USER)));
    }
}

#[test]
fn only_what_is_equal_where_its_encoding_is_makes_a_key() {
    let of = |memory: Memory, condition: Condition| {
        found_key(&pattern(sequence(&[0, 1]), &[0, 1], &[memory], &[(1, condition)]))
    };
    let key = of(last(0, N), |c, m| equal(c(F), as_float(m(0))));
    let Some(Expr::If { then, otherwise, ty, .. }) = key else { panic!("{key:?}") };
    assert_eq!((*then, *otherwise, ty), (as_float(input(N)), input(F), Type::Float.optional()));
    // A row that a step took, not how many there were, nor something between them.
    assert_eq!(of(Memory { step: 0, value: MemoryValue::Count }, |c, m| equal(c(N), m(0))), None);
    let first = Memory { step: 0, value: MemoryValue::First(input(USER)) };
    assert_eq!(of(first, |c, m| equal(c(USER), m(0))), Some(input(USER)));
    let sum = |e: Expr| Expr::Binary {
        op: BinaryOp::Add,
        left: Box::new(e.clone()),
        right: Box::new(e),
        ty: Type::Int.optional(),
    };
    let added = Memory { step: 0, value: MemoryValue::Last(sum(input(N))) };
    assert_eq!(of(added, |c, m| equal(c(N), m(0))), None);
}
