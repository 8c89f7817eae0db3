//! The binary over inputs that do not end and outputs that nobody takes: how it stops.
//!
//! Every step waits for what the process itself has printed or for its end; nothing depends on how fast
//! that is.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn start(dir: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_varpulis"));
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

/// Reads a line of the child's standard output, closes it, and waits for the end.
fn head(mut child: Child) -> (String, Output) {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (line, child.wait_with_output().unwrap())
}

const ENDLESS: &str = r#"connector N = generator(kind: "nexmark")

event Bid:
    date_time: timestamp
    price: int

stream S = Bid.from(N).emit(price: price)
"#;

/// `varpulis … | head -1`: nothing went wrong, and nobody is told anything.
#[test]
fn a_reader_that_has_seen_enough_ends_the_run_quietly() {
    let dir = tempfile::tempdir().unwrap();
    // Without a limit, only the closed pipe can end it.
    fs::write(dir.path().join("endless.vpl"), ENDLESS).unwrap();
    for flags in [&["-w", "1"][..], &["-w", "2"], &["-w", "2", "--ordered"]] {
        let (line, output) = head(start(dir.path(), &[&["endless.vpl"], flags].concat()));
        assert!(line.starts_with("{\"_stream\":\"S\""), "{line}");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr)), (Some(0), "".into()), "{flags:?}");
    }
    for args in [&["functions"][..], &["generate", "trades"]] {
        let (line, output) = head(start(dir.path(), args));
        assert!(!line.is_empty());
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr)), (Some(0), "".into()), "{args:?}");
    }
}

const FOLLOWED: &str = r#"connector F = file(path: "rows.jsonl", follow: true)

event Row:
    at: timestamp
    v: int

stream Seen = Row.from(F).where(v > 0).emit(v: v)
stream PerHour = Row.from(F).window(1h).aggregate(n: count()).emit(n: n)
"#;

fn followed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("followed.vpl"), FOLLOWED).unwrap();
    let rows = ["00:10", "01:10", "01:20"].map(|t| format!("{{\"at\":\"2026-03-01T{t}:00Z\",\"v\":1}}\n"));
    fs::write(dir.path().join("rows.jsonl"), rows.concat()).unwrap();
    dir
}

/// The rows that the three of [`followed`] make: all of them, and the hour that is over.
fn read_what_is_certain(child: &mut Child) -> Vec<String> {
    let mut out = BufReader::new(child.stdout.as_mut().unwrap());
    let mut lines: Vec<String> = Vec::new();
    while lines.len() < 4 {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended after {lines:?}");
        lines.push(line);
    }
    assert!(out.buffer().is_empty());
    lines.sort();
    lines
}

#[test]
fn a_signal_ends_the_run_with_a_report_and_without_open_windows() {
    let dir = followed();
    for (name, workers) in [("INT", "1"), ("TERM", "2")] {
        let mut child = start(dir.path(), &["followed.vpl", "-w", workers]);
        let lines = read_what_is_certain(&mut child);
        assert!(lines[0].contains("PerHour") && lines[0].ends_with("\"n\":1}\n"), "{lines:?}");
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b""[..]), "{errors}");
        assert!(errors.contains("3 rows read from F"), "{errors}");
        assert!(errors.contains("stopped early (interrupted): open windows were not emitted"), "{errors}");
        assert!(errors.contains("the watermark was held by rows.jsonl"), "{errors}");
    }
}

/// Every process owns some of the keys, so that each has something to print when the first hour is over.
const KEYED: &str = r#"connector F = file(path: "rows.jsonl", follow: true)

event Row:
    at: timestamp
    v: int

stream PerKey = Row.from(F).partition_by(v).window(1h).aggregate(n: count()).emit(v: key, n: n)
"#;

/// Whichever of the processes is told to stop, all do.
#[test]
fn a_signal_to_one_process_ends_all() {
    for told in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("keyed.vpl"), KEYED).unwrap();
        let row = |t: &str, v: i32| format!("{{\"at\":\"2026-03-01T{t}:00Z\",\"v\":{v}}}\n");
        let rows: String = (0..100).map(|v| row("00:10", v)).chain([row("01:10", 0)]).collect();
        fs::write(dir.path().join("rows.jsonl"), rows).unwrap();
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let mut hosts = fs::File::create(dir.path().join("hosts")).unwrap();
        listeners.iter().for_each(|l| writeln!(hosts, "{}", l.local_addr().unwrap()).unwrap());
        drop(listeners);
        let of = |p: &str| start(dir.path(), &["keyed.vpl", "-n", "2", "-p", p, "--hostfile", "hosts"]);
        let mut children = [of("0"), of("1")];
        for child in &mut children {
            child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        }
        signal(&children[told], "INT");
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// A pattern that waits for nothing, one that waits for `within` to pass, and one whose matches wait for each other.
const PATTERNS: &str = r#"connector F = file(path: "rows.jsonl", follow: true)

event Row:
    at: timestamp
    k: int
    v: int

stream Rows = Row.from(F)

stream Rise = Rows as a -> Rows+ as up where v > prev(v, a.v) -> Rows as d where v < a.v
    .within(1m)
    .partition_by(k)
    .emit(k: k, n: count(up), top: max(up.v), low: d.v)

stream Quiet = Rows as a where v > 8 -> not Rows where v > 5
    .within(20s)
    .partition_by(k)
    .emit(k: k, v: a.v)

stream Apart = Rows as a where v >= 0 -> Rows as b where v > a.v + 2
    .within(30s)
    .partition_by(k)
    .after_match("skip_past_last")
    .emit(k: k, a: a.v, b: b.v)
"#;

/// A join whose rows come out alone when the watermark says so, lookups as of a row's place, and a table of a table.
const RELATIONS: &str = r#"connector F = file(path: "rows.jsonl", follow: true)

event Row:
    at: timestamp
    k: int
    v: int

stream Rows = Row.from(F)

stream Low = Rows
    .where(v >= 0 and v < 4)

stream High = Rows
    .where(v > 8)

stream Met = left_join(High as a, Low as b on a.k == b.k, after: 5s)
    .emit(k: a.k, high: a.v, low: b.v)

table Even = Rows
    .where(v >= 0 and v % 2 == 0)
    .key(k)

stream Asked = Rows
    .where(v > 6)
    .enrich(Even, on: k, fields: {"even": v})
    .emit(k: k, v: v, even: even)

table Totals = Even
    .aggregate(total: sum(v), most: max(v))

stream Changed = Totals
    .changes()
    .emit(op: op, total: total, most: most)
"#;

#[test]
fn a_pattern_over_a_live_tail_gives_what_a_replay_does() {
    compare_live_and_replay(PATTERNS, &["Rise", "Quiet", "Apart"]);
}

#[test]
fn so_do_joins_and_tables() {
    compare_live_and_replay(RELATIONS, &["Met", "Asked", "Changed"]);
}

/// What a run has printed that reads rows as they are written is what a replay of them prints.
fn compare_live_and_replay(program: &str, streams: &[&str]) {
    let row = |i: i64| {
        let (minute, second, v) = (i / 60, i % 60, i * 7919 % 13);
        format!("{{\"at\":\"2026-03-01T00:{minute:02}:{second:02}Z\",\"k\":{},\"v\":{v}}}\n", i % 3)
    };
    let rows: Vec<String> = (0..600).map(row).collect();
    // Fits no step, and is late enough for everything before it to be certain.
    let last = "{\"at\":\"2026-03-01T02:00:00Z\",\"k\":0,\"v\":-1}\n".to_string();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.jsonl");
    fs::write(dir.path().join("live.vpl"), program).unwrap();
    fs::write(dir.path().join("replay.vpl"), program.replace(", follow: true", "")).unwrap();
    fs::write(&path, rows.concat() + &last).unwrap();
    let replay = start(dir.path(), &["replay.vpl", "-q"]).wait_with_output().unwrap();
    let mut replayed: Vec<String> = String::from_utf8(replay.stdout).unwrap().lines().map(str::to_string).collect();
    for stream in streams {
        assert!(replayed.iter().any(|line| line.contains(stream)), "{stream} has rows");
    }
    replayed.sort();
    for workers in ["1", "2"] {
        fs::write(&path, rows[..200].concat()).unwrap();
        let mut child = start(dir.path(), &["live.vpl", "-q", "-w", workers]);
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut live = vec![out.next().expect("something is certain before all is written")];
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        for piece in rows[200..].chunks(37) {
            file.write_all(piece.concat().as_bytes()).unwrap();
        }
        file.write_all(last.as_bytes()).unwrap();
        live.extend(out.by_ref().take(replayed.len() - 1));
        live.sort();
        assert_eq!(live, replayed, "-w {workers}");
        signal(&child, "INT");
        assert!(child.wait().unwrap().success());
    }
}
