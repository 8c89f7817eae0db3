//! How values are kept in states, by physical type, for the aggregates that keep values.
//!
//! Five domains serve all types: whole numbers (int, timestamp, duration), floats, bools, strings, and
//! ([`super::encoded`]) everything nested in its key encoding. An aggregate is written once over [`Domain`] and compiled for
//! each. In every domain `-0.0` is `0.0` and there is one NaN, after all numbers: values that compare
//! as equal must be the same, or a minimum would depend on the order of arrival.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, ListArray, StringArray};
use arrow_buffer::OffsetBuffer;

use super::grouped::Column;
use super::{Rows, StateError, state};
use crate::data::DataType;
use crate::data::key::KEY_SEED;
use crate::data::types::list_item;

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
    /// Makes `item` the value, in its own memory where that fits.
    fn replace(item: &mut Self::Item, value: Self::Ref<'_>);
    fn borrow(item: &Self::Item) -> Self::Ref<'_>;
    fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering;
    fn hash(value: Self::Ref<'_>) -> u64;
    fn heap_bytes(item: &Self::Item) -> usize;

    fn builder(&self, len: usize) -> Self::Builder;
    fn append(out: &mut Self::Builder, value: Option<Self::Ref<'_>>);

    fn encode(item: &Self::Item, out: &mut Vec<u8>);
    fn decode(&self, bytes: &mut &[u8], aggregate: &'static str) -> Result<Self::Item, StateError>;
}

/// The part of a domain that is the same for all values that are copied.
macro_rules! copied {
    ($value:ty) => {
        type Item = $value;
        type Ref<'a> = $value;

        #[inline]
        fn own(value: $value) -> $value {
            value
        }

        #[inline]
        fn replace(item: &mut $value, value: $value) {
            *item = value;
        }

        #[inline]
        fn borrow(item: &$value) -> $value {
            *item
        }

        #[inline]
        fn compare(a: $value, b: $value) -> Ordering {
            a.cmp(&b)
        }

        #[inline]
        fn heap_bytes(_item: &$value) -> usize {
            0
        }
    };
}

/// int, timestamp, duration.
pub(super) struct Ints;

impl Domain for Ints {
    copied!(i64);
    type Input<'a> = &'a [i64];
    type Builder = Int64Builder;
    const ENCODED_BYTES_MIN: usize = 8;

    fn input<'a>(&self, _rows: &Rows<'a>, args: &'a [ArrayRef]) -> &'a [i64] {
        args[0].as_primitive::<Int64Type>().values()
    }

    #[inline]
    fn get(input: &&[i64], row: usize) -> i64 {
        input[row]
    }

    #[inline]
    fn hash(value: i64) -> u64 {
        hash(&value.to_le_bytes())
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
    copied!(i64);
    type Input<'a> = &'a [f64];
    type Builder = Float64Builder;
    const ENCODED_BYTES_MIN: usize = 8;

    fn input<'a>(&self, _rows: &Rows<'a>, args: &'a [ArrayRef]) -> &'a [f64] {
        args[0].as_primitive::<Float64Type>().values()
    }

    #[inline]
    fn get(input: &&[f64], row: usize) -> i64 {
        ordered(input[row])
    }

    #[inline]
    fn hash(value: i64) -> u64 {
        hash(&value.to_le_bytes())
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

    fn replace(item: &mut Box<str>, value: &str) {
        if item.len() == value.len() {
            let mut text = std::mem::take(item).into_string();
            text.clear();
            text.push_str(value);
            *item = text.into_boxed_str();
        } else {
            *item = value.into();
        }
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

/// bool.
pub(super) struct Bools;

impl Domain for Bools {
    copied!(bool);
    type Input<'a> = &'a BooleanArray;
    type Builder = BooleanBuilder;
    const ENCODED_BYTES_MIN: usize = 1;

    fn input<'a>(&self, _rows: &Rows<'a>, args: &'a [ArrayRef]) -> &'a BooleanArray {
        args[0].as_boolean()
    }

    #[inline]
    fn get(input: &&BooleanArray, row: usize) -> bool {
        input.value(row)
    }

    #[inline]
    fn hash(value: bool) -> u64 {
        hash(&[value as u8])
    }

    fn builder(&self, len: usize) -> BooleanBuilder {
        BooleanBuilder::with_capacity(len)
    }

    fn append(out: &mut BooleanBuilder, value: Option<bool>) {
        out.append_option(value);
    }

    fn encode(item: &bool, out: &mut Vec<u8>) {
        out.push(*item as u8);
    }

    fn decode(&self, bytes: &mut &[u8], aggregate: &'static str) -> Result<bool, StateError> {
        state::take_bool(bytes, aggregate)
    }
}

/// The pinned hash of a value's bytes, seeded as keys are.
#[inline]
pub(super) fn hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, KEY_SEED)
}

/// Lists of a domain's values under construction.
pub(super) struct Lists<D: Domain> {
    items: D::Builder,
    lengths: Vec<usize>,
    item: Arc<arrow_schema::Field>,
}

impl<D: Domain> Lists<D> {
    pub fn new(domain: &D, item: &DataType, len: usize) -> Lists<D> {
        Lists { items: domain.builder(len), lengths: Vec::with_capacity(len), item: list_item(item) }
    }

    /// Appends a list.
    pub fn append<'a>(&mut self, values: impl ExactSizeIterator<Item = D::Ref<'a>>) {
        self.lengths.push(values.len());
        values.for_each(|v| D::append(&mut self.items, Some(v)));
    }
}

impl<D: Domain> Column for Lists<D> {
    fn finish(self) -> ArrayRef {
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        Arc::new(ListArray::new(self.item, offsets, self.items.finish(), None))
    }
}
