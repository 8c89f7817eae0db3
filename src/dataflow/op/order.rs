//! The order of rows, and rows that wait for their turn.
//!
//! Order-sensitive operators apply rows by (`_time`, `_seq`), the ordered sink writes them by (`_at`,
//! stream, key, `_seq`). Where these tie (rows of merged streams, rows without a `_seq`), the place and the
//! values decide, so that rows that still tie are interchangeable and the order is the same in every run.
//! No column that could decide is pruned before ([`plan::ties`](crate::plan::ties)).

use std::cmp::Ordering;

use arrow_array::ArrayRef;

use crate::data::array::value_at;
use crate::data::key::{encode_row, key_group};
use crate::data::{Batch, DataType, Keys};
use crate::dataflow::packet::{decode, encode};
use crate::state::entries::{EVERY_WORKER, Entries, RestoreError, SavedEntry, Worker};

/// How many runs are saved at once.
const RUNS_PER_SLICE: usize = 4;

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
    runs: Vec<Run>,
    rows: usize,
    /// Whose rows are saved, and under which number the next.
    saver: Option<(Worker, u64)>,
    /// What is being saved: the runs as they were, which are shared and not copied.
    saving: Vec<Batch>,
}

#[derive(Debug, Default)]
struct Run {
    batch: Batch,
    /// Whether some checkpoint has it. What has been released of it since is known by the clock.
    is_saved: bool,
}

impl Runs {
    pub fn new(clock: Clock) -> Runs {
        Runs { clock, runs: Vec::new(), rows: 0, saver: None, saving: Vec::new() }
    }

    /// Takes rows in; they are no longer in flight.
    pub fn push(&mut self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let batch = Batch { flight: None, ..batch };
        self.rows += batch.len();
        let clock = self.clock.of(&batch);
        let batch = if clock.is_sorted() {
            batch
        } else {
            let mut indices: Vec<u32> = (0..batch.len() as u32).collect();
            indices.sort_by_key(|&i| clock[i as usize]);
            batch.take(&indices)
        };
        self.runs.push(Run { batch, is_saved: false });
    }

    /// The rows whose clock is before `bound`, all rows when that is `i64::MAX`; in no order.
    pub fn release(&mut self, bound: i64) -> Vec<Batch> {
        let mut released = Vec::new();
        for run in &mut self.runs {
            let count = released_rows(self.clock.of(&run.batch), bound);
            if count == run.batch.len() {
                released.push(std::mem::take(&mut run.batch));
            } else if count > 0 {
                released.push(run.batch.slice(0, count));
                run.batch = run.batch.slice(count, run.batch.len() - count);
            }
        }
        self.runs.retain(|run| !run.batch.is_empty());
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
        self.runs.iter().map(|run| run.batch.bytes()).sum()
    }

    /// From now on, remembers which runs were saved.
    pub fn track(&mut self, worker: Worker) {
        self.saver = Some((worker, 0));
    }

    /// The runs not saved yet, all if `full`, are what [`Self::save`] saves, as they are now.
    pub fn begin_save(&mut self, full: bool) {
        for run in self.runs.iter_mut().filter(|run| full || !run.is_saved) {
            run.is_saved = true;
            self.saving.push(run.batch.clone());
        }
    }

    /// Appends up to `limit` runs, each as one entry whose sub-key begins with `sub`; tells whether that
    /// were all.
    pub fn save(&mut self, sub: &[u8], limit: usize, out: &mut Entries) -> bool {
        let Some((worker, number)) = &mut self.saver else { return true };
        for _ in 0..limit {
            let Some(batch) = self.saving.pop() else { return true };
            let last = *self.clock.of(&batch).last().expect("no run is empty");
            let (key, sub) = ((worker.index as u32).to_be_bytes(), [sub, &number.to_be_bytes()].concat());
            *number += 1;
            // Released are the rows before the bound.
            out.push(EVERY_WORKER, &key, &sub, last.saturating_add(1), |value| value.extend(encode(&batch)));
        }
        false
    }

    /// [`Self::save`] of an operator that has nothing but these.
    pub fn save_slice(&mut self, out: &mut Entries) -> bool {
        self.save(&[], RUNS_PER_SLICE, out)
    }

    /// Takes in the rows of a saved run whose keys are this worker's.
    pub fn restore_own(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let worker = self.saver.map_or(Worker::ONLY, |(worker, _)| worker);
        self.restore(entry, |batch, row| {
            let keys = batch.keys.as_ref().expect("rows are keyed before a keyed operator");
            worker.owns(key_group(keys.hash(row)))
        })
    }

    /// Takes in the rows of a saved run that `owns` says are this worker's.
    pub fn restore(
        &mut self,
        entry: &SavedEntry<'_>,
        owns: impl Fn(&Batch, usize) -> bool,
    ) -> Result<(), RestoreError> {
        let batch = decode(entry.value).map_err(|_| RestoreError::Damaged("it is no batch of rows"))?;
        let released = released_rows(self.clock.of(&batch), entry.watermark);
        let own: Vec<u32> = (released..batch.len()).filter(|&row| owns(&batch, row)).map(|row| row as u32).collect();
        if !own.is_empty() {
            self.push(batch.take(&own));
        }
        Ok(())
    }
}

/// How many rows of a run, whose clock is sorted, are before `bound`; all when that is `i64::MAX`.
fn released_rows(clock: &[i64], bound: i64) -> usize {
    if bound == i64::MAX { clock.len() } else { clock.partition_point(|c| *c < bound) }
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

/// What changes come to: equal rows of one time and key are added up, by `diffs`, how often each comes or goes. Gives those
/// that do not cancel each other, in the order of time, key and value: one of them that comes, or goes, as all do
/// together, and how often.
pub fn net_changes(time: &[i64], keys: &Keys, columns: &[(ArrayRef, DataType)], diffs: &[i64]) -> Vec<(u32, i64)> {
    let (mut bytes, mut ends) = (Vec::new(), vec![0]);
    for row in 0..time.len() {
        encode_row(columns, row, &mut bytes);
        ends.push(bytes.len());
    }
    let what = |row: u32| {
        let row = row as usize;
        (time[row], keys.key(row), &bytes[ends[row]..ends[row + 1]])
    };
    let mut order: Vec<u32> = (0..time.len() as u32).collect();
    order.sort_by(|&a, &b| what(a).cmp(&what(b)));
    let sums = order.chunk_by(|&a, &b| what(a) == what(b)).filter_map(|same| {
        let sum: i64 = same.iter().map(|&row| diffs[row as usize]).sum();
        let one = same.iter().find(|&&row| diffs[row as usize].signum() == sum.signum()).filter(|_| sum != 0)?;
        Some((*one, sum))
    });
    sums.collect()
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
