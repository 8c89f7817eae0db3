//! Aggregates without a window: the value so far, one row out for each row in.

use std::sync::Arc;

use arrow_array::ArrayRef;

use super::body::key_columns;
use super::counters::Counters;
use super::ordered::InOrder;
use super::tabled::Tabled;
use super::window::send_in_slices;
use crate::data::key::key_group;
use crate::data::{Batch, DataType};
use crate::dataflow::align::Outlet;
use crate::expr::Errors;
use crate::expr::aggregate::{Accumulator, Aggregate, Rows, accumulators};
use crate::state::Table;
use crate::state::entries::{Entries, NEVER, RestoreError, SavedEntry};

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
}

impl InOrder for Running {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let mut slots = Vec::with_capacity(batch.len());
        self.fetch((), &keys, 0..batch.len());
        self.keys.slots((), &keys, 0..batch.len(), &mut slots);
        self.copy_due();
        let rows = Rows { slots: &slots, times: &batch.time, places: batch.places(), seq: batch.seq.as_ref() };
        let errors = Errors::default();
        let mut columns = key_columns(&keys, &self.key_types);
        for (aggregate, accumulator) in self.aggregates.iter().zip(&mut self.accumulators) {
            let args: Vec<ArrayRef> = aggregate.args.iter().map(|&i| batch.columns[i].clone()).collect();
            columns.push(accumulator.running(&rows, &args, &errors));
        }
        self.counters.add_errors(errors.count());
        self.drop_evicted();
        send_in_slices(Batch { columns, ..batch.clone() }, &self.counters, out);
    }

    fn advance(&mut self, _: i64, _: &mut dyn Outlet<Batch>) {}

    fn state(&self) -> (usize, usize) {
        (self.keys.len(), self.keys.bytes() + self.value_bytes())
    }
}

/// Of each key, what its aggregates hold.
impl Tabled for Running {
    type Sub = ();

    fn table(&mut self) -> (&mut Table<()>, impl Fn(&Table<()>, (), u32, &mut Entries)) {
        let accumulators = &self.accumulators;
        let encode = |keys: &Table<()>, (), slot: u32, out: &mut Entries| {
            out.push(key_group(keys.hash(slot)), keys.key(slot), &[], NEVER, |value| {
                accumulators.iter().for_each(|a| a.encode(slot, value));
            });
        };
        (&mut self.keys, encode)
    }

    fn value_bytes(&self) -> usize {
        self.accumulators.iter().map(|a| a.bytes()).sum()
    }

    fn clear(&mut self, slots: &[u32]) {
        self.accumulators.iter_mut().for_each(|a| a.clear(slots));
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, mut value) = (self.keys.restore_slot((), entry), entry.value);
        self.accumulators.iter_mut().try_for_each(|a| a.decode(slot, &mut value))?;
        self.keys.restore_rank(slot, value)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
