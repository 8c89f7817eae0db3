//! Guesses the schema of event types that a program uses and does not declare, from the first rows of
//! its input.
//!
//! The guess is made once, before planning, and is a promise afterwards: a value that contradicts it
//! stops the run. So the rules are narrow. All fields of the rows are taken, nested values as records;
//! a field is nullable if a row lacks it or has null there; an int and a float make a float; strings
//! that all are timestamps make one, and so do ints of plausible size under the name of a time. Two
//! kinds of values in one field are an error that names both, not a field of type `str`: the decoder
//! would refuse one of them.
//!
//! Which type a row is of follows the decoders' rules. Rows that are malformed teach nothing.

mod arrow;
mod declaration;
mod shape;

#[cfg(test)]
mod tests;

use serde_json::Value as Tree;

pub use self::arrow::vpl_type;
pub use self::declaration::declaration;
use self::shape::{CellShape, Kind, Members, Shape};
use super::format::csv::split_rows;
use super::spec::{FileFormat, TimeUnit};
use super::{Block, BlockContext, BlockData, CsvHeader};
use crate::data::{Field, Schema, Type, Value};

/// Rows that are looked at, of all types together.
pub const SAMPLE_ROWS: u64 = 10_000;

/// An event type as the sample shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledType {
    /// What the rows call it; `None` if they do not say.
    pub name: Option<String>,
    pub schema: Schema,
    /// By field: the unit of timestamps that are written as ints.
    pub time_units: Vec<Option<TimeUnit>>,
    /// The first field that is a timestamp.
    pub event_time: Option<usize>,
    /// How many rows were seen.
    pub rows: u64,
}

/// Why no schema can be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    #[error("field `{field}` is {first} in the row at byte {first_at}, but {second} in that at byte {second_at}")]
    Conflict { field: String, first: &'static str, first_at: u64, second: &'static str, second_at: u64 },
    #[error("field `{field}` is {first} in one file, but {second} in another")]
    FilesDiffer { field: String, first: Type, second: Type },
}

impl SampledType {
    /// Without the fields that a tag would contradict.
    fn without(self, tags: &SeenTags) -> SampledType {
        let fields = self.schema.fields.into_iter().zip(self.time_units);
        let (fields, units) = fields.filter(|(field, _)| !tags.contradict(field)).unzip();
        SampledType::new(self.name, Schema::new(fields), units, self.rows)
    }

    fn new(name: Option<String>, schema: Schema, time_units: Vec<Option<TimeUnit>>, rows: u64) -> SampledType {
        let event_time = schema.fields.iter().position(|f| f.data_type.ty == Type::Timestamp);
        SampledType { name, schema, time_units, event_time, rows }
    }
}

/// Takes rows in and tells what types they are of.
#[derive(Debug)]
pub struct Sampler {
    format: FileFormat,
    /// The types that the program reads from the input, declared or not.
    names: Vec<String>,
    types: Vec<(Option<String>, Rows)>,
    rows: u64,
    tags: SeenTags,
}

/// Which names were the tag of some row. A field of that name may make rows contradict the type that are tagged.
#[derive(Debug, Default)]
struct SeenTags {
    event_type: bool,
    ty: bool,
}

impl SeenTags {
    fn contradict(&self, field: &Field) -> bool {
        match field.name.as_str() {
            // Were it a field, it would be no tag, and rows of other types would be of this one.
            "event_type" => self.event_type,
            // The rows that it tags are of this type, and have a string there.
            "type" => self.ty && field.data_type.ty != Type::Str,
            _ => false,
        }
    }
}

/// What was seen of one type.
#[derive(Debug)]
enum Rows {
    /// Of formats whose values have kinds.
    Members(Members),
    Cells {
        columns: Vec<(String, CellShape, u64)>,
        rows: u64,
    },
    Columnar(Box<Result<SampledType, SampleError>>),
}

impl Sampler {
    /// `names` are the types that the program reads from the input, declared or not: which of a row's
    /// members is its tag depends on them.
    pub fn new(format: FileFormat, names: Vec<String>) -> Sampler {
        Sampler { format, names, types: Vec::new(), rows: 0, tags: SeenTags::default() }
    }

    /// Whether enough rows have been seen.
    pub fn is_full(&self) -> bool {
        self.rows >= SAMPLE_ROWS
    }

    /// Takes in the rows of a block, up to the limit. Blocks of several files may follow one another.
    pub fn add(&mut self, block: &Block) {
        match (&block.data, &block.context) {
            (BlockData::Bytes(text), BlockContext::Header(header)) => self.add_cells(text, header),
            (BlockData::Bytes(text), BlockContext::Nothing | BlockContext::Time(_)) => match self.format {
                FileFormat::Jsonl => self.add_lines(text, block.position),
                // Its rows are known to its decoder alone, which gives them to `add_row`.
                FileFormat::Evt | FileFormat::Csv { .. } | FileFormat::Parquet | FileFormat::Arrow => {}
            },
            (BlockData::Rows(batch), _) => self.add_columns(arrow::of_batch(batch)),
            // Too long for a row, or to be read as `Rows` first.
            (BlockData::TooLong { .. } | BlockData::RowGroup { .. }, _) => {}
        }
    }

    /// Takes in one row of a format with typed values; `name` is its type.
    pub fn add_row(&mut self, name: Option<&str>, fields: &[(&str, &Value)], position: u64) {
        let members = self.members(name);
        for (name, value) in fields {
            see_value(members.member(name), value, position);
        }
    }

    /// What the rows call themselves, with their number.
    pub fn found(&self) -> impl Iterator<Item = (Option<&str>, u64)> {
        self.types.iter().map(|(name, rows)| (name.as_deref(), rows.count()))
    }

    /// The type of the rows that are, or may be, of the type `name`; `None` if there were none.
    pub fn sampled(&self, name: &str) -> Option<Result<SampledType, SampleError>> {
        let tagged = self.types.iter().find(|(n, _)| n.as_deref() == Some(name));
        let untagged = self.types.iter().find(|(n, _)| n.is_none() && self.names.len() <= 1);
        let (name, rows) = tagged.or(untagged)?;
        Some(rows.infer(name.clone()).map(|ty| ty.without(&self.tags)))
    }

    /// The name under which a row with these tags is counted.
    fn row_name(&self, event_type: Option<&str>, ty: Option<&str>) -> Option<String> {
        let tag = event_type.or(ty.filter(|ty| self.names.iter().any(|n| n == ty)));
        let only = if let [only] = &self.names[..] { Some(only.as_str()) } else { None };
        tag.or(only).map(String::from)
    }

    fn members(&mut self, name: Option<&str>) -> &mut Members {
        self.rows += 1;
        let rows = rows_of(&mut self.types, name, || Rows::Members(Members::default()));
        let Rows::Members(members) = rows else { unreachable!("an input has one format") };
        members.see_record();
        members
    }

    fn add_lines(&mut self, text: &[u8], position: u64) {
        let mut start = 0;
        for line in text.split(|&b| b == b'\n') {
            if self.is_full() {
                return;
            }
            if let Ok(Tree::Object(row)) = serde_json::from_slice(line) {
                self.add_object(&row, position + start);
            }
            start += line.len() as u64 + 1;
        }
    }

    fn add_object(&mut self, row: &serde_json::Map<String, Tree>, position: u64) {
        let text = |name: &str| row.get(name).and_then(Tree::as_str);
        let event_type = text("event_type");
        let ty = text("type").filter(|_| event_type.is_none());
        let name = self.row_name(event_type, ty);
        let type_is_tag = ty.is_some() && ty == name.as_deref();
        self.tags.event_type |= event_type.is_some();
        self.tags.ty |= type_is_tag;
        let envelope = row.get("data").and_then(Tree::as_object).filter(|_| event_type.is_some());
        let members = self.members(name.as_deref());
        for (field, value) in envelope.unwrap_or(row) {
            let tag =
                envelope.is_none() && (field == "event_type" && event_type.is_some() || field == "type" && type_is_tag);
            if !tag {
                see_tree(members.member(field), value, position);
            }
        }
    }

    fn add_cells(&mut self, text: &[u8], header: &CsvHeader) {
        let column = |name: &str| header.names.iter().rposition(|n| n.trim() == name);
        let (event_type, ty) = (column("event_type"), column("type"));
        for cells in split_rows(text, header.delimiter) {
            if self.is_full() {
                return;
            }
            if cells.len() != header.names.len() {
                continue;
            }
            let cell = |i: Option<usize>| i.map(|i| cells[i].0.as_str()).filter(|t| !t.is_empty() && *t != "NA");
            let ty_value = cell(ty).filter(|_| cell(event_type).is_none());
            let name = self.row_name(cell(event_type), ty_value);
            let type_is_tag = ty_value.is_some() && ty_value == name.as_deref();
            self.tags.event_type |= cell(event_type).is_some();
            self.tags.ty |= type_is_tag;
            self.rows += 1;
            let new = || Rows::Cells { columns: Vec::new(), rows: 0 };
            let Rows::Cells { columns, rows } = rows_of(&mut self.types, name.as_deref(), new) else {
                unreachable!("an input has one format")
            };
            *rows += 1;
            for (i, ((text, quoted), name)) in cells.iter().zip(&header.names).enumerate() {
                let name = name.trim();
                if Some(i) == event_type || Some(i) == ty && type_is_tag || column(name) != Some(i) {
                    continue;
                }
                let place = columns.iter().position(|(n, _, _)| n == name).unwrap_or_else(|| {
                    columns.push((name.to_string(), CellShape::default(), 0));
                    columns.len() - 1
                });
                columns[place].1.see(text, *quoted);
                columns[place].2 += 1;
            }
        }
    }

    /// Files of one input may differ: then types widen, and what a file lacks is nullable.
    fn add_columns(&mut self, sampled: SampledType) {
        self.rows += sampled.rows;
        let name = self.row_name(None, None);
        let Some((_, rows)) = self.types.iter_mut().find(|(n, _)| *n == name) else {
            self.types.push((name, Rows::Columnar(Box::new(Ok(sampled)))));
            return;
        };
        let Rows::Columnar(known) = rows else { unreachable!("an input has one format") };
        if let Ok(ty) = &**known {
            **known = arrow::unify(ty, &sampled);
        }
    }
}

fn rows_of<'a>(
    types: &'a mut Vec<(Option<String>, Rows)>,
    name: Option<&str>,
    new: impl FnOnce() -> Rows,
) -> &'a mut Rows {
    let place = types.iter().position(|(n, _)| n.as_deref() == name).unwrap_or_else(|| {
        types.push((name.map(String::from), new()));
        types.len() - 1
    });
    &mut types[place].1
}

impl Rows {
    fn count(&self) -> u64 {
        match self {
            Rows::Members(members) => members.records(),
            Rows::Cells { rows, .. } => *rows,
            Rows::Columnar(sampled) => sampled.as_ref().as_ref().map_or(0, |ty| ty.rows),
        }
    }

    fn infer(&self, name: Option<String>) -> Result<SampledType, SampleError> {
        let (fields, units) = match self {
            Rows::Members(members) => members.infer("")?.into_iter().unzip(),
            Rows::Cells { columns, rows } => columns
                .iter()
                .map(|(name, shape, seen)| {
                    let (ty, unit) = shape.infer(name);
                    let nullable = ty.nullable || seen < rows;
                    (crate::data::Field::new(name.clone(), ty.with_nullable(nullable)), unit)
                })
                .unzip(),
            Rows::Columnar(sampled) => return (**sampled).clone().map(|ty| SampledType { name, ..ty }),
        };
        Ok(SampledType::new(name, Schema::new(fields), units, self.count()))
    }
}

fn see_tree(shape: &mut Shape, tree: &Tree, position: u64) {
    match tree {
        Tree::Null => shape.see_null(),
        Tree::Bool(_) => shape.see(Kind::Bool, position),
        Tree::Number(number) => match number.as_i64() {
            Some(int) => shape.see_int(int, position),
            None => shape.see(Kind::Float, position),
        },
        Tree::String(text) => shape.see_text(text.as_bytes(), position),
        Tree::Array(items) => {
            let shape = shape.see_list(position);
            items.iter().for_each(|item| see_tree(shape, item, position));
        }
        Tree::Object(members) => {
            let shapes = shape.see_record(position);
            members.iter().for_each(|(name, value)| see_tree(shapes.member(name), value, position));
        }
    }
}

fn see_value(shape: &mut Shape, value: &Value, position: u64) {
    match value {
        Value::Null => shape.see_null(),
        Value::Bool(_) => shape.see(Kind::Bool, position),
        Value::Int(int) => shape.see_int(*int, position),
        Value::Float(_) => shape.see(Kind::Float, position),
        Value::Str(text) => shape.see_text(text.as_bytes(), position),
        Value::Timestamp(_) => shape.see(Kind::Timestamp, position),
        Value::Duration(_) => shape.see(Kind::Duration, position),
        Value::List(items) => {
            let shape = shape.see_list(position);
            items.iter().for_each(|item| see_value(shape, item, position));
        }
        Value::Map(entries) => {
            let shapes = shape.see_record(position);
            entries.iter().for_each(|(name, value)| see_value(shapes.member(name), value, position));
        }
        // Records without names come from no format.
        Value::Record(_) => shape.see(Kind::Record, position),
    }
}
