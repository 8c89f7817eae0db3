//! Files that are columnar themselves: Parquet, a row group at a time, and Arrow IPC, a record batch at
//! a time. Positions are row ordinals.
//!
//! A row group is only named here; reading and decompressing it is the worker's part, which is most of
//! the work and needs the columns that the program uses. Arrow batches are in the file as they are in
//! memory, so they are read at once.

use std::fs::File;
use std::io::BufReader;

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::SerializedFileReader;

use super::file::open_file;
use super::guard::guarded;
use super::ipc::check_buffers;
use super::partition::{BLOCK_BYTES, BlockReader, Polled, ReadError};
use super::{Block, BlockContext, BlockData};

/// What a file is called in messages.
const PARQUET: &str = "Parquet file";
const ARROW: &str = "Arrow file";

/// The row groups of a Parquet file.
pub struct ParquetReader {
    path: String,
    size_bytes: u64,
    /// Rows and compressed bytes of each row group.
    groups: Vec<(u64, u64)>,
    /// The next row group, and its first row that has not been handed out.
    next: usize,
    first: u64,
    target_bytes: usize,
    index: u64,
    position: u64,
}

impl ParquetReader {
    pub fn open(path: &str) -> Result<ParquetReader, ReadError> {
        let (file, size_bytes) = open_file(path)?;
        let groups = guarded(path, PARQUET, || {
            let reader = SerializedFileReader::new(file).map_err(|e| corrupt(path, PARQUET, e.to_string()))?;
            reader.metadata().row_groups().iter().map(|group| group_size(path, group)).collect()
        })?;
        Ok(ParquetReader {
            path: path.to_string(),
            size_bytes,
            groups,
            next: 0,
            first: 0,
            target_bytes: BLOCK_BYTES,
            index: 0,
            position: 0,
        })
    }
}

/// Rows and compressed bytes of a row group.
fn group_size(path: &str, group: &RowGroupMetaData) -> Result<(u64, u64), ReadError> {
    let size = u64::try_from(group.num_rows()).and_then(|rows| Ok((rows, u64::try_from(group.compressed_size())?)));
    size.map_err(|_| corrupt(path, PARQUET, "a row group has a negative size".to_string()))
}

impl ParquetReader {
    /// Rows of one block. A row group is not split but for a small target, as for a peek: rows in its
    /// middle cannot be read without decompressing those before them.
    fn share(&self, rows: u64, bytes: u64) -> u64 {
        let is_small = self.target_bytes < SPLIT_BELOW_BYTES && (self.target_bytes as u64) < bytes;
        if !is_small {
            return rows;
        }
        (rows as u128 * self.target_bytes as u128 / bytes as u128).max(1) as u64
    }

    fn advance(&mut self, rows: u64) {
        self.position += rows;
        self.first += rows;
        if self.first == self.groups[self.next].0 {
            (self.next, self.first) = (self.next + 1, 0);
        }
    }
}

/// A target below this splits row groups.
const SPLIT_BELOW_BYTES: usize = 1 << 20;

fn corrupt(path: &str, what: &'static str, detail: String) -> ReadError {
    ReadError::Corrupt { path: path.to_string(), what, detail }
}

impl BlockReader for ParquetReader {
    fn poll_block(&mut self) -> Result<Polled, ReadError> {
        let Some(&(group_rows, group_bytes)) = self.groups.get(self.next) else { return Ok(Polled::End) };
        let rows = self.share(group_rows, group_bytes).min(group_rows - self.first);
        let (first, rows) = (self.first as usize, rows as usize);
        let data = BlockData::RowGroup { path: self.path.clone(), row_group: self.next, first, rows };
        let block = Block { index: self.index, position: self.position, context: BlockContext::Nothing, data };
        self.index += 1;
        self.advance(rows as u64);
        Ok(Polled::Block(block))
    }

    fn set_target_bytes(&mut self, bytes: usize) {
        self.target_bytes = bytes;
    }

    fn seek(&mut self, position: u64) -> Result<(), ReadError> {
        (self.next, self.first, self.index, self.position) = (0, 0, 0, 0);
        while self.position < position {
            let Some((rows, _)) = self.groups.get(self.next) else {
                return Err(ReadError::Shrunk { path: self.path.clone(), position, size: self.position });
            };
            self.advance((*rows).min(position - self.position));
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.size_bytes)
    }

    fn read_bytes(&self) -> u64 {
        let handed_out: u64 = self.groups[..self.next].iter().map(|(_, bytes)| bytes).sum();
        if self.next == self.groups.len() { self.size_bytes } else { handed_out }
    }
}

/// The record batches of an Arrow IPC file or stream.
pub struct ArrowReader {
    path: String,
    size_bytes: u64,
    batches: Batches,
    index: u64,
    position: u64,
    ended: bool,
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, arrow_schema::ArrowError>> + Send>;

impl ArrowReader {
    pub fn open(path: &str) -> Result<ArrowReader, ReadError> {
        let (batches, size_bytes) = open_batches(path)?;
        Ok(ArrowReader { path: path.to_string(), size_bytes, batches, index: 0, position: 0, ended: false })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let next = guarded(&self.path, ARROW, || {
            self.batches.next().transpose().map_err(|e| corrupt(&self.path, ARROW, e.to_string()))
        })?;
        self.ended |= next.is_none();
        Ok(next)
    }
}

/// The file format begins with a magic word, the stream format does not.
fn open_batches(path: &str) -> Result<(Batches, u64), ReadError> {
    use std::io::{Read, Seek};
    let (mut file, size_bytes) = open_file(path)?;
    let mut magic = Vec::new();
    (&mut file).take(6).read_to_end(&mut magic).map_err(|e| ReadError::io(path, e))?;
    let in_file_format = magic == b"ARROW1";
    guarded(path, ARROW, || {
        check_buffers(&mut file, size_bytes, in_file_format).map_err(|e| corrupt(path, ARROW, e.to_string()))
    })?;
    file.rewind().map_err(|e| ReadError::io(path, e))?;
    let file: BufReader<File> = BufReader::new(file);
    let failed = |e: arrow_schema::ArrowError| corrupt(path, ARROW, e.to_string());
    let batches = guarded(path, ARROW, || {
        let batches: Batches = if in_file_format {
            Box::new(FileReader::try_new(file, None).map_err(failed)?)
        } else {
            Box::new(StreamReader::try_new(file, None).map_err(failed)?)
        };
        Ok(batches)
    })?;
    Ok((batches, size_bytes))
}

impl BlockReader for ArrowReader {
    fn poll_block(&mut self) -> Result<Polled, ReadError> {
        let Some(batch) = self.next_batch()? else { return Ok(Polled::End) };
        let rows = batch.num_rows() as u64;
        let (index, position) = (self.index, self.position);
        self.index += 1;
        self.position += rows;
        Ok(Polled::Block(Block { index, position, context: BlockContext::Nothing, data: BlockData::Rows(batch) }))
    }

    fn set_target_bytes(&mut self, _bytes: usize) {
        // Where the file is cut was decided when it was written.
    }

    fn seek(&mut self, position: u64) -> Result<(), ReadError> {
        (self.batches, self.size_bytes) = open_batches(&self.path)?;
        (self.index, self.position, self.ended) = (0, 0, false);
        while self.position < position {
            let Some(batch) = self.next_batch()? else {
                return Err(ReadError::Shrunk { path: self.path.clone(), position, size: self.position });
            };
            self.position += batch.num_rows() as u64;
        }
        if self.position > position {
            return Err(ReadError::NotSeekable { path: self.path.clone(), position });
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.size_bytes)
    }

    fn read_bytes(&self) -> u64 {
        // The file is read by its index; how far it has got is not known before the end.
        if self.ended { self.size_bytes } else { 0 }
    }
}
