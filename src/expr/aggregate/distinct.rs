//! The aggregates that tell values apart: `count_distinct`, `collect_distinct`, `mode`, `top_k`.
//!
//! Each keeps the different values of a group in a hash table, with what it must know of each. Iteration
//! over the table is in no particular order, so results are sorted by what was kept.

use std::cmp::Ordering;

use arrow_array::ArrayRef;
use arrow_array::builder::Int64Builder;
use hashbrown::HashTable;

use super::domain::{Domain, Lists};
use super::grouped::Fold;
use super::order::{ORDER_BYTES, Order, Orders};
use super::{Rows, StateError, state};
use crate::data::DataType;
use crate::expr::Errors;

/// The different values of a group, each with a `P`.
pub(super) struct Values<D: Domain, P> {
    table: HashTable<(D::Item, P)>,
    /// Heap bytes of the items themselves.
    item_bytes: usize,
}

impl<D: Domain, P> Default for Values<D, P> {
    fn default() -> Values<D, P> {
        Values { table: HashTable::new(), item_bytes: 0 }
    }
}

impl<D: Domain, P> Values<D, P> {
    /// Changes what is kept of `value`, or keeps `first` of it.
    #[inline]
    fn note(&mut self, value: D::Ref<'_>, first: P, change: impl FnOnce(&mut P, P)) {
        let hash = D::hash(value);
        match self.table.find_mut(hash, |(item, _)| D::compare(D::borrow(item), value).is_eq()) {
            Some((_, payload)) => change(payload, first),
            None => {
                let item = D::own(value);
                self.item_bytes += D::heap_bytes(&item);
                self.table.insert_unique(hash, (item, first), |(item, _)| D::hash(D::borrow(item)));
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        // A control byte goes with every place of the table.
        self.table.capacity() * (size_of::<(D::Item, P)>() + 1) + self.item_bytes
    }

    fn encode(&self, out: &mut Vec<u8>, payload: impl Fn(&P, &mut Vec<u8>)) {
        state::put_count(self.table.len(), out);
        for (item, kept) in &self.table {
            D::encode(item, out);
            payload(kept, out);
        }
    }
}

/// `count_distinct(x)`.
pub(super) struct CountDistinct<D>(pub D);

impl<D: Domain> Fold for CountDistinct<D> {
    type State = Values<D, ()>;
    type Input<'a> = D::Input<'a>;
    type Builder = Int64Builder;
    const NAME: &'static str = "count_distinct";

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> D::Input<'a> {
        self.0.input(rows, args)
    }

    #[inline]
    fn step(&self, state: &mut Values<D, ()>, input: &D::Input<'_>, row: usize) {
        state.note(D::get(input, row), (), |(), ()| ());
    }

    fn merge(&self, into: &mut Values<D, ()>, from: &Values<D, ()>) {
        for (item, ()) in &from.table {
            into.note(D::borrow(item), (), |(), ()| ());
        }
    }

    fn builder(&self, len: usize) -> Int64Builder {
        Int64Builder::with_capacity(len)
    }

    fn append(&self, state: &Values<D, ()>, out: &mut Int64Builder, _errors: &Errors) {
        out.append_value(state.table.len() as i64);
    }

    #[inline]
    fn heap_bytes(&self, state: &Values<D, ()>) -> usize {
        state.heap_bytes()
    }

    fn encode(&self, state: &Values<D, ()>, out: &mut Vec<u8>) {
        state.encode(out, |(), _| ());
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Values<D, ()>, StateError> {
        let mut values = Values::default();
        for _ in 0..state::take_count(bytes, D::ENCODED_BYTES_MIN, Self::NAME)? {
            let item = self.0.decode(bytes, Self::NAME)?;
            values.note(D::borrow(&item), (), |(), ()| ());
        }
        Ok(values)
    }
}

/// How often a value came, and when first.
#[derive(Clone, Copy)]
pub(super) struct Tally {
    count: u64,
    first: Order,
}

impl Tally {
    fn merge(&mut self, other: Tally) {
        self.count += other.count;
        self.first = self.first.min(other.first);
    }
}

type Tallies<D> = Values<D, Tally>;

/// What is asked of the tallies of a group.
pub(super) trait Ranking<D: Domain>: 'static {
    type Builder: super::grouped::Column;
    const NAME: &'static str;

    /// What tells which of two values came first.
    fn orders<'a>(rows: &Rows<'a>) -> Orders<'a>;
    fn builder(&self, domain: &D, len: usize) -> Self::Builder;
    fn append(&self, state: &Tallies<D>, out: &mut Self::Builder);
}

/// An aggregate that keeps tallies.
pub(super) struct Tallied<D, R> {
    pub domain: D,
    pub ranking: R,
}

impl<D: Domain, R: Ranking<D>> Fold for Tallied<D, R> {
    type State = Tallies<D>;
    type Input<'a> = (Orders<'a>, D::Input<'a>);
    type Builder = R::Builder;
    const NAME: &'static str = R::NAME;

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> Self::Input<'a> {
        (R::orders(rows), self.domain.input(rows, args))
    }

    #[inline]
    fn step(&self, state: &mut Tallies<D>, (orders, input): &Self::Input<'_>, row: usize) {
        state.note(D::get(input, row), Tally { count: 1, first: orders.get(row) }, Tally::merge);
    }

    fn merge(&self, into: &mut Tallies<D>, from: &Tallies<D>) {
        for (item, tally) in &from.table {
            into.note(D::borrow(item), *tally, Tally::merge);
        }
    }

    fn builder(&self, len: usize) -> R::Builder {
        self.ranking.builder(&self.domain, len)
    }

    fn append(&self, state: &Tallies<D>, out: &mut R::Builder, _errors: &Errors) {
        self.ranking.append(state, out);
    }

    #[inline]
    fn heap_bytes(&self, state: &Tallies<D>) -> usize {
        state.heap_bytes()
    }

    fn encode(&self, state: &Tallies<D>, out: &mut Vec<u8>) {
        state.encode(out, |tally, out| {
            out.extend_from_slice(&tally.count.to_le_bytes());
            tally.first.encode(out);
        });
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Tallies<D>, StateError> {
        let mut values = Values::default();
        let entry_bytes = D::ENCODED_BYTES_MIN + 8 + ORDER_BYTES;
        let mut left = u64::MAX >> 2;
        for _ in 0..state::take_count(bytes, entry_bytes, R::NAME)? {
            let item = self.domain.decode(bytes, R::NAME)?;
            let count = state::take_rows(bytes, R::NAME)?;
            // A value that is there twice adds up, within what all rows can be.
            let overflow = StateError { aggregate: R::NAME, reason: "it counts more rows than there can be" };
            left = left.checked_sub(count).ok_or(overflow)?;
            let first = Order::decode(bytes, R::NAME)?;
            values.note(D::borrow(&item), Tally { count, first }, Tally::merge);
        }
        Ok(values)
    }
}

/// By count, the greatest first; then by when each came first; then by value.
fn by_frequency<D: Domain>(a: &(D::Item, Tally), b: &(D::Item, Tally)) -> Ordering {
    b.1.count.cmp(&a.1.count).then_with(|| by_arrival::<D>(a, b))
}

/// By when each came first, then by value.
fn by_arrival<D: Domain>(a: &(D::Item, Tally), b: &(D::Item, Tally)) -> Ordering {
    a.1.first.cmp(&b.1.first).then_with(|| D::compare(D::borrow(&a.0), D::borrow(&b.0)))
}

/// `mode(x)`: the first by frequency.
pub(super) struct Mode;

impl<D: Domain> Ranking<D> for Mode {
    type Builder = D::Builder;
    const NAME: &'static str = "mode";

    fn orders<'a>(rows: &Rows<'a>) -> Orders<'a> {
        Orders::by_place(rows)
    }

    fn builder(&self, domain: &D, len: usize) -> D::Builder {
        domain.builder(len)
    }

    fn append(&self, state: &Tallies<D>, out: &mut D::Builder) {
        let mode = state.table.iter().min_by(|a, b| by_frequency::<D>(a, b));
        D::append(out, mode.map(|(item, _)| D::borrow(item)));
    }
}

/// `top_k(x, k)`: the first k by frequency.
pub(super) struct TopK {
    pub k: usize,
    /// Type of the values.
    pub item: DataType,
}

impl<D: Domain> Ranking<D> for TopK {
    type Builder = Lists<D>;
    const NAME: &'static str = "top_k";

    fn orders<'a>(rows: &Rows<'a>) -> Orders<'a> {
        Orders::by_place(rows)
    }

    fn builder(&self, domain: &D, len: usize) -> Lists<D> {
        Lists::new(domain, &self.item, len)
    }

    fn append(&self, state: &Tallies<D>, out: &mut Lists<D>) {
        let mut entries: Vec<_> = state.table.iter().collect();
        if self.k < entries.len() {
            entries.select_nth_unstable_by(self.k, |a, b| by_frequency::<D>(a, b));
            entries.truncate(self.k);
        }
        entries.sort_unstable_by(|a, b| by_frequency::<D>(a, b));
        out.append(entries.iter().map(|(item, _)| D::borrow(item)));
    }
}

/// `collect_distinct(x)`: all in the order of their first arrival.
pub(super) struct InOrder {
    /// Type of the values.
    pub item: DataType,
}

impl<D: Domain> Ranking<D> for InOrder {
    type Builder = Lists<D>;
    const NAME: &'static str = "collect_distinct";

    fn orders<'a>(rows: &Rows<'a>) -> Orders<'a> {
        Orders::by_time(rows)
    }

    fn builder(&self, domain: &D, len: usize) -> Lists<D> {
        Lists::new(domain, &self.item, len)
    }

    fn append(&self, state: &Tallies<D>, out: &mut Lists<D>) {
        let mut entries: Vec<_> = state.table.iter().collect();
        entries.sort_unstable_by(|a, b| by_arrival::<D>(a, b));
        out.append(entries.iter().map(|(item, _)| D::borrow(item)));
    }
}
