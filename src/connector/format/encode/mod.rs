//! From batches to what leaves the program: rows as bytes, or columns in the types of the outside.
//!
//! Rows are encoded where they were made, on every worker, and the sink only puts bytes in order. So
//! an encoder gives one buffer for a batch and the end of each row in it: enough to merge the rows of
//! many encoders without looking inside.

pub mod columns;
pub mod csv;
pub mod json;
pub mod jsonl;

use crate::data::Batch;

pub use csv::CsvEncoder;
pub use jsonl::JsonlEncoder;

/// Rows as bytes, each with its line end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedRows {
    pub bytes: Vec<u8>,
    /// For each row, where it ends in `bytes`; the first begins at 0.
    pub ends: Vec<usize>,
}

/// Encodes the batches of one output.
///
/// # Contract
/// - The bytes of a row depend on the row alone, not on its batch or on the encoder's past.
/// - Every row is encoded; there is no value that cannot be written.
pub trait RowEncoder: Send {
    /// Appends the batch's rows, in order.
    fn encode(&mut self, batch: &Batch, out: &mut EncodedRows);

    /// What stands once before the first row of a file.
    fn header(&self) -> Option<&[u8]>;
}

impl EncodedRows {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn row(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
