//! Row groups of Parquet files, with only the columns that the source's types need.

use std::fs::File;

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::tag::EVENT_TYPE;
use crate::connector::guard::guarded;
use crate::connector::partition::ReadError;
use crate::connector::spec::SourceType;

/// Rows of one batch as it comes out of the file.
const BATCH_ROWS: usize = 64 << 10;

/// Reads row groups, remembering the metadata of the last file: its groups mostly come one after the
/// other.
#[derive(Debug)]
pub(super) struct ParquetGroups {
    /// Columns that are read where a file has them; `None`: all.
    needed: Option<Vec<String>>,
    open: Option<(String, ArrowReaderMetadata)>,
}

impl ParquetGroups {
    pub(super) fn new(types: &[SourceType]) -> ParquetGroups {
        let fields = types.iter().flat_map(|ty| ty.schema.fields.iter().map(|f| f.name.clone()));
        let needed = fields.chain([EVENT_TYPE.to_string(), "type".to_string()]).collect();
        ParquetGroups { needed: Some(needed), open: None }
    }

    pub(super) fn of_all_columns() -> ParquetGroups {
        ParquetGroups { needed: None, open: None }
    }

    /// The names of all the file's columns, and the rows.
    pub(super) fn read(
        &mut self,
        path: &str,
        row_group: usize,
        first: usize,
        rows: usize,
    ) -> Result<(Vec<String>, Vec<RecordBatch>), ReadError> {
        guarded(path, "Parquet file", || self.read_unguarded(path, row_group, first, rows))
    }

    fn read_unguarded(
        &mut self,
        path: &str,
        row_group: usize,
        first: usize,
        rows: usize,
    ) -> Result<(Vec<String>, Vec<RecordBatch>), ReadError> {
        let corrupt = |detail: String| ReadError::Corrupt { path: path.to_string(), what: "Parquet file", detail };
        let file = File::open(path).map_err(|e| ReadError::io(path, e))?;
        let metadata = match self.open.take().filter(|(known, _)| known == path) {
            Some((_, metadata)) => metadata,
            None => ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|e| corrupt(e.to_string()))?,
        };
        self.open = Some((path.to_string(), metadata.clone()));
        let names: Vec<String> = metadata.schema().fields().iter().map(|f| f.name().clone()).collect();
        let roots = (0..names.len()).filter(|&i| self.needed.as_ref().is_none_or(|needed| needed.contains(&names[i])));
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_row_groups(vec![row_group])
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .with_offset(first)
            .with_limit(rows)
            .build()
            .map_err(|e| corrupt(e.to_string()))?;
        let batches: Vec<RecordBatch> = batches.collect::<Result<_, _>>().map_err(|e| corrupt(e.to_string()))?;
        // The library checks the strings of a page as one text.
        for column in batches.iter().flat_map(RecordBatch::columns) {
            column.to_data().validate_full().map_err(|e| corrupt(e.to_string()))?;
        }
        let found: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if found != rows {
            return Err(corrupt(format!("row group {row_group} has {found} rows, not {rows}")));
        }
        Ok((names, batches))
    }
}
