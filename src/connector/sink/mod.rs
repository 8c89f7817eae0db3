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
mod guarantee;
mod part;
mod series;
pub mod table;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use guarantee::Guarantee;
use series::Part;

use super::paths::{extension, split_compression};
use super::position::SinkRecord;
use super::spec::{Commit, OutputFormat};
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

    /// What was written so far is what belongs to the epoch that ends: hands it over, and says how much it
    /// is, for each file that can be continued there.
    fn mark(&mut self) -> Result<Vec<Mark>, SinkError>;
}

/// How far an output had been written. It is durable after [`Mark::sync`], and seen by everybody after
/// [`Mark::show`].
pub struct Mark {
    pub path: String,
    pub record: SinkRecord,
    marked: Marked,
}

enum Marked {
    /// A file that grows, which readers see while it is written.
    File(File),
    Parts(Vec<Arc<Part>>),
}

impl Mark {
    fn of_file(path: String, record: SinkRecord, file: File) -> Mark {
        Mark { path, record, marked: Marked::File(file) }
    }

    fn of_parts(path: String, record: SinkRecord, parts: Vec<Arc<Part>>) -> Mark {
        Mark { path, record, marked: Marked::Parts(parts) }
    }

    pub fn sync(&self) -> Result<(), SinkError> {
        let done = match &self.marked {
            Marked::File(file) => failpoint::hit("sink.sync").and_then(|()| file.sync_all()),
            Marked::Parts(parts) => Part::sync(parts),
        };
        done.map_err(|e| SinkError::io(&self.path, e))
    }

    /// The checkpoint that names the record is committed: shows what was to wait for it.
    pub fn show(&self) -> Result<(), SinkError> {
        match &self.marked {
            Marked::File(_) => Ok(()),
            Marked::Parts(parts) => Part::show(parts).map_err(|e| SinkError::io(&self.path, e)),
        }
    }
}

/// What a sink begins with.
#[derive(Clone, Debug)]
pub enum Start {
    /// Existing files are replaced, and nothing is recorded.
    Anew,
    /// Outputs are cut back to what these records say and continued; how much is written is recorded.
    /// Outputs without a record are replaced.
    Recorded(Records),
}

/// What a checkpoint says of outputs; nothing where the run begins without one.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub by_process: BTreeMap<(usize, String), SinkRecord>,
    /// The process that asks, and how many write: those from 0.
    pub process: usize,
    pub writers: usize,
}

impl Records {
    /// What a process had written under a path.
    fn of(&self, process: usize, path: &str) -> Option<&SinkRecord> {
        self.by_process.get(&(process, path.to_string()))
    }

    fn own(&self, path: &str) -> Option<&SinkRecord> {
        self.of(self.process, path)
    }

    /// Whether this process sees to what that one had written.
    fn cares_for(&self, process: usize) -> bool {
        process == self.process || (self.process == 0 && process >= self.writers)
    }

    /// Does what is left to do for the checkpoint to be committed. What the user is to know of it.
    pub fn complete(&self) -> Result<Vec<String>, SinkError> {
        series::complete(self)
    }
}

/// Takes batches. The contract is that of [`ByteSink`], but files appear only when finished: dropped
/// before that, nothing is left of them.
pub trait BatchSink: Send {
    fn write(&mut self, stream: usize, batch: &Batch) -> Result<(), SinkError>;
    fn flush(&mut self) -> Result<(), SinkError>;
    fn finish(&mut self) -> Result<(), SinkError>;

    /// See [`ByteSink::mark`].
    fn mark(&mut self) -> Result<Vec<Mark>, SinkError>;
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
    #[error("{path}: a table cannot be continued after a crash; write another format, or save no state")]
    NotContinued { path: String },
    #[error(
        "{path}: `commit: \"checkpoint\"` shows rows when a checkpoint has them, and no state is saved; give \
         --state-dir, or leave `commit` out"
    )]
    NoCheckpoints { path: String },
    #[error(
        "{path} is a file, and where state is saved this output is a folder with a file for each checkpoint; remove \
         it, or write elsewhere"
    )]
    PartsInFile { path: String },
    #[error(
        "{path}: where state is saved this output is a folder with a file for each checkpoint, and its name must tell \
         what is in them; name it .jsonl, .csv, .parquet or .arrow"
    )]
    NamelessParts { path: String },
    #[error(
        "{path} is not the part that the checkpoint was taken over; put it back, or begin anew with `--restore none`"
    )]
    PartChanged { path: String },
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
    /// What `-o` means: a folder if it ends in `/` or is one, else a file; `-` is standard output. A folder
    /// whose name tells a format holds the parts of one output.
    pub fn of(path: &str) -> Destination {
        let is_folder = || Path::new(path).is_dir() && named_format(path).is_err();
        match path {
            "-" => Destination::Stdout,
            _ if path.ends_with('/') || is_folder() => Destination::Folder(path.to_string()),
            _ => Destination::File(path.to_string()),
        }
    }

    /// Where it lies, unless it is standard output.
    pub fn path(&self) -> Option<&str> {
        match self {
            Destination::Stdout => None,
            Destination::File(path) | Destination::Folder(path) => Some(path),
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

/// Where and how the rows of an output leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub destination: Destination,
    pub format: OutputFormat,
    pub meta: Meta,
    pub commit: Commit,
}

impl Route {
    /// The route of a file, folder or standard output whose rows may be seen at once.
    pub fn new(destination: Destination, format: OutputFormat, meta: Meta) -> Route {
        Route { destination, format, meta, commit: Commit::AtOnce }
    }

    /// What is promised where state is saved.
    pub fn guarantee(&self) -> Guarantee {
        Guarantee::of(&self.destination, self.format, self.commit)
    }
}

/// Opens a sink for the given streams.
pub fn open(route: &Route, streams: &[OutputStream], start: &Start) -> Result<Sink, SinkError> {
    let Route { destination, format, meta, commit } = route;
    check_one_schema(destination, *format, streams)?;
    check_continued(route, start)?;
    match format {
        OutputFormat::Jsonl | OutputFormat::Csv => {
            let encoders = streams.iter().filter_map(|s| encoder(destination, *format, s, *meta));
            let headers = encoders.map(|e| e.header().map(<[u8]>::to_vec)).collect();
            let opening = bytes::Opening { format: *format, commit: *commit, start };
            Ok(Sink::Bytes(Box::new(bytes::Files::open(destination, streams, headers, &opening)?)))
        }
        OutputFormat::Table => Ok(Sink::Batches(Box::new(table::Tables::open(destination, streams, *meta)?))),
        OutputFormat::Parquet | OutputFormat::Arrow => {
            Ok(Sink::Batches(Box::new(columns::ColumnFiles::open(destination, *format, streams, start)?)))
        }
    }
}

/// Tables are for people, on a terminal; what waits for checkpoints needs some.
fn check_continued(route: &Route, start: &Start) -> Result<(), SinkError> {
    let Some(path) = route.destination.path().map(str::to_string) else { return Ok(()) };
    match (start, route.guarantee(), route.commit) {
        (Start::Recorded(_), Guarantee::Nothing, _) => Err(SinkError::NotContinued { path }),
        (Start::Anew, _, Commit::Checkpoint) => Err(SinkError::NoCheckpoints { path }),
        (Start::Recorded(_) | Start::Anew, ..) => Ok(()),
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
