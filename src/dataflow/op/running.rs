//! Aggregates without a window: the value so far, one row out for each row in.

use std::sync::Arc;

use arrow_array::ArrayRef;

use super::body::key_columns;
use super::counters::Counters;
use super::ordered::InOrder;
use super::window::send_in_slices;
use crate::data::batch::hash;
use crate::data::key::key_group;
use crate::data::{Batch, DataType};
use crate::dataflow::align::Outlet;
use crate::expr::Errors;
use crate::expr::aggregate::{Accumulator, Aggregate, Rows, accumulators};
use crate::state::Table;
use crate::state::entries::{Durable, Entries, NEVER, RestoreError, SavedEntry, Worker};
use crate::state::scratch::Spill;
use crate::state::table::Fetched;

/// See the module's doc. Output: key columns, then aggregates.
pub struct Running {
    aggregates: Vec<Aggregate>,
    accumulators: Vec<Box<dyn Accumulator>>,
    key_types: Vec<DataType>,
    keys: Table<()>,
    counters: Arc<Counters>,
}

impl Running {
    pub fn new(aggregates: Vec<Aggregate>, key_types: Vec<DataType>, counters: Arc<Counters>) -> Running {
        let accumulators = accumulators(&aggregates);
        Running { aggregates, accumulators, key_types, keys: Table::default(), counters }
    }

    fn restore_fetched(&mut self, fetched: Vec<Fetched>) {
        let outcome = fetched.iter().try_for_each(|entry| self.restore(&entry.saved()));
        self.keys.fetched(outcome);
    }
}

impl InOrder for Running {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let mut slots = Vec::with_capacity(batch.len());
        let fetched = self.keys.fetch((), &keys, 0..batch.len());
        self.restore_fetched(fetched);
        self.keys.slots((), &keys, 0..batch.len(), &mut slots);
        self.keys.copy_due(encoder(&self.accumulators));
        let rows = Rows { slots: &slots, times: &batch.time, places: batch.places(), seq: batch.seq.as_ref() };
        let errors = Errors::default();
        let mut columns = key_columns(&keys, &self.key_types);
        for (aggregate, accumulator) in self.aggregates.iter().zip(&mut self.accumulators) {
            let args: Vec<ArrayRef> = aggregate.args.iter().map(|&i| batch.columns[i].clone()).collect();
            columns.push(accumulator.running(&rows, &args, &errors));
        }
        self.counters.add_errors(errors.count());
        send_in_slices(Batch { columns, ..batch.clone() }, &self.counters, out);
    }

    fn advance(&mut self, _: i64, _: &mut dyn Outlet<Batch>) {}

    fn state(&self) -> (usize, usize) {
        let values: usize = self.accumulators.iter().map(|a| a.bytes()).sum();
        (self.keys.len(), self.keys.bytes() + values)
    }
}

/// What is saved of a key.
fn encoder(accumulators: &[Box<dyn Accumulator>]) -> impl Fn(&Table<()>, (), u32, &mut Entries) {
    move |keys, (), slot, out| {
        out.push(key_group(keys.hash(slot)), keys.key(slot), &[], NEVER, |value| {
            accumulators.iter().for_each(|a| a.encode(slot, value));
        });
    }
}

impl Durable for Running {
    fn track(&mut self, _: Worker) {
        self.keys.track_changes();
    }

    fn begin_save(&mut self, full: bool) {
        self.keys.begin_save(full);
    }

    fn save(&mut self, limit: usize, out: &mut Entries) -> bool {
        self.keys.save(limit, out, encoder(&self.accumulators))
    }

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, _) = self.keys.slot((), hash(entry.key), entry.key);
        let mut value = entry.value;
        Ok(self.accumulators.iter_mut().try_for_each(|a| a.decode(slot, &mut value))?)
    }

    fn spill_to(&mut self, spill: &Arc<Spill>) {
        self.keys.spill_to(spill.space(), false);
    }

    fn shed(&mut self) {
        let victims = self.keys.victims(self.accumulators.iter().map(|a| a.bytes()).sum());
        self.keys.spill(&victims, encoder(&self.accumulators));
        self.keys.release(&victims);
        self.accumulators.iter_mut().for_each(|a| a.clear(&victims));
    }

    fn take_ahead(&mut self) -> Entries {
        self.keys.take_ahead()
    }
}
