//! The command line: flags to jobs, outcomes to exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | fine; also when the output's reader has gone, and after an interruption |
//! | 1 | the run failed |
//! | 2 | bad program or usage |
//! | 3 | stopped by `on_error: "fail"`, or by a row that contradicts a sampled type |
//! | 4 | the run cannot begin: its saved state does not fit, or another run has it |
//! | 75 | another process of the run is gone, and the run with it |
//! | 128 + N | a second signal N ended the process at once |

mod args;
mod begin;
mod check;
mod checkpoint;
mod create;
mod explain;
mod fmt;
mod functions;
mod generate;
mod program;
mod progress;
mod run;
mod supervise;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

pub const EXIT_FAILED: u8 = 1;
pub const EXIT_USAGE: u8 = 2;
pub const EXIT_REFUSED: u8 = 3;
pub const EXIT_STATE: u8 = 4;
/// What sendmail calls a temporary failure: to try again may help.
pub const EXIT_LOST: u8 = 75;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(args::with_command(std::env::args_os().collect())) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; what cannot be printed is nobody's to know.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let code = match cli.command {
        Command::Run(args) if args.supervise => supervise::supervise(std::env::args_os()),
        Command::Run(args) => run::run(*args),
        Command::Check(args) => check::check(args),
        Command::Explain(args) => explain::explain(args),
        Command::Generate(args) => generate::generate(args),
        Command::Fmt(args) => fmt::fmt(args),
        Command::Functions(args) => functions::functions(args),
        Command::Checkpoint(args) => checkpoint::run(args),
    };
    ExitCode::from(code)
}

/// Writes to standard output. A reader that has gone has seen enough; nothing else may be lost.
fn say(text: impl std::fmt::Display) {
    let mut out = std::io::stdout();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            complain(format!("standard output: {error}"));
            std::process::exit(i32::from(EXIT_FAILED));
        }
        Ok(()) | Err(_) => {}
    }
}

/// Says what went wrong.
fn complain(message: impl std::fmt::Display) {
    eprintln!("varpulis: {message}");
}
