//! `varpulis run`.

use std::io::IsTerminal;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::args::{FindingsFormat, RunArgs};
use super::program::{compile_program, print_findings};
use super::progress::Display;
use super::{EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE, complain};
use crate::connector::format::encode::jsonl::Meta;
use crate::connector::guard::is_guarded;
use crate::connector::intake::Limits;
use crate::connector::rejects::Refusal;
use crate::connector::sink::Destination;
use crate::connector::spec::{OnError, OutputFormat, Source};
use crate::dataflow::stop::{Stop, StopReason};
use crate::dataflow::worker::Transport;
use crate::plan::physical::Plan;
use crate::runtime::cluster::{ClusterError, Membership, Peers};
use crate::runtime::job::{Job, Share, run as run_job};
use crate::runtime::outputs::DefaultOutput;
use crate::runtime::report::Report;

pub fn run(args: RunArgs) -> u8 {
    end_on_panic();
    if args.processes == 1 {
        return match compile(&args) {
            Ok(plan) => run_plan(&args, plan, None).0,
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
    let plan = match compiled {
        Some(Ok(plan)) => peers.share(Some(plan))?,
        Some(Err(code)) => {
            peers.share::<Plan>(None)?;
            return Ok(code);
        }
        None => peers.share(None)?,
    };
    let Some(plan) = plan else {
        complain("the first process could not compile the program");
        return Ok(EXIT_USAGE);
    };
    let (code, report) = run_plan(args, plan, Some((&members, &mut peers)));
    let reports = peers.gather(report)?;
    let mut reports = reports.into_iter().flatten();
    if let Some(mut whole) = reports.next() {
        reports.for_each(|r| whole.add(r));
        print_report(args, &whole);
    }
    Ok(code)
}

fn compile(args: &RunArgs) -> Result<Plan, u8> {
    let on_error = if args.dead_letter.is_some() { OnError::DeadLetter } else { OnError::Skip };
    let compilation = compile_program(&args.program, &args.inputs, on_error)?;
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
fn run_plan(args: &RunArgs, plan: Plan, cluster: Option<(&Membership, &mut Peers)>) -> (u8, Option<Report>) {
    let output = match default_output(args) {
        Ok(output) => output,
        Err(message) => {
            complain(message);
            return (EXIT_USAGE, None);
        }
    };
    let (share, transport) = match cluster {
        None if args.serialize => (Share::WHOLE, Transport::Serialized),
        None => (Share::WHOLE, Transport::Memory),
        Some((members, peers)) => {
            let sockets = std::mem::take(&mut peers.data);
            (members.share(), Transport::Network { process: members.process, sockets })
        }
    };
    let stop = Arc::new(Stop::default());
    stop_on_signals(&stop);
    let display = Display::new(!args.quiet && std::io::stderr().is_terminal());
    let outcome = run_job(job(args, plan, output, share, transport), stop, |intake| display.watch(intake));
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

fn job(args: &RunArgs, plan: Plan, output: DefaultOutput, share: Share, transport: Transport) -> Job {
    let live = plan.sources.iter().any(|s| s.input.is_live());
    Job {
        workers: args.workers as usize,
        output,
        ordered: args.ordered || !(args.unordered || live),
        dead_letters: args.dead_letter.clone(),
        chaos_seed: args.chaos,
        limits: Limits { block_bytes: args.block_bytes, in_flight_bytes: args.in_flight_bytes },
        transport,
        share,
        plan,
    }
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

/// Ctrl-C and SIGTERM end the run cleanly; a second one ends the process.
fn stop_on_signals(stop: &Arc<Stop>) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    let stop = stop.clone();
    std::thread::spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(128 + signal);
            }
            stop.request(StopReason::Interrupted);
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
