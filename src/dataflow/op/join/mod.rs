//! Joins of two inputs: each row is paired with what the other side holds when it arrives, and held itself.
//!
//! Rows of both sides lie in one table by (pane, key), so that a row finds its own place and the others' with few
//! look-ups; in an entry they are sorted by time ([`Held`]). An entry refers to columns as they came
//! (`Chunks`), so that a row is copied when it comes out and never before. When the watermark has passed a pane and
//! what its rows wait for, the pane goes as a whole, which a checkpoint knows by its time.
//!
//! A side that is kept has the rows that nothing was paired with come out when the watermark proves it (`Due`).
//!
//! # Invariants
//! 1. A pair comes out when its later row arrives, so that a row is paired after it was entered: exactly once.
//! 2. Rows timed before what was [settled](crate::join::Reach::settled) last have come out if they were to. This is
//!    known by the clock, also of entries that come back from a checkpoint or a scratch.

mod chunks;
mod due;
mod graph;
mod pairs;
mod saved;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::chunks::Chunks;
use self::due::{Due, DueRow};
pub use self::graph::{Parts, join};
use self::pairs::{Pair, Plan};
use super::counters::Counters;
use super::late::Late;
use super::tabled::Tabled;
use super::window::EMIT_ROWS;
use crate::data::key::has_null;
use crate::data::{Batch, DataType};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::expr::{Errors, Expr};
use crate::join::held::{Held, HeldRow};
use crate::join::{Join, Reach};
use crate::state::Table;

/// Rows that come out alone before other operators get their turn.
const ROWS_PER_ACTIVATION: usize = 4 * EMIT_ROWS;

/// The core of the operator; see the module's doc.
pub struct Joins {
    plan: Plan,
    reach: Reach,
    keeps: [bool; 2],
    pane_ns: i64,
    lateness_ns: i64,
    /// By side: the types of the key's parts.
    key_types: [Vec<DataType>; 2],
    /// Sections by the start of the pane.
    table: Table<i64>,
    /// By slot and side.
    held: Vec<[Held; 2]>,
    /// Heap bytes of them.
    held_bytes: usize,
    chunks: [Chunks; 2],
    /// By side that is kept: rows that may come out alone.
    due: [Due; 2],
    /// Panes that have a section.
    panes: BTreeSet<i64>,
    /// By side: rows before this time have come out if they were to.
    settled: [i64; 2],
    /// Whether rows that are due have come out only in part.
    is_firing: bool,
    restored: saved::Restored,
    counters: Arc<Counters>,
    // Of one call, kept for their room.
    slots: Vec<u32>,
    pairs: Vec<Pair>,
    emit_rows: usize,
}

impl Joins {
    /// `types`: of the columns of the two inputs.
    pub fn new(join: &Join, lateness_ns: i64, types: [&[DataType]; 2], counters: Arc<Counters>) -> Joins {
        let plan = Plan::new(join, types);
        let chunks = [0, 1].map(|side| Chunks::new(plan.held_types(side)));
        let pane_ns = join.reach.pane_ns(lateness_ns);
        Joins {
            plan,
            reach: join.reach,
            keeps: join.keeps,
            pane_ns,
            lateness_ns,
            key_types: [0, 1].map(|side| join.keys[side].iter().map(Expr::data_type).collect()),
            table: Table::default(),
            held: Vec::new(),
            held_bytes: 0,
            chunks,
            due: [Due::new(pane_ns), Due::new(pane_ns)],
            panes: BTreeSet::new(),
            settled: [i64::MIN; 2],
            is_firing: false,
            restored: saved::Restored::default(),
            counters,
            slots: Vec::new(),
            pairs: Vec::new(),
            emit_rows: EMIT_ROWS,
        }
    }

    /// With batches of about `rows` rows, so that small inputs of tests leave piece by piece as well.
    pub fn with_emit_rows(self, rows: usize) -> Self {
        Joins { emit_rows: rows, ..self }
    }

    /// The rows with a key; those of which a part is null find nothing, and come out at once if their side is kept.
    fn with_key(&mut self, side: usize, batch: Batch, out: &mut dyn Outlet<Batch>) -> Batch {
        let types = &self.key_types[side];
        if types.iter().all(|ty| !ty.nullable) {
            return batch;
        }
        let keys = batch.keys.as_ref().expect("rows are keyed before a join");
        let (without, with): (Vec<u32>, Vec<u32>) =
            (0..batch.len() as u32).partition(|&row| has_null(keys.key(row as usize), types));
        if without.is_empty() {
            return batch;
        }
        if self.keeps[side] {
            let alone = batch.take(&without);
            let columns = self.plan.held_columns(side, &alone);
            let times = alone.time.iter().map(|t| self.reach.alone(*t)).collect();
            self.plan.send_alone(side, columns, times, &self.counters, out);
        }
        batch.take(&with)
    }

    /// Enters the rows of a batch, all of which have keys, and finds what they are paired with.
    fn enter(&mut self, side: usize, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a join");
        let panes = self.panes_of(&batch.time);
        self.slots.clear();
        let mut from = 0;
        for of_pane in panes.chunk_by(|a, b| a == b) {
            let (pane, rows) = (of_pane[0], from..from + of_pane.len());
            from = rows.end;
            if self.table.has_cold() {
                for near in [pane.saturating_sub(self.pane_ns), pane, pane.saturating_add(self.pane_ns)] {
                    self.fetch(near, &keys, rows.clone());
                }
            }
            if self.table.slots(pane, &keys, rows, &mut self.slots) {
                self.panes.insert(pane);
            }
        }
        self.copy_due();
        let chunk = self.chunks[side].add(self.plan.held_columns(side, batch), batch.len());
        let last = self.slots.iter().max().map_or(0, |slot| *slot as usize + 1);
        self.held.resize_with(self.held.len().max(last), Default::default);
        for row in 0..batch.len() {
            let (slot, held) = (self.slots[row], HeldRow::new(batch.time[row], chunk, row as u32, false));
            self.hold(side, slot, held);
        }
        for (row, pane) in panes.into_iter().enumerate() {
            self.find(
                side,
                HeldRow::new(batch.time[row], chunk, row as u32, false),
                pane,
                self.slots[row],
                |t, pane| t.find(pane, keys.hash(row), keys.key(row)),
            );
            if self.pairs.len() >= self.emit_rows {
                self.send_pairs(side, out);
            }
        }
        self.send_pairs(side, out);
    }

    /// The panes of rows, most of which lie in that of the row before.
    fn panes_of(&self, times: &[i64]) -> Vec<i64> {
        let mut pane: Option<i64> = None;
        let mut pane_of = |time: i64| {
            let known = pane.filter(|start| *start <= time && time < start.saturating_add(self.pane_ns));
            let start = known.unwrap_or_else(|| self.reach.pane(self.pane_ns, time));
            pane = Some(start);
            start
        };
        times.iter().map(|time| pane_of(*time)).collect()
    }

    fn hold(&mut self, side: usize, slot: u32, row: HeldRow) {
        let held = &mut self.held[slot as usize][side];
        let before = held.bytes();
        held.push(row);
        // Runs that are merged may take less room than before.
        self.held_bytes = self.held_bytes + held.bytes() - before;
        if self.keeps[side] && !row.is_paired() && row.time >= self.settled[side] {
            self.due[side].push(DueRow { slot, row });
        }
    }

    /// Notes the pairs of a row that lies in `pane`, at `slot`.
    #[inline]
    fn find(
        &mut self,
        side: usize,
        row: HeldRow,
        pane: i64,
        slot: u32,
        find: impl Fn(&Table<i64>, i64) -> Option<u32>,
    ) {
        let (from, to) = self.reach.range(side, row.time);
        // No row reaches further than a pane is wide. The first pane of all begins where time does.
        let before = (from < pane).then(|| pane.saturating_sub(self.pane_ns));
        let after = pane.checked_add(self.pane_ns).filter(|next| *next <= to);
        for near in before.into_iter().chain([pane]).chain(after) {
            let found = if near == pane { Some(slot) } else { find(&self.table, near) };
            if let Some(other) = found {
                let others = self.held[other as usize][1 - side].range(from, to);
                self.pairs.extend(others.map(|of| Pair { row, slot, other: of, other_slot: other }));
            }
        }
    }

    /// Sends the pairs that satisfy the rest of the condition, and notes whose rows are no longer alone.
    fn send_pairs(&mut self, side: usize, out: &mut dyn Outlet<Batch>) {
        if self.pairs.is_empty() {
            return;
        }
        let errors = Errors::default();
        let mut pairs = std::mem::take(&mut self.pairs);
        self.plan.retain(side, &mut pairs, &self.chunks, &errors);
        self.counters.add_errors(errors.count());
        if self.keeps[1 - side] {
            let new = |pair: &&Pair| !pair.other.is_paired();
            pairs.iter().filter(new).for_each(|pair| self.table.change(pair.other_slot));
            self.copy_due();
            for pair in pairs.iter().filter(new) {
                self.held[pair.other_slot as usize][1 - side].mark(pair.other);
            }
        }
        if self.keeps[side] {
            let mut last = None;
            for pair in &pairs {
                if last != Some(pair.row) {
                    self.held[pair.slot as usize][side].mark(pair.row);
                    last = Some(pair.row);
                }
            }
        }
        self.plan.send_pairs(side, &pairs, &self.chunks, &self.counters, out);
        pairs.clear();
        self.pairs = pairs;
    }

    /// Sends rows of a kept side that nothing was paired with and for which nothing can come; how many.
    fn send_due(&mut self, side: usize, settled: i64, out: &mut dyn Outlet<Batch>) -> usize {
        if self.table.has_cold() {
            let cold = self.panes.range(..settled).copied().filter(|pane| self.table.is_cold(*pane));
            for pane in cold.collect::<Vec<_>>() {
                self.fetch_section(pane);
            }
        }
        let due = self.due[side].take(settled, self.emit_rows);
        let alone = |due: &DueRow| self.held.get(due.slot as usize)?[side].find(due.row).filter(|row| !row.is_paired());
        let rows: Vec<HeldRow> = due.iter().filter_map(alone).collect();
        if rows.is_empty() {
            return due.len();
        }
        let times = rows.iter().map(|row| self.reach.alone(row.time)).collect();
        let columns = self.plan.gather_held(side, &rows, &self.chunks[side]);
        self.plan.send_alone(side, columns, times, &self.counters, out);
        due.len()
    }

    /// Drops the panes whose rows find nothing any more.
    fn drop_panes(&mut self, now: i64) {
        while let Some(&pane) = self.panes.first().filter(|pane| self.reach.pane_over(**pane, self.pane_ns) <= now) {
            self.panes.pop_first();
            self.table.doom_section(pane);
            self.copy_due();
            let slots = self.table.remove_section(pane);
            self.clear(&slots);
        }
    }

    /// The time that no row still to come is before.
    fn now(&self, watermark: i64) -> i64 {
        if watermark == i64::MAX { watermark } else { watermark.saturating_sub(self.lateness_ns) }
    }
}

impl Core for Joins {
    type Rows = Batch;

    fn apply(&mut self, side: usize, batch: Batch, out: &mut dyn Outlet<Batch>) {
        self.counters.add_in(batch.len());
        let shortfall_ns = |time, place| self.reach.shortfall_ns(time, place, self.lateness_ns);
        let batch = Late::Dropped.on_time(batch, shortfall_ns, &self.counters, out);
        let batch = self.with_key(side, batch, out);
        if !batch.is_empty() {
            self.enter(side, &batch, out);
        }
        self.drop_evicted();
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        let now = self.now(watermark);
        let mut sent = 0;
        for side in [0, 1] {
            let settled = self.reach.settled(side, now);
            while self.keeps[side] && settled > self.settled[side] {
                let count = self.send_due(side, settled, out);
                if count == 0 {
                    break;
                }
                sent += count;
                if sent >= ROWS_PER_ACTIVATION.min(4 * self.emit_rows) {
                    self.is_firing = true;
                    return Progress::Yielded;
                }
            }
            self.settled[side] = self.settled[side].max(settled);
        }
        self.is_firing = false;
        self.drop_panes(now);
        self.counters.set_state(self.table.len(), self.table.bytes() + self.value_bytes());
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        self.plan.delay_ns(self.lateness_ns)
    }
}
