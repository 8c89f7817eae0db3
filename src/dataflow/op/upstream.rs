//! Regrouping the rows of one firing: windows whose bounds the rows bring along.
//!
//! Rows of a window upstream have event time `end - 1ns`, and upstream's watermark trails by what it
//! allows for lateness, so that a window is complete when the watermark reaches its end and no row is late.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::body::Body;
use super::counters::Counters;
use super::tabled::Tabled;
use super::window::{groups_of, send_in_slices};
use crate::data::Batch;
use crate::data::key::key_group;
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::expr::Errors;
use crate::state::Table;
use crate::state::entries::{Entries, RestoreError, SavedEntry, take_i64};

/// A window by its end and its start, so that firing is a range.
type Window = (i64, i64);

/// See the module's doc.
pub struct UpstreamWindows<B> {
    start_column: usize,
    end_column: usize,
    body: B,
    windows: Table<Window>,
    pending: BTreeSet<Window>,
    counters: Arc<Counters>,
}

impl<B: Body> UpstreamWindows<B> {
    pub fn new(start_column: usize, end_column: usize, body: B, counters: Arc<Counters>) -> Self {
        let (windows, pending) = (Table::default(), BTreeSet::new());
        UpstreamWindows { start_column, end_column, body, windows, pending, counters }
    }

    /// Restores a key in a window, which it gives.
    fn restore_key(&mut self, entry: &SavedEntry<'_>) -> Result<Window, RestoreError> {
        let mut sub = entry.sub;
        let window = (take_i64(&mut sub)?, take_i64(&mut sub)?);
        let (slot, mut value) = (self.windows.restore_slot(window, entry), entry.value);
        self.body.decode(slot, &mut value)?;
        self.windows.restore_rank(slot, value)?;
        Ok(window)
    }
}

impl<B: Body> Core for UpstreamWindows<B> {
    type Rows = Batch;

    fn apply(&mut self, _: usize, batch: Batch, _: &mut dyn Outlet<Batch>) {
        self.counters.add_in(batch.len());
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let starts = batch.columns[self.start_column].as_primitive::<Int64Type>().values();
        let ends = batch.columns[self.end_column].as_primitive::<Int64Type>().values();
        let mut slots = Vec::with_capacity(batch.len());
        for row in 0..batch.len() {
            let window = (ends[row], starts[row]);
            self.fetch(window, &keys, row..row + 1);
            if self.windows.slots(window, &keys, row..row + 1, &mut slots) {
                self.pending.insert(window);
            }
        }
        self.copy_due();
        self.body.update(&batch, &slots);
        self.drop_evicted();
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        while let Some(&(end, start)) = self.pending.first().filter(|w| w.0 <= watermark) {
            self.pending.pop_first();
            // The rows of one firing have to fit in memory.
            self.fetch_section((end, start));
            let members = self.windows.section((end, start)).collect();
            let errors = Errors::default();
            let rows = self.body.emit(groups_of(&self.windows, members, (start, end)), &errors);
            self.counters.add_errors(errors.count());
            send_in_slices(rows, &self.counters, out);
            self.windows.doom_section((end, start));
            self.copy_due();
            let slots = self.windows.remove_section((end, start));
            self.body.clear(&slots);
        }
        self.counters.set_state(self.windows.len(), self.windows.bytes() + self.value_bytes());
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        0
    }
}

/// Of each key in a window, what the body holds.
impl<B: Body> Tabled for UpstreamWindows<B> {
    type Sub = Window;

    fn table(&mut self) -> (&mut Table<Window>, impl Fn(&Table<Window>, Window, u32, &mut Entries)) {
        let body = &self.body;
        let encode = |windows: &Table<Window>, (end, start): Window, slot: u32, out: &mut Entries| {
            let sub = [end.to_be_bytes(), start.to_be_bytes()].concat();
            let group = key_group(windows.hash(slot));
            out.push(group, windows.key(slot), &sub, end, |value| body.encode(slot, value));
        };
        (&mut self.windows, encode)
    }

    fn value_bytes(&self) -> usize {
        self.body.bytes()
    }

    fn clear(&mut self, slots: &[u32]) {
        self.body.clear(slots);
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        self.restore_key(entry).map(|_| ())
    }

    fn take_back(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let window = self.restore_key(entry)?;
        self.pending.insert(window);
        Ok(())
    }

    fn taken_in(&mut self) {
        self.body.restored();
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
