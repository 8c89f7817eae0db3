//! What the operator around a pattern needs of whatever runs the pattern: the matcher, or what counts matches without
//! making them.

use super::prepared::Prepared;
use crate::data::{Batch, DataType};
use crate::expr::Errors;
use crate::expr::aggregate::StateError;

/// Runs a pattern over the rows of keys, one key at a time.
///
/// # Contract
/// Rows of a key come in order. Before a row, everything that expires at or before its time is settled
/// ([`row`](Self::row) does it itself); what [`encode`](Self::encode) wrote, decoded, goes on as the key would have.
pub trait PerKey {
    /// What is known of a key.
    type Key: Default;
    /// What becomes certain.
    type Settled;

    fn prepare<'a>(&self, batch: &'a Batch, errors: &'a Errors) -> Prepared<'a>;

    /// Whether a row that fits these steps can make a difference to a key of which nothing is known.
    fn starts(&self, fits: u64) -> bool;

    /// Whether a row that fits no step can make a difference.
    fn is_strict(&self) -> bool;

    /// Applies row number `row` to its key.
    fn row(&mut self, key: &mut Self::Key, rows: &Prepared<'_>, row: usize, out: &mut Vec<Self::Settled>);

    /// Settles everything that was to happen up to `now`; `i64::MAX`: the input has ended.
    fn expire(&mut self, key: &mut Self::Key, now: i64, out: &mut Vec<Self::Settled>);

    /// Whether anything expires.
    fn has_deadlines(&self) -> bool;

    /// When the first thing that is known of a key expires.
    fn deadline(&self, key: &Self::Key) -> Option<i64>;

    fn is_empty(&self, key: &Self::Key) -> bool;

    /// Heap bytes of a key, approximately; and those beside all keys.
    fn key_bytes(&self, key: &Self::Key) -> usize;

    fn bytes(&self) -> usize;

    /// Forgets a key.
    fn drop_key(&mut self, key: Self::Key);

    fn encode(&self, key: &Self::Key, out: &mut Vec<u8>);

    fn decode(&mut self, bytes: &mut &[u8]) -> Result<Self::Key, StateError>;

    /// How many partial matches were dropped since the last call, of keys that had too many.
    fn take_capped(&mut self) -> u64 {
        0
    }

    /// Whether rows of output have a part of the key.
    fn gives_keys(&self) -> bool;

    /// The rows of output; `keys` has the encoded key of each, if rows have [any of it](Self::gives_keys).
    fn columns(&self, key_types: &[DataType], settled: &[Self::Settled], keys: &[&[u8]], errors: &Errors) -> Batch;
}
