//! What the plan says of a source or sink: plain data, serializable, that readers, decoders and the
//! dataflow are configured with. The plan is built from these, and nothing here knows the plan.

use serde::{Deserialize, Serialize};

use crate::data::Schema;
use crate::expr::Expr;

/// One scan of an input: the partitions behind it are read once, whatever reads them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// How the report calls it: a path pattern, `stdin`, or a connector's name.
    pub name: String,
    pub input: Input,
    /// The types that the input's rows may have, with what is decoded of each.
    pub types: Vec<SourceType>,
    /// One timely output for each (type, watermark) that is read.
    pub outputs: Vec<SourceOutput>,
    pub on_error: OnError,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// Paths after glob expansion, sorted; each is a partition named by its path.
    Files {
        paths: Vec<String>,
        format: FileFormat,
        compression: Option<Compression>,
        time_unit: Option<TimeUnit>,
    },
    Stdin {
        format: FileFormat,
        time_unit: Option<TimeUnit>,
    },
    /// One growing file, followed for ever.
    Follow {
        path: String,
        format: FileFormat,
        time_unit: Option<TimeUnit>,
    },
    Generator {
        kind: GeneratorKind,
        rate_per_s: Option<u64>,
        limit: Option<u64>,
        seed: u64,
    },
}

impl Input {
    /// The unit of timestamps that are ints, where the program says.
    pub fn time_unit(&self) -> Option<TimeUnit> {
        match self {
            Input::Files { time_unit, .. } | Input::Stdin { time_unit, .. } | Input::Follow { time_unit, .. } => {
                *time_unit
            }
            Input::Generator { .. } => None,
        }
    }

    /// Whether rows may arrive at any time, and perhaps for ever.
    pub fn is_live(&self) -> bool {
        match self {
            Input::Files { .. } | Input::Stdin { .. } => false,
            Input::Follow { .. } => true,
            Input::Generator { rate_per_s, limit, .. } => rate_per_s.is_some() || limit.is_none(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GeneratorKind {
    Nexmark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileFormat {
    Jsonl,
    /// Delimiter `,`, or `\t` for TSV; sniffed from the header where the name does not say.
    Csv {
        delimiter: Option<u8>,
    },
    Evt,
    Parquet,
    Arrow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compression {
    Gzip,
    Zstd,
}

/// The unit of integer timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeUnit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// What is decoded of one event type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceType {
    /// The event type's name: what a row's `event_type` says.
    pub name: String,
    /// The fields that the program uses, the event time's included; a row is malformed when it
    /// cannot give one of them.
    pub schema: Schema,
    /// Units of integer timestamps by field, where the sample or declaration says; by position.
    pub time_units: Vec<Option<TimeUnit>>,
    /// Event time, over `schema`; null is malformed (`no_event_time`). `None`: the format's own
    /// time (`.evt` offsets) or, for a type without any, rejected before.
    pub time: Option<Expr>,
    /// Whether the schema was sampled: then a contradicting value stops the run.
    pub sampled: bool,
    /// All declared field names: what is not among them is reported as unknown.
    pub declared: Vec<String>,
    /// Whether the program reads its rows. Those of other types that it declares only move the watermark.
    pub is_read: bool,
}

/// The only type of which rows are read, if there is but one: rows that name no type are of it, and what it declares is
/// no tag.
pub fn only_read(types: &[SourceType]) -> Option<usize> {
    let mut read = types.iter().enumerate().filter(|(_, ty)| ty.is_read).map(|(i, _)| i);
    read.next().filter(|_| read.next().is_none())
}

/// A reader's view of a source: its type, its watermark, and what is done before rows leave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceOutput {
    /// Index into [`Source::types`].
    pub ty: usize,
    pub watermark: Watermark,
    /// Whether `_seq` is made.
    pub seq: bool,
    /// Rows that do not satisfy it are dropped inside the source, after their time has counted.
    pub filter: Option<Expr>,
}

/// The watermark strategy of a source's reader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watermark {
    pub strategy: WatermarkStrategy,
    /// Live sources only: how long a silent partition holds the others.
    pub idle_ns: i64,
    /// Live sources: a row further ahead of the arrival clock must be confirmed by a second one.
    pub max_ahead_ns: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WatermarkStrategy {
    /// `ascending` is this with 0.
    BoundedOutOfOrderness { out_of_order_ns: i64 },
    /// `out_of_order: unbounded`: moves at the end of the input.
    AtEnd,
    /// The arrival clock is the event time.
    ProcessingTime,
}

/// What to do with a malformed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnError {
    Skip,
    DeadLetter,
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputFormat {
    Jsonl,
    Csv,
    /// Aligned columns for people.
    Table,
    Parquet,
    Arrow,
}

/// When the rows of an output may be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Commit {
    #[default]
    AtOnce,
    /// Not before the checkpoint is committed that they belong to.
    Checkpoint,
}
