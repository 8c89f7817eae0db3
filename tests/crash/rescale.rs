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

/// Whether the newest record is of a run that is well under way; then it has every state.
fn is_open(case: &Case) -> bool {
    let mut show = varpulis();
    show.args(["checkpoint", "show", "--state-dir"]).arg(case.path("state")).stdout(Stdio::piped());
    let record: serde_json::Value = serde_json::from_slice(&show.output().unwrap().stdout).unwrap();
    for (kind, least) in [("window_states", 6), ("pattern_states", 6), ("operator_states", 5)] {
        let states = record[kind].as_object().unwrap();
        assert!(states.len() >= least, "{kind}: {:?}", states.keys().collect::<Vec<_>>());
    }
    let rows = record["events_processed"].as_u64().unwrap();
    (ROWS / 10..ROWS * 9 / 10).contains(&rows)
}

/// Leaves a checkpoint in the middle of the run, and nothing after it.
fn take(case: &Case, workers: u64) {
    for seed in 0..50 {
        let _ = fs::remove_dir_all(case.path("state"));
        // The run dies when one of its first checkpoints is committed; where that is depends on the schedule.
        let mut command = case.saving("rescaled.jsonl", "state", workers);
        let rule = format!("checkpoint.committed=crash@{}", 1 + seed % 16);
        command.args(["--chaos", &seed.to_string()]).env("VARPULIS_FAIL", rule);
        let output = command.output().unwrap();
        let has_crashed = output.status.code() == Some(CRASH_CODE);
        assert!(has_crashed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if has_crashed && is_open(case) {
            return;
        }
    }
    panic!("no checkpoint of {workers} workers is in the middle");
}

#[test]
fn any_number_of_workers_continues_what_any_other_began() {
    let case = Case::new(ROWS, 19);
    let whole = String::from_utf8(case.output("whole.jsonl", true)).unwrap();
    for stream in [
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
    ] {
        assert!(whole.contains(&format!("\"_stream\":\"{stream}\"")), "{stream} has rows");
    }
    for taken in WORKERS {
        let _ = fs::remove_dir_all(case.path("taken"));
        take(&case, taken);
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
