//! Programs that nobody writes: deep, long, broken. Parsing them ends, in linear time and without
//! overflowing the stack of a test thread (2 MB, less than any thread of ours has).

use std::fmt::Write;

use proptest::prelude::*;

use super::layout::NESTING_MAX;
use super::reports::Reports;
use super::scan::scan;
use super::{format, parse};
use crate::diagnostic::{Code, Diagnostic, Severity, Sources, codes, render_json, render_text};

fn codes_of(text: &str) -> Vec<Code> {
    parse(0, text).1.iter().map(|diagnostic| diagnostic.code).collect()
}

/// Nesting constructs: what opens a level, the innermost text, what closes it.
const NESTS: &[(&str, &str, &str)] = &[
    ("(", "1", ")"),
    ("[", "1", "]"),
    ("{\"a\": ", "1", "}"),
    ("f(", "1", ")"),
    ("f(a: ", "1", ")"),
    ("x[", "1", "]"),
    ("x[:", "1", "]"),
    ("-(", "1", ")"),
    ("if(a, b, ", "1", ")"),
    ("if (", "1", ") then 2 else 3"),
    ("if a then ", "1", " else 3"),
    ("if ", "1", " then 2 else 3"),
    ("if a then b else 1 + ", "1", ""),
    ("cast(", "1", " as int)"),
    ("f\"{", "1", "}\""),
    ("f'{", "1", "}'"),
];

/// Nesting of sources, types and patterns.
const OTHER_NESTS: &[(&str, &str, &str, &str)] = &[
    ("stream A = ", "merge(", "B", ")"),
    ("stream A = ", "join(", "B", ")"),
    ("stream A = ", "join(B as b, ", "C", " on x, within: 5m)"),
    ("stream A = ", "(", "B", ")+"),
    ("stream A = ", "(B -> ", "C", ") -> D"),
    ("pattern A = ", "(", "B", ")"),
    ("type A = ", "[", "int", "]"),
    ("type A = ", "{str: ", "int", "}"),
    ("type A = ", "{a: int, b: ", "int", "}?"),
];

fn nested(prefix: &str, (open, inner, close): (&str, &str, &str), depth: usize) -> String {
    format!("{prefix}{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

fn all_nests() -> impl Iterator<Item = (&'static str, (&'static str, &'static str, &'static str))> {
    let expressions = NESTS.iter().map(|nest| ("const X = ", *nest));
    expressions.chain(OTHER_NESTS.iter().map(|(prefix, open, inner, close)| (*prefix, (*open, *inner, *close))))
}

#[test]
fn nesting_up_to_the_limit_parses() {
    for (prefix, nest) in all_nests() {
        // Some constructs take two levels each.
        let text = nested(prefix, nest, NESTING_MAX / 2);
        assert_eq!(codes_of(&text), [], "{prefix}{}", nest.0);
    }
    assert_eq!(codes_of(&nested("const X = ", NESTS[0], NESTING_MAX)), []);
}

#[test]
fn nesting_beyond_the_limit_is_a_diagnostic() {
    for (prefix, nest) in all_nests() {
        for depth in [2 * NESTING_MAX, 10_000] {
            let text = nested(prefix, nest, depth);
            assert!(codes_of(&text).contains(&codes::TOO_DEEP), "{prefix}{} × {depth}", nest.0);
        }
    }
}

#[test]
fn broken_nests_take_no_exponential_time() {
    for (prefix, (open, inner, close)) in all_nests() {
        for depth in [NESTING_MAX / 2, 10_000] {
            for text in [
                nested(prefix, (open, inner, ""), depth),
                nested(prefix, (open, "", close), depth),
                nested(prefix, (open, "$", close), depth),
                nested(prefix, (open, "= =", close), depth),
                nested(prefix, (open, inner, ";"), depth),
                format!("{prefix}{}", format!("{open}{inner}").repeat(depth)),
            ] {
                parse(0, &text);
            }
        }
    }
}

#[test]
fn long_chains_of_operators_are_a_diagnostic() {
    let chains = [
        "-".repeat(10_000) + "1",
        "~".repeat(10_000) + "1",
        "not ".repeat(10_000) + "a",
        "1 + ".repeat(10_000) + "1",
        "1 ** ".repeat(10_000) + "1",
        "a or ".repeat(10_000) + "b",
        "a ?? ".repeat(10_000) + "b",
        "x".to_string() + &".a".repeat(10_000),
        "x".to_string() + &"[0]".repeat(10_000),
        "if a then b else ".repeat(10_000) + "c",
    ];
    for chain in chains {
        let found = codes_of(&format!("const X = {chain}"));
        assert!(found.contains(&codes::TOO_DEEP), "{}: {found:?}", &chain[..20]);
    }
    let generated = format!("const X = {}x == 1", "x == 0 or ".repeat(400));
    assert_eq!(codes_of(&generated), []);
}

#[test]
fn blocks_nest_up_to_a_limit() {
    let nested = |depth: usize| {
        let mut text = "fn f(x: int) -> int:\n".to_string();
        for level in 1..=depth {
            let _ = writeln!(text, "{}if x > 1:", " ".repeat(level));
        }
        text + &" ".repeat(depth + 1) + "return 1\n"
    };
    assert_eq!(codes_of(&nested(20)), []);
    assert_eq!(codes_of(&nested(2_000)), [codes::TOO_DEEP]);
}

#[test]
fn large_programs_parse() {
    let mut event = "event Wide:\n    at: timestamp\n".to_string();
    for i in 0..10_000 {
        let _ = writeln!(event, "    field_{i}: float?");
    }
    assert_eq!(codes_of(&event), []);

    let stream = "stream S = E\n    .where(value > 30.5 and zone != \"lab\")\n    .emit(a: f(x, y), b: if x > 1 then 2 else 3)\n";
    let program = stream.repeat((1 << 20) / stream.len());
    assert_eq!(codes_of(&program), []);

    let list = format!("const L = [{}]", "1, ".repeat(300_000));
    assert_eq!(codes_of(&list), []);
    assert_eq!(codes_of(&"/* /* */ ".repeat(100_000)), []);
    assert_eq!(codes_of(&format!("const X = {} 1", "/* c */".repeat(100_000))), []);
}

#[test]
fn deep_and_long_programs_are_laid_out() {
    let mut texts: Vec<String> = all_nests().map(|(prefix, nest)| nested(prefix, nest, NESTING_MAX / 2)).collect();
    texts.push(format!("const X = f({} 1)", "# c\n".repeat(10_000)));
    texts.push(format!("const X = [{}]", "f(1, 2), # c\n".repeat(10_000)));
    texts.push(format!("stream X = (A{})+", " -> (B)+".repeat(10_000)));
    texts.push(format!("stream X = A{}", " -> B # c\n".repeat(10_000)));
    for text in texts {
        let formatted = format(&text).unwrap();
        assert_eq!(format(&formatted).unwrap(), formatted, "{}", &text[..40.min(text.len())]);
    }
}

#[test]
fn a_flood_of_errors_is_bounded() {
    let (_, diagnostics) = parse(0, &"const X = $\n".repeat(50_000));
    assert!(diagnostics.len() <= super::reports::ERRORS_MAX + 1);
    assert_eq!(diagnostics.last().map(|last| last.code), Some(codes::TOO_MANY_ERRORS));
}

/// Whatever is parsed, spans lie in the text, on character boundaries, and render.
fn check_diagnostics(text: &str, diagnostics: &[Diagnostic]) -> Result<(), TestCaseError> {
    for diagnostic in diagnostics {
        let spans = diagnostic.labels.iter().map(|(span, _)| *span).chain([diagnostic.span]);
        for span in spans {
            prop_assert!(text.get(span.start as usize..span.end as usize).is_some(), "{:?} in {:?}", diagnostic, text);
        }
        prop_assert!(!diagnostic.message.ends_with('.'), "{:?}", diagnostic);
        prop_assert!(!diagnostic.message.contains("something else"), "{:?} in {:?}", diagnostic, text);
    }
    let mut sources = Sources::default();
    sources.add("soup.vpl", text);
    render_text(diagnostics, &sources, true);
    render_json(diagnostics, &sources);
    Ok(())
}

const SOUP: &[&str] = &[
    "event",
    "stream",
    "table",
    "fn",
    "const",
    "type",
    "import",
    "connector",
    "pattern",
    "window:",
    "state:",
    "let",
    "return",
    "if",
    "elif",
    "else",
    "else:",
    "then",
    "and",
    "or",
    "not",
    "in",
    "is",
    "null",
    "true",
    "like",
    "as",
    "on",
    "where",
    "all",
    "within",
    "partition by",
    "SEQ",
    "join",
    "merge",
    "timer",
    "cast",
    "from",
    "desc",
    "E",
    "x",
    "value",
    "f",
    "f\"",
    "f'",
    "\"",
    "'",
    "\"s\"",
    "'t'",
    "f\"a{x}\"",
    "{x}",
    "1",
    "2.5",
    "5m",
    "1GB",
    ".5",
    "@2026-03-01",
    "@",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    ".",
    "?.",
    "?",
    "??",
    "=",
    "==",
    "!=",
    "<",
    ">=",
    "<<",
    "->",
    "+",
    "-",
    "*",
    "**",
    "/",
    "//",
    "|",
    "||",
    "&",
    "&&",
    "^",
    "~",
    "!",
    ";",
    "\\",
    "$",
    "#",
    "/*",
    "*/",
    "\n",
    "\n",
    "\n    ",
    "\n    ",
    "\n\t",
    "\n        ",
    "é",
    "“",
    "\u{feff}",
    "\r\n",
    "\\u{1F600}",
    "\\n",
];

proptest! {
    #[test]
    fn token_soup_never_panics(words in prop::collection::vec(prop::sample::select(SOUP), 0..60), spaced: bool) {
        let text = words.join(if spaced { " " } else { "" });
        let (program, diagnostics) = parse(0, &text);
        check_diagnostics(&text, &diagnostics)?;
        let errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let tokens = scan(&text, &mut Reports::new(0));
        let nothing_lost = errors || !program.declarations.is_empty() || tokens.iter().all(|token| token.is_comment());
        prop_assert!(nothing_lost, "{:?}", text);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        let (_, diagnostics) = parse(0, &text);
        check_diagnostics(&text, &diagnostics)?;
    }

    #[test]
    fn damaged_programs_never_panic(at in 0..super::tests::EXAMPLES.len(), cut in 0usize..40, word in prop::sample::select(SOUP)) {
        let mut text = super::tests::EXAMPLES.to_string();
        let end = (at + cut).min(text.len());
        if text.is_char_boundary(at) && text.is_char_boundary(end) {
            text.replace_range(at..end, word);
        }
        let (_, diagnostics) = parse(0, &text);
        check_diagnostics(&text, &diagnostics)?;
    }
}
