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
use super::window::{groups_of, send_in_slices};
use crate::data::Batch;
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::expr::Errors;
use crate::state::Table;

/// See the module's doc.
pub struct UpstreamWindows<B> {
    start_column: usize,
    end_column: usize,
    body: B,
    /// By (end, start), so that firing is a range.
    windows: Table<(i64, i64)>,
    pending: BTreeSet<(i64, i64)>,
    counters: Arc<Counters>,
}

impl<B: Body> UpstreamWindows<B> {
    pub fn new(start_column: usize, end_column: usize, body: B, counters: Arc<Counters>) -> Self {
        let (windows, pending) = (Table::default(), BTreeSet::new());
        UpstreamWindows { start_column, end_column, body, windows, pending, counters }
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
            if self.windows.slots(window, &keys, row..row + 1, &mut slots) {
                self.pending.insert(window);
            }
        }
        self.body.update(&batch, &slots);
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        while let Some(&(end, start)) = self.pending.first().filter(|w| w.0 <= watermark) {
            self.pending.pop_first();
            let members = self.windows.section((end, start)).collect();
            let errors = Errors::default();
            let rows = self.body.emit(groups_of(&self.windows, members, (start, end)), &errors);
            self.counters.add_errors(errors.count());
            send_in_slices(rows, &self.counters, out);
            let slots = self.windows.remove_section((end, start));
            self.body.clear(&slots);
        }
        self.counters.set_state(self.windows.len(), self.windows.bytes() + self.body.bytes());
        Progress::Done
    }

    fn hand_over(&mut self, _: u64) -> Progress {
        self.counters.add_handed_over(self.windows.end_generation());
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        0
    }
}
