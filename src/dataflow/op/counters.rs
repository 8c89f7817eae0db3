//! What operators count for the report and the metrics, so that it survives: a run that was killed and
//! continued reports what one that nobody disturbed does.
//!
//! Everything that follows from the rows is counted in the epoch that it belongs to. There are two buckets,
//! for epochs with even and odd numbers, since at most two are under way: the one that a checkpoint is
//! being made of, and the next. When a process is done with an epoch its bucket is added to what was
//! counted before, and that is what the checkpoint records.
//!
//! What does not follow from the rows (the most memory that was held, what was written) is of this process
//! alone.
//!
//! A stream of which nothing is written, only printed, may be counted an epoch late.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What all operators of one node of the plan have counted, in one process.
#[derive(Debug, Default)]
pub struct Tally {
    /// Up to the end of the last epoch that was recorded, in earlier runs too.
    before: Mutex<Counts>,
    /// By the epoch's number, even or odd.
    epochs: [Bucket; 2],
    handed_over: AtomicU64,
    state_entries_peak: AtomicUsize,
    state_bytes_peak: AtomicUsize,
}

/// What was counted in one epoch.
#[derive(Debug, Default)]
struct Bucket {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    late: AtomicU64,
    /// How much more out-of-orderness would have kept every late row.
    shortfall_ns: AtomicI64,
    errors: AtomicU64,
    evicted: AtomicU64,
    capped: AtomicU64,
    unmatched: AtomicU64,
}

/// One operator's way to its node's tally, on one worker. It stands in the epoch of what is being counted.
#[derive(Debug, Default)]
pub struct Counters {
    tally: Arc<Tally>,
    epoch: AtomicU64,
}

/// A reading of a [`Tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    pub rows_in: u64,
    pub rows_out: u64,
    pub late: u64,
    pub shortfall_ns: i64,
    pub errors: u64,
    /// Entries that a capacity had no room for.
    #[serde(default)]
    pub evicted: u64,
    /// Partial matches of which a key had too many.
    #[serde(default)]
    pub capped: u64,
    /// Rows for which a table had none, where one was required.
    #[serde(default)]
    pub unmatched: u64,
    pub handed_over: u64,
    pub state_entries_peak: usize,
    pub state_bytes_peak: usize,
}

impl Counts {
    /// Adds what another process counted of the same node.
    pub fn add(&mut self, other: Counts) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.late += other.late;
        self.shortfall_ns = self.shortfall_ns.max(other.shortfall_ns);
        self.errors += other.errors;
        self.evicted += other.evicted;
        self.capped += other.capped;
        self.unmatched += other.unmatched;
        self.handed_over += other.handed_over;
        self.state_entries_peak = self.state_entries_peak.max(other.state_entries_peak);
        self.state_bytes_peak = self.state_bytes_peak.max(other.state_bytes_peak);
    }
}

impl Bucket {
    fn read(&self) -> Counts {
        Counts {
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            late: self.late.load(Relaxed),
            shortfall_ns: self.shortfall_ns.load(Relaxed),
            errors: self.errors.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
            capped: self.capped.load(Relaxed),
            unmatched: self.unmatched.load(Relaxed),
            ..Counts::default()
        }
    }

    /// Reads it and leaves nothing.
    fn take(&self) -> Counts {
        Counts {
            rows_in: self.rows_in.swap(0, Relaxed),
            rows_out: self.rows_out.swap(0, Relaxed),
            late: self.late.swap(0, Relaxed),
            shortfall_ns: self.shortfall_ns.swap(0, Relaxed),
            errors: self.errors.swap(0, Relaxed),
            evicted: self.evicted.swap(0, Relaxed),
            capped: self.capped.swap(0, Relaxed),
            unmatched: self.unmatched.swap(0, Relaxed),
            ..Counts::default()
        }
    }
}

impl Tally {
    /// Goes on from what earlier runs had counted.
    pub fn after(before: Counts) -> Tally {
        Tally { before: Mutex::new(before), ..Tally::default() }
    }

    /// For an operator that begins in `epoch`.
    pub fn counters(self: &Arc<Self>, epoch: u64) -> Arc<Counters> {
        Arc::new(Counters { tally: self.clone(), epoch: AtomicU64::new(epoch) })
    }

    /// Every operator has left `epoch`: what was counted up to its end, of what follows from the rows.
    pub fn end_epoch(&self, epoch: u64) -> Counts {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.add(self.epochs[(epoch % 2) as usize].take());
        *before
    }

    pub fn read(&self) -> Counts {
        let mut counts = *self.before.lock().unwrap_or_else(PoisonError::into_inner);
        self.epochs.iter().for_each(|bucket| counts.add(bucket.read()));
        counts.handed_over += self.handed_over.load(Relaxed);
        counts.state_entries_peak = self.state_entries_peak.load(Relaxed);
        counts.state_bytes_peak = self.state_bytes_peak.load(Relaxed);
        counts
    }
}

impl Counters {
    /// What is counted from now on belongs to `epoch`.
    pub fn enter(&self, epoch: u64) {
        self.epoch.store(epoch, Relaxed);
    }

    fn bucket(&self) -> &Bucket {
        &self.tally.epochs[(self.epoch.load(Relaxed) % 2) as usize]
    }

    pub fn add_in(&self, rows: usize) {
        self.bucket().rows_in.fetch_add(rows as u64, Relaxed);
    }

    pub fn add_out(&self, rows: usize) {
        self.bucket().rows_out.fetch_add(rows as u64, Relaxed);
    }

    pub fn add_late(&self, shortfall_ns: i64) {
        let bucket = self.bucket();
        bucket.late.fetch_add(1, Relaxed);
        bucket.shortfall_ns.fetch_max(shortfall_ns, Relaxed);
    }

    pub fn add_errors(&self, errors: u64) {
        if errors > 0 {
            self.bucket().errors.fetch_add(errors, Relaxed);
        }
    }

    pub fn add_evicted(&self, entries: usize) {
        self.bucket().evicted.fetch_add(entries as u64, Relaxed);
    }

    pub fn add_capped(&self, runs: u64) {
        if runs > 0 {
            self.bucket().capped.fetch_add(runs, Relaxed);
        }
    }

    pub fn add_unmatched(&self, rows: usize) {
        if rows > 0 {
            self.bucket().unmatched.fetch_add(rows as u64, Relaxed);
        }
    }

    /// Entries that a checkpoint would have written.
    pub fn add_handed_over(&self, entries: usize) {
        self.tally.handed_over.fetch_add(entries as u64, Relaxed);
    }

    /// The state that one worker holds now.
    pub fn set_state(&self, entries: usize, bytes: usize) {
        self.tally.state_entries_peak.fetch_max(entries, Relaxed);
        self.tally.state_bytes_peak.fetch_max(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_what_was_counted_in_it() {
        let tally = Arc::new(Tally::after(Counts { rows_in: 100, ..Counts::default() }));
        let (ahead, behind) = (tally.counters(4), tally.counters(4));
        behind.add_in(1);
        ahead.add_in(2);
        ahead.enter(5);
        ahead.add_in(10);
        ahead.add_late(3);
        behind.add_in(4);
        assert_eq!(tally.end_epoch(4).rows_in, 107);
        behind.enter(5);
        behind.add_in(20);
        assert_eq!(tally.read().rows_in, 137);
        let ended = tally.end_epoch(5);
        assert_eq!((ended.rows_in, ended.late, ended.shortfall_ns), (137, 1, 3));
        ahead.enter(6);
        ahead.add_in(1000);
        assert_eq!((tally.end_epoch(6).rows_in, tally.read().rows_in), (1137, 1137));
    }
}
