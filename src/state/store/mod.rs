//! Where saved state lies: a flat space of named values, durable once a call has returned.
//!
//! One interface for memory, files, RocksDB and object storage, so that the checkpoint code is the same
//! for all. Names are `part:part:…`, each part of letters, digits, `.`, `_` and `-`; a store may show the
//! parts as folders. A value is written whole or not at all: whoever reads sees the old one or the new
//! one, whenever the machine stopped.

mod file;
mod memory;
#[cfg(feature = "s3")]
mod object;
#[cfg(feature = "persistence")]
mod rocksdb;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use file::FileStore;
#[cfg(feature = "persistence")]
use file::make_root;
pub use memory::MemoryStore;
#[cfg(feature = "s3")]
pub use object::{S3Options, S3Store};
#[cfg(feature = "persistence")]
pub use rocksdb::scratch::RocksDbScratch;
#[cfg(feature = "persistence")]
pub use rocksdb::{RocksDbCompression, RocksDbOptions, RocksDbStore};

use super::manifest::{Checkpoint, ManifestError, manifest_name, manifest_prefix, parse_manifest_name};

/// A store that the parts of a run share.
pub type SharedStore = Arc<dyn StateStore>;

/// One change of a [`StateStore::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put { name: String, value: Vec<u8> },
    Delete { name: String },
}

/// Why a store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not `part:part:…`, or a part that would leave the store's root.
    #[error("{name:?} does not name a value: parts of letters, digits, `.`, `_` and `-`, with `:` between")]
    BadName { name: String },
    /// Stores that show parts as folders cannot have a value `a` beside a value `a:b`.
    #[error("{place}: {name:?} would make a value of what holds others, or put a value inside a value")]
    Nested { place: String, name: String },
    #[error("{place}: neither a folder nor a plain file, so it is not the store's; a symbolic link may lead out of it")]
    Foreign { place: String },
    /// The system's error. Remote stores give theirs the nearest kind: `PermissionDenied`, `TimedOut` …
    #[error("{place}: {source}")]
    Io { place: String, source: std::io::Error },
    #[error("{address}: {reason}")]
    BadAddress { address: String, reason: String },
    /// Another process has the store open, and the store admits only one.
    #[error("{place}: open in another process ({reason})")]
    InUse { place: String, reason: String },
    /// The backend found that its own files are not what it had written.
    #[error("{place}: damaged ({reason})")]
    Damaged { place: String, reason: String },
    /// Anything else, in the backend's words.
    #[error("{place}: {reason}")]
    Backend { place: String, reason: String },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// A flat space of named values.
///
/// # Contract
/// - What a call wrote is durable when it returns `Ok`, as far as the store is durable at all.
/// - `get` after `put` sees the value, from any process that shares the store.
/// - `write` applies all changes in order. It is atomic where the store can do that (memory,
///   RocksDB); elsewhere a crash leaves a prefix of the changes, and callers put what makes the others
///   valid last.
/// - `create` is atomic: of two processes that create one name, one is told `false`.
/// - After an error, the change may have been made or not; calling again is safe and brings it about.
///   A `create` that is called again may be told `false` for its own value.
/// - A name is a value or the folder of others (`a` beside `a:b`), never both; stores may refuse it with
///   [`StoreError::Nested`].
pub trait StateStore: Send + Sync {
    /// What to call the store in messages: its path or address.
    fn place(&self) -> String;

    fn put(&self, name: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Puts a value under a name that has none; `false`, and nothing is changed, if it has one.
    fn create(&self, name: &str, value: &[u8]) -> Result<bool, StoreError>;

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Deletes a value; no error if there is none.
    fn delete(&self, name: &str) -> Result<(), StoreError>;

    /// All names that begin with `prefix`, in order.
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Applies changes in order. Where a store cannot do it at once, each is durable before the next is begun.
    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        changes.iter().try_for_each(|change| match change {
            Change::Put { name, value } => self.put(name, value),
            Change::Delete { name } => self.delete(name),
        })
    }

    /// Saves the record of a checkpoint. One with the same id and generation is never overwritten:
    /// `false` if there was one.
    fn save_checkpoint(&self, prefix: &str, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
        self.create(&manifest_name(prefix, checkpoint.id, checkpoint.generation), &checkpoint.encode())
    }

    /// The record of checkpoint `id`, of the newest generation that has it; `None` if none has.
    fn load_checkpoint(&self, prefix: &str, id: u64) -> Result<Option<Checkpoint>, StoreError> {
        let Some(listed) = self.list_checkpoints(prefix)?.into_iter().rfind(|c| c.id == id) else { return Ok(None) };
        let bytes = self.get(&listed.name)?;
        bytes.map(|bytes| Ok(Checkpoint::decode(&listed.name, &bytes)?)).transpose()
    }

    /// The checkpoints there are, valid or not, in order of (generation, id): the newest last.
    fn list_checkpoints(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let names = self.list(&manifest_prefix(prefix))?;
        let known = |name: String| {
            parse_manifest_name(&name).map(|(generation, id)| Listed { generation, id, name: name.clone() })
        };
        let mut listed: Vec<Listed> = names.into_iter().filter_map(known).collect();
        listed.sort();
        Ok(listed)
    }

    /// Deletes the records of all checkpoints but the newest `keep`; gives those deleted. What only they
    /// referred to is the business of retention, which knows of runs under way.
    fn prune_checkpoints(&self, prefix: &str, keep: usize) -> Result<Vec<Listed>, StoreError> {
        let mut listed = self.list_checkpoints(prefix)?;
        listed.truncate(listed.len().saturating_sub(keep));
        listed.iter().try_for_each(|l| self.delete(&l.name))?;
        Ok(listed)
    }
}

/// A checkpoint as a store lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub generation: u64,
    pub id: u64,
    pub name: String,
}

/// Bytes that a part may have: what file systems admit.
const PART_BYTES_MAX: usize = 255;
/// Bytes that a name may have. Object stores admit 1024, of which an address takes some.
const NAME_BYTES_MAX: usize = 768;

/// Checks a name, which no store may take on trust.
fn check_name(name: &str) -> Result<(), StoreError> {
    match name.len() <= NAME_BYTES_MAX && name.split(':').all(is_part) {
        true => Ok(()),
        false => Err(StoreError::BadName { name: name.to_string() }),
    }
}

/// Letters, digits, `.`, `_`, `-`; not `.` or `..`, which mean folders.
fn is_part(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= PART_BYTES_MAX
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && !part.bytes().all(|b| b == b'.')
}
