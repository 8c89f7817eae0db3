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
use super::tabled::Tabled;
use crate::data::batch::hash;
use crate::data::key::key_group;
use crate::data::{Batch, Keys};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::expr::Errors;
use crate::state::Table;
use crate::state::entries::{Entries, RestoreError, SavedEntry, take_i64};
use crate::state::table::Fetched;
use crate::state::table::SubKey;

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
pub const EMIT_ROWS: usize = 1 << 14;
/// Rows that leave before other operators get their turn. They wait for those in memory, while a
/// window may have millions; with fewer, more input would be read before the window is through.
const ROWS_PER_ACTIVATION: usize = 4 * EMIT_ROWS;

/// A window whose rows are leaving.
struct Firing {
    end: i64,
    bounds: (i64, i64),
    /// Slots of all its panes, by key.
    members: Vec<u32>,
    /// Members whose rows have left.
    sent: usize,
}

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
    /// No longer in `pending`; its panes stay as they are until all its rows have left, since rows that
    /// come meanwhile are late for it.
    firing: Option<Firing>,
    emit_rows: usize,
    slots: Vec<u32>,
}

impl<B: Body> TimeWindows<B> {
    pub fn new(assigner: Assigner, lateness_ns: i64, body: B, late: late::Late, counters: Arc<Counters>) -> Self {
        let (panes, pending, slots) = (Table::default(), BTreeSet::new(), Vec::new());
        let (firing, emit_rows) = (None, EMIT_ROWS);
        TimeWindows { assigner, lateness_ns, body, counters, late, panes, pending, firing, emit_rows, slots }
    }

    /// With batches of at most `rows` rows, so that small windows of tests leave piece by piece as well.
    pub fn with_emit_rows(self, rows: usize) -> Self {
        TimeWindows { emit_rows: rows, ..self }
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
        open.map(|end| (pane, end)).ok_or_else(|| at.saturating_sub(self.deadline(self.assigner.last_end(pane))))
    }

    /// When a window closes for good.
    fn deadline(&self, end: i64) -> i64 {
        deadline(&self.assigner, self.lateness_ns, end)
    }

    /// Finds the slots of all rows of `batch`, none of which is late.
    fn assign_slots(&mut self, batch: &Batch, panes: &[Pane]) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        self.slots.clear();
        let mut from = 0;
        while from < panes.len() {
            let pane = panes[from];
            let to = from + panes[from..].iter().take_while(|p| **p == pane).count();
            self.fetch(pane, &keys, from..to);
            if self.panes.slots(pane, &keys, from..to, &mut self.slots) {
                self.pending.extend(self.assigner.ends(pane.0, pane.1));
            }
            from = to;
        }
    }

    /// Begins to fire the window that ends at `end`; how many rows have left at once.
    fn begin_window(&mut self, end: i64, out: &mut dyn Outlet<Batch>) -> usize {
        if self.panes.has_cold() && !self.assigner.is_tumbling() {
            self.fetch_window(end);
        }
        let errors = Errors::default();
        if let Some(rows) = self.slide(end, &errors) {
            let count = rows.len();
            self.counters.add_errors(errors.count());
            send_in_slices(rows, &self.counters, out);
            self.drop_panes(end);
            return count;
        }
        let start = self.assigner.start(end);
        let mut members: Vec<u32> = Vec::new();
        for ((_, first), slots) in self.panes.range((start, i64::MIN)..(end, i64::MIN)) {
            if first <= end {
                members.extend(slots.iter());
            }
        }
        sort_by_key(&self.panes, &mut members);
        let bounds = (self.assigner.instant(start), self.assigner.instant(end));
        self.firing = Some(Firing { end, bounds, members, sent: 0 });
        0
    }

    /// Sends a batch of the window that is firing; how many rows it had.
    fn continue_window(&mut self, out: &mut dyn Outlet<Batch>) -> usize {
        let Some(firing) = &mut self.firing else { return 0 };
        if self.panes.is_cold((self.assigner.start(firing.end), firing.end)) {
            return self.continue_cold_window(out);
        }
        let rest = &firing.members[firing.sent..];
        let slots = &rest[..whole_groups(&self.panes, rest, self.emit_rows)];
        let errors = Errors::default();
        let rows = self.body.emit(groups_in_order(&self.panes, slots.to_vec(), firing.bounds), &errors);
        firing.sent += slots.len();
        if firing.sent == firing.members.len() {
            let end = firing.end;
            self.firing = None;
            self.drop_panes(end);
        }
        self.counters.add_errors(errors.count());
        let count = rows.len();
        send_in_slices(rows, &self.counters, out);
        count
    }

    /// Fetches all panes of a window. The next ones will need them as well.
    fn fetch_window(&mut self, end: i64) {
        let start = self.assigner.start(end);
        let panes: Vec<Pane> = self.panes.range((start, i64::MIN)..(end, i64::MIN)).map(|(pane, _)| pane).collect();
        panes.into_iter().for_each(|pane| self.fetch_section(pane));
    }

    fn restore_key(&mut self, pane: Pane, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, mut value) = (self.panes.restore_slot(pane, entry), entry.value);
        self.body.decode(slot, &mut value)?;
        self.panes.restore_rank(slot, value)
    }

    /// As [`Self::continue_window`], for a tumbling window of which a part is not in memory: its one pane is
    /// gone through key by key, and what has left is dropped at once.
    fn continue_cold_window(&mut self, out: &mut dyn Outlet<Batch>) -> usize {
        let Some(mut firing) = self.firing.take() else { return 0 };
        let pane = (self.assigner.start(firing.end), firing.end);
        let fetched = self.panes.fetch_section(pane, self.emit_rows);
        self.take_in_fetched(&fetched);
        let last = fetched.last().map(Fetched::key).unwrap_or_default();
        let rest = &firing.members[firing.sent..];
        let count = rest.partition_point(|&slot| self.panes.key(slot) <= last);
        let found = fetched.iter().filter_map(|f| self.panes.find(pane, hash(f.key()), f.key()));
        let mut slots: Vec<u32> = rest[..count].iter().copied().chain(found).collect();
        sort_by_key(&self.panes, &mut slots);
        let errors = Errors::default();
        let rows = self.body.emit(groups_in_order(&self.panes, slots.clone(), firing.bounds), &errors);
        self.counters.add_errors(errors.count());
        slots.iter().for_each(|&slot| self.panes.detach(pane, slot));
        self.copy_due();
        self.panes.release(&slots);
        self.body.clear(&slots);
        firing.sent += count;
        if firing.sent == firing.members.len() && !self.panes.is_cold(pane) {
            self.drop_panes(firing.end);
        } else {
            self.firing = Some(firing);
        }
        let count = rows.len();
        send_in_slices(rows, &self.counters, out);
        count
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

    /// Drops the panes whose last window has fired.
    fn drop_panes(&mut self, end: i64) {
        let over: Vec<Pane> = self
            .panes
            .range(..(end, i64::MIN))
            .map(|(pane, _)| pane)
            .take_while(|pane| self.assigner.last_end(pane.0) <= end)
            .collect();
        for pane in over {
            self.panes.doom_section(pane);
            self.copy_due();
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
                    self.counters.add_late(shortfall_ns.saturating_add(1));
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
        self.copy_due();
        self.body.update(&batch, &self.slots);
        self.drop_evicted();
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        let mut sent = 0;
        loop {
            if self.firing.is_some() {
                sent += self.continue_window(out);
            } else {
                let due = self.pending.first().copied().filter(|end| self.deadline(*end) <= watermark);
                let Some(end) = due else { break };
                self.pending.pop_first();
                sent += self.begin_window(end, out);
            }
            if sent >= ROWS_PER_ACTIVATION.min(4 * self.emit_rows) {
                return Progress::Yielded;
            }
        }
        self.counters.set_state(self.panes.len(), self.panes.bytes() + self.value_bytes());
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        self.lateness_ns
    }
}

/// When the window that ends at `end` closes for good.
fn deadline(assigner: &Assigner, lateness_ns: i64, end: i64) -> i64 {
    assigner.instant(end).saturating_add(lateness_ns)
}

/// Of each key in a pane, what the body holds.
impl<B: Body> Tabled for TimeWindows<B> {
    type Sub = Pane;

    fn table(&mut self) -> (&mut Table<Pane>, impl Fn(&Table<Pane>, Pane, u32, &mut Entries)) {
        let (assigner, lateness_ns, body) = (&self.assigner, self.lateness_ns, &self.body);
        let encode = move |panes: &Table<Pane>, pane: Pane, slot: u32, out: &mut Entries| {
            let sub = [pane.0.to_be_bytes(), pane.1.to_be_bytes()].concat();
            let expiry = deadline(assigner, lateness_ns, assigner.last_end(pane.0));
            let group = key_group(panes.hash(slot));
            out.push(group, panes.key(slot), &sub, expiry, |value| body.encode(slot, value));
        };
        (&mut self.panes, encode)
    }

    fn value_bytes(&self) -> usize {
        self.body.bytes()
    }

    fn clear(&mut self, slots: &[u32]) {
        self.body.clear(slots);
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let mut sub = entry.sub;
        let pane = (take_i64(&mut sub)?, take_i64(&mut sub)?);
        self.restore_key(pane, entry)
    }

    /// A pane of whose windows some had fired counts for those that had not: as if they were the first
    /// that were open for its rows. Others may have fired elsewhere, for other keys.
    fn take_back(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let mut sub = entry.sub;
        let (start, first) = (take_i64(&mut sub)?, take_i64(&mut sub)?);
        let open = self.assigner.ends(start, first).find(|&end| self.deadline(end) > entry.watermark);
        let Some(first) = open else { return Ok(()) };
        self.pending.extend(self.assigner.ends(start, first));
        self.restore_key((start, first), entry)
    }

    fn taken_in(&mut self) {
        self.body.restored();
    }

    /// What has not left yet of a window that is firing does not leave, and what was merged for later ones
    /// is merged anew.
    fn evicted(&mut self, slots: &[u32]) {
        if let Some(firing) = &mut self.firing {
            firing.members.drain(..firing.sent);
            firing.sent = 0;
            firing.members.retain(|slot| slots.binary_search(slot).is_err());
        }
        self.body.forget_merged();
        self.body.clear(slots);
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The slots of a window that is firing stay as they are.
    fn may_shed(&self) -> bool {
        self.firing.is_none()
    }
}

/// The groups that `members`, slots of `table`, make for a window: by key, in the order of the keys.
pub fn groups_of<S: SubKey>(table: &Table<S>, mut members: Vec<u32>, bounds: (i64, i64)) -> Groups {
    sort_by_key(table, &mut members);
    groups_in_order(table, members, bounds)
}

/// Sorts slots by their keys. Nearly always eight bytes behind what all keys have in common decide, and
/// those are compared without a look at the table.
fn sort_by_key<S: SubKey>(table: &Table<S>, members: &mut [u32]) {
    let Some(first) = members.first().map(|&slot| table.key(slot)) else { return };
    let common = |n: usize, key: &[u8]| first[..n].iter().zip(key).take_while(|(a, b)| a == b).count();
    let shared = members.iter().fold(first.len(), |n, &slot| common(n, table.key(slot)));
    let word = |slot: u32| {
        let rest = &table.key(slot)[shared..];
        let mut bytes = [0; 8];
        let len = rest.len().min(8);
        bytes[..len].copy_from_slice(&rest[..len]);
        u64::from_be_bytes(bytes)
    };
    let mut order: Vec<(u64, u32)> = members.iter().map(|&slot| (word(slot), slot)).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| table.key(a.1).cmp(table.key(b.1))));
    members.iter_mut().zip(order).for_each(|(member, (_, slot))| *member = slot);
}

/// How many of `members`, sorted by key, make `wanted` of them into whole groups.
fn whole_groups<S: SubKey>(table: &Table<S>, members: &[u32], wanted: usize) -> usize {
    let wanted = wanted.max(1).min(members.len());
    let Some(last) = members[..wanted].last().map(|&slot| table.key(slot)) else { return 0 };
    wanted + members[wanted..].iter().take_while(|&&slot| table.key(slot) == last).count()
}

/// The groups that `members`, sorted by key, make for a window.
fn groups_in_order<S: SubKey>(table: &Table<S>, members: Vec<u32>, (start, end): (i64, i64)) -> Groups {
    let (mut data, mut offsets, mut hashes) = (Vec::new(), vec![0u32], Vec::new());
    let mut into = Vec::with_capacity(members.len());
    let mut last: Option<&[u8]> = None;
    for &slot in &members {
        let key = table.key(slot);
        if last != Some(key) {
            data.extend_from_slice(key);
            offsets.push(data.len() as u32);
            hashes.push(table.hash(slot));
            last = Some(key);
        }
        into.push(offsets.len() as u32 - 2);
    }
    let count = hashes.len();
    let keys = Keys::with_hashes(data, offsets, hashes);
    Groups { keys, starts: vec![start; count], ends: vec![end; count], into, from: members }
}

/// Groups of one slot each, in the order given.
pub fn groups_by_slot<S: SubKey>(table: &Table<S>, slots: Vec<u32>, starts: Vec<i64>, ends: Vec<i64>) -> Groups {
    let (mut data, mut offsets) = (Vec::new(), vec![0u32]);
    for &slot in &slots {
        data.extend_from_slice(table.key(slot));
        offsets.push(data.len() as u32);
    }
    let hashes = slots.iter().map(|&slot| table.hash(slot)).collect();
    let keys = Keys::with_hashes(data, offsets, hashes);
    Groups { keys, starts, ends, into: (0..slots.len() as u32).collect(), from: slots }
}

/// Sends `rows`, whose places are their times from here on, on the first port in batches of bounded size.
pub fn send_in_slices(rows: Batch, counters: &Counters, out: &mut dyn Outlet<Batch>) {
    counters.add_out(rows.len());
    send_slices(0, Batch { at: None, ..rows }, out);
}

/// Sends `rows` on a port in batches of bounded size.
pub fn send_slices(port: usize, rows: Batch, out: &mut dyn Outlet<Batch>) {
    if (1..=EMIT_ROWS).contains(&rows.len()) {
        return out.send(port, rows);
    }
    for from in (0..rows.len()).step_by(EMIT_ROWS) {
        out.send(port, rows.slice(from, EMIT_ROWS.min(rows.len() - from)));
    }
}
