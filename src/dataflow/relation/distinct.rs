//! Rows once, however often they are there.

use std::rc::Rc;

use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::ord_neu::{OrdKeyBatcher, OrdKeySpine, VecOrdKeyBuilder};
use timely::dataflow::channels::pact::Pipeline;

use super::account::Account;
use super::updates::{Bytes, Updates, columns_of, packets, updates, with_key};
use crate::data::DataType;
use crate::dataflow::op::driven::Packets;
use crate::dataflow::time::Time;

type SetSpine = OrdKeySpine<Bytes, Time, i64>;
type SetBatcher = OrdKeyBatcher<Bytes, Time, i64>;
type SetBuilder = VecOrdKeyBuilder<Bytes, Time, i64>;
const UPDATE_BYTES: usize = size_of::<((Bytes, ()), Time, i64)>();
pub type Set<'scope> = Arranged<'scope, TraceAgent<SetSpine>>;

/// The keys of `input`, each once: rows are keyed by all their columns, which are of `types`.
pub fn distinct<'scope>(
    name: &str,
    input: Packets<'scope>,
    types: Vec<DataType>,
    account: &Rc<Account>,
) -> Packets<'scope> {
    let keys = updates(name, input, account, |changes, out| {
        out.extend(changes.diffs.iter().enumerate().map(|(row, diff)| ((changes.key(row), ()), row, *diff)));
    });
    let rows = once(name, keys, account).as_collection(|row, ()| row.clone());
    packets(name, rows.inner, account, columns_of(types))
}

/// Each row that is there at all, once.
pub fn once<'scope>(name: &str, rows: Updates<'scope, (Bytes, ()), i64>, account: &Rc<Account>) -> Set<'scope> {
    let rows = arrange_core::<_, _, SetBatcher, SetSpine>(rows, Pipeline, name, SetBatcher::new);
    let rows = account.watch(name, rows, UPDATE_BYTES);
    let kept = rows.reduce_abelian::<_, SetBuilder, SetSpine, _, _>(
        name,
        |_, rows, out| {
            if rows[0].1 > 0 {
                out.push(((), 1));
            }
        },
        with_key,
    );
    account.watch(name, kept, UPDATE_BYTES)
}
