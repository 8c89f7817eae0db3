//! Patterns as sema understands them: their input, their conditions, and the rows of their matches.

use crate::compile::tests::compiled;
use crate::data::Type;
use crate::diagnostic::render_text;
use crate::pattern::{Gives, MemoryValue, Node, Output, Pattern, Selection, Slot};
use crate::sema::hir::{KeyedKind, OpKind, Program, Source, Stream};

const TYPES: &str = "event A:
    at: timestamp
    user: str
    x: float
    tags: {zone: str}

event B:
    user: str
    at: timestamp
    x: int
    note: str?

";

/// The checked program, which must be free of errors, over [`TYPES`].
fn program(streams: &str) -> Program {
    let made = compiled(&format!("{TYPES}{streams}"));
    let Some(stages) = made.stages else { panic!("{}", render_text(&made.diagnostics, &made.sources, false)) };
    stages.hir
}

fn stream<'p>(program: &'p Program, name: &str) -> &'p Stream {
    program.streams.iter().find(|s| s.name == name).expect("the stream is built")
}

/// The pattern of a stream, which is its first operator.
fn pattern_of(stream: &Stream) -> &Pattern {
    match &stream.ops[0].kind {
        OpKind::Keyed(keyed) => match &keyed.kind {
            KeyedKind::Pattern(pattern) => pattern,
            other => panic!("{other:?}"),
        },
        OpKind::Step(_) | OpKind::Enrich(_) | OpKind::Relate(_) | OpKind::JoinTable { .. } => {
            panic!("{:?}", stream.ops[0])
        }
    }
}

fn pattern(text: &str) -> Pattern {
    pattern_of(stream(&program(&format!("stream P = {text}")), "P")).clone()
}

fn columns(schema: &crate::data::Schema) -> Vec<String> {
    schema.fields.iter().map(|f| format!("{}: {}", f.name, f.data_type)).collect()
}

/// The slots of a step's condition.
fn slots(pattern: &Pattern, step: usize) -> Vec<Slot> {
    let mut read = std::collections::BTreeSet::new();
    let condition = pattern.steps[step].condition.as_ref().expect("the step has a condition");
    crate::expr::add_columns(condition, &mut read);
    read.into_iter().map(|i| pattern.slot(i)).collect()
}

#[test]
fn the_inputs_of_a_pattern_share_columns_of_one_type() {
    let program =
        program("stream P = A as a -> B as b where user == a.user .partition_by(user).emit(a.x, y: b.x, b.note)");
    let stream = stream(&program, "P");
    assert_eq!(
        columns(&stream.source_schema),
        [
            "$source: int",
            "$key0: str",
            "at: timestamp",
            "user: str",
            "x: float?",
            "tags: {zone: str}?",
            "B.x: int?",
            "note: str?"
        ]
    );
    let Source::Merge(inputs) = &stream.source else { panic!("{:?}", stream.source) };
    assert_eq!(inputs.len(), 2);
    assert_eq!(columns(&stream.schema), ["x: float", "y: int", "note: str?"]);
    let pattern = pattern_of(stream);
    assert_eq!(pattern.steps.iter().map(|s| s.source).collect::<Vec<_>>(), [0, 1]);
    // The user of the row, and that of the row that was taken before.
    assert_eq!(slots(pattern, 1), [Slot::Memory(0), Slot::Column(3)]);
}

#[test]
fn a_pattern_over_one_type_has_one_input() {
    let program = program("stream P = A as a -> A as b .emit(a.x, y: b.x)");
    let Source::Merge(inputs) = &stream(&program, "P").source else { panic!() };
    assert_eq!(inputs.len(), 1);
}

#[test]
fn a_bare_name_is_of_the_current_row_and_shifts_behind_the_memories() {
    let pattern = pattern("B as b -> A as a where x > b.x and user == b.user -> A as c where x > b.x .emit(b.x)");
    assert_eq!(pattern.memories.len(), 2, "equal ones once: {:?}", pattern.memories);
    assert_eq!(slots(&pattern, 2).len(), 2);
    // `x` of A is not that of B, which has another type.
    assert_eq!(slots(&pattern, 2)[1], Slot::Column(5));
    assert!(pattern.steps[0].condition.is_none());
}

#[test]
fn aggregates_in_conditions_are_remembered_as_what_they_need() {
    let pattern = pattern(
        "A as a -> A+ as up where x > prev(up.x, a.x) and count(up) < 9 -> A as d where x < last(up.x) - max(up.x) / 2
            .emit(a.x, n: count(up))",
    );
    let kinds: Vec<&str> = pattern
        .memories
        .iter()
        .map(|m| match m.value {
            MemoryValue::Last(_) => "last",
            MemoryValue::First(_) => "first",
            MemoryValue::Count => "count",
            MemoryValue::Aggregate(_) => "aggregate",
        })
        .collect();
    assert_eq!(pattern.memories.iter().map(|m| m.step).collect::<Vec<_>>(), [1, 0, 1, 1]);
    assert_eq!(kinds, ["last", "last", "count", "aggregate"]);
}

#[test]
fn steps_that_may_lack_a_row_make_nulls() {
    let program = program(
        "stream P = A as a -> (B as b or A as c) -> B? as d -> A* as e -> A as z where tags.zone == a.tags.zone
            .emit(a: a.x, b: b.x, c: c.x, d: d.x, n: count(e), e: max(e.x), l: collect(e), z: a.tags.zone)",
    );
    assert_eq!(
        columns(&stream(&program, "P").schema),
        [
            "a: float",
            "b: int?",
            "c: float?",
            "d: int?",
            "n: int",
            "e: float?",
            "l: [{at: timestamp, user: str, x: float, tags: {zone: str}}]",
            "z: str"
        ]
    );
}

#[test]
fn collected_rows_have_the_fields_in_the_order_of_their_type() {
    let program = program("stream P = A as a -> B+ as b -> A as c .emit(rows: collect(b))");
    let rows = &stream(&program, "P").schema.fields[0].data_type;
    assert_eq!(rows.to_string(), "[{user: str, at: timestamp, x: int, note: str?}]");
}

#[test]
fn the_key_is_known_by_its_names_before_and_behind_the_projection() {
    let program = program(
        "stream P = A as a -> B as b where key.user != note .partition_by(user, up: x > 1)
            .select(user, up, k: key, n: a.x).aggregate(user, n: sum(n), key)",
    );
    let stream = stream(&program, "P");
    assert_eq!(columns(&stream.schema), ["user: str", "n: float", "key: {user: str, up: bool}"]);
    let OpKind::Keyed(running) = &stream.ops[2].kind else { panic!("{:?}", stream.ops[2]) };
    assert_eq!(running.key.len(), 2);
}

#[test]
fn both_forms_and_all_options_mean_the_same() {
    let program = program(
        "pattern N = SEQ(A as a, B+ as b where x > 1, not A, A as c) within 5m partition by user .strategy(\"strict\")
stream Named = N.after_match(\"to_next_start\").max_runs(7).where(count(b) > 1).emit(a.x, user)
stream Inline = A as a -> all B as b where x > 1 -> not A -> A as c .max_runs(7).after_match(\"to_next_start\")
    .strategy(\"strict\").partition_by(user).within(5m).where(count(b) > 1).emit(a.x, user)",
    );
    let (named, inline) = (stream(&program, "Named"), stream(&program, "Inline"));
    assert_eq!(pattern_of(named), pattern_of(inline));
    let pattern = pattern_of(named);
    assert_eq!((pattern.selection, pattern.max_runs), (Selection::Strict, 7));
    let Node::Sequence(members) = &pattern.root else { panic!("{:?}", pattern.root) };
    assert!(matches!(
        members[..],
        [Node::Step(0), Node::Repeat { min: 1, max: None, .. }, Node::Not(2), Node::Step(3)]
    ));
}

#[test]
fn runs_that_time_out_have_what_they_took() {
    let program = program(
        "stream P = A as a -> B as b .within(5m).partition_by(user).where(b.x > 1).emit(b.x)
stream T = P.timeout().where(rows_taken < 2).emit(user, last_step, a.x, y: b.x, took: match_duration)",
    );
    let stream = stream(&program, "T");
    assert_eq!(columns(&stream.schema), ["user: str", "last_step: str", "x: float?", "y: int?", "took: duration"]);
    let pattern = pattern_of(stream);
    assert_eq!(pattern.within_ns, Some(300_000_000_000));
    let Gives::Timeouts(outputs) = &pattern.gives else { panic!("{:?}", pattern.gives) };
    assert!(matches!(outputs[1], Output::Rows), "{outputs:?}");
}

#[test]
fn trends_are_counted_and_added_up() {
    let program = program(
        "stream T = A as a -> B+ as b where x > 1 .strategy(\"skip_till_any\").within(1h).partition_by(user)
    .trend_aggregate(user, n: count_trends(), mean: sum_trends(b.x) / count_trends()).having(n > 2)",
    );
    let stream = stream(&program, "T");
    assert_eq!(columns(&stream.schema), ["user: str", "n: int?", "mean: float?"]);
    let Gives::Trends(trends) = &pattern_of(stream).gives else { panic!() };
    assert_eq!(trends.len(), 3, "{trends:?}");
}

#[test]
fn late_rows_of_a_pattern_have_the_fields_of_all_inputs() {
    let program =
        program("stream P = A as a -> B as b .within(5m).allowed_lateness(1m).emit(a.x)\nstream L = P.late().emit()");
    let names = columns(&stream(&program, "L").schema);
    assert_eq!(names, ["at: timestamp", "user: str", "x: float?", "tags: {zone: str}?", "B.x: int?", "note: str?"]);
    assert_eq!(stream(&program, "P").lateness_ns, 60_000_000_000);
}

#[test]
fn a_step_may_be_of_a_stream_and_a_pattern_of_patterns() {
    let program = program(
        "stream P = Q as q -> A as a where x > q.peak .emit(a.x)\nstream Q = A as a -> A+ as b -> B as c .select(peak: max(b.x))",
    );
    let Source::Merge(inputs) = &stream(&program, "P").source else { panic!() };
    assert!(matches!(inputs[0].source, Source::Stream(_)), "{inputs:?}");
    assert_eq!(stream(&program, "Q").schema.fields[0].data_type, Type::Float.required());
}

#[test]
fn a_stream_may_give_a_named_pattern_its_options() {
    let program = program(
        "pattern N = SEQ(A as a, not A where x > a.x)
stream P = N.partition_by(user).within(1m).emit(user, a.x)
stream T = N.timeout().within(2m).emit(rows_taken, a.user)",
    );
    let within = |name| pattern_of(stream(&program, name)).within_ns;
    assert_eq!((within("P"), within("T")), (Some(60_000_000_000), Some(120_000_000_000)));
}

#[test]
fn a_pattern_of_more_steps_than_a_word_has_bits_is_rejected() {
    let steps = |n: usize| vec!["A"; n].join(" -> ");
    let found = |n| {
        let made = compiled(&format!("{TYPES}stream P = A as a -> {} .within(1h).emit(a.x)", steps(n)));
        made.diagnostics.iter().map(|d| format!("{} {}", d.code, d.message)).collect::<Vec<_>>()
    };
    assert_eq!(found(63), [""; 0]);
    assert_eq!(found(64), ["E0420 the pattern has 65 steps, more than 64"]);
}

#[test]
fn members_of_types_that_nobody_declares_are_sampled() {
    let made = compiled("pattern N = SEQ(X as x, Y as y)\nstream P = N.emit(x.a, y.b)");
    let found: Vec<String> = made.diagnostics.iter().map(|d| d.message.clone()).collect();
    let sampled = |name: &str| format!("`{name}` is not declared, and there is no input to sample");
    assert_eq!(found, [sampled("X"), sampled("Y")]);
}
