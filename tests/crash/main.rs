//! Runs that are killed and continued, against one that is not: what they write must be the same.
//!
//! A run is started with its state in a folder, killed by SIGKILL at a random instant, and started again
//! with another number of workers, until it ends. The instants are random in earnest, by the clock; the
//! rest follows from a seed that is printed.
//!
//! `CRASH_KILLS`, `CRASH_ROWS` and `CRASH_SEED` change how much is done; `make crash` does it at length.

mod blocks;
mod capacity;
mod cluster;
mod damage;
mod edit;
mod fixture;
mod memory;
#[cfg(feature = "s3")]
mod objects;
mod points;
mod rescale;
#[cfg(feature = "s3")]
mod s3;
mod sinks;
mod stop;
mod supervise;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use varpulis_runtime::failpoint::CRASH_CODE;

/// Programs with one of each: of operators and patterns, of joins and tables that rows are looked up in, and of tables
/// that follow from tables.
const PROGRAMS: [&str; 3] = ["every_state", "every_join", "every_table"];
const PROGRAM: &str = PROGRAMS[0];
const KILLS: u64 = 20;
const ROWS: u64 = 300_000;
const CHAOS_ROWS: u64 = 4_000;
const CHAOS_RUNS: u64 = 4;

fn program(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/crash/{name}.vpl", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// The seed of a test, which is printed so that a failure can be had again.
fn printed_seed() -> u64 {
    let seed = setting("CRASH_SEED", std::process::id().into());
    println!("CRASH_SEED={seed}");
    seed
}

/// What is waited for is looked at again a little later; the runs shall have the machine meanwhile.
fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

fn varpulis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_varpulis"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn succeed(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Rows in one file, and what a run that nobody disturbs writes of them.
struct Case {
    dir: tempfile::TempDir,
    /// What that run reports.
    report: Value,
    /// How long that run took.
    took: Duration,
}

impl Case {
    fn new(rows: u64, seed: u64) -> Case {
        Case::running(PROGRAM, rows, seed)
    }

    /// Of another of the [`PROGRAMS`].
    fn running(name: &str, rows: u64, seed: u64) -> Case {
        Case::of(&program(name), rows, seed, 40)
    }

    /// Of a program's text.
    fn of(program: &str, rows: u64, seed: u64, keys: u64) -> Case {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("program.vpl"), program).unwrap();
        let mut generate = varpulis();
        let (rows, seed, keys) = (rows.to_string(), seed.to_string(), keys.to_string());
        generate.args(["generate", "trades", "--keys", &keys, "--rate", "1000", "--out-of-order", "4s"]);
        generate.args(["--rows", &rows, "--seed", &seed, "-o"]).arg(dir.path().join("trades.jsonl"));
        succeed(generate);
        let case = Case { dir, report: Value::Null, took: Duration::ZERO };
        case.spoil();
        let began = Instant::now();
        let whole = case.run("whole.jsonl", 1).output().unwrap();
        let said = String::from_utf8_lossy(&whole.stderr);
        assert!(whole.status.success(), "{said}");
        assert!(!case.output("whole.jsonl", true).is_empty());
        let report = counts(&said);
        assert!(["late", "malformed", "expr_errors"].iter().all(|n| report[n].as_u64() > Some(0)), "{report}");
        Case { took: began.elapsed(), report, ..case }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts rows among the others that are malformed, or of a type that nobody reads.
    fn spoil(&self) {
        let text = std::fs::read_to_string(self.path("trades.jsonl")).unwrap();
        let mut out = String::new();
        for (i, line) in text.lines().enumerate() {
            match i % 500 {
                17 => out.push_str("{\"ts\":\"2024-01-01T00:00:00Z\",\"symbol\":\"S1\",\"price\":\n"),
                170 => out.push_str("{\"symbol\":\"S1\",\"price\":1.5,\"volume\":3}\n"),
                _ => {}
            }
            out.push_str(line);
            out.push('\n');
        }
        std::fs::write(self.path("trades.jsonl"), out).unwrap();
    }

    /// A run that writes to `output` and saves nothing yet.
    fn run(&self, output: &str, workers: u64) -> Command {
        self.run_program(&self.path("program.vpl"), output, workers)
    }

    /// The program with more blocks, which say how its state is kept.
    fn program_with(&self, blocks: &str) -> PathBuf {
        let path = self.path("with_blocks.vpl");
        std::fs::write(&path, program(PROGRAM) + "\n" + blocks).unwrap();
        path
    }

    fn run_program(&self, program: &Path, output: &str, workers: u64) -> Command {
        let mut command = varpulis();
        let input = format!("Trade={}", self.path("trades.jsonl").display());
        command
            .arg(program)
            .args(["--stats", "json", "-w", &workers.to_string(), "-i", &input, "-o"])
            .arg(self.path(output));
        command
    }

    /// A run that saves its state in `state`, often.
    fn saving(&self, output: &str, state: &str, workers: u64) -> Command {
        self.saving_at(output, self.path(state).as_os_str(), workers)
    }

    /// A run that saves its state, often, at a place of any kind.
    fn saving_at(&self, output: &str, place: impl AsRef<OsStr>, workers: u64) -> Command {
        let mut command = self.run(output, workers);
        command.args(["--checkpoint-interval", "20ms", "--block-bytes", "65536", "--state-dir"]).arg(place);
        command
    }

    /// Compares what a run said at its end with the report of the one that nobody disturbed.
    fn compare_report(&self, said: &str, context: &str) {
        assert_eq!(counts(said), self.report, "{context}: it has counted otherwise");
    }

    fn output(&self, name: &str, ordered: bool) -> Vec<u8> {
        let bytes = std::fs::read(self.path(name)).unwrap_or_default();
        if ordered {
            return bytes;
        }
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
        lines.sort_unstable();
        lines.concat()
    }

    /// Compares an output with that of the run that nobody disturbed.
    fn compare(&self, name: &str, ordered: bool, context: &str) {
        if self.output(name, ordered) != self.output("whole.jsonl", ordered) {
            let kept = std::env::temp_dir().join("varpulis-crash");
            copy(self.dir.path(), &kept);
            panic!("{context}: {name} differs from whole.jsonl; both are in {}", kept.display());
        }
    }
}

/// What a report counts that follows from the rows alone.
fn counts(said: &str) -> Value {
    let line = said.lines().rfind(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no report: {said}"));
    let report: Value = serde_json::from_str(line).unwrap();
    let pick = |from: &Value, names: &[&str]| -> Value {
        names.iter().map(|name| (name.to_string(), from[*name].clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let all = |list: &str, names: &[&str]| -> Value {
        report[list].as_array().unwrap().iter().map(|item| pick(item, names)).collect()
    };
    let of_all = ["rows_in", "rows_out", "late", "evicted", "malformed", "expr_errors", "outputs", "input_bytes"];
    let mut out = pick(&report, &of_all);
    out["sources"] = all("sources", &["name", "rows", "malformed", "other_types", "expr_errors"]);
    let of_operators =
        ["stream", "operator", "rows_in", "rows_out", "late", "evicted", "capped", "unmatched", "expr_errors"];
    out["operators"] = all("operators", &[&of_operators[..], &["out_of_order_needed_ns"]].concat());
    out
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::create_dir_all(to);
    for name in ["trades.jsonl", "whole.jsonl", "killed.jsonl"] {
        let _ = std::fs::copy(from.join(name), to.join(name));
    }
}

/// Runs `begin` under random schedules, each from the beginning, until one dies by `rule`: how many checkpoints
/// a run takes depends on how fast the disk is.
fn crash_by(rule: &str, begin: impl Fn() -> Command) {
    for seed in 0..50 {
        let mut command = begin();
        let output = command.args(["--chaos", &seed.to_string()]).env("VARPULIS_FAIL", rule).output().unwrap();
        if output.status.code() == Some(CRASH_CODE) {
            return;
        }
        assert!(output.status.success(), "{rule}: {}", String::from_utf8_lossy(&output.stderr));
    }
    panic!("{rule}: never reached");
}

/// What became of a process that was to be killed after `after`.
enum Ended {
    Killed,
    ByItself(Output),
}

fn kill_after(mut child: Child, after: Duration) -> Ended {
    let deadline = Instant::now() + after;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return Ended::ByItself(child.wait_with_output().unwrap());
        }
        pause();
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    // It may have ended just before.
    if output.status.success() { Ended::ByItself(output) } else { Ended::Killed }
}

/// Runs the case to its end, killed at most `kills_max` times; how often it was.
fn crash_and_continue(case: &Case, random: &mut Random, kills_max: u64, chaos: Option<u64>, context: &str) -> u64 {
    let _ = std::fs::remove_dir_all(case.path("state"));
    let start = |workers| case.saving("killed.jsonl", "state", workers);
    crash_and_continue_by(&start, case, random, kills_max, chaos, context)
}

/// The same for a run that is started by `start`, with a number of workers, and writes `killed.jsonl`.
fn crash_and_continue_by(
    start: &dyn Fn(u64) -> Command,
    case: &Case,
    random: &mut Random,
    kills_max: u64,
    chaos: Option<u64>,
    context: &str,
) -> u64 {
    let _ = std::fs::remove_file(case.path("killed.jsonl"));
    let ordered = random.below(3) > 0;
    let chaos = chaos.map(|seed| seed.to_string());
    let mut kills = 0;
    loop {
        let workers = 1 + random.below(3);
        let mut command = start(workers);
        command.arg(if ordered { "--ordered" } else { "--unordered" });
        command.args(chaos.iter().flat_map(|seed| ["--chaos", seed]));
        let after = case.took.mul_f64(random.below(1000) as f64 / 1000.0);
        let context = format!("{context}, {kills} kills, -w {workers}, ordered {ordered}, chaos {chaos:?}");
        let child = command.spawn().unwrap();
        let ended = match kills < kills_max {
            true => kill_after(child, after),
            false => Ended::ByItself(child.wait_with_output().unwrap()),
        };
        match ended {
            Ended::Killed => kills += 1,
            Ended::ByItself(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{context}: {:?}\n{said}", output.status);
                case.compare("killed.jsonl", ordered, &context);
                // Whoever is killed when everything is done has nothing more to report.
                if !said.contains("had finished") {
                    case.compare_report(&said, &context);
                }
                return kills;
            }
        }
    }
}

#[test]
fn killed_runs_write_what_undisturbed_ones_do() {
    let (kills, rows) = (setting("CRASH_KILLS", KILLS), setting("CRASH_ROWS", ROWS));
    let seed = printed_seed();
    let mut random = Random(seed);
    let cases = PROGRAMS.map(|name| Case::running(name, rows, seed));
    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        let context = format!("CRASH_SEED={seed}, run {runs}");
        // Each program has its share, whether the others were killed often or not.
        let kills_max = (kills - killed).min(kills.div_ceil(cases.len() as u64));
        killed += crash_and_continue(&cases[runs % cases.len()], &mut random, kills_max, None, &context);
        runs += 1;
    }
    println!("{killed} kills over {runs} runs of {rows} rows: no difference");
}

/// The same under random schedules, which read blocks of a few rows and take checkpoints all the time.
#[test]
fn so_do_runs_with_random_schedules() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 1);
    for name in PROGRAMS {
        let case = Case::running(name, CHAOS_ROWS, seed);
        for run in 0..setting("CRASH_CHAOS_RUNS", CHAOS_RUNS) {
            let chaos = Some(random.below(1000));
            let context = format!("CRASH_SEED={seed}, {name}, run {run} under chaos");
            crash_and_continue(&case, &mut random, 4, chaos, &context);
        }
    }
}
