//! The rows of a relation by a key.
//!
//! An arrangement is an index that all its readers share, and that follows the slowest of them: what no reader can ask
//! for any more is compacted away. Nobody else holds its trace, so that there is nobody who could forget to let go.

use std::sync::Arc;

use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::ord_neu::{OrdValBatcher, OrdValSpine};
use timely::dataflow::channels::pact::Pipeline;

use super::updates::{Bytes, updates};
use crate::data::DataType;
use crate::data::flight::Gauge;
use crate::dataflow::op::driven::Packets;
use crate::dataflow::time::Time;

pub type RowSpine = OrdValSpine<Bytes, Bytes, Time, i64>;
pub type RowBatcher = OrdValBatcher<Bytes, Bytes, Time, i64>;
pub type Arrangement<'scope> = Arranged<'scope, TraceAgent<RowSpine>>;

/// Arranges the rows of `input`, which are keyed and whose columns are of `types` and `$diff`.
pub fn arrange<'scope>(
    name: &str,
    input: Packets<'scope>,
    types: Vec<DataType>,
    gauge: Arc<Gauge>,
) -> Arrangement<'scope> {
    let rows = updates(name, input, gauge, move |changes, out| {
        let rows = changes.rows(&types).zip(changes.diffs);
        out.extend(rows.enumerate().map(|(i, (row, diff))| ((changes.key(i), row), i, *diff)));
    });
    arrange_core::<_, _, RowBatcher, RowSpine>(rows, Pipeline, name, RowBatcher::new)
}
