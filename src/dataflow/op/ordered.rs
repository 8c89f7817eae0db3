//! What all order-sensitive operators share: rows wait until the watermark passes, and are then applied
//! in (`_time`, `_seq`) order.
//!
//! A row is late when its own time plus the allowed lateness is before its place. Whether it would
//! still have found its session or count window open is not asked: that would depend on timing
//! (`notes/model/lateness.py`).

use std::sync::Arc;

use super::counters::Counters;
use super::late::{Late, shortfall_ns};
use super::order::{Clock, Runs, in_event_order};
use super::tabled::Limited;
use crate::data::{Batch, DataType};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::state::entries::{Durable, EVERY_WORKER, Entries, RestoreError, SavedEntry, Worker};
use crate::state::scratch::Spill;
use crate::state::table::ranks::Ranks;

/// The part of an order-sensitive operator that sees rows in order.
///
/// # Contract
/// `rows` gets every row that is not late once, in order over all calls, with its place, by which ties
/// within a window go; what leaves has its time as its place ([`send_in_slices`](super::window::send_in_slices)
/// sees to that), since it was applied when that was certain. `advance(now)` comes after all rows timed
/// before `now`. `now` is `i64::MAX` when the input has ended.
pub trait InOrder {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>);

    fn advance(&mut self, now: i64, out: &mut dyn Outlet<Batch>);

    /// Live entries and their heap bytes.
    fn state(&self) -> (usize, usize);

    /// How far its rows may trail the time up to which it was advanced.
    fn delay_ns(&self) -> i64 {
        0
    }
}

/// See the module's doc.
pub struct Ordered<L> {
    logic: L,
    lateness_ns: i64,
    /// Types of the input's columns, to break ties by value.
    types: Vec<DataType>,
    waiting: Runs,
    late: Late,
    counters: Arc<Counters>,
}

impl<L: InOrder> Ordered<L> {
    pub fn new(logic: L, lateness_ns: i64, types: Vec<DataType>, late: Late, counters: Arc<Counters>) -> Self {
        Ordered { logic, lateness_ns, types, waiting: Runs::new(Clock::Time), late, counters }
    }
}

impl<L> Ordered<L> {
    /// The time up to which rows have been applied.
    fn now(&self, watermark: i64) -> i64 {
        if watermark == i64::MAX { watermark } else { watermark.saturating_sub(self.lateness_ns) }
    }
}

impl<L: Limited> Limited for Ordered<L> {
    fn limit_to(&mut self, ranks: Ranks) {
        self.logic.limit_to(ranks);
    }
}

impl<L: Durable> Durable for Ordered<L> {
    fn track(&mut self, worker: Worker) {
        self.waiting.track(worker);
        self.logic.track(worker);
    }

    fn clock(&self, watermark: i64) -> i64 {
        self.now(watermark)
    }

    fn begin_save(&mut self, full: bool) {
        self.waiting.begin_save(full);
        self.logic.begin_save(full);
    }

    fn save(&mut self, limit: usize, out: &mut Entries) -> bool {
        self.waiting.save_slice(out) && self.logic.save(limit, out)
    }

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        if entry.group != EVERY_WORKER {
            return self.logic.restore(entry);
        }
        self.waiting.restore_own(entry)
    }

    fn restored(&mut self) {
        self.logic.restored();
    }

    /// Rows that wait are few against what the logic holds.
    fn expect(&mut self, entries: usize) {
        self.logic.expect(entries);
    }

    /// Rows that wait are bounded by the back-pressure, and stay.
    fn spill_to(&mut self, spill: &Arc<Spill>) {
        self.logic.spill_to(spill);
    }

    fn shed(&mut self) {
        self.logic.shed();
    }

    fn take_ahead(&mut self) -> Entries {
        self.logic.take_ahead()
    }
}

impl<L: InOrder> Core for Ordered<L> {
    type Rows = Batch;

    fn apply(&mut self, _: usize, batch: Batch, out: &mut dyn Outlet<Batch>) {
        self.counters.add_in(batch.len());
        let shortfall_ns = |time, place| shortfall_ns(time, place, self.lateness_ns);
        self.waiting.push(self.late.on_time(batch, shortfall_ns, &self.counters, out));
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        let now = self.now(watermark);
        let released = self.waiting.release(now);
        if !released.is_empty() {
            self.logic.rows(&in_event_order(&released, &self.types), out);
        }
        self.logic.advance(now, out);
        let (entries, bytes) = self.logic.state();
        self.counters.set_state(entries + self.waiting.len(), bytes + self.waiting.bytes());
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        self.lateness_ns.saturating_add(self.logic.delay_ns())
    }
}
