//! What the language's definition says parses, and how.

use super::ast::*;
use super::write::write_expr;
use super::{FILE_BYTES_MAX, parse};
use crate::diagnostic::{Code, Diagnostic, Sources, codes, render_text};

/// Every declaration form of the language, as its definition shows them.
pub const EXAMPLES: &str = include_str!("examples.vpl");

fn rendered(name: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut sources = Sources::default();
    sources.add(name, text);
    render_text(diagnostics, &sources, false)
}

/// The program of a text without faults.
pub fn program(text: &str) -> Program {
    let (program, diagnostics) = parse(0, text);
    assert!(diagnostics.is_empty(), "{}", rendered("test.vpl", text, &diagnostics));
    program
}

fn declaration(text: &str) -> DeclarationKind {
    let mut program = program(text);
    assert_eq!(program.declarations.len(), 1);
    program.declarations.remove(0).kind
}

fn constant(text: &str) -> Expr {
    match declaration(&format!("const X = {text}")) {
        DeclarationKind::Const { value, .. } => value,
        other => panic!("{other:?}"),
    }
}

/// The expression with all parentheses that its tree implies.
fn grouped(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Binary { op, left, right } => {
            format!("({} {} {})", grouped(left), super::write::expr::symbol(*op), grouped(right))
        }
        ExprKind::Unary { op: UnaryOp::Not, arg } => format!("(not {})", grouped(arg)),
        ExprKind::Unary { op: UnaryOp::Negate, arg } => format!("(-{})", grouped(arg)),
        ExprKind::Unary { op: UnaryOp::BitNot, arg } => format!("(~{})", grouped(arg)),
        ExprKind::IsNull { arg, negated: false } => format!("({} is null)", grouped(arg)),
        ExprKind::IsNull { arg, negated: true } => format!("({} is not null)", grouped(arg)),
        ExprKind::In { value, list, negated: false } => format!("({} in {})", grouped(value), grouped(list)),
        ExprKind::In { value, list, negated: true } => format!("({} not in {})", grouped(value), grouped(list)),
        _ => write_expr(expr),
    }
}

fn codes_of(text: &str) -> Vec<Code> {
    parse(0, text).1.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn the_examples_of_the_definition_parse() {
    assert_eq!(program(EXAMPLES).declarations.len(), 26);
}

#[test]
fn operators_bind_in_the_order_of_the_definition() {
    for (text, expected) in [
        ("a or b and c", "(a or (b and c))"),
        ("not a and b", "((not a) and b)"),
        ("not a == b", "(not (a == b))"),
        ("not not a", "(not (not a))"),
        ("a == b ?? c", "(a == (b ?? c))"),
        ("a ?? b | c", "(a ?? (b | c))"),
        ("a | b ^ c & d << e + f * g ** h", "(a | (b ^ (c & (d << (e + (f * (g ** h)))))))"),
        ("a * b + c << d & e ^ f | g ?? h < i", "((((((((a * b) + c) << d) & e) ^ f) | g) ?? h) < i)"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b // c % d", "(((a / b) // c) % d)"),
        ("a ** b ** c", "(a ** (b ** c))"),
        ("a ** -b", "(a ** (-b))"),
        ("-a * b", "((-a) * b)"),
        ("-a.b[0]", "(-a.b[0])"),
        ("~-a", "(~(-a))"),
        ("a + 1 is null", "((a + 1) is null)"),
        ("not a is not null", "(not (a is not null))"),
        ("a not in b or c in d", "((a not in b) or (c in d))"),
        ("a not /* odd */ in b", "(a not in b)"),
        ("a like \"x%\" and b matches \"y\"", "((a like \"x%\") and (b matches \"y\"))"),
        ("a >= b", "(a >= b)"),
        ("a >> b > c", "((a >> b) > c)"),
        ("a-1", "(a - 1)"),
        ("a - -1", "(a - (-1))"),
        ("(a or b) and c", "((a or b) and c)"),
        ("(a < b) == (c < d)", "((a < b) == (c < d))"),
    ] {
        assert_eq!(grouped(&constant(text)), expected, "{text}");
    }
}

#[test]
fn unary_minus_binds_tighter_than_power_and_says_so() {
    let (program, diagnostics) = parse(0, "const X = -2 ** 2");
    let DeclarationKind::Const { value, .. } = &program.declarations[0].kind else { panic!() };
    assert_eq!(grouped(value), "((-2) ** 2)");
    assert_eq!(diagnostics[0].code, codes::NEGATED_POWER);
    assert_eq!(codes_of("const X = (-2) ** 2"), []);
}

#[test]
fn literals_have_their_values() {
    for (text, kind) in [
        ("1_000_000", ExprKind::Int(1_000_000)),
        ("-9223372036854775808", ExprKind::Int(i64::MIN)),
        ("1e10", ExprKind::Float(1e10)),
        ("3.5", ExprKind::Float(3.5)),
        ("1h30m", ExprKind::Duration(5_400_000_000_000)),
        ("64KiB", ExprKind::Size(65_536)),
        ("@1970-01-02", ExprKind::Timestamp(86_400_000_000_000)),
        ("@1970-01-01T01:00:00.250+01:00", ExprKind::Timestamp(250_000_000)),
        ("'it\\'s \\u{e9}'", ExprKind::Str("it's é".to_string())),
        ("true", ExprKind::Bool(true)),
        ("null", ExprKind::Null),
    ] {
        assert_eq!(constant(text).kind, kind, "{text}");
    }
}

#[test]
fn keywords_are_keywords_only_as_whole_words() {
    for name in ["notional", "null_count", "allocations", "order", "android", "isotope", "island", "trueish", "iffy"] {
        assert_eq!(constant(name).kind, ExprKind::Name(name.to_string()));
    }
    for name in ["type", "event", "stream", "state", "window", "where", "all", "on", "desc", "let", "time", "from"] {
        assert_eq!(constant(name).kind, ExprKind::Name(name.to_string()));
    }
    assert_eq!(grouped(&constant("x.in + y.and")), "(x.in + y.and)");
}

#[test]
fn interpolation_holds_expressions_of_any_kind() {
    let ExprKind::Interpolated(parts) = constant("f\"a{{ {x + f(\"}\")} \\u{41}{ {\"k\": f'{y}'} }\"").kind else {
        panic!()
    };
    let texts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            StrPart::Text(text) => text.clone(),
            StrPart::Expr(expr) => format!("<{}>", write_expr(expr)),
        })
        .collect();
    assert_eq!(texts, ["a{ ", "<x + f(\"}\")>", " A", "<{\"k\": f\"{y}\"}>"]);
}

#[test]
fn spans_are_exact() {
    let text = "/* é */ stream A = B  # c\n  .where( x /* é */ + y  > 1 /* d */ ) # e\n";
    let at = |span: crate::diagnostic::Span| &text[span.start as usize..span.end as usize];
    let program = program(text);
    assert_eq!(at(program.declarations[0].span), &text[9..text.rfind(" # e").unwrap()]);
    let DeclarationKind::Stream { name, source, ops } = &program.declarations[0].kind else { panic!() };
    assert_eq!((at(name.span), at(source.span)), ("A", "B"));
    assert!(at(ops[0].span).starts_with(".where(") && at(ops[0].span).ends_with(")"));
    let ExprKind::Binary { left, .. } = &ops[0].args[0].value.kind else { panic!() };
    assert_eq!((at(ops[0].args[0].value.span), at(left.span)), ("x /* é */ + y  > 1", "x /* é */ + y"));
}

#[test]
fn a_time_line_is_an_expression_unless_it_is_a_type() {
    let is_time = |line: &str| match declaration(&format!("event E:\n    date: timestamp\n    {line}\n")) {
        DeclarationKind::Event { members, .. } => matches!(members[1], EventMember::Time { .. }),
        other => panic!("{other:?}"),
    };
    for line in ["time: date", "time: date + 5m", "time: f(date)", "time: (Stamp)"] {
        assert!(is_time(line), "{line}");
    }
    for line in ["time: timestamp", "time: int?", "time: [int]", "time: Stamp"] {
        assert!(!is_time(line), "{line}");
    }
}

#[test]
fn an_if_is_a_call_when_a_comma_stands_in_its_parentheses() {
    assert!(matches!(constant("if(a, b, c) + 1").kind, ExprKind::Binary { .. }));
    assert!(matches!(constant("if (a) then b else c").kind, ExprKind::If { .. }));
    assert!(matches!(constant("if (f(a, b)) then b else c").kind, ExprKind::If { .. }));
    assert!(matches!(constant("if (f\"{g(\",\", 1)}\" == d) then b else if(a, b, c)").kind, ExprKind::If { .. }));
}

#[test]
fn an_error_costs_its_line_or_declaration_only() {
    let text = "event A:\n    at: timestamp\n    x int\n    y: float\nconst B = 1 +\nconst C = 2\n";
    let (program, diagnostics) = parse(0, text);
    assert_eq!(diagnostics.len(), 2);
    let DeclarationKind::Event { members, .. } = &program.declarations[0].kind else { panic!() };
    assert_eq!((program.declarations.len(), members.len()), (2, 2));
}

#[test]
fn a_file_beyond_the_limit_is_not_read() {
    assert_eq!(codes_of(&" ".repeat(FILE_BYTES_MAX + 1)), [codes::TOO_LARGE]);
}

#[test]
fn line_ends_and_byte_order_marks_do_not_matter() {
    let text = "event A:\n    at: timestamp\nstream B = A\n    .where(x > 1)\n";
    let expected = spanless(&program(text));
    assert_eq!(spanless(&program(&text.replace('\n', "\r\n"))), expected);
    assert_eq!(spanless(&program(&format!("\u{feff}{text}"))), expected);
    assert_eq!(spanless(&program(text.trim_end())), expected);
}

/// A tree as text without its spans.
pub fn spanless(program: &Program) -> String {
    let spans = regex::Regex::new(r"Span \{ file: \d+, start: \d+, end: \d+ \}").unwrap();
    spans.replace_all(&format!("{program:?}"), "_").into_owned()
}

/// The programs of `tests/golden/syntax`, one for each code, and their diagnostics as rendered.
#[test]
fn every_code_has_a_program_that_shows_it() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/syntax");
    let mut shown = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "vpl") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (_, diagnostics) = parse(0, &text);
        let code = name[..5].to_uppercase();
        assert!(diagnostics.iter().any(|diagnostic| diagnostic.code.0 == code), "{name} does not show {code}");
        shown.push(code);
        let (expected, found) = (path.with_extension("stderr"), rendered(name, &text, &diagnostics));
        if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
            std::fs::write(&expected, &found).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&expected).unwrap_or_default(), found, "{name}");
    }
    let is_syntax = |code: &str| code.starts_with("E01") || code == "W0101";
    let missing: Vec<&str> = codes::ALL
        .iter()
        .map(|entry| entry.code.0)
        .filter(|code| *code != codes::TOO_LARGE.0 && *code != codes::TOO_MANY_ERRORS.0)
        .filter(|code| is_syntax(code) && !shown.iter().any(|shown| shown == code))
        .collect();
    assert!(missing.is_empty(), "no program shows {missing:?}");
}
