//! The driver of every stateful operator: which rows belong to which epoch, what is complete, and what
//! the operator's capability may say. Nothing else touches frontiers, stashes or capabilities.
//!
//! ```text
//! take messages: stamp.epoch <= c -> apply, else -> stash
//! m = meet of all input frontiers
//! loop {
//!     w = min(m.event, event of every stamp in the stash)
//!     fire everything complete at w, under the held capability        // belongs to epoch c
//!     downgrade to (c, w - output_delay)
//!     if m.epoch <= c, or the input ended and the stash is empty: break
//!     begin to hand over the state of c;  c += 1;  downgrade to (c, same);  apply the stash of c
//! }
//! ```
//!
//! The hand-over is lazy: the state as it is when `c` ends is saved in slices, one for each activation, while
//! rows of `c + 1` are applied. Only when the next epoch ends before all is saved, the driver waits.
//!
//! # Invariants
//! 1. A row is applied in the epoch of its stamp: state handed over for `c` holds exactly the rows
//!    stamped `<= c`.
//! 2. `w` ignores rows that have arrived but wait in the stash, since they are not in the state yet.
//!    Firing with the frontier alone emits windows without them.
//! 3. Firing comes before the hand-over; after the hand-over of `c` nothing is sent under `c`. The other
//!    order emits rows of `c` that the state saved for `c` does not know to be emitted.
//! 4. The held capability never is after a row that is still to be sent.
//!
//! The driver is pure: it knows neither timely nor arrow, and is run against the model of the protocol
//! (`tests/align.rs`) as it is run in the graph. The loop is resumable: an operator may yield inside
//! [`Core::fire`] and [`Keeper::save`].

use super::time::Time;

/// Whether an operator came to the end of what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// There is more to do: activate again.
    Yielded,
}

/// The core of a stateful operator.
///
/// # Contract
/// - `apply` may send only what does not depend on rows to come (late rows).
/// - `fire(w)` sends all that is complete at `w`: it may rely on every row still to come having a
///   place `>= w`. It sends no row placed before `w_before - output_delay_ns`, where `w_before` is the
///   watermark of the last complete `fire`.
/// - A `fire` that yields is called again, with the same watermark and possibly after more rows were
///   applied.
pub trait Core {
    type Rows;

    /// Takes rows in.
    fn apply(&mut self, input: usize, rows: Self::Rows, out: &mut dyn Outlet<Self::Rows>);

    /// Sends everything that is complete at `watermark`.
    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Self::Rows>) -> Progress;

    /// How far rows that are sent may trail the watermark.
    fn output_delay_ns(&self) -> i64;
}

/// Who saves the state of a core.
pub trait Keeper<C> {
    /// `epoch` ends, and `core` has fired everything up to `watermark`: its state as it is now is what
    /// [`save`](Self::save) saves. Nothing is being saved when this is called.
    fn begin(&mut self, core: &mut C, epoch: u64, watermark: i64);

    /// Saves a slice. One that yields is called again; rows may be applied in between.
    fn save(&mut self, core: &mut C) -> Progress;

    /// Sees to what the core holds, which is in `epoch`. Called in every activation.
    fn tend(&mut self, core: &mut C, epoch: u64);
}

/// Where a core sends rows; they leave under the capability that the driver holds.
pub trait Outlet<R> {
    /// Sends `rows` on output `port`.
    fn send(&mut self, port: usize, rows: R);
}

/// What the driver does to the operator's capability.
pub trait Held<R>: Outlet<R> {
    /// Moves the capability of all ports; `to` is never before what is held.
    fn downgrade(&mut self, to: Time);

    /// Drops the capability: the operator will send nothing more.
    fn close(&mut self);
}

/// See the module's doc.
pub struct Driver<C: Core, K> {
    core: C,
    keeper: K,
    /// The epoch `c` whose rows are being applied.
    epoch: u64,
    /// The time of the held capability; `None` once the input has ended.
    held: Option<Time>,
    stash: Vec<(Time, usize, C::Rows)>,
    /// The watermark of a `fire` that has yielded. It is completed before a later one begins: with input
    /// that comes as fast as output leaves, the capability would otherwise never move.
    firing: Option<i64>,
    /// Whether the state of the epoch before is being saved.
    is_saving: bool,
}

impl<C: Core, K: Keeper<C>> Driver<C, K> {
    /// A driver that starts in `epoch`: 0, or the one after the checkpoint that was restored. Its capability
    /// is in that epoch, before all time.
    pub fn new(core: C, keeper: K, epoch: u64) -> Self {
        let held = Some(Time { epoch, event: i64::MIN });
        Driver { core, keeper, epoch, held, stash: Vec::new(), firing: None, is_saving: false }
    }

    pub fn core(&self) -> &C {
        &self.core
    }

    pub fn core_mut(&mut self) -> &mut C {
        &mut self.core
    }

    /// Takes a message that arrived on `input` with `stamp`.
    pub fn receive(&mut self, stamp: Time, input: usize, rows: C::Rows, out: &mut dyn Outlet<C::Rows>) {
        if stamp.epoch <= self.epoch {
            self.core.apply(input, rows, out);
        } else {
            self.stash.push((stamp, input, rows));
        }
    }

    /// Does all that the meet `m` of the input frontiers allows ([`Time::END`] when all are empty), and saves
    /// a slice where something is to be saved.
    pub fn advance(&mut self, m: Time, out: &mut dyn Held<C::Rows>) -> Progress {
        self.save();
        let done = self.fire_and_end_epochs(m, out);
        self.keeper.tend(&mut self.core, self.epoch);
        if self.is_saving { Progress::Yielded } else { done }
    }

    fn save(&mut self) {
        if self.is_saving {
            self.is_saving = self.keeper.save(&mut self.core) == Progress::Yielded;
        }
    }

    fn fire_and_end_epochs(&mut self, m: Time, out: &mut dyn Held<C::Rows>) -> Progress {
        loop {
            let Some(held) = self.held else { return Progress::Done };
            let newest = self.stash.iter().fold(m.event, |w, (stamp, ..)| w.min(stamp.event));
            let w = self.firing.unwrap_or(newest);
            if self.core.fire(w, out) == Progress::Yielded {
                self.firing = Some(w);
                return Progress::Yielded;
            }
            self.firing = None;
            let event = delayed(w, self.core.output_delay_ns());
            if cfg!(feature = "checked") {
                assert!(event >= held.event, "the effective watermark went back from {} to {event}", held.event);
            }
            self.hold(Time { epoch: self.epoch, event: event.max(held.event) }, out);
            if w < newest {
                continue;
            }
            let ended = m == Time::END && self.stash.is_empty();
            if !ended && m.epoch <= self.epoch {
                return Progress::Done;
            }
            // What was left by the epoch before comes first, and an operator that is gone saves nothing.
            if self.is_saving {
                return Progress::Yielded;
            }
            if ended {
                self.held = None;
                out.close();
                return Progress::Done;
            }
            self.end_epoch(w, out);
        }
    }

    fn end_epoch(&mut self, fired: i64, out: &mut dyn Held<C::Rows>) {
        self.keeper.begin(&mut self.core, self.epoch, fired);
        self.is_saving = true;
        self.save();
        self.epoch += 1;
        if let Some(held) = self.held {
            self.hold(Time { epoch: self.epoch, event: held.event }, out);
        }
        self.apply_stash(out);
    }

    fn hold(&mut self, time: Time, out: &mut dyn Held<C::Rows>) {
        if self.held != Some(time) {
            self.held = Some(time);
            out.downgrade(time);
        }
    }

    /// Applies what was stamped up to the current epoch, in the order of arrival.
    fn apply_stash(&mut self, out: &mut dyn Held<C::Rows>) {
        let waiting = std::mem::take(&mut self.stash);
        for (stamp, input, rows) in waiting {
            if stamp.epoch <= self.epoch {
                self.core.apply(input, rows, out);
            } else {
                self.stash.push((stamp, input, rows));
            }
        }
    }
}

/// `watermark - delay_ns`; the ends of time stay where they are. A delay without end lasts until the input
/// ends: the times of rows may be further apart than an i64 holds.
fn delayed(watermark: i64, delay_ns: i64) -> i64 {
    match (watermark, delay_ns) {
        (i64::MAX, _) => i64::MAX,
        (_, i64::MAX) => i64::MIN,
        (watermark, delay_ns) => watermark.saturating_sub(delay_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl Keeper<Busy> for Nowhere {
        fn begin(&mut self, _: &mut Busy, _: u64, _: i64) {}

        fn save(&mut self, _: &mut Busy) -> Progress {
            Progress::Done
        }

        fn tend(&mut self, _: &mut Busy, _: u64) {}
    }

    /// Has one piece of work for every ns of the watermark, and yields after each.
    struct Busy {
        done: i64,
    }

    impl Core for Busy {
        type Rows = ();

        fn apply(&mut self, _: usize, (): (), _: &mut dyn Outlet<()>) {}

        fn fire(&mut self, watermark: i64, _: &mut dyn Outlet<()>) -> Progress {
            if self.done >= watermark {
                return Progress::Done;
            }
            self.done += 1;
            Progress::Yielded
        }

        fn output_delay_ns(&self) -> i64 {
            0
        }
    }

    /// The times of the capability.
    struct Seen(Vec<i64>);

    impl Outlet<()> for Seen {
        fn send(&mut self, _: usize, (): ()) {}
    }

    impl Held<()> for Seen {
        fn downgrade(&mut self, to: Time) {
            self.0.push(to.event);
        }

        fn close(&mut self) {}
    }

    #[test]
    fn the_capability_moves_although_the_watermark_does_not_wait() {
        let (mut driver, mut seen) = (Driver::new(Busy { done: 0 }, Nowhere, 0), Seen(Vec::new()));
        for event in 3..30 {
            driver.advance(Time { epoch: 0, event }, &mut seen);
        }
        assert!(seen.0.len() > 1 && seen.0[0] == 3, "{:?}", seen.0);
    }
}
