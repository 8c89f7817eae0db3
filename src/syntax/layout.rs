//! Cuts a file into declarations, and the blocks of declarations into lines, by indentation.
//!
//! ```text
//! event Reading:              declaration, opens a block
//!     at: timestamp           line
//!     value: float            line
//! stream Hot = Reading        declaration without a block: everything up to the next declaration
//!     .where(value > 30)
//! ```
//!
//! A PEG knows nothing of indentation, and one parse of a whole file stops at its first error. So the
//! cutting is done here, on tokens, in one pass, and the grammar sees one line at a time: an error
//! costs a line or a declaration, never the file. Brackets are matched here too, and nesting is
//! bounded, because the parser is recursive.
//!
//! A declaration begins where a row (a line outside brackets) begins with its keyword and a name. In
//! a block, a row that is indented deeper than the line before continues it, unless that line opens
//! a block itself.

use std::ops::Range;

use super::reports::Reports;
use super::scan::{Token, TokenKind};
use crate::diagnostic::{Diagnostic, codes};

/// How deep brackets, `if`s and f-strings may nest. The parser takes some kilobytes of stack for each
/// level; programs written by people stay below 20.
pub const NESTING_MAX: usize = 100;

/// How deep blocks may nest.
pub const BLOCK_DEPTH_MAX: usize = 32;

/// A tab counts as this many columns when indentations are compared.
const TAB_COLUMNS: usize = 8;

/// A declaration, or a line of a block.
#[derive(Debug)]
pub struct Line {
    /// Indices of its tokens, comments included; without its block.
    pub tokens: Range<usize>,
    /// Whether it ends in the `:` that opens a block.
    pub opens_block: bool,
    pub children: Vec<Line>,
    /// Already reported: not to be parsed.
    pub broken: bool,
}

/// Tokens up to a line break outside brackets.
#[derive(Clone)]
struct Row {
    tokens: Range<usize>,
    columns: usize,
    broken: bool,
}

const DECLARATION_WORDS: &[&str] = &["event", "type", "const", "fn", "connector", "stream", "table", "pattern"];
const BLOCK_WORDS: &[&str] = &["window", "state", "checkpoint"];
/// Words that may stand between two operands.
const INFIX_WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "in",
    "is",
    "like",
    "matches",
    "as",
    "then",
    "else",
    "on",
    "where",
    "within",
    "partition",
    "by",
    "asc",
    "desc",
    "all",
    "extends",
    "null",
    "if",
    "from",
];

/// The declarations of a file. Everything reported is marked broken.
pub fn layout(text: &str, tokens: &[Token], reports: &mut Reports) -> Vec<Line> {
    let rows = Rows { text, tokens, reports, open: Vec::new(), ifs: Vec::new() }.cut();
    let mut layout = Layout { text, tokens, reports };
    layout.declarations(&rows)
}

struct Rows<'a> {
    text: &'a str,
    tokens: &'a [Token],
    reports: &'a mut Reports,
    /// Token indices of the open brackets.
    open: Vec<usize>,
    /// For each `if` that waits for its `else`: the number of brackets open at it.
    ifs: Vec<usize>,
}

impl Rows<'_> {
    fn cut(mut self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut too_deep = false;
        for (i, token) in self.tokens.iter().enumerate() {
            if token.breaks_before > 0 || i == 0 {
                let columns = columns(self.text, token.start);
                if columns == 0 && !self.open.is_empty() && self.begins_declaration(i, true) {
                    self.unclosed(&mut rows);
                }
                if self.open.is_empty() {
                    if matches!(token.text(self.text), "let" | "return") || self.begins_declaration(i, false) {
                        self.ifs.clear();
                    }
                    too_deep = false;
                    rows.push(Row { tokens: i..i, columns, broken: false });
                }
            }
            let Some(row) = rows.last_mut() else { continue };
            row.tokens.end = i + 1;
            row.broken |= token.kind == TokenKind::Broken;
            match token.kind {
                TokenKind::Open => self.open.push(i),
                TokenKind::Close => row.broken |= !self.close(i),
                TokenKind::Word | TokenKind::Symbol => self.count_ifs(i),
                TokenKind::Number
                | TokenKind::String
                | TokenKind::Timestamp
                | TokenKind::LineComment
                | TokenKind::BlockComment
                | TokenKind::Broken => {}
            }
            if self.open.len() + self.ifs.len() + token.depth > NESTING_MAX && !too_deep {
                too_deep = true;
                row.broken = true;
                let message = format!("nested more than {NESTING_MAX} deep");
                let hint = Some("give the inner parts names with `const`, `fn` or `.extend`".to_string());
                self.reports.error(codes::TOO_DEEP, token.start..token.end, message, hint);
            }
        }
        if !self.open.is_empty() {
            self.unclosed(&mut rows);
        }
        rows
    }

    /// Follows the `if`s that the parser would recurse into. One ends at a comma, at the end of its
    /// brackets, or where a line of a block ends; `else if` is a loop in the grammar and does not nest.
    fn count_ifs(&mut self, i: usize) {
        match self.tokens[i].text(self.text) {
            "if" if i == 0 || self.tokens[i - 1].text(self.text) != "else" => self.ifs.push(self.open.len()),
            "," => self.end_ifs(self.open.len()),
            ":" if self.open.is_empty() => self.ifs.clear(),
            _ => {}
        }
    }

    fn end_ifs(&mut self, brackets: usize) {
        while self.ifs.last().is_some_and(|at| *at >= brackets) {
            self.ifs.pop();
        }
    }

    /// Matches a closing bracket; `false` if it fits no open one.
    fn close(&mut self, i: usize) -> bool {
        let found = self.tokens[i].text(self.text);
        let expected = self.open.last().map(|open| closing(self.tokens[*open].text(self.text)));
        self.end_ifs(self.open.len());
        if expected == Some(found) {
            self.open.pop();
            return true;
        }
        let span = self.reports.span(self.tokens[i].start..self.tokens[i].end);
        let diagnostic = match (expected, self.open.last()) {
            (Some(expected), Some(&open)) => {
                let opened = &self.tokens[open];
                let message = format!("`{found}` closes nothing: `{expected}` is due first");
                Diagnostic::error(codes::UNMATCHED_BRACKET, span, message)
                    .with_label(self.reports.span(opened.start..opened.end), "opened here")
            }
            (_, _) => Diagnostic::error(codes::UNMATCHED_BRACKET, span, format!("`{found}` closes nothing")),
        };
        self.reports.push(diagnostic);
        if let Some(at) = self.open.iter().rposition(|open| closing(self.tokens[*open].text(self.text)) == found) {
            self.open.truncate(at);
        }
        false
    }

    fn unclosed(&mut self, rows: &mut [Row]) {
        if let Some(row) = rows.last_mut() {
            // A bracket left open in a row already reported is most likely the same slip.
            if let Some(&open) = self.open.last().filter(|_| !row.broken) {
                let token = &self.tokens[open];
                let bracket = token.text(self.text);
                let hint = Some(format!("close it with `{}`", closing(bracket)));
                let message = format!("`{bracket}` is never closed");
                self.reports.error(codes::UNCLOSED_BRACKET, token.start..token.end, message, hint);
            }
            row.broken = true;
        }
        self.open.clear();
    }

    fn begins_declaration(&self, i: usize, in_brackets: bool) -> bool {
        begins_declaration(self.text, self.tokens, i, in_brackets)
    }
}

fn closing(open: &str) -> &'static str {
    match open {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

/// The indentation of the line that holds `position`.
pub fn columns(text: &str, position: usize) -> usize {
    let line_start = text[..position].rfind('\n').map_or(0, |at| at + 1);
    let mut columns = 0;
    for b in text[line_start..].bytes() {
        match b {
            b' ' => columns += 1,
            b'\t' => columns = (columns / TAB_COLUMNS + 1) * TAB_COLUMNS,
            _ => break,
        }
    }
    columns
}

fn indentation(text: &str, position: usize) -> &str {
    let line_start = text[..position].rfind('\n').map_or(0, |at| at + 1);
    let rest = &text[line_start..];
    &rest[..rest.len() - rest.trim_start_matches([' ', '\t']).len()]
}

/// Whether a declaration begins at token `i`. Inside brackets more is asked, since the words are no
/// keywords elsewhere.
fn begins_declaration(text: &str, tokens: &[Token], i: usize, in_brackets: bool) -> bool {
    let word = tokens[i].text(text);
    let mut following = tokens[i + 1..].iter().filter(|token| !token.is_comment());
    let Some(next) = following.next() else { return false };
    if word == "import" {
        return next.kind == TokenKind::String;
    }
    if BLOCK_WORDS.contains(&word) {
        return next.text(text) == ":" && !in_brackets;
    }
    let named = DECLARATION_WORDS.contains(&word) && next.kind == TokenKind::Word;
    let third = following.next().map_or("", |token| token.text(text));
    if in_brackets && INFIX_WORDS.contains(&next.text(text)) {
        return false;
    }
    named && (!in_brackets || matches!(third, "=" | ":" | "extends") || word == "fn" && third == "(")
}

struct Layout<'a> {
    text: &'a str,
    tokens: &'a [Token],
    reports: &'a mut Reports,
}

impl Layout<'_> {
    fn word(&self, i: usize) -> &str {
        self.tokens[i].text(self.text)
    }

    /// The tokens of a range that are not comments.
    fn code(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = usize> {
        range.filter(|i| !self.tokens[*i].is_comment())
    }

    fn declarations(&mut self, rows: &[Row]) -> Vec<Line> {
        // Rows of nothing but comments belong to no line: the printer finds them between lines.
        let rows: Vec<Row> =
            rows.iter().filter(|row| self.code(row.tokens.clone()).next().is_some()).cloned().collect();
        let mut lines = Vec::new();
        let mut at = 0;
        while at < rows.len() {
            let header = &rows[at];
            let block = self.opens_block(header);
            let mut end = at + 1;
            while end < rows.len() && !self.ends_declaration(&rows, end, header, block) {
                end += 1;
            }
            lines.push(if block {
                self.block(header, &rows[at + 1..end], 1)
            } else {
                let broken = rows[at..end].iter().any(|row| row.broken);
                let tokens = header.tokens.start..rows[end - 1].tokens.end;
                Line { tokens, opens_block: false, children: Vec::new(), broken }
            });
            at = end;
        }
        lines
    }

    /// Whether the declaration that began with `header` ends before row `at`.
    fn ends_declaration(&self, rows: &[Row], at: usize, header: &Row, block: bool) -> bool {
        let row = &rows[at];
        let Some(first) = self.code(row.tokens.clone()).next() else { return false };
        if block && row.columns <= header.columns {
            return true;
        }
        let word = self.word(first);
        if begins_declaration(self.text, self.tokens, first, false) {
            // In a block, `state:` is an option and `table x` a broken line, unless it says more.
            return !block || begins_declaration(self.text, self.tokens, first, true);
        }
        if block || row.columns > header.columns || INFIX_WORDS.contains(&word) {
            return false;
        }
        // Two operands side by side: the second begins something, whatever it is.
        let before = self.code(header.tokens.start..first).next_back();
        let after_operand = before.is_none_or(|i| match self.tokens[i].kind {
            TokenKind::Word => !INFIX_WORDS.contains(&self.word(i)),
            TokenKind::Number | TokenKind::String | TokenKind::Timestamp | TokenKind::Close | TokenKind::Broken => true,
            TokenKind::Open | TokenKind::Symbol | TokenKind::LineComment | TokenKind::BlockComment => false,
        });
        after_operand && self.tokens[first].kind == TokenKind::Word
    }

    fn opens_block(&self, row: &Row) -> bool {
        self.block_colon(row).is_some()
    }

    /// The colon that opens a block: the first outside brackets after a word that takes a block, or a
    /// colon at the end of the row.
    fn block_colon(&self, row: &Row) -> Option<usize> {
        let first = self.code(row.tokens.clone()).next()?;
        let last = self.code(row.tokens.clone()).next_back()?;
        let takes_block = match self.word(first) {
            "event" | "fn" => self.code(first + 1..row.tokens.end).next().is_some_and(|i| self.word(i) != ":"),
            "if" | "elif" | "else" => true,
            _ => false,
        };
        if !takes_block {
            return (self.word(last) == ":").then_some(last);
        }
        let mut depth = 0usize;
        for i in self.code(row.tokens.clone()) {
            match (self.tokens[i].kind, self.word(i)) {
                (TokenKind::Open, _) => depth += 1,
                (TokenKind::Close, _) => depth = depth.saturating_sub(1),
                (TokenKind::Symbol, "=") if depth == 0 => return None,
                (TokenKind::Symbol, ":") if depth == 0 => return Some(i),
                (_, _) => {}
            }
        }
        None
    }

    /// The line of `header` with its block, which is among `rows`.
    fn block(&mut self, header: &Row, rows: &[Row], depth: usize) -> Line {
        let colon = self.block_colon(header).unwrap_or(header.tokens.end - 1);
        let mut line =
            Line { tokens: header.tokens.start..colon + 1, opens_block: true, children: Vec::new(), broken: false };
        line.broken = header.broken;
        let start = self.tokens[header.tokens.start].start;
        if depth > BLOCK_DEPTH_MAX {
            let message = format!("blocks nested more than {BLOCK_DEPTH_MAX} deep");
            self.reports.error(codes::TOO_DEEP, start..self.tokens[colon].end, message, None);
            line.broken = true;
            return line;
        }
        if self.code(colon + 1..header.tokens.end).next().is_some() {
            let tokens = colon + 1..header.tokens.end;
            line.children.push(Line { tokens, opens_block: false, children: Vec::new(), broken: header.broken });
        }
        if depth == 1 && self.mixes_indentation(rows) {
            return line;
        }
        let children = self.children(rows, depth);
        line.children.extend(children);
        if line.children.is_empty() && !line.broken {
            let hint = Some("indent the lines of the block by four spaces".to_string());
            let at = self.tokens[colon].start..self.tokens[colon].end;
            self.reports.error(codes::MISSING_BLOCK, at, "an indented block is expected after `:`", hint);
            line.broken = true;
        }
        line
    }

    fn children(&mut self, rows: &[Row], depth: usize) -> Vec<Line> {
        let Some(first) = rows.first() else { return Vec::new() };
        let mut lines: Vec<Line> = Vec::new();
        let mut at = 0;
        while at < rows.len() {
            let row = &rows[at];
            self.check_indentation(first, row);
            let own = row.columns.max(first.columns);
            let end = at + 1 + rows[at + 1..].iter().take_while(|next| next.columns > own).count();
            let deeper = &rows[at + 1..end];
            lines.push(if self.opens_block(row) {
                self.block(row, deeper, depth + 1)
            } else {
                let tokens = row.tokens.start..deeper.last().unwrap_or(row).tokens.end;
                let broken = row.broken || deeper.iter().any(|row| row.broken);
                Line { tokens, opens_block: false, children: Vec::new(), broken }
            });
            at = end;
        }
        lines
    }

    /// Siblings are indented alike.
    fn check_indentation(&mut self, first: &Row, row: &Row) {
        let (a, b) = (self.tokens[first.tokens.start].start, self.tokens[row.tokens.start]);
        let (expected, found) = (indentation(self.text, a), indentation(self.text, b.start));
        if expected == found {
            return;
        }
        let message = "this line is not indented like the lines before it";
        let first = self.tokens[first.tokens.start];
        let diagnostic = Diagnostic::error(codes::INDENTATION, self.reports.span(b.start..b.end), message)
            .with_label(self.reports.span(first.start..first.end), "the block began here");
        self.reports.push(diagnostic);
    }

    /// Reports a block some of whose lines are indented by tabs and some by spaces: what is deeper
    /// than what would depend on the width of a tab.
    fn mixes_indentation(&mut self, rows: &[Row]) -> bool {
        let start = |row: &Row| self.tokens[row.tokens.start].start;
        let styles = |row: &Row| {
            let indentation = indentation(self.text, start(row));
            (indentation.contains('\t'), indentation.contains(' '))
        };
        let Some(first) = rows.first() else { return false };
        let Some(mixed) = rows.iter().find(|row| styles(row) != styles(first) || styles(row) == (true, true)) else {
            return false;
        };
        let token = self.tokens[mixed.tokens.start];
        let hint = Some("indent with four spaces".to_string());
        let message = "tabs and spaces are mixed in the indentation of a block";
        self.reports.error(codes::MIXED_INDENTATION, token.start..token.end, message, hint);
        true
    }
}
