//! Packets of changes as updates, and back.

use std::rc::Rc;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array};
use differential_dataflow::consolidation::consolidate_updates;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::Operator;

use super::account::{Account, Heap};
use crate::data::key::{decode_rows, encode_row};
use crate::data::{Batch, DataType, Keys};
use crate::dataflow::exchange::ByKey;
use crate::dataflow::op::driven::{PacketBuilder, Packets};
use crate::dataflow::time::Time;

/// An encoded key or row. Arrangements, which are worker-local, share it.
pub type Bytes = Rc<[u8]>;
pub type Updates<'scope, D, R> = Stream<'scope, Time, Vec<(D, Time, R)>>;

/// More rows than this leave in packets of their own.
const PACKET_ROWS: usize = 8192;

/// The rows of a packet on their way into an arrangement.
pub struct Changes<'a> {
    pub batch: &'a Batch,
    /// The columns without `$diff`.
    pub columns: &'a [ArrayRef],
    pub keys: &'a Keys,
    pub diffs: &'a [i64],
}

impl Changes<'_> {
    /// The first columns, of `types`, encoded row by row.
    pub fn rows(&self, types: &[DataType]) -> impl Iterator<Item = Bytes> {
        let columns: Vec<(ArrayRef, DataType)> = self.columns.iter().cloned().zip(types.iter().cloned()).collect();
        let mut bytes = Vec::new();
        (0..self.diffs.len()).map(move |row| {
            bytes.clear();
            encode_row(&columns, row, &mut bytes);
            Bytes::from(&bytes[..])
        })
    }

    pub fn key(&self, row: usize) -> Bytes {
        self.keys.key(row).into()
    }
}

/// Exchanges keyed packets, and makes updates of their rows; `update` appends what the rows of a packet become, each
/// with the number of the row that it comes from.
pub fn updates<'scope, D: Heap + Clone + 'static, R: Clone + 'static>(
    name: &str,
    input: Packets<'scope>,
    account: &Rc<Account>,
    mut update: impl FnMut(&Changes<'_>, &mut Vec<(D, usize, R)>) + 'static,
) -> Updates<'scope, D, R> {
    let account = account.clone();
    let pact = DistributorPact(|_: usize| ByKey::default());
    input.unary::<CapacityContainerBuilder<Vec<(D, Time, R)>>, _, _, _>(pact, name, move |_, _| {
        let mut made = Vec::new();
        move |input, output| {
            input.for_each(|capability, packet| {
                let epoch = capability.stamp().iter().fold(Time::END, |m, t| m.meet(*t)).epoch;
                let batch = packet.land(&account.gauge);
                let (diffs, columns) = batch.columns.split_last().expect("changes have a column that says how often");
                let keys = batch.keys.as_ref().expect("rows are keyed before they are exchanged");
                let diffs = diffs.as_primitive::<Int64Type>().values();
                update(&Changes { batch: &batch, columns, keys, diffs }, &mut made);
                account.add(made.len(), made.iter().map(|(data, ..)| data.heap_bytes()).sum());
                let at = |row: usize| Time { epoch, event: batch.time[row] };
                let mut rows: Vec<_> = made.drain(..).map(|(data, row, diff)| (data, at(row), diff)).collect();
                if !rows.is_empty() {
                    output.session_with_builder(&capability).give_container(&mut rows);
                }
            });
        }
    })
}

/// Packets of updates: `columns` makes the columns of encoded rows. Each packet is of one epoch, and its stamp is the
/// least time among its rows.
pub fn packets<'scope, D: Ord + Clone + 'static>(
    name: &str,
    input: Updates<'scope, D, i64>,
    account: &Rc<Account>,
    mut columns: impl FnMut(&[D]) -> Vec<ArrayRef> + 'static,
) -> Packets<'scope> {
    let account = account.clone();
    input.unary::<PacketBuilder, _, _, _>(Pipeline, name, move |_, _| {
        move |input, output| {
            input.for_each(|capability, updates| {
                let mut updates = std::mem::take(updates);
                consolidate_updates(&mut updates);
                updates.sort_by_key(|(_, time, _)| time.epoch);
                for epoch in updates.chunk_by(|a, b| a.1.epoch == b.1.epoch) {
                    for chunk in epoch.chunks(PACKET_ROWS) {
                        let mut batch = packed(chunk, &mut columns);
                        let event = *batch.time.iter().min().expect("rows");
                        batch.flight = Some(Arc::new(account.gauge.depart(batch.len(), batch.bytes())));
                        let stamp = capability.delayed(&Time { epoch: chunk[0].1.epoch, event }, 0);
                        output.session_with_builder(&stamp).give_container(&mut batch.into());
                    }
                }
            });
        }
    })
}

fn packed<D: Clone>(updates: &[(D, Time, i64)], columns: &mut impl FnMut(&[D]) -> Vec<ArrayRef>) -> Batch {
    let rows: Vec<D> = updates.iter().map(|(row, ..)| row.clone()).collect();
    let mut columns = columns(&rows);
    columns.push(Arc::new(updates.iter().map(|(.., diff)| *diff).collect::<Int64Array>()));
    Batch { columns, time: updates.iter().map(|(_, time, _)| time.event).collect(), ..Batch::default() }
}

/// What a reduction finds for a key, as updates of an arrangement by that key.
pub fn with_key<K: Clone, V, R>(into: &mut Vec<((K, V), Time, R)>, key: &K, found: &mut Vec<(V, Time, R)>) {
    into.clear();
    into.extend(found.drain(..).map(|(value, time, diff)| ((key.clone(), value), time, diff)));
}

/// The columns of rows that are encoded one field after the other.
pub fn columns_of(types: Vec<DataType>) -> impl FnMut(&[Bytes]) -> Vec<ArrayRef> {
    move |rows| decode_rows(&mut rows.iter().map(|row| &**row).collect::<Vec<&[u8]>>(), &types)
}
