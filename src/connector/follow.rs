//! A growing file, read as it grows, for ever.
//!
//! The file is looked at every few milliseconds: that works on every file system and costs one system
//! call, where notifications work on some. What is looked at and what follows from it is one function,
//! `Followed::step`, which never sleeps.
//!
//! - A row is whole when its line end has been written.
//! - *Renamed and made anew* (rotation): the old file is read to its end, the new one from its start.
//!   The new one counts as soon as it has bytes; until then its writer may still be at the old one.
//! - *Truncated*: what follows is read from the start.
//! - *Not there yet*: it is waited for.
//!
//! Where one text follows another, a last line without an end counts as a row, so that it is not lost
//! in silence; and positions go on, so that they order rows across files. A position can be sought only
//! within the file that is there.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::file::open_file;
use super::partition::{BlockReader, Polled, ReadError, Waker};
use super::pump::{CHUNK_BYTES, Chunk, Pump};
use super::stdio::StreamReader;
use super::text::TextKind;

/// How often the file is looked at when nothing new was there.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// A file that is being followed.
pub(crate) struct Followed {
    path: String,
    /// `None` until it is there.
    file: Option<File>,
    /// Bytes of `file` that have been read.
    offset: u64,
    read_bytes: u64,
}

/// What a look at the file gave.
pub(crate) enum Step {
    Chunk(Chunk),
    /// Nothing new.
    Idle,
}

impl Followed {
    pub(crate) fn open(path: &str) -> Result<Followed, ReadError> {
        let file = match open_file(path) {
            Ok((file, _)) => Some(file),
            Err(ReadError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Followed { path: path.to_string(), file, offset: 0, read_bytes: 0 })
    }

    /// Reads what is there, or notices that another file is to be read.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        if let Some(chunk) = self.read()? {
            return Ok(Step::Chunk(chunk));
        }
        let Some(file) = &mut self.file else {
            self.file = open_if_there(&self.path)?.map(|(file, _)| file);
            return Ok(self.read()?.map_or(Step::Idle, Step::Chunk));
        };
        let own = file.metadata()?;
        if own.len() < self.offset {
            file.seek(SeekFrom::Start(0))?;
            return Ok(self.restart());
        }
        let Some((file, at_path)) = open_if_there(&self.path)? else { return Ok(Step::Idle) };
        let same = (own.dev(), own.ino()) == (at_path.dev(), at_path.ino());
        if same || at_path.len() == 0 {
            return Ok(Step::Idle);
        }
        // The old file may have got its last bytes between the read and the look.
        if let Some(chunk) = self.read()? {
            return Ok(Step::Chunk(chunk));
        }
        self.file = Some(file);
        Ok(self.restart())
    }

    fn restart(&mut self) -> Step {
        self.offset = 0;
        Step::Chunk(Chunk { bytes: Vec::new(), read_bytes: self.read_bytes, restarts: true })
    }

    fn read(&mut self) -> io::Result<Option<Chunk>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(CHUNK_BYTES as u64).read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        self.read_bytes += bytes.len() as u64;
        let chunk = Chunk { bytes, read_bytes: self.read_bytes, restarts: false };
        Ok(Some(chunk).filter(|c| !c.bytes.is_empty()))
    }
}

fn open_if_there(path: &str) -> io::Result<Option<(File, Metadata)>> {
    match File::open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            Ok(Some((file, metadata)))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads a file that is being followed.
pub struct FollowReader {
    path: String,
    kind: TextKind,
    waker: Waker,
    stream: StreamReader,
    /// Tells the thread that nobody reads any more.
    stop: Arc<AtomicBool>,
}

impl FollowReader {
    pub fn open(path: &str, kind: TextKind, waker: Waker) -> Result<FollowReader, ReadError> {
        let (stream, stop) = start(path, kind, &waker)?;
        Ok(FollowReader { path: path.to_string(), kind, waker, stream, stop })
    }
}

fn start(path: &str, kind: TextKind, waker: &Waker) -> Result<(StreamReader, Arc<AtomicBool>), ReadError> {
    let mut followed = Followed::open(path)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let next = move || {
        while !stopped.load(Ordering::Relaxed) {
            match followed.step()? {
                Step::Chunk(chunk) => return Ok(Some(chunk)),
                Step::Idle => thread::sleep(LOOK_EVERY),
            }
        }
        Ok(None)
    };
    let mut pump = Pump::start(path, waker.clone(), next).map_err(|e| ReadError::io(path, e))?;
    Ok((StreamReader::new(path, kind, Box::new(move || pump.poll())), stop))
}

impl Drop for FollowReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl BlockReader for FollowReader {
    fn poll_block(&mut self) -> Result<Polled, ReadError> {
        self.stream.poll_block()
    }

    fn set_target_bytes(&mut self, bytes: usize) {
        self.stream.set_target_bytes(bytes);
    }

    fn seek(&mut self, position: u64) -> Result<(), ReadError> {
        let (_, size) = open_file(&self.path)?;
        if position > size {
            return Err(ReadError::Shrunk { path: self.path.clone(), position, size });
        }
        self.stop.store(true, Ordering::Relaxed);
        (self.stream, self.stop) = start(&self.path, self.kind, &self.waker)?;
        self.stream.resume_at(position);
        Ok(())
    }

    fn position(&self) -> u64 {
        self.stream.position()
    }

    fn size_bytes(&self) -> Option<u64> {
        None
    }

    fn read_bytes(&self) -> u64 {
        self.stream.read_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::connector::pump::Pumped;
    use crate::connector::{BlockContext, BlockData};

    struct Log {
        dir: tempfile::TempDir,
        reader: StreamReader,
    }

    impl Log {
        fn with(text: &str, kind: TextKind) -> Log {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            fs::write(&path, text).unwrap();
            let mut followed = Followed::open(path.to_str().unwrap()).unwrap();
            let chunks = move || {
                Ok(match followed.step()? {
                    Step::Chunk(chunk) => Pumped::Chunk(chunk),
                    Step::Idle => Pumped::Nothing,
                })
            };
            let reader = StreamReader::new("log", kind, Box::new(chunks));
            Log { dir, reader }
        }

        fn path(&self) -> std::path::PathBuf {
            self.dir.path().join("log")
        }

        fn append(&self, text: &str) {
            OpenOptions::new().append(true).open(self.path()).unwrap().write_all(text.as_bytes()).unwrap();
        }

        /// All that can be read now: position and text of each block.
        fn read(&mut self) -> Vec<(u64, String)> {
            let mut out = Vec::new();
            loop {
                match self.reader.poll_block().unwrap() {
                    Polled::Pending => return out,
                    Polled::End => panic!("a followed file has no end"),
                    Polled::Block(block) => {
                        if let BlockContext::Header(header) = &block.context {
                            assert_eq!(header.names[0], "a");
                        }
                        let BlockData::Bytes(bytes) = block.data else { panic!("rows are bytes") };
                        out.push((block.position, String::from_utf8(bytes).unwrap()));
                    }
                }
            }
        }
    }

    fn blocks<const N: usize>(expected: [(u64, &str); N]) -> Vec<(u64, String)> {
        expected.map(|(position, text)| (position, text.to_string())).into()
    }

    #[test]
    fn a_half_written_line_waits() {
        let mut log = Log::with("one\ntw", TextKind::Lines);
        assert_eq!(log.read(), blocks([(0, "one\n")]));
        assert_eq!(log.read(), []);
        log.append("o\nthree\n");
        assert_eq!(log.read(), blocks([(4, "two\nthree\n")]));
    }

    #[test]
    fn a_file_that_is_not_there_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut followed = Followed::open(path.to_str().unwrap()).unwrap();
        assert!(matches!(followed.step().unwrap(), Step::Idle));
        fs::write(&path, "one\n").unwrap();
        assert!(matches!(followed.step().unwrap(), Step::Chunk(chunk) if chunk.bytes == b"one\n"));
    }

    #[test]
    fn rotation_reads_the_old_file_to_its_end() {
        let mut log = Log::with("a\n1\n", TextKind::Csv { delimiter: None });
        assert_eq!(log.read(), blocks([(2, "1\n")]));
        log.append("2\n3");
        fs::rename(log.path(), log.dir.path().join("log.1")).unwrap();
        assert_eq!(log.read(), blocks([(4, "2\n")]));
        fs::write(log.path(), "").unwrap();
        OpenOptions::new().append(true).open(log.dir.path().join("log.1")).unwrap().write_all(b"4").unwrap();
        assert_eq!(log.read(), []);
        log.append("a\n5\n");
        assert_eq!(log.read(), blocks([(6, "34"), (10, "5\n")]));
    }

    #[test]
    fn truncation_begins_again() {
        let mut log = Log::with("one\ntwo\nthr", TextKind::Lines);
        assert_eq!(log.read(), blocks([(0, "one\ntwo\n")]));
        fs::write(log.path(), "x\n").unwrap();
        assert_eq!(log.read(), blocks([(8, "thr"), (11, "x\n")]));
    }

    #[test]
    fn the_thread_wakes_the_reader_and_a_position_can_be_sought() {
        let log = Log::with("one\n", TextKind::Lines);
        let (woken, wakes) = channel();
        let waker: Waker = Arc::new(move || woken.send(()).unwrap_or(()));
        let mut reader = FollowReader::open(log.path().to_str().unwrap(), TextKind::Lines, waker).unwrap();
        let next = |reader: &mut FollowReader| loop {
            match reader.poll_block().unwrap() {
                Polled::Pending => wakes.recv().unwrap(),
                Polled::Block(block) => return block.position,
                Polled::End => panic!("a followed file has no end"),
            }
        };
        assert_eq!(next(&mut reader), 0);
        log.append("two\n");
        assert_eq!(next(&mut reader), 4);
        reader.seek(4).unwrap();
        assert_eq!(next(&mut reader), 4);
        assert!(matches!(reader.seek(9), Err(ReadError::Shrunk { position: 9, size: 8, .. })));
    }
}
