//! The one interface of all transports: a partition as a sequence of blocks that is polled.
//!
//! Plain files, compressed files, stdin, followed files and generators differ in where bytes come
//! from and in whether they may make one wait. The callers, which are operators and must not block,
//! see the same three answers from all of them.

use std::io;
use std::sync::Arc;

use super::Block;

/// How much a reader tries to put into a block, unless told otherwise.
pub const BLOCK_BYTES: usize = 4 << 20;

/// The longest line that is decoded; a longer one is counted as `line_too_long`. It bounds what one
/// block can hold in memory, whatever the file.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// Called, from any thread, when a reader that said [`Polled::Pending`] has more to say.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What a partition has at the moment.
#[derive(Debug)]
pub enum Polled {
    Block(Block),
    /// Nothing yet; the waker will be called.
    Pending,
    /// The partition has ended, and says so from now on.
    End,
}

/// Reads one partition.
///
/// # Contract
/// - Blocks are whole rows, in order and without gaps: each begins where the one before it ended.
/// - Where rows are cut into blocks is not part of the data: any target gives the same rows at the
///   same positions.
/// - `poll_block` may read from a local disk, and never waits for anything else.
/// - Plain files never answer [`Polled::Pending`].
pub trait BlockReader: Send {
    fn poll_block(&mut self) -> Result<Polled, ReadError>;

    /// How many bytes the next blocks should have (or rows, for generators); at least 1.
    fn set_target_bytes(&mut self, bytes: usize);

    /// Gives back the buffer of a block, which a reader may fill again: a fresh one of that size costs a
    /// page fault for every few KB.
    fn recycle(&mut self, _buffer: Vec<u8>) {}

    /// Continues at the row at `position`, which was the position of a block or the end of one.
    ///
    /// # Errors
    /// [`ReadError::NotSeekable`] where the transport cannot go back, such as stdin.
    fn seek(&mut self, position: u64) -> Result<(), ReadError>;

    /// The position after the last block handed out: where [`BlockReader::seek`] continues.
    fn position(&self) -> u64;

    /// Bytes of the input as it is stored, if known; for progress.
    fn size_bytes(&self) -> Option<u64>;

    /// Bytes of the input read so far, on the scale of [`BlockReader::size_bytes`].
    fn read_bytes(&self) -> u64;
}

/// Why an input cannot be read. What is wrong with single rows is not among these.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{path}: no such file")]
    NotFound { path: String },
    #[error("{path}: permission denied")]
    Permission { path: String },
    #[error("{path} is a directory; a glob such as \"{path}/*.jsonl\" reads the files in it")]
    IsDirectory { path: String },
    #[error("no file matches {pattern}")]
    NoMatch { pattern: String },
    #[error("{pattern} is not a glob: {detail}")]
    BadPattern { pattern: String, detail: String },
    #[error(
        "{path}: neither the name nor the first bytes tell the format; name it .jsonl, .csv, .tsv, .evt, .parquet or \
         .arrow, with .gz or .zst after it when compressed"
    )]
    UnknownFormat { path: String },
    #[error("{pattern} matches compressed and other files ({a}, {b}); read them as two inputs")]
    MixedCompression { pattern: String, a: String, b: String },
    #[error("{path}: corrupt {what}: {detail}")]
    Corrupt { path: String, what: &'static str, detail: String },
    #[error("{path}: {what} cannot be compressed as a whole; it is compressed inside")]
    CompressedColumns { path: String, what: &'static str },
    #[error("{path}: Parquet and Arrow are read from files only, not as they arrive")]
    NotLive { path: String },
    #[error("{path} cannot be read again from byte {position}")]
    NotSeekable { path: String, position: u64 },
    #[error("{path}: ends at byte {size}, before position {position}")]
    Shrunk { path: String, position: u64, size: u64 },
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
}

impl ReadError {
    pub(crate) fn io(path: &str, source: io::Error) -> ReadError {
        let path = path.to_string();
        match source.kind() {
            io::ErrorKind::NotFound => ReadError::NotFound { path },
            io::ErrorKind::PermissionDenied => ReadError::Permission { path },
            io::ErrorKind::IsADirectory => ReadError::IsDirectory { path },
            _ => ReadError::Io { path, source },
        }
    }
}
