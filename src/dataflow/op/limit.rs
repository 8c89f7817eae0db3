//! `limit` outside a window: the first `n` rows of each key, in event-time order.

use std::sync::Arc;

use super::counters::Counters;
use super::ordered::InOrder;
use super::window::send_in_slices;
use crate::data::Batch;
use crate::data::batch::hash;
use crate::data::key::key_group;
use crate::dataflow::align::Outlet;
use crate::state::Table;
use crate::state::entries::{Durable, Entries, NEVER, RestoreError, SavedEntry, Worker, take_i64};
use crate::state::scratch::Spill;
use crate::state::table::Fetched;

/// See the module's doc.
pub struct Limit {
    n: u64,
    keys: Table<()>,
    /// Rows passed, by slot.
    passed: Vec<u64>,
    counters: Arc<Counters>,
}

impl Limit {
    pub fn new(n: u64, counters: Arc<Counters>) -> Limit {
        Limit { n, keys: Table::default(), passed: Vec::new(), counters }
    }

    fn restore_fetched(&mut self, fetched: Vec<Fetched>) {
        let outcome = fetched.iter().try_for_each(|entry| self.restore(&entry.saved()));
        self.keys.fetched(outcome);
    }

    fn grow(&mut self, slots: &[u32]) {
        let top = slots.iter().max().map_or(0, |s| *s as usize + 1);
        self.passed.resize(self.passed.len().max(top), 0);
    }
}

impl InOrder for Limit {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let mut slots = Vec::with_capacity(batch.len());
        let fetched = self.keys.fetch((), &keys, 0..batch.len());
        self.restore_fetched(fetched);
        self.keys.slots((), &keys, 0..batch.len(), &mut slots);
        self.keys.copy_due(encoder(&self.passed));
        self.grow(&slots);
        let mut first = Vec::new();
        for (row, slot) in slots.into_iter().enumerate() {
            let passed = &mut self.passed[slot as usize];
            if *passed < self.n {
                *passed += 1;
                first.push(row as u32);
            }
        }
        send_in_slices(batch.take(&first), &self.counters, out);
    }

    fn advance(&mut self, _: i64, _: &mut dyn Outlet<Batch>) {}

    fn state(&self) -> (usize, usize) {
        (self.keys.len(), self.keys.bytes() + self.passed.len() * 8)
    }
}

/// What is saved of a key.
fn encoder(passed: &[u64]) -> impl Fn(&Table<()>, (), u32, &mut Entries) {
    move |keys, (), slot, out| {
        let passed = passed[slot as usize];
        let group = key_group(keys.hash(slot));
        out.push(group, keys.key(slot), &[], NEVER, |value| value.extend(passed.to_be_bytes()));
    }
}

impl Durable for Limit {
    fn track(&mut self, _: Worker) {
        self.keys.track_changes();
    }

    fn begin_save(&mut self, full: bool) {
        self.keys.begin_save(full);
    }

    fn save(&mut self, limit: usize, out: &mut Entries) -> bool {
        self.keys.save(limit, out, encoder(&self.passed))
    }

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, _) = self.keys.slot((), hash(entry.key), entry.key);
        self.grow(&[slot]);
        self.passed[slot as usize] = take_i64(&mut { entry.value })? as u64;
        Ok(())
    }

    fn spill_to(&mut self, spill: &Arc<Spill>) {
        self.keys.spill_to(spill.space(), false);
    }

    fn shed(&mut self) {
        let victims = self.keys.victims(self.passed.len() * 8);
        self.keys.spill(&victims, encoder(&self.passed));
        self.keys.release(&victims);
        victims.iter().for_each(|&slot| self.passed[slot as usize] = 0);
    }

    fn take_ahead(&mut self) -> Entries {
        self.keys.take_ahead()
    }
}
