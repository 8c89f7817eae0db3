//! Pairs of rows with one key, and rows that are in no pair.

use std::rc::Rc;

use differential_dataflow::AsCollection;

use super::account::Account;
use super::arrange::Arrangement;
use super::distinct::once;
use super::updates::{Bytes, columns_of, packets, updates};
use crate::data::DataType;
use crate::dataflow::op::driven::Packets;

/// The pairs of rows of `left` and `right` with equal keys: the columns of both, which are of `types`, and `$diff`.
/// Rows with a null in their key are not to be in either.
pub fn join<'scope>(
    name: &str,
    left: Arrangement<'scope>,
    right: Arrangement<'scope>,
    types: Vec<DataType>,
    account: &Rc<Account>,
) -> Packets<'scope> {
    let pairs = left.join_core(right, |_, left: &Bytes, right: &Bytes| {
        let mut both = Vec::with_capacity(left.len() + right.len());
        both.extend_from_slice(left);
        both.extend_from_slice(right);
        Some(Bytes::from(both))
    });
    packets(name, pairs.inner, account, columns_of(types))
}

/// The rows of `left`, of `types`, that are in none of `pairs`, whose first columns they are. Both are keyed by the key
/// of the relation `left`.
pub fn unmatched<'scope>(
    name: &str,
    left: Packets<'scope>,
    pairs: Packets<'scope>,
    types: Vec<DataType>,
    account: &Rc<Account>,
) -> Packets<'scope> {
    let rows_of = |name: &str, input: Packets<'scope>, types: Vec<DataType>| {
        updates(name, input, account, move |changes, out| {
            let rows = changes.rows(&types).zip(changes.diffs);
            out.extend(rows.enumerate().map(|(i, (row, diff))| ((row, ()), i, *diff)));
        })
    };
    let pairs = rows_of(&format!("{name} pairs"), pairs, types.clone());
    let matched = once(name, pairs, account);
    let all = rows_of(name, left, types.clone()).as_collection();
    let rest = all.concat(matched.as_collection(|row, ()| (row.clone(), ())).negate());
    packets(name, rest.map(|(row, ())| row).inner, account, columns_of(types))
}
