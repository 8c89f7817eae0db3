//! Programs and inputs that are changed between a crash and the run that continues.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use super::{PROGRAM, program, succeed, varpulis};

const EVENT: &str = "event Trade:\n    ts: timestamp\n    symbol: str\n    price: float\n    volume: int\n\n";
const BARS: &str = "stream Bars = Trade.where(volume > 100)
    .watermark(out_of_order: 4s)
    .partition_by(symbol)
    .window(2s)
    .aggregate(n: count(), total: sum(volume))
    .emit(symbol: key, at: window_start, n: n, total: total)
";

/// A folder with an input, a program, and what runs of it leave.
struct Edited {
    dir: tempfile::TempDir,
}

impl Edited {
    fn new(program: &str) -> Edited {
        let edited = Edited { dir: tempfile::tempdir().unwrap() };
        let mut generate = varpulis();
        generate.args(["generate", "trades", "--keys", "5", "--rate", "100", "--out-of-order", "4s"]);
        generate.args(["--rows", "8000", "--seed", "5", "-o"]).arg(edited.path("trades.jsonl"));
        succeed(generate);
        edited.write(program);
        edited
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, program: &str) {
        fs::write(self.path("q.vpl"), program).unwrap();
    }

    fn command(&self, words: &[&str], options: &[&str]) -> Command {
        let mut command = varpulis();
        command.args(words).arg(self.path("q.vpl")).args(["-i", &self.input(), "-o"]).arg(self.path("out.jsonl"));
        command.arg("--state-dir").arg(self.path("state")).args(options);
        command
    }

    fn input(&self) -> String {
        format!("Trade={}", self.path("trades*.jsonl").display())
    }

    /// A run that dies with a checkpoint behind it and rows before it.
    fn kill(&self) {
        self.kill_with(0, 2);
    }

    /// A run that dies when its checkpoint number `crash` is there, with so many inputs read to their end and
    /// others not.
    fn kill_with(&self, ended: usize, crash: usize) {
        for seed in 0..100 {
            let _ = fs::remove_dir_all(self.path("state"));
            let mut command = self.command(&["run"], &["--chaos", &seed.to_string()]);
            let rule = format!("checkpoint.committed=crash@{crash}");
            let status = command.env("VARPULIS_FAIL", rule).status().unwrap();
            if !status.success() && self.ended() == ended {
                return;
            }
        }
        panic!("no run died with {ended} inputs read to their end");
    }

    /// How many inputs the newest checkpoint has that had been read to their end.
    fn ended(&self) -> usize {
        let mut show = varpulis();
        show.args(["checkpoint", "show", "--state-dir"]).arg(self.path("state"));
        let output = show.stdout(std::process::Stdio::piped()).output().unwrap();
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        record["partitions"].as_object().unwrap().values().filter(|p| p["ended"] == true).count()
    }

    fn run(&self, options: &[&str]) -> Output {
        self.command(&["run"], options).output().unwrap()
    }

    /// What `checkpoint plan` prints, and its exit code.
    fn plan(&self, options: &[&str]) -> (String, Option<i32>) {
        let mut command = self.command(&["checkpoint", "plan"], options);
        let output = command.stdout(std::process::Stdio::piped()).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }

    /// The rows of the output, without regard to the order of their fields.
    fn rows(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("out.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What a run from the beginning writes.
    fn rows_anew(&self) -> Vec<Value> {
        let mut command = varpulis();
        command.arg(self.path("q.vpl")).args(["-i", &self.input(), "-o"]).arg(self.path("out.jsonl"));
        succeed(command);
        self.rows()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_comes_after_a_state_may_change() {
    let edited = Edited::new(&format!("{EVENT}{BARS}"));
    edited.kill();
    let other = BARS
        .replace(".emit", ".where(n > 0).print(\"{key}\").emit")
        .replace("n: n, total: total", "total: total, n: n");
    edited
        .write(&format!("{EVENT}{other}stream Large = Trade.where(volume > 900).emit(price: price, volume: volume)\n"));
    // Another field is checked now, which may keep rows away.
    let (text, code) = edited.plan(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("now:     Trade.price is read: float") && text.contains("--allow-changed"), "{text}");
    edited.write(&format!("{EVENT}{other}"));
    let (text, code) = edited.plan(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("kept                 state   Bars/window/0"), "{text}");
    let output = edited.run(&[]);
    assert!(output.status.success() && said(&output).contains("resuming"), "{}", said(&output));
    let rows = edited.rows();
    assert_eq!(rows, edited.rows_anew());
    assert!(!rows.is_empty());
}

/// Another stream over the same rows changes how the planner shares and filters them, and no state of any kind.
#[test]
fn another_stream_leaves_every_state_as_it_is() {
    let program = program(PROGRAM);
    let edited = Edited::new(&program);
    edited.kill();
    let other = "stream Extra = Trades.where(volume > 990).where(price > 1.0).emit(symbol: symbol, volume: volume)\n";
    edited.write(&format!("{program}\n{other}"));
    let (text, code) = edited.plan(&[]);
    let changed: Vec<&str> =
        text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("  kept ")).collect();
    assert_eq!(changed, ["  new                  output  Extra"], "{text}");
    assert!(code == Some(0) && text.matches("  state  ").count() >= 11, "{text}");
    let output = edited.run(&[]);
    assert!(output.status.success(), "{}", said(&output));
    let without = |rows: Vec<Value>| rows.into_iter().filter(|r| r["_stream"] != "Extra").collect::<Vec<_>>();
    let rows = without(edited.rows());
    assert_eq!(rows, without(edited.rows_anew()));
}

#[test]
fn what_comes_before_it_takes_an_option() {
    let edited = Edited::new(&format!("{EVENT}{BARS}"));
    edited.kill();
    edited.write(&format!("{EVENT}{}", BARS.replace("volume > 100", "volume > 200").replace("4s", "8s")));
    let (text, code) = edited.plan(&[]);
    assert!(code == Some(1) && text.contains("kept, input changed  state   Bars/window/0"), "{text}");
    let refused = edited.run(&[]);
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    for part in ["now:     where volume > 200", "--allow-changed continues", "--restore none"] {
        assert!(said(&refused).contains(part), "{}", said(&refused));
    }
    assert_eq!(edited.plan(&["--allow-changed"]).1, Some(0));
    let output = edited.run(&["--allow-changed"]);
    assert!(output.status.success(), "{}", said(&output));
    // Although the watermark is further behind now, no window that had fired fires again.
    let rows = edited.rows();
    let windows: BTreeSet<String> = rows.iter().map(|r| format!("{} {}", r["symbol"], r["at"])).collect();
    assert_eq!(windows.len(), rows.len());
    assert_eq!(windows.len(), edited.rows_anew().len());
}

#[test]
fn what_is_lost_takes_an_option() {
    let both = format!("{EVENT}{BARS}stream First = Trade.limit(10).emit(symbol: symbol, volume: volume)\n");
    let edited = Edited::new(&both);
    edited.kill();
    edited.write(&format!("{EVENT}{}", BARS.replace("window(2s)", "window(4s)")));
    let refused = edited.run(&["--allow-changed"]);
    assert_eq!(refused.status.code(), Some(4));
    for part in
        ["dropped and new      state   Bars/window/0", "dropped              state   First/limit/0", "--allow-drop"]
    {
        assert!(said(&refused).contains(part), "{}", said(&refused));
    }
    let output = edited.run(&["--allow-drop"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(edited.rows().iter().any(|row| row["_stream"] == "Bars"));
    // It had come to its end, in whatever form.
    let again = edited.run(&[]);
    assert!(again.status.success() && said(&again).contains("had finished"), "{}", said(&again));
    assert_eq!(edited.plan(&[]).1, Some(1));
}

#[test]
fn rows_that_wait_for_their_order_are_not_forgotten() {
    let edited = Edited::new(&format!("{EVENT}{BARS}"));
    edited.kill();
    let refused = edited.run(&["--unordered"]);
    assert!(
        refused.status.code() == Some(4) && said(&refused).contains("`--ordered` keeps them"),
        "{}",
        said(&refused)
    );
}

/// Another file among the inputs is read from its beginning; what is too late for windows that have fired
/// counts as late.
#[test]
fn files_may_be_added() {
    let edited = Edited::new(&format!("{EVENT}{BARS}"));
    edited.kill();
    fs::copy(edited.path("trades.jsonl"), edited.path("trades2.jsonl")).unwrap();
    let refused = edited.run(&[]);
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    let output = edited.run(&["--allow-changed", "--stats", "json"]);
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_str(said(&output).lines().last().unwrap()).unwrap();
    assert!(report["late"].as_u64() > Some(0), "{report}");
    let windows: BTreeSet<String> = edited.rows().iter().map(|r| format!("{} {}", r["symbol"], r["at"])).collect();
    assert_eq!(windows.len(), edited.rows().len());
}

/// Two sources read one file, each with its own event time, and each goes on where it was.
#[test]
fn a_file_may_be_read_twice() {
    let later = "stream Later = Trade.watermark(on: ts + 1h).partition_by(symbol).window(2s).aggregate(n: count())
    .emit(symbol: key, at: window_start, n: n)\n";
    let edited = Edited::new(&format!("{EVENT}{BARS}{later}"));
    edited.kill();
    let output = edited.run(&[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(edited.rows(), edited.rows_anew());
}

/// What was read to its end stays as it was then, as in a run that nobody disturbed.
#[test]
fn a_file_that_was_read_to_its_end_may_grow() {
    let edited = Edited::new(&format!("{EVENT}{BARS}"));
    let text = fs::read_to_string(edited.path("trades.jsonl")).unwrap();
    let short: String = text.split_inclusive('\n').take(200).collect();
    fs::write(edited.path("trades0.jsonl"), &short).unwrap();
    let whole = edited.rows_anew();
    edited.kill_with(1, 8);
    fs::write(edited.path("trades0.jsonl"), format!("{short}{text}")).unwrap();
    let output = edited.run(&[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("trades0.jsonl has grown since it was read to its end"), "{}", said(&output));
    assert_eq!(edited.rows(), whole);
}

/// What a table had of a file is saved; with another file it would be neither the old one nor the new one.
#[test]
fn a_table_is_of_the_file_that_it_was_read_from() {
    let edited = Edited::new("");
    let listings = edited.path("listings.csv");
    let text: String = (0..5).map(|i| format!("SYM{i:04},Company {i}\n")).collect();
    fs::write(&listings, format!("symbol,name\n{text}")).unwrap();
    let table = format!(
        "event Listing:\n    symbol: str\n    name: str\n\n\
         table Listings = Listing.from(file(path: {:?})).key(symbol)\n\
         stream Named = Trade.watermark(out_of_order: 4s).enrich(Listings, on: symbol, fields: [name])\n    \
         .emit(symbol: symbol, name: name, price: price)\n",
        listings.display().to_string()
    );
    edited.write(&format!("{EVENT}{table}"));
    let whole = edited.rows_anew();
    assert!(whole.iter().any(|row| row["name"] == "Company 3"));
    edited.kill_with(1, 3);
    fs::write(&listings, format!("symbol,name\n{}", text.replace("Company 3", "Another"))).unwrap();
    let output = edited.run(&[]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("listings.csv is not the file that checkpoint"), "{}", said(&output));
    fs::write(&listings, format!("symbol,name\n{text}")).unwrap();
    let output = edited.run(&[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(edited.rows(), whole);
}

const SAMPLED: &str = "stream All = Trade.window(10s).aggregate(all: collect()).emit(at: window_start, all: all)\n";

fn append(edited: &Edited, row: &str) {
    let path = edited.path("trades.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str(row);
    fs::write(path, text).unwrap();
}

#[test]
fn what_was_sampled_stays() {
    let edited = Edited::new(SAMPLED);
    edited.kill();
    append(&edited, "{\"ts\":\"2030-01-01T00:00:00Z\",\"symbol\":\"S1\",\"price\":1.5,\"volume\":3,\"extra\":7}\n");
    let output = edited.run(&[]);
    assert!(output.status.success(), "{}", said(&output));
    let rows = edited.rows();
    assert!(rows.iter().all(|row| !row.to_string().contains("extra")));
    assert_eq!(rows.last().unwrap()["all"].as_array().unwrap().len(), 1);
}

#[test]
fn what_was_sampled_is_still_a_promise() {
    let edited = Edited::new(SAMPLED);
    edited.kill();
    append(&edited, "{\"ts\":\"2030-01-01T00:00:00Z\",\"symbol\":\"S1\",\"price\":1.5,\"volume\":\"much\"}\n");
    let output = edited.run(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("the type was sampled"), "{}", said(&output));
}
