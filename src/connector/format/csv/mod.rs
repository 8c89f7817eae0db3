//! CSV and TSV: RFC 4180 under a header, which the reader takes off the file and sends with each block.
//!
//! Cells are found and converted in one pass; of columns that the program does not use only the ends
//! are found. Empty lines are no rows. Every row must have as many cells as the header.
//!
//! A row's type is in the column `event_type`; failing that in `type`, if that is the name of one of
//! the source's types. With one type only that is read, a row without a tag is of that type, and a column that the
//! type declares is no tag.

mod cursor;
mod rows;
mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::cursor::Cursor;
use self::rows::{RowFault, TypeRows};
use super::{Decoder, DecoderConfig, OtherTypes};
use crate::connector::spec::{SourceType, only_read};
use crate::connector::{Block, BlockContext, BlockData, CsvHeader, Decoded, Malformed, MalformedReason};

/// Decodes blocks of CSV.
pub struct CsvDecoder {
    types: Vec<SourceType>,
    /// The type of rows that name none.
    only: Option<usize>,
    rows: Vec<TypeRows>,
    other_types: OtherTypes,
    /// Of the last block.
    header: Option<Arc<CsvHeader>>,
    tags: Tags,
    /// Columns of headers so far that no type declares, of which `reported` have been told.
    unknown: Vec<String>,
    reported: usize,
    unquoted: Vec<u8>,
}

/// The columns that may name a row's type.
#[derive(Debug, Default)]
struct Tags {
    event_type: Option<usize>,
    ty: Option<usize>,
}

/// Of which type a row is.
enum Class {
    Type(usize),
    Other(String),
    Untagged,
}

impl CsvDecoder {
    pub fn new(config: &DecoderConfig) -> CsvDecoder {
        CsvDecoder {
            types: config.types.clone(),
            only: only_read(&config.types),
            rows: config.types.iter().map(TypeRows::new).collect(),
            other_types: OtherTypes::default(),
            header: None,
            tags: Tags::default(),
            unknown: Vec::new(),
            reported: 0,
            unquoted: Vec::new(),
        }
    }

    fn set_header(&mut self, header: &Arc<CsvHeader>) {
        if self.header.as_ref().is_some_and(|last| Arc::ptr_eq(last, header) || last == header) {
            return;
        }
        let names: Vec<&str> = header.names.iter().map(|name| name.trim()).collect();
        self.rows.iter_mut().for_each(|rows| rows.set_header(&names));
        let declares =
            |ty: &SourceType, name: &str| ty.schema.index_of(name).is_some() || ty.declared.iter().any(|d| d == name);
        let only = self.only.map(|only| &self.types[only]);
        let tag = |name: &str| {
            let column = names.iter().rposition(|n| *n == name);
            column.filter(|_| only.is_none_or(|only| !declares(only, name)))
        };
        self.tags = Tags { event_type: tag("event_type"), ty: tag("type") };
        for name in names {
            let known = ["event_type", "type"].contains(&name) || self.types.iter().any(|ty| declares(ty, name));
            if !known && !self.unknown.iter().any(|u| u == name) {
                self.unknown.push(name.to_string());
            }
        }
        self.header = Some(header.clone());
    }

    /// Reads the row at the cursor; the name of its type if that is another.
    #[inline]
    fn read_row(&mut self, cursor: &mut Cursor, position: u64) -> Result<Option<String>, RowFault> {
        let has_tag = self.tags.event_type.is_some() || (self.tags.ty.is_some() && self.types.len() > 1);
        if let (Some(only), false) = (self.only, has_tag) {
            self.rows[only].read(cursor, position)?;
            return Ok(None);
        }
        let start = cursor.at;
        match self.classify(cursor)? {
            Class::Type(ty) => {
                cursor.at = start;
                self.rows[ty].read(cursor, position)?;
                Ok(None)
            }
            Class::Other(name) => Ok(Some(name)),
            Class::Untagged => {
                let detail = "no `event_type`".to_string();
                Err(RowFault { reason: MalformedReason::MissingField, detail })
            }
        }
    }

    /// Reads the row's tags, and all of it to see that it is well-formed.
    fn classify(&self, cursor: &mut Cursor) -> Result<Class, RowFault> {
        let (mut event_type, mut ty, mut cells) = (None, None, 0);
        loop {
            let cell = cursor.cell().map_err(RowFault::syntax)?;
            let text = cursor.bytes_of(&cell);
            if !value::is_null(text) {
                if self.tags.event_type == Some(cells) {
                    event_type = Some(String::from_utf8_lossy(text).into_owned());
                } else if self.tags.ty == Some(cells) {
                    ty = self.types.iter().position(|t| t.name.as_bytes() == text);
                }
            }
            cells += 1;
            if !cursor.another() {
                break;
            }
        }
        if self.header.as_ref().is_some_and(|header| header.names.len() != cells) {
            return Err(RowFault::syntax(""));
        }
        let named = |name: &str| self.types.iter().position(|t| t.name == name);
        Ok(match event_type {
            Some(name) => named(&name).map_or(Class::Other(name), Class::Type),
            None => ty.or(self.only).map_or(Class::Untagged, Class::Type),
        })
    }

    fn decode_rows(&mut self, text: &[u8], delimiter: u8, base: u64, out: &mut Decoded) {
        let all_valid = simdutf8::basic::from_utf8(text).is_ok();
        let mut cursor = Cursor::new(text, delimiter);
        cursor.unquoted = std::mem::take(&mut self.unquoted);
        while cursor.at < text.len() {
            let start = cursor.at;
            cursor.take_line_end();
            if cursor.at > start && (text[cursor.at - 1] == b'\n' || cursor.at == text.len()) {
                continue;
            }
            cursor.at = start;
            out.rows += 1;
            let read = if all_valid || row_is_utf8(&mut cursor) {
                self.read_row(&mut cursor, base + start as u64)
            } else {
                let detail = "the row is not valid UTF-8".to_string();
                Err(RowFault { reason: MalformedReason::InvalidUtf8, detail })
            };
            match read {
                Ok(None) => {}
                Ok(Some(other)) => self.other_types.count(&other),
                Err(fault) => out.malformed.push(self.malformed(fault, &mut cursor, start, base)),
            }
            cursor.take_line_end();
        }
        self.unquoted = std::mem::take(&mut cursor.unquoted);
    }

    /// Takes back what the row has written, and moves the cursor to its end.
    #[cold]
    fn malformed(&mut self, fault: RowFault, cursor: &mut Cursor, start: usize, base: u64) -> Malformed {
        self.rows.iter_mut().for_each(TypeRows::cut);
        cursor.at = start;
        let cells = cursor.skip_row();
        let RowFault { reason, mut detail } = fault;
        if detail.is_empty() {
            let columns = self.header.as_ref().map_or(0, |header| header.names.len());
            detail = format!("{cells} values, but the header has {columns}");
        }
        let raw = cursor.text[start..cursor.at].to_vec();
        Malformed { reason, detail, position: base + start as u64, line: None, raw }
    }
}

/// Whether the row at the cursor is valid UTF-8. The cursor stays.
fn row_is_utf8(cursor: &mut Cursor) -> bool {
    let start = cursor.at;
    cursor.skip_row();
    let end = std::mem::replace(&mut cursor.at, start);
    simdutf8::basic::from_utf8(&cursor.text[start..end]).is_ok()
}

/// The rows of `text` as text, with whether each cell was quoted; rows that are not well-formed are left
/// out. For looking at a few rows: what is decoded goes into columns at once.
pub fn split_rows(text: &[u8], delimiter: u8) -> impl Iterator<Item = Vec<(String, bool)>> {
    let mut cursor = Cursor::new(text, delimiter);
    std::iter::from_fn(move || {
        while cursor.at < text.len() {
            let start = cursor.at;
            let cells = split_row(&mut cursor);
            if cells.is_none() {
                cursor.at = start;
                cursor.skip_row();
            }
            let empty = cursor.at == start;
            cursor.take_line_end();
            if !empty && cells.is_some() {
                return cells;
            }
        }
        None
    })
}

fn split_row(cursor: &mut Cursor) -> Option<Vec<(String, bool)>> {
    let mut cells = Vec::new();
    loop {
        let cell = cursor.cell().ok()?;
        cells.push((String::from_utf8(cursor.bytes_of(&cell).to_vec()).ok()?, cell.quoted));
        if !cursor.another() {
            return Some(cells);
        }
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, block: &Block) -> Decoded {
        let mut out = Decoded::default();
        match (&block.data, &block.context) {
            (BlockData::Bytes(text), BlockContext::Header(header)) => {
                self.set_header(header);
                self.decode_rows(text, header.delimiter, block.position, &mut out);
            }
            (BlockData::TooLong { head, bytes }, _) => out.add_too_long(block.position, head, *bytes),
            (BlockData::Bytes(_), BlockContext::Nothing | BlockContext::Time(_))
            | (BlockData::Rows(_) | BlockData::RowGroup { .. }, _) => {
                unreachable!("blocks of CSV are lines under a header")
            }
        }
        out.types = self.rows.iter_mut().map(TypeRows::finish).collect();
        out.unknown_fields = self.unknown[self.reported..].to_vec();
        self.reported = self.unknown.len();
        out.other_types = self.other_types.take();
        out
    }
}
