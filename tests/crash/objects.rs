//! Runs whose state lies in object storage: killed and continued, over a network and a service that have
//! trouble of every kind.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use varpulis_runtime::persistence::{FileStore, S3Options, S3Store, StateStore};

use super::s3::{BUCKET, FAULTS, Fault, SECRET, Server};
use super::{Case, Random, crash_and_continue_by, printed_seed, succeed, varpulis};

const ROWS: u64 = 60_000;
const KILLS: u64 = 4;
const FAULT_COUNT: usize = 8;

pub fn place(prefix: &str) -> String {
    format!("s3://{BUCKET}/{prefix}/")
}

/// Where the command finds the service, and as whom.
pub fn with_access(mut command: Command, server: &Server) -> Command {
    command.env("AWS_ENDPOINT_URL", format!("http://{}", server.address));
    command.env("AWS_REGION", "nowhere-1");
    command.env("AWS_ACCESS_KEY_ID", "somebody");
    command.env("AWS_SECRET_ACCESS_KEY", SECRET);
    // So that every request has a connection of its own, and a fault hits one.
    command.env("AWS_POOL_MAX_IDLE_PER_HOST", "0");
    command
}

fn saving(case: &Case, server: &Server, prefix: &str, workers: u64) -> Command {
    with_access(case.saving_at("killed.jsonl", place(prefix), workers), server)
}

fn checkpoint(server: &Server, prefix: &str, command: &[&str]) -> Output {
    let mut ask = varpulis();
    ask.arg("checkpoint").args(command).arg("--state-dir").arg(place(prefix)).stdout(Stdio::piped());
    with_access(ask, server).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Faults that cost no more than an attempt; the one that takes a client's whole patience is for the tests
/// of the store.
fn passing_fault(random: &mut Random) -> Fault {
    FAULTS[1 + random.below(FAULTS.len() as u64 - 1) as usize]
}

#[test]
fn a_killed_run_continues_from_object_storage() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 4);
    let case = Case::new(ROWS, seed);
    let server = Server::start();
    for troubled in [false, true] {
        let prefix = if troubled { "troubled" } else { "calm" };
        if troubled {
            // Between two faults some requests succeed: the pauses after several in a row are long.
            for _ in 0..FAULT_COUNT {
                server.expect(&[passing_fault(&mut random), Fault::Slow(1), Fault::Slow(1), Fault::Slow(1)]);
            }
        }
        let start = |workers| saving(&case, &server, prefix, workers);
        let context = format!("CRASH_SEED={seed}, {prefix}");
        crash_and_continue_by(&start, &case, &mut random, KILLS, None, &context);
        let listed = text(&checkpoint(&server, prefix, &["list"]).stdout);
        assert!(listed.contains("finished"), "{context}: {listed}");
        assert!(checkpoint(&server, prefix, &["verify"]).status.success());
    }
    assert!(server.is_calm(), "the faults were not met");
}

/// Checkpoints that take longer than their interval are skipped, not queued, and the user is told.
#[test]
fn a_slow_service_makes_checkpoints_rare() {
    let case = Case::new(ROWS, 5);
    let server = Server::start();
    server.always(Some(Fault::Slow(100)));
    let output = saving(&case, &server, "slow", 2).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("were skipped"), "{said}");
    case.compare("killed.jsonl", true, "slow");
}

/// Lines that a run prints until one of them contains the text, or the run ends.
fn read_until(lines: &mut impl Iterator<Item = std::io::Result<String>>, wanted: &str) -> String {
    let mut read = String::new();
    for line in lines {
        let line = line.unwrap();
        read += &line;
        read += "\n";
        if line.contains(wanted) {
            break;
        }
    }
    read
}

#[test]
fn lost_credentials_are_a_warning_per_checkpoint() {
    let case = Case::new(50_000, 5);
    let server = Server::start();
    for come_back in [true, false] {
        let prefix = if come_back { "back" } else { "gone" };
        let _ = std::fs::remove_file(case.path("killed.jsonl"));
        let mut command = saving(&case, &server, prefix, 1);
        let mut child = command.args(["--block-bytes", "512"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        while !text(&checkpoint(&server, prefix, &["list"]).stdout).contains("to be continued") {
            assert!(child.try_wait().unwrap().is_none(), "{:?}", read_until(&mut lines, "no such line"));
        }
        server.refuse_keys(true);
        let mut said = String::new();
        for _ in 0..2 {
            said += &read_until(&mut lines, "was given up");
        }
        assert!(said.contains("was given up: s3://bucket/"), "{said}");
        if come_back {
            server.refuse_keys(false);
        }
        said += &read_until(&mut lines, "no such line");
        let status = child.wait().unwrap();
        if come_back {
            assert!(status.success(), "{said}");
        } else {
            // What there was is complete, but nothing says so.
            assert!(status.code() == Some(1) && said.contains("stops without its last checkpoint"), "{said}");
            server.refuse_keys(false);
            succeed(saving(&case, &server, prefix, 2));
        }
        case.compare("killed.jsonl", true, prefix);
    }
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let case = Case::new(4_000, 5);
    let server = Server::start();
    server.ignore_conditions();
    let said = text(&saving(&case, &server, "loose", 1).output().unwrap().stderr);
    assert!(said.contains("If-None-Match"), "{said}");
    server.refuse_keys(true);
    let output = saving(&case, &server, "refused", 1).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("s3://bucket/refused"), "{said}");
    let listed = checkpoint(&server, "refused", &["list"]);
    assert_eq!(listed.status.code(), Some(1), "{}", text(&listed.stderr));
}

/// Names are the same in a folder and on S3, so that a copy is all that a move takes.
#[test]
fn a_run_moves_from_a_folder_to_object_storage() {
    let case = Case::new(4_000, 5);
    let server = Server::start();
    let mut command = case.saving("killed.jsonl", "state", 1);
    command.args(["--chaos", "3"]).env("VARPULIS_FAIL", "checkpoint.committed=crash@2");
    assert_eq!(command.status().unwrap().code(), Some(86));
    let settings = [
        ("endpoint", format!("http://{}", server.address)),
        ("access_key_id", "somebody".to_string()),
        ("secret_access_key", SECRET.to_string()),
    ];
    let settings = settings.map(|(key, value)| (key.to_string(), value)).to_vec();
    let objects = S3Store::open_with(&place("moved"), S3Options { settings, ..S3Options::default() }).unwrap();
    let files = FileStore::open(case.path("state")).unwrap();
    for name in files.list("").unwrap() {
        objects.put(&name, &files.get(&name).unwrap().unwrap()).unwrap();
    }
    let output = saving(&case, &server, "moved", 2).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("resuming from checkpoint"), "{said}");
    case.compare("killed.jsonl", true, "moved");
}

#[test]
fn commands_reach_object_storage() {
    let case = Case::new(4_000, 5);
    let server = Server::start();
    let mut command = saving(&case, &server, "commands", 1);
    command.args(["--chaos", "3"]).env("VARPULIS_FAIL", "checkpoint.committed=crash@3");
    assert_eq!(command.status().unwrap().code(), Some(86));
    let ids: Vec<String> = text(&checkpoint(&server, "commands", &["list"]).stdout)
        .lines()
        .filter(|line| line.contains("to be continued"))
        .map(|line| line.split_whitespace().next().unwrap().to_string())
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(text(&checkpoint(&server, "commands", &["show"]).stdout).contains("\"segments\""));
    assert!(checkpoint(&server, "commands", &["delete", &ids[2]]).status.success());
    assert_eq!(text(&checkpoint(&server, "commands", &["verify"]).stdout).matches("holds").count(), 2);
    let output = saving(&case, &server, "commands", 1).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains(&format!("resuming from checkpoint {} ", ids[1])), "{said}");
    case.compare("killed.jsonl", true, "after the newest was deleted");
    let create = checkpoint(&server, "commands", &["create"]);
    assert!(create.status.code() == Some(2) && text(&create.stderr).contains("SIGUSR1"));
}
