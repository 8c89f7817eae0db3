//! A store in RocksDB, for state on a local disk in few files; the only file that knows of RocksDB.
//!
//! Every call is one write batch, logged and synced before it returns, so `write` is atomic. Names and
//! values are kept apart, `n` + name (empty) and `v` + name, because a scan over entries reads their
//! values as well, and a segment has megabytes: `list` would read all state there is.
//!
//! RocksDB admits one process at a time. [`RocksDbStore::open_for_reading`] looks at what another one has
//! written up to then.

pub(super) mod scratch;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Direction, ErrorKind, IteratorMode, LogLevel,
    Options, WriteBatch, WriteOptions,
};

use super::file::make_root;
use super::{Change, StateStore, StoreError, check_name};
use crate::failpoint;

const WRITE_BUFFER_BYTES: usize = 64 << 20;
const WRITE_BUFFERS: i32 = 3;
const TARGET_FILE_BYTES: u64 = 64 << 20;
/// RocksDB's own log, not ours: enough of them to look into after a crash.
const LOG_FILES: usize = 4;

/// What may be chosen of a store in RocksDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocksDbOptions {
    pub compression: RocksDbCompression,
    /// What blocks that were read may occupy in memory.
    pub block_cache_bytes: usize,
}

/// How RocksDB compresses its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RocksDbCompression {
    None,
    Lz4,
    Zstd,
}

impl Default for RocksDbOptions {
    fn default() -> Self {
        RocksDbOptions { compression: RocksDbCompression::Lz4, block_cache_bytes: 32 << 20 }
    }
}

/// Named values in a RocksDB database.
pub struct RocksDbStore {
    place: String,
    db: DB,
    /// Held while a name is looked up and created. Other processes cannot have the database open.
    creating: Mutex<()>,
}

impl RocksDbStore {
    /// Opens the database in a folder, which is made if there is none.
    pub fn open(path: impl AsRef<Path>) -> Result<RocksDbStore, StoreError> {
        Self::open_with(path, RocksDbOptions::default())
    }

    pub fn open_with(path: impl AsRef<Path>, options: RocksDbOptions) -> Result<RocksDbStore, StoreError> {
        let path = path.as_ref();
        let place = path.display().to_string();
        make_root(path).map_err(|source| StoreError::Io { place: place.clone(), source })?;
        let opened = DB::open(&database_options(options), path);
        Self::opened(place, opened)
    }

    /// Opens a database that exists, which another process may have open, as it is now. Changes are refused.
    pub fn open_for_reading(path: impl AsRef<Path>) -> Result<RocksDbStore, StoreError> {
        let path = path.as_ref();
        let place = path.display().to_string();
        // RocksDB would make the folder, for its log.
        if let Err(source) = std::fs::metadata(path.join("CURRENT")) {
            return Err(StoreError::Io { place, source });
        }
        let options = database_options(RocksDbOptions::default());
        Self::opened(place, DB::open_for_read_only(&options, path, false))
    }

    fn opened(place: String, opened: Result<DB, rocksdb::Error>) -> Result<RocksDbStore, StoreError> {
        match opened {
            Ok(db) => Ok(RocksDbStore { place, db, creating: Mutex::new(()) }),
            Err(error) => Err(typed(&place, error)),
        }
    }

    fn check(&self, name: &str) -> Result<bool, StoreError> {
        check_name(name)?;
        let found = self.db.get_pinned(name_key(name)).map_err(|error| typed(&self.place, error))?;
        Ok(found.is_some())
    }

    /// Writes a batch durably.
    fn commit(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let at = |source| StoreError::Io { place: self.place.clone(), source };
        failpoint::hit("store.rocksdb.write").map_err(at)?;
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(|error| typed(&self.place, error))?;
        failpoint::hit("store.rocksdb.written").map_err(at)
    }
}

impl StateStore for RocksDbStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        check_name(name)?;
        let mut batch = WriteBatch::default();
        put(&mut batch, name, value);
        self.commit(batch)
    }

    fn create(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if self.check(name)? {
            return Ok(false);
        }
        self.put(name, value)?;
        Ok(true)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_name(name)?;
        self.db.get(value_key(name)).map_err(|error| typed(&self.place, error))
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        // A tombstone for nothing would stay until compaction.
        if !self.check(name)? {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        delete(&mut batch, name);
        self.commit(batch)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let start = name_key(prefix);
        let mut names = Vec::new();
        for entry in self.db.iterator(IteratorMode::From(&start, Direction::Forward)) {
            let (key, _) = entry.map_err(|error| typed(&self.place, error))?;
            if !key.starts_with(&start) {
                break;
            }
            names.push(self.read_name(&key[1..])?);
        }
        Ok(names)
    }

    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for change in changes {
            match change {
                Change::Put { name, value } => {
                    check_name(name)?;
                    put(&mut batch, name, value);
                }
                Change::Delete { name } => {
                    check_name(name)?;
                    delete(&mut batch, name);
                }
            }
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.commit(batch),
        }
    }
}

impl RocksDbStore {
    fn read_name(&self, bytes: &[u8]) -> Result<String, StoreError> {
        let name = String::from_utf8(bytes.to_vec()).ok().filter(|name| check_name(name).is_ok());
        let reason = || format!("holds {:?}, which is no name", String::from_utf8_lossy(bytes));
        name.ok_or_else(|| StoreError::Damaged { place: self.place.clone(), reason: reason() })
    }
}

fn name_key(name: &str) -> Vec<u8> {
    [b"n", name.as_bytes()].concat()
}

fn value_key(name: &str) -> Vec<u8> {
    [b"v", name.as_bytes()].concat()
}

fn put(batch: &mut WriteBatch, name: &str, value: &[u8]) {
    batch.put(name_key(name), b"");
    batch.put(value_key(name), value);
}

fn delete(batch: &mut WriteBatch, name: &str) {
    batch.delete(name_key(name));
    batch.delete(value_key(name));
}

fn database_options(options: RocksDbOptions) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(options.block_cache_bytes));
    let mut database = Options::default();
    database.create_if_missing(true);
    database.set_write_buffer_size(WRITE_BUFFER_BYTES);
    database.set_max_write_buffer_number(WRITE_BUFFERS);
    database.set_target_file_size_base(TARGET_FILE_BYTES);
    database.set_compression_type(match options.compression {
        RocksDbCompression::None => DBCompressionType::None,
        RocksDbCompression::Lz4 => DBCompressionType::Lz4,
        RocksDbCompression::Zstd => DBCompressionType::Zstd,
    });
    database.set_block_based_table_factory(&blocks);
    // What a crash cut off at the log's end had not been acknowledged; damage before it is an error,
    // where RocksDB's default would go on without all that follows.
    database.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    database.set_log_level(LogLevel::Warn);
    database.set_keep_log_file_num(LOG_FILES);
    database
}

/// RocksDB's error as one of ours. The binding tells kinds apart, but not the reasons of an I/O error,
/// for which only its text is left.
fn typed(place: &str, error: rocksdb::Error) -> StoreError {
    let (place, reason) = (place.to_string(), error.to_string());
    let io = |kind| StoreError::Io { place: place.clone(), source: std::io::Error::new(kind, reason.clone()) };
    match error.kind() {
        ErrorKind::Corruption => StoreError::Damaged { place, reason },
        ErrorKind::IOError if reason.contains("/LOCK") => StoreError::InUse { place, reason },
        ErrorKind::IOError if reason.contains("No space left") => io(std::io::ErrorKind::StorageFull),
        ErrorKind::IOError if reason.contains("Permission denied") => io(std::io::ErrorKind::PermissionDenied),
        ErrorKind::IOError => io(std::io::ErrorKind::Other),
        ErrorKind::TimedOut => io(std::io::ErrorKind::TimedOut),
        ErrorKind::NotFound
        | ErrorKind::NotSupported
        | ErrorKind::InvalidArgument
        | ErrorKind::MergeInProgress
        | ErrorKind::Incomplete
        | ErrorKind::ShutdownInProgress
        | ErrorKind::Aborted
        | ErrorKind::Busy
        | ErrorKind::Expired
        | ErrorKind::TryAgain
        | ErrorKind::CompactionTooLarge
        | ErrorKind::ColumnFamilyDropped
        | ErrorKind::Unknown => StoreError::Backend { place, reason },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn only_one_has_it_open_but_others_may_look() {
        let folder = TempDir::new().unwrap();
        let store = RocksDbStore::open(folder.path()).unwrap();
        store.put("a:b", b"1").unwrap();
        assert!(matches!(RocksDbStore::open(folder.path()), Err(StoreError::InUse { .. })));
        let reader = RocksDbStore::open_for_reading(folder.path()).unwrap();
        assert_eq!(reader.list("").unwrap(), ["a:b"]);
        assert_eq!(reader.get("a:b").unwrap().as_deref(), Some(&b"1"[..]));
        assert!(matches!(reader.put("a:b", b"2"), Err(StoreError::Backend { .. })));
        let nothing = folder.path().join("nothing");
        assert!(matches!(RocksDbStore::open_for_reading(&nothing), Err(StoreError::Io { .. })));
        assert!(!nothing.exists());
    }

    #[test]
    fn every_compression_is_built_in() {
        for compression in [RocksDbCompression::None, RocksDbCompression::Lz4, RocksDbCompression::Zstd] {
            let folder = TempDir::new().unwrap();
            let options = RocksDbOptions { compression, block_cache_bytes: 1 << 20 };
            let store = RocksDbStore::open_with(folder.path(), options).unwrap();
            store.put("a", &[7; 1 << 20]).unwrap();
            store.db.flush().unwrap();
            drop(store);
            let small = folder_bytes(folder.path(), "sst") < 100_000;
            assert_eq!(small, compression != RocksDbCompression::None);
            let store = RocksDbStore::open(folder.path()).unwrap();
            assert_eq!(store.get("a").unwrap(), Some(vec![7; 1 << 20]));
        }
    }

    fn folder_bytes(folder: &Path, extension: &str) -> u64 {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|e| e == extension)).map(|p| p.metadata().unwrap().len()).sum()
    }

    /// A changed byte in a file is an error when the value is read, never another value; other values and
    /// the list are not affected.
    #[test]
    fn damage_is_seen() {
        let folder = TempDir::new().unwrap();
        let store = RocksDbStore::open(folder.path()).unwrap();
        let value: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        store.put("a", &value).unwrap();
        store.put("b", &value).unwrap();
        store.db.flush().unwrap();
        drop(store);
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let table = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "sst")).unwrap();
        let mut bytes = fs::read(&table).unwrap();
        let within_b = bytes.len() / 4 * 3;
        bytes[within_b] ^= 1;
        fs::write(&table, bytes).unwrap();
        let store = RocksDbStore::open(folder.path()).unwrap();
        assert!(matches!(store.get("b"), Err(StoreError::Damaged { .. })));
        assert!(store.get("a").unwrap() == Some(value));
        assert_eq!(store.list("").unwrap(), ["a", "b"]);
    }
}
