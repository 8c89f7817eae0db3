//! One run of one plan in one process.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::checkpoints::{Checkpoints, Found, RestoreError, RunParts, start as start_saving};
use super::counted::{Counted, Tallies};
use super::inputs::{open_intake, partitions};
use super::outputs::{DefaultOutput, Sinks, route};
use super::report::{NodeReport, OutputReport, Report, SourceReport, resident_bytes_peak};
use crate::checkpoint::archive::Archive;
use crate::connector::Malformed;
use crate::connector::intake::{Intake, Limits};
use crate::connector::partition::ReadError;
use crate::connector::silence::Idled;
use crate::connector::sink::dead_letter::DeadLetters;
use crate::connector::sink::{SinkError, Start};
use crate::connector::spec::{FileFormat, Input};
use crate::dataflow::op::counters::Tally;
use crate::dataflow::op::keeper::Keeping;
use crate::dataflow::op::sink::SharedWriter;
use crate::dataflow::op::source::Clock;
use crate::dataflow::render::{Context, writing_sinks};
use crate::dataflow::stop::{Stop, StopReason};
use crate::dataflow::worker::{Transport, run_workers};
use crate::plan::physical::{Output, Plan};
use crate::state::options::Capacity;
use crate::state::scratch::Spill;

/// How a plan is to be run.
pub struct Job {
    pub plan: Plan,
    pub workers: usize,
    pub output: DefaultOutput,
    pub ordered: bool,
    /// Where malformed rows go of sources that say so.
    pub dead_letters: Option<String>,
    /// Random schedules for tests.
    pub chaos_seed: Option<u64>,
    pub limits: Limits,
    pub transport: Transport,
    pub share: Share,
    /// Where state is saved, if it is.
    pub saving: Option<Saving>,
    /// Where state goes that does not fit in memory, if that is bounded.
    pub spill: Option<Arc<Spill>>,
    /// How many entries each operator keeps, if that is bounded.
    pub capacity: Option<Capacity>,
}

/// How a run saves its state.
pub struct Saving {
    pub checkpoints: Checkpoints,
    /// What it begins with.
    pub found: Found,
    /// To other processes, for what is said of checkpoints.
    pub connections: Vec<Option<TcpStream>>,
}

/// Which part of a run this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub process: usize,
    pub processes: usize,
}

impl Share {
    /// All of it.
    pub const WHOLE: Share = Share { process: 0, processes: 1 };

    /// Whether a partition is read here: they are dealt by their rank, and what only one process can
    /// read is read by the first.
    pub fn reads(self, rank: u32, live: bool) -> bool {
        if live { self.process == 0 } else { rank as usize % self.processes == self.process }
    }
}

/// Why a run did not begin, or broke down.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    Input(#[from] ReadError),
    #[error(transparent)]
    Output(#[from] SinkError),
    #[error(transparent)]
    Restore(#[from] Box<RestoreError>),
    #[error("a worker panicked: {0}")]
    Worker(String),
}

/// What others see of a run under way.
pub struct Observed {
    pub intake: Arc<Intake>,
    /// Where checkpoints are asked for, if there are any.
    pub archive: Option<Archive>,
}

/// Runs a job to its end. `observe` is called once the inputs are open.
pub fn run(job: Job, stop: Arc<Stop>, observe: impl FnOnce(Observed)) -> Result<Report, JobError> {
    let started = Instant::now();
    let outputs = route(&job.plan, &job.output);
    let found = job.saving.as_ref().map(|s| &s.found);
    let writers = if job.ordered { 1 } else { job.share.processes };
    let start = found.map_or(Start::Anew, |f| f.sinks(job.share.process, writers));
    if let Start::Recorded(records) = &start {
        records.complete()?.iter().for_each(|note| eprintln!("varpulis: {note}"));
    }
    let epoch = found.map_or(0, Found::epoch);
    let dead_letters = job.dead_letters.as_deref().map(|path| DeadLetters::open(path, &start, epoch)).transpose()?;
    let mut partitions = partitions(&job.plan, job.share, &found.map(Found::ranks).unwrap_or_default());
    let notes = found.map_or(Ok(Vec::new()), |f| f.resume(&mut partitions)).map_err(Box::new)?;
    let intake = Arc::new(open_intake(&job.plan, partitions, dead_letters, job.limits, job.share.process, epoch)?);
    let (before, tallies) = count_on(found, &job, &intake, epoch);
    // Ordered rows all leave from the first process.
    let writes = job.share.process == 0 || !job.ordered;
    let sinks = if writes { Sinks::open(&outputs, &start)? } else { Sinks::none() };
    let writing = writing_sinks(&job.plan, job.ordered, job.workers);
    let writer = SharedWriter::new(Box::new(sinks), writing, epoch, stop.clone());
    let parts = || RunParts {
        ordered: job.ordered,
        workers: job.workers,
        share: job.share,
        intake: intake.clone(),
        writer: writer.clone(),
        stop: stop.clone(),
        tallies: tallies.clone(),
    };
    let recovered = found.and_then(|f| f.recovered.clone());
    let saving = job.saving.map(|Saving { checkpoints, found, connections }| {
        intake.hold_open();
        found.notes.iter().chain(&notes).for_each(|note| eprintln!("varpulis: {note}"));
        start_saving(&checkpoints, &found, &job.plan, parts(), connections)
    });
    let archive = saving.as_ref().map(|s| s.archive.clone());
    let (pauses, capacity) = (Arc::default(), job.capacity);
    let keeping = Keeping { archive, recovered, epoch, pauses, spill: job.spill, capacity };
    observe(Observed { intake: intake.clone(), archive: keeping.archive.clone() });
    let context = Context {
        intake: intake.clone(),
        stop: stop.clone(),
        clock: Clock::start(),
        tallies: tallies.nodes,
        output_tallies: tallies.outputs,
        forms: outputs.iter().map(|o| o.form()).collect(),
        held_as: outputs.iter().map(|o| o.held_as()).collect(),
        encoder: Box::new(move |output| outputs[output].encoder()),
        writer: writer.clone(),
        ordered: job.ordered,
        keeping,
        chaos_seed: job.chaos_seed,
        plan: job.plan,
    };
    let context = Arc::new(context);
    run_workers(context.clone(), job.workers, job.transport).map_err(JobError::Worker)?;
    if let Some(saving) = saving {
        saving.finish();
    }
    if cfg!(feature = "checked") && job.share == Share::WHOLE && stop.reason().is_none() {
        assert_eq!((intake.gauge.rows(), intake.gauge.bytes()), (0, 0), "rows in flight at the end");
    }
    intake.rejects.close()?;
    match writer.finish() {
        Ok(()) | Err(SinkError::Closed) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Report { rows_before: before.rows_read(), ..report(&context, job.workers, started) })
}

/// What earlier runs had counted, and the tallies that go on from there.
fn count_on(found: Option<&Found>, job: &Job, intake: &Intake, epoch: u64) -> (Counted, Tallies) {
    let before = found.map(|f| f.counted(job.share.process)).unwrap_or_default();
    let tallies = Tallies::new(&job.plan, &before);
    intake.rejects.go_on(tallies.rejected(&before), epoch);
    (before, tallies)
}

/// What the run has counted.
fn report(context: &Context, workers: usize, started: Instant) -> Report {
    let plan = &context.plan;
    let names = plan.sources.iter().map(|s| s.name.clone());
    let sources = names.zip(context.intake.rejects.read()).enumerate().map(|(i, (name, mut rejected))| {
        rejected.shown.iter_mut().for_each(|(partition, row)| count_lines(&plan.sources[i].input, partition, row));
        SourceReport { name, rejected, idled: idled(&context.intake, i) }
    });
    let nodes = plan.nodes.iter().zip(&context.tallies).enumerate().map(|(id, (node, tally))| NodeReport {
        stream: node.stream.clone(),
        label: node.label.clone(),
        counts: tally.read(),
        out_of_order_ns: plan.out_of_order_ns(id),
    });
    let rows = |(o, c): (&Output, &Arc<Tally>)| OutputReport { name: o.name.clone(), rows: c.read().rows_out };
    Report {
        sources: sources.collect(),
        nodes: nodes.collect(),
        outputs: plan.outputs.iter().zip(&context.output_tallies).map(rows).collect(),
        rows_before: 0,
        stopped: context.stop.reason().map(|reason| with_line(reason, plan)),
        seconds: started.elapsed().as_secs_f64(),
        workers,
        in_flight_bytes_peak: context.intake.gauge.bytes_peak(),
        memory_bytes_peak: resident_bytes_peak(),
        input_bytes: context.intake.partitions.iter().map(|p| p.read_bytes.load(Relaxed)).sum(),
        pauses: context.keeping.pauses.read(),
        restore_seconds: context.keeping.recovered.as_ref().map(|recovered| {
            let restored = context.keeping.pauses.restored() / workers.max(1) as u32;
            (recovered.took + restored).as_secs_f64()
        }),
        spilled: context.keeping.spill.as_ref().map_or((0, 0), |s| s.counts()),
        furthest_behind: context.intake.furthest_behind().map(|(name, _)| name.to_string()),
    }
}

/// Finds the line of a row that is shown, where lines are what the input is made of.
pub(super) fn count_lines(input: &Input, partition: &str, row: &mut Malformed) {
    if let Input::Files {
        compression: None,
        format: FileFormat::Jsonl | FileFormat::Csv { .. } | FileFormat::Evt,
        ..
    } = input
    {
        row.count_lines(partition);
    }
}

fn with_line(mut reason: StopReason, plan: &Plan) -> StopReason {
    if let StopReason::Refused(refusal) = &mut reason {
        let of = |input: &&Input| matches!(input, Input::Files { paths, .. } if paths.contains(&refusal.partition));
        if let Some(input) = plan.sources.iter().map(|s| &s.input).find(of) {
            count_lines(input, &refusal.partition.clone(), &mut refusal.row);
        }
    }
    reason
}

/// What `idle` did to the partitions of a source, by their names.
fn idled(intake: &Intake, source: usize) -> Vec<(String, Idled)> {
    let of_source = intake.partitions.iter().filter(|p| p.source == source);
    of_source.map(|p| (p.name.clone(), p.idled())).filter(|(_, idled)| idled.times > 0).collect()
}
