//! Rows of a side that is kept, by the time at which it is certain that nothing will be paired with them.
//!
//! All rows go in and most are paired before they come out, so that going in must cost next to nothing: they lie in
//! buckets of time, and a bucket is sorted when it is first asked for a part of it. What comes out may be paired, or
//! gone and held again at another place: whoever takes it looks.

use std::collections::BTreeMap;

use crate::join::held::HeldRow;

/// Into how many buckets a pane is cut.
const BUCKETS_PER_PANE: i64 = 16;

/// A row and the slot at which it was held.
#[derive(Clone, Copy, Debug)]
pub struct DueRow {
    pub slot: u32,
    pub row: HeldRow,
}

/// See the module's doc.
#[derive(Debug)]
pub struct Due {
    bucket_ns: i64,
    /// By the start of the bucket; whether it is sorted, the last row first.
    buckets: BTreeMap<i64, (Vec<DueRow>, bool)>,
    rows: usize,
}

impl Due {
    pub fn new(pane_ns: i64) -> Due {
        Due { bucket_ns: (pane_ns / BUCKETS_PER_PANE).max(1), buckets: BTreeMap::new(), rows: 0 }
    }

    pub fn push(&mut self, row: DueRow) {
        let time = row.row.time;
        let (bucket, is_sorted) = self.buckets.entry(time - time.rem_euclid(self.bucket_ns)).or_default();
        bucket.push(row);
        *is_sorted = false;
        self.rows += 1;
    }

    /// Takes up to about `limit` rows timed before `bound`, all before which were taken when there are none;
    /// `i64::MAX` bounds nothing.
    pub fn take(&mut self, bound: i64, limit: usize) -> Vec<DueRow> {
        let mut out = Vec::new();
        while out.len() < limit
            && let Some(mut entry) = self.buckets.first_entry()
            && *entry.key() < bound
        {
            let (bucket, is_sorted) = entry.get_mut();
            if !*is_sorted {
                bucket.sort_unstable_by_key(|due| std::cmp::Reverse(due.row.time));
                *is_sorted = true;
            }
            let stay = bucket.partition_point(|due| due.row.time >= bound && bound != i64::MAX);
            let stay = stay.max(bucket.len().saturating_sub(limit - out.len()));
            out.extend(bucket.drain(stay..).rev());
            if bucket.is_empty() {
                entry.remove();
            } else {
                break;
            }
        }
        self.rows -= out.len();
        out
    }

    /// Heap bytes, approximately.
    pub fn bytes(&self) -> usize {
        self.rows * size_of::<DueRow>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_in_order_and_once() {
        let mut due = Due::new(160);
        let times: Vec<i64> = (0..100).map(|i| (i * 37) % 101 - 20).collect();
        times.iter().for_each(|t| due.push(DueRow { slot: 0, row: HeldRow::new(*t, 0, 0, false) }));
        let mut taken = Vec::new();
        for bound in [-30, -5, 13, 13, 40, i64::MAX] {
            loop {
                let some = due.take(bound, 7);
                assert!(some.len() <= 7);
                if some.is_empty() {
                    break;
                }
                taken.extend(some.iter().map(|d| d.row.time));
            }
            assert!(taken.iter().all(|t| *t < bound) && taken.len() == times.iter().filter(|t| **t < bound).count());
        }
        assert!(taken.is_sorted());
        assert_eq!(due.bytes(), 0);
    }
}
