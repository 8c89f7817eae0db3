//! Counting rows, and the two aggregates of booleans.

use arrow_array::builder::{BooleanBuilder, Int64Builder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::NullBuffer;

use super::grouped::Fold;
use super::{Rows, StateError, state};
use crate::expr::Errors;

/// `count()`, `count(x)`, `count_if(e)`: what is counted is every row that is not skipped.
pub(super) enum Count {
    Rows,
    Values,
    /// Rows where the condition is true.
    True,
}

impl Fold for Count {
    type State = u64;
    type Input<'a> = ();
    type Builder = Int64Builder;
    const NAME: &'static str = "count";

    fn input<'a>(&self, _rows: &Rows<'a>, _args: &'a [ArrayRef]) {}

    fn nulls(&self, args: &[ArrayRef]) -> Option<NullBuffer> {
        match self {
            Count::Rows => None,
            Count::Values => args[0].logical_nulls().filter(|n| n.null_count() > 0),
            Count::True => {
                let conditions = args[0].as_boolean();
                let known = conditions.nulls().map(|n| conditions.values() & n.inner());
                Some(NullBuffer::new(known.unwrap_or_else(|| conditions.values().clone())))
            }
        }
    }

    #[inline]
    fn step(&self, state: &mut u64, _input: &(), _row: usize) {
        *state += 1;
    }

    fn merge(&self, into: &mut u64, from: &u64) {
        *into += from;
    }

    fn builder(&self, len: usize) -> Int64Builder {
        Int64Builder::with_capacity(len)
    }

    fn append(&self, state: &u64, out: &mut Int64Builder, _errors: &Errors) {
        out.append_value(*state as i64);
    }

    fn encode(&self, state: &u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&state.to_le_bytes());
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<u64, StateError> {
        state::take_rows(bytes, Self::NAME)
    }
}

/// `any(e)` and `all(e)`.
pub(super) enum Quantifier {
    Any,
    All,
}

/// Which of the two values a group has had.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    yes: bool,
    no: bool,
}

impl Fold for Quantifier {
    type State = Seen;
    type Input<'a> = &'a BooleanArray;
    type Builder = BooleanBuilder;
    const NAME: &'static str = "any/all";

    fn input<'a>(&self, _rows: &Rows<'a>, args: &'a [ArrayRef]) -> &'a BooleanArray {
        args[0].as_boolean()
    }

    #[inline]
    fn step(&self, state: &mut Seen, input: &&BooleanArray, row: usize) {
        let v = input.value(row);
        state.yes |= v;
        state.no |= !v;
    }

    fn merge(&self, into: &mut Seen, from: &Seen) {
        into.yes |= from.yes;
        into.no |= from.no;
    }

    fn builder(&self, len: usize) -> BooleanBuilder {
        BooleanBuilder::with_capacity(len)
    }

    fn append(&self, state: &Seen, out: &mut BooleanBuilder, _errors: &Errors) {
        let result = match self {
            Quantifier::Any => state.yes,
            Quantifier::All => !state.no,
        };
        out.append_option((state.yes || state.no).then_some(result));
    }

    fn encode(&self, state: &Seen, out: &mut Vec<u8>) {
        out.extend_from_slice(&[state.yes as u8, state.no as u8]);
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Seen, StateError> {
        let mut flag = || state::take_bool(bytes, Self::NAME);
        Ok(Seen { yes: flag()?, no: flag()? })
    }
}
