//! A place in CSV text, and what moves it from cell to cell (RFC 4180).
//!
//! A quote opens only at the start of a cell; elsewhere it is text. Blocks are cut by the same rule, so
//! that a row never lacks its other half. The cursor passes line ends only inside quotes.

use std::ops::Range;

use memchr::memchr;

use crate::connector::format::swar::{first_marked, load, mark_equal};

pub struct Cursor<'a> {
    pub text: &'a [u8],
    pub at: usize,
    pub delimiter: u8,
    /// Of the last quoted cell with doubled quotes: what it stands for.
    pub unquoted: Vec<u8>,
}

/// A cell that was read.
pub struct Cell {
    place: CellPlace,
    /// An empty or `NA` cell in quotes is text, not null.
    pub quoted: bool,
}

enum CellPlace {
    InText(Range<usize>),
    Unquoted,
}

/// Why the text at the cursor is no cell.
pub type Syntax = &'static str;

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8], delimiter: u8) -> Cursor<'a> {
        Cursor { text, at: 0, delimiter, unquoted: Vec::new() }
    }

    #[inline(always)]
    pub fn at_quote(&self) -> bool {
        self.text.get(self.at) == Some(&b'"')
    }

    /// Whether a cell without quotes that began before `at` ends there.
    #[inline(always)]
    pub fn ends_at(&self, at: usize) -> bool {
        match self.text.get(at) {
            Some(b'\n') | None => true,
            Some(b'\r') => matches!(self.text.get(at + 1), Some(b'\n') | None),
            Some(&byte) => byte == self.delimiter,
        }
    }

    /// Where the cell without quotes that begins at the cursor ends.
    #[inline(always)]
    pub fn plain_end(&self) -> usize {
        let mut at = self.at;
        loop {
            let word = load(self.text, at);
            let marks = mark_equal(word, self.delimiter) | mark_equal(word, b'\n');
            if marks != 0 {
                at += first_marked(marks);
                break;
            }
            at += 8;
        }
        let line_ends = self.text.get(at) != Some(&self.delimiter);
        let carriage_return = line_ends && at > self.at && self.text[at - 1] == b'\r';
        at - carriage_return as usize
    }

    /// Reads the cell at the cursor, up to and without its delimiter or line end.
    pub fn cell(&mut self) -> Result<Cell, Syntax> {
        if self.at_quote() {
            return self.quoted_cell();
        }
        let start = self.at;
        self.at = self.plain_end();
        Ok(Cell { place: CellPlace::InText(start..self.at), quoted: false })
    }

    fn quoted_cell(&mut self) -> Result<Cell, Syntax> {
        let start = self.at + 1;
        let mut part = start;
        self.unquoted.clear();
        loop {
            let rest = self.text.get(part..).unwrap_or(&[]);
            let Some(length) = memchr(b'"', rest) else {
                self.at = self.text.len();
                return Err("quote is not closed");
            };
            let quote = part + length;
            if self.text.get(quote + 1) == Some(&b'"') {
                self.unquoted.extend_from_slice(&self.text[part..=quote]);
                part = quote + 2;
                continue;
            }
            self.at = quote + 1;
            if !self.ends_at(self.at) {
                return Err("text after a closing quote");
            }
            let place = if part == start {
                CellPlace::InText(start..quote)
            } else {
                self.unquoted.extend_from_slice(&self.text[part..quote]);
                CellPlace::Unquoted
            };
            return Ok(Cell { place, quoted: true });
        }
    }

    #[inline]
    pub fn bytes_of(&self, cell: &Cell) -> &[u8] {
        match &cell.place {
            CellPlace::InText(range) => &self.text[range.clone()],
            CellPlace::Unquoted => &self.unquoted,
        }
    }

    #[inline(always)]
    pub fn skip_cell(&mut self) -> Result<(), Syntax> {
        if self.at_quote() {
            return self.quoted_cell().map(|_| ());
        }
        self.at = self.plain_end();
        Ok(())
    }

    /// After a cell: takes the delimiter if there is one, and tells whether there was.
    #[inline(always)]
    pub fn another(&mut self) -> bool {
        let found = self.text.get(self.at) == Some(&self.delimiter);
        self.at += found as usize;
        found
    }

    /// Moves from the start of a row to its end, whatever is wrong with its cells; counts the cells.
    pub fn skip_row(&mut self) -> usize {
        let mut cells = 1;
        loop {
            if self.skip_cell().is_err() {
                self.at = self.plain_end();
            }
            if !self.another() {
                return cells;
            }
            cells += 1;
        }
    }

    /// At the end of a row: takes its line end.
    #[inline(always)]
    pub fn take_line_end(&mut self) {
        self.at += (self.text.get(self.at) == Some(&b'\r')) as usize;
        self.at += (self.text.get(self.at) == Some(&b'\n')) as usize;
    }
}
