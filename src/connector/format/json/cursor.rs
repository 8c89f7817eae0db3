//! A place in the text of a block, and what moves it: white space, strings, values to be skipped.
//!
//! The cursor never passes a line end: no token contains one, and the end of the text reads as one. So
//! a row is parsed without its end being looked for first. What is skipped is checked as strictly as
//! what is read; whether a row is malformed does not depend on the fields that a program uses.

use std::ops::Range;

use super::fault::Syntax;
use crate::connector::format::number::{self, NumberFault};
use crate::connector::format::swar::{first_marked, load, mark_below, mark_equal};

/// Nesting of values beyond which a row is refused, the row itself included. Without a limit a row
/// could exhaust the stack.
pub const DEPTH_MAX: usize = 128;

pub struct Cursor<'a> {
    pub text: &'a [u8],
    pub at: usize,
    /// Of the last string with escapes: what it stands for.
    pub unescaped: Vec<u8>,
}

/// A string that was read.
pub enum Text {
    /// It stands in the text as it is.
    Plain(Range<usize>),
    /// It has escapes; see [`Cursor::unescaped`].
    Unescaped,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8]) -> Cursor<'a> {
        Cursor { text, at: 0, unescaped: Vec::new() }
    }

    #[inline(always)]
    pub fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(b'\n')
    }

    /// Skips white space within the line.
    #[inline(always)]
    pub fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Skips white space, then takes `byte` or fails.
    #[inline(always)]
    pub fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Syntax> {
        self.skip_space();
        if self.peek() != byte {
            return Err(Syntax(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// After a member or item: true if another follows, false if `close` ended the container.
    #[inline(always)]
    pub fn another(&mut self, close: u8) -> Result<bool, Syntax> {
        let byte = match self.peek() {
            byte if byte > b' ' => byte,
            _ => {
                self.skip_space();
                self.peek()
            }
        };
        if byte == b',' {
            self.at += 1;
            Ok(true)
        } else if byte == close {
            self.at += 1;
            Ok(false)
        } else {
            Err(Syntax(if close == b'}' { "expected `,` or `}`" } else { "expected `,` or `]`" }))
        }
    }

    /// Reads a string whose opening quote is the next byte.
    #[inline(always)]
    pub fn string(&mut self) -> Result<Text, Syntax> {
        let start = self.at + 1;
        let at = self.run_end(start);
        if self.text.get(at) == Some(&b'"') {
            self.at = at + 1;
            return Ok(Text::Plain(start..at));
        }
        self.string_with_escapes(start, at)
    }

    /// Where the bytes from `at` on end that a string holds as they are: at a quote, a backslash or a
    /// control character, which the end of the text counts as.
    #[inline(always)]
    fn run_end(&self, mut at: usize) -> usize {
        loop {
            let word = load(self.text, at);
            let marks = mark_equal(word, b'"') | mark_equal(word, b'\\') | mark_below(word, b' ');
            if marks != 0 {
                return at + first_marked(marks);
            }
            at += 8;
        }
    }

    /// The bytes that a string stands for.
    #[inline(always)]
    pub fn bytes_of(&self, text: &Text) -> &[u8] {
        match text {
            Text::Plain(range) => &self.text[range.clone()],
            Text::Unescaped => &self.unescaped,
        }
    }

    /// `at` is at the first byte from `start` on that is a quote, a backslash or no part of a string.
    #[cold]
    fn string_with_escapes(&mut self, start: usize, at: usize) -> Result<Text, Syntax> {
        self.unescaped.clear();
        self.unescaped.extend_from_slice(&self.text[start..at.min(self.text.len())]);
        self.at = at;
        loop {
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(Text::Unescaped);
                }
                b'\\' => self.escape()?,
                b'\n' => return Err(Syntax("string is not closed")),
                0..b' ' => return Err(Syntax("control character in a string")),
                _ => {
                    let end = self.run_end(self.at);
                    self.unescaped.extend_from_slice(&self.text[self.at..end]);
                    self.at = end;
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), Syntax> {
        self.at += 1;
        let byte = match self.peek() {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(Syntax("unknown escape in a string")),
        };
        self.at += 1;
        self.unescaped.push(byte);
        Ok(())
    }

    /// Reads `uXXXX`, and the second half of a surrogate pair.
    fn unicode_escape(&mut self) -> Result<(), Syntax> {
        let first = self.hex_digits()?;
        let code = match first {
            0xd800..0xdc00 => {
                if self.text.get(self.at) != Some(&b'\\') || self.text.get(self.at + 1) != Some(&b'u') {
                    return Err(Syntax("half a surrogate pair in a string"));
                }
                self.at += 1;
                let second = self.hex_digits()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(Syntax("half a surrogate pair in a string"));
                }
                0x1_0000 + ((first - 0xd800) << 10 | (second - 0xdc00))
            }
            code => code,
        };
        let char = char::from_u32(code).ok_or(Syntax("half a surrogate pair in a string"))?;
        self.unescaped.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// The four digits after the `u` at the cursor.
    fn hex_digits(&mut self) -> Result<u32, Syntax> {
        let digits = self.text.get(self.at + 1..self.at + 5).unwrap_or(&[]);
        let value = |code: u32, digit: &u8| Some(code << 4 | (*digit as char).to_digit(16)?);
        let code = digits.iter().try_fold(0, value).filter(|_| digits.len() == 4);
        self.at += 5;
        code.ok_or(Syntax("an escape `\\u` needs four hexadecimal digits"))
    }

    /// Takes `null`, `true` or `false` if that is what follows.
    #[inline(always)]
    pub fn literal(&mut self, word: &'static [u8]) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Skips the value at the cursor; `depth` containers are open around it.
    #[inline]
    pub fn skip_value(&mut self, depth: usize) -> Result<(), Syntax> {
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b'{' => self.skip_object(depth),
            b'[' => self.skip_array(depth),
            b'-' | b'0'..=b'9' => self.skip_number(),
            _ if self.literal(b"null") || self.literal(b"true") || self.literal(b"false") => Ok(()),
            _ => Err(Syntax("expected a value")),
        }
    }

    pub fn skip_number(&mut self) -> Result<(), Syntax> {
        match number::skip(self.text, self.at) {
            Ok(end) => self.at = end,
            Err(NumberFault::Syntax | NumberFault::Fraction | NumberFault::OutOfRange) => {
                return Err(Syntax("not a number of JSON"));
            }
        }
        Ok(())
    }

    fn skip_object(&mut self, depth: usize) -> Result<(), Syntax> {
        if !self.open(b'}', depth)? {
            return Ok(());
        }
        loop {
            self.skip_space();
            if self.peek() != b'"' {
                return Err(Syntax("expected a member's name"));
            }
            self.string()?;
            self.expect(b':', "expected `:`")?;
            self.skip_space();
            self.skip_value(depth + 1)?;
            if !self.another(b'}')? {
                return Ok(());
            }
        }
    }

    fn skip_array(&mut self, depth: usize) -> Result<(), Syntax> {
        if !self.open(b']', depth)? {
            return Ok(());
        }
        loop {
            self.skip_space();
            self.skip_value(depth + 1)?;
            if !self.another(b']')? {
                return Ok(());
            }
        }
    }

    /// Takes the bracket at the cursor; false if the container is empty and has been taken whole.
    pub fn open(&mut self, close: u8, depth: usize) -> Result<bool, Syntax> {
        if depth >= DEPTH_MAX {
            return Err(Syntax("values are nested too deep"));
        }
        self.at += 1;
        self.skip_space();
        let empty = self.peek() == close;
        self.at += empty as usize;
        Ok(!empty)
    }
}
