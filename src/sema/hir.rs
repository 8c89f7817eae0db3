//! A program that means something: names are ids and column positions, every expression is typed,
//! sugar is gone, and every rejection is behind us.
//!
//! It is still told stream by stream, in the order in which streams can be built; the planner makes
//! one graph of it. Rows of a stream have the fields that the program sees and *hidden* columns,
//! whose names begin with `$`: the values of the partition key (`$key0`, …), the bounds of the rows'
//! window (`$window_start`, `$window_end`) and sort keys (`$sort0`, …). They travel with the rows until
//! the stream ends, so that a stateful operator may refer to a key that a projection has removed.
//!
//! A table is a stream, too: of its changes. Each row has, beside the table's fields, the columns `$diff` (-1: the row
//! is no longer in the table, +1: from now on it is) and `$key0`, …, the table's key. Its time and its place are
//! that at which the change takes effect; an update is two rows.

use serde::{Deserialize, Serialize};

use crate::connector::spec::{Commit, Input, OnError, OutputFormat, TimeUnit, Watermark};
use crate::data::{DataType, Schema};
use crate::diagnostic::Span;
use crate::expr::Expr;
use crate::expr::aggregate::AggregateFunction;
use crate::join::Join;
use crate::pattern::Pattern;

pub use crate::sema::relate::{Relate, TableJoin};
pub use crate::sema::settings::{Backend, CheckpointOptions, Settings, StateOptions};

pub type StreamId = usize;
pub type TypeId = usize;
pub type ScanId = usize;

/// A checked program.
#[derive(Clone, Debug)]
pub struct Program {
    /// The event types that streams read.
    pub types: Vec<EventType>,
    /// The inputs that are read.
    pub scans: Vec<Scan>,
    /// Each after the streams that it reads.
    pub streams: Vec<Stream>,
    /// The watermark of sources that no `.watermark` changes.
    pub watermark: Watermark,
    /// How it is run.
    pub settings: Settings,
}

/// An event type with all its declared (or sampled) fields.
#[derive(Clone, Debug, PartialEq)]
pub struct EventType {
    pub name: String,
    pub schema: Schema,
    /// Over `schema`; `None` where the format gives the time, or the arrival clock does.
    pub time: Option<Expr>,
    pub time_units: Vec<Option<TimeUnit>>,
    pub sampled: bool,
}

/// One input, read once.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    pub name: String,
    pub input: Input,
    pub on_error: OnError,
    /// The declared types of which it may have rows. Those of types that nobody reads move the watermark, too.
    pub timed: Vec<TimedType>,
}

/// What a type's rows have to do with their watermark.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedType {
    /// The type with the fields that are its event time, and nothing else.
    pub ty: EventType,
    /// The names of all its fields.
    pub declared: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Stream {
    pub name: String,
    pub span: Span,
    pub source: Source,
    /// The columns of the source's rows.
    pub source_schema: Schema,
    /// Of `.watermark`: replaces that of every source it reads through stateless operators.
    pub watermark: Option<WatermarkChange>,
    /// Lateness that its stateful operators allow.
    pub lateness_ns: i64,
    pub ops: Vec<Op>,
    /// The fields of its rows; no hidden columns are left but those of a table's changes.
    pub schema: Schema,
    /// Of a table.
    pub relation: Option<Relation>,
    pub outputs: Vec<Output>,
}

/// That a stream's rows are the changes of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    /// How the parts of its key are called; part `i` is column `$key<i>`.
    pub key_names: Vec<String>,
    /// Whether it follows from other tables: its changes are not yet in order, and may cancel each other out.
    pub is_derived: bool,
}

/// What a stream reads.
#[derive(Clone, Debug)]
pub enum Source {
    Event {
        ty: TypeId,
        scans: Vec<ScanId>,
    },
    Stream(StreamId),
    /// Each input is followed by a projection onto the common schema.
    Merge(Vec<MergeInput>),
    Timer {
        period_ns: i64,
    },
    /// Joins, each of the rows before and one input more.
    Join(Joined),
    /// The rows too late for the first stateful operator of a stream; the fields are those of that
    /// operator's input that `columns` names.
    Late {
        of: StreamId,
        columns: Vec<usize>,
    },
}

/// A join of several inputs: one of two inputs for each input after the first.
#[derive(Clone, Debug)]
pub struct Joined {
    pub inputs: Vec<JoinInput>,
    pub steps: Vec<JoinStep>,
}

#[derive(Clone, Debug)]
pub struct JoinInput {
    pub source: Source,
    /// The source's fields, and the event time of its rows as the last column.
    pub schema: Schema,
}

#[derive(Clone, Debug)]
pub struct JoinStep {
    /// `left_join within 10m`.
    pub label: String,
    pub join: Join,
    /// Of the rows that come out, with all columns of the inputs up to here.
    pub schema: Schema,
}

#[derive(Clone, Debug)]
pub struct MergeInput {
    pub source: Source,
    pub projection: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub struct WatermarkChange {
    pub watermark: Watermark,
    /// `on: e`, over the columns where `.watermark` stands, after so many of the stream's operators, and
    /// where it is written.
    pub on: Option<(usize, Expr, Span)>,
}

/// An operator of a stream.
#[derive(Clone, Debug)]
pub struct Op {
    /// As the program calls it: `where`, `window 5m`, ….
    pub label: String,
    pub span: Span,
    pub kind: OpKind,
    /// The columns of its output, hidden ones included.
    pub schema: Schema,
}

#[derive(Clone, Debug)]
pub enum OpKind {
    Step(Step),
    Keyed(Keyed),
    Enrich(Enrich),
    /// Of a table that follows from tables.
    Relate(Relate),
    JoinTable {
        right: StreamId,
        join: TableJoin,
    },
}

impl OpKind {
    /// The table that the operator reads beside its input.
    pub fn table(&self) -> Option<StreamId> {
        match self {
            OpKind::Enrich(enrich) => Some(enrich.table),
            OpKind::JoinTable { right, .. } => Some(*right),
            OpKind::Step(_) | OpKind::Keyed(_) | OpKind::Relate(_) => None,
        }
    }
}

/// A lookup of each row in a table, as of the row's place.
#[derive(Clone, Debug)]
pub struct Enrich {
    pub table: StreamId,
    pub lookup: Lookup,
}

/// What is looked up in a table, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// Over the input, of the types of the table's key.
    pub on: Vec<Expr>,
    /// The columns of the table that are appended to those of the input, each with its value where there is no
    /// match: a literal.
    pub fields: Vec<(usize, Expr)>,
    /// Whether rows without a match are dropped (and counted).
    pub required: bool,
}

/// A stateless operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Filter(Expr),
    /// The columns are replaced by these.
    Project(Vec<Expr>),
    /// A rendered row goes to stderr; the rows stay as they are.
    Print {
        prefix: String,
        expr: Expr,
    },
    Log {
        level: LogLevel,
        message: Expr,
    },
}

/// A stateful operator with the key by which its rows are grouped.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyed {
    /// Expressions over the input; empty: one group.
    pub key: Vec<Expr>,
    pub kind: KeyedKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum KeyedKind {
    /// One row per group and window: the key, `window_start`, `window_end`, the aggregates.
    Aggregate { windows: Windows, aggregates: Vec<AggregateCall> },
    /// The rows of each group and window, without those that are not distinct, sorted, and at most
    /// `limit`. Output: the input's columns, then (unless the windows are from upstream) the bounds.
    Rows { windows: Windows, order: Vec<SortKey>, limit: Option<u64>, distinct: Option<Vec<Expr>> },
    /// One row per input row in event-time order: the key, the running aggregates.
    Running { aggregates: Vec<AggregateCall> },
    /// The first row per key and value of `by`.
    Distinct { by: Vec<Expr>, within_ns: Option<i64> },
    /// The first `n` rows per key.
    Limit { n: u64 },
    /// The matches of a pattern among the rows of a key.
    Pattern(Box<Pattern>),
    /// The changes of a table that has the latest row of each key. Output: the input's columns, `$diff`, the key. A
    /// row for which `delete` is true deletes. A lateness of `i64::MAX` is none: no row comes too late.
    Table { delete: Option<Expr>, lateness_ns: i64 },
    /// The changes of a table as a stream: what is the same before and after is left out. `diff` is the column of
    /// that name. Output: the input's columns, `$op`. Without `as_diff` an update is one row, the new one.
    Changes { diff: Expr, as_diff: bool },
    /// The rows of a table when the input has ended, in the order of `by`, its key. Output: the input's columns.
    Snapshot { diff: Expr, by: Vec<Expr> },
}

/// An aggregate over expressions of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// Of the types that the function takes; casts are explicit.
    pub args: Vec<Expr>,
    pub ty: DataType,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SortKey {
    pub expr: Expr,
    pub descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// How rows fall into windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Windows {
    /// `[start, end)` with `start = offset (mod slide)`; tumbling when `slide == size`. With a time
    /// zone, whole days are aligned to local midnight.
    Time {
        size_ns: i64,
        slide_ns: i64,
        offset_ns: i64,
        tz: Option<String>,
    },
    Session {
        gap_ns: i64,
    },
    /// The last `size` rows of a key, every `slide` rows.
    Count {
        size: u64,
        slide: u64,
        partial: bool,
    },
    /// Rows of one firing upstream belong together: the window is (column `start`, column `end`).
    Upstream {
        start: usize,
        end: usize,
    },
}

impl Windows {
    /// Whether rows must be applied in (`_time`, `_seq`) order, so that they are buffered until the
    /// watermark passes.
    pub fn is_order_sensitive(&self) -> bool {
        match self {
            Windows::Session { .. } | Windows::Count { .. } => true,
            Windows::Time { .. } | Windows::Upstream { .. } => false,
        }
    }
}

/// Where the rows of an output stream go.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The stream's name or its `as` type.
    pub name: String,
    pub target: Target,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Where the command line says.
    Default,
    Stdout {
        format: OutputFormat,
    },
    File {
        path: String,
        format: OutputFormat,
        commit: Commit,
    },
}

impl Keyed {
    /// Calls `visit` on every expression over the input but the key, and stops at the first error. The conditions of
    /// a pattern are over more than the input, and are not visited.
    pub fn for_each_expr<'e, E>(&'e self, visit: &mut dyn FnMut(&'e Expr) -> Result<(), E>) -> Result<(), E> {
        match &self.kind {
            KeyedKind::Aggregate { aggregates, .. } | KeyedKind::Running { aggregates } => {
                aggregates.iter().flat_map(|a| &a.args).try_for_each(visit)
            }
            KeyedKind::Rows { order, distinct, .. } => {
                order.iter().map(|k| &k.expr).chain(distinct.iter().flatten()).try_for_each(visit)
            }
            KeyedKind::Distinct { by, .. } => by.iter().try_for_each(visit),
            KeyedKind::Limit { .. } => Ok(()),
            KeyedKind::Pattern(pattern) => pattern.row_exprs().try_for_each(visit),
            KeyedKind::Table { delete, .. } => delete.iter().try_for_each(visit),
            KeyedKind::Changes { diff, .. } => visit(diff),
            KeyedKind::Snapshot { diff, by } => std::iter::once(diff).chain(by).try_for_each(visit),
        }
    }

    /// Every expression over the input, the key's too, replaced by `f` of it; every column of the input that is
    /// referred to in another way by `column` of it: those of a window from upstream, and of a pattern's conditions.
    pub fn map(&mut self, f: &mut dyn FnMut(Expr) -> Expr, column: &dyn Fn(usize) -> usize) {
        let mut change = |e: &mut Expr| *e = f(std::mem::replace(e, Expr::EventTime));
        self.key.iter_mut().for_each(&mut change);
        match &mut self.kind {
            KeyedKind::Aggregate { aggregates, .. } | KeyedKind::Running { aggregates } => {
                aggregates.iter_mut().flat_map(|a| &mut a.args).for_each(&mut change);
            }
            KeyedKind::Rows { order, distinct, .. } => {
                order.iter_mut().for_each(|k| change(&mut k.expr));
                distinct.iter_mut().flatten().for_each(&mut change);
            }
            KeyedKind::Distinct { by, .. } => by.iter_mut().for_each(&mut change),
            KeyedKind::Limit { .. } => {}
            KeyedKind::Pattern(pattern) => pattern.map_rows(f, column),
            KeyedKind::Table { delete, .. } => delete.iter_mut().for_each(&mut change),
            KeyedKind::Changes { diff, .. } => change(diff),
            KeyedKind::Snapshot { diff, by } => std::iter::once(diff).chain(by).for_each(&mut change),
        }
        if let Some(Windows::Upstream { start, end }) = self.windows_mut() {
            (*start, *end) = (column(*start), column(*end));
        }
    }

    pub fn windows(&self) -> Option<&Windows> {
        match &self.kind {
            KeyedKind::Aggregate { windows, .. } | KeyedKind::Rows { windows, .. } => Some(windows),
            KeyedKind::Running { .. }
            | KeyedKind::Distinct { .. }
            | KeyedKind::Limit { .. }
            | KeyedKind::Pattern(_)
            | KeyedKind::Table { .. }
            | KeyedKind::Changes { .. }
            | KeyedKind::Snapshot { .. } => None,
        }
    }

    fn windows_mut(&mut self) -> Option<&mut Windows> {
        match &mut self.kind {
            KeyedKind::Aggregate { windows, .. } | KeyedKind::Rows { windows, .. } => Some(windows),
            KeyedKind::Running { .. }
            | KeyedKind::Distinct { .. }
            | KeyedKind::Limit { .. }
            | KeyedKind::Pattern(_)
            | KeyedKind::Table { .. }
            | KeyedKind::Changes { .. }
            | KeyedKind::Snapshot { .. } => None,
        }
    }
}

impl Stream {
    /// Whether it has an effect without being an output: `.print`, `.log`.
    pub fn tells(&self) -> bool {
        let tells = |op: &Op| matches!(op.kind, OpKind::Step(Step::Print { .. } | Step::Log { .. }));
        self.ops.iter().any(tells)
    }
}
