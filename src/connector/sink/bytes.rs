//! Encoded rows to standard output, to one file, or to a folder with a file per stream.
//!
//! Where state is saved, a file grows and is cut back after a crash. What cannot be cut (compressed files)
//! or must not be seen before its checkpoint is a series of parts instead, each with a header of its own.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::write::GzEncoder;

use super::guarantee::is_in_parts;
use super::part::{PartFile, Written, sync_folder};
use super::series::Series;
use super::{ByteSink, Destination, Mark, OutputStream, Records, SinkError, Start, file_in};
use crate::connector::paths::split_compression;
use crate::connector::position::SinkRecord;
use crate::connector::spec::{Commit, Compression, OutputFormat};
use crate::data::Schema;
use crate::failpoint::hit;

/// Collects small writes; larger ones pass through.
const BUFFER_BYTES: usize = 256 << 10;
const ZSTD_LEVEL: i32 = 3;

/// One or several files of rows.
pub struct Files {
    files: Vec<OutFile>,
    /// For each stream, its file.
    of_stream: Vec<usize>,
}

/// How files are opened.
pub struct Opening<'a> {
    pub format: OutputFormat,
    pub commit: Commit,
    pub start: &'a Start,
}

struct OutFile {
    path: String,
    out: Out,
    kind: Kind,
}

enum Kind {
    /// Nothing is recorded.
    Whole,
    /// The file grows; what was written is recorded.
    Growing(Written),
    /// Each part begins with the header.
    Parts { series: Series, header: Vec<u8> },
}

enum Out {
    Open(BufWriter<Raw>),
    /// No row has come since the last part was completed.
    Between,
    Finished,
}

enum Raw {
    Stdout(io::Stdout),
    Plain(File),
    Part(PartFile),
    Gzip(Box<GzEncoder<PartFile>>),
    Zstd(Box<zstd::Encoder<'static, PartFile>>),
}

impl Files {
    /// Opens what the streams are written to. `headers` has the header of each stream, where the
    /// format has one.
    pub fn open(
        destination: &Destination,
        streams: &[OutputStream],
        headers: Vec<Option<Vec<u8>>>,
        opening: &Opening<'_>,
    ) -> Result<Files, SinkError> {
        match destination {
            Destination::Stdout => {
                let out = OutFile::new("standard output", Raw::Stdout(io::stdout()), Kind::Whole);
                Files::one(out, streams, headers)
            }
            Destination::File(path) => Files::one(OutFile::open(path, opening)?, streams, headers),
            Destination::Folder(folder) => {
                fs::create_dir_all(folder).map_err(|e| SinkError::io(folder, e))?;
                let extension = match opening.format {
                    OutputFormat::Csv => "csv",
                    OutputFormat::Table => "txt",
                    OutputFormat::Jsonl | OutputFormat::Parquet | OutputFormat::Arrow => "jsonl",
                };
                let mut files = Vec::new();
                for (stream, header) in streams.iter().zip(headers) {
                    let mut file = OutFile::open(&file_in(folder, &stream.name, extension), opening)?;
                    file.begin_with(header.unwrap_or_default())?;
                    files.push(file);
                }
                Ok(Files { of_stream: (0..files.len()).collect(), files })
            }
        }
    }

    /// One file of rows without a header.
    pub fn open_text(destination: &Destination, start: &Start) -> Result<Files, SinkError> {
        let stream = OutputStream { name: String::new(), schema: Schema::new(Vec::new()) };
        let opening = Opening { format: OutputFormat::Jsonl, commit: Commit::AtOnce, start };
        Files::open(destination, &[stream], vec![None], &opening)
    }

    fn one(mut file: OutFile, streams: &[OutputStream], headers: Vec<Option<Vec<u8>>>) -> Result<Files, SinkError> {
        // Formats with a header have one stream per file.
        for header in headers.into_iter().flatten() {
            file.begin_with(header)?;
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
    fn new(path: &str, raw: Raw, kind: Kind) -> OutFile {
        OutFile { path: path.to_string(), out: Out::open(raw), kind }
    }

    fn open(path: &str, opening: &Opening<'_>) -> Result<OutFile, SinkError> {
        match opening.start {
            Start::Anew => Ok(OutFile::new(path, Raw::create(path).map_err(|e| SinkError::io(path, e))?, Kind::Whole)),
            Start::Recorded(records) if is_in_parts(path, opening.commit) => {
                let kind = Kind::Parts { series: Series::open(path, records)?, header: Vec::new() };
                Ok(OutFile { path: path.to_string(), out: Out::Between, kind })
            }
            Start::Recorded(records) => OutFile::continued(path, records),
        }
    }

    /// Opens a file that grows, and cuts off what was written after its record.
    fn continued(path: &str, records: &Records) -> Result<OutFile, SinkError> {
        let failed = |e| SinkError::io(path, e);
        let Some(record) = records.own(path) else {
            let file = File::create(path).map_err(failed)?;
            let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
            hit("sink.folder").and_then(|()| sync_folder(folder)).map_err(failed)?;
            return Ok(OutFile::new(path, Raw::Plain(file), Kind::Growing(Written::default())));
        };
        let mut file = File::options().read(true).write(true).open(path).map_err(failed)?;
        let written = Written::of(&mut file, record.bytes).map_err(failed)?;
        if (written.bytes, written.checksum()) != (record.bytes, record.checksum) {
            return Err(SinkError::Changed { path: path.to_string(), bytes: record.bytes });
        }
        file.set_len(record.bytes).map_err(failed)?;
        file.seek(SeekFrom::Start(record.bytes)).map_err(failed)?;
        Ok(OutFile::new(path, Raw::Plain(file), Kind::Growing(written)))
    }

    /// Begins a file with the header of its format; one that is continued has it already.
    fn begin_with(&mut self, text: Vec<u8>) -> Result<(), SinkError> {
        match &mut self.kind {
            Kind::Growing(written) if written.bytes > 0 => Ok(()),
            Kind::Parts { header, .. } => {
                *header = text;
                Ok(())
            }
            Kind::Growing(_) | Kind::Whole => self.write(&text),
        }
    }

    fn mark(&mut self) -> Result<Option<Mark>, SinkError> {
        self.flush()?;
        if matches!(self.kind, Kind::Parts { .. }) {
            return self.end_part().map(Some).map_err(|e| SinkError::io(&self.path, e));
        }
        let (Kind::Growing(written), Out::Open(out)) = (&self.kind, &self.out) else { return Ok(None) };
        let Raw::Plain(file) = out.get_ref() else { return Ok(None) };
        let record = SinkRecord { bytes: written.bytes, checksum: written.checksum(), ..SinkRecord::default() };
        let file = file.try_clone().map_err(|e| SinkError::io(&self.path, e))?;
        Ok(Some(Mark::of_file(self.path.clone(), record, file)))
    }

    /// Completes the part that is being written, if one is, and marks those there are.
    fn end_part(&mut self) -> io::Result<Mark> {
        let Kind::Parts { series, .. } = &mut self.kind else { unreachable!("only asked of parts") };
        if let Out::Open(out) = std::mem::replace(&mut self.out, Out::Between) {
            hit("sink.part.end")?;
            series.end(out.into_inner().map_err(|e| e.into_error())?.into_part()?);
        }
        Ok(series.mark())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.try_write(bytes).map_err(|e| SinkError::io(&self.path, e))
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let (Out::Between, Kind::Parts { series, header }) = (&self.out, &self.kind) {
            let mut out = Out::open(Raw::of_part(series.begin()?, split_compression(&self.path).1)?);
            out.write_all(header)?;
            self.out = out;
        }
        if let Kind::Growing(written) = &mut self.kind {
            written.add(bytes);
        }
        self.out.write_all(bytes)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let done = match &mut self.out {
            Out::Open(out) => out.flush(),
            Out::Between | Out::Finished => Ok(()),
        };
        done.map_err(|e| SinkError::io(&self.path, e))
    }

    /// Rows after the last epoch that ended belong to no part.
    fn finish(&mut self) -> Result<(), SinkError> {
        let done = match (std::mem::replace(&mut self.out, Out::Finished), &self.kind) {
            (Out::Open(out), Kind::Whole | Kind::Growing(_)) => {
                out.into_inner().map_err(|e| e.into_error()).and_then(Raw::finish)
            }
            (Out::Open(out), Kind::Parts { .. }) => {
                // What is buffered need not be written to a file that is removed.
                drop(out.into_parts());
                Ok(())
            }
            (Out::Between | Out::Finished, _) => Ok(()),
        };
        done.map_err(|e| SinkError::io(&self.path, e))
    }
}

impl Out {
    fn open(raw: Raw) -> Out {
        Out::Open(BufWriter::with_capacity(BUFFER_BYTES, raw))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Out::Open(out) => out.write_all(bytes),
            Out::Between | Out::Finished => Err(io::Error::other("written to after its end")),
        }
    }
}

impl Raw {
    fn create(path: &str) -> io::Result<Raw> {
        match split_compression(path).1 {
            None => File::create(path).map(Raw::Plain),
            compression @ Some(_) => Raw::of_part(PartFile::create(path)?, compression),
        }
    }

    fn of_part(part: PartFile, compression: Option<Compression>) -> io::Result<Raw> {
        Ok(match compression {
            None => Raw::Part(part),
            Some(Compression::Gzip) => Raw::Gzip(Box::new(GzEncoder::new(part, flate2::Compression::default()))),
            Some(Compression::Zstd) => Raw::Zstd(Box::new(zstd::Encoder::new(part, ZSTD_LEVEL)?)),
        })
    }

    /// The file behind it, with all that was written.
    fn into_part(self) -> io::Result<PartFile> {
        match self {
            Raw::Stdout(_) | Raw::Plain(_) => Err(io::Error::other("not written in parts")),
            Raw::Part(part) => Ok(part),
            Raw::Gzip(encoder) => encoder.finish(),
            Raw::Zstd(encoder) => encoder.finish(),
        }
    }

    fn finish(mut self) -> io::Result<()> {
        match self {
            Raw::Stdout(_) | Raw::Plain(_) => self.flush(),
            Raw::Part(_) | Raw::Gzip(_) | Raw::Zstd(_) => self.into_part()?.finish(),
        }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Raw::Stdout(out) => out.write(bytes),
            Raw::Plain(out) => out.write(bytes),
            Raw::Part(out) => out.write(bytes),
            Raw::Gzip(out) => out.write(bytes),
            Raw::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Raw::Stdout(out) => out.flush(),
            Raw::Plain(out) => out.flush(),
            // A flush of the compressor would cut the ratio, for a file that nobody sees yet.
            Raw::Part(_) | Raw::Gzip(_) | Raw::Zstd(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::connector::format::encode::jsonl::Meta;
    use crate::connector::sink::{Route, Sink, open};
    use crate::data::{Field, Type};

    fn streams(names: &[&str]) -> Vec<OutputStream> {
        let schema = Schema::new(vec![Field::new("a", Type::Int.required())]);
        names.iter().map(|n| OutputStream { name: n.to_string(), schema: schema.clone() }).collect()
    }

    fn byte_sink(path: &str, names: &[&str], format: OutputFormat) -> Box<dyn ByteSink> {
        match open(&Route::new(Destination::of(path), format, Meta::Shown), &streams(names), &Start::Anew).unwrap() {
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
        let route = Route::new(Destination::of(&path), OutputFormat::Csv, Meta::Shown);
        let error = open(&route, &streams(&["A", "B"]), &Start::Anew).err().unwrap();
        assert!(matches!(&error, SinkError::OneSchema { streams, .. } if streams == &["A", "B"]), "{error}");
        assert_eq!(Destination::of("out.txt.gz").format().unwrap(), OutputFormat::Table);
        assert!(matches!(Destination::of("out.xyz").format(), Err(SinkError::UnknownFormat { .. })));
    }
}
