//! The order of rows, and rows that wait for their turn.
//!
//! Order-sensitive operators apply rows by (`_time`, `_seq`), the ordered sink writes them by (`_at`,
//! stream, key, `_seq`). Where these tie (rows of merged streams, rows without a `_seq`), the place and the
//! values decide, so that rows that still tie are interchangeable and the order is the same in every run.
//! No column that could decide is pruned before ([`plan::ties`](crate::plan::ties)).

use std::cmp::Ordering;

use crate::data::array::value_at;
use crate::data::{Batch, DataType};

/// Which clock rows wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Time,
    Place,
}

impl Clock {
    fn of(self, batch: &Batch) -> &[i64] {
        match self {
            Clock::Time => &batch.time,
            Clock::Place => batch.places(),
        }
    }
}

/// Rows that wait until the watermark passes them: runs sorted by the clock, so that what is released
/// is a prefix of each and what stays is not copied.
#[derive(Debug)]
pub struct Runs {
    clock: Clock,
    runs: Vec<Batch>,
    rows: usize,
}

impl Runs {
    pub fn new(clock: Clock) -> Runs {
        Runs { clock, runs: Vec::new(), rows: 0 }
    }

    /// Takes rows in; they are no longer in flight.
    pub fn push(&mut self, batch: Batch) {
        let batch = Batch { flight: None, ..batch };
        self.rows += batch.len();
        let clock = self.clock.of(&batch);
        if clock.is_sorted() {
            self.runs.push(batch);
        } else {
            let mut indices: Vec<u32> = (0..batch.len() as u32).collect();
            indices.sort_by_key(|&i| clock[i as usize]);
            self.runs.push(batch.take(&indices));
        }
    }

    /// The rows whose clock is before `bound`, all rows when that is `i64::MAX`; in no order.
    pub fn release(&mut self, bound: i64) -> Vec<Batch> {
        let mut released = Vec::new();
        for run in &mut self.runs {
            let clock = self.clock.of(run);
            let count = if bound == i64::MAX { clock.len() } else { clock.partition_point(|c| *c < bound) };
            if count == run.len() {
                released.push(std::mem::take(run));
            } else if count > 0 {
                released.push(run.slice(0, count));
                *run = run.slice(count, run.len() - count);
            }
        }
        self.runs.retain(|run| !run.is_empty());
        self.rows -= released.iter().map(Batch::len).sum::<usize>();
        released
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Heap bytes held, approximately.
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(Batch::bytes).sum()
    }
}

/// The rows of `batches`, which are of one edge with columns of `types`, sorted by (`_time`, `_seq`, `_at`, value).
pub fn in_event_order(batches: &[Batch], types: &[DataType]) -> Batch {
    let all = Batch::concat(batches);
    sorted(all, |b, x, y| {
        let by_origin = b.time[x].cmp(&b.time[y]).then_with(|| by_seq(b, x, y));
        let by_place = || b.places()[x].cmp(&b.places()[y]);
        by_origin.then_with(by_place).then_with(|| by_value(b, types, x, y))
    })
}

/// The rows sorted by `order`, which compares two rows of the batch.
pub fn sorted(batch: Batch, order: impl Fn(&Batch, usize, usize) -> Ordering) -> Batch {
    if (1..batch.len()).all(|i| order(&batch, i - 1, i).is_le()) {
        return batch;
    }
    let mut indices: Vec<u32> = (0..batch.len() as u32).collect();
    indices.sort_by(|&x, &y| order(&batch, x as usize, y as usize));
    batch.take(&indices)
}

/// By `_seq`; equal where there is none.
pub fn by_seq(batch: &Batch, x: usize, y: usize) -> Ordering {
    match &batch.seq {
        Some(seq) => (seq.partition[x], seq.position[x]).cmp(&(seq.partition[y], seq.position[y])),
        None => Ordering::Equal,
    }
}

/// By `_key`; equal where there is none.
pub fn by_key(batch: &Batch, x: usize, y: usize) -> Ordering {
    match &batch.keys {
        Some(keys) => keys.key(x).cmp(keys.key(y)),
        None => Ordering::Equal,
    }
}

/// By the columns from first to last.
pub fn by_value(batch: &Batch, types: &[DataType], x: usize, y: usize) -> Ordering {
    let columns = batch.columns.iter().zip(types);
    let mut orders = columns.map(|(c, ty)| value_at(c.as_ref(), ty, x).compare(&value_at(c.as_ref(), ty, y)));
    orders.find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}
