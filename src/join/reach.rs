//! Which rows are near enough in time to be paired, and how long a row is held for that.
//!
//! The sides are 0, the left input, and 1, the right one. Time is cut into panes, in which rows are held and found;
//! they are wide enough for a row to look into its own and one neighbour, and for a stream not to need too many.

use serde::{Deserialize, Serialize};

/// No pane of an interval join is narrower: each costs as much as some hundred rows.
const PANE_MIN_NS: i64 = 10_000_000;
/// Into how many panes the allowed lateness is cut at most.
const PANES_OF_LATENESS: i64 = 4;

/// See the module's doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// The right row is at most `before_ns` before the left one, and at most `after_ns` after it.
    Interval { before_ns: i64, after_ns: i64 },
    /// Both rows are in one tumbling window.
    Window { size_ns: i64, offset_ns: i64 },
}

impl Reach {
    /// How long after its own time a row of `side` may still find a row of the other; of a window, how long after
    /// the time of what comes out.
    pub fn wait_ns(&self, side: usize) -> i64 {
        match *self {
            Reach::Interval { before_ns, after_ns } => [after_ns, before_ns][side],
            Reach::Window { .. } => 0,
        }
    }

    /// How much of event time is held at most: panes go as wholes, when their last rows find nothing any more.
    pub fn span_ns(&self, lateness_ns: i64) -> i64 {
        let wait_ns = self.wait_ns(0).max(self.wait_ns(1));
        self.pane_ns(lateness_ns).saturating_add(wait_ns).saturating_add(lateness_ns)
    }

    /// How wide panes are.
    pub fn pane_ns(&self, lateness_ns: i64) -> i64 {
        match *self {
            Reach::Interval { before_ns, after_ns } => {
                before_ns.saturating_add(after_ns).max(lateness_ns / PANES_OF_LATENESS).max(PANE_MIN_NS)
            }
            Reach::Window { size_ns, .. } => size_ns,
        }
    }

    fn offset_ns(&self) -> i64 {
        match *self {
            Reach::Interval { .. } => 0,
            Reach::Window { offset_ns, .. } => offset_ns,
        }
    }

    /// The start of the pane of width `pane_ns` that an instant lies in.
    pub fn pane(&self, pane_ns: i64, time: i64) -> i64 {
        let offset_ns = self.offset_ns();
        let from = time.saturating_sub(offset_ns);
        from.saturating_sub(from.rem_euclid(pane_ns)).saturating_add(offset_ns)
    }

    /// The first and the last time that rows may have to be paired with a row of `side` at `time`.
    pub fn range(&self, side: usize, time: i64) -> (i64, i64) {
        match *self {
            Reach::Interval { .. } => {
                (time.saturating_sub(self.wait_ns(1 - side)), time.saturating_add(self.wait_ns(side)))
            }
            Reach::Window { size_ns, .. } => {
                let start = self.pane(size_ns, time);
                (start, start.saturating_add(size_ns - 1))
            }
        }
    }

    /// The time of a pair.
    pub fn time(&self, a: i64, b: i64) -> i64 {
        match *self {
            Reach::Interval { .. } => a.max(b),
            Reach::Window { .. } => self.alone(a),
        }
    }

    /// The time of a row that comes out alone.
    pub fn alone(&self, time: i64) -> i64 {
        match *self {
            Reach::Interval { .. } => time,
            Reach::Window { .. } => self.range(0, time).1,
        }
    }

    /// By how much a row is late; it is not if that is not positive. A window is open until its end and the lateness have
    /// passed.
    pub fn shortfall_ns(&self, time: i64, place: i64, lateness_ns: i64) -> i64 {
        place.saturating_sub(self.alone(time).saturating_add(lateness_ns))
    }

    /// When every row still to come is timed `now` or later: rows of `side` before this time find no other any more.
    pub fn settled(&self, side: usize, now: i64) -> i64 {
        match *self {
            _ if now == i64::MAX => i64::MAX,
            Reach::Interval { .. } => now.saturating_sub(self.wait_ns(side)),
            Reach::Window { size_ns, .. } => self.pane(size_ns, now),
        }
    }

    /// When every row of a pane that starts at `pane` is settled, of both sides.
    pub fn pane_over(&self, pane: i64, pane_ns: i64) -> i64 {
        let wait_ns = self.wait_ns(0).max(self.wait_ns(1));
        pane.saturating_add(pane_ns).saturating_add(wait_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Reach = Reach::Interval { before_ns: 10, after_ns: 50 };
    const WINDOW: Reach = Reach::Window { size_ns: 100, offset_ns: 30 };

    #[test]
    fn the_second_input_is_measured_from_the_first() {
        assert_eq!(HOUR.range(0, 1000), (990, 1050));
        assert_eq!(HOUR.range(1, 1000), (950, 1010));
        for (a, b) in [(1000, 990), (1000, 1050), (1000, 989), (1000, 1051)] {
            let (from, to) = HOUR.range(0, a);
            let (back_from, back_to) = HOUR.range(1, b);
            assert_eq!((from..=to).contains(&b), (back_from..=back_to).contains(&a), "{a} {b}");
        }
    }

    #[test]
    fn a_row_is_settled_when_no_other_can_come() {
        assert_eq!((HOUR.settled(0, 1000), HOUR.settled(1, 1000)), (950, 990));
        // A row at 950 still meets one at 1000.
        assert_eq!(HOUR.range(0, 950).1, 1000);
        assert_eq!(HOUR.settled(0, i64::MAX), i64::MAX);
        assert_eq!((WINDOW.settled(0, 229), WINDOW.settled(0, 230)), (130, 230));
        // Before there is a watermark.
        assert!(WINDOW.settled(0, i64::MIN) < -1_000_000 && HOUR.settled(1, i64::MIN) == i64::MIN);
    }

    #[test]
    fn windows_have_their_last_instant() {
        assert_eq!(WINDOW.range(0, 130), (130, 229));
        assert_eq!(WINDOW.range(1, 229), (130, 229));
        assert_eq!((WINDOW.time(130, 200), WINDOW.alone(-1)), (229, 29));
        assert_eq!((WINDOW.shortfall_ns(130, 229, 0), WINDOW.shortfall_ns(130, 230, 0)), (0, 1));
        assert_eq!((HOUR.shortfall_ns(130, 140, 10), HOUR.shortfall_ns(130, 141, 10)), (0, 1));
    }

    #[test]
    fn a_pane_and_one_neighbour_are_enough() {
        let pane_ns = Reach::Interval { before_ns: 30_000_000, after_ns: 50_000_000 }.pane_ns(0);
        assert_eq!(pane_ns, 80_000_000);
        assert_eq!(HOUR.pane_ns(0), PANE_MIN_NS);
        assert_eq!(HOUR.pane(pane_ns, -1), -pane_ns);
    }
}
