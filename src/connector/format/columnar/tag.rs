//! Of which type the rows of a batch are; see the rules in the parent module.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::DataType as ArrowType;

use crate::connector::spec::{SourceType, only_read};

pub(super) const EVENT_TYPE: &str = "event_type";
const TYPE: &str = "type";

pub(super) enum Tag {
    /// All rows are of one type.
    All(usize),
    Each {
        /// Rows of each type, ascending.
        rows_of: Vec<Vec<u32>>,
        /// Rows of other types, by name.
        others: Vec<(String, u64)>,
        untagged: Vec<u32>,
    },
}

pub(super) fn tags(batch: &RecordBatch, types: &[SourceType]) -> Tag {
    let only = only_read(types);
    let of = only.map(|only| &types[only]);
    let declares =
        |name: &str| of.is_some_and(|ty| ty.schema.index_of(name).is_some() || ty.declared.iter().any(|d| d == name));
    let event_type = strings(batch, EVENT_TYPE).filter(|_| !declares(EVENT_TYPE));
    let ty = strings(batch, TYPE).filter(|_| types.len() > 1 && !declares(TYPE));
    if let (Some(only), None, None) = (only, &event_type, &ty) {
        return Tag::All(only);
    }
    let named = |name: &str| types.iter().position(|ty| ty.name == name);
    let mut rows_of = vec![Vec::new(); types.len()];
    let (mut others, mut untagged) = (Vec::<(String, u64)>::new(), Vec::new());
    for row in 0..batch.num_rows() {
        let text = |column: &Option<StringArray>| {
            column.as_ref().filter(|c| c.is_valid(row)).map(|c| c.value(row).to_string())
        };
        match text(&event_type) {
            Some(name) => match named(&name) {
                Some(ty) => rows_of[ty].push(row as u32),
                None => match others.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, count)) => *count += 1,
                    None => others.push((name, 1)),
                },
            },
            None => match text(&ty).and_then(|name| named(&name)).or(only) {
                Some(ty) => rows_of[ty].push(row as u32),
                None => untagged.push(row as u32),
            },
        }
    }
    Tag::Each { rows_of, others, untagged }
}

/// The column of that name, if it has strings.
fn strings(batch: &RecordBatch, name: &str) -> Option<StringArray> {
    let column: &ArrayRef = batch.column_by_name(name)?;
    let is_text = match column.data_type() {
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => true,
        ArrowType::Dictionary(_, values) => matches!(**values, ArrowType::Utf8 | ArrowType::LargeUtf8),
        _ => false,
    };
    let text = is_text.then(|| arrow_cast::cast(column, &ArrowType::Utf8).ok())??;
    Some(text.as_string::<i32>().clone())
}
