//! The first rows of each key, kept up to date.
//!
//! A reduction looks at all rows of a key when one changes. So the rows of a key are first dealt to many buckets, of
//! which each keeps its first; what these keep is dealt to fewer, and so on, and a change is looked for among a few
//! hundred rows, however many the key has.

use std::rc::Rc;

use arrow_array::{Array, ArrayRef};
use differential_dataflow::AsCollection;
use differential_dataflow::VecCollection;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::implementations::ord_neu::{OrdValBatcher, OrdValSpine, VecOrdValBuilder};
use timely::dataflow::channels::pact::Pipeline;

use super::account::Account;
use super::updates::{Bytes, columns_of, packets, updates, with_key};
use crate::data::key::encode_keys;
use crate::data::{DataType, batch};
use crate::dataflow::op::driven::Packets;
use crate::dataflow::time::Time;
use crate::expr::{Errors, evaluate};
use crate::plan::physical::SortKey;

/// What a row is sorted by, in the order of bytes, and the row.
pub type Ranked = (Bytes, Bytes);
/// A key, and the bucket of a row among those of its key.
type Bucket = (Bytes, u16);
type TopSpine = OrdValSpine<Bucket, Ranked, Time, i64>;
type TopBatcher = OrdValBatcher<Bucket, Ranked, Time, i64>;
type TopBuilder = VecOrdValBuilder<Bucket, Ranked, Time, i64>;

const UPDATE_BYTES: usize = size_of::<((Bucket, Ranked), Time, i64)>();

/// How many buckets there are for a key, stage by stage. The last has one, whose first rows are the key's.
const BUCKETS: [u16; 3] = [4096, 64, 1];

/// Of the rows of each key, which are of `types`, the first `n` by `order` and then by their values. Null sorts last.
pub fn top<'scope>(
    name: &str,
    input: Packets<'scope>,
    order: Vec<SortKey>,
    n: u64,
    types: Vec<DataType>,
    account: &Rc<Account>,
) -> Packets<'scope> {
    let row_types = types.clone();
    let rows = updates(name, input, account, move |changes, out| {
        let errors = Errors::default();
        let columns: Vec<ArrayRef> = order.iter().map(|k| evaluate(&k.expr, changes.batch, &errors)).collect();
        let ranks = ranks(&order, &columns, changes.diffs.len());
        for (i, (row, rank)) in changes.rows(&types).zip(ranks).enumerate() {
            out.push(((changes.key(i), (rank, row)), i, changes.diffs[i]));
        }
    });
    let kept = first(name, rows.as_collection(), n, account);
    packets(name, kept.map(|(_, (_, row))| row).inner, account, columns_of(row_types))
}

/// The first `n` rows of each key.
pub fn first<'scope>(
    name: &str,
    rows: VecCollection<'scope, Time, (Bytes, Ranked), i64>,
    n: u64,
    account: &Rc<Account>,
) -> VecCollection<'scope, Time, (Bytes, Ranked), i64> {
    BUCKETS.into_iter().fold(rows, |kept, buckets| first_of(name, kept, buckets, n, account))
}

/// By row, bytes in the order in which rows are wanted.
fn ranks(order: &[SortKey], columns: &[ArrayRef], rows: usize) -> Vec<Bytes> {
    let mut ranks: Vec<Vec<u8>> = vec![Vec::new(); rows];
    for (key, column) in order.iter().zip(columns) {
        let encoded = encode_keys(&[(column.clone(), key.expr.data_type())], rows);
        let nulls = column.logical_nulls();
        for (row, rank) in ranks.iter_mut().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                rank.push(u8::MAX);
                continue;
            }
            let bytes = encoded.key(row).iter();
            match key.descending {
                true => rank.extend(bytes.map(|b| !b)),
                false => rank.extend(bytes),
            }
        }
    }
    ranks.into_iter().map(Bytes::from).collect()
}

/// One stage: the first `n` rows of each bucket.
fn first_of<'scope>(
    name: &str,
    rows: VecCollection<'scope, Time, (Bytes, Ranked), i64>,
    buckets: u16,
    n: u64,
    account: &Rc<Account>,
) -> VecCollection<'scope, Time, (Bytes, Ranked), i64> {
    let dealt = rows.map(move |(key, ranked)| {
        let bucket = (batch::hash(&ranked.1) % u64::from(buckets)) as u16;
        ((key, bucket), ranked)
    });
    let dealt = arrange_core::<_, _, TopBatcher, TopSpine>(dealt.inner, Pipeline, name, TopBatcher::new);
    let dealt = account.watch(name, dealt, UPDATE_BYTES);
    let first = dealt.reduce_abelian::<_, TopBuilder, TopSpine, _, _>(
        name,
        move |_, rows, out| {
            let mut room = i64::try_from(n).unwrap_or(i64::MAX);
            for (row, times) in rows {
                if room == 0 {
                    break;
                }
                let times = room.min(*times);
                out.push(((*row).clone(), times));
                room -= times;
            }
        },
        with_key,
    );
    let first = account.watch(name, first, UPDATE_BYTES);
    first.as_collection(|(key, _), ranked| (key.clone(), ranked.clone()))
}
