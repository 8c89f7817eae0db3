//! The rows of a table by key, and those that they replaced as long as somebody may look them up.
//!
//! A table changes at places. [`Versions`] has of each key the row that holds now, since which place it holds, and the
//! rows before it. Whoever looks up does so as of a place, and says how far it is: it will not ask for an earlier place
//! again. What no reader can ask for is dropped; without readers nothing but the rows that hold is kept.
//!
//! One worker's readers and the operator that fills the table share it. It is saved with that operator.
//!
//! # Invariants
//! 1. Versions of a key lie in the order of their places, which differ.
//! 2. A reader that continues from a checkpoint is never before what it had said when the table was saved for it, so
//!    that it finds its versions: nothing is dropped while the table is being saved.
//! 3. A key that is not there, and one whose row was deleted, are told apart only by rows that come late. A deleted one
//!    is forgotten when any row that could be older is late for the table, and no reader needs what was there before.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::counters::Counters;
use super::tabled::{FETCHED_AT_ONCE, Tabled};
use crate::data::Keys;
use crate::data::key::key_group;
use crate::state::Table;
use crate::state::entries::{Entries, NEVER, RestoreError, SavedEntry, take_i64};

/// A row as [`encode_row`](crate::data::key::encode_row) wrote it; `None`: the key has none.
pub type Row = Option<Box<[u8]>>;

/// Takes the key of a version, the row until then, the row from then on, and the place.
pub type VisitVersion<'v> = dyn FnMut(&[u8], Row, Row, i64) + 'v;

/// What readers of one worker and the operator that fills the table share.
pub type Shared = Rc<RefCell<Versions>>;

/// What decides which of two rows of a key is the later one: time, partition, position.
pub type Rank = (i64, u32, u64);

/// See the module's doc.
pub struct Versions {
    /// How late a row may come; `i64::MAX`: any time.
    lateness_ns: i64,
    keys: Table<()>,
    /// By slot.
    contents: Vec<Content>,
    /// At which place a version was replaced, and its slot, the first in time before. Others may have taken the slot
    /// since.
    replaced: BinaryHeap<Reverse<(i64, u32)>>,
    /// When a deleted key may be forgotten, and its slot. Others may have taken the slot since.
    deleted: BinaryHeap<Reverse<(i64, u32)>>,
    readers: Vec<Rc<Cell<i64>>>,
    /// Heap bytes of rows.
    row_bytes: usize,
    /// How many versions there are that no longer hold.
    older: usize,
    counters: Arc<Counters>,
}

/// Since when the row of a slot holds that was never filled. No row has that place.
const UNFILLED: i64 = i64::MIN;

/// The versions of one key.
struct Content {
    /// Of the row that holds, or of the deletion.
    rank: Rank,
    /// Since when it holds.
    at: i64,
    row: Row,
    /// What held before, and since when: the oldest first. Most keys have none.
    #[expect(clippy::box_collection, reason = "most keys have none, and then it takes a third of the room")]
    older: Option<Box<Vec<(i64, Row)>>>,
}

impl Default for Content {
    fn default() -> Content {
        Content { rank: Rank::default(), at: UNFILLED, row: None, older: None }
    }
}

impl Content {
    fn as_of(&self, place: i64) -> Option<&[u8]> {
        if self.at <= place {
            return self.row.as_deref();
        }
        let older = self.older.as_ref()?;
        let after = older.partition_point(|(at, _)| *at <= place);
        older[..after].last()?.1.as_deref()
    }

    /// When the deletion may be forgotten as far as rows are concerned: the first watermark at which it may be.
    fn expiry(&self, lateness_ns: i64) -> i64 {
        let is_deleted = self.row.is_none() && self.at != UNFILLED;
        let is_over = is_deleted && self.older.is_none() && lateness_ns != i64::MAX;
        if is_over { self.rank.0.saturating_add(lateness_ns).saturating_add(1) } else { NEVER }
    }
}

fn len(row: &Row) -> usize {
    row.as_ref().map_or(0, |row| row.len())
}

impl Versions {
    pub fn new(lateness_ns: i64, counters: Arc<Counters>) -> Versions {
        Versions {
            lateness_ns,
            keys: Table::default(),
            contents: Vec::new(),
            replaced: BinaryHeap::new(),
            deleted: BinaryHeap::new(),
            readers: Vec::new(),
            row_bytes: 0,
            older: 0,
            counters,
        }
    }

    /// Adds a reader, which sets the cell to the earliest place that it can still look up.
    pub fn reader(&mut self) -> Rc<Cell<i64>> {
        let reader = Rc::new(Cell::new(i64::MIN));
        self.readers.push(reader.clone());
        reader
    }

    /// The slots of the keys `rows`, which are about to change.
    pub fn slots(&mut self, keys: &Keys, rows: Range<usize>) -> Vec<u32> {
        let mut slots = Vec::with_capacity(rows.len());
        self.fetch((), keys, rows.clone());
        self.keys.slots((), keys, rows, &mut slots);
        self.copy_due();
        let top = slots.iter().max().map_or(0, |s| *s as usize + 1);
        self.grow(top);
        slots
    }

    fn grow(&mut self, slots: usize) {
        if self.contents.len() < slots {
            self.contents.resize_with(slots, Content::default);
        }
    }

    /// From `at` on, `row` is what `slot` has, unless a row of a higher rank has come before. Gives what it had until
    /// then, if that was something else. Places never go back.
    pub fn put(&mut self, slot: u32, at: i64, rank: Rank, row: Row) -> Option<Row> {
        let content = &mut self.contents[slot as usize];
        let is_new = content.at == UNFILLED;
        if !is_new && rank < content.rank {
            return None;
        }
        content.rank = rank;
        let expiry = rank.0.saturating_add(self.lateness_ns).saturating_add(1);
        if row.is_none() && self.lateness_ns != i64::MAX && expiry != NEVER {
            self.deleted.push(Reverse((expiry, slot)));
        }
        if content.row == row {
            if is_new {
                content.at = at;
            }
            return None;
        }
        self.row_bytes += len(&row);
        let before = std::mem::replace(&mut content.row, row);
        let since = std::mem::replace(&mut content.at, at);
        // A row that held for no time at all was never to be seen.
        let was_seen = !is_new && since < at;
        if was_seen && !self.readers.is_empty() {
            content.older.get_or_insert_default().push((since, before.clone()));
            self.older += 1;
            self.replaced.push(Reverse((at, slot)));
        } else {
            self.row_bytes -= len(&before);
        }
        Some(before)
    }

    /// The slots of the keys of a reader's rows, where there are any.
    pub fn find(&mut self, keys: &Keys, rows: Range<usize>, found: &mut Vec<Option<u32>>) {
        self.fetch((), keys, rows.clone());
        for row in rows {
            let slot = self.keys.find((), keys.hash(row), keys.key(row));
            slot.into_iter().for_each(|slot| self.keys.see(slot));
            found.push(slot);
        }
    }

    /// The row that a slot had at a place.
    pub fn row(&self, slot: u32, place: i64) -> Option<&[u8]> {
        self.contents[slot as usize].as_of(place)
    }

    /// Visits every version, those of a key in order. What is not in memory is fetched.
    pub fn for_each(&mut self, visit: &mut VisitVersion<'_>) {
        self.fetch_section(());
        for slot in self.keys.section(()) {
            let (key, content) = (self.keys.key(slot), &self.contents[slot as usize]);
            let mut before = None;
            for (at, row) in content.older.iter().flat_map(|older| older.iter()) {
                visit(key, std::mem::replace(&mut before, row.clone()), row.clone(), *at);
            }
            if content.at != UNFILLED {
                visit(key, before, content.row.clone(), content.at);
            }
        }
    }

    /// Drops what nobody can ask for any more, when everything before `watermark` has come.
    pub fn tidy(&mut self, watermark: i64) {
        if self.keys.is_saving() {
            return;
        }
        let asked = self.readers.iter().map(|r| r.get()).min().unwrap_or(i64::MAX);
        while let Some(&Reverse((_, slot))) = self.replaced.peek().filter(|Reverse((at, _))| *at <= asked) {
            self.replaced.pop();
            self.drop_older(slot, asked);
        }
        self.forget(watermark);
    }

    /// Drops the versions of a slot that are not to be seen at `place` or later.
    fn drop_older(&mut self, slot: u32, place: i64) {
        let content = &mut self.contents[slot as usize];
        let Some(older) = &mut content.older else { return };
        let kept_from = match content.at <= place {
            true => older.len(),
            false => older.partition_point(|(at, _)| *at <= place).saturating_sub(1),
        };
        self.older -= kept_from;
        self.row_bytes -= older.drain(..kept_from).map(|(_, row)| len(&row)).sum::<usize>();
        if older.is_empty() {
            content.older = None;
            let expiry = content.expiry(self.lateness_ns);
            if expiry != NEVER {
                self.deleted.push(Reverse((expiry, slot)));
            }
        }
    }

    /// Forgets deleted keys.
    fn forget(&mut self, watermark: i64) {
        let mut gone = Vec::new();
        while let Some(&Reverse((expiry, slot))) =
            self.deleted.peek().filter(|Reverse((expiry, _))| *expiry <= watermark)
        {
            self.deleted.pop();
            // One that is not live any more has no expiry either.
            if self.contents[slot as usize].expiry(self.lateness_ns) == expiry {
                gone.push(slot);
            }
        }
        gone.sort_unstable();
        gone.dedup();
        for &slot in &gone {
            self.keys.remove((), key_group(self.keys.hash(slot)), slot);
        }
        self.copy_due();
        self.keys.release(&gone);
        self.clear(&gone);
        // What is not in memory is forgotten where it lies.
        while !self.keys.fetch_expired(watermark, FETCHED_AT_ONCE).is_empty() {
            self.keys.fetched(Ok(()));
        }
    }

    /// Live keys with versions that no longer hold, and all heap bytes.
    pub fn state(&self) -> (usize, usize) {
        (self.keys.len() + self.older, self.keys.bytes() + self.value_bytes())
    }
}

fn write_row(row: &Row, out: &mut Vec<u8>) {
    out.extend(row.as_ref().map_or(-1, |row| row.len() as i64).to_be_bytes());
    out.extend(row.as_deref().unwrap_or_default());
}

fn read_row(bytes: &mut &[u8]) -> Result<Row, RestoreError> {
    let length = take_i64(bytes)?;
    if length < 0 {
        return Ok(None);
    }
    let (row, rest) = bytes.split_at_checked(length as usize).ok_or(RestoreError::Damaged("a row is cut off"))?;
    *bytes = rest;
    Ok(Some(row.into()))
}

/// Of each key, its versions.
impl Tabled for Versions {
    type Sub = ();

    fn table(&mut self) -> (&mut Table<()>, impl Fn(&Table<()>, (), u32, &mut Entries)) {
        let (contents, lateness_ns) = (&self.contents, self.lateness_ns);
        let encode = move |keys: &Table<()>, (), slot: u32, out: &mut Entries| {
            let content = &contents[slot as usize];
            out.push(key_group(keys.hash(slot)), keys.key(slot), &[], content.expiry(lateness_ns), |value| {
                let (time, partition, position) = content.rank;
                let words = [time, i64::from(partition), position as i64, content.at];
                words.iter().for_each(|word| value.extend(word.to_be_bytes()));
                write_row(&content.row, value);
                let older = content.older.as_ref().map_or(&[][..], |older| older.as_slice());
                value.extend((older.len() as i64).to_be_bytes());
                for (at, row) in older {
                    value.extend(at.to_be_bytes());
                    write_row(row, value);
                }
            });
        };
        (&mut self.keys, encode)
    }

    fn value_bytes(&self) -> usize {
        let older = self.older * size_of::<(i64, Row)>() + self.replaced.capacity() * 16 + self.deleted.len() * 16;
        self.contents.capacity() * size_of::<Content>() + self.row_bytes + older
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            let content = std::mem::take(&mut self.contents[slot as usize]);
            self.row_bytes -= len(&content.row);
            let older = content.older.map_or(Vec::new(), |older| *older);
            self.older -= older.len();
            self.row_bytes -= older.iter().map(|(_, row)| len(row)).sum::<usize>();
        }
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, mut value) = (self.keys.restore_slot((), entry), entry.value);
        self.grow(slot as usize + 1);
        let value = &mut value;
        let rank = (take_i64(value)?, take_i64(value)? as u32, take_i64(value)? as u64);
        let (at, row) = (take_i64(value)?, read_row(value)?);
        let mut older = Vec::new();
        for _ in 0..take_i64(value)? {
            older.push((take_i64(value)?, read_row(value)?));
        }
        self.row_bytes += len(&row) + older.iter().map(|(_, row)| len(row)).sum::<usize>();
        self.older += older.len();
        let places = older.iter().skip(1).map(|(at, _)| *at).chain([at]);
        self.replaced.extend(places.take(older.len()).map(|at| Reverse((at, slot))));
        let content = Content { rank, at, row, older: (!older.is_empty()).then(|| Box::new(older)) };
        let expiry = content.expiry(self.lateness_ns);
        if expiry != NEVER {
            self.deleted.push(Reverse((expiry, slot)));
        }
        self.contents[slot as usize] = content;
        self.keys.restore_rank(slot, value)
    }

    fn is_by_time(&self) -> bool {
        self.lateness_ns != i64::MAX
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::key::encode_keys;
    use crate::data::{Type, Value, array::array_of_values};
    use crate::state::entries::{Durable, Worker};
    use proptest::prelude::*;

    /// A row of a key that takes effect `after` the one before, `late` by so much.
    #[derive(Clone, Debug)]
    struct Put {
        key: i64,
        after: i64,
        late: i64,
        row: Option<u8>,
        /// How far the reader is behind, if it moves now.
        reads: Option<i64>,
        saves: bool,
    }

    fn puts() -> impl Strategy<Value = Vec<Put>> {
        let late = prop_oneof![Just(0), 0..20i64];
        let one =
            (0..4i64, 0..6i64, late, prop::option::of(0..5u8), prop::option::of(0..15i64), prop::bool::weighted(0.1));
        let put = one.prop_map(|(key, after, late, row, reads, saves)| Put { key, after, late, row, reads, saves });
        prop::collection::vec(put, 1..60)
    }

    fn keys(key: i64) -> Keys {
        let ty = Type::Int.required();
        encode_keys(&[(array_of_values(&ty, &[Value::Int(key)]), ty)], 1)
    }

    /// What came of a key up to a place and ranks highest, deletions included.
    fn batch_answer(rows: &[(i64, i64, Rank, Option<u8>)], key: i64, place: i64) -> Option<u8> {
        let of_key = rows.iter().filter(|(k, at, ..)| *k == key && *at <= place);
        of_key.max_by_key(|(_, _, rank, _)| *rank).and_then(|(.., row)| *row)
    }

    fn found(versions: &mut Versions, key: i64, place: i64) -> Option<u8> {
        let mut slots = Vec::new();
        versions.find(&keys(key), 0..1, &mut slots);
        versions.row(slots[0]?, place).map(|row| row[0])
    }

    /// As another worker would have it from a checkpoint.
    fn restored(versions: &mut Versions, watermark: i64) -> Versions {
        let mut entries = Entries::default();
        versions.begin_save(true);
        while !versions.save(3, &mut entries) {}
        let mut next = Versions::new(versions.lateness_ns, Arc::default());
        for entry in entries.iter().filter(|e| e.expiry > watermark) {
            let Some(value) = entry.value else { continue };
            let saved = SavedEntry { group: entry.group, key: entry.key, sub: entry.sub, value, watermark };
            next.restore(&saved).unwrap();
        }
        next.restored();
        next
    }

    proptest! {
        /// Whoever looks up at a place not before what it has said finds what a look at all rows would find, and what is
        /// kept in the end is what holds then.
        #[test]
        fn readers_find_what_held(puts in puts(), lateness in prop_oneof![Just(i64::MAX), 0..20i64]) {
            let mut versions = Versions::new(lateness, Arc::default());
            versions.track(Worker::ONLY);
            let mut reader = versions.reader();
            let (mut place, mut rows) = (100, Vec::new());
            for (i, put) in puts.iter().enumerate() {
                place += put.after;
                versions.tidy(place);
                if put.late > lateness {
                    continue;
                }
                let rank = (place - put.late, 0, i as u64);
                let slot = versions.slots(&keys(put.key), 0..1)[0];
                versions.put(slot, place, rank, put.row.map(|row| Box::from([row])));
                rows.push((put.key, place, rank, put.row));
                if let Some(behind) = put.reads {
                    reader.set(reader.get().max(place - behind));
                }
                if put.saves {
                    let position = reader.get();
                    versions = restored(&mut versions, place);
                    versions.track(Worker::ONLY);
                    reader = versions.reader();
                    reader.set(position);
                }
                for key in 0..4 {
                    for at in reader.get().max(90)..=place {
                        prop_assert_eq!(found(&mut versions, key, at), batch_answer(&rows, key, at), "{} at {}", key, at);
                    }
                }
            }
            reader.set(i64::MAX);
            versions.tidy(if lateness == i64::MAX { place } else { place + lateness + 100 });
            let held = (0..4).filter(|key| batch_answer(&rows, *key, place).is_some()).count();
            let kept: std::collections::BTreeSet<i64> = rows.iter().map(|(key, ..)| *key).collect();
            let remembered = if lateness == i64::MAX { kept.len() } else { held };
            prop_assert_eq!(versions.state().0, remembered);
            prop_assert_eq!(versions.row_bytes, held);
        }
    }
}
