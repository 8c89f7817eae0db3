//! From decoded columns to rows with a time: what a block is once it is known to be sound.
//!
//! A row's event time is computed here, before any filter, and a row without one is malformed like any
//! other. Then the block waits until the blocks before it are known, and gets its places.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BooleanArray};
use arrow_buffer::ScalarBuffer;

use super::progress::{Before, places};
use super::spec::{Source, SourceOutput, WatermarkStrategy};
use super::{Block, BlockData, Decoded, Malformed, MalformedReason};
use crate::data::time::{TIME_MAX, TIME_MIN};
use crate::data::{Batch, Seq};
use crate::expr::{Errors, evaluate, evaluate_predicate};

/// The rows of a block, with event times, in position order within each type.
#[derive(Debug, Default)]
pub struct Arrivals {
    types: Vec<TypedRows>,
    /// The greatest event time of the rows that are not ahead; `i64::MIN` without any.
    pub greatest: i64,
    /// Times after `ahead_of`, in partition order.
    pub ahead: Vec<i64>,
    /// Times after it are too far ahead of the clock; `i64::MAX` where nobody asks.
    ahead_of: i64,
    pub rows: usize,
    pub bytes: usize,
    /// When the block was read, for `processing_time`, ns since 1970.
    pub arrival_ns: i64,
}

#[derive(Debug, Default)]
struct TypedRows {
    /// Columns and `_time`.
    batch: Batch,
    positions: Vec<u64>,
}

/// Gives the rows of a decoded block their event times; those that have none join the malformed.
///
/// `ahead_of` is the time after which a row is too far ahead of the clock to move the watermark.
pub fn arrive(source: &Source, block: &Block, decoded: &mut Decoded, arrival_ns: i64, ahead_of: i64) -> Arrivals {
    let mut out = Arrivals { greatest: i64::MIN, ahead_of, arrival_ns, ..Arrivals::default() };
    let mut ahead = Vec::new();
    for (ty, rows) in source.types.iter().zip(std::mem::take(&mut decoded.types)) {
        let count = rows.positions.len();
        let mut batch = Batch { columns: rows.columns, time: vec![0; count].into(), ..Batch::default() };
        let mut positions = rows.positions;
        if count > 0 {
            let times = match (&ty.time, rows.format_times) {
                (Some(expr), _) => evaluate(expr, &batch, &Errors::default()).as_primitive::<Int64Type>().clone(),
                (None, Some(times)) => times.into(),
                (None, None) => vec![arrival_ns; count].into(),
            };
            let sound = |row: usize| times.is_valid(row) && (TIME_MIN..TIME_MAX).contains(&times.value(row));
            let all_sound = times.null_count() == 0 && times.values().iter().all(|t| (TIME_MIN..TIME_MAX).contains(t));
            batch.time = times.values().clone();
            if !all_sound {
                for row in (0..count).filter(|&row| !sound(row)) {
                    let reason = match times.is_null(row) {
                        true => MalformedReason::NoEventTime,
                        false => MalformedReason::TimeOutOfRange,
                    };
                    decoded.malformed.push(malformed(block, reason, positions[row]));
                }
                let mask: BooleanArray = (0..count).map(|row| Some(sound(row))).collect();
                positions = (0..count).filter(|&row| sound(row)).map(|row| positions[row]).collect();
                batch = batch.filter(&mask);
            }
        }
        out.rows += batch.len();
        out.bytes += batch.bytes();
        let believed = |t: &&i64| **t <= ahead_of;
        out.greatest = batch.time.iter().filter(believed).fold(out.greatest, |g, t| g.max(*t));
        let doubted = positions.iter().zip(batch.time.iter()).filter(|(_, t)| **t > ahead_of);
        ahead.extend(doubted.map(|(position, time)| (*position, *time)));
        out.types.push(TypedRows { batch, positions });
    }
    ahead.sort_unstable();
    out.ahead = ahead.into_iter().map(|(_, time)| time).collect();
    out
}

fn malformed(block: &Block, reason: MalformedReason, position: u64) -> Malformed {
    let detail = match reason {
        MalformedReason::NoEventTime => "the event time is null",
        MalformedReason::TimeOutOfRange => "the event time is not in 1900 to 2200",
        other => unreachable!("{other:?} is the decoder's to find"),
    };
    let raw = match &block.data {
        BlockData::Bytes(bytes) => {
            let from = (position - block.position) as usize;
            let rest = &bytes[from.min(bytes.len())..];
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            rest[..end].to_vec()
        }
        BlockData::Rows(_) | BlockData::RowGroup { .. } | BlockData::TooLong { .. } => Vec::new(),
    };
    Malformed { reason, detail: detail.to_string(), position, line: None, raw }
}

impl Arrivals {
    /// The batch that leaves on `output`, once the greatest time `before` the block is known. `rank`
    /// is the partition's place among all, `floor` the claim's.
    pub fn leave(&self, output: &SourceOutput, rank: u32, before: i64, floor: i64, errors: &Errors) -> Batch {
        let rows = &self.types[output.ty];
        if rows.batch.is_empty() {
            return Batch::default();
        }
        let mut batch = rows.batch.clone();
        match output.watermark.strategy {
            WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns } => {
                batch.at = self.places_of(output.ty, before, out_of_order_ns, floor).map(ScalarBuffer::from);
            }
            WatermarkStrategy::AtEnd => {}
            // Another worker may have looked at the clock later, and gone by it already.
            WatermarkStrategy::ProcessingTime => batch.time = vec![self.arrival_ns.max(floor); batch.len()].into(),
        }
        if output.seq {
            // 0 is the partition of rows that have no position: these come first.
            let partition = vec![rank + 1; batch.len()].into();
            batch.seq = Some(Seq { partition, position: rows.positions.clone().into() });
        }
        match &output.filter {
            Some(filter) => batch.filter(&evaluate_predicate(filter, &batch, errors)),
            None => batch,
        }
    }

    /// The places of the rows of type `ty`: all rows of the partition count, whatever their type.
    fn places_of(&self, ty: usize, greatest: i64, out_of_order_ns: i64, floor: i64) -> Option<Vec<i64>> {
        let rows = &self.types[ty];
        let mut before = Before { greatest, out_of_order_ns, floor, ahead_of: self.ahead_of };
        if self.types.iter().filter(|t| !t.batch.is_empty()).count() == 1 {
            return places(&rows.batch.time, before);
        }
        let mut all: Vec<(u64, i64, bool)> = Vec::with_capacity(self.rows);
        for (index, other) in self.types.iter().enumerate() {
            let times = other.batch.time.iter();
            all.extend(other.positions.iter().zip(times).map(|(p, t)| (*p, *t, index == ty)));
        }
        all.sort_by_key(|row| row.0);
        let mut out = Vec::with_capacity(rows.positions.len());
        for (_, time, own) in all {
            let place = before.place(time);
            if own {
                out.push(place);
            }
        }
        Some(out)
    }
}

/// The time of the first row of a block, over all types; `None` without a row.
pub fn first_time(arrivals: &Arrivals) -> Option<i64> {
    let firsts = arrivals.types.iter().filter(|t| !t.batch.is_empty()).map(|t| (t.positions[0], t.batch.time[0]));
    firsts.min().map(|(_, time)| time)
}

/// Shares a gauge's guard among the batches of one block.
pub fn in_flight(batch: Batch, flight: &Arc<crate::data::flight::Flight>) -> Batch {
    Batch { flight: Some(flight.clone()), ..batch }
}
