//! Properties of printing: random trees written as text parse to themselves, and the canonical layout
//! changes neither the tree nor itself.

mod patterns;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::ast::*;
use super::tests::{EXAMPLES, program, spanless};
use super::{format, parse, write_program};
use crate::diagnostic::Span;

fn name() -> impl Strategy<Value = Name> {
    let words = [
        "x",
        "value",
        "zone_id",
        "E",
        "Reading",
        "null_count",
        "order",
        "on",
        "by",
        "within",
        "where",
        "desc",
        "all",
        "type",
        "let",
        "from",
        "window",
        "_9",
    ];
    select(words.to_vec()).prop_map(|text| Name { text: text.to_string(), span: Span::default() })
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        select(&["", "a", "{", "}", "{{x}}", "\n\t\"'\\", "é😀", "\u{1}", "# no comment", "/*"][..])
            .prop_map(String::from),
        ".{0,12}"
    ]
}

fn expression(kind: ExprKind) -> Expr {
    Expr { kind, span: Span::default() }
}

fn literal() -> impl Strategy<Value = ExprKind> {
    prop_oneof![
        Just(ExprKind::Null),
        any::<bool>().prop_map(ExprKind::Bool),
        prop_oneof![0..=i64::MAX, 0i64..10, Just(i64::MIN)].prop_map(ExprKind::Int),
        prop_oneof![0.0..1e300f64, 0.0..10.0f64, Just(0.0), Just(1e-7), Just(f64::MAX)].prop_map(ExprKind::Float),
        string().prop_map(ExprKind::Str),
        prop_oneof![0..=i64::MAX, 0i64..100_000].prop_map(ExprKind::Duration),
        (0..=i64::MAX as u64).prop_map(ExprKind::Size),
        (-2_000_000_000..4_000_000_000i64, 0..1_000_000_000i64)
            .prop_map(|(s, ns)| ExprKind::Timestamp(s * 1_000_000_000 + ns)),
        name().prop_map(|name| ExprKind::Name(name.text)),
    ]
}

fn binary_op() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp::*;
    let all = [
        Or,
        And,
        Equal,
        NotEqual,
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
        Like,
        Matches,
        Coalesce,
        BitOr,
        BitXor,
        BitAnd,
        ShiftLeft,
        ShiftRight,
        Add,
        Subtract,
        Multiply,
        Divide,
        FloorDivide,
        Modulo,
        Power,
    ];
    select(all.to_vec())
}

fn composed(inner: BoxedStrategy<Expr>) -> BoxedStrategy<ExprKind> {
    let boxed = inner.clone().prop_map(Box::new).boxed();
    let b = || boxed.clone();
    prop_oneof![
        4 => (binary_op(), b(), b()).prop_map(|(op, left, right)| ExprKind::Binary { op, left, right }),
        2 => (select(vec![UnaryOp::Not, UnaryOp::Negate, UnaryOp::BitNot]), b())
            .prop_map(|(op, arg)| ExprKind::Unary { op, arg }),
        1 => (b(), any::<bool>()).prop_map(|(arg, negated)| ExprKind::IsNull { arg, negated }),
        1 => (b(), b(), any::<bool>()).prop_map(|(value, list, negated)| ExprKind::In { value, list, negated }),
        1 => (b(), b(), b()).prop_map(|(condition, then, otherwise)| ExprKind::If { condition, then, otherwise }),
        1 => (b(), name(), any::<bool>()).prop_map(|(base, name, optional)| ExprKind::Field { base, name, optional }),
        1 => (b(), b()).prop_map(|(base, index)| ExprKind::Index { base, index }),
        1 => (b(), option::of(b()), option::of(b())).prop_map(|(base, from, to)| ExprKind::Slice { base, from, to }),
        1 => vec(inner.clone(), 0..4).prop_map(ExprKind::List),
        1 => vec((string(), inner.clone()), 0..3).prop_map(ExprKind::Map),
        1 => (name(), args(inner.clone(), 0)).prop_map(|(function, args)| ExprKind::Call { function, args }),
        1 => args(inner.clone(), 2).prop_map(|args| {
            let function = Name { text: "if".to_string(), span: Span::default() };
            ExprKind::Call { function, args }
        }),
        1 => (b(), type_expr(), any::<bool>()).prop_map(|(arg, ty, fallible)| ExprKind::Cast { arg, ty, fallible }),
        1 => vec((option::of(string()), option::of(inner)), 0..3).prop_map(interpolated),
    ]
    .boxed()
}

/// Texts in an interpolation are never empty and never side by side: parsing could not tell.
fn interpolated(pairs: Vec<(Option<String>, Option<Expr>)>) -> ExprKind {
    let mut parts: Vec<StrPart> = Vec::new();
    for (text, expr) in pairs {
        let text = text.filter(|text| !text.is_empty() && !matches!(parts.last(), Some(StrPart::Text(_))));
        parts.extend(text.map(StrPart::Text));
        parts.extend(expr.map(StrPart::Expr));
    }
    ExprKind::Interpolated(parts)
}

fn args(value: BoxedStrategy<Expr>, least: usize) -> impl Strategy<Value = Vec<Arg>> {
    let direction = select(vec![None, None, Some(Direction::Ascending), Some(Direction::Descending)]);
    let arg = (option::of(name()), value, direction).prop_map(|(name, value, direction)| Arg {
        name,
        value,
        direction: direction.map(|direction| (direction, Span::default())),
    });
    vec(arg, least..least + 3)
}

fn expr() -> BoxedStrategy<Expr> {
    literal()
        .prop_map(expression)
        .prop_recursive(4, 24, 3, |inner| composed(inner.boxed()).prop_map(expression))
        .boxed()
}

fn type_expr() -> impl Strategy<Value = TypeExpr> {
    let leaf = select(vec!["int", "str", "Reading"]).prop_map(|name| TypeKind::Named(name.to_string()));
    let typed = |kind, nullable| TypeExpr { kind, nullable, span: Span::default() };
    (leaf, any::<bool>()).prop_map(move |(kind, nullable)| typed(kind, nullable)).prop_recursive(
        3,
        8,
        3,
        move |inner| {
            let boxed = inner.clone().prop_map(Box::new);
            let kind = prop_oneof![
                boxed.clone().prop_map(TypeKind::List),
                boxed.prop_map(TypeKind::Map),
                vec((name(), inner), 1..3).prop_map(TypeKind::Record),
            ];
            (kind, any::<bool>()).prop_map(move |(kind, nullable)| typed(kind, nullable))
        },
    )
}

fn source() -> impl Strategy<Value = Source> {
    let of = |kind| Source { kind, span: Span::default() };
    let leaf = prop_oneof![
        3 => (name(), option::of(name())).prop_map(|(name, alias)| SourceKind::Named { name, alias }),
        1 => (name(), args(expr(), 0), option::of(name()))
            .prop_map(|(event, args, alias)| SourceKind::From { event, args, alias }),
        1 => expr().prop_map(|period| SourceKind::Timer { period }),
        2 => patterns::element().prop_map(patterns::as_source),
    ];
    leaf.prop_map(of).prop_recursive(2, 6, 3, move |inner| {
        let input = (inner.clone().prop_map(Box::new), option::of(expr()))
            .prop_map(|(source, on)| JoinArg::Input { source, on });
        let option = (name(), expr())
            .prop_map(|(name, value)| JoinArg::Option(Arg { name: Some(name), value, direction: None }));
        let keyword = select(vec!["join", "left_join", "full_join"])
            .prop_map(|text| Name { text: text.to_string(), span: Span::default() });
        prop_oneof![
            vec(inner, 1..3).prop_map(|inputs| SourceKind::Merge { inputs }),
            (keyword, vec(prop_oneof![input, option], 1..3))
                .prop_map(|(keyword, args)| SourceKind::Join { keyword, args }),
        ]
        .prop_map(of)
    })
}

fn op() -> impl Strategy<Value = StreamOp> {
    (name(), option::of(name()), args(expr(), 0))
        .prop_filter("`.from` belongs to a source", |(name, ..)| name.text != "from")
        .prop_map(|(name, alias, args)| StreamOp { name, alias, args, span: Span::default() })
}

fn statements() -> impl Strategy<Value = Vec<Statement>> {
    let leaf = prop_oneof![
        (name(), expr()).prop_map(|(name, value)| Statement::Let { name, value }),
        expr().prop_map(|value| Statement::Return { value, span: Span::default() }),
    ];
    let statement = leaf.prop_recursive(2, 6, 2, |inner| {
        let block = vec(inner, 1..3);
        (vec((expr(), block.clone()), 1..3), option::of(block))
            .prop_map(|(branches, otherwise)| Statement::If { branches, otherwise })
    });
    vec(statement, 1..4)
}

fn options() -> impl Strategy<Value = Vec<BlockOption>> {
    let leaf = (name(), expr()).prop_map(|(name, value)| BlockOption { name, value: OptionValue::Expr(value) });
    let option = leaf.prop_recursive(2, 4, 2, |inner| {
        (name(), vec(inner, 1..3)).prop_map(|(name, options)| BlockOption { name, value: OptionValue::Nested(options) })
    });
    vec(option, 1..4)
}

fn declaration() -> impl Strategy<Value = DeclarationKind> {
    let field = (name(), type_expr()).prop_map(|(name, ty)| EventMember::Field { name, ty });
    let time = expr().prop_map(|value| EventMember::Time { value, span: Span::default() });
    let param = (name(), type_expr()).prop_map(|(name, ty)| Param { name, ty });
    let body = prop_oneof![expr().prop_map(FnBody::Expr), statements().prop_map(FnBody::Block)];
    let keyword = select(vec!["window", "state", "checkpoint"])
        .prop_map(|text| Name { text: text.to_string(), span: Span::default() });
    prop_oneof![
        (name(), option::of(name()), vec(prop_oneof![4 => field, 1 => time], 1..4))
            .prop_map(|(name, extends, members)| DeclarationKind::Event { name, extends, members }),
        (name(), type_expr()).prop_map(|(name, ty)| DeclarationKind::TypeAlias { name, ty }),
        (name(), option::of(type_expr()), expr()).prop_map(|(name, ty, value)| DeclarationKind::Const {
            name,
            ty,
            value
        }),
        (name(), vec(param, 0..3), option::of(type_expr()), body)
            .prop_map(|(name, params, result, body)| DeclarationKind::Fn { name, params, result, body }),
        string().prop_map(|path| DeclarationKind::Import { path, path_span: Span::default() }),
        (name(), name(), args(expr(), 0)).prop_map(|(name, kind, args)| DeclarationKind::Connector {
            name,
            kind,
            args
        }),
        (name(), source(), vec(op(), 0..4)).prop_map(|(name, source, ops)| DeclarationKind::Stream {
            name,
            source,
            ops
        }),
        (name(), source(), vec(op(), 0..4)).prop_map(|(name, source, ops)| DeclarationKind::Table {
            name,
            source,
            ops
        }),
        (name(), patterns::element(), vec(patterns::clause(), 0..4))
            .prop_map(|(name, body, clauses)| DeclarationKind::Pattern { name, body, clauses }),
        (keyword, options()).prop_map(|(keyword, options)| DeclarationKind::Block { keyword, options }),
    ]
}

fn programs() -> impl Strategy<Value = Program> {
    vec(declaration(), 0..4).prop_map(|kinds| Program {
        declarations: kinds.into_iter().map(|kind| Declaration { kind, span: Span::default() }).collect(),
    })
}

/// Formats a text, and checks that nothing but the layout has changed.
fn check_format(text: &str) -> Result<(), TestCaseError> {
    let formatted = match format(text) {
        Ok(formatted) => formatted,
        Err(diagnostics) => return Err(TestCaseError::fail(format!("{diagnostics:?}\n{text}"))),
    };
    let (program, diagnostics) = parse(0, &formatted);
    prop_assert!(diagnostics.iter().all(|d| d.code.0.starts_with('W')), "{:?}\n{}\n{}", diagnostics, text, formatted);
    prop_assert_eq!(spanless(&program), spanless(&parse(0, text).0), "{}\n{}", text, formatted);
    prop_assert_eq!(format(&formatted), Ok(formatted.clone()), "{}", text);
    let visible = |text: &str| text.chars().filter(|c| !c.is_whitespace() && *c != ',').collect::<String>();
    prop_assert_eq!(visible(&formatted), visible(text));
    prop_assert!(!formatted.lines().any(|line| line.ends_with([' ', '\t'])), "{:?}", formatted);
    Ok(())
}

/// Comments, line breaks and odd spacing between the tokens of a program.
fn disturbed(text: &str, seeds: &[u8]) -> String {
    let mut out = String::new();
    let mut seeds = seeds.iter().cycle();
    let mut in_brackets = 0usize;
    for token in super::scan::scan(text, &mut super::reports::Reports::new(0)) {
        let noise = seeds.next().copied().unwrap_or(0);
        let code = &text[token.start..token.end];
        if token.breaks_before > 0 {
            out.push_str(["\n", "\n\n", " # end\n", "\n# own\n", "\n      # deep\n"][usize::from(noise) % 5]);
            let line_start = text[..token.start].rfind('\n').map_or(0, |at| at + 1);
            out.push_str(&text[line_start..token.start]);
        } else if in_brackets > 0 {
            out.push_str(
                [" ", " ", "  ", "\n", " # c\n", "\n   # own\n\n", " /* b */ ", " /* b\n */ "][usize::from(noise) % 8],
            );
        } else {
            out.push_str([" ", " ", "   ", " /* b */ "][usize::from(noise) % 4]);
        }
        in_brackets += usize::from(matches!(code, "(" | "[" | "{"));
        in_brackets -= usize::from(matches!(code, ")" | "]" | "}"));
        out.push_str(code);
    }
    out
}

proptest! {
    #[test]
    fn written_programs_parse_to_themselves(program in programs()) {
        let text = write_program(&program);
        let (parsed, diagnostics) = parse(0, &text);
        prop_assert!(diagnostics.is_empty(), "{:?}\n{}", diagnostics, text);
        prop_assert_eq!(spanless(&parsed), spanless(&program), "{}", text);
    }

    #[test]
    fn the_canonical_layout_keeps_the_program_and_itself(program in programs(), noise in vec(any::<u8>(), 1..60)) {
        let text = write_program(&program);
        check_format(&text)?;
        check_format(&disturbed(&text, &noise))?;
    }

    #[test]
    fn the_canonical_layout_keeps_the_examples(noise in vec(any::<u8>(), 1..200)) {
        check_format(&disturbed(EXAMPLES, &noise))?;
    }
}

#[test]
fn parsed_programs_are_written_back() {
    let parsed = program(EXAMPLES);
    let written = write_program(&parsed);
    assert_eq!(spanless(&program(&written)), spanless(&parsed));
}

#[test]
fn the_layout_is_that_of_the_definition() {
    let text = "\
event   Reading :   # what comes
  at:timestamp # when

  value :float


stream Hot=Reading.where( value>30 and- x<2 ).emit( a:x[ 1 : 2 ],b : if(p,q,r) )
stream One = Reading.where(x)
stream Long = Reading.emit(first_name: first_value_of_all, second_name: second_value_of_all, third: third_value_of_all)
const LIST = [1,2,3,]
pattern P = SEQ( A as a , B + as b where x*y>1 ) within 5m partition by zone
";
    let expected = "\
event Reading:     # what comes
    at: timestamp  # when

    value: float

stream Hot = Reading
    .where(value > 30 and -x < 2)
    .emit(a: x[1:2], b: if(p, q, r))
stream One = Reading.where(x)
stream Long = Reading
    .emit(
        first_name: first_value_of_all,
        second_name: second_value_of_all,
        third: third_value_of_all,
    )
const LIST = [1, 2, 3]
pattern P = SEQ(A as a, B+ as b where x * y > 1) within 5m partition by zone
";
    assert_eq!(format(text).unwrap(), expected);
}

#[test]
fn a_broken_program_is_not_laid_out() {
    assert!(format("stream A = B.where(").is_err());
    assert_eq!(format("").unwrap(), "");
    assert_eq!(format("\n\n# only\n\n\n# comments  \n").unwrap(), "# only\n\n# comments\n");
}
