//! The rank of a row in its group: an instant, then where it came from.

use std::ops::Deref;

use super::{Rows, StateError, state};
use crate::data::Seq;

/// (`_time`, `_seq`) or (`_at`, `_seq`), as [`Orders`] was made. Rows that agree in it are told apart by
/// their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    instant: i64,
    partition: u32,
    position: u64,
}

/// Bytes of an encoded [`Order`].
pub(super) const ORDER_BYTES: usize = 20;

/// The orders of a batch's rows.
#[derive(Clone, Copy)]
pub(super) struct Orders<'a> {
    instants: &'a [i64],
    /// Without `_seq`, which derived streams do not have, equal instants are ties.
    seq: Option<(&'a [u32], &'a [u64])>,
}

impl<'a> Orders<'a> {
    /// In the order in which rows are applied: by event time.
    pub fn by_time(rows: &Rows<'a>) -> Orders<'a> {
        Orders::new(rows.times, rows.seq)
    }

    /// In the order in which rows were there: by place.
    pub fn by_place(rows: &Rows<'a>) -> Orders<'a> {
        Orders::new(rows.places, rows.seq)
    }

    fn new(instants: &'a [i64], seq: Option<&'a Seq>) -> Orders<'a> {
        Orders { instants, seq: seq.map(|Seq { partition, position }| (partition.deref(), position.deref())) }
    }

    #[inline]
    pub fn get(&self, row: usize) -> Order {
        let (partition, position) = self.seq.map_or((0, 0), |(a, b)| (a[row], b[row]));
        Order { instant: self.instants[row], partition, position }
    }
}

impl Order {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.instant.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
    }

    pub fn decode(bytes: &mut &[u8], aggregate: &'static str) -> Result<Order, StateError> {
        Ok(Order {
            instant: i64::from_le_bytes(state::take(bytes, aggregate)?),
            partition: u32::from_le_bytes(state::take(bytes, aggregate)?),
            position: u64::from_le_bytes(state::take(bytes, aggregate)?),
        })
    }
}
