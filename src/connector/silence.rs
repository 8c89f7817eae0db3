//! How long a partition has had nothing to read, as far as somebody looked.
//!
//! What counts is the time between two looks that both found nothing, and not the time since a look:
//! while the gate is shut or another partition is read first, nobody looks, and rows that arrive
//! meanwhile must not become late for it.
//!
//! Pure: the steady clock's reading comes as an argument.

use serde::{Deserialize, Serialize};

/// The silence of one partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence {
    /// The first and the last look that found nothing, since something was found; ns.
    span: Option<(i64, i64)>,
    /// The last look when the silence was last accounted for.
    accounted: Option<i64>,
}

/// What `idle` has done to a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idled {
    /// Silences in which the watermark was moved without a row.
    pub times: u64,
    /// By how much in all.
    pub moved_ns: i64,
    /// When the silence began in which it was last moved.
    #[serde(skip)]
    last_since: Option<i64>,
}

impl Silence {
    /// Somebody looked at `steady_ns` and found nothing.
    pub fn found_empty(&mut self, steady_ns: i64) {
        let (since, last) = self.span.unwrap_or((steady_ns, steady_ns));
        self.span = Some((since, last.max(steady_ns)));
    }

    /// The silence as it is now, for one account; the next account begins where this one ends.
    pub fn account(&mut self) -> Silence {
        let now = *self;
        self.accounted = self.span.map(|(_, last)| last);
        now
    }

    pub fn is_silent(&self) -> bool {
        self.span.is_some()
    }

    /// Whether it was silent for `idle_ns` when somebody last looked.
    pub fn has_lasted(&self, idle_ns: i64) -> bool {
        self.span.is_some_and(|(since, last)| last - since >= idle_ns)
    }

    /// How long it has been silent beyond `idle_ns` since the last account; `None` when it has not, or
    /// nobody has looked since then.
    pub fn passed_ns(&self, idle_ns: i64) -> Option<i64> {
        let (since, last) = self.span.filter(|_| self.has_lasted(idle_ns))?;
        let from = self.accounted.unwrap_or(i64::MIN);
        (last > from).then(|| last - from.max(since.saturating_add(idle_ns)))
    }
}

impl Idled {
    /// A watermark was moved by `moved_ns` in `silence`.
    pub fn add(&mut self, silence: &Silence, moved_ns: i64) {
        let since = silence.span.map(|(since, _)| since);
        if since != self.last_since {
            self.times += 1;
            self.last_since = since;
        }
        self.moved_ns = self.moved_ns.saturating_add(moved_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_look_to_look() {
        let mut silence = Silence::default();
        assert!(!silence.is_silent() && !silence.has_lasted(0));
        silence.found_empty(100);
        assert!(silence.is_silent() && silence.has_lasted(0) && !silence.has_lasted(10));
        silence.found_empty(115);
        assert_eq!((silence.passed_ns(10), silence.passed_ns(20)), (Some(5), None));
        assert_eq!(silence.account().passed_ns(10), Some(5));
        // Nobody has looked since.
        assert_eq!(silence.passed_ns(10), None);
        silence.found_empty(130);
        assert_eq!(silence.passed_ns(10), Some(15));
    }
}
