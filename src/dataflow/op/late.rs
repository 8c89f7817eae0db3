//! Rows that arrived too late for an operator: counted always, sent on if a stream asks for them.

use super::counters::Counters;
use crate::data::Batch;
use crate::dataflow::align::Outlet;

/// The output port of late rows.
pub const LATE_PORT: usize = 1;

/// By how much a row is late whose own time plus the lateness must not be before its place. Places may be more than
/// 2^63 ns behind their times: the difference saturates.
pub fn shortfall_ns(time: i64, place: i64, lateness_ns: i64) -> i64 {
    place.saturating_sub(time.saturating_add(lateness_ns))
}

/// What becomes of late rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    Dropped,
    /// They leave on [`LATE_PORT`]; their event time is their place.
    Sent,
}

impl Late {
    /// The rows that are not late: those by whose time and place `shortfall_ns` is not positive. The others are counted,
    /// and sent on if anybody wants them.
    pub fn on_time(
        self,
        batch: Batch,
        shortfall_ns: impl Fn(i64, i64) -> i64,
        counters: &Counters,
        out: &mut dyn Outlet<Batch>,
    ) -> Batch {
        let Some(places) = &batch.at else { return batch };
        let shortfall = |row: usize| shortfall_ns(batch.time[row], places[row]);
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
