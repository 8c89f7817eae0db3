//! From a path or glob as the user wrote it to files and how they are read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::partition::ReadError;
use super::sink::split_compression;
use super::spec::{Compression, FileFormat, Input};

/// How much of a file is looked at when its name does not tell the format.
const SNIFF_BYTES: usize = 64;

/// The files behind a path or glob, in order of their names. `format` overrides what the names tell.
pub fn locate(pattern: &str, format: Option<FileFormat>) -> Result<Input, ReadError> {
    let paths = expand(pattern)?;
    let (named, compression) = format_of_name(&paths[0]);
    let format = match format.or(named) {
        Some(format) => format,
        None => sniff(&paths[0])?,
    };
    for path in &paths {
        let path = Path::new(path);
        let name = || path.display().to_string();
        let data = path.metadata().map_err(|e| ReadError::io(&name(), e))?;
        if data.is_dir() {
            return Err(ReadError::IsDirectory { path: name() });
        }
        let (_, other) = format_of_name(&name());
        if other != compression {
            return Err(ReadError::MixedCompression { pattern: pattern.to_string(), a: paths[0].clone(), b: name() });
        }
    }
    if compression.is_some() && matches!(format, FileFormat::Parquet | FileFormat::Arrow) {
        let what = if format == FileFormat::Parquet { "Parquet" } else { "Arrow" };
        return Err(ReadError::CompressedColumns { path: paths[0].clone(), what });
    }
    Ok(Input::Files { paths, format, compression, time_unit: None })
}

/// The files that a pattern names; a pattern that is the name of a file is that file.
fn expand(pattern: &str) -> Result<Vec<String>, ReadError> {
    let is_glob = pattern.contains(['*', '?', '[']) && !Path::new(pattern).exists();
    if !is_glob {
        return Ok(vec![pattern.to_string()]);
    }
    let bad = |detail: String| ReadError::BadPattern { pattern: pattern.to_string(), detail };
    let mut paths = Vec::new();
    for entry in glob::glob(pattern).map_err(|e| bad(e.msg.to_string()))? {
        let path = entry.map_err(|e| ReadError::io(&e.path().display().to_string(), e.into_error()))?;
        if !path.is_dir() {
            paths.push(path.display().to_string());
        }
    }
    if paths.is_empty() {
        return Err(ReadError::NoMatch { pattern: pattern.to_string() });
    }
    paths.sort();
    Ok(paths)
}

/// What a file's name tells.
fn format_of_name(path: &str) -> (Option<FileFormat>, Option<Compression>) {
    let (stem, compression) = split_compression(path);
    let extension = Path::new(stem).extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let format = match extension.as_deref() {
        Some("jsonl" | "ndjson" | "json") => Some(FileFormat::Jsonl),
        Some("csv") => Some(FileFormat::Csv { delimiter: None }),
        Some("tsv") => Some(FileFormat::Csv { delimiter: Some(b'\t') }),
        Some("evt") => Some(FileFormat::Evt),
        Some("parquet") => Some(FileFormat::Parquet),
        Some("arrow" | "ipc" | "feather") => Some(FileFormat::Arrow),
        Some(_) | None => None,
    };
    (format, compression)
}

/// What a file's first bytes tell.
fn sniff(path: &str) -> Result<FileFormat, ReadError> {
    let mut head = [0; SNIFF_BYTES];
    let file = File::open(path).map_err(|e| ReadError::io(path, e))?;
    let mut taken = file.take(SNIFF_BYTES as u64);
    let length = taken.read(&mut head).map_err(|e| ReadError::io(path, e))?;
    let head = &head[..length];
    if head.starts_with(b"PAR1") {
        Ok(FileFormat::Parquet)
    } else if head.starts_with(b"ARROW1") {
        Ok(FileFormat::Arrow)
    } else if head.trim_ascii_start().starts_with(b"{") {
        Ok(FileFormat::Jsonl)
    } else {
        Err(ReadError::UnknownFormat { path: path.to_string() })
    }
}
