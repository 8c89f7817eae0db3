//! Windows that give rows instead of aggregates: `order_by`, `limit`, `top` and `distinct` in a window.
//!
//! Rows stay in the batches they came in until their last window has closed; a slot lists them.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};

use super::body::{Body, Groups, Slide};
use super::order::{by_seq, by_value};
use crate::data::array::value_at;
use crate::data::key::{decode_keys, encode_keys, encode_row};
use crate::data::{Batch, DataType, Keys, Seq, Value};
use crate::expr::{Errors, Expr, evaluate};
use crate::plan::physical::SortKey;
use crate::state::entries::{RestoreError, take_i64};

/// See the module's doc. Ties of the order go by (`_at`, `_seq`), then value.
pub struct RowsBody {
    order: Vec<SortKey>,
    limit: Option<u64>,
    distinct: Option<Vec<Expr>>,
    /// Types of the input's columns.
    types: Vec<DataType>,
    /// Whether the columns `window_start` and `window_end` are added.
    adds_bounds: bool,
    chunks: HashMap<u32, Chunk>,
    next_chunk: u32,
    /// By slot: (chunk, row).
    members: Vec<Vec<(u32, u32)>>,
    /// Rows that were read back and are no chunk yet.
    restored: Vec<RestoredRow>,
}

struct RestoredRow {
    slot: u32,
    time: i64,
    place: i64,
    seq: Option<(u32, u64)>,
    /// The row's columns as [`encode_row`] wrote them.
    columns: Vec<u8>,
}

/// How many rows that were read back make a batch.
const RESTORED_ROWS: usize = 1 << 16;

struct Chunk {
    batch: Batch,
    /// Rows that some slot lists.
    listed: u32,
}

impl RowsBody {
    pub fn new(
        order: Vec<SortKey>,
        limit: Option<u64>,
        distinct: Option<Vec<Expr>>,
        types: Vec<DataType>,
        adds_bounds: bool,
    ) -> RowsBody {
        let (chunks, members) = (HashMap::new(), Vec::new());
        RowsBody { order, limit, distinct, types, adds_bounds, chunks, next_chunk: 0, members, restored: Vec::new() }
    }

    /// The rows of all groups in one batch, and the group of each.
    fn gather(&self, groups: &Groups) -> (Batch, Vec<u32>) {
        let mut by_chunk: HashMap<u32, (Vec<u32>, Vec<u32>)> = HashMap::new();
        for (&group, &slot) in groups.into.iter().zip(&groups.from) {
            for &(chunk, row) in &self.members[slot as usize] {
                let (rows, of) = by_chunk.entry(chunk).or_default();
                rows.push(row);
                of.push(group);
            }
        }
        let (mut batches, mut of) = (Vec::new(), Vec::new());
        for (chunk, (rows, groups)) in by_chunk {
            batches.push(self.chunks[&chunk].batch.take(&rows));
            of.extend(groups);
        }
        (Batch::concat(&batches), of)
    }

    /// The positions of the rows that stay, group by group, in order; and the rank of each in its group.
    fn select(&self, rows: &Batch, of: &[u32], errors: &Errors) -> (Vec<u32>, Vec<u64>) {
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        if let Some(distinct) = &self.distinct {
            order.sort_by(|&x, &y| self.by_origin(rows, of, x as usize, y as usize));
            let values = self.distinct_values(distinct, rows, errors);
            let mut seen: HashSet<(u32, &[u8])> = HashSet::new();
            order.retain(|&row| seen.insert((of[row as usize], values.key(row as usize))));
        }
        let keys: Vec<(ArrayRef, DataType, bool)> =
            self.order.iter().map(|k| (evaluate(&k.expr, rows, errors), k.expr.data_type(), k.descending)).collect();
        order.sort_by(|&x, &y| {
            let (x, y) = (x as usize, y as usize);
            let by_keys = || by_sort_keys(&keys, x, y);
            of[x].cmp(&of[y]).then_with(by_keys).then_with(|| self.by_origin(rows, of, x, y))
        });
        let (mut kept, mut ranks) = (Vec::new(), Vec::new());
        let (mut group, mut rank) = (u32::MAX, 0);
        for row in order {
            rank = if of[row as usize] == group { rank + 1 } else { 0 };
            group = of[row as usize];
            if self.limit.is_none_or(|limit| rank < limit) {
                kept.push(row);
                ranks.push(rank);
            }
        }
        (kept, ranks)
    }

    fn distinct_values(&self, distinct: &[Expr], rows: &Batch, errors: &Errors) -> Keys {
        let columns: Vec<(ArrayRef, DataType)> = match distinct {
            [] => rows.columns.iter().cloned().zip(self.types.iter().cloned()).collect(),
            by => by.iter().map(|e| (evaluate(e, rows, errors), e.data_type())).collect(),
        };
        encode_keys(&columns, rows.len())
    }

    /// Adds a batch, of which row i belongs to `slots[i]`.
    fn add_chunk(&mut self, batch: Batch, slots: &[u32]) {
        let chunk = self.next_chunk;
        self.next_chunk = self.next_chunk.wrapping_add(1);
        for (row, &slot) in slots.iter().enumerate() {
            if self.members.len() <= slot as usize {
                self.members.resize_with(slot as usize + 1, Vec::new);
            }
            self.members[slot as usize].push((chunk, row as u32));
        }
        self.chunks.insert(chunk, Chunk { batch, listed: slots.len() as u32 });
    }

    fn by_origin(&self, rows: &Batch, of: &[u32], x: usize, y: usize) -> Ordering {
        let places = rows.places();
        let by_group = of[x].cmp(&of[y]).then_with(|| places[x].cmp(&places[y]));
        by_group.then_with(|| by_seq(rows, x, y)).then_with(|| by_value(rows, &self.types, x, y))
    }
}

/// Null sorts last, whichever way.
fn by_sort_keys(keys: &[(ArrayRef, DataType, bool)], x: usize, y: usize) -> Ordering {
    for (column, ty, descending) in keys {
        let order = match (value_at(column.as_ref(), ty, x), value_at(column.as_ref(), ty, y)) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            (a, b) if *descending => b.compare(&a),
            (a, b) => a.compare(&b),
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

impl Body for RowsBody {
    fn update(&mut self, batch: &Batch, slots: &[u32]) {
        if batch.is_empty() {
            return;
        }
        self.add_chunk(Batch { flight: None, keys: None, ..batch.clone() }, slots);
    }

    fn emit(&mut self, groups: Groups, errors: &Errors) -> Batch {
        let (rows, of) = self.gather(&groups);
        if rows.is_empty() {
            return Batch::default();
        }
        let (kept, ranks) = self.select(&rows, &of, errors);
        let of: Vec<usize> = kept.iter().map(|&row| of[row as usize] as usize).collect();
        let mut columns = rows.take(&kept).columns;
        if self.adds_bounds {
            columns.push(Arc::new(of.iter().map(|&g| groups.starts[g]).collect::<Int64Array>()));
            columns.push(Arc::new(of.iter().map(|&g| groups.ends[g]).collect::<Int64Array>()));
        }
        let (mut data, mut offsets) = (Vec::new(), vec![0]);
        for &group in &of {
            data.extend_from_slice(groups.keys.key(group));
            offsets.push(data.len() as u32);
        }
        Batch {
            columns,
            time: of.iter().map(|&g| groups.ends[g] - 1).collect(),
            at: None,
            seq: Some(Seq { partition: vec![0; of.len()].into(), position: ranks.into() }),
            keys: Some(Arc::new(Keys::new(data, offsets))),
            flight: None,
        }
    }

    fn slide(&mut self, _: &Slide<'_>, _: &Errors) -> Option<Batch> {
        None
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        let rows: &[(u32, u32)] = self.members.get(slot as usize).map_or(&[], |m| m.as_slice());
        out.extend((rows.len() as u64).to_be_bytes());
        for of_chunk in rows.chunk_by(|a, b| a.0 == b.0) {
            let picked: Vec<u32> = of_chunk.iter().map(|(_, row)| *row).collect();
            let batch = self.chunks[&of_chunk[0].0].batch.take(&picked);
            let columns: Vec<_> = batch.columns.iter().cloned().zip(self.types.iter().cloned()).collect();
            for row in 0..batch.len() {
                out.extend(batch.time[row].to_be_bytes());
                out.extend(batch.places()[row].to_be_bytes());
                let seq = batch.seq.as_ref().map(|s| (s.partition[row], s.position[row]));
                out.extend(seq.map_or(-1, |s| i64::from(s.0)).to_be_bytes());
                out.extend(seq.map_or(0, |s| s.1).to_be_bytes());
                let length_at = out.len();
                out.extend([0; 8]);
                encode_row(&columns, row, out);
                let length = (out.len() - length_at - 8) as u64;
                out[length_at..length_at + 8].copy_from_slice(&length.to_be_bytes());
            }
        }
    }

    fn decode(&mut self, slot: u32, bytes: &mut &[u8]) -> Result<(), RestoreError> {
        for _ in 0..take_i64(bytes)? {
            let (time, place) = (take_i64(bytes)?, take_i64(bytes)?);
            let (partition, position) = (take_i64(bytes)?, take_i64(bytes)? as u64);
            let length = take_i64(bytes)? as usize;
            let (columns, rest) = bytes.split_at_checked(length).ok_or(RestoreError::Damaged("a row is cut off"))?;
            *bytes = rest;
            let seq = (partition >= 0).then_some((partition as u32, position));
            self.restored.push(RestoredRow { slot, time, place, seq, columns: columns.to_vec() });
        }
        Ok(())
    }

    fn restored(&mut self) {
        for rows in std::mem::take(&mut self.restored).chunks(RESTORED_ROWS) {
            let bytes = || rows.iter().map(|r| r.columns.as_slice());
            let seqs: Option<Vec<(u32, u64)>> = rows.iter().map(|r| r.seq).collect();
            let batch = Batch {
                columns: (0..self.types.len()).map(|i| decode_keys(bytes(), &self.types, i)).collect(),
                time: rows.iter().map(|r| r.time).collect(),
                at: Some(rows.iter().map(|r| r.place).collect()),
                seq: seqs.map(|s| Seq {
                    partition: s.iter().map(|s| s.0).collect(),
                    position: s.iter().map(|s| s.1).collect(),
                }),
                keys: None,
                flight: None,
            };
            let slots: Vec<u32> = rows.iter().map(|r| r.slot).collect();
            self.add_chunk(batch, &slots);
        }
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            let members = self.members.get_mut(slot as usize).map(std::mem::take).unwrap_or_default();
            for (chunk, _) in members {
                let held = self.chunks.get_mut(&chunk).expect("a listed row's chunk is held");
                held.listed -= 1;
                if held.listed == 0 {
                    self.chunks.remove(&chunk);
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.values().map(|c| c.batch.bytes()).sum();
        chunks + self.members.iter().map(|m| m.capacity() * 8 + size_of::<Vec<(u32, u32)>>()).sum::<usize>()
    }
}
