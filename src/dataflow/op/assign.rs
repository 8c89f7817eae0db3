//! Which windows a row belongs to: time windows as arithmetic on a coordinate.
//!
//! The coordinate is ns for windows of fixed length, and the number of the local day for windows of
//! whole days in a time zone, whose length in ns varies. Windows start at multiples of `slide` (plus the
//! offset) and last `size`; a *pane* is the span between neighbouring window bounds (the greatest common
//! divisor), so that a window is a whole number of panes.

use chrono::{NaiveDate, TimeZone};
use chrono_tz::Tz;

use crate::data::time::{NS_PER_DAY, civil_from_days};

/// Maps rows to panes and panes to windows.
#[derive(Clone, Debug)]
pub struct Assigner {
    calendar: Calendar,
    size: i64,
    slide: i64,
    offset: i64,
    pane: i64,
}

/// What the coordinate counts.
#[derive(Clone, Debug)]
enum Calendar {
    Nanoseconds,
    LocalDays(Tz),
}

impl Assigner {
    /// For sizes in ns. With a time zone, size, slide and offset are whole days.
    pub fn new(size_ns: i64, slide_ns: i64, offset_ns: i64, tz: Option<Tz>) -> Assigner {
        let (calendar, unit) = match tz {
            None => (Calendar::Nanoseconds, 1),
            Some(tz) => (Calendar::LocalDays(tz), NS_PER_DAY),
        };
        let (size, slide, offset) = (size_ns / unit, slide_ns / unit, offset_ns / unit);
        Assigner {
            calendar,
            size,
            slide,
            offset: offset.rem_euclid(slide),
            pane: gcd(size as u64, slide as u64) as i64,
        }
    }

    /// The pane that an instant lies in, by the coordinate of its start.
    #[inline]
    pub fn pane(&self, time: i64) -> i64 {
        let c = match &self.calendar {
            Calendar::Nanoseconds => time,
            Calendar::LocalDays(tz) => local_day(*tz, time),
        };
        (c - self.offset).div_euclid(self.pane) * self.pane + self.offset
    }

    /// The least end of a window that covers the pane. With `slide > size` there may be none: then it is
    /// greater than [`Self::last_end`].
    #[inline]
    pub fn first_end(&self, pane: i64) -> i64 {
        let least_start = pane + self.pane - self.size;
        let over = (least_start - self.offset).rem_euclid(self.slide);
        let start = if over == 0 { least_start } else { least_start + self.slide - over };
        start + self.size
    }

    /// The greatest end of a window that covers the pane.
    #[inline]
    pub fn last_end(&self, pane: i64) -> i64 {
        let start = pane - (pane - self.offset).rem_euclid(self.slide);
        start + self.size
    }

    /// The ends of all windows that cover the pane and end at `first` or later; `first` is one of them.
    pub fn ends(&self, pane: i64, first: i64) -> impl Iterator<Item = i64> {
        (first..=self.last_end(pane)).step_by(self.slide as usize)
    }

    /// The window's start, from its end.
    pub fn start(&self, end: i64) -> i64 {
        end - self.size
    }

    /// Whether each window is one pane.
    pub fn is_tumbling(&self) -> bool {
        self.size == self.pane
    }

    /// How long a pane is, in the coordinate.
    pub fn pane_length(&self) -> i64 {
        self.pane
    }

    /// The instant (ns) of a coordinate that bounds a pane or window.
    #[inline]
    pub fn instant(&self, coordinate: i64) -> i64 {
        match &self.calendar {
            Calendar::Nanoseconds => coordinate,
            Calendar::LocalDays(tz) => local_midnight(*tz, coordinate),
        }
    }
}

/// The greatest common divisor: how long the panes of windows are.
pub fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The number of the day (since 1970-01-01, in local time) that an instant lies in.
///
/// Where clocks go back over midnight, the hour that comes again belongs to the day that had begun.
fn local_day(tz: Tz, time: i64) -> i64 {
    let day = day_of_clock(tz, time);
    if local_midnight(tz, day + 1) <= time { day + 1 } else { day }
}

/// The number of the day that clocks show.
fn day_of_clock(tz: Tz, time: i64) -> i64 {
    tz.timestamp_nanos(time).date_naive().signed_duration_since(NaiveDate::default()).num_days()
}

/// The instant at which a local day begins: its first one, where midnight happens twice, and the one
/// after the gap, where clocks skip midnight.
fn local_midnight(tz: Tz, day: i64) -> i64 {
    let (year, month, d) = civil_from_days(day);
    let date = NaiveDate::from_ymd_opt(year as i32, month, d).expect("times are checked to lie in 1900 to 2200");
    let midnight = tz.from_local_datetime(&date.and_time(chrono::NaiveTime::MIN)).earliest();
    match midnight {
        Some(instant) => instant.timestamp_nanos_opt().expect("times are checked to lie in 1900 to 2200"),
        None => end_of_gap(tz, day),
    }
}

/// The first instant of a day whose midnight clocks skip: by any interval, up to the whole day.
fn end_of_gap(tz: Tz, day: i64) -> i64 {
    let (mut before, mut from) = ((day - 2) * NS_PER_DAY, (day + 2) * NS_PER_DAY);
    while from - before > 1 {
        let between = before + (from - before) / 2;
        if day_of_clock(tz, between) < day {
            before = between;
        } else {
            from = between;
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::time::{NS_PER_H, format_timestamp, parse_timestamp};

    proptest! {
        /// The windows of a pane are exactly those that cover an instant in it, by definition.
        #[test]
        fn windows_of_a_row(size in 1i64..40, slide in 1i64..40, offset in -50i64..50, t in -200i64..200) {
            let a = Assigner::new(size, slide, offset, None);
            let pane = a.pane(t);
            prop_assert!(pane <= t && t < pane + a.pane_length());
            let by_definition: Vec<i64> = (t - size..=t)
                .filter(|s| (s - offset).rem_euclid(slide) == 0 && *s <= t && t < s + size)
                .map(|s| s + size)
                .collect();
            let first = a.first_end(pane);
            prop_assert_eq!(a.ends(pane, first).collect::<Vec<_>>(), by_definition);
        }
    }

    #[test]
    fn days_in_paris_follow_its_clocks() {
        let a = Assigner::new(NS_PER_DAY, NS_PER_DAY, 0, Some(chrono_tz::Europe::Paris));
        let ts = |s: &str| parse_timestamp(s.as_bytes()).unwrap();
        let day = a.pane(ts("2026-03-29T12:00:00Z"));
        let (start, end) = (a.instant(day), a.instant(a.first_end(day)));
        assert_eq!(start, ts("2026-03-28T23:00:00Z"));
        assert_eq!(end - start, 23 * NS_PER_H);
    }

    /// The start and end of the day that an instant lies in.
    fn day(tz: Tz, time: &str) -> [String; 2] {
        let a = Assigner::new(NS_PER_DAY, NS_PER_DAY, 0, Some(tz));
        let pane = a.pane(parse_timestamp(time.as_bytes()).unwrap());
        [a.instant(pane), a.instant(a.first_end(pane))].map(format_timestamp)
    }

    #[test]
    fn days_begin_where_clocks_say_however_odd() {
        let [paris, monrovia] = [chrono_tz::Europe::Paris, chrono_tz::Africa::Monrovia];
        assert_eq!(day(paris, "1969-12-30T22:59:59.5Z"), ["1969-12-29T23:00:00Z", "1969-12-30T23:00:00Z"]);
        // Clocks went from 00:00 to 00:44:30.
        assert_eq!(day(monrovia, "1972-01-07T00:44:30Z"), ["1972-01-07T00:44:30Z", "1972-01-08T00:00:00Z"]);
        assert_eq!(day(monrovia, "1972-01-07T00:44:29Z"), ["1972-01-06T00:44:30Z", "1972-01-07T00:44:30Z"]);
        // There was no 30th.
        assert_eq!(day(chrono_tz::Pacific::Apia, "2011-12-30T10:00:00Z")[0], "2011-12-30T10:00:00Z");
        // Clocks went from 00:01 back to 23:01, when the day had begun.
        let st_johns = chrono_tz::America::St_Johns;
        assert_eq!(day(st_johns, "2006-10-29T03:00:00Z"), ["2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"]);
        assert_eq!(day(st_johns, "2006-10-29T02:29:59Z")[1], "2006-10-29T02:30:00Z");
    }
}
