//! What was evicted stays so when a run is killed and continued, and what goes afterwards is the same.

use std::path::{Path, PathBuf};

use super::rescale::copy_folder;
use super::{Case, Random, counts, crash_and_continue, crash_by, printed_seed};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/capacity.vpl");
const BLOCK: &str = "\nstate:\n    capacity: 4096\n    eviction: \"lru\"\n";
/// About three for each place there is.
const KEYS: u64 = 12_000;

/// The case with room for a third of its keys.
fn case(eviction: &str, rows: u64, seed: u64) -> Case {
    let block = BLOCK.replace("lru", eviction);
    let case = Case::of(&(std::fs::read_to_string(PROGRAM).unwrap() + &block), rows, seed, KEYS);
    let operators = case.report["operators"].as_array().unwrap();
    for stream in ["Running", "First", "Kinds", "Recent", "Sessions", "Threes"] {
        let evicted = operators.iter().filter(|o| o["stream"] == stream).filter_map(|o| o["evicted"].as_u64());
        assert!(evicted.sum::<u64>() > 0, "nothing is evicted in {stream}: {operators:?}");
    }
    case
}

#[test]
fn what_is_evicted_stays_away() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 7);
    for eviction in ["lru", "lfu", "fifo"] {
        let case = case(eviction, 60_000, seed);
        for run in 0..2 {
            crash_and_continue(&case, &mut random, 3, None, &format!("CRASH_SEED={seed}, {eviction}, run {run}"));
        }
    }
}

#[test]
fn so_it_does_with_random_schedules() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 8);
    for eviction in ["lru", "lfu", "fifo"] {
        let case = case(eviction, 12_000, seed);
        let chaos = Some(random.below(1000));
        crash_and_continue(&case, &mut random, 4, chaos, &format!("CRASH_SEED={seed}, {eviction} under chaos"));
    }
}

/// The program with or without a capacity.
fn program(case: &Case, block: &str) -> PathBuf {
    let path = case.path("edited.vpl");
    std::fs::write(&path, std::fs::read_to_string(PROGRAM).unwrap() + block).unwrap();
    path
}

/// Copies the state and what was written.
fn copy_left(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to.join("state"));
    copy_folder(&from.join("state"), &to.join("state"));
    std::fs::copy(from.join("killed.jsonl"), to.join("killed.jsonl")).unwrap();
}

/// Dies with a checkpoint behind it. What it leaves is in the folder `left`.
fn crash(case: &Case, block: &str) {
    let program = program(case, block);
    crash_by("checkpoint.committed=crash@3", || {
        let _ = std::fs::remove_dir_all(case.path("state"));
        let mut command = case.run_program(&program, "killed.jsonl", 2);
        command.args(["--ordered", "--state-dir"]).arg(case.path("state"));
        command
    });
    copy_left(case.dir.path(), &case.path("left"));
}

/// Continues what the crash left with another program; what was written, and how many entries were evicted in all.
fn go_on(case: &Case, block: &str, workers: u64) -> (Vec<u8>, u64) {
    copy_left(&case.path("left"), case.dir.path());
    let mut command = case.run_program(&program(case, block), "killed.jsonl", workers);
    let output = command.args(["--ordered", "--state-dir"]).arg(case.path("state")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    (case.output("killed.jsonl", true), counts(&said)["evicted"].as_u64().unwrap())
}

/// A program is given a capacity between two runs: what is too much goes at once, and with any number of workers
/// the same.
#[test]
fn a_capacity_may_be_given_later() {
    let case = case("lru", 20_000, 3);
    crash(&case, "");
    let (written, evicted) = go_on(&case, BLOCK, 1);
    assert!(evicted > 0);
    assert_eq!(go_on(&case, BLOCK, 3), (written, evicted));
}

/// Or its capacity is taken away: what was saved with ranks is read without.
#[test]
fn a_capacity_may_be_taken_away() {
    let case = case("lru", 20_000, 4);
    crash(&case, BLOCK);
    let (without, evicted) = go_on(&case, "", 2);
    // What the first run had evicted.
    assert!(evicted > 0 && evicted < case.report["evicted"].as_u64().unwrap());
    assert_ne!(without, case.output("whole.jsonl", true));
    assert_eq!(go_on(&case, BLOCK, 2).0, case.output("whole.jsonl", true));
}
