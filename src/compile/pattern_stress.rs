//! Random patterns: whatever is written is rejected with a place, or becomes a pattern whose parts fit together.
//!
//! The texts are made to be mostly sound, so that both ends are reached; a test says that they are.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::compile::Compilation;
use crate::compile::tests::compiled;
use crate::pattern::{Gives, Slot};
use crate::sema::hir::{KeyedKind, OpKind, Stream};

const DECLARATIONS: &str = "event A:
    at: timestamp
    user: str
    x: float

event B:
    user: str
    at: timestamp
    x: float
    note: str?

fn big(v: float) -> float = v * 2
stream M = A.where(x > 1.0)
";

/// A number, if the aliases are there and are what they are taken for.
fn number() -> impl Strategy<Value = String> {
    let of_step = |ops: &'static [&'static str]| {
        let alias = prop::sample::select(vec!["a", "a", "b", "c", "d"]);
        (prop::sample::select(ops), alias).prop_map(|(f, alias)| f.replace('#', alias))
    };
    let leaf = prop_oneof![
        2 => Just("x".to_string()),
        1 => Just("1.5".to_string()),
        3 => of_step(&["#.x"]),
        4 => of_step(&["max(#.x)", "count(#)", "last(#.x)", "sum(#.x * 2)", "prev(#.x)", "prev(#.x, 1.0)", "big(#.x)"]),
        1 => Just("prev(x, 0.0)".to_string()),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        let op = prop::sample::select(vec!["+", "*", "-"]);
        (inner.clone(), op, inner).prop_map(|(a, op, b)| format!("({a} {op} {b})"))
    })
}

/// Expressions that fit almost nowhere.
fn odd() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "user",
        "note",
        "a",
        "b.note",
        "key",
        "event_time",
        "match_start",
        "match_duration",
        "last_step",
        "rows_taken",
        "null",
        "\"s\"",
        "missing",
        "window_start",
        "count_trends()",
        "sum_trends(a.x)",
        "collect(a)",
        "count()",
    ]);
    leaf.prop_map(str::to_string).prop_recursive(2, 6, 2, |inner| {
        let call = prop::sample::select(vec!["max", "last", "collect", "prev", "sum_trends", "abs", "any", "big"]);
        prop_oneof![
            (call, inner.clone()).prop_map(|(f, e)| format!("{f}({e})")),
            inner.prop_map(|e| format!("(if {e} is null then {e} else 1.0)")),
        ]
    })
}

fn value() -> impl Strategy<Value = String> {
    let usual = prop::sample::select(vec!["count(a)", "max(a.x)", "big(min(a.x))", "sum(b.x)", "count(b) * 2", "1.5"]);
    prop_oneof![8 => usual.prop_map(str::to_string), 1 => number(), 1 => odd()]
}

fn condition() -> impl Strategy<Value = String> {
    let usual =
        prop::sample::select(vec!["x > 1.5", "user == \"u\"", "x > max(a.x)", "x > prev(a.x, 1.0)", "count(a) < 9"]);
    let op = prop::sample::select(vec![">", "<", "=="]);
    prop_oneof![
        6 => usual.prop_map(str::to_string),
        1 => (number(), op, number()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        1 => odd(),
    ]
}

/// An element whose aliases are all `#`.
fn element() -> impl Strategy<Value = String> {
    let quantifier = prop::sample::select(vec!["", "", "", "", "", "+", "*", "?", "{2}", "{1,3}", "{2,}"]);
    let ty = prop::sample::select(vec!["A", "B", "A", "B", "M"]);
    let written = prop_oneof![3 => Just(String::new()), 1 => condition().prop_map(|e| format!(" where {e}"))];
    let step = (ty, quantifier.clone(), written).prop_map(|(ty, q, c)| format!("({ty}{q} as #{c})"));
    step.prop_recursive(2, 6, 3, move |inner| {
        let join = prop::sample::select(vec![" -> ", " -> ", " -> ", " and ", " or ", " -> not "]);
        let members = prop::collection::vec(inner, 2..4);
        (members, join, quantifier.clone()).prop_map(|(members, join, q)| format!("({}){q}", members.join(join)))
    })
}

fn operators() -> impl Strategy<Value = String> {
    let within = prop_oneof![5 => Just(".within(5m)"), 1 => Just("")];
    let key = prop::sample::select(vec!["", "", ".partition_by(user)", ".partition_by(up: x > 1, user)"]);
    let end = prop_oneof![
        3 => (filter(), Just(".emit")).prop_map(|(f, end)| format!("{f}{end}")),
        1 => (filter(), Just(".select")).prop_map(|(f, end)| format!("{f}{end}")),
        1 => Just(".strategy(\"skip_till_any\").trend_aggregate".to_string()),
    ];
    let timeout = prop_oneof![4 => Just(""), 1 => Just(".timeout()")];
    let fields = prop::collection::vec(value(), 1..3);
    (timeout, within, key, end, fields).prop_map(|(timeout, within, key, end, fields)| {
        let trend = end.ends_with("trend_aggregate");
        let fields: Vec<String> = fields.iter().enumerate().map(|(i, e)| format!("f{i}: {e}")).collect();
        let fields = if trend { "n: count_trends(), s: sum_trends(a.x)".to_string() } else { fields.join(", ") };
        format!("{timeout}{within}{key}{end}({fields})")
    })
}

fn filter() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => Just(""), 1 => Just(".where(max(a.x) > 1.5)"), 1 => Just(".where(match_duration > 1m)")]
}

/// A program whose stream `P` is of a pattern.
fn program() -> impl Strategy<Value = String> {
    (element(), operators()).prop_map(|(element, operators)| {
        let mut named = String::new();
        for (i, part) in element.split('#').enumerate() {
            match i {
                0 => {}
                1..=4 => named.push(['a', 'b', 'c', 'd'][i - 1]),
                _ => named.push_str(&format!("s{i}")),
            }
            named.push_str(part);
        }
        format!("{DECLARATIONS}pattern Q = SEQ({named}, A as z)\nstream P = Q{operators}\n")
    })
}

/// The stream of the pattern, if the program is sound; panics if its parts do not fit together.
fn checked(text: &str) -> Option<Stream> {
    let made: Compilation = compiled(text);
    for found in &made.diagnostics {
        assert!(made.sources.contains(found.span.file), "{found:?} of {text}");
    }
    assert_eq!(made.failed(), made.stages.is_none(), "{text}");
    let stream = made.stages?.hir.streams.into_iter().find(|s| s.name == "P").expect("it is declared");
    let OpKind::Keyed(keyed) = &stream.ops[0].kind else { panic!("{text}") };
    let KeyedKind::Pattern(pattern) = &keyed.kind else { panic!("{text}") };
    let types: Vec<_> = stream.ops[0].schema.fields.iter().map(|f| f.data_type.clone()).collect();
    assert_eq!(pattern.output_types(), types, "{text}");
    assert!(pattern.columns().iter().all(|c| *c < stream.source_schema.len()), "{text}");
    for condition in pattern.steps.iter().filter_map(|s| s.condition.as_ref()) {
        let mut read = std::collections::BTreeSet::new();
        crate::expr::add_columns(condition, &mut read);
        let fits = |i: &usize| match pattern.slot(*i) {
            Slot::Memory(_) => true,
            Slot::Column(i) => i < stream.source_schema.len(),
        };
        assert!(read.iter().all(fits), "{text}");
    }
    Some(stream)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_pattern_is_rejected_or_fits_together(text in program()) {
        checked(&text);
    }
}

#[test]
fn random_patterns_are_often_enough_sound() {
    let mut runner = TestRunner::deterministic();
    let (mut sound, mut remembering, mut trends) = (0, 0, 0);
    for _ in 0..1000 {
        let text = program().new_tree(&mut runner).expect("the strategy filters nothing").current();
        let Some(stream) = checked(&text) else { continue };
        sound += 1;
        let OpKind::Keyed(keyed) = &stream.ops[0].kind else { continue };
        let KeyedKind::Pattern(pattern) = &keyed.kind else { continue };
        remembering += usize::from(!pattern.memories.is_empty());
        trends += usize::from(matches!(pattern.gives, Gives::Trends(_)));
    }
    assert!(sound > 100 && remembering > 20 && trends > 20, "{sound} sound, {remembering} remember, {trends} trends");
}
