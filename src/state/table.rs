//! Keys to slots, in sections that live and die together.
//!
//! A [`Table`] has sections by *sub-key* (a pane, a window; operators without one use a single section),
//! and a section maps encoded keys to slots. Slots are numbered through the whole table, so that an
//! operator's values are columns addressed by slot and one call updates a batch whose rows fall into
//! many sections. Dropping a section gives its slots back at once.
//!
//! Every slot carries the generation in which it was last touched, which is what a checkpoint's
//! hand-over goes by, and the table counts its bytes. The values themselves belong to the operator.

use std::collections::BTreeMap;
use std::ops::{Range, RangeBounds};

use hashbrown::HashTable;

use crate::data::Keys;

/// Keyed slots in sections by `S`.
#[derive(Debug)]
pub struct Table<S: Ord + Copy> {
    sections: BTreeMap<S, Slots>,
    /// By slot; those in `free` are vacant.
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Counts the times that changes were saved; a slot touched since the last carries it.
    generation: u64,
    changes: Option<Changes<S>>,
    /// Heap bytes of keys too long to be kept inline.
    heap_bytes: usize,
    /// The index of the last section that was removed, for the next one: the panes of a window are
    /// mostly of one size, and growing an index step by step costs as much as filling it.
    spare: Slots,
}

/// What is to be saved, where anything is.
#[derive(Debug)]
struct Changes<S> {
    /// Slots touched in this generation, where they stood then: they may have moved or be free by now.
    touched: Vec<(S, u32)>,
    /// What is being saved, and whether that is everything.
    saving: Vec<(S, u32)>,
    is_full: bool,
}

/// The keys of one section: slots, found by key.
#[derive(Debug, Default)]
pub struct Slots {
    index: HashTable<u32>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    touched: u64,
    key: Key,
}

/// An encoded key; short ones, which most are, take no allocation.
#[derive(Debug, Clone)]
enum Key {
    Inline { len: u8, bytes: [u8; KEY_INLINE_BYTES] },
    Heap(Box<[u8]>),
}

const KEY_INLINE_BYTES: usize = 22;
/// An index with more room than so many times its keys is not used again.
const SPARE_SLACK: usize = 8;
/// What a vacant entry is marked with.
const VACANT: u64 = u64::MAX;
/// What an entry is marked with that has not been touched since it was made or saved.
const UNTOUCHED: u64 = u64::MAX - 1;

/// What a key is found by in its section. The low bits of a key's hash decide its worker, so that all
/// keys of a table have some of them in common; left in their place they would crowd the index.
#[inline]
fn index_hash(hash: u64) -> u64 {
    hash.rotate_right(32)
}

impl<S: Ord + Copy> Default for Table<S> {
    fn default() -> Self {
        let (sections, entries, free, spare) = (BTreeMap::new(), Vec::new(), Vec::new(), Slots::default());
        Table { sections, entries, free, generation: 0, changes: None, heap_bytes: 0, spare }
    }
}

impl<S: Ord + Copy> Table<S> {
    /// From now on, remembers which slots are touched.
    pub fn track_changes(&mut self) {
        self.changes = Some(Changes { touched: Vec::new(), saving: Vec::new(), is_full: false });
    }

    /// Ends a generation: the slots touched in it, all if `full`, are what [`Self::next_unsaved`] gives.
    pub fn begin_save(&mut self, full: bool) {
        self.generation += 1;
        let Some(changes) = &mut self.changes else { return };
        let touched = std::mem::take(&mut changes.touched);
        changes.is_full = full;
        changes.saving = if full {
            self.sections.iter().flat_map(|(sub, slots)| slots.iter().map(|slot| (*sub, slot))).collect()
        } else {
            touched
        };
    }

    /// A live slot that is still to be saved, and its section.
    pub fn next_unsaved(&mut self) -> Option<(S, u32)> {
        loop {
            let changes = self.changes.as_mut()?;
            let ((sub, slot), is_full) = (changes.saving.pop()?, changes.is_full);
            let entry = &self.entries[slot as usize];
            // A slot that was given back and taken again in one generation is listed twice.
            let is_saved = !is_full && entry.touched == UNTOUCHED;
            // It may have been given back since, or stand in another section.
            let is_vacant = entry.touched == VACANT;
            if !is_saved && !is_vacant && self.find(sub, entry.hash, entry.key.bytes()) == Some(slot) {
                self.entries[slot as usize].touched = UNTOUCHED;
                return Some((sub, slot));
            }
        }
    }

    /// Counts a use of a slot that stands in section `sub`.
    #[inline]
    fn touch(&mut self, sub: S, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        if entry.touched != self.generation {
            entry.touched = self.generation;
            if let Some(changes) = &mut self.changes {
                changes.touched.push((sub, slot));
            }
        }
    }

    /// The slot of `key` in section `sub`, made if there is none; whether it was made.
    pub fn slot(&mut self, sub: S, hash: u64, key: &[u8]) -> (u32, bool) {
        if let Some(slot) = self.find(sub, hash, key) {
            self.touch(sub, slot);
            return (slot, false);
        }
        let mut section = self.take_out(sub);
        let slot = self.insert(sub, &mut section, hash, key);
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
                    self.touch(sub, slot);
                    slot
                }
                None => self.insert(sub, &mut section, hash, key),
            };
            out.push(slot);
        }
        self.sections.insert(sub, section);
        new
    }

    /// A section, out of the map; an empty one if there is none.
    fn take_out(&mut self, sub: S) -> Slots {
        self.sections.remove(&sub).unwrap_or_else(|| std::mem::take(&mut self.spare))
    }

    fn insert(&mut self, sub: S, section: &mut Slots, hash: u64, key: &[u8]) -> u32 {
        let entry = Entry { hash, touched: UNTOUCHED, key: Key::new(key) };
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
        self.touch(sub, slot);
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

    /// Removes a section; its slots in ascending order. They are free from now on; the operator clears
    /// their values.
    pub fn remove_section(&mut self, sub: S) -> Vec<u32> {
        let Some(mut section) = self.sections.remove(&sub) else { return Vec::new() };
        let mut slots: Vec<u32> = section.iter().collect();
        // Values are cleared, and new keys get their slots, in the order in which they lie in memory.
        slots.sort_unstable();
        self.release(&slots);
        // A large index that was nearly empty would be cleared again and again for nothing.
        if section.index.capacity() <= SPARE_SLACK * section.len() {
            section.index.clear();
            self.spare = section;
        }
        slots
    }

    /// Takes the slot of a key out of its section. The slot keeps its key and its value until it is
    /// [released](Self::release); the key may get another slot meanwhile.
    pub fn detach(&mut self, sub: S, slot: u32) {
        let hash = self.entries[slot as usize].hash;
        let section = self.sections.get_mut(&sub).expect("the slot is in the section");
        section.index.find_entry(index_hash(hash), |&s| s == slot).expect("the slot is in the section").remove();
    }

    /// Frees detached slots; the operator clears their values.
    pub fn release(&mut self, slots: &[u32]) {
        for &slot in slots {
            let entry = &mut self.entries[slot as usize];
            debug_assert!(entry.touched != VACANT, "a slot is freed once");
            self.heap_bytes -= entry.key.heap_bytes();
            *entry = Entry { hash: 0, touched: VACANT, key: Key::new(&[]) };
        }
        self.free.extend(slots.iter().rev());
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
        let index: usize = self.sections.values().chain([&self.spare]).map(|s| s.index.capacity() * 5).sum();
        index + self.entries.capacity() * size_of::<Entry>() + self.free.capacity() * 4 + self.heap_bytes
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

impl Key {
    fn new(key: &[u8]) -> Key {
        if key.len() > KEY_INLINE_BYTES {
            return Key::Heap(key.into());
        }
        let mut bytes = [0; KEY_INLINE_BYTES];
        bytes[..key.len()].copy_from_slice(key);
        Key::Inline { len: key.len() as u8, bytes }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Key::Inline { .. } => 0,
            Key::Heap(bytes) => bytes.len(),
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Key::Inline { len, bytes } => &bytes[..*len as usize],
            Key::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::data::batch::hash;

    #[derive(Debug, Clone)]
    enum Change {
        Insert(u8, Vec<u8>),
        Remove(u8, Vec<u8>),
        RemoveSection(u8),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let key = || prop::collection::vec(0..3u8, 0..3).prop_map(|k| k.repeat(10));
        let change = prop_oneof![
            4 => (0..4u8, key()).prop_map(|(s, k)| Change::Insert(s, k)),
            2 => (0..4u8, key()).prop_map(|(s, k)| Change::Remove(s, k)),
            1 => (0..4u8).prop_map(Change::RemoveSection),
        ];
        prop::collection::vec(change, 0..200)
    }

    proptest! {
        /// Whatever is made, removed and made again: what is saved is what was touched and is still there,
        /// each key once.
        #[test]
        fn saves_what_has_changed(before in changes(), after in changes(), full in any::<bool>()) {
            let mut table = Table::<u8>::default();
            table.track_changes();
            let apply = |table: &mut Table<u8>, changes: Vec<Change>| {
                let mut touched = std::collections::BTreeSet::new();
                for change in changes {
                    match change {
                        Change::Insert(s, k) => {
                            table.slot(s, hash(&k), &k);
                            touched.insert((s, k));
                        }
                        Change::Remove(s, k) => {
                            if let Some(slot) = table.find(s, hash(&k), &k) {
                                table.detach(s, slot);
                                table.release(&[slot]);
                                touched.remove(&(s, k));
                            }
                        }
                        Change::RemoveSection(s) => {
                            table.remove_section(s);
                            touched.retain(|(t, _)| *t != s);
                        }
                    }
                }
                touched
            };
            let saved = |table: &mut Table<u8>, full| {
                table.begin_save(full);
                let mut saved = Vec::new();
                while let Some((s, slot)) = table.next_unsaved() {
                    saved.push((s, table.key(slot).to_vec()));
                }
                saved.sort();
                saved
            };
            let touched = apply(&mut table, before);
            prop_assert_eq!(saved(&mut table, false), touched.into_iter().collect::<Vec<_>>());
            let touched = apply(&mut table, after);
            let mut expected: Vec<(u8, Vec<u8>)> = touched.into_iter().collect();
            if full {
                let live = |(s, slots): (u8, &Slots)| slots.iter().map(|l| (s, table.key(l).to_vec())).collect::<Vec<_>>();
                expected = table.range(..).flat_map(live).collect();
                expected.sort();
            }
            prop_assert_eq!(saved(&mut table, full), expected);
        }

        /// Against a map: the same keys are there, and no two live keys share a slot.
        #[test]
        fn behaves_as_a_map(changes in changes()) {
            let mut table = Table::<u8>::default();
            let mut model: HashMap<(u8, Vec<u8>), u32> = HashMap::new();
            for change in changes {
                match change {
                    Change::Insert(s, k) => {
                        let (slot, new) = table.slot(s, hash(&k), &k);
                        let taken = model.values().any(|&v| v == slot);
                        let known = model.insert((s, k), slot);
                        prop_assert_eq!(new, known.is_none());
                        prop_assert!(known == Some(slot) || (known.is_none() && !taken));
                    }
                    Change::Remove(s, k) => {
                        let found = table.find(s, hash(&k), &k);
                        if let Some(slot) = found {
                            table.detach(s, slot);
                            prop_assert_eq!(table.key(slot), k.as_slice());
                            table.release(&[slot]);
                        }
                        prop_assert_eq!(found, model.remove(&(s, k)));
                    }
                    Change::RemoveSection(s) => {
                        let mut gone = table.remove_section(s);
                        gone.sort_unstable();
                        let mut expected: Vec<u32> = model.iter().filter(|(k, _)| k.0 == s).map(|(_, v)| *v).collect();
                        expected.sort_unstable();
                        model.retain(|k, _| k.0 != s);
                        prop_assert_eq!(gone, expected);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                for ((s, k), slot) in &model {
                    prop_assert_eq!(table.find(*s, hash(k), k), Some(*slot));
                }
            }
        }
    }
}
