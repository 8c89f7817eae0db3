//! `distinct`: the first row of each key and value, in event-time order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::counters::Counters;
use super::ordered::InOrder;
use super::window::send_in_slices;
use crate::data::batch::hash;
use crate::data::key::{encode_keys, key_group};
use crate::data::{Batch, DataType};
use crate::dataflow::align::Outlet;
use crate::expr::{Errors, Expr, evaluate};
use crate::state::Table;
use crate::state::entries::{Durable, Entries, NEVER, RestoreError, SavedEntry, Worker, take_i64};

#[derive(Clone, Copy, Debug, Default)]
struct Origin {
    group: u16,
    first: i64,
}

/// See the module's doc. A value may come again once `within_ns` has passed since its last first row.
pub struct Distinct {
    /// The key and the values, of which each combination passes once.
    by: Vec<(Expr, DataType)>,
    within_ns: Option<i64>,
    seen: Table<()>,
    /// (first time, slot), in order of time, as rows come in order.
    expiry: VecDeque<(i64, u32)>,
    /// By slot: the group of the rows' key, which is not that of key and value together.
    origins: Vec<Origin>,
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
        Distinct { by, within_ns, seen: Table::default(), expiry: VecDeque::new(), origins: Vec::new(), counters }
    }

    fn remember(&mut self, slot: u32, origin: Origin) {
        self.origins.resize(self.origins.len().max(slot as usize + 1), Origin::default());
        self.origins[slot as usize] = origin;
        if self.within_ns.is_some() {
            self.expiry.push_back((origin.first, slot));
        }
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
            self.seen.copy_due(encoder(&self.origins, Some(within_ns)));
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
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let mut first = Vec::new();
        for row in 0..batch.len() {
            let time = batch.time[row];
            self.forget(time);
            // A value that comes again changes nothing, so that it is not to be saved again.
            if self.seen.find((), values.hash(row), values.key(row)).is_none() {
                first.push(row as u32);
                let (slot, _) = self.seen.slot((), values.hash(row), values.key(row));
                self.remember(slot, Origin { group: key_group(keys.hash(row)), first: time });
            }
        }
        send_in_slices(batch.take(&first), &self.counters, out);
    }

    fn advance(&mut self, now: i64, _: &mut dyn Outlet<Batch>) {
        self.forget(now);
    }

    fn state(&self) -> (usize, usize) {
        (self.seen.len(), self.seen.bytes() + self.expiry.capacity() * 16 + self.origins.len() * size_of::<Origin>())
    }
}

/// What is saved of a value.
fn encoder(origins: &[Origin], within_ns: Option<i64>) -> impl Fn(&Table<()>, (), u32, &mut Entries) {
    move |seen, (), slot, out| {
        let Origin { group, first } = origins[slot as usize];
        let expiry = within_ns.map_or(NEVER, |within_ns| first.saturating_add(within_ns));
        out.push(group, seen.key(slot), &[], expiry, |value| value.extend(first.to_be_bytes()));
    }
}

impl Durable for Distinct {
    fn track(&mut self, _: Worker) {
        self.seen.track_changes();
    }

    fn begin_save(&mut self, full: bool) {
        self.seen.begin_save(full);
    }

    fn save(&mut self, limit: usize, out: &mut Entries) -> bool {
        self.seen.save(limit, out, encoder(&self.origins, self.within_ns))
    }

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, _) = self.seen.slot((), hash(entry.key), entry.key);
        self.remember(slot, Origin { group: entry.group, first: take_i64(&mut { entry.value })? });
        Ok(())
    }

    fn restored(&mut self) {
        self.expiry.make_contiguous().sort_unstable();
    }
}
