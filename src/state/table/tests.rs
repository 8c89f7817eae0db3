//! The table against maps.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::data::batch::hash;
use crate::state::entries::NEVER;

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

/// A table with a number for each slot, as an operator has its values.
#[derive(Default)]
struct Numbered {
    table: Table<u8>,
    numbers: Vec<u32>,
    next: u32,
}

/// Section and key -> number.
type Numbers = BTreeMap<(u8, Vec<u8>), u32>;

fn encoder(numbers: &[u32]) -> impl Fn(&Table<u8>, u8, u32, &mut Entries) {
    move |table, sub, slot, out| {
        let number = numbers[slot as usize];
        out.push(0, table.key(slot), &[sub], NEVER, |value| value.extend(number.to_be_bytes()));
    }
}

impl Numbered {
    /// Makes a change as operators do; an insertion gives its slot a new number.
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Insert(s, k) => {
                let (slot, _) = self.table.slot(*s, hash(k), k);
                self.table.copy_due(encoder(&self.numbers));
                self.numbers.resize(self.numbers.len().max(slot as usize + 1), 0);
                self.next += 1;
                self.numbers[slot as usize] = self.next;
            }
            Change::Remove(s, k) => {
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

    fn live(&self) -> Numbers {
        let of = |(s, slots): (u8, &Slots)| slots.iter().map(|l| (s, l)).collect::<Vec<_>>();
        let number = |(s, l): (u8, u32)| ((s, self.table.key(l).to_vec()), self.numbers[l as usize]);
        self.table.range(..).flat_map(of).map(number).collect()
    }

    /// A slice of one entry; tells whether that were all.
    fn save(&mut self, out: &mut Entries) -> bool {
        self.table.save(1, out, encoder(&self.numbers))
    }
}

/// What was saved; every key once.
fn saved(entries: &Entries) -> Numbers {
    let number = |e: crate::state::entries::Entry<'_>| {
        u32::from_be_bytes(e.value.expect("no tombstones").try_into().expect("four bytes"))
    };
    let all: Numbers = entries.sorted().map(|e| ((e.sub[0], e.key.to_vec()), number(e))).collect();
    assert_eq!(all.len(), entries.len(), "a key is saved once");
    all
}

proptest! {
    /// Whatever changes while it is saved: what is saved is what was touched in the generation, or all, as it
    /// was at its end.
    #[test]
    fn saves_what_was_there(
        generations in prop::collection::vec((changes(), any::<bool>(), any::<u64>()), 1..5)
    ) {
        let mut state = Numbered::default();
        state.table.track_changes();
        let mut before = Numbers::new();
        let mut saving: Option<(Numbers, Entries)> = None;
        for (changes, full, slices) in generations {
            for (i, change) in changes.iter().enumerate() {
                state.apply(change);
                if slices >> (i % 64) & 1 == 1 && let Some((expected, mut entries)) = saving.take() {
                    if state.save(&mut entries) {
                        prop_assert_eq!(saved(&entries), expected);
                    } else {
                        saving = Some((expected, entries));
                    }
                }
            }
            if let Some((expected, mut entries)) = saving.take() {
                while !state.save(&mut entries) {}
                prop_assert_eq!(saved(&entries), expected);
            }
            let now = state.live();
            let changed = now.iter().filter(|(k, n)| full || before.get(*k) != Some(*n));
            saving = Some((changed.map(|(k, n)| (k.clone(), *n)).collect(), Entries::default()));
            state.table.begin_save(full);
            before = now;
        }
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
