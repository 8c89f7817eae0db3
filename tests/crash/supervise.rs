//! Runs under `--supervise`, which start again by themselves when they crash, and the command that asks a
//! run for a checkpoint.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::stop::signal;
use super::{Case, Random, pause, printed_seed, succeed, varpulis};

const ROWS: u64 = 100_000;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A slow supervised run over `state`.
fn supervised(case: &Case, args: &[&str]) -> Command {
    let mut command = case.saving("supervised.jsonl", "state", 1);
    command.args(["--supervise", "--block-bytes", "512"]).args(args);
    command
}

/// The process that runs over the folder, as its lock says; none that was before.
fn runner(state: &Path, before: Option<u32>) -> Option<u32> {
    let text = std::fs::read_to_string(state.join("~run")).ok()?;
    let process = text.lines().next()?.parse().ok()?;
    (Some(process) != before).then_some(process)
}

/// Waits for it, unless the supervisor ends.
fn next_runner(child: &mut Child, state: &Path, before: Option<u32>) -> Option<u32> {
    loop {
        if let Some(process) = runner(state, before) {
            return Some(process);
        }
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        pause();
    }
}

fn checkpoint(case: &Case, command: &[&str]) -> Output {
    let mut ask = varpulis();
    ask.arg("checkpoint").args(command).arg("--state-dir").arg(case.path("state")).stdout(Stdio::piped());
    ask.output().unwrap()
}

fn has_checkpoints(case: &Case) -> bool {
    text(&checkpoint(case, &["list"]).stdout).contains("to be continued")
}

#[test]
fn a_run_that_is_killed_starts_again_and_continues() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 5);
    let case = Case::new(ROWS, seed);
    let mut child = supervised(&case, &[]).spawn().unwrap();
    let (mut before, mut kills) = (None, 0);
    while kills < 3
        && let Some(process) = next_runner(&mut child, &case.path("state"), before)
    {
        let deadline = std::time::Instant::now() + case.took.mul_f64(random.below(1000) as f64 / 1000.0);
        while std::time::Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            pause();
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        kills += u32::from(Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap().success());
        before = Some(process);
    }
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("ended by signal 9").count() as u32, kills, "{said}");
    case.compare("supervised.jsonl", true, &format!("CRASH_SEED={seed}, {kills} kills"));
}

/// What the first start was told is for the first start: it does not begin anew each time.
#[test]
fn a_run_that_began_anew_continues_what_it_began() {
    let case = Case::new(ROWS, 3);
    let mut earlier = case.saving("supervised.jsonl", "state", 1);
    earlier.env("VARPULIS_FAIL", "checkpoint.committed=crash@2");
    assert_eq!(earlier.status().unwrap().code(), Some(86));
    let newest = |case: &Case| text(&checkpoint(case, &["list"]).stdout).lines().last().map(str::to_string);
    let (before, old) = (runner(&case.path("state"), None), newest(&case));
    let mut child = supervised(&case, &["--restore", "none"]).spawn().unwrap();
    let process = next_runner(&mut child, &case.path("state"), before).expect("it is under way");
    // The run is that of the earlier generation plus one; the age of the line's record changes.
    let run = |line: Option<String>| line.and_then(|l| l.split_whitespace().nth(1).map(str::to_string));
    while run(newest(&case)) == run(old.clone()) {
        pause();
    }
    assert!(Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("resuming from checkpoint").count(), 1, "{said}");
    case.compare("supervised.jsonl", true, "begun anew, and killed");
}

#[test]
fn what_would_only_fail_again_is_not_started_again() {
    let case = Case::new(4_000, 3);
    let clock = case.path("clock.vpl");
    std::fs::write(&clock, "stream Ticks = timer(1s)\n    .emit(n: n)\n").unwrap();
    let wrong = case.path("wrong.vpl");
    std::fs::write(&wrong, "stream Ticks = tmer(1s)\n").unwrap();
    for (program, code) in [(&clock, 4), (&wrong, 2)] {
        let mut command = varpulis();
        // The short form of `run`, too.
        command.arg(program).arg("--supervise").arg("--state-dir").arg(case.path("other"));
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(code) && !said.contains("restart"), "{said}");
    }
    succeed(supervised(&case, &["--quiet"]));
    case.compare("supervised.jsonl", true, "not killed at all");
}

#[test]
fn signals_are_passed_on() {
    let case = Case::new(ROWS, 3);
    for name in ["-TERM", "-INT", "-USR2"] {
        let before = runner(&case.path("state"), None);
        let mut child = supervised(&case, &[]).spawn().unwrap();
        next_runner(&mut child, &case.path("state"), before).expect("it is under way");
        let written = case.output("supervised.jsonl", true).len();
        while case.output("supervised.jsonl", true).len() <= written {
            pause();
        }
        signal(child.id(), name);
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success() && !said.contains("restart"), "{name}: {said}");
        assert!(has_checkpoints(&case), "{name}");
    }
    succeed(case.saving("supervised.jsonl", "state", 1));
    case.compare("supervised.jsonl", true, "stopped three times");
}

/// Nobody is left behind to write while somebody else takes over.
#[cfg(target_os = "linux")]
#[test]
fn a_run_stops_when_its_supervisor_is_killed() {
    let case = Case::new(ROWS, 3);
    let mut child = supervised(&case, &[]).spawn().unwrap();
    next_runner(&mut child, &case.path("state"), None).expect("it is under way");
    while !has_checkpoints(&case) {
        pause();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // It waits until the lock is free, or says whose it is.
    let output = loop {
        let output = case.saving("supervised.jsonl", "state", 1).output().unwrap();
        if output.status.code() != Some(4) {
            break output;
        }
    };
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    case.compare("supervised.jsonl", true, "the supervisor was killed");
}

#[test]
fn a_run_is_asked_for_checkpoints() {
    let case = Case::new(ROWS, 3);
    let nobody = checkpoint(&case, &["create"]);
    assert!(nobody.status.code() == Some(1) && text(&nobody.stderr).contains("no run is under way"));
    let mut command = case.saving("asked.jsonl", "state", 1);
    let child = command.args(["--checkpoint-interval", "1h", "--block-bytes", "512"]).spawn().unwrap();
    while case.output("asked.jsonl", true).is_empty() {
        pause();
    }
    for id in 0..2 {
        let created = checkpoint(&case, &["create"]);
        let said = text(&created.stdout);
        assert_eq!(said, format!("process {} made checkpoint {id}\n", child.id()), "{}", text(&created.stderr));
    }
    let stopped = checkpoint(&case, &["create", "--stop"]);
    let said = text(&stopped.stdout);
    assert_eq!(said, format!("process {} made checkpoint 2 and stopped\n", child.id()), "{}", text(&stopped.stderr));
    assert!(child.wait_with_output().unwrap().status.success());
    succeed(case.saving("asked.jsonl", "state", 2));
    case.compare("asked.jsonl", true, "asked for checkpoints");
}

#[test]
fn two_runs_over_one_folder_are_refused() {
    let case = Case::new(ROWS, 3);
    let mut command = case.saving("first.jsonl", "state", 1);
    let mut child = command.args(["--block-bytes", "512"]).spawn().unwrap();
    while case.output("first.jsonl", true).is_empty() {
        pause();
    }
    let second = case.saving("second.jsonl", "state", 1).output().unwrap();
    let said = text(&second.stderr);
    assert!(second.status.code() == Some(4) && said.contains(&format!("process {} on ", child.id())), "{said}");
    let delete = checkpoint(&case, &["delete", "0"]);
    assert_eq!(delete.status.code(), Some(4), "{}", text(&delete.stderr));
    // A process that is killed has no lock any more.
    child.kill().unwrap();
    child.wait().unwrap();
    succeed(case.saving("first.jsonl", "state", 1));
    case.compare("first.jsonl", true, "killed while another tried");
}
