//! Formats: from the bytes of a block to columns, and from rows to bytes.

use crate::connector::spec::SourceType;
use crate::connector::{Block, Decoded};

/// Decodes the blocks of one source on one worker.
///
/// # Contract
/// - The result depends on the block alone: not on the blocks before it, nor on the worker.
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
