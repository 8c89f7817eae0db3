//! From an input of the plan to its partitions and their readers: the one place that knows all
//! transports.

use super::Block;
use super::columns::{ArrowReader, ParquetReader};
use super::compression::CompressedReader;
use super::file::{FileReader, open_file};
use super::follow::FollowReader;
use super::generator::NexmarkReader;
use super::partition::{BlockReader, Polled, ReadError, Waker};
use super::paths::is_regular;
use super::spec::{Compression, FileFormat, Input};
use super::stdio::StreamReader;
use super::text::TextKind;

/// What is known of a partition before it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Stable from run to run: the rank of a partition follows from it.
    pub name: String,
    /// Whether it may be silent, and cannot be peeked.
    pub live: bool,
}

/// The partitions of an input.
pub fn partitions(input: &Input) -> Vec<PartitionSpec> {
    let one = |name: &str, live| PartitionSpec { name: name.to_string(), live };
    match input {
        Input::Files { paths, .. } => paths.iter().map(|path| one(path, !is_file(path))).collect(),
        Input::Stdin { .. } => vec![one("stdin", true)],
        Input::Follow { path, .. } => vec![one(path, true)],
        Input::Generator { .. } => vec![one("generator", input.is_live())],
    }
}

fn is_file(path: &str) -> bool {
    // What cannot be looked at is opened like a file, and then says why.
    std::fs::metadata(path).map_or(true, |m| m.is_file())
}

/// Opens the partition called `name`. `waker` is called when a live one has something to say.
pub fn open(input: &Input, name: &str, waker: Waker) -> Result<Box<dyn BlockReader>, ReadError> {
    match input {
        Input::Files { format, compression, .. } => open_path(name, *format, *compression, waker),
        Input::Stdin { format, .. } => Ok(Box::new(StreamReader::stdin(live_kind(name, *format)?, waker)?)),
        Input::Follow { path, format, .. } => Ok(Box::new(FollowReader::open(path, live_kind(path, *format)?, waker)?)),
        Input::Generator { kind, rate_per_s, limit, seed } => {
            Ok(Box::new(NexmarkReader::open(*kind, *seed, *limit, *rate_per_s, waker)?))
        }
    }
}

/// Opens a file, or a pipe under a path.
pub fn open_path(
    path: &str,
    format: FileFormat,
    compression: Option<Compression>,
    waker: Waker,
) -> Result<Box<dyn BlockReader>, ReadError> {
    let Some(kind) = TextKind::of(format) else {
        return match format {
            FileFormat::Parquet => Ok(Box::new(ParquetReader::open(path)?)),
            FileFormat::Arrow | FileFormat::Jsonl | FileFormat::Csv { .. } | FileFormat::Evt => {
                Ok(Box::new(ArrowReader::open(path)?))
            }
        };
    };
    if let Some(compression) = compression {
        return Ok(Box::new(CompressedReader::open(path, compression, kind)?));
    }
    let (file, _) = open_file(path)?;
    if is_regular(&file) {
        return Ok(Box::new(FileReader::open(path, kind)?));
    }
    Ok(Box::new(StreamReader::special_file(path, file, kind, waker)?))
}

fn live_kind(name: &str, format: FileFormat) -> Result<TextKind, ReadError> {
    TextKind::of(format).ok_or_else(|| ReadError::NotLive { path: name.to_string() })
}

/// The first rows of a file, at most about `bytes` of them; the file is closed again. `None` if it has
/// none, or is no regular file.
pub fn peek(
    path: &str,
    format: FileFormat,
    compression: Option<Compression>,
    bytes: usize,
) -> Result<Option<Block>, ReadError> {
    if !is_file(path) {
        return Ok(None);
    }
    let mut reader = open_path(path, format, compression, std::sync::Arc::new(|| {}))?;
    reader.set_target_bytes(bytes);
    match reader.poll_block()? {
        Polled::Block(block) => Ok(Some(block)),
        Polled::Pending | Polled::End => Ok(None),
    }
}
