//! Where rows leave: standard output, files, folders.
//!
//! There are two kinds of sinks, because there are two kinds of formats. Rows of JSONL and CSV are
//! encoded to bytes by the workers that made them, and a [`ByteSink`] only keeps order; columnar
//! formats and the table for people take whole batches ([`BatchSink`]), and encode where they write.
//!
//! Neither sorts: who wants an order calls them in it.

pub mod bytes;
pub mod columns;
pub mod dead_letter;
mod part;
pub mod table;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::paths::{extension, split_compression};
use super::position::SinkRecord;
use super::spec::OutputFormat;
use crate::connector::format::encode::{CsvEncoder, JsonlEncoder, RowEncoder, jsonl::Meta};
use crate::data::{Batch, Schema};
use crate::failpoint;

/// One stream that leaves the program.
#[derive(Clone, Debug)]
pub struct OutputStream {
    pub name: String,
    pub schema: Schema,
}

/// Takes encoded rows.
///
/// # Contract
/// - `stream` is an index into the streams that the sink was opened with.
/// - `bytes` are whole rows of that stream, from its [`RowEncoder`]; a header is the sink's business.
/// - What was written before `flush` returned is seen by other readers of a file (compressed files
///   excepted: they appear when finished).
/// - After an error the sink is only good for dropping.
pub trait ByteSink: Send {
    fn write(&mut self, stream: usize, bytes: &[u8]) -> Result<(), SinkError>;
    fn flush(&mut self) -> Result<(), SinkError>;
    fn finish(&mut self) -> Result<(), SinkError>;

    /// Hands over what was written so far, and says how much that is, for each file that can be
    /// continued there.
    fn mark(&mut self) -> Result<Vec<Mark>, SinkError>;
}

/// How far a file had been written. It is durable after [`Mark::sync`].
pub struct Mark {
    pub path: String,
    pub record: SinkRecord,
    file: File,
}

impl Mark {
    pub fn sync(&self) -> Result<(), SinkError> {
        failpoint::hit("sink.sync").and_then(|()| self.file.sync_all()).map_err(|e| SinkError::io(&self.path, e))
    }
}

/// What a sink begins with.
#[derive(Clone, Debug)]
pub enum Start {
    /// Existing files are replaced, and nothing is recorded.
    Anew,
    /// Files are cut back to what these records say, by path, and continued; how much is written is
    /// recorded. Files without a record are replaced.
    Recorded(BTreeMap<String, SinkRecord>),
}

/// Takes batches. The contract is that of [`ByteSink`], but files appear only when finished: dropped
/// before that, nothing is left of them.
pub trait BatchSink: Send {
    fn write(&mut self, stream: usize, batch: &Batch) -> Result<(), SinkError>;
    fn flush(&mut self) -> Result<(), SinkError>;
    fn finish(&mut self) -> Result<(), SinkError>;
}

/// A sink with what feeds it.
pub enum Sink {
    /// Rows are encoded by [`encoder`]'s encoders and written as bytes.
    Bytes(Box<dyn ByteSink>),
    Batches(Box<dyn BatchSink>),
}

/// Where the rows of a set of streams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    File(String),
    /// A file per stream, named after it.
    Folder(String),
}

/// Why rows cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The reader of a pipe is gone: the end of the run, and no failure.
    #[error("the reader of the output has gone")]
    Closed,
    #[error(
        "{path}: a {format} file takes one output stream, and the program has {} ({}); name a folder (\"{path}/\") to \
         get a file for each", streams.len(), streams.join(", ")
    )]
    OneSchema { path: String, format: &'static str, streams: Vec<String> },
    #[error("{format} cannot be written to standard output; name a file")]
    NotForStdout { format: &'static str },
    #[error("{path}: a {format} file cannot be compressed as a whole; it is compressed inside")]
    CompressedColumns { path: String, format: &'static str },
    #[error(
        "{path}: the name does not tell the format; name it .jsonl, .csv, .tsv, .parquet or .arrow, or give --format"
    )]
    UnknownFormat { path: String },
    #[error(
        "{path} is not the file that the checkpoint was taken over: its first {bytes} bytes are gone or changed; put it \
         back, or begin anew with `--restore none`"
    )]
    Changed { path: String, bytes: u64 },
    #[error("{path}: a {format} file cannot be continued after a crash; write JSONL or CSV, or save no state")]
    NotContinued { path: String, format: &'static str },
    #[error("{path}: {detail}")]
    Columns { path: String, detail: String },
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
}

impl SinkError {
    fn io(path: &str, source: io::Error) -> SinkError {
        match source.kind() {
            io::ErrorKind::BrokenPipe => SinkError::Closed,
            _ => SinkError::Io { path: path.to_string(), source },
        }
    }
}

impl Destination {
    /// What `-o` means: a folder if it ends in `/` or is one, else a file; `-` is standard output.
    pub fn of(path: &str) -> Destination {
        match path {
            "-" => Destination::Stdout,
            _ if path.ends_with('/') || Path::new(path).is_dir() => Destination::Folder(path.to_string()),
            _ => Destination::File(path.to_string()),
        }
    }

    /// The format that the file's name tells; JSONL for standard output and folders.
    pub fn format(&self) -> Result<OutputFormat, SinkError> {
        match self {
            Destination::Stdout | Destination::Folder(_) => Ok(OutputFormat::Jsonl),
            Destination::File(path) => named_format(path),
        }
    }
}

fn named_format(path: &str) -> Result<OutputFormat, SinkError> {
    let (stem, _) = split_compression(path);
    match extension(stem).as_deref() {
        Some("jsonl" | "ndjson" | "json") => Ok(OutputFormat::Jsonl),
        Some("csv" | "tsv") => Ok(OutputFormat::Csv),
        Some("parquet") => Ok(OutputFormat::Parquet),
        Some("arrow" | "ipc" | "feather") => Ok(OutputFormat::Arrow),
        Some("txt") => Ok(OutputFormat::Table),
        Some(_) | None => Err(SinkError::UnknownFormat { path: path.to_string() }),
    }
}

/// The delimiter of a CSV file that is written under this name.
fn csv_delimiter(destination: &Destination) -> u8 {
    match destination {
        Destination::File(path) if extension(split_compression(path).0).as_deref() == Some("tsv") => b'\t',
        Destination::File(_) | Destination::Stdout | Destination::Folder(_) => b',',
    }
}

/// The encoder whose bytes a sink of that format takes; `None` for formats that take batches.
pub fn encoder(
    destination: &Destination,
    format: OutputFormat,
    stream: &OutputStream,
    meta: Meta,
) -> Option<Box<dyn RowEncoder>> {
    match format {
        OutputFormat::Jsonl => Some(Box::new(JsonlEncoder::new(&stream.name, &stream.schema, meta))),
        OutputFormat::Csv => Some(Box::new(CsvEncoder::new(&stream.schema, csv_delimiter(destination)))),
        OutputFormat::Table | OutputFormat::Parquet | OutputFormat::Arrow => None,
    }
}

/// Opens a sink for the given streams.
pub fn open(
    destination: &Destination,
    format: OutputFormat,
    streams: &[OutputStream],
    meta: Meta,
    start: &Start,
) -> Result<Sink, SinkError> {
    check_one_schema(destination, format, streams)?;
    check_continued(destination, format, start)?;
    match format {
        OutputFormat::Jsonl | OutputFormat::Csv => {
            let encoders = streams.iter().filter_map(|s| encoder(destination, format, s, meta));
            let headers = encoders.map(|e| e.header().map(<[u8]>::to_vec)).collect();
            Ok(Sink::Bytes(Box::new(bytes::Files::open(destination, format, streams, headers, start)?)))
        }
        OutputFormat::Table => Ok(Sink::Batches(Box::new(table::Tables::open(destination, streams, meta)?))),
        OutputFormat::Parquet | OutputFormat::Arrow => {
            Ok(Sink::Batches(Box::new(columns::ColumnFiles::open(destination, format, streams)?)))
        }
    }
}

/// Tables on a terminal are for people; the rest of what takes batches appears as a whole, at the end.
fn check_continued(destination: &Destination, format: OutputFormat, start: &Start) -> Result<(), SinkError> {
    let format = match (format, start) {
        (OutputFormat::Jsonl | OutputFormat::Csv, _) | (_, Start::Anew) => return Ok(()),
        (OutputFormat::Table, Start::Recorded(_)) => "table",
        (OutputFormat::Parquet, Start::Recorded(_)) => "Parquet",
        (OutputFormat::Arrow, Start::Recorded(_)) => "Arrow",
    };
    match destination {
        Destination::Stdout => Ok(()),
        Destination::File(path) | Destination::Folder(path) => {
            Err(SinkError::NotContinued { path: path.clone(), format })
        }
    }
}

fn check_one_schema(
    destination: &Destination,
    format: OutputFormat,
    streams: &[OutputStream],
) -> Result<(), SinkError> {
    let path = match destination {
        Destination::File(path) => path.as_str(),
        Destination::Stdout => "standard output",
        Destination::Folder(_) => return Ok(()),
    };
    let format_name = match format {
        OutputFormat::Jsonl | OutputFormat::Table => return Ok(()),
        OutputFormat::Csv => "CSV",
        OutputFormat::Parquet => "Parquet",
        OutputFormat::Arrow => "Arrow",
    };
    if streams.len() > 1 {
        let streams = streams.iter().map(|s| s.name.clone()).collect();
        return Err(SinkError::OneSchema { path: path.to_string(), format: format_name, streams });
    }
    Ok(())
}

/// The name of a stream's file in a folder.
fn file_in(folder: &str, stream: &str, extension: &str) -> String {
    let folder = folder.trim_end_matches('/');
    format!("{}/{stream}.{extension}", if folder.is_empty() { "/" } else { folder })
}
