//! How far a partition has been read, when several workers decode its blocks: exact places, and a
//! watermark that every worker may rely on.
//!
//! Blocks are claimed in order and decoded in parallel. A worker publishes the greatest event time of
//! its block; the block's rows may leave once all earlier blocks are published, because only then the
//! watermark at its first row is known. What is published is kept until the block has been sent.
//!
//! Pure bookkeeping: no locks, no clocks, no timely.

use std::collections::BTreeMap;

use super::position::PartitionRecord;

/// The state of one partition.
#[derive(Debug)]
pub struct Progress {
    /// Blocks claimed so far; the index of the next.
    claimed: u64,
    /// Blocks published without a gap from the start.
    complete: u64,
    /// Times of blocks published ahead of a gap.
    published: BTreeMap<u64, Times>,
    /// A time too far ahead of the clock to be believed, until a second one confirms it.
    unconfirmed: Option<i64>,
    /// For blocks not yet sent, up to `complete`: the greatest event time before the block.
    before: BTreeMap<u64, i64>,
    /// Nothing in the partition is earlier than this, less the out-of-orderness: its first row's time.
    first_time: i64,
    /// By output of the source: a watermark that its readers already went by while the partition was
    /// silent.
    floors: Vec<i64>,
    exhausted: bool,
    /// The epoch that the next block claimed belongs to.
    epoch: u64,
    /// Rows of the blocks up to `complete`.
    rows: u64,
    /// Where the last epoch ended.
    boundary: Option<Boundary>,
}

/// Where a partition stood at the end of an epoch.
#[derive(Debug)]
struct Boundary {
    /// The first block of the next epoch.
    index: u64,
    /// Complete but for what is known only when all blocks before `index` are published.
    record: PartitionRecord,
    is_known: bool,
}

/// What the rows of a block say of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// The greatest event time, of those that are not ahead; `i64::MIN` without rows.
    pub greatest: i64,
    /// Times further ahead of the arrival clock than `max_ahead`, in partition order.
    pub ahead: Vec<i64>,
    pub rows: u64,
    /// How close to such a time a second one must be to confirm it.
    pub confirms_within_ns: i64,
}

/// A block that a worker has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub index: u64,
    pub epoch: u64,
    /// By output of the source: rows of the block have places no earlier than this.
    pub floors: Vec<i64>,
}

impl Progress {
    /// `first_time` is the first row's event time if the partition was peeked, else `i64::MIN`;
    /// `outputs` how many the source has.
    pub fn new(first_time: i64, outputs: usize) -> Progress {
        Progress {
            claimed: 0,
            complete: 0,
            published: BTreeMap::new(),
            unconfirmed: None,
            before: BTreeMap::from([(0, i64::MIN)]),
            first_time,
            floors: vec![i64::MIN; outputs],
            exhausted: false,
            epoch: 0,
            rows: 0,
            boundary: None,
        }
    }

    /// A partition that continues where `record` says.
    pub fn resumed(record: &PartitionRecord, epoch: u64) -> Progress {
        Progress {
            unconfirmed: record.unconfirmed,
            before: BTreeMap::from([(0, record.greatest)]),
            floors: record.floors.clone(),
            exhausted: record.ended,
            epoch,
            rows: record.rows,
            ..Progress::new(record.first_time, record.floors.len())
        }
    }

    /// How many outputs the source has.
    pub fn outputs(&self) -> usize {
        self.floors.len()
    }

    /// Learns the time of the first row, before any block is claimed.
    pub fn begins_at(&mut self, first_time: i64) {
        self.first_time = first_time;
    }

    /// Claims the next block.
    pub fn claim(&mut self) -> Claim {
        self.claimed += 1;
        Claim { index: self.claimed - 1, epoch: self.epoch, floors: self.floors.clone() }
    }

    /// Blocks claimed from now on belong to `epoch` or later; the next begins at `position`.
    pub fn enter_epoch(&mut self, epoch: u64, position: Option<u64>) {
        if epoch <= self.epoch {
            return;
        }
        self.epoch = epoch;
        let record = PartitionRecord {
            position,
            ended: self.exhausted,
            first_time: self.first_time,
            floors: self.floors.clone(),
            ..PartitionRecord::default()
        };
        self.boundary = Some(Boundary { index: self.claimed, record, is_known: false });
        self.complete_boundary();
    }

    /// Fills in what is known of the boundary once all blocks before it are published.
    fn complete_boundary(&mut self) {
        let Some(boundary) = self.boundary.as_mut().filter(|b| b.index == self.complete && !b.is_known) else { return };
        boundary.record.greatest = self.before[&self.complete];
        boundary.record.unconfirmed = self.unconfirmed;
        boundary.record.rows = self.rows;
        boundary.is_known = true;
    }

    /// Where the partition stood when it entered its epoch, once that is known.
    pub fn boundary(&self) -> Option<&PartitionRecord> {
        self.boundary.as_ref().filter(|b| b.is_known).map(|b| &b.record)
    }

    /// There is no further block to claim.
    pub fn exhaust(&mut self) {
        self.exhausted = true;
    }

    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Blocks that are being decoded.
    pub fn undecoded(&self) -> u64 {
        self.claimed - self.complete - self.published.len() as u64
    }

    /// The times of block `index` are known.
    pub fn publish(&mut self, index: u64, times: Times) {
        self.published.insert(index, times);
        while let Some(times) = self.published.remove(&self.complete) {
            let before = self.before[&self.complete].max(times.greatest);
            let confirmed = self.confirm(&times);
            self.complete += 1;
            self.rows += times.rows;
            self.before.insert(self.complete, before.max(confirmed));
            self.complete_boundary();
        }
    }

    /// The greatest of the times that are ahead and were confirmed by another close to it; `i64::MIN`
    /// if none was.
    fn confirm(&mut self, times: &Times) -> i64 {
        let mut greatest = i64::MIN;
        for &time in &times.ahead {
            match self.unconfirmed {
                Some(first) if time.abs_diff(first) <= times.confirms_within_ns.unsigned_abs() => {
                    greatest = greatest.max(time).max(first);
                    self.unconfirmed = None;
                }
                Some(_) | None => self.unconfirmed = Some(time),
            }
        }
        greatest
    }

    /// The greatest event time before block `index`, once it is known.
    pub fn greatest_before(&self, index: u64) -> Option<i64> {
        self.before.get(&index).copied()
    }

    /// Block `index` has been sent.
    pub fn sent(&mut self, index: u64) {
        if index < self.complete {
            self.before.remove(&index);
        }
    }

    /// The greatest event time that surely stands before every row that a worker may still send, whose
    /// first unsent block is `unsent`; `None` when it will send nothing more.
    pub fn greatest_for(&self, unsent: Option<u64>) -> Option<i64> {
        let known = match unsent {
            Some(index) => self.before[&index.min(self.complete)],
            None if self.exhausted => return None,
            None => self.before[&self.complete],
        };
        Some(known.max(self.first_time))
    }

    /// The floor for whoever goes by the partition's watermark on `output`.
    pub fn floor(&self, output: usize) -> i64 {
        self.floors[output]
    }

    /// Readers of `output` go by `watermark` from now on, although no row said so: the partition was
    /// silent. Rows claimed later have no earlier place.
    pub fn raise_floor(&mut self, output: usize, watermark: i64) {
        self.floors[output] = self.floors[output].max(watermark);
    }
}

/// The watermark of a partition in which `greatest` is the greatest event time seen.
pub fn watermark(greatest: i64, out_of_order_ns: i64, floor: i64) -> i64 {
    greatest.saturating_sub(out_of_order_ns).max(floor)
}

/// What decides the places of a block's rows beside their own times.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// The greatest event time before the block.
    pub greatest: i64,
    pub out_of_order_ns: i64,
    /// No place is earlier than this.
    pub floor: i64,
    /// Times after this do not move the watermark: they are too far ahead of the clock.
    pub ahead_of: i64,
}

impl Before {
    /// The place of the next row, which is timed `time`.
    #[inline]
    pub fn place(&mut self, time: i64) -> i64 {
        let place = time.max(watermark(self.greatest, self.out_of_order_ns, self.floor));
        if time <= self.ahead_of {
            self.greatest = self.greatest.max(time);
        }
        place
    }
}

/// The places of rows timed `times`, in partition order; `None` when every place is the row's own time.
pub fn places(times: &[i64], before: Before) -> Option<Vec<i64>> {
    let mut first = before;
    if times.iter().all(|&time| first.place(time) == time) {
        return None;
    }
    let mut again = before;
    Some(times.iter().map(|&time| again.place(time)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Blocks decoded and published in any order give the places of the unsplit partition, and no
        /// worker's watermark is ever after a place that it still sends.
        #[test]
        fn places_do_not_depend_on_who_decodes(
            blocks in prop::collection::vec(prop::collection::vec(0i64..100, 0..5), 1..8),
            order in prop::collection::vec(0usize..8, 0..60),
            out_of_order in 0i64..20,
        ) {
            let all: Vec<i64> = blocks.concat();
            let start = |greatest| Before { greatest, out_of_order_ns: out_of_order, floor: i64::MIN, ahead_of: i64::MAX };
            let whole = places(&all, start(i64::MIN)).unwrap_or(all);
            let mut progress = Progress::new(i64::MIN, 1);
            let (mut claimed, mut unsent, mut got) = (Vec::new(), Vec::new(), vec![None; blocks.len()]);
            for step in order.into_iter().chain((0..3 * blocks.len()).rev()) {
                match step % 3 {
                    0 if (progress.claimed as usize) < blocks.len() => {
                        let claim = progress.claim();
                        claimed.push(claim.index);
                        unsent.push(claim.index);
                    }
                    1 if !claimed.is_empty() => {
                        let index = claimed.remove(step % claimed.len());
                        let greatest = blocks[index as usize].iter().copied().max().unwrap_or(i64::MIN);
                        progress.publish(index, Times { greatest, ahead: Vec::new(), rows: 0, confirms_within_ns: 0 });
                    }
                    _ => {
                        let Some(&index) = unsent.first() else { continue };
                        let held = progress.greatest_for(Some(index)).unwrap();
                        if let Some(before) = progress.greatest_before(index) {
                            let times = &blocks[index as usize];
                            let at = places(times, start(before)).unwrap_or(times.clone());
                            prop_assert!(at.iter().all(|a| *a >= watermark(held, out_of_order, i64::MIN)));
                            got[index as usize] = Some(at);
                            progress.sent(index);
                            unsent.remove(0);
                        }
                    }
                }
            }
            let got: Vec<i64> = got.into_iter().flatten().flatten().collect();
            prop_assert_eq!(&got[..], &whole[..got.len()]);
        }
    }

    /// One time far ahead is not believed, two that are close are.
    #[test]
    fn a_time_ahead_of_the_clock_needs_another() {
        let mut progress = Progress::new(i64::MIN, 1);
        let publish = |progress: &mut Progress, greatest, ahead: &[i64]| {
            let index = progress.claim().index;
            progress.publish(index, Times { greatest, ahead: ahead.to_vec(), rows: 0, confirms_within_ns: 5 });
            progress.greatest_for(None)
        };
        assert_eq!(publish(&mut progress, 10, &[1000]), Some(10));
        assert_eq!(publish(&mut progress, 11, &[2000]), Some(11));
        assert_eq!(publish(&mut progress, 12, &[2003]), Some(2003));
    }
}
