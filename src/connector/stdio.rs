//! Standard input, pipes, and whatever else gives bytes when it likes.
//!
//! A thread waits for the bytes; the reader hands out whole rows as soon as the input pauses, because
//! the rows of a live source must not wait for a block to fill up.

use std::fs::File;
use std::io::{self, Read};

use super::partition::{BlockReader, Polled, ReadError, Waker};
use super::pump::{Chunk, Pump, Pumped};
use super::text::{TextBlocks, TextKind};

/// The largest read of the thread; a pipe gives 64 KB at most.
const READ_BYTES: usize = 256 << 10;

/// Where a [`StreamReader`] gets its bytes without waiting.
pub(crate) type Chunks = Box<dyn FnMut() -> io::Result<Pumped> + Send>;

/// Reads lines from something live.
pub struct StreamReader {
    path: String,
    chunks: Chunks,
    text: TextBlocks,
    read_bytes: u64,
    /// The first bytes of a new text, while rows of the one before are still to be handed out.
    next_text: Option<Chunk>,
    ended: bool,
}

impl StreamReader {
    pub fn stdin(kind: TextKind, waker: Waker) -> Result<StreamReader, ReadError> {
        StreamReader::over("stdin", io::stdin(), kind, waker)
    }

    /// A pipe, a terminal or another special file under a path.
    pub fn special_file(path: &str, file: File, kind: TextKind, waker: Waker) -> Result<StreamReader, ReadError> {
        StreamReader::over(path, file, kind, waker)
    }

    fn over(
        path: &str,
        mut input: impl Read + Send + 'static,
        kind: TextKind,
        waker: Waker,
    ) -> Result<StreamReader, ReadError> {
        let mut buffer = vec![0; READ_BYTES];
        let mut read_bytes = 0;
        let next = move || {
            let n = loop {
                match input.read(&mut buffer) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    done => break done?,
                }
            };
            read_bytes += n as u64;
            Ok((n > 0).then(|| Chunk { bytes: buffer[..n].to_vec(), read_bytes, restarts: false }))
        };
        let mut pump = Pump::start(path, waker, next).map_err(|e| ReadError::io(path, e))?;
        Ok(StreamReader::new(path, kind, Box::new(move || pump.poll())))
    }

    pub(crate) fn new(path: &str, kind: TextKind, chunks: Chunks) -> StreamReader {
        StreamReader {
            path: path.to_string(),
            chunks,
            text: TextBlocks::new(path, kind),
            read_bytes: 0,
            next_text: None,
            ended: false,
        }
    }

    /// The bytes will come from the beginning; rows before `position` are to be dropped.
    pub(crate) fn resume_at(&mut self, position: u64) {
        self.text.restart(position);
    }

    /// Takes the next bytes; `false` if there are none at the moment.
    fn fill(&mut self) -> Result<bool, ReadError> {
        match (self.chunks)().map_err(|e| ReadError::io(&self.path, e))? {
            Pumped::Chunk(chunk) => {
                self.read_bytes = chunk.read_bytes;
                if chunk.restarts {
                    self.next_text = Some(chunk);
                } else {
                    self.text.buffer().extend_from_slice(&chunk.bytes);
                }
                Ok(true)
            }
            Pumped::Nothing => Ok(false),
            Pumped::End => {
                self.ended = true;
                Ok(true)
            }
        }
    }
}

impl BlockReader for StreamReader {
    fn poll_block(&mut self) -> Result<Polled, ReadError> {
        loop {
            let text_ended = self.ended || self.next_text.is_some();
            if (self.text.wants() == 0 || text_ended)
                && let Some(block) = self.text.cut(text_ended)?
            {
                return Ok(Polled::Block(block));
            }
            if let Some(chunk) = self.next_text.take() {
                self.text.follow_on();
                self.text.buffer().extend_from_slice(&chunk.bytes);
            } else if self.ended {
                return Ok(Polled::End);
            } else if !self.fill()? {
                return Ok(self.text.cut_early()?.map_or(Polled::Pending, Polled::Block));
            }
        }
    }

    fn set_target_bytes(&mut self, bytes: usize) {
        self.text.set_target_bytes(bytes);
    }

    fn seek(&mut self, position: u64) -> Result<(), ReadError> {
        if position == self.position() {
            return Ok(());
        }
        Err(ReadError::NotSeekable { path: self.path.clone(), position })
    }

    fn position(&self) -> u64 {
        self.text.position()
    }

    fn size_bytes(&self) -> Option<u64> {
        None
    }

    fn read_bytes(&self) -> u64 {
        self.read_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::connector::BlockData;

    fn text(polled: Polled) -> String {
        match polled {
            Polled::Block(block) => match block.data {
                BlockData::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rows_do_not_wait_for_a_full_block() {
        let (reader, mut writer) = io::pipe().unwrap();
        let (woken, wakes) = channel();
        let waker = Arc::new(move || woken.send(()).unwrap_or(()));
        let mut reader = StreamReader::over("pipe", reader, TextKind::Lines, waker).unwrap();
        assert!(matches!(reader.poll_block().unwrap(), Polled::Pending));
        writer.write_all(b"one\ntw").unwrap();
        wakes.recv().unwrap();
        assert_eq!(text(reader.poll_block().unwrap()), "one\n");
        assert!(matches!(reader.poll_block().unwrap(), Polled::Pending), "half a row is no row");
        assert!(matches!(reader.seek(0), Err(ReadError::NotSeekable { .. })));
        writer.write_all(b"o").unwrap();
        drop(writer);
        wakes.recv().unwrap();
        // The thread may have sent the last bytes and the end at once, or one after the other.
        let last = loop {
            match reader.poll_block().unwrap() {
                Polled::Pending => wakes.recv().unwrap(),
                block => break block,
            }
        };
        assert_eq!(text(last), "two");
        assert!(matches!(reader.poll_block().unwrap(), Polled::End));
    }
}
