//! Rows in flight, counted: what back-pressure stands on.
//!
//! A source or a stateful operator takes a [`Flight`] from the process's [`Gauge`] for each batch that it
//! sends; the guard travels with the rows and gives them back when it is dropped, which happens when a
//! stateful operator has taken the rows in, a sink has written them, or a filter has dropped them.
//! None of that needs more input, so that sources which wait for it do not wait for ever. Counting was chosen over reading
//! a probe's lag: behind an operator with output delay a probe never comes close, and such a gate would
//! stay shut for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Rows and bytes sent in a process that nobody has taken in yet.
#[derive(Debug, Default)]
pub struct Gauge {
    rows: AtomicI64,
    bytes: AtomicI64,
    bytes_peak: AtomicI64,
}

impl Gauge {
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
        self.rows.fetch_add(rows as i64, Ordering::Relaxed);
        let now = self.bytes.fetch_add(bytes as i64, Ordering::Relaxed) + bytes as i64;
        self.bytes_peak.fetch_max(now, Ordering::Relaxed);
        Flight { gauge: self.clone(), rows: rows as i64, bytes: bytes as i64 }
    }
}

/// A share of a [`Gauge`], given back on drop.
#[derive(Debug)]
pub struct Flight {
    gauge: Arc<Gauge>,
    rows: i64,
    bytes: i64,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.gauge.rows.fetch_sub(self.rows, Ordering::Relaxed);
        self.gauge.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
