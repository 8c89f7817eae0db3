//! Plain files of lines, read block by block by whoever holds the reader.
//!
//! A read is one system call into a fresh buffer, so that the lock around a reader that many workers
//! share is held for about as long as the copy from the page cache takes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use super::cut::{Cutter, Rule};
use super::header::{skip_bom, take_header};
use super::partition::{BlockReader, LINE_BYTES_MAX, Polled, ReadError};
use super::{BlockContext, CsvHeader};

/// What the lines are, as far as cutting them into blocks goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    Lines,
    Csv { delimiter: Option<u8> },
}

/// Reads a file of lines.
pub struct FileReader {
    path: String,
    file: File,
    size_bytes: u64,
    read_bytes: u64,
    context: BlockContext,
    cutter: Cutter,
    /// Where the rows begin, after a byte order mark and a header.
    start: u64,
    ended: bool,
}

impl FileReader {
    /// Opens the file, and reads its header if it is CSV.
    pub fn open(path: &str, kind: TextKind) -> Result<FileReader, ReadError> {
        let (file, size_bytes) = open_file(path)?;
        let mut reader = FileReader {
            path: path.to_string(),
            file,
            size_bytes,
            read_bytes: 0,
            context: BlockContext::Nothing,
            cutter: Cutter::new(Rule::Lines),
            start: 0,
            ended: false,
        };
        reader.read_preamble(kind)?;
        reader.start = reader.cutter.position();
        Ok(reader)
    }

    fn read_preamble(&mut self, kind: TextKind) -> Result<(), ReadError> {
        while !skip_bom(&mut self.cutter, self.ended) {
            self.fill(PREAMBLE_BYTES)?;
        }
        let TextKind::Csv { delimiter } = kind else { return Ok(()) };
        let header = loop {
            match take_header(&mut self.cutter, delimiter, self.ended) {
                Some(header) => break header,
                None => self.fill(header_wants(&self.path, self.cutter.bytes().len())?)?,
            }
        };
        self.context = BlockContext::Header(Arc::new(header));
        Ok(())
    }

    /// The header of a CSV file.
    pub fn header(&self) -> Option<&CsvHeader> {
        match &self.context {
            BlockContext::Header(header) => Some(header),
            BlockContext::Nothing | BlockContext::Time(_) => None,
        }
    }

    fn fill(&mut self, wanted: usize) -> Result<(), ReadError> {
        let buffer = self.cutter.buffer();
        buffer.reserve(wanted);
        let mut part = (&mut self.file).take(wanted as u64);
        let n = part.read_to_end(buffer).map_err(|e| ReadError::io(&self.path, e))?;
        self.read_bytes += n as u64;
        self.ended = n < wanted;
        Ok(())
    }
}

/// How much is read at first, before the first row.
pub(crate) const PREAMBLE_BYTES: usize = 4096;

/// How much more to read when `len` bytes do not hold the whole header.
pub(crate) fn header_wants(path: &str, len: usize) -> Result<usize, ReadError> {
    if len > LINE_BYTES_MAX {
        let detail = format!("longer than {LINE_BYTES_MAX} bytes");
        return Err(ReadError::Corrupt { path: path.to_string(), what: "CSV header", detail });
    }
    Ok(len.max(PREAMBLE_BYTES))
}

impl BlockReader for FileReader {
    fn poll_block(&mut self) -> Result<Polled, ReadError> {
        loop {
            let wanted = self.cutter.wants();
            if wanted > 0 && !self.ended {
                self.fill(wanted)?;
            }
            if let Some(mut block) = self.cutter.cut(self.ended) {
                block.context = self.context.clone();
                return Ok(Polled::Block(block));
            }
            if self.ended {
                return Ok(Polled::End);
            }
        }
    }

    fn set_target_bytes(&mut self, bytes: usize) {
        self.cutter.set_target_bytes(bytes);
    }

    fn seek(&mut self, position: u64) -> Result<(), ReadError> {
        let size = self.file.metadata().map_err(|e| ReadError::io(&self.path, e))?.len();
        if position > size {
            return Err(ReadError::Shrunk { path: self.path.clone(), position, size });
        }
        let position = position.max(self.start);
        self.file.seek(SeekFrom::Start(position)).map_err(|e| ReadError::io(&self.path, e))?;
        self.cutter.reset(position);
        self.read_bytes = position;
        self.ended = false;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.cutter.position()
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.size_bytes)
    }

    fn read_bytes(&self) -> u64 {
        self.read_bytes
    }
}

/// Opens a file for reading; its size in bytes.
pub(crate) fn open_file(path: &str) -> Result<(File, u64), ReadError> {
    let file = File::open(path).map_err(|e| ReadError::io(path, e))?;
    let metadata = file.metadata().map_err(|e| ReadError::io(path, e))?;
    if metadata.is_dir() {
        return Err(ReadError::IsDirectory { path: path.to_string() });
    }
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::connector::{Block, BlockData};

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn open(file: &tempfile::NamedTempFile, kind: TextKind) -> FileReader {
        FileReader::open(file.path().to_str().unwrap(), kind).unwrap()
    }

    fn blocks(reader: &mut FileReader, mut target: impl FnMut() -> usize) -> Vec<Block> {
        let mut out = Vec::new();
        loop {
            reader.set_target_bytes(target());
            match reader.poll_block().unwrap() {
                Polled::Block(block) => out.push(block),
                Polled::End => return out,
                Polled::Pending => panic!("a plain file never makes one wait"),
            }
        }
    }

    fn bytes(block: &Block) -> &[u8] {
        match &block.data {
            BlockData::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn blocks_are_whole_lines_at_their_positions() {
        let file = file_of(b"one\ntwo\nthree");
        let found: Vec<_> = blocks(&mut open(&file, TextKind::Lines), || 5)
            .iter()
            .map(|b| (b.index, b.position, String::from_utf8_lossy(bytes(b)).into_owned()))
            .collect();
        let expected = [(0, 0, "one\n"), (1, 4, "two\n"), (2, 8, "three")];
        assert_eq!(found, expected.map(|(i, p, s)| (i, p, s.to_string())));
    }

    #[test]
    fn a_header_is_no_row_and_travels_with_the_blocks() {
        let file = file_of(b"\xef\xbb\xbfid;name\r\n1;\"a\nb\"\r\n2;c\r\n");
        let mut reader = open(&file, TextKind::Csv { delimiter: None });
        assert_eq!(reader.header().unwrap().names, ["id", "name"]);
        let found = blocks(&mut reader, || 1);
        assert_eq!((found[0].position, bytes(&found[0])), (12, &b"1;\"a\nb\"\r\n2;c\r\n"[..]));
        assert!(matches!(&found[0].context, BlockContext::Header(h) if h.delimiter == b';'));
        reader.seek(21).unwrap();
        assert_eq!(bytes(&blocks(&mut reader, || 100)[0]), b"2;c\r\n");
        reader.seek(0).unwrap();
        assert_eq!(blocks(&mut reader, || 100)[0].position, 12);
    }

    #[test]
    fn a_line_beyond_the_limit_is_one_block_of_its_own() {
        let file = file_of(format!("short\n{}\nlast\n", "x".repeat(500)).as_bytes());
        for target in [1, 7, 49, 1000] {
            let mut reader = open(&file, TextKind::Lines);
            reader.cutter.set_line_bytes_max(100);
            let found = blocks(&mut reader, || target);
            let long = found.iter().find(|b| matches!(b.data, BlockData::TooLong { .. })).unwrap();
            assert!(matches!(&long.data, BlockData::TooLong { head, bytes: 501 } if head.len() == 100));
            assert_eq!(long.position, 6);
            let rows = found.iter().filter(|b| matches!(b.data, BlockData::Bytes(_)));
            assert_eq!(rows.map(bytes).collect::<Vec<_>>().concat(), b"short\nlast\n");
            assert_eq!(found.last().unwrap().position, 507);
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_one_row() {
        let file = file_of(format!("a,b\n1,\"{}\n2,x\n3,y\n", "z".repeat(200)).as_bytes());
        let mut reader = open(&file, TextKind::Csv { delimiter: None });
        reader.cutter.set_line_bytes_max(100);
        let found = blocks(&mut reader, || 10);
        assert!(matches!(&found[0].data, BlockData::TooLong { bytes: 204, .. }));
        assert_eq!(found[1..].iter().map(bytes).collect::<Vec<_>>().concat(), b"2,x\n3,y\n");
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let open = |path: &str| FileReader::open(path, TextKind::Lines).err().unwrap();
        assert!(matches!(open("/no/such/file"), ReadError::NotFound { .. }));
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(open(dir.path().to_str().unwrap()), ReadError::IsDirectory { .. }));
    }

    /// Rows of a CSV text by a scan of every byte: the plain meaning of "outside quotes".
    fn row_ends(text: &[u8], quoted: bool) -> Vec<usize> {
        let (mut inside, mut ends, mut i) = (false, Vec::new(), 0);
        while i < text.len() {
            match text[i] {
                b'"' if quoted && inside && text.get(i + 1) == Some(&b'"') => i += 1,
                b'"' if quoted && inside => inside = false,
                b'"' if quoted && (i == 0 || matches!(text[i - 1], b',' | b'\n')) => inside = true,
                b'\n' if !inside => ends.push(i + 1),
                _ => {}
            }
            i += 1;
        }
        ends
    }

    proptest! {
        #[test]
        fn blocks_joined_are_the_file_and_cuts_are_row_ends(
            text in prop::collection::vec(prop::sample::select(b"ab,\"\"\n\n\r".to_vec()), 0..200),
            targets in prop::collection::vec(1usize..40, 1..20),
            quoted: bool,
        ) {
            let header: &[u8] = if quoted { b"a,b\n" } else { b"" };
            let file = file_of(&[header, &text].concat());
            let kind = if quoted { TextKind::Csv { delimiter: None } } else { TextKind::Lines };
            let mut next = targets.iter().cycle();
            let found = blocks(&mut open(&file, kind), || *next.next().unwrap());
            prop_assert_eq!(&found.iter().map(bytes).collect::<Vec<_>>().concat(), &text);
            let ends = row_ends(&text, quoted);
            let mut position = header.len();
            for (i, block) in found.iter().enumerate() {
                prop_assert_eq!((block.index, block.position), (i as u64, position as u64));
                position += bytes(block).len();
                let end = position - header.len();
                prop_assert!(end == text.len() || ends.contains(&end), "cut at {}", end);
            }
        }
    }
}
