//! Random patterns: only trees that some text has, since parentheses around a step alone, and a join of one member,
//! leave no trace.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{expr, name, op};
use crate::diagnostic::Span;
use crate::syntax::ast::*;
use crate::syntax::tests::{program, spanless};
use crate::syntax::write::write_element;
use crate::syntax::{format, parse};

fn of(kind: ElementKind) -> Element {
    Element { kind, span: Span::default() }
}

fn quantifier() -> impl Strategy<Value = Quantifier> {
    let counts = prop_oneof![
        4 => select(vec![(1, None), (0, None), (0, Some(1)), (2, Some(2)), (2, None), (2, Some(5)), (0, Some(0))]),
        1 => (any::<u32>(), option::of(any::<u32>())),
    ];
    counts.prop_map(|(min, max)| Quantifier { min, max, span: Span::default() })
}

pub fn element() -> BoxedStrategy<Element> {
    let step = (name(), option::of(name()), option::of(expr()))
        .prop_map(|(event, alias, condition)| of(ElementKind::Step { event, alias, condition }));
    step.prop_recursive(4, 16, 3, |inner| {
        let boxed = inner.clone().prop_map(Box::new).boxed();
        let b = || boxed.clone();
        let members = || vec(inner.clone(), 2..4);
        let naming = prop_oneof![
            (name(), option::of(expr())).prop_map(|(alias, condition)| (Some(alias), condition)),
            expr().prop_map(|condition| (None, Some(condition))),
        ];
        prop_oneof![
            2 => members().prop_map(ElementKind::Sequence),
            1 => members().prop_map(ElementKind::And),
            1 => members().prop_map(ElementKind::Or),
            2 => (b(), quantifier()).prop_map(|(element, quantifier)| ElementKind::Repeat { element, quantifier }),
            1 => b().prop_map(ElementKind::Not),
            1 => (b(), naming)
                .prop_map(|(element, (alias, condition))| ElementKind::Named { element, alias, condition }),
        ]
        .prop_map(of)
    })
    .boxed()
}

pub fn clause() -> impl Strategy<Value = PatternClause> {
    prop_oneof![
        expr().prop_map(PatternClause::Within),
        vec(expr(), 1..3).prop_map(PatternClause::PartitionBy),
        op().prop_map(PatternClause::Operator),
    ]
}

/// What a stream that begins with the element has as its source.
pub fn as_source(body: Element) -> SourceKind {
    match body.kind {
        ElementKind::Step { event, alias, condition: None } => SourceKind::Named { name: event, alias },
        _ => SourceKind::Pattern { body },
    }
}

/// The element between the commas of `SEQ(…)`, where nothing joins it to another.
fn as_member(element: &Element) -> String {
    let text = write_element(element);
    match element.kind {
        ElementKind::Sequence(_) => format!("({text})"),
        ElementKind::And(_)
        | ElementKind::Or(_)
        | ElementKind::Step { .. }
        | ElementKind::Repeat { .. }
        | ElementKind::Not(_)
        | ElementKind::Named { .. } => text,
    }
}

proptest! {
    #[test]
    fn both_forms_of_a_sequence_are_one_tree(members in vec(element(), 2..4)) {
        let listed: Vec<String> = members.iter().map(as_member).collect();
        let arrows = format!("pattern P = {}", write_element(&of(ElementKind::Sequence(members))));
        for end in ["", ","] {
            let text = format!("pattern P = SEQ({}{end})", listed.join(", "));
            let (parsed, diagnostics) = parse(0, &text);
            prop_assert!(diagnostics.is_empty(), "{:?}\n{}", diagnostics, text);
            prop_assert_eq!(spanless(&parsed), spanless(&program(&arrows)), "{}\n{}", text, arrows);
        }
    }
}

fn body(text: &str) -> Element {
    let mut program = program(&format!("pattern P = {text}"));
    match program.declarations.remove(0).kind {
        DeclarationKind::Pattern { body, .. } => body,
        other => panic!("{other:?}"),
    }
}

#[test]
fn joins_bind_in_the_order_of_the_definition() {
    for (text, same) in [
        ("(A)", "A"),
        ("((A as a where x > 1))", "A as a where x > 1"),
        ("(A)+", "A+"),
        ("A and B or C -> D", "((A and B) or C) -> D"),
        ("A -> B or C and D", "A -> (B or (C and D))"),
        ("not A and B", "(not A) and B"),
        ("not A+", "not (A+)"),
        ("all A as a where x", "A+ as a where x"),
        ("all (A -> B)", "(A -> B)+"),
        ("all A{2}", "(A{2})+"),
        ("A where x and y or z", "A where (x and y) or z"),
        ("SEQ(A)", "A"),
        ("SEQ(A or B and C, D)", "(A or (B and C)) -> D"),
    ] {
        let spanless = |text: &str| spanless(&program(&format!("pattern P = {text}")));
        assert_eq!(spanless(text), spanless(same), "{text}");
    }
    for (text, other) in [("(A where x) and B", "A where x and B"), ("(A -> B) -> C", "A -> B -> C")] {
        assert_ne!(write_element(&body(text)), write_element(&body(other)));
        assert_eq!(write_element(&body(text)), text);
    }
}

#[test]
fn arrows_begin_lines() {
    let text = "\
stream Fraud = Login as l -> Transfer as t1 where user==l.user
 -> all Transfer as ts where user == l.user and amount > t1.amount -> not Logout where user == l.user .within( 5m ).emit as Alert (user: l.user)
pattern Short = A->B {2,3} as b within 5m
pattern Deep = (SomeLongEventType as first where reading > 10 -> SomeOtherLongEventType as second where reading > 20 -> Last)+ -> X +
pattern Listed = SEQ(Reading as a, Reading+ as up where value > prev(up.value, a.value), Reading as d where value < last(up.value) - 5) within 10m partition by sensor_id .strategy(\"strict\")
";
    let expected = "\
stream Fraud = Login as l
    -> Transfer as t1 where user == l.user
    -> all Transfer as ts where user == l.user and amount > t1.amount
    -> not Logout where user == l.user
    .within(5m)
    .emit as Alert (user: l.user)
pattern Short = A
    -> B{2,3} as b
    within 5m
pattern Deep = (
    SomeLongEventType as first where reading > 10
        -> SomeOtherLongEventType as second where reading > 20
        -> Last
)+
    -> X+
pattern Listed = SEQ(
    Reading as a,
    Reading+ as up where value > prev(up.value, a.value),
    Reading as d where value < last(up.value) - 5,
)
    within 10m partition by sensor_id
    .strategy(\"strict\")
";
    assert_eq!(format(text).unwrap(), expected);
}

#[test]
fn spans_of_parts_are_exact() {
    let text = "A as a -> not /* é */ (B+ as b where x > 1 -> all C ){2, 3} -> D and E ? # end";
    let whole = format!("pattern P = {text}");
    let program = program(&whole);
    let DeclarationKind::Pattern { body, .. } = &program.declarations[0].kind else { panic!() };
    let at = |span: Span| &whole[span.start as usize..span.end as usize];
    let ElementKind::Sequence(members) = &body.kind else { panic!() };
    let spans: Vec<&str> = members.iter().map(|m| at(m.span)).collect();
    let group = "(B+ as b where x > 1 -> all C )";
    assert_eq!(spans, ["A as a", &format!("not /* é */ {group}{{2, 3}}"), "D and E ?"]);
    assert_eq!(at(body.span), &text[..text.len() - " # end".len()]);

    let ElementKind::Not(inner) = &members[1].kind else { panic!() };
    let ElementKind::Repeat { element, quantifier } = &inner.kind else { panic!() };
    assert_eq!((at(inner.span), at(element.span)), (&*format!("{group}{{2, 3}}"), group));
    assert_eq!(at(quantifier.span), "{2, 3}");
    let ElementKind::Sequence(inner) = &element.kind else { panic!() };
    let parts = |element: &Element| match &element.kind {
        ElementKind::Repeat { element: of, quantifier } => {
            [element.span, of.span, quantifier.span].map(|span| at(span).to_string())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(parts(&inner[0]), ["B+ as b where x > 1", "B+ as b where x > 1", "+"]);
    assert_eq!(parts(&inner[1]), ["all C", "C", "all"]);
    let ElementKind::And(last) = &members[2].kind else { panic!() };
    assert_eq!(parts(&last[1]), ["E ?", "E", "?"]);
}
