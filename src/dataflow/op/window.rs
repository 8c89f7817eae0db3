//! Tumbling and sliding windows over time.
//!
//! Rows go into panes; a window that closes merges its panes. A pane is keyed by its start *and the end
//! of the first window still open for the row* when it was read, because a row may be late for some of
//! the windows that cover it: a window sums the panes whose first open window is not after it. Without
//! that, what a late row counts for would depend on which windows happened to have fired
//! (`notes/model/panes.py`). Lateness is judged by the row's place alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::assign::Assigner;
use super::body::{Body, Groups, Slide};
use super::counters::Counters;
use super::late;
use crate::data::{Batch, Keys};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::expr::Errors;
use crate::state::Table;

/// A pane by its start and the end of the first window open for its rows, as coordinates.
type Pane = (i64, i64);

/// A pane in which a row is late for no window while its place is before `deadline`.
#[derive(Clone, Copy)]
struct Near {
    from: i64,
    to: i64,
    deadline: i64,
    pane: Pane,
}

/// Most rows in a batch that leaves.
pub const EMIT_ROWS: usize = 1 << 16;

/// See the module's doc.
pub struct TimeWindows<B> {
    assigner: Assigner,
    lateness_ns: i64,
    body: B,
    counters: Arc<Counters>,
    late: late::Late,
    panes: Table<Pane>,
    /// Ends of the windows that have a pane and have not fired.
    pending: BTreeSet<i64>,
    slots: Vec<u32>,
}

impl<B: Body> TimeWindows<B> {
    pub fn new(assigner: Assigner, lateness_ns: i64, body: B, late: late::Late, counters: Arc<Counters>) -> Self {
        let (panes, pending, slots) = (Table::default(), BTreeSet::new(), Vec::new());
        TimeWindows { assigner, lateness_ns, body, counters, late, panes, pending, slots }
    }

    /// The pane and first open window of a row, or how late the row is for the last of its windows.
    /// `near` remembers the pane of the row before, which is most often the same.
    #[inline]
    fn place_row(&self, time: i64, at: i64, near: &mut Option<Near>) -> Result<Pane, i64> {
        if let Some(n) = near.filter(|n| n.from <= time && time < n.to && at < n.deadline) {
            return Ok(n.pane);
        }
        let pane = self.assigner.pane(time);
        let first = self.assigner.first_end(pane);
        let deadline = self.deadline(first);
        if deadline > at {
            let (from, to) = (self.assigner.instant(pane), self.assigner.instant(pane + self.assigner.pane_length()));
            *near = Some(Near { from, to, deadline, pane: (pane, first) });
            return Ok((pane, first));
        }
        let open = self.assigner.ends(pane, first).find(|&end| self.deadline(end) > at);
        open.map(|end| (pane, end)).ok_or_else(|| at - self.deadline(self.assigner.last_end(pane)))
    }

    /// When a window closes for good.
    fn deadline(&self, end: i64) -> i64 {
        self.assigner.instant(end).saturating_add(self.lateness_ns)
    }

    /// Finds the slots of all rows of `batch`, none of which is late.
    fn assign_slots(&mut self, batch: &Batch, panes: &[Pane]) {
        let keys = batch.keys.as_ref().expect("rows are keyed before a keyed operator");
        self.slots.clear();
        let mut from = 0;
        while from < panes.len() {
            let pane = panes[from];
            let to = from + panes[from..].iter().take_while(|p| **p == pane).count();
            if self.panes.slots(pane, keys, from..to, &mut self.slots) {
                self.pending.extend(self.assigner.ends(pane.0, pane.1));
            }
            from = to;
        }
    }

    fn fire_window(&mut self, end: i64, out: &mut dyn Outlet<Batch>) {
        let errors = Errors::default();
        let rows = match self.slide(end, &errors) {
            Some(rows) => rows,
            None => self.merge_panes(end, &errors),
        };
        self.counters.add_errors(errors.count());
        send_in_slices(rows, &self.counters, out);
        self.drop_panes(end);
    }

    /// The rows of a window of several panes, where the body knows how to slide over them.
    fn slide(&mut self, end: i64, errors: &Errors) -> Option<Batch> {
        if self.assigner.is_tumbling() {
            return None;
        }
        let (assigner, start) = (&self.assigner, self.assigner.start(end));
        let window = Slide {
            start,
            end,
            pane_length: assigner.pane_length(),
            bounds: (assigner.instant(start), assigner.instant(end)),
            panes: &self.panes,
            first_end: &|pane| assigner.first_end(pane),
        };
        self.body.slide(&window, errors)
    }

    /// The rows of a window, from all its panes.
    fn merge_panes(&mut self, end: i64, errors: &Errors) -> Batch {
        let start = self.assigner.start(end);
        let mut members: Vec<u32> = Vec::new();
        for ((_, first), slots) in self.panes.range((start, i64::MIN)..(end, i64::MIN)) {
            if first <= end {
                members.extend(slots.iter());
            }
        }
        let bounds = (self.assigner.instant(start), self.assigner.instant(end));
        self.body.emit(groups_of(&self.panes, members, bounds), errors)
    }

    /// Drops the panes whose last window has fired.
    fn drop_panes(&mut self, end: i64) {
        let over: Vec<Pane> = self
            .panes
            .range(..(end, i64::MIN))
            .map(|(pane, _)| pane)
            .take_while(|pane| self.assigner.last_end(pane.0) <= end)
            .collect();
        for pane in over {
            let slots = self.panes.remove_section(pane);
            self.body.clear(&slots);
        }
    }
}

impl<B: Body> Core for TimeWindows<B> {
    type Rows = Batch;

    fn apply(&mut self, _: usize, batch: Batch, out: &mut dyn Outlet<Batch>) {
        self.counters.add_in(batch.len());
        let (mut panes, mut kept, mut late) = (Vec::with_capacity(batch.len()), Vec::new(), Vec::new());
        let (places, mut near) = (batch.places(), None);
        for row in 0..batch.len() {
            match self.place_row(batch.time[row], places[row], &mut near) {
                Ok(pane) => {
                    panes.push(pane);
                    kept.push(row as u32);
                }
                Err(shortfall_ns) => {
                    late.push(row as u32);
                    self.counters.add_late(shortfall_ns + 1);
                }
            }
        }
        let batch = if late.is_empty() {
            batch
        } else {
            self.late.send(&batch, &late, out);
            batch.take(&kept)
        };
        self.assign_slots(&batch, &panes);
        self.body.update(&batch, &self.slots);
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        while let Some(&end) = self.pending.first() {
            if self.deadline(end) > watermark {
                break;
            }
            self.pending.pop_first();
            self.fire_window(end, out);
        }
        self.counters.set_state(self.panes.len(), self.panes.bytes() + self.body.bytes());
        Progress::Done
    }

    fn hand_over(&mut self, _: u64) -> Progress {
        self.counters.add_handed_over(self.panes.end_generation());
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        self.lateness_ns
    }
}

/// The groups that `members`, slots of `table`, make for a window: by key, in the order of the keys.
pub fn groups_of<S: Ord + Copy>(table: &Table<S>, mut members: Vec<u32>, (start, end): (i64, i64)) -> Groups {
    members.sort_unstable_by(|&a, &b| table.key(a).cmp(table.key(b)));
    let (mut data, mut offsets) = (Vec::new(), vec![0u32]);
    let mut into = Vec::with_capacity(members.len());
    let mut last: Option<&[u8]> = None;
    for &slot in &members {
        let key = table.key(slot);
        if last != Some(key) {
            data.extend_from_slice(key);
            offsets.push(data.len() as u32);
            last = Some(key);
        }
        into.push(offsets.len() as u32 - 2);
    }
    let count = offsets.len() - 1;
    Groups { keys: Keys::new(data, offsets), starts: vec![start; count], ends: vec![end; count], into, from: members }
}

/// Groups of one slot each, in the order given.
pub fn groups_by_slot<S: Ord + Copy>(table: &Table<S>, slots: Vec<u32>, starts: Vec<i64>, ends: Vec<i64>) -> Groups {
    let (mut data, mut offsets) = (Vec::new(), vec![0u32]);
    for &slot in &slots {
        data.extend_from_slice(table.key(slot));
        offsets.push(data.len() as u32);
    }
    Groups { keys: Keys::new(data, offsets), starts, ends, into: (0..slots.len() as u32).collect(), from: slots }
}

/// Sends `rows` on the first port in batches of bounded size.
pub fn send_in_slices(rows: Batch, counters: &Counters, out: &mut dyn Outlet<Batch>) {
    counters.add_out(rows.len());
    if rows.len() <= EMIT_ROWS {
        if !rows.is_empty() {
            out.send(0, rows);
        }
        return;
    }
    for from in (0..rows.len()).step_by(EMIT_ROWS) {
        out.send(0, rows.slice(from, EMIT_ROWS.min(rows.len() - from)));
    }
}
