//! A thread that reads where reading may take long, and a bounded channel between it and the reader
//! that workers poll.
//!
//! The bound is what stops the thread when nobody takes the bytes; dropping the pump ends it at its
//! next send. A thread that waits for input that never comes ends with the process.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use super::partition::Waker;

/// Chunks on their way; with [`CHUNK_BYTES`] each, what a partition reads ahead.
const CHUNKS_IN_FLIGHT: usize = 8;
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// One piece of a stream.
pub(crate) struct Chunk {
    pub bytes: Vec<u8>,
    /// Bytes of the stored input that have been read so far.
    pub read_bytes: u64,
    /// What is in `bytes` begins a new stream: a file that was rotated or truncated.
    pub restarts: bool,
}

pub(crate) enum Pumped {
    Chunk(Chunk),
    Nothing,
    End,
}

pub(crate) struct Pump {
    chunks: Receiver<io::Result<Chunk>>,
}

impl Pump {
    /// Starts a thread that sends what `next` gives until it gives `None` or fails.
    pub(crate) fn start(
        name: &str,
        waker: Waker,
        mut next: impl FnMut() -> io::Result<Option<Chunk>> + Send + 'static,
    ) -> io::Result<Pump> {
        let (sender, chunks): (SyncSender<io::Result<Chunk>>, _) = sync_channel(CHUNKS_IN_FLIGHT);
        thread::Builder::new().name(format!("read {name}")).spawn(move || {
            // The sender must be gone before the last call of the waker, or the end would be seen by
            // nobody.
            let finish = |sender: SyncSender<_>| {
                drop(sender);
                waker();
            };
            loop {
                match next() {
                    Ok(Some(chunk)) => {
                        if sender.send(Ok(chunk)).is_err() {
                            return;
                        }
                        waker();
                    }
                    Ok(None) => return finish(sender),
                    Err(error) => {
                        // Whoever dropped the receiver does not want to know.
                        let _ = sender.send(Err(error));
                        return finish(sender);
                    }
                }
            }
        })?;
        Ok(Pump { chunks })
    }

    pub(crate) fn poll(&mut self) -> io::Result<Pumped> {
        match self.chunks.try_recv() {
            Ok(chunk) => Ok(Pumped::Chunk(chunk?)),
            Err(TryRecvError::Empty) => Ok(Pumped::Nothing),
            Err(TryRecvError::Disconnected) => Ok(Pumped::End),
        }
    }

    /// Like [`Pump::poll`], but waits instead of saying [`Pumped::Nothing`].
    pub(crate) fn wait(&mut self) -> io::Result<Pumped> {
        match self.chunks.recv() {
            Ok(chunk) => Ok(Pumped::Chunk(chunk?)),
            Err(_) => Ok(Pumped::End),
        }
    }
}
