//! Many segments as one sequence of entries: of those with the same key the newest counts.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::segment::{Cursor, SegmentError};
use crate::state::entries::Entry;

/// Merges cursors over one state, oldest segment first.
pub struct Merge {
    cursors: Vec<Cursor>,
    heap: BinaryHeap<Head>,
    /// The cursor that stands on the current entry.
    current: Option<usize>,
}

/// The entry that a cursor stands on, with its names copied out of the block.
struct Head {
    group: u16,
    key_bytes: usize,
    /// Key and sub-key.
    names: Vec<u8>,
    cursor: usize,
}

impl Head {
    fn names(&self) -> (u16, &[u8], &[u8]) {
        let (key, sub) = self.names.split_at(self.key_bytes);
        (self.group, key, sub)
    }
}

/// The least entry is the greatest head; of equal ones, the newest.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.names().cmp(&self.names()).then(self.cursor.cmp(&other.cursor))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl Merge {
    pub fn new(cursors: Vec<Cursor>) -> Result<Merge, SegmentError> {
        let mut merge = Merge { heap: BinaryHeap::new(), current: None, cursors };
        for cursor in 0..merge.cursors.len() {
            merge.push(cursor, Vec::new())?;
        }
        Ok(merge)
    }

    /// Moves a cursor on, and puts it back if it stands on an entry.
    fn push(&mut self, cursor: usize, mut names: Vec<u8>) -> Result<(), SegmentError> {
        if self.cursors[cursor].advance()? {
            let entry = self.cursors[cursor].entry();
            names.clear();
            names.extend_from_slice(entry.key);
            names.extend_from_slice(entry.sub);
            self.heap.push(Head { group: entry.group, key_bytes: entry.key.len(), names, cursor });
        }
        Ok(())
    }

    /// The next entry, tombstones included; `None` at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, SegmentError> {
        if let Some(cursor) = self.current.take() {
            self.push(cursor, Vec::new())?;
        }
        let Some(head) = self.heap.pop() else { return Ok(None) };
        while self.heap.peek().is_some_and(|older| older.names() == head.names()) {
            let older = self.heap.pop().expect("it was just seen");
            self.push(older.cursor, older.names)?;
        }
        self.current = Some(head.cursor);
        Ok(Some(self.cursors[head.cursor].entry()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::checkpoint::segment::{Compression, Segment, encode_segment};
    use crate::state::entries::{Entries, NEVER};

    proptest! {
        /// Against a map that is written to segment by segment.
        #[test]
        fn the_newest_entry_counts(
            segments in prop::collection::vec(prop::collection::btree_map((0..3u16, 0..6u8), prop::option::of(any::<u8>()), 0..12), 0..6)
        ) {
            let mut expected = BTreeMap::new();
            let mut cursors = Vec::new();
            for changes in segments {
                let mut entries = Entries::default();
                for (&(group, key), value) in &changes {
                    match value {
                        Some(v) => entries.push(group, &[key], &[], NEVER, |out| out.push(*v)),
                        None => entries.push_tombstone(group, &[key], &[]),
                    }
                }
                expected.extend(changes);
                let segment = Arc::new(Segment::open(encode_segment(&[("s", &[entries])], Compression::None)).unwrap());
                cursors.push(segment.cursor("s", |_, _| true));
            }
            let mut merge = Merge::new(cursors).unwrap();
            let mut got = Vec::new();
            while let Some(entry) = merge.next_entry().unwrap() {
                got.push(((entry.group, entry.key[0]), entry.value.map(|v| v[0])));
            }
            prop_assert_eq!(got, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
