//! The aggregates of a sequence: `collect`, `string_join`, `ema`.
//!
//! They keep every value with its order and sort on output, so that rows may come and states may be
//! merged in any order. Appending is cheap; the sort takes linear time where rows came in order.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, StringBuilder};
use arrow_buffer::NullBuffer;

use super::domain::{self, Domain, Floats, Lists, Strings};
use super::grouped::Fold;
use super::order::{ORDER_BYTES, Order, Orders};
use super::{Rows, StateError, state};
use crate::data::DataType;
use crate::expr::Errors;

/// The values of a group, in the order in which they came.
pub(super) struct Entries<D: Domain> {
    entries: Vec<(Order, D::Item)>,
    /// Heap bytes of the items themselves.
    item_bytes: usize,
}

impl<D: Domain> Default for Entries<D> {
    fn default() -> Entries<D> {
        Entries { entries: Vec::new(), item_bytes: 0 }
    }
}

impl<D: Domain> Entries<D> {
    #[inline]
    fn push(&mut self, order: Order, item: D::Item) {
        self.item_bytes += D::heap_bytes(&item);
        self.entries.push((order, item));
    }

    fn merge(&mut self, other: &Entries<D>) {
        self.entries.extend_from_slice(&other.entries);
        self.item_bytes += other.item_bytes;
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.item_bytes = 0;
    }

    /// By (order, value).
    fn sorted(&self) -> Vec<&(Order, D::Item)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| D::compare(D::borrow(&a.1), D::borrow(&b.1))));
        entries
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(Order, D::Item)>() + self.item_bytes
    }

    fn encode(&self, out: &mut Vec<u8>) {
        state::put_count(self.entries.len(), out);
        for (order, item) in &self.entries {
            order.encode(out);
            D::encode(item, out);
        }
    }

    fn decode(domain: &D, bytes: &mut &[u8], aggregate: &'static str) -> Result<Entries<D>, StateError> {
        let mut entries = Entries::default();
        for _ in 0..state::take_count(bytes, ORDER_BYTES + D::ENCODED_BYTES_MIN, aggregate)? {
            let order = Order::decode(bytes, aggregate)?;
            entries.push(order, domain.decode(bytes, aggregate)?);
        }
        Ok(entries)
    }
}

/// Which rows `collect` skips.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    Nulls,
    /// The items are whole rows, which never are null.
    Nothing,
}

/// `collect(x)` and `collect()`.
pub(super) struct Collect<D> {
    pub domain: D,
    pub item: DataType,
    pub skip: Skip,
}

impl<D: Domain> Fold for Collect<D> {
    type State = Entries<D>;
    type Input<'a> = (Orders<'a>, D::Input<'a>);
    type Builder = Lists<D>;
    const NAME: &'static str = "collect";

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> Self::Input<'a> {
        (Orders::by_time(rows), self.domain.input(rows, args))
    }

    fn nulls(&self, args: &[ArrayRef]) -> Option<NullBuffer> {
        match self.skip {
            Skip::Nulls => args[0].logical_nulls().filter(|n| n.null_count() > 0),
            Skip::Nothing => None,
        }
    }

    #[inline]
    fn step(&self, state: &mut Entries<D>, (orders, input): &Self::Input<'_>, row: usize) {
        state.push(orders.get(row), D::own(D::get(input, row)));
    }

    fn merge(&self, into: &mut Entries<D>, from: &Entries<D>) {
        into.merge(from);
    }

    fn builder(&self, len: usize) -> Lists<D> {
        Lists::new(&self.domain, &self.item, len)
    }

    fn append(&self, state: &Entries<D>, out: &mut Lists<D>, _errors: &Errors) {
        out.append(state.sorted().into_iter().map(|(_, item)| D::borrow(item)));
    }

    #[inline]
    fn heap_bytes(&self, state: &Entries<D>) -> usize {
        state.heap_bytes()
    }

    fn encode(&self, state: &Entries<D>, out: &mut Vec<u8>) {
        state.encode(out);
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Entries<D>, StateError> {
        Entries::decode(&self.domain, bytes, Self::NAME)
    }
}

/// `string_join(x, sep)`.
pub(super) struct StringJoin {
    pub sep: Arc<str>,
}

impl Fold for StringJoin {
    type State = Entries<Strings>;
    type Input<'a> = (Orders<'a>, <Strings as Domain>::Input<'a>);
    type Builder = StringBuilder;
    const NAME: &'static str = "string_join";

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> Self::Input<'a> {
        (Orders::by_time(rows), Strings.input(rows, args))
    }

    #[inline]
    fn step(&self, state: &mut Entries<Strings>, (orders, input): &Self::Input<'_>, row: usize) {
        state.push(orders.get(row), Strings::own(Strings::get(input, row)));
    }

    fn merge(&self, into: &mut Entries<Strings>, from: &Entries<Strings>) {
        into.merge(from);
    }

    fn builder(&self, len: usize) -> StringBuilder {
        Strings.builder(len)
    }

    fn append(&self, state: &Entries<Strings>, out: &mut StringBuilder, _errors: &Errors) {
        if state.entries.is_empty() {
            return out.append_null();
        }
        let mut joined = String::with_capacity(state.item_bytes + state.entries.len() * self.sep.len());
        for (i, (_, item)) in state.sorted().into_iter().enumerate() {
            if i > 0 {
                joined.push_str(&self.sep);
            }
            joined.push_str(item);
        }
        out.append_value(joined);
    }

    #[inline]
    fn heap_bytes(&self, state: &Entries<Strings>) -> usize {
        state.heap_bytes()
    }

    fn encode(&self, state: &Entries<Strings>, out: &mut Vec<u8>) {
        state.encode(out);
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Entries<Strings>, StateError> {
        Entries::decode(&Strings, bytes, Self::NAME)
    }
}

/// `ema(x, n)`.
pub(super) struct Ema {
    alpha: f64,
}

/// The past of a moving average.
#[derive(Default)]
pub(super) struct Average {
    /// The average over the rows that came in order, which are not kept. Such a state is never merged.
    folded: Option<f64>,
    /// Rows that may have come in any order, all after those; where rows come in order, those that tie
    /// for the last place so far.
    entries: Entries<Floats>,
}

impl Ema {
    pub fn new(n: u32) -> Ema {
        Ema { alpha: 2.0 / (f64::from(n) + 1.0) }
    }

    #[inline]
    fn fold(&self, average: Option<f64>, v: f64) -> Option<f64> {
        Some(average.map_or(v, |average| self.alpha * v + (1.0 - self.alpha) * average))
    }

    /// The average over all rows.
    fn average(&self, state: &Average) -> Option<f64> {
        let values = state.entries.sorted().into_iter().map(|(_, item)| domain::float_of(*item));
        values.fold(state.folded, |average, v| self.fold(average, v))
    }
}

impl Fold for Ema {
    type State = Average;
    type Input<'a> = (Orders<'a>, <Floats as Domain>::Input<'a>);
    type Builder = Float64Builder;
    const NAME: &'static str = "ema";

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> Self::Input<'a> {
        (Orders::by_time(rows), Floats.input(rows, args))
    }

    #[inline]
    fn step(&self, state: &mut Average, (orders, input): &Self::Input<'_>, row: usize) {
        state.entries.push(orders.get(row), Floats::get(input, row));
    }

    /// Rows that tie are folded once all are there: by value, as everywhere.
    #[inline]
    fn step_in_order(&self, state: &mut Average, (orders, input): &Self::Input<'_>, row: usize) {
        let order = orders.get(row);
        if state.entries.entries.last().is_some_and(|(last, _)| *last != order) {
            state.folded = self.average(state);
            state.entries.clear();
        }
        state.entries.push(order, Floats::get(input, row));
    }

    fn merge(&self, into: &mut Average, from: &Average) {
        // A running average has no other half, so that at most one side has folded rows.
        into.folded = into.folded.or(from.folded);
        into.entries.merge(&from.entries);
    }

    fn builder(&self, len: usize) -> Float64Builder {
        Float64Builder::with_capacity(len)
    }

    fn append(&self, state: &Average, out: &mut Float64Builder, _errors: &Errors) {
        // One NaN, whatever the operations left.
        out.append_option(self.average(state).map(|v| if v.is_nan() { f64::NAN } else { v }));
    }

    #[inline]
    fn heap_bytes(&self, state: &Average) -> usize {
        state.entries.heap_bytes()
    }

    /// Whether there is a folded average, that, and the entries.
    fn encode(&self, state: &Average, out: &mut Vec<u8>) {
        out.push(state.folded.is_some() as u8);
        out.extend(state.folded.iter().flat_map(|v| v.to_le_bytes()));
        state.entries.encode(out);
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Average, StateError> {
        let folded = match state::take_bool(bytes, Self::NAME)? {
            true => Some(f64::from_le_bytes(state::take(bytes, Self::NAME)?)),
            false => None,
        };
        Ok(Average { folded, entries: Entries::decode(&Floats, bytes, Self::NAME)? })
    }
}
