//! Rows that are columns already: Arrow batches, and row groups of Parquet, of which only the columns
//! that the program uses are read.
//!
//! Which type a row is of follows the rules of JSONL: a string column `event_type` names it; failing
//! that `type`, if its value is the name of one of the source's types; with one type only that is read, rows without
//! a tag are of that type, and a column that the type declares is a field and no tag.

mod convert;
mod parquet;
mod tag;

#[cfg(test)]
mod tests;

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};

use self::convert::{Fault, convert};
use self::parquet::ParquetGroups;
use self::tag::{Tag, tags};
use super::{Decoder, DecoderConfig};
use crate::connector::partition::ReadError;
use crate::connector::spec::{SourceType, TimeUnit};
use crate::connector::{Block, BlockData, Decoded, DecodedRows, Malformed, MalformedReason};

pub struct ColumnarDecoder {
    types: Vec<SourceType>,
    groups: ParquetGroups,
    /// Whether unknown fields have been told.
    told: bool,
}

/// The rows of a block that names a row group, with all columns; other blocks have no such rows.
pub fn read_rows(block: &Block) -> Result<Option<RecordBatch>, ReadError> {
    let BlockData::RowGroup { path, row_group, first, rows } = &block.data else { return Ok(None) };
    let (_, batches) = ParquetGroups::of_all_columns().read(path, *row_group, *first, *rows)?;
    let Some(batch) = batches.first() else { return Ok(None) };
    let joined = arrow_select::concat::concat_batches(&batch.schema(), &batches);
    Ok(Some(joined.expect("batches of one row group have one schema")))
}

/// The rows of one type that came to nothing, by row of the batch; the first fault of a row counts.
type Faults = Vec<(u32, MalformedReason, String)>;

impl ColumnarDecoder {
    pub fn new(config: &DecoderConfig) -> ColumnarDecoder {
        let types = config.types.clone();
        ColumnarDecoder { groups: ParquetGroups::new(&types), types, told: false }
    }

    fn decode_batch(&mut self, batch: &RecordBatch, position: u64, out: &mut Decoded) {
        out.rows += batch.num_rows() as u64;
        let mut faults = Faults::new();
        match tags(batch, &self.types) {
            Tag::All(ty) => self.decode_type(ty, batch, None, position, out, &mut faults),
            Tag::Each { rows_of, others, untagged } => {
                for (ty, rows) in rows_of.into_iter().enumerate() {
                    self.decode_type(ty, batch, Some(UInt32Array::from(rows)), position, out, &mut faults);
                }
                for (name, count) in others {
                    match out.other_types.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, n)) => *n += count,
                        None => out.other_types.push((name, count)),
                    }
                }
                let fault = |row| (row, MalformedReason::MissingField, "no `event_type`".to_string());
                faults.extend(untagged.into_iter().map(fault));
            }
        }
        faults.sort_by_key(|(row, ..)| *row);
        for (row, reason, detail) in faults {
            let raw = row_text(batch, row as usize);
            let position = position + row as u64;
            out.malformed.push(Malformed { reason, detail, position, line: None, raw });
        }
    }

    /// Decodes the rows of one type: those given, or all.
    fn decode_type(
        &self,
        ty: usize,
        batch: &RecordBatch,
        rows: Option<UInt32Array>,
        position: u64,
        out: &mut Decoded,
        faults: &mut Faults,
    ) {
        let len = rows.as_ref().map_or(batch.num_rows(), Array::len);
        let row_of = |i: u32| rows.as_ref().map_or(i, |rows| rows.value(i as usize));
        let mut bad: Vec<(u32, MalformedReason, String)> = Vec::new();
        let mut columns = Vec::with_capacity(self.types[ty].schema.len());
        for (i, field) in self.types[ty].schema.fields.iter().enumerate() {
            let unit = self.types[ty].time_units.get(i).copied().flatten();
            let column = batch.column_by_name(&field.name).map(|c| pick(c, rows.as_ref()));
            let (array, field_faults) = read_field(column, field, unit, len);
            columns.push(array);
            bad.extend(field_faults);
        }
        // Fields are in the order of the schema, and the sort is stable: a row's first fault stays.
        bad.sort_by_key(|(row, ..)| *row);
        bad.dedup_by_key(|(row, ..)| *row);
        let rows_out = &mut out.types[ty];
        let good: Option<Vec<u32>> = (!bad.is_empty()).then(|| {
            let mut bad = bad.iter().map(|(row, ..)| *row).peekable();
            (0..len as u32).filter(|row| bad.next_if_eq(row).is_none()).collect()
        });
        let place = |i: u32| position + row_of(i) as u64;
        match good {
            None => rows_out.positions.extend((0..len as u32).map(place)),
            Some(good) => {
                rows_out.positions.extend(good.iter().map(|&i| place(i)));
                let good = UInt32Array::from(good);
                columns.iter_mut().for_each(|c| *c = pick(c, Some(&good)));
            }
        }
        append(rows_out, columns);
        faults.extend(bad.into_iter().map(|(i, reason, detail)| (row_of(i), reason, detail)));
    }

    fn tell_unknown(&mut self, names: &[String], out: &mut Decoded) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let known = |name: &String| {
            let declared = |ty: &SourceType| ty.declared.contains(name) || ty.schema.index_of(name).is_some();
            name == tag::EVENT_TYPE || self.types.iter().any(declared)
        };
        out.unknown_fields = names.iter().filter(|n| !known(n)).cloned().collect();
        out.unknown_fields.sort();
    }
}

impl Decoder for ColumnarDecoder {
    fn decode(&mut self, block: &Block) -> Decoded {
        let mut out = Decoded::default();
        out.types.resize_with(self.types.len(), DecodedRows::default);
        match &block.data {
            BlockData::Rows(batch) => {
                self.decode_batch(batch, block.position, &mut out);
                let names: Vec<String> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
                self.tell_unknown(&names, &mut out);
            }
            BlockData::RowGroup { path, row_group, first, rows } => {
                match self.groups.read(path, *row_group, *first, *rows) {
                    Ok((names, batches)) => {
                        let mut position = block.position;
                        for batch in &batches {
                            self.decode_batch(batch, position, &mut out);
                            position += batch.num_rows() as u64;
                        }
                        self.tell_unknown(&names, &mut out);
                    }
                    Err(error) => out.failed = Some(error),
                }
            }
            BlockData::Bytes(_) | BlockData::TooLong { .. } => unreachable!("blocks of columns are no lines"),
        }
        fill_empty(&mut out, &self.types);
        out
    }
}

fn pick(array: &ArrayRef, rows: Option<&UInt32Array>) -> ArrayRef {
    match rows {
        None => array.clone(),
        Some(rows) => arrow_select::take::take(array, rows, None).expect("rows are within the batch"),
    }
}

/// A field's column in its physical form, and the rows that cannot give it.
fn read_field(
    column: Option<ArrayRef>,
    field: &crate::data::Field,
    unit: Option<TimeUnit>,
    len: usize,
) -> (ArrayRef, Faults) {
    let name = &field.name;
    let Some(column) = column else {
        let missing = |row| (row, MalformedReason::MissingField, format!("field `{name}` is missing"));
        let faults = if field.data_type.nullable { Vec::new() } else { (0..len as u32).map(missing).collect() };
        return (new_null_array(&field.data_type.arrow(), len), faults);
    };
    let mut faults = Vec::new();
    let array = convert(&column, &field.data_type, unit, &mut faults);
    let faults = faults.into_iter().map(|(row, fault)| match fault {
        Fault::Null => (row, MalformedReason::MissingField, format!("field `{name}` is null")),
        Fault::Wrong(found) => {
            let detail = format!("field `{name}` is {found}, expected {}", field.data_type.ty);
            (row, MalformedReason::WrongType, detail)
        }
    });
    (array, faults.collect())
}

/// Adds a batch's rows to those of the batches before it.
fn append(rows: &mut DecodedRows, columns: Vec<ArrayRef>) {
    if rows.columns.is_empty() {
        rows.columns = columns;
        return;
    }
    for (all, more) in rows.columns.iter_mut().zip(columns) {
        if all.is_empty() {
            *all = more;
        } else if !more.is_empty() {
            let joined = arrow_select::concat::concat(&[all.as_ref(), more.as_ref()]);
            *all = joined.expect("both are in the physical form of the field");
        }
    }
}

/// Types without rows have their columns, too.
fn fill_empty(out: &mut Decoded, types: &[SourceType]) {
    for (rows, ty) in out.types.iter_mut().zip(types) {
        if rows.columns.is_empty() {
            rows.columns = ty.schema.fields.iter().map(|f| new_null_array(&f.data_type.arrow(), 0)).collect();
        }
    }
}

/// A row as text, for messages and dead letters: its columns have no bytes of their own.
fn row_text(batch: &RecordBatch, row: usize) -> Vec<u8> {
    let options = FormatOptions::default().with_null("null");
    let schema = batch.schema();
    let values = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let value = ArrayFormatter::try_new(column, &options).map(|f| f.value(row).try_to_string());
        format!("{}: {}", field.name(), value.and_then(|v| v).unwrap_or_else(|e| e.to_string()))
    });
    format!("{{{}}}", values.collect::<Vec<_>>().join(", ")).into_bytes()
}
