//! The rows of a relation by a key.
//!
//! An arrangement is an index that all its readers share, and that follows the slowest of them: what no reader can ask
//! for any more is compacted away. Nobody else holds its trace, so that there is nobody who could forget to let go.

use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::ExertionLogic;
use differential_dataflow::trace::implementations::ord_neu::{OrdValBatcher, OrdValSpine};
use timely::WorkerConfig;
use timely::dataflow::channels::pact::Pipeline;

use super::account::Account;
use super::updates::{Bytes, updates};
use crate::data::DataType;
use crate::dataflow::op::driven::Packets;
use crate::dataflow::time::Time;

pub type RowSpine = OrdValSpine<Bytes, Bytes, Time, i64>;
pub type RowBatcher = OrdValBatcher<Bytes, Bytes, Time, i64>;
pub type Arrangement<'scope> = Arranged<'scope, TraceAgent<RowSpine>>;

/// Updates that an arrangement merges at once when it has nothing else to do.
const IDLE_EFFORT: usize = 4096;

/// Lets arrangements merge when nothing comes, too: otherwise rows that are gone would stay until as many others come.
///
/// They stop short of one single run, which would be written anew for every few updates: runs that together are smaller
/// than half of the largest may stay. A relation's rows thus take at most a few times the memory of those that are there.
pub fn configure(config: &mut WorkerConfig) {
    let logic: ExertionLogic = Arc::new(|runs| {
        let is_merging = runs.iter().any(|(_, count, _)| *count > 1);
        let largest = runs.iter().map(|(.., len)| *len).max().unwrap_or(0);
        let others = runs.iter().map(|(.., len)| *len).sum::<usize>() - largest;
        (is_merging || 2 * others > largest).then_some(IDLE_EFFORT)
    });
    config.set("differential/default_exert_logic".to_string(), logic);
}

/// Arranges the rows of `input`, which are keyed and whose columns are of `types` and `$diff`.
pub fn arrange<'scope>(
    name: &str,
    input: Packets<'scope>,
    types: Vec<DataType>,
    account: &Rc<Account>,
) -> Arrangement<'scope> {
    let rows = updates(name, input, account, move |changes, out| {
        let rows = changes.rows(&types).zip(changes.diffs);
        out.extend(rows.enumerate().map(|(i, (row, diff))| ((changes.key(i), row), i, *diff)));
    });
    let rows = arrange_core::<_, _, RowBatcher, RowSpine>(rows, Pipeline, name, RowBatcher::new);
    account.watch(name, rows, size_of::<((Bytes, Bytes), Time, i64)>())
}
