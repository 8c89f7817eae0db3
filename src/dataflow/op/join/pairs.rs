//! What comes out of a join: pairs, and rows that are alone beside nulls.

use std::sync::Arc;

use arrow_array::{ArrayRef, new_null_array};
use arrow_buffer::ScalarBuffer;

use super::chunks::Chunks;
use crate::data::{Batch, DataType};
use crate::dataflow::align::Outlet;
use crate::dataflow::op::counters::Counters;
use crate::dataflow::op::window::send_in_slices;
use crate::expr::{Errors, Expr, add_columns, evaluate_predicate, remap};
use crate::join::Join;
use crate::join::held::HeldRow;

/// A row that has arrived, and one of the other side that it is paired with.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub row: HeldRow,
    pub slot: u32,
    pub other: HeldRow,
    pub other_slot: u32,
}

/// Which columns are held of the rows, and which are made of them.
pub struct Plan {
    join: Join,
    /// By side: the input's columns that are held, and their types.
    held: [Vec<usize>; 2],
    types: [Vec<DataType>; 2],
    /// The columns that come out: side, and which of those held.
    output: Vec<(usize, usize)>,
    /// What pairs must satisfy, over the columns here: side, and which of those held.
    residual: Option<(Expr, Vec<(usize, usize)>)>,
}

impl Plan {
    pub fn new(join: &Join, types: [&[DataType]; 2]) -> Plan {
        let width = types[0].len();
        let all = join.held_columns();
        let held = [
            all.iter().copied().filter(|i| *i < width).collect::<Vec<_>>(),
            all.iter().filter(|i| **i >= width).map(|i| i - width).collect(),
        ];
        let place = |i: usize| {
            let (side, column) = if i < width { (0, i) } else { (1, i - width) };
            (side, held[side].iter().position(|c| *c == column).expect("a column that is read is held"))
        };
        let residual = join.residual.as_ref().map(|e| {
            let mut read = std::collections::BTreeSet::new();
            add_columns(e, &mut read);
            let read: Vec<usize> = read.into_iter().collect();
            let at = |i: usize| read.iter().position(|c| *c == i).expect("the column was noted");
            (remap(e.clone(), &at), read.iter().map(|i| place(*i)).collect())
        });
        let output = join.output.iter().map(|i| place(*i)).collect();
        let held_types = [0, 1].map(|side| held[side].iter().map(|c| types[side][*c].clone()).collect());
        Plan { join: join.clone(), held, types: held_types, output, residual }
    }

    pub fn delay_ns(&self, lateness_ns: i64) -> i64 {
        self.join.delay_ns(lateness_ns)
    }

    /// The input's columns that the operator reads of rows, beside their keys.
    pub fn columns_read(&self, side: usize) -> Vec<usize> {
        self.held[side].clone()
    }

    pub fn held_types(&self, side: usize) -> Vec<DataType> {
        self.types[side].clone()
    }

    /// The columns of a batch that are held.
    pub fn held_columns(&self, side: usize, batch: &Batch) -> Vec<ArrayRef> {
        self.held[side].iter().map(|c| batch.columns[*c].clone()).collect()
    }

    /// The columns of rows that are held.
    pub fn gather_held(&self, side: usize, rows: &[HeldRow], chunks: &Chunks) -> Vec<ArrayRef> {
        chunks.gather(rows.iter().copied(), &(0..self.held[side].len()).collect::<Vec<_>>())
    }

    /// Keeps the pairs, of rows that came on `side`, that satisfy the rest of the condition.
    pub fn retain(&self, side: usize, pairs: &mut Vec<Pair>, chunks: &[Chunks; 2], errors: &Errors) {
        let Some((condition, columns)) = &self.residual else { return };
        let columns = gather(columns, side, pairs, chunks);
        let batch = Batch { columns, time: self.times(pairs), ..Batch::default() };
        let mask = evaluate_predicate(condition, &batch, errors);
        let mut row = 0;
        pairs.retain(|_| {
            row += 1;
            arrow_array::Array::is_valid(&mask, row - 1) && mask.value(row - 1)
        });
    }

    pub fn send_pairs(
        &self,
        side: usize,
        pairs: &[Pair],
        chunks: &[Chunks; 2],
        counters: &Counters,
        out: &mut dyn Outlet<Batch>,
    ) {
        if pairs.is_empty() {
            return;
        }
        let columns = gather(&self.output, side, pairs, chunks);
        send_in_slices(Batch { columns, time: self.times(pairs), ..Batch::default() }, counters, out);
    }

    fn times(&self, pairs: &[Pair]) -> ScalarBuffer<i64> {
        pairs.iter().map(|p| self.join.reach.time(p.row.time, p.other.time)).collect()
    }

    /// Sends rows of `side`, of which these are the columns held, beside nulls.
    pub fn send_alone(
        &self,
        side: usize,
        held: Vec<ArrayRef>,
        time: ScalarBuffer<i64>,
        counters: &Counters,
        out: &mut dyn Outlet<Batch>,
    ) {
        let column = |&(of, column): &(usize, usize)| match of == side {
            true => held[column].clone(),
            false => new_null_array(&self.types[of][column].arrow(), time.len()),
        };
        let columns = self.output.iter().map(column).collect();
        send_in_slices(Batch { columns, time: time.clone(), ..Batch::default() }, counters, out);
    }
}

/// Columns of pairs: of each, the side, and which of those that the side holds.
fn gather(columns: &[(usize, usize)], side: usize, pairs: &[Pair], chunks: &[Chunks; 2]) -> Vec<ArrayRef> {
    let of = |of: usize| columns.iter().filter(move |c| c.0 == of).map(|c| c.1).collect::<Vec<_>>();
    let mut own = chunks[side].gather(pairs.iter().map(|p| p.row), &of(side)).into_iter();
    let mut other = chunks[1 - side].gather(pairs.iter().map(|p| p.other), &of(1 - side)).into_iter();
    let mut next = |of: usize| if of == side { own.next() } else { other.next() };
    columns.iter().map(|(of, _)| next(*of).expect("a column for each")).collect::<Vec<Arc<_>>>()
}
