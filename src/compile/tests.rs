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

    fn sample(&mut self, _input: &Input, _types: &[String]) -> Result<Vec<SampledType>, String> {
        Err("there is no input to sample".to_string())
    }
}

const SENSOR: &str = "event S:\n    at: timestamp\n    zone: str\n    value: float\n    n: int\n    note: str?\n\n";

fn compiled(text: &str) -> Compilation {
    let environment = Environment { inputs: &[], surroundings: &mut Files, on_error: OnError::Skip };
    compile("t.vpl", text.to_string(), environment)
}

/// The physical plan of a program over [`SENSOR`], which must be free of errors.
fn physical(streams: &str) -> String {
    let made = compiled(&format!("{SENSOR}{streams}"));
    let Some(stages) = &made.stages else { panic!("{}", render_text(&made.diagnostics, &made.sources, false)) };
    explain::physical::text(&stages.physical)
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
