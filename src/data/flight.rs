//! Rows in flight, counted: what back-pressure stands on.
//!
//! A source or a stateful operator takes a [`Flight`] from the process's [`Gauge`] for each batch that it
//! sends; the guard travels with the rows and gives them back when it is dropped, which happens when a
//! stateful operator has taken the rows in, a sink has written them, or a filter has dropped them.
//! None of that needs more input, so that sources which wait for it do not wait for ever. Counting was
//! chosen over reading a probe's lag: behind an operator with output delay a probe never comes close, and
//! such a gate would stay shut for ever.
//!
//! Rows that leave for another process stay counted here: they travel with a [`Passage`], for which the
//! other process makes a guard of its own, and when that is dropped it owes this process a word. Who
//! carries the word is not known here (`dataflow/feedback.rs`).
//!
//! # Invariant
//! What was counted is given back exactly once: by the guard's drop in the process that counted it, or
//! by [`Gauge::acknowledge`] for what has left it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows and bytes sent in a process that nobody has taken in yet.
#[derive(Debug, Default)]
pub struct Gauge {
    process: u32,
    rows: AtomicI64,
    bytes: AtomicI64,
    bytes_peak: AtomicI64,
    /// By process: what it sent here and was taken in, and it has not been told of.
    owed: Mutex<BTreeMap<u32, Amount>>,
}

/// So many rows, of so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Amount {
    pub rows: i64,
    pub bytes: i64,
}

/// What rows that leave a process carry with them: whose they are, and how much was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    pub process: u32,
    pub amount: Amount,
}

impl Gauge {
    /// The gauge of a process of the run.
    pub fn of_process(process: usize) -> Gauge {
        Gauge { process: process as u32, ..Gauge::default() }
    }

    pub fn rows(&self) -> i64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> i64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that were ever in flight at once.
    pub fn bytes_peak(&self) -> i64 {
        self.bytes_peak.load(Ordering::Relaxed)
    }

    /// Counts `rows` and `bytes` until the guard is dropped.
    pub fn depart(self: &Arc<Self>, rows: usize, bytes: usize) -> Flight {
        let amount = Amount { rows: rows as i64, bytes: bytes as i64 };
        self.add(amount);
        Flight { gauge: self.clone(), process: self.process, amount }
    }

    /// The guard of rows that came with `passage`, from this or another process.
    pub fn land(self: &Arc<Self>, passage: Passage) -> Flight {
        Flight { gauge: self.clone(), process: passage.process, amount: passage.amount }
    }

    /// What other processes are to be told of, by process; it is theirs to acknowledge from now on.
    pub fn take_owed(&self) -> BTreeMap<u32, Amount> {
        std::mem::take(&mut *self.owed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another process has taken in rows that were sent from here.
    pub fn acknowledge(&self, amount: Amount) {
        self.rows.fetch_sub(amount.rows, Ordering::Relaxed);
        self.bytes.fetch_sub(amount.bytes, Ordering::Relaxed);
    }

    fn add(&self, amount: Amount) {
        self.rows.fetch_add(amount.rows, Ordering::Relaxed);
        let now = self.bytes.fetch_add(amount.bytes, Ordering::Relaxed) + amount.bytes;
        self.bytes_peak.fetch_max(now, Ordering::Relaxed);
    }

    fn owe(&self, process: u32, amount: Amount) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = owed.entry(process).or_default();
        sum.rows += amount.rows;
        sum.bytes += amount.bytes;
    }
}

/// A share of a [`Gauge`], given back on drop.
#[derive(Debug)]
pub struct Flight {
    /// Of the process where the guard is.
    gauge: Arc<Gauge>,
    /// The process that counted it.
    process: u32,
    amount: Amount,
}

impl Flight {
    /// The guard of rows that were made of these: so many, of so many bytes.
    pub fn again(&self, rows: usize, bytes: usize) -> Flight {
        self.gauge.depart(rows, bytes)
    }

    /// Counts `rows` of `bytes` that leave this process, until whoever lands the passage gives it back.
    /// Rows that have come from another process and go on to a third are from here counted here.
    pub fn embark(&self, rows: usize, bytes: usize) -> Passage {
        let amount = Amount { rows: rows as i64, bytes: bytes as i64 };
        self.gauge.add(amount);
        Passage { process: self.gauge.process, amount }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.process == self.gauge.process {
            self.gauge.acknowledge(self.amount);
        } else {
            self.gauge.owe(self.process, self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows go from one process to another and on to a third; each hop counts until the next process
    /// has taken them in, and in the end nothing is in flight anywhere.
    #[test]
    fn what_has_left_is_counted_until_it_is_acknowledged() {
        let gauges: Vec<Arc<Gauge>> = (0..3).map(|i| Arc::new(Gauge::of_process(i))).collect();
        let tell = |from: usize| {
            for (to, amount) in gauges[from].take_owed() {
                gauges[to as usize].acknowledge(amount);
            }
        };
        let in_flight = || gauges.iter().map(|g| (g.rows(), g.bytes())).collect::<Vec<_>>();
        let flight = gauges[0].depart(10, 100);
        let passage = flight.embark(4, 30);
        assert_eq!(in_flight(), [(14, 130), (0, 0), (0, 0)]);
        drop(flight);
        assert_eq!(in_flight(), [(4, 30), (0, 0), (0, 0)]);

        let landed = gauges[1].land(passage);
        let onward = landed.embark(4, 20);
        drop(landed);
        assert_eq!(in_flight(), [(4, 30), (4, 20), (0, 0)]);
        tell(1);
        assert_eq!(in_flight(), [(0, 0), (4, 20), (0, 0)]);

        drop(gauges[2].land(onward));
        tell(2);
        tell(2);
        assert_eq!(in_flight(), [(0, 0), (0, 0), (0, 0)]);
        assert_eq!(gauges[0].bytes_peak(), 130);
    }

    #[test]
    fn rows_that_land_where_they_departed_are_given_back_at_once() {
        let gauge = Arc::new(Gauge::of_process(1));
        let passage = gauge.depart(2, 20).embark(2, 20);
        drop(gauge.land(passage));
        assert_eq!((gauge.rows(), gauge.take_owed().len()), (0, 0));
    }
}
