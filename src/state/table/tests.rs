//! The table against maps.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use std::sync::Arc;

use super::ranks::Ranks;
use super::*;
use crate::data::batch::hash;
use crate::state::entries::{NEVER, SavedEntry, sorted};
use crate::state::options::{Capacity, Eviction};
use crate::state::scratch::{MemoryScratch, Spill};

#[derive(Debug, Clone)]
enum Change {
    Insert(u8, Vec<u8>),
    Remove(u8, Vec<u8>),
    RemoveSection(u8),
    /// Memory is short.
    Shed,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let key = || prop::collection::vec(0..3u8, 0..3).prop_map(|k| k.repeat(10));
    let change = prop_oneof![
        4 => (0..4u8, key()).prop_map(|(s, k)| Change::Insert(s, k)),
        2 => (0..4u8, key()).prop_map(|(s, k)| Change::Remove(s, k)),
        1 => (0..4u8).prop_map(Change::RemoveSection),
        1 => Just(Change::Shed),
    ];
    prop::collection::vec(change, 0..200)
}

impl SubKey for u8 {
    fn write(self, out: &mut Vec<u8>) {
        out.push(self);
    }
}

/// A table with a number for each slot, as an operator has its values.
#[derive(Default)]
struct Numbered {
    table: Table<u8>,
    numbers: Vec<u32>,
    next: u32,
}

/// Section and key -> number.
type Numbers = BTreeMap<(u8, Vec<u8>), u32>;

/// Section and key -> what is saved of it, which is its number and its rank.
type Ranked = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

fn encoder(numbers: &[u32]) -> impl Fn(&Table<u8>, u8, u32, &mut Entries) {
    move |table, sub, slot, out| {
        let number = numbers[slot as usize];
        let group = key_group(table.hash(slot));
        out.push(group, table.key(slot), &[sub], NEVER, |value| value.extend(number.to_be_bytes()));
    }
}

impl Numbered {
    /// Fetches a key that is not in memory.
    fn fetch(&mut self, s: u8, k: &[u8]) {
        let keys = Keys::new(k.to_vec(), vec![0, k.len() as u32]);
        let fetched = self.table.fetch(s, &keys, 0..1);
        self.restore(fetched);
    }

    fn restore(&mut self, fetched: Vec<Fetched>) {
        for entry in fetched {
            let saved = entry.saved();
            let (slot, new) = self.table.slot(saved.sub[0], hash(saved.key), saved.key);
            assert!(new, "an entry is in one place");
            self.numbers.resize(self.numbers.len().max(slot as usize + 1), 0);
            self.numbers[slot as usize] = u32::from_be_bytes(saved.value.try_into().expect("four bytes"));
        }
        self.table.fetched(Ok(()));
    }

    /// Makes a change as operators do; an insertion gives its slot a new number.
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Shed => {
                let freed = self.table.shed(self.numbers.len() * 4, encoder(&self.numbers));
                freed.iter().for_each(|&slot| self.numbers[slot as usize] = 0);
            }
            Change::Insert(s, k) => {
                self.fetch(*s, k);
                let (slot, _) = self.table.slot(*s, hash(k), k);
                self.table.copy_due(encoder(&self.numbers));
                self.numbers.resize(self.numbers.len().max(slot as usize + 1), 0);
                self.next += 1;
                self.numbers[slot as usize] = self.next;
            }
            Change::Remove(s, k) => {
                self.fetch(*s, k);
                if let Some(slot) = self.table.find(*s, hash(k), k) {
                    self.table.detach(*s, slot);
                    self.table.copy_due(encoder(&self.numbers));
                    self.table.release(&[slot]);
                    self.numbers[slot as usize] = 0;
                }
            }
            Change::RemoveSection(s) => {
                self.table.doom_section(*s);
                self.table.copy_due(encoder(&self.numbers));
                for slot in self.table.remove_section(*s) {
                    self.numbers[slot as usize] = 0;
                }
            }
        }
    }

    /// What was evicted goes, as operators see to it.
    fn drop_evicted(&mut self) {
        self.table.copy_due(encoder(&self.numbers));
        for slot in self.table.take_evicted() {
            self.numbers[slot as usize] = 0;
        }
    }

    /// What there is, with the rank of each entry.
    fn ranked(&self) -> Ranked {
        let of_section = |(sub, slots): (u8, &Slots)| slots.iter().map(move |slot| (sub, slot)).collect::<Vec<_>>();
        let slots = self.table.range(..).flat_map(of_section);
        let entry = |(sub, slot): (u8, u32)| {
            let mut bytes = self.numbers[slot as usize].to_be_bytes().to_vec();
            self.table.rank(slot).expect("the table has a capacity").write(&mut bytes);
            ((sub, self.table.key(slot).to_vec()), bytes)
        };
        slots.map(entry).collect()
    }

    fn restore_ranked(saved: &Ranked, ranks: Ranks) -> Numbered {
        let mut state = Numbered::default();
        state.table.limit_to(ranks);
        for ((sub, key), value) in saved {
            let (group, sub) = (key_group(hash(key)), [*sub]);
            let entry = SavedEntry { group, key, sub: &sub, value, watermark: i64::MIN };
            let slot = state.table.restore_slot(sub[0], &entry) as usize;
            state.numbers.resize(state.numbers.len().max(slot + 1), 0);
            state.numbers[slot] = u32::from_be_bytes(value[..4].try_into().unwrap());
            state.table.restore_rank(slot as u32, &value[4..]).unwrap();
        }
        state
    }

    /// A slice of one entry; tells whether that were all.
    fn save(&mut self, out: &mut Entries) -> bool {
        self.table.save(1, out, encoder(&self.numbers))
    }
}

/// What was saved: of what was saved twice, the later. What is gone need not be taken back, as it has expired.
fn saved(entries: &Entries, expected: &Numbers, now: &Numbers) -> Numbers {
    let number = |e: crate::state::entries::Entry<'_>| {
        u32::from_be_bytes(e.value.expect("no tombstones").try_into().expect("four bytes"))
    };
    let all = sorted(std::slice::from_ref(entries)).map(|e| ((e.sub[0], e.key.to_vec()), number(e)));
    let all: Numbers = all.collect();
    all.iter().for_each(|(k, n)| assert!(now.get(k).is_none_or(|is| is == n), "{k:?} is saved as it was not"));
    all.into_iter().filter(|(k, _)| expected.contains_key(k)).collect()
}

/// Makes changes generation by generation, and saves each meanwhile in slices, after the changes whose bit is
/// set: what is saved is what was touched in the generation, or all, as it was at its end.
fn check_saving(generations: Vec<(Vec<Change>, bool, u64)>, spills: bool) {
    let mut state = Numbered::default();
    state.table.track_changes();
    if spills {
        let scratch = Arc::new(MemoryScratch::default());
        let spill = Arc::new(Spill::new(scratch, 100, |reason| panic!("{reason}")));
        state.table.spill_to(spill.space(), true);
    }
    let (mut before, mut live) = (Numbers::new(), Numbers::new());
    // Saved before the generation ended.
    let mut ahead = Entries::default();
    let mut saving: Option<(Numbers, Entries)> = None;
    for (changes, full, slices) in generations {
        for (i, change) in changes.iter().enumerate() {
            state.apply(change);
            match change {
                Change::Shed => {}
                Change::Insert(s, k) => drop(live.insert((*s, k.clone()), state.next)),
                Change::Remove(s, k) => drop(live.remove(&(*s, k.clone()))),
                Change::RemoveSection(s) => live.retain(|(t, _), _| t != s),
            }
            if slices >> (i % 64) & 1 == 1
                && let Some((expected, mut entries)) = saving.take()
            {
                if state.save(&mut entries) {
                    assert_eq!(saved(&entries, &expected, &before), expected);
                } else {
                    saving = Some((expected, entries));
                }
            }
        }
        if let Some((expected, mut entries)) = saving.take() {
            while !state.save(&mut entries) {}
            assert_eq!(saved(&entries, &expected, &before), expected);
        }
        let now = live.clone();
        ahead.append(state.table.take_ahead());
        let changed = now.iter().filter(|(k, n)| full || before.get(*k) != Some(*n));
        saving = Some((changed.map(|(k, n)| (k.clone(), *n)).collect(), std::mem::take(&mut ahead)));
        state.table.begin_save(full);
        before = now;
    }
}

/// While everything is saved, all entries come back out of the scratch before it was gone through: the next
/// time it is gone through from its beginning.
#[test]
fn the_scratch_is_gone_through_anew() {
    let insert = |s: u8, k: &[u8]| Change::Insert(s, k.repeat(10));
    let first = vec![
        insert(2, &[]),
        insert(1, &[]),
        insert(1, &[0]),
        Change::Shed,
        insert(0, &[0, 1]),
        insert(2, &[0]),
        Change::RemoveSection(1),
        insert(2, &[0]),
    ];
    let mut second: Vec<Change> = [(); 4].map(|()| insert(0, &[])).into();
    second.extend([Change::Remove(2, Vec::new()), insert(0, &[]), insert(0, &[]), Change::Shed]);
    check_saving(vec![(first, true, 0), (second, true, 2504793087084527085), (Vec::new(), false, 0)], true);
}

/// Whatever an index keeps of entries that have gone, it has what it has allocated.
#[test]
fn bytes_of_an_empty_table_are_the_same_after_each_round() {
    const LIVE: u32 = 100;
    let mut table = Table::<u8>::default();
    let round = |table: &mut Table<u8>, from: u32| {
        let key = |n: u32| n.to_be_bytes();
        let remove = |table: &mut Table<u8>, n: u32| {
            let slot = table.find(0, hash(&key(n)), &key(n)).expect("it is there");
            table.detach(0, slot);
            table.release(&[slot]);
        };
        for n in from..from + 10_000 {
            table.slot(0, hash(&key(n)), &key(n));
            if n >= from + LIVE {
                remove(table, n - LIVE);
            }
        }
        (from + 10_000 - LIVE..from + 10_000).for_each(|n| remove(table, n));
        table.bytes()
    };
    let rounds: Vec<usize> = (0..8).map(|i| round(&mut table, i * 10_000)).collect();
    assert!(rounds.iter().all(|bytes| *bytes == rounds[0]), "{rounds:?}");
}

/// A generation of a table with a capacity.
struct Ended {
    full: bool,
    /// What there was at its end.
    there: Ranked,
    /// What went of itself in it.
    expired: BTreeSet<(u8, Vec<u8>)>,
}

/// A store of what was saved of a table with a capacity.
#[derive(Default)]
struct Store {
    entries: Ranked,
    /// The generation that is being saved.
    saving: Option<Ended>,
    saved: Entries,
}

impl Store {
    /// Everything is saved of a generation: what is stored is what there was. What had gone of itself may be there,
    /// since it has expired; what was evicted may not.
    fn settle(&mut self) {
        let Some(Ended { full, there, expired }) = self.saving.take() else { return };
        if full {
            self.entries.clear();
        }
        for entry in sorted(&[std::mem::take(&mut self.saved)]) {
            let names = (entry.sub[0], entry.key.to_vec());
            match entry.value {
                Some(value) => drop(self.entries.insert(names, value.to_vec())),
                None => drop(self.entries.remove(&names)),
            }
        }
        self.entries.retain(|names, _| there.contains_key(names) || !expired.contains(names));
        assert_eq!(self.entries, there);
    }
}

/// As [`check_saving`], with room for four entries.
fn check_evicting(generations: Vec<(Vec<Change>, bool, u64)>, eviction: Eviction) {
    let ranks = || Ranks::new(Capacity { entries: 4, eviction }, false);
    let (mut state, mut store, mut expired) = (Numbered::default(), Store::default(), BTreeSet::new());
    state.table.track_changes();
    state.table.limit_to(ranks());
    for (changes, full, slices) in generations {
        for (i, change) in changes.iter().enumerate() {
            match change {
                Change::Insert(..) | Change::Shed => {}
                Change::Remove(s, k) => drop(expired.insert((*s, k.clone()))),
                Change::RemoveSection(s) => expired.extend(state.ranked().into_keys().filter(|(t, _)| t == s)),
            }
            state.apply(change);
            state.drop_evicted();
            assert!(state.table.len() <= 4);
            if slices >> (i % 64) & 1 == 1 && store.saving.is_some() && state.save(&mut store.saved) {
                store.settle();
            }
        }
        while store.saving.is_some() && !state.save(&mut store.saved) {}
        store.settle();
        store.saving = Some(Ended { full, there: state.ranked(), expired: std::mem::take(&mut expired) });
        state.table.begin_save(full);
    }
    while !state.save(&mut store.saved) {}
    store.settle();
    assert_eq!(Numbered::restore_ranked(&store.entries, ranks()).ranked(), state.ranked());
}

proptest! {
    /// Whatever is evicted while it is saved does not come back, and every entry is saved with the rank it had.
    #[test]
    fn what_is_evicted_is_gone(
        generations in prop::collection::vec((changes(), any::<bool>(), any::<u64>()), 1..5),
        eviction in prop::sample::select(vec![Eviction::Lru, Eviction::Lfu, Eviction::Fifo]),
    ) {
        check_evicting(generations, eviction);
    }

    /// Whatever changes while it is saved.
    #[test]
    fn saves_what_was_there(
        generations in prop::collection::vec((changes(), any::<bool>(), any::<u64>()), 1..5),
        spills in any::<bool>()
    ) {
        check_saving(generations, spills);
    }

    /// Against a map: the same keys are there, and no two live keys share a slot.
    #[test]
    fn behaves_as_a_map(changes in changes()) {
        let mut table = Table::<u8>::default();
        let mut model: HashMap<(u8, Vec<u8>), u32> = HashMap::new();
        for change in changes {
            match change {
                Change::Shed => {}
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
