//! The ways in which one case is run, all of which must give the same bytes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::case::Case;
use crate::diff;
use crate::process::{self, Finished};

/// Workers, block sizes and chaos seeds. The first is what a user would type; blocks of one byte put
/// every row into a block of its own, so that a case of five rows has five batches.
const RUNS: [&[&str]; 9] = [
    &["-w", "1"],
    &["-w", "2"],
    &["-w", "4"],
    &["-w", "1", "--block-bytes", "1"],
    &["-w", "2", "--block-bytes", "1"],
    &["-w", "4", "--block-bytes", "150"],
    &["-w", "1", "--chaos", "1"],
    &["-w", "2", "--chaos", "2", "--block-bytes", "60"],
    &["-w", "4", "--chaos", "3", "--block-bytes", "1"],
];

/// Cases of the topics `run`, `patterns`, `joins` and `tables` that also run on two processes, by how their names begin:
/// what is keyed,
/// merged or ordered across them.
const TWO_PROCESSES: [&str; 19] = [
    "after_match",
    "capacity",
    "changes",
    "compound_key",
    "derived",
    "distinct",
    "enrich",
    "full",
    "interval",
    "keys",
    "late",
    "merge",
    "named",
    "nway",
    "partitions",
    "running",
    "session",
    "timeouts",
    "window",
];

/// Runs a case in all its ways; the number of runs, or the first failure.
pub fn run_case(case: &Case, update: bool) -> Result<usize, String> {
    let runs: &[&[&str]] = match (case.runs_program(), case.one_run) {
        (false, _) => &[&[]],
        (true, true) => &RUNS[..1],
        (true, false) => &RUNS,
    };
    for (i, flags) in runs.iter().enumerate() {
        let tmp = tempfile::tempdir().map_err(|e| e.to_string())?;
        let args = arguments(case, flags, tmp.path());
        let fail = |why: String| format!("{why}\nreproduce: cd {} && varpulis {}", case.dir.display(), args.join(" "));
        let stdin = fs::read(case.file("stdin")).ok();
        let finished = process::run(&case.dir, &args, stdin.as_deref()).map_err(&fail)?;
        judge(case, &finished, tmp.path(), update && i == 0).map_err(&fail)?;
    }
    let has_clusters = matches!(case.topic.as_str(), "run" | "patterns" | "joins" | "tables");
    let is_clustered = has_clusters && TWO_PROCESSES.iter().any(|start| case.stem.starts_with(start));
    if is_clustered && !update {
        run_on_two_processes(case).map_err(|why| format!("on two processes: {why}"))?;
    }
    Ok(runs.len() + is_clustered as usize)
}

/// Two processes of two workers each; the ordered output is the first one's.
fn run_on_two_processes(case: &Case) -> Result<(), String> {
    let tmp = tempfile::tempdir().map_err(|e| e.to_string())?;
    let nothing = tempfile::tempdir().map_err(|e| e.to_string())?;
    let hosts = tmp.path().join("hosts");
    fs::write(&hosts, free_addresses()?).map_err(|e| e.to_string())?;
    let hosts = hosts.display().to_string();
    let start = |index: &str| {
        let flags = ["-w", "2", "-n", "2", "-p", index, "--hostfile", &hosts, "--ordered"];
        process::start(&case.dir, &arguments(case, &flags, tmp.path()), None)
    };
    let (mut first, mut second) = (start("0")?, start("1")?);
    let (first, second) = (first.finish()?, second.finish()?);
    if second.exit != Some(case.exit) || !second.stdout.is_empty() {
        return Err(format!("the second process left {second:?}"));
    }
    judge(case, &first, nothing.path(), false)
}

/// Two addresses that nobody listens on, one a line.
fn free_addresses() -> Result<String, String> {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut text = String::new();
    for listener in listeners {
        let address = listener.and_then(|listener| listener.local_addr()).map_err(|e| e.to_string())?;
        text.push_str(&format!("{address}\n"));
    }
    Ok(text)
}

fn arguments(case: &Case, flags: &[&str], tmp: &Path) -> Vec<String> {
    let mut args = case.command.clone();
    args.push(case.program.clone());
    args.extend(case.inputs.iter().cloned());
    args.extend(flags.iter().map(|flag| flag.to_string()));
    if !case.stats.is_empty() {
        args.extend(["--stats".to_string(), "json".to_string()]);
    } else if case.runs_program() && !case.file("stderr").exists() {
        args.push("--quiet".to_string());
    }
    args.extend(case.args.iter().map(|arg| arg.replace("{tmp}", &tmp.display().to_string())));
    args
}

/// Compares what a run left with the expected files, or writes them.
fn judge(case: &Case, finished: &Finished, tmp: &Path, update: bool) -> Result<(), String> {
    let stderr = String::from_utf8_lossy(&finished.stderr).replace(&tmp.display().to_string(), "{tmp}");
    if finished.exit != Some(case.exit) {
        let got = finished.exit.map_or("a signal".to_string(), |code| format!("exit {code}"));
        return Err(format!("expected exit {}, got {got}\n--- its errors\n{stderr}", case.exit));
    }
    let mut out = String::from_utf8_lossy(&finished.stdout).into_owned();
    out.push_str(&left_files(tmp)?);
    if !case.stats.is_empty() {
        out.push_str(&picked_stats(case, &stderr)?);
    }
    expect(case, "out", &out, update, true).map_err(|why| format!("{why}--- its errors\n{stderr}"))?;
    let compares_stderr = case.file("stderr").exists() || (!case.runs_program() && !stderr.is_empty());
    if compares_stderr { expect(case, "stderr", &stderr, update, false) } else { Ok(()) }
}

fn expect(case: &Case, extension: &str, actual: &str, update: bool, may_lack: bool) -> Result<(), String> {
    let path = case.file(extension);
    if update {
        let written = if actual.is_empty() && may_lack {
            if path.exists() { fs::remove_file(&path) } else { Ok(()) }
        } else {
            fs::write(&path, actual)
        };
        return written.map_err(|e| format!("{}: {e}", path.display()));
    }
    // A case without an expected output expects none.
    let expected = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    };
    diff::unified(&expected, actual).map_or(Ok(()), |text| Err(format!("{} differs\n{text}", path.display())))
}

/// The files that a run left in its directory, each under its name.
fn left_files(tmp: &Path) -> Result<String, String> {
    let mut paths = Vec::new();
    let mut open = vec![tmp.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).map_err(|e| e.to_string())? {
            let path = entry.map_err(|e| e.to_string())?.path();
            if path.is_dir() { open.push(path) } else { paths.push(path) }
        }
    }
    paths.sort();
    let mut text = String::new();
    for path in paths {
        let bytes = fs::read(&path).map_err(|e| e.to_string())?;
        let name = path.strip_prefix(tmp).unwrap().display().to_string();
        text.push_str(&format!("==> {name} <==\n{}", String::from_utf8_lossy(&bytes)));
    }
    Ok(text)
}

/// The statistics that the case names, one a line: `pointer = value`.
fn picked_stats(case: &Case, stderr: &str) -> Result<String, String> {
    let line = stderr.lines().rev().find(|line| line.starts_with('{')).ok_or("no statistics on standard error")?;
    let stats: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("statistics are not JSON: {e}"))?;
    let mut text = String::new();
    for pointer in &case.stats {
        let value = stats.pointer(pointer).map_or("(none)".to_string(), |value| value.to_string());
        text.push_str(&format!("{pointer} = {value}\n"));
    }
    Ok(text)
}
