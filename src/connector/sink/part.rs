//! Files that appear when they are whole: written under another name, renamed into place at the end.
//!
//! A reader never sees half of a Parquet file, and a run that is stopped leaves nothing that looks
//! like a result. What a file holds is counted while it is written, so that a checkpoint can tell later
//! whether it is still the same.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

/// What is read of a file at a time.
const READ_BYTES: usize = 256 << 10;

/// The length and the running checksum of what was written.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) bytes: u64,
    digest: Box<Xxh3>,
}

impl Default for Written {
    fn default() -> Written {
        Written { bytes: 0, digest: Box::new(Xxh3::new()) }
    }
}

impl Written {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    pub(super) fn checksum(&self) -> u64 {
        self.digest.digest()
    }

    /// Of what is read, up to `limit` bytes.
    pub(super) fn of(input: &mut impl Read, limit: u64) -> io::Result<Written> {
        let mut written = Written::default();
        let mut buffer = vec![0; READ_BYTES];
        while written.bytes < limit {
            let wanted = buffer.len().min((limit - written.bytes) as usize);
            match input.read(&mut buffer[..wanted])? {
                0 => break,
                read => written.add(&buffer[..read]),
            }
        }
        Ok(written)
    }
}

/// A file under its temporary name, removed when dropped unfinished.
pub(super) struct PartFile {
    pub(super) file: Arc<File>,
    temporary: String,
    path: String,
    pub(super) written: Written,
    keep: bool,
}

impl PartFile {
    pub(super) fn create(path: &str) -> io::Result<PartFile> {
        if Path::new(path).is_dir() {
            // Better told now than when the file is to get its name.
            return Err(io::ErrorKind::IsADirectory.into());
        }
        PartFile::create_as(format!("{path}.part"), path.to_string())
    }

    /// Creates the file under a temporary name, which is replaced where it is left from before.
    pub(super) fn create_as(temporary: String, path: String) -> io::Result<PartFile> {
        let file = Arc::new(File::create(&temporary)?);
        Ok(PartFile { file, temporary, path, written: Written::default(), keep: false })
    }

    /// Gives the file its name.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.keep = true;
        Ok(())
    }

    /// Leaves the file under its temporary name for whoever renames it.
    pub(super) fn leave(mut self) {
        self.keep = true;
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = (&*self.file).write(bytes)?;
        self.written.add(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.file).flush()
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing can be done about a file that cannot be removed; its name says what it is.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}
