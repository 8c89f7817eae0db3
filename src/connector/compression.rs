//! Compressed files of lines: gzip with any number of members, zstd with any number of frames.
//!
//! One thread decompresses ahead while workers decode, so that the two overlap even with one worker.
//! Positions count decompressed bytes; going back to one means decompressing up to it again.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::file::open_file;
use super::partition::{BlockReader, Polled, ReadError};
use super::pump::{CHUNK_BYTES, Chunk, Pump, Pumped};
use super::spec::Compression;
use super::text::{TextBlocks, TextKind};

/// What is read from the file at a time.
const READ_BYTES: usize = 256 << 10;

pub struct CompressedReader {
    path: String,
    compression: Compression,
    size_bytes: u64,
    read_bytes: u64,
    pump: Pump,
    text: TextBlocks,
    ended: bool,
}

impl CompressedReader {
    pub fn open(path: &str, compression: Compression, kind: TextKind) -> Result<CompressedReader, ReadError> {
        let (pump, size_bytes) = start(path, compression)?;
        let text = TextBlocks::new(path, kind);
        let path = path.to_string();
        let mut reader = CompressedReader { path, compression, size_bytes, read_bytes: 0, pump, text, ended: false };
        while !reader.text.begin(reader.ended)? {
            reader.fill()?;
        }
        Ok(reader)
    }

    fn fill(&mut self) -> Result<(), ReadError> {
        match self.pump.wait() {
            Ok(Pumped::Chunk(chunk)) => {
                self.text.buffer().extend_from_slice(&chunk.bytes);
                self.read_bytes = chunk.read_bytes;
            }
            Ok(Pumped::Nothing | Pumped::End) => self.ended = true,
            Err(error) => return Err(failed(&self.path, self.compression, error)),
        }
        Ok(())
    }
}

impl BlockReader for CompressedReader {
    fn poll_block(&mut self) -> Result<Polled, ReadError> {
        loop {
            while self.text.wants() > 0 && !self.ended {
                self.fill()?;
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

    fn seek(&mut self, position: u64) -> Result<(), ReadError> {
        (self.pump, self.size_bytes) = start(&self.path, self.compression)?;
        self.text.restart(position);
        (self.read_bytes, self.ended) = (0, false);
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

fn start(path: &str, compression: Compression) -> Result<(Pump, u64), ReadError> {
    let (file, size_bytes) = open_file(path)?;
    let read_bytes = Arc::new(AtomicU64::new(0));
    let counted = Counted { file, read_bytes: read_bytes.clone() };
    let mut decoder = decoder(counted, compression).map_err(|e| ReadError::io(path, e))?;
    let next = move || {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        decoder.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut bytes)?;
        let chunk = Chunk { bytes, read_bytes: read_bytes.load(Ordering::Relaxed), restarts: false };
        Ok(Some(chunk).filter(|c| !c.bytes.is_empty()))
    };
    // The reader waits for its chunks, so nobody needs waking.
    let pump = Pump::start(path, Arc::new(|| {}), next).map_err(|e| ReadError::io(path, e))?;
    Ok((pump, size_bytes))
}

/// Decompresses all members or frames of `input`.
pub(crate) fn decoder(input: impl Read + Send + 'static, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
    let input = BufReader::with_capacity(READ_BYTES, input);
    Ok(match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(input)?),
    })
}

/// The error of a decompressor: what the operating system did not say is the data's fault.
pub(crate) fn failed(path: &str, compression: Compression, error: io::Error) -> ReadError {
    let what = match compression {
        _ if error.raw_os_error().is_some() => return ReadError::io(path, error),
        Compression::Gzip => "gzip data",
        Compression::Zstd => "zstd data",
    };
    ReadError::Corrupt { path: path.to_string(), what, detail: error.to_string() }
}

/// Counts what is read of the compressed file.
struct Counted {
    file: File,
    read_bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read_bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::connector::{BlockContext, BlockData};

    fn compressed(parts: &[&[u8]], compression: Compression) -> Vec<u8> {
        let one = |part: &&[u8]| match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(*part, 1).unwrap(),
        };
        parts.iter().flat_map(one).collect()
    }

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// The rows' bytes with the position of each block.
    fn read(reader: &mut CompressedReader, target: usize) -> (Vec<u64>, Vec<u8>) {
        reader.set_target_bytes(target);
        let (mut positions, mut text) = (Vec::new(), Vec::new());
        loop {
            match reader.poll_block().unwrap() {
                Polled::Block(block) => {
                    positions.push(block.position);
                    let BlockData::Bytes(bytes) = block.data else { panic!("rows are bytes") };
                    text.extend(bytes);
                }
                Polled::End => return (positions, text),
                Polled::Pending => panic!("files never make one wait"),
            }
        }
    }

    #[test]
    fn all_members_and_frames_are_read() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            // A member may end within a row.
            let file = file_of(&compressed(&[b"a,b\n1,", b"2\n3,4\n", b"5,6"], compression));
            let path = file.path().to_str().unwrap();
            let kind = TextKind::Csv { delimiter: None };
            let mut reader = CompressedReader::open(path, compression, kind).unwrap();
            assert_eq!(reader.text.header().unwrap().names, ["a", "b"]);
            let (positions, text) = read(&mut reader, 4);
            assert_eq!((positions, text), (vec![4, 8, 12], b"1,2\n3,4\n5,6".to_vec()));
            assert_eq!(reader.read_bytes(), reader.size_bytes().unwrap());
            reader.seek(8).unwrap();
            assert_eq!(reader.position(), 8);
            assert_eq!(read(&mut reader, 100), (vec![8], b"3,4\n5,6".to_vec()));
        }
    }

    #[test]
    fn the_time_of_a_log_is_known_after_a_seek() {
        let file = file_of(&compressed(&[b"@5s A(1)\nA(2)\n"], Compression::Zstd));
        let path = file.path().to_str().unwrap();
        let mut reader = CompressedReader::open(path, Compression::Zstd, TextKind::Evt).unwrap();
        reader.seek(9).unwrap();
        let Polled::Block(block) = reader.poll_block().unwrap() else { panic!("there is a row") };
        assert!(matches!(block.context, BlockContext::Time(5_000_000_000)), "{:?}", block.context);
    }

    #[test]
    fn damage_is_told() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let whole = compressed(&[&b"0123456789\n".repeat(100_000)], compression);
            let file = file_of(&whole[..whole.len() / 2]);
            let path = file.path().to_str().unwrap();
            let result = CompressedReader::open(path, compression, TextKind::Lines).and_then(|mut reader| {
                while let Polled::Block(_) = reader.poll_block()? {}
                Ok(())
            });
            assert!(matches!(result, Err(ReadError::Corrupt { .. })), "{result:?}");
            let file = file_of(b"not compressed at all");
            let path = file.path().to_str().unwrap();
            let result = CompressedReader::open(path, compression, TextKind::Lines);
            assert!(matches!(result.err(), Some(ReadError::Corrupt { .. })));
        }
    }
}
