//! Several processes, of which one is killed: the others say so and end, and all are continued by any
//! number, or by themselves.

use std::net::TcpListener;
use std::process::{Child, Command};

use super::{Case, PROGRAM, PROGRAMS, Random, pause, printed_seed};

const ROWS: u64 = 60_000;
const KILLS: u64 = 3;

/// A host file with free ports; they may be taken by somebody else before they are used, but hardly ever are.
pub(super) fn hosts(case: &Case, processes: usize) -> std::path::PathBuf {
    let listeners: Vec<TcpListener> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let lines: Vec<String> = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
    let path = case.path("hosts.txt");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

/// Starts all processes, each as `start` starts a run.
fn start(case: &Case, processes: usize, start: &dyn Fn() -> Command) -> Vec<Child> {
    let hosts = hosts(case, processes);
    let spawn = |process: usize| {
        let mut command = start();
        if processes > 1 {
            command.args(["-n", &processes.to_string(), "-p", &process.to_string(), "--hostfile"]).arg(&hosts);
        }
        command.spawn().unwrap()
    };
    (0..processes).map(spawn).collect()
}

/// What survivors say: which process is gone, or, before all were there, that they do not reach it.
const FAREWELLS: [&str; 4] = ["is gone (", "could not be reached", "did not connect", "connection to another process"];

fn kill_and_continue(name: &str, saving: &dyn Fn(&Case, u64) -> Command, seed: u64) {
    let mut random = Random(seed ^ 2);
    let case = Case::running(name, ROWS, seed);
    let mut kills = 0;
    let report = loop {
        let processes = if kills % 2 == 0 { 2 } else { 1 + random.below(2) as usize };
        let workers = 1 + random.below(2);
        let mut children = start(&case, processes, &|| saving(&case, workers));
        let deadline = std::time::Instant::now() + case.took.mul_f64(random.below(1500) as f64 / 1000.0);
        let ended = |c: &mut Vec<Child>| c.iter_mut().any(|c| c.try_wait().unwrap().is_some());
        while kills < KILLS && std::time::Instant::now() < deadline && !ended(&mut children) {
            pause();
        }
        let kill = kills < KILLS && !ended(&mut children);
        let victim = random.below(processes as u64) as usize;
        if kill {
            children[victim].kill().unwrap();
            kills += 1;
        }
        let outputs: Vec<_> = children.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
        let said: Vec<_> = outputs.iter().map(|o| String::from_utf8_lossy(&o.stderr).into_owned()).collect();
        if outputs.iter().all(|o| o.status.success()) {
            break said.concat();
        }
        assert!(kill, "CRASH_SEED={seed}: {said:?}");
        assert!(said.iter().all(|s| !s.contains("panicked")), "CRASH_SEED={seed}: {said:?}");
        for process in (0..processes).filter(|p| *p != victim && !outputs[*p].status.success()) {
            let (code, said) = (outputs[process].status.code(), &said[process]);
            let is_clear = FAREWELLS.iter().any(|farewell| said.contains(farewell));
            assert!(code == Some(75) && is_clear, "CRASH_SEED={seed}: {code:?}: {said}");
        }
    };
    case.compare("killed.jsonl", true, &format!("CRASH_SEED={seed}"));
    if !report.contains("had finished") {
        case.compare_report(&report, &format!("CRASH_SEED={seed}"));
    }
}

#[test]
fn a_killed_process_is_continued_by_any_number() {
    let seed = printed_seed();
    for name in PROGRAMS {
        kill_and_continue(name, &|case, workers| case.saving("killed.jsonl", "state", workers), seed);
    }
}

#[cfg(feature = "s3")]
#[test]
fn so_is_one_whose_state_lies_in_object_storage() {
    let seed = printed_seed();
    use super::objects;
    let server = super::s3::Server::start();
    let saving = |case: &Case, workers| {
        objects::with_access(case.saving_at("killed.jsonl", objects::place("cluster"), workers), &server)
    };
    kill_and_continue(PROGRAM, &saving, seed);
}

/// The processes of a run under way, each under a supervisor: one is killed, all start again.
#[test]
fn supervised_processes_find_each_other_again() {
    let case = Case::new(ROWS, 3);
    let supervised = || {
        let mut command = case.saving("killed.jsonl", "state", 1);
        command.args(["--supervise", "--block-bytes", "512"]);
        command
    };
    let children = start(&case, 2, &supervised);
    // The first process has the lock.
    let process = loop {
        let text = std::fs::read_to_string(case.path("state").join("~run")).unwrap_or_default();
        if let Some(process) = text.lines().next() {
            break process.to_string();
        }
        pause();
    };
    while case.output("killed.jsonl", true).is_empty() {
        pause();
    }
    assert!(Command::new("kill").args(["-KILL", &process]).status().unwrap().success());
    let outputs: Vec<_> = children.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    let said: Vec<_> = outputs.iter().map(|o| String::from_utf8_lossy(&o.stderr).into_owned()).collect();
    assert!(outputs.iter().all(|o| o.status.success()), "{said:?}");
    assert!(said[0].contains("ended by signal 9") && said[1].contains("ended by exit code 75"), "{said:?}");
    assert!(said[1].contains("process 0 at 127.0.0.1:"), "{said:?}");
    case.compare("killed.jsonl", true, "supervised");
}

/// A signal to any of the processes stops all of them, after a checkpoint.
#[test]
fn every_process_can_be_asked_to_stop() {
    let case = Case::new(ROWS, 3);
    for asked in [0, 1] {
        let _ = std::fs::remove_dir_all(case.path("state"));
        let _ = std::fs::remove_file(case.path("killed.jsonl"));
        let slow = || {
            let mut command = case.saving("killed.jsonl", "state", 1);
            command.args(["--checkpoint-interval", "1h", "--block-bytes", "512"]);
            command
        };
        let children = start(&case, 2, &slow);
        while case.output("killed.jsonl", true).is_empty() {
            pause();
        }
        super::stop::signal(children[asked].id(), "-TERM");
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let again = case.saving("killed.jsonl", "state", 2).output().unwrap();
        let said = String::from_utf8_lossy(&again.stderr);
        assert!(again.status.success() && said.contains("resuming from checkpoint 0 "), "{said}");
        case.compare("killed.jsonl", true, "stopped");
    }
}
