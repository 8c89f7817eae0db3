//! Runs that are asked to stop, by a signal: they take a checkpoint first, and go on from there.

use std::process::Command;

use super::{Case, pause};

const ROWS: u64 = 100_000;

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_run_that_is_stopped_continues_where_it_was() {
    let case = Case::new(ROWS, 13);
    for (run, name) in ["-INT", "-TERM", "-USR2"].into_iter().enumerate() {
        let mut command = case.saving("stopped.jsonl", "state", 1 + run as u64 % 2);
        command.args(["--checkpoint-interval", "1h", "--block-bytes", "512"]);
        let child = command.spawn().unwrap();
        // It has begun to write, and so installed its handlers, when the output is there.
        let before = case.output("stopped.jsonl", true).len();
        while case.output("stopped.jsonl", true).len() <= before {
            pause();
        }
        signal(child.id(), name);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let list = super::varpulis()
            .args(["checkpoint", "list", "--state-dir"])
            .arg(case.path("state"))
            .stdout(std::process::Stdio::piped())
            .output()
            .unwrap();
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        assert!(list.contains("to be continued"), "{name}: {list}");
    }
    let output = case.saving("stopped.jsonl", "state", 1).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("resuming from checkpoint"), "{said}");
    case.compare("stopped.jsonl", true, "stopped three times");
    // There is nothing left to do, which is no failure.
    let again = case.saving("stopped.jsonl", "state", 1).output().unwrap();
    assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("had finished"));
    case.compare("stopped.jsonl", true, "run again");
}

/// Two runs over one state would write one file; the second is turned away, and the first does not notice.
#[test]
fn a_second_run_is_turned_away() {
    let case = Case::new(ROWS, 31);
    let mut command = case.saving("held.jsonl", "state", 1);
    command.args(["--checkpoint-interval", "1h", "--block-bytes", "512"]);
    let first = command.spawn().unwrap();
    while case.output("held.jsonl", true).is_empty() {
        pause();
    }
    let second = case.saving("held.jsonl", "state", 1).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    // The first may have ended meanwhile, which the second then says.
    let is_turned_away = second.status.code() == Some(4) && said.contains("one run at a time");
    assert!(is_turned_away || said.contains("had finished"), "{said}");
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    case.compare("held.jsonl", true, "with a second run");
}

#[test]
fn a_clock_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("clock.vpl");
    std::fs::write(&program, "stream Ticks = timer(1s)\n    .emit(n: n)\n").unwrap();
    let output = super::varpulis().arg(&program).arg("--state-dir").arg(dir.path().join("state")).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the timer of `Ticks` follows the clock"));
}
