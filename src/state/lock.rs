//! One run at a time over a folder: the lock, and who has it.
//!
//! The lock is the system's, on a file in the folder, so it is gone when the process is, however that
//! ended. The file says whose it is, for messages and for commands that talk to the run; its text alone
//! means nothing. Where the file system has no locks a run goes on without: then generations alone
//! keep two runs apart, by making the older one stop.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

/// No value of a store can be called so, and a database does not look at it.
const FILE: &str = "~run";
/// A reader holds the lock for an instant, and a process that was killed for as long as it takes to end.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// Held for as long as the run lasts.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

/// Who has a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub process: u32,
    /// The machine's name, as the system tells it.
    pub host: String,
}

/// Why a lock is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{folder}: process {} on {} runs over it; one run at a time", holder.process, holder.host)]
    Held { folder: String, holder: Holder },
    #[error("{folder}: another process runs over it; one run at a time")]
    HeldBySomebody { folder: String },
    #[error("{folder}: {source}")]
    Io { folder: String, source: io::Error },
}

impl RunLock {
    /// Takes the lock of a folder, which is made if there is none; `None` where there are no locks.
    pub fn take(folder: &Path) -> Result<Option<RunLock>, LockError> {
        let failed = |source| LockError::Io { folder: folder.display().to_string(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(FILE));
        let mut file = options.map_err(failed)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(held(folder, &mut file)),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let text = format!("{}\n{}\n", std::process::id(), host());
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes())).map_err(failed)?;
        Ok(Some(RunLock { _file: file }))
    }
}

fn held(folder: &Path, file: &mut File) -> LockError {
    let folder = folder.display().to_string();
    match read_holder(file) {
        Some(holder) => LockError::Held { folder, holder },
        None => LockError::HeldBySomebody { folder },
    }
}

/// Who runs over the folder, if somebody does.
pub fn holder(folder: &Path) -> io::Result<Option<Holder>> {
    let mut file = match File::open(folder.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(read_holder(&mut file)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let (process, host) = text.trim_end().split_once('\n')?;
    Some(Holder { process: process.parse().ok()?, host: host.to_string() })
}

/// The name of this machine.
pub fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname"));
    name.map_or_else(|_| "this machine".to_string(), |name| name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn one_has_it_and_others_see_who() {
        let folder = TempDir::new().unwrap();
        let folder = folder.path().join("state");
        assert_eq!(holder(&folder).unwrap(), None);
        let lock = RunLock::take(&folder).unwrap();
        let this = Holder { process: std::process::id(), host: host() };
        assert_eq!(holder(&folder).unwrap(), Some(this.clone()));
        match RunLock::take(&folder) {
            Err(LockError::Held { holder, .. }) => assert_eq!(holder, this),
            other => panic!("{other:?}"),
        }
        drop(lock);
        assert_eq!(holder(&folder).unwrap(), None);
        assert!(RunLock::take(&folder).unwrap().is_some());
    }
}
