//! Timestamps and durations. All calendar functions are in UTC; weeks are ISO 8601's, which begin on
//! Monday and belong to the year of their Thursday.

use std::fmt::Write;

use arrow_array::ArrayRef;
use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::{Call, Function, function};
use crate::data::time::{
    NS_PER_DAY, NS_PER_H, NS_PER_MIN, NS_PER_MS, NS_PER_S, NS_PER_US, civil_from_days, days_from_civil, days_in_month,
    parse_timestamp,
};

pub(super) const FUNCTIONS: &[Function] = &[
    function!("date", "date(t: timestamp) -> timestamp", "midnight of the day", |c| c.map_ints(|t| truncate("day", t))),
    function!(
        "date_trunc",
        "date_trunc(unit: str, t: timestamp) -> timestamp",
        "the beginning of the year, quarter, month, week, day, hour, minute, second, millisecond or microsecond",
        |c| c.ints(|row| {
            let (unit, t) = (c.str(0, row)?, c.int(1, row)?);
            c.or_fail(truncate(unit, t))
        })
    ),
    function!("day", "day(t: timestamp) -> int", "the day of the month, 1 to 31", |c| calendar(c, |_, _, day| day
        as i64)),
    function!("day_of_year", "day_of_year(t: timestamp) -> int", "the day of the year, 1 to 366", |c| {
        c.map_ints(|t| Some(day_of_year(t.div_euclid(NS_PER_DAY))))
    }),
    function!("days", "days(n: int) -> duration\ndays(n: float) -> duration", "n days", |c| duration(c, NS_PER_DAY)),
    function!(
        "format_time",
        "format_time(t: timestamp, format: str) -> str",
        "in a format of strftime, such as \"%Y-%m-%d %H:%M\"",
        |c| c.strings(|row, out| {
            let (t, format) = (c.int(0, row)?, c.str(1, row)?);
            let items: Vec<_> = StrftimeItems::new(format).collect();
            c.or_fail((!items.contains(&Item::Error)).then_some(()))?;
            let text = DateTime::from_timestamp_nanos(t).format_with_items(items.into_iter());
            c.or_fail(write!(out, "{text}").ok())
        })
    ),
    function!("from_unix_ms", "from_unix_ms(n: int) -> timestamp", "n milliseconds after 1970", |c| scale(
        c, NS_PER_MS
    )),
    function!("from_unix_ns", "from_unix_ns(n: int) -> timestamp", "n nanoseconds after 1970", |c| scale(c, 1)),
    function!(
        "from_unix_s",
        "from_unix_s(n: int) -> timestamp\nfrom_unix_s(n: float) -> timestamp",
        "n seconds after 1970",
        |c| { duration(c, NS_PER_S) }
    ),
    function!("from_unix_us", "from_unix_us(n: int) -> timestamp", "n microseconds after 1970", |c| scale(
        c, NS_PER_US
    )),
    function!("hour", "hour(t: timestamp) -> int", "the hour, 0 to 23", |c| of_day(c, NS_PER_H, 24)),
    function!("hours", "hours(n: int) -> duration\nhours(n: float) -> duration", "n hours", |c| duration(c, NS_PER_H)),
    function!(
        "make_time",
        "make_time(year: int, month: int, day: int, hour: int?, minute: int?, second: int?) -> timestamp",
        "the timestamp of a date and time of day; fails if there is no such date",
        |c| c.ints(|row| {
            let date = [c.int(0, row)?, c.int(1, row)?, c.int(2, row)?];
            let time = [c.int_or(3, row, 0)?, c.int_or(4, row, 0)?, c.int_or(5, row, 0)?];
            c.or_fail(make_time(date, time))
        })
    ),
    function!(
        "microseconds",
        "microseconds(n: int) -> duration\nmicroseconds(n: float) -> duration",
        "n microseconds",
        |c| { duration(c, NS_PER_US) }
    ),
    function!("millisecond", "millisecond(t: timestamp) -> int", "the millisecond of the second, 0 to 999", |c| {
        of_day(c, NS_PER_MS, 1000)
    }),
    function!(
        "milliseconds",
        "milliseconds(n: int) -> duration\nmilliseconds(n: float) -> duration",
        "n milliseconds",
        |c| { duration(c, NS_PER_MS) }
    ),
    function!("minute", "minute(t: timestamp) -> int", "the minute, 0 to 59", |c| of_day(c, NS_PER_MIN, 60)),
    function!("minutes", "minutes(n: int) -> duration\nminutes(n: float) -> duration", "n minutes", |c| {
        duration(c, NS_PER_MIN)
    }),
    function!("month", "month(t: timestamp) -> int", "the month, 1 to 12", |c| calendar(c, |_, month, _| month as i64)),
    function!(
        "nanoseconds",
        "nanoseconds(n: int) -> duration\nnanoseconds(n: float) -> duration",
        "n nanoseconds",
        |c| { duration(c, 1) }
    ),
    function!(
        "parse_time",
        "parse_time(s: str, format: str?) -> timestamp",
        "reads RFC 3339 or a date, or a format of strftime (in UTC unless it has an offset)",
        |c| c.ints(|row| {
            let s = c.str(0, row)?;
            if !c.has(1) {
                return c.or_fail(parse_timestamp(s.trim().as_bytes()));
            }
            let format = c.str(1, row)?;
            c.or_fail(parse_with(s, format))
        })
    ),
    function!("quarter", "quarter(t: timestamp) -> int", "the quarter of the year, 1 to 4", |c| {
        calendar(c, |_, month, _| (month as i64 + 2) / 3)
    }),
    function!("second", "second(t: timestamp) -> int", "the second, 0 to 59", |c| of_day(c, NS_PER_S, 60)),
    function!("seconds", "seconds(n: int) -> duration\nseconds(n: float) -> duration", "n seconds", |c| {
        duration(c, NS_PER_S)
    }),
    function!("time_of_day", "time_of_day(t: timestamp) -> duration", "the time since midnight", |c| {
        c.map_ints(|t| Some(t.rem_euclid(NS_PER_DAY)))
    }),
    function!("to_unix_ms", "to_unix_ms(t: timestamp) -> int", "whole milliseconds since 1970", |c| since_1970(
        c, NS_PER_MS
    )),
    function!("to_unix_ns", "to_unix_ns(t: timestamp) -> int", "nanoseconds since 1970", |c| since_1970(c, 1)),
    function!("to_unix_s", "to_unix_s(t: timestamp) -> int", "whole seconds since 1970", |c| since_1970(c, NS_PER_S)),
    function!("to_unix_us", "to_unix_us(t: timestamp) -> int", "whole microseconds since 1970", |c| since_1970(
        c, NS_PER_US
    )),
    function!("total_days", "total_days(d: duration) -> float", "a duration in days", |c| total(c, NS_PER_DAY)),
    function!("total_hours", "total_hours(d: duration) -> float", "a duration in hours", |c| total(c, NS_PER_H)),
    function!("total_microseconds", "total_microseconds(d: duration) -> float", "a duration in microseconds", |c| {
        total(c, NS_PER_US)
    }),
    function!("total_milliseconds", "total_milliseconds(d: duration) -> float", "a duration in milliseconds", |c| {
        total(c, NS_PER_MS)
    }),
    function!("total_minutes", "total_minutes(d: duration) -> float", "a duration in minutes", |c| total(
        c, NS_PER_MIN
    )),
    function!("total_nanoseconds", "total_nanoseconds(d: duration) -> int", "a duration in nanoseconds", |c| {
        c.args[0].array().clone()
    }),
    function!("total_seconds", "total_seconds(d: duration) -> float", "a duration in seconds", |c| total(c, NS_PER_S)),
    function!("week", "week(t: timestamp) -> int", "the ISO week of the year, 1 to 53", |c| {
        c.map_ints(|t| Some(iso_week(t.div_euclid(NS_PER_DAY))))
    }),
    function!("weekday", "weekday(t: timestamp) -> int", "the day of the week, Monday 1 to Sunday 7", |c| {
        c.map_ints(|t| Some(weekday(t.div_euclid(NS_PER_DAY))))
    }),
    function!("year", "year(t: timestamp) -> int", "the year", |c| calendar(c, |year, _, _| year)),
];

/// A function of the date.
fn calendar(c: &Call<'_>, f: impl Fn(i64, u32, u32) -> i64) -> ArrayRef {
    c.map_ints(|t| {
        let (year, month, day) = civil_from_days(t.div_euclid(NS_PER_DAY));
        Some(f(year, month, day))
    })
}

/// The number of whole units in the day, of which every `modulus` make the next greater unit.
fn of_day(c: &Call<'_>, unit_ns: i64, modulus: i64) -> ArrayRef {
    c.map_ints(|t| Some(t.div_euclid(unit_ns).rem_euclid(modulus)))
}

fn since_1970(c: &Call<'_>, unit_ns: i64) -> ArrayRef {
    c.map_ints(|t| Some(t.div_euclid(unit_ns)))
}

fn scale(c: &Call<'_>, unit_ns: i64) -> ArrayRef {
    c.map_ints(|n| n.checked_mul(unit_ns))
}

/// So many units; of a float, to the nearest nanosecond.
fn duration(c: &Call<'_>, unit_ns: i64) -> ArrayRef {
    if *c.ty(0) == crate::data::Type::Int {
        return scale(c, unit_ns);
    }
    c.ints(|row| {
        let ns = (c.float(0, row)? * unit_ns as f64).round();
        let fits = ns >= i64::MIN as f64 && ns < -(i64::MIN as f64);
        c.or_fail(fits.then_some(ns as i64))
    })
}

fn total(c: &Call<'_>, unit_ns: i64) -> ArrayRef {
    c.floats(|row| Some(c.int(0, row)? as f64 / unit_ns as f64))
}

/// 1970-01-01 was a Thursday.
fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

fn day_of_year(days: i64) -> i64 {
    let (year, _, _) = civil_from_days(days);
    days - days_from_civil(year, 1, 1) + 1
}

/// A week is numbered within the year that has its Thursday.
fn iso_week(days: i64) -> i64 {
    (day_of_year(days + 4 - weekday(days)) - 1) / 7 + 1
}

fn truncate(unit: &str, t: i64) -> Option<i64> {
    let days = t.div_euclid(NS_PER_DAY);
    let (year, month, _) = civil_from_days(days);
    let first_day = match unit {
        "year" => days_from_civil(year, 1, 1),
        "quarter" => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        "month" => days_from_civil(year, month, 1),
        "week" => days - weekday(days) + 1,
        "day" => days,
        "hour" => return floor(t, NS_PER_H),
        "minute" => return floor(t, NS_PER_MIN),
        "second" => return floor(t, NS_PER_S),
        "millisecond" => return floor(t, NS_PER_MS),
        "microsecond" => return floor(t, NS_PER_US),
        _ => return None,
    };
    first_day.checked_mul(NS_PER_DAY)
}

fn floor(t: i64, unit_ns: i64) -> Option<i64> {
    t.div_euclid(unit_ns).checked_mul(unit_ns)
}

fn make_time([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> Option<i64> {
    // Years beyond these do not fit 64-bit nanoseconds; the calendar's arithmetic must not overflow.
    let in_range = (1600..2300).contains(&year) && (1..=12).contains(&month);
    let month = in_range.then_some(month as u32)?;
    let valid = (1..=days_in_month(year, month) as i64).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second);
    let days = valid.then(|| days_from_civil(year, month, day as u32))?;
    days.checked_mul(NS_PER_DAY)?.checked_add(hour * NS_PER_H + minute * NS_PER_MIN + second * NS_PER_S)
}

fn parse_with(s: &str, format: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_str(s, format) {
        return time.timestamp_nanos_opt();
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(s, format) {
        return time.and_utc().timestamp_nanos_opt();
    }
    let date = NaiveDate::parse_from_str(s, format).ok()?;
    date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_nanos_opt()
}
