//! Batches to Parquet and Arrow files, in the types of the outside: timestamps with their zone,
//! durations, the nullability of the schema.
//!
//! Rows are gathered to row groups (record batches) of a fixed number of rows, so that a file does not
//! depend on how the rows were batched on their way.

use std::fs;

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::part::PartFile;
use super::{BatchSink, Destination, OutputStream, SinkError, file_in};
use crate::connector::format::encode::columns::{outside_batch, outside_schema};
use crate::connector::paths::split_compression;
use crate::connector::spec::OutputFormat;
use crate::data::{Batch, Schema};

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
    /// Rows that do not yet fill a record batch.
    pending: Vec<RecordBatch>,
    pending_rows: usize,
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
        let open = |stream| ColumnFile::create(path_of(stream)?, format, stream);
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

    fn finish(&mut self) -> Result<(), SinkError> {
        self.files.iter_mut().try_for_each(ColumnFile::finish)
    }
}

impl ColumnFile {
    fn create(path: String, format: OutputFormat, stream: &OutputStream) -> Result<ColumnFile, SinkError> {
        let outside = outside_schema(&stream.schema);
        let part = PartFile::create(&path).map_err(|e| SinkError::io(&path, e))?;
        let failed = |detail: String| SinkError::Columns { path: path.clone(), detail };
        let writer = match format {
            OutputFormat::Arrow => {
                let writer = FileWriter::try_new(part, &outside).map_err(|e| failed(e.to_string()))?;
                Writer::Arrow(Box::new(writer))
            }
            OutputFormat::Parquet | OutputFormat::Jsonl | OutputFormat::Csv | OutputFormat::Table => {
                let properties = WriterProperties::builder()
                    .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(PARQUET_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(part, outside.clone(), Some(properties));
                Writer::Parquet(Box::new(writer.map_err(|e| failed(e.to_string()))?))
            }
        };
        let schema = stream.schema.clone();
        Ok(ColumnFile { path, schema, outside, pending: Vec::new(), pending_rows: 0, writer: Some(writer) })
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
        let done = match &mut self.writer {
            Some(Writer::Parquet(writer)) => writer.write(&batch).map_err(|e| e.to_string()),
            Some(Writer::Arrow(writer)) => writer.write(&batch).map_err(|e| e.to_string()),
            None => Err("written to after its end".to_string()),
        };
        done.map_err(|detail| self.failed(detail))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        if self.pending_rows > 0 {
            self.write_pending()?;
        }
        let part = match self.writer.take() {
            Some(Writer::Parquet(writer)) => writer.into_inner().map_err(|e| e.to_string()),
            Some(Writer::Arrow(mut writer)) => {
                writer.finish().and_then(|()| writer.into_inner()).map_err(|e| e.to_string())
            }
            None => return Ok(()),
        };
        let part = part.map_err(|detail| self.failed(detail))?;
        part.finish().map_err(|e| SinkError::io(&self.path, e))
    }

    fn failed(&self, detail: String) -> SinkError {
        SinkError::Columns { path: self.path.clone(), detail }
    }
}
