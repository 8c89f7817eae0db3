//! Rows that arrived too late for an operator: counted always, sent on if a stream asks for them.

use super::counters::Counters;
use crate::data::Batch;
use crate::dataflow::align::Outlet;

/// The output port of late rows.
pub const LATE_PORT: usize = 1;

/// What becomes of late rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    Dropped,
    /// They leave on [`LATE_PORT`]; their event time is their place.
    Sent,
}

impl Late {
    /// The rows that are not late: their own time plus the lateness is not before their place. The others are counted,
    /// and sent on if anybody wants them.
    pub fn on_time(self, batch: Batch, lateness_ns: i64, counters: &Counters, out: &mut dyn Outlet<Batch>) -> Batch {
        let Some(places) = &batch.at else { return batch };
        // Places may be more than 2^63 ns behind their times: the difference saturates.
        let shortfall = |row: usize| places[row].saturating_sub(batch.time[row].saturating_add(lateness_ns));
        let (late, kept): (Vec<u32>, Vec<u32>) = (0..batch.len() as u32).partition(|&row| shortfall(row as usize) > 0);
        if late.is_empty() {
            return batch;
        }
        late.iter().for_each(|&row| counters.add_late(shortfall(row as usize)));
        self.send(&batch, &late, out);
        batch.take(&kept)
    }

    /// Sends the late `rows` of `batch`, if anybody wants them.
    pub fn send(self, batch: &Batch, rows: &[u32], out: &mut dyn Outlet<Batch>) {
        if self == Late::Dropped || rows.is_empty() {
            return;
        }
        let mut late = batch.take(rows);
        late.time = late.places().clone();
        late.at = None;
        late.keys = None;
        out.send(LATE_PORT, late);
    }
}
