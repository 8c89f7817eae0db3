//! What an output promises where state is saved: how often a row is in it after any number of crashes, and
//! when it can be seen.

use std::fmt;

use super::Destination;
use crate::connector::paths::split_compression;
use crate::connector::spec::{Commit, OutputFormat};

/// See the module's doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Rows are seen as they come, those after the last checkpoint again after a crash.
    AtLeastOnce,
    /// Files that grow: what a crash leaves too much is cut off.
    ExactlyOnce,
    /// Parts that appear when their checkpoint is committed.
    AtCheckpoint,
    /// The output is refused where state is saved.
    Nothing,
}

impl Guarantee {
    pub fn of(destination: &Destination, format: OutputFormat, commit: Commit) -> Guarantee {
        match (destination, format) {
            (Destination::Stdout, _) => Guarantee::AtLeastOnce,
            (_, OutputFormat::Table) => Guarantee::Nothing,
            (_, OutputFormat::Parquet | OutputFormat::Arrow) => Guarantee::AtCheckpoint,
            (Destination::File(path), _) if is_in_parts(path, commit) => Guarantee::AtCheckpoint,
            (Destination::Folder(_), _) if commit == Commit::Checkpoint => Guarantee::AtCheckpoint,
            (Destination::File(_) | Destination::Folder(_), OutputFormat::Jsonl | OutputFormat::Csv) => {
                Guarantee::ExactlyOnce
            }
        }
    }
}

/// Whether a file of rows as text is a folder of parts where state is saved: it must be if nobody may see
/// half of an epoch, and where the compressor could not go on in the middle of a file.
pub(super) fn is_in_parts(path: &str, commit: Commit) -> bool {
    commit == Commit::Checkpoint || split_compression(path).1.is_some()
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::AtLeastOnce => "at least once",
            Guarantee::ExactlyOnce => "exactly once",
            Guarantee::AtCheckpoint => "exactly once, visible at the checkpoint",
            Guarantee::Nothing => "refused",
        })
    }
}
