//! One linear pass over the text: tokens and comments with their lines, and every lexical error.
//!
//! The grammar recognises the same tokens again. What the scanner adds is what a grammar cannot: it
//! never fails, it sees bracket depth and indentation before anything recursive runs, and it says of
//! a malformed literal what is wrong with it. `layout`, error reports and `fmt` work on its tokens.
//!
//! An f-string is one token; the expressions in it are scanned too, but only for errors and depth.

use super::literal::{self, LiteralError};
use super::reports::Reports;
use crate::diagnostic::{Code, codes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Word,
    Number,
    String,
    Timestamp,
    Open,
    Close,
    Symbol,
    LineComment,
    BlockComment,
    /// A literal or character already reported; what holds it is not parsed.
    Broken,
}

#[derive(Clone, Copy, Debug)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
    /// Line breaks between the token before (or the start of the text) and this one, at most 2.
    pub breaks_before: u8,
    /// Nesting of brackets and f-strings inside an f-string.
    pub depth: usize,
}

impl Token {
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        &source[self.start..self.end]
    }

    pub fn is_comment(&self) -> bool {
        matches!(self.kind, TokenKind::LineComment | TokenKind::BlockComment)
    }
}

/// Symbols of more than one character, longer ones first. Some are slips that no rule accepts; as
/// whole tokens they can be named in a hint.
const SYMBOLS: &[&str] =
    &["===", "!==", "**", "//", "->", "=>", "==", "!=", "<>", "<=", ">=", "<<", ">>", "??", "?.", "&&", "||", ":="];

const SINGLE_SYMBOLS: &str = ".,:;=<>+-*/%|^&~?!";

/// An open f-string.
struct Interpolation {
    start: usize,
    quote: u8,
    /// Brackets open in the expression being scanned; 0 outside expressions.
    braces: usize,
    depth_max: usize,
}

pub struct Scanner<'a> {
    text: &'a str,
    reports: &'a mut Reports,
    at: usize,
    tokens: Vec<Token>,
    breaks: u8,
    open: Vec<Interpolation>,
    /// Sum of the open brackets of `open`.
    open_braces: usize,
}

/// The tokens of `text`, comments included.
pub fn scan(text: &str, reports: &mut Reports) -> Vec<Token> {
    let mut scanner = Scanner { text, reports, at: 0, tokens: Vec::new(), breaks: 0, open: Vec::new(), open_braces: 0 };
    if text.starts_with('\u{feff}') {
        scanner.at = '\u{feff}'.len_utf8();
    }
    while scanner.at < text.len() {
        match scanner.open.last() {
            Some(interpolation) if interpolation.braces == 0 => scanner.interpolated_text(),
            Some(_) | None => scanner.token(),
        }
    }
    if let Some(outermost) = scanner.open.first() {
        scanner.unterminated_string(outermost.start, text.len());
    }
    scanner.tokens
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn peek(&self, offset: usize) -> u8 {
        self.rest().get(offset).copied().unwrap_or(0)
    }

    /// Scans one token, comment or piece of white space.
    fn token(&mut self) {
        let start = self.at;
        match self.peek(0) {
            b'\n' => self.line_break(),
            b' ' | b'\t' | b'\r' => self.at += 1,
            b'#' => {
                self.at += memchr::memchr(b'\n', self.rest()).unwrap_or(self.rest().len());
                let trimmed = self.text[start..self.at].trim_end().len();
                self.push(TokenKind::LineComment, start, start + trimmed);
            }
            b'/' if self.peek(1) == b'*' => self.block_comment(),
            b'"' | b'\'' => self.string(),
            b'f' if matches!(self.peek(1), b'"' | b'\'') => {
                let depth_max = self.open.len();
                self.open.push(Interpolation { start, quote: self.peek(1), braces: 0, depth_max });
                self.at += 2;
            }
            b'@' => self.timestamp(),
            b'0'..=b'9' => self.number(),
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
                self.at += self.rest().iter().take_while(|&&b| is_word_byte(b)).count();
                self.push(TokenKind::Word, start, self.at);
            }
            b':' if self.open.last().is_some_and(|interpolation| interpolation.braces == 1) => self.format_spec(),
            b'(' | b'[' | b'{' => self.bracket(TokenKind::Open),
            b')' | b']' | b'}' => self.bracket(TokenKind::Close),
            _ => self.symbol(),
        }
    }

    fn line_break(&mut self) {
        if self.open.is_empty() {
            self.breaks = (self.breaks + 1).min(2);
            self.at += 1;
        } else {
            let start = self.open[0].start;
            self.unterminated_string(start, self.at);
        }
    }

    fn push(&mut self, kind: TokenKind, start: usize, end: usize) {
        if self.open.is_empty() {
            self.tokens.push(Token { kind, start, end, breaks_before: self.breaks, depth: 0 });
            self.breaks = 0;
        }
    }

    /// Reports a token that cannot be used. In an f-string the whole string cannot.
    fn broken(&mut self, start: usize, end: usize, code: Code, message: &str, hint: Option<String>) {
        self.reports.error(code, start..end, message, hint);
        match self.open.last_mut() {
            Some(interpolation) => interpolation.depth_max = usize::MAX,
            None => self.push(TokenKind::Broken, start, end),
        }
    }

    fn literal(&mut self, kind: TokenKind, start: usize, shift: usize, error: Option<LiteralError>) {
        match error {
            None => self.push(kind, start, self.at),
            Some(error) => {
                let from = start + shift;
                let message = &error.message;
                self.reports.error(error.code, from + error.at.start..from + error.at.end, message, error.hint);
                match self.open.last_mut() {
                    Some(interpolation) => interpolation.depth_max = usize::MAX,
                    None => self.push(TokenKind::Broken, start, self.at),
                }
            }
        }
    }

    fn block_comment(&mut self) {
        let start = self.at;
        match memchr::memmem::find(&self.rest()[2..], b"*/") {
            Some(length) => self.at += length + 4,
            None => {
                self.at = self.text.len();
                let hint = Some("close it with `*/`".to_string());
                self.reports.error(codes::UNTERMINATED_COMMENT, start..start + 2, "unterminated comment", hint);
            }
        }
        if !self.open.is_empty() && self.text[start..self.at].contains('\n') {
            let outermost = self.open[0].start;
            self.unterminated_string(outermost, start);
        } else {
            self.push(TokenKind::BlockComment, start, self.at);
        }
    }

    fn string(&mut self) {
        let start = self.at;
        let quote = self.peek(0);
        let end = self.end_of_text(start + 1, quote);
        if self.text.as_bytes().get(end) != Some(&quote) {
            let outermost = self.open.first().map_or(start, |interpolation| interpolation.start);
            self.unterminated_string(outermost, end);
            return;
        }
        self.at = end + 1;
        let error = literal::unescape(&self.text[start + 1..end], false).err();
        self.literal(TokenKind::String, start, 1, error);
    }

    /// Where the text that starts at `from` ends: at the quote, or where its line does.
    fn end_of_text(&self, from: usize, quote: u8) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = from;
        while at < bytes.len() && bytes[at] != b'\n' && bytes[at] != quote {
            at += if bytes[at] == b'\\' && at + 1 < bytes.len() && bytes[at + 1] != b'\n' { 2 } else { 1 };
        }
        at.min(bytes.len())
    }

    fn unterminated_string(&mut self, start: usize, line_end: usize) {
        let end = start + self.text[start..line_end].trim_end().len();
        let quote = self.text[start..].trim_start_matches('f').chars().next().unwrap_or('"');
        let hint = Some(format!("close it with `{quote}` on the same line; a line break in a string is written \\n"));
        self.open.clear();
        self.open_braces = 0;
        self.reports.error(codes::UNTERMINATED_STRING, start..end.max(start + 1), "unterminated string", hint);
        self.push(TokenKind::Broken, start, end.max(start + 1));
        self.at = line_end;
    }

    /// The text of an f-string up to its quote or the next expression.
    fn interpolated_text(&mut self) {
        let Some(interpolation) = self.open.last_mut() else { return };
        let quote = interpolation.quote;
        let from = self.at;
        let bytes = self.text.as_bytes();
        let mut at = from;
        loop {
            match bytes.get(at) {
                None | Some(b'\n') => {
                    let outermost = self.open[0].start;
                    return self.unterminated_string(outermost, at.min(bytes.len()));
                }
                Some(b'\\') if bytes.get(at + 1).is_some_and(|b| *b == b'u') && bytes.get(at + 2) == Some(&b'{') => {
                    let length = bytes[at..].iter().position(|b| matches!(b, b'}' | b'\n')).unwrap_or(2);
                    at += if bytes.get(at + length) == Some(&b'}') { length + 1 } else { 2 };
                }
                Some(b'\\') if bytes.get(at + 1).is_some_and(|b| *b != b'\n') => at += 2,
                Some(b'{') if bytes.get(at + 1) == Some(&b'{') => at += 2,
                Some(b'}') if bytes.get(at + 1) == Some(&b'}') => at += 2,
                Some(b'{') => {
                    interpolation.braces = 1;
                    self.open_braces += 1;
                    self.raise_depth();
                    self.check_text(from, at);
                    self.at = at + 1;
                    if bytes[self.at..].iter().find(|b| **b != b' ') == Some(&b'}') {
                        let hint = Some("write an expression between the braces, or `{{}}` for braces".to_string());
                        self.broken(at, self.at + 1, codes::INVALID_INTERPOLATION, "nothing between the braces", hint);
                    }
                    return;
                }
                Some(b'}') => {
                    let hint = Some("a brace in an f-string is written twice: `}}`".to_string());
                    self.broken(at, at + 1, codes::INVALID_INTERPOLATION, "unmatched `}` in an f-string", hint);
                    self.at = at + 1;
                    return;
                }
                Some(&b) if b == quote => {
                    self.check_text(from, at);
                    self.at = at + 1;
                    return self.close_interpolation();
                }
                Some(_) => at += 1,
            }
        }
    }

    /// Reports bad escapes of an f-string's text.
    fn check_text(&mut self, from: usize, to: usize) {
        if let Err(error) = literal::unescape(&self.text[from..to], true) {
            let at = from + error.at.start..from + error.at.end;
            self.broken(at.start, at.end, error.code, &error.message, error.hint);
        }
    }

    /// Reports what other languages allow after an f-string's expression, and passes over it.
    fn format_spec(&mut self) {
        let start = self.at;
        self.at += self.rest().iter().take_while(|b| !matches!(b, b'}' | b'\n' | b'"' | b'\'')).count();
        let hint = Some("format the value in the expression, as in `{round(x, 2)}`".to_string());
        let message = "a format after `:` is not supported";
        self.broken(start, self.at, codes::INVALID_INTERPOLATION, message, hint);
    }

    fn raise_depth(&mut self) {
        if let Some(outermost) = self.open.first_mut() {
            outermost.depth_max = outermost.depth_max.max(self.open_braces);
        }
    }

    fn close_interpolation(&mut self) {
        let Some(closed) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(outer) => outer.depth_max = outer.depth_max.max(closed.depth_max),
            None if closed.depth_max == usize::MAX => self.push(TokenKind::Broken, closed.start, self.at),
            None => {
                self.push(TokenKind::String, closed.start, self.at);
                if let Some(token) = self.tokens.last_mut() {
                    token.depth = closed.depth_max;
                }
            }
        }
    }

    fn bracket(&mut self, kind: TokenKind) {
        let start = self.at;
        self.at += 1;
        if let Some(interpolation) = self.open.last_mut() {
            if kind == TokenKind::Open {
                interpolation.braces += 1;
                self.open_braces += 1;
            } else {
                interpolation.braces -= 1;
                self.open_braces -= 1;
            }
            self.raise_depth();
        }
        self.push(kind, start, self.at);
    }

    /// Passes over digits, and over separators that a digit follows.
    fn digits_and(&mut self, separators: &[u8]) {
        while self.peek(0).is_ascii_digit() || separators.contains(&self.peek(0)) && self.peek(1).is_ascii_digit() {
            self.at += 1;
        }
    }

    fn timestamp(&mut self) {
        let start = self.at;
        self.at += 1;
        self.digits_and(b"-");
        if matches!(self.peek(0), b'T' | b't') && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.digits_and(b":.");
            match self.peek(0) {
                b'Z' | b'z' => self.at += 1,
                b'+' | b'-' if self.peek(1).is_ascii_digit() => {
                    self.at += 1;
                    self.digits_and(b":");
                }
                _ => {}
            }
        }
        self.at += self.rest().iter().take_while(|b| is_word_byte(**b)).count();
        let error = literal::timestamp(&self.text[start..self.at]).err();
        self.literal(TokenKind::Timestamp, start, 0, error);
    }

    fn number(&mut self) {
        let start = self.at;
        let mut exponent_sign = 0;
        while is_word_byte(self.peek(0)) || self.peek(0) == b'.' && self.peek(1).is_ascii_digit() || {
            // The sign of an exponent belongs to the number: `1e-3`.
            let before = &self.text[start..self.at];
            let digits = before.strip_suffix(['e', 'E']).unwrap_or("x");
            matches!(self.peek(0), b'+' | b'-')
                && self.peek(1).is_ascii_digit()
                && exponent_sign == 0
                && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'_')
        } {
            exponent_sign += usize::from(matches!(self.peek(0), b'+' | b'-'));
            self.at += 1;
        }
        let error = literal::number(&self.text[start..self.at]).err();
        self.literal(TokenKind::Number, start, 0, error);
    }

    fn symbol(&mut self) {
        let start = self.at;
        let rest = &self.text[start..];
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            return self.push(TokenKind::Symbol, start, self.at);
        }
        let Some(c) = rest.chars().next() else { return };
        if c == '.' && self.peek(1).is_ascii_digit() && !self.after_operand() {
            return self.bare_fraction();
        }
        if SINGLE_SYMBOLS.contains(c) {
            self.at += 1;
            return self.push(TokenKind::Symbol, start, self.at);
        }
        let ends_run = |c: char| c.is_ascii_whitespace() || c.is_ascii_graphic() && !"$`\\".contains(c);
        self.at += c.len_utf8() + rest[c.len_utf8()..].find(ends_run).unwrap_or(rest.len() - c.len_utf8());
        let (what, hint) = match c {
            '“' | '”' | '„' | '‘' | '’' => {
                ("typographic quote", Some("strings are written with plain quotes: \"…\" or '…'"))
            }
            '\\' => ("backslash", Some("no line continuation is needed: a newline is white space")),
            c if c.is_whitespace() => ("white space that is not a plain space", None),
            c if c.is_alphabetic() => ("letter that is not ASCII", Some("names are made of A-Z, a-z, 0-9 and `_`")),
            c if c.is_control() => ("control character", None),
            _ => ("character", None),
        };
        let message = format!("unexpected {what} (U+{:04X})", u32::from(c));
        self.broken(start, self.at, codes::INVALID_CHARACTER, &message, hint.map(str::to_string));
    }

    /// Whether what was read last can be followed by a postfix dot.
    fn after_operand(&self) -> bool {
        self.text[..self.at]
            .ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ')' | ']' | '}' | '"' | '\''))
    }

    fn bare_fraction(&mut self) {
        let start = self.at;
        self.at += 1 + self.rest()[1..].iter().take_while(|b| is_word_byte(**b)).count();
        let hint = Some(format!("write `0{}`", &self.text[start..self.at]));
        self.broken(start, self.at, codes::INVALID_NUMBER, "a number begins with a digit", hint);
    }
}

fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}
