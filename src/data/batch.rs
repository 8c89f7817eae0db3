//! Rows in columns: what travels on every edge between a decoder and a sink.
//!
//! A batch holds its columns by position, in the order of the schema that the plan gives the edge, and
//! the system columns beside them. `_at` is absent where it equals `_time` throughout, `_seq` and
//! `_key` where the plan needs them for nothing downstream. The batch itself knows no names and no
//! logical types; whoever needs them has the plan.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow_buffer::ScalarBuffer;

use super::flight::Flight;
use super::key::KEY_SEED;

/// Rows of one edge. All columns and system columns have the same length.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub columns: Vec<ArrayRef>,
    /// `_time`: event time in ns. Its length is the number of rows.
    pub time: ScalarBuffer<i64>,
    /// `_at`, the rows' places; `None` means equal to `time` throughout.
    pub at: Option<ScalarBuffer<i64>>,
    /// `_seq`; `None` where nothing downstream asks for the order of equal times.
    pub seq: Option<Seq>,
    /// `_key`: the encoded key by which the rows were last partitioned.
    pub keys: Option<Arc<Keys>>,
    /// The rows' share of what is in flight, given back when the last clone is dropped.
    pub flight: Option<Arc<Flight>>,
}

/// `_seq`: (source partition, position). Partitions are ranked by name, positions are byte offsets or
/// row ordinals, so that the pair orders rows of equal time the same way in every run.
#[derive(Clone, Debug, Default)]
pub struct Seq {
    pub partition: ScalarBuffer<u32>,
    pub position: ScalarBuffer<u64>,
}

/// Encoded keys of a batch's rows, and their hashes.
#[derive(Clone, Debug)]
pub struct Keys {
    data: Vec<u8>,
    /// `len() + 1` offsets into `data`.
    offsets: Vec<u32>,
    hashes: Vec<u64>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.time.len()
    }

    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// The rows' places: `_at`, or `_time` where that is the same.
    pub fn places(&self) -> &ScalarBuffer<i64> {
        self.at.as_ref().unwrap_or(&self.time)
    }

    /// Heap bytes of the columns, approximately; shared buffers count fully.
    pub fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(|c| c.get_buffer_memory_size()).sum();
        columns + self.len() * 8
    }

    /// The rows where `mask` is true (null counts as false).
    pub fn filter(&self, mask: &BooleanArray) -> Batch {
        let kept = mask.true_count();
        if kept == self.len() {
            return self.clone();
        }
        let mut indices = Vec::with_capacity(kept);
        let bits = match mask.nulls() {
            Some(nulls) => mask.values() & nulls.inner(),
            None => mask.values().clone(),
        };
        indices.extend(bits.set_indices().map(|i| i as u32));
        self.take(&indices)
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &[u32]) -> Batch {
        let rows = UInt32Array::from(indices.to_vec());
        let pick = |c: &ArrayRef| arrow_select::take::take(c, &rows, None).expect("indices are within the batch");
        Batch {
            columns: self.columns.iter().map(pick).collect(),
            time: indices.iter().map(|&i| self.time[i as usize]).collect(),
            at: self.at.as_ref().map(|at| indices.iter().map(|&i| at[i as usize]).collect()),
            seq: self.seq.as_ref().map(|s| s.take(indices)),
            keys: self.keys.as_ref().map(|k| Arc::new(k.take(indices))),
            flight: self.flight.clone(),
        }
    }

    /// Rows `offset .. offset + len`, sharing the columns' buffers.
    pub fn slice(&self, offset: usize, len: usize) -> Batch {
        Batch {
            columns: self.columns.iter().map(|c| c.slice(offset, len)).collect(),
            time: self.time.slice(offset, len),
            at: self.at.as_ref().map(|at| at.slice(offset, len)),
            seq: self
                .seq
                .as_ref()
                .map(|s| Seq { partition: s.partition.slice(offset, len), position: s.position.slice(offset, len) }),
            keys: self.keys.as_ref().map(|k| Arc::new(k.slice(offset, len))),
            flight: self.flight.clone(),
        }
    }

    /// The rows of all `batches` in order. They come from one edge, so that their columns agree; a
    /// system column that any of them has, all have in the result (`_at`), or must have (the others).
    ///
    /// The flights of the inputs are not carried over: whoever concatenates has taken the rows in.
    pub fn concat(batches: &[Batch]) -> Batch {
        let Some(first) = batches.first() else { return Batch::default() };
        if batches.len() == 1 {
            return Batch { flight: None, ..first.clone() };
        }
        let column = |i: usize| {
            let parts: Vec<_> = batches.iter().map(|b| b.columns[i].as_ref()).collect();
            arrow_select::concat::concat(&parts).expect("batches of one edge have the same types")
        };
        let times = |f: &dyn Fn(&Batch) -> ScalarBuffer<i64>| -> ScalarBuffer<i64> {
            let mut out = Vec::with_capacity(batches.iter().map(Batch::len).sum());
            batches.iter().for_each(|b| out.extend_from_slice(&f(b)));
            out.into()
        };
        let some_at = batches.iter().any(|b| b.at.is_some());
        Batch {
            columns: (0..first.columns.len()).map(column).collect(),
            time: times(&|b| b.time.clone()),
            at: some_at.then(|| times(&|b| b.places().clone())),
            seq: first.seq.is_some().then(|| Seq::concat(batches)),
            keys: first.keys.is_some().then(|| Arc::new(Keys::concat(batches))),
            flight: None,
        }
    }
}

impl Seq {
    /// The `_seq` of rows that came from no partition: equal for all, and before that of all others.
    pub fn zeros(rows: usize) -> Seq {
        Seq { partition: vec![0; rows].into(), position: vec![0; rows].into() }
    }

    fn take(&self, indices: &[u32]) -> Seq {
        Seq {
            partition: indices.iter().map(|&i| self.partition[i as usize]).collect(),
            position: indices.iter().map(|&i| self.position[i as usize]).collect(),
        }
    }

    fn concat(batches: &[Batch]) -> Seq {
        let (mut partition, mut position) = (Vec::new(), Vec::new());
        for seq in batches.iter().map(|b| b.seq.as_ref().expect("either every batch of an edge has _seq or none")) {
            partition.extend_from_slice(&seq.partition);
            position.extend_from_slice(&seq.position);
        }
        Seq { partition: partition.into(), position: position.into() }
    }
}

impl Keys {
    /// From encoded bytes and the `rows + 1` offsets into them.
    pub fn new(data: Vec<u8>, offsets: Vec<u32>) -> Keys {
        let hash = |w: &[u32]| hash(&data[w[0] as usize..w[1] as usize]);
        let hashes = offsets.windows(2).map(hash).collect();
        Keys { data, offsets, hashes }
    }

    /// From encoded bytes, the `rows + 1` offsets into them, and hashes that are known already.
    pub fn with_hashes(data: Vec<u8>, offsets: Vec<u32>, hashes: Vec<u64>) -> Keys {
        debug_assert_eq!(offsets.len(), hashes.len() + 1);
        Keys { data, offsets, hashes }
    }

    /// `rows` times the empty key: the key of a stream without `partition_by`.
    pub fn none(rows: usize) -> Keys {
        Keys { data: Vec::new(), offsets: vec![0; rows + 1], hashes: vec![hash(&[]); rows] }
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    #[inline]
    pub fn key(&self, row: usize) -> &[u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    #[inline]
    pub fn hash(&self, row: usize) -> u64 {
        self.hashes[row]
    }

    /// Without keys, but with room for `rows` of about the length of these.
    fn room_for(&self, rows: usize) -> Keys {
        let bytes = self.data.len() / self.len().max(1) + 1;
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Keys { data: Vec::with_capacity(rows * bytes), offsets, hashes: Vec::with_capacity(rows) }
    }

    fn take(&self, indices: &[u32]) -> Keys {
        let mut out = self.room_for(indices.len());
        for &i in indices {
            out.data.extend_from_slice(self.key(i as usize));
            out.offsets.push(out.data.len() as u32);
            out.hashes.push(self.hashes[i as usize]);
        }
        out
    }

    fn slice(&self, offset: usize, len: usize) -> Keys {
        let mut out = self.room_for(len);
        out.append(self, offset..offset + len);
        out
    }

    fn concat(batches: &[Batch]) -> Keys {
        let all = || batches.iter().map(|b| b.keys.as_ref().expect("either every batch of an edge has _key or none"));
        let mut out = Keys { data: Vec::new(), offsets: vec![0], hashes: Vec::new() };
        out.data.reserve(all().map(|keys| keys.data.len()).sum());
        all().for_each(|keys| out.append(keys, 0..keys.len()));
        out
    }

    fn append(&mut self, from: &Keys, rows: Range<usize>) {
        let (start, end) = (from.offsets[rows.start], from.offsets[rows.end]);
        let base = self.data.len() as u32;
        self.data.extend_from_slice(&from.data[start as usize..end as usize]);
        self.offsets.extend(from.offsets[rows.start + 1..=rows.end].iter().map(|o| o - start + base));
        self.hashes.extend_from_slice(&from.hashes[rows]);
    }
}

/// The pinned hash of an encoded key: its key group and its place in hash tables follow from it.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, KEY_SEED)
}
