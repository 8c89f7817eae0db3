//! How rows come in and go out: transports (files, stdin, generators) and formats (JSONL, CSV, …),
//! which know nothing of each other.
//!
//! A source is a set of named *partitions*, each an ordered sequence of *blocks*: whole rows with the
//! position of the first. Blocks of one partition are handed out in order, one at a time, to whichever
//! worker asks; decoding a block needs nothing but the block.

pub mod arrivals;
pub mod columns;
pub mod compression;
mod cut;
pub mod drift;
pub mod file;
pub mod follow;
pub mod format;
pub mod generator;
pub mod guard;
mod header;
pub mod input;
pub mod intake;
mod ipc;
pub mod partition;
pub mod paths;
pub mod position;
pub mod progress;
mod pump;
pub mod rejects;
pub mod sample;
pub mod silence;
pub mod sink;

pub mod spec;
pub mod stdio;
pub mod text;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};

use self::partition::ReadError;

/// A run of whole rows of a partition, not yet decoded.
#[derive(Debug, Default)]
pub struct Block {
    /// Counts the blocks of the partition from 0, or from where its reader was sent.
    pub index: u64,
    /// Position of the first row: a byte offset of the (decompressed) stream, or a row ordinal.
    pub position: u64,
    pub context: BlockContext,
    pub data: BlockData,
}

/// What a decoder must know of the partition before the block, so that the block alone decides.
#[derive(Clone, Debug, Default)]
pub enum BlockContext {
    #[default]
    Nothing,
    /// CSV: the file's header.
    Header(Arc<CsvHeader>),
    /// `.evt`: the event time in force where the block begins, ns.
    Time(i64),
}

/// The header of one CSV file. Files of one source may differ in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvHeader {
    /// Unquoted, in file order; not trimmed, and not checked for repetitions.
    pub names: Vec<String>,
    pub delimiter: u8,
    /// How many lines of the file the header takes: more than one if a quoted name has a line end.
    pub lines: u64,
}

#[derive(Debug)]
pub enum BlockData {
    /// Whole lines; only the last of a partition may lack its line end. A CSV block never begins or
    /// ends inside quotes, where a quote opens only at the start of a field.
    Bytes(Vec<u8>),
    /// One line that is longer than a line may be, dropped but for its beginning; counts as one
    /// malformed row (`line_too_long`).
    TooLong { head: Vec<u8>, bytes: u64 },
    /// Rows of a format that is columnar itself; positions count rows.
    Rows(RecordBatch),
    /// So many rows of a row group of a Parquet file, read by whoever decodes them.
    RowGroup { path: String, row_group: usize, first: usize, rows: usize },
}

impl Default for BlockData {
    fn default() -> Self {
        BlockData::Bytes(Vec::new())
    }
}

/// What a block gave.
#[derive(Debug, Default)]
pub struct Decoded {
    /// By index of the source's types. Rows of one type are in position order.
    pub types: Vec<DecodedRows>,
    pub malformed: Vec<Malformed>,
    /// Rows whose type the program does not name, by that name (the first few names are kept).
    pub other_types: Vec<(String, u64)>,
    /// Fields that no declaration names, first seen in this block.
    pub unknown_fields: Vec<String>,
    /// Rows in the block, whatever became of them.
    pub rows: u64,
    /// Why the block cannot be read at all: the run has to stop. Only where reading is part of
    /// decoding (row groups).
    pub failed: Option<ReadError>,
}

/// Rows of one type, in columns of the type's schema. Fields are checked: a required field is never
/// null. Event times are not yet evaluated.
#[derive(Debug, Default)]
pub struct DecodedRows {
    pub columns: Vec<ArrayRef>,
    /// Position of each row in the partition.
    pub positions: Vec<u64>,
    /// The format's own event time (`.evt`), ns; used when the type names no other.
    pub format_times: Option<Vec<i64>>,
}

/// A row that could not be decoded.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Malformed {
    pub reason: MalformedReason,
    /// What exactly, for the log: the field and what was found.
    pub detail: String,
    /// Where the row begins: a byte offset or row ordinal of the partition.
    pub position: u64,
    /// Its line in the file, from 1, where somebody has counted: see [`Malformed::count_lines`].
    pub line: Option<u64>,
    /// The row as it was read.
    pub raw: Vec<u8>,
}

/// How far into a file lines are counted, to show where a row is.
const COUNTED_BYTES_MAX: u64 = 1 << 30;

impl Malformed {
    /// Finds the row's line in the plain file that it was read from. Lines are counted only for the few
    /// rows that are shown, by reading the file again: blocks are decoded in any order, and counting them
    /// all on the way would cost every run what a faulty one may pay.
    pub fn count_lines(&mut self, path: &str) {
        self.line = lines_before(path, self.position).ok().map(|lines| lines + 1);
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        match self.line {
            Some(line) => format!("line {line}, byte {}", self.position),
            None => self.position.to_string(),
        }
    }
}

fn lines_before(path: &str, position: u64) -> std::io::Result<u64> {
    let file = std::fs::File::open(path)?;
    if position > COUNTED_BYTES_MAX || !file.metadata()?.is_file() {
        return Err(std::io::ErrorKind::Unsupported.into());
    }
    let mut rest = std::io::Read::take(file, position);
    let (mut lines, mut chunk) = (0, vec![0; 1 << 20]);
    loop {
        match std::io::Read::read(&mut rest, &mut chunk)? {
            0 => return Ok(lines),
            n => lines += memchr::memchr_iter(b'\n', &chunk[..n]).count() as u64,
        }
    }
}

/// Why a row is malformed; the name under which it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MalformedReason {
    /// Not a row of the format at all.
    Syntax,
    InvalidUtf8,
    MissingField,
    WrongType,
    NoEventTime,
    TimeOutOfRange,
    LineTooLong,
}

impl MalformedReason {
    pub fn name(self) -> &'static str {
        match self {
            MalformedReason::Syntax => "syntax",
            MalformedReason::InvalidUtf8 => "invalid_utf8",
            MalformedReason::MissingField => "missing_field",
            MalformedReason::WrongType => "wrong_type",
            MalformedReason::NoEventTime => "no_event_time",
            MalformedReason::TimeOutOfRange => "time_out_of_range",
            MalformedReason::LineTooLong => "line_too_long",
        }
    }
}
