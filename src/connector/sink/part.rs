//! Files that appear when they are whole: written under another name, renamed into place at the end.
//!
//! A reader never sees half of a Parquet file, and a run that is stopped leaves nothing that looks
//! like a result.

use std::fs::{self, File};
use std::io::{self, Write};

/// A file under its temporary name, removed when dropped unfinished.
#[derive(Debug)]
pub(super) struct PartFile {
    file: File,
    part: String,
    path: String,
    finished: bool,
}

impl PartFile {
    pub(super) fn create(path: &str) -> io::Result<PartFile> {
        let part = format!("{path}.part");
        Ok(PartFile { file: File::create(&part)?, part, path: path.to_string(), finished: false })
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.part, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing can be done about a file that cannot be removed; its name says what it is.
            let _ = fs::remove_file(&self.part);
        }
    }
}
