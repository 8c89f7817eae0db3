//! The columns of the rows that one side of a join holds, in the batches in which they came.
//!
//! A chunk goes when none of its rows is held any more. Chunks that came one after the other and are small are put
//! together, because a live input gives a few rows at a time, and an array takes more room than they do.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, new_empty_array};

use crate::data::DataType;
use crate::data::key::encode_field;
use crate::join::held::HeldRow;

/// So many small chunks are put together.
const GATHERED_CHUNKS: usize = 64;
/// Chunks of fewer rows are small.
const SMALL_ROWS: usize = 512;

/// See the module's doc.
#[derive(Debug)]
pub struct Chunks {
    types: Vec<DataType>,
    /// The number of the first in `chunks`.
    first: u32,
    chunks: VecDeque<Chunk>,
    /// How many of the last chunks are small and lie by themselves.
    small: usize,
    bytes: usize,
    /// By chunk, while rows are gathered: its place among those that are read. A live input has many chunks, of which a
    /// batch meets few.
    places: RefCell<Vec<u32>>,
}

const UNUSED: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Chunk {
    /// Shared by chunks that were put together.
    columns: Arc<Vec<ArrayRef>>,
    /// Where its rows begin in the columns.
    offset: u32,
    rows: u32,
    /// How many of its rows are held.
    held: u32,
    /// Its part of the columns' heap bytes.
    bytes: usize,
}

impl Chunks {
    pub fn new(types: Vec<DataType>) -> Chunks {
        Chunks { types, first: 0, chunks: VecDeque::new(), small: 0, bytes: 0, places: RefCell::default() }
    }

    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Takes in `rows` rows, all of which are going to be held; the number of the chunk.
    pub fn add(&mut self, columns: Vec<ArrayRef>, rows: usize) -> u32 {
        let bytes = columns.iter().map(|c| c.get_buffer_memory_size()).sum();
        self.bytes += bytes;
        let number = self.first.wrapping_add(self.chunks.len() as u32);
        let rows = rows as u32;
        self.chunks.push_back(Chunk { columns: Arc::new(columns), offset: 0, rows, held: rows, bytes });
        self.small = if (rows as usize) < SMALL_ROWS { self.small + 1 } else { 0 };
        if self.small == GATHERED_CHUNKS {
            self.put_together();
        }
        number
    }

    /// Makes one set of columns of the last chunks.
    fn put_together(&mut self) {
        let from = self.chunks.len() - GATHERED_CHUNKS.min(self.chunks.len());
        let column = |i: usize| {
            let parts: Vec<&dyn Array> = self.chunks.range(from..).map(|c| c.columns[i].as_ref()).collect();
            arrow_select::concat::concat(&parts).expect("chunks of one side have the same types")
        };
        let columns: Arc<Vec<ArrayRef>> = Arc::new((0..self.types.len()).map(column).collect());
        let bytes: usize = columns.iter().map(|c| c.get_buffer_memory_size()).sum();
        let (mut offset, mut before, mut after) = (0, 0, 0);
        for chunk in self.chunks.range_mut(from..) {
            let is_held = chunk.held > 0;
            before += chunk.bytes;
            chunk.columns = if is_held { columns.clone() } else { Arc::default() };
            chunk.bytes = if is_held { bytes / GATHERED_CHUNKS } else { 0 };
            after += chunk.bytes;
            chunk.offset = offset;
            offset += chunk.rows;
        }
        self.bytes = self.bytes - before + after;
        self.small = 0;
    }

    fn index(&self, number: u32) -> usize {
        number.wrapping_sub(self.first) as usize
    }

    /// A row is held no more.
    pub fn release(&mut self, row: HeldRow) {
        let index = self.index(row.chunk);
        let chunk = &mut self.chunks[index];
        chunk.held -= 1;
        if chunk.held > 0 {
            return;
        }
        self.bytes -= chunk.bytes;
        // The columns of one that is yet to be put together with others are still read.
        if index + self.small < self.chunks.len() {
            self.chunks[index].columns = Arc::default();
        }
        self.chunks[index].bytes = 0;
        while self.chunks.len() > self.small && self.chunks.front().is_some_and(|c| c.held == 0) {
            self.chunks.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// The values of the columns numbered `columns` in `rows`, in that order.
    pub fn gather(&self, rows: impl Iterator<Item = HeldRow> + Clone, columns: &[usize]) -> Vec<ArrayRef> {
        let mut used: Vec<u32> = Vec::new();
        let mut places = self.places.borrow_mut();
        if places.len() < self.chunks.len() {
            places.resize(self.chunks.len(), UNUSED);
        }
        let mut indices: Vec<(usize, usize)> = Vec::with_capacity(rows.size_hint().0);
        for row in rows {
            let index = self.index(row.chunk);
            if places[index] == UNUSED {
                places[index] = used.len() as u32;
                used.push(index as u32);
            }
            indices.push((places[index] as usize, (self.chunks[index].offset + row.row()) as usize));
        }
        used.iter().for_each(|index| places[*index as usize] = UNUSED);
        columns.iter().map(|&column| self.column(column, &used, &indices)).collect()
    }

    fn column(&self, column: usize, used: &[u32], indices: &[(usize, usize)]) -> ArrayRef {
        if used.is_empty() {
            return new_empty_array(&self.types[column].arrow());
        }
        let parts: Vec<&dyn Array> = used.iter().map(|i| self.chunks[*i as usize].columns[column].as_ref()).collect();
        arrow_select::interleave::interleave(&parts, indices).expect("rows that are held lie in their chunks")
    }

    /// Appends the columns of a row so that [`decode_keys`](crate::data::key::decode_keys) gives them back.
    pub fn encode(&self, row: HeldRow, out: &mut Vec<u8>) {
        let chunk = &self.chunks[self.index(row.chunk)];
        for (column, ty) in chunk.columns.iter().zip(&self.types) {
            encode_field(column, ty, (chunk.offset + row.row()) as usize, out);
        }
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.chunks.capacity() * size_of::<Chunk>()
    }
}
