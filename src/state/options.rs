//! What may be chosen of state and of what is saved of it, in the types of whoever obeys.
//!
//! The language has words for these; here are only the choices, so that tables, stores and segments need
//! not know of programs.

use serde::{Deserialize, Serialize};

/// With less memory for state, most of it would be spent on finding what is on disk.
pub const MEMORY_BUDGET_BYTES_MIN: u64 = 1_000_000;

/// An amount of memory for people, in the units of the language.
pub fn format_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} KB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// How much state a process keeps in memory, and how much at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLimits {
    /// Per process; beyond it, entries that were not used lately lie in RocksDB alone.
    pub memory_budget_bytes: Option<u64>,
    pub capacity: Option<Capacity>,
}

/// How many entries an operator keeps. What is beyond it is evicted: counted and lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Of each stateful operator over all workers, divided by key group.
    pub entries: u64,
    /// Which entry goes first.
    pub eviction: Eviction,
}

/// Which entry is evicted when there is no more room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eviction {
    /// The one that was used longest ago.
    #[default]
    Lru,
    /// The one that was used least often.
    Lfu,
    /// The one that was made first.
    Fifo,
}

impl std::fmt::Display for Capacity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let eviction = match self.eviction {
            Eviction::Lru => "lru",
            Eviction::Lfu => "lfu",
            Eviction::Fifo => "fifo",
        };
        write!(f, "{} entries ({eviction})", self.entries)
    }
}

/// How what is saved is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    None,
    Lz4,
    #[default]
    Zstd,
}
