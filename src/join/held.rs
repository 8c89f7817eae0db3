//! The rows that one side of a join holds for one key in one pane, in the order of time.
//!
//! Most keys have one row. A key that has a great part of all rows is what this exists for: its rows lie in sorted
//! runs, each more than twice as long as the next, so that a row is added in amortized logarithmic time wherever it
//! falls, and those within a range of time are found by bisection. With rows that come in order there is one run.

use std::cmp::Ordering;

/// A row that is held: its time, where its columns are, and whether something was paired with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRow {
    pub time: i64,
    pub chunk: u32,
    /// The number in the chunk; its highest bit is the mark.
    row: u32,
}

impl HeldRow {
    const MARK: u32 = 1 << 31;

    pub fn new(time: i64, chunk: u32, row: u32, is_paired: bool) -> HeldRow {
        HeldRow { time, chunk, row: row | if is_paired { HeldRow::MARK } else { 0 } }
    }

    pub fn row(self) -> u32 {
        self.row & !HeldRow::MARK
    }

    /// Whether something was paired with it, where that was noted.
    pub fn is_paired(self) -> bool {
        self.row & HeldRow::MARK != 0
    }

    fn order(&self, other: &HeldRow) -> Ordering {
        (self.time, self.chunk, self.row()).cmp(&(other.time, other.chunk, other.row()))
    }
}

/// See the module's doc.
#[derive(Debug, Default)]
pub enum Held {
    #[default]
    None,
    One(HeldRow),
    Run(Vec<HeldRow>),
    Runs(Vec<Vec<HeldRow>>),
}

impl Held {
    pub fn push(&mut self, row: HeldRow) {
        match self {
            Held::None => *self = Held::One(row),
            Held::One(first) if first.order(&row).is_le() => *self = Held::Run(vec![*first, row]),
            Held::One(first) => *self = Held::Run(vec![row, *first]),
            Held::Run(run) if is_last(run, &row) => run.push(row),
            Held::Run(run) => {
                let mut runs = vec![std::mem::take(run), vec![row]];
                merge_short(&mut runs);
                *self = Held::Runs(runs);
            }
            Held::Runs(runs) => {
                match runs.last_mut().filter(|run| is_last(run, &row)) {
                    Some(run) => run.push(row),
                    None => runs.push(vec![row]),
                }
                merge_short(runs);
            }
        }
    }

    fn runs(&self) -> impl Iterator<Item = &[HeldRow]> {
        let (one, many): (&[HeldRow], &[Vec<HeldRow>]) = match self {
            Held::None => (&[], &[]),
            Held::One(row) => (std::slice::from_ref(row), &[]),
            Held::Run(run) => (run, &[]),
            Held::Runs(runs) => (&[], runs),
        };
        std::iter::once(one).chain(many.iter().map(Vec::as_slice))
    }

    /// The rows timed from `from` to `to`, both included.
    #[inline]
    pub fn range(&self, from: i64, to: i64) -> impl Iterator<Item = HeldRow> {
        self.runs().flat_map(move |run| {
            let start = run.partition_point(|r| r.time < from);
            run[start..].iter().take_while(move |r| r.time <= to).copied()
        })
    }

    /// All rows; of one run in order of time.
    pub fn iter(&self) -> impl Iterator<Item = HeldRow> {
        self.runs().flat_map(|run| run.iter().copied())
    }

    pub fn find(&self, row: HeldRow) -> Option<HeldRow> {
        self.runs().find_map(|run| run.binary_search_by(|r| r.order(&row)).ok().map(|i| run[i]))
    }

    /// Notes that something was paired with a row.
    pub fn mark(&mut self, row: HeldRow) {
        let in_run = |run: &mut [HeldRow]| match run.binary_search_by(|r| r.order(&row)) {
            Ok(found) => {
                run[found].row |= HeldRow::MARK;
                true
            }
            Err(_) => false,
        };
        match self {
            Held::None => {}
            Held::One(one) => drop(in_run(std::slice::from_mut(one))),
            Held::Run(run) => drop(in_run(run)),
            Held::Runs(runs) => drop(runs.iter_mut().any(|run| in_run(run))),
        }
    }

    pub fn len(&self) -> usize {
        self.runs().map(<[HeldRow]>::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Held::None | Held::One(_) => 0,
            Held::Run(run) => run.capacity() * size_of::<HeldRow>(),
            Held::Runs(runs) => runs.iter().map(|r| r.capacity() * size_of::<HeldRow>() + size_of_val(r)).sum(),
        }
    }
}

fn is_last(run: &[HeldRow], row: &HeldRow) -> bool {
    run.last().is_none_or(|last| last.order(row).is_le())
}

/// Merges runs until each is more than twice as long as the next.
fn merge_short(runs: &mut Vec<Vec<HeldRow>>) {
    while let [.., before, last] = &runs[..]
        && before.len() <= 2 * last.len()
    {
        let (Some(last), Some(before)) = (runs.pop(), runs.pop()) else { return };
        runs.push(merged(before, last));
    }
}

fn merged(a: Vec<HeldRow>, b: Vec<HeldRow>) -> Vec<HeldRow> {
    let mut out = Vec::with_capacity(2 * (a.len() + b.len()));
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let next = if x.order(y).is_le() { a.next() } else { b.next() };
        out.extend(next);
    }
    out.extend(a);
    out.extend(b);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_found_by_time_and_by_name(times in prop::collection::vec(-20i64..20, 0..60), from in -25i64..25, length in 0i64..30) {
            let mut held = Held::default();
            let rows: Vec<HeldRow> =
                times.iter().enumerate().map(|(i, t)| HeldRow::new(*t, i as u32 / 7, i as u32 % 7, false)).collect();
            rows.iter().for_each(|row| held.push(*row));
            prop_assert_eq!(held.len(), rows.len());
            let key = |r: &HeldRow| (r.time, r.chunk, r.row());
            let mut got: Vec<_> = held.range(from, from + length).map(|r| key(&r)).collect();
            let mut expected: Vec<_> =
                rows.iter().filter(|r| (from..=from + length).contains(&r.time)).map(key).collect();
            got.sort();
            expected.sort();
            prop_assert_eq!(got, expected);
            for (i, row) in rows.iter().enumerate().filter(|(i, _)| i % 3 == 0) {
                held.mark(*row);
                prop_assert!(held.find(*row).is_some_and(HeldRow::is_paired), "row {}", i);
            }
            prop_assert_eq!(held.iter().filter(|r| r.is_paired()).count(), rows.len().div_ceil(3));
        }

        #[test]
        fn runs_are_few(times in prop::collection::vec(0i64..1000, 1..400)) {
            let mut held = Held::default();
            times.iter().enumerate().for_each(|(i, t)| held.push(HeldRow::new(*t, 0, i as u32, false)));
            if let Held::Runs(runs) = &held {
                prop_assert!(runs.len() <= 9, "{} runs of {} rows", runs.len(), times.len());
                prop_assert!(runs.windows(2).all(|w| w[0].len() > 2 * w[1].len()));
            }
        }
    }
}
