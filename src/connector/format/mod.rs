//! Formats: from the bytes of a block to columns, and from rows to bytes.

pub mod column;
pub mod columnar;
pub mod csv;
pub mod encode;
pub mod evt;
pub mod instant;
pub mod json;
pub mod number;
pub mod swar;

use crate::connector::spec::{FileFormat, SourceType};
use crate::connector::{Block, Decoded, Malformed, MalformedReason};

/// Decodes the blocks of one source on one worker.
///
/// # Contract
/// - The result depends on the block alone: not on the blocks before it, nor on the worker. Only
///   `unknown_fields` is told once, with the first block.
/// - Every row of the block is in `Decoded` exactly once: in `types`, `malformed` or `other_types`.
/// - No input panics.
pub trait Decoder: Send {
    fn decode(&mut self, block: &Block) -> Decoded;
}

/// What a decoder is told about its rows.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    pub types: Vec<SourceType>,
}

/// A decoder of rows in `format`.
pub fn decoder(format: FileFormat, config: &DecoderConfig) -> Box<dyn Decoder> {
    match format {
        FileFormat::Jsonl => Box::new(json::JsonDecoder::new(config)),
        FileFormat::Csv { .. } => Box::new(csv::CsvDecoder::new(config)),
        FileFormat::Evt => Box::new(evt::EvtDecoder::new(config)),
        FileFormat::Parquet | FileFormat::Arrow => Box::new(columnar::ColumnarDecoder::new(config)),
    }
}

impl Decoded {
    /// Accounts for a line that the transport has dropped but for its beginning.
    pub fn add_too_long(&mut self, position: u64, head: &[u8], bytes: u64) {
        self.rows += 1;
        let detail = format!("a line of {bytes} bytes");
        let (reason, raw) = (MalformedReason::LineTooLong, head.to_vec());
        self.malformed.push(Malformed { reason, detail, position, line: None, raw });
    }
}

/// Counts rows of types that the source does not have.
#[derive(Debug, Default)]
pub struct OtherTypes {
    counts: Vec<(String, u64)>,
}

impl OtherTypes {
    /// Names that are kept; the rows of all further ones are counted under [`OtherTypes::REST`].
    const NAMES_MAX: usize = 64;
    const REST: &str = "…";

    pub fn count(&mut self, name: &str) {
        let full = self.counts.len() >= OtherTypes::NAMES_MAX;
        let known = |name: &str, counts: &[(String, u64)]| counts.iter().position(|(n, _)| n == name);
        let place = known(name, &self.counts).or_else(|| full.then(|| known(OtherTypes::REST, &self.counts)).flatten());
        match place {
            Some(place) => self.counts[place].1 += 1,
            None => self.counts.push((if full { OtherTypes::REST } else { name }.to_string(), 1)),
        }
    }

    pub fn take(&mut self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.counts)
    }
}
