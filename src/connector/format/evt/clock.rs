//! The time that is in force on a line: the only thing that lines of an event log hand down.
//!
//! The reader runs this over every block to know the time at the start of the next, the decoder over
//! the lines of its block; both must see the same, so it is one function.

use memchr::memchr;

use crate::data::time::{NS_PER_MS, parse_duration, parse_timestamp};

/// Event time along an event log, ns since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvtClock {
    now_ns: i64,
}

/// What a line is, after what it says of time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Blank, a comment or `BATCH n`.
    NoEvent,
    /// An event, without its time.
    Event(&'a str),
    /// A time that is none; the clock stays.
    BadTime(&'a str),
}

impl EvtClock {
    pub fn at(now_ns: i64) -> EvtClock {
        EvtClock { now_ns }
    }

    pub fn now_ns(&self) -> i64 {
        self.now_ns
    }

    /// Takes the clock over whole lines.
    pub fn advance(&mut self, lines: &[u8]) {
        let mut rest = lines;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
            // A line that is not UTF-8 is malformed and sets no time.
            if let Ok(line) = std::str::from_utf8(&rest[..end]) {
                self.read(line);
            }
            rest = &rest[end..];
        }
    }

    /// Reads the time off a line.
    pub(super) fn read<'a>(&mut self, line: &'a str) -> Line<'a> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            return Line::NoEvent;
        }
        if let Some(stamp) = line.strip_prefix('@') {
            let (text, event) = stamp.split_once(char::is_whitespace).unwrap_or((stamp, ""));
            let Some(ns) = parse_duration(text).or_else(|| parse_timestamp(text.as_bytes())) else {
                return Line::BadTime(text);
            };
            self.now_ns = ns;
            let event = event.trim_start();
            return if event.is_empty() { Line::NoEvent } else { Line::Event(event) };
        }
        match line.strip_prefix("BATCH").filter(|rest| rest.starts_with(char::is_whitespace)) {
            Some(rest) => match rest.trim().parse::<i64>().ok().and_then(|ms| ms.checked_mul(NS_PER_MS)) {
                Some(ns) => {
                    self.now_ns = self.now_ns.saturating_add(ns);
                    Line::NoEvent
                }
                None => Line::BadTime(rest.trim()),
            },
            None => Line::Event(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_hold_until_the_next() {
        let mut clock = EvtClock::default();
        assert_eq!(clock.read("A { x: 1 }\n"), Line::Event("A { x: 1 }"));
        assert_eq!(clock.now_ns(), 0);
        assert_eq!(clock.read("  @1m5s  A(1)"), Line::Event("A(1)"));
        assert_eq!(clock.now_ns(), 65_000_000_000);
        assert_eq!(clock.read("BATCH 100"), Line::NoEvent);
        assert_eq!(clock.now_ns(), 65_100_000_000);
        assert_eq!(clock.read("# @9h"), Line::NoEvent);
        assert_eq!(clock.read("@soon A(1)"), Line::BadTime("soon"));
        assert_eq!(clock.read("BATCH many"), Line::BadTime("many"));
        assert_eq!(clock.read("BATCHES(1)"), Line::Event("BATCHES(1)"));
        assert_eq!(clock.now_ns(), 65_100_000_000);
        assert_eq!(clock.read("@1970-01-01T00:00:01Z"), Line::NoEvent);
        assert_eq!(clock.now_ns(), 1_000_000_000);
    }
}
