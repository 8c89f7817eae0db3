//! Partial matches, and the rows that they share.
//!
//! A run remembers its rows as a list from the last one back, so that runs which branch off share what they have in
//! common, and a match is taken apart only when it is emitted.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::rc::Rc;

use super::runs::Runs;
use crate::data::Value;

/// A row that at least one run has taken.
#[derive(Debug, PartialEq)]
pub struct Row {
    pub time: i64,
    /// Its place in the order of the key's rows.
    pub ordinal: u64,
    /// The values of the step's `kept` expressions, as [`crate::data::key::encode_row`] writes them.
    pub kept: Box<[u8]>,
}

/// A row in a step of a run, and those before it.
#[derive(Debug)]
pub struct Taken {
    pub row: Rc<Row>,
    pub step: u16,
    pub before: Option<Rc<Taken>>,
}

impl Drop for Taken {
    /// One after the other: a list may be longer than the stack is deep.
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(mut taken) = next.and_then(Rc::into_inner) {
            next = taken.before.take();
        }
    }
}

impl Taken {
    /// The rows from the last to the first.
    pub fn back(self: &Rc<Taken>) -> impl Iterator<Item = &Rc<Taken>> {
        std::iter::successors(Some(self), |taken| taken.before.as_ref())
    }

    /// What a match is identified by, from the first row to the last.
    fn identity(self: &Rc<Taken>) -> Vec<(u64, u16)> {
        let mut rows: Vec<(u64, u16)> = self.back().map(|t| (t.row.ordinal, t.step)).collect();
        rows.reverse();
        rows
    }
}

/// With the two counts that stand before what an `Rc` points to.
const COUNTED_LINK_BYTES: usize = size_of::<Taken>() + 16;
const COUNTED_ROW_BYTES: usize = size_of::<Row>() + 16;

/// A partial match.
#[derive(Debug)]
pub struct Run {
    /// State of the automaton.
    pub state: u16,
    /// It takes no more rows, because one came that it did not take, and waits for `within` to pass.
    pub is_closed: bool,
    /// Place of its first row in the order of the key.
    pub start: u64,
    pub first_time: i64,
    pub rows: u32,
    pub last: Rc<Taken>,
    /// As the program's memories.
    pub memories: Box<[Value]>,
    /// Where its aggregates stand, if conditions ask for any.
    pub slot: u32,
}

/// A match that is certain, or a partial one that has expired.
#[derive(Debug)]
pub struct Match {
    pub start: u64,
    pub first_time: i64,
    /// The event time of its row of output.
    pub time: i64,
    pub rows: u32,
    pub last: Rc<Taken>,
}

/// All that is known of a key.
#[derive(Debug, Default)]
pub struct KeyRuns {
    pub runs: Runs,
    /// Matches that wait for runs which began earlier; by start, and then in the order in which they became certain.
    pub waiting: VecDeque<Match>,
    /// The place of the next row.
    pub next: u64,
}

impl KeyRuns {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.waiting.is_empty()
    }

    /// Heap bytes, approximately: rows are taken to be as large as the newest, and those of runs not to be shared with
    /// runs that began before.
    pub fn bytes(&self) -> usize {
        let links: usize = self.runs.iter().map(|run| run.rows as usize).sum::<usize>() * COUNTED_LINK_BYTES;
        let memories = self.runs.front().map_or(0, |run| size_of_val(&*run.memories));
        let row = self.runs.back().map_or(0, |run| COUNTED_ROW_BYTES + run.last.row.kept.len());
        let rows = self.runs.front().map_or(0, |run| (self.next - run.start) as usize) * row;
        let rows = rows.min(links / COUNTED_LINK_BYTES * row);
        self.runs.bytes() + self.runs.len() * memories + links + rows
    }
}

/// Sorts matches that became certain at one moment, and leaves those out that are there already.
pub fn in_order(matches: &mut Vec<Match>) {
    if matches.len() < 2 {
        return;
    }
    let mut identified: Vec<(Vec<(u64, u16)>, Match)> =
        std::mem::take(matches).into_iter().map(|m| (m.last.identity(), m)).collect();
    identified.sort_by(|a, b| compare_rows(&a.0, &b.0));
    identified.dedup_by(|a, b| a.0 == b.0);
    matches.extend(identified.into_iter().map(|(_, m)| m));
}

/// Row by row, an earlier one first, a list before those that it begins; then the steps.
fn compare_rows(a: &[(u64, u16)], b: &[(u64, u16)]) -> Ordering {
    let by_rows = a.iter().map(|r| r.0).cmp(b.iter().map(|r| r.0));
    by_rows.then_with(|| a.iter().map(|r| r.1).cmp(b.iter().map(|r| r.1)))
}
