//! A run that saves its state: what it begins with, and the thread that makes its checkpoints.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::changes::{Allowed, Comparison, Described, compare};
use super::cluster::{read_message, write_message};
use super::counted::{Counted, Tallies};
use super::inputs::all_partitions;
use super::job::Share;
use super::outputs::{DefaultOutput, route};
use super::samples::Samples;
use super::watch::WORD_GRACE;
use crate::checkpoint::archive::{self, Archive, Header, Process};
use crate::checkpoint::config::CheckpointConfig;
use crate::checkpoint::protocol::Message;
use crate::checkpoint::recovery::{Invalid, Recovered, RecoveryError, newest_valid, open, read};
use crate::checkpoint::retention::{newest_generation, take_generation};
use crate::connector::intake::{Intake, Partition};
use crate::connector::position::{PartitionRecord, SinkRecord};
use crate::connector::sink::{Mark, Records, SinkError, Start};
use crate::dataflow::op::sink::SharedWriter;
use crate::dataflow::render::state_names;
use crate::dataflow::stop::{Stop, StopReason};
use crate::plan::physical::{KeyedKind, Op, Plan};
use crate::state::manifest::{Checkpoint, PatternCheckpoint, StateSummary, WindowCheckpoint};
use crate::state::store::SharedStore;

/// Where and when a run saves its state, and what it begins with.
#[derive(Clone)]
pub struct Checkpoints {
    pub store: SharedStore,
    pub config: CheckpointConfig,
    pub restore: Restore,
    /// What marks the checkpoints of a run that is started again when it crashes: it continues from its own,
    /// whatever it began with.
    pub supervisor: Option<String>,
}

/// Under which metadata a record has it.
const SUPERVISOR: &str = "supervisor";

/// What a run begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restore {
    /// The newest checkpoint that holds, or nothing if there is none at all.
    #[default]
    Latest,
    /// This one and no other.
    Id(u64),
    /// Nothing, whatever there is.
    None,
}

/// Why a run cannot continue from what it finds.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(
        "{place}: none of its checkpoints holds; `--restore none` begins anew\n{}",
        invalid.iter().map(|i| format!("  {}: {}", i.name, i.reason)).collect::<Vec<_>>().join("\n")
    )]
    NoneHolds { place: String, invalid: Vec<Invalid> },
    #[error("{place}: there is no checkpoint {id}")]
    NoSuch { place: String, id: u64 },
    #[error("{place}: checkpoint {id} does not hold: {reason}")]
    Invalid { place: String, id: u64, reason: String },
    #[error(
        "{place}: the run had finished with checkpoint {id}: there is nothing to resume; `--restore none` runs it again"
    )]
    Finished { place: String, id: u64 },
    #[error(
        "{place}: checkpoint {id} is of another program, or of the same over other inputs\n{changes}{}; \
         `--restore none` begins anew",
        match needs { Some(options) => format!("{} continues even so", options.join(" ")), None => "it cannot be continued".to_string() }
    )]
    OtherProgram { place: String, id: u64, changes: String, needs: Option<Vec<&'static str>> },
    #[error(
        "{place}: this process does not see what the first one wrote there; the state of several processes lies in one \
         place that all of them reach"
    )]
    NotShared { place: String },
    #[error("the timer of `{stream}` follows the clock, and cannot be continued: save no state, or give it an input")]
    ClockTimer { stream: String },
    #[error(transparent)]
    Output(#[from] SinkError),
    #[error("{path} is not the file that checkpoint {id} was taken over: it is shorter, or its beginning has changed")]
    InputChanged { path: String, id: u64 },
}

/// What is to be run.
#[derive(Clone, Copy)]
pub struct Intended<'a> {
    pub plan: &'a Plan,
    pub output: &'a DefaultOutput,
    pub ordered: bool,
    /// What may differ from the checkpoint's program.
    pub allowed: Allowed,
    /// What its sampled types were taken from.
    pub samples: &'a Samples,
}

/// The checkpoint that a run would begin with.
#[derive(Debug, Default)]
pub struct Looked {
    pub recovered: Option<Recovered>,
    /// What the user is to know of it.
    pub notes: Vec<String>,
}

/// What a run found, before anything is started.
pub struct Found {
    pub recovered: Option<Arc<Recovered>>,
    /// What the user is to know of it.
    pub notes: Vec<String>,
    generation: u64,
    comparison: Comparison,
    /// The program, for the records; only the first process writes any.
    described: Described,
}

/// What the first process tells the others of what it found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Beginning {
    /// Generation and id of the checkpoint that the run continues from.
    from: Option<(u64, u64)>,
    generation: u64,
    /// States that begin empty although the checkpoint has them.
    lost: Vec<String>,
    floors: Vec<Vec<i64>>,
    is_other_plan: bool,
    /// The id of the last checkpoint, where there is nothing to continue.
    finished: Option<u64>,
}

impl Beginning {
    /// `None` where the first process cannot begin.
    pub fn of(found: &Result<Found, RestoreError>) -> Option<Beginning> {
        if let Err(RestoreError::Finished { id, .. }) = found {
            return Some(Beginning { finished: Some(*id), ..Beginning::default() });
        }
        found.as_ref().ok().map(Found::beginning)
    }
}

impl Checkpoints {
    /// Finds what the run begins with, and takes a generation for it.
    pub fn find(&self, looked: Looked, intended: Intended<'_>) -> Result<Found, RestoreError> {
        let is_clock = |op: &Op| matches!(op, Op::Timer { inputs, .. } if inputs.is_empty());
        if let Some(node) = intended.plan.nodes.iter().find(|n| is_clock(&n.op)) {
            return Err(RestoreError::ClockTimer { stream: node.stream.clone() });
        }
        let Looked { mut recovered, mut notes } = looked;
        let described = intended.described();
        let mut comparison = Comparison::default();
        if let Some(recovered) = &mut recovered {
            if recovered.record.finished {
                // It may have died before the last parts of its outputs had their names.
                records(&recovered.record).complete()?;
                return Err(RestoreError::Finished { place: self.store.place(), id: recovered.record.id });
            }
            comparison = intended.compare(&recovered.record, &described);
            let (record, text) = (&recovered.record, comparison.to_text(false));
            let needs = comparison.needs(intended.allowed);
            if needs.as_ref().is_none_or(|needs| !needs.is_empty()) {
                let (place, id) = (self.store.place(), record.id);
                return Err(RestoreError::OtherProgram { place, id, changes: text, needs });
            }
            notes.push(resuming(record));
            notes.extend((!text.is_empty()).then(|| format!("the program has changed\n{}", text.trim_end())));
            comparison.lost_states().for_each(|state| recovered.forget(state));
        }
        let note = format!("process {}", std::process::id());
        let generation = take_generation(&*self.store, &self.config.key_prefix, &note).map_err(RecoveryError::from)?;
        Ok(Found { recovered: recovered.map(Arc::new), notes, generation, comparison, described })
    }

    /// Reads the checkpoint that a run would begin with.
    pub fn look(&self) -> Result<Looked, RestoreError> {
        let (place, prefix) = (self.store.place(), &self.config.key_prefix);
        let mut notes = Vec::new();
        let restore = if self.has_own()? { Restore::Latest } else { self.restore };
        let recovered = match restore {
            Restore::None => None,
            Restore::Latest => {
                let (recovered, invalid) = newest_valid(&*self.store, prefix)?;
                if recovered.is_none() && !invalid.is_empty() {
                    return Err(RestoreError::NoneHolds { place, invalid });
                }
                notes.extend(invalid.into_iter().map(|i| format!("checkpoint {} does not hold: {}", i.name, i.reason)));
                recovered
            }
            Restore::Id(id) => {
                let listed = self.store.list_checkpoints(prefix).map_err(RecoveryError::from)?;
                let Some(listed) = listed.into_iter().rfind(|l| l.id == id) else {
                    return Err(RestoreError::NoSuch { place, id });
                };
                let opened = open(&*self.store, &listed).map_err(RecoveryError::from)?;
                Some(opened.map_err(|reason| RestoreError::Invalid { place: place.clone(), id, reason })?)
            }
        };
        Ok(Looked { recovered, notes })
    }
}

impl Looked {
    /// What was sampled for the first run.
    pub fn samples(&self) -> Samples {
        self.recovered.as_ref().map(|r| Samples::of_record(&r.record.program.samples)).unwrap_or_default()
    }
}

impl Intended<'_> {
    /// The program, as far as a checkpoint remembers it.
    pub fn described(&self) -> Described {
        let outputs = route(self.plan, self.output);
        let partitions = all_partitions(self.plan, &BTreeMap::new());
        let samples = serde_json::to_value(self.samples).expect("samples are JSON");
        Described { samples, ..Described::new(self.plan, &outputs, &partitions, self.ordered) }
    }

    /// Compares it with a checkpoint.
    pub fn compare(&self, record: &Checkpoint, described: &Described) -> Comparison {
        // One that an other version wrote may not be readable: then reasons are missing, and nothing else.
        let before = serde_json::from_value::<Plan>(record.program.plan.clone()).ok();
        compare(record, described, before.as_ref())
    }
}

impl Checkpoints {
    /// Whether the newest checkpoint is one of this run, before it crashed.
    fn has_own(&self) -> Result<bool, RestoreError> {
        let Some(supervisor) = &self.supervisor else { return Ok(false) };
        let listed = self.store.list_checkpoints(&self.config.key_prefix).map_err(RecoveryError::from)?;
        for listed in listed.iter().rev() {
            let bytes = read(&*self.store, &listed.name).map_err(RecoveryError::from)?.ok().flatten();
            if let Some(record) = bytes.and_then(|bytes| Checkpoint::decode(&listed.name, &bytes).ok()) {
                return Ok(record.metadata.get(SUPERVISOR) == Some(supervisor));
            }
        }
        Ok(false)
    }

    /// What another process than the first begins with, which must find what the first one found.
    pub fn join(&self, beginning: &Beginning, process: usize) -> Result<Found, RestoreError> {
        let (place, prefix) = (self.store.place(), &self.config.key_prefix);
        let Beginning { from, generation, lost, floors, is_other_plan, finished } = beginning.clone();
        if let Some(id) = finished {
            let listed = self.store.list_checkpoints(prefix).map_err(RecoveryError::from)?;
            if let Some(listed) = listed.into_iter().rfind(|l| l.id == id)
                && let Ok(recovered) = open(&*self.store, &listed).map_err(RecoveryError::from)?
            {
                Records { process, writers: usize::MAX, ..records(&recovered.record) }.complete()?;
            }
            return Err(RestoreError::Finished { place, id });
        }
        let comparison = Comparison { floors, is_other_plan, ..Comparison::default() };
        let described = Described::default();
        // The first process has just written its generation: who does not see it looks elsewhere.
        if newest_generation(&*self.store, prefix).map_err(RecoveryError::from)? != generation {
            return Err(RestoreError::NotShared { place });
        }
        let Some((of, id)) = from else {
            return Ok(Found { recovered: None, notes: Vec::new(), generation, comparison, described });
        };
        let listed = self.store.list_checkpoints(prefix).map_err(RecoveryError::from)?;
        let Some(listed) = listed.into_iter().find(|l| (l.generation, l.id) == (of, id)) else {
            return Err(RestoreError::NoSuch { place, id });
        };
        let opened = open(&*self.store, &listed).map_err(RecoveryError::from)?;
        let mut recovered = opened.map_err(|reason| RestoreError::Invalid { place, id, reason })?;
        lost.iter().for_each(|state| recovered.forget(state));
        Ok(Found { recovered: Some(Arc::new(recovered)), notes: Vec::new(), generation, comparison, described })
    }
}

fn resuming(record: &Checkpoint) -> String {
    let now_ms = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_millis() as u64);
    let age_s = now_ms.saturating_sub(record.timestamp_ms) / 1000;
    let ended = record.partitions.values().filter(|p| p.ended).count();
    format!(
        "resuming from checkpoint {} ({age_s} s old): {} rows had been read, {ended} of {} inputs to their end; what \
         follows them is read again",
        record.id,
        record.events_processed,
        record.partitions.len()
    )
}

impl Found {
    /// What the other processes have to know.
    fn beginning(&self) -> Beginning {
        let from = self.recovered.as_ref().map(|r| (r.record.generation, r.record.id));
        let lost = self.comparison.lost_states().map(str::to_string).collect();
        let Comparison { floors, is_other_plan, .. } = self.comparison.clone();
        Beginning { from, generation: self.generation, lost, floors, is_other_plan, finished: None }
    }

    /// The first epoch of the run.
    pub fn epoch(&self) -> u64 {
        self.recovered.as_ref().map_or(0, |r| r.record.id + 1)
    }

    /// Puts partitions where they were, after a look at whether they are still the same; gives what the user
    /// is to know of them.
    pub fn resume(&self, partitions: &mut [Partition]) -> Result<Vec<String>, RestoreError> {
        let mut notes = Vec::new();
        let Some(recovered) = &self.recovered else { return Ok(notes) };
        let id = recovered.record.id;
        let Comparison { floors, is_other_plan, .. } = &self.comparison;
        for partition in partitions {
            let floors = floors.get(partition.source).map_or(&[][..], Vec::as_slice);
            let Some(record) = recovered.record.partitions.get(&partition.key) else {
                partition.raise_floors(floors);
                continue;
            };
            if let (Some(path), Some(fingerprint)) = (&partition.path, &record.fingerprint)
                && !fingerprint.holds(path).unwrap_or(false)
            {
                return Err(RestoreError::InputChanged { path: path.clone(), id });
            }
            if let (true, Some(path), Some(then)) = (record.ended, &partition.path, &record.fingerprint)
                && std::fs::metadata(path).is_ok_and(|now| now.len() > then.size_bytes)
            {
                notes.push(format!("{path} has grown since it was read to its end; what was added is not read"));
            }
            partition.resume(record, self.epoch(), *is_other_plan);
            partition.raise_floors(floors);
        }
        Ok(notes)
    }

    /// What earlier runs had counted; the first process goes on from that.
    pub fn counted(&self, process: usize) -> Counted {
        let record = self.recovered.iter().filter(|_| process == 0).map(|r| &r.record.counters);
        record.map(Counted::of_record).next().unwrap_or_default()
    }

    /// The numbers that partitions had.
    pub fn ranks(&self) -> BTreeMap<String, u32> {
        let records = self.recovered.iter().flat_map(|r| &r.record.partitions);
        records.map(|(name, record)| (name.clone(), record.rank)).collect()
    }

    /// Where the outputs that a process writes begin, of so many processes that write.
    pub fn sinks(&self, process: usize, writers: usize) -> Start {
        let records = self.recovered.as_ref().map_or_else(Records::default, |r| records(&r.record));
        Start::Recorded(Records { process, writers, ..records })
    }
}

/// What a checkpoint says of outputs.
fn records(record: &Checkpoint) -> Records {
    let own = record.sinks.iter().filter_map(|(name, record)| {
        let (process, path) = name.split_once(':')?;
        Some(((process.parse().ok()?, path.to_string()), record.clone()))
    });
    Records { by_process: own.collect(), ..Records::default() }
}

/// What comes before the path of a process's file in the names of sinks.
fn sink_prefix(process: usize) -> String {
    format!("{process}:")
}

/// The thread that makes the checkpoints of a run.
pub struct Running {
    pub archive: Archive,
    thread: JoinHandle<()>,
}

/// Starts it.
pub fn start(
    checkpoints: &Checkpoints,
    found: &Found,
    plan: &Plan,
    run: RunParts,
    connections: Vec<Option<TcpStream>>,
) -> Running {
    let names = state_names(plan, run.ordered);
    let mut record = template(plan, &names, found, run.workers * run.share.processes);
    // Outputs that this run does not write stay known: a later one may continue them.
    record.sinks = found.recovered.as_ref().map_or_else(BTreeMap::new, |r| r.record.sinks.clone());
    record.metadata.extend(checkpoints.supervisor.iter().map(|mark| (SUPERVISOR.to_string(), mark.clone())));
    let header = Header {
        record,
        process: run.share.process,
        processes: run.share.processes,
        epoch: found.epoch(),
        handovers: names.len() * run.workers,
    };
    let (archive, inbox) = Archive::new();
    for stream in connections.iter().flatten() {
        listen(stream, archive.clone(), run.stop.clone());
    }
    let share = run.share;
    let RunParts { intake, writer, stop, tallies, .. } = run;
    let process = Local { intake, writer, stop, share, tallies, connections, marks: Vec::new() };
    let Checkpoints { store, config, .. } = checkpoints.clone();
    let thread = std::thread::Builder::new()
        .name("checkpoints".to_string())
        .spawn(move || archive::run(inbox, store, config, header, Box::new(process)))
        .expect("the system has threads to give");
    Running { archive, thread }
}

impl Running {
    /// The dataflow is gone; waits until what was handed over is dealt with.
    pub fn finish(self) {
        self.archive.close();
        // A panic there has ended the process.
        let _ = self.thread.join();
    }
}

/// What a run has that checkpoints concern.
pub struct RunParts {
    pub ordered: bool,
    pub workers: usize,
    pub share: Share,
    pub intake: Arc<Intake>,
    pub writer: SharedWriter,
    pub stop: Arc<Stop>,
    pub tallies: Tallies,
}

/// Hears what another process says, as long as it says something. That it has gone is noticed by the
/// dataflow.
fn listen(stream: &TcpStream, archive: Archive, stop: Arc<Stop>) {
    match stream.try_clone() {
        Ok(mut stream) => {
            std::thread::spawn(move || {
                while let Ok(message) = read_message::<Message>(&mut stream) {
                    archive.hear(message);
                }
            });
        }
        Err(error) => stop.fail(format!("the connection to another process broke: {error}")),
    }
}

/// What all records of the run have in common.
fn template(plan: &Plan, names: &[String], found: &Found, workers: usize) -> Checkpoint {
    let mut record = Checkpoint { generation: found.generation, workers, ..Checkpoint::default() };
    record.metadata.insert("version".to_string(), env!("CARGO_PKG_VERSION").to_string());
    for name in names {
        record.operator_states.insert(name.clone(), StateSummary::default());
    }
    for node in &plan.nodes {
        let Op::Keyed { keyed, .. } = &node.op else { continue };
        let name = keyed.state.name();
        let mut take = || record.operator_states.remove(&name).unwrap_or_default();
        match &keyed.kind {
            KeyedKind::Window { .. } => {
                let state = take();
                record.window_states.insert(name, WindowCheckpoint { state });
            }
            KeyedKind::Pattern { .. } => {
                let state = take();
                record.pattern_states.insert(name, PatternCheckpoint { state });
            }
            KeyedKind::Running { .. }
            | KeyedKind::Distinct { .. }
            | KeyedKind::Limit { .. }
            | KeyedKind::Table { .. }
            | KeyedKind::Changes { .. }
            | KeyedKind::Snapshot { .. } => {}
        }
    }
    found.described.describe(plan, &mut record);
    record
}

impl Local {
    /// Shows what the committed checkpoint has. What fails is still hidden, and marked again at the next.
    fn show(&mut self) -> Result<(), SinkError> {
        let shown: Vec<Result<(), SinkError>> = std::mem::take(&mut self.marks).iter().map(Mark::show).collect();
        shown.into_iter().collect()
    }
}

/// This process, as the thread sees it.
struct Local {
    intake: Arc<Intake>,
    writer: SharedWriter,
    stop: Arc<Stop>,
    share: Share,
    tallies: Tallies,
    /// To the other processes, as [`Peers::checkpoints`](super::cluster::Peers) has them.
    connections: Vec<Option<TcpStream>>,
    /// What the outputs of the last epoch are waiting to show.
    marks: Vec<Mark>,
}

impl Process for Local {
    fn enter(&mut self, epoch: u64) {
        self.intake.enter_epoch(epoch + 1);
    }

    fn partitions(&mut self) -> Result<BTreeMap<String, PartitionRecord>, String> {
        self.intake.boundaries().map_err(|e| e.to_string())
    }

    fn sinks(&mut self) -> Result<BTreeMap<String, SinkRecord>, String> {
        // The run is ending, and restarts from the checkpoint before.
        let mut marks = self.writer.take_marks().ok_or("not all of it could be written")?;
        marks.extend(self.intake.rejects.end_epoch().map_err(|e| e.to_string())?);
        marks.iter().try_for_each(Mark::sync).map_err(|e| e.to_string())?;
        let prefix = sink_prefix(self.share.process);
        let records = marks.iter().map(|m| (format!("{prefix}{}", m.path), m.record.clone())).collect();
        self.marks = marks;
        Ok(records)
    }

    fn counters(&mut self, epoch: u64) -> serde_json::Value {
        let counted = self.tallies.end_epoch(epoch, self.intake.rejects.recorded(epoch));
        serde_json::to_value(counted).expect("counts are JSON")
    }

    fn committed(&mut self, _: u64, last: bool) {
        if let Err(error) = self.show() {
            if last {
                return self.stop.fail(format!("{error}; the same command again shows the rest of the output"));
            }
            self.warn(format!("{error}; what was to be seen now is seen after the next checkpoint"));
        }
        if last && self.intake.has_ended() {
            self.intake.release();
        } else if last {
            self.stop.request(StopReason::Interrupted);
        }
    }

    fn warn(&mut self, text: String) {
        eprintln!("varpulis: warning: {text}");
    }

    fn fail(&mut self, reason: String) {
        self.stop.fail(reason);
    }

    fn send(&mut self, process: usize, message: Message) {
        let connection = self.connections[process].as_mut().expect("every other process is connected");
        if let Err(error) = write_message(connection, &message) {
            // Whoever watches the other processes says it better, and ends this one. If the process is there
            // all the same, no checkpoint can be made.
            let stop = self.stop.clone();
            std::thread::spawn(move || {
                std::thread::sleep(WORD_GRACE);
                stop.fail(format!("the connection to process {process} broke: {error}"));
            });
        }
    }
}
