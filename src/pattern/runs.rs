//! The runs of a key, in the order in which they began, and the [index](super::index) of them while there are many.
//!
//! With an index, runs have numbers: their places in the queue, counted from where it once began. One that goes leaves
//! a gap, so that the others keep theirs, until there are more gaps than runs; then the queue is closed up and the
//! index made anew. Without an index there are no gaps, and a row goes over the queue.
//!
//! Invariant: between calls from outside, the first and the last place of the queue are runs. The calls that break it
//! say so, and [`Runs::tidy`] restores it.

use std::collections::VecDeque;

use super::index::{Index, Indexing, Place};
use super::prepared::Prepared;
use super::run::Run;

/// See the module's doc.
#[derive(Debug, Default)]
pub struct Runs {
    /// By [`Run::start`]; `None` is a gap.
    queue: VecDeque<Option<Run>>,
    gaps: usize,
    /// The number of the first place.
    first: u64,
    index: Option<Box<Index>>,
}

/// Gaps that are let be beside one for each run. The tests have few runs.
const GAPS_MAX: usize = if cfg!(any(test, feature = "checked")) { 0 } else { 16 };

impl Runs {
    pub fn len(&self) -> usize {
        self.queue.len() - self.gaps
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.queue.iter().flatten()
    }

    pub fn front(&self) -> Option<&Run> {
        self.queue.front()?.as_ref()
    }

    pub fn back(&self) -> Option<&Run> {
        self.queue.back()?.as_ref()
    }

    pub fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    /// Adds the run that began last.
    #[inline]
    pub fn push(&mut self, run: Run, indexing: Option<&Indexing>) {
        if let Some(indexing) = indexing {
            self.add_to_index(&run, indexing);
        }
        self.queue.push_back(Some(run));
    }

    /// Adds a run that is about to be the last to the index, which is made if it is one too many without.
    fn add_to_index(&mut self, run: &Run, indexing: &Indexing) {
        if self.index.is_none() && self.len() >= indexing.without {
            self.close_up(indexing);
        }
        let number = self.first + self.queue.len() as u64;
        if let Some(index) = &mut self.index {
            index.add(indexing, number, run);
        }
    }

    #[inline]
    pub fn pop_front(&mut self, indexing: Option<&Indexing>) -> Option<Run> {
        let run = self.queue.pop_front()??;
        if let (Some(index), Some(indexing)) = (&mut self.index, indexing) {
            index.take_out(indexing, self.first, &run);
            self.first += 1;
            self.tidy(indexing);
        }
        Some(run)
    }

    /// Takes all, of a pattern that is not indexed.
    pub fn drain(&mut self) -> impl Iterator<Item = Run> {
        assert!(self.index.is_none(), "the runs of this pattern have no numbers");
        self.queue.drain(..).flatten()
    }

    /// Goes over all runs, which may change as they like if there is no index, and else may not.
    pub fn retain_mut(&mut self, indexing: Option<&Indexing>, mut keeps: impl FnMut(&mut Run) -> bool) {
        let (Some(index), Some(indexing)) = (&mut self.index, indexing) else {
            return self.queue.retain_mut(|run| run.as_mut().is_some_and(&mut keeps));
        };
        for (place, number) in self.queue.iter_mut().zip(self.first..) {
            let Some(run) = place else { continue };
            if !keeps(run) {
                index.take_out(indexing, number, run);
                *place = None;
                self.gaps += 1;
            }
        }
        self.tidy(indexing);
    }

    /// Adds the numbers of the runs that a row may concern, ascending; there must be an index.
    pub fn find(&self, indexing: &Indexing, rows: &Prepared<'_>, row: usize, out: &mut Vec<u64>) {
        self.index.as_ref().expect("only runs of an index have numbers").find(indexing, rows, row, out);
    }

    pub fn get_mut(&mut self, number: u64) -> &mut Run {
        let run = self.queue.get_mut((number - self.first) as usize).and_then(Option::as_mut);
        run.expect("the index names runs that there are")
    }

    /// A run stands elsewhere in the index. Places are as [`Indexing::places`] gives them.
    pub fn move_to(&mut self, number: u64, before: &[Place], after: &[Place]) {
        if let Some(index) = self.index.as_mut().filter(|_| before != after) {
            index.remove(number, before);
            index.insert(number, after);
        }
    }

    /// Leaves a gap in place of a run; [`Self::tidy`] must follow.
    pub fn remove(&mut self, number: u64, before: &[Place]) {
        if let Some(index) = &mut self.index {
            index.remove(number, before);
        }
        self.queue[(number - self.first) as usize] = None;
        self.gaps += 1;
    }

    /// Drops the gaps at either end, those between when there are too many, and the index of few runs.
    pub fn tidy(&mut self, indexing: &Indexing) {
        while let Some(None) = self.queue.front() {
            self.queue.pop_front();
            self.first += 1;
            self.gaps -= 1;
        }
        while let Some(None) = self.queue.back() {
            self.queue.pop_back();
            self.gaps -= 1;
        }
        if self.len() <= indexing.without / 2 {
            self.index = None;
            self.drop_gaps();
        } else if self.gaps > self.len() + GAPS_MAX {
            self.close_up(indexing);
        }
    }

    fn drop_gaps(&mut self) {
        self.queue.retain(Option::is_some);
        self.gaps = 0;
    }

    /// Numbers the runs anew, and makes their index.
    fn close_up(&mut self, indexing: &Indexing) {
        self.drop_gaps();
        let numbered = (self.first..).zip(&self.queue).filter_map(|(number, run)| Some((number, run.as_ref()?)));
        self.index = Some(Box::new(Index::new(indexing, numbered)));
    }

    /// Heap bytes, but for what the runs point to.
    pub fn bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, |index| size_of::<Index>() + index.bytes());
        self.queue.capacity() * size_of::<Option<Run>>() + index
    }
}
