//! Which columns must be kept because they decide between rows that tie.
//!
//! Where the result depends on the order of rows that agree in (`time`, `seq`), they go by their place
//! and then by their columns, from first to last, as the program has them. Columns that nobody reads take
//! part, and so may not be pruned, unless rows that tie there are known to be equal. The alternative, an
//! order of only the columns that are read, would make the answer depend on what is asked of it.
//!
//! Rows of a source never tie: no two have one position. Rows of windows have no position, and the same
//! row may come on two ways to a merge.

use crate::expr::Expr;
use crate::plan::logical::{NodeId, Op, Plan, same_columns};
use crate::plan::rewrite::substitute;
use crate::sema::hir::{Keyed, KeyedKind, Step, Windows};

/// By node: whether it is keyed and needs all columns of its input, to decide between rows that tie.
pub fn need_all_columns(plan: &Plan) -> Vec<bool> {
    let mut ways: Vec<Ways> = Vec::with_capacity(plan.nodes.len());
    let mut needed = Vec::with_capacity(plan.nodes.len());
    for id in 0..plan.nodes.len() {
        needed.push(match &plan.nodes[id].op {
            Op::Keyed { input, keyed, .. } => depends_on_ties(keyed) && may_tie(plan, &ways, *input, keyed),
            Op::Source { .. }
            | Op::Step { .. }
            | Op::Merge { .. }
            | Op::Join { .. }
            | Op::Enrich { .. }
            | Op::Relate { .. }
            | Op::Late { .. }
            | Op::Timer { .. } => false,
        });
        ways.push(ways_to(plan, id, &ways));
    }
    needed
}

/// Whether rows of `input` may tie for a keyed node. The rows of a pattern begin with the number of the input that they
/// are from, so that those of different inputs never do.
fn may_tie(plan: &Plan, ways: &[Ways], input: NodeId, keyed: &Keyed) -> bool {
    match (&keyed.kind, &plan.nodes[input].op) {
        (KeyedKind::Pattern(_), Op::Merge { inputs }) => inputs.iter().any(|i| ways[*i].may_tie),
        (_, _) => ways[input].may_tie,
    }
}

/// Whether the result depends on the order of rows that tie in (`time`, `seq`). Aggregates do not: where
/// it matters they go by the values that are aggregated.
fn depends_on_ties(keyed: &Keyed) -> bool {
    match &keyed.kind {
        KeyedKind::Aggregate { windows, .. } => match windows {
            Windows::Count { .. } => true,
            Windows::Time { .. } | Windows::Session { .. } | Windows::Upstream { .. } => false,
        },
        KeyedKind::Rows { .. }
        | KeyedKind::Running { .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Pattern(_)
        | KeyedKind::Table { .. } => true,
        // What cancels out, and what a table has in the end, does not depend on any order.
        KeyedKind::Changes { .. } | KeyedKind::Snapshot { .. } => false,
    }
}

/// How rows come to a node.
#[derive(Clone)]
struct Ways {
    ways: Vec<Way>,
    /// Whether two rows may agree in (`time`, `seq`) and differ in a column.
    may_tie: bool,
    /// Whether two rows may agree in everything.
    may_repeat: bool,
}

impl Ways {
    /// Of rows that begin at the node `from`.
    fn beginning(reader: Option<usize>, from: NodeId, columns: Vec<Expr>, may_tie: bool) -> Ways {
        Ways { ways: vec![Way { reader, from, columns }], may_tie, may_repeat: false }
    }
}

/// One way: a row of a source comes on it at most once, unless its rows repeat.
#[derive(Clone, PartialEq)]
struct Way {
    /// The reader whose positions the rows have; `None` for rows without a position.
    reader: Option<usize>,
    /// The last node on the way that gave rows other columns, times or places than by a projection.
    from: NodeId,
    /// The columns, over those of `from`.
    columns: Vec<Expr>,
}

/// Whether rows on the two ways may tie and differ.
fn conflict(plan: &Plan, a: &Way, b: &Way) -> bool {
    let (Some(x), Some(y)) = (a.reader, b.reader) else { return true };
    let (x, y) = (&plan.readers[x], &plan.readers[y]);
    // Another event time makes another source, whose partitions have ranks of their own.
    let same_rows = x.scan == y.scan && x.ty == y.ty && x.time == y.time;
    same_rows && a != b
}

fn ways_to(plan: &Plan, id: NodeId, before: &[Ways]) -> Ways {
    let columns = || same_columns(&plan.nodes[id].schema);
    // The rows of `input`, with what happened at this node.
    let here = |input: NodeId| {
        let ways = before[input].ways.iter().map(|w| Way { reader: w.reader, from: id, columns: columns() });
        Ways { ways: ways.collect(), ..before[input] }
    };
    match &plan.nodes[id].op {
        Op::Source { reader } => Ways::beginning(Some(*reader), id, columns(), false),
        Op::Step { input, step } => match step {
            Step::Filter(_) | Step::Print { .. } | Step::Log { .. } => before[*input].clone(),
            Step::Project(exprs) => {
                let mut ways = before[*input].clone();
                for way in &mut ways.ways {
                    way.columns = exprs.iter().map(|e| substitute(e.clone(), &way.columns)).collect();
                }
                ways
            }
        },
        Op::Merge { inputs } => merged(plan, inputs, before),
        Op::Keyed { input, keyed, .. } => match &keyed.kind {
            // Columns stay, but places become times.
            KeyedKind::Distinct { .. } | KeyedKind::Limit { .. } => here(*input),
            // Equal rows are counted one after the other, and differ from there on.
            KeyedKind::Running { .. } => {
                let ways = here(*input);
                Ways { may_tie: ways.may_tie || ways.may_repeat, ..ways }
            }
            // A firing has rows of several keys, and a row may complete several matches.
            KeyedKind::Aggregate { .. }
            | KeyedKind::Rows { .. }
            | KeyedKind::Pattern(_)
            | KeyedKind::Table { .. }
            | KeyedKind::Changes { .. }
            | KeyedKind::Snapshot { .. } => Ways::beginning(None, id, columns(), true),
        },
        // What is looked up depends on the row's place and on nothing else that rows of one position differ in.
        Op::Enrich { input, .. } => here(*input),
        Op::Late { of } => match &plan.nodes[*of].op {
            Op::Keyed { input, .. } => here(*input),
            Op::Source { .. }
            | Op::Step { .. }
            | Op::Merge { .. }
            | Op::Join { .. }
            | Op::Enrich { .. }
            | Op::Relate { .. }
            | Op::Late { .. }
            | Op::Timer { .. } => {
                unreachable!("late rows are of a keyed node")
            }
        },
        // A row may be in several pairs, which may be equal in the columns that are left of them.
        Op::Join { .. } => Ways { may_repeat: true, ..Ways::beginning(None, id, columns(), true) },
        Op::Relate { .. } => Ways::beginning(None, id, columns(), true),
        Op::Timer { .. } => Ways::beginning(None, id, columns(), false),
    }
}

fn merged(plan: &Plan, inputs: &[NodeId], before: &[Ways]) -> Ways {
    let mut all: Vec<Way> = Vec::new();
    let mut may_tie = inputs.iter().any(|i| before[*i].may_tie);
    let mut may_repeat = inputs.iter().any(|i| before[*i].may_repeat);
    for input in inputs {
        let ways = &before[*input].ways;
        may_tie |= ways.iter().any(|a| all.iter().any(|b| conflict(plan, a, b)));
        for way in ways {
            match all.contains(way) {
                true => may_repeat = true,
                false => all.push(way.clone()),
            }
        }
    }
    Ways { ways: all, may_tie, may_repeat }
}
