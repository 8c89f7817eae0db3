//! The ends of the graph: rows go to the writer as they come, or in one order whatever made them.
//!
//! Text rows are encoded and sorted where they were made, on every worker; the ordered sink merges encoded
//! rows by (`_at`, stream, key, `_seq`) on the first worker as the watermark passes, and what it holds
//! until then is state like any other. Columnar formats have a file per stream, so that only the order within a
//! stream matters to them.

use std::sync::{Arc, Mutex, PoisonError};

use super::counters::Counters;
use super::lanes::merge;
use super::order::{Clock, Runs, by_key, by_seq, by_value, sorted};
use crate::connector::sink::{Mark, SinkError};
use crate::data::{Batch, DataType};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::dataflow::stop::{Stop, StopReason};
use crate::state::entries::{Durable, Entries, RestoreError, SavedEntry, Worker};
use crate::state::scratch::Spill;

/// Writes the rows of a program's outputs.
pub trait Writer: Send {
    /// Writes rows of output number `stream`. Of a text format, the one column holds the encoded rows.
    fn write(&mut self, stream: usize, rows: &Batch) -> Result<(), WriteError>;

    /// Writes encoded rows of output number `stream`, one of a text format.
    fn write_text(&mut self, stream: usize, rows: &[u8]) -> Result<(), WriteError>;

    /// Makes what was written visible to readers.
    fn flush(&mut self) -> Result<(), WriteError>;

    /// What was written so far is what belongs to the epoch that ends: remembers how much that is.
    fn end_epoch(&mut self) -> Result<(), WriteError>;

    /// How much of each file belongs to the last epoch that ended and those before.
    fn take_marks(&mut self) -> Vec<Mark>;

    /// Completes all files.
    fn finish(&mut self) -> Result<(), SinkError>;
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nobody reads the output any more: the run ends, quietly.
    #[error("the output is closed")]
    Closed,
    #[error("{0}")]
    Failed(String),
}

/// A writer that the sinks of a process share, and how a failing one ends the run.
///
/// Sinks leave an epoch one by one. What one writes that is ahead of another is held until all have left
/// the epoch, so that the files hold exactly the rows of finished epochs when their lengths are recorded.
#[derive(Clone)]
pub struct SharedWriter {
    shared: Arc<Mutex<Epochs>>,
    stop: Arc<Stop>,
}

struct Epochs {
    writer: Box<dyn Writer>,
    /// The epoch whose rows are being written.
    epoch: u64,
    /// How many sinks write, and how many of them have left the epoch.
    sinks: usize,
    left: usize,
    /// Rows of the next epoch.
    held: Vec<(usize, Batch)>,
}

impl SharedWriter {
    /// Shared by so many `sinks` in all workers of the process.
    pub fn new(writer: Box<dyn Writer>, sinks: usize, epoch: u64, stop: Arc<Stop>) -> SharedWriter {
        let epochs = Epochs { writer, epoch, sinks, left: 0, held: Vec::new() };
        SharedWriter { shared: Arc::new(Mutex::new(epochs)), stop }
    }

    fn with(&self, action: impl FnOnce(&mut Epochs) -> Result<(), WriteError>) {
        if self.has_failed() {
            return;
        }
        let mut epochs = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match action(&mut epochs) {
            Ok(()) => {}
            Err(WriteError::Closed) => self.stop.request(StopReason::Closed),
            Err(WriteError::Failed(message)) => self.stop.fail(message),
        }
    }

    /// Writes rows that a sink, which is in `epoch`, has for output `stream`.
    pub fn write(&self, epoch: u64, stream: usize, rows: &Batch) {
        self.with(|e| {
            if epoch > e.epoch {
                e.held.push((stream, rows.clone()));
                return Ok(());
            }
            e.writer.write(stream, rows)
        });
    }

    /// Writes encoded rows for output `stream`, from a sink that is the only one.
    pub fn write_text(&self, stream: usize, rows: &[u8]) {
        self.with(|e| e.writer.write_text(stream, rows));
    }

    pub fn flush(&self) {
        self.with(|e| e.writer.flush());
    }

    /// See [`Writer::take_marks`]. After a failure, `None`: rows of the epoch may be missing.
    pub fn take_marks(&self) -> Option<Vec<Mark>> {
        let marks = self.shared.lock().unwrap_or_else(PoisonError::into_inner).writer.take_marks();
        (!self.has_failed()).then_some(marks)
    }

    fn has_failed(&self) -> bool {
        matches!(self.stop.reason(), Some(StopReason::Closed | StopReason::Failed(_)))
    }

    /// Completes all files, whatever made the run end.
    pub fn finish(&self) -> Result<(), SinkError> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).writer.finish()
    }

    /// A sink has written everything of its epoch.
    pub fn leave_epoch(&self) {
        self.with(|e| {
            e.left += 1;
            if e.left < e.sinks {
                return Ok(());
            }
            e.writer.end_epoch()?;
            e.left = 0;
            e.epoch += 1;
            std::mem::take(&mut e.held).iter().try_for_each(|(stream, rows)| e.writer.write(*stream, rows))?;
            e.writer.flush()
        });
    }
}

/// A sink that writes the rows of one output as they come. It holds nothing between epochs.
pub struct UnorderedSink {
    stream: usize,
    epoch: u64,
    wrote: bool,
    counters: Arc<Counters>,
    writer: SharedWriter,
}

impl UnorderedSink {
    /// `epoch` is the first of the run.
    pub fn new(stream: usize, epoch: u64, counters: Arc<Counters>, writer: SharedWriter) -> UnorderedSink {
        UnorderedSink { stream, epoch, wrote: false, counters, writer }
    }
}

impl Core for UnorderedSink {
    type Rows = Batch;

    fn apply(&mut self, _: usize, batch: Batch, _: &mut dyn Outlet<Batch>) {
        self.counters.add_out(batch.len());
        self.writer.write(self.epoch, self.stream, &batch);
        self.wrote = true;
    }

    fn fire(&mut self, _: i64, _: &mut dyn Outlet<Batch>) -> Progress {
        if std::mem::take(&mut self.wrote) {
            self.writer.flush();
        }
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        0
    }
}

impl Durable for UnorderedSink {
    fn track(&mut self, _: Worker) {}

    fn begin_save(&mut self, _: bool) {
        self.writer.leave_epoch();
        self.epoch += 1;
        self.counters.enter(self.epoch);
    }

    fn save(&mut self, _: usize, _: &mut Entries) -> bool {
        true
    }

    fn restore(&mut self, _: &SavedEntry<'_>) -> Result<(), RestoreError> {
        Ok(())
    }

    fn expect(&mut self, _: usize) {}

    fn spill_to(&mut self, _: &Arc<Spill>) {}

    fn shed(&mut self) {}

    fn take_ahead(&mut self) -> Entries {
        Entries::default()
    }
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
    /// By output: under what its rows are saved. A stream may be written to several places, in several
    /// forms; all its outputs have its name.
    held_as: Vec<String>,
    is_first: bool,
    epoch: u64,
    /// By output: its place among the outputs by name, which decides between rows of one place.
    ranks: Vec<usize>,
    /// By rank: the output.
    by_rank: Vec<usize>,
    waiting: Vec<Runs>,
    counters: Vec<Arc<Counters>>,
    writer: SharedWriter,
}

impl OrderedSink {
    /// Everything by output.
    pub fn new(
        names: &[&str],
        held_as: Vec<String>,
        forms: Vec<Form>,
        epoch: u64,
        counters: Vec<Arc<Counters>>,
        writer: SharedWriter,
    ) -> OrderedSink {
        let waiting = counters.iter().map(|_| Runs::new(Clock::Place)).collect();
        let rank = |i: usize| (0..names.len()).filter(|&j| (names[j], j) < (names[i], i)).count();
        let ranks: Vec<usize> = (0..names.len()).map(rank).collect();
        let mut by_rank = vec![0; ranks.len()];
        ranks.iter().enumerate().for_each(|(output, rank)| by_rank[*rank] = output);
        OrderedSink { forms, held_as, is_first: true, epoch, ranks, by_rank, waiting, counters, writer }
    }

    fn write_columns(&self, stream: usize, released: Vec<Batch>, types: &[DataType]) {
        let all = Batch::concat(&released);
        let rows = sorted(all, |b, x, y| {
            let places = b.places();
            let by_origin = places[x].cmp(&places[y]).then_with(|| by_key(b, x, y)).then_with(|| by_seq(b, x, y));
            by_origin.then_with(|| by_value(b, types, x, y))
        });
        self.writer.write(self.epoch, stream, &rows);
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

    fn output_delay_ns(&self) -> i64 {
        0
    }
}

/// What waits is in the order of places, and all of it is the first worker's.
impl Durable for OrderedSink {
    fn track(&mut self, worker: Worker) {
        self.is_first = worker.index == 0;
        self.waiting.iter_mut().for_each(|runs| runs.track(worker));
    }

    fn begin_save(&mut self, full: bool) {
        if self.is_first {
            self.writer.leave_epoch();
        }
        self.epoch += 1;
        self.counters.iter().for_each(|counters| counters.enter(self.epoch));
        self.waiting.iter_mut().for_each(|runs| runs.begin_save(full));
    }

    fn save(&mut self, limit: usize, out: &mut Entries) -> bool {
        let mut streams = self.waiting.iter_mut().zip(&self.held_as);
        streams.all(|(runs, name)| runs.save(name.as_bytes(), limit, out))
    }

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let name = entry.sub.split_last_chunk::<8>().map(|(name, _)| name);
        let stream = self.held_as.iter().position(|own| Some(own.as_bytes()) == name);
        // The rows of an output that the program no longer has, or has in another form, go with it: the
        // comparison of the programs has said so.
        let Some(stream) = stream.filter(|_| self.is_first) else { return Ok(()) };
        self.waiting[stream].restore(entry, |_, _| true)
    }

    fn expect(&mut self, _: usize) {}

    /// What waits is bounded by the back-pressure.
    fn spill_to(&mut self, _: &Arc<Spill>) {}

    fn shed(&mut self) {}

    fn take_ahead(&mut self) -> Entries {
        Entries::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when it is to write.
    struct Full;

    impl Writer for Full {
        fn write(&mut self, _: usize, _: &Batch) -> Result<(), WriteError> {
            Err(WriteError::Failed("disk full".to_string()))
        }

        fn write_text(&mut self, _: usize, _: &[u8]) -> Result<(), WriteError> {
            Ok(())
        }

        fn flush(&mut self) -> Result<(), WriteError> {
            Ok(())
        }

        fn end_epoch(&mut self) -> Result<(), WriteError> {
            Ok(())
        }

        fn take_marks(&mut self) -> Vec<Mark> {
            Vec::new()
        }

        fn finish(&mut self) -> Result<(), SinkError> {
            Ok(())
        }
    }

    /// Operators go on handing over until the run has stopped, and no checkpoint may come of it.
    #[test]
    fn an_epoch_whose_rows_were_not_written_has_no_marks() {
        let stop = Arc::new(Stop::default());
        let writer = SharedWriter::new(Box::new(Full), 1, 0, stop.clone());
        writer.leave_epoch();
        assert!(writer.take_marks().is_some());
        writer.write(1, 0, &Batch::default());
        writer.leave_epoch();
        assert!(writer.take_marks().is_none());
    }
}
