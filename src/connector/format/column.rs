//! Columns under construction, as the row formats fill them: plain vectors that can be cut back to the
//! state before a row, because a row is known to be malformed only after parts of it have been written.
//!
//! Arrow's own builders cannot drop what was appended, and keep a validity bit per append where nearly
//! no row has a null; here the (few) null rows are listed and the bitmap is made at the end.
//!
//! Invariant: between rows all columns of a type have the same length. Offsets are 32-bit, so a block
//! must be below 2 GiB; transports cut far smaller ones.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, NullArray, StringArray, StructArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::connector::spec::TimeUnit;
use crate::data::types::{arrow_fields, list_item, map_entries};
use crate::data::{DataType, Field, Type};

/// One column, or the items of a nested one.
#[derive(Debug)]
pub struct Column {
    /// Whether a null is a value of the type; physically every column can hold one.
    pub nullable: bool,
    pub values: Values,
    /// Rows that are null, ascending. Their slots in `values` hold some default.
    nulls: Vec<u32>,
}

#[derive(Debug)]
pub enum Values {
    /// The number of rows.
    Null(usize),
    Int(Vec<i64>),
    /// With the ns that one unit of an integer stands for; without, integers are of the wrong type.
    Timestamp(Vec<i64>, Option<i64>),
    Duration(Vec<i64>, i64),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Str(Strings),
    List(Lists),
    Map(Maps),
    Record(Records),
}

/// Strings end to end.
#[derive(Debug, Default)]
pub struct Strings {
    /// Where each string ends in `bytes`.
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct Lists {
    ends: Vec<i32>,
    pub item: Box<Column>,
    item_type: DataType,
}

#[derive(Debug)]
pub struct Maps {
    ends: Vec<i32>,
    pub keys: Strings,
    pub value: Box<Column>,
    value_type: DataType,
}

#[derive(Debug)]
pub struct Records {
    len: usize,
    pub members: Vec<Column>,
    pub fields: Arc<[Field]>,
}

/// How many ns an integer in `unit` stands for.
pub fn ns_per(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Seconds => 1_000_000_000,
        TimeUnit::Milliseconds => 1_000_000,
        TimeUnit::Microseconds => 1_000,
        TimeUnit::Nanoseconds => 1,
    }
}

impl Column {
    /// An empty column. `unit` is that of integers where timestamps or durations are wanted; integer
    /// durations without are ns.
    pub fn new(ty: &DataType, unit: Option<TimeUnit>) -> Column {
        let values = match &ty.ty {
            Type::Null => Values::Null(0),
            Type::Int => Values::Int(Vec::new()),
            Type::Timestamp => Values::Timestamp(Vec::new(), unit.map(ns_per)),
            Type::Duration => Values::Duration(Vec::new(), unit.map_or(1, ns_per)),
            Type::Float => Values::Float(Vec::new()),
            Type::Bool => Values::Bool(Vec::new()),
            Type::Str => Values::Str(Strings::default()),
            Type::List(item) => Values::List(Lists {
                ends: Vec::new(),
                item: Box::new(Column::new(item, unit)),
                item_type: (**item).clone(),
            }),
            Type::Map(value) => Values::Map(Maps {
                ends: Vec::new(),
                keys: Strings::default(),
                value: Box::new(Column::new(value, unit)),
                value_type: (**value).clone(),
            }),
            Type::Record(fields) => Values::Record(Records {
                len: 0,
                members: fields.iter().map(|f| Column::new(&f.data_type, unit)).collect(),
                fields: fields.clone(),
            }),
        };
        Column { nullable: ty.nullable || ty.ty == Type::Null, values, nulls: Vec::new() }
    }

    pub fn len(&self) -> usize {
        match &self.values {
            Values::Null(len) => *len,
            Values::Int(v) | Values::Timestamp(v, _) | Values::Duration(v, _) => v.len(),
            Values::Float(v) => v.len(),
            Values::Bool(v) => v.len(),
            Values::Str(v) => v.ends.len(),
            Values::List(v) => v.ends.len(),
            Values::Map(v) => v.ends.len(),
            Values::Record(v) => v.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push_null(&mut self) {
        self.nulls.push(self.len() as u32);
        match &mut self.values {
            Values::Null(len) => *len += 1,
            Values::Int(v) | Values::Timestamp(v, _) | Values::Duration(v, _) => v.push(0),
            Values::Float(v) => v.push(0.0),
            Values::Bool(v) => v.push(false),
            Values::Str(v) => v.push(&[]),
            Values::List(v) => v.end_list(),
            Values::Map(v) => v.end_map(),
            Values::Record(v) => {
                v.members.iter_mut().for_each(Column::push_null);
                v.len += 1;
            }
        }
    }

    /// Drops all rows from `len` on, with whatever of an unfinished row was written.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Null(n) => *n = len.min(*n),
            Values::Int(v) | Values::Timestamp(v, _) | Values::Duration(v, _) => v.truncate(len),
            Values::Float(v) => v.truncate(len),
            Values::Bool(v) => v.truncate(len),
            Values::Str(v) => v.truncate(len),
            Values::List(v) => {
                v.ends.truncate(len);
                v.item.truncate(last_end(&v.ends));
            }
            Values::Map(v) => {
                v.ends.truncate(len);
                v.keys.truncate(last_end(&v.ends));
                v.value.truncate(last_end(&v.ends));
            }
            Values::Record(v) => {
                v.members.iter_mut().for_each(|m| m.truncate(len));
                v.len = len.min(v.len);
            }
        }
        while self.nulls.last().is_some_and(|&row| row as usize >= len) {
            self.nulls.pop();
        }
    }

    /// What a value must be, for messages.
    pub fn type_name(&self) -> &'static str {
        match &self.values {
            Values::Null(_) => "null",
            Values::Int(_) => "int",
            Values::Timestamp(_, None) => "timestamp (RFC 3339)",
            Values::Timestamp(_, Some(_)) => "timestamp (RFC 3339 or an int)",
            Values::Duration(..) => "duration",
            Values::Float(_) => "float",
            Values::Bool(_) => "bool",
            Values::Str(_) => "str",
            Values::List(_) => "list",
            Values::Map(_) => "map",
            Values::Record(_) => "record",
        }
    }

    /// The finished array; the column is empty afterwards, with room for as many rows again.
    pub fn finish(&mut self) -> ArrayRef {
        let nulls = self.take_nulls();
        match &mut self.values {
            Values::Null(len) => Arc::new(NullArray::new(std::mem::take(len))),
            Values::Int(v) | Values::Timestamp(v, _) | Values::Duration(v, _) => {
                Arc::new(Int64Array::new(renew(v).into(), nulls))
            }
            Values::Float(v) => Arc::new(Float64Array::new(renew(v).into(), nulls)),
            Values::Bool(v) => Arc::new(BooleanArray::new(renew(v).into(), nulls)),
            Values::Str(v) => Arc::new(v.finish(nulls)),
            Values::List(v) => {
                Arc::new(ListArray::new(list_item(&v.item_type), offsets(&mut v.ends), v.item.finish(), nulls))
            }
            Values::Map(v) => {
                let entries = map_entries(&v.value_type);
                let arrow_schema::DataType::Struct(fields) = entries.data_type().clone() else {
                    unreachable!("entries are a struct")
                };
                let columns: Vec<ArrayRef> = vec![Arc::new(v.keys.finish(None)), v.value.finish()];
                let items = StructArray::new(fields, columns, None);
                Arc::new(MapArray::new(entries, offsets(&mut v.ends), items, nulls, false))
            }
            Values::Record(v) => {
                let members = v.members.iter_mut().map(Column::finish).collect();
                let len = std::mem::take(&mut v.len);
                let array = StructArray::try_new_with_length(arrow_fields(&v.fields), members, nulls, len);
                Arc::new(array.expect("members are built from the record's fields, all of one length"))
            }
        }
    }

    fn take_nulls(&mut self) -> Option<NullBuffer> {
        if self.nulls.is_empty() || matches!(self.values, Values::Null(_)) {
            self.nulls.clear();
            return None;
        }
        let len = self.len();
        let mut valid = BooleanBufferBuilder::new(len);
        valid.append_n(len, true);
        self.nulls.drain(..).for_each(|row| valid.set_bit(row as usize, false));
        Some(NullBuffer::new(valid.finish()))
    }
}

impl Strings {
    /// `bytes` are valid UTF-8: [`Column::finish`] panics otherwise.
    #[inline(always)]
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len() as i32);
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.bytes.truncate(last_end(&self.ends));
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> StringArray {
        let offsets = offsets(&mut self.ends);
        StringArray::new(offsets, Buffer::from_vec(renew(&mut self.bytes)), nulls)
    }
}

impl Lists {
    /// Ends the row's list after the items pushed since the last.
    pub fn end_list(&mut self) {
        self.ends.push(self.item.len() as i32);
    }
}

impl Maps {
    pub fn end_map(&mut self) {
        self.ends.push(self.value.len() as i32);
    }
}

impl Records {
    /// Ends the row's record; every member has got its value.
    pub fn end_record(&mut self) {
        self.len += 1;
        debug_assert!(self.members.iter().all(|m| m.len() == self.len));
    }
}

fn last_end(ends: &[i32]) -> usize {
    ends.last().map_or(0, |&end| end as usize)
}

/// Takes the vector and leaves one with room for as much and an eighth more.
fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len() + values.len() / 8;
    std::mem::replace(values, Vec::with_capacity(room))
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut all = Vec::with_capacity(ends.len() + 1);
    all.push(0);
    all.append(ends);
    OffsetBuffer::new(ScalarBuffer::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::array::array_of_values;
    use crate::data::value::Value;

    fn record_type() -> DataType {
        let fields = vec![
            Field::new("n", Type::Int.optional()),
            Field::new("tags", Type::List(Box::new(Type::Str.required())).required()),
        ];
        Type::Record(fields.into()).optional()
    }

    fn push(column: &mut Column, n: Option<i64>, tags: &[&str]) {
        let Values::Record(records) = &mut column.values else { panic!("a record column") };
        match (&mut records.members[0], n) {
            (Column { values: Values::Int(v), .. }, Some(n)) => v.push(n),
            (member, _) => member.push_null(),
        }
        let Values::List(lists) = &mut records.members[1].values else { panic!("a list member") };
        for tag in tags {
            let Values::Str(strings) = &mut lists.item.values else { panic!("strings") };
            strings.push(tag.as_bytes());
        }
        lists.end_list();
        records.end_record();
    }

    #[test]
    fn cut_back_columns_are_as_before_the_row() {
        let ty = record_type();
        let mut column = Column::new(&ty, None);
        push(&mut column, Some(1), &["a", "bc"]);
        column.push_null();
        push(&mut column, None, &[]);
        push(&mut column, None, &["dropped"]);
        column.push_null();
        column.truncate(3);
        push(&mut column, Some(7), &["é"]);
        let tags = |t: &[&str]| Value::List(t.iter().map(|t| Value::str(t)).collect());
        let expected = [
            Value::Record(vec![Value::Int(1), tags(&["a", "bc"])]),
            Value::Null,
            Value::Record(vec![Value::Null, tags(&[])]),
            Value::Record(vec![Value::Int(7), tags(&["é"])]),
        ];
        assert_eq!(&column.finish(), &array_of_values(&ty, &expected));
        assert!(column.is_empty());
        assert_eq!(column.finish().len(), 0);
    }
}
