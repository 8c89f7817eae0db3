//! `varpulis checkpoint create`: has the run over a folder take a checkpoint, and waits until it is there.
//!
//! The run's process is the one that holds the folder's lock. It is told by a signal, so it must be of this
//! machine.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{EXIT_FAILED, EXIT_USAGE, complain, say};
use crate::checkpoint::config::CheckpointConfig;
use crate::state::lock::{Holder, holder, host};
use crate::state::place::Place;
use crate::state::store::{Listed, StoreError};

/// How often it is looked whether the checkpoint is there.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether the run goes on after its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    GoOn,
    Stop,
}

pub fn create(place: &Place, then: Then, patience: Duration) -> Result<u8, StoreError> {
    let Some(folder) = place.folder() else {
        complain(format!(
            "{place}: it does not say whose it is; send SIGUSR1, or SIGUSR2 to stop, to the run's process"
        ));
        return Ok(EXIT_USAGE);
    };
    let at = |source| StoreError::Io { place: place.to_string(), source };
    let Some(run) = holder(folder).map_err(at)? else {
        complain(format!("{place}: no run is under way"));
        return Ok(EXIT_FAILED);
    };
    if run.host != host() {
        complain(format!("{place}: process {} runs on {}; ask for the checkpoint there", run.process, run.host));
        return Ok(EXIT_FAILED);
    }
    let before = newest(place)?;
    let signal = match then {
        Then::GoOn => Signal::USR1,
        Then::Stop => Signal::USR2,
    };
    if let Some(pid) = i32::try_from(run.process).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).map_err(|e| at(e.into()))?;
    }
    let deadline = Instant::now() + patience;
    loop {
        // In this order: a run that has gone meanwhile had its last word before.
        let is_there = holder(folder).map_err(at)?.as_ref() == Some(&run);
        let made = newest(place)?.filter(|listed| Some(listed) != before.as_ref());
        match (then, is_there, made) {
            (Then::GoOn, _, Some(made)) => {
                say(format!("process {} made checkpoint {}\n", run.process, made.id));
                return Ok(0);
            }
            (Then::Stop, false, Some(made)) => {
                say(format!("process {} made checkpoint {} and stopped\n", run.process, made.id));
                return Ok(0);
            }
            (_, false, None) => {
                complain(format!("process {} ended without a checkpoint", run.process));
                return Ok(EXIT_FAILED);
            }
            (Then::GoOn, true, None) | (Then::Stop, true, _) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            (Then::GoOn, true, None) | (Then::Stop, true, _) => {
                complain(late(&run, folder, patience));
                return Ok(EXIT_FAILED);
            }
        }
    }
}

fn late(run: &Holder, folder: &Path, patience: Duration) -> String {
    let (process, folder) = (run.process, folder.display());
    format!("{folder}: process {process} was asked, and after {patience:?} there is nothing to see of it")
}

fn newest(place: &Place) -> Result<Option<Listed>, StoreError> {
    let prefix = CheckpointConfig::default().key_prefix;
    // A run that has just begun may not have made its database yet.
    if !place.folder().is_some_and(Path::is_dir) {
        return Ok(None);
    }
    Ok(place.open_for_reading()?.list_checkpoints(&prefix)?.pop())
}
