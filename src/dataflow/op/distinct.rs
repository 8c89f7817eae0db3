//! `distinct`: the first row of each key and value, in event-time order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::counters::Counters;
use super::ordered::InOrder;
use super::tabled::{FETCHED_AT_ONCE, Tabled};
use super::window::send_in_slices;
use crate::data::key::{encode_keys, key_group};
use crate::data::{Batch, DataType};
use crate::dataflow::align::Outlet;
use crate::expr::{Errors, Expr, evaluate};
use crate::state::Table;
use crate::state::entries::{EVERY_WORKER, Entries, NEVER, RestoreError, SavedEntry, take_i64};

#[derive(Clone, Copy, Debug)]
struct Origin {
    group: u16,
    first: i64,
}

impl Origin {
    /// Of a slot that is not in use.
    const NONE: Origin = Origin { group: EVERY_WORKER, first: i64::MIN };

    /// Whether it is of a value that was first seen at `first`.
    fn is(self, first: i64) -> bool {
        self.group != EVERY_WORKER && self.first == first
    }
}

/// See the module's doc. A value may come again once `within_ns` has passed since its last first row.
pub struct Distinct {
    /// The key and the values, of which each combination passes once.
    by: Vec<(Expr, DataType)>,
    within_ns: Option<i64>,
    seen: Table<()>,
    /// First time and slot, the first in time before. The slot may have been spilled since.
    expiry: BinaryHeap<Reverse<(i64, u32)>>,
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
        Distinct { by, within_ns, seen: Table::default(), expiry: BinaryHeap::new(), origins: Vec::new(), counters }
    }

    fn remember(&mut self, slot: u32, origin: Origin) {
        self.origins.resize(self.origins.len().max(slot as usize + 1), Origin::NONE);
        self.origins[slot as usize] = origin;
        if self.within_ns.is_some() {
            self.expiry.push(Reverse((origin.first, slot)));
        }
    }

    /// Forgets what was first seen `within_ns` before `now`, or longer ago.
    fn forget(&mut self, now: i64) {
        let Some(within_ns) = self.within_ns else { return };
        while let Some(&Reverse((first, slot))) = self.expiry.peek() {
            if first.saturating_add(within_ns) > now {
                break;
            }
            self.expiry.pop();
            if !self.origins[slot as usize].is(first) || self.seen.is_evicted(slot) {
                continue;
            }
            self.seen.detach((), slot);
            self.copy_due();
            self.seen.release(&[slot]);
            self.origins[slot as usize] = Origin::NONE;
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
        self.fetch((), &values, 0..batch.len());
        for row in 0..batch.len() {
            let time = batch.time[row];
            self.forget(time);
            let (hash, value) = (values.hash(row), values.key(row));
            match self.seen.find((), hash, value) {
                // A value that comes again changes nothing else, and most often is not to be saved again.
                Some(slot) => self.seen.use_found(slot),
                None => {
                    first.push(row as u32);
                    let group = key_group(keys.hash(row));
                    let (slot, _) = self.seen.slot_in_group((), group, hash, value);
                    self.remember(slot, Origin { group, first: time });
                }
            }
        }
        self.drop_evicted();
        send_in_slices(batch.take(&first), &self.counters, out);
    }

    fn advance(&mut self, now: i64, _: &mut dyn Outlet<Batch>) {
        self.forget(now);
        // What is not in memory is forgotten where it lies.
        while !self.seen.fetch_expired(now, FETCHED_AT_ONCE).is_empty() {
            self.seen.fetched(Ok(()));
        }
    }

    fn state(&self) -> (usize, usize) {
        (self.seen.len(), self.seen.bytes() + self.value_bytes())
    }
}

/// Of each value, when it was first seen.
impl Tabled for Distinct {
    type Sub = ();

    fn table(&mut self) -> (&mut Table<()>, impl Fn(&Table<()>, (), u32, &mut Entries)) {
        let (origins, within_ns) = (&self.origins, self.within_ns);
        let encode = move |seen: &Table<()>, (), slot: u32, out: &mut Entries| {
            let Origin { group, first } = origins[slot as usize];
            let expiry = within_ns.map_or(NEVER, |within_ns| first.saturating_add(within_ns));
            out.push(group, seen.key(slot), &[], expiry, |value| value.extend(first.to_be_bytes()));
        };
        (&mut self.seen, encode)
    }

    fn value_bytes(&self) -> usize {
        self.expiry.len() * 16 + self.origins.len() * size_of::<Origin>()
    }

    fn clear(&mut self, slots: &[u32]) {
        if slots.is_empty() {
            return;
        }
        slots.iter().for_each(|&slot| self.origins[slot as usize] = Origin::NONE);
        if self.expiry.len() <= 2 * self.seen.len() {
            // The others go when their time has come.
            return;
        }
        let origins = &self.origins;
        self.expiry.retain(|Reverse((first, slot))| origins[*slot as usize].is(*first));
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, mut value) = (self.seen.restore_slot((), entry), entry.value);
        self.remember(slot, Origin { group: entry.group, first: take_i64(&mut value)? });
        self.seen.restore_rank(slot, value)
    }

    fn is_by_time(&self) -> bool {
        self.within_ns.is_some()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
