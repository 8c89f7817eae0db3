//! The ends of the graph: rows go to the writer as they come, or in one order whatever made them.
//!
//! Text rows are encoded and sorted where they were made, on every worker; the ordered sink merges encoded
//! rows by (`_at`, stream, key, `_seq`) on the first worker as the watermark passes, and what it holds
//! until then is state like any other. Columnar formats have a file per stream, so that only the order within a
//! stream matters to them.

use std::sync::{Arc, Mutex, PoisonError};

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use super::counters::Counters;
use super::driven::{PacketBuilder, Packets};
use super::lanes::merge;
use super::order::{Clock, Runs, by_key, by_seq, by_value, sorted};
use crate::data::{Batch, DataType};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::dataflow::stop::{Stop, StopReason};

/// Writes the rows of a program's outputs.
pub trait Writer: Send {
    /// Writes rows of output number `stream`. Of a text format, the one column holds the encoded rows.
    fn write(&mut self, stream: usize, rows: &Batch) -> Result<(), WriteError>;

    /// Writes encoded rows of output number `stream`, one of a text format.
    fn write_text(&mut self, stream: usize, rows: &[u8]) -> Result<(), WriteError>;

    /// Makes what was written visible to readers.
    fn flush(&mut self) -> Result<(), WriteError>;
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nobody reads the output any more: the run ends, quietly.
    #[error("the output is closed")]
    Closed,
    #[error("{0}")]
    Failed(String),
}

/// A writer that the workers of a process share, and how a failing one ends the run.
#[derive(Clone)]
pub struct SharedWriter {
    pub writer: Arc<Mutex<dyn Writer>>,
    pub stop: Arc<Stop>,
}

impl SharedWriter {
    fn with(&self, action: impl FnOnce(&mut dyn Writer) -> Result<(), WriteError>) {
        if matches!(self.stop.reason(), Some(StopReason::Closed | StopReason::Failed(_))) {
            return;
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        match action(&mut *writer) {
            Ok(()) => {}
            Err(WriteError::Closed) => self.stop.request(StopReason::Closed),
            Err(WriteError::Failed(message)) => self.stop.fail(message),
        }
    }

    pub fn write(&self, stream: usize, rows: &Batch) {
        self.with(|w| w.write(stream, rows));
    }

    pub fn write_text(&self, stream: usize, rows: &[u8]) {
        self.with(|w| w.write_text(stream, rows));
    }

    pub fn flush(&self) {
        self.with(|w| w.flush());
    }
}

/// Adds a sink that writes output `stream` as rows come.
pub fn unordered_sink(input: Packets<'_>, stream: usize, counters: Arc<Counters>, writer: SharedWriter) {
    let ends = input.unary::<PacketBuilder, _, _, _>(Pipeline, "sink", move |_, _| {
        move |input, _| {
            let mut wrote = false;
            input.for_each(|_, packet| {
                let batch = packet.take();
                counters.add_out(batch.len());
                writer.write(stream, &batch);
                wrote = true;
            });
            if wrote {
                writer.flush();
            }
        }
    });
    drop(ends);
}

/// How the rows of an output are encoded, and so how they are ordered among others.
#[derive(Clone, Debug)]
pub enum Form {
    /// One column of encoded rows; all text outputs are written in one sequence.
    Text,
    /// Columns of these types; each such output is a sequence of its own.
    Columns(Vec<DataType>),
}

/// See the module's doc; input `i` carries the rows of output `i`, those of text formats in the order of
/// [`in_text_order`](super::lanes::in_text_order).
pub struct OrderedSink {
    forms: Vec<Form>,
    /// By output: its place among the outputs by name, which decides between rows of one place.
    ranks: Vec<usize>,
    /// By rank: the output.
    by_rank: Vec<usize>,
    waiting: Vec<Runs>,
    counters: Vec<Arc<Counters>>,
    writer: SharedWriter,
}

impl OrderedSink {
    /// `names`, `forms` and `counters` by output.
    pub fn new(names: &[&str], forms: Vec<Form>, counters: Vec<Arc<Counters>>, writer: SharedWriter) -> OrderedSink {
        let waiting = counters.iter().map(|_| Runs::new(Clock::Place)).collect();
        let rank = |i: usize| (0..names.len()).filter(|&j| (names[j], j) < (names[i], i)).count();
        let ranks: Vec<usize> = (0..names.len()).map(rank).collect();
        let mut by_rank = vec![0; ranks.len()];
        ranks.iter().enumerate().for_each(|(output, rank)| by_rank[*rank] = output);
        OrderedSink { forms, ranks, by_rank, waiting, counters, writer }
    }

    fn write_columns(&self, stream: usize, released: Vec<Batch>, types: &[DataType]) {
        let all = Batch::concat(&released);
        let rows = sorted(all, |b, x, y| {
            let places = b.places();
            let by_origin = places[x].cmp(&places[y]).then_with(|| by_key(b, x, y)).then_with(|| by_seq(b, x, y));
            by_origin.then_with(|| by_value(b, types, x, y))
        });
        self.writer.write(stream, &rows);
    }
}

impl Core for OrderedSink {
    type Rows = Batch;

    fn apply(&mut self, input: usize, batch: Batch, _: &mut dyn Outlet<Batch>) {
        self.counters[input].add_out(batch.len());
        self.waiting[input].push(batch);
    }

    fn fire(&mut self, watermark: i64, _: &mut dyn Outlet<Batch>) -> Progress {
        let mut text = Vec::new();
        let mut wrote = false;
        for stream in 0..self.waiting.len() {
            let rows = self.waiting[stream].release(watermark);
            wrote |= !rows.is_empty();
            match &self.forms[stream] {
                Form::Text => text.extend(rows.into_iter().map(|b| (self.ranks[stream], b))),
                Form::Columns(types) if !rows.is_empty() => self.write_columns(stream, rows, types),
                Form::Columns(_) => {}
            }
        }
        if !text.is_empty() {
            merge(text, &mut |rank, rows| self.writer.write_text(self.by_rank[rank], rows));
        }
        if wrote {
            self.writer.flush();
        }
        Progress::Done
    }

    fn hand_over(&mut self, _: u64) -> Progress {
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        0
    }
}
