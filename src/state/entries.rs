//! Entries of keyed state on their way to a checkpoint and back.
//!
//! An entry is `(key group, key, sub-key) -> value`, or a tombstone for one that is gone. Operators
//! append theirs to [`Entries`] at the end of an epoch and are given [`SavedEntry`]s at a restart; how
//! they lie on disk in between is not known here.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::data::key::group_owner;
use crate::expr::aggregate::StateError;
use crate::state::scratch::Spill;

/// The group of entries that belong to no key: what one worker held as a whole, such as rows that wait.
/// Every worker is given those of all workers, and takes what it owns.
pub const EVERY_WORKER: u16 = u16::MAX;

/// An expiry that never comes.
pub const NEVER: i64 = i64::MAX;

/// Entries of one state, in the order in which they were appended.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// Keys, sub-keys and values, one entry after the other.
    data: Vec<u8>,
    index: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    key_bytes: u32,
    sub_bytes: u32,
    /// `None`: a tombstone.
    value_bytes: Option<u32>,
    expiry: i64,
    group: u16,
}

/// An entry, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub group: u16,
    pub key: &'a [u8],
    pub sub: &'a [u8],
    /// The entry is dead once the watermark of its state has reached this; [`NEVER`] if time has no
    /// bearing on it.
    pub expiry: i64,
    /// `None`: the entry is gone.
    pub value: Option<&'a [u8]>,
}

/// An entry as an operator is given it back.
#[derive(Clone, Copy, Debug)]
pub struct SavedEntry<'a> {
    pub group: u16,
    pub key: &'a [u8],
    pub sub: &'a [u8],
    pub value: &'a [u8],
    /// Where the [clock](Durable::clock) stood of the worker that saved the entry.
    pub watermark: i64,
}

impl Entries {
    /// Appends an entry whose value `write` appends to what it is given.
    pub fn push(&mut self, group: u16, key: &[u8], sub: &[u8], expiry: i64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.data.len();
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(sub);
        let value = self.data.len();
        write(&mut self.data);
        let value_bytes = Some((self.data.len() - value) as u32);
        self.index.push(Place {
            start,
            key_bytes: key.len() as u32,
            sub_bytes: sub.len() as u32,
            value_bytes,
            expiry,
            group,
        });
    }

    /// Lengthens the value of the entry that was appended last, which is no tombstone.
    pub fn extend_last(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.data.len();
        write(&mut self.data);
        let value_bytes = self.index.last_mut().and_then(|place| place.value_bytes.as_mut());
        *value_bytes.expect("an entry was appended") += (self.data.len() - before) as u32;
    }

    /// Appends that an entry is gone.
    pub fn push_tombstone(&mut self, group: u16, key: &[u8], sub: &[u8]) {
        let start = self.data.len();
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(sub);
        let (key_bytes, sub_bytes) = (key.len() as u32, sub.len() as u32);
        self.index.push(Place { start, key_bytes, sub_bytes, value_bytes: None, expiry: NEVER, group });
    }

    /// Adds the entries of another.
    pub fn append(&mut self, other: Entries) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let base = self.data.len();
        self.data.extend(other.data);
        self.index.extend(other.index.into_iter().map(|p| Place { start: p.start + base, ..p }));
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of keys, sub-keys and values.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The entries in the order in which they were appended.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.index.len() as u32).map(|i| self.entry(i))
    }

    fn entry(&self, index: u32) -> Entry<'_> {
        let place = &self.index[index as usize];
        let (key, rest) = self.data[place.start..].split_at(place.key_bytes as usize);
        let (sub, rest) = rest.split_at(place.sub_bytes as usize);
        let value = place.value_bytes.map(|bytes| &rest[..bytes as usize]);
        Entry { group: place.group, key, sub, expiry: place.expiry, value }
    }
}

impl Entry<'_> {
    /// By group, key and sub-key.
    pub fn order(&self, other: &Entry<'_>) -> Ordering {
        (self.group, self.key, self.sub).cmp(&(other.group, other.key, other.sub))
    }
}

/// The entries of all parts in the order of (group, key, sub-key); of several for one place, the last of the
/// last part.
pub fn sorted(parts: &[Entries]) -> impl Iterator<Item = Entry<'_>> {
    let entry = |p: &Ordinal| parts[p.part as usize].entry(p.index);
    let mut order: Vec<Ordinal> = Vec::with_capacity(parts.iter().map(Entries::len).sum());
    for (part, entries) in parts.iter().enumerate() {
        order.extend((0..entries.len() as u32).map(|index| {
            let prefix = prefix(&entries.entry(index));
            Ordinal { prefix, part: part as u32, index }
        }));
    }
    // Few comparisons need to look at the entries, which lie anywhere.
    order.sort_unstable_by(|a, b| {
        let by_place = a.prefix.cmp(&b.prefix).then_with(|| entry(a).order(&entry(b)));
        by_place.then((a.part, a.index).cmp(&(b.part, b.index)))
    });
    let is_next = |a: &Ordinal, b: &Ordinal| a.prefix != b.prefix || entry(a).order(&entry(b)).is_ne();
    let is_last = |i: usize| order.get(i + 1).is_none_or(|next| is_next(&order[i], next));
    let last: Vec<Ordinal> = (0..order.len()).filter(|&i| is_last(i)).map(|i| order[i]).collect();
    last.into_iter().map(move |p| parts[p.part as usize].entry(p.index))
}

/// Where an entry lies among parts, with the beginning of what it is ordered by.
#[derive(Clone, Copy)]
struct Ordinal {
    prefix: [u64; 2],
    part: u32,
    index: u32,
}

/// Group and first bytes of the key, in the order of entries; equal ones say nothing.
fn prefix(entry: &Entry<'_>) -> [u64; 2] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&entry.group.to_be_bytes());
    let len = entry.key.len().min(14);
    bytes[2..2 + len].copy_from_slice(&entry.key[..len]);
    let value = u128::from_be_bytes(bytes);
    [(value >> 64) as u64, value as u64]
}

/// A saved entry that cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("a saved entry is damaged: {0}")]
    Damaged(&'static str),
    #[error(transparent)]
    Value(#[from] StateError),
}

/// Takes a number off the front of a saved entry.
pub fn take_i64(bytes: &mut &[u8]) -> Result<i64, RestoreError> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or(RestoreError::Damaged("it is cut off"))?;
    *bytes = rest;
    Ok(i64::from_be_bytes(*head))
}

/// A worker among all workers of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    pub index: usize,
    pub peers: usize,
}

impl Worker {
    /// Of a run with a single one.
    pub const ONLY: Worker = Worker { index: 0, peers: 1 };

    pub fn owns(self, group: u16) -> bool {
        group_owner(group, self.peers) == self.index
    }
}

/// State that is saved and restored entry by entry.
///
/// # Contract
/// - Nothing is saved before [`track`](Self::track), which comes before the first row.
/// - `begin_save` marks the end of an epoch; `save` is then called until it says that it is done. Rows of
///   the next epoch may be applied in between: what is saved is as it was at `begin_save`.
/// - What `save` appends, given back to `restore` in any order and to any worker that owns the group,
///   continued from the watermark it was saved at, gives the rows that this state would have given.
pub trait Durable {
    /// From now on, remember what changes. `worker` is the one that this state is part of.
    fn track(&mut self, worker: Worker);

    /// The clock that the expiry of entries is on, when everything up to `watermark` has fired.
    fn clock(&self, watermark: i64) -> i64 {
        watermark
    }

    /// What has changed since the last call is to be saved, or everything if `full`.
    fn begin_save(&mut self, full: bool);

    /// Appends up to about `limit` entries; tells whether that were all.
    fn save(&mut self, limit: usize, out: &mut Entries) -> bool;

    /// About so many entries are going to be restored.
    fn expect(&mut self, entries: usize);

    /// Takes an entry in.
    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError>;

    /// All entries have been restored.
    fn restored(&mut self) {}

    /// From now on, entries may be [shed](Self::shed).
    fn spill_to(&mut self, spill: &Arc<Spill>);

    /// Writes entries to the scratch where the process's tables take more memory than they may.
    fn shed(&mut self);

    /// Entries of the current epoch that are saved before it ends. One that changes again is saved again, and
    /// the later one counts.
    fn take_ahead(&mut self) -> Entries;
}
