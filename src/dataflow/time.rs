//! The timestamp of every dataflow: an epoch and an event time, in product order.
//!
//! The event coordinate of a frontier is the watermark, the epoch coordinate is the checkpoint barrier;
//! neither needs messages of its own. A lexicographic order was rejected because it is unsound: a source
//! that is already in the next epoch with a low watermark would hide behind one that is not.

use differential_dataflow::lattice::Lattice;
use serde::{Deserialize, Serialize};
use timely::order::PartialOrder;
use timely::progress::frontier::AntichainRef;
use timely::progress::timestamp::Refines;
use timely::progress::{PathSummary, Timestamp};

/// `(e1, t1) <= (e2, t2)` iff `e1 <= e2` and `t1 <= t2`. The derived [`Ord`] is only for containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time {
    pub epoch: u64,
    /// ns; `i64::MIN` before anything is known, `i64::MAX` when nothing will come.
    pub event: i64,
}

impl Time {
    pub const MIN: Time = Time { epoch: 0, event: i64::MIN };
    /// Stands for an empty frontier.
    pub const END: Time = Time { epoch: u64::MAX, event: i64::MAX };

    /// The greatest time not after either.
    pub fn meet(self, other: Time) -> Time {
        Time { epoch: self.epoch.min(other.epoch), event: self.event.min(other.event) }
    }
}

/// The componentwise meet of a frontier; [`Time::END`] when it is empty.
pub fn meet(frontier: AntichainRef<'_, Time>) -> Time {
    frontier.iter().fold(Time::END, |m, t| m.meet(*t))
}

impl PartialOrder for Time {
    fn less_equal(&self, other: &Self) -> bool {
        self.epoch <= other.epoch && self.event <= other.event
    }
}

impl Lattice for Time {
    fn join(&self, other: &Time) -> Time {
        Time { epoch: self.epoch.max(other.epoch), event: self.event.max(other.event) }
    }

    fn meet(&self, other: &Time) -> Time {
        Time::meet(*self, *other)
    }
}

impl Timestamp for Time {
    type Summary = Step;

    fn minimum() -> Self {
        Time::MIN
    }
}

/// How far a path through the graph advances a time; our graphs only ever use the zero step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Step {
    pub epochs: u64,
    pub event_ns: i64,
}

impl PartialOrder for Step {
    fn less_equal(&self, other: &Self) -> bool {
        self.epochs <= other.epochs && self.event_ns <= other.event_ns
    }
}

impl PathSummary<Time> for Step {
    fn results_in(&self, t: &Time) -> Option<Time> {
        let epoch = t.epoch.checked_add(self.epochs)?;
        Some(Time { epoch, event: t.event.saturating_add(self.event_ns) })
    }

    fn followed_by(&self, other: &Self) -> Option<Self> {
        let epochs = self.epochs.checked_add(other.epochs)?;
        Some(Step { epochs, event_ns: self.event_ns.saturating_add(other.event_ns) })
    }
}

impl Refines<()> for Time {
    fn to_inner(_: ()) -> Self {
        Time::MIN
    }

    fn to_outer(self) {}

    fn summarize(_: Step) {}
}
