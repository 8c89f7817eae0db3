//! Programs as text, their plans and diagnostics as text.

use crate::compile::{Compilation, compile};
use crate::connector::spec::{FileFormat, Input, OnError};
use crate::diagnostic::render_text;
use crate::plan::explain;
use crate::sema::Environment;
use crate::sema::inputs::{FileRequest, SampledType, Surroundings};

/// A world in which every path is one JSONL file that cannot be sampled.
struct Files;

impl Surroundings for Files {
    fn open(&mut self, request: &FileRequest) -> Result<Input, String> {
        let format = request.format.unwrap_or(FileFormat::Jsonl);
        let paths = vec![request.path.clone()];
        Ok(Input::Files { paths, format, compression: None, time_unit: request.time_unit })
    }

    fn sample(&mut self, _name: &str, _input: &Input, _types: &[String]) -> Result<Vec<SampledType>, String> {
        Err("there is no input to sample".to_string())
    }
}

const SENSOR: &str = "event S:\n    at: timestamp\n    zone: str\n    value: float\n    n: int\n    note: str?\n\n";

pub(super) fn compiled(text: &str) -> Compilation {
    let environment =
        Environment { inputs: &[], surroundings: &mut Files, on_error: OnError::Skip, has_state_dir: false };
    compile("t.vpl", text.to_string(), environment)
}

/// The physical plan of a program over [`SENSOR`], which must be free of errors.
fn physical(streams: &str) -> String {
    let made = compiled(&format!("{SENSOR}{streams}"));
    let Some(stages) = &made.stages else { panic!("{}", render_text(&made.diagnostics, &made.sources, false)) };
    explain::physical::text(&stages.physical, None)
}

/// Codes and messages of what is wrong with a program over [`SENSOR`].
fn findings(streams: &str) -> Vec<String> {
    let made = compiled(&format!("{SENSOR}{streams}"));
    made.diagnostics.iter().map(|d| format!("{} {}", d.code, d.message)).collect()
}

#[test]
fn a_windowed_aggregate_reads_only_what_it_needs() {
    let plan = physical(
        "stream A = S.where(value > 28.0).partition_by(zone).window(5m)
            .aggregate(zone: last(zone), avg: avg(value), n: count()).having(n >= 3).emit(zone, avg)",
    );
    assert_eq!(
        plan,
        "source 0: stdin (jsonl), on error skip
   type S: at: timestamp, zone: str, value: float; time at
   output 0: S, out of order 0s, seq, where value > 28.0
0: source 0 output 0 (S) [A]
   -> at: timestamp, zone: str, value: float
1: chain of 0 [A]
   project zone, value
   -> zone: str, value: float
2: window tumbling 5m: last(zone), avg(value), count() of 1 [A]
   exchange by zone; state A/window/0; bounded by open windows: 5m of event time
   -> $key0: str, $window_start: timestamp, $window_end: timestamp, $agg0: str, $agg1: float, $agg2: int
3: chain of 2 [A]
   filter $agg2 >= 3
   project zone: $agg0, avg: $agg1
   -> zone: str, avg: float
output A: 3 -> default
   with saved state: at least once on standard output, exactly once in a file
"
    );
}

#[test]
fn all_mistakes_are_found_at_once_and_each_once() {
    let found = findings(
        "stream A = S.where(valeu > 1).extend(x: zone + 1).select(x, y: x + 1).emit(x)
stream B = S.where(value).emit(zone)
stream C = T.emit(a)",
    );
    assert_eq!(
        found,
        [
            "E0209 there is no field or constant `valeu`",
            "E0301 `+` takes numbers, durations, strings, or a timestamp and a duration, not str and int",
            "E0303 the condition of `.where` is float, not bool",
            "E0602 `T` is not declared, and there is no input to sample",
        ]
    );
}

#[test]
fn filters_move_into_the_sources_and_through_merges() {
    let plan = physical(
        "event T:\n    at: timestamp\n    zone: str\n    value: int\n
stream M = merge(S, T).extend(double: value * 2).where(double > 4 and zone != \"lab\").select(zone)",
    );
    assert!(plan.contains("output 0: S, out of order 0s, seq, where value * 2.0 > 4.0 and zone != \"lab\""), "{plan}");
    assert!(plan.contains("where cast(value as float) * 2.0 > 4.0 and zone != \"lab\""), "{plan}");
}

#[test]
fn filters_stay_behind_what_counts_rows() {
    let plan = physical("stream A = S.limit(10).where(value > 1).select(zone)");
    assert!(plan.contains("output 0: S, out of order 0s, seq\n"), "{plan}");
    let plan = physical("stream A = S.print(zone).where(value > 1).select(zone)");
    assert!(plan.contains("print \"A\" {zone}\n   filter value > 1.0"), "{plan}");
}

#[test]
fn every_used_field_is_decoded_whatever_filters_come_first() {
    let plan = physical("stream A = S.where(1 > 2).where(n > 1).select(zone)");
    assert!(plan.contains("type S: at: timestamp, zone: str, n: int; time at"), "{plan}");
}

#[test]
fn late_rows_keep_the_fields_of_the_input() {
    let plan = physical(
        "stream A = S.partition_by(zone).window(5m).aggregate(x: sum(value * 2)).emit(x)
stream L = A.late().emit(note, n)",
    );
    assert!(plan.contains("project n, note, $key0: zone, $arg0: value * 2.0"), "{plan}");
    assert!(plan.contains("late rows kept"), "{plan}");
    assert!(plan.contains("   project note, n\n   -> note: str?, n: int\noutput A: 3 -> default\n"), "{plan}");
}

#[test]
fn streams_share_what_they_have_in_common() {
    let plan = physical(
        "stream A = S.where(value > 1).window(1m).aggregate(n: count())
stream B = S.where(value > 1).window(1m).aggregate(n: count()).where(n > 2)",
    );
    assert_eq!(plan.matches("window tumbling").count(), 1, "{plan}");
    assert!(!plan.contains("seq") && plan.contains("where value > 1.0"), "{plan}");
}

#[test]
fn each_watermark_has_its_own_output_of_the_source() {
    let plan = physical(
        "stream A = S.where(n > 0)
stream B = A.watermark(out_of_order: 5s).window(1m).aggregate(n: count())
stream C = A.window(1m).aggregate(n: count())",
    );
    assert!(plan.contains("output 0: S, out of order 5s, where n > 0"), "{plan}");
    assert!(plan.contains("output 1: S, out of order 0s, where n > 0"), "{plan}");
}

#[test]
fn rows_of_one_window_are_regrouped() {
    let plan = physical(
        "stream A = S.partition_by(zone).window(1d).aggregate(zone, d: avg(value)).partition_by().top(3, by: d).select(zone, window_start)",
    );
    assert!(plan.contains("window upstream ($window_start, $window_end): rows order by d desc, limit 3"), "{plan}");
    assert!(plan.contains("to one worker; state A/rows/0"), "{plan}");
}

/// The fields of S that the source decodes.
fn decoded_fields(streams: &str) -> String {
    let plan = physical(streams);
    let line = plan.lines().find(|line| line.contains("type S: ")).expect("the type is read");
    line.trim().to_string()
}

#[test]
fn columns_that_decide_between_rows_that_tie_are_decoded() {
    let alone = "stream M = S.limit(3).emit(zone)";
    assert_eq!(decoded_fields(alone), "type S: at: timestamp, zone: str; time at");
    let twice_the_same =
        "stream X = S.where(n > 0)\nstream Y = S.where(n < 9)\nstream M = merge(X, Y).limit(3).emit(zone)";
    assert_eq!(decoded_fields(twice_the_same), "type S: at: timestamp, zone: str, n: int; time at");
    let twice_and_different =
        "stream X = S.extend(k: 1)\nstream Y = S.extend(k: 2)\nstream M = merge(X, Y).limit(3).emit(zone)";
    let all = "type S: at: timestamp, zone: str, value: float, n: int, note: str?; time at";
    assert_eq!(decoded_fields(twice_and_different), all);
    let selected =
        "stream X = S.select(zone, k: 1)\nstream Y = S.select(zone, k: 2)\nstream M = merge(X, Y).limit(3).emit(zone)";
    assert_eq!(decoded_fields(selected), "type S: at: timestamp, zone: str; time at");
}

#[test]
fn streams_may_be_read_before_they_are_declared() {
    let plan = physical("stream B = A.where(n > 1).emit(n)\nstream A = S.extend(n: n + 1)");
    assert!(plan.contains("where n + 1 > 1"), "{plan}");
}

#[test]
fn a_timer_follows_all_sources() {
    let plan = physical("stream T = timer(10s).emit(n)\nstream A = S.emit(zone)");
    assert!(plan.contains("timer 10s after 0"), "{plan}");
}

#[test]
fn files_import_each_other_once() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("base.vpl", "const LIMIT = 3\n");
    write("left.vpl", "import \"base.vpl\"\nconst LEFT = LIMIT + 1\n");
    write("right.vpl", "import \"base.vpl\"\nconst RIGHT = LIMIT + 2\n");
    let main = dir.path().join("main.vpl");
    let text = format!(
        "import \"left.vpl\"\nimport \"right.vpl\"\n{SENSOR}stream A = S.where(n > LEFT and n < RIGHT).emit(n)\n"
    );
    let environment =
        Environment { inputs: &[], surroundings: &mut Files, on_error: OnError::Skip, has_state_dir: false };
    let made = compile(&main.display().to_string(), text, environment);
    let stages = made.stages.expect("the program is sound");
    assert!(explain::physical::text(&stages.physical, None).contains("where n > 4 and n < 5"));
}

#[test]
fn plans_survive_their_serialization() {
    let made = compiled(&format!(
        "{SENSOR}stream A = S.window(1m).aggregate(x: percentile(value, 0.5), y: round(max(value)))"
    ));
    let plan = made.stages.expect("the program is sound").physical;
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<crate::plan::physical::Plan>(&json).unwrap(), plan);
}
