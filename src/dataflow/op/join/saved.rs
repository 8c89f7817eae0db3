//! The rows of a join on their way to a checkpoint or a scratch, and back.
//!
//! An entry has the rows of both sides for one key in one pane. Which of them have come out alone is not saved: it is
//! known by the clock.

use super::Joins;
use crate::data::key::{decode_rows, key_group};
use crate::dataflow::op::counters::Counters;
use crate::dataflow::op::tabled::Tabled;
use crate::join::held::{Held, HeldRow};
use crate::state::Table;
use crate::state::entries::{Entries, RestoreError, SavedEntry, take_i64};

/// How many rows that were read back make a chunk.
const RESTORED_ROWS: usize = 1 << 16;

/// By side: rows that were read back and are in no chunk yet.
#[derive(Default)]
pub struct Restored([Vec<RestoredRow>; 2]);

struct RestoredRow {
    slot: u32,
    time: i64,
    is_paired: bool,
    columns: Vec<u8>,
}

impl Joins {
    /// Takes in the rows of an entry that are not settled by `settled`, by side.
    fn take_rows(&mut self, slot: u32, value: &mut &[u8], settled: [i64; 2]) -> Result<(), RestoreError> {
        for side in [0, 1] {
            for _ in 0..take_i64(value)? {
                let (time, is_paired, length) = (take_i64(value)?, take_i64(value)? != 0, take_i64(value)? as usize);
                let (columns, rest) =
                    value.split_at_checked(length).ok_or(RestoreError::Damaged("a row is cut off"))?;
                *value = rest;
                if time >= settled[side] {
                    self.restored.0[side].push(RestoredRow { slot, time, is_paired, columns: columns.to_vec() });
                }
            }
        }
        Ok(())
    }

    fn restore_entry(&mut self, entry: &SavedEntry<'_>, settled: [i64; 2]) -> Result<(), RestoreError> {
        let mut sub = entry.sub;
        let pane = take_i64(&mut sub)?;
        let (slot, mut value) = (self.table.restore_slot(pane, entry), entry.value);
        self.panes.insert(pane);
        self.held.resize_with(self.held.len().max(slot as usize + 1), Default::default);
        self.take_rows(slot, &mut value, settled)?;
        self.table.restore_rank(slot, value)
    }
}

impl Tabled for Joins {
    type Sub = i64;

    fn table(&mut self) -> (&mut Table<i64>, impl Fn(&Table<i64>, i64, u32, &mut Entries)) {
        let (held, chunks) = (&self.held, &self.chunks);
        let (reach, pane_ns, lateness_ns) = (self.reach, self.pane_ns, self.lateness_ns);
        let encode = move |table: &Table<i64>, pane: i64, slot: u32, out: &mut Entries| {
            let expiry = reach.pane_over(pane, pane_ns).saturating_add(lateness_ns);
            let group = key_group(table.hash(slot));
            out.push(group, table.key(slot), &pane.to_be_bytes(), expiry, |value| {
                for side in [0, 1] {
                    let rows = &held[slot as usize][side];
                    value.extend((rows.len() as u64).to_be_bytes());
                    for row in rows.iter() {
                        value.extend(row.time.to_be_bytes());
                        value.extend(i64::from(row.is_paired()).to_be_bytes());
                        let length_at = value.len();
                        value.extend([0; 8]);
                        chunks[side].encode(row, value);
                        let length = (value.len() - length_at - 8) as u64;
                        value[length_at..length_at + 8].copy_from_slice(&length.to_be_bytes());
                    }
                }
            });
        };
        (&mut self.table, encode)
    }

    fn value_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(super::Chunks::bytes).sum();
        let due: usize = self.due.iter().map(super::Due::bytes).sum();
        chunks + due + self.held_bytes + self.held.capacity() * size_of::<[Held; 2]>()
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            let Some(sides) = self.held.get_mut(slot as usize) else { continue };
            for (side, held) in std::mem::take(sides).into_iter().enumerate() {
                self.held_bytes -= held.bytes();
                held.iter().for_each(|row| self.chunks[side].release(row));
            }
        }
    }

    /// What was spilled may have been settled before, and come out, or after.
    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        self.restore_entry(entry, [i64::MIN; 2])
    }

    fn take_back(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let now = self.now(entry.watermark);
        let settled = [0, 1].map(|side| self.reach.settled(side, now));
        self.restore_entry(entry, settled)
    }

    fn taken_in(&mut self) {
        for side in [0, 1] {
            let all = std::mem::take(&mut self.restored.0[side]);
            for rows in all.chunks(RESTORED_ROWS) {
                let types = self.chunks[side].types().to_vec();
                let mut encoded: Vec<&[u8]> = rows.iter().map(|r| r.columns.as_slice()).collect();
                let columns = decode_rows(&mut encoded, &types);
                let chunk = self.chunks[side].add(columns, rows.len());
                for (number, row) in rows.iter().enumerate() {
                    let held = HeldRow::new(row.time, chunk, number as u32, row.is_paired);
                    self.hold(side, row.slot, held);
                }
            }
        }
    }

    /// The slots of rows that are coming out stay as they are.
    fn may_shed(&self) -> bool {
        !self.is_firing
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
