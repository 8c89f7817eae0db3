//! The checkpoints of one store, for whoever looks at them from outside a run: which there are, which hold,
//! which may go.
//!
//! What is not valid is said, with the reason, and never repaired. A store that cannot be asked at the
//! moment is an error instead: to go on from an older checkpoint because a network is down would give
//! a wrong answer.

use super::config::CheckpointConfig;
use super::recovery::{self, Invalid};
use super::retention;
use crate::state::manifest::Checkpoint;
use crate::state::store::{Listed, SharedStore, StateStore, StoreError};

/// The checkpoints under one prefix of a store. Clones share the store.
#[derive(Clone)]
pub struct CheckpointManager {
    store: SharedStore,
    config: CheckpointConfig,
}

/// What was found when the newest valid checkpoint was looked for.
#[derive(Debug)]
pub struct Latest {
    /// `None` if there is none at all, or none is valid.
    pub checkpoint: Option<Checkpoint>,
    /// Those newer than it, newest first.
    pub skipped: Vec<Invalid>,
}

impl CheckpointManager {
    pub fn new(store: SharedStore, config: CheckpointConfig) -> CheckpointManager {
        CheckpointManager { store, config }
    }

    pub fn store(&self) -> &dyn StateStore {
        &*self.store
    }

    pub fn config(&self) -> &CheckpointConfig {
        &self.config
    }

    /// All checkpoints, valid or not, the newest last.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        self.store.list_checkpoints(&self.config.key_prefix)
    }

    /// The record of a checkpoint, of the newest generation that has it; `None` if there is none. The
    /// segments it names are not looked at.
    pub fn load(&self, id: u64) -> Result<Option<Checkpoint>, StoreError> {
        self.store.load_checkpoint(&self.config.key_prefix, id)
    }

    /// The newest checkpoint of which every byte holds, and those that were passed over on the way to it.
    pub fn latest(&self) -> Result<Latest, StoreError> {
        let mut skipped = Vec::new();
        for listed in self.list()?.into_iter().rev() {
            match self.verify(&listed)? {
                Ok(checkpoint) => return Ok(Latest { checkpoint: Some(checkpoint), skipped }),
                Err(invalid) => skipped.push(invalid),
            }
        }
        Ok(Latest { checkpoint: None, skipped })
    }

    /// Reads all of a checkpoint: its record, or why it cannot be resumed from.
    pub fn verify(&self, listed: &Listed) -> Result<Result<Checkpoint, Invalid>, StoreError> {
        let opened = recovery::open(&*self.store, listed)?;
        Ok(opened.map(|whole| whole.record).map_err(|reason| Invalid { name: listed.name.clone(), reason }))
    }

    /// Deletes what the newest valid checkpoint makes superfluous, as a run does after each: records
    /// beyond `max_checkpoints` or older than `max_age`, those that cannot be read, and segments that no record
    /// names. Gives the checkpoints deleted; nothing is, if none is valid.
    pub fn prune(&self) -> Result<Vec<Listed>, StoreError> {
        let Some(newest) = self.latest()?.checkpoint else { return Ok(Vec::new()) };
        let before = self.list()?;
        retention::prune(&*self.store, &self.config, &newest)?;
        let after = self.list()?;
        Ok(before.into_iter().filter(|listed| !after.contains(listed)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xxhash_rust::xxh3::xxh3_64;

    use super::super::segment::{Compression, encode_segment};
    use super::*;
    use crate::state::manifest::{SegmentRecord, manifest_name};
    use crate::state::store::{Change, MemoryStore};

    /// Checkpoints 1 to 4, each on a segment of its own.
    fn saved() -> CheckpointManager {
        let config = CheckpointConfig { max_checkpoints: 2, ..CheckpointConfig::default() };
        let manager = CheckpointManager::new(Arc::new(MemoryStore::new()), config);
        for id in 1..=4 {
            let name = retention::segment_name("varpulis", 1, id, 0, 0);
            let value = encode_segment(&[], Compression::Zstd);
            let segment = SegmentRecord {
                name: name.clone(),
                bytes: value.len() as u64,
                checksum: xxh3_64(&value),
                epoch: id,
                ..SegmentRecord::default()
            };
            manager.store().put(&name, &value).unwrap();
            let record = Checkpoint { id, generation: 1, segments: vec![segment], ..Checkpoint::default() };
            assert!(manager.store().save_checkpoint("varpulis", &record).unwrap());
        }
        manager
    }

    fn ids(manager: &CheckpointManager) -> Vec<u64> {
        manager.list().unwrap().into_iter().map(|listed| listed.id).collect()
    }

    #[test]
    fn takes_the_newest_that_holds_and_names_the_others() {
        let manager = saved();
        assert_eq!(manager.latest().unwrap().checkpoint.map(|c| c.id), Some(4));
        assert_eq!(manager.load(2).unwrap().map(|c| c.id), Some(2));
        assert_eq!(manager.load(5).unwrap(), None);

        let (torn, gone) = (manifest_name("varpulis", 4, 1), retention::segment_name("varpulis", 1, 3, 0, 0));
        let whole = manager.store().get(&torn).unwrap().unwrap();
        manager.store().put(&torn, &whole[..whole.len() - 1]).unwrap();
        manager.store().delete(&gone).unwrap();
        let latest = manager.latest().unwrap();
        assert_eq!(latest.checkpoint.map(|c| c.id), Some(2));
        assert_eq!(latest.skipped.len(), 2);
        assert!(latest.skipped[0].name == torn && latest.skipped[0].reason.contains("damaged"), "{:?}", latest.skipped);
        assert!(latest.skipped[1].reason.contains(&gone), "{:?}", latest.skipped);
    }

    /// A store one value of which cannot be read, as RocksDB tells it.
    struct Spoilt {
        inner: SharedStore,
        name: String,
    }

    impl StateStore for Spoilt {
        fn place(&self) -> String {
            self.inner.place()
        }

        fn put(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
            self.inner.put(name, value)
        }

        fn create(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
            self.inner.create(name, value)
        }

        fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
            match name == self.name {
                true => Err(StoreError::Damaged { place: self.place(), reason: "block checksum".to_string() }),
                false => self.inner.get(name),
            }
        }

        fn delete(&self, name: &str) -> Result<(), StoreError> {
            self.inner.delete(name)
        }

        fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
            self.inner.list(prefix)
        }

        fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
            self.inner.write(changes)
        }
    }

    /// What a store finds damaged is one checkpoint that does not hold, and not the end of all.
    #[test]
    fn damage_that_the_store_sees_makes_one_invalid() {
        let record = manifest_name("varpulis", 4, 1);
        for name in [record, retention::segment_name("varpulis", 1, 4, 0, 0)] {
            let CheckpointManager { store: inner, config } = saved();
            let manager = CheckpointManager::new(Arc::new(Spoilt { inner, name: name.clone() }), config);
            let latest = manager.latest().unwrap();
            assert_eq!(latest.checkpoint.map(|c| c.id), Some(3));
            assert!(latest.skipped[0].reason.contains("block checksum"), "{:?}", latest.skipped);
            manager.prune().unwrap();
            // An unreadable record goes; one that is only invalid counts as what it may be.
            let unreadable = name.contains("checkpoints");
            assert_eq!(ids(&manager), if unreadable { vec![2, 3] } else { vec![3, 4] }, "{name}");
        }
    }

    #[test]
    fn prunes_to_what_the_configuration_says() {
        let manager = saved();
        let deleted: Vec<u64> = manager.prune().unwrap().into_iter().map(|listed| listed.id).collect();
        assert_eq!(deleted, [1, 2]);
        assert_eq!(ids(&manager), [3, 4]);
        assert_eq!(manager.store().list("varpulis:segments:").unwrap().len(), 2);
        assert!(manager.latest().unwrap().skipped.is_empty());
    }

    #[test]
    fn without_a_valid_one_nothing_is_pruned() {
        let manager = saved();
        for id in 1..=4 {
            manager.store().delete(&retention::segment_name("varpulis", 1, id, 0, 0)).unwrap();
        }
        assert!(manager.prune().unwrap().is_empty());
        assert_eq!(ids(&manager), [1, 2, 3, 4]);
        let latest = manager.latest().unwrap();
        assert!(latest.checkpoint.is_none() && latest.skipped.len() == 4);
    }
}
