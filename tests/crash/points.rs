//! Crashes and errors at every named point of the way to the disk, each once: the run continues or stops
//! with a clear error, and what follows writes what a run that nobody disturbed writes.

use varpulis_runtime::failpoint::{ACTIONS, CRASH_CODE, POINTS};

use super::Case;

const ROWS: u64 = 20_000;

#[test]
fn every_point_may_crash_or_fail() {
    let case = Case::new(ROWS, 7);
    // Those of outputs are in `sinks`, with a program that writes all kinds.
    let others = ["store.rocksdb", "store.object", "sink."];
    for point in POINTS.iter().filter(|p| !others.iter().any(|other| p.starts_with(other))) {
        for action in ACTIONS {
            for hit in [1, 4] {
                check(&case, point, action, hit);
            }
        }
    }
}

fn check(case: &Case, point: &str, action: &str, hit: u32) {
    let rule = format!("{point}={action}@{hit}");
    let _ = std::fs::remove_dir_all(case.path("state"));
    let _ = std::fs::remove_file(case.path("failed.jsonl"));
    let output = case.saving("failed.jsonl", "state", 2).env("VARPULIS_FAIL", &rule).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        // The point was not reached so often, or the run went on without that checkpoint.
        Some(0) => {}
        Some(code) if action == "crash" && code == CRASH_CODE => {}
        Some(1) if action != "crash" => {
            assert!(said.contains("varpulis: "), "{rule}: it stopped without a word\n{said}")
        }
        code => panic!("{rule}: it ended with {code:?}\n{said}"),
    }
    if !output.status.success() {
        let again = case.saving("failed.jsonl", "state", 1).output().unwrap();
        assert!(again.status.success(), "{rule}: {}", String::from_utf8_lossy(&again.stderr));
    }
    case.compare("failed.jsonl", true, &rule);
}
