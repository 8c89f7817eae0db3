//! What checkpoints need of the sources: entering an epoch, where partitions stood then, continuing
//! there, and the end of a run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::{Intake, Partition, lock};
use crate::connector::position::{InputFingerprint, PartitionRecord};
use crate::connector::progress::Progress;

impl Partition {
    /// Continues where `record` says instead of at the start. The source of another program may have other
    /// outputs: none of them goes back behind where any had come.
    pub fn resume(&mut self, record: &PartitionRecord, epoch: u64, is_other_program: bool) {
        let mut record = record.clone();
        let outputs = lock(&self.progress).outputs();
        if is_other_program || record.floors.len() != outputs {
            record.floors = vec![record.floors.iter().copied().max().unwrap_or(i64::MIN); outputs];
        }
        self.start = record.position;
        if let (true, Some(file)) = (record.ended, &record.fingerprint) {
            self.read_bytes.store(file.size_bytes, Ordering::Relaxed);
        }
        self.progress = Mutex::new(Progress::resumed(&record, epoch));
    }

    /// Rows have places no earlier than `floors`, by output of the source.
    pub fn raise_floors(&mut self, floors: &[i64]) {
        let mut progress = lock(&self.progress);
        floors.iter().enumerate().for_each(|(output, floor)| progress.raise_floor(output, *floor));
    }

    /// Enters an epoch, between two blocks.
    pub(super) fn enter_epoch(&self, epoch: u64) {
        let reader = lock(&self.reader);
        let position = reader.as_ref().map(|r| r.position()).or(self.start);
        lock(&self.progress).enter_epoch(epoch, position);
    }
}

impl Intake {
    /// Asks all sources to enter `epoch`.
    pub fn enter_epoch(&self, epoch: u64) {
        self.epoch_wanted.fetch_max(epoch, Ordering::Relaxed);
        self.wake();
    }

    /// From now on the end of all partitions is not the end of the run: [`Self::release`] is.
    pub fn hold_open(&self) {
        self.is_held_open.store(true, Ordering::Relaxed);
    }

    pub fn release(&self) {
        self.is_held_open.store(false, Ordering::Relaxed);
        self.wake();
    }

    /// Reads nothing more; what was read goes its way.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Whether all partitions have ended.
    pub fn has_ended(&self) -> bool {
        self.partitions.iter().all(|p| lock(&p.progress).is_exhausted())
    }

    /// Where each partition stood when it entered the epoch it is in, by name, with the identity of the
    /// file behind it.
    pub fn boundaries(&self) -> std::io::Result<BTreeMap<String, PartitionRecord>> {
        let mut out = BTreeMap::new();
        for partition in &self.partitions {
            let Some(record) = lock(&partition.progress).boundary().cloned() else { continue };
            let fingerprint = partition.path.as_deref().map(InputFingerprint::of).transpose()?;
            out.insert(partition.key.clone(), PartitionRecord { fingerprint, rank: partition.rank, ..record });
        }
        Ok(out)
    }
}
