//! Plain files of lines, read block by block by whoever holds the reader.
//!
//! A read is a few system calls into a buffer that is used again, so that the lock around a reader that many workers
//! share is held for about as long as the copy from the page cache takes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::CsvHeader;
use super::partition::{BlockReader, Polled, ReadError};
use super::text::TextBlocks;
pub use super::text::TextKind;

/// Reads a file of lines.
pub struct FileReader {
    path: String,
    file: File,
    size_bytes: u64,
    read_bytes: u64,
    text: TextBlocks,
    ended: bool,
}

impl FileReader {
    /// Opens the file, and reads its header if it is CSV.
    pub fn open(path: &str, kind: TextKind) -> Result<FileReader, ReadError> {
        let (file, size_bytes) = open_file(path)?;
        let text = TextBlocks::new(path, kind);
        let mut reader = FileReader { path: path.to_string(), file, size_bytes, read_bytes: 0, text, ended: false };
        while !reader.text.begin(reader.ended)? {
            reader.fill(reader.text.wants())?;
        }
        Ok(reader)
    }

    /// The header of a CSV file.
    pub fn header(&self) -> Option<&CsvHeader> {
        self.text.header()
    }

    fn fill(&mut self, wanted: usize) -> Result<(), ReadError> {
        let buffer = self.text.buffer();
        buffer.reserve(wanted);
        let mut part = (&mut self.file).take(wanted as u64);
        let n = part.read_to_end(buffer).map_err(|e| ReadError::io(&self.path, e))?;
        self.read_bytes += n as u64;
        self.ended = n < wanted;
        Ok(())
    }
}

impl BlockReader for FileReader {
    fn poll_block(&mut self) -> Result<Polled, ReadError> {
        loop {
            let wanted = self.text.wants();
            if wanted > 0 && !self.ended {
                self.fill(wanted)?;
            }
            if let Some(block) = self.text.cut(self.ended)? {
                return Ok(Polled::Block(block));
            }
            if self.ended {
                return Ok(Polled::End);
            }
        }
    }

    fn set_target_bytes(&mut self, bytes: usize) {
        self.text.set_target_bytes(bytes);
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        self.text.recycle(buffer);
    }

    fn seek(&mut self, position: u64) -> Result<(), ReadError> {
        let size = self.file.metadata().map_err(|e| ReadError::io(&self.path, e))?.len();
        if position > size {
            return Err(ReadError::Shrunk { path: self.path.clone(), position, size });
        }
        let from = self.text.jump(position);
        self.file.seek(SeekFrom::Start(from)).map_err(|e| ReadError::io(&self.path, e))?;
        self.read_bytes = from;
        self.ended = false;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.text.position()
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
    use crate::connector::{Block, BlockContext, BlockData};

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
            reader.text.cutter.set_line_bytes_max(100);
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
        reader.text.cutter.set_line_bytes_max(100);
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

    #[test]
    fn an_event_log_hands_down_its_time() {
        let text = b"@5s A(1)\nB(2)\nBATCH 100\nA(3)\n@1s A(4)\nB(5)\n";
        let file = file_of(text);
        let times = |reader: &mut FileReader| -> Vec<(u64, i64)> {
            let time = |b: &Block| match b.context {
                BlockContext::Time(ns) => (b.position, ns / 1_000_000),
                BlockContext::Nothing | BlockContext::Header(_) => panic!("a log has times"),
            };
            blocks(reader, || 8).iter().map(time).collect()
        };
        let mut reader = open(&file, TextKind::Evt);
        let all = times(&mut reader);
        assert_eq!(all[0], (0, 0));
        assert!(all.contains(&(14, 5000)) && all.contains(&(29, 5100)), "{all:?}");
        for (i, (position, _)) in all.iter().enumerate() {
            reader.seek(*position).unwrap();
            assert_eq!(reader.position(), *position);
            assert_eq!(times(&mut reader)[0], all[i]);
        }
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
