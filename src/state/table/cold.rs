//! The entries of a table that lie in a [scratch](crate::state::scratch), and which go there next.
//!
//! When the tables of a process take more memory than they may, entries that were not used lately are
//! *spilled*: written as a checkpoint would write them, and their slots freed. Before rows are applied, the
//! operator *fetches* those that they need, which takes them out of the scratch, so that an entry is in one place.
//!
//! # With checkpoints
//! - An entry that changed in this generation is saved when it is spilled, *ahead* of the generation's end. If it
//!   changes again, it is saved again, and the later one counts. It never has to be taken back: what an
//!   operator drops of itself has expired by then.
//! - When everything is saved, the scratch is scanned. What was spilled since the generation ended is passed
//!   over, for it had been copied before; what is fetched before the scan has come to it is copied then.

use std::collections::HashMap;

use super::Table;
use super::changes::Mark;
use crate::data::Keys;
use crate::state::entries::{Entries, Entry, NEVER, RestoreError, SavedEntry};
use crate::state::scratch::{KeyValue, Space};

/// A table with no more entries spills none.
const RESIDENT_MIN: usize = 2;
/// How many entries are copied at once that are dropped unseen.
const FETCHED_AT_ONCE: usize = 4096;
/// What is spilled at least, as a part of all: each look for entries goes through many that stay.
const SPILLED_PART: usize = 32;

/// What sections of a table are told apart by.
pub trait SubKey: Ord + Copy {
    /// Appends the sub-key as its operator saves it.
    fn write(self, out: &mut Vec<u8>);
}

impl SubKey for () {
    fn write(self, _: &mut Vec<u8>) {}
}

impl SubKey for i64 {
    fn write(self, out: &mut Vec<u8>) {
        out.extend(self.to_be_bytes());
    }
}

impl SubKey for (i64, i64) {
    fn write(self, out: &mut Vec<u8>) {
        out.extend(self.0.to_be_bytes());
        out.extend(self.1.to_be_bytes());
    }
}

/// See the module's doc.
#[derive(Debug)]
pub struct Cold {
    space: Space,
    /// Whether entries can be found by their expiry.
    by_time: bool,
    /// How many entries of each section lie there.
    sections: HashMap<Vec<u8>, usize>,
    /// The slot at which the next look for entries begins.
    hand: usize,
    /// Saved before the end of the generation in which they changed.
    ahead: Entries,
    /// While everything is saved: the last key that the scan has come to.
    scanned: Option<Vec<u8>>,
}

/// An entry that was taken out of the scratch.
#[derive(Debug)]
pub struct Fetched {
    group: u16,
    key: Vec<u8>,
    sub: Vec<u8>,
    value: Vec<u8>,
}

impl Fetched {
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// As an operator takes it in. Nothing had fired of it.
    pub fn saved(&self) -> SavedEntry<'_> {
        SavedEntry { group: self.group, key: &self.key, sub: &self.sub, value: &self.value, watermark: i64::MIN }
    }
}

/// The two kinds of keys in a space: of entries, and of those of them that expire, by time.
const ENTRY: &[u8] = b"e";
const EXPIRY: &[u8] = b"t";
/// What comes before the value of an entry: generation, group, expiry, and how long the sub-key is.
const HEAD_BYTES: usize = 4 + 2 + 8 + 1;

/// Times in the order of bytes.
fn time_bytes(time: i64) -> [u8; 8] {
    ((time as u64) ^ (1 << 63)).to_be_bytes()
}

/// What lies under the key of an entry.
struct Stored<'a> {
    generation: u32,
    group: u16,
    expiry: i64,
    sub_bytes: usize,
    value: &'a [u8],
}

impl<'a> Stored<'a> {
    fn read(bytes: &'a [u8]) -> Option<Stored<'a>> {
        let (head, value) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (generation, rest) = head.split_first_chunk()?;
        let (group, rest) = rest.split_first_chunk()?;
        let (expiry, rest) = rest.split_first_chunk()?;
        Some(Stored {
            generation: u32::from_be_bytes(*generation),
            group: u16::from_be_bytes(*group),
            expiry: i64::from_be_bytes(*expiry),
            sub_bytes: usize::from(*rest.first()?),
            value,
        })
    }

    fn write(generation: u32, entry: &Entry<'_>) -> Vec<u8> {
        let value = entry.value.unwrap_or_default();
        let mut out = Vec::with_capacity(HEAD_BYTES + value.len());
        out.extend(generation.to_be_bytes());
        out.extend(entry.group.to_be_bytes());
        out.extend(entry.expiry.to_be_bytes());
        out.push(entry.sub.len() as u8);
        out.extend_from_slice(value);
        out
    }
}

impl Cold {
    pub fn new(space: Space, by_time: bool) -> Cold {
        let (sections, ahead) = (HashMap::new(), Entries::default());
        Cold { space, by_time, sections, hand: 0, ahead, scanned: None }
    }

    fn expiry_key(&self, expiry: i64, sub: &[u8], key: &[u8]) -> Option<Vec<u8>> {
        let indexed = self.by_time && expiry != NEVER;
        indexed.then(|| self.space.key(&[EXPIRY, &time_bytes(expiry), sub, key]))
    }

    /// Takes entries, by key and what lies under it, out of the scratch.
    fn take_out(&mut self, found: Vec<KeyValue>) -> Vec<(Fetched, u32, i64)> {
        let (mut out, mut deletes) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for (full, bytes) in found {
            let names = &self.space.rest(&full)[ENTRY.len()..];
            let Some(stored) = Stored::read(&bytes).filter(|s| s.sub_bytes <= names.len()) else {
                self.space.fail("state that does not fit in memory: an entry is damaged".to_string());
                continue;
            };
            let (sub, key) = names.split_at(stored.sub_bytes);
            deletes.extend(self.expiry_key(stored.expiry, sub, key));
            if let Some(left) = self.sections.get_mut(sub) {
                *left -= 1;
                if *left == 0 {
                    self.sections.remove(sub);
                }
            }
            let fetched =
                Fetched { group: stored.group, key: key.to_vec(), sub: sub.to_vec(), value: stored.value.to_vec() };
            out.push((fetched, stored.generation, stored.expiry));
            deletes.push(full);
        }
        self.space.write(&[], &deletes);
        out
    }
}

impl<S: SubKey> Table<S> {
    /// From now on, entries go to `space` when memory does not suffice; `by_time`: they are found there by
    /// their expiry as well.
    pub fn spill_to(&mut self, space: Space, by_time: bool) {
        self.cold = Some(Cold::new(space, by_time));
    }

    /// Whether section `sub` has entries that are not in memory.
    pub fn is_cold(&self, sub: S) -> bool {
        self.cold.as_ref().is_some_and(|cold| {
            let mut bytes = Vec::new();
            sub.write(&mut bytes);
            cold.sections.contains_key(&bytes)
        })
    }

    /// Whether any entry is not in memory.
    pub fn has_cold(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| !cold.sections.is_empty())
    }

    /// Fetches the entries of section `sub` that rows with these keys need; the operator restores them, and
    /// calls [`Self::fetched`].
    pub fn fetch(&mut self, sub: S, keys: &Keys, rows: std::ops::Range<usize>) -> Vec<Fetched> {
        if !self.is_cold(sub) {
            return Vec::new();
        }
        let mut bytes = Vec::new();
        sub.write(&mut bytes);
        let Some(cold) = &self.cold else { return Vec::new() };
        let missing = rows.filter(|&row| self.find(sub, keys.hash(row), keys.key(row)).is_none());
        let mut wanted: Vec<Vec<u8>> = missing.map(|row| cold.space.key(&[ENTRY, &bytes, keys.key(row)])).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let values = cold.space.get(&wanted);
        let found = wanted.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))).collect();
        self.unspill(found)
    }

    /// Fetches up to `limit` entries of section `sub`, in the order of their keys.
    pub fn fetch_section(&mut self, sub: S, limit: usize) -> Vec<Fetched> {
        let mut bytes = Vec::new();
        sub.write(&mut bytes);
        let Some(cold) = self.cold.as_ref().filter(|cold| cold.sections.contains_key(&bytes)) else {
            return Vec::new();
        };
        let found = cold.space.scan(&cold.space.key(&[ENTRY, &bytes]), None, limit);
        self.unspill(found)
    }

    /// Fetches up to `limit` entries whose expiry is not after `now`.
    pub fn fetch_expired(&mut self, now: i64, limit: usize) -> Vec<Fetched> {
        let Some(cold) = self.cold.as_ref().filter(|cold| !cold.sections.is_empty()) else { return Vec::new() };
        let index = cold.space.scan(&cold.space.key(&[EXPIRY]), None, limit);
        let names = |key: &[u8]| {
            let (time, names) = cold.space.rest(key)[EXPIRY.len()..].split_first_chunk::<8>()?;
            (*time <= time_bytes(now)).then(|| cold.space.key(&[ENTRY, names]))
        };
        let mut wanted: Vec<Vec<u8>> = index.iter().map_while(|(key, _)| names(key)).collect();
        wanted.sort_unstable();
        let values = cold.space.get(&wanted);
        let found = wanted.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))).collect();
        self.unspill(found)
    }

    fn unspill(&mut self, found: Vec<KeyValue>) -> Vec<Fetched> {
        let Some(cold) = self.cold.as_mut().filter(|_| !found.is_empty()) else { return Vec::new() };
        let is_behind = |key: &[u8], scanned: &Option<Vec<u8>>| scanned.as_deref().is_some_and(|s| key <= s);
        let behind: Vec<bool> = found.iter().map(|(key, _)| is_behind(key, &cold.scanned)).collect();
        let mut fetched = Vec::with_capacity(found.len());
        let mut copied = self.changes.take_copied();
        for ((entry, generation, expiry), behind) in cold.take_out(found).into_iter().zip(behind) {
            if self.changes.is_saving_all() && generation < self.changes.generation() && !behind {
                copied.push(entry.group, &entry.key, &entry.sub, expiry, |out| out.extend_from_slice(&entry.value));
            }
            fetched.push(entry);
        }
        self.changes.give_back(copied);
        self.is_fetching = true;
        fetched
    }

    /// What was fetched has been restored. An error in it ends the run.
    pub fn fetched(&mut self, outcome: Result<(), RestoreError>) {
        self.is_fetching = false;
        if let (Err(error), Some(cold)) = (outcome, &self.cold) {
            cold.space.fail(format!("state that does not fit in memory: {error}"));
        }
    }

    /// Copies what a section that is about to go has in the scratch, where the scan has not come to it.
    pub(super) fn doom_cold_section(&mut self, sub: S) {
        while self.changes.is_saving_all() && !self.fetch_section(sub, FETCHED_AT_ONCE).is_empty() {}
        self.is_fetching = false;
    }

    /// The entries of section `sub` that are not in memory are gone.
    pub fn drop_cold_section(&mut self, sub: S) {
        let mut bytes = Vec::new();
        sub.write(&mut bytes);
        let Some(cold) = &mut self.cold else { return };
        if cold.sections.remove(&bytes).is_some() {
            cold.space.delete_prefix(&cold.space.key(&[ENTRY, &bytes]));
        }
    }

    /// Frees slots when the table and the values of its slots, which take `value_bytes`, are to give memory back:
    /// their entries go to the scratch. The operator clears the values.
    pub fn shed(&mut self, value_bytes: usize, encode: impl Fn(&Table<S>, S, u32, &mut Entries)) -> Vec<u32> {
        let victims = self.victims(value_bytes);
        self.spill(&victims, encode);
        self.release(&victims);
        victims
    }

    /// The slots that are to be spilled.
    fn victims(&mut self, value_bytes: usize) -> Vec<u32> {
        let (bytes, slots, live) = (self.bytes() + value_bytes, self.entries.len(), self.len());
        let Some(cold) = &mut self.cold else { return Vec::new() };
        // Columns of values do not shrink: free slots are as good as free memory.
        let each_bytes = (bytes / slots.max(1)).max(1);
        let excess_bytes = cold.space.take(each_bytes * live);
        if excess_bytes == 0 || live <= RESIDENT_MIN {
            return Vec::new();
        }
        let wanted = (excess_bytes / each_bytes).max(live / SPILLED_PART).min(live - RESIDENT_MIN);
        let mut victims = Vec::with_capacity(wanted);
        // Those used since the last look get a second chance, which ends with the second round.
        for _ in 0..2 * slots {
            if victims.len() == wanted {
                break;
            }
            let slot = cold.hand % slots;
            cold.hand = slot + 1;
            let entry = &mut self.entries[slot];
            if entry.mark == Mark::VACANT {
                continue;
            }
            if !entry.home.take_recent() {
                victims.push(slot as u32);
            }
        }
        victims.sort_unstable();
        victims.dedup();
        victims
    }

    /// Writes victims to the scratch and detaches them.
    fn spill(&mut self, victims: &[u32], encode: impl Fn(&Table<S>, S, u32, &mut Entries)) {
        if victims.is_empty() {
            return;
        }
        victims.iter().for_each(|&slot| self.doom(slot));
        self.copy_due(&encode);
        let mut entries = Entries::default();
        victims.iter().for_each(|&slot| encode(self, self.sub(slot), slot, &mut entries));
        let Some(mut cold) = self.cold.take() else { return };
        let (mut puts, touched) = (Vec::with_capacity(victims.len()), self.changes.touched_mark());
        for (entry, &slot) in entries.iter().zip(victims) {
            puts.push((
                cold.space.key(&[ENTRY, entry.sub, entry.key]),
                Stored::write(self.changes.generation(), &entry),
            ));
            puts.extend(cold.expiry_key(entry.expiry, entry.sub, entry.key).map(|key| (key, Vec::new())));
            match cold.sections.get_mut(entry.sub) {
                Some(count) => *count += 1,
                None => drop(cold.sections.insert(entry.sub.to_vec(), 1)),
            }
            if self.changes.is_tracked() && self.entries[slot as usize].mark == touched {
                cold.ahead.push(entry.group, entry.key, entry.sub, entry.expiry, |out| {
                    out.extend_from_slice(entry.value.unwrap_or_default());
                });
            }
        }
        cold.space.write(&puts, &[]);
        self.cold = Some(cold);
        victims.iter().for_each(|&slot| self.detach(self.sub(slot), slot));
    }

    /// What is saved ahead of the generation's end, after what was gone before: it may have come again.
    pub fn take_ahead(&mut self) -> Entries {
        let Some(cold) = self.cold.as_mut().filter(|cold| !cold.ahead.is_empty()) else { return Entries::default() };
        let mut all = self.changes.take_gone();
        all.append(std::mem::take(&mut cold.ahead));
        all
    }

    /// Appends up to `limit` entries of the scratch, where everything is saved; tells whether that were all.
    pub(super) fn save_cold(&mut self, limit: usize, out: &mut Entries) -> bool {
        let Some(cold) = &mut self.cold else { return true };
        if !self.changes.is_saving_all() || cold.sections.is_empty() {
            // The scan may have begun before everything was fetched.
            cold.scanned = None;
            return true;
        }
        let found = cold.space.scan(&cold.space.key(&[ENTRY]), cold.scanned.as_deref(), limit);
        let is_all = found.len() < limit;
        for (full, bytes) in &found {
            let names = &cold.space.rest(full)[ENTRY.len()..];
            let Some(stored) = Stored::read(bytes).filter(|s| s.sub_bytes <= names.len()) else { continue };
            let (sub, key) = names.split_at(stored.sub_bytes);
            if stored.generation < self.changes.generation() {
                out.push(stored.group, key, sub, stored.expiry, |out| out.extend_from_slice(stored.value));
            }
        }
        cold.scanned = found.into_iter().next_back().map(|(key, _)| key).or(cold.scanned.take()).filter(|_| !is_all);
        is_all
    }
}
