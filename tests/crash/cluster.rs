//! Several processes, of which one is killed: the others end, and all are continued by any number.

use std::net::TcpListener;
use std::process::Child;

use super::{Case, Random, setting};

const ROWS: u64 = 60_000;
const KILLS: u64 = 4;

/// A host file with free ports; they may be taken by somebody else before they are used, but hardly ever are.
pub(super) fn hosts(case: &Case, processes: usize) -> std::path::PathBuf {
    let listeners: Vec<TcpListener> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let lines: Vec<String> = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
    let path = case.path("hosts.txt");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn start(case: &Case, processes: usize, workers: u64) -> Vec<Child> {
    let hosts = hosts(case, processes);
    let spawn = |process: usize| {
        let mut command = case.saving("killed.jsonl", "state", workers);
        if processes > 1 {
            command.args(["-n", &processes.to_string(), "-p", &process.to_string(), "--hostfile"]).arg(&hosts);
        }
        command.spawn().unwrap()
    };
    (0..processes).map(spawn).collect()
}

#[test]
fn a_killed_process_is_continued_by_any_number() {
    let seed = setting("CRASH_SEED", std::process::id().into());
    println!("CRASH_SEED={seed}");
    let mut random = Random(seed ^ 2);
    let case = Case::new(ROWS, seed);
    let mut kills = 0;
    let report = loop {
        let processes = if kills % 2 == 0 { 2 } else { 1 + random.below(2) as usize };
        let mut children = start(&case, processes, 1 + random.below(2));
        let deadline = std::time::Instant::now() + case.took.mul_f64(random.below(1500) as f64 / 1000.0);
        let ended = |c: &mut Vec<Child>| c.iter_mut().any(|c| c.try_wait().unwrap().is_some());
        while kills < KILLS && std::time::Instant::now() < deadline && !ended(&mut children) {
            std::thread::yield_now();
        }
        let kill = kills < KILLS && !ended(&mut children);
        if kill {
            let victim = random.below(processes as u64) as usize;
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
    };
    case.compare("killed.jsonl", true, &format!("CRASH_SEED={seed}"));
    if !report.contains("had finished") {
        case.compare_report(&report, &format!("CRASH_SEED={seed}"));
    }
}
