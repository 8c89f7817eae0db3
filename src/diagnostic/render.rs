//! Diagnostics as text for people (the style of compilers) and as JSON for programs.
//!
//! The text form is our own rather than a library's: it is plain ASCII frames around the program's
//! own characters, the same with and without colour, and pinned by golden files. Any span is safe to
//! render, also beyond the end of a file or inside a character: a diagnostic must never be the crash.

use std::fmt::Write;

use serde::Serialize;

use super::{Diagnostic, Severity, Sources, Span, boundary_before};

/// Columns of a tab in the rendered source line, so that underlines fit below.
const TAB_COLUMNS: usize = 4;
/// Lines longer than this are cut around the span.
const LINE_CHARS_MAX: usize = 200;
/// Characters kept before the span in a line that is cut.
const CUT_CONTEXT_CHARS: usize = 60;

/// All `diagnostics` with their source lines underlined.
pub fn render_text(diagnostics: &[Diagnostic], sources: &Sources, color: bool) -> String {
    let mut out = String::new();
    for (i, diagnostic) in diagnostics.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        Renderer { sources, color, out: &mut out }.diagnostic(diagnostic);
    }
    out
}

/// A place in a file, clamped to the text.
struct Place<'a> {
    line_number: usize,
    /// Byte range of the line in its file, without its end.
    line: &'a str,
    /// Byte range inside the line.
    start: usize,
    end: usize,
}

struct Renderer<'a, 'o> {
    sources: &'a Sources,
    color: bool,
    out: &'o mut String,
}

impl<'a> Renderer<'a, '_> {
    fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        let (word, style) = match diagnostic.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let head = self.styled(style, &format!("{word}[{}]", diagnostic.code));
        let message = self.styled("1", &format!(": {}", diagnostic.message));
        let _ = writeln!(self.out, "{head}{message}");

        let mut marks = vec![(diagnostic.span, "", true)];
        marks.extend(diagnostic.labels.iter().map(|(span, text)| (*span, text.as_str(), false)));
        let known: Vec<_> = marks.into_iter().filter(|(span, ..)| self.sources.contains(span.file)).collect();
        let last_line = known.iter().map(|(span, ..)| self.place(*span).line_number).max().unwrap_or(0);
        let gutter = last_line.to_string().len();
        self.marks(&known, gutter, style);
        if let Some(hint) = &diagnostic.hint {
            let frame = self.styled("1;34", &format!("{:gutter$} = ", ""));
            let hint_word = self.styled("1;36", "hint");
            let _ = writeln!(self.out, "{frame}{hint_word}: {hint}");
        }
    }

    /// The source lines of all marks, file by file (that of the primary span first), each line once.
    fn marks(&mut self, marks: &[(Span, &str, bool)], gutter: usize, style: &str) {
        let mut files: Vec<u32> = Vec::new();
        for (span, ..) in marks {
            if !files.contains(&span.file) {
                files.push(span.file);
            }
        }
        for (i, file) in files.into_iter().enumerate() {
            let mut here: Vec<_> = marks.iter().filter(|(span, ..)| span.file == file).collect();
            let (line, column) = self.sources.line_column(file, here[0].0.start);
            here.sort_by_key(|(span, ..)| span.start);
            let arrow = self.styled("1;34", &format!("{:gutter$}{} ", "", if i == 0 { "-->" } else { ":::" }));
            let _ = writeln!(self.out, "{arrow}{}:{line}:{column}", self.sources.name(file));
            self.frame(gutter, "|");
            self.out.push('\n');
            let mut shown = 0;
            for (span, text, primary) in here {
                let place = self.place(*span);
                if place.line_number != shown {
                    if shown != 0 && place.line_number > shown + 1 {
                        let dots = self.styled("1;34", "...");
                        let _ = writeln!(self.out, "{dots}");
                    }
                    shown = place.line_number;
                    let number = self.styled("1;34", &format!("{shown:>gutter$} |"));
                    let (line, _, _) = cut(&place);
                    let _ = writeln!(self.out, "{}", format!("{number} {line}").trim_end());
                }
                self.underline(&place, gutter, text, if *primary { ('^', style) } else { ('-', "1;34") });
            }
        }
    }

    fn underline(&mut self, place: &Place<'_>, gutter: usize, text: &str, (mark, style): (char, &str)) {
        let (_, indent, width) = cut(place);
        self.frame(gutter, "|");
        let marks: String = std::iter::repeat_n(mark, width).collect();
        let marked = if text.is_empty() { marks } else { format!("{marks} {text}") };
        let marked = self.styled(style, &marked);
        let _ = writeln!(self.out, " {:indent$}{marked}", "");
    }

    fn frame(&mut self, gutter: usize, text: &str) {
        let frame = self.styled("1;34", &format!("{:gutter$} {text}", ""));
        self.out.push_str(&frame);
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// The first line of a span.
    fn place(&self, span: Span) -> Place<'a> {
        let sources: &'a Sources = self.sources;
        let text = sources.text(span.file);
        let start = boundary_before(text, span.start);
        let end = boundary_before(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or("");
        let inside = |position: usize| (position - line_start).min(line.len());
        Place { line_number: text[..start].matches('\n').count() + 1, line, start: inside(start), end: inside(end) }
    }
}

/// The line as it is printed, and the columns of the mark in it: where it begins and how wide it is.
fn cut(place: &Place<'_>) -> (String, usize, usize) {
    let before = expand(&place.line[..place.start], 0);
    let marked = expand(&place.line[place.start..place.end], before.chars().count());
    let line = expand(place.line, 0);
    let (column, width) = (before.chars().count(), marked.chars().count().max(1));
    if line.chars().count() <= LINE_CHARS_MAX {
        return (line, column, width);
    }
    let from = column.saturating_sub(CUT_CONTEXT_CHARS);
    let dots = if from > 0 { "..." } else { "" };
    let mut shown: String = dots.to_string();
    shown.extend(line.chars().skip(from).take(LINE_CHARS_MAX));
    if line.chars().count() > from + LINE_CHARS_MAX {
        shown.push_str("...");
    }
    let room = LINE_CHARS_MAX - (column - from);
    (shown, column - from + dots.len(), width.min(room))
}

/// Tabs as spaces, and nothing that would move the cursor.
fn expand(text: &str, column: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = column;
    for c in text.chars() {
        let width = if c == '\t' { TAB_COLUMNS - column % TAB_COLUMNS } else { 1 };
        match c {
            '\t' => out.extend(std::iter::repeat_n(' ', width)),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
        column += width;
    }
    out
}

#[derive(Serialize)]
struct JsonLabel<'a> {
    message: &'a str,
    #[serde(flatten)]
    place: JsonPlace<'a>,
}

#[derive(Serialize)]
struct JsonPlace<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

#[derive(Serialize)]
struct JsonDiagnostic<'a> {
    severity: Severity,
    code: &'a str,
    message: &'a str,
    #[serde(flatten)]
    place: Option<JsonPlace<'a>>,
    labels: Vec<JsonLabel<'a>>,
    hint: Option<&'a str>,
}

/// All `diagnostics` as one JSON array. Lines and columns count from 1, columns in characters, and
/// the end is the position after the last character.
pub fn render_json(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let rows: Vec<JsonDiagnostic<'_>> = diagnostics
        .iter()
        .map(|diagnostic| JsonDiagnostic {
            severity: diagnostic.severity,
            code: diagnostic.code.0,
            message: &diagnostic.message,
            place: json_place(diagnostic.span, sources),
            labels: diagnostic
                .labels
                .iter()
                .filter_map(|(span, message)| Some(JsonLabel { message, place: json_place(*span, sources)? }))
                .collect(),
            hint: diagnostic.hint.as_deref(),
        })
        .collect();
    match serde_json::to_string_pretty(&rows) {
        Ok(json) => json,
        Err(error) => unreachable!("strings and numbers are always JSON: {error}"),
    }
}

fn json_place(span: Span, sources: &Sources) -> Option<JsonPlace<'_>> {
    if !sources.contains(span.file) {
        return None;
    }
    let (line, column) = sources.line_column(span.file, span.start);
    let (end_line, end_column) = sources.line_column(span.file, span.end.max(span.start));
    Some(JsonPlace { file: sources.name(span.file), line, column, end_line, end_column })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;
    use proptest::prelude::*;

    const CODE: Code = Code("E0101");

    fn sources(texts: &[&str]) -> Sources {
        let mut sources = Sources::default();
        for (i, text) in texts.iter().enumerate() {
            sources.add(format!("{}.vpl", (b'a' + i as u8) as char), *text);
        }
        sources
    }

    fn text_of(diagnostic: &Diagnostic, texts: &[&str]) -> String {
        render_text(std::slice::from_ref(diagnostic), &sources(texts), false)
    }

    #[test]
    fn marks_stand_below_what_they_mark() {
        let first = "one\n\tétwo three\n";
        let second = "four\n\n\n\n\n\n\n\n\nfive";
        let diagnostic = Diagnostic::error(CODE, Span::new(0, 8, 14), "a message")
            .with_label(Span::new(0, 0, 3), "here")
            .with_label(Span::new(0, 5, 10), "and here")
            .with_label(Span::new(1, 13, 17), "elsewhere")
            .with_hint("a hint");
        let expected = "\
error[E0101]: a message
  --> a.vpl:2:4
   |
 1 | one
   | --- here
 2 |     étwo three
   |     ---- and here
   |       ^^^^^^
  ::: b.vpl:10:1
   |
10 | five
   | ---- elsewhere
   = hint: a hint
";
        assert_eq!(text_of(&diagnostic, &[first, second]), expected);
    }

    #[test]
    fn a_span_at_the_end_or_in_an_empty_file_is_marked() {
        let at = |text: &str, start: usize, end: usize| {
            text_of(&Diagnostic::error(CODE, Span::new(0, start, end), "m"), &[text])
        };
        assert_eq!(at("", 0, 0), "error[E0101]: m\n --> a.vpl:1:1\n  |\n1 |\n  | ^\n");
        assert_eq!(at("ab", 2, 2), "error[E0101]: m\n --> a.vpl:1:3\n  |\n1 | ab\n  |   ^\n");
        assert_eq!(at("ab\n", 3, 9), "error[E0101]: m\n --> a.vpl:2:1\n  |\n2 |\n  | ^\n");
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let line = "x".repeat(5_000);
        let rendered = text_of(&Diagnostic::error(CODE, Span::new(0, 3_000, 3_005), "m"), &[&line]);
        let lines: Vec<&str> = rendered.lines().collect();
        assert!(lines[3].chars().count() < 250 && lines[3].contains("...x"));
        assert!(lines[4].ends_with("^^^^^") && lines[4].chars().count() < 100);
    }

    #[test]
    fn json_has_the_same_as_the_text() {
        let diagnostic = Diagnostic::warning(Code("W0101"), Span::new(0, 4, 6), "m")
            .with_label(Span::new(0, 0, 3), "label")
            .with_hint("hint");
        let json: serde_json::Value = serde_json::from_str(&render_json(&[diagnostic], &sources(&["é\n ab"]))).unwrap();
        let expected = serde_json::json!([{
            "severity": "warning", "code": "W0101", "message": "m",
            "file": "a.vpl", "line": 2, "column": 2, "end_line": 2, "end_column": 4,
            "labels": [{
                "message": "label", "file": "a.vpl", "line": 1, "column": 1, "end_line": 2, "end_column": 1
            }],
            "hint": "hint"
        }]);
        assert_eq!(json, expected);
    }

    proptest! {
        #[test]
        fn any_span_renders(text in ".{0,20}(\n.{0,20}){0,3}", file in 0u32..3, start in 0u32..100, end in 0u32..100) {
            let span = Span { file, start, end };
            let diagnostic = Diagnostic::error(CODE, span, "m").with_label(Span { file: 0, start: end, end: start }, "l");
            render_text(std::slice::from_ref(&diagnostic), &sources(&[&text]), true);
            render_json(&[diagnostic], &sources(&[&text]));
        }
    }
}
