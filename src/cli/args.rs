//! The flags.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::connector::spec::OutputFormat;
use crate::runtime::checkpoints::Restore;
use crate::state::options::MEMORY_BUDGET_BYTES_MIN;
use crate::state::place::Place;

/// Runs VPL programs over event streams: logs, live files, generators.
#[derive(Parser)]
#[command(name = "varpulis", version, about, disable_help_subcommand = true, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a program; `varpulis q.vpl` means `varpulis run q.vpl`
    Run(Box<RunArgs>),
    /// Report what is wrong with a program, and what bounds its state
    Check(CheckArgs),
    /// Print what the compiler makes of a program
    Explain(ExplainArgs),
    /// Lay programs out in the canonical way
    Fmt(FmtArgs),
    /// Write synthetic rows
    Generate(GenerateArgs),
    /// List the functions and aggregates
    Functions(FunctionsArgs),
    /// List, show, verify or delete checkpoints
    Checkpoint(CheckpointArgs),
}

#[derive(Args)]
pub struct CheckpointArgs {
    #[command(subcommand)]
    pub action: CheckpointAction,
}

#[derive(Subcommand)]
pub enum CheckpointAction {
    /// One line for each checkpoint, the newest last
    List {
        #[arg(long, value_name = "PLACE", value_parser = parse_place)]
        state_dir: Place,
    },
    /// The record of a checkpoint as JSON; the newest if no id is given
    Show {
        id: Option<u64>,
        #[arg(long, value_name = "PLACE", value_parser = parse_place)]
        state_dir: Place,
    },
    /// Read all that checkpoints stand on; exit 1 if one does not hold
    Verify {
        id: Option<u64>,
        #[arg(long, value_name = "PLACE", value_parser = parse_place)]
        state_dir: Place,
    },
    /// Have the run over a folder make a checkpoint now, and wait for it
    Create {
        /// The run stops after it
        #[arg(long)]
        stop: bool,
        /// How long to wait
        #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_interval)]
        timeout: Duration,
        #[arg(long, value_name = "PLACE", value_parser = parse_place)]
        state_dir: Place,
    },
    /// Say what a run with these flags would continue from, and start nothing; exit 1 if it would not start
    Plan(Box<RunArgs>),
    /// Delete a checkpoint, and what only it needs; no run may be under way
    Delete {
        id: u64,
        #[arg(long, value_name = "PLACE", value_parser = parse_place)]
        state_dir: Place,
    },
}

#[derive(Args)]
pub struct InputArgs {
    /// Input: a file, a glob, or - for stdin; TYPE= says which type its rows have
    #[arg(short = 'i', long = "input", value_name = "[TYPE=]PATH")]
    pub inputs: Vec<String>,
    /// Format of stdin, where it is not JSONL
    #[arg(long, value_name = "FORMAT")]
    pub stdin_format: Option<InputFormat>,
}

#[derive(Args)]
pub struct RunArgs {
    /// The program
    pub program: PathBuf,
    /// Worker threads of this process
    #[arg(short = 'w', long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: u32,
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Output: a file, a folder (with a final /) for a file per stream, or - for stdout
    #[arg(short = 'o', long, default_value = "-", value_name = "PATH")]
    pub output: String,
    /// Format of the output; otherwise its name tells
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Rows in one order whatever the number of workers: the default for bounded inputs
    #[arg(long, overrides_with = "unordered")]
    pub ordered: bool,
    /// Rows as they come
    #[arg(long)]
    pub unordered: bool,
    /// Processes of the cluster
    #[arg(short = 'n', long, default_value_t = 1, value_name = "N", requires_if("2..", "hostfile"))]
    pub processes: usize,
    /// Number of this process, from 0
    #[arg(short = 'p', long, default_value_t = 0, value_name = "I")]
    pub process: usize,
    /// One host:port per process and line
    #[arg(long, value_name = "FILE")]
    pub hostfile: Option<PathBuf>,
    /// Where malformed rows go
    #[arg(long, value_name = "FILE")]
    pub dead_letter: Option<String>,
    /// Save state there and, if some is there, continue from it: a folder, s3://…, rocksdb://…
    #[arg(long, value_name = "PLACE", value_parser = parse_place)]
    pub state_dir: Option<Place>,
    /// How often state is saved
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    pub checkpoint_interval: Option<Duration>,
    /// What to continue from: latest, the id of a checkpoint, or none to begin anew
    #[arg(long, default_value = "latest", value_name = "WHICH", value_parser = parse_restore)]
    pub restore: Restore,
    /// Continue states whose input has changed with the program or the files
    #[arg(long)]
    pub allow_changed: bool,
    /// Continue although states or rows are lost that the program no longer has a place for
    #[arg(long)]
    pub allow_drop: bool,
    /// Start the run again when it crashes, from its last checkpoint
    #[arg(long)]
    pub supervise: bool,
    /// Memory that the state of this process may take; what is beyond it lies on disk
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub memory_budget: Option<u64>,
    /// Leave _stream and _time out of the rows
    #[arg(long)]
    pub no_meta: bool,
    /// No progress bar and no report
    #[arg(short, long)]
    pub quiet: bool,
    /// The report as JSON
    #[arg(long, value_name = "FORMAT")]
    pub stats: Option<StatsFormat>,
    /// Bytes per block read
    #[arg(long, hide = true, value_name = "N")]
    pub block_bytes: Option<usize>,
    /// Bytes in flight beyond which nothing more is read
    #[arg(long, hide = true, value_name = "N")]
    pub in_flight_bytes: Option<usize>,
    /// Random schedules, which must not change the answer
    #[arg(long, hide = true, value_name = "SEED")]
    pub chaos: Option<u64>,
    /// Serialize batches between the workers of the process
    #[arg(long, hide = true)]
    pub serialize: bool,
}

#[derive(Args)]
pub struct CheckArgs {
    /// The program
    pub program: PathBuf,
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Check every declared field of the inputs' rows, not only those that the program uses
    #[arg(long)]
    pub strict: bool,
    /// How findings are printed
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: FindingsFormat,
}

#[derive(Args)]
pub struct ExplainArgs {
    /// The program
    pub program: PathBuf,
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Which form of the program
    #[arg(long, default_value = "physical")]
    pub stage: Stage,
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: GraphFormat,
}

#[derive(Args)]
pub struct FmtArgs {
    /// The programs, which are rewritten; - for stdin to stdout
    #[arg(required = true)]
    pub programs: Vec<PathBuf>,
    /// Change nothing; exit 1 if anything would change
    #[arg(long)]
    pub check: bool,
}

#[derive(Args)]
pub struct FunctionsArgs {
    /// Only this one
    pub name: Option<String>,
}

#[derive(Args)]
pub struct GenerateArgs {
    /// What to generate
    pub kind: GeneratedKind,
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,
    #[arg(long, default_value_t = 1000)]
    pub keys: u64,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Rows per second of event time
    #[arg(long, default_value_t = 10_000)]
    pub rate: u64,
    /// How far rows lie behind earlier ones at most
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub out_of_order: i64,
    #[arg(long, default_value = "jsonl")]
    pub format: GeneratedFormat,
    /// A file, or - for stdout
    #[arg(short = 'o', long, default_value = "-")]
    pub output: String,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    Jsonl,
    Csv,
    Table,
    Parquet,
    Arrow,
}

impl Format {
    pub fn output(self) -> OutputFormat {
        match self {
            Format::Jsonl => OutputFormat::Jsonl,
            Format::Csv => OutputFormat::Csv,
            Format::Table => OutputFormat::Table,
            Format::Parquet => OutputFormat::Parquet,
            Format::Arrow => OutputFormat::Arrow,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum InputFormat {
    Jsonl,
    Csv,
    Tsv,
    Evt,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum StatsFormat {
    Json,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum FindingsFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum GraphFormat {
    Text,
    Dot,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum Stage {
    Ast,
    Hir,
    Logical,
    Physical,
    Dataflow,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum GeneratedKind {
    Trades,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum GeneratedFormat {
    Jsonl,
    Csv,
}

fn parse_duration(text: &str) -> Result<i64, String> {
    crate::data::time::parse_duration(text).ok_or_else(|| "expected a duration such as 250ms or 1h30m".to_string())
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let ns = parse_duration(text)?;
    if ns > 0 { Ok(Duration::from_nanos(ns.unsigned_abs())) } else { Err("expected more than 0s".to_string()) }
}

fn parse_place(text: &str) -> Result<Place, String> {
    Place::parse(text).map_err(|e| e.to_string())
}

fn parse_memory(text: &str) -> Result<u64, String> {
    match crate::syntax::size(text).ok_or("expected a size such as 256MB or 1GiB")? {
        bytes if bytes < MEMORY_BUDGET_BYTES_MIN => {
            Err("less than 1MB would be spent on finding what is on disk".to_string())
        }
        bytes => Ok(bytes),
    }
}

fn parse_restore(text: &str) -> Result<Restore, String> {
    match text {
        "latest" => Ok(Restore::Latest),
        "none" => Ok(Restore::None),
        id => id.parse().map(Restore::Id).map_err(|_| "expected latest, none or the id of a checkpoint".to_string()),
    }
}

const COMMANDS: [&str; 7] = ["run", "check", "explain", "fmt", "functions", "generate", "checkpoint"];

/// The arguments with `run` added where no command is named.
pub fn with_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let first = args.get(1).and_then(|a| a.to_str()).unwrap_or("");
    let is_general = matches!(first, "" | "-h" | "--help" | "-V" | "--version");
    if !is_general && !COMMANDS.contains(&first) {
        args.insert(1, "run".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A size is the same in a flag as in a program.
    #[test]
    fn sizes_are_those_of_the_language() {
        for (text, bytes) in [("256MB", 256_000_000), ("1MiB", 1 << 20), ("1GB", 1_000_000_000), ("2000000", 2_000_000)]
        {
            assert_eq!(parse_memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "-1", "5m", "1.5GB", "256mb", "999999B", "99999999999999TB"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }
}
