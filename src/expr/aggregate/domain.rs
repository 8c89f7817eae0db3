//! How values are kept in states, by physical type, for the aggregates that keep values.
//!
//! Four domains serve all types: whole numbers (int, timestamp, duration), floats, strings, and
//! everything else in its key encoding. An aggregate is written once over [`Domain`] and compiled for
//! each. In every domain `-0.0` is `0.0` and there is one NaN, after all numbers: values that compare
//! as equal must be the same, or a minimum would depend on the order of arrival.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, StringArray};

use super::grouped::Column;
use super::{Rows, StateError, state};
use crate::data::array::array_of_values;
use crate::data::key::{KEY_SEED, decode_value, encode_keys};
use crate::data::{DataType, Keys, Type, Value};

/// Values of one physical type.
///
/// # Contract
/// `compare` is the order of VPL values and `Equal` only for the same value; `hash` is pinned, since
/// saved sketches stand on it.
pub(super) trait Domain: 'static {
    /// A value that a state owns.
    type Item: Clone + 'static;
    /// A value where it lies.
    type Ref<'a>: Copy;
    /// The argument columns of a batch.
    type Input<'a>;
    type Builder: Column;
    /// What an item takes, at least, when encoded.
    const ENCODED_BYTES_MIN: usize;

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> Self::Input<'a>;
    fn get<'a>(input: &'a Self::Input<'_>, row: usize) -> Self::Ref<'a>;
    fn own(value: Self::Ref<'_>) -> Self::Item;
    fn borrow(item: &Self::Item) -> Self::Ref<'_>;
    fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering;
    fn hash(value: Self::Ref<'_>) -> u64;
    fn heap_bytes(item: &Self::Item) -> usize;

    fn builder(&self, len: usize) -> Self::Builder;
    fn append(out: &mut Self::Builder, value: Option<Self::Ref<'_>>);

    fn encode(item: &Self::Item, out: &mut Vec<u8>);
    fn decode(&self, bytes: &mut &[u8], aggregate: &'static str) -> Result<Self::Item, StateError>;
}

/// int, timestamp, duration.
pub(super) struct Ints;

impl Domain for Ints {
    type Item = i64;
    type Ref<'a> = i64;
    type Input<'a> = &'a [i64];
    type Builder = Int64Builder;
    const ENCODED_BYTES_MIN: usize = 8;

    fn input<'a>(&self, _rows: &Rows<'a>, args: &'a [ArrayRef]) -> &'a [i64] {
        args[0].as_primitive::<Int64Type>().values()
    }

    #[inline]
    fn get<'a>(input: &'a &[i64], row: usize) -> i64 {
        input[row]
    }

    #[inline]
    fn own(value: i64) -> i64 {
        value
    }

    #[inline]
    fn borrow(item: &i64) -> i64 {
        *item
    }

    #[inline]
    fn compare(a: i64, b: i64) -> Ordering {
        a.cmp(&b)
    }

    #[inline]
    fn hash(value: i64) -> u64 {
        hash(&value.to_le_bytes())
    }

    #[inline]
    fn heap_bytes(_item: &i64) -> usize {
        0
    }

    fn builder(&self, len: usize) -> Int64Builder {
        Int64Builder::with_capacity(len)
    }

    fn append(out: &mut Int64Builder, value: Option<i64>) {
        out.append_option(value);
    }

    fn encode(item: &i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&item.to_le_bytes());
    }

    fn decode(&self, bytes: &mut &[u8], aggregate: &'static str) -> Result<i64, StateError> {
        Ok(i64::from_le_bytes(state::take(bytes, aggregate)?))
    }
}

/// float, kept as [`ordered`] integers.
pub(super) struct Floats;

/// An integer for a float, such that they sort alike; canonical, as the module's doc says.
#[inline]
pub(super) fn ordered(v: f64) -> i64 {
    let canonical = if v.is_nan() { f64::NAN.copysign(1.0) } else { v + 0.0 };
    flip(canonical.to_bits() as i64)
}

/// The opposite of [`ordered`].
#[inline]
pub(super) fn float_of(ordered: i64) -> f64 {
    f64::from_bits(flip(ordered) as u64)
}

/// Turns the order of negative floats' bits around; its own inverse.
#[inline]
fn flip(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl Domain for Floats {
    type Item = i64;
    type Ref<'a> = i64;
    type Input<'a> = &'a [f64];
    type Builder = Float64Builder;
    const ENCODED_BYTES_MIN: usize = 8;

    fn input<'a>(&self, _rows: &Rows<'a>, args: &'a [ArrayRef]) -> &'a [f64] {
        args[0].as_primitive::<Float64Type>().values()
    }

    #[inline]
    fn get<'a>(input: &'a &[f64], row: usize) -> i64 {
        ordered(input[row])
    }

    #[inline]
    fn own(value: i64) -> i64 {
        value
    }

    #[inline]
    fn borrow(item: &i64) -> i64 {
        *item
    }

    #[inline]
    fn compare(a: i64, b: i64) -> Ordering {
        a.cmp(&b)
    }

    #[inline]
    fn hash(value: i64) -> u64 {
        hash(&value.to_le_bytes())
    }

    #[inline]
    fn heap_bytes(_item: &i64) -> usize {
        0
    }

    fn builder(&self, len: usize) -> Float64Builder {
        Float64Builder::with_capacity(len)
    }

    fn append(out: &mut Float64Builder, value: Option<i64>) {
        out.append_option(value.map(float_of));
    }

    fn encode(item: &i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&float_of(*item).to_le_bytes());
    }

    fn decode(&self, bytes: &mut &[u8], aggregate: &'static str) -> Result<i64, StateError> {
        Ok(ordered(f64::from_le_bytes(state::take(bytes, aggregate)?)))
    }
}

/// str.
pub(super) struct Strings;

impl Domain for Strings {
    type Item = Box<str>;
    type Ref<'a> = &'a str;
    type Input<'a> = &'a StringArray;
    type Builder = StringBuilder;
    const ENCODED_BYTES_MIN: usize = 4;

    fn input<'a>(&self, _rows: &Rows<'a>, args: &'a [ArrayRef]) -> &'a StringArray {
        args[0].as_string::<i32>()
    }

    #[inline]
    fn get<'a>(input: &'a &StringArray, row: usize) -> &'a str {
        input.value(row)
    }

    fn own(value: &str) -> Box<str> {
        value.into()
    }

    #[inline]
    fn borrow(item: &Box<str>) -> &str {
        item
    }

    #[inline]
    fn compare(a: &str, b: &str) -> Ordering {
        a.cmp(b)
    }

    #[inline]
    fn hash(value: &str) -> u64 {
        hash(value.as_bytes())
    }

    #[inline]
    fn heap_bytes(item: &Box<str>) -> usize {
        item.len()
    }

    fn builder(&self, len: usize) -> StringBuilder {
        StringBuilder::with_capacity(len, 8 * len)
    }

    fn append(out: &mut StringBuilder, value: Option<&str>) {
        out.append_option(value);
    }

    fn encode(item: &Box<str>, out: &mut Vec<u8>) {
        state::put_bytes(item.as_bytes(), out);
    }

    fn decode(&self, bytes: &mut &[u8], aggregate: &'static str) -> Result<Box<str>, StateError> {
        state::take_str(bytes, aggregate).map(Into::into)
    }
}

/// bool, lists, maps, records: in their key encoding. Whole rows are several columns.
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
    fn get<'a>(input: &'a Keys, row: usize) -> &'a [u8] {
        input.key(row)
    }

    fn own(value: &[u8]) -> Box<[u8]> {
        value.into()
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

/// The pinned hash of a value's bytes, seeded as keys are.
#[inline]
fn hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, KEY_SEED)
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

/// Lists of a domain's values under construction.
pub(super) struct Lists<D: Domain> {
    items: D::Builder,
    lengths: Vec<usize>,
    item: Arc<arrow_schema::Field>,
}

impl<D: Domain> Lists<D> {
    pub fn new(domain: &D, item: &DataType, len: usize) -> Lists<D> {
        Lists {
            items: domain.builder(len),
            lengths: Vec::with_capacity(len),
            item: crate::data::types::list_item(item),
        }
    }

    /// Appends a list.
    pub fn append<'a>(&mut self, values: impl ExactSizeIterator<Item = D::Ref<'a>>) {
        self.lengths.push(values.len());
        values.for_each(|v| D::append(&mut self.items, Some(v)));
    }
}

impl<D: Domain> Column for Lists<D> {
    fn finish(self) -> ArrayRef {
        let offsets = arrow_buffer::OffsetBuffer::from_lengths(self.lengths);
        Arc::new(arrow_array::ListArray::new(self.item, offsets, self.items.finish(), None))
    }
}
