//! Where a stream of bytes may be cut into blocks: at line ends, and for CSV only outside quotes.
//!
//! Bytes are pushed in as they come, in pieces of any size; blocks come out. Nothing here reads or
//! waits, so that files, pipes and decompressors share it, and the property "the blocks joined are the
//! stream" is tested once.
//!
//! # Invariants
//! - `buffer` holds exactly the bytes from `position` on that were pushed and not yet handed out.
//! - Whether a line is too long depends on its length alone, not on how its bytes arrived.

use memchr::{memchr, memrchr};

use super::partition::{BLOCK_BYTES, LINE_BYTES_MAX};
use super::{Block, BlockContext, BlockData};

/// What is kept of a line that is too long: enough to recognise it in a log.
const HEAD_BYTES: usize = 1024;

/// Where a row ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// At every line end.
    Lines,
    /// At line ends outside quotes.
    Quoted { delimiter: u8 },
}

/// Cuts one stream.
#[derive(Debug)]
pub(crate) struct Cutter {
    rule: Rule,
    target_bytes: usize,
    line_bytes_max: usize,
    buffer: Vec<u8>,
    /// Offset in the stream of the buffer's first byte.
    position: u64,
    /// Blocks handed out.
    index: u64,
    /// How much of the buffer the next cut may look at; it is tried when that much is there.
    wanted: usize,
    /// A line that is being dropped: its beginning, and its bytes so far.
    dropping: Option<(Vec<u8>, u64)>,
    /// Given back, for the next block; empty.
    spare: Vec<u8>,
}

impl Cutter {
    pub(crate) fn new(rule: Rule) -> Cutter {
        Cutter {
            rule,
            target_bytes: BLOCK_BYTES,
            line_bytes_max: LINE_BYTES_MAX,
            buffer: Vec::new(),
            position: 0,
            index: 0,
            wanted: BLOCK_BYTES,
            dropping: None,
            spare: Vec::new(),
        }
    }

    pub(crate) fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
    }

    pub(crate) fn set_target_bytes(&mut self, bytes: usize) {
        self.target_bytes = bytes.max(1);
        self.wanted = self.step();
    }

    /// How much is looked at in addition from one cut to the next. At most half of a line's limit, so
    /// that only the first line can be longer than the limit.
    fn step(&self) -> usize {
        self.target_bytes.min(self.line_bytes_max / 2).max(1)
    }

    #[cfg(test)]
    pub(crate) fn set_line_bytes_max(&mut self, bytes: usize) {
        self.line_bytes_max = bytes;
        self.set_target_bytes(self.target_bytes);
    }

    /// Forgets what was pushed and goes on with the stream's byte `position`, the start of a row.
    pub(crate) fn reset(&mut self, position: u64) {
        self.buffer.clear();
        self.position = position;
        self.index = 0;
        self.dropping = None;
        self.set_target_bytes(self.target_bytes);
    }

    /// The position of the next block: what is before it has been handed out.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Takes a buffer that a later block may have.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        // That of a very long line is not worth keeping.
        if buffer.capacity() <= 2 * BLOCK_BYTES {
            buffer.clear();
            self.spare = buffer;
        }
    }

    /// Where to append bytes of the stream.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Drops the first `len` bytes of the buffer, which are not part of any row (BOM, header).
    pub(crate) fn skip(&mut self, len: usize) {
        self.buffer.drain(..len);
        self.position += len as u64;
    }

    /// How many more bytes should be pushed before a cut is tried.
    pub(crate) fn wants(&self) -> usize {
        self.wanted.saturating_sub(self.buffer.len())
    }

    /// A block of the whole rows at the front of the buffer, about as many as the target says; with
    /// `ended`, the last row may lack its line end. `None`: more bytes are needed, or with `ended`,
    /// nothing is left.
    pub(crate) fn cut(&mut self, ended: bool) -> Option<Block> {
        if self.dropping.is_some() {
            return self.drop_line(ended);
        }
        while self.wants() == 0 || ended && !self.buffer.is_empty() {
            let window = &self.buffer[..self.wanted.min(self.buffer.len())];
            if window.len() > self.line_bytes_max
                && first_end(window, self.rule).is_none_or(|end| end > self.line_bytes_max)
            {
                let head = window[..HEAD_BYTES.min(self.line_bytes_max)].to_vec();
                self.dropping = Some((head, 0));
                return self.drop_line(ended);
            }
            if ended && window.len() == self.buffer.len() {
                return Some(self.hand_out(self.buffer.len()));
            }
            if let Some(end) = last_end(window, self.rule) {
                return Some(self.hand_out(end));
            }
            // Doubling keeps the rescans of a long line linear in its length.
            self.wanted += self.wanted.min(self.line_bytes_max / 2).max(self.step());
        }
        None
    }

    /// A block of the whole rows that are in the buffer, even if it is less than the target.
    pub(crate) fn cut_early(&mut self) -> Option<Block> {
        if self.dropping.is_none() && last_end(&self.buffer, self.rule).is_some() {
            self.wanted = self.wanted.min(self.buffer.len());
        }
        self.cut(false)
    }

    fn hand_out(&mut self, end: usize) -> Block {
        let step = self.step();
        let mut rest = std::mem::take(&mut self.spare);
        rest.reserve(self.buffer.len() - end + step);
        rest.extend_from_slice(&self.buffer[end..]);
        self.wanted = self.wanted.saturating_sub(end) + step;
        self.buffer.truncate(end);
        let data = BlockData::Bytes(std::mem::replace(&mut self.buffer, rest));
        self.block(data, end as u64)
    }

    fn block(&mut self, data: BlockData, len: u64) -> Block {
        let block = Block { index: self.index, position: self.position, context: BlockContext::Nothing, data };
        self.index += 1;
        self.position += len;
        block
    }

    /// Drops bytes up to the line end that follows the limit, whether in quotes or not: a quote that
    /// is never closed costs one row of the limit's length, not the rest of the file.
    fn drop_line(&mut self, ended: bool) -> Option<Block> {
        let (head, dropped) = self.dropping.take().expect("called while dropping");
        let from = self.line_bytes_max.saturating_sub(dropped as usize).min(self.buffer.len());
        let end = memchr(b'\n', &self.buffer[from..]).map(|i| from + i + 1);
        let gone = end.unwrap_or(self.buffer.len());
        self.buffer.drain(..gone);
        let bytes = dropped + gone as u64;
        self.wanted = self.step();
        if end.is_none() && !ended {
            self.dropping = Some((head, bytes));
            return None;
        }
        Some(self.block(BlockData::TooLong { head, bytes }, bytes))
    }
}

/// The end of the first row in `bytes`, which begin with a row.
pub(crate) fn first_end(bytes: &[u8], rule: Rule) -> Option<usize> {
    let line_end = memchr(b'\n', bytes)? + 1;
    match rule {
        Rule::Lines => Some(line_end),
        Rule::Quoted { .. } if memchr(b'"', &bytes[..line_end]).is_none() => Some(line_end),
        Rule::Quoted { delimiter } => {
            let find = |(start, end): (usize, usize)| memchr(b'\n', &bytes[start..end]).map(|i| start + i + 1);
            Outside::new(bytes, delimiter).find_map(find)
        }
    }
}

/// The end of the last whole row in `bytes`, which begin with a row.
pub(crate) fn last_end(bytes: &[u8], rule: Rule) -> Option<usize> {
    match rule {
        Rule::Quoted { delimiter } if memchr(b'"', bytes).is_some() => {
            let spans: Vec<_> = Outside::new(bytes, delimiter).collect();
            let find = |&(start, end): &(usize, usize)| memrchr(b'\n', &bytes[start..end]).map(|i| start + i + 1);
            spans.iter().rev().find_map(find)
        }
        Rule::Lines | Rule::Quoted { .. } => memrchr(b'\n', bytes).map(|i| i + 1),
    }
}

/// The spans of CSV text outside quotes, in order. A quote opens only at the start of a field;
/// elsewhere (`5" pipe`) it is text. The parity of quotes would be cheaper, but one such quote would
/// turn the rest of the file inside out.
struct Outside<'a> {
    bytes: &'a [u8],
    delimiter: u8,
    /// Start of the next span; `None` after the last.
    start: Option<usize>,
}

impl<'a> Outside<'a> {
    fn new(bytes: &'a [u8], delimiter: u8) -> Self {
        Outside { bytes, delimiter, start: Some(0) }
    }

    fn opens(&self, quote: usize) -> bool {
        quote == 0 || self.bytes[quote - 1] == self.delimiter || self.bytes[quote - 1] == b'\n'
    }

    /// The byte after the quote that closes the field whose text begins at `from`.
    fn close(&self, mut from: usize) -> Option<usize> {
        loop {
            let quote = from + memchr(b'"', &self.bytes[from..])?;
            if self.bytes.get(quote + 1) != Some(&b'"') {
                return Some(quote + 1);
            }
            from = quote + 2;
        }
    }
}

impl Iterator for Outside<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let start = self.start.take()?;
        let mut from = start;
        while let Some(i) = memchr(b'"', &self.bytes[from..]) {
            let quote = from + i;
            if self.opens(quote) {
                self.start = self.close(quote + 1);
                return Some((start, quote));
            }
            from = quote + 1;
        }
        Some((start, self.bytes.len()))
    }
}
