//! Entries beyond memory, in RocksDB.
//!
//! Nothing here has to survive the process: there is no log, and the folder is emptied at the start. What is not
//! yet written and what was read, with filters and indexes, is charged to one cache of bounded size.

use std::path::{Path, PathBuf};

use rocksdb::{
    AsColumnFamilyRef, BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, Direction, IteratorMode,
    LruCacheOptions, Options, ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};

use super::typed;
use crate::state::scratch::{KeyValue, Scratch, prefix_end};
use crate::state::store::{StoreError, make_root};

/// Bits of a filter for each key: one key in a hundred that is not there is looked for on disk.
const FILTER_BITS: f64 = 10.0;
/// What is written at once to a file.
const WRITE_BUFFER_BYTES_MAX: usize = 32 << 20;
/// How large files become: a filter is made in one piece beside the cache.
const FILE_BYTES: u64 = 16 << 20;
/// The cache is divided in as many parts, by two to the power of this. A block must be small against a part.
const CACHE_SHARD_BITS: i32 = 2;
/// How many values are read at once: the block of each stays in memory until all are there.
const READ_AT_ONCE: usize = 128;

/// The only column family.
const FAMILY: &str = "default";

/// See the module's doc.
pub struct RocksDbScratch {
    place: String,
    folder: PathBuf,
    db: DB,
    options: WriteOptions,
}

impl RocksDbScratch {
    /// Opens a folder, which is emptied; RocksDB takes at most about `memory_bytes`.
    pub fn open(folder: &Path, memory_bytes: usize) -> Result<RocksDbScratch, StoreError> {
        let place = folder.display().to_string();
        let io = |source| StoreError::Io { place: place.clone(), source };
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            Ok(()) | Err(_) => make_root(folder).map_err(io)?,
        };
        let options = database_options(memory_bytes);
        // The family is named so that there is a handle to it, which reading many keys at once needs.
        let family = [(FAMILY, options.clone())];
        let db = DB::open_cf_with_opts(&options, folder, family).map_err(|e| typed(&place, e))?;
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        Ok(RocksDbScratch { place, folder: folder.to_path_buf(), db, options })
    }

    fn family(&self) -> impl AsColumnFamilyRef + '_ {
        self.db.cf_handle(FAMILY).expect("it was opened with it")
    }
}

impl Drop for RocksDbScratch {
    /// What a crash leaves is removed at the next start.
    fn drop(&mut self) {
        self.db.cancel_all_background_work(true);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn database_options(memory_bytes: usize) -> Options {
    let mut parts = LruCacheOptions::default();
    // What a compaction has in hand lies beside the cache.
    parts.set_capacity(memory_bytes / 4 * 3);
    parts.set_num_shard_bits(CACHE_SHARD_BITS);
    let cache = Cache::new_lru_cache_opts(&parts);
    let buffers_bytes = memory_bytes / 8 * 3;
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&cache);
    blocks.set_bloom_filter(FILTER_BITS, false);
    // Filters and indexes are as large as the state: outside of the cache nothing would bound them.
    blocks.set_cache_index_and_filter_blocks(true);
    // In one piece for each file they are too large for the cache, and are read again for every key.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    let mut database = Options::default();
    database.create_if_missing(true);
    // It begins to flush in time; one that stops writers waits for ever where no flush is due. Two buffers of
    // a third bound them as well.
    let manager = WriteBufferManager::new_write_buffer_manager_with_cache(buffers_bytes, false, cache);
    database.set_write_buffer_manager(&manager);
    database.set_write_buffer_size((buffers_bytes / 3).min(WRITE_BUFFER_BYTES_MAX));
    database.set_compression_type(DBCompressionType::Lz4);
    database.set_block_based_table_factory(&blocks);
    database.set_target_file_size_base(FILE_BYTES);
    database.set_max_open_files(256);
    database
}

impl Scratch for RocksDbScratch {
    fn get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let value = |v: Option<rocksdb::DBPinnableSlice<'_>>| v.map(|v| v.to_vec());
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_AT_ONCE) {
            for found in self.db.batched_multi_get_cf(&self.family(), keys, true) {
                values.push(found.map(value).map_err(|e| typed(&self.place, e))?);
            }
        }
        Ok(values)
    }

    fn write(&self, puts: &[KeyValue], deletes: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        puts.iter().for_each(|(key, value)| batch.put(key, value));
        deletes.iter().for_each(|key| batch.delete(key));
        self.db.write_opt(batch, &self.options).map_err(|e| typed(&self.place, e))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        let mut options = ReadOptions::default();
        // One pass over much more than the cache holds would leave nothing in it that is of use.
        options.fill_cache(false);
        if let Some(end) = prefix_end(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let from = after.map_or(prefix, |after| after.max(prefix));
        let mut out = Vec::new();
        for entry in self.db.iterator_opt(IteratorMode::From(from, Direction::Forward), options) {
            let (key, value) = entry.map_err(|e| typed(&self.place, e))?;
            if out.len() == limit {
                break;
            }
            if Some(&*key) != after {
                out.push((key.into_vec(), value.into_vec()));
            }
        }
        Ok(out)
    }

    fn delete_prefix(&self, prefix: &[u8]) -> Result<(), StoreError> {
        let Some(end) = prefix_end(prefix) else { return Ok(()) };
        let deleted = self.db.delete_range_cf_opt(&self.family(), prefix, &end, &self.options);
        deleted.map_err(|e| typed(&self.place, e))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::state::scratch::MemoryScratch;

    #[test]
    fn is_the_same_map_as_one_in_memory() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("scratch");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("left"), "behind").unwrap();
        let (rocks, memory) = (RocksDbScratch::open(&path, 8 << 20).unwrap(), MemoryScratch::default());
        let key = |i: u32| [&(i % 3).to_be_bytes()[2..], &i.to_be_bytes()].concat();
        for round in 0..4u32 {
            let puts: Vec<_> = (round * 500..round * 500 + 1000).map(|i| (key(i), vec![round as u8; 9])).collect();
            let deletes: Vec<_> = (0..100).map(|i| key(i * 13)).collect();
            for scratch in [&rocks as &dyn Scratch, &memory] {
                scratch.write(&puts, &deletes).unwrap();
                scratch.delete_prefix(&[0, 2]).unwrap();
            }
            let mut keys: Vec<_> = (0..3000).step_by(7).map(key).collect();
            keys.sort();
            assert_eq!(rocks.get(&keys).unwrap(), memory.get(&keys).unwrap());
            let mut after: Option<Vec<u8>> = None;
            loop {
                let found = rocks.scan(&[0, 1], after.as_deref(), 100).unwrap();
                assert_eq!(found, memory.scan(&[0, 1], after.as_deref(), 100).unwrap());
                let Some((last, _)) = found.last() else { break };
                after = Some(last.clone());
            }
        }
        drop(rocks);
        assert!(!path.exists());
    }
}
