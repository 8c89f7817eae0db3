//! Edits of a program, and what becomes of what a checkpoint of the program before holds.

use super::*;
use crate::compile::compile;
use crate::connector::format::encode::jsonl::Meta;
use crate::connector::position::PartitionRecord;
use crate::connector::sink::Destination;
use crate::connector::spec::{FileFormat, Input, OnError, OutputFormat};
use crate::diagnostic::render_text;
use crate::runtime::inputs::all_partitions;
use crate::runtime::outputs::{DefaultOutput, route};
use crate::sema::Environment;
use crate::sema::inputs::{CommandInput, FileRequest, SampledType, Surroundings};
use crate::state::manifest::StateSummary;
use std::collections::BTreeMap;

/// A world without files.
struct Nothing;

impl Surroundings for Nothing {
    fn open(&mut self, request: &FileRequest) -> Result<Input, String> {
        Err(format!("{} is not there", request.path))
    }

    fn sample(&mut self, _: &str, _: &Input, _: &[String]) -> Result<Vec<SampledType>, String> {
        Err("there is nothing to sample".to_string())
    }
}

const EVENT: &str = "event S:\n    at: timestamp\n    zone: str\n    city: str\n    value: float\n    n: int\n\n";
const BARS: &str = "stream Bars = S.where(n > 1).extend(twice: value * 2)
    .partition_by(zone).window(5m).aggregate(zone: last(zone), high: max(twice), n: count())";

fn plan(streams: &str, paths: &[&str]) -> Plan {
    let files =
        |paths: Vec<String>| Input::Files { paths, format: FileFormat::Jsonl, compression: None, time_unit: None };
    let input = files(paths.iter().map(|p| p.to_string()).collect());
    let given = [CommandInput { type_name: None, name: "logs".to_string(), input }];
    let environment =
        Environment { inputs: &given, surroundings: &mut Nothing, on_error: OnError::Skip, has_state_dir: false };
    let made = compile("t.vpl", format!("{EVENT}{streams}"), environment);
    let text = || render_text(&made.diagnostics, &made.sources, false);
    made.stages.unwrap_or_else(|| panic!("{}", text())).physical
}

fn output(path: &str, format: OutputFormat) -> DefaultOutput {
    DefaultOutput { destination: Destination::of(path), format, meta: Meta::Shown }
}

fn described(plan: &Plan, to: &DefaultOutput) -> Described {
    Described::new(plan, &route(plan, to), &all_partitions(plan, &BTreeMap::new()), true)
}

/// A checkpoint of a run of the plan that had fired up to 7 and read nothing to its end.
fn record(plan: &Plan, to: &DefaultOutput) -> Checkpoint {
    let described = described(plan, to);
    let mut record = Checkpoint::default();
    for state in &described.states {
        let summary = StateSummary { watermarks: vec![3, 7], ..StateSummary::default() };
        record.operator_states.insert(state.name.clone(), summary);
    }
    for partition in &described.partitions {
        record.partitions.insert(partition.name.clone(), PartitionRecord::default());
    }
    described.describe(plan, &mut record);
    record
}

/// What becomes of a checkpoint of `before` under `after`.
fn changes(before: &str, after: &str) -> Comparison {
    let (before, after) = (plan(before, &["a.jsonl"]), plan(after, &["a.jsonl"]));
    let to = output("out.jsonl", OutputFormat::Jsonl);
    compare(&record(&before, &to), &described(&after, &to), Some(&before))
}

/// What is not kept, by name.
fn verdicts(comparison: &Comparison) -> Vec<(&str, Verdict)> {
    let changed = comparison.items.iter().filter(|i| i.verdict != Verdict::Kept);
    changed.map(|i| (i.name.as_str(), i.verdict)).collect()
}

#[track_caller]
fn check(before: &str, after: &str, expected: &[(&str, Verdict)]) {
    let comparison = changes(before, after);
    assert_eq!(verdicts(&comparison), expected, "{}", comparison.to_text(true));
}

#[test]
fn what_comes_after_the_operators_changes_nothing() {
    let out = ".emit(zone: zone, high: high, n: n)";
    for after in [
        ".emit(zone: zone, high: high, n: n)",
        ".emit(n: n, top: high, zone: zone)",
        ".where(n > 3).emit(zone: zone, high: high, n: n)",
        ".extend(mean: high / n).emit(zone: zone, high: high, mean: mean, n: n)",
        // What an aggregate has gathered does not depend on who reads it.
        ".emit(zone: zone, n: n)",
        ".print(\"{zone}\").emit(zone: zone, high: high, n: n)",
    ] {
        check(&format!("{BARS}{out}"), &format!("{BARS}{after}"), &[]);
    }
}

/// The planner puts filters elsewhere when a second stream reads the rows as well.
#[test]
fn another_stateless_stream_changes_nothing() {
    let other = "\nstream Large = S.where(value > 100).where(n > 0).emit(zone: zone, value: value, n: n)";
    let bars = format!("{BARS}.emit(high: high, n: n)");
    check(&bars, &format!("{bars}{other}"), &[("Large", Verdict::New)]);
    check(&format!("{bars}{other}"), &bars, &[("Large", Verdict::Dropped)]);
}

#[test]
fn another_definition_begins_empty() {
    let name = "Bars/window/0";
    for (from, to) in [
        ("partition_by(zone)", "partition_by(city)"),
        ("window(5m)", "window(10m)"),
        ("window(5m)", "window(5m, sliding: 1m)"),
        ("max(twice)", "min(twice)"),
        ("max(twice)", "max(n)"),
        ("n: count()", "n: count(), lowest: min(twice)"),
        ("partition_by(zone).", ""),
    ] {
        let comparison = changes(BARS, &BARS.replace(from, to));
        let of_state: Vec<_> = verdicts(&comparison).into_iter().filter(|(n, _)| *n == name).collect();
        assert_eq!(of_state, [(name, Verdict::Replaced)], "{from} -> {to}\n{}", comparison.to_text(true));
    }
}

#[test]
fn another_input_is_named_with_what_differs() {
    let name = "Bars/window/0";
    let filtered = changes(BARS, &BARS.replace("n > 1", "n > 2"));
    assert_eq!(verdicts(&filtered), [(name, Verdict::InputChanged)]);
    assert_eq!(
        filtered.to_text(false),
        "  kept, input changed  state   Bars/window/0
                               before:  where n > 1
                               now:     where n > 2
"
    );
    assert_eq!(filtered.needs(Allowed::default()), Some(vec!["--allow-changed"]));
    assert_eq!(filtered.needs(Allowed { changed: true, drop: false }), Some(vec![]));
    check(BARS, &BARS.replace("value * 2", "value * 3"), &[(name, Verdict::InputChanged)]);
    check(BARS, &BARS.replace("S.where(n > 1)", "S"), &[(name, Verdict::InputChanged)]);
    let delayed = BARS.replace("S.where", "S.watermark(out_of_order: 2s).where");
    check(BARS, &delayed, &[(name, Verdict::InputChanged)]);
    // Rows in which it is not valid no longer come.
    let bars = format!("{BARS}.emit(high: high, n: n)");
    let field = format!("{bars}\nstream Cities = S.emit(city: city)");
    check(&bars, &field, &[(name, Verdict::InputChanged), ("Cities", Verdict::New)]);
}

/// No row may reach a window that has fired.
#[test]
fn rows_of_another_input_do_not_fall_behind_what_has_fired() {
    assert_eq!(changes(BARS, BARS).floors, [[i64::MIN]]);
    assert_eq!(changes(BARS, &BARS.replace("n > 1", "n > 2")).floors, [[7]]);
}

#[test]
fn a_change_is_handed_on_to_the_states_below() {
    let program = format!("{BARS}\nstream Best = Bars.window(1h).aggregate(best: max(high))");
    let name = "Best/window/0";
    check(
        &program,
        &program.replace("window(5m)", "window(10m)"),
        &[("Bars/window/0", Verdict::Replaced), (name, Verdict::InputChanged)],
    );
    let unread = "\nstream Best = Bars.window(1h).aggregate(best: max(n))";
    let both = changes(&format!("{BARS}{unread}"), &program.replace("n > 1", "n > 2"));
    assert!(verdicts(&both).contains(&(name, Verdict::Replaced)));
}

#[test]
fn states_of_rows_depend_on_their_columns() {
    let top = "stream Top = S.partition_by(zone).window(5m).top(3, by: value).emit(zone: zone, value: value)";
    // All its rows are there: which of them leave is for the program that closes the window.
    check(top, &top.replace("top(3", "top(5"), &[]);
    let wider = top.replace("value: value)", "value: value, city: city)");
    check(top, &wider, &[("Top/rows/0", Verdict::Replaced)]);
    let first = "stream First = S.partition_by(zone).limit(3).emit(zone: zone, value: value)";
    check(first, &first.replace("limit(3", "limit(5"), &[("First/limit/0", Verdict::Replaced)]);
    let kinds = "stream Kinds = S.partition_by(zone).distinct(n / 2, within: 5m).emit(zone: zone, n: n)";
    check(kinds, &kinds.replace("5m", "6m"), &[("Kinds/distinct/0", Verdict::Replaced)]);
    check(kinds, &kinds.replace("n / 2", "n / 3"), &[("Kinds/distinct/0", Verdict::Replaced)]);
}

#[test]
fn streams_come_and_go() {
    let other = "\nstream Days = S.partition_by(zone).window(1d).aggregate(n: count(), mean: avg(value), m: max(n))";
    let both = format!("{BARS}{other}");
    check(BARS, &both, &[("Days/window/0", Verdict::New), ("Days", Verdict::New)]);
    check(&both, BARS, &[("Days/window/0", Verdict::Dropped), ("Days", Verdict::Dropped)]);
    assert_eq!(changes(BARS, &both).needs(Allowed::default()), Some(vec![]));
    assert_eq!(changes(&both, BARS).needs(Allowed::default()), Some(vec!["--allow-drop"]));
    assert_eq!(changes(&both, BARS).lost_states().collect::<Vec<_>>(), ["Days/window/0"]);
}

#[test]
fn a_file_has_one_form() {
    let (before, after) = (plan(BARS, &["a.jsonl"]), plan(&BARS.replace("high:", "top:"), &["a.jsonl"]));
    let csv = output("out.csv", OutputFormat::Csv);
    let comparison = compare(&record(&before, &csv), &described(&after, &csv), Some(&before));
    assert_eq!(verdicts(&comparison), [("Bars", Verdict::Impossible)]);
    assert_eq!(comparison.needs(Allowed { changed: true, drop: true }), None);
    // In another file the rows that wait for their order have no place.
    let other = described(&after, &output("other.csv", OutputFormat::Csv));
    assert_eq!(verdicts(&compare(&record(&before, &csv), &other, None)), [("Bars", Verdict::Replaced)]);
    let moved = described(&before, &output("other.csv", OutputFormat::Csv));
    assert_eq!(verdicts(&compare(&record(&before, &csv), &moved, None)), [("Bars", Verdict::Moved)]);
    // Nor has anything that waits a place where nothing waits.
    let unordered = Described { ordered: false, ..described(&before, &csv) };
    assert_eq!(verdicts(&compare(&record(&before, &csv), &unordered, None)), [("what is held", Verdict::Dropped)]);
}

#[test]
fn files_come_and_go() {
    let to = output("-", OutputFormat::Jsonl);
    let (one, two) = (plan(BARS, &["a.jsonl"]), plan(BARS, &["a.jsonl", "b.jsonl"]));
    let more = compare(&record(&one, &to), &described(&two, &to), Some(&one));
    assert_eq!(verdicts(&more), [("b.jsonl", Verdict::New), ("Bars/window/0", Verdict::InputChanged)]);
    assert_eq!(more.floors, [[7]]);
    let mut was = record(&two, &to);
    assert_eq!(verdicts(&compare(&was, &described(&one, &to), None)), [("b.jsonl", Verdict::Dropped)]);
    was.partitions.get_mut("b.jsonl").unwrap().ended = true;
    assert_eq!(verdicts(&compare(&was, &described(&one, &to), None)), [("b.jsonl", Verdict::Gone)]);
    // Windows whose input had ended have fired as final.
    let mut ended = record(&one, &to);
    ended.operator_states.get_mut("Bars/window/0").unwrap().watermarks = vec![i64::MAX];
    let late = compare(&ended, &described(&two, &to), None);
    assert_eq!(verdicts(&late), [("b.jsonl", Verdict::New), ("Bars/window/0", Verdict::Replaced)]);
}

#[test]
fn partial_matches_go_on_while_the_pattern_is_the_same() {
    const PATTERN: &str = "stream F = S as a -> S+ as b where value > a.value -> not S where n > 9
    .within(5m).partition_by(zone).after_match(\"to_next_start\").emit(zone: a.zone, n: count(b))";
    for (from, to) in [
        ("emit(zone: a.zone, n: count(b))", "emit(of: a.zone, rows: count(b) + 1)"),
        (".partition_by", ".max_runs(5).partition_by"),
        ("S+ as b", "all S as b"),
    ] {
        check(PATTERN, &PATTERN.replace(from, to), &[]);
    }
    check(PATTERN, &PATTERN.replace("a.", "first.").replace("as a ", "as first "), &[]);
    for (from, to) in [
        ("value > a.value", "value >= a.value"),
        ("value > a.value", "value > last(b.value)"),
        ("S+ as b", "S{2} as b"),
        ("not S where n > 9", "not S where n > 8"),
        ("within(5m)", "within(6m)"),
        ("partition_by(zone)", "partition_by(city)"),
        ("to_next_start", "next_row"),
        (".within", ".strategy(\"strict\").within"),
        ("count(b)", "sum(b.n)"),
    ] {
        let comparison = changes(PATTERN, &PATTERN.replace(from, to));
        let of_state: Vec<_> = verdicts(&comparison).into_iter().filter(|(n, _)| *n == "F/pattern/0").collect();
        assert_eq!(of_state, [("F/pattern/0", Verdict::Replaced)], "{from} -> {to}\n{}", comparison.to_text(true));
    }
}

/// What one version writes another one must find the same.
#[test]
fn definitions_have_fixed_names() {
    let described = described(&plan(BARS, &["a.jsonl"]), &output("-", OutputFormat::Jsonl));
    let state = &described.states[0];
    let texts = |facts: &crate::plan::definition::Facts| facts.iter().map(|f| f.text.clone()).collect::<Vec<_>>();
    assert_eq!(
        texts(&state.definition),
        ["count()", "key zone", "last(zone)", "lateness 0s", "max(twice)", "window", "window tumbling 5m"]
    );
    assert_eq!(
        texts(&state.input),
        [
            "S from logs",
            "S.at is read: timestamp",
            "S.n is read: int",
            "S.value is read: float",
            "S.zone is read: str",
            "event time at",
            "twice: value * 2.0",
            "watermark out of order 0s",
            "where n > 1",
            "zone"
        ]
    );
}
