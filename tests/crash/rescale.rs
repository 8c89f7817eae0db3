//! A checkpoint in the middle of everything that is open, taken by 1 to 4 workers and continued by 1 to 4:
//! sixteen runs with one output.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use varpulis_runtime::failpoint::CRASH_CODE;

use super::{Case, varpulis};

const ROWS: u64 = 4_000;
const WORKERS: std::ops::RangeInclusive<u64> = 1..=4;

pub(super) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// How many states a program has of a kind.
type States = [(&'static str, usize); 3];

/// Whether the newest record is of a run that is well under way; then it has every state.
fn is_open(case: &Case, rows: u64, states: &States) -> bool {
    let mut show = varpulis();
    show.args(["checkpoint", "show", "--state-dir"]).arg(case.path("state")).stdout(Stdio::piped());
    let record: serde_json::Value = serde_json::from_slice(&show.output().unwrap().stdout).unwrap();
    for (kind, least) in states {
        let states = record[kind].as_object().unwrap();
        assert!(states.len() >= *least, "{kind}: {:?}", states.keys().collect::<Vec<_>>());
    }
    let read = record["events_processed"].as_u64().unwrap();
    (rows / 10..rows * 9 / 10).contains(&read)
}

/// Leaves a checkpoint in the middle of the run, and nothing after it.
fn take(case: &Case, rows: u64, states: &States, workers: u64) {
    for seed in 0..50 {
        let _ = fs::remove_dir_all(case.path("state"));
        // The run dies when one of its first checkpoints is committed; where that is depends on the schedule.
        let mut command = case.saving("rescaled.jsonl", "state", workers);
        let rule = format!("checkpoint.committed=crash@{}", 1 + seed % 16);
        command.args(["--chaos", &seed.to_string()]).env("VARPULIS_FAIL", rule);
        let output = command.output().unwrap();
        let has_crashed = output.status.code() == Some(CRASH_CODE);
        assert!(has_crashed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if has_crashed && is_open(case, rows, states) {
            return;
        }
    }
    panic!("no checkpoint of {workers} workers is in the middle");
}

/// What was taken by each number of workers and continued by each gives one output, in which all these streams have rows.
fn rescale(name: &str, rows: u64, states: &States, streams: &[&str]) {
    let case = Case::running(name, rows, 19);
    let whole = String::from_utf8(case.output("whole.jsonl", true)).unwrap();
    for stream in streams {
        assert!(whole.contains(&format!("\"_stream\":\"{stream}\"")), "{stream} has rows");
    }
    for taken in WORKERS {
        let _ = fs::remove_dir_all(case.path("taken"));
        take(&case, rows, states, taken);
        copy_folder(&case.path("state"), &case.path("taken"));
        let written = fs::read(case.path("rescaled.jsonl")).unwrap();
        for restored in WORKERS {
            let _ = fs::remove_dir_all(case.path("state"));
            copy_folder(&case.path("taken"), &case.path("state"));
            fs::write(case.path("rescaled.jsonl"), &written).unwrap();
            let output = case.saving("rescaled.jsonl", "state", restored).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let context = format!("taken by {taken} workers, continued by {restored}");
            assert!(output.status.success() && said.contains("resuming from checkpoint"), "{context}: {said}");
            case.compare("rescaled.jsonl", true, &context);
        }
    }
}

#[test]
fn any_number_of_workers_continues_what_any_other_began() {
    let states = [("window_states", 6), ("pattern_states", 6), ("operator_states", 5)];
    let streams = [
        "Bars",
        "Highs",
        "Sessions",
        "Running",
        "Kinds",
        "Recent",
        "First",
        "Hundreds",
        "Best",
        "Ranked",
        "Rising",
        "Quiet",
        "Unmatched",
        "Disjoint",
        "Pairs",
        "Trends",
    ];
    rescale("every_state", ROWS, &states, &streams);
}

#[test]
fn so_it_does_with_joins_and_tables() {
    let states = [("window_states", 1), ("pattern_states", 0), ("operator_states", 5)];
    let streams = ["Met", "Opened", "PriceChanges", "Compared", "Matched"];
    // It is over sooner, and shall take as many checkpoints.
    rescale("every_join", 5 * ROWS, &states, &streams);
}

#[test]
fn so_it_does_with_tables_that_follow_from_tables() {
    let states = [("window_states", 0), ("pattern_states", 0), ("operator_states", 4)];
    rescale("every_table", ROWS, &states, &["SumChanges", "DearChanges", "Summed"]);
}
