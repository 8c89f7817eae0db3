//! How a run begins again: the newest checkpoint that holds, and the entries of its states.
//!
//! A checkpoint holds if its record and every segment that it names are there and undamaged. One that
//! does not is named, and the one before is tried; that an older checkpoint was used is never silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::merge::Merge;
use super::segment::{Segment, SegmentError};
use crate::data::key::group_owner;
use crate::state::entries::{Durable, EVERY_WORKER, Entry, RestoreError, SavedEntry, Worker};
use crate::state::manifest::{Checkpoint, SegmentRecord, StateSummary};
use crate::state::store::{Listed, StateStore, StoreError};

/// After so many entries are restored, those that do not fit in memory go to where they belong.
const SHED_ENTRIES: usize = 4096;

/// A checkpoint whose every part was read and holds.
#[derive(Debug)]
pub struct Recovered {
    pub record: Checkpoint,
    segments: Vec<Arc<Segment>>,
    /// What it took to read and check all parts.
    pub took: Duration,
}

/// A checkpoint that does not hold, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub name: String,
    pub reason: String,
}

/// Why no state could be restored.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the state `{state}` cannot be restored: {reason}")]
    Segment { state: String, reason: SegmentError },
    #[error("the state `{state}` cannot be restored: {reason}")]
    Entry { state: String, reason: RestoreError },
}

/// The newest checkpoint that holds, if any does; and those that were tried before and do not.
pub fn newest_valid(store: &dyn StateStore, prefix: &str) -> Result<(Option<Recovered>, Vec<Invalid>), RecoveryError> {
    let mut invalid = Vec::new();
    for listed in store.list_checkpoints(prefix)?.into_iter().rev() {
        match open(store, &listed)? {
            Ok(recovered) => return Ok((Some(recovered), invalid)),
            Err(reason) => invalid.push(Invalid { name: listed.name, reason }),
        }
    }
    Ok((None, invalid))
}

/// Reads a checkpoint and all that it names; the inner error says why it does not hold.
pub fn open(store: &dyn StateStore, listed: &Listed) -> Result<Result<Recovered, String>, StoreError> {
    let started = Instant::now();
    let bytes = match read(store, &listed.name)? {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err("it is gone".to_string())),
        Err(reason) => return Ok(Err(reason)),
    };
    let record = match Checkpoint::decode(&listed.name, &bytes) {
        Ok(record) => record,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut segments = Vec::new();
    for named in &record.segments {
        match open_segment(store, named)? {
            Ok(segment) => segments.push(Arc::new(segment)),
            Err(reason) => return Ok(Err(format!("{}: {reason}", named.name))),
        }
    }
    Ok(Ok(Recovered { record, segments, took: started.elapsed() }))
}

/// Reads a value. That its bytes are not what was written is a matter of this value alone (the inner
/// error), and no reason to give up; a store that does not answer is.
pub fn read(store: &dyn StateStore, name: &str) -> Result<Result<Option<Vec<u8>>, String>, StoreError> {
    match store.get(name) {
        Ok(value) => Ok(Ok(value)),
        Err(StoreError::Damaged { reason, .. }) => Ok(Err(format!("damaged ({reason})"))),
        Err(error) => Err(error),
    }
}

fn open_segment(store: &dyn StateStore, named: &SegmentRecord) -> Result<Result<Segment, String>, StoreError> {
    let bytes = match read(store, &named.name)? {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err("missing".to_string())),
        Err(reason) => return Ok(Err(reason)),
    };
    if bytes.len() as u64 != named.bytes || xxh3_64(&bytes) != named.checksum {
        return Ok(Err("damaged (it is not what the checkpoint says)".to_string()));
    }
    Ok(Segment::open(bytes).map_err(|e| e.to_string()))
}

impl Recovered {
    /// The entries of a state are not to be read: it begins empty, or is no longer there.
    pub fn forget(&mut self, state: &str) {
        self.record.window_states.remove(state);
        self.record.pattern_states.remove(state);
        self.record.operator_states.remove(state);
    }

    /// Gives `core` the entries of a state that are its worker's. A state that the checkpoint does not
    /// have stays empty.
    pub fn restore(&self, state: &str, worker: Worker, core: &mut dyn Durable) -> Result<(), RecoveryError> {
        let Some(summary) = self.record.state(state) else { return Ok(()) };
        let segment_error = |reason| RecoveryError::Segment { state: state.to_string(), reason };
        let wanted = |first: u16, last: u16| last == EVERY_WORKER || (first..=last).any(|g| worker.owns(g));
        // What is saved in full is about what there is.
        let full = self.record.segments.iter().zip(&self.segments).filter(|(record, _)| record.full);
        core.expect(full.map(|(_, s)| s.entries_of(state, wanted)).sum::<u64>() as usize);
        let cursors = self.segments.iter().map(|s| s.cursor(state, wanted)).collect();
        let mut merge = Merge::new(cursors).map_err(segment_error)?;
        let mut restored = 0_usize;
        while let Some(entry) = merge.next_entry().map_err(segment_error)? {
            let Some(saved) = self.living(summary, &entry) else { continue };
            if saved.group == EVERY_WORKER || worker.owns(saved.group) {
                let entry_error = |reason| RecoveryError::Entry { state: state.to_string(), reason };
                core.restore(&saved).map_err(entry_error)?;
                restored += 1;
                if restored.is_multiple_of(SHED_ENTRIES) {
                    core.restored();
                    core.shed();
                }
            }
        }
        core.restored();
        Ok(())
    }

    /// The entry as it is restored, if it is neither gone nor expired.
    fn living<'a>(&self, summary: &StateSummary, entry: &Entry<'a>) -> Option<SavedEntry<'a>> {
        let saver = match (entry.group, entry.key.first_chunk::<4>()) {
            (EVERY_WORKER, Some(worker)) => u32::from_be_bytes(*worker) as usize,
            (EVERY_WORKER, None) => 0,
            (group, _) => group_owner(group, self.record.workers),
        };
        let watermark = summary.watermarks.get(saver).copied().unwrap_or(i64::MIN);
        let value = entry.value.filter(|_| entry.expiry > watermark)?;
        Some(SavedEntry { group: entry.group, key: entry.key, sub: entry.sub, value, watermark })
    }
}
