//! The rows of a table when its input has ended.
//!
//! All of a table's changes come to one worker, which adds them up: what is left in the end leaves in the order of
//! the table's key. All rows have one time, that of the latest change of any of them: so the order of their keys is
//! that of the output, too.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::counters::Counters;
use super::order::net_changes;
use super::ordered::InOrder;
use super::tabled::Tabled;
use super::window::{EMIT_ROWS, send_in_slices};
use crate::data::key::{decode_rows, encode_keys, encode_row, key_group};
use crate::data::{Batch, DataType, Keys, Seq};
use crate::dataflow::align::Outlet;
use crate::state::Table;
use crate::state::entries::{EVERY_WORKER, Entries, NEVER, RestoreError, SavedEntry, take_i64};

/// See the module's doc.
pub struct Snapshot {
    /// The column `$diff`.
    diff: usize,
    /// The columns of the table's key.
    by: Vec<usize>,
    /// Types of the input's columns.
    types: Vec<DataType>,
    /// The group of the operator's own key, which is the same for all: one worker has them.
    group: u16,
    keys: Table<()>,
    /// By slot: the rows of a key, one unless what the table is made of has several.
    held: Vec<Vec<HeldRow>>,
    row_bytes: usize,
    counters: Arc<Counters>,
}

struct HeldRow {
    bytes: Box<[u8]>,
    /// How often it came more than it went.
    count: i64,
    /// When that changed last.
    time: i64,
}

impl Snapshot {
    pub fn new(diff: usize, by: Vec<usize>, types: Vec<DataType>, counters: Arc<Counters>) -> Snapshot {
        let (keys, held) = (Table::default(), Vec::new());
        Snapshot { diff, by, types, group: EVERY_WORKER, keys, held, row_bytes: 0, counters }
    }

    fn grow(&mut self, slot: u32) {
        if self.held.len() <= slot as usize {
            self.held.resize_with(slot as usize + 1, Vec::new);
        }
    }

    /// Adds a change of a row.
    fn add(&mut self, slot: u32, bytes: &[u8], diff: i64, time: i64) {
        let rows = &mut self.held[slot as usize];
        match rows.iter().position(|row| *row.bytes == *bytes) {
            Some(at) => {
                rows[at].count += diff;
                rows[at].time = time;
                if rows[at].count == 0 {
                    self.row_bytes -= rows.swap_remove(at).bytes.len();
                }
            }
            None => {
                self.row_bytes += bytes.len();
                rows.push(HeldRow { bytes: bytes.into(), count: diff, time });
            }
        }
    }

    /// A key of which nothing is left goes.
    fn drop_empty(&mut self, slots: &mut Vec<u32>) {
        slots.sort_unstable();
        slots.dedup();
        slots.retain(|slot| self.held[*slot as usize].is_empty());
        for &slot in slots.iter() {
            self.keys.remove((), self.group, slot);
        }
        self.copy_due();
        self.keys.release(slots);
    }

    fn emit(&mut self, out: &mut dyn Outlet<Batch>) {
        self.fetch_section(());
        let mut slots: Vec<u32> = self.keys.section(()).collect();
        slots.sort_by(|a, b| self.keys.key(*a).cmp(self.keys.key(*b)));
        let latest = slots.iter().flat_map(|slot| self.present(*slot)).map(|row| row.time).max().unwrap_or(i64::MIN);
        for slots in slots.chunks(EMIT_ROWS) {
            send_in_slices(self.batch(slots, latest), &self.counters, out);
        }
        self.keys.doom_section(());
        self.copy_due();
        let slots = self.keys.remove_section(());
        self.clear(&slots);
    }

    fn present(&self, slot: u32) -> impl Iterator<Item = &HeldRow> {
        self.held[slot as usize].iter().filter(|row| row.count > 0)
    }

    /// The rows of keys, all at one time.
    fn batch(&self, slots: &[u32], time: i64) -> Batch {
        let (mut rows, mut ranks): (Vec<&[u8]>, Vec<u64>) = (Vec::new(), Vec::new());
        let (mut data, mut offsets) = (Vec::new(), vec![0]);
        for &slot in slots {
            let mut of_key: Vec<&HeldRow> = self.present(slot).collect();
            of_key.sort_by(|a, b| a.bytes.cmp(&b.bytes));
            let each = of_key.iter().flat_map(|row| std::iter::repeat_n(&*row.bytes, row.count as usize));
            for (rank, row) in each.enumerate() {
                rows.push(row);
                ranks.push(rank as u64);
                data.extend_from_slice(self.keys.key(slot));
                offsets.push(data.len() as u32);
            }
        }
        Batch {
            time: vec![time; rows.len()].into(),
            columns: decode_rows(&mut rows, &self.types),
            seq: Some(Seq { partition: vec![0; ranks.len()].into(), position: ranks.into() }),
            keys: Some(Arc::new(Keys::new(data, offsets))),
            ..Batch::default()
        }
    }
}

impl InOrder for Snapshot {
    fn rows(&mut self, batch: &Batch, _: &mut dyn Outlet<Batch>) {
        let own = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let typed = |i: usize| -> (ArrayRef, DataType) { (batch.columns[i].clone(), self.types[i].clone()) };
        let keys = encode_keys(&self.by.iter().map(|i| typed(*i)).collect::<Vec<_>>(), batch.len());
        let columns: Vec<(ArrayRef, DataType)> = (0..self.types.len()).map(typed).collect();
        let diffs = batch.columns[self.diff].as_primitive::<Int64Type>().values().clone();
        self.fetch((), &keys, 0..batch.len());
        let (mut touched, mut bytes) = (Vec::with_capacity(batch.len()), Vec::new());
        // What is kept of a row is the same whether it comes or goes.
        let columns = with_diff_of_one(columns, self.diff);
        // What cancels out at one time has not changed anything then.
        for (row, diff) in net_changes(&batch.time, &keys, &columns, &diffs) {
            let row = row as usize;
            self.group = key_group(own.hash(row));
            let (slot, _) = self.keys.slot_in_group((), self.group, keys.hash(row), keys.key(row));
            self.copy_due();
            self.grow(slot);
            bytes.clear();
            encode_row(&columns, row, &mut bytes);
            self.add(slot, &bytes, diff, batch.time[row]);
            touched.push(slot);
        }
        self.drop_empty(&mut touched);
    }

    fn advance(&mut self, now: i64, out: &mut dyn Outlet<Batch>) {
        if now == i64::MAX {
            self.emit(out);
        }
    }

    fn state(&self) -> (usize, usize) {
        (self.keys.len(), self.keys.bytes() + self.value_bytes())
    }

    /// Until the end: rows have the time of the last change, which may be long ago by then.
    fn delay_ns(&self) -> i64 {
        i64::MAX
    }
}

/// The columns with 1 for every difference.
fn with_diff_of_one(mut columns: Vec<(ArrayRef, DataType)>, diff: usize) -> Vec<(ArrayRef, DataType)> {
    let ones = arrow_array::Int64Array::from(vec![1; columns[diff].0.len()]);
    columns[diff].0 = Arc::new(ones);
    columns
}

/// Of each key, its rows.
impl Tabled for Snapshot {
    type Sub = ();

    fn table(&mut self) -> (&mut Table<()>, impl Fn(&Table<()>, (), u32, &mut Entries)) {
        let (held, group) = (&self.held, self.group);
        let encode = move |keys: &Table<()>, (), slot: u32, out: &mut Entries| {
            let rows = &held[slot as usize];
            out.push(group, keys.key(slot), &[], NEVER, |value| {
                value.extend((rows.len() as i64).to_be_bytes());
                for row in rows {
                    let words = [row.count, row.time, row.bytes.len() as i64];
                    words.iter().for_each(|word| value.extend(word.to_be_bytes()));
                    value.extend_from_slice(&row.bytes);
                }
            });
        };
        (&mut self.keys, encode)
    }

    fn value_bytes(&self) -> usize {
        self.row_bytes + self.held.len() * (size_of::<Vec<HeldRow>>() + size_of::<HeldRow>())
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            let rows = std::mem::take(&mut self.held[slot as usize]);
            self.row_bytes -= rows.iter().map(|row| row.bytes.len()).sum::<usize>();
        }
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, mut value) = (self.keys.restore_slot((), entry), entry.value);
        self.grow(slot);
        let value = &mut value;
        let mut rows = Vec::new();
        for _ in 0..take_i64(value)? {
            let (count, time, length) = (take_i64(value)?, take_i64(value)?, take_i64(value)? as usize);
            let (bytes, rest) = value.split_at_checked(length).ok_or(RestoreError::Damaged("a row is cut off"))?;
            *value = rest;
            self.row_bytes += length;
            rows.push(HeldRow { bytes: bytes.into(), count, time });
        }
        self.group = entry.group;
        self.held[slot as usize] = rows;
        self.keys.restore_rank(slot, value)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
