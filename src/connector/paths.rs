//! From what the user wrote to the files that are meant, and what is in them.
//!
//! The name tells the format; only where it does not, the first bytes are asked. What neither tells is
//! an error: a guess would show as thousands of malformed rows.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::compression::{decoder, failed};
use super::file::open_file;
use super::partition::ReadError;
use super::spec::{Compression, FileFormat};

/// How a file is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    pub format: FileFormat,
    pub compression: Option<Compression>,
}

/// The files that `pattern` means, sorted: one file, or all that match a glob.
///
/// # Errors
/// A directory, a missing file, or a glob without any match.
pub fn expand(pattern: &str) -> Result<Vec<String>, ReadError> {
    // A file may have brackets in its name.
    let is_glob = pattern.contains(['*', '?', '[']) && !Path::new(pattern).exists();
    if !is_glob {
        let metadata = std::fs::metadata(pattern).map_err(|e| ReadError::io(pattern, e))?;
        if metadata.is_dir() {
            return Err(ReadError::IsDirectory { path: pattern.to_string() });
        }
        return Ok(vec![pattern.to_string()]);
    }
    let bad = |e: glob::PatternError| ReadError::BadPattern { pattern: pattern.to_string(), detail: e.to_string() };
    let unreadable = |e: glob::GlobError| {
        let path = e.path().to_string_lossy().into_owned();
        ReadError::io(&path, e.into())
    };
    let mut paths = Vec::new();
    for entry in glob::glob(pattern).map_err(bad)? {
        let path = entry.map_err(unreadable)?;
        if !path.is_dir() {
            paths.push(path.to_string_lossy().into_owned());
        }
    }
    if paths.is_empty() {
        return Err(ReadError::NoMatch { pattern: pattern.to_string() });
    }
    paths.sort();
    Ok(paths)
}

/// What is in a file, by its name or else its first bytes.
pub fn kind_of(path: &str) -> Result<FileKind, ReadError> {
    let (stem, compression) = split_compression(path);
    let format = match format_of(stem) {
        Some(format) => format,
        None => sniff(path, compression)?.ok_or_else(|| ReadError::UnknownFormat { path: path.to_string() })?,
    };
    let what = match (format, compression) {
        (FileFormat::Parquet, Some(_)) => "Parquet",
        (FileFormat::Arrow, Some(_)) => "Arrow",
        (FileFormat::Jsonl | FileFormat::Csv { .. } | FileFormat::Evt, _)
        | (FileFormat::Parquet | FileFormat::Arrow, None) => return Ok(FileKind { format, compression }),
    };
    Err(ReadError::CompressedColumns { path: path.to_string(), what })
}

/// How a file is compressed, by its name.
pub fn compression_of(path: &str) -> Option<Compression> {
    split_compression(path).1
}

/// The extension in lower case.
pub(crate) fn extension(path: &str) -> Option<String> {
    Path::new(path).extension().map(|e| e.to_string_lossy().to_ascii_lowercase())
}

/// A name without `.gz` or `.zst`, and what that says.
pub(crate) fn split_compression(path: &str) -> (&str, Option<Compression>) {
    match extension(path).as_deref() {
        Some("gz") => (&path[..path.len() - 3], Some(Compression::Gzip)),
        Some("zst") => (&path[..path.len() - 4], Some(Compression::Zstd)),
        Some(_) | None => (path, None),
    }
}

fn format_of(path: &str) -> Option<FileFormat> {
    match extension(path)?.as_str() {
        "jsonl" | "ndjson" | "json" => Some(FileFormat::Jsonl),
        "csv" => Some(FileFormat::Csv { delimiter: None }),
        "tsv" => Some(FileFormat::Csv { delimiter: Some(b'\t') }),
        "evt" => Some(FileFormat::Evt),
        "parquet" => Some(FileFormat::Parquet),
        "arrow" | "ipc" | "feather" => Some(FileFormat::Arrow),
        _ => None,
    }
}

/// The format that the first bytes tell. Special files are not opened for it, because what is read of
/// a pipe is gone; like standard input, they have JSONL unless something says otherwise.
fn sniff(path: &str, compression: Option<Compression>) -> Result<Option<FileFormat>, ReadError> {
    let metadata = std::fs::metadata(path).map_err(|e| ReadError::io(path, e))?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Ok(Some(FileFormat::Jsonl));
    }
    let (file, _) = open_file(path)?;
    let head = match compression {
        None => head_of(file).map_err(|e| ReadError::io(path, e))?,
        Some(c) => decoder(file, c).and_then(head_of).map_err(|e| failed(path, c, e))?,
    };
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
    Ok(match text.trim_ascii_start() {
        [b'{', ..] => Some(FileFormat::Jsonl),
        [b'P', b'A', b'R', b'1', ..] => Some(FileFormat::Parquet),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Some(FileFormat::Arrow),
        _ => None,
    })
}

fn head_of(input: impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(64).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether bytes come from a disk, so that they can be read again.
pub(crate) fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|m| m.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn globs_are_expanded_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}/{name}", dir.path().display());
        for name in ["b.csv", "a.csv", "c.txt", "[x].csv"] {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at("d.csv")).unwrap();
        assert_eq!(expand(&at("*.csv")).unwrap(), [at("[x].csv"), at("a.csv"), at("b.csv")]);
        assert_eq!(expand(&at("[x].csv")).unwrap(), [at("[x].csv")]);
        assert!(matches!(expand(&at("*.parquet")), Err(ReadError::NoMatch { .. })));
        assert!(matches!(expand(&at("a")), Err(ReadError::NotFound { .. })));
        assert!(matches!(expand(&at("")), Err(ReadError::IsDirectory { .. })));
        assert!(matches!(expand(&at("[")), Err(ReadError::BadPattern { .. })));
    }

    #[test]
    fn the_name_tells_the_format_and_else_the_first_bytes() {
        let kind = |format, compression| FileKind { format, compression };
        let csv = |delimiter| FileFormat::Csv { delimiter };
        assert_eq!(kind_of("x.NDJSON.gz").unwrap(), kind(FileFormat::Jsonl, Some(Compression::Gzip)));
        assert_eq!(kind_of("x.tsv.zst").unwrap(), kind(csv(Some(b'\t')), Some(Compression::Zstd)));
        assert_eq!(kind_of("x.feather").unwrap(), kind(FileFormat::Arrow, None));
        assert!(matches!(kind_of("x.parquet.gz"), Err(ReadError::CompressedColumns { .. })));
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = format!("{}/{name}", dir.path().display());
            fs::write(&path, bytes).unwrap();
            kind_of(&path)
        };
        assert_eq!(file("log", b" {\"a\":1}\n").unwrap(), kind(FileFormat::Jsonl, None));
        let zstd = zstd::encode_all(&b"{}\n"[..], 1).unwrap();
        assert_eq!(file("log.zst", &zstd).unwrap(), kind(FileFormat::Jsonl, Some(Compression::Zstd)));
        assert_eq!(file("part-0", b"PAR1....").unwrap(), kind(FileFormat::Parquet, None));
        assert!(matches!(file("log.txt", b"a,b\n"), Err(ReadError::UnknownFormat { .. })));
        assert!(matches!(file("log.gz", b"a,b\n"), Err(ReadError::Corrupt { .. })));
        assert_eq!(kind_of("/dev/null").unwrap(), kind(FileFormat::Jsonl, None));
    }
}
