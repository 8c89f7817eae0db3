//! One accumulator for all aggregates: a column of states, and loops over the rows of a batch.
//!
//! An aggregate says by a [`Fold`] what a group keeps and how one row changes it; [`Grouped`] does
//! everything that is the same for all, and is compiled for each, so that the loop over rows holds no
//! dynamic call. Folds know neither slots nor batches.

use std::any::Any;

use arrow_array::builder::ArrayBuilder;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;

use super::{Accumulator, Rows, StateError, state};
use crate::expr::Errors;

/// An aggregate as a fold over the rows of a group.
///
/// # Contract
/// - `State::default()` is the empty group.
/// - Any way of splitting rows over states that are then merged gives the same result.
/// - What `decode` accepts, the other methods handle without a panic.
pub(super) trait Fold: 'static {
    type State: Default + 'static;
    /// The arguments of a batch, in a form from which a row is read quickly.
    type Input<'a>;
    type Builder: Column;
    /// The name in the language.
    const NAME: &'static str;

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> Self::Input<'a>;

    /// The rows to skip: those whose argument is null.
    fn nulls(&self, args: &[ArrayRef]) -> Option<NullBuffer> {
        args.first().and_then(|a| a.logical_nulls()).filter(|n| n.null_count() > 0)
    }

    fn step(&self, state: &mut Self::State, input: &Self::Input<'_>, row: usize);

    /// A step where rows are known to come in order, and the state is never merged.
    fn step_in_order(&self, state: &mut Self::State, input: &Self::Input<'_>, row: usize) {
        self.step(state, input, row);
    }

    fn merge(&self, into: &mut Self::State, from: &Self::State);

    fn builder(&self, len: usize) -> Self::Builder;
    fn append(&self, state: &Self::State, out: &mut Self::Builder, errors: &Errors);

    /// Heap bytes that a state holds, in constant time.
    fn heap_bytes(&self, _state: &Self::State) -> usize {
        0
    }

    fn encode(&self, state: &Self::State, out: &mut Vec<u8>);
    fn decode(&self, bytes: &mut &[u8]) -> Result<Self::State, StateError>;
}

/// A column of results under construction.
pub(super) trait Column {
    fn finish(self) -> ArrayRef;
}

impl<T: ArrayBuilder> Column for T {
    fn finish(mut self) -> ArrayRef {
        ArrayBuilder::finish(&mut self)
    }
}

/// The states of `fold` by slot. A slot beyond the column is the empty group.
pub(super) struct Grouped<F: Fold> {
    fold: F,
    states: Vec<F::State>,
    empty: F::State,
    /// Sum of the states' heap bytes.
    heap_bytes: usize,
}

impl<F: Fold> Grouped<F> {
    pub fn new(fold: F) -> Grouped<F> {
        Grouped { fold, states: Vec::new(), empty: F::State::default(), heap_bytes: 0 }
    }

    /// Boxed, as operators hold them.
    pub fn boxed(fold: F) -> Box<dyn Accumulator> {
        Box::new(Grouped::new(fold))
    }

    fn grow(&mut self, slots: &[u32]) {
        let len = slots.iter().max().map_or(0, |&s| s as usize + 1);
        if self.states.len() < len {
            self.states.resize_with(len, F::State::default);
        }
    }

    fn state(&self, slot: u32) -> &F::State {
        self.states.get(slot as usize).unwrap_or(&self.empty)
    }

    /// Changes a state, keeping account of its heap bytes (nothing to do for states without any).
    #[inline]
    fn change(&mut self, slot: u32, change: impl FnOnce(&F, &mut F::State)) {
        let state = &mut self.states[slot as usize];
        let before = self.fold.heap_bytes(state);
        change(&self.fold, state);
        self.heap_bytes = self.heap_bytes + self.fold.heap_bytes(state) - before;
    }
}

impl<F: Fold> Accumulator for Grouped<F> {
    fn update(&mut self, rows: &Rows<'_>, args: &[ArrayRef]) {
        self.grow(rows.slots);
        let nulls = self.fold.nulls(args);
        let input = self.fold.input(rows, args);
        match nulls {
            None => {
                for (row, &slot) in rows.slots.iter().enumerate() {
                    self.change(slot, |fold, state| fold.step(state, &input, row));
                }
            }
            Some(nulls) => {
                for row in nulls.valid_indices() {
                    self.change(rows.slots[row], |fold, state| fold.step(state, &input, row));
                }
            }
        }
    }

    fn running(&mut self, rows: &Rows<'_>, args: &[ArrayRef], errors: &Errors) -> ArrayRef {
        self.grow(rows.slots);
        let nulls = self.fold.nulls(args);
        let input = self.fold.input(rows, args);
        let mut out = self.fold.builder(rows.slots.len());
        for (row, &slot) in rows.slots.iter().enumerate() {
            if nulls.as_ref().is_none_or(|n| n.is_valid(row)) {
                self.change(slot, |fold, state| fold.step_in_order(state, &input, row));
            }
            self.fold.append(&self.states[slot as usize], &mut out, errors);
        }
        out.finish()
    }

    fn merge(&mut self, into: &[u32], other: &dyn Accumulator, from: &[u32]) {
        let other = other.as_any().downcast_ref::<Grouped<F>>().expect("an accumulator of the same aggregate");
        self.grow(into);
        for (&into, &from) in into.iter().zip(from) {
            if let Some(from) = other.states.get(from as usize) {
                self.change(into, |fold, state| fold.merge(state, from));
            }
        }
    }

    fn output(&self, slots: &[u32], errors: &Errors) -> ArrayRef {
        let mut out = self.fold.builder(slots.len());
        for &slot in slots {
            self.fold.append(self.state(slot), &mut out, errors);
        }
        out.finish()
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            if (slot as usize) < self.states.len() {
                self.change(slot, |_, state| *state = F::State::default());
            }
        }
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        out.push(state::VERSION);
        self.fold.encode(self.state(slot), out);
    }

    fn decode(&mut self, slot: u32, bytes: &mut &[u8]) -> Result<(), StateError> {
        if state::take::<1>(bytes, F::NAME)? != [state::VERSION] {
            return Err(StateError { aggregate: F::NAME, reason: "its version is unknown" });
        }
        let read = self.fold.decode(bytes)?;
        self.grow(&[slot]);
        self.change(slot, |_, state| *state = read);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<F::State>() + self.heap_bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
