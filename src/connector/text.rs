//! A text as a sequence of blocks, whatever its bytes come from: skips the byte order mark, takes the
//! header off, cuts, and gives each block its context.
//!
//! Readers push bytes and ask for blocks; all of them behave alike because they share this.

use std::sync::Arc;

use super::cut::{Cutter, Rule, last_end};
use super::format::evt::EvtClock;
use super::header::{skip_bom, take_header};
use super::partition::{LINE_BYTES_MAX, ReadError};
use super::spec::FileFormat;
use super::{Block, BlockContext, BlockData, CsvHeader};

/// How much is read at first, before the first row.
const PREAMBLE_BYTES: usize = 4096;

/// What the lines of a text are, as far as cutting them into blocks goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    Lines,
    Csv { delimiter: Option<u8> },
    Evt,
}

impl TextKind {
    /// `None` for formats that are not text.
    pub fn of(format: FileFormat) -> Option<TextKind> {
        match format {
            FileFormat::Jsonl => Some(TextKind::Lines),
            FileFormat::Csv { delimiter } => Some(TextKind::Csv { delimiter }),
            FileFormat::Evt => Some(TextKind::Evt),
            FileFormat::Parquet | FileFormat::Arrow => None,
        }
    }
}

pub(crate) struct TextBlocks {
    path: String,
    kind: TextKind,
    pub(crate) cutter: Cutter,
    bom_skipped: bool,
    /// Where the rows begin, once that is known.
    start: Option<u64>,
    header: Option<Arc<CsvHeader>>,
    clock: EvtClock,
    /// Rows before this position are dropped.
    resume: u64,
}

impl TextBlocks {
    pub(crate) fn new(path: &str, kind: TextKind) -> TextBlocks {
        TextBlocks {
            path: path.to_string(),
            kind,
            cutter: Cutter::new(Rule::Lines),
            bom_skipped: false,
            start: None,
            header: None,
            clock: EvtClock::default(),
            resume: 0,
        }
    }

    /// The header of a CSV text, once it has been read.
    pub(crate) fn header(&self) -> Option<&CsvHeader> {
        self.header.as_deref()
    }

    /// Where to append bytes of the text.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.cutter.buffer()
    }

    pub(crate) fn set_target_bytes(&mut self, bytes: usize) {
        self.cutter.set_target_bytes(bytes);
    }

    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        self.cutter.recycle(buffer);
    }

    pub(crate) fn position(&self) -> u64 {
        self.cutter.position().max(self.resume)
    }

    /// How many more bytes should be pushed before a block is asked for.
    pub(crate) fn wants(&self) -> usize {
        let is_at_rows = self.start.is_some() && self.cutter.position() >= self.resume;
        if is_at_rows { self.cutter.wants() } else { self.cutter.bytes().len().max(PREAMBLE_BYTES) }
    }

    /// What is before the first row. `false`: more bytes are needed.
    pub(crate) fn begin(&mut self, ended: bool) -> Result<bool, ReadError> {
        if self.start.is_some() {
            return Ok(true);
        }
        if !self.bom_skipped {
            if !skip_bom(&mut self.cutter, ended) {
                return Ok(false);
            }
            self.bom_skipped = true;
        }
        if let TextKind::Csv { delimiter } = self.kind {
            if self.cutter.bytes().len() > LINE_BYTES_MAX {
                let detail = format!("longer than {LINE_BYTES_MAX} bytes");
                return Err(ReadError::Corrupt { path: self.path.clone(), what: "CSV header", detail });
            }
            match take_header(&mut self.cutter, delimiter, ended) {
                Some(header) => self.header = Some(Arc::new(header)),
                None => return Ok(false),
            }
        }
        self.start = Some(self.cutter.position());
        Ok(true)
    }

    /// The next block, about as long as the target; see [`Cutter::cut`].
    pub(crate) fn cut(&mut self, ended: bool) -> Result<Option<Block>, ReadError> {
        if !self.begin(ended)? || !self.skip_to_resume(ended)? {
            return Ok(None);
        }
        let block = self.cutter.cut(ended);
        Ok(block.map(|block| self.with_context(block)))
    }

    /// A block of the whole rows that are there.
    pub(crate) fn cut_early(&mut self) -> Result<Option<Block>, ReadError> {
        if !self.begin(false)? || !self.skip_to_resume(false)? {
            return Ok(None);
        }
        let block = self.cutter.cut_early();
        Ok(block.map(|block| self.with_context(block)))
    }

    /// Where a reader that can jump must go on reading so that the next row is the one at `position`:
    /// at that position, unless the context there depends on what is before it.
    pub(crate) fn jump(&mut self, position: u64) -> u64 {
        let start = self.start.unwrap_or(0);
        let target = match self.kind {
            TextKind::Evt => start,
            TextKind::Lines | TextKind::Csv { .. } => position.max(start),
        };
        self.cutter.reset(target);
        self.clock = EvtClock::default();
        self.resume = position.max(start);
        target
    }

    /// The text will be pushed again from its beginning; rows before `position` are to be dropped.
    pub(crate) fn restart(&mut self, position: u64) {
        self.cutter.reset(0);
        self.begin_anew();
        self.resume = position;
    }

    /// The text has ended, and another one follows, whose positions go on from it.
    pub(crate) fn follow_on(&mut self) {
        self.cutter.reset(self.cutter.position());
        self.begin_anew();
        self.resume = 0;
    }

    fn begin_anew(&mut self) {
        self.cutter.set_rule(Rule::Lines);
        self.bom_skipped = false;
        self.start = None;
        self.header = None;
        self.clock = EvtClock::default();
    }

    /// `false`: more bytes are needed to get there.
    fn skip_to_resume(&mut self, ended: bool) -> Result<bool, ReadError> {
        let position = self.cutter.position();
        if position >= self.resume {
            return Ok(true);
        }
        let bytes = self.cutter.bytes();
        let mut gone = (self.resume - position).min(bytes.len() as u64) as usize;
        if self.kind == TextKind::Evt {
            gone = last_end(&bytes[..gone], Rule::Lines).unwrap_or(0);
            self.clock.advance(&bytes[..gone]);
        }
        self.cutter.skip(gone);
        let size = position + gone as u64;
        if ended && size < self.resume {
            return Err(ReadError::Shrunk { path: self.path.clone(), position: self.resume, size });
        }
        Ok(size >= self.resume)
    }

    fn with_context(&mut self, mut block: Block) -> Block {
        if let Some(header) = &self.header {
            block.context = BlockContext::Header(header.clone());
        }
        if self.kind == TextKind::Evt {
            block.context = BlockContext::Time(self.clock.now_ns());
            match &block.data {
                BlockData::Bytes(lines) => self.clock.advance(lines),
                // A line that is dropped sets no time.
                BlockData::TooLong { .. } | BlockData::Rows(_) | BlockData::RowGroup { .. } => {}
            }
        }
        block
    }
}
