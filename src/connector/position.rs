//! Where an input or an output stands, as a checkpoint records it: enough to continue there, and to tell
//! whether it is still the same file.

use std::fs::File;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Where a partition stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// Where reading continues; `None` where the transport cannot go back.
    pub position: Option<u64>,
    pub ended: bool,
    /// The greatest event time of the rows before it; `i64::MIN` without rows.
    pub greatest: i64,
    /// The time of the first row, where it was peeked; else `i64::MIN`.
    pub first_time: i64,
    /// A time ahead of the clock that waits for another to confirm it.
    pub unconfirmed: Option<i64>,
    /// By output of the source: a watermark that moved on while the partition was silent.
    pub floors: Vec<i64>,
    pub rows: u64,
    /// Its number among all partitions, by which rows of equal time go; rows that wait bear it.
    #[serde(default)]
    pub rank: u32,
    /// Size of the input and checksum of its first bytes, where it is a file: whether it is still the same.
    pub fingerprint: Option<InputFingerprint>,
}

/// Tells whether an input is the one that a checkpoint was taken over. It may have grown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFingerprint {
    pub size_bytes: u64,
    /// How many bytes from the start the checksum covers.
    pub head_bytes: u64,
    pub head_checksum: u64,
}

/// What a sink had written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkRecord {
    pub bytes: u64,
    /// Running xxh3 of those bytes; 0 for parts, each of which has its own.
    pub checksum: u64,
    /// Whole parts, of sinks that write parts.
    pub parts: u64,
    /// Those of the parts that readers may not see yet; they may once the record exists.
    #[serde(default)]
    pub hidden: Vec<PartRecord>,
    pub rows: u64,
}

/// A part of an output, completed under its temporary name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// From 1.
    pub number: u64,
    pub bytes: u64,
    /// xxh3 of the whole part.
    pub checksum: u64,
}

/// How much of an input's beginning is looked at.
const HEAD_BYTES: u64 = 64 << 10;

impl InputFingerprint {
    /// Of a file as it is now.
    pub fn of(path: &str) -> io::Result<InputFingerprint> {
        InputFingerprint::with_head(path, HEAD_BYTES)
    }

    fn with_head(path: &str, head_bytes: u64) -> io::Result<InputFingerprint> {
        let file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        let mut head = Vec::new();
        file.take(head_bytes).read_to_end(&mut head)?;
        Ok(InputFingerprint { size_bytes, head_bytes: head.len() as u64, head_checksum: xxh3_64(&head) })
    }

    /// Whether the file is still the one that this was taken of; it may have grown.
    pub fn holds(&self, path: &str) -> io::Result<bool> {
        let now = InputFingerprint::with_head(path, self.head_bytes)?;
        Ok(now.size_bytes >= self.size_bytes && now.head_checksum == self.head_checksum)
    }
}
