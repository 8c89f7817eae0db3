//! `varpulis run`.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::args::{FindingsFormat, RunArgs};
use super::program::{compile_program, print_findings};
use super::progress::Display;
use super::{EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE, complain, say};
use crate::checkpoint::archive::Archive;
use crate::checkpoint::config::CheckpointConfig;
use crate::checkpoint::protocol::Want;
use crate::connector::format::encode::jsonl::Meta;
use crate::connector::guard::is_guarded;
use crate::connector::intake::{Intake, Limits};
use crate::connector::rejects::Refusal;
use crate::connector::sink::Destination;
use crate::connector::spec::{Input, OnError, OutputFormat, Source};
use crate::dataflow::stop::{Stop, StopReason};
use crate::dataflow::worker::Transport;
use crate::plan::physical::Plan;
use crate::runtime::changes::Allowed;
use crate::runtime::checkpoints::{Beginning, Checkpoints, Intended, Looked, RestoreError};
use crate::runtime::cluster::{ClusterError, Membership, Peers};
use crate::runtime::job::{Job, Saving, Share, run as run_job};
use crate::runtime::outputs::{DefaultOutput, parts};
use crate::runtime::report::Report;
use crate::runtime::samples::{Remembering, Samples};
use crate::runtime::surroundings::Outside;
use crate::sema::inputs::Surroundings;
use crate::state::store::FileStore;

pub fn run(args: RunArgs) -> u8 {
    end_on_panic();
    if args.processes == 1 {
        return match compile(&args) {
            Ok(compiled) => run_plan(&args, compiled, None).0,
            Err(code) => code,
        };
    }
    match run_member(&args) {
        Ok(code) => code,
        Err(error) => {
            complain(error);
            EXIT_FAILED
        }
    }
}

/// Runs as one of several processes: the first compiles, the others get the plan from it.
fn run_member(args: &RunArgs) -> Result<u8, ClusterError> {
    let hostfile = args.hostfile.as_deref().expect("clap asks for it with more than one process");
    let members = Membership::read(hostfile, args.processes, args.process, args.workers as usize)?;
    let compiled = if args.process == 0 { Some(compile(args)) } else { None };
    let mut peers = members.connect()?;
    let compiled = match compiled {
        Some(Ok(compiled)) => {
            peers.share::<Result<Plan, u8>>(Some(Ok(compiled.plan.clone())))?;
            compiled
        }
        Some(Err(code)) => {
            peers.share::<Result<Plan, u8>>(Some(Err(code)))?;
            return Ok(code);
        }
        None => match peers.share::<Result<Plan, u8>>(None)? {
            Some(Ok(plan)) => Compiled { plan, samples: Samples::default(), looked: None },
            // The first process has said why there is nothing to run.
            Some(Err(code)) => return Ok(code),
            None => return Ok(EXIT_FAILED),
        },
    };
    let (code, report) = run_plan(args, compiled, Some((&members, &mut peers)));
    let reports = peers.gather(report)?;
    let mut reports = reports.into_iter().flatten();
    if let Some(mut whole) = reports.next() {
        reports.for_each(|r| whole.add(r));
        print_report(args, &whole);
    }
    Ok(code)
}

/// A program that is ready to run; in the first process with what it may continue from.
struct Compiled {
    plan: Plan,
    samples: Samples,
    looked: Option<(Checkpoints, Looked)>,
}

fn compile(args: &RunArgs) -> Result<Compiled, u8> {
    let looked = look(args).map_err(|error| {
        complain(error);
        EXIT_FAILED
    })?;
    let known = looked.as_ref().map(|(_, looked)| looked.samples()).unwrap_or_default();
    let mut surroundings = Remembering::new(Outside, &known);
    let plan = compile_plan(args, &mut surroundings)?;
    Ok(Compiled { plan, samples: surroundings.used, looked })
}

/// The checkpoint that the run may continue from, if it saves its state anywhere.
fn look(args: &RunArgs) -> Result<Option<(Checkpoints, Looked)>, Box<dyn std::error::Error>> {
    let Some(checkpoints) = checkpoints(args)? else { return Ok(None) };
    let looked = checkpoints.look()?;
    Ok(Some((checkpoints, looked)))
}

fn compile_plan(args: &RunArgs, surroundings: &mut dyn Surroundings) -> Result<Plan, u8> {
    let on_error = if args.dead_letter.is_some() { OnError::DeadLetter } else { OnError::Skip };
    let compilation = compile_program(&args.program, &args.inputs, on_error, surroundings)?;
    if compilation.failed() || !args.quiet {
        print_findings(&compilation, FindingsFormat::Text);
    }
    let plan = compilation.stages.map(|s| s.physical).ok_or(EXIT_USAGE)?;
    let wants_letters = |s: &Source| s.on_error == OnError::DeadLetter;
    if let (None, Some(source)) = (&args.dead_letter, plan.sources.iter().find(|s| wants_letters(s))) {
        complain(format!("{}: on_error is \"dead_letter\"; --dead-letter FILE says where such rows go", source.name));
        return Err(EXIT_USAGE);
    }
    Ok(plan)
}

/// Runs the plan in this process. Of several processes, the report is left to the caller.
fn run_plan(
    args: &RunArgs,
    compiled: Compiled,
    mut cluster: Option<(&Membership, &mut Peers)>,
) -> (u8, Option<Report>) {
    let Compiled { plan, samples, looked } = compiled;
    let output = match default_output(args) {
        Ok(output) => output,
        Err(message) => {
            complain(message);
            return (EXIT_USAGE, None);
        }
    };
    let (share, transport) = match &mut cluster {
        None if args.serialize => (Share::WHOLE, Transport::Serialized),
        None => (Share::WHOLE, Transport::Memory),
        Some((members, peers)) => {
            let sockets = std::mem::take(&mut peers.data);
            (members.share(), Transport::Network { process: members.process, sockets })
        }
    };
    let saving = match saving(args, intended(args, &plan, &output, &samples), looked, cluster) {
        Ok(saving) => saving,
        Err(error) => {
            complain(&error);
            // There is nothing left to do, and that is no failure.
            let is_finished = matches!(error.downcast_ref(), Some(RestoreError::Finished { .. }));
            return (if is_finished { 0 } else { EXIT_FAILED }, None);
        }
    };
    if saving.is_some() && !args.quiet {
        parts(&plan, &output).iter().for_each(complain);
    }
    let stop = Arc::new(Stop::default());
    let display = Display::new(!args.quiet && std::io::stderr().is_terminal());
    let on_shutdown = saving.as_ref().is_some_and(|s| s.checkpoints.config.checkpoint_on_shutdown);
    let job = job(args, plan, output, share, transport, saving);
    let outcome = run_job(job, stop.clone(), |observed| {
        stop_on_signals(stop, observed.archive.filter(|_| on_shutdown), observed.intake.clone());
        display.watch(observed.intake);
    });
    display.finish();
    match outcome {
        Ok(report) => {
            if share == Share::WHOLE {
                print_report(args, &report);
            }
            (exit_code(&report), Some(report))
        }
        Err(error) => {
            complain(&error);
            (EXIT_FAILED, None)
        }
    }
}

fn job(
    args: &RunArgs,
    plan: Plan,
    output: DefaultOutput,
    share: Share,
    transport: Transport,
    saving: Option<Saving>,
) -> Job {
    Job {
        saving,
        workers: args.workers as usize,
        output,
        ordered: is_ordered(args, &plan),
        dead_letters: args.dead_letter.clone(),
        chaos_seed: args.chaos,
        limits: Limits { block_bytes: args.block_bytes, in_flight_bytes: args.in_flight_bytes },
        transport,
        share,
        plan,
    }
}

fn is_ordered(args: &RunArgs, plan: &Plan) -> bool {
    let is_live = plan.sources.iter().any(|s| s.input.is_live());
    args.ordered || !(args.unordered || is_live)
}

fn intended<'a>(args: &RunArgs, plan: &'a Plan, output: &'a DefaultOutput, samples: &'a Samples) -> Intended<'a> {
    let allowed = Allowed { changed: args.allow_changed, drop: args.allow_drop };
    Intended { plan, output, ordered: is_ordered(args, plan), allowed, samples }
}

/// Where the run saves its state, by its flags, and what it finds there. Of several processes the first
/// looks, and the others begin with what it found.
fn saving(
    args: &RunArgs,
    intended: Intended<'_>,
    looked: Option<(Checkpoints, Looked)>,
    cluster: Option<(&Membership, &mut Peers)>,
) -> Result<Option<Saving>, Box<dyn std::error::Error>> {
    if args.state_dir.is_none() {
        return Ok(None);
    }
    if intended.plan.sources.iter().any(|s| matches!(s.input, Input::Stdin { .. })) && !args.quiet {
        complain("warning: standard input cannot be read again: a crash loses the rows read since the last checkpoint");
    }
    let Some((members, peers)) = cluster else {
        let (checkpoints, looked) = looked.expect("who saves has looked");
        let found = checkpoints.find(looked, intended)?;
        return Ok(Some(Saving { checkpoints, found, connections: Vec::new() }));
    };
    let connections = std::mem::take(&mut peers.checkpoints);
    let (checkpoints, found) = if let Some((checkpoints, looked)) = looked {
        let found = checkpoints.find(looked, intended);
        peers.share(Beginning::of(&found))?;
        (checkpoints, found?)
    } else {
        let beginning = peers.share::<Beginning>(None)?.ok_or("the first process could not continue its run")?;
        let checkpoints = checkpoints(args)?.expect("it was seen that there are some");
        let found = checkpoints.join(&beginning, members.process)?;
        (checkpoints, found)
    };
    Ok(Some(Saving { checkpoints, found, connections }))
}

fn checkpoints(args: &RunArgs) -> Result<Option<Checkpoints>, Box<dyn std::error::Error>> {
    let Some(dir) = &args.state_dir else { return Ok(None) };
    let mut config = CheckpointConfig::default();
    if let Some(interval_ns) = args.checkpoint_interval {
        config.interval = Duration::from_nanos(interval_ns.unsigned_abs());
    }
    let store = Arc::new(FileStore::open(dir)?);
    Ok(Some(Checkpoints { store, config, restore: args.restore }))
}

/// `varpulis checkpoint plan`: what a run with these flags would go on from.
pub fn plan(args: &RunArgs) -> u8 {
    if args.state_dir.is_none() {
        complain("--state-dir says where the checkpoints are");
        return EXIT_USAGE;
    }
    let compiled = match compile(args) {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    match compare(args, compiled) {
        Ok(code) => code,
        Err(error) => {
            complain(error);
            EXIT_FAILED
        }
    }
}

fn compare(args: &RunArgs, compiled: Compiled) -> Result<u8, Box<dyn std::error::Error>> {
    let Compiled { plan, samples, looked } = compiled;
    let output = default_output(args)?;
    let intended = intended(args, &plan, &output, &samples);
    let (notes, recovered) = looked.map(|(_, looked)| (looked.notes, looked.recovered)).unwrap_or_default();
    notes.iter().for_each(|note| say(format!("{note}\n")));
    let Some(recovered) = recovered else {
        say("no checkpoint: the run would begin anew\n");
        return Ok(0);
    };
    if recovered.record.finished {
        say("the run had finished; --restore none runs it again\n");
        return Ok(EXIT_FAILED);
    }
    let comparison = intended.compare(&recovered.record, &intended.described());
    say(format!("checkpoint {}\n{}", recovered.record.id, comparison.to_text(true)));
    Ok(match comparison.needs(intended.allowed) {
        Some(options) if options.is_empty() => 0,
        Some(options) => {
            say(format!("{} continues\n", options.join(" ")));
            EXIT_FAILED
        }
        None => {
            say("it cannot be continued\n");
            EXIT_FAILED
        }
    })
}

/// Peers of a worker that panicked would wait for it for ever, so a panic ends the process, unless it becomes
/// an error.
fn end_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if is_guarded() {
            return;
        }
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("timely communication error") {
            complain("the connection to another process is lost");
        } else {
            print(panic);
        }
        std::process::exit(i32::from(EXIT_FAILED));
    }));
}

fn default_output(args: &RunArgs) -> Result<DefaultOutput, String> {
    let destination = Destination::of(&args.output);
    let format: OutputFormat = match args.format {
        Some(format) => format.output(),
        None => destination.format().map_err(|e| e.to_string())?,
    };
    let meta = if args.no_meta { Meta::Hidden } else { Meta::Shown };
    Ok(DefaultOutput { destination, format, meta })
}

/// Ctrl-C and SIGTERM end the run cleanly, after a checkpoint if there is an archive to ask for it; a
/// second one ends the process. SIGUSR1 takes a checkpoint, SIGUSR2 takes one and stops.
fn stop_on_signals(stop: Arc<Stop>, archive: Option<Archive>, intake: Arc<Intake>) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGUSR2]) else { return };
    std::thread::spawn(move || {
        let mut stops = 0;
        for signal in signals.forever() {
            match (&archive, signal) {
                (Some(archive), SIGUSR1) => archive.want(Want::Now),
                (None, SIGUSR1 | SIGUSR2) => {
                    complain("no state is saved (--state-dir): there is no checkpoint to take")
                }
                _ if stops > 0 => std::process::exit(128 + signal),
                (Some(archive), _) => {
                    stops += 1;
                    intake.close();
                    archive.want(Want::Stop);
                }
                (None, _) => {
                    stops += 1;
                    stop.request(StopReason::Interrupted);
                }
            }
        }
    });
}

/// A reader that has gone is the end of a run like any other, and nobody wants to hear of it.
fn print_report(args: &RunArgs, report: &Report) {
    let is_closed = matches!(report.stopped, Some(StopReason::Closed));
    if args.stats.is_some() {
        eprintln!("{}", report.to_json());
    } else if !args.quiet && !is_closed {
        eprint!("{}", report.to_text());
    }
}

/// The exit code of a run that came to an end; says what made it stop, if that was a fault.
fn exit_code(report: &Report) -> u8 {
    match &report.stopped {
        None | Some(StopReason::Interrupted | StopReason::Closed) => 0,
        Some(StopReason::Failed(message)) => {
            complain(message);
            EXIT_FAILED
        }
        Some(StopReason::Refused(refusal)) => {
            complain(refusal_text(refusal));
            EXIT_REFUSED
        }
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    let Refusal { partition, row, sampled } = refusal;
    let what = format!("{partition} at {}: {}: {}", row.place(), row.reason.name(), row.detail);
    if *sampled {
        format!(
            "{what}\n  the type was sampled from the input's first rows, and this row contradicts it; \
             `varpulis check --input` prints the declaration to paste and correct"
        )
    } else {
        format!("{what}\n  stopped, since on_error is \"fail\"")
    }
}
