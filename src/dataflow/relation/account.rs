//! What an operator over relations takes of memory: rows in flight, and the updates that its arrangements hold.
//!
//! Arrangements stay in memory. The report tells what they hold; where memory is bounded it counts against the bound, so
//! that state which can go to disk makes room, and arrangements that are too large by themselves end the run.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::implementations::spine_fueled::SpineBatch;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use super::updates::Bytes;
use crate::data::flight::Gauge;
use crate::dataflow::op::counters::Counters;
use crate::dataflow::time::Time;
use crate::state::scratch::{Hold, Spill};

/// See the module's doc. One operator on one worker has it.
pub struct Account {
    pub gauge: Arc<Gauge>,
    counters: Arc<Counters>,
    hold: Option<RefCell<Hold>>,
    /// How many updates came, and the heap bytes of all: what is held is taken to be like them.
    came: Cell<(usize, usize)>,
    /// By arrangement: updates, and bytes of each without what it has on the heap.
    held: RefCell<Vec<(usize, usize)>>,
}

/// Where keys and rows lie of which updates are made.
pub trait Heap {
    fn heap_bytes(&self) -> usize;
}

impl Heap for Bytes {
    fn heap_bytes(&self) -> usize {
        // Two counters stand before the bytes.
        self.len() + 2 * size_of::<usize>()
    }
}

impl Heap for () {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl<A: Heap, B: Heap> Heap for (A, B) {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes()
    }
}

impl Account {
    pub fn new(gauge: Arc<Gauge>, counters: Arc<Counters>, spill: Option<&Arc<Spill>>) -> Rc<Account> {
        let hold = spill.map(|spill| spill.hold().into());
        Rc::new(Account { gauge, counters, hold, came: Cell::default(), held: RefCell::default() })
    }

    /// Updates came that have so many bytes on the heap.
    pub fn add(&self, updates: usize, heap_bytes: usize) {
        let (all, bytes) = self.came.get();
        self.came.set((all + updates, bytes + heap_bytes));
    }

    fn set(&self, arrangement: usize, updates: usize) {
        let mut held = self.held.borrow_mut();
        held[arrangement].0 = updates;
        let (came, heap_bytes) = self.came.get();
        let all: usize = held.iter().map(|(updates, _)| updates).sum();
        let plain: usize = held.iter().map(|(updates, bytes)| updates * bytes).sum();
        let bytes = plain + (all as f64 * heap_bytes as f64 / came.max(1) as f64) as usize;
        self.counters.set_state(all, bytes);
        if let Some(hold) = &self.hold {
            hold.borrow_mut().set(bytes);
        }
    }

    /// Counts what an arrangement holds from here on. It reads nothing, and lets go what the frontier has passed.
    pub fn watch<'scope, Tr>(
        self: &Rc<Self>,
        name: &str,
        arranged: Arranged<'scope, TraceAgent<Tr>>,
        update_bytes: usize,
    ) -> Arranged<'scope, TraceAgent<Tr>>
    where
        Tr: TraceReader<Time = Time, Batch: SpineBatch> + 'static,
    {
        let (account, mut trace) = (self.clone(), arranged.trace.clone());
        let number = self.held.borrow().len();
        self.held.borrow_mut().push((0, update_bytes));
        arranged.stream.clone().sink(Pipeline, name, move |(input, frontier)| {
            input.for_each(|_, spans| drop(std::mem::take(spans)));
            trace.set_logical_compaction(frontier.frontier());
            trace.set_physical_compaction(frontier.frontier());
            let mut updates = 0;
            trace.map_spans(|span| updates += span.inner.as_ref().map_or(0, SpineBatch::len));
            account.set(number, updates);
        });
        arranged
    }
}
