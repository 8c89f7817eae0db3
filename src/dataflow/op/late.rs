//! Rows that arrived too late for an operator: counted always, sent on if a stream asks for them.

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
