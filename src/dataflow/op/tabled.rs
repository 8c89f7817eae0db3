//! What operators have in common whose state is one table, with values beside it by slot.
//!
//! How such a state is saved, restored, and kept in bounds is the same for all of them; an operator says what its
//! values are. One whose state is more than a table implements [`Durable`] itself.

use std::ops::Range;
use std::sync::Arc;

use super::counters::Counters;
use crate::data::Keys;
use crate::state::Table;
use crate::state::entries::{Durable, Entries, RestoreError, SavedEntry, Worker};
use crate::state::scratch::Spill;
use crate::state::table::ranks::Ranks;
use crate::state::table::{Fetched, SubKey};

/// How many entries are fetched at once.
pub const FETCHED_AT_ONCE: usize = 4096;

/// See the module's doc.
///
/// # Contract
/// - Before a value changes of a slot that the table gave, [`copy_due`](Self::copy_due) is called; when rows have
///   been taken in, [`drop_evicted`](Self::drop_evicted).
/// - What the table's encoder wrote, given to `take_in`, makes the same value.
pub trait Tabled {
    type Sub: SubKey;

    /// The table, and what writes the entry of one of its slots.
    #[expect(clippy::type_complexity, reason = "the pair borrows what a name for it would have to say again")]
    fn table(&mut self) -> (&mut Table<Self::Sub>, impl Fn(&Table<Self::Sub>, Self::Sub, u32, &mut Entries));

    /// Heap bytes of the values.
    fn value_bytes(&self) -> usize;

    /// Clears the values of slots that were freed.
    fn clear(&mut self, slots: &[u32]);

    /// Takes an entry in, at the slot that the table [restores](Table::restore_slot).
    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError>;

    /// Takes in an entry of a checkpoint, of which something may have fired.
    fn take_back(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        self.take_in(entry)
    }

    /// No more entries are taken in for now.
    fn taken_in(&mut self) {}

    /// Whether entries are to be found by their expiry when they are not in memory.
    fn is_by_time(&self) -> bool {
        false
    }

    /// Whether slots may be freed now.
    fn may_shed(&self) -> bool {
        true
    }

    /// Clears what was evicted.
    fn evicted(&mut self, slots: &[u32]) {
        self.clear(slots);
    }

    fn counters(&self) -> &Counters;

    /// Copies what is due to be saved; see [`Table::copy_due`].
    #[inline]
    fn copy_due(&mut self) {
        let (table, encode) = self.table();
        table.copy_due(encode);
    }

    /// Frees what the table has evicted, and counts it.
    fn drop_evicted(&mut self) {
        if !self.table().0.is_bounded() {
            return;
        }
        self.copy_due();
        let slots = self.table().0.take_evicted();
        if !slots.is_empty() {
            self.counters().add_evicted(slots.len());
            self.evicted(&slots);
        }
    }

    /// Takes in the entries of section `sub` that rows with these keys need and that are not in memory.
    fn fetch(&mut self, sub: Self::Sub, keys: &Keys, rows: Range<usize>) {
        let fetched = self.table().0.fetch(sub, keys, rows);
        self.take_in_fetched(&fetched);
    }

    /// Takes in all of section `sub`, a part at a time. Nothing comes of a scratch that has failed, which ends the run.
    fn fetch_section(&mut self, sub: Self::Sub) {
        loop {
            let fetched = self.table().0.fetch_section(sub, FETCHED_AT_ONCE);
            if fetched.is_empty() {
                return;
            }
            self.take_in_fetched(&fetched);
        }
    }

    /// Takes in what the table has fetched.
    fn take_in_fetched(&mut self, fetched: &[Fetched]) {
        if fetched.is_empty() {
            return;
        }
        let outcome = fetched.iter().try_for_each(|entry| self.take_in(&entry.saved()));
        self.table().0.fetched(outcome);
        self.taken_in();
    }
}

/// State of which no more entries are kept than there is room for.
pub trait Limited {
    /// From now on, what is beyond the capacity that `ranks` knows is evicted.
    fn limit_to(&mut self, ranks: Ranks);
}

impl<T: Tabled> Limited for T {
    fn limit_to(&mut self, ranks: Ranks) {
        self.table().0.limit_to(ranks);
    }
}

impl<T: Tabled> Durable for T {
    fn track(&mut self, _: Worker) {
        self.table().0.track_changes();
    }

    fn begin_save(&mut self, full: bool) {
        self.table().0.begin_save(full);
    }

    fn save(&mut self, limit: usize, out: &mut Entries) -> bool {
        let (table, encode) = self.table();
        table.save(limit, out, encode)
    }

    fn expect(&mut self, entries: usize) {
        self.table().0.reserve(entries);
    }

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        self.take_back(entry)
    }

    fn restored(&mut self) {
        self.taken_in();
        self.table().0.evict_excess();
        self.drop_evicted();
    }

    fn spill_to(&mut self, spill: &Arc<Spill>) {
        let by_time = self.is_by_time();
        self.table().0.spill_to(spill.space(), by_time);
    }

    fn shed(&mut self) {
        if !self.may_shed() {
            return;
        }
        let value_bytes = self.value_bytes();
        let (table, encode) = self.table();
        let freed = table.shed(value_bytes, encode);
        self.clear(&freed);
    }

    fn take_ahead(&mut self) -> Entries {
        self.table().0.take_ahead()
    }
}
