//! Every kind of output file, killed and continued: the rows are those of a run that nobody disturbs, no
//! part is ever half written, and nothing is seen before its checkpoint.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use varpulis_runtime::failpoint::{ACTIONS, CRASH_CODE, POINTS};

use super::cluster::hosts;
use super::{Case, Ended, Random, crash_by, kill_after, printed_seed, setting, succeed, varpulis};

const PROGRAM: &str = include_str!("every_sink.vpl");
const OUTPUTS: [&str; 9] = [
    "bars.csv",
    "bars.parquet",
    "bars.arrow",
    "bars.csv.zst",
    "held.csv",
    "large.jsonl",
    "large.parquet",
    "large.jsonl.gz",
    "held.jsonl",
];
const KILLS: u64 = 8;
const ROWS: u64 = 100_000;
const POINT_ROWS: u64 = 6_000;
const CHAOS_ROWS: u64 = 3_000;

/// A folder to write in, and what an undisturbed run that saves nothing has written in another.
struct Outputs {
    case: Case,
    whole: Vec<Vec<String>>,
}

impl Outputs {
    fn new(rows: u64, seed: u64) -> Outputs {
        let case = Case::new(rows, seed);
        fs::write(case.path("every_sink.vpl"), PROGRAM).unwrap();
        fs::write(case.path("at_once.vpl"), PROGRAM.replace(", commit: \"checkpoint\"", "")).unwrap();
        let outputs = Outputs { case, whole: Vec::new() };
        outputs.clear();
        succeed(outputs.run("at_once.vpl", 1));
        let whole: Vec<_> = OUTPUTS.iter().map(|name| outputs.rows(name)).collect();
        assert!(whole.iter().all(|rows| rows.len() > 10), "every output has rows");
        outputs.clear();
        Outputs { whole, ..outputs }
    }

    fn dir(&self) -> PathBuf {
        self.case.path("out")
    }

    /// Makes the folder anew.
    fn clear(&self) {
        let _ = fs::remove_dir_all(self.dir());
        fs::create_dir(self.dir()).unwrap();
    }

    fn run(&self, program: &str, workers: u64) -> Command {
        let mut command = varpulis();
        let input = format!("Trade={}", self.case.path("trades.jsonl").display());
        command.arg(self.case.path(program)).args(["-w", &workers.to_string(), "-i", &input]).current_dir(self.dir());
        command
    }

    fn saving(&self, workers: u64) -> Command {
        let mut command = self.run("every_sink.vpl", workers);
        command.args(["--checkpoint-interval", "20ms", "--block-bytes", "16384", "--state-dir", "state"]);
        command
    }

    /// The files that a reader of an output sees, in order.
    fn files(&self, name: &str) -> Vec<PathBuf> {
        let path = self.dir().join(name);
        if path.is_file() {
            return vec![path];
        }
        let Ok(folder) = fs::read_dir(&path) else { return Vec::new() };
        let names = folder.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names.iter().map(|name| path.join(name)).collect()
    }

    fn rows(&self, name: &str) -> Vec<String> {
        self.files(name).iter().flat_map(|path| decode(path)).collect()
    }

    /// What is seen now can be read, and every part of it belongs to a checkpoint.
    fn check_seen(&self, context: &str) {
        let mut show = varpulis();
        show.args(["checkpoint", "show", "--state-dir", "state"]).current_dir(self.dir()).stdout(Stdio::piped());
        let shown = show.output().unwrap().stdout;
        let record: serde_json::Value = serde_json::from_slice(&shown).unwrap_or_default();
        for name in OUTPUTS.into_iter().filter(|name| self.dir().join(name).is_dir()) {
            let files = self.files(name);
            let own = files.iter().filter(|path| !path.to_str().unwrap().contains("-p")).count() as u64;
            let counted = record["sinks"][format!("0:{name}")]["parts"].as_u64().unwrap_or(0);
            assert!(own <= counted, "{context}: {name}: {own} parts are seen, {counted} are committed");
            files.iter().for_each(|path| drop(decode(path)));
        }
    }

    fn compare(&self, ordered: bool, context: &str) {
        for (name, whole) in OUTPUTS.iter().zip(&self.whole) {
            let (mut rows, mut whole) = (self.rows(name), whole.clone());
            if !ordered {
                rows.sort_unstable();
                whole.sort_unstable();
            }
            if rows != whole {
                let at = rows.iter().zip(&whole).position(|(a, b)| a != b).unwrap_or(rows.len().min(whole.len()));
                let (found, wanted) = (rows.get(at), whole.get(at));
                let counts = format!("{} rows for {}", rows.len(), whole.len());
                panic!("{context}: {name}: {counts}; row {at} is {found:?}, not {wanted:?}");
            }
            let leftover = fs::read_dir(self.dir().join(name)).into_iter().flatten();
            let hidden = leftover.filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().starts_with('.'));
            assert_eq!(hidden.count(), 0, "{context}: {name}: nothing temporary is left at the end");
        }
    }

    fn parts(&self) -> usize {
        self.files("large.parquet").len()
    }
}

/// The rows of a file as text, without headers.
fn decode(path: &Path) -> Vec<String> {
    let name = path.to_str().unwrap();
    let file = File::open(path).unwrap();
    let of_batches = |batches: Vec<RecordBatch>| batches.iter().flat_map(rows_of).collect();
    if name.ends_with(".parquet") {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        return of_batches(reader.map(Result::unwrap).collect());
    }
    if name.ends_with(".arrow") {
        let reader = arrow_ipc::reader::FileReader::try_new(file, None).unwrap();
        return of_batches(reader.map(Result::unwrap).collect());
    }
    let mut text = String::new();
    if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else if name.ends_with(".zst") {
        zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
    } else {
        fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    }
    text.lines().skip(usize::from(name.contains(".csv"))).map(str::to_string).collect()
}

fn rows_of(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    // Clocks as numbers: all that matters is that they are the same.
    let plain = |c: &ArrayRef| match c.data_type() {
        DataType::Timestamp(..) => arrow_cast::cast(c, &DataType::Int64).unwrap(),
        _ => c.clone(),
    };
    let columns: Vec<ArrayRef> = batch.columns().iter().map(plain).collect();
    let columns: Vec<_> = columns.iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    let row = |i| columns.iter().map(|c| c.value(i).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// Runs to the end, killed at most `kills_max` times; how often it was.
fn crash_and_continue(outputs: &Outputs, random: &mut Random, kills_max: u64, chaos: bool, context: &str) -> u64 {
    outputs.clear();
    let ordered = random.below(3) > 0;
    let mut kills = 0;
    loop {
        let workers = 1 + random.below(3);
        let mut command = outputs.saving(workers);
        command.arg(if ordered { "--ordered" } else { "--unordered" });
        if chaos {
            command.args(["--chaos", &random.below(1000).to_string()]);
        }
        let after = outputs.case.took.mul_f64(random.below(1500) as f64 / 1000.0);
        let context = format!("{context}, {kills} kills, -w {workers}, ordered {ordered}");
        let child = command.spawn().unwrap();
        let ended = match kills < kills_max {
            true => kill_after(child, after),
            false => Ended::ByItself(child.wait_with_output().unwrap()),
        };
        outputs.check_seen(&context);
        match ended {
            Ended::Killed => kills += 1,
            Ended::ByItself(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{context}: {:?}\n{said}", output.status);
                outputs.compare(ordered, &context);
                return kills;
            }
        }
    }
}

#[test]
fn every_kind_of_file_is_written_once() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 3);
    let (kills, outputs) = (setting("CRASH_SINK_KILLS", KILLS), Outputs::new(ROWS, seed));
    let (mut killed, mut parts) = (0, 0);
    while killed < kills {
        let context = format!("CRASH_SEED={seed}, after {killed}");
        killed += crash_and_continue(&outputs, &mut random, kills - killed, false, &context);
        parts = parts.max(outputs.parts());
    }
    assert!(parts > 1, "checkpoints end parts");
    println!("{killed} kills, outputs in up to {parts} parts: no difference");
}

/// Checkpoints follow each other within a few rows.
#[test]
fn under_random_schedules_too() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 4);
    let outputs = Outputs::new(CHAOS_ROWS, seed);
    for run in 0..setting("CRASH_CHAOS_RUNS", 2) {
        crash_and_continue(&outputs, &mut random, 3, true, &format!("CRASH_SEED={seed}, run {run} under chaos"));
    }
}

#[test]
fn every_step_of_an_output_may_crash_or_fail() {
    let outputs = Outputs::new(POINT_ROWS, 17);
    for point in POINTS.iter().filter(|p| p.starts_with("sink.")) {
        for action in ACTIONS {
            check_point(&outputs, point, action, 1);
        }
        check_point(&outputs, point, "crash", 5);
    }
}

/// Where a run comes to a step only when it continues another one: what must have happened to that.
fn before(point: &str) -> Option<&'static str> {
    match point {
        "sink.part.complete" => Some("sink.part.rename=crash@1"),
        "sink.part.remove" => Some("sink.part.folder=crash@1"),
        _ => None,
    }
}

fn check_point(outputs: &Outputs, point: &str, action: &str, hit: u32) {
    let rule = format!("{point}={action}@{hit}");
    outputs.clear();
    // Under chaos checkpoints follow each other closely.
    let failing = |rule: &str| {
        let mut command = outputs.saving(1);
        command.args(["--chaos", "5"]).env("VARPULIS_FAIL", rule).output().unwrap()
    };
    if let Some(before) = before(point) {
        assert_eq!(failing(before).status.code(), Some(CRASH_CODE), "{before}");
    }
    let output = failing(&rule);
    let said = String::from_utf8_lossy(&output.stderr);
    outputs.check_seen(&rule);
    match output.status.code() {
        // The run went on without that checkpoint, or the point was not reached so often.
        Some(0) => assert!(action != "crash" || hit > 1, "{rule}: the point is never reached\n{said}"),
        Some(code) if action == "crash" && code == CRASH_CODE => {}
        Some(1) if action != "crash" => {
            assert!(said.contains("varpulis: "), "{rule}: it stopped without a word\n{said}");
        }
        code => panic!("{rule}: it ended with {code:?}\n{said}"),
    }
    let again = outputs.saving(2).output().unwrap();
    assert!(again.status.success(), "{rule}: {}", String::from_utf8_lossy(&again.stderr));
    outputs.compare(true, &rule);
}

/// The names cannot be given, not even at the end; the same command gives them later.
#[test]
fn a_finished_run_shows_what_it_could_not() {
    let outputs = Outputs::new(POINT_ROWS, 23);
    let output = outputs.saving(1).env("VARPULIS_FAIL", "sink.part.rename=denied").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the same command again shows the rest of the output"), "{said}");
    assert_eq!(outputs.files("large.parquet").len(), 0);
    let output = outputs.saving(1).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("had finished"), "{said}");
    outputs.compare(true, "after a run that could rename nothing");
}

/// The newest checkpoint is damaged: its parts are taken back, and written again.
#[test]
fn parts_go_with_their_checkpoint() {
    let outputs = Outputs::new(POINT_ROWS, 29);
    crash_by("checkpoint.committed=crash@3", || {
        outputs.clear();
        outputs.saving(1)
    });
    let records = fs::read_dir(outputs.dir().join("state/varpulis/checkpoints")).unwrap();
    let newest = records.map(|e| e.unwrap().path()).max().unwrap();
    fs::write(newest, b"damaged").unwrap();
    let output = outputs.saving(2).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("does not hold"), "{said}");
    outputs.compare(true, "after going back");
}

#[test]
fn several_processes_write_parts_of_their_own() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 5);
    // Only outputs in parts: files that grow have one name, and here one folder.
    let parts_only = |text: &str| text.replace(".to(\"bars.csv\")", "").replace(".to(\"large.jsonl\")", "");
    let outputs = Outputs::new(20_000, seed);
    fs::write(outputs.case.path("every_sink.vpl"), parts_only(PROGRAM)).unwrap();
    let mut processes = 2;
    let mut kills = 0;
    outputs.clear();
    loop {
        let hosts = hosts(&outputs.case, processes);
        let start = |process: usize| -> Child {
            let mut command = outputs.saving(1);
            command.arg("--unordered");
            if processes > 1 {
                command.args(["-n", &processes.to_string(), "-p", &process.to_string(), "--hostfile"]).arg(&hosts);
            }
            command.spawn().unwrap()
        };
        let mut children: Vec<Child> = (0..processes).map(start).collect();
        let after = outputs.case.took.mul_f64(random.below(1500) as f64 / 1000.0);
        let victim = children.remove(random.below(processes as u64) as usize);
        let ended = match kills < 3 {
            true => kill_after(victim, after),
            false => Ended::ByItself(victim.wait_with_output().unwrap()),
        };
        let others: Vec<_> = children.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
        let context = format!("CRASH_SEED={seed}, {kills} kills, {processes} processes");
        outputs.check_seen(&context);
        match ended {
            Ended::Killed => kills += 1,
            Ended::ByItself(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let all = output.status.success() && others.iter().all(|o| o.status.success());
                assert!(all, "{context}: {said}");
                break;
            }
        }
        processes = 1 + random.below(2) as usize;
    }
    for name in ["bars.csv", "large.jsonl"] {
        let whole = &outputs.whole[OUTPUTS.iter().position(|o| *o == name).unwrap()];
        let header = if name.ends_with(".csv") { "\n" } else { "" };
        fs::write(outputs.dir().join(name), format!("{header}{}\n", whole.join("\n"))).unwrap();
    }
    outputs.compare(false, &format!("CRASH_SEED={seed}"));
}
