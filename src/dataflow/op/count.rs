//! Count windows: the last `size` rows of a key, every `slide` rows.
//!
//! Rows of a key go into panes of gcd(size, slide) rows, each with a slot of its own; a window is a whole
//! number of panes. Its row has the event time of its last row.

use std::collections::VecDeque;
use std::sync::Arc;

use super::assign::gcd;
use super::body::{Body, Groups};
use super::counters::Counters;
use super::ordered::InOrder;
use super::tabled::{FETCHED_AT_ONCE, Tabled};
use super::window::send_in_slices;
use crate::data::key::key_group;
use crate::data::{Batch, Keys};
use crate::dataflow::align::Outlet;
use crate::expr::Errors;
use crate::state::Table;
use crate::state::entries::{Entries, NEVER, RestoreError, SavedEntry, take_i64};

/// See the module's doc.
pub struct CountWindows<B> {
    size: u64,
    slide: u64,
    pane: u64,
    /// Whether an incomplete last window is emitted at the end of the input.
    partial: bool,
    body: B,
    keys: Table<()>,
    /// Which slots of the body the panes have.
    panes: PaneSlots,
    /// By slot of `keys`.
    counts: Vec<KeyRows>,
    counters: Arc<Counters>,
}

/// Which slots are taken, by number alone: a key lists its own.
#[derive(Debug, Default)]
struct PaneSlots {
    /// All that were ever taken are below this.
    top: u32,
    free: Vec<u32>,
}

impl PaneSlots {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.top += 1;
            self.top - 1
        })
    }

    fn len(&self) -> usize {
        self.top as usize - self.free.len()
    }
}

#[derive(Debug, Default)]
struct KeyRows {
    /// Rows of the key so far.
    rows: u64,
    panes: VecDeque<Pane>,
}

#[derive(Clone, Copy, Debug)]
struct Pane {
    number: u64,
    slot: u32,
    first: i64,
    last: i64,
}

/// A window that is complete: its key, panes and bounds.
struct Complete {
    key_slot: u32,
    panes: Vec<u32>,
    start: i64,
    end: i64,
}

impl<B: Body> CountWindows<B> {
    pub fn new(size: u64, slide: u64, partial: bool, body: B, counters: Arc<Counters>) -> Self {
        let (keys, panes, counts) = (Table::default(), PaneSlots::default(), Vec::new());
        CountWindows { size, slide, pane: gcd(size, slide), partial, body, keys, panes, counts, counters }
    }

    /// Gives back slots of panes, and what they hold.
    fn clear_panes(&mut self, slots: &[u32]) {
        self.body.clear(slots);
        self.panes.free.extend_from_slice(slots);
    }

    fn key_slot(&mut self, hash: u64, key: &[u8]) -> u32 {
        let (slot, _) = self.keys.slot((), hash, key);
        self.copy_due();
        self.grow(slot);
        slot
    }

    fn grow(&mut self, key_slot: u32) {
        self.counts.resize_with(self.counts.len().max(key_slot as usize + 1), KeyRows::default);
    }

    /// The slot of the pane that the next row of the key falls into.
    fn pane_slot(&mut self, key_slot: u32, time: i64) -> u32 {
        let rows = &mut self.counts[key_slot as usize];
        let number = rows.rows / self.pane;
        if rows.panes.back().is_none_or(|p| p.number != number) {
            let slot = self.panes.take();
            rows.panes.push_back(Pane { number, slot, first: time, last: time });
        }
        let pane = rows.panes.back_mut().expect("a pane was just made");
        pane.last = time;
        rows.rows += 1;
        pane.slot
    }

    /// The window that the key's last row completed, if it did.
    fn completed(&self, key_slot: u32) -> Option<Complete> {
        let rows = &self.counts[key_slot as usize];
        let is_complete = rows.rows >= self.size && (rows.rows - self.size).is_multiple_of(self.slide);
        is_complete.then(|| self.window(key_slot, rows.rows - self.size))
    }

    /// The window of the key's rows from number `from` on.
    fn window(&self, key_slot: u32, from: u64) -> Complete {
        let panes: Vec<&Pane> =
            self.counts[key_slot as usize].panes.iter().filter(|p| p.number >= from / self.pane).collect();
        Complete {
            key_slot,
            panes: panes.iter().map(|p| p.slot).collect(),
            start: panes[0].first,
            end: panes[panes.len() - 1].last + 1,
        }
    }

    /// Takes panes that no later window covers out of the key's list, once they are full: where windows
    /// are further apart than they are long, rows still fall into panes that no window covers.
    fn retire(&mut self, key_slot: u32, retired: &mut Vec<u32>) {
        let rows = &mut self.counts[key_slot as usize];
        let next_start =
            if rows.rows < self.size { 0 } else { (rows.rows - self.size) / self.slide * self.slide + self.slide };
        let until = next_start.min(rows.rows);
        while let Some(pane) = rows.panes.front().filter(|p| (p.number + 1) * self.pane <= until) {
            retired.push(pane.slot);
            rows.panes.pop_front();
        }
    }

    fn emit(&mut self, mut complete: Vec<Complete>, out: &mut dyn Outlet<Batch>) {
        if complete.is_empty() {
            return;
        }
        complete.sort_by(|a, b| (a.end, self.keys.key(a.key_slot)).cmp(&(b.end, self.keys.key(b.key_slot))));
        let (mut data, mut offsets) = (Vec::new(), vec![0]);
        let (mut into, mut from) = (Vec::new(), Vec::new());
        for (group, window) in complete.iter().enumerate() {
            data.extend_from_slice(self.keys.key(window.key_slot));
            offsets.push(data.len() as u32);
            into.extend(window.panes.iter().map(|_| group as u32));
            from.extend(&window.panes);
        }
        let starts = complete.iter().map(|w| w.start).collect();
        let ends = complete.iter().map(|w| w.end).collect();
        let errors = Errors::default();
        let rows = self.body.emit(Groups { keys: Keys::new(data, offsets), starts, ends, into, from }, &errors);
        self.counters.add_errors(errors.count());
        send_in_slices(rows, &self.counters, out);
    }
}

impl<B: Body> InOrder for CountWindows<B> {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let (mut slots, mut complete, mut retired) = (Vec::with_capacity(batch.len()), Vec::new(), Vec::new());
        self.fetch((), &keys, 0..batch.len());
        for row in 0..batch.len() {
            let (hash, key) = (keys.hash(row), keys.key(row));
            let key_slot = self.key_slot(hash, key);
            slots.push(self.pane_slot(key_slot, batch.time[row]));
            complete.extend(self.completed(key_slot));
            self.retire(key_slot, &mut retired);
        }
        // A complete window consists of whole panes, which no later row of the batch falls into.
        self.body.update(batch, &slots);
        self.emit(complete, out);
        self.clear_panes(&retired);
        self.drop_evicted();
    }

    fn advance(&mut self, now: i64, out: &mut dyn Outlet<Batch>) {
        if now != i64::MAX || !self.partial {
            return;
        }
        self.emit_partial(out);
        loop {
            let fetched = self.keys.fetch_section((), FETCHED_AT_ONCE);
            if fetched.is_empty() {
                break;
            }
            self.take_in_fetched(&fetched);
            self.emit_partial(out);
        }
    }

    fn state(&self) -> (usize, usize) {
        (self.keys.len() + self.panes.len(), self.keys.bytes() + self.value_bytes())
    }

    /// A partial window has the time of its last row, which the watermark may have passed long ago.
    fn delay_ns(&self) -> i64 {
        if self.partial { i64::MAX } else { 0 }
    }
}

impl<B: Body> CountWindows<B> {
    /// Emits the incomplete window of each key in memory, and forgets the keys.
    fn emit_partial(&mut self, out: &mut dyn Outlet<Batch>) {
        let mut last = Vec::new();
        for key_slot in self.keys.section(()).collect::<Vec<_>>() {
            let rows = self.counts[key_slot as usize].rows;
            let from = if rows < self.size { 0 } else { (rows - self.size) / self.slide * self.slide + self.slide };
            if from < rows {
                last.push(self.window(key_slot, from));
            }
        }
        self.emit(last, out);
        let key_slots: Vec<u32> = self.keys.section(()).collect();
        key_slots.iter().for_each(|&slot| self.keys.detach((), slot));
        self.copy_due();
        self.keys.release(&key_slots);
        self.clear(&key_slots);
    }
}

/// Of each key: rows and panes are one entry, which then never has to be taken back.
impl<B: Body> Tabled for CountWindows<B> {
    type Sub = ();

    fn table(&mut self) -> (&mut Table<()>, impl Fn(&Table<()>, (), u32, &mut Entries)) {
        let (counts, body) = (&self.counts, &self.body);
        let encode = move |keys: &Table<()>, (), key_slot: u32, out: &mut Entries| {
            let rows = &counts[key_slot as usize];
            out.push(key_group(keys.hash(key_slot)), keys.key(key_slot), &[], NEVER, |value| {
                value.extend(rows.rows.to_be_bytes());
                value.extend((rows.panes.len() as u64).to_be_bytes());
                for pane in &rows.panes {
                    value.extend(pane.number.to_be_bytes());
                    value.extend(pane.first.to_be_bytes());
                    value.extend(pane.last.to_be_bytes());
                    body.encode(pane.slot, value);
                }
            });
        };
        (&mut self.keys, encode)
    }

    fn value_bytes(&self) -> usize {
        let own: usize =
            self.counts.iter().map(|c| size_of::<KeyRows>() + c.panes.capacity() * size_of::<Pane>()).sum();
        self.panes.free.capacity() * 4 + self.body.bytes() + own
    }

    fn clear(&mut self, key_slots: &[u32]) {
        for &key_slot in key_slots {
            let rows = std::mem::take(&mut self.counts[key_slot as usize]);
            let panes: Vec<u32> = rows.panes.iter().map(|p| p.slot).collect();
            self.clear_panes(&panes);
        }
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (key_slot, mut value) = (self.keys.restore_slot((), entry), entry.value);
        self.grow(key_slot);
        let (rows, panes) = (take_i64(&mut value)? as u64, take_i64(&mut value)?);
        self.counts[key_slot as usize].rows = rows;
        for _ in 0..panes {
            let number = take_i64(&mut value)? as u64;
            let (first, last) = (take_i64(&mut value)?, take_i64(&mut value)?);
            let slot = self.panes.take();
            self.counts[key_slot as usize].panes.push_back(Pane { number, slot, first, last });
            self.body.decode(slot, &mut value)?;
        }
        self.keys.restore_rank(key_slot, value)
    }

    fn taken_in(&mut self) {
        self.body.restored();
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
