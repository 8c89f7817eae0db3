//! `distinct`: the first row of each key and value, in event-time order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::counters::Counters;
use super::ordered::InOrder;
use super::window::send_in_slices;
use crate::data::key::encode_keys;
use crate::data::{Batch, DataType};
use crate::dataflow::align::Outlet;
use crate::expr::{Errors, Expr, evaluate};
use crate::state::Table;

/// See the module's doc. A value may come again once `within_ns` has passed since its last first row.
pub struct Distinct {
    /// The key and the values, of which each combination passes once.
    by: Vec<(Expr, DataType)>,
    within_ns: Option<i64>,
    seen: Table<()>,
    /// (first time, slot), in order of time, as rows come in order.
    expiry: VecDeque<(i64, u32)>,
    counters: Arc<Counters>,
}

impl Distinct {
    /// `key` and `by` over the input; without `by` the whole row, whose columns have `types`.
    pub fn new(
        key: &[Expr],
        by: &[Expr],
        types: &[DataType],
        within_ns: Option<i64>,
        counters: Arc<Counters>,
    ) -> Distinct {
        let whole = || types.iter().enumerate().map(|(i, ty)| Expr::column(i, ty.clone())).collect::<Vec<_>>();
        let values = if by.is_empty() { whole() } else { by.to_vec() };
        let by = key.iter().cloned().chain(values).map(|e| (e.clone(), e.data_type())).collect();
        Distinct { by, within_ns, seen: Table::default(), expiry: VecDeque::new(), counters }
    }

    /// Forgets what was first seen `within_ns` before `now`, or longer ago.
    fn forget(&mut self, now: i64) {
        let Some(within_ns) = self.within_ns else { return };
        while let Some(&(first, slot)) = self.expiry.front() {
            if first.saturating_add(within_ns) > now {
                break;
            }
            self.expiry.pop_front();
            self.seen.detach((), slot);
            self.seen.release(&[slot]);
        }
    }
}

impl InOrder for Distinct {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let errors = Errors::default();
        let columns: Vec<_> = self.by.iter().map(|(e, ty)| (evaluate(e, batch, &errors), ty.clone())).collect();
        self.counters.add_errors(errors.count());
        let values = encode_keys(&columns, batch.len());
        let mut first = Vec::new();
        for row in 0..batch.len() {
            let time = batch.time[row];
            self.forget(time);
            let (slot, new) = self.seen.slot((), values.hash(row), values.key(row));
            if new {
                first.push(row as u32);
                if self.within_ns.is_some() {
                    self.expiry.push_back((time, slot));
                }
            }
        }
        send_in_slices(batch.take(&first), &self.counters, out);
    }

    fn advance(&mut self, now: i64, _: &mut dyn Outlet<Batch>) {
        self.forget(now);
    }

    fn state(&self) -> (usize, usize) {
        (self.seen.len(), self.seen.bytes() + self.expiry.capacity() * 16)
    }

    fn end_generation(&mut self) -> usize {
        self.seen.end_generation()
    }
}
