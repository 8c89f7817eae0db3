//! Where entries lie that do not fit in memory, and how much memory there is.
//!
//! A scratch is an ordered map on a local disk. It belongs to one process while that is up: it is empty at the
//! start, is never read by another run, and no part of recovery, which knows checkpoints alone. All tables
//! of the process share it, each under a prefix of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::options::format_bytes;
use super::store::StoreError;

/// A key, and what lies under it.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// An ordered map, most likely larger than memory.
///
/// # Contract
/// - Keys with one prefix are read and written by one thread.
/// - `write` sees to its puts and then to its deletions.
pub trait Scratch: Send + Sync {
    /// The values of `keys`, which are sorted and differ.
    fn get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    fn write(&self, puts: &[KeyValue], deletes: &[Vec<u8>]) -> Result<(), StoreError>;

    /// Up to `limit` entries, in order, whose keys begin with `prefix` and are after `after`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>, StoreError>;

    /// Deletes all entries whose keys begin with `prefix`.
    fn delete_prefix(&self, prefix: &[u8]) -> Result<(), StoreError>;
}

/// The first key after all that begin with `prefix`; `None` if nothing is after them.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// How much memory the tables of a process may take, and what they take.
#[derive(Debug)]
pub struct Memory {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    /// The part of it that cannot be given back.
    held_bytes: AtomicUsize,
    tables: AtomicUsize,
}

/// Adds what a number has become. Wraps around when that is less, and back again.
fn change(sum: &AtomicUsize, before: usize, now: usize) -> usize {
    sum.fetch_add(now.wrapping_sub(before), Relaxed).wrapping_add(now.wrapping_sub(before))
}

impl Memory {
    pub fn new(limit_bytes: usize) -> Memory {
        let (used_bytes, held_bytes, tables) = Default::default();
        Memory { limit_bytes, used_bytes, held_bytes, tables }
    }

    /// A table that took `before` bytes takes `now`; how many of them it is to give back. A table with less
    /// than its equal share gives nothing: one that has more will.
    fn take(&self, before: usize, now: usize) -> usize {
        let used = change(&self.used_bytes, before, now);
        let share = self.limit_bytes / self.tables.load(Relaxed).max(1);
        used.saturating_sub(self.limit_bytes).min(now.saturating_sub(share))
    }
}

/// What the tables of a process share.
pub struct Spill {
    scratch: Arc<dyn Scratch>,
    memory: Memory,
    spaces: AtomicU32,
    /// Entries that were written to the scratch, and that were read back.
    written: AtomicUsize,
    fetched: AtomicUsize,
    fail: Box<dyn Fn(String) + Send + Sync>,
}

impl Spill {
    /// `fail` ends the run: without its scratch it cannot go on.
    pub fn new(scratch: Arc<dyn Scratch>, limit_bytes: usize, fail: impl Fn(String) + Send + Sync + 'static) -> Spill {
        let (written, fetched) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let memory = Memory::new(limit_bytes);
        Spill { scratch, memory, spaces: AtomicU32::new(0), written, fetched, fail: Box::new(fail) }
    }

    /// A space for one more table.
    pub fn space(self: &Arc<Self>) -> Space {
        self.memory.tables.fetch_add(1, Relaxed);
        let prefix = self.spaces.fetch_add(1, Relaxed).to_be_bytes();
        Space { spill: self.clone(), prefix, taken_bytes: 0 }
    }

    /// An account of memory that cannot be given back.
    pub fn hold(self: &Arc<Self>) -> Hold {
        Hold { spill: self.clone(), bytes: 0 }
    }

    /// How many entries were written to the scratch, and how many read back.
    pub fn counts(&self) -> (usize, usize) {
        (self.written.load(Relaxed), self.fetched.load(Relaxed))
    }
}

/// Memory that cannot be given back. What others can give back makes room for it; more than all there is ends the run.
pub struct Hold {
    spill: Arc<Spill>,
    bytes: usize,
}

impl Hold {
    /// It is so much now.
    pub fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        let memory = &self.spill.memory;
        change(&memory.used_bytes, before, bytes);
        let held = change(&memory.held_bytes, before, bytes);
        if held > memory.limit_bytes && bytes > before {
            let limit = format_bytes(memory.limit_bytes as u64);
            (self.spill.fail)(format!(
                "tables that follow from tables need more than the {limit} that the memory budget leaves for state: \
                 they cannot go to disk"
            ));
        }
    }
}

/// The part of a scratch that one table has, and its account of memory. What fails ends the run, and reads as
/// if there was nothing.
pub struct Space {
    spill: Arc<Spill>,
    prefix: [u8; 4],
    taken_bytes: usize,
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space").field("prefix", &self.prefix).finish()
    }
}

impl Space {
    /// The table takes so many bytes now; how many of them it is to give back.
    pub fn take(&mut self, bytes: usize) -> usize {
        let before = std::mem::replace(&mut self.taken_bytes, bytes);
        self.spill.memory.take(before, bytes)
    }

    /// A key of this space.
    pub fn key(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = self.prefix.to_vec();
        parts.iter().for_each(|part| key.extend_from_slice(part));
        key
    }

    /// What a key has after the space's prefix.
    pub fn rest<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        &key[self.prefix.len()..]
    }

    /// See [`Scratch::get`].
    pub fn get(&self, keys: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
        let found = self.checked(self.spill.scratch.get(keys));
        self.spill.fetched.fetch_add(found.iter().flatten().count(), Relaxed);
        found
    }

    /// See [`Scratch::write`].
    pub fn write(&self, puts: &[KeyValue], deletes: &[Vec<u8>]) {
        self.spill.written.fetch_add(puts.len(), Relaxed);
        self.checked(self.spill.scratch.write(puts, deletes));
    }

    /// See [`Scratch::scan`].
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<KeyValue> {
        self.checked(self.spill.scratch.scan(prefix, after, limit))
    }

    /// See [`Scratch::delete_prefix`].
    pub fn delete_prefix(&self, prefix: &[u8]) {
        self.checked(self.spill.scratch.delete_prefix(prefix));
    }

    /// Ends the run.
    pub fn fail(&self, reason: String) {
        (self.spill.fail)(reason);
    }

    fn checked<T: Default>(&self, outcome: Result<T, StoreError>) -> T {
        outcome.unwrap_or_else(|error| {
            self.fail(format!("state that does not fit in memory: {error}"));
            T::default()
        })
    }
}

/// A scratch in memory, for tests.
#[derive(Debug, Default)]
pub struct MemoryScratch {
    entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryScratch {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scratch for MemoryScratch {
    fn get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let entries = self.entries();
        Ok(keys.iter().map(|key| entries.get(key).cloned()).collect())
    }

    fn write(&self, puts: &[KeyValue], deletes: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut entries = self.entries();
        entries.extend(puts.iter().cloned());
        deletes.iter().for_each(|key| drop(entries.remove(key)));
        Ok(())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        let entries = self.entries();
        let from = after.map_or(prefix, |after| after.max(prefix));
        let range = entries.range(from.to_vec()..).skip_while(|(key, _)| Some(key.as_slice()) == after);
        let own = range.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(own.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn delete_prefix(&self, prefix: &[u8]) -> Result<(), StoreError> {
        self.entries().retain(|key, _| !key.starts_with(prefix));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_prefixes() {
        assert_eq!(prefix_end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(prefix_end(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255]), None);
    }

    #[test]
    fn the_one_that_has_more_gives() {
        let memory = Memory::new(100);
        memory.tables.store(2, Relaxed);
        assert_eq!(memory.take(0, 30), 0);
        assert_eq!(memory.take(0, 80), 10);
        assert_eq!(memory.take(30, 40), 0);
        assert_eq!(memory.take(80, 60), 0);
    }
}
