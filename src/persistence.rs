//! The public face of saved state: what a program outside needs to open a store and look at the
//! checkpoints in it.
//!
//! ```no_run
//! use std::sync::Arc;
//! use varpulis_runtime::persistence::{CheckpointConfig, CheckpointManager, StoreError};
//! # #[cfg(feature = "persistence")]
//! use varpulis_runtime::persistence::RocksDbStore;
//!
//! # fn main() -> Result<(), StoreError> {
//! # #[cfg(feature = "persistence")] {
//! let store = RocksDbStore::open("/path")?;
//! let checkpoints = CheckpointManager::new(Arc::new(store), CheckpointConfig::default());
//! let latest = checkpoints.latest()?;
//! for skipped in &latest.skipped {
//!     eprintln!("{} is not valid: {}", skipped.name, skipped.reason);
//! }
//! if let Some(checkpoint) = latest.checkpoint {
//!     println!("checkpoint {}, after {} rows", checkpoint.id, checkpoint.events_processed);
//!     for (name, window) in &checkpoint.window_states {
//!         println!("{name}: {} entries written", window.state.entries_written);
//!     }
//! }
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! The checkpoints that a run saves by `--state-dir` lie in a [`FileStore`] unless it was told otherwise.
//! Stores can be used for values of one's own, too:
//!
//! ```
//! use varpulis_runtime::persistence::{FileStore, StateStore, StoreError};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = FileStore::open(folder.path())?;
//! store.put("notes:first", b"kept")?;
//! assert!(!store.create("notes:first", b"another")?);
//! assert_eq!(store.get("notes:first")?.as_deref(), Some(&b"kept"[..]));
//! assert!(matches!(store.put("notes:../first", b""), Err(StoreError::BadName { .. })));
//! # Ok(())
//! # }
//! ```

pub use crate::checkpoint::config::CheckpointConfig;
pub use crate::checkpoint::manager::{CheckpointManager, Latest};
pub use crate::checkpoint::recovery::Invalid;
pub use crate::checkpoint::segment::Compression;
pub use crate::state::manifest::{
    Checkpoint, InputFingerprint, ManifestError, PartitionRecord, PatternCheckpoint, ProgramRecord, SegmentRecord,
    SinkRecord, StateSummary, WindowCheckpoint,
};
pub use crate::state::store::{Change, FileStore, Listed, MemoryStore, SharedStore, StateStore, StoreError};
#[cfg(feature = "persistence")]
pub use crate::state::store::{RocksDbCompression, RocksDbOptions, RocksDbStore};
#[cfg(feature = "s3")]
pub use crate::state::store::{S3Options, S3Store};
