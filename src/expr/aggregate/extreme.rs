//! The one value of a group: least, greatest, first, last.

use arrow_array::ArrayRef;

use super::domain::Domain;
use super::grouped::Fold;
use super::order::{Order, Orders};
use super::{Rows, StateError, state};
use crate::expr::Errors;

/// `min` (or `max`, if `MAX`) of ordered values. NaN is after all numbers.
pub(super) struct Extreme<D, const MAX: bool>(pub D);

impl<D: Domain, const MAX: bool> Extreme<D, MAX> {
    #[inline]
    fn offer(state: &mut Option<D::Item>, value: D::Ref<'_>) {
        let better = match state {
            None => true,
            Some(best) if MAX => D::compare(value, D::borrow(best)).is_gt(),
            Some(best) => D::compare(value, D::borrow(best)).is_lt(),
        };
        if better {
            match state {
                None => *state = Some(D::own(value)),
                Some(best) => D::replace(best, value),
            }
        }
    }
}

impl<D: Domain, const MAX: bool> Fold for Extreme<D, MAX> {
    type State = Option<D::Item>;
    type Input<'a> = D::Input<'a>;
    type Builder = D::Builder;
    const NAME: &'static str = if MAX { "max" } else { "min" };

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> D::Input<'a> {
        self.0.input(rows, args)
    }

    #[inline]
    fn step(&self, state: &mut Option<D::Item>, input: &D::Input<'_>, row: usize) {
        Self::offer(state, D::get(input, row));
    }

    fn merge(&self, into: &mut Option<D::Item>, from: &Option<D::Item>) {
        if let Some(value) = from {
            Self::offer(into, D::borrow(value));
        }
    }

    fn builder(&self, len: usize) -> D::Builder {
        self.0.builder(len)
    }

    fn append(&self, state: &Option<D::Item>, out: &mut D::Builder, _errors: &Errors) {
        D::append(out, state.as_ref().map(D::borrow));
    }

    #[inline]
    fn heap_bytes(&self, state: &Option<D::Item>) -> usize {
        state.as_ref().map_or(0, D::heap_bytes)
    }

    fn encode(&self, state: &Option<D::Item>, out: &mut Vec<u8>) {
        out.push(state.is_some() as u8);
        if let Some(value) = state {
            D::encode(value, out);
        }
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Option<D::Item>, StateError> {
        let some = state::take_bool(bytes, Self::NAME)?;
        some.then(|| self.0.decode(bytes, Self::NAME)).transpose()
    }
}

/// `first` (or `last`, if `LAST`) by (`_time`, `_seq`); of rows that agree in that, the least (or
/// greatest) value.
pub(super) struct End<D, const LAST: bool>(pub D);

impl<D: Domain, const LAST: bool> End<D, LAST> {
    #[inline]
    fn offer(state: &mut Option<(Order, D::Item)>, order: Order, value: D::Ref<'_>) {
        let better = match state {
            None => true,
            Some((at, best)) => {
                let place = order.cmp(at).then_with(|| D::compare(value, D::borrow(best)));
                if LAST { place.is_gt() } else { place.is_lt() }
            }
        };
        if better {
            match state {
                None => *state = Some((order, D::own(value))),
                Some((at, best)) => {
                    *at = order;
                    D::replace(best, value);
                }
            }
        }
    }
}

impl<D: Domain, const LAST: bool> Fold for End<D, LAST> {
    type State = Option<(Order, D::Item)>;
    type Input<'a> = (Orders<'a>, D::Input<'a>);
    type Builder = D::Builder;
    const NAME: &'static str = if LAST { "last" } else { "first" };

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> Self::Input<'a> {
        (Orders::by_time(rows), self.0.input(rows, args))
    }

    #[inline]
    fn step(&self, state: &mut Self::State, (orders, input): &Self::Input<'_>, row: usize) {
        Self::offer(state, orders.get(row), D::get(input, row));
    }

    fn merge(&self, into: &mut Self::State, from: &Self::State) {
        if let Some((order, value)) = from {
            Self::offer(into, *order, D::borrow(value));
        }
    }

    fn builder(&self, len: usize) -> D::Builder {
        self.0.builder(len)
    }

    fn append(&self, state: &Self::State, out: &mut D::Builder, _errors: &Errors) {
        D::append(out, state.as_ref().map(|(_, value)| D::borrow(value)));
    }

    #[inline]
    fn heap_bytes(&self, state: &Self::State) -> usize {
        state.as_ref().map_or(0, |(_, value)| D::heap_bytes(value))
    }

    fn encode(&self, state: &Self::State, out: &mut Vec<u8>) {
        out.push(state.is_some() as u8);
        if let Some((order, value)) = state {
            order.encode(out);
            D::encode(value, out);
        }
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Self::State, StateError> {
        if !state::take_bool(bytes, Self::NAME)? {
            return Ok(None);
        }
        Ok(Some((Order::decode(bytes, Self::NAME)?, self.0.decode(bytes, Self::NAME)?)))
    }
}
