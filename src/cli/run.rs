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
use crate::connector::rejects::Refusal;
use crate::connector::sink::Destination;
use crate::connector::spec::{OnError, OutputFormat};
use crate::dataflow::stop::{Stop, StopReason};
use crate::dataflow::worker::Transport;
use crate::plan::physical::Plan;
use crate::runtime::job::{Job, JobError, run as run_job};
use crate::runtime::outputs::DefaultOutput;
use crate::runtime::report::Report;

pub fn run(args: RunArgs) -> u8 {
    let on_error = if args.dead_letter.is_some() { OnError::DeadLetter } else { OnError::Skip };
    let compilation = match compile_program(&args.program, &args.inputs, on_error) {
        Ok(compilation) => compilation,
        Err(code) => return code,
    };
    if compilation.failed() || !args.quiet {
        print_findings(&compilation, FindingsFormat::Text);
    }
    let Some(stages) = compilation.stages else { return EXIT_USAGE };
    let output = match default_output(&args) {
        Ok(output) => output,
        Err(message) => {
            complain(message);
            return EXIT_USAGE;
        }
    };
    let job = job(&args, stages.physical, output);
    let stop = Arc::new(Stop::default());
    stop_on_signals(&stop);
    let display = Display::new(!args.quiet && std::io::stderr().is_terminal());
    let outcome = run_job(job, stop, |intake| display.watch(intake));
    display.finish();
    match outcome {
        Ok(report) => finish(&args, &report),
        Err(error) => {
            complain(&error);
            match error {
                JobError::Input(_) | JobError::Output(_) | JobError::Worker(_) => EXIT_FAILED,
            }
        }
    }
}

fn job(args: &RunArgs, plan: Plan, output: DefaultOutput) -> Job {
    let live = plan.sources.iter().any(|s| s.input.is_live());
    Job {
        workers: args.workers as usize,
        output,
        ordered: args.ordered || !(args.unordered || live),
        dead_letters: args.dead_letter.clone(),
        chaos_seed: args.chaos,
        block_bytes: args.block_bytes,
        transport: if args.serialize { Transport::Serialized } else { Transport::Memory },
        plan,
    }
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

fn finish(args: &RunArgs, report: &Report) -> u8 {
    if args.stats.is_some() {
        eprintln!("{}", report.to_json());
    } else if !args.quiet {
        eprint!("{}", report.to_text());
    }
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
    let what = format!("{partition} at {}: {}: {}", row.position, row.reason.name(), row.detail);
    if *sampled {
        format!(
            "{what}\n  the type was sampled from the input's first rows, and this row contradicts it; \
             `varpulis check --input` prints the declaration to paste and correct"
        )
    } else {
        format!("{what}\n  stopped, since on_error is \"fail\"")
    }
}
