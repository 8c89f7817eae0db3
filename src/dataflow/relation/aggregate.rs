//! A row per key, from sums and counts.
//!
//! What the rows of a key come to is the *difference* of its one update: sums and counts are added where differential
//! adds differences, so that a change costs the same however many rows its key has, and nothing is kept of the rows.

use std::sync::Arc;

use arrow_array::ArrayRef;
use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::implementations::ord_neu::{
    OrdKeyBatcher, OrdKeySpine, OrdValSpine, VecOrdValBuilder,
};
use timely::dataflow::channels::pact::Pipeline;

use super::updates::{Bytes, packets, updates};
use crate::data::DataType;
use crate::data::flight::Gauge;
use crate::data::key::decode_rows;
use crate::dataflow::op::counters::Counters;
use crate::dataflow::op::driven::Packets;
use crate::dataflow::time::Time;
use crate::expr::Errors;
use crate::expr::aggregate::{Aggregate, Balance, accumulators};

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
type ResultBuilder = VecOrdValBuilder<Bytes, Bytes, Time, i64>;

/// For each key that has rows, the parts of the key, of `key_types`, and the aggregates over its rows, which rows can be
/// taken back from. `input` is keyed.
pub fn aggregate<'scope>(
    name: &str,
    input: Packets<'scope>,
    key_types: Vec<DataType>,
    aggregates: Vec<Aggregate>,
    counters: Arc<Counters>,
    gauge: Arc<Gauge>,
) -> Packets<'scope> {
    let args: Vec<Vec<usize>> = aggregates.iter().map(|a| a.args.clone()).collect();
    let empty = aggregates.iter().map(|a| a.balance().expect("sema has seen that rows can be taken back"));
    let empty = Balances { rows: 0, parts: empty.collect() };
    let rows = updates(name, input, gauge.clone(), move |changes, out| {
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
        |into, key, updates| {
            into.clear();
            into.extend(updates.drain(..).map(|(state, time, diff)| ((key.clone(), state), time, diff)));
        },
    );
    let results = results.as_collection(|key, state| (key.clone(), state.clone()));
    packets(name, results.inner, gauge, move |rows| read(rows, &key_types, &aggregates, &counters))
}

/// The columns of keys and of what their sums and counts are read as.
fn read(
    rows: &[(Bytes, Bytes)],
    key_types: &[DataType],
    aggregates: &[Aggregate],
    counters: &Counters,
) -> Vec<ArrayRef> {
    let mut keys: Vec<&[u8]> = rows.iter().map(|(key, _)| &**key).collect();
    let mut columns = decode_rows(&mut keys, key_types);
    let mut states: Vec<&[u8]> = rows.iter().map(|(_, state)| &**state).collect();
    let (slots, errors) = ((0..rows.len() as u32).collect::<Vec<u32>>(), Errors::default());
    for accumulator in &mut accumulators(aggregates) {
        for (&slot, state) in slots.iter().zip(&mut states) {
            accumulator.decode(slot, state).expect("a balance is written as a state of its aggregate");
        }
        columns.push(accumulator.output(&slots, &errors));
    }
    counters.add_errors(errors.count());
    columns
}
