//! Lines of an event log to columns: each event is rewritten as JSON, decoded with the rest of its
//! block, and given its own position, time and text back.

use memchr::memchr;

use super::clock::{EvtClock, Line};
use super::rewrite::{Unreadable, rewrite};
use crate::connector::format::json::JsonDecoder;
use crate::connector::format::{Decoder, DecoderConfig};
use crate::connector::{Block, BlockContext, BlockData, Decoded, Malformed, MalformedReason};

pub struct EvtDecoder {
    json: JsonDecoder,
    /// Declared fields of each type, in order.
    fields: Vec<(String, Vec<String>)>,
}

/// Where an event that was rewritten came from.
struct Origin {
    /// Where it begins in the rewritten text.
    rewritten: u64,
    position: u64,
    time_ns: i64,
    raw: Vec<u8>,
}

impl EvtDecoder {
    pub fn new(config: &DecoderConfig) -> EvtDecoder {
        let declared = |ty: &crate::connector::spec::SourceType| (ty.name.clone(), ty.declared.clone());
        EvtDecoder { json: JsonDecoder::new(config), fields: config.types.iter().map(declared).collect() }
    }

    fn decode_lines(&mut self, text: &[u8], position: u64, mut clock: EvtClock) -> Decoded {
        let (mut rewritten, mut origins, mut malformed) = (Vec::new(), Vec::<Origin>::new(), Vec::new());
        let fields = &self.fields;
        let fields_of =
            |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, fields)| fields.as_slice());
        let mut at = 0;
        while at < text.len() {
            let end = memchr(b'\n', &text[at..]).map_or(text.len(), |i| at + i + 1);
            let raw = trimmed(&text[at..end]);
            let position = position + at as u64;
            let mut refuse = |reason, detail| {
                malformed.push(Malformed { reason, detail, position, line: None, raw: raw.to_vec() });
            };
            match std::str::from_utf8(raw).map(|text| clock.read(text)) {
                Err(_) => refuse(MalformedReason::InvalidUtf8, "the row is not valid UTF-8".to_string()),
                Ok(Line::NoEvent) => {}
                Ok(Line::BadTime(time)) => refuse(MalformedReason::Syntax, format!("`{time}` is no time")),
                Ok(Line::Event(event)) => {
                    let start = rewritten.len();
                    match rewrite(event, &fields_of, &mut rewritten) {
                        Ok(()) => origins.push(Origin {
                            rewritten: start as u64,
                            position,
                            time_ns: clock.now_ns(),
                            raw: raw.to_vec(),
                        }),
                        Err(Unreadable { expected, at }) => {
                            rewritten.truncate(start);
                            refuse(MalformedReason::Syntax, format!("expected {expected} at byte {at} of the event"));
                        }
                    }
                }
            }
            at = end;
        }
        let block = Block { data: BlockData::Bytes(rewritten), ..Block::default() };
        let mut decoded = self.json.decode(&block);
        restore(&mut decoded, &origins);
        decoded.rows += malformed.len() as u64;
        decoded.malformed.extend(malformed);
        decoded.malformed.sort_by_key(|m| m.position);
        decoded
    }
}

/// Gives rows the positions, times and texts that they had before they were rewritten.
fn restore(decoded: &mut Decoded, origins: &[Origin]) {
    let origin = |rewritten: u64| {
        let after = origins.partition_point(|o| o.rewritten <= rewritten);
        &origins[after - 1]
    };
    for rows in &mut decoded.types {
        rows.format_times = Some(rows.positions.iter().map(|&p| origin(p).time_ns).collect());
        rows.positions.iter_mut().for_each(|p| *p = origin(*p).position);
    }
    for row in &mut decoded.malformed {
        let origin = origin(row.position);
        (row.position, row.raw) = (origin.position, origin.raw.clone());
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Decoder for EvtDecoder {
    fn decode(&mut self, block: &Block) -> Decoded {
        let now_ns = match block.context {
            BlockContext::Time(now_ns) => now_ns,
            BlockContext::Nothing | BlockContext::Header(_) => 0,
        };
        match &block.data {
            BlockData::Bytes(text) => self.decode_lines(text, block.position, EvtClock::at(now_ns)),
            BlockData::TooLong { head, bytes } => {
                let mut decoded = self.decode_lines(&[], block.position, EvtClock::at(now_ns));
                decoded.add_too_long(block.position, head, *bytes);
                decoded
            }
            BlockData::Rows(_) | BlockData::RowGroup { .. } => unreachable!("blocks of an event log are lines"),
        }
    }
}
