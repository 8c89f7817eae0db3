//! A row per key, from sums and counts.
//!
//! What the rows of a key come to is the *difference* of its one update: sums and counts are added where differential
//! adds differences, so that a change costs the same however many rows its key has, and nothing is kept of the rows.
//! The least and the greatest value of a key are the first of its values in order, which are found in stages as
//! [`top`](super::top) finds rows, and are then put together with the sums.

use std::rc::Rc;

use arrow_array::{Array, ArrayRef};
use differential_dataflow::AsCollection;
use differential_dataflow::VecCollection;
use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::implementations::ord_neu::{
    OrdKeyBatcher, OrdKeySpine, OrdValBatcher, OrdValSpine, VecOrdValBuilder,
};
use timely::dataflow::channels::pact::Pipeline;

use super::account::Account;
use super::top::{Ranked, first};
use super::updates::{Bytes, packets, updates, with_key};
use crate::data::array::array_of_values;
use crate::data::key::{decode_rows, decode_value, encode_keys};
use crate::data::{DataType, Value};
use crate::dataflow::op::driven::Packets;
use crate::dataflow::time::Time;
use crate::expr::Errors;
use crate::expr::aggregate::{Aggregate, Balance};

/// Of the rows of a key: how many there are, and the balance of each aggregate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Balances {
    rows: i64,
    parts: Vec<Balance>,
}

impl IsZero for Balances {
    fn is_zero(&self) -> bool {
        self.rows == 0 && self.parts.iter().all(Balance::is_zero)
    }
}

impl Semigroup for Balances {
    fn plus_equals(&mut self, other: &Balances) {
        self.rows += other.rows;
        self.parts.iter_mut().zip(&other.parts).for_each(|(into, from)| into.merge(from));
    }
}

type SumBatcher = OrdKeyBatcher<Bytes, Time, Balances>;
type SumSpine = OrdKeySpine<Bytes, Time, Balances>;
type ResultSpine = OrdValSpine<Bytes, Bytes, Time, i64>;
const RESULT_BYTES: usize = size_of::<((Bytes, Bytes), Time, i64)>();
type ResultBuilder = VecOrdValBuilder<Bytes, Bytes, Time, i64>;

/// What a key has of one aggregate, or of all that are sums: its number, and the bytes that it is read from.
type Part = (u16, Bytes);
type PartSpine = OrdValSpine<Bytes, Part, Time, i64>;
type PartBatcher = OrdValBatcher<Bytes, Part, Time, i64>;
/// The part of the sums, which a key has as long as it has rows.
const SUMS: u16 = 0;

/// For each key that has rows, the parts of the key, of `key_types`, and the aggregates over its rows, which rows can be
/// taken back from. `input` is keyed.
pub fn aggregate<'scope>(
    name: &str,
    input: Packets<'scope>,
    key_types: Vec<DataType>,
    aggregates: Vec<Aggregate>,
    account: &Rc<Account>,
) -> Packets<'scope> {
    let mut results = sums(name, input.clone(), &aggregates, account);
    let extremes: Vec<&Aggregate> = aggregates.iter().filter(|a| a.extreme().is_some()).collect();
    if !extremes.is_empty() {
        let mut parts = results.map(|(key, state)| (key, (SUMS, state)));
        for (number, aggregate) in (SUMS + 1..).zip(&extremes) {
            let extreme = extreme(name, input.clone(), aggregate, account);
            parts = parts.concat(extreme.map(move |(key, (_, value))| (key, (number, value))));
        }
        results = together(name, parts, extremes.len() as u16, account);
    }
    packets(name, results.inner, account, move |rows| read(rows, &key_types, &aggregates))
}

/// Of each key that has rows, the states of the aggregates that are sums, one after the other.
fn sums<'scope>(
    name: &str,
    input: Packets<'scope>,
    aggregates: &[Aggregate],
    account: &Rc<Account>,
) -> VecCollection<'scope, Time, (Bytes, Bytes), i64> {
    let of_sums = aggregates.iter().filter_map(|a| Some((a.balance()?, a.args.clone())));
    let (parts, args): (Vec<Balance>, Vec<Vec<usize>>) = of_sums.unzip();
    let balance_bytes = parts.len() * size_of::<Balance>();
    let empty = Balances { rows: 0, parts };
    let rows = updates(name, input, account, move |changes, out| {
        let args: Vec<Vec<ArrayRef>> =
            args.iter().map(|args| args.iter().map(|&i| changes.columns[i].clone()).collect()).collect();
        for (row, &diff) in changes.diffs.iter().enumerate() {
            let mut sums = empty.clone();
            sums.rows = diff;
            sums.parts.iter_mut().zip(&args).for_each(|(part, args)| part.add(args, row, diff));
            out.push(((changes.key(row), ()), row, sums));
        }
    });
    let sums = arrange_core::<_, _, SumBatcher, SumSpine>(rows, Pipeline, name, SumBatcher::new);
    let sums = account.watch(name, sums, size_of::<((Bytes, ()), Time, Balances)>() + balance_bytes);
    let results = sums.reduce_abelian::<_, ResultBuilder, ResultSpine, _, _>(
        name,
        |_, sums, out| {
            let sums = &sums[0].1;
            if sums.rows > 0 {
                let mut state = Vec::new();
                sums.parts.iter().for_each(|part| part.encode(&mut state));
                out.push((Bytes::from(state), 1));
            }
        },
        with_key,
    );
    let results = account.watch(name, results, RESULT_BYTES);
    results.as_collection(|key, state| (key.clone(), state.clone()))
}

/// Of each key the least value of the aggregate's argument, or the greatest with its bytes turned over.
fn extreme<'scope>(
    name: &str,
    input: Packets<'scope>,
    aggregate: &Aggregate,
    account: &Rc<Account>,
) -> VecCollection<'scope, Time, (Bytes, Ranked), i64> {
    let (column, ty, greatest) = (aggregate.args[0], aggregate.arg_types[0].clone(), aggregate.extreme() == Some(true));
    let values = updates(name, input, account, move |changes, out| {
        let column = &changes.columns[column];
        let values = encode_keys(&[(column.clone(), ty.clone())], changes.diffs.len());
        let (nulls, none) = (column.logical_nulls(), Bytes::from([]));
        for (row, &diff) in changes.diffs.iter().enumerate() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                let value = Bytes::from(turned(values.key(row), greatest));
                // Buckets are dealt by what stands second, and all that stands first is equal.
                out.push(((changes.key(row), (none.clone(), value)), row, diff));
            }
        }
    });
    first(name, values.as_collection(), 1, account)
}

/// The bytes, or others in the opposite order.
fn turned(bytes: &[u8], over: bool) -> Vec<u8> {
    if over { bytes.iter().map(|b| !b).collect() } else { bytes.to_vec() }
}

/// The parts of each key that has rows, one after the other, each extreme behind whether there is one.
fn together<'scope>(
    name: &str,
    parts: VecCollection<'scope, Time, (Bytes, Part), i64>,
    extremes: u16,
    account: &Rc<Account>,
) -> VecCollection<'scope, Time, (Bytes, Bytes), i64> {
    let parts = arrange_core::<_, _, PartBatcher, PartSpine>(parts.inner, Pipeline, name, PartBatcher::new);
    let parts = account.watch(name, parts, size_of::<((Bytes, Part), Time, i64)>());
    let results = parts.reduce_abelian::<_, ResultBuilder, ResultSpine, _, _>(
        name,
        move |_, parts, out| {
            let mut parts = parts.iter().map(|((number, bytes), _)| (*number, bytes)).peekable();
            let Some((SUMS, sums)) = parts.next() else { return };
            let mut all = sums.to_vec();
            for number in SUMS + 1..=extremes {
                match parts.next_if(|(part, _)| *part == number) {
                    Some((_, value)) => {
                        all.push(1);
                        all.extend((value.len() as u32).to_be_bytes());
                        all.extend_from_slice(value);
                    }
                    None => all.push(0),
                }
            }
            out.push((Bytes::from(all), 1));
        },
        with_key,
    );
    let results = account.watch(name, results, RESULT_BYTES);
    results.as_collection(|key, state| (key.clone(), state.clone()))
}

/// The columns of keys and of what their aggregates are read as.
fn read(rows: &[(Bytes, Bytes)], key_types: &[DataType], aggregates: &[Aggregate]) -> Vec<ArrayRef> {
    let mut keys: Vec<&[u8]> = rows.iter().map(|(key, _)| &**key).collect();
    let mut columns = decode_rows(&mut keys, key_types);
    let mut states: Vec<&[u8]> = rows.iter().map(|(_, state)| &**state).collect();
    let (slots, errors) = ((0..rows.len() as u32).collect::<Vec<u32>>(), Errors::default());
    let mut results: Vec<Option<ArrayRef>> = vec![None; aggregates.len()];
    for (result, aggregate) in results.iter_mut().zip(aggregates).filter(|(_, a)| a.extreme().is_none()) {
        let mut accumulator = aggregate.accumulator();
        for (&slot, state) in slots.iter().zip(&mut states) {
            accumulator.decode(slot, state).expect("a balance is written as a state of its aggregate");
        }
        *result = Some(accumulator.output(&slots, &errors));
    }
    for (result, aggregate) in results.iter_mut().zip(aggregates) {
        if let Some(greatest) = aggregate.extreme() {
            let values: Vec<Value> =
                states.iter_mut().map(|state| take_extreme(state, greatest, &aggregate.arg_types[0])).collect();
            *result = Some(array_of_values(&aggregate.ty, &values));
        }
    }
    columns.extend(results.into_iter().flatten());
    columns
}

fn take_extreme(state: &mut &[u8], greatest: bool, ty: &DataType) -> Value {
    let (is_there, rest) = state.split_first().expect("each extreme says whether there is one");
    *state = rest;
    if *is_there == 0 {
        return Value::Null;
    }
    let (len, rest) = state.split_first_chunk::<4>().expect("an extreme is as long as it says");
    let (value, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
    *state = rest;
    decode_value(&mut &turned(value, greatest)[..], ty)
}
