//! `limit` outside a window: the first `n` rows of each key, in event-time order.

use std::sync::Arc;

use super::counters::Counters;
use super::ordered::InOrder;
use super::window::send_in_slices;
use crate::data::Batch;
use crate::dataflow::align::Outlet;
use crate::state::Table;

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
}

impl InOrder for Limit {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let mut slots = Vec::with_capacity(batch.len());
        self.keys.slots((), &keys, 0..batch.len(), &mut slots);
        let top = slots.iter().max().map_or(0, |s| *s as usize + 1);
        self.passed.resize(self.passed.len().max(top), 0);
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

    fn end_generation(&mut self) -> usize {
        self.keys.end_generation()
    }
}
