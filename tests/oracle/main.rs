//! Random programs over random inputs: what the engine writes must be, byte for byte, what a naive
//! interpreter of the plan gives, on one worker and on several, in blocks of any size, with rows
//! serialized between workers, and under random schedules.
//!
//! `ORACLE_CASES=n` runs n cases instead of the default; `ORACLE_SEED=n` runs the one of that seed and
//! prints all about it. A failing case is made smaller by leaving out lines of its input.

mod engine;
mod generate;
mod input;
mod interpret;
mod stream;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::{Mode, compile_case, engine_output, expected_output};
use generate::{Case, case};
use varpulis_runtime::expr::generate::Random;
use varpulis_runtime::plan::build::build;
use varpulis_runtime::plan::logical::{Op, Plan};

/// Cases in a normal run.
const CASES: u64 = 2000;
/// Cases run at a time; each may have several workers.
const LANES: usize = 2;
/// After this long a case counts as hung. It is no assertion on speed: cases take milliseconds.
const WATCHDOG: Duration = Duration::from_secs(60);
/// Runs of smaller cases that are made to find a small failing one.
const SHRINK_RUNS: usize = 400;

/// What came of a case.
enum Outcome {
    /// It ran; how many rows it wrote.
    Agreed(usize),
    /// The program does not compile.
    Skipped(String),
}

#[test]
fn random_programs_agree_with_the_interpreter() {
    if let Some(seed) = number("ORACLE_SEED") {
        let case = case(seed);
        println!("{}", describe(&case));
        match check(&case, seed) {
            Ok(Outcome::Agreed(rows)) => println!("agreed on {rows} rows"),
            Ok(Outcome::Skipped(why)) => println!("does not compile:\n{why}"),
            Err(failure) => panic!("{}", report(&case, seed, failure)),
        }
        return;
    }
    let cases = number("ORACLE_CASES").unwrap_or(CASES);
    let first = number("ORACLE_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let totals = Mutex::new(Totals::default());
    let watched: Vec<Mutex<Option<(u64, Instant)>>> = (0..LANES).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for lane in &watched {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + cases {
                        break;
                    }
                    *lane.lock().unwrap() = Some((seed, Instant::now()));
                    let case = case(seed);
                    let outcome = check(&case, seed);
                    totals.lock().unwrap().add(&case, seed, outcome);
                }
                *lane.lock().unwrap() = None;
            });
        }
        scope.spawn(|| watch(&watched));
    });
    totals.into_inner().unwrap().finish(cases);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// A run that never ends, as after a panic of one worker of several, becomes a failure with a seed.
fn watch(lanes: &[Mutex<Option<(u64, Instant)>>]) {
    loop {
        let running: Vec<(u64, Instant)> = lanes.iter().filter_map(|l| *l.lock().unwrap()).collect();
        if running.is_empty() {
            return;
        }
        if let Some((seed, _)) = running.iter().find(|(_, since)| since.elapsed() > WATCHDOG) {
            println!("hung: ORACLE_SEED={seed}\n{}", describe(&case(*seed)));
            std::process::exit(101);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[derive(Default)]
struct Totals {
    agreed: u64,
    rows: usize,
    skipped: Vec<(u64, String)>,
    failures: Vec<(u64, String)>,
}

impl Totals {
    fn add(&mut self, case: &Case, seed: u64, outcome: Result<Outcome, String>) {
        match outcome {
            Ok(Outcome::Agreed(rows)) => {
                self.agreed += 1;
                self.rows += rows;
            }
            Ok(Outcome::Skipped(why)) => self.skipped.push((seed, why)),
            // Each is shrunk under the lock: failures are rare, and the first few are enough.
            Err(failure) if self.failures.len() < 3 => self.failures.push((seed, report(case, seed, failure))),
            Err(_) => self.failures.push((seed, String::new())),
        }
    }

    fn finish(self, cases: u64) {
        let Totals { agreed, rows, skipped, mut failures } = self;
        println!("{agreed} of {cases} cases agree on {rows} rows; {} do not compile", skipped.len());
        if number("ORACLE_SKIPPED").is_some() {
            skipped.iter().take(40).for_each(|(seed, why)| println!("seed {seed}\n{why}"));
        }
        failures.sort();
        let seeds: Vec<String> = failures.iter().map(|(seed, _)| seed.to_string()).collect();
        let texts: Vec<&str> = failures.iter().map(|(_, text)| text.as_str()).filter(|t| !t.is_empty()).collect();
        assert!(failures.is_empty(), "{}\nfailed: {}", texts.join("\n"), seeds.join(" "));
        assert!(skipped.len() as u64 * 10 <= cases, "too many programs do not compile: the generator is out of date");
    }
}

/// The plain run, and one other that the seed chooses.
fn modes(seed: u64) -> [Mode; 2] {
    let mut random = Random::new(seed ^ 0x6d6f_6465);
    let plain = Mode { workers: 1, chaos_seed: None, block_bytes: None, serialized: false, spills: false };
    let other = match random.below(5) {
        0 => Mode { block_bytes: Some(1 + random.below(100)), ..plain },
        1 => Mode { workers: 2, chaos_seed: Some(seed), ..plain },
        2 => Mode { workers: 4, chaos_seed: Some(seed), ..plain },
        3 => Mode { workers: 2, chaos_seed: Some(seed), serialized: true, ..plain },
        _ => Mode { workers: 1, chaos_seed: Some(seed), ..plain },
    };
    let other = Mode { spills: random.below(2) == 0, ..other };
    [plain, other]
}

/// A panic of the compiler, or of a single worker, is a failure like others.
fn check(case: &Case, seed: u64) -> Result<Outcome, String> {
    let outcome = std::panic::catch_unwind(|| check_unguarded(case, seed));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}\n", text.unwrap_or("?")))
    })
}

fn check_unguarded(case: &Case, seed: u64) -> Result<Outcome, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    for file in &case.files {
        std::fs::write(file.path(dir.path()), file.text(&case.types)).map_err(|e| e.to_string())?;
    }
    let stages = match compile_case(case, dir.path()) {
        Ok(stages) => stages,
        Err(why) => return Ok(Outcome::Skipped(why)),
    };
    if follows_the_clock(&stages.logical) {
        return Ok(Outcome::Skipped("a timer follows the clock: no output depends on an input".to_string()));
    }
    let expected = expected_output(case, &stages.logical, dir.path());
    for mode in modes(seed) {
        let written = engine_output(&stages.physical, mode, dir.path())
            .map_err(|why| format!("the engine failed ({mode:?}): {why}\n"))?;
        if written != expected {
            return Err(difference(&format!("the interpreter and the engine ({mode:?})"), &expected, &written));
        }
    }
    let as_built = expected_output(case, &build(&stages.hir), dir.path());
    if as_built != expected {
        return Err(difference("the plan as it was built and as it was rewritten", &as_built, &expected));
    }
    Ok(Outcome::Agreed(expected.lines().count()))
}

/// Such a program never ends: the streams that read inputs are not among what it puts out.
fn follows_the_clock(plan: &Plan) -> bool {
    plan.nodes.iter().any(|node| matches!(&node.op, Op::Timer { inputs, .. } if inputs.is_empty()))
}

fn difference(between: &str, left: &str, right: &str) -> String {
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let same = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let shown = |lines: &[&str], sign: &str| {
        lines.iter().skip(same).take(12).map(|l| format!("{sign} {l}\n")).collect::<String>()
    };
    let (count, other) = (left.len(), right.len());
    format!(
        "{between} differ after {same} equal rows, of {count} (-) and {other} (+):\n{}{}",
        shown(&left, "-"),
        shown(&right, "+")
    )
}

fn report(case: &Case, seed: u64, failure: String) -> String {
    let (small, failure) = shrink(case, seed, failure);
    format!("=== ORACLE_SEED={seed}\n{}--- {failure}", describe(&small))
}

/// Leaves out lines of the input for as long as what is left still fails.
fn shrink(case: &Case, seed: u64, failure: String) -> (Case, String) {
    let (mut small, mut failure, mut runs) = (case.clone(), failure, 0);
    let mut chunk = 16;
    while chunk > 0 {
        let mut removed = false;
        for file in 0..small.files.len() {
            let mut from = 0;
            while from < small.files[file].lines.len() && runs < SHRINK_RUNS {
                let mut less = small.clone();
                let to = (from + chunk).min(less.files[file].lines.len());
                less.files[file].lines.drain(from..to);
                runs += 1;
                match check(&less, seed) {
                    Err(still) => (small, failure, removed) = (less, still, true),
                    Ok(_) => from += chunk,
                }
            }
        }
        if !removed {
            chunk /= 2;
        }
    }
    (small, failure)
}

fn describe(case: &Case) -> String {
    let mut out = case.program.clone();
    for file in &case.files {
        let ty = file.ty.map_or(String::new(), |ty| format!("{}=", case.types[ty].name));
        out += &format!("--- -i {ty}{}\n{}", file.path(Path::new("")).display(), file.text(&case.types));
    }
    out
}
