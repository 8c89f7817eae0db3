//! Sliding windows of aggregates at the cost of tumbling ones: two stacks of partial results.
//!
//! A window that fires merges two partial results instead of all its panes: the *back*, which grows with
//! the panes that enter, and the top of the *front*, a stack of results over ever fewer panes, of which
//! one is popped for each pane that leaves. When the front is empty, it is built from the panes of the
//! back. Each pane is merged a constant number of times, however many windows cover it (the queue by two
//! stacks of functional programming; Tangwongsan et al., "General incremental sliding-window
//! aggregation", 2015). Inversion was not chosen: only some aggregates have one.
//!
//! Only panes whose rows were late for nothing are kept here. Those of late rows are merged into each of
//! their windows by the caller, since they would enter out of order. All of this follows from the panes:
//! it is no state of its own.

use crate::expr::aggregate::{Accumulator, Aggregate, accumulators};
use crate::state::Table;

/// Values by key, merged from several panes.
pub struct Partial {
    pub keys: Table<()>,
    pub accumulators: Vec<Box<dyn Accumulator>>,
}

/// See the module's doc.
pub struct TwoStacks {
    /// Results over the panes from the i-th last to the one before the back; the top has the most.
    front: Vec<Partial>,
    back: Option<Partial>,
    /// The panes that front and back cover, by their starts.
    from: i64,
    to: i64,
}

impl Default for TwoStacks {
    /// Nothing is covered, however early the first window is.
    fn default() -> Self {
        TwoStacks { front: Vec::new(), back: None, from: i64::MIN, to: i64::MIN }
    }
}

/// The values of the panes, as the operator has them.
pub struct Panes<'a, F> {
    pub aggregates: &'a [Aggregate],
    pub accumulators: &'a [Box<dyn Accumulator>],
    /// The slots of the pane that starts at a coordinate, with hash and key of each.
    pub slots: F,
    /// How long a pane is.
    pub length: i64,
}

impl Partial {
    pub fn new(aggregates: &[Aggregate]) -> Partial {
        Partial { keys: Table::default(), accumulators: accumulators(aggregates) }
    }

    /// Merges the values that stand in slots of `accumulators`.
    pub fn merge_slots<'k>(
        &mut self,
        accumulators: &[Box<dyn Accumulator>],
        slots: impl Iterator<Item = (u32, u64, &'k [u8])>,
    ) {
        let (mut into, mut from) = (Vec::new(), Vec::new());
        for (slot, hash, key) in slots {
            into.push(self.keys.slot((), hash, key).0);
            from.push(slot);
        }
        for (own, other) in self.accumulators.iter_mut().zip(accumulators) {
            own.merge(&into, other.as_ref(), &from);
        }
    }

    /// Merges another partial result.
    pub fn merge(&mut self, other: &Partial) {
        let slots = other.keys.section(()).map(|slot| (slot, other.keys.hash(slot), other.keys.key(slot)));
        self.merge_slots(&other.accumulators, slots);
    }
}

impl TwoStacks {
    /// The values of the window `[start, end)`. Windows come in order of their ends.
    pub fn window<'k, F, I>(&mut self, start: i64, end: i64, panes: &Panes<'_, F>) -> Partial
    where
        F: Fn(i64) -> I,
        I: Iterator<Item = (u32, u64, &'k [u8])>,
    {
        if start >= self.to {
            *self = TwoStacks { from: start, to: start, ..TwoStacks::default() };
        }
        while self.from < start {
            if self.front.pop().is_none() {
                self.turn(start, panes);
            } else {
                self.from += panes.length;
            }
        }
        let back = self.back.get_or_insert_with(|| Partial::new(panes.aggregates));
        while self.to < end {
            back.merge_slots(panes.accumulators, (panes.slots)(self.to));
            self.to += panes.length;
        }
        let mut result = Partial::new(panes.aggregates);
        if let Some(front) = self.front.last() {
            result.merge(front);
        }
        result.merge(back);
        result
    }

    /// Builds the front from the panes that the back covers, as far as they are at `start` or later.
    fn turn<'k, F, I>(&mut self, start: i64, panes: &Panes<'_, F>)
    where
        F: Fn(i64) -> I,
        I: Iterator<Item = (u32, u64, &'k [u8])>,
    {
        let mut pane = self.to;
        while pane > start {
            pane -= panes.length;
            let mut partial = Partial::new(panes.aggregates);
            if let Some(later) = self.front.last() {
                partial.merge(later);
            }
            partial.merge_slots(panes.accumulators, (panes.slots)(pane));
            self.front.push(partial);
        }
        self.back = None;
        self.from = start;
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        let bytes = |p: &Partial| p.keys.bytes() + p.accumulators.iter().map(|a| a.bytes()).sum::<usize>();
        self.front.iter().chain(&self.back).map(bytes).sum()
    }
}
