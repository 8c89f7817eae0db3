//! What `state:` and `checkpoint:` say is what happens, key by key: each of these fails if its key is read
//! and not obeyed.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::stop::signal;
use super::{Case, Random, crash_and_continue_by, pause, printed_seed, succeed, varpulis};

const ROWS: u64 = 4_000;
/// Enough for a run that is not over before something can be done to it.
const MANY_ROWS: u64 = 300_000;

fn checkpoint(command: &[&str], place: &Path) -> Output {
    let mut list = varpulis();
    list.arg("checkpoint").args(command).arg("--state-dir").arg(place).stdout(Stdio::piped());
    list.output().unwrap()
}

/// The ids of the checkpoints at a place.
fn ids(place: &Path) -> Vec<u64> {
    let output = checkpoint(&["list"], place);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

/// The records of the checkpoints at a place, as JSON.
fn records(place: &Path) -> Vec<serde_json::Value> {
    let show = |id: &u64| {
        let output = checkpoint(&["show", &id.to_string()], place);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    ids(place).iter().map(show).collect()
}

fn segments(record: &serde_json::Value) -> &Vec<serde_json::Value> {
    record["segments"].as_array().unwrap()
}

/// A run with these blocks and many checkpoints that dies after its sixth, so that no last one is made.
fn killed_after_six(case: &Case, blocks: &str) {
    let program = case.program_with(blocks);
    let mut command = case.run_program(&program, "blocks.jsonl", 2);
    command.args(["--checkpoint-interval", "1ms", "--block-bytes", "512"]);
    command.env("VARPULIS_FAIL", "checkpoint.committed=crash@6");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(86), "{blocks}\n{said}");
}

fn fresh(case: &Case, name: &str) -> std::path::PathBuf {
    let path = case.path(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

#[test]
fn the_place_is_the_location_then_the_path_and_the_command_line_wins() {
    let case = Case::new(ROWS, 5);
    let (path, location, given) = (fresh(&case, "path"), fresh(&case, "location"), fresh(&case, "given"));
    let state = format!("state:\n    path: \"{}\"\n", path.display());
    let strategy = format!("checkpoint:\n    strategy:\n        location: \"file://{}\"\n", location.display());
    let run = |blocks: &str, args: &[&str]| {
        let mut command = case.run_program(&case.program_with(blocks), "placed.jsonl", 1);
        command.args(args);
        succeed(command);
    };
    let are_there = || [&path, &location, &given].map(|p| p.join("varpulis").exists());
    run(&state, &[]);
    assert_eq!(are_there(), [true, false, false]);
    std::fs::remove_dir_all(&path).unwrap();
    run(&format!("{state}{strategy}"), &[]);
    assert_eq!(are_there(), [false, true, false]);
    std::fs::remove_dir_all(&location).unwrap();
    run(&format!("{state}{strategy}"), &["--state-dir", given.to_str().unwrap()]);
    assert_eq!(are_there(), [false, false, true]);
    case.compare("placed.jsonl", true, "placed");
}

#[test]
fn disabled_saves_nothing_and_says_so_to_who_asks_for_it() {
    let case = Case::new(ROWS, 5);
    let place = fresh(&case, "disabled");
    let blocks = format!(
        "checkpoint:\n    enabled: false\n    interval: 1ms\n    strategy:\n        location: \"{}\"\n",
        place.display()
    );
    let run = |args: &[&str]| {
        let mut command = case.run_program(&case.program_with(&blocks), "disabled.jsonl", 1);
        let output = command.args(args).output().unwrap();
        assert!(output.status.success() && !place.exists());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(!run(&[]).contains("varpulis: warning"));
    assert!(run(&["--state-dir", place.to_str().unwrap()]).contains("`enabled: false`"));
}

#[test]
fn keep_last_and_max_age_are_obeyed() {
    let case = Case::new(MANY_ROWS, 5);
    // The process dies when a checkpoint is there and before older ones are removed.
    for (retention, expected) in
        [("keep_last: 1", 2..=2), ("keep_last: 3", 4..=4), ("keep_last: 100\n        max_age: 1ms", 1..=3)]
    {
        let place = fresh(&case, "kept");
        let blocks =
            format!("state:\n    path: \"{}\"\ncheckpoint:\n    retention:\n        {retention}\n", place.display());
        killed_after_six(&case, &blocks);
        let found = ids(&place);
        assert!(expected.contains(&found.len()), "{retention}: {found:?}");
    }
}

#[test]
fn the_type_of_checkpoints_is_obeyed() {
    let case = Case::new(MANY_ROWS, 5);
    for kind in ["full", "incremental"] {
        let place = fresh(&case, "typed");
        let blocks = format!(
            "checkpoint:\n    strategy:\n        type: \"{kind}\"\n        location: \"{}\"\n    retention:\n        keep_last: 100\n",
            place.display()
        );
        killed_after_six(&case, &blocks);
        let records = records(&place);
        assert_eq!(records.len(), 6);
        let is_full = |record: &serde_json::Value| segments(record).iter().all(|s| s["full"] == true);
        assert!(is_full(&records[0]));
        assert_eq!(records[1..].iter().all(is_full), kind == "full", "{kind}");
    }
}

/// The byte of a segment that says how it is compressed is the first of its index, whose place is in the
/// second last eight bytes.
#[test]
fn the_compression_of_checkpoints_is_obeyed() {
    let case = Case::new(MANY_ROWS, 5);
    for (compression, byte) in [("none", 0), ("zstd", 1), ("lz4", 2)] {
        let place = fresh(&case, "compressed");
        let blocks = format!(
            "checkpoint:\n    strategy:\n        compression: \"{compression}\"\n        location: \"{}\"\n",
            place.display()
        );
        killed_after_six(&case, &blocks);
        let folder = place.join("varpulis/segments");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty());
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            let at = bytes.len() - 16;
            let index = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            assert_eq!(bytes[index], byte, "{compression}");
        }
        let mut again = case.run_program(&case.program_with(&blocks), "blocks.jsonl", 1);
        again.arg("--quiet");
        succeed(again);
        case.compare("blocks.jsonl", true, compression);
    }
}

/// A signal ends the run; which leaves a checkpoint behind is a matter of the key, unless one is asked for.
#[test]
fn on_shutdown_is_obeyed() {
    let case = Case::new(MANY_ROWS, 5);
    for (on_shutdown, name, leaves_one) in
        [("true", "-TERM", true), ("false", "-TERM", false), ("false", "-USR2", true)]
    {
        let place = fresh(&case, "shut");
        let blocks = format!(
            "state:\n    path: \"{}\"\ncheckpoint:\n    interval: 1h\n    on_shutdown: {on_shutdown}\n",
            place.display()
        );
        let _ = std::fs::remove_file(case.path("shut.jsonl"));
        let mut command = case.run_program(&case.program_with(&blocks), "shut.jsonl", 1);
        let child = command.args(["--block-bytes", "512"]).spawn().unwrap();
        while case.output("shut.jsonl", true).is_empty() {
            pause();
        }
        signal(child.id(), name);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(!ids(&place).is_empty(), leaves_one, "{on_shutdown} {name}");
    }
}

/// Short intervals of the program are in force, and the command line's win.
#[test]
fn the_interval_is_obeyed() {
    let case = Case::new(MANY_ROWS, 5);
    for (interval, args, many) in
        [("1ms", None, true), ("1h", None, false), ("1h", Some("1ms"), true), ("1ms", Some("1h"), false)]
    {
        let place = fresh(&case, "interval");
        let blocks = format!("state:\n    path: \"{}\"\ncheckpoint:\n    interval: {interval}\n", place.display());
        let mut command: Command = case.run_program(&case.program_with(&blocks), "interval.jsonl", 1);
        command.args(["--block-bytes", "4096"]);
        command.args(args.iter().flat_map(|interval| ["--checkpoint-interval", interval]));
        succeed(command);
        let last = ids(&place).pop().unwrap();
        assert_eq!(last > 1, many, "{interval} {args:?}: the last checkpoint is {last}");
    }
}

#[cfg(feature = "persistence")]
mod rocksdb {
    use super::*;

    fn start(case: &Case, state: &str, workers: u64) -> Command {
        let blocks = format!(
            "state:\n    backend: \"rocksdb\"\n    path: \"{}\"\n    compression: \"zstd\"\n    block_cache_size: 8MiB\n\
             checkpoint:\n    interval: 20ms\n",
            case.path(state).display()
        );
        let mut command = case.run_program(&case.program_with(&blocks), "killed.jsonl", workers);
        command.args(["--block-bytes", "65536"]);
        command
    }

    #[test]
    fn a_run_in_rocksdb_is_killed_and_continued() {
        let seed = printed_seed();
        let case = Case::new(60_000, seed);
        let mut random = Random(seed ^ 3);
        for run in 0..2 {
            let _ = std::fs::remove_dir_all(case.path("rocks"));
            let start = |workers| start(&case, "rocks", workers);
            crash_and_continue_by(&start, &case, &mut random, 4, None, &format!("CRASH_SEED={seed}, run {run}"));
            assert!(case.path("rocks/CURRENT").is_file() && !case.path("rocks/varpulis").exists());
        }
        // A plain path finds the database again, and so do the commands.
        assert!(!ids(&case.path("rocks")).is_empty());
        let again = case.saving("killed.jsonl", "rocks", 1).output().unwrap();
        assert!(String::from_utf8_lossy(&again.stderr).contains("had finished"));
    }

    /// The commands look at what a run has open, and the folder's lock keeps a second run out.
    #[test]
    fn a_run_is_looked_at_and_kept_alone() {
        let case = Case::new(MANY_ROWS, 5);
        let mut command = start(&case, "busy", 1);
        let child = command.args(["--block-bytes", "512"]).spawn().unwrap();
        while !case.path("busy/CURRENT").is_file() || ids(&case.path("busy")).is_empty() {
            pause();
        }
        let other = start(&case, "busy", 1).output().unwrap();
        let said = String::from_utf8_lossy(&other.stderr);
        assert!(other.status.code() == Some(4) && said.contains(&format!("process {} on ", child.id())), "{said}");
        signal(child.id(), "-TERM");
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A folder of files does not become a database without a word.
    #[test]
    fn files_are_not_passed_over() {
        let case = Case::new(ROWS, 5);
        succeed(case.saving("killed.jsonl", "files", 1));
        let output = start(&case, "files", 1).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(4) && said.contains("checkpoints are there as files"), "{said}");
    }
}
