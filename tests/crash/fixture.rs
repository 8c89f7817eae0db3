//! Checkpoints that earlier versions wrote, kept in `tests/fixtures/checkpoint-N`, one for each version of the
//! format: this version opens, verifies and continues them, and writes the rest of their output.
//!
//! Each has the program, its input, the state folder and the outputs as a killed run left them, and the
//! outputs of a run that nobody disturbed. Paths are relative, so that it works wherever it is copied to.
//! Nothing else of a record is looked at: what else it says may change from version to version.
//!
//! When the format's version rises, `UPDATE_FIXTURE=1` writes the folder of the new one; those of older
//! versions are never written again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use varpulis_runtime::failpoint::CRASH_CODE;
use varpulis_runtime::state::manifest::FORMAT_VERSION;

use super::rescale::copy_folder;
use super::{succeed, varpulis};

const PROGRAM: &str = include_str!("fixture.vpl");
const ROWS: u64 = 150;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A run in a folder like those of fixtures.
fn run(dir: &Path, workers: &str) -> Command {
    let mut command = varpulis();
    command.args(["q.vpl", "-i", "Trade=trades.jsonl", "-o", "out.jsonl", "-w", workers, "--state-dir", "state"]);
    command.current_dir(dir);
    command
}

/// The rows of the output in parts.
fn bars(dir: &Path) -> String {
    let parts = fs::read_dir(dir.join("bars.jsonl")).unwrap().map(|e| e.unwrap().path());
    let mut parts: Vec<PathBuf> =
        parts.filter(|p| !p.file_name().unwrap().to_str().unwrap().starts_with('.')).collect();
    parts.sort();
    parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect()
}

/// Rows that the newest checkpoint in a folder had read.
fn rows_read(dir: &Path) -> u64 {
    let mut show = varpulis();
    show.args(["checkpoint", "show", "--state-dir", "state"]).current_dir(dir).stdout(Stdio::piped());
    let record: serde_json::Value = serde_json::from_slice(&show.output().unwrap().stdout).unwrap();
    record["events_processed"].as_u64().unwrap()
}

/// A folder with the program and its input.
fn begin() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("q.vpl"), PROGRAM).unwrap();
    let mut generate = varpulis();
    generate.args(["generate", "trades", "--keys", "4", "--rate", "10", "--out-of-order", "4s", "--seed", "1"]);
    generate.args(["--rows", &ROWS.to_string(), "-o", "trades.jsonl"]).current_dir(dir.path());
    succeed(generate);
    dir
}

/// Writes the fixture of this version's format.
fn write(target: &Path) {
    let whole = begin();
    succeed(run(whole.path(), "1"));
    for seed in 0..200 {
        let cut = begin();
        let mut command = run(cut.path(), "2");
        command.args(["--chaos", &seed.to_string()]).env("VARPULIS_FAIL", "checkpoint.committed=crash@1");
        let has_crashed = command.output().unwrap().status.code() == Some(CRASH_CODE);
        if has_crashed && (ROWS / 3..ROWS * 2 / 3).contains(&rows_read(cut.path())) {
            copy_folder(cut.path(), target);
            fs::copy(whole.path().join("out.jsonl"), target.join("whole.out.jsonl")).unwrap();
            fs::write(target.join("whole.bars.jsonl"), bars(whole.path())).unwrap();
            return;
        }
    }
    panic!("no checkpoint is in the middle");
}

#[test]
fn checkpoints_of_earlier_versions_are_continued() {
    let newest = fixtures().join(format!("checkpoint-{FORMAT_VERSION}"));
    if std::env::var_os("UPDATE_FIXTURE").is_some() {
        let _ = fs::remove_dir_all(&newest);
        write(&newest);
    }
    assert!(newest.is_dir(), "{} is missing: UPDATE_FIXTURE=1 writes it", newest.display());
    for entry in fs::read_dir(fixtures()).unwrap() {
        let kept = entry.unwrap().path();
        let dir = tempfile::tempdir().unwrap();
        copy_folder(&kept, dir.path());
        let mut verify = varpulis();
        verify.args(["checkpoint", "verify", "--state-dir", "state"]).current_dir(dir.path());
        succeed(verify);
        // The plan of another version may read other columns, and so be one whose input has changed.
        let mut command = run(dir.path(), "3");
        let output = command.arg("--allow-changed").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let context = kept.display();
        assert!(output.status.success() && said.contains("resuming from checkpoint"), "{context}: {said}");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(read("out.jsonl") == read("whole.out.jsonl"), "{context}: another output");
        assert!(bars(dir.path()) == read("whole.bars.jsonl"), "{context}: another output in parts");
    }
}
