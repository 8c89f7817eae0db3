//! The place of a row in its group's order: event time, then where it came from.

use std::ops::Deref;

use super::{Rows, StateError, state};
use crate::data::Seq;

/// (`_time`, `_seq`). Rows that agree in it are told apart by their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    time: i64,
    partition: u32,
    position: u64,
}

/// Bytes of an encoded [`Order`].
pub(super) const ORDER_BYTES: usize = 20;

/// The orders of a batch's rows.
#[derive(Clone, Copy)]
pub(super) struct Orders<'a> {
    times: &'a [i64],
    /// Without `_seq`, which derived streams do not have, equal times are ties.
    seq: Option<(&'a [u32], &'a [u64])>,
}

impl<'a> Orders<'a> {
    pub fn new(rows: &Rows<'a>) -> Orders<'a> {
        let seq = rows.seq.map(|Seq { partition, position }| (partition.deref(), position.deref()));
        Orders { times: rows.times, seq }
    }

    #[inline]
    pub fn get(&self, row: usize) -> Order {
        let (partition, position) = self.seq.map_or((0, 0), |(a, b)| (a[row], b[row]));
        Order { time: self.times[row], partition, position }
    }
}

impl Order {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
    }

    pub fn decode(bytes: &mut &[u8], aggregate: &'static str) -> Result<Order, StateError> {
        Ok(Order {
            time: i64::from_le_bytes(state::take(bytes, aggregate)?),
            partition: u32::from_le_bytes(state::take(bytes, aggregate)?),
            position: u64::from_le_bytes(state::take(bytes, aggregate)?),
        })
    }
}
