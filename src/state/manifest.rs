//! The record of a checkpoint: everything that a run needs to continue, but for the entries of its
//! state, which lie in segments that the record names.
//!
//! A record is written last, when all that it names is durable, and is never changed: that it exists and
//! its checksum holds is what makes a checkpoint valid.
//!
//! Form: a line `varpulis checkpoint, format 1, xxh3 0123456789abcdef`, then JSON, whose bytes the
//! checksum covers. It is JSON because people look at it when something is wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use crate::connector::position::{InputFingerprint, PartitionRecord, SinkRecord};

/// The version of the record's form and of everything it names. Older ones stay readable.
pub const FORMAT_VERSION: u32 = 1;

/// What a run had done up to the end of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch that ended with it. Ids grow through all runs over a store.
    pub id: u64,
    /// The start of the run that made it; every start takes a new one.
    pub generation: u64,
    /// When it was completed, ms since 1970.
    pub timestamp_ms: u64,
    /// Rows that all sources had read.
    pub events_processed: u64,
    /// Whether the input had ended and everything was written: there is nothing to continue.
    pub finished: bool,
    /// Workers of the run that made it, over all processes. Key groups were divided among them.
    pub workers: usize,
    /// The states of windows, by the state's name.
    pub window_states: BTreeMap<String, WindowCheckpoint>,
    /// The states of sequence patterns, by name.
    pub pattern_states: BTreeMap<String, PatternCheckpoint>,
    /// All other states, by name: running aggregates, `distinct`, `limit`, timers, what a sink holds.
    pub operator_states: BTreeMap<String, StateSummary>,
    /// Where the entries of all states lie, oldest first: a later entry replaces an earlier one.
    pub segments: Vec<SegmentRecord>,
    /// Where each input partition stands, by its name.
    pub partitions: BTreeMap<String, PartitionRecord>,
    /// What each sink had written, by its destination.
    pub sinks: BTreeMap<String, SinkRecord>,
    /// What the report had counted, in the form of whoever counts.
    pub counters: serde_json::Value,
    /// The program as it was compiled, with the schemas that were sampled.
    pub program: ProgramRecord,
    /// Free notes: the version that wrote it, the host.
    pub metadata: BTreeMap<String, String>,
}

/// The state of a window operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowCheckpoint {
    pub state: StateSummary,
}

/// The state of a sequence pattern.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PatternCheckpoint {
    pub state: StateSummary,
}

/// What is known of a state without reading its segments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateSummary {
    /// What the state's entries depend on: its own definition, and what comes before it.
    pub definition: String,
    pub input: String,
    /// By worker: the watermark up to which the operator had fired. Entries that expired by then are dead.
    pub watermarks: Vec<i64>,
    /// Entries that the checkpoint itself wrote, and their bytes before compression.
    pub entries_written: u64,
    pub bytes_written: u64,
}

/// A segment that a checkpoint stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRecord {
    pub name: String,
    pub bytes: u64,
    /// xxh3 of the whole value.
    pub checksum: u64,
    pub entries: u64,
    /// The epoch it was written for.
    pub epoch: u64,
    /// Whether it is part of a full copy of its worker's state, which nothing before it matters to.
    pub full: bool,
}

/// The compiled program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgramRecord {
    /// The physical plan, as the planner serializes it.
    pub plan: serde_json::Value,
    pub fingerprint: String,
    /// The types that were sampled, as the compiler takes them.
    #[serde(default)]
    pub samples: serde_json::Value,
    /// Whether rows left in one order, for which some may have been waiting.
    #[serde(default)]
    pub ordered: bool,
    /// By output.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputRecord>,
}

/// How the rows of an output left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRecord {
    /// The format, and the columns where they are part of the format.
    pub form: String,
    pub destination: String,
    /// Whether that is a file, which has one form from its beginning to its end.
    pub is_file: bool,
}

/// A record that cannot be trusted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    #[error("{name}: not the record of a checkpoint")]
    NotOne { name: String },
    #[error("{name}: written in format {version}, newer than this program's {FORMAT_VERSION}")]
    Newer { name: String, version: u32 },
    #[error("{name}: damaged (its checksum does not hold)")]
    Damaged { name: String },
    #[error("{name}: {reason}")]
    Unreadable { name: String, reason: String },
}

impl Checkpoint {
    pub fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_vec_pretty(self).expect("a record is JSON");
        let mut out =
            format!("varpulis checkpoint, format {FORMAT_VERSION}, xxh3 {:016x}\n", checksum_of(&body, FORMAT_VERSION))
                .into_bytes();
        out.extend_from_slice(&body);
        out
    }

    /// Reads what [`Self::encode`] wrote; `name` is for messages.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Checkpoint, ManifestError> {
        let not_one = || ManifestError::NotOne { name: name.to_string() };
        let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(not_one)?;
        let (line, body) = (std::str::from_utf8(&bytes[..end]).map_err(|_| not_one())?, &bytes[end + 1..]);
        let rest = line.strip_prefix("varpulis checkpoint, format ").ok_or_else(not_one)?;
        let (version, checksum) = rest.split_once(", xxh3 ").ok_or_else(not_one)?;
        let version: u32 = version.parse().map_err(|_| not_one())?;
        if version > FORMAT_VERSION {
            return Err(ManifestError::Newer { name: name.to_string(), version });
        }
        if checksum != format!("{:016x}", checksum_of(body, version)) {
            return Err(ManifestError::Damaged { name: name.to_string() });
        }
        let unreadable =
            |e: serde_json::Error| ManifestError::Unreadable { name: name.to_string(), reason: e.to_string() };
        serde_json::from_slice(body).map_err(unreadable)
    }

    /// As [`Self::state`], to be changed.
    pub fn state_mut(&mut self, name: &str) -> Option<&mut StateSummary> {
        if let Some(window) = self.window_states.get_mut(name) {
            return Some(&mut window.state);
        }
        if let Some(pattern) = self.pattern_states.get_mut(name) {
            return Some(&mut pattern.state);
        }
        self.operator_states.get_mut(name)
    }

    /// The summary of a state of any kind, by its name.
    pub fn state(&self, name: &str) -> Option<&StateSummary> {
        let window = self.window_states.get(name).map(|w| &w.state);
        let pattern = self.pattern_states.get(name).map(|p| &p.state);
        window.or(pattern).or_else(|| self.operator_states.get(name))
    }
}

/// Covers the version as well, so that a damaged one is seen.
fn checksum_of(body: &[u8], version: u32) -> u64 {
    xxh3_64_with_seed(body, version.into())
}

/// What the names of all records begin with.
pub fn manifest_prefix(prefix: &str) -> String {
    format!("{prefix}:checkpoints:")
}

/// The name of a record: generation before id, so that names are in the order in which they were made.
pub fn manifest_name(prefix: &str, id: u64, generation: u64) -> String {
    format!("{}{generation:010}-{id:012}", manifest_prefix(prefix))
}

/// The generation and id that a record's name says.
pub fn parse_manifest_name(name: &str) -> Option<(u64, u64)> {
    let (generation, id) = name.rsplit_once(':')?.1.split_once('-')?;
    Some((generation.parse().ok()?, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Checkpoint {
        let partition = PartitionRecord { position: Some(42), greatest: i64::MIN, ..PartitionRecord::default() };
        Checkpoint { id: 7, generation: 2, partitions: [("a".to_string(), partition)].into(), ..Checkpoint::default() }
    }

    #[test]
    fn reads_what_it_wrote() {
        assert_eq!(Checkpoint::decode("x", &record().encode()), Ok(record()));
    }

    /// Any change of any byte is seen, and so is any truncation.
    #[test]
    fn damage_is_always_seen() {
        let whole = record().encode();
        for length in 0..whole.len() {
            assert!(Checkpoint::decode("x", &whole[..length]).is_err(), "{length}");
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::decode("x", &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn names_sort_as_they_were_made() {
        assert!(manifest_name("p", 9, 1) < manifest_name("p", 10, 1));
        assert!(manifest_name("p", 10, 1) < manifest_name("p", 2, 2));
        assert_eq!(parse_manifest_name(&manifest_name("p:q", 12, 3)), Some((3, 12)));
    }
}
