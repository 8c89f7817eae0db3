//! What stands between a driver and the checkpoints: the state of a core, handed over in slices.
//!
//! Where nothing is saved, epochs pass without a trace. A slice is counted in entries, so that what an
//! operator does depends on no clock; how long the worker was kept by it is measured for the statistics.

use std::sync::Arc;
use std::time::Instant;

use super::counters::Counters;
use super::pauses::Pauses;
use crate::checkpoint::archive::{Archive, Saver};
use crate::checkpoint::recovery::Recovered;
use crate::data::flight::Gauge;
use crate::dataflow::align::{Keeper, Progress};
use crate::dataflow::chaos::Chaos;
use crate::dataflow::stop::Stop;
use crate::state::entries::{Durable, Entries, Worker};
use crate::state::options::Capacity;
use crate::state::scratch::Spill;

/// How many entries are saved before rows are taken in again and other operators get their turn.
const SLICE_ENTRIES: usize = 4096;
/// Bytes of entries that are sent to the archive at once.
const PARCEL_BYTES: usize = 1 << 20;

/// What a run has of checkpoints: where to save, and what to begin with.
#[derive(Clone, Default)]
pub struct Keeping {
    pub archive: Option<Archive>,
    pub recovered: Option<Arc<Recovered>>,
    /// The first epoch.
    pub epoch: u64,
    pub pauses: Arc<Pauses>,
    /// Where entries go that do not fit in memory.
    pub spill: Option<Arc<Spill>>,
    /// How many entries each operator keeps, if that is bounded.
    pub capacity: Option<Capacity>,
}

/// Where an operator stands in a run: what its worker is, and what all operators share.
pub struct Site<'a> {
    pub worker: Worker,
    pub keeping: &'a Keeping,
    pub stop: &'a Stop,
    /// Counts what the operator sends.
    pub gauge: Arc<Gauge>,
    pub chaos: Chaos,
}

/// The keeper of one operator's state on one worker.
pub struct StateKeeper {
    saver: Option<Saver>,
    spills: bool,
    counters: Arc<Counters>,
    pauses: Arc<Pauses>,
    /// Saved and not yet sent.
    entries: Entries,
    /// The epoch that is being saved, and the core's clock when it ended.
    saving: Option<(u64, i64)>,
    /// The first epoch of the run.
    epoch: u64,
}

impl Site<'_> {
    /// Prepares `core` to be saved as `state`, restores it where there is something to restore, and gives
    /// its keeper. What cannot be restored stops the run.
    pub fn keeper(&self, state: &str, core: &mut impl Durable, counters: Arc<Counters>) -> StateKeeper {
        let Keeping { archive, recovered, epoch, pauses, spill, capacity: _ } = self.keeping;
        if let Some(spill) = spill {
            core.spill_to(spill);
        }
        if archive.is_some() {
            core.track(self.worker);
        }
        if let Some(recovered) = recovered {
            let started = Instant::now();
            if let Err(error) = recovered.restore(state, self.worker, core) {
                self.stop.fail(error.to_string());
            }
            pauses.add_restored(started.elapsed());
        }
        let saver = archive.as_ref().map(|a| a.saver(state, self.worker.index));
        let pauses = pauses.clone();
        let spills = spill.is_some();
        StateKeeper { saver, spills, counters, pauses, entries: Entries::default(), saving: None, epoch: *epoch }
    }
}

impl StateKeeper {
    /// The first epoch of the run.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl<C: Durable> Keeper<C> for StateKeeper {
    fn begin(&mut self, core: &mut C, epoch: u64, watermark: i64) {
        let Some(saver) = &self.saver else { return };
        let started = Instant::now();
        core.begin_save(saver.is_full());
        self.saving = Some((epoch, core.clock(watermark)));
        self.counters.enter(epoch + 1);
        self.pauses.add(started.elapsed());
    }

    fn save(&mut self, core: &mut C) -> Progress {
        let (Some(saver), Some((epoch, clock))) = (&self.saver, self.saving) else { return Progress::Done };
        if saver.is_crowded() {
            return Progress::Yielded;
        }
        let started = Instant::now();
        let is_all = core.save(SLICE_ENTRIES, &mut self.entries);
        if is_all || self.entries.bytes() >= PARCEL_BYTES {
            self.counters.add_handed_over(self.entries.len());
            saver.save(epoch, std::mem::take(&mut self.entries));
        }
        self.pauses.add(started.elapsed());
        if !is_all {
            return Progress::Yielded;
        }
        self.saving = None;
        saver.finish(epoch, clock);
        Progress::Done
    }

    fn tend(&mut self, core: &mut C, epoch: u64) {
        if !self.spills {
            return;
        }
        core.shed();
        let ahead = core.take_ahead();
        if let Some(saver) = self.saver.as_ref().filter(|_| !ahead.is_empty()) {
            self.counters.add_handed_over(ahead.len());
            saver.save(epoch, ahead);
        }
    }
}
