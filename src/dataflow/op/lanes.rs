//! Merging runs of encoded rows into the text of one output sequence.
//!
//! Workers sort the rows that they encode ([`in_text_order`]); what is left to do at the one place where
//! all outputs meet is comparing the heads of runs and copying bytes. Concatenating and sorting there was
//! the first way: it held everything three times and made the one worker that writes the slowest.
//!
//! Runs that follow each other, as the batches of one worker do, are put one behind the other in a
//! *lane*, so that the merge is between as many lanes as there are runs that overlap. Text that needs no
//! merging is written from where it lies.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use arrow_array::BinaryArray;
use arrow_array::cast::AsArray;

use super::order::{by_key, by_seq, sorted};
use crate::data::Batch;

/// Bytes that are collected before they are written.
const CHUNK_BYTES: usize = 256 << 10;

/// The rows of `batch`, whose one column holds them encoded, by (`_at`, key, `_seq`); then by the text.
pub fn in_text_order(batch: Batch) -> Batch {
    if batch.is_empty() {
        return batch;
    }
    let text = batch.columns[0].clone();
    let text = text.as_binary::<i32>();
    sorted(batch, |b, x, y| {
        let places = b.places();
        let by_origin = places[x].cmp(&places[y]).then_with(|| by_key(b, x, y)).then_with(|| by_seq(b, x, y));
        by_origin.then_with(|| text.value(x).cmp(text.value(y)))
    })
}

/// Sorted rows of one stream.
struct Run {
    /// The stream's place among all.
    rank: usize,
    rows: Batch,
    text: BinaryArray,
}

impl Run {
    fn new(rank: usize, rows: Batch) -> Run {
        let text = rows.columns[0].as_binary::<i32>().clone();
        Run { rank, rows, text }
    }

    fn last(&self) -> usize {
        self.rows.len() - 1
    }

    /// The order of all rows of one output sequence: by (`_at`, stream, key, `_seq`), then by the text.
    fn compare(&self, x: usize, other: &Run, y: usize) -> Ordering {
        let by_stream = || self.rank.cmp(&other.rank);
        let by_key = || match (&self.rows.keys, &other.rows.keys) {
            (Some(a), Some(b)) => a.key(x).cmp(b.key(y)),
            (None, _) | (_, None) => Ordering::Equal,
        };
        let by_seq = || match (&self.rows.seq, &other.rows.seq) {
            (Some(a), Some(b)) => (a.partition[x], a.position[x]).cmp(&(b.partition[y], b.position[y])),
            (None, _) | (_, None) => Ordering::Equal,
        };
        let by_place = self.rows.places()[x].cmp(&other.rows.places()[y]).then_with(by_stream);
        let by_origin = by_place.then_with(by_key).then_with(by_seq);
        by_origin.then_with(|| self.text.value(x).cmp(other.text.value(y)))
    }

    fn bytes(&self, from: usize, to: usize) -> &[u8] {
        let offsets = self.text.value_offsets();
        &self.text.value_data()[offsets[from] as usize..offsets[to] as usize]
    }
}

/// Runs that follow each other; `row` is the next of the first.
struct Lane {
    run: Run,
    row: usize,
    later: VecDeque<Run>,
}

impl Lane {
    fn ends_before(&self, run: &Run) -> bool {
        let last = self.later.back().unwrap_or(&self.run);
        last.compare(last.last(), run, 0).is_le()
    }

    /// How far the first run's rows come no later than the head of `other`; at least one does.
    fn lead(&self, other: &Lane) -> usize {
        let is_before = |row: usize| self.run.compare(row, &other.run, other.row).is_le();
        let (mut before, mut step) = (self.row, 1);
        while before + step <= self.run.last() && is_before(before + step) {
            before += step;
            step *= 2;
        }
        let mut after = (before + step).min(self.run.last() + 1);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if is_before(middle) { before = middle } else { after = middle }
        }
        after
    }

    /// The lane after the rows before `row` are written; `None` at its end.
    fn advance(mut self: Box<Self>, row: usize) -> Option<Box<Self>> {
        self.row = row;
        if row > self.run.last() {
            self.run = self.later.pop_front()?;
            self.row = 0;
        }
        Some(self)
    }
}

/// The lane with the least head is the greatest of a heap.
impl Ord for Lane {
    fn cmp(&self, other: &Self) -> Ordering {
        other.run.compare(other.row, &self.run, self.row)
    }
}

impl PartialOrd for Lane {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Lane {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Lane {}

/// Writes the rows of all `runs`, each with the rank of its stream and sorted, in order: `write` is given
/// whole rows of one stream at a time.
pub fn merge(runs: Vec<(usize, Batch)>, write: &mut dyn FnMut(usize, &[u8])) {
    let mut lanes = lanes(runs.into_iter().filter(|(_, rows)| !rows.is_empty()).map(|(r, b)| Run::new(r, b)).collect());
    let mut text = Text { rank: 0, bytes: Vec::new(), write };
    while let Some(lane) = lanes.pop() {
        let to = lanes.peek().map_or(lane.run.last() + 1, |next| lane.lead(next));
        text.push(lane.run.rank, lane.run.bytes(lane.row, to));
        lanes.extend(lane.advance(to));
    }
    text.flush();
}

/// As few lanes as the runs allow.
fn lanes(mut runs: Vec<Run>) -> BinaryHeap<Box<Lane>> {
    runs.sort_by(|a, b| a.compare(0, b, 0));
    let mut lanes: Vec<Box<Lane>> = Vec::new();
    for run in runs {
        match lanes.iter_mut().find(|lane| lane.ends_before(&run)) {
            Some(lane) => lane.later.push_back(run),
            None => lanes.push(Box::new(Lane { run, row: 0, later: VecDeque::new() })),
        }
    }
    lanes.into()
}

/// Text on its way out.
struct Text<'a> {
    rank: usize,
    bytes: Vec<u8>,
    write: &'a mut dyn FnMut(usize, &[u8]),
}

impl Text<'_> {
    fn push(&mut self, rank: usize, bytes: &[u8]) {
        if rank != self.rank || self.bytes.len() + bytes.len() > CHUNK_BYTES {
            self.flush();
            self.rank = rank;
        }
        if bytes.len() >= CHUNK_BYTES {
            (self.write)(rank, bytes);
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            (self.write)(self.rank, &self.bytes);
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::data::{Keys, Seq};

    /// (place, stream, key, `_seq`)
    type Row = (i64, usize, u8, u64);

    fn text_of(row: Row) -> Vec<u8> {
        format!("{row:?}\n").into_bytes()
    }

    /// Stream 0 has no keys, stream 1 no `_seq`.
    fn batch(rank: usize, rows: &[Row]) -> Batch {
        let text: BinaryArray = rows.iter().map(|r| Some(text_of(*r))).collect();
        let mut offsets = vec![0];
        offsets.extend(1..=rows.len() as u32);
        let keys = Keys::new(rows.iter().map(|r| r.2).collect(), offsets);
        let position = rows.iter().map(|r| r.3).collect();
        Batch {
            columns: vec![Arc::new(text)],
            time: rows.iter().map(|r| r.0).collect(),
            keys: (rank != 0).then(|| Arc::new(keys)),
            seq: (rank != 1).then(|| Seq { partition: vec![0; rows.len()].into(), position }),
            ..Batch::default()
        }
    }

    fn order(row: &Row) -> (i64, usize, Option<u8>, Option<u64>, Vec<u8>) {
        (row.0, row.1, (row.1 != 0).then_some(row.2), (row.1 != 1).then_some(row.3), text_of(*row))
    }

    proptest! {
        /// Any rows in any batches come out as if all were sorted at once.
        #[test]
        fn merging_is_sorting(
            batches in prop::collection::vec((0..3usize, prop::collection::vec((0..6i64, 0..3u8, 0..4u64), 0..12)), 0..8),
        ) {
            let batches: Vec<(usize, Vec<Row>)> = batches
                .into_iter()
                .map(|(rank, rows)| (rank, rows.into_iter().map(|(at, key, seq)| (at, rank, key, seq)).collect()))
                .collect();
            let mut expected: Vec<Row> = batches.iter().flat_map(|(_, rows)| rows.clone()).collect();
            expected.sort_by_key(order);
            let expected: Vec<u8> = expected.into_iter().flat_map(text_of).collect();
            let mut got = Vec::new();
            let runs = batches.iter().map(|(rank, rows)| (*rank, in_text_order(batch(*rank, rows)))).collect();
            merge(runs, &mut |rank, bytes| {
                let mark = format!(", {rank}, ");
                assert!(bytes.split_inclusive(|b| *b == b'\n').all(|l| String::from_utf8_lossy(l).contains(&mark)));
                got.extend_from_slice(bytes);
            });
            prop_assert_eq!(String::from_utf8(got), String::from_utf8(expected));
        }
    }
}
