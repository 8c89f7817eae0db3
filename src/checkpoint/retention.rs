//! Which checkpoints and segments are kept, and the names of what a run writes.
//!
//! A segment is removed when no record names it and nobody can still be about to: those of earlier
//! runs, and those of epochs that have ended. Every run takes a generation of its own, which is in every
//! name that it writes, so that two runs never write one name.

use std::collections::HashSet;

use super::config::CheckpointConfig;
use super::recovery::read;
use crate::state::manifest::{Checkpoint, manifest_name};
use crate::state::store::{StateStore, StoreError};

/// The name of a segment.
pub fn segment_name(prefix: &str, generation: u64, epoch: u64, process: usize, number: usize) -> String {
    format!("{}{generation:010}-{epoch:012}-{process:04}-{number:06}", segment_prefix(prefix))
}

fn segment_prefix(prefix: &str) -> String {
    format!("{prefix}:segments:")
}

/// The generation and epoch that a segment's name says.
fn parse_segment_name(name: &str) -> Option<(u64, u64)> {
    let mut parts = name.rsplit_once(':')?.1.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn generation_prefix(prefix: &str) -> String {
    format!("{prefix}:generations:")
}

/// The newest generation that any run has taken; 0 if none has.
pub fn newest_generation(store: &dyn StateStore, prefix: &str) -> Result<u64, StoreError> {
    let names = store.list(&generation_prefix(prefix))?;
    Ok(names.last().and_then(|n| n.rsplit_once(':')?.1.parse().ok()).unwrap_or(0))
}

/// Takes a generation that nobody has had. `note` says by whom, for people.
pub fn take_generation(store: &dyn StateStore, prefix: &str, note: &str) -> Result<u64, StoreError> {
    loop {
        let newest = newest_generation(store, prefix)?;
        let next = newest + 1;
        if store.create(&format!("{}{next:010}", generation_prefix(prefix)), note.as_bytes())? {
            // The newest is all that is ever asked for.
            if newest > 0 {
                store.delete(&format!("{}{newest:010}", generation_prefix(prefix)))?;
            }
            return Ok(next);
        }
    }
}

/// The record of this name, if it can be read: one that cannot names segments that are not known, and is
/// of no use to anybody.
fn readable(store: &dyn StateStore, name: &str) -> Result<Option<Checkpoint>, StoreError> {
    let bytes = read(store, name)?;
    Ok(bytes.ok().flatten().and_then(|bytes| Checkpoint::decode(name, &bytes).ok()))
}

/// Removes what `newest`, which was just committed, makes superfluous.
pub fn prune(store: &dyn StateStore, config: &CheckpointConfig, newest: &Checkpoint) -> Result<(), StoreError> {
    let prefix = &config.key_prefix;
    let is_old = |record: &Checkpoint| {
        let age_ms = newest.timestamp_ms.saturating_sub(record.timestamp_ms);
        config.max_age.is_some_and(|max| u128::from(age_ms) > max.as_millis())
    };
    let mut named: HashSet<String> = newest.segments.iter().map(|s| s.name.clone()).collect();
    // How many more may be kept. Only those count that a run could begin with.
    let mut room = config.max_checkpoints.saturating_sub(1);
    for item in store.list_checkpoints(prefix)?.iter().rev() {
        if item.name == manifest_name(prefix, newest.id, newest.generation) {
            continue;
        }
        match readable(store, &item.name)? {
            Some(record) if room > 0 && !is_old(&record) => {
                room -= 1;
                named.extend(record.segments.into_iter().map(|s| s.name));
            }
            Some(_) | None => store.delete(&item.name)?,
        }
    }
    for name in store.list(&segment_prefix(prefix))? {
        let is_over = parse_segment_name(&name).is_some_and(|at| at <= (newest.generation, newest.id));
        if is_over && !named.contains(&name) {
            store.delete(&name)?;
        }
    }
    Ok(())
}

/// Removes all segments that no record names, where no run is under way. How many.
pub fn remove_unnamed(store: &dyn StateStore, prefix: &str) -> Result<usize, StoreError> {
    let mut named: HashSet<String> = HashSet::new();
    for item in store.list_checkpoints(prefix)? {
        named.extend(readable(store, &item.name)?.into_iter().flat_map(|r| r.segments).map(|s| s.name));
    }
    let unnamed: Vec<String> =
        store.list(&segment_prefix(prefix))?.into_iter().filter(|name| !named.contains(name)).collect();
    unnamed.iter().try_for_each(|name| store.delete(name))?;
    Ok(unnamed.len())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::manifest::SegmentRecord;
    use crate::state::store::MemoryStore;

    #[test]
    fn keeps_what_kept_checkpoints_stand_on() {
        let store = MemoryStore::new();
        let config = CheckpointConfig { max_checkpoints: 2, ..CheckpointConfig::default() };
        let name = |epoch| segment_name("varpulis", 1, epoch, 0, 0);
        for epoch in 0..5 {
            store.put(&name(epoch), b"x").unwrap();
            // Each stands on its own segment and the one before.
            let on = epoch.saturating_sub(1)..=epoch;
            let segments = on.map(|e| SegmentRecord { name: name(e), ..SegmentRecord::default() }).collect();
            let record = Checkpoint { id: epoch, generation: 1, segments, ..Checkpoint::default() };
            store.save_checkpoint("varpulis", &record).unwrap();
            // The next epoch is being written already.
            store.put(&name(epoch + 1), b"x").unwrap();
            prune(&store, &config, &record).unwrap();
        }
        let ids: Vec<u64> = store.list_checkpoints("varpulis").unwrap().into_iter().map(|l| l.id).collect();
        assert_eq!(ids, [3, 4]);
        let segments = store.list("varpulis:segments:").unwrap();
        assert_eq!(segments, [name(2), name(3), name(4), name(5)]);
    }

    fn ids(store: &dyn StateStore) -> Vec<u64> {
        store.list_checkpoints("varpulis").unwrap().into_iter().map(|l| l.id).collect()
    }

    /// Checkpoints 1 to 4, a second apart.
    fn saved(store: &dyn StateStore) -> Checkpoint {
        let record = |id| Checkpoint { id, generation: 1, timestamp_ms: id * 1000, ..Checkpoint::default() };
        (1..=4).for_each(|id| assert!(store.save_checkpoint("varpulis", &record(id)).unwrap()));
        record(4)
    }

    /// What cannot be read goes, and takes no place of what can.
    #[test]
    fn keeps_as_many_as_can_be_read() {
        let store = MemoryStore::new();
        let newest = saved(&store);
        store.put(&manifest_name("varpulis", 3, 1), b"torn").unwrap();
        let config = CheckpointConfig { max_checkpoints: 2, ..CheckpointConfig::default() };
        prune(&store, &config, &newest).unwrap();
        assert_eq!(ids(&store), [2, 4]);
    }

    #[test]
    fn keeps_none_that_is_too_old() {
        let store = MemoryStore::new();
        let newest = saved(&store);
        let max_age = Some(Duration::from_millis(1500));
        let config = CheckpointConfig { max_checkpoints: 10, max_age, ..CheckpointConfig::default() };
        prune(&store, &config, &newest).unwrap();
        assert_eq!(ids(&store), [3, 4]);
    }

    #[test]
    fn no_generation_is_taken_twice() {
        let store = MemoryStore::new();
        assert_eq!(take_generation(&store, "p", "").unwrap(), 1);
        assert_eq!(take_generation(&store, "p", "").unwrap(), 2);
        assert_eq!(newest_generation(&store, "p").unwrap(), 2);
    }
}
