//! When checkpoints are taken and which are kept.

use std::time::Duration;

use super::segment::Compression;

/// See the module's doc. The defaults are those of a `checkpoint:` block whose keys are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointConfig {
    pub interval: Duration,
    /// How many are kept.
    pub max_checkpoints: usize,
    /// Older ones are removed even if they are fewer; never the newest.
    pub max_age: Option<Duration>,
    pub checkpoint_on_shutdown: bool,
    /// What the names of everything saved begin with.
    pub key_prefix: String,
    /// Save everything each time, instead of what has changed.
    pub full: bool,
    pub compression: Compression,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        CheckpointConfig {
            interval: Duration::from_secs(60),
            max_checkpoints: 3,
            max_age: None,
            checkpoint_on_shutdown: true,
            key_prefix: "varpulis".to_string(),
            full: false,
            compression: Compression::Zstd,
        }
    }
}
