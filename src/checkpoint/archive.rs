//! The thread that makes checkpoints: it takes what workers hand over, writes it, and tells the
//! coordinator; in the first process it is the coordinator.
//!
//! Compression and I/O happen here and nowhere else, so that a worker never waits for a disk. What is
//! handed over and not yet written is counted: a worker that is ahead of the disk yields
//! ([`Saver::is_crowded`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

use super::config::CheckpointConfig;
use super::protocol::{Action, Message, ProcessReport, Protocol, StateReport, Want};
use super::retention;
use super::segment::encode_segment;
use crate::failpoint::hit;
use crate::state::entries::Entries;
use crate::state::manifest::{Checkpoint, PartitionRecord, SegmentRecord, SinkRecord};
use crate::state::store::{SharedStore, StoreError};

/// Bytes of entries, before compression, that make a segment.
const SEGMENT_BYTES: usize = 32 << 20;
/// How much may wait to be written.
const WAITING_BYTES_MAX: usize = 128 << 20;

/// What the thread needs of the process around it.
pub trait Process: Send {
    /// Sources shall enter the epoch after `epoch`.
    fn enter(&mut self, epoch: u64);

    /// Where the partitions stood when they left the epoch.
    fn partitions(&mut self) -> Result<BTreeMap<String, PartitionRecord>, String>;

    /// Makes durable what the sinks had written when they left the epoch.
    fn sinks(&mut self) -> Result<BTreeMap<String, SinkRecord>, String>;

    /// What was counted up to the end of `epoch`.
    fn counters(&mut self, epoch: u64) -> serde_json::Value;

    /// `epoch` is durable: sinks may show what belongs to it. If `last`, the run ends.
    fn committed(&mut self, epoch: u64, last: bool);

    /// An epoch was given up, or something else that the user is to know.
    fn warn(&mut self, text: String);

    /// The run cannot go on.
    fn fail(&mut self, reason: String);

    /// Says something to another process.
    fn send(&mut self, process: usize, message: Message);
}

/// What is the same in all records of a run.
#[derive(Clone)]
pub struct Header {
    /// Everything but what each epoch adds: generation, workers, program, definitions of the states.
    pub record: Checkpoint,
    pub process: usize,
    pub processes: usize,
    /// The first epoch of the run.
    pub epoch: u64,
    /// Workers of this process times states that each hands over.
    pub handovers: usize,
}

/// How other threads reach the archive.
#[derive(Clone)]
pub struct Archive {
    events: Sender<Event>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    /// Whether the epoch that is being handed over is to be saved in full.
    full: AtomicBool,
}

enum Event {
    Entries {
        epoch: u64,
        state: Arc<str>,
        entries: Entries,
    },
    Finished {
        epoch: u64,
        state: Arc<str>,
        worker: usize,
        clock: i64,
    },
    Said(Message),
    /// The inputs of this process have ended.
    Ended,
    Wanted(Want),
    /// The dataflow is gone.
    Close,
}

/// One operator's way to hand its state over.
#[derive(Clone)]
pub struct Saver {
    archive: Archive,
    state: Arc<str>,
    /// Counted over all processes.
    worker: usize,
}

impl Archive {
    /// The handle, and what [`run`] needs to serve it.
    pub fn new() -> (Archive, Inbox) {
        let (events, inbox) = channel();
        let shared = Arc::<Shared>::default();
        (Archive { events, shared: shared.clone() }, Inbox { events: inbox, shared })
    }

    pub fn saver(&self, state: &str, worker: usize) -> Saver {
        Saver { archive: self.clone(), state: state.into(), worker }
    }

    pub fn want(&self, want: Want) {
        self.tell(Event::Wanted(want));
    }

    /// Another process, or a part of this one, says something.
    pub fn hear(&self, message: Message) {
        self.tell(Event::Said(message));
    }

    /// The inputs of this process have ended: only the last checkpoint is still to be made.
    pub fn inputs_ended(&self) {
        self.tell(Event::Ended);
    }

    /// Nothing more will be handed over.
    pub fn close(&self) {
        self.tell(Event::Close);
    }

    fn tell(&self, event: Event) {
        // When the thread is gone the run is ending, and nobody needs to know.
        let _ = self.events.send(event);
    }
}

impl Saver {
    /// Whether the epoch that is being handed over is to be saved in full.
    pub fn is_full(&self) -> bool {
        self.archive.shared.full.load(Ordering::Acquire)
    }

    /// Whether so much waits to be written that the operator shall wait as well.
    pub fn is_crowded(&self) -> bool {
        self.archive.shared.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX
    }

    /// Hands over entries of `epoch`, which may not have ended yet.
    pub fn save(&self, epoch: u64, entries: Entries) {
        self.archive.shared.waiting_bytes.fetch_add(entries.bytes(), Ordering::Relaxed);
        self.archive.tell(Event::Entries { epoch, state: self.state.clone(), entries });
    }

    /// All entries of `epoch` were saved; `clock` is where the operator's expiries stand.
    pub fn finish(&self, epoch: u64, clock: i64) {
        self.archive.tell(Event::Finished { epoch, state: self.state.clone(), worker: self.worker, clock });
    }
}

fn failed(name: &str, source: std::io::Error) -> StoreError {
    StoreError::Io { place: name.to_string(), source }
}

/// What [`run`] reads.
pub struct Inbox {
    events: Receiver<Event>,
    shared: Arc<Shared>,
}

/// Serves an archive until it is closed or the run has ended.
pub fn run(inbox: Inbox, store: SharedStore, config: CheckpointConfig, header: Header, process: Box<dyn Process>) {
    let started = Instant::now();
    let interval_ms = config.interval.as_millis() as u64;
    let protocol =
        (header.process == 0).then(|| Protocol::new(header.processes, header.epoch, interval_ms, config.full, 0));
    let mut thread = Thread {
        epoch: header.epoch,
        shared: inbox.shared,
        store,
        config,
        header,
        process,
        protocol,
        started,
        waiting: BTreeMap::new(),
        waiting_bytes: 0,
        ahead: Vec::new(),
        report: ProcessReport::default(),
        finished: 0,
        failed: None,
        is_over: false,
    };
    while !thread.is_over {
        let wait = thread.protocol.as_ref().map_or(u64::MAX, |p| p.wait_ms(thread.now_ms()));
        match inbox.events.recv_timeout(Duration::from_millis(wait.clamp(1, 60_000))) {
            Ok(event) => thread.handle(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        thread.tick();
    }
}

struct Thread {
    shared: Arc<Shared>,
    store: SharedStore,
    config: CheckpointConfig,
    header: Header,
    process: Box<dyn Process>,
    /// In the first process.
    protocol: Option<Protocol>,
    started: Instant,
    /// The epoch being handed over, or to be handed over next.
    epoch: u64,
    /// Entries for the next segment, by state.
    waiting: BTreeMap<Arc<str>, Vec<Entries>>,
    waiting_bytes: usize,
    /// Entries of the next epoch.
    ahead: Vec<(Arc<str>, Entries)>,
    report: ProcessReport,
    /// Hand-overs of the epoch that are complete.
    finished: usize,
    failed: Option<String>,
    is_over: bool,
}

impl Thread {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Entries { epoch, state, entries } if epoch > self.epoch => {
                // Whoever still hands over the epoch before must not wait for these.
                self.shared.waiting_bytes.fetch_sub(entries.bytes(), Ordering::Relaxed);
                self.ahead.push((state, entries));
            }
            Event::Entries { state, entries, .. } => self.take(state, entries),
            Event::Finished { epoch, state, worker, clock } => {
                debug_assert_eq!(epoch, self.epoch, "one epoch at a time");
                self.report.states.entry(state.to_string()).or_default().clocks.insert(worker, clock);
                self.finished += 1;
                if self.finished == self.header.handovers {
                    self.finish_epoch();
                }
            }
            Event::Said(message) => self.hear(message),
            Event::Ended => self.say(0, Message::Ended { process: self.header.process }),
            Event::Wanted(want) => self.say(0, Message::Wanted(want)),
            Event::Close => self.is_over = true,
        }
    }

    fn take(&mut self, state: Arc<str>, entries: Entries) {
        let of_state: &mut StateReport = self.report.states.entry(state.to_string()).or_default();
        of_state.entries += entries.len() as u64;
        of_state.bytes += entries.bytes() as u64;
        self.waiting_bytes += entries.bytes();
        self.waiting.entry(state).or_default().push(entries);
        if self.waiting_bytes >= SEGMENT_BYTES {
            self.write_segment();
        }
    }

    /// Writes what waits, unless the epoch is lost anyway.
    fn write_segment(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let states: Vec<(&str, &[Entries])> = waiting.iter().map(|(state, parts)| (&**state, &parts[..])).collect();
        let entries = waiting.values().flatten().map(|part| part.len() as u64).sum();
        if entries > 0 && self.failed.is_none() {
            let bytes = encode_segment(&states, self.config.compression);
            let number = self.report.segments.len();
            let name = retention::segment_name(
                &self.config.key_prefix,
                self.header.record.generation,
                self.epoch,
                self.header.process,
                number,
            );
            let put =
                hit("checkpoint.segment").map_err(|e| failed(&name, e)).and_then(|()| self.store.put(&name, &bytes));
            match put {
                Ok(()) => self.report.segments.push(SegmentRecord {
                    name,
                    bytes: bytes.len() as u64,
                    checksum: xxh3_64(&bytes),
                    entries,
                    epoch: self.epoch,
                    // What the checkpoint will be is known at its end.
                    full: false,
                }),
                Err(error) => self.failed = Some(error.to_string()),
            }
        }
        self.shared.waiting_bytes.fetch_sub(self.waiting_bytes, Ordering::Relaxed);
        self.waiting_bytes = 0;
    }

    /// Everything of the epoch has been handed over: the process is done with it once it is written.
    fn finish_epoch(&mut self) {
        self.write_segment();
        let mut report = std::mem::take(&mut self.report);
        let full = self.shared.full.load(Ordering::Acquire);
        report.segments.iter_mut().for_each(|s| s.full = full);
        report.counters = self.process.counters(self.epoch);
        // Both leave the epoch, whatever becomes of the other.
        let (partitions, sinks) = (self.process.partitions(), self.process.sinks());
        let outcome = match (self.failed.take(), partitions, sinks) {
            (Some(reason), ..) | (None, Err(reason), _) | (None, Ok(_), Err(reason)) => Err(reason),
            (None, Ok(partitions), Ok(sinks)) => Ok(ProcessReport { partitions, sinks, ..report }),
        };
        let epoch = self.epoch;
        self.epoch += 1;
        self.finished = 0;
        for (state, entries) in std::mem::take(&mut self.ahead) {
            self.shared.waiting_bytes.fetch_add(entries.bytes(), Ordering::Relaxed);
            self.take(state, entries);
        }
        self.say(0, Message::Report { process: self.header.process, epoch, outcome });
    }

    fn say(&mut self, to: usize, message: Message) {
        if to == self.header.process {
            self.hear(message);
        } else {
            self.process.send(to, message);
        }
    }

    fn say_to_all(&mut self, message: &Message) {
        (0..self.header.processes).for_each(|process| self.say(process, message.clone()));
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Enter { epoch, full } => {
                self.shared.full.store(full, Ordering::Release);
                self.process.enter(epoch);
            }
            Message::Committed { epoch, last } => {
                self.process.committed(epoch, last);
                self.is_over |= last;
            }
            Message::Ended { process } => self.protocol.iter_mut().for_each(|p| p.ended(process)),
            Message::Wanted(want) => self.protocol.iter_mut().for_each(|p| p.want(want)),
            Message::Report { process, epoch, outcome } => {
                let action = self.protocol.as_mut().and_then(|p| p.report(process, epoch, outcome));
                action.into_iter().for_each(|a| self.act(a));
            }
        }
    }

    fn tick(&mut self) {
        let now_ms = self.now_ms();
        let action = self.protocol.as_mut().and_then(|p| p.tick(now_ms));
        action.into_iter().for_each(|a| self.act(a));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Enter { epoch, full } => self.say_to_all(&Message::Enter { epoch, full }),
            Action::Abandon { epoch, reason } => self.abandon(epoch, reason),
            Action::Commit { epoch, reports, segments, finished } => {
                let record = self.record(epoch, reports, segments, finished);
                match self.commit(&record) {
                    Ok(true) => {
                        let last = finished || self.stops_after(epoch);
                        self.say_to_all(&Message::Committed { epoch, last });
                        if !last {
                            self.settle(epoch);
                        }
                    }
                    Ok(false) => {
                        self.process.fail("another run has taken over this state; this one stops".to_string());
                        self.is_over = true;
                    }
                    Err(error) => self.abandon(epoch, error.to_string()),
                }
            }
        }
    }

    fn stops_after(&self, epoch: u64) -> bool {
        self.protocol.as_ref().is_some_and(|p| p.stops_after(epoch))
    }

    fn abandon(&mut self, epoch: u64, reason: String) {
        self.process.warn(format!("checkpoint {epoch} was given up: {reason}"));
        let now_ms = self.now_ms();
        if self.protocol.as_mut().is_some_and(|p| p.failed(epoch, now_ms)) {
            self.process.fail(format!("the run stops without its last checkpoint: {reason}"));
            self.is_over = true;
        }
        self.settle(epoch);
    }

    /// Says if an epoch took longer than it may.
    fn settle(&mut self, epoch: u64) {
        let now_ms = self.now_ms();
        if let Some(skipped) = self.protocol.as_mut().and_then(|p| p.settled(now_ms)) {
            let interval = self.config.interval;
            self.process.warn(format!(
                "checkpoint {epoch} was not done when the next were due: {skipped} were skipped; the interval of \
                 {interval:?} is too short for this store"
            ));
        }
    }

    fn record(
        &self,
        epoch: u64,
        reports: BTreeMap<usize, ProcessReport>,
        segments: Vec<SegmentRecord>,
        finished: bool,
    ) -> Checkpoint {
        let mut record = self.header.record.clone();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (record.id, record.timestamp_ms) = (epoch, since_1970.as_millis() as u64);
        (record.segments, record.finished) = (segments, finished);
        let (mut counters, workers) = (Vec::new(), record.workers);
        for report in reports.into_values() {
            for (name, state) in report.states {
                let Some(summary) = record.state_mut(&name) else { continue };
                summary.entries_written += state.entries;
                summary.bytes_written += state.bytes;
                summary.watermarks.resize(workers, i64::MIN);
                state.clocks.into_iter().for_each(|(worker, clock)| summary.watermarks[worker] = clock);
            }
            record.partitions.extend(report.partitions);
            record.sinks.extend(report.sinks);
            counters.push(report.counters);
        }
        record.events_processed = record.partitions.values().map(|p| p.rows).sum();
        record.counters = counters.into();
        record
    }

    /// Writes the record; `false` if another run has taken over.
    fn commit(&mut self, record: &Checkpoint) -> Result<bool, StoreError> {
        let prefix = &self.config.key_prefix;
        if retention::newest_generation(&*self.store, prefix)? > record.generation {
            return Ok(false);
        }
        hit("checkpoint.commit").map_err(|e| failed(prefix, e))?;
        if !self.store.save_checkpoint(prefix, record)? {
            return Ok(false);
        }
        // Whatever happens from here on, the checkpoint is valid.
        if let Err(error) = hit("checkpoint.committed") {
            self.process.warn(format!("after checkpoint {}: {error}", record.id));
        }
        // What is left over is found again after the next checkpoint.
        if let Err(error) = retention::prune(&*self.store, &self.config, record) {
            self.process.warn(format!("old checkpoints were not removed: {error}"));
        }
        Ok(true)
    }
}
