//! One run of one plan in one process.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::inputs::open_intake;
use super::outputs::{DefaultOutput, Sinks, route};
use super::report::{NodeReport, OutputReport, Report, SourceReport, resident_bytes_peak};
use crate::connector::Malformed;
use crate::connector::intake::{Intake, Limits};
use crate::connector::partition::ReadError;
use crate::connector::rejects::DeadLetters;
use crate::connector::silence::Idled;
use crate::connector::sink::{SinkError, dead_letter};
use crate::connector::spec::{FileFormat, Input};
use crate::dataflow::op::counters::Counters;
use crate::dataflow::op::sink::SharedWriter;
use crate::dataflow::op::source::Clock;
use crate::dataflow::render::Context;
use crate::dataflow::stop::{Stop, StopReason};
use crate::dataflow::worker::{Transport, run_workers};
use crate::plan::physical::{Output, Plan};

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
    #[error("a worker panicked: {0}")]
    Worker(String),
}

/// Runs a job to its end. `observe` is given the intake once it is open, for a progress display.
pub fn run(job: Job, stop: Arc<Stop>, observe: impl FnOnce(Arc<Intake>)) -> Result<Report, JobError> {
    let started = Instant::now();
    let outputs = route(&job.plan, &job.output);
    let dead_letters = job.dead_letters.as_deref().map(|path| open_dead_letters(path, &stop)).transpose()?;
    let intake = Arc::new(open_intake(&job.plan, job.share, dead_letters, job.limits)?);
    // Ordered rows all leave from the first process.
    let writes = job.share.process == 0 || !job.ordered;
    let sinks = Arc::new(Mutex::new(if writes { Sinks::open(&outputs)? } else { Sinks::none() }));
    observe(intake.clone());
    let counters: Vec<Arc<Counters>> = job.plan.nodes.iter().map(|_| Arc::default()).collect();
    let output_counters: Vec<Arc<Counters>> = outputs.iter().map(|_| Arc::default()).collect();
    let writer = SharedWriter { writer: sinks.clone(), stop: stop.clone() };
    let context = Context {
        plan: job.plan,
        intake: intake.clone(),
        stop: stop.clone(),
        clock: Clock::start(),
        counters: counters.clone(),
        output_counters: output_counters.clone(),
        forms: outputs.iter().map(|o| o.form()).collect(),
        encoder: Box::new(move |output| outputs[output].encoder()),
        writer,
        ordered: job.ordered,
        chaos_seed: job.chaos_seed,
    };
    let context = Arc::new(context);
    run_workers(context.clone(), job.workers, job.transport).map_err(JobError::Worker)?;
    if cfg!(feature = "checked") && job.share == Share::WHOLE && stop.reason().is_none() {
        assert_eq!((intake.gauge.rows(), intake.gauge.bytes()), (0, 0), "rows in flight at the end");
    }
    intake.rejects.close();
    match sinks.lock().unwrap_or_else(PoisonError::into_inner).finish() {
        Ok(()) | Err(SinkError::Closed) => {}
        Err(error) => return Err(error.into()),
    }
    let plan = &context.plan;
    let names = plan.sources.iter().map(|s| s.name.clone());
    let sources = names.zip(intake.rejects.read()).enumerate().map(|(i, (name, mut rejected))| {
        rejected.shown.iter_mut().for_each(|(partition, row)| count_lines(&plan.sources[i].input, partition, row));
        SourceReport { name, rejected, idled: idled(&intake, i) }
    });
    let nodes = plan.nodes.iter().zip(&counters).enumerate().map(|(id, (node, counters))| NodeReport {
        stream: node.stream.clone(),
        label: node.label.clone(),
        counts: counters.read(),
        out_of_order_ns: plan.out_of_order_ns(id),
    });
    let rows = |(o, c): (&Output, &Arc<Counters>)| OutputReport { name: o.name.clone(), rows: c.read().rows_out };
    Ok(Report {
        sources: sources.collect(),
        nodes: nodes.collect(),
        outputs: plan.outputs.iter().zip(&output_counters).map(rows).collect(),
        stopped: stop.reason().map(|reason| with_line(reason, plan)),
        seconds: started.elapsed().as_secs_f64(),
        workers: job.workers,
        in_flight_bytes_peak: intake.gauge.bytes_peak(),
        memory_bytes_peak: resident_bytes_peak(),
        input_bytes: intake.partitions.iter().map(|p| p.read_bytes.load(Relaxed)).sum(),
        furthest_behind: intake.furthest_behind().map(|(name, _)| name.to_string()),
    })
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

fn open_dead_letters(path: &str, stop: &Arc<Stop>) -> Result<DeadLetters, SinkError> {
    let mut file = dead_letter::DeadLetters::create(path)?;
    let stop = stop.clone();
    Ok(Box::new(move |source, partition, row| {
        if let Err(error) = file.write(source, partition, row) {
            stop.fail(error.to_string());
        }
    }))
}
