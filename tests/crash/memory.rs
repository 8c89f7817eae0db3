//! State beyond memory: what does not fit lies on disk while a run is up, is saved from there, and comes back.

use super::{Case, Random, crash_and_continue_by, printed_seed, program};

/// Tables that follow from tables are not among them: they stay in memory.
const PROGRAMS: [&str; 2] = ["every_state", "every_join"];

/// More keys than a megabyte holds.
const KEYS: u64 = 8_000;
const BOUND: [&str; 2] = ["--memory-budget", "1MB"];

fn crash_in_a_megabyte(case: &Case, random: &mut Random, chaos: Option<u64>, context: &str) {
    let _ = std::fs::remove_dir_all(case.path("state"));
    let start = |workers| {
        let mut command = case.saving("killed.jsonl", "state", workers);
        command.args(BOUND);
        command
    };
    crash_and_continue_by(&start, case, random, 2, chaos, context);
}

#[test]
fn state_beyond_memory_survives() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 5);
    for name in PROGRAMS {
        let case = Case::of(&program(name), 60_000, seed, KEYS);
        for run in 0..2 {
            crash_in_a_megabyte(&case, &mut random, None, &format!("CRASH_SEED={seed}, {name}, run {run}"));
        }
    }
}

#[test]
fn so_it_does_with_random_schedules() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 6);
    for name in PROGRAMS {
        let case = Case::of(&program(name), 6_000, seed, KEYS);
        for run in 0..2 {
            let chaos = Some(random.below(1000));
            let context = format!("CRASH_SEED={seed}, {name}, run {run} under chaos");
            crash_in_a_megabyte(&case, &mut random, chaos, &context);
        }
    }
}

/// The bound is obeyed: entries go to the disk and come back, and the answer is the same.
#[test]
fn what_does_not_fit_goes_to_the_disk() {
    let case = Case::of(&program("every_state"), 60_000, 3, KEYS);
    let mut command = case.run("bounded.jsonl", 2);
    let output = command.args(BOUND).args(["--ordered", "--stats", "json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let stats: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let counts = &stats["spilled_entries"];
    assert!(counts["written"].as_u64() > Some(1000) && counts["read"].as_u64() > Some(1000), "{counts}");
    case.compare("bounded.jsonl", true, "in 1 MB");
}
