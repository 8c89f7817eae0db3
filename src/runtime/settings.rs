//! Where and when a run saves its state, of what the program says and what the command line says.
//!
//! The command line wins, then the `location` of the program's checkpoints, then the `path` of its state.

use std::time::Duration;

use super::checkpoints::{Checkpoints, Restore};
use crate::checkpoint::config::CheckpointConfig;
use crate::sema::hir::{Backend, CheckpointOptions, Settings};
use crate::state::lock::{LockError, RunLock};
use crate::state::place::{Choice, Kind, Place, PlaceError};
use crate::state::store::StoreError;

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    pub state_dir: Option<Place>,
    pub interval: Option<Duration>,
    pub restore: Restore,
}

/// Where and when state is saved.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    pub place: Place,
    pub choice: Choice,
    pub config: CheckpointConfig,
    pub restore: Restore,
}

/// What the user is to know who asked for something that has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ineffective {
    #[error("the program says `enabled: false`, so that no state is saved, and none is looked for")]
    Disabled,
    #[error("no state is saved, so that no checkpoint is made and there is none to begin with")]
    Nowhere,
    #[error("no state is kept in RocksDB, though the program says so: checkpoints go to another kind of place")]
    OtherBackend,
}

/// What becomes of the settings of a program; `None` where nothing is saved.
pub fn settle(settings: &Settings, wishes: &Wishes) -> Result<(Option<Saved>, Vec<Ineffective>), PlaceError> {
    let Settings { state, checkpoint } = settings;
    let mut ineffective = Vec::new();
    if checkpoint.enabled == Some(false) {
        if *wishes != Wishes::default() {
            ineffective.push(Ineffective::Disabled);
        }
        return Ok((None, ineffective));
    }
    let written = checkpoint.location.as_ref().or(state.path.as_ref());
    let place = match (&wishes.state_dir, written) {
        (Some(place), _) => place.clone(),
        (None, Some(written)) => Place::parse(written)?,
        (None, None) => {
            if *wishes != Wishes::default() {
                ineffective.push(Ineffective::Nowhere);
            }
            return Ok((None, ineffective));
        }
    };
    let choice = match &state.backend {
        Backend::InMemory => Choice::default(),
        Backend::RocksDb { compression, block_cache_bytes } => {
            Choice { rocksdb: true, compression: *compression, block_cache_bytes: *block_cache_bytes }
        }
    };
    if choice.rocksdb && matches!(place, Place::Files(_) | Place::S3(_)) {
        ineffective.push(Ineffective::OtherBackend);
    }
    let config = config(checkpoint, wishes.interval);
    Ok((Some(Saved { place, choice, config, restore: wishes.restore }), ineffective))
}

fn config(options: &CheckpointOptions, interval: Option<Duration>) -> CheckpointConfig {
    let defaults = CheckpointConfig::default();
    let duration = |ns: i64| Duration::from_nanos(ns.unsigned_abs());
    let keep_last = options.keep_last.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    CheckpointConfig {
        interval: interval.or(options.interval_ns.map(duration)).unwrap_or(defaults.interval),
        max_checkpoints: keep_last.unwrap_or(defaults.max_checkpoints),
        max_age: options.max_age_ns.map(duration).or(defaults.max_age),
        checkpoint_on_shutdown: options.on_shutdown.unwrap_or(defaults.checkpoint_on_shutdown),
        full: options.full.unwrap_or(defaults.full),
        compression: options.compression.unwrap_or(defaults.compression),
        key_prefix: defaults.key_prefix,
    }
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Saved {
    /// Opens the store for the first, or only, of `processes`; a folder is locked for as long as the run
    /// lasts.
    pub fn open(
        self,
        processes: usize,
        supervisor: Option<String>,
    ) -> Result<(Checkpoints, Option<RunLock>), OpenError> {
        // Before the store, whose own lock, if it has one, does not say who holds it.
        let lock = self.place.folder().map(RunLock::take).transpose()?.flatten();
        Ok((self.join(processes, supervisor)?, lock))
    }

    /// Opens the store to look at what is there, if anything is; a run may be under way.
    pub fn look(self) -> Result<Option<Checkpoints>, StoreError> {
        if self.place.folder().is_some_and(|folder| !folder.is_dir()) {
            return Ok(None);
        }
        let store = self.place.open_for_reading()?;
        Ok(Some(Checkpoints { store, config: self.config, restore: self.restore, supervisor: None }))
    }

    /// Opens the store for another process.
    pub fn join(self, processes: usize, supervisor: Option<String>) -> Result<Checkpoints, StoreError> {
        if processes > 1 && self.place.kind(&self.choice)? == Kind::RocksDb {
            let reason = "RocksDB admits one process; the state of several lies in files that all of them reach, or in \
                          object storage";
            return Err(StoreError::BadAddress { address: self.place.to_string(), reason: reason.to_string() });
        }
        let store = self.place.open(&self.choice)?;
        Ok(Checkpoints { store, config: self.config, restore: self.restore, supervisor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sema::hir::StateOptions;
    use crate::state::options::Compression;

    fn place_of(settings: &Settings, state_dir: Option<&str>) -> Option<String> {
        let state_dir = state_dir.map(|text| Place::parse(text).unwrap());
        let wishes = Wishes { state_dir, ..Wishes::default() };
        settle(settings, &wishes).unwrap().0.map(|saved| saved.place.to_string())
    }

    fn settings(path: Option<&str>, location: Option<&str>) -> Settings {
        let (path, location) = (path.map(str::to_string), location.map(str::to_string));
        Settings {
            state: StateOptions { path, ..StateOptions::default() },
            checkpoint: CheckpointOptions { location, ..CheckpointOptions::default() },
        }
    }

    #[test]
    fn the_command_line_wins_then_the_location_then_the_path() {
        let (none, all) = (settings(None, None), settings(Some("p"), Some("s3://b/l")));
        assert_eq!(place_of(&none, None), None);
        assert_eq!(place_of(&none, Some("d")).as_deref(), Some("d"));
        assert_eq!(place_of(&settings(Some("p"), None), None).as_deref(), Some("p"));
        assert_eq!(place_of(&all, None).as_deref(), Some("s3://b/l"));
        assert_eq!(place_of(&all, Some("rocksdb://d")).as_deref(), Some("rocksdb://d"));
    }

    #[test]
    fn disabled_is_nowhere_and_says_so() {
        let mut settings = settings(Some("p"), None);
        settings.checkpoint.enabled = Some(false);
        assert_eq!(settle(&settings, &Wishes::default()).unwrap(), (None, Vec::new()));
        let wishes = Wishes { state_dir: Some(Place::Path("d".into())), ..Wishes::default() };
        assert_eq!(settle(&settings, &wishes).unwrap(), (None, vec![Ineffective::Disabled]));
    }

    #[test]
    fn every_key_arrives() {
        let mut settings = settings(None, Some("s3://b/l"));
        settings.state.backend = Backend::RocksDb { compression: Some(Compression::None), block_cache_bytes: Some(7) };
        settings.checkpoint = CheckpointOptions {
            enabled: Some(true),
            interval_ns: Some(1_000_000_000),
            on_shutdown: Some(false),
            full: Some(true),
            compression: Some(Compression::Lz4),
            keep_last: Some(10),
            max_age_ns: Some(7),
            ..settings.checkpoint
        };
        let (saved, ineffective) = settle(&settings, &Wishes::default()).unwrap();
        let Saved { choice, mut config, .. } = saved.unwrap();
        assert_eq!(ineffective, [Ineffective::OtherBackend]);
        assert_eq!(choice, Choice { rocksdb: true, compression: Some(Compression::None), block_cache_bytes: Some(7) });
        let expected = CheckpointConfig {
            interval: Duration::from_secs(1),
            max_checkpoints: 10,
            max_age: Some(Duration::from_nanos(7)),
            checkpoint_on_shutdown: false,
            full: true,
            compression: Compression::Lz4,
            key_prefix: config.key_prefix.clone(),
        };
        assert_eq!(config, expected);
        let wishes = Wishes { interval: Some(Duration::from_secs(9)), ..Wishes::default() };
        config.interval = Duration::from_secs(9);
        assert_eq!(settle(&settings, &wishes).unwrap().0.unwrap().config, config);
    }
}
