//! The entries of a table that has a capacity: those that are evicted, and how that is saved.
//!
//! The table evicts when it makes an entry in a group that is full, row by row: what goes does not depend on
//! how rows are cut into batches. An evicted slot is detached at once, so that its key may come again, and keeps
//! its value until the operator is through with the batch and [takes](Table::take_evicted) what was evicted.
//!
//! # With checkpoints
//! - The [rank](Rank) of an entry is saved behind its value, so that a run that continues evicts what an
//!   undisturbed one would have. What is due is saved with the rank that it had.
//! - That an entry is evicted is saved as a tombstone, before the entries of its generation: its key may have come
//!   again. One that was made in the same generation was never saved, so that there are never more tombstones
//!   than there is room for entries.

use super::ranks::{Rank, Ranks};
use super::{Slots, SubKey, Table};
use crate::data::batch::hash;
use crate::state::entries::{Entries, RestoreError, SavedEntry};

/// See the module's doc.
#[derive(Debug)]
pub struct Bounded {
    ranks: Ranks,
    /// Detached slots.
    evicted: Vec<u32>,
}

impl Bounded {
    pub fn rank(&self, slot: u32) -> Rank {
        self.ranks.rank(slot)
    }

    pub fn remove(&mut self, slot: u32) {
        self.ranks.remove(slot);
    }

    pub fn bytes(&self) -> usize {
        self.ranks.bytes()
    }
}

impl<S: SubKey> Table<S> {
    /// From now on, entries are evicted beyond the capacity that `ranks` knows.
    pub fn limit_to(&mut self, ranks: Ranks) {
        self.bounded = Some(Box::new(Bounded { ranks, evicted: Vec::new() }));
    }

    /// Whether entries may be evicted.
    pub fn is_bounded(&self) -> bool {
        self.bounded.is_some()
    }

    /// Counts a use of an entry whose value does not change by it.
    pub fn use_found(&mut self, slot: u32) {
        if self.bounded.as_ref().is_some_and(|b| b.ranks.counts_uses()) {
            self.touch(slot);
        }
    }

    /// Whether a slot that keeps its value was evicted.
    pub fn is_evicted(&self, slot: u32) -> bool {
        self.bounded.as_ref().is_some_and(|b| !b.ranks.holds(slot))
    }

    /// What was evicted since the last time, in ascending order. The slots are free from now on; the operator
    /// clears their values.
    pub fn take_evicted(&mut self) -> Vec<u32> {
        let Some(bounded) = &mut self.bounded else { return Vec::new() };
        let mut evicted = std::mem::take(&mut bounded.evicted);
        evicted.sort_unstable();
        self.release(&evicted);
        evicted
    }

    /// The slot of an entry that is restored. When its value has been read, [`Self::restore_rank`] is called.
    pub fn restore_slot(&mut self, sub: S, entry: &SavedEntry<'_>) -> u32 {
        let hash = hash(entry.key);
        if let Some(slot) = self.find(sub, hash, entry.key) {
            return slot;
        }
        let mut section = self.take_out(sub);
        let slot = self.insert(&mut section, hash, entry.key);
        self.sections.insert(sub, section);
        // Some checkpoint has it.
        self.entries[slot as usize].home.set_old();
        if let Some(bounded) = &mut self.bounded {
            bounded.ranks.restore(slot, entry.group);
        }
        slot
    }

    /// Takes the rank of a restored entry from what follows its value.
    pub fn restore_rank(&mut self, slot: u32, rest: &[u8]) -> Result<(), RestoreError> {
        if let Some(bounded) = &mut self.bounded {
            bounded.ranks.rank_restored(slot, Rank::read(rest)?);
        }
        Ok(())
    }

    /// Evicts what was restored beyond the capacity.
    pub fn evict_excess(&mut self) {
        let Some(bounded) = &mut self.bounded else { return };
        for slot in bounded.ranks.pop_excess() {
            self.detach(self.sub(slot), slot);
            self.bury(slot);
        }
    }

    /// [Touches](Self::touch) the slot of an entry with a rank. Apart from it, so that tables without a capacity
    /// do not carry it through their inner loop, which made them a tenth slower.
    #[inline(never)]
    pub(super) fn touch_ranked(&mut self, slot: u32) {
        let Some(bounded) = &mut self.bounded else { return };
        let entry = &mut self.entries[slot as usize];
        if entry.mark != self.changes.touched_mark() {
            entry.mark = self.changes.touch(entry.mark, slot, Some(bounded.rank(slot)));
            entry.home.set_old();
        }
        bounded.ranks.use_it(slot);
    }

    /// Gives a new entry of `section`, which is taken out, its rank, and evicts another where there is no room.
    #[inline(never)]
    pub(super) fn make_room(&mut self, section: &mut Slots, slot: u32, group: u16) {
        let Some(bounded) = &mut self.bounded else { return };
        let Some(victim) = bounded.ranks.insert(slot, group, self.changes.generation()) else { return };
        if self.entries[victim as usize].home.section() == section.number as usize {
            self.doom(victim);
            section.unlink(self.hash(victim), victim);
        } else {
            self.detach(self.sub(victim), victim);
        }
        self.bury(victim);
    }

    fn bury(&mut self, victim: u32) {
        let Some(bounded) = &mut self.bounded else { return };
        let (born, group) = bounded.ranks.origin(victim);
        bounded.evicted.push(victim);
        let is_new = born >= self.changes.generation();
        let mut sub = Vec::new();
        self.sub(victim).write(&mut sub);
        self.changes.bury(group, self.entries[victim as usize].key.bytes(), &sub, is_new);
    }

    pub(super) fn rank(&self, slot: u32) -> Option<Rank> {
        self.bounded.as_ref().map(|b| b.rank(slot))
    }

    /// Appends a rank to the value of the entry that was encoded last.
    pub(super) fn write_rank(&self, rank: Option<Rank>, out: &mut Entries) {
        if let Some(rank) = rank {
            out.extend_last(|value| rank.write(value));
        }
    }
}
