//! Sequence patterns: the [matcher](crate::pattern::matcher), or what [counts](crate::pattern::trends) matches, over
//! the rows of each key.
//!
//! Rows come in order, as to all order-sensitive operators. A key is an entry of the table while it has runs. Keys
//! whose first run expires are woken by a heap, row by row, so that what is certain at a time is settled before any row
//! of that time, of whatever key; what expires later is settled when the watermark has passed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::counters::Counters;
use super::ordered::InOrder;
use super::tabled::{FETCHED_AT_ONCE, Tabled};
use super::window::send_in_slices;
use crate::data::key::key_group;
use crate::data::{Batch, DataType};
use crate::dataflow::align::Outlet;
use crate::expr::Errors;
use crate::pattern::keyed::PerKey;
use crate::state::Table;
use crate::state::entries::{Entries, NEVER, RestoreError, SavedEntry};

/// More matches than this are sent before the batch that they come from is through.
const MATCHES_AT_ONCE: usize = 8192;

/// Deadlines that mean nothing any more are thrown out when there are more than this beside two for each key.
const STALE_MAX: usize = 1024;

/// See the module's doc.
pub struct Sequences<P: PerKey> {
    matcher: P,
    key_types: Vec<DataType>,
    gives_keys: bool,
    keys: Table<()>,
    /// By slot.
    runs: Vec<Slot<P::Key>>,
    /// When the first run of a slot expires, or before.
    deadlines: BinaryHeap<Reverse<(i64, u32)>>,
    /// What is to be sent, and the key of each if rows of output have any of it.
    found: Vec<P::Settled>,
    found_keys: Vec<Arc<[u8]>>,
    settled: Vec<P::Settled>,
    delay_ns: i64,
    bytes: usize,
    /// The slots whose bytes are to be counted again.
    touched: Vec<u32>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Slot<K> {
    key: K,
    /// The deadline in the heap that is the slot's.
    queued: Option<i64>,
    bytes: usize,
    /// Whether the bytes are to be counted again.
    is_touched: bool,
}

impl<P: PerKey> Sequences<P> {
    /// `delay_ns`: how long what has become certain may wait before it is sent.
    pub fn new(matcher: P, key_types: Vec<DataType>, delay_ns: i64, counters: Arc<Counters>) -> Self {
        Sequences {
            gives_keys: matcher.gives_keys(),
            matcher,
            key_types,
            keys: Table::default(),
            runs: Vec::new(),
            deadlines: BinaryHeap::new(),
            found: Vec::new(),
            found_keys: Vec::new(),
            settled: Vec::new(),
            delay_ns,
            bytes: 0,
            touched: Vec::new(),
            counters,
        }
    }

    fn grow(&mut self, slot: u32) {
        self.runs.resize_with(self.runs.len().max(slot as usize + 1), Slot::default);
    }

    /// The runs of a slot have changed, which was touched before.
    fn changed(&mut self, slot: u32, has_expired: bool) {
        self.found(slot);
        let state = &mut self.runs[slot as usize];
        if self.matcher.is_empty(&state.key) {
            match has_expired {
                // Whatever was saved of it is dead by now.
                true => self.keys.detach((), slot),
                false => self.keys.remove((), key_group(self.keys.hash(slot)), slot),
            }
            self.keys.release(&[slot]);
            self.clear(&[slot]);
            return;
        }
        if !state.is_touched {
            state.is_touched = true;
            self.touched.push(slot);
        }
        self.queue(slot);
    }

    /// Brings the count of bytes up to date: once for many rows, because it takes a look at all runs of a key.
    fn weigh(&mut self) {
        for slot in self.touched.drain(..) {
            self.runs[slot as usize].is_touched = false;
            weigh_one(&self.matcher, &mut self.runs[slot as usize], &mut self.bytes);
        }
    }

    /// Sees to it that the slot is woken in time.
    fn queue(&mut self, slot: u32) {
        let state = &mut self.runs[slot as usize];
        let Some(deadline) = self.matcher.deadline(&state.key) else { return };
        if state.queued.is_none_or(|queued| queued > deadline) {
            state.queued = Some(deadline);
            self.deadlines.push(Reverse((deadline, slot)));
        }
    }

    /// Adds what was settled for a slot to what is to be sent.
    fn found(&mut self, slot: u32) {
        if self.settled.is_empty() {
            return;
        }
        if self.gives_keys {
            let key: Arc<[u8]> = self.keys.key(slot).into();
            self.found_keys.extend(self.settled.iter().map(|_| key.clone()));
        }
        self.found.append(&mut self.settled);
    }

    /// Settles what has expired in memory by `now`.
    fn expire(&mut self, now: i64) {
        while let Some(&Reverse((deadline, slot))) = self.deadlines.peek() {
            if deadline > now {
                return;
            }
            self.deadlines.pop();
            // The slot may be free, or have another deadline by now.
            if self.runs[slot as usize].queued != Some(deadline) || self.keys.is_evicted(slot) {
                continue;
            }
            self.runs[slot as usize].queued = None;
            if self.matcher.deadline(&self.runs[slot as usize].key).is_some_and(|d| d > now) {
                self.queue(slot);
                continue;
            }
            self.settle(slot, now);
        }
    }

    fn settle(&mut self, slot: u32, now: i64) {
        self.keys.change(slot);
        self.copy_due();
        self.matcher.expire(&mut self.runs[slot as usize].key, now, &mut self.settled);
        self.changed(slot, self.matcher.has_deadlines());
    }

    fn send(&mut self, errors: &Errors, out: &mut dyn Outlet<Batch>) {
        if !self.found.is_empty() {
            let keys: Vec<&[u8]> = self.found_keys.iter().map(|key| &**key).collect();
            let rows = self.matcher.columns(&self.key_types, &self.found, &keys, errors);
            send_in_slices(rows, &self.counters, out);
            self.found.clear();
            self.found_keys.clear();
        }
        self.counters.add_capped(self.matcher.take_capped());
    }

    /// The input has ended: matches that wait for runs without a deadline need not any more.
    fn end(&mut self) {
        let slots: Vec<u32> = self.keys.section(()).collect();
        slots.into_iter().for_each(|slot| self.settle(slot, i64::MAX));
    }

    fn drop_stale(&mut self) {
        if self.deadlines.len() > 2 * self.keys.len() + STALE_MAX {
            let runs = &self.runs;
            self.deadlines.retain(|Reverse((deadline, slot))| runs[*slot as usize].queued == Some(*deadline));
        }
    }
}

/// Counts the bytes of a key again, in the `total`, too.
fn weigh_one<P: PerKey>(matcher: &P, state: &mut Slot<P::Key>, total: &mut usize) {
    *total -= state.bytes;
    state.bytes = matcher.key_bytes(&state.key);
    *total += state.bytes;
}

impl<P: PerKey> InOrder for Sequences<P> {
    fn rows(&mut self, batch: &Batch, out: &mut dyn Outlet<Batch>) {
        let errors = Errors::default();
        let rows = self.matcher.prepare(batch, &errors);
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        self.fetch((), &keys, 0..batch.len());
        for row in 0..batch.len() {
            let fits = rows.fits[row];
            if fits == 0 && !self.matcher.is_strict() {
                continue;
            }
            self.expire(batch.time[row]);
            let (hash, key) = (keys.hash(row), keys.key(row));
            if !self.matcher.starts(fits) && self.keys.find((), hash, key).is_none() {
                continue;
            }
            let (slot, _) = self.keys.slot((), hash, key);
            self.copy_due();
            self.grow(slot);
            self.matcher.row(&mut self.runs[slot as usize].key, &rows, row, &mut self.settled);
            self.changed(slot, false);
            if self.found.len() >= MATCHES_AT_ONCE {
                self.send(&errors, out);
            }
        }
        self.drop_evicted();
        self.send(&errors, out);
        self.drop_stale();
        self.weigh();
        self.counters.add_errors(errors.count());
    }

    fn advance(&mut self, now: i64, out: &mut dyn Outlet<Batch>) {
        let errors = Errors::default();
        // Of others nothing is emitted that has no deadline.
        let has_ended = now == i64::MAX && self.delay_ns == i64::MAX;
        loop {
            self.expire(now);
            let fetched = match has_ended {
                true => {
                    self.end();
                    self.keys.fetch_section((), FETCHED_AT_ONCE)
                }
                false => self.keys.fetch_expired(now, FETCHED_AT_ONCE),
            };
            self.send(&errors, out);
            if fetched.is_empty() {
                break;
            }
            self.take_in_fetched(&fetched);
        }
        self.weigh();
        self.counters.add_errors(errors.count());
    }

    fn state(&self) -> (usize, usize) {
        (self.keys.len(), self.keys.bytes() + self.value_bytes())
    }

    fn delay_ns(&self) -> i64 {
        self.delay_ns
    }
}

/// Of each key, its runs and their rows.
impl<P: PerKey> Tabled for Sequences<P> {
    type Sub = ();

    fn table(&mut self) -> (&mut Table<()>, impl Fn(&Table<()>, (), u32, &mut Entries)) {
        let (matcher, runs) = (&self.matcher, &self.runs);
        let encode = move |keys: &Table<()>, (), slot: u32, out: &mut Entries| {
            let key = &runs[slot as usize].key;
            // When it expires something is to be done, so that the entry is never merely forgotten.
            let expiry = matcher.deadline(key).unwrap_or(NEVER);
            out.push(key_group(keys.hash(slot)), keys.key(slot), &[], expiry, |value| matcher.encode(key, value));
        };
        (&mut self.keys, encode)
    }

    fn value_bytes(&self) -> usize {
        self.bytes + self.deadlines.len() * 16 + self.runs.len() * size_of::<Slot<P::Key>>() + self.matcher.bytes()
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            let state = std::mem::take(&mut self.runs[slot as usize]);
            self.bytes -= state.bytes;
            self.matcher.drop_key(state.key);
        }
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (slot, mut value) = (self.keys.restore_slot((), entry), entry.value);
        self.grow(slot);
        let key = self.matcher.decode(&mut value)?;
        let state = &mut self.runs[slot as usize];
        state.key = key;
        weigh_one(&self.matcher, state, &mut self.bytes);
        self.queue(slot);
        self.keys.restore_rank(slot, value)
    }

    fn is_by_time(&self) -> bool {
        self.matcher.has_deadlines()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
