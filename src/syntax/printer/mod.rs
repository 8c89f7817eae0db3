//! Programs in their canonical layout: what `varpulis fmt` writes.
//!
//! Four spaces; a chain of operators that has more than one of them, or does not fit a line, has one
//! on each line; brackets that do not fit a line have one entry on each. Only white space and commas
//! before closing brackets change: the tokens, comments included, are printed in their order, so that
//! the program stays the same by construction. Blank lines are kept, at most one in a row.

mod page;
mod spacing;

use super::layout::{Line, columns, layout};
use super::reports::Reports;
use super::scan::{Token, TokenKind, scan};
use crate::diagnostic::{Diagnostic, Severity};
use page::Page;
use spacing::{Spacing, spacing};

/// The longest line, where it can be helped.
const LINE_COLUMNS: usize = 100;
const INDENT: usize = 4;

/// The program in canonical layout, or what is wrong with it.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let (_, diagnostics) = super::parse(0, text);
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(diagnostics);
    }
    let mut reports = Reports::new(0);
    let tokens = scan(text, &mut reports);
    let lines = layout(text, &tokens, &mut reports);
    let spacing = spacing(text, &tokens, &lines);
    let mut printer = Printer { text, tokens: &tokens, spacing, page: Page::default(), printed: 0, open: Vec::new() };
    printer.block(&lines, 0);
    printer.comments(tokens.len(), 0);
    Ok(printer.page.finish())
}

/// A token, or brackets with what they hold.
enum Item {
    Token(usize),
    Group { open: usize, items: Vec<Item>, close: usize },
}

/// What stands between two commas.
#[derive(Default)]
struct Entry<'i> {
    comments_before: Vec<usize>,
    code: &'i [Item],
    comments_after: Vec<usize>,
}

struct Printer<'a> {
    text: &'a str,
    tokens: &'a [Token],
    spacing: Spacing,
    page: Page,
    /// Tokens before this one have been printed.
    printed: usize,
    /// Columns, as they were written, of the blocks around the line printed last.
    open: Vec<usize>,
}

impl Printer<'_> {
    fn word(&self, i: usize) -> &str {
        self.tokens[i].text(self.text)
    }

    fn block(&mut self, lines: &[Line], depth: usize) {
        for line in lines {
            let code = |range: &std::ops::Range<usize>| range.clone().rev().find(|i| !self.tokens[*i].is_comment());
            let end = code(&line.tokens).map_or(line.tokens.end, |last| last + 1);
            self.comments(line.tokens.start, depth);
            let first = self.tokens[line.tokens.start];
            self.open.truncate(depth);
            self.open.push(columns(self.text, first.start));
            let begins_block = depth > 0 && std::ptr::eq(line, &lines[0]);
            self.page.line(depth * INDENT, first.breaks_before > 1 && !begins_block);
            let items = items(self.tokens, &self.spacing, line.tokens.start..end);
            if line.opens_block {
                // Outside brackets the `:` must stay on the line.
                self.group(&items, 0);
            } else {
                self.line(&items);
            }
            self.printed = end;
            self.block(&line.children, depth + 1);
        }
    }

    /// Prints the comments before token `until`, which begins a line of the given depth.
    fn comments(&mut self, until: usize, depth: usize) {
        for i in self.printed..until {
            let comment = self.tokens[i];
            if comment.breaks_before == 0 && i > 0 {
                self.page.comment(comment.text(self.text));
                continue;
            }
            // A comment after a block belongs to the innermost block that it is indented for.
            let column = columns(self.text, comment.start);
            let deepest = self.open.iter().rposition(|open| *open <= column).unwrap_or(0);
            self.page.line(depth.max(deepest) * INDENT, comment.breaks_before > 1);
            self.page.write(comment.text(self.text));
        }
        self.printed = self.printed.max(until);
    }

    fn line(&mut self, items: &[Item]) {
        let starts = self.chain(items);
        let fits = self.fits(items, 0);
        let Some(&first) = starts.first().filter(|_| starts.len() > 1 || !fits) else {
            return self.items(items, 0, INDENT);
        };
        let indent = self.page.indent() + INDENT;
        self.segment(&items[..first], indent);
        for (n, start) in starts.iter().enumerate() {
            if !self.page.is_at_line_start() {
                self.page.line(indent, false);
            }
            let end = starts.get(n + 1).copied().unwrap_or(items.len());
            self.segment(&items[*start..end], indent);
        }
    }

    /// An operator of a chain, and the comments that follow it.
    fn segment(&mut self, items: &[Item], indent: usize) {
        let (code, comments) = items.split_at(self.code_end(items));
        self.items(code, 0, INDENT);
        for item in comments {
            let Item::Token(i) = item else { continue };
            if self.tokens[*i].breaks_before > 0 {
                self.page.line(indent, false);
                self.page.write(self.tokens[*i].text(self.text));
            } else {
                self.page.comment(self.tokens[*i].text(self.text));
            }
        }
    }

    /// Where trailing comments begin.
    fn code_end(&self, items: &[Item]) -> usize {
        items.iter().rposition(|item| !self.is_comment(item)).map_or(0, |last| last + 1)
    }

    /// Where the operators, steps and clauses of a stream, table or pattern begin.
    fn chain(&self, items: &[Item]) -> Vec<usize> {
        let word = |at: usize| match items.get(at) {
            Some(Item::Token(i)) => self.word(*i),
            Some(Item::Group { open, .. }) => self.word(*open),
            None => "",
        };
        let code = (0..items.len()).find(|at| !self.is_comment(&items[*at]));
        let declared = code.map_or("", word);
        if !matches!(declared, "stream" | "table" | "pattern") {
            return Vec::new();
        }
        let is_operator =
            |at: usize| word(at) == "." && (word(at + 2) == "(" || word(at + 2) == "as") && word(at + 1) != "from";
        let mut clause = false;
        let starts = |at: &usize| match word(*at) {
            "->" => true,
            "within" | "partition" if declared == "pattern" && *at > 2 && !clause => {
                clause = true;
                true
            }
            _ => is_operator(*at),
        };
        (0..items.len()).filter(starts).collect()
    }

    /// Prints items, breaking the line where it must be. `tail` columns are needed behind them, and
    /// lines broken outside brackets are indented by `hang`.
    fn items(&mut self, items: &[Item], tail: usize, hang: usize) {
        if self.fits(items, tail) {
            let flat = self.flat(items);
            return self.write(items, &flat);
        }
        if items.iter().any(|item| self.is_line_comment(item)) {
            return self.around_comments(items, tail, hang);
        }
        let breaks = self.break_words(items);
        if !breaks.is_empty() {
            let indent = self.page.indent() + hang;
            let mut from = 0;
            for at in breaks.into_iter().chain([items.len()]) {
                if from > 0 {
                    self.page.line(indent, false);
                }
                self.group(&items[from..at], if at == items.len() { tail } else { 0 });
                from = at;
            }
            return;
        }
        self.group(items, tail);
    }

    /// Prints items with their widest brackets broken, and others where they do not fit, since the line
    /// has no other break.
    fn group(&mut self, items: &[Item], tail: usize) {
        if self.fits(items, tail) {
            let flat = self.flat(items);
            return self.write(items, &flat);
        }
        let width = |item: &Item| match item {
            Item::Token(_) => 0,
            Item::Group { items, .. } if items.is_empty() => 0,
            Item::Group { items, .. } => self.flat_chars(items),
        };
        let widest = items.iter().map(width).enumerate().max_by_key(|(at, width)| (*width, *at)).map(|(at, _)| at);
        for (at, item) in items.iter().enumerate() {
            let alone = std::slice::from_ref(item);
            match item {
                Item::Group { open, items: inner, close }
                    if !inner.is_empty() && (widest == Some(at) || !self.fits(alone, 1)) =>
                {
                    self.write(alone, self.tokens[*open].text(self.text));
                    self.broken(*open, inner, *close);
                }
                Item::Group { .. } | Item::Token(_) => {
                    let flat = self.flat(alone);
                    self.write(alone, &flat);
                }
            }
        }
    }

    /// The inside of broken brackets: one entry on each line.
    fn broken(&mut self, open: usize, inner: &[Item], close: usize) {
        let indent = self.page.indent();
        let (entries, dangling) = self.entries(inner);
        let many = entries.len() > 1 || inner.iter().any(|item| self.is_comma(item));
        for entry in entries {
            self.own_lines(&entry.comments_before, open, indent + INDENT);
            self.page.line(indent + INDENT, false);
            let hang = if self.has_if(entry.code) || self.is_sequence(entry.code) { INDENT } else { 0 };
            self.items(entry.code, 1, hang);
            if many {
                self.page.write(",");
            }
            for comment in entry.comments_after {
                self.page.comment(self.tokens[comment].text(self.text));
            }
        }
        self.own_lines(&dangling, open, indent + INDENT);
        self.page.line(indent, false);
        self.page.write(self.tokens[close].text(self.text));
    }

    /// Comments on lines of their own, but for one directly behind the opening bracket.
    fn own_lines(&mut self, comments: &[usize], open: usize, indent: usize) {
        for &comment in comments {
            let token = self.tokens[comment];
            if token.breaks_before == 0 && comment == open + 1 {
                self.page.comment(token.text(self.text));
            } else {
                self.page.line(indent, false);
                self.page.write(token.text(self.text));
            }
        }
    }

    /// The entries between commas, and the comments after the last one.
    fn entries<'i>(&self, inner: &'i [Item]) -> (Vec<Entry<'i>>, Vec<usize>) {
        let mut entries: Vec<Entry<'i>> = Vec::new();
        let mut waiting = Vec::new();
        for piece in inner.split(|item| self.is_comma(item)) {
            let mut from = 0;
            while let Some(Item::Token(i)) = piece.get(from).filter(|item| self.is_comment(item)) {
                let same_line = self.tokens[*i].breaks_before == 0;
                let ends_line = self.is_before_break(&piece[from + 1..]);
                let takes_more = |entry: &&mut Entry<'_>| waiting.is_empty() && !self.ends_line(&entry.comments_after);
                match entries.last_mut().filter(takes_more) {
                    _ if !ends_line => break,
                    Some(last) if same_line => last.comments_after.push(*i),
                    Some(_) | None => waiting.push(*i),
                }
                from += 1;
            }
            let piece = &piece[from..];
            let (code, after) = piece.split_at(self.code_end(piece));
            let mut entry = Entry { code, ..Entry::default() };
            if !code.is_empty() {
                entry.comments_before = std::mem::take(&mut waiting);
            }
            for item in after {
                let i = first_token(item);
                let same_line = self.tokens[i].breaks_before == 0 && waiting.is_empty();
                if same_line && !self.ends_line(&entry.comments_after) {
                    entry.comments_after.push(i)
                } else {
                    waiting.push(i)
                }
            }
            if !code.is_empty() {
                entries.push(entry);
            }
        }
        (entries, waiting)
    }

    /// Whether comments leave no room behind them on their line.
    fn ends_line(&self, comments: &[usize]) -> bool {
        comments.last().is_some_and(|last| self.tokens[*last].kind == TokenKind::LineComment)
    }

    /// Whether a line ends before the next item that is no comment.
    fn is_before_break(&self, items: &[Item]) -> bool {
        for item in items {
            if self.tokens[first_token(item)].breaks_before > 0 {
                return true;
            }
            if !self.is_comment(item) {
                return false;
            }
        }
        true
    }

    /// Prints items with line comments among them, each of which ends its line.
    fn around_comments(&mut self, items: &[Item], tail: usize, mut hang: usize) {
        let indent = self.page.indent() + hang;
        let mut rest = items;
        while let Some(at) = rest.iter().position(|item| self.is_line_comment(item)) {
            self.items(&rest[..at], 0, hang);
            let comment = self.tokens[first_token(&rest[at])];
            if comment.breaks_before == 0 {
                self.page.comment(comment.text(self.text));
            } else {
                if !self.page.is_at_line_start() || self.page.is_closed() {
                    self.page.line(indent, false);
                }
                self.page.write(comment.text(self.text));
            }
            rest = &rest[at + 1..];
            if !rest.is_empty() {
                self.page.line(indent, false);
            }
            hang = 0;
        }
        self.items(rest, tail, hang);
    }

    /// Where a long line is broken: before the arrows of a pattern, before `then` and `else`, or else before `and`
    /// and `or`.
    fn break_words(&self, items: &[Item]) -> Vec<usize> {
        let words: &[&str] = match () {
            () if self.is_sequence(items) => &["->"],
            () if self.has_if(items) => &["then", "else"],
            () => &["and", "or"],
        };
        let is_break = |at: &usize| match (&items[*at - 1], &items[*at]) {
            (before, Item::Token(i)) => words.contains(&self.word(*i)) && self.word(last_token(before)) != ".",
            (_, Item::Group { .. }) => false,
        };
        (1..items.len()).filter(is_break).collect()
    }

    fn has_if(&self, items: &[Item]) -> bool {
        items.iter().any(|item| matches!(item, Item::Token(i) if self.word(*i) == "if"))
    }

    /// Whether items are steps of a pattern, one after the other; a function has an arrow, too.
    fn is_sequence(&self, items: &[Item]) -> bool {
        let is = |item: &Item, word: &str| matches!(item, Item::Token(i) if self.word(*i) == word);
        items.iter().any(|item| is(item, "->")) && !items.first().is_some_and(|first| is(first, "fn"))
    }

    fn is_comma(&self, item: &Item) -> bool {
        matches!(item, Item::Token(i) if self.word(*i) == "," && !self.spacing.quantifier[*i])
    }

    fn is_comment(&self, item: &Item) -> bool {
        matches!(item, Item::Token(i) if self.tokens[*i].is_comment())
    }

    fn is_line_comment(&self, item: &Item) -> bool {
        matches!(item, Item::Token(i) if self.tokens[*i].kind == TokenKind::LineComment)
    }

    fn has_line_comment(&self, items: &[Item]) -> bool {
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return false };
        (first_token(first)..=last_token(last)).any(|i| self.tokens[i].kind == TokenKind::LineComment)
    }

    fn fits(&self, items: &[Item], tail: usize) -> bool {
        !self.has_line_comment(items) && self.page.column() + 1 + self.flat_chars(items) + tail <= LINE_COLUMNS + 1
    }

    fn flat_chars(&self, items: &[Item]) -> usize {
        self.flat(items).chars().count()
    }

    /// Items on one line.
    fn flat(&self, items: &[Item]) -> String {
        let mut out = String::new();
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return out };
        for i in first_token(first)..=last_token(last) {
            if self.spacing.trailing_comma[i] {
                continue;
            }
            if self.spacing.gap[i] && !out.is_empty() {
                out.push(' ');
            }
            out.push_str(self.word(i));
        }
        out
    }

    /// Writes the text of items, with the space that stands before them.
    fn write(&mut self, items: &[Item], text: &str) {
        let Some(first) = items.first() else { return };
        if self.page.is_closed() {
            self.page.line(self.page.indent(), false);
        }
        if self.spacing.gap[first_token(first)] && !self.page.is_at_line_start() {
            self.page.write(" ");
        }
        self.page.write(text);
    }
}

fn first_token(item: &Item) -> usize {
    match item {
        Item::Token(i) => *i,
        Item::Group { open, .. } => *open,
    }
}

fn last_token(item: &Item) -> usize {
    match item {
        Item::Token(i) => *i,
        Item::Group { close, .. } => *close,
    }
}

/// Tokens with their brackets matched. Quantifiers stay plain tokens: they are never broken.
fn items(tokens: &[Token], spacing: &Spacing, range: std::ops::Range<usize>) -> Vec<Item> {
    let mut open: Vec<(usize, Vec<Item>)> = Vec::new();
    let mut items = Vec::new();
    for i in range {
        match tokens[i].kind {
            TokenKind::Open if !spacing.quantifier[i] => open.push((i, std::mem::take(&mut items))),
            TokenKind::Close if !spacing.quantifier[i] => {
                // The program has parsed, so brackets match.
                let Some((open, outer)) = open.pop() else { continue };
                let inner = std::mem::replace(&mut items, outer);
                items.push(Item::Group { open, items: inner, close: i });
            }
            TokenKind::Open
            | TokenKind::Close
            | TokenKind::Word
            | TokenKind::Number
            | TokenKind::String
            | TokenKind::Timestamp
            | TokenKind::Symbol
            | TokenKind::LineComment
            | TokenKind::BlockComment
            | TokenKind::Broken => items.push(Item::Token(i)),
        }
    }
    items
}
