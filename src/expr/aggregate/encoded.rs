//! The domain of nested values: lists, maps, records, and whole rows, kept in their key encoding.
//!
//! Apart from the other domains because saved bytes must be checked here before they are trusted: the
//! decoder of keys panics on what is no key. Maps come out sorted by key.

use std::cmp::Ordering;

use arrow_array::ArrayRef;

use super::domain::{Domain, hash};
use super::grouped::Column;
use super::{Rows, StateError, state};
use crate::data::array::array_of_values;
use crate::data::key::{decode_value, encode_keys};
use crate::data::{DataType, Keys, Type, Value};

/// Lists, maps, records: in their key encoding. Whole rows are several columns.
pub(super) struct Encoded {
    shape: Shape,
}

enum Shape {
    Value(DataType),
    /// Rows of several columns as one record: the encodings of the columns one after the other.
    Row {
        columns: Vec<DataType>,
        record: DataType,
    },
}

impl Encoded {
    pub fn value(ty: DataType) -> Encoded {
        Encoded { shape: Shape::Value(ty) }
    }

    /// Rows with columns of these types, as values of the type `record`.
    pub fn row(columns: Vec<DataType>, record: DataType) -> Encoded {
        Encoded { shape: Shape::Row { columns, record } }
    }

    fn columns(&self) -> &[DataType] {
        match &self.shape {
            Shape::Value(ty) => std::slice::from_ref(ty),
            Shape::Row { columns, .. } => columns,
        }
    }
}

/// Encoded values, to be decoded into an array at the end.
pub(super) struct EncodedBuilder {
    columns: Vec<DataType>,
    record: Option<DataType>,
    values: Vec<Value>,
}

impl Column for EncodedBuilder {
    fn finish(self) -> ArrayRef {
        array_of_values(self.record.as_ref().unwrap_or(&self.columns[0]), &self.values)
    }
}

impl Domain for Encoded {
    type Item = Box<[u8]>;
    type Ref<'a> = &'a [u8];
    type Input<'a> = Keys;
    type Builder = EncodedBuilder;
    const ENCODED_BYTES_MIN: usize = 4;

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> Keys {
        let columns: Vec<_> = args.iter().cloned().zip(self.columns().iter().cloned()).collect();
        encode_keys(&columns, rows.slots.len())
    }

    #[inline]
    fn get(input: &Keys, row: usize) -> &[u8] {
        input.key(row)
    }

    fn own(value: &[u8]) -> Box<[u8]> {
        value.into()
    }

    fn replace(item: &mut Box<[u8]>, value: &[u8]) {
        if item.len() == value.len() {
            item.copy_from_slice(value);
        } else {
            *item = value.into();
        }
    }

    #[inline]
    fn borrow(item: &Box<[u8]>) -> &[u8] {
        item
    }

    #[inline]
    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }

    #[inline]
    fn hash(value: &[u8]) -> u64 {
        hash(value)
    }

    #[inline]
    fn heap_bytes(item: &Box<[u8]>) -> usize {
        item.len()
    }

    fn builder(&self, len: usize) -> EncodedBuilder {
        let (columns, record) = match &self.shape {
            Shape::Value(ty) => (vec![ty.clone()], None),
            Shape::Row { columns, record } => (columns.clone(), Some(record.clone())),
        };
        EncodedBuilder { columns, record, values: Vec::with_capacity(len) }
    }

    fn append(out: &mut EncodedBuilder, value: Option<&[u8]>) {
        let Some(mut bytes) = value else { return out.values.push(Value::Null) };
        let mut decoded = out.columns.iter().map(|ty| decode_value(&mut bytes, ty));
        let value = match &out.record {
            Some(_) => Value::Record(decoded.collect()),
            None => decoded.next().expect("a value has one column"),
        };
        out.values.push(value);
    }

    fn encode(item: &Box<[u8]>, out: &mut Vec<u8>) {
        state::put_bytes(item, out);
    }

    fn decode(&self, bytes: &mut &[u8], aggregate: &'static str) -> Result<Box<[u8]>, StateError> {
        let item = state::take_bytes(bytes, aggregate)?;
        let mut rest = item;
        let well_formed = self.columns().iter().all(|ty| skip_value(&mut rest, ty).is_some());
        if !well_formed || !rest.is_empty() {
            return Err(StateError { aggregate, reason: "a value is not of its type" });
        }
        Ok(item.into())
    }
}

/// Skips one encoded value of type `ty`; `None` where the bytes are no encoding, on which
/// [`decode_value`] would panic.
fn skip_value(bytes: &mut &[u8], ty: &DataType) -> Option<()> {
    if !skip_flag(bytes)? {
        return Some(());
    }
    match &ty.ty {
        Type::Null => None,
        Type::Int | Type::Timestamp | Type::Duration | Type::Float => {
            *bytes = bytes.get(8..)?;
            Some(())
        }
        Type::Bool => skip_flag(bytes).map(|_| ()),
        Type::Str => skip_str(bytes),
        Type::List(item) => {
            while skip_flag(bytes)? {
                skip_value(bytes, item)?;
            }
            Some(())
        }
        Type::Map(value) => {
            while skip_flag(bytes)? {
                skip_str(bytes)?;
                skip_value(bytes, value)?;
            }
            Some(())
        }
        Type::Record(fields) => fields.iter().try_for_each(|f| skip_value(bytes, &f.data_type)),
    }
}

/// A byte that is 0 or 1, and which.
fn skip_flag(bytes: &mut &[u8]) -> Option<bool> {
    let (&flag, rest) = bytes.split_first()?;
    *bytes = rest;
    (flag <= 1).then_some(flag == 1)
}

fn skip_str(bytes: &mut &[u8]) -> Option<()> {
    let mut content = Vec::new();
    loop {
        let zero = memchr::memchr(0, bytes)?;
        content.extend_from_slice(&bytes[..zero]);
        let escape = *bytes.get(zero + 1)?;
        *bytes = &bytes[zero + 2..];
        match escape {
            0 => return std::str::from_utf8(&content).ok().map(|_| ()),
            0xff => content.push(0),
            1..0xff => return None,
        }
    }
}
