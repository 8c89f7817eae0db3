//! Values of a subexpression as kernels take them: a column, or one value that stands for every row.
//!
//! Constants stay one value for as long as a kernel can use them so; [`Operand::into_array`] is the
//! only place that repeats them. An operand says nothing of the logical type: callers know it from
//! the expression. Values in null slots are arbitrary, here and in every kernel.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, StringArray, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType as ArrowType;

/// A column of values, or the one value of every row.
#[derive(Clone, Debug)]
pub enum Operand {
    /// As long as the rows that are evaluated.
    Array(ArrayRef),
    /// Of length 1.
    Scalar(ArrayRef),
}

/// The plain values of an operand, without its nulls.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a, T> {
    All(&'a [T]),
    One(T),
}

impl Operand {
    pub(crate) fn array(&self) -> &ArrayRef {
        match self {
            Operand::Array(a) | Operand::Scalar(a) => a,
        }
    }

    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self, Operand::Scalar(_))
    }

    /// The values of `rows` rows.
    pub(crate) fn into_array(self, rows: usize) -> ArrayRef {
        match self {
            Operand::Array(a) => a,
            Operand::Scalar(a) if rows == 1 => a,
            Operand::Scalar(a) => {
                let same = UInt32Array::from(vec![0u32; rows]);
                arrow_select::take::take(&a, &same, None).expect("the only row is within the array")
            }
        }
    }

    /// Whether this is a scalar that is null.
    pub(crate) fn is_null_scalar(&self) -> bool {
        self.is_scalar() && is_null(self.array(), 0)
    }

    /// The nulls of the column; a null scalar is null for each of `rows` rows.
    pub(crate) fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        match self {
            Operand::Array(a) => a.logical_nulls(),
            Operand::Scalar(_) => self.is_null_scalar().then(|| NullBuffer::new_null(rows)),
        }
    }

    /// The index in [`Operand::array`] of the value of a row.
    pub(crate) fn index(&self, row: usize) -> usize {
        match self {
            Operand::Array(_) => row,
            Operand::Scalar(_) => 0,
        }
    }

    /// Of an int, timestamp or duration.
    pub(crate) fn ints(&self) -> Values<'_, i64> {
        let values = self.array().as_primitive::<Int64Type>().values();
        if self.is_scalar() { Values::One(values[0]) } else { Values::All(values) }
    }

    pub(crate) fn floats(&self) -> Values<'_, f64> {
        let values = self.array().as_primitive::<Float64Type>().values();
        if self.is_scalar() { Values::One(values[0]) } else { Values::All(values) }
    }

    pub(crate) fn booleans(&self) -> &BooleanArray {
        self.array().as_boolean()
    }

    pub(crate) fn strings(&self) -> &StringArray {
        self.array().as_string::<i32>()
    }
}

impl<T: Copy> Values<'_, T> {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> T {
        match self {
            Values::All(values) => values[row],
            Values::One(value) => *value,
        }
    }

    /// `f` of each value; of a scalar, one value.
    pub(crate) fn map<R>(self, mut f: impl FnMut(T) -> R) -> Vec<R> {
        match self {
            Values::All(values) => values.iter().map(|&v| f(v)).collect(),
            Values::One(value) => vec![f(value)],
        }
    }

    /// `f` of each pair; of two scalars, one value.
    pub(crate) fn zip<U: Copy, R>(self, other: Values<'_, U>, mut f: impl FnMut(T, U) -> R) -> Vec<R> {
        match (self, other) {
            (Values::All(a), Values::All(b)) => a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect(),
            (Values::All(a), Values::One(b)) => a.iter().map(|&a| f(a, b)).collect(),
            (Values::One(a), Values::All(b)) => b.iter().map(|&b| f(a, b)).collect(),
            (Values::One(a), Values::One(b)) => vec![f(a, b)],
        }
    }

    /// `f` of each pair as bits; of two scalars, one bit.
    pub(crate) fn zip_bits<U: Copy>(self, other: Values<'_, U>, f: impl Fn(T, U) -> bool) -> BooleanBuffer {
        match (self, other) {
            (Values::All(a), Values::All(b)) => {
                let mut words = Words::with_capacity(a.len());
                let (chunks_a, chunks_b) = (a.chunks_exact(64), b.chunks_exact(64));
                let tail = chunks_a.remainder().iter().zip(chunks_b.remainder());
                for (x, y) in chunks_a.zip(chunks_b) {
                    words.push(x.iter().zip(y).map(|(&x, &y)| f(x, y)));
                }
                words.push(tail.map(|(&x, &y)| f(x, y)));
                words.finish(a.len())
            }
            (Values::All(a), Values::One(b)) => pack(a, |a| f(a, b)),
            (Values::One(a), Values::All(b)) => pack(b, |b| f(a, b)),
            (Values::One(a), Values::One(b)) => BooleanBuffer::from_iter([f(a, b)]),
        }
    }
}

/// `f` of each value as bits.
pub(crate) fn pack<T: Copy>(values: &[T], f: impl Fn(T) -> bool) -> BooleanBuffer {
    let mut words = Words::with_capacity(values.len());
    let chunks = values.chunks_exact(64);
    let tail = chunks.remainder();
    for chunk in chunks {
        words.push(chunk.iter().map(|&v| f(v)));
    }
    words.push(tail.iter().map(|&v| f(v)));
    words.finish(values.len())
}

/// Bits gathered 64 at a time, without a bounds check or a branch per bit.
struct Words(Vec<u64>);

impl Words {
    fn with_capacity(bits: usize) -> Words {
        Words(Vec::with_capacity(bits / 64 + 1))
    }

    #[inline]
    fn push(&mut self, bits: impl Iterator<Item = bool>) {
        self.0.push(bits.enumerate().fold(0, |word, (i, bit)| word | (bit as u64) << i));
    }

    fn finish(self, bits: usize) -> BooleanBuffer {
        BooleanBuffer::new(arrow_buffer::Buffer::from_vec(self.0), 0, bits)
    }
}

/// Whether a row is null, also in an array of type null, which has no validity bits.
pub(crate) fn is_null(array: &dyn Array, row: usize) -> bool {
    array.is_null(row) || *array.data_type() == ArrowType::Null
}

/// The union of the operands' nulls.
pub(crate) fn union_nulls(args: &[&Operand], rows: usize) -> Option<NullBuffer> {
    args.iter().fold(None, |nulls, arg| NullBuffer::union(nulls.as_ref(), arg.nulls(rows).as_ref()))
}

/// `rows` nulls of a physical type.
pub(crate) fn all_null(ty: &ArrowType, rows: usize) -> ArrayRef {
    arrow_array::new_null_array(ty, rows)
}

/// The same rows, null also where `nulls` says so.
pub(crate) fn mask_nulls(array: ArrayRef, nulls: Option<&NullBuffer>) -> ArrayRef {
    let Some(nulls) = nulls else { return array };
    if *array.data_type() == ArrowType::Null {
        return array;
    }
    let nulls = NullBuffer::union(array.nulls(), Some(nulls));
    let data = array.to_data().into_builder().nulls(nulls).build();
    arrow_array::make_array(data.expect("only validity changed"))
}

/// An array of bits and nulls.
pub(crate) fn boolean_array(bits: BooleanBuffer, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(BooleanArray::new(bits, nulls))
}
