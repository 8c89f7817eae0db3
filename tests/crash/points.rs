//! Crashes and errors at every named point of the way to the disk, each once: the run continues or stops
//! with a clear error, and what follows writes what a run that nobody disturbed writes.

use varpulis_runtime::failpoint::{ACTIONS, CRASH_CODE, POINTS};

use std::process::Command;

use super::Case;

const ROWS: u64 = 20_000;

#[test]
fn every_point_may_crash_or_fail() {
    let case = Case::new(ROWS, 7);
    // Those of outputs are in `sinks`, with a program that writes all kinds.
    let others = ["store.rocksdb", "store.object", "sink."];
    for point in POINTS.iter().filter(|p| !others.iter().any(|other| p.starts_with(other))) {
        crash_and_fail(&case, point, &|_, workers| case.saving("failed.jsonl", "state", workers));
    }
}

#[cfg(feature = "persistence")]
#[test]
fn so_may_every_point_of_rocksdb() {
    let case = Case::new(ROWS, 7);
    let place = format!("rocksdb://{}", case.path("state").display());
    for point in POINTS.iter().filter(|p| p.starts_with("store.rocksdb")) {
        crash_and_fail(&case, point, &|_, workers| case.saving_at("failed.jsonl", &place, workers));
    }
}

#[cfg(feature = "s3")]
#[test]
fn so_may_every_point_of_object_storage() {
    use super::objects::{place, with_access};
    let case = Case::new(ROWS, 7);
    let server = super::s3::Server::start();
    for point in POINTS.iter().filter(|p| p.starts_with("store.object")) {
        let start = |run: &str, workers| with_access(case.saving_at("failed.jsonl", place(run), workers), &server);
        crash_and_fail(&case, point, &start);
    }
}

/// Goes through the ways to fail at a point. `start` gets a name for the run, which its state has for itself
/// unless it lies in the folder `state`, and a number of workers.
fn crash_and_fail(case: &Case, point: &str, start: &dyn Fn(&str, u64) -> Command) {
    for action in ACTIONS {
        for hit in [1, 4] {
            let run = format!("{point}-{action}-{hit}");
            check(case, &|workers| start(&run, workers), point, action, hit);
        }
    }
}

fn check(case: &Case, start: &dyn Fn(u64) -> Command, point: &str, action: &str, hit: u32) {
    let rule = format!("{point}={action}@{hit}");
    let _ = std::fs::remove_dir_all(case.path("state"));
    let _ = std::fs::remove_file(case.path("failed.jsonl"));
    let output = start(2).env("VARPULIS_FAIL", &rule).output().unwrap();
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
        let again = start(1).output().unwrap();
        assert!(again.status.success(), "{rule}: {}", String::from_utf8_lossy(&again.stderr));
    }
    case.compare("failed.jsonl", true, &rule);
}
