//! What a window gives when it closes: one row of aggregates per group, or the group's rows.
//!
//! A body keeps values by slot, as the operator's table numbers them, and knows nothing of windows but
//! the bounds that it writes into its rows. A group of a firing may be made of several slots (the panes
//! of a sliding window), which the body merges; what it holds itself stays as it is until cleared.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};
use arrow_buffer::ScalarBuffer;

use super::sliding::{Panes, TwoStacks};
use super::window::groups_of;
use crate::data::key::decode_keys;
use crate::data::{Batch, DataType, Keys};
use crate::expr::Errors;
use crate::expr::aggregate::{Accumulator, Aggregate, Rows, accumulators};
use crate::state::Table;
use crate::state::entries::RestoreError;

/// The groups of one firing, in the order in which their rows are to come out.
pub struct Groups {
    pub keys: Keys,
    /// Bounds of each group's window, ns.
    pub starts: Vec<i64>,
    pub ends: Vec<i64>,
    /// `from[i]` is a slot that belongs to group `into[i]`.
    pub into: Vec<u32>,
    pub from: Vec<u32>,
}

/// A sliding window that fires, by its coordinates and its bounds in ns.
pub struct Slide<'a> {
    pub start: i64,
    pub end: i64,
    pub pane_length: i64,
    pub bounds: (i64, i64),
    /// (start, end of the first window open) -> keys.
    pub panes: &'a Table<(i64, i64)>,
    /// The end of the first window that covers a pane.
    pub first_end: &'a dyn Fn(i64) -> i64,
}

/// See the module's doc.
pub trait Body {
    /// Takes the rows of `batch` into their slots.
    fn update(&mut self, batch: &Batch, slots: &[u32]);

    /// The rows of a firing.
    fn emit(&mut self, groups: Groups, errors: &Errors) -> Batch;

    /// The rows of a window that slides over panes, where the body can do better than merging them all.
    fn slide(&mut self, window: &Slide<'_>, errors: &Errors) -> Option<Batch>;

    /// Slots are about to be emptied that would have counted for windows to come.
    fn forget_merged(&mut self) {}

    /// Appends what a slot holds.
    fn encode(&self, slot: u32, out: &mut Vec<u8>);

    /// Adds what [`Self::encode`] wrote to what a slot holds.
    fn decode(&mut self, slot: u32, bytes: &mut &[u8]) -> Result<(), RestoreError>;

    /// Everything that was saved has been decoded.
    fn restored(&mut self) {}

    /// Empties slots.
    fn clear(&mut self, slots: &[u32]);

    /// Heap bytes of what is held.
    fn bytes(&self) -> usize;
}

/// One row per group: key columns, `window_start`, `window_end`, aggregates.
pub struct AggregateBody {
    aggregates: Vec<Aggregate>,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// Of one group, into which saved values are read.
    decoded: Vec<Box<dyn Accumulator>>,
    key_types: Vec<DataType>,
    sliding: TwoStacks,
}

impl AggregateBody {
    pub fn new(aggregates: Vec<Aggregate>, key_types: Vec<DataType>) -> AggregateBody {
        let (decoded, accumulators) = (accumulators(&aggregates), accumulators(&aggregates));
        AggregateBody { aggregates, accumulators, decoded, key_types, sliding: TwoStacks::default() }
    }

    /// The output rows of groups whose values stand in `slots` of `accumulators`.
    fn rows(
        &self,
        accumulators: &[Box<dyn Accumulator>],
        slots: &[u32],
        keys: Keys,
        starts: Vec<i64>,
        ends: Vec<i64>,
        errors: &Errors,
    ) -> Batch {
        let mut columns: Vec<ArrayRef> = key_columns(&keys, &self.key_types);
        columns.push(Arc::new(Int64Array::from(starts)));
        let time: ScalarBuffer<i64> = ends.iter().map(|end| end - 1).collect();
        columns.push(Arc::new(Int64Array::from(ends)));
        columns.extend(accumulators.iter().map(|a| a.output(slots, errors)));
        Batch { columns, time, keys: Some(Arc::new(keys)), ..Batch::default() }
    }
}

/// The key columns of encoded keys.
pub fn key_columns(keys: &Keys, types: &[DataType]) -> Vec<ArrayRef> {
    let rows = || (0..keys.len()).map(|i| keys.key(i));
    (0..types.len()).map(|position| decode_keys(rows(), types, position)).collect()
}

impl Body for AggregateBody {
    fn update(&mut self, batch: &Batch, slots: &[u32]) {
        let rows = Rows { slots, times: &batch.time, places: batch.places(), seq: batch.seq.as_ref() };
        for (aggregate, accumulator) in self.aggregates.iter().zip(&mut self.accumulators) {
            let args: Vec<ArrayRef> = aggregate.args.iter().map(|&i| batch.columns[i].clone()).collect();
            accumulator.update(&rows, &args);
        }
    }

    fn emit(&mut self, groups: Groups, errors: &Errors) -> Batch {
        let Groups { keys, starts, ends, into, from } = groups;
        if into.len() == keys.len() {
            // Every group is one slot, and both come in the order of the groups.
            return self.rows(&self.accumulators, &from, keys, starts, ends, errors);
        }
        let mut merged = accumulators(&self.aggregates);
        for (m, a) in merged.iter_mut().zip(&self.accumulators) {
            m.merge(&into, a.as_ref(), &from);
        }
        let slots: Vec<u32> = (0..keys.len() as u32).collect();
        self.rows(&merged, &slots, keys, starts, ends, errors)
    }

    fn slide(&mut self, window: &Slide<'_>, errors: &Errors) -> Option<Batch> {
        let (panes, first_end) = (window.panes, window.first_end);
        let of = |slot: u32| (slot, panes.hash(slot), panes.key(slot));
        let in_time = |pane: i64| panes.section((pane, first_end(pane))).map(of);
        let source = Panes {
            aggregates: &self.aggregates,
            accumulators: &self.accumulators,
            slots: in_time,
            length: window.pane_length,
        };
        let mut result = self.sliding.window(window.start, window.end, &source);
        for ((pane, first), slots) in panes.range((window.start, i64::MIN)..(window.end, i64::MIN)) {
            if first != first_end(pane) && first <= window.end {
                result.merge_slots(&self.accumulators, slots.iter().map(of));
            }
        }
        let members = result.keys.section(()).collect();
        let Groups { keys, starts, ends, from, .. } = groups_of(&result.keys, members, window.bounds);
        Some(self.rows(&result.accumulators, &from, keys, starts, ends, errors))
    }

    fn forget_merged(&mut self) {
        self.sliding = TwoStacks::default();
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        self.accumulators.iter().for_each(|a| a.encode(slot, out));
    }

    fn decode(&mut self, slot: u32, bytes: &mut &[u8]) -> Result<(), RestoreError> {
        // The slot may have been restored from another entry already: accumulators decode into empty ones.
        for (saved, own) in self.decoded.iter_mut().zip(&mut self.accumulators) {
            saved.clear(&[0]);
            saved.decode(0, bytes)?;
            own.merge(&[slot], saved.as_ref(), &[0]);
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        self.accumulators.iter_mut().for_each(|a| a.clear(slots));
    }

    fn bytes(&self) -> usize {
        self.accumulators.iter().map(|a| a.bytes()).sum::<usize>() + self.sliding.bytes()
    }
}
