//! What an operator counts for the report and the metrics, summed over the workers of a process.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counts of one node of the plan.
#[derive(Debug, Default)]
pub struct Counters {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    late: AtomicU64,
    /// How much more out-of-orderness would have kept every late row.
    shortfall_ns: AtomicI64,
    errors: AtomicU64,
    handed_over: AtomicU64,
    state_entries_peak: AtomicUsize,
    state_bytes_peak: AtomicUsize,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    pub rows_in: u64,
    pub rows_out: u64,
    pub late: u64,
    pub shortfall_ns: i64,
    pub errors: u64,
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
        self.handed_over += other.handed_over;
        self.state_entries_peak = self.state_entries_peak.max(other.state_entries_peak);
        self.state_bytes_peak = self.state_bytes_peak.max(other.state_bytes_peak);
    }
}

impl Counters {
    pub fn add_in(&self, rows: usize) {
        self.rows_in.fetch_add(rows as u64, Relaxed);
    }

    pub fn add_out(&self, rows: usize) {
        self.rows_out.fetch_add(rows as u64, Relaxed);
    }

    pub fn add_late(&self, shortfall_ns: i64) {
        self.late.fetch_add(1, Relaxed);
        self.shortfall_ns.fetch_max(shortfall_ns, Relaxed);
    }

    pub fn add_errors(&self, errors: u64) {
        self.errors.fetch_add(errors, Relaxed);
    }

    /// Entries that a checkpoint would have written.
    pub fn add_handed_over(&self, entries: usize) {
        self.handed_over.fetch_add(entries as u64, Relaxed);
    }

    /// The state that one worker holds now.
    pub fn set_state(&self, entries: usize, bytes: usize) {
        self.state_entries_peak.fetch_max(entries, Relaxed);
        self.state_bytes_peak.fetch_max(bytes, Relaxed);
    }

    pub fn read(&self) -> Counts {
        Counts {
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            late: self.late.load(Relaxed),
            shortfall_ns: self.shortfall_ns.load(Relaxed),
            errors: self.errors.load(Relaxed),
            handed_over: self.handed_over.load(Relaxed),
            state_entries_peak: self.state_entries_peak.load(Relaxed),
            state_bytes_peak: self.state_bytes_peak.load(Relaxed),
        }
    }
}
