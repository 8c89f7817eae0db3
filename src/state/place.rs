//! Where state lies, as people write it, and the store that is there.
//!
//! | written | store |
//! |---|---|
//! | `s3://bucket/prefix/` | object storage |
//! | `rocksdb://PATH` | RocksDB |
//! | `file:///PATH` | files |
//! | `PATH` | RocksDB if the folder has one, or if that is chosen; else files |
//!
//! A folder is the one or the other: files beside a database would be a run that begins anew without a
//! word, so that is refused, whatever was chosen.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::Compression;
use super::store::{FileStore, SharedStore, StoreError};

/// A place that was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder; what is in it tells what it is.
    Path(PathBuf),
    Files(PathBuf),
    RocksDb(PathBuf),
    /// The address as it is written.
    S3(String),
}

/// What is chosen of a store where the place leaves the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// A plain path means RocksDB.
    pub rocksdb: bool,
    /// Of RocksDB; its own default where none is given.
    pub compression: Option<Compression>,
    pub block_cache_bytes: Option<u64>,
}

/// What a store is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Files,
    RocksDb,
    Objects,
}

/// Text that is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error("it is empty")]
    Empty,
    #[error("\"{0}\" names no folder (`file:///absolute/path`)")]
    NoFolder(String),
    #[error("\"{0}\" is not `s3://bucket/prefix`")]
    NoBucket(String),
    #[error("there is no place of the kind `{0}://` (it can be `s3://`, `file://`, `rocksdb://` or a path)")]
    UnknownScheme(String),
}

impl Place {
    pub fn parse(text: &str) -> Result<Place, PlaceError> {
        if text.is_empty() {
            return Err(PlaceError::Empty);
        }
        let is_scheme = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+');
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return Ok(Place::Path(text.into()));
        };
        match scheme {
            "s3" if rest.is_empty() || rest.starts_with('/') => Err(PlaceError::NoBucket(text.to_string())),
            "s3" => Ok(Place::S3(text.to_string())),
            // What stands between the second and the third slash would be another machine.
            "file" if rest.starts_with('/') => Ok(Place::Files(rest.into())),
            "file" => Err(PlaceError::NoFolder(text.to_string())),
            "rocksdb" if rest.is_empty() => Err(PlaceError::NoFolder(text.to_string())),
            "rocksdb" => Ok(Place::RocksDb(rest.into())),
            other => Err(PlaceError::UnknownScheme(other.to_string())),
        }
    }

    /// The folder, if the place is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Place::Path(path) | Place::Files(path) | Place::RocksDb(path) => Some(path),
            Place::S3(_) => None,
        }
    }

    /// What the store is made of; an error if the folder holds another kind.
    pub fn kind(&self, choice: &Choice) -> Result<Kind, StoreError> {
        let kind = match self {
            Place::S3(_) => return Ok(Kind::Objects),
            Place::Files(_) => Kind::Files,
            Place::RocksDb(_) => Kind::RocksDb,
            Place::Path(path) if choice.rocksdb || holds_rocksdb(path) => Kind::RocksDb,
            Place::Path(_) => Kind::Files,
        };
        let Some(path) = self.folder() else { return Ok(kind) };
        let refuse = |reason: &str| {
            let (address, reason) = (self.to_string(), reason.to_string());
            Err(StoreError::BadAddress { address, reason })
        };
        match kind {
            Kind::Files if holds_rocksdb(path) => {
                refuse("a RocksDB database is there; its path alone, or `rocksdb://PATH`, means that")
            }
            Kind::RocksDb if holds_files(path) && !holds_rocksdb(path) => {
                refuse("checkpoints are there as files; RocksDB beside them would begin anew, so choose another place")
            }
            Kind::Files | Kind::RocksDb | Kind::Objects => Ok(kind),
        }
    }

    /// Opens the store, which is made if there is none.
    pub fn open(&self, choice: &Choice) -> Result<SharedStore, StoreError> {
        match (self.kind(choice)?, self.folder()) {
            (Kind::RocksDb, Some(path)) => open_rocksdb(path, choice),
            (Kind::Files | Kind::Objects, Some(path)) => Ok(Arc::new(FileStore::open(path)?)),
            (Kind::Files | Kind::RocksDb | Kind::Objects, None) => open_objects(&self.to_string()),
        }
    }

    /// Opens a store that is there, to look at it, also while a run has it open.
    pub fn open_for_reading(&self) -> Result<SharedStore, StoreError> {
        let choice = Choice::default();
        if let Some(path) = self.folder()
            && !path.is_dir()
        {
            let reason = "there is no such folder".to_string();
            return Err(StoreError::BadAddress { address: self.to_string(), reason });
        }
        match (self.kind(&choice)?, self.folder()) {
            (Kind::RocksDb, Some(path)) => open_rocksdb_for_reading(path),
            (Kind::Files | Kind::RocksDb | Kind::Objects, _) => self.open(&choice),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Path(path) => write!(f, "{}", path.display()),
            Place::Files(path) => write!(f, "file://{}", path.display()),
            Place::RocksDb(path) => write!(f, "rocksdb://{}", path.display()),
            Place::S3(address) => f.write_str(address),
        }
    }
}

/// RocksDB has a file of that name in every database.
fn holds_rocksdb(path: &Path) -> bool {
    path.join("CURRENT").is_file()
}

/// The prefix that all names of runs begin with is a folder where values are files.
fn holds_files(path: &Path) -> bool {
    path.join("varpulis").is_dir()
}

#[cfg(feature = "persistence")]
fn open_rocksdb(path: &Path, choice: &Choice) -> Result<SharedStore, StoreError> {
    use super::store::{RocksDbCompression, RocksDbOptions, RocksDbStore};
    let mut options = RocksDbOptions::default();
    if let Some(compression) = choice.compression {
        options.compression = match compression {
            Compression::None => RocksDbCompression::None,
            Compression::Lz4 => RocksDbCompression::Lz4,
            Compression::Zstd => RocksDbCompression::Zstd,
        };
    }
    if let Some(bytes) = choice.block_cache_bytes {
        options.block_cache_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    Ok(Arc::new(RocksDbStore::open_with(path, options)?))
}

#[cfg(feature = "persistence")]
fn open_rocksdb_for_reading(path: &Path) -> Result<SharedStore, StoreError> {
    Ok(Arc::new(super::store::RocksDbStore::open_for_reading(path)?))
}

#[cfg(not(feature = "persistence"))]
fn open_rocksdb(path: &Path, _: &Choice) -> Result<SharedStore, StoreError> {
    open_rocksdb_for_reading(path)
}

#[cfg(not(feature = "persistence"))]
fn open_rocksdb_for_reading(path: &Path) -> Result<SharedStore, StoreError> {
    let reason = "this program was built without RocksDB (the feature `persistence`)".to_string();
    Err(StoreError::BadAddress { address: path.display().to_string(), reason })
}

#[cfg(feature = "s3")]
fn open_objects(address: &str) -> Result<SharedStore, StoreError> {
    Ok(Arc::new(super::store::S3Store::open(address)?))
}

#[cfg(not(feature = "s3"))]
fn open_objects(address: &str) -> Result<SharedStore, StoreError> {
    let reason = "this program was built without object storage (the feature `s3`)".to_string();
    Err(StoreError::BadAddress { address: address.to_string(), reason })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::store::StateStore;
    use super::*;

    #[test]
    fn places_as_people_write_them() {
        let parse = |text| Place::parse(text);
        assert_eq!(parse("state"), Ok(Place::Path("state".into())));
        assert_eq!(parse("/var/lib/a:b"), Ok(Place::Path("/var/lib/a:b".into())));
        assert_eq!(parse("file:///a/b"), Ok(Place::Files("/a/b".into())));
        assert_eq!(parse("rocksdb://a/b"), Ok(Place::RocksDb("a/b".into())));
        assert_eq!(parse("rocksdb:///a"), Ok(Place::RocksDb("/a".into())));
        assert_eq!(parse("s3://bucket/prefix/"), Ok(Place::S3("s3://bucket/prefix/".into())));
        for wrong in ["", "s3://", "s3:///prefix", "file://host/a", "rocksdb://", "gs://bucket/a"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        for text in ["state", "file:///a/b", "rocksdb://a/b", "s3://bucket/prefix/"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_folder_is_what_is_in_it() {
        let folder = TempDir::new().unwrap();
        let (files, database) = (folder.path().join("files"), folder.path().join("database"));
        FileStore::open(&files).unwrap().put("varpulis:generations:1", b"").unwrap();
        std::fs::create_dir(&database).unwrap();
        std::fs::write(database.join("CURRENT"), "").unwrap();
        let rocksdb = Choice { rocksdb: true, ..Choice::default() };
        let new = Place::Path(folder.path().join("new"));
        assert_eq!(new.kind(&Choice::default()).unwrap(), Kind::Files);
        assert_eq!(new.kind(&rocksdb).unwrap(), Kind::RocksDb);
        assert_eq!(Place::Path(database.clone()).kind(&Choice::default()).unwrap(), Kind::RocksDb);
        assert_eq!(Place::Path(files.clone()).kind(&Choice::default()).unwrap(), Kind::Files);
        let refused = |place: Place, choice: &Choice| match place.kind(choice) {
            Err(StoreError::BadAddress { .. }) => place.open(choice).is_err(),
            other => panic!("{other:?}"),
        };
        assert!(refused(Place::Path(files.clone()), &rocksdb));
        assert!(refused(Place::RocksDb(files), &Choice::default()));
        assert!(refused(Place::Files(database), &Choice::default()));
    }

    #[cfg(feature = "persistence")]
    #[test]
    fn rocksdb_is_found_again_and_read_while_it_is_open() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("state");
        let choice = Choice { rocksdb: true, compression: Some(Compression::Zstd), block_cache_bytes: Some(1 << 20) };
        let store = Place::Path(path.clone()).open(&choice).unwrap();
        store.put("varpulis:a", b"1").unwrap();
        let reader = Place::Path(path.clone()).open_for_reading().unwrap();
        assert_eq!(reader.get("varpulis:a").unwrap().as_deref(), Some(&b"1"[..]));
        assert!(matches!(Place::Path(path).open(&Choice::default()), Err(StoreError::InUse { .. })));
    }
}
