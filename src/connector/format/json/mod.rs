//! JSONL: one JSON object per line.
//!
//! ```text
//! {"ts":"2026-03-01T09:30:00.250Z","symbol":"SYM123","price":101.25}
//!  └ keys: compared with the name that came here last time
//!       └ value: by the column's type, straight into the column
//! ```
//!
//! One pass over the bytes, without an index or a tree. What the program does not use is skipped, but
//! checked: a row is malformed whatever the fields that are read of it. Blank lines are no rows, CR LF
//! ends a line as LF does.
//!
//! The order of a row's faults: invalid UTF-8, syntax, the type, then the first field of the schema that
//! is missing, null or of the wrong type.

mod cursor;
mod fault;
mod keys;
mod row;
mod tag;
mod value;

#[cfg(test)]
mod tests;

use memchr::memchr;

use self::cursor::Cursor;
use self::fault::Syntax;
use self::row::{Certainty, Outcome, RowFault, TypeRows};
use self::tag::{Class, Tags};
use super::column::Column;
use super::instant::InstantParser;
use super::{Decoder, DecoderConfig, OtherTypes};
use crate::connector::{Block, BlockData, Decoded, Malformed, MalformedReason};

/// Decodes blocks of lines of JSON.
pub struct JsonDecoder {
    tags: Tags,
    types: Vec<TypeRows>,
    other_types: OtherTypes,
    unescaped: Vec<u8>,
}

/// What became of a row that is not malformed.
enum Fate {
    Read,
    Other(String),
}

impl JsonDecoder {
    pub fn new(config: &DecoderConfig) -> JsonDecoder {
        let several = config.types.len() > 1;
        JsonDecoder {
            tags: Tags::new(&config.types),
            types: config.types.iter().map(|ty| TypeRows::new(ty, several)).collect(),
            other_types: OtherTypes::default(),
            unescaped: Vec::new(),
        }
    }

    /// Reads the row that begins at the cursor, which ends at its line end if all is well.
    #[inline]
    fn read_row(&mut self, cursor: &mut Cursor, position: u64) -> Result<Fate, RowFault> {
        if cursor.peek() != b'{' {
            return Err(Syntax("expected an object").into());
        }
        let start = cursor.at;
        let assumed = match &self.types[..] {
            [_] => Some(0),
            _ if self.tags.head_decides => self.tags.of_head(cursor).or(self.tags.only),
            _ => None,
        };
        cursor.at = start;
        if let Some(ty) = assumed {
            let rows = &mut self.types[ty];
            match rows.read(cursor, Certainty::Assumed, position)? {
                Outcome::Read => return Ok(Fate::Read),
                Outcome::Unsettled => rows.cut(),
            }
            cursor.at = start;
        }
        self.read_classified(cursor, position)
    }

    #[inline(never)]
    fn read_classified(&mut self, cursor: &mut Cursor, position: u64) -> Result<Fate, RowFault> {
        let start = cursor.at;
        match self.tags.classify(cursor)? {
            Class::Other(name) => return Ok(Fate::Other(name)),
            Class::Untagged => {
                let detail = "no `event_type`".to_string();
                return Err(RowFault::Field { reason: MalformedReason::MissingField, detail });
            }
            Class::Row { ty, data: None } => {
                cursor.at = start;
                self.types[ty].read(cursor, Certainty::Settled, position)?;
            }
            Class::Row { ty, data: Some(data) } => {
                let end = cursor.at;
                cursor.at = data;
                self.types[ty].read_data(cursor, position)?;
                cursor.at = end;
            }
        }
        Ok(Fate::Read)
    }

    #[cold]
    fn malformed(&mut self, fault: RowFault, cursor: &Cursor, start: usize) -> (MalformedReason, String) {
        self.types.iter_mut().for_each(TypeRows::cut);
        match fault {
            RowFault::Syntax(Syntax(what)) => {
                (MalformedReason::Syntax, format!("{what} at byte {} of the row", cursor.at - start))
            }
            RowFault::Field { reason, detail } => (reason, detail),
        }
    }

    fn decode_lines(&mut self, text: &[u8], base: u64, out: &mut Decoded) {
        let all_valid = simdutf8::basic::from_utf8(text).is_ok();
        let mut cursor = Cursor::new(text);
        cursor.unescaped = std::mem::take(&mut self.unescaped);
        while cursor.at < text.len() {
            let start = cursor.at;
            cursor.skip_space();
            if cursor.peek() != b'\n' {
                out.rows += 1;
                let read = if all_valid || simdutf8::basic::from_utf8(&text[start..line_end(text, start)]).is_ok() {
                    self.read_row(&mut cursor, base + start as u64)
                } else {
                    let detail = "the row is not valid UTF-8".to_string();
                    Err(RowFault::Field { reason: MalformedReason::InvalidUtf8, detail })
                };
                match read {
                    Ok(Fate::Read) => {}
                    Ok(Fate::Other(name)) => self.other_types.count(&name),
                    Err(fault) => {
                        let (reason, detail) = self.malformed(fault, &cursor, start);
                        cursor.at = line_end(text, start);
                        let raw = text[start..cursor.at].strip_suffix(b"\r").unwrap_or(&text[start..cursor.at]);
                        let position = base + start as u64;
                        out.malformed.push(Malformed { reason, detail, position, line: None, raw: raw.to_vec() });
                    }
                }
            }
            cursor.at += 1;
        }
        self.unescaped = std::mem::take(&mut cursor.unescaped);
    }
}

/// Reads `text`, which should be one JSON value, to the end of `column`; for nested values in other
/// formats. Tells whether it could; if not, the column may hold parts of it.
pub fn read_whole(text: &[u8], column: &mut Column) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    let read = value::read_nested(&mut cursor, column, &mut InstantParser::default(), 0);
    cursor.skip_space();
    read.is_ok() && cursor.at == text.len()
}

/// Where the line that holds `at` ends, its line end not included.
fn line_end(text: &[u8], at: usize) -> usize {
    memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length)
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, block: &Block) -> Decoded {
        let mut out = Decoded::default();
        match &block.data {
            BlockData::Bytes(text) => self.decode_lines(text, block.position, &mut out),
            BlockData::TooLong { head, bytes } => out.add_too_long(block.position, head, *bytes),
            BlockData::Rows(_) | BlockData::RowGroup { .. } => unreachable!("blocks of JSONL are lines"),
        }
        for rows in &mut self.types {
            out.types.push(rows.finish());
            out.unknown_fields.extend(rows.take_unknown());
        }
        out.unknown_fields.sort();
        out.unknown_fields.dedup();
        out.other_types = self.other_types.take();
        out
    }
}
