//! Rows that were not taken: malformed ones, rows of other types, and fields that nobody declared. All
//! are counted by name; the first few malformed ones are kept to be shown, and all go to the dead
//! letters if somebody asks for them.
//!
//! What is counted belongs to the epoch of the block that it was counted of, so that it survives a crash
//! as the rows do. Two epochs are under way at most: that which a checkpoint is being made of, and the next.

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
    /// Adds what another process, or a later epoch, rejected of the same source.
    pub fn add(&mut self, other: Rejected) {
        self.rows_read += other.rows_read;
        other.malformed.into_iter().for_each(|(reason, count)| *self.malformed.entry(reason).or_default() += count);
        self.shown.extend(other.shown);
        self.shown.truncate(SHOWN_MAX);
        other.other_types.into_iter().for_each(|(name, count)| self.add_other_type(name, count));
        other.unknown_fields.into_iter().for_each(|name| self.add_unknown_field(name));
        self.filter_errors += other.filter_errors;
        self.ahead += other.ahead;
    }

    fn add_other_type(&mut self, name: String, count: u64) {
        let has_room = self.other_types.len() < NAMES_MAX || self.other_types.contains_key(&name);
        let name = if has_room { name } else { "…".to_string() };
        *self.other_types.entry(name).or_default() += count;
    }

    fn add_unknown_field(&mut self, name: String) {
        if self.unknown_fields.len() < NAMES_MAX && !self.unknown_fields.contains(&name) {
            self.unknown_fields.push(name);
        }
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
    /// By source: up to the end of the last epoch that was recorded, in earlier runs too.
    before: Vec<Rejected>,
    /// By the epoch's number, even or odd, and by source.
    epochs: [Vec<Rejected>; 2],
    /// The epoch that is recorded next.
    next: u64,
    dead_letters: Option<DeadLetters>,
    /// Why the dead letters cannot be written, until somebody asks.
    failed: Option<SinkError>,
    refusal: Option<Refusal>,
}

impl Rejects {
    /// For the plan's sources: (name, policy, whether a type was sampled).
    pub fn new(sources: Vec<(String, OnError, bool)>, dead_letters: Option<DeadLetters>) -> Rejects {
        let none = vec![Rejected::default(); sources.len()];
        let epochs = [none.clone(), none.clone()];
        let state = State { before: none, epochs, next: 0, dead_letters, failed: None, refusal: None };
        let policies =
            sources.into_iter().map(|(name, on_error, sampled)| Policy { name, on_error, sampled }).collect();
        Rejects { policies, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on from what earlier runs had counted, in `epoch`.
    pub fn go_on(&self, before: Vec<Rejected>, epoch: u64) {
        let mut state = self.state();
        (state.before, state.next) = (before, epoch);
    }

    /// Takes what a block of `partition` gave beside its rows.
    pub fn take(&self, source: usize, partition: &str, epoch: u64, decoded: Decoded) {
        let policy = &self.policies[source];
        let mut state = self.state();
        let state = &mut *state;
        let rejected = &mut state.epochs[(epoch % 2) as usize][source];
        rejected.rows_read += decoded.rows;
        decoded.other_types.into_iter().for_each(|(name, count)| rejected.add_other_type(name, count));
        decoded.unknown_fields.into_iter().for_each(|name| rejected.add_unknown_field(name));
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
    pub fn add_filter_errors(&self, source: usize, epoch: u64, errors: u64) {
        if errors > 0 {
            self.state().epochs[(epoch % 2) as usize][source].filter_errors += errors;
        }
    }

    /// Rows that are too far ahead of the clock.
    pub fn add_ahead(&self, source: usize, epoch: u64, rows: u64) {
        if rows > 0 {
            self.state().epochs[(epoch % 2) as usize][source].ahead += rows;
        }
    }

    /// Why the run has to stop, if it has to.
    pub fn refusal(&self) -> Option<Refusal> {
        self.state().refusal.clone()
    }

    /// What was rejected, by source.
    pub fn read(&self) -> Vec<Rejected> {
        let state = self.state();
        let mut all = state.before.clone();
        for epoch in [state.next, state.next + 1] {
            let counted = state.epochs[(epoch % 2) as usize].iter().cloned();
            all.iter_mut().zip(counted).for_each(|(of_source, counted)| of_source.add(counted));
        }
        all
    }

    /// All blocks of `epoch` have been counted: what was rejected up to its end, by source.
    pub fn recorded(&self, epoch: u64) -> Vec<Rejected> {
        let mut state = self.state();
        let state = &mut *state;
        let ended = state.epochs[(epoch % 2) as usize].iter_mut().map(std::mem::take);
        state.before.iter_mut().zip(ended).for_each(|(of_source, counted)| of_source.add(counted));
        state.next = epoch + 1;
        state.before.clone()
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
