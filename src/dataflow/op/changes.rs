//! The changes of a table as a stream of rows that say what happened.
//!
//! What comes is differences: a row that goes, a row that comes. Steps before may have removed one half of an update,
//! or may have made both halves equal, and a table may say in several steps what happens at one place. So all that
//! happens to a key at a place is looked at together: what cancels out is left out, and an old row that has a new one
//! beside it is an update.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, StringArray};

use super::counters::Counters;
use super::order::net_changes;
use super::ordered::InOrder;
use super::tabled::Limited;
use super::window::send_in_slices;
use crate::data::{Batch, DataType, Seq};
use crate::dataflow::align::Outlet;
use crate::state::entries::{Durable, Entries, RestoreError, SavedEntry, Worker};
use crate::state::scratch::Spill;
use crate::state::table::ranks::Ranks;

/// See the module's doc. It keeps nothing: all rows of one time come at once.
pub struct Changes {
    /// The column `$diff`.
    diff: usize,
    as_diff: bool,
    /// Types of the input's columns.
    types: Vec<DataType>,
    counters: Arc<Counters>,
}

/// The rows that leave.
#[derive(Default)]
struct Told {
    rows: Vec<u32>,
    ops: Vec<&'static str>,
    /// Their rank among the changes of their key at their place.
    ranks: Vec<u64>,
}

impl Told {
    fn push(&mut self, row: u32, op: &'static str, rank: usize) {
        self.rows.push(row);
        self.ops.push(op);
        self.ranks.push(rank as u64);
    }
}

impl Changes {
    pub fn new(diff: usize, as_diff: bool, types: Vec<DataType>, counters: Arc<Counters>) -> Changes {
        Changes { diff, as_diff, types, counters }
    }

    /// Tells what happens to one key at one place: which rows go and come, and how often.
    fn tell(&self, net: &[(u32, i64)], told: &mut Told) {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for &(row, times) in net {
            let side = if times < 0 { &mut old } else { &mut new };
            side.extend(std::iter::repeat_n(row, times.unsigned_abs() as usize));
        }
        if self.as_diff {
            let both = old.iter().map(|row| (*row, "delete")).chain(new.iter().map(|row| (*row, "insert")));
            both.enumerate().for_each(|(rank, (row, op))| told.push(row, op, rank));
            return;
        }
        let updates = old.len().min(new.len());
        let updated = new[..updates].iter().map(|row| (*row, "update"));
        let deleted = old[updates..].iter().map(|row| (*row, "delete"));
        let inserted = new[updates..].iter().map(|row| (*row, "insert"));
        updated.chain(deleted).chain(inserted).enumerate().for_each(|(rank, (row, op))| told.push(row, op, rank));
    }
}

impl InOrder for Changes {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let diffs = batch.columns[self.diff].as_primitive::<Int64Type>().values();
        let others = batch.columns.iter().zip(&self.types).enumerate().filter(|(i, _)| *i != self.diff);
        let columns: Vec<(ArrayRef, DataType)> = others.map(|(_, (c, ty))| (c.clone(), ty.clone())).collect();
        let group = |row: u32| (batch.time[row as usize], keys.key(row as usize));
        let net = net_changes(&batch.time, &keys, &columns, diffs);
        let mut told = Told::default();
        net.chunk_by(|a, b| group(a.0) == group(b.0)).for_each(|net| self.tell(net, &mut told));
        let Told { rows, ops, ranks } = told;
        let mut rows = batch.take(&rows);
        rows.columns.push(Arc::new(StringArray::from(ops)));
        rows.seq = Some(Seq { partition: vec![0; ranks.len()].into(), position: ranks.into() });
        send_in_slices(rows, &self.counters, out);
    }

    fn advance(&mut self, _: i64, _: &mut dyn Outlet<Batch>) {}

    fn state(&self) -> (usize, usize) {
        (0, 0)
    }
}

/// Nothing but the rows that wait before it.
impl Durable for Changes {
    fn track(&mut self, _: Worker) {}

    fn begin_save(&mut self, _: bool) {}

    fn save(&mut self, _: usize, _: &mut Entries) -> bool {
        true
    }

    fn expect(&mut self, _: usize) {}

    fn restore(&mut self, _: &SavedEntry<'_>) -> Result<(), RestoreError> {
        Err(RestoreError::Damaged("changes of a table are no state"))
    }

    fn spill_to(&mut self, _: &Arc<Spill>) {}

    fn shed(&mut self) {}

    fn take_ahead(&mut self) -> Entries {
        Entries::default()
    }
}

impl Limited for Changes {
    fn limit_to(&mut self, _: Ranks) {}
}
