//! When an epoch is asked for, and when it is committed: decisions alone, without clocks, threads or I/O.
//!
//! The first process coordinates. At most one epoch is in flight; an epoch is committed when every
//! process has reported that all it handed over is durable, and abandoned when one reports an error.
//! After an abandoned epoch, and as the first of a run, a checkpoint is full: what is written then stands
//! on nothing that may be missing, or that was divided among other workers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::manifest::{PartitionRecord, SegmentRecord, SinkRecord};

/// What a process says of an epoch that it has finished.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessReport {
    pub segments: Vec<SegmentRecord>,
    /// By state: the clock of each of the process's workers, and what was written.
    pub states: BTreeMap<String, StateReport>,
    pub partitions: BTreeMap<String, PartitionRecord>,
    pub sinks: BTreeMap<String, SinkRecord>,
    pub counters: serde_json::Value,
}

/// What the workers of a process say of one state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// By worker, counted over all processes.
    pub clocks: BTreeMap<usize, i64>,
    pub entries: u64,
    pub bytes: u64,
}

/// What is said between the processes of a run. A run of one process says it to itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Sources enter the epoch after `epoch`, whose state is saved.
    Enter { epoch: u64, full: bool },
    /// A process is done with `epoch`.
    Report { process: usize, epoch: u64, outcome: Result<ProcessReport, String> },
    /// The inputs of a process have ended.
    Ended { process: usize },
    /// A process was asked for a checkpoint.
    Wanted(Want),
    /// `epoch` is durable as a whole. If `last`, the run ends with it.
    Committed { epoch: u64, last: bool },
}

/// What the coordinator is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Enter {
        epoch: u64,
        full: bool,
    },
    /// Writes the record of `epoch`, which stands on `segments` and says what `reports` say.
    Commit {
        epoch: u64,
        reports: BTreeMap<usize, ProcessReport>,
        segments: Vec<SegmentRecord>,
        finished: bool,
    },
    /// Tells that `epoch` was given up.
    Abandon {
        epoch: u64,
        reason: String,
    },
}

/// Why a checkpoint is wanted before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// Somebody asked for one.
    Now,
    /// The run is to stop after it.
    Stop,
}

/// The coordinator's decisions. Times are ms on any clock that does not go back.
pub struct Protocol {
    processes: usize,
    interval_ms: u64,
    full_always: bool,
    /// The next epoch to be ended.
    epoch: u64,
    in_flight: Option<InFlight>,
    /// When the last epoch was asked for, or the last was skipped.
    asked_ms: u64,
    /// Checkpoints that were skipped and of which nobody was told, and when somebody was told last.
    skipped: u64,
    told_ms: Option<u64>,
    wants_now: bool,
    wants_stop: bool,
    /// The epoch that the run stops after.
    stops_after: Option<u64>,
    ended: Vec<bool>,
    /// How often the last checkpoint of all was tried, and when it may be tried again.
    last_tries: u64,
    retry_ms: u64,
    /// What the last committed checkpoint stands on; empty before the first of this run.
    chain: Vec<SegmentRecord>,
    next_is_full: bool,
}

struct InFlight {
    full: bool,
    reports: BTreeMap<usize, ProcessReport>,
    failed: Option<String>,
    /// Which processes have reported, whatever they said.
    reported: usize,
}

impl Protocol {
    /// `epoch` is the first of the run; nothing is asked for before `now_ms + interval_ms`.
    pub fn new(processes: usize, epoch: u64, interval_ms: u64, full_always: bool, now_ms: u64) -> Protocol {
        Protocol {
            processes,
            interval_ms,
            full_always,
            epoch,
            in_flight: None,
            asked_ms: now_ms,
            skipped: 0,
            told_ms: None,
            wants_now: false,
            wants_stop: false,
            stops_after: None,
            ended: vec![false; processes],
            last_tries: 0,
            retry_ms: 0,
            chain: Vec::new(),
            next_is_full: true,
        }
    }

    pub fn want(&mut self, want: Want) {
        match want {
            Want::Now => self.wants_now = true,
            Want::Stop => self.wants_stop = true,
        }
    }

    /// Whether the run was asked to stop after `epoch`, whether or not that could be committed.
    pub fn stops_after(&self, epoch: u64) -> bool {
        self.stops_after == Some(epoch)
    }

    fn all_ended(&self) -> bool {
        self.ended.iter().all(|e| *e)
    }

    /// Ms until [`Self::tick`] will have something to do, if nothing else happens.
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        let due_ms = self.asked_ms + self.interval_ms;
        let due_ms = if self.all_ended() { due_ms.min(self.retry_ms) } else { due_ms };
        due_ms.saturating_sub(now_ms)
    }

    /// The next epoch, when its time has come. An interval that ends while one is in flight is skipped.
    pub fn tick(&mut self, now_ms: u64) -> Option<Action> {
        let is_due = now_ms >= self.asked_ms + self.interval_ms;
        let is_last = self.all_ended() && now_ms >= self.retry_ms;
        if self.in_flight.is_some() || !(is_due || self.wants_now || self.wants_stop || is_last) {
            return None;
        }
        let full = self.full_always || self.next_is_full || self.is_chain_long();
        self.in_flight = Some(InFlight { full, reports: BTreeMap::new(), failed: None, reported: 0 });
        self.wants_now = false;
        self.stops_after = self.wants_stop.then_some(self.epoch);
        self.asked_ms = now_ms;
        Some(Action::Enter { epoch: self.epoch, full })
    }

    /// Whether a restart would read more of changes than twice what there is: a full checkpoint then costs
    /// no more than the changes since the last did, and bounds what a restart reads.
    fn is_chain_long(&self) -> bool {
        let bytes = |full| self.chain.iter().filter(|s| s.full == full).map(|s| s.bytes).sum::<u64>();
        bytes(false) > 2 * bytes(true) + CHAIN_BYTES_MIN
    }

    pub fn ended(&mut self, process: usize) {
        self.ended[process] = true;
    }

    /// Takes a report in; a commit or an abandonment when it was the last.
    pub fn report(&mut self, process: usize, epoch: u64, outcome: Result<ProcessReport, String>) -> Option<Action> {
        let in_flight = self.in_flight.as_mut().filter(|_| epoch == self.epoch)?;
        in_flight.reported += 1;
        match outcome {
            Ok(report) => drop(in_flight.reports.insert(process, report)),
            Err(reason) => drop(in_flight.failed.get_or_insert(reason)),
        }
        if in_flight.reported < self.processes {
            return None;
        }
        let done = self.in_flight.take().expect("it was just seen");
        self.epoch += 1;
        if let Some(reason) = done.failed {
            self.next_is_full = true;
            return Some(Action::Abandon { epoch, reason });
        }
        if done.full {
            self.chain.clear();
        }
        self.chain.extend(done.reports.values().flat_map(|r| r.segments.iter().cloned()));
        self.next_is_full = false;
        let finished = done.reports.values().flat_map(|r| r.partitions.values()).all(|p| p.ended) && self.all_ended();
        Some(Action::Commit { epoch, reports: done.reports, segments: self.chain.clone(), finished })
    }

    /// An epoch was given up, or its record could not be written: what it handed over is lost to the chain.
    /// Whether the run can do nothing but end without its last checkpoint.
    pub fn failed(&mut self, epoch: u64, now_ms: u64) -> bool {
        self.next_is_full = true;
        if self.all_ended() {
            self.last_tries += 1;
            self.retry_ms = now_ms + LAST_RETRY_MS * self.last_tries;
        }
        self.stops_after(epoch) || self.last_tries >= LAST_TRIES
    }

    /// Everything that an epoch brings about is done. How many checkpoints were to begin meanwhile and are
    /// skipped, so that they do not queue up; `None` if the user need not hear of it now.
    pub fn settled(&mut self, now_ms: u64) -> Option<u64> {
        let intervals = (now_ms - self.asked_ms).checked_div(self.interval_ms).unwrap_or(0);
        self.asked_ms += intervals * self.interval_ms;
        self.skipped += intervals;
        let is_time = self.told_ms.is_none_or(|told_ms| now_ms >= told_ms + TELL_AGAIN_MS);
        if self.skipped == 0 || !is_time {
            return None;
        }
        self.told_ms = Some(now_ms);
        Some(std::mem::take(&mut self.skipped))
    }
}

/// How often the last checkpoint of all is tried, when there is nothing left to do but to save.
const LAST_TRIES: u64 = 3;
/// The pause before it is tried again, and by how much each following one is longer.
const LAST_RETRY_MS: u64 = 1000;
/// Who was told that intervals are too short does not want to hear it every time.
const TELL_AGAIN_MS: u64 = 60_000;

/// Changes of so few bytes are never worth a full checkpoint.
const CHAIN_BYTES_MIN: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn report(segment: &str, full: bool, bytes: u64) -> Result<ProcessReport, String> {
        let segment = SegmentRecord { name: segment.to_string(), bytes, full, ..SegmentRecord::default() };
        let open = PartitionRecord::default();
        Ok(ProcessReport {
            segments: vec![segment],
            partitions: [("p".to_string(), open)].into(),
            ..ProcessReport::default()
        })
    }

    fn segments(action: Option<Action>) -> Vec<String> {
        match action {
            Some(Action::Commit { segments, .. }) => segments.into_iter().map(|s| s.name).collect(),
            other => panic!("not committed: {other:?}"),
        }
    }

    #[test]
    fn an_epoch_at_a_time() {
        let mut p = Protocol::new(1, 5, 1000, false, 0);
        assert_eq!(p.tick(999), None);
        assert_eq!(p.tick(1000), Some(Action::Enter { epoch: 5, full: true }));
        assert_eq!(p.tick(5000), None);
        assert_eq!(segments(p.report(0, 5, report("a", true, 1))), ["a"]);
        assert_eq!(p.tick(5000), Some(Action::Enter { epoch: 6, full: false }));
        assert_eq!(segments(p.report(0, 6, report("b", false, 1))), ["a", "b"]);
    }

    #[test]
    fn waits_for_every_process() {
        let mut p = Protocol::new(2, 0, 0, false, 0);
        p.tick(0);
        assert_eq!(p.report(1, 0, report("b", true, 1)), None);
        assert_eq!(segments(p.report(0, 0, report("a", true, 1))), ["a", "b"]);
    }

    #[test]
    fn after_an_error_the_next_is_full() {
        let mut p = Protocol::new(1, 0, 0, false, 0);
        p.tick(0);
        p.report(0, 0, report("a", true, 1));
        assert_eq!(p.tick(0), Some(Action::Enter { epoch: 1, full: false }));
        assert!(matches!(p.report(0, 1, Err("disk full".to_string())), Some(Action::Abandon { epoch: 1, .. })));
        assert!(!p.failed(1, 0));
        assert_eq!(p.tick(0), Some(Action::Enter { epoch: 2, full: true }));
        assert_eq!(segments(p.report(0, 2, report("c", true, 1))), ["c"]);
    }

    #[test]
    fn a_long_chain_ends_in_a_full_checkpoint() {
        let mut p = Protocol::new(1, 0, 0, false, 0);
        p.tick(0);
        p.report(0, 0, report("a", true, CHAIN_BYTES_MIN));
        for (epoch, full) in [(1, false), (2, false), (3, false), (4, false), (5, true)] {
            assert_eq!(p.tick(0), Some(Action::Enter { epoch, full }));
            p.report(0, epoch, report("d", full, CHAIN_BYTES_MIN));
        }
    }

    #[test]
    fn intervals_that_end_meanwhile_are_skipped_and_told() {
        let mut p = Protocol::new(1, 0, 1000, false, 0);
        assert!(p.tick(1000).is_some());
        p.report(0, 0, report("a", true, 1));
        assert_eq!(p.settled(1999), None);
        assert_eq!(p.tick(1999), None);
        assert!(p.tick(2000).is_some());
        p.report(0, 1, report("b", false, 1));
        assert_eq!(p.settled(5500), Some(3));
        // The next is due when it would have been, and not at once.
        assert_eq!((p.tick(5999), p.wait_ms(5500)), (None, 500));
        assert!(p.tick(6000).is_some());
        p.report(0, 2, report("c", false, 1));
        assert_eq!(p.settled(7000), None, "too soon after the last time");
        assert!(p.tick(8000).is_some());
        p.report(0, 3, report("d", false, 1));
        assert_eq!(p.settled(66_000), Some(1 + 58));
    }

    #[test]
    fn the_last_checkpoint_is_tried_a_few_times_with_pauses() {
        let mut p = Protocol::new(1, 0, 1_000_000, false, 0);
        p.ended(0);
        let mut now_ms = 0;
        for try_number in 1..=LAST_TRIES {
            assert!(p.tick(now_ms).is_some(), "{try_number}");
            let epoch = try_number - 1;
            p.report(0, epoch, Err("no permission".to_string()));
            assert_eq!(p.failed(epoch, now_ms), try_number == LAST_TRIES);
            assert_eq!((p.tick(now_ms), p.wait_ms(now_ms)), (None, LAST_RETRY_MS * try_number));
            now_ms += LAST_RETRY_MS * try_number;
        }
    }

    /// The last checkpoint is one whose epoch began after the last partition had ended.
    #[test]
    fn finished_when_every_partition_has_ended() {
        let mut p = Protocol::new(1, 0, 1000, false, 0);
        assert_eq!(p.tick(0), None);
        p.ended(0);
        assert!(p.tick(0).is_some());
        let ended = PartitionRecord { ended: true, ..PartitionRecord::default() };
        let report = ProcessReport { partitions: [("p".to_string(), ended)].into(), ..ProcessReport::default() };
        assert!(matches!(p.report(0, 0, Ok(report)), Some(Action::Commit { finished: true, .. })));
    }
}
