//! A store in a folder: one file per value, for local disks and for folders that machines share.
//!
//! ```text
//! varpulis:checkpoints:0000000001-000000000007  ->  ROOT/varpulis/checkpoints/0000000001-000000000007
//! ```
//!
//! A value is written to a temporary file in its folder and synced, then it gets its name (by `rename` for
//! `put`, by a hard link for `create`, which the system refuses if the name is taken), then the folder is
//! synced. So a name always leads to a whole value, and what a call returned from is on the disk.
//!
//! Temporary files are called `~…`, which no value can be. `list` does not see them, and those of
//! processes that died are removed by the next that opens the store while no other has it open.
//!
//! No name leads out of the root: names are checked, and a symbolic link anywhere below the root is an
//! error. That guards against names and against leftovers, not against somebody who exchanges folders
//! for links while the program runs.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{StateStore, StoreError, check_name, is_part};
use crate::failpoint;

/// What temporary files begin with.
const TEMPORARY: char = '~';

/// Named values as files below a root folder.
#[derive(Debug)]
pub struct FileStore {
    /// Without symbolic links.
    root: PathBuf,
    /// The root, under a shared lock for as long as the store is open: whoever gets an exclusive one knows
    /// that temporary files have no owner. `None` where the file system has no locks.
    _lock: Option<File>,
    /// Folders whose entry in their parent is durable, whoever made them.
    durable_folders: Mutex<HashSet<PathBuf>>,
    temporaries: AtomicU64,
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Value,
    Folder,
}

impl FileStore {
    /// Opens the store in a folder, which is made if there is none.
    pub fn open(path: impl AsRef<Path>) -> Result<FileStore, StoreError> {
        let path = path.as_ref();
        let root = make_root(path).map_err(|error| at(path, error))?;
        let _lock = lock(&root).map_err(|error| at(&root, error))?;
        Ok(FileStore { root, _lock, durable_folders: Mutex::default(), temporaries: AtomicU64::new(0) })
    }

    /// Where a value lies, if its name is one.
    fn path_of(&self, name: &str) -> Result<PathBuf, StoreError> {
        check_name(name)?;
        let mut path = self.root.clone();
        path.extend(name.split(':'));
        Ok(path)
    }

    /// The folders on the way to a value, outermost first.
    fn folders_of<'a>(&self, path: &'a Path) -> Vec<&'a Path> {
        let below_root = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        let mut folders: Vec<&Path> = below_root.collect();
        folders.reverse();
        folders
    }

    /// Whether a value lies at the path.
    fn has_value(&self, path: &Path) -> Result<bool, StoreError> {
        for folder in self.folders_of(path) {
            if look(folder)? != Found::Folder {
                return Ok(false);
            }
        }
        Ok(look(path)? == Found::Value)
    }

    /// Makes the folders on the way to a value, and sees to it that they are durable.
    fn make_folders(&self, name: &str, path: &Path) -> Result<(), StoreError> {
        let nested = |path: &Path| StoreError::Nested { place: path.display().to_string(), name: name.to_string() };
        for folder in self.folders_of(path) {
            match look(folder)? {
                Found::Folder => {}
                Found::Value => return Err(nested(folder)),
                Found::Nothing => make_folder(folder).map_err(|error| at(folder, error))?,
            }
            let mut durable = self.durable_folders.lock().unwrap_or_else(PoisonError::into_inner);
            if !durable.contains(folder) {
                let parent = folder.parent().unwrap_or(&self.root);
                sync_folder(parent).map_err(|error| at(parent, error))?;
                durable.insert(folder.to_path_buf());
            }
        }
        match look(path)? {
            Found::Folder => Err(nested(path)),
            Found::Value | Found::Nothing => Ok(()),
        }
    }

    /// Writes a value to a new temporary file beside `path`, durably.
    fn write_temporary(&self, path: &Path, value: &[u8]) -> io::Result<Temporary> {
        let (temporary, mut file) = loop {
            let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
            let path = path.with_file_name(format!("{TEMPORARY}{}-{number}", std::process::id()));
            // One of this name may be left by a process that died, or be another machine's.
            match File::create_new(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => break (Temporary { path }, created?),
            }
        };
        let written = write_synced(&mut file, value);
        match written {
            Ok(()) => Ok(temporary),
            Err(error) => {
                temporary.remove();
                Err(error)
            }
        }
    }
}

impl StateStore for FileStore {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let path = self.path_of(name)?;
        self.make_folders(name, &path)?;
        let put = || {
            let temporary = self.write_temporary(&path, value)?;
            let renamed = failpoint::hit("store.file.rename").and_then(|()| fs::rename(&temporary.path, &path));
            if renamed.is_err() {
                temporary.remove();
            }
            renamed?;
            sync_folder_of(&path)
        };
        put().map_err(|error| at(&path, error))
    }

    fn create(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let path = self.path_of(name)?;
        if self.has_value(&path)? {
            return Ok(false);
        }
        self.make_folders(name, &path)?;
        let create = || {
            let temporary = self.write_temporary(&path, value)?;
            let linked = failpoint::hit("store.file.link").and_then(|()| fs::hard_link(&temporary.path, &path));
            temporary.remove();
            match linked {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                linked => linked.and_then(|()| sync_folder_of(&path)).map(|()| true),
            }
        };
        create().map_err(|error| at(&path, error))
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path_of(name)?;
        if !self.has_value(&path)? {
            return Ok(None);
        }
        match fs::read(&path) {
            Ok(value) => Ok(Some(value)),
            // Deleted meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path, error)),
        }
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path_of(name)?;
        if !self.has_value(&path)? {
            return Ok(());
        }
        match failpoint::hit("store.file.delete").and_then(|()| fs::remove_file(&path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| sync_folder_of(&path)).map_err(|error| at(&path, error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        // Folders to be read, each with what the names in it begin with.
        let mut open = vec![(self.root.clone(), String::new())];
        let mut names = Vec::new();
        while let Some((folder, start)) = open.pop() {
            for (part, path, found) in entries(&folder).map_err(|error| at(&folder, error))? {
                let name = format!("{start}{part}");
                match found {
                    Found::Value if is_part(&part) && name.starts_with(prefix) => names.push(name),
                    Found::Folder if is_part(&part) => {
                        let start = format!("{name}:");
                        if start.starts_with(prefix) || prefix.starts_with(&start) {
                            open.push((path, start));
                        }
                    }
                    Found::Value | Found::Folder | Found::Nothing => {}
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// A temporary file. It has no destructor: what a dying process leaves behind is the next one's to
/// remove, and the tests see it as it is.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Removes the file; one that stays is removed when the store is opened the next time.
    fn remove(self) {
        let _ = fs::remove_file(self.path);
    }
}

/// An error of the system, with the path it is about.
fn at(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { place: path.display().to_string(), source }
}

/// What lies at a path; a symbolic link is an error, wherever it leads.
fn look(path: &Path) -> Result<Found, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(Found::Folder),
        Ok(metadata) if metadata.is_file() => Ok(Found::Value),
        Ok(_) => Err(StoreError::Foreign { place: path.display().to_string() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
        // A value where the path has a folder.
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(Found::Nothing),
        Err(error) => Err(at(path, error)),
    }
}

/// What lies in a folder: values and folders, nothing else. A folder that is gone is empty.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf, Found)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_dir() => Found::Folder,
            Ok(kind) if kind.is_file() => Found::Value,
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // A name that is not text is not one of ours.
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.path(), kind));
        }
    }
    Ok(found)
}

/// Makes the root with all folders above it, durably, and gives its path without symbolic links.
pub(super) fn make_root(path: &Path) -> io::Result<PathBuf> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| is_missing(folder)).collect();
    for folder in missing.into_iter().rev() {
        make_folder(folder)?;
        match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent)?,
            Some(_) | None => sync_folder(Path::new("."))?,
        }
    }
    let root = path.canonicalize()?;
    match root.is_dir() {
        true => Ok(root),
        false => Err(ErrorKind::NotADirectory.into()),
    }
}

fn is_missing(folder: &Path) -> bool {
    !folder.as_os_str().is_empty() && fs::metadata(folder).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Takes a shared lock on the root. When nobody else has one, removes what dead processes left.
fn lock(root: &Path) -> io::Result<Option<File>> {
    let folder = File::open(root)?;
    match folder.try_lock() {
        Ok(()) => {
            remove_temporaries(root)?;
            folder.unlock()?;
        }
        Err(TryLockError::WouldBlock) => {}
        // Some network file systems have no locks, or none on folders.
        Err(TryLockError::Error(_)) => return Ok(None),
    }
    folder.lock_shared()?;
    Ok(Some(folder))
}

fn remove_temporaries(root: &Path) -> io::Result<()> {
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for (name, path, found) in entries(&folder)? {
            match found {
                Found::Folder if is_part(&name) => open.push(path),
                Found::Value if is_temporary(&name) => match fs::remove_file(&path) {
                    // A store that may only be read is no worse for a file too many.
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                    Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {}
                    removed => removed?,
                },
                Found::Value | Found::Folder | Found::Nothing => {}
            }
        }
    }
    Ok(())
}

fn is_temporary(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let numbers = name.strip_prefix(TEMPORARY).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

/// Makes one folder; no error if another process was faster.
fn make_folder(folder: &Path) -> io::Result<()> {
    failpoint::hit("store.file.folder")?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Writes in two halves, so that a test can die between them.
fn write_synced(file: &mut File, value: &[u8]) -> io::Result<()> {
    let (first, second) = value.split_at(value.len() / 2);
    failpoint::hit("store.file.write")?;
    file.write_all(first)?;
    failpoint::hit("store.file.write.half")?;
    file.write_all(second)?;
    failpoint::hit("store.file.sync")?;
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes what a folder says durable: names are part of the folder, not of the files.
fn sync_folder(folder: &Path) -> io::Result<()> {
    failpoint::hit("store.file.sync_folder")?;
    File::open(folder)?.sync_all()
}
