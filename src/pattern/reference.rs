//! What a pattern means, by trying everything: the definition of the semantics, against which the matcher is tested.
//!
//! A partial match is the rows that it has taken and what is left of the pattern, a list of nodes of which the first
//! comes next. Nothing is shared with the automaton, the division of conditions or the runs.

mod condition;

use std::collections::BTreeSet;

use super::{AfterMatch, Node, Pattern, Selection};
pub use condition::ReferenceInput;

/// A match, or a partial one that has expired: when it was certain, and the rows, each with its step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReferenceMatch {
    pub time: i64,
    pub rows: Vec<(usize, usize)>,
}

enum Move {
    Take(usize, Vec<Node>),
    Watch(usize),
}

/// Whether a part of a pattern can do without rows.
fn may_be_empty(node: &Node) -> bool {
    match node {
        Node::Step(_) => false,
        Node::Not(_) => true,
        Node::Sequence(members) | Node::AnyOrder(members) => members.iter().all(may_be_empty),
        Node::OneOf(members) => members.iter().any(may_be_empty),
        Node::Repeat { node, min, .. } => *min == 0 || may_be_empty(node),
    }
}

/// How a part can begin, in the order in which a row is tried, each with what is left of the part.
fn begin(node: &Node) -> Vec<Move> {
    match node {
        Node::Step(step) => vec![Move::Take(*step, Vec::new())],
        Node::Not(step) => vec![Move::Watch(*step)],
        Node::Sequence(members) => begin_all(members),
        Node::OneOf(members) => members.iter().flat_map(begin).collect(),
        Node::AnyOrder(members) => (0..members.len())
            .flat_map(|i| {
                let (mut others, first) = (members.clone(), &members[i]);
                others.remove(i);
                let rest = if others.is_empty() { Vec::new() } else { vec![Node::AnyOrder(others)] };
                begin_all(&[vec![first.clone()], rest].concat())
            })
            .collect(),
        Node::Repeat { max: Some(0), .. } => Vec::new(),
        Node::Repeat { node, min, max } => {
            let again = Node::Repeat { node: node.clone(), min: min.saturating_sub(1), max: max.map(|m| m - 1) };
            begin_all(&[(**node).clone(), again])
        }
    }
}

/// What may come first of parts in a row: what follows a part that may be empty comes before the part.
fn begin_all(rest: &[Node]) -> Vec<Move> {
    let Some((first, others)) = rest.split_first() else { return Vec::new() };
    let mut moves = if may_be_empty(first) { begin_all(others) } else { Vec::new() };
    moves.extend(before(begin(first), others));
    moves
}

/// The moves with more left to come.
fn before(moves: Vec<Move>, others: &[Node]) -> impl Iterator<Item = Move> {
    moves.into_iter().map(|m| match m {
        Move::Take(step, left) => Move::Take(step, [left, others.to_vec()].concat()),
        Move::Watch(step) => Move::Watch(step),
    })
}

/// The matches of one key's rows, and the partial matches that expired.
pub fn matches(pattern: &Pattern, rows: &[ReferenceInput]) -> (Vec<ReferenceMatch>, Vec<ReferenceMatch>) {
    let mut search = Search { pattern, rows, found: Vec::new(), expired: Vec::new() };
    for row in 0..rows.len() {
        let moves = begin_first(&pattern.root);
        let fitting = moves.into_iter().filter_map(|m| match m {
            Move::Take(step, left) if search.fits(step, row, &[]) => Some((step, left)),
            Move::Take(..) | Move::Watch(_) => None,
        });
        let first_only = pattern.selection != Selection::SkipTillAny;
        for (step, left) in fitting.take(if first_only { 1 } else { usize::MAX }).collect::<Vec<_>>() {
            search.live(vec![(row, step)], left, row + 1, false);
        }
    }
    let Search { mut found, mut expired, .. } = search;
    // Rows before steps: of two matches the one with the earlier row comes first.
    let rows = |m: &ReferenceMatch| m.rows.iter().map(|r| r.0).collect::<Vec<_>>();
    found.sort_by_key(|(moment, m)| (*moment, m.time, rows(m), m.rows.clone()));
    found.dedup();
    chosen(pattern, &mut found, &mut expired);
    (found.into_iter().map(|(_, m)| m).collect(), expired)
}

/// How the first row is taken: not by what follows the first member.
fn begin_first(root: &Node) -> Vec<Move> {
    match root {
        Node::Sequence(members) => before(begin_first(&members[0]), &members[1..]).collect(),
        other => begin(other),
    }
}

struct Search<'a> {
    pattern: &'a Pattern,
    rows: &'a [ReferenceInput],
    /// With the number of the row with which each was certain, or before which.
    found: Vec<((usize, bool), ReferenceMatch)>,
    expired: Vec<ReferenceMatch>,
}

impl Search<'_> {
    /// A partial match before row number `next`.
    fn live(&mut self, taken: Vec<(usize, usize)>, left: Vec<Node>, next: usize, is_closed: bool) {
        let (moves, accepts) = (begin_all(&left), left.iter().all(may_be_empty));
        let last = taken[taken.len() - 1].0;
        if accepts && moves.is_empty() {
            self.found.push(((last, true), ReferenceMatch { time: self.rows[last].time, rows: taken }));
            return;
        }
        let deadline = self.pattern.within_ns.map(|within| self.rows[taken[0].0].time + within);
        if next == self.rows.len() || deadline.is_some_and(|d| self.rows[next].time >= d) {
            let Some(time) = deadline else { return };
            match accepts {
                true => self.found.push(((next, false), ReferenceMatch { time, rows: taken })),
                false => self.expired.push(ReferenceMatch { time, rows: taken }),
            }
            return;
        }
        for m in moves {
            match m {
                Move::Watch(step) if self.fits(step, next, &taken) => return,
                Move::Take(step, left) if !is_closed && self.fits(step, next, &taken) => {
                    self.live([taken.clone(), vec![(next, step)]].concat(), left, next + 1, false);
                    if self.pattern.selection != Selection::SkipTillAny {
                        return;
                    }
                }
                Move::Watch(_) | Move::Take(..) => {}
            }
        }
        let is_strict = self.pattern.selection == Selection::Strict;
        if !is_strict || accepts {
            self.live(taken, left, next + 1, is_strict);
        }
    }

    fn fits(&self, step: usize, row: usize, taken: &[(usize, usize)]) -> bool {
        condition::holds(self.pattern, self.rows, step, row, taken)
    }
}

/// What the rule for what comes after a match leaves, of matches in the order in which they were certain.
fn chosen(pattern: &Pattern, found: &mut Vec<((usize, bool), ReferenceMatch)>, expired: &mut Vec<ReferenceMatch>) {
    let start = |m: &ReferenceMatch| m.rows[0].0;
    match pattern.after_match {
        AfterMatch::NextRow => {}
        AfterMatch::ToNextStart => {
            // `false` sorts before `true`: what expires before a row comes before what the row completes.
            expired.retain(|e| !found.iter().any(|(_, m)| start(m) == start(e) && m.time < e.time));
            let mut starts = BTreeSet::new();
            found.retain(|(_, m)| starts.insert(start(m)));
        }
        AfterMatch::SkipPastLast => {
            found.sort_by_key(|(_, m)| start(m));
            let mut last: Option<usize> = None;
            found.retain(|(_, m)| {
                let is_taken = last.is_none_or(|last| start(m) > last);
                if is_taken {
                    last = m.rows.last().map(|(row, _)| *row);
                }
                is_taken
            });
        }
    }
}
