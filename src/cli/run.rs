//! `varpulis run`.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::low_level::exit as exit_at_once;

use super::args::{FindingsFormat, RunArgs};
use super::begin::{Mode, Opened, open, restore_code, saving, scratch_folder};
use super::program::{compile_program, print_findings, settings_of_program};
use super::progress::Display;
use super::supervise::follow_supervisor;
use super::{EXIT_FAILED, EXIT_LOST, EXIT_REFUSED, EXIT_USAGE, complain, say};
use crate::checkpoint::archive::Archive;
use crate::checkpoint::protocol::Want;
use crate::connector::format::encode::jsonl::Meta;
use crate::connector::guard::is_guarded;
use crate::connector::intake::{Intake, Limits};
use crate::connector::rejects::Refusal;
use crate::connector::sink::Destination;
use crate::connector::spec::{OnError, OutputFormat, Source};
use crate::dataflow::stop::{Stop, StopReason};
use crate::dataflow::worker::Transport;
use crate::plan::physical::Plan;
use crate::runtime::changes::Allowed;
use crate::runtime::checkpoints::{Intended, Looked};
use crate::runtime::cluster::{ClusterError, Membership, Peers};
use crate::runtime::job::{Job, JobError, Saving, Share, run as run_job};
use crate::runtime::memory::bound_state;
use crate::runtime::outputs::{DefaultOutput, parts};
use crate::runtime::report::Report;
use crate::runtime::samples::{Remembering, Samples};
use crate::runtime::surroundings::Outside;
use crate::runtime::watch::{Lost, WORD_GRACE};
use crate::sema::hir::Settings;
use crate::sema::inputs::Surroundings;
use crate::state::scratch::Spill;

pub fn run(args: RunArgs) -> u8 {
    end_on_panic();
    follow_supervisor();
    // Others may find this run and ask it for a checkpoint before it listens; that must not kill it.
    let signals = Signals::new([SIGUSR1, SIGUSR2]);
    if args.processes == 1 {
        return match compile(&args, Mode::Run) {
            Ok(compiled) => run_plan(&args, compiled, signals, None).0,
            Err(code) => code,
        };
    }
    match run_member(&args, signals) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            match error {
                ClusterError::HostFile { .. } | ClusterError::Mismatch { .. } => EXIT_USAGE,
                ClusterError::Listen { .. } => EXIT_FAILED,
                ClusterError::Unreachable { .. } | ClusterError::Missing { .. } | ClusterError::Broken(_) => EXIT_LOST,
            }
        }
    }
}

/// Runs as one of several processes: the first compiles, the others get the plan from it.
fn run_member(args: &RunArgs, signals: io::Result<Signals>) -> Result<u8, ClusterError> {
    let hostfile = args.hostfile.as_deref().expect("clap asks for it with more than one process");
    let members = Membership::read(hostfile, args.processes, args.process, args.workers as usize)?;
    let compiled = if args.process == 0 { Some(compile(args, Mode::Run)) } else { None };
    let mut peers = members.connect(Arc::new(end_of_process_lost))?;
    let compiled = match compiled {
        Some(compiled) => {
            let told = compiled.as_ref().map(|c| (&c.plan, &c.settings)).map_err(|code| *code);
            peers.tell(told.as_ref().map_err(|code| *code))?;
            compiled
        }
        None => {
            peers.hear()?.map(|(plan, settings)| Compiled { plan, settings, samples: Samples::default(), opened: None })
        }
    };
    let compiled = match compiled {
        Ok(compiled) => compiled,
        // The first process has said why there is nothing to run.
        Err(code) => return Ok(code),
    };
    let (code, report) = run_plan(args, compiled, signals, Some((&members, &mut peers)));
    // Who has no report has not begun, and has told why; the others miss it.
    let Some(report) = report else { return Ok(code) };
    let mut reports = peers.gather(report)?.into_iter();
    if let Some(mut whole) = reports.next() {
        reports.for_each(|r| whole.add(r));
        print_report(args, &whole);
    }
    Ok(code)
}

/// Nothing can go on without the other process; what was not saved is read again.
fn end_of_process_lost(lost: &Lost) {
    complain(lost);
    exit_at_once(i32::from(EXIT_LOST));
}

/// A program that is ready to run; in the first process with what it may continue from.
struct Compiled {
    plan: Plan,
    settings: Settings,
    samples: Samples,
    opened: Option<Opened>,
}

/// Opens what the run may continue from before the program is compiled: types that were sampled for its
/// checkpoint are not sampled again.
fn compile(args: &RunArgs, mode: Mode) -> Result<Compiled, u8> {
    let early = settings_of_program(&args.program);
    let opened = open(args, &early, mode).map_err(|error| {
        complain(&error);
        error.exit_code()
    })?;
    let known = opened.as_ref().map(|opened| opened.looked.samples()).unwrap_or_default();
    let mut surroundings = Remembering::new(Outside, &known);
    let (plan, settings) = compile_plan(args, &mut surroundings)?;
    Ok(Compiled { plan, settings, samples: surroundings.used, opened })
}

fn compile_plan(args: &RunArgs, surroundings: &mut dyn Surroundings) -> Result<(Plan, Settings), u8> {
    let on_error = if args.dead_letter.is_some() { OnError::DeadLetter } else { OnError::Skip };
    let has_state_dir = args.state_dir.is_some();
    let compilation = compile_program(&args.program, &args.inputs, on_error, has_state_dir, surroundings)?;
    if compilation.failed() || !args.quiet {
        print_findings(&compilation, FindingsFormat::Text);
    }
    let stages = compilation.stages.ok_or(EXIT_USAGE)?;
    let (plan, settings) = (stages.physical, stages.hir.settings);
    let wants_letters = |s: &Source| s.on_error == OnError::DeadLetter;
    if let (None, Some(source)) = (&args.dead_letter, plan.sources.iter().find(|s| wants_letters(s))) {
        complain(format!("{}: on_error is \"dead_letter\"; --dead-letter FILE says where such rows go", source.name));
        return Err(EXIT_USAGE);
    }
    check_bounds(args, &settings)?;
    Ok((plan, settings))
}

/// Runs the plan in this process. Of several processes, the report is left to the caller.
fn run_plan(
    args: &RunArgs,
    compiled: Compiled,
    signals: io::Result<Signals>,
    mut cluster: Option<(&Membership, &mut Peers)>,
) -> (u8, Option<Report>) {
    let Compiled { plan, settings, samples, opened } = compiled;
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
    let (saving, _lock) = match saving(args, intended(args, &plan, &output, &samples), &settings, opened, cluster) {
        Ok(saving) => saving.unzip(),
        Err(error) => {
            complain(&error);
            return (error.exit_code(), None);
        }
    };
    if saving.is_some() && !args.quiet {
        parts(&plan, &output).iter().for_each(complain);
    }
    let stop = Arc::new(Stop::default());
    let display = Display::new(!args.quiet && io::stderr().is_terminal());
    let on_shutdown = saving.as_ref().is_some_and(|s| s.checkpoints.config.checkpoint_on_shutdown);
    let spill = match spill(args, &settings, share, &stop) {
        Ok(spill) => spill,
        Err(code) => return (code, None),
    };
    let capacity = settings.state.limits.capacity;
    let job = Job { spill, capacity, ..job(args, plan, output, share, transport, saving) };
    let outcome = run_job(job, stop.clone(), |observed| {
        let listening = signals.and_then(|signals| {
            [SIGINT, SIGTERM].into_iter().try_for_each(|signal| signals.add_signal(signal))?;
            stop_on_signals(signals, stop, observed.archive, on_shutdown, observed.intake.clone());
            Ok(())
        });
        if let Err(error) = listening {
            complain(format!("warning: signals are not heard: {error}"));
        }
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
            let code = match &error {
                JobError::Restore(error) => restore_code(error),
                JobError::Input(_) | JobError::Output(_) | JobError::Worker(_) => EXIT_FAILED,
            };
            (code, None)
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
        spill: None,
        capacity: None,
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

/// State is bounded by number or by memory: beyond the one it is lost, beyond the other it lies on disk.
fn check_bounds(args: &RunArgs, settings: &Settings) -> Result<(), u8> {
    if args.memory_budget.is_none() || settings.state.limits.capacity.is_none() {
        return Ok(());
    }
    complain(
        "the program has a `capacity`, beyond which state is lost; --memory-budget, which keeps it on disk, goes with programs without one",
    );
    Err(EXIT_USAGE)
}

/// Bounds the memory of this process's state, where the flags or the program say so.
fn spill(args: &RunArgs, settings: &Settings, share: Share, stop: &Arc<Stop>) -> Result<Option<Arc<Spill>>, u8> {
    let budget_bytes = args.memory_budget.or(settings.state.limits.memory_budget_bytes);
    let Some(budget_bytes) = budget_bytes else { return Ok(None) };
    check_bounds(args, settings)?;
    let folder = scratch_folder(args, settings, share.process);
    let spill = bound_state(budget_bytes, &folder, stop).map_err(|error| {
        complain(error);
        EXIT_FAILED
    })?;
    Ok(Some(spill))
}

/// `varpulis checkpoint plan`: what a run with these flags would go on from.
pub fn plan(args: &RunArgs) -> u8 {
    let compiled = match compile(args, Mode::Look) {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    if args.state_dir.is_none() && compiled.opened.is_none() {
        complain("nothing says where the checkpoints are: neither --state-dir nor the program");
        return EXIT_USAGE;
    }
    match compare(args, compiled) {
        Ok(code) => code,
        Err(error) => {
            complain(error);
            EXIT_FAILED
        }
    }
}

fn compare(args: &RunArgs, compiled: Compiled) -> Result<u8, String> {
    let Compiled { plan, samples, opened, .. } = compiled;
    let output = default_output(args)?;
    let intended = intended(args, &plan, &output, &samples);
    let Looked { recovered, notes } = opened.map(|opened| opened.looked).unwrap_or_default();
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
            // Whoever watches the other processes knows which one it is, and ends this one.
            std::thread::sleep(WORD_GRACE);
            complain("the connection to another process is lost");
            exit_at_once(i32::from(EXIT_LOST));
        }
        print(panic);
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

/// Ctrl-C and SIGTERM end the run cleanly, after a checkpoint if `on_shutdown` says so and there is an
/// archive to ask for it; a second one ends the process. SIGUSR1 takes a checkpoint, SIGUSR2 takes one and
/// stops.
fn stop_on_signals(
    mut signals: Signals,
    stop: Arc<Stop>,
    archive: Option<Archive>,
    on_shutdown: bool,
    intake: Arc<Intake>,
) {
    std::thread::spawn(move || {
        let mut stops = 0;
        for signal in signals.forever() {
            match (&archive, signal) {
                (Some(archive), SIGUSR1) => archive.want(Want::Now),
                (None, SIGUSR1 | SIGUSR2) => {
                    complain("no state is saved (--state-dir): there is no checkpoint to take")
                }
                _ if stops > 0 => std::process::exit(128 + signal),
                (Some(archive), _) if on_shutdown || signal == SIGUSR2 => {
                    stops += 1;
                    intake.close();
                    archive.want(Want::Stop);
                }
                (Some(_) | None, _) => {
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
