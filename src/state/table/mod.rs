//! Keys to slots, in sections that live and die together.
//!
//! A [`Table`] has sections by *sub-key* (a pane, a window; operators without one use a single section),
//! and a section maps encoded keys to slots. Slots are numbered through the whole table, so that an
//! operator's values are columns addressed by slot and one call updates a batch whose rows fall into
//! many sections. Dropping a section gives its slots back at once.
//!
//! Every slot carries a mark of when it was last touched or saved, which is what a checkpoint goes by, and
//! the table counts its bytes. The values themselves belong to the operator.
//!
//! # Saving without a pause
//! [`begin_save`](Table::begin_save) ends a generation; what it left is saved in slices while rows of the
//! next one are taken in. A slot that is touched, detached or doomed before its turn is *due*: the operator
//! calls [`copy_due`](Table::copy_due) before it changes any value, and what is saved is as it was.

mod capacity;
mod changes;
mod cold;
mod key;
pub mod ranks;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::{Range, RangeBounds};

use hashbrown::HashTable;

use self::capacity::Bounded;
use self::changes::{Changes, Mark};
use self::cold::Cold;
pub use self::cold::{Fetched, SubKey};
use self::key::Key;
use crate::data::Keys;
use crate::data::key::key_group;
use crate::state::entries::Entries;

/// Keyed slots in sections by `S`.
#[derive(Debug)]
pub struct Table<S: SubKey> {
    sections: BTreeMap<S, Slots>,
    /// The sub-key of each section by its number; those of no section are in `free_sections`.
    subs: Vec<S>,
    free_sections: Vec<u32>,
    /// By slot; those in `free` are vacant.
    entries: Vec<Entry>,
    free: Vec<u32>,
    changes: Changes,
    /// Where entries go that do not fit in memory.
    cold: Option<Cold>,
    /// What goes when there are more entries than there may be.
    bounded: Option<Box<Bounded>>,
    /// Whether entries are made that were fetched from there: that changes nothing.
    is_fetching: bool,
    /// Heap bytes of keys too long to be kept inline.
    heap_bytes: usize,
    /// The index of the last section that was removed, for the next one: the panes of a window are
    /// mostly of one size, and growing an index step by step costs as much as filling it.
    spare: HashTable<u32>,
}

/// The keys of one section: slots, found by key.
#[derive(Debug)]
pub struct Slots {
    number: u32,
    index: HashTable<u32>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    mark: Mark,
    home: Home,
    key: Key,
}

/// The number of a slot's section, whether the slot was used since the last look for what to spill, and whether it is
/// new: in one number, since there are as many as there are keys.
#[derive(Clone, Copy, Debug)]
struct Home(u32);

impl Home {
    const RECENT: u32 = 1 << 31;
    const NEW: u32 = 1 << 30;

    fn section(self) -> usize {
        (self.0 & !(Home::RECENT | Home::NEW)) as usize
    }

    /// Whether the entry was made in the generation in which it was last touched.
    fn is_new(self) -> bool {
        self.0 & Home::NEW != 0
    }

    #[inline]
    fn set_old(&mut self) {
        self.0 &= !Home::NEW;
    }

    #[inline]
    fn use_it(&mut self) {
        self.0 |= Home::RECENT;
    }

    /// Whether it was used; from now on it was not.
    fn take_recent(&mut self) -> bool {
        let recent = self.0 & Home::RECENT != 0;
        self.0 &= !Home::RECENT;
        recent
    }
}

/// An index with more room than so many times its keys is not used again.
const SPARE_SLACK: usize = 8;

/// What a key is found by in its section. The low bits of a key's hash decide its worker, so that all
/// keys of a table have some of them in common; left in their place they would crowd the index.
#[inline]
fn index_hash(hash: u64) -> u64 {
    hash.rotate_right(32)
}

impl<S: SubKey> Default for Table<S> {
    fn default() -> Self {
        Table {
            sections: BTreeMap::new(),
            subs: Vec::new(),
            free_sections: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
            changes: Changes::default(),
            cold: None,
            bounded: None,
            is_fetching: false,
            heap_bytes: 0,
            spare: HashTable::new(),
        }
    }
}

impl<S: SubKey> Table<S> {
    /// From now on, remembers which slots are touched.
    pub fn track_changes(&mut self) {
        self.changes.track();
    }

    /// Ends a generation: what [`Self::save`] saves is as it is now, the slots touched in the generation, or
    /// all if `full`.
    pub fn begin_save(&mut self, full: bool) {
        self.changes.begin_save(full, self.entries.len() as u32);
    }

    /// Appends up to `limit` entries as `encode` writes them, beside those that were copied meanwhile; tells
    /// whether that were all.
    pub fn save(&mut self, limit: usize, out: &mut Entries, encode: impl Fn(&Table<S>, S, u32, &mut Entries)) -> bool {
        out.append(self.changes.take_copied());
        for _ in 0..limit {
            let Some(slot) = self.next_unsaved() else {
                let is_all = self.save_cold(limit, out);
                if is_all {
                    self.changes.end_save();
                }
                return is_all;
            };
            encode(self, self.sub(slot), slot, out);
            self.write_rank(self.rank(slot), out);
        }
        false
    }

    /// Copies the slots that are due, of which no value has changed yet.
    pub fn copy_due(&mut self, encode: impl Fn(&Table<S>, S, u32, &mut Entries)) {
        if !self.changes.has_due() {
            return;
        }
        let mut copied = self.changes.take_copied();
        for (slot, rank) in self.changes.take_due() {
            encode(self, self.sub(slot), slot, &mut copied);
            self.write_rank(rank, &mut copied);
        }
        self.changes.give_back(copied);
    }

    /// A slot that is still to be saved.
    fn next_unsaved(&mut self) -> Option<u32> {
        loop {
            let slot = self.changes.next_candidate()?;
            let mark = &mut self.entries[slot as usize].mark;
            if self.changes.is_unsaved(*mark) {
                *mark = self.changes.saved_mark();
                return Some(slot);
            }
        }
    }

    /// Counts a use of a slot.
    #[inline]
    fn touch(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        entry.home.use_it();
        if self.bounded.is_some() {
            return self.touch_ranked(slot);
        }
        if entry.mark != self.changes.touched_mark() {
            entry.mark = self.changes.touch(entry.mark, slot, None);
            entry.home.set_old();
        }
    }

    /// Counts a use of a slot whose value does not change by it: it is not spilled for now.
    #[inline]
    pub fn see(&mut self, slot: u32) {
        self.entries[slot as usize].home.use_it();
    }

    /// Whether what the last generation left is still being saved.
    pub fn is_saving(&self) -> bool {
        self.changes.is_saving()
    }

    /// The value of a slot is about to change by itself: it is saved again, and counts as no use.
    pub fn change(&mut self, slot: u32) {
        let rank = self.rank(slot);
        let entry = &mut self.entries[slot as usize];
        if entry.mark != self.changes.touched_mark() {
            entry.mark = self.changes.touch(entry.mark, slot, rank);
            entry.home.set_old();
        }
    }

    /// [Detaches](Self::detach) a slot whose entry is over before its expiry.
    pub fn remove(&mut self, sub: S, group: u16, slot: u32) {
        let entry = &self.entries[slot as usize];
        let is_new = entry.home.is_new() && entry.mark == self.changes.touched_mark();
        let mut bytes = Vec::new();
        sub.write(&mut bytes);
        self.changes.bury(group, entry.key.bytes(), &bytes, is_new);
        self.detach(sub, slot);
    }

    /// A slot is about to go.
    fn doom(&mut self, slot: u32) {
        let rank = self.rank(slot);
        let mark = &mut self.entries[slot as usize].mark;
        if self.changes.is_unsaved(*mark) {
            *mark = self.changes.doom(slot, rank);
        }
    }

    /// A section is about to be [removed](Self::remove_section).
    pub fn doom_section(&mut self, sub: S) {
        if self.changes.is_saving() {
            self.section(sub).collect::<Vec<_>>().into_iter().for_each(|slot| self.doom(slot));
            self.doom_cold_section(sub);
        }
    }

    /// The sub-key of a live or detached slot.
    fn sub(&self, slot: u32) -> S {
        self.subs[self.entries[slot as usize].home.section()]
    }

    /// The slot of `key` in section `sub`, made if there is none; whether it was made.
    pub fn slot(&mut self, sub: S, hash: u64, key: &[u8]) -> (u32, bool) {
        self.slot_in_group(sub, key_group(hash), hash, key)
    }

    /// As [`Self::slot`], where the entry belongs to a group that is not that of `hash`.
    pub fn slot_in_group(&mut self, sub: S, group: u16, hash: u64, key: &[u8]) -> (u32, bool) {
        if let Some(slot) = self.find(sub, hash, key) {
            self.touch(slot);
            return (slot, false);
        }
        let mut section = self.take_out(sub);
        let slot = self.insert(&mut section, hash, key);
        if self.bounded.is_some() {
            self.make_room(&mut section, slot, group);
        }
        self.sections.insert(sub, section);
        (slot, true)
    }

    /// Appends the slot of each of the keys `rows` of a batch in section `sub` to `out`. Tells whether
    /// the section is new.
    pub fn slots(&mut self, sub: S, keys: &Keys, rows: Range<usize>, out: &mut Vec<u32>) -> bool {
        let new = !self.sections.contains_key(&sub);
        // The section is taken out so that the borrow checker lets entries grow beside it.
        let mut section = self.take_out(sub);
        for row in rows {
            let (hash, key) = (keys.hash(row), keys.key(row));
            let slot = match section.find(&self.entries, hash, key) {
                Some(slot) => {
                    self.touch(slot);
                    slot
                }
                None => {
                    let slot = self.insert(&mut section, hash, key);
                    if self.bounded.is_some() {
                        self.make_room(&mut section, slot, key_group(hash));
                    }
                    slot
                }
            };
            out.push(slot);
        }
        self.sections.insert(sub, section);
        new
    }

    /// A section, out of the map; a new one if there is none.
    fn take_out(&mut self, sub: S) -> Slots {
        if let Some(section) = self.sections.remove(&sub) {
            return section;
        }
        let number = match self.free_sections.pop() {
            Some(number) => {
                self.subs[number as usize] = sub;
                number
            }
            None => {
                self.subs.push(sub);
                self.subs.len() as u32 - 1
            }
        };
        Slots { number, index: std::mem::take(&mut self.spare) }
    }

    fn insert(&mut self, section: &mut Slots, hash: u64, key: &[u8]) -> u32 {
        let (mark, new) = match self.is_fetching {
            true => (self.changes.saved_mark(), 0),
            false => (self.changes.touched_mark(), Home::NEW),
        };
        let entry = Entry { hash, mark, home: Home(section.number | new), key: Key::new(key) };
        self.heap_bytes += entry.key.heap_bytes();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        section.index.insert_unique(index_hash(hash), slot, |&s| index_hash(self.entries[s as usize].hash));
        if !self.is_fetching {
            self.changes.inserted(slot);
        }
        slot
    }

    /// The slot of a key, if it is there.
    pub fn find(&self, sub: S, hash: u64, key: &[u8]) -> Option<u32> {
        self.sections.get(&sub)?.find(&self.entries, hash, key)
    }

    /// The key of a live or detached slot.
    pub fn key(&self, slot: u32) -> &[u8] {
        self.entries[slot as usize].key.bytes()
    }

    /// The key's hash of a live or detached slot.
    pub fn hash(&self, slot: u32) -> u64 {
        self.entries[slot as usize].hash
    }

    /// The slots of section `sub`, in no order.
    pub fn section(&self, sub: S) -> impl Iterator<Item = u32> {
        self.sections.get(&sub).into_iter().flat_map(Slots::iter)
    }

    /// Sections whose sub-keys lie in `range`, in order, each with its slots in no order.
    pub fn range(&self, range: impl RangeBounds<S>) -> impl DoubleEndedIterator<Item = (S, &Slots)> {
        self.sections.range(range).map(|(sub, slots)| (*sub, slots))
    }

    /// Removes a section that is [doomed](Self::doom_section); its slots in ascending order. They are free
    /// from now on; the operator clears their values.
    pub fn remove_section(&mut self, sub: S) -> Vec<u32> {
        let Some(mut section) = self.sections.remove(&sub) else { return Vec::new() };
        self.drop_cold_section(sub);
        let mut slots: Vec<u32> = section.iter().collect();
        // Values are cleared, and new keys get their slots, in the order in which they lie in memory.
        slots.sort_unstable();
        if let Some(bounded) = &mut self.bounded {
            slots.iter().for_each(|&slot| bounded.remove(slot));
        }
        self.release(&slots);
        self.free_sections.push(section.number);
        // A large index that was nearly empty would be cleared again and again for nothing.
        if section.index.capacity() <= SPARE_SLACK * section.len() {
            section.index.clear();
            self.spare = section.index;
        }
        slots
    }

    /// Takes the slot of a key out of its section. The slot keeps its key and its value until it is
    /// [released](Self::release); the key may get another slot meanwhile.
    pub fn detach(&mut self, sub: S, slot: u32) {
        self.doom(slot);
        let hash = self.entries[slot as usize].hash;
        let section = self.sections.get_mut(&sub).expect("the slot is in the section");
        section.unlink(hash, slot);
        if let Some(bounded) = &mut self.bounded {
            bounded.remove(slot);
        }
    }

    /// Frees detached slots; the operator clears their values.
    pub fn release(&mut self, slots: &[u32]) {
        for &slot in slots {
            let entry = &mut self.entries[slot as usize];
            if cfg!(feature = "checked") {
                assert!(entry.mark != Mark::VACANT, "a slot is freed once");
                assert!(!self.changes.is_unsaved(entry.mark), "a slot is freed that is still to be saved");
            }
            self.heap_bytes -= entry.key.heap_bytes();
            *entry = Entry { hash: 0, mark: Mark::VACANT, home: Home(0), key: Key::new(&[]) };
        }
        self.free.extend(slots.iter().rev());
    }

    /// Makes room for so many entries, unless they may not fit in memory. The first section that is made gets an
    /// index for all.
    pub fn reserve(&mut self, entries: usize) {
        if self.cold.is_none() {
            self.entries.reserve(entries);
            self.spare.reserve(entries, |_| unreachable!("a spare index is empty"));
        }
    }

    /// Live and detached keys over all sections.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes of the keys and their index.
    pub fn bytes(&self) -> usize {
        let indexes = self.sections.values().map(|s| &s.index).chain([&self.spare]);
        // An index that entries have left has room for fewer before it is rebuilt, in as many bytes.
        indexes.map(HashTable::allocation_size).sum::<usize>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.free.capacity() * 4
            + self.heap_bytes
            + self.bounded.as_ref().map_or(0, |b| b.bytes())
    }
}

impl Slots {
    #[inline]
    fn find(&self, entries: &[Entry], hash: u64, key: &[u8]) -> Option<u32> {
        let is = |&slot: &u32| {
            let entry = &entries[slot as usize];
            entry.hash == hash && entry.key.bytes() == key
        };
        self.index.find(index_hash(hash), is).copied()
    }

    fn unlink(&mut self, hash: u64, slot: u32) {
        self.index.find_entry(index_hash(hash), |&s| s == slot).expect("the slot is in the section").remove();
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.index.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}
