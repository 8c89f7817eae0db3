//! The aggregates that conditions ask of a capture so far: a slot of each for every run.

use super::MemoryValue;
use super::prepared::Prepared;
use super::program::Program;
use crate::data::array::value_at;
use crate::data::{DataType, Value};
use crate::expr::aggregate::{Accumulator, Aggregate, Rows, StateError};
use crate::expr::{Errors, Expr};
use arrow_array::ArrayRef;

/// See the module's doc. Without any, all runs share slot 0, and nothing is kept.
#[derive(Default)]
pub struct Folds {
    folds: Vec<Fold>,
    /// All slots that were ever taken are below this.
    top: u32,
    free: Vec<u32>,
}

struct Fold {
    memory: usize,
    accumulator: Box<dyn Accumulator>,
    ty: DataType,
}

impl Folds {
    pub fn new(program: &Program) -> Folds {
        let fold = |(memory, m): (usize, &super::Memory)| match &m.value {
            MemoryValue::Aggregate(call) => {
                let aggregate = Aggregate {
                    function: call.function.clone(),
                    args: (0..call.args.len()).collect(),
                    arg_types: call.args.iter().map(Expr::data_type).collect(),
                    ty: call.ty.clone(),
                };
                Some(Fold { memory, accumulator: aggregate.accumulator(), ty: call.ty.clone() })
            }
            MemoryValue::Last(_) | MemoryValue::First(_) | MemoryValue::Count => None,
        };
        let folds = program.memories.iter().enumerate().filter_map(fold).collect();
        Folds { folds, top: 0, free: Vec::new() }
    }

    /// A slot for a run that has taken nothing.
    pub fn allocate(&mut self) -> u32 {
        if self.folds.is_empty() {
            return 0;
        }
        self.free.pop().unwrap_or_else(|| {
            self.top += 1;
            self.top - 1
        })
    }

    pub fn free(&mut self, slot: u32) {
        if !self.folds.is_empty() {
            self.folds.iter_mut().for_each(|fold| fold.accumulator.clear(&[slot]));
            self.free.push(slot);
        }
    }

    /// A slot with what another one has.
    pub fn copy(&mut self, slot: u32) -> u32 {
        let copy = self.allocate();
        for fold in &mut self.folds {
            let mut state = Vec::new();
            fold.accumulator.encode(slot, &mut state);
            fold.accumulator.decode(copy, &mut state.as_slice()).expect("it was just written");
        }
        copy
    }

    /// Adds a row, whose arguments are `args`, to the aggregate of a memory, and gives its new value.
    pub fn update(&mut self, memory: usize, slot: u32, rows: &Prepared<'_>, row: usize, args: &[ArrayRef]) -> Value {
        let fold = self.folds.iter_mut().find(|fold| fold.memory == memory).expect("the memory is an aggregate");
        let batch = rows.batch;
        let seq = batch.seq.as_ref().map(|seq| crate::data::Seq {
            partition: seq.partition.slice(row, 1),
            position: seq.position.slice(row, 1),
        });
        let (times, places) = (&batch.time[row..=row], &batch.places()[row..=row]);
        fold.accumulator.update(&Rows { slots: &[slot], times, places, seq: seq.as_ref() }, args);
        value_at(&fold.accumulator.output(&[slot], rows.errors), &fold.ty, 0)
    }

    /// The value of an aggregate that has seen no row.
    pub fn empty(&mut self, memory: usize) -> Value {
        let slot = self.allocate();
        let fold = self.folds.iter().find(|fold| fold.memory == memory).expect("the memory is an aggregate");
        let value = value_at(&fold.accumulator.output(&[slot], &Errors::default()), &fold.ty, 0);
        self.free(slot);
        value
    }

    /// Appends what a slot holds.
    pub fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        self.folds.iter().for_each(|fold| fold.accumulator.encode(slot, out));
    }

    /// A slot with what [`Self::encode`] wrote.
    pub fn decode(&mut self, bytes: &mut &[u8]) -> Result<u32, StateError> {
        let slot = self.allocate();
        self.folds.iter_mut().try_for_each(|fold| fold.accumulator.decode(slot, bytes))?;
        Ok(slot)
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.folds.iter().map(|fold| fold.accumulator.bytes()).sum::<usize>() + self.free.capacity() * 4
    }
}
