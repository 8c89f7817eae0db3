//! How long workers were kept by handing state over: what a checkpoint costs in latency.
//!
//! Each slice is one pause, since rows and other operators get their turn between two. Counted in buckets that
//! grow by half, so that a quantile is known to that much whatever the number of pauses.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Up to a second and more; longer ones fall into the last.
const BUCKETS: usize = 36;
const GROWTH: f64 = 1.5;

/// The pauses of all workers of a process, and what came before the first row.
#[derive(Debug)]
pub struct Pauses {
    /// By bucket: pauses no longer than [`bound_us`] of it, and longer than that of the one before.
    counts: [AtomicU64; BUCKETS],
    max_us: AtomicU64,
    /// What all workers together took to take in what a checkpoint had saved.
    restored_us: AtomicU64,
}

/// A reading of [`Pauses`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseCounts {
    counts: Vec<u64>,
    max_us: u64,
}

fn bound_us(bucket: usize) -> u64 {
    GROWTH.powi(bucket as i32) as u64
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            max_us: AtomicU64::new(0),
            restored_us: AtomicU64::new(0),
        }
    }
}

impl Pauses {
    pub fn add(&self, pause: Duration) {
        let us = pause.as_micros() as u64;
        let bucket = (0..BUCKETS - 1).find(|&b| us <= bound_us(b)).unwrap_or(BUCKETS - 1);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.max_us.fetch_max(us, Relaxed);
    }

    /// An operator of some worker has been restored.
    pub fn add_restored(&self, took: Duration) {
        self.restored_us.fetch_add(took.as_micros() as u64, Relaxed);
    }

    /// What the workers together took to restore their operators.
    pub fn restored(&self) -> Duration {
        Duration::from_micros(self.restored_us.load(Relaxed))
    }

    pub fn read(&self) -> PauseCounts {
        let counts = self.counts.iter().map(|c| c.load(Relaxed)).collect();
        PauseCounts { counts, max_us: self.max_us.load(Relaxed) }
    }
}

impl PauseCounts {
    /// Adds what another process counted.
    pub fn add(&mut self, other: PauseCounts) {
        self.counts.resize(BUCKETS, 0);
        self.counts.iter_mut().zip(other.counts).for_each(|(a, b)| *a += b);
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// What 99 of 100 pauses were no longer than, µs; by up to half too much.
    pub fn p99_us(&self) -> u64 {
        let wanted = (self.count() * 99).div_ceil(100);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        bucket.map_or(0, |b| bound_us(b).min(self.max_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_is_at_most_half_too_long() {
        let pauses = Pauses::default();
        (1..=1000).for_each(|us| pauses.add(Duration::from_micros(us)));
        pauses.add(Duration::from_secs(100));
        let counts = pauses.read();
        assert_eq!((counts.count(), counts.max_us()), (1001, 100_000_000));
        assert!((990..1485).contains(&counts.p99_us()), "{}", counts.p99_us());
        assert_eq!(PauseCounts::default().p99_us(), 0);
    }
}
