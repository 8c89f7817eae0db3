//! Encoded rows to standard output, to one file, or to a folder with a file per stream.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use flate2::write::GzEncoder;
use xxhash_rust::xxh3::Xxh3;

use super::part::PartFile;
use super::{ByteSink, Destination, Mark, OutputStream, SinkError, Start, file_in};
use crate::connector::paths::split_compression;
use crate::connector::position::SinkRecord;
use crate::connector::spec::{Compression, OutputFormat};
use crate::data::Schema;

/// Collects small writes; larger ones pass through.
const BUFFER_BYTES: usize = 256 << 10;
const ZSTD_LEVEL: i32 = 3;

/// One or several files of rows.
pub struct Files {
    files: Vec<OutFile>,
    /// For each stream, its file.
    of_stream: Vec<usize>,
}

struct OutFile {
    path: String,
    out: Out,
    /// What was written, where that is to be recorded.
    written: Option<Written>,
}

/// The length and the running checksum of a file.
#[derive(Clone)]
struct Written {
    bytes: u64,
    digest: Box<Xxh3>,
}

enum Out {
    Open(BufWriter<Raw>),
    Finished,
}

enum Raw {
    Stdout(io::Stdout),
    Plain(File),
    Gzip(Box<GzEncoder<PartFile>>),
    Zstd(Box<zstd::Encoder<'static, PartFile>>),
}

impl Files {
    /// Opens what the streams are written to. `headers` has the header of each stream, where the
    /// format has one.
    pub fn open(
        destination: &Destination,
        format: OutputFormat,
        streams: &[OutputStream],
        headers: Vec<Option<Vec<u8>>>,
        start: &Start,
    ) -> Result<Files, SinkError> {
        match destination {
            Destination::Stdout => {
                let out = OutFile::new("standard output", Raw::Stdout(io::stdout()));
                Files::one(out, streams, headers)
            }
            Destination::File(path) => Files::one(OutFile::open(path, start)?, streams, headers),
            Destination::Folder(folder) => {
                fs::create_dir_all(folder).map_err(|e| SinkError::io(folder, e))?;
                let extension = match format {
                    OutputFormat::Csv => "csv",
                    OutputFormat::Table => "txt",
                    OutputFormat::Jsonl | OutputFormat::Parquet | OutputFormat::Arrow => "jsonl",
                };
                let mut files = Vec::new();
                for (stream, header) in streams.iter().zip(headers) {
                    let mut file = OutFile::open(&file_in(folder, &stream.name, extension), start)?;
                    file.write_header(&header.unwrap_or_default())?;
                    files.push(file);
                }
                Ok(Files { of_stream: (0..files.len()).collect(), files })
            }
        }
    }

    /// One file of rows without a header.
    pub fn open_text(destination: &Destination, start: &Start) -> Result<Files, SinkError> {
        let stream = OutputStream { name: String::new(), schema: Schema::new(Vec::new()) };
        Files::open(destination, OutputFormat::Jsonl, &[stream], vec![None], start)
    }

    fn one(mut file: OutFile, streams: &[OutputStream], headers: Vec<Option<Vec<u8>>>) -> Result<Files, SinkError> {
        // Formats with a header have one stream per file.
        for header in headers.into_iter().flatten() {
            file.write_header(&header)?;
        }
        Ok(Files { files: vec![file], of_stream: vec![0; streams.len()] })
    }
}

impl ByteSink for Files {
    fn write(&mut self, stream: usize, bytes: &[u8]) -> Result<(), SinkError> {
        self.files[self.of_stream[stream]].write(bytes)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.files.iter_mut().try_for_each(OutFile::flush)
    }

    fn mark(&mut self) -> Result<Vec<Mark>, SinkError> {
        let marks = self.files.iter_mut().map(OutFile::mark).collect::<Result<Vec<_>, _>>()?;
        Ok(marks.into_iter().flatten().collect())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.files.iter_mut().try_for_each(OutFile::finish)
    }
}

impl OutFile {
    fn new(path: &str, raw: Raw) -> OutFile {
        let out = Out::Open(BufWriter::with_capacity(BUFFER_BYTES, raw));
        OutFile { path: path.to_string(), out, written: None }
    }

    fn open(path: &str, start: &Start) -> Result<OutFile, SinkError> {
        let is_compressed = split_compression(path).1.is_some();
        match start {
            Start::Anew => OutFile::create(path),
            Start::Recorded(_) if is_compressed => {
                Err(SinkError::NotContinued { path: path.to_string(), format: "compressed" })
            }
            Start::Recorded(records) => {
                let (file, written) = match records.get(path) {
                    None => (File::create(path).map_err(|e| SinkError::io(path, e))?, Written::default()),
                    Some(record) => OutFile::roll_back(path, record)?,
                };
                Ok(OutFile { written: Some(written), ..OutFile::new(path, Raw::Plain(file)) })
            }
        }
    }

    /// Opens a file and cuts off what was written after `record`.
    fn roll_back(path: &str, record: &SinkRecord) -> Result<(File, Written), SinkError> {
        let failed = |e| SinkError::io(path, e);
        let mut file = File::options().read(true).write(true).open(path).map_err(failed)?;
        let mut written = Written::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        while written.bytes < record.bytes {
            let wanted = buffer.len().min((record.bytes - written.bytes) as usize);
            match file.read(&mut buffer[..wanted]).map_err(failed)? {
                0 => break,
                read => written.add(&buffer[..read]),
            }
        }
        if written.bytes < record.bytes || written.digest.digest() != record.checksum {
            return Err(SinkError::Changed { path: path.to_string(), bytes: record.bytes });
        }
        file.set_len(record.bytes).map_err(failed)?;
        file.seek(SeekFrom::Start(record.bytes)).map_err(failed)?;
        Ok((file, written))
    }

    /// Begins a file with the header of its format; one that is continued has it already.
    fn write_header(&mut self, header: &[u8]) -> Result<(), SinkError> {
        match &self.written {
            Some(written) if written.bytes > 0 => Ok(()),
            Some(_) | None => self.write(header),
        }
    }

    fn mark(&mut self) -> Result<Option<Mark>, SinkError> {
        self.flush()?;
        let (Some(written), Out::Open(out)) = (&self.written, &self.out) else { return Ok(None) };
        let Raw::Plain(file) = out.get_ref() else { return Ok(None) };
        let record = SinkRecord { bytes: written.bytes, checksum: written.digest.digest(), ..SinkRecord::default() };
        let file = file.try_clone().map_err(|e| SinkError::io(&self.path, e))?;
        Ok(Some(Mark { path: self.path.clone(), record, file }))
    }

    fn create(path: &str) -> Result<OutFile, SinkError> {
        let raw = match split_compression(path).1 {
            None => File::create(path).map(Raw::Plain),
            Some(Compression::Gzip) => PartFile::create(path)
                .map(|part| Raw::Gzip(Box::new(GzEncoder::new(part, flate2::Compression::default())))),
            Some(Compression::Zstd) => PartFile::create(path)
                .and_then(|part| zstd::Encoder::new(part, ZSTD_LEVEL))
                .map(|encoder| Raw::Zstd(Box::new(encoder))),
        };
        Ok(OutFile::new(path, raw.map_err(|e| SinkError::io(path, e))?))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let done = match &mut self.out {
            Out::Open(out) => out.write_all(bytes),
            Out::Finished => Err(io::Error::other("written to after its end")),
        };
        if let Some(written) = &mut self.written {
            written.add(bytes);
        }
        done.map_err(|e| SinkError::io(&self.path, e))
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let done = match &mut self.out {
            Out::Open(out) => out.flush(),
            Out::Finished => Ok(()),
        };
        done.map_err(|e| SinkError::io(&self.path, e))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        let done = match std::mem::replace(&mut self.out, Out::Finished) {
            Out::Open(out) => out.into_inner().map_err(|e| e.into_error()).and_then(Raw::finish),
            Out::Finished => Ok(()),
        };
        done.map_err(|e| SinkError::io(&self.path, e))
    }
}

impl Default for Written {
    fn default() -> Written {
        Written { bytes: 0, digest: Box::new(Xxh3::new()) }
    }
}

impl Written {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }
}

impl Raw {
    fn finish(mut self) -> io::Result<()> {
        match self {
            Raw::Stdout(_) | Raw::Plain(_) => self.flush(),
            Raw::Gzip(encoder) => encoder.finish()?.finish(),
            Raw::Zstd(encoder) => encoder.finish()?.finish(),
        }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Raw::Stdout(out) => out.write(bytes),
            Raw::Plain(out) => out.write(bytes),
            Raw::Gzip(out) => out.write(bytes),
            Raw::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Raw::Stdout(out) => out.flush(),
            Raw::Plain(out) => out.flush(),
            // A flush of the compressor would cut the ratio, for a file that nobody sees yet.
            Raw::Gzip(_) | Raw::Zstd(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::format::encode::jsonl::Meta;
    use crate::connector::sink::{Sink, open};
    use crate::data::{Field, Type};

    fn streams(names: &[&str]) -> Vec<OutputStream> {
        let schema = Schema::new(vec![Field::new("a", Type::Int.required())]);
        names.iter().map(|n| OutputStream { name: n.to_string(), schema: schema.clone() }).collect()
    }

    fn byte_sink(path: &str, names: &[&str], format: OutputFormat) -> Box<dyn ByteSink> {
        match open(&Destination::of(path), format, &streams(names), Meta::Shown, &Start::Anew).unwrap() {
            Sink::Bytes(sink) => sink,
            Sink::Batches(_) => panic!("rows of {format:?} are bytes"),
        }
    }

    #[test]
    fn a_file_has_its_header_and_rows_after_a_flush() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv").to_str().unwrap().to_string();
        let mut sink = byte_sink(&path, &["A"], OutputFormat::Csv);
        sink.write(0, b"1\n").unwrap();
        sink.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n1\n");
        sink.write(0, b"2\n").unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n1\n2\n");
        assert!(sink.write(0, b"3\n").is_err());
    }

    #[test]
    fn a_folder_has_a_file_for_each_stream_even_without_rows() {
        let dir = tempfile::tempdir().unwrap();
        let folder = format!("{}/out/", dir.path().display());
        let mut sink = byte_sink(&folder, &["A", "B"], OutputFormat::Csv);
        sink.write(1, b"1\n").unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read_to_string(format!("{folder}A.csv")).unwrap(), "a\n");
        assert_eq!(fs::read_to_string(format!("{folder}B.csv")).unwrap(), "a\n1\n");
    }

    #[test]
    fn compressed_files_appear_when_they_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["out.jsonl.gz", "out.jsonl.zst"] {
            let path = dir.path().join(name).to_str().unwrap().to_string();
            let mut sink = byte_sink(&path, &["A"], OutputFormat::Jsonl);
            sink.write(0, b"{}\n").unwrap();
            sink.flush().unwrap();
            assert!(!fs::exists(&path).unwrap());
            sink.finish().unwrap();
            let file = File::open(&path).unwrap();
            let mut text = String::new();
            match split_compression(&path).1.unwrap() {
                Compression::Gzip => flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap(),
                Compression::Zstd => zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap(),
            };
            assert_eq!(text, "{}\n");
        }
        byte_sink(dir.path().join("dropped.jsonl.gz").to_str().unwrap(), &["A"], OutputFormat::Jsonl);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn several_streams_need_a_folder_where_a_file_has_one_schema() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv").to_str().unwrap().to_string();
        let error = open(&Destination::of(&path), OutputFormat::Csv, &streams(&["A", "B"]), Meta::Shown, &Start::Anew)
            .err()
            .unwrap();
        assert!(matches!(&error, SinkError::OneSchema { streams, .. } if streams == &["A", "B"]), "{error}");
        assert_eq!(Destination::of("out.txt.gz").format().unwrap(), OutputFormat::Table);
        assert!(matches!(Destination::of("out.xyz").format(), Err(SinkError::UnknownFormat { .. })));
    }
}
