//! `limit` outside a window: the first `n` rows of each key, in event-time order.

use std::sync::Arc;

use super::counters::Counters;
use super::ordered::InOrder;
use super::tabled::Tabled;
use super::window::send_in_slices;
use crate::data::Batch;
use crate::data::key::key_group;
use crate::dataflow::align::Outlet;
use crate::state::Table;
use crate::state::entries::{Entries, NEVER, RestoreError, SavedEntry, take_i64};

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

    fn grow(&mut self, slots: &[u32]) {
        let top = slots.iter().max().map_or(0, |s| *s as usize + 1);
        self.passed.resize(self.passed.len().max(top), 0);
    }
}

impl InOrder for Limit {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let mut slots = Vec::with_capacity(batch.len());
        self.fetch((), &keys, 0..batch.len());
        self.keys.slots((), &keys, 0..batch.len(), &mut slots);
        self.copy_due();
        self.grow(&slots);
        let mut first = Vec::new();
        for (row, slot) in slots.into_iter().enumerate() {
            let passed = &mut self.passed[slot as usize];
            if *passed < self.n {
                *passed += 1;
                first.push(row as u32);
            }
        }
        self.drop_evicted();
        send_in_slices(batch.take(&first), &self.counters, out);
    }

    fn advance(&mut self, _: i64, _: &mut dyn Outlet<Batch>) {}

    fn state(&self) -> (usize, usize) {
        (self.keys.len(), self.keys.bytes() + self.value_bytes())
    }
}

/// Of each key, how many rows have passed.
impl Tabled for Limit {
    type Sub = ();

    fn table(&mut self) -> (&mut Table<()>, impl Fn(&Table<()>, (), u32, &mut Entries)) {
        let passed = &self.passed;
        let encode = |keys: &Table<()>, (), slot: u32, out: &mut Entries| {
            let passed = passed[slot as usize];
            let group = key_group(keys.hash(slot));
            out.push(group, keys.key(slot), &[], NEVER, |value| value.extend(passed.to_be_bytes()));
        };
        (&mut self.keys, encode)
    }

    fn value_bytes(&self) -> usize {
        self.passed.len() * 8
    }

    fn clear(&mut self, slots: &[u32]) {
        slots.iter().for_each(|&slot| self.passed[slot as usize] = 0);
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, mut value) = (self.keys.restore_slot((), entry), entry.value);
        self.grow(&[slot]);
        self.passed[slot as usize] = take_i64(&mut value)? as u64;
        self.keys.restore_rank(slot, value)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
