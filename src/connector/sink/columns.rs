//! Batches to Parquet and Arrow files, in the types of the outside: timestamps with their zone,
//! durations, the nullability of the schema.
//!
//! Rows are gathered to row groups (record batches) of a fixed number of rows, so that a file does not
//! depend on how the rows were batched on their way. Where state is saved, a file ends with its epoch and
//! is one of a series of parts.

use std::fs;

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::part::PartFile;
use super::series::Series;
use super::{BatchSink, Destination, Mark, OutputStream, SinkError, Start, file_in};
use crate::connector::format::encode::columns::{outside_batch, outside_schema};
use crate::connector::paths::split_compression;
use crate::connector::spec::OutputFormat;
use crate::data::{Batch, Schema};
use crate::failpoint::hit;

/// Rows of an Arrow record batch.
const ARROW_ROWS: usize = 64 << 10;
/// Rows of a Parquet row group: large enough to compress well, small enough that several workers
/// share a file of a million rows when it is read again.
const PARQUET_ROWS: usize = 1 << 17;

/// One file per stream.
pub struct ColumnFiles {
    files: Vec<ColumnFile>,
}

struct ColumnFile {
    path: String,
    schema: Schema,
    outside: SchemaRef,
    format: OutputFormat,
    /// Where the file is one of a series.
    series: Option<Series>,
    /// Rows that do not yet fill a record batch.
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    /// `None` in a series when no rows have come since the last part, and after the end.
    writer: Option<Writer>,
}

enum Writer {
    Parquet(Box<ArrowWriter<PartFile>>),
    Arrow(Box<FileWriter<PartFile>>),
}

impl ColumnFiles {
    pub fn open(
        destination: &Destination,
        format: OutputFormat,
        streams: &[OutputStream],
        start: &Start,
    ) -> Result<ColumnFiles, SinkError> {
        let (name, extension) = match format {
            OutputFormat::Arrow => ("Arrow", "arrow"),
            OutputFormat::Parquet | OutputFormat::Jsonl | OutputFormat::Csv | OutputFormat::Table => {
                ("Parquet", "parquet")
            }
        };
        let path_of = |stream: &OutputStream| match destination {
            Destination::Stdout => Err(SinkError::NotForStdout { format: name }),
            Destination::File(path) if split_compression(path).1.is_some() => {
                Err(SinkError::CompressedColumns { path: path.clone(), format: name })
            }
            Destination::File(path) => Ok(path.clone()),
            Destination::Folder(folder) => Ok(file_in(folder, &stream.name, extension)),
        };
        if let Destination::Folder(folder) = destination {
            fs::create_dir_all(folder).map_err(|e| SinkError::io(folder, e))?;
        }
        let open = |stream| ColumnFile::open(path_of(stream)?, format, stream, start);
        Ok(ColumnFiles { files: streams.iter().map(open).collect::<Result<_, _>>()? })
    }
}

impl BatchSink for ColumnFiles {
    fn write(&mut self, stream: usize, batch: &Batch) -> Result<(), SinkError> {
        self.files[stream].write(batch)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        // The files appear when they are finished; half of one is of no use to anyone.
        Ok(())
    }

    fn mark(&mut self) -> Result<Vec<Mark>, SinkError> {
        let marks = self.files.iter_mut().map(ColumnFile::mark).collect::<Result<Vec<_>, _>>()?;
        Ok(marks.into_iter().flatten().collect())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.files.iter_mut().try_for_each(ColumnFile::finish)
    }
}

impl ColumnFile {
    fn open(path: String, format: OutputFormat, stream: &OutputStream, start: &Start) -> Result<ColumnFile, SinkError> {
        let series = match start {
            Start::Anew => None,
            Start::Recorded(records) => Some(Series::open(&path, records)?),
        };
        let (schema, outside) = (stream.schema.clone(), outside_schema(&stream.schema));
        let (pending, pending_rows, writer) = (Vec::new(), 0, None);
        let mut file = ColumnFile { path, schema, outside, format, series, pending, pending_rows, writer };
        if file.series.is_none() {
            let part = PartFile::create(&file.path).map_err(|e| SinkError::io(&file.path, e))?;
            file.writer = Some(file.begin(part)?);
        }
        Ok(file)
    }

    fn begin(&self, part: PartFile) -> Result<Writer, SinkError> {
        match self.format {
            OutputFormat::Arrow => {
                let writer = FileWriter::try_new(part, &self.outside).map_err(|e| self.failed(e.to_string()))?;
                Ok(Writer::Arrow(Box::new(writer)))
            }
            OutputFormat::Parquet | OutputFormat::Jsonl | OutputFormat::Csv | OutputFormat::Table => {
                let properties = WriterProperties::builder()
                    .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(PARQUET_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(part, self.outside.clone(), Some(properties));
                Ok(Writer::Parquet(Box::new(writer.map_err(|e| self.failed(e.to_string()))?)))
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut rest = outside_batch(&self.schema, &self.outside, batch).map_err(|e| self.failed(e.to_string()))?;
        while self.pending_rows + rest.num_rows() >= ARROW_ROWS {
            let room = ARROW_ROWS - self.pending_rows;
            self.pending.push(rest.slice(0, room));
            self.write_pending()?;
            rest = rest.slice(room, rest.num_rows() - room);
        }
        self.pending_rows += rest.num_rows();
        self.pending.push(rest);
        Ok(())
    }

    fn write_pending(&mut self) -> Result<(), SinkError> {
        let batch = arrow_select::concat::concat_batches(&self.outside, &self.pending);
        self.pending.clear();
        self.pending_rows = 0;
        let batch = batch.map_err(|e| self.failed(e.to_string()))?;
        if let (None, Some(series)) = (&self.writer, &self.series) {
            let part = series.begin().map_err(|e| SinkError::io(&self.path, e))?;
            self.writer = Some(self.begin(part)?);
        }
        let done = match &mut self.writer {
            Some(Writer::Parquet(writer)) => writer.write(&batch).map_err(|e| e.to_string()),
            Some(Writer::Arrow(writer)) => writer.write(&batch).map_err(|e| e.to_string()),
            None => Err("written to after its end".to_string()),
        };
        done.map_err(|detail| self.failed(detail))
    }

    /// Completes what is being written, if anything is.
    fn complete(&mut self) -> Result<Option<PartFile>, SinkError> {
        if self.pending_rows > 0 {
            self.write_pending()?;
        }
        let part = match self.writer.take() {
            Some(Writer::Parquet(writer)) => writer.into_inner().map_err(|e| e.to_string()),
            Some(Writer::Arrow(mut writer)) => {
                writer.finish().and_then(|()| writer.into_inner()).map_err(|e| e.to_string())
            }
            None => return Ok(None),
        };
        part.map(Some).map_err(|detail| self.failed(detail))
    }

    fn mark(&mut self) -> Result<Option<Mark>, SinkError> {
        if self.series.is_none() {
            return Ok(None);
        }
        hit("sink.columns.end").map_err(|e| SinkError::io(&self.path, e))?;
        let part = self.complete()?;
        Ok(self.series.as_mut().map(|series| {
            part.into_iter().for_each(|part| series.end(part));
            series.mark()
        }))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        if self.series.is_some() {
            // Rows after the last epoch that ended belong to no part.
            self.writer = None;
            return Ok(());
        }
        let Some(part) = self.complete()? else { return Ok(()) };
        part.finish().map_err(|e| SinkError::io(&self.path, e))
    }

    fn failed(&self, detail: String) -> SinkError {
        SinkError::Columns { path: self.path.clone(), detail }
    }
}
