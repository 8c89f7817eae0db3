//! Rows that were not taken: malformed ones, rows of other types, and fields that nobody declared. All
//! are counted by name; the first few malformed ones are kept to be shown, and all go to the dead
//! letters if somebody asks for them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::sink::dead_letter::DeadLetters;
use super::sink::{Mark, SinkError};
use super::spec::OnError;
use super::{Decoded, Malformed, MalformedReason};

/// Malformed rows kept per source, to be shown.
const SHOWN_MAX: usize = 5;
/// Names of unknown fields and types kept per source.
const NAMES_MAX: usize = 20;

/// What was rejected of one source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rejected {
    pub rows_read: u64,
    pub malformed: BTreeMap<MalformedReason, u64>,
    /// The first few, each with its partition.
    pub shown: Vec<(String, Malformed)>,
    pub other_types: BTreeMap<String, u64>,
    pub unknown_fields: Vec<String>,
    pub filter_errors: u64,
    /// Rows further ahead of the clock than `max_ahead`: they do not move the watermark alone.
    pub ahead: u64,
}

impl Rejected {
    /// Adds what another process rejected of the same source.
    pub fn add(&mut self, other: Rejected) {
        self.rows_read += other.rows_read;
        other.malformed.into_iter().for_each(|(reason, count)| *self.malformed.entry(reason).or_default() += count);
        self.shown.extend(other.shown);
        self.shown.truncate(SHOWN_MAX);
        other.other_types.into_iter().for_each(|(name, count)| *self.other_types.entry(name).or_default() += count);
        let known = self.unknown_fields.len();
        let new = other.unknown_fields.into_iter().filter(|f| !self.unknown_fields[..known].contains(f));
        let new: Vec<String> = new.collect();
        self.unknown_fields.extend(new);
        self.filter_errors += other.filter_errors;
        self.ahead += other.ahead;
    }
}

/// Why the run has to stop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub partition: String,
    pub row: Malformed,
    /// Whether a sampled type was contradicted, rather than `on_error: "fail"` in force.
    pub sampled: bool,
}

struct Policy {
    name: String,
    on_error: OnError,
    sampled: bool,
}

/// Rejected rows of all sources of a process.
pub struct Rejects {
    policies: Vec<Policy>,
    state: Mutex<State>,
}

struct State {
    sources: Vec<Rejected>,
    dead_letters: Option<DeadLetters>,
    /// Why the dead letters cannot be written, until somebody asks.
    failed: Option<SinkError>,
    refusal: Option<Refusal>,
}

impl Rejects {
    /// For the plan's sources: (name, policy, whether a type was sampled).
    pub fn new(sources: Vec<(String, OnError, bool)>, dead_letters: Option<DeadLetters>) -> Rejects {
        let state =
            State { sources: vec![Rejected::default(); sources.len()], dead_letters, failed: None, refusal: None };
        let policies =
            sources.into_iter().map(|(name, on_error, sampled)| Policy { name, on_error, sampled }).collect();
        Rejects { policies, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a block of `partition` gave beside its rows.
    pub fn take(&self, source: usize, partition: &str, epoch: u64, decoded: Decoded) {
        let policy = &self.policies[source];
        let mut state = self.state();
        let state = &mut *state;
        let rejected = &mut state.sources[source];
        rejected.rows_read += decoded.rows;
        for (name, count) in decoded.other_types {
            if rejected.other_types.len() < NAMES_MAX || rejected.other_types.contains_key(&name) {
                *rejected.other_types.entry(name).or_default() += count;
            } else {
                *rejected.other_types.entry("…".to_string()).or_default() += count;
            }
        }
        for name in decoded.unknown_fields {
            if rejected.unknown_fields.len() < NAMES_MAX && !rejected.unknown_fields.contains(&name) {
                rejected.unknown_fields.push(name);
            }
        }
        for row in decoded.malformed {
            *rejected.malformed.entry(row.reason).or_default() += 1;
            if let (OnError::DeadLetter, Some(letters)) = (policy.on_error, &mut state.dead_letters)
                && let Err(error) = letters.write(epoch, &policy.name, partition, &row)
            {
                state.failed.get_or_insert(error);
            }
            let contradicts =
                policy.sampled && matches!(row.reason, MalformedReason::WrongType | MalformedReason::MissingField);
            if (contradicts || policy.on_error == OnError::Fail) && state.refusal.is_none() {
                let (partition, row) = (partition.to_string(), row.clone());
                state.refusal = Some(Refusal { partition, row, sampled: contradicts });
            }
            if rejected.shown.len() < SHOWN_MAX {
                rejected.shown.push((partition.to_string(), row));
            }
        }
    }

    /// Errors of a filter that was pushed into a source.
    pub fn add_filter_errors(&self, source: usize, errors: u64) {
        if errors > 0 {
            self.state().sources[source].filter_errors += errors;
        }
    }

    /// Rows that are too far ahead of the clock.
    pub fn add_ahead(&self, source: usize, rows: u64) {
        if rows > 0 {
            self.state().sources[source].ahead += rows;
        }
    }

    /// Why the run has to stop, if it has to.
    pub fn refusal(&self) -> Option<Refusal> {
        self.state().refusal.clone()
    }

    /// What was rejected, by source.
    pub fn read(&self) -> Vec<Rejected> {
        self.state().sources.clone()
    }

    /// Why the dead letters could not be written, if they could not.
    pub fn failure(&self) -> Option<SinkError> {
        self.state().failed.take()
    }

    /// Ends an epoch of the dead letters: how much of their file belongs to it and those before.
    pub fn end_epoch(&self) -> Result<Vec<Mark>, SinkError> {
        self.state().dead_letters.as_mut().map_or_else(|| Ok(Vec::new()), DeadLetters::end_epoch)
    }

    /// Completes the dead letters.
    pub fn close(&self) -> Result<(), SinkError> {
        self.state().dead_letters.take().map_or(Ok(()), |mut letters| letters.finish())
    }
}
