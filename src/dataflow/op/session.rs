//! Session windows: the rows of a key that are less than a gap apart.
//!
//! Rows come in order, so that a session only ever grows at its end: a row further than the gap from
//! the last one closes the session, and so does time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::body::{Body, Groups};
use super::counters::Counters;
use super::ordered::InOrder;
use super::tabled::{FETCHED_AT_ONCE, Tabled};
use super::window::{groups_by_slot, send_in_slices};
use crate::data::Batch;
use crate::data::key::key_group;
use crate::dataflow::align::Outlet;
use crate::expr::Errors;
use crate::state::Table;
use crate::state::entries::{Entries, RestoreError, SavedEntry, take_i64};

/// See the module's doc.
pub struct Sessions<B> {
    gap_ns: i64,
    body: B,
    /// Open sessions by key.
    open: Table<()>,
    /// By slot.
    spans: Vec<Span>,
    /// When to look at a session again: its end, as it was when the entry was made.
    deadlines: BinaryHeap<Reverse<(i64, u32)>>,
    counters: Arc<Counters>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: i64,
    last: i64,
    /// The deadline under which `deadlines` has the open session of this slot; `None` once closed.
    deadline: Option<i64>,
}

impl<B: Body> Sessions<B> {
    pub fn new(gap_ns: i64, body: B, counters: Arc<Counters>) -> Self {
        let (open, spans, deadlines) = (Table::default(), Vec::new(), BinaryHeap::new());
        Sessions { gap_ns, body, open, spans, deadlines, counters }
    }

    fn end(&self, slot: u32) -> i64 {
        self.spans[slot as usize].last.saturating_add(self.gap_ns)
    }

    /// A session whose first and last rows so far have these times.
    fn begin(&mut self, slot: u32, start: i64, last: i64) {
        self.spans.resize(self.spans.len().max(slot as usize + 1), Span::default());
        let deadline = last.saturating_add(self.gap_ns);
        self.spans[slot as usize] = Span { start, last, deadline: Some(deadline) };
        self.deadlines.push(Reverse((deadline, slot)));
    }

    fn close(&mut self, slot: u32, closed: &mut Vec<u32>) {
        self.open.detach((), slot);
        self.copy_due();
        self.spans[slot as usize].deadline = None;
        closed.push(slot);
    }

    /// Emits sessions that were closed, and frees their slots.
    fn emit(&mut self, closed: &[u32], out: &mut dyn Outlet<Batch>) {
        if closed.is_empty() {
            return;
        }
        let mut order = closed.to_vec();
        order.sort_by(|&a, &b| (self.end(a), self.open.key(a)).cmp(&(self.end(b), self.open.key(b))));
        let starts = order.iter().map(|&s| self.spans[s as usize].start).collect();
        let ends = order.iter().map(|&s| self.end(s)).collect();
        let groups: Groups = groups_by_slot(&self.open, order.clone(), starts, ends);
        let errors = Errors::default();
        let rows = self.body.emit(groups, &errors);
        self.counters.add_errors(errors.count());
        send_in_slices(rows, &self.counters, out);
        self.open.release(&order);
        self.body.clear(&order);
    }
}

impl<B: Body> InOrder for Sessions<B> {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let (mut slots, mut closed) = (Vec::with_capacity(batch.len()), Vec::new());
        self.fetch((), &keys, 0..batch.len());
        for row in 0..batch.len() {
            let time = batch.time[row];
            let (hash, key) = (keys.hash(row), keys.key(row));
            if self.open.is_bounded() {
                // What is over takes no room from what is not, however rows are cut into batches.
                self.close_due(time, &mut closed);
            }
            if let Some(slot) = self.open.find((), hash, key).filter(|&s| time >= self.end(s)) {
                self.close(slot, &mut closed);
            }
            let (slot, new) = self.open.slot((), hash, key);
            self.copy_due();
            if new {
                self.begin(slot, time, time);
            }
            self.spans[slot as usize].last = time;
            slots.push(slot);
        }
        self.body.update(batch, &slots);
        self.emit(&closed, out);
        self.drop_evicted();
    }

    fn advance(&mut self, now: i64, out: &mut dyn Outlet<Batch>) {
        self.emit_due(now, out);
        loop {
            let fetched = self.open.fetch_expired(now, FETCHED_AT_ONCE);
            if fetched.is_empty() {
                break;
            }
            self.take_in_fetched(&fetched);
            self.emit_due(now, out);
        }
    }

    fn state(&self) -> (usize, usize) {
        (self.open.len(), self.open.bytes() + self.value_bytes())
    }
}

impl<B: Body> Sessions<B> {
    fn emit_due(&mut self, now: i64, out: &mut dyn Outlet<Batch>) {
        let mut closed = Vec::new();
        self.close_due(now, &mut closed);
        self.emit(&closed, out);
    }

    /// Closes the sessions in memory whose end has come.
    fn close_due(&mut self, now: i64, closed: &mut Vec<u32>) {
        while let Some(&Reverse((deadline, slot))) = self.deadlines.peek() {
            if deadline > now {
                break;
            }
            self.deadlines.pop();
            // The slot may be free, hold a later session, or one that has grown since or was evicted.
            if self.spans[slot as usize].deadline == Some(deadline) && !self.open.is_evicted(slot) {
                let end = self.end(slot);
                if end <= now {
                    self.close(slot, closed);
                } else {
                    self.spans[slot as usize].deadline = Some(end);
                    self.deadlines.push(Reverse((end, slot)));
                }
            }
        }
    }
}

/// Of each key, its open session.
impl<B: Body> Tabled for Sessions<B> {
    type Sub = ();

    fn table(&mut self) -> (&mut Table<()>, impl Fn(&Table<()>, (), u32, &mut Entries)) {
        let (spans, gap_ns, body) = (&self.spans, self.gap_ns, &self.body);
        let encode = move |open: &Table<()>, (), slot: u32, out: &mut Entries| {
            let span = spans[slot as usize];
            let end = span.last.saturating_add(gap_ns);
            out.push(key_group(open.hash(slot)), open.key(slot), &[], end, |value| {
                value.extend(span.start.to_be_bytes());
                value.extend(span.last.to_be_bytes());
                body.encode(slot, value);
            });
        };
        (&mut self.open, encode)
    }

    fn value_bytes(&self) -> usize {
        self.body.bytes() + self.spans.len() * size_of::<Span>() + self.deadlines.len() * 16
    }

    fn clear(&mut self, slots: &[u32]) {
        if slots.is_empty() {
            return;
        }
        self.body.clear(slots);
        slots.iter().for_each(|&slot| self.spans[slot as usize].deadline = None);
        if self.deadlines.len() <= 2 * self.open.len() {
            // The others go when their time has come.
            return;
        }
        let spans = &self.spans;
        self.deadlines.retain(|Reverse((deadline, slot))| spans[*slot as usize].deadline == Some(*deadline));
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let mut value = entry.value;
        let (start, last) = (take_i64(&mut value)?, take_i64(&mut value)?);
        let slot = self.open.restore_slot((), entry);
        self.begin(slot, start, last);
        self.body.decode(slot, &mut value)?;
        self.open.restore_rank(slot, value)
    }

    fn taken_in(&mut self) {
        self.body.restored();
    }

    fn is_by_time(&self) -> bool {
        true
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
