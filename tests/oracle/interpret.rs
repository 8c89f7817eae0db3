//! What a plan means, row by row: the definition of `plan::logical`, with loops and sorts and nothing
//! else.
//!
//! Rows are lists of values, every operator sees all its input at once, and no operator knows of
//! watermarks: a row's place is computed when it is read, and everything about lateness and order
//! follows from it. Expressions and aggregates are those of the row-wise references. Nothing is shared
//! with `dataflow`.

mod join;
mod pattern;
mod relation;
mod table;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use chrono::{NaiveDate, TimeZone};
use chrono_tz::Tz;
use varpulis_runtime::connector::spec::{Input, WatermarkStrategy};
use varpulis_runtime::data::key::{decode_value, encode_value};
use varpulis_runtime::data::time::{NS_PER_DAY, NS_PER_MIN, NS_PER_S};
use varpulis_runtime::data::{DataType, Value};
use varpulis_runtime::expr::aggregate::reference::{ReferenceRow, aggregate_rows};
use varpulis_runtime::expr::reference::evaluate_row;
use varpulis_runtime::expr::{Aggregate, Expr};
use varpulis_runtime::plan::logical::{Op, Plan, Reader};
use varpulis_runtime::sema::hir::{AggregateCall, Keyed, KeyedKind, SortKey, Step, Windows};

use self::pattern::pattern_rows;
use self::relation::related_rows;
use self::table::{change_rows, enriched, snapshot_rows, table_rows};
use crate::input::{EventType, File, Line};

/// A row on an edge of the plan.
#[derive(Clone, Debug)]
pub struct Row {
    pub time: i64,
    /// Its place.
    pub at: i64,
    /// Partition and position.
    pub seq: (u32, u64),
    /// The encoded key by which it was last grouped.
    pub key: Vec<u8>,
    pub values: Vec<Value>,
}

/// The bounds of a window, `[start, end)`.
type Bounds = (i64, i64);

/// The rows of every node of the plan.
pub fn interpret(plan: &Plan, types: &[EventType], files: &[File], dir: &Path) -> Vec<Vec<Row>> {
    let mut nodes: Vec<Vec<Row>> = Vec::new();
    for node in &plan.nodes {
        let rows = match &node.op {
            Op::Source { reader } => source(plan, &plan.readers[*reader], types, files, dir),
            Op::Step { input, step } => nodes[*input].iter().filter_map(|row| step_row(step, row)).collect(),
            Op::Merge { inputs } => inputs.iter().flat_map(|i| nodes[*i].iter().map(without_key)).collect(),
            Op::Keyed { input, keyed, lateness_ns } => {
                let on_time = |row: &&Row| !is_late(keyed, *lateness_ns, row);
                let rows: Vec<Row> = nodes[*input].iter().filter(on_time).cloned().collect();
                keyed_rows(keyed, *lateness_ns, rows)
            }
            Op::Join { inputs, join, lateness_ns } => {
                join::join_rows(join, *lateness_ns, inputs.map(|i| &nodes[i]), inputs.map(|i| &plan.nodes[i].schema))
            }
            Op::Enrich { input, table, lookup } => {
                let Op::Keyed { input: of_table, keyed, lateness_ns } = &plan.nodes[*table].op else {
                    unreachable!("no table")
                };
                let on_time = |row: &&Row| !is_late(keyed, *lateness_ns, row);
                let rows: Vec<&Row> = nodes[*of_table].iter().filter(on_time).collect();
                nodes[*input].iter().filter_map(|row| enriched(lookup, row, keyed, &rows)).collect()
            }
            Op::Relate { inputs, relate } => related_rows(plan, inputs, relate, &nodes),
            Op::Late { of } => {
                let Op::Keyed { input, keyed, lateness_ns } = &plan.nodes[*of].op else { unreachable!("not keyed") };
                let late = nodes[*input].iter().filter(|row| is_late(keyed, *lateness_ns, row));
                late.map(|row| Row { time: row.at, ..without_key(row) }).collect()
            }
            Op::Timer { inputs, period_ns } => {
                let places: Vec<i64> = inputs.iter().flat_map(|i| nodes[*i].iter().map(|row| row.at)).collect();
                ticks(&places, *period_ns)
            }
        };
        nodes.push(rows);
    }
    nodes
}

fn without_key(row: &Row) -> Row {
    Row { key: Vec::new(), ..row.clone() }
}

fn value_of(e: &Expr, row: &Row) -> Value {
    evaluate_row(e, &row.values, row.time, row.at).0
}

/// The rows of one type in one scan. All rows of a partition move its watermark, whatever their type.
fn source(plan: &Plan, reader: &Reader, types: &[EventType], files: &[File], dir: &Path) -> Vec<Row> {
    let Input::Files { paths, .. } = &plan.scans[reader.scan].input else { unreachable!("inputs are files") };
    let mut names: Vec<String> = files.iter().map(|f| f.path(dir).display().to_string()).collect();
    names.sort();
    let out_of_order_ns = match reader.watermark.strategy {
        WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns } => Some(out_of_order_ns),
        WatermarkStrategy::AtEnd => None,
        WatermarkStrategy::ProcessingTime => unreachable!("no program asks for a clock"),
    };
    let of_scan = |ty: &str| plan.readers.iter().any(|r| r.scan == reader.scan && plan.types[r.ty].name == ty);
    let mut out = Vec::new();
    for path in paths {
        let file = files.iter().find(|f| f.path(dir).display().to_string() == *path).expect("a file of the case");
        // Rows that have no position come first.
        let partition = 1 + names.iter().position(|n| n == path).expect("a file of the case") as u32;
        let mut greatest = i64::MIN;
        for (number, line) in file.lines.iter().enumerate() {
            let Line::Row { ty, values } = line else { continue };
            let name = types[*ty].name.as_str();
            // What nobody reads from a file is of another type there if the file is given for one, and else declared.
            if !of_scan(name) && file.ty.is_some() {
                continue;
            }
            let is_own = name == plan.types[reader.ty].name;
            let own_time = if is_own { reader.time.as_ref() } else { None };
            let of_type = || plan.types.iter().find(|t| t.name == name && of_scan(name)).and_then(|t| t.time.clone());
            let time = match own_time.cloned().or_else(of_type) {
                Some(time) => evaluate_row(&time, values, 0, 0).0,
                None => first_timestamp(&types[*ty], values),
            };
            let Value::Timestamp(time) = time else { continue };
            let at = out_of_order_ns.map_or(time, |ns| time.max(greatest.saturating_sub(ns)));
            greatest = greatest.max(time);
            if is_own {
                let values = reader.fields.iter().map(|f| values[*f].clone()).collect();
                out.push(Row { time, at, seq: (partition, file.position(number)), key: Vec::new(), values });
            }
        }
    }
    out.retain(|row| reader.filter.as_ref().is_none_or(|e| value_of(e, row) == Value::Bool(true)));
    out
}

/// The event time of a row of a type that says nothing else.
fn first_timestamp(ty: &EventType, values: &[Value]) -> Value {
    let at = ty.fields.iter().position(|(_, ty)| ty == "timestamp").expect("declared types have a time");
    values[at].clone()
}

fn step_row(step: &Step, row: &Row) -> Option<Row> {
    match step {
        Step::Filter(e) => (value_of(e, row) == Value::Bool(true)).then(|| row.clone()),
        Step::Project(exprs) => {
            let values = exprs.iter().map(|e| value_of(e, row)).collect();
            Some(Row { values, ..row.clone() })
        }
        Step::Print { .. } | Step::Log { .. } => Some(row.clone()),
    }
}

/// The multiples of the period from the first to the last place.
fn ticks(places: &[i64], period_ns: i64) -> Vec<Row> {
    let (Some(first), Some(last)) = (places.iter().min(), places.iter().max()) else { return Vec::new() };
    let mut next = first.div_euclid(period_ns) * period_ns;
    let mut out = Vec::new();
    while next <= *last {
        if next >= *first {
            let values = vec![Value::Int(out.len() as i64)];
            out.push(Row { time: next, at: next, seq: (0, 0), key: Vec::new(), values });
        }
        next += period_ns;
    }
    out
}

/// The number of the day, since 1970, that clocks show.
fn day_of_clock(tz: Tz, time: i64) -> i64 {
    tz.timestamp_nanos(time).date_naive().signed_duration_since(NaiveDate::default()).num_days()
}

/// The first instant at which clocks show a day or a later one: looked for minute by minute, since they may
/// show a day, then the one before, and it again.
fn midnight(tz: Tz, day: i64) -> i64 {
    thread_local!(static KNOWN: RefCell<BTreeMap<(&'static str, i64), i64>> = const { RefCell::new(BTreeMap::new()) });
    let first_of = |from: i64, step: i64| (from..).step_by(step as usize).find(|t| day_of_clock(tz, *t) >= day);
    let search = || {
        let minute = first_of((day - 2) * NS_PER_DAY, NS_PER_MIN).expect("every day comes");
        let second = first_of(minute - NS_PER_MIN, NS_PER_S).expect("within the minute");
        assert!(day_of_clock(tz, second - 1) < day, "clocks move by whole seconds");
        second
    };
    KNOWN.with_borrow_mut(|known| *known.entry((tz.name(), day)).or_insert_with(search))
}

/// The number of the day that covers an instant.
fn day_over(tz: Tz, time: i64) -> i64 {
    let about = day_of_clock(tz, time);
    (about - 2..=about + 2).rev().find(|day| midnight(tz, *day) <= time).expect("a day covers every instant")
}

/// The bounds of all windows over time that cover an instant.
fn windows_over(time: i64, size: i64, slide: i64, offset: i64) -> Vec<Bounds> {
    let mut start = (time - offset).div_euclid(slide) * slide + offset;
    let mut out = Vec::new();
    while start + size > time {
        out.push((start, start + size));
        start -= slide;
    }
    out
}

/// The windows over time that a row belongs to and is not late for.
fn open_windows(windows: &Windows, lateness_ns: i64, row: &Row) -> Vec<Bounds> {
    let Windows::Time { size_ns, slide_ns, offset_ns, tz } = windows else { unreachable!("not over time") };
    let all = match tz {
        None => windows_over(row.time, *size_ns, *slide_ns, *offset_ns),
        Some(tz) => {
            let (tz, days) = (tz.parse().expect("a time zone"), |ns: &i64| ns / NS_PER_DAY);
            let windows = windows_over(day_over(tz, row.time), days(size_ns), days(slide_ns), days(offset_ns));
            windows.into_iter().map(|(start, end)| (midnight(tz, start), midnight(tz, end))).collect()
        }
    };
    all.into_iter().filter(|(_, end)| end.saturating_add(lateness_ns) > row.at).collect()
}

fn is_late(keyed: &Keyed, lateness_ns: i64, row: &Row) -> bool {
    match keyed.windows() {
        Some(windows @ Windows::Time { .. }) => open_windows(windows, lateness_ns, row).is_empty(),
        Some(Windows::Upstream { .. }) => false,
        None if lateness_ns == i64::MAX => false,
        Some(Windows::Session { .. } | Windows::Count { .. }) | None => row.time.saturating_add(lateness_ns) < row.at,
    }
}

/// By (time, seq), what ties by place, then by value.
fn in_event_order(rows: &mut [Row]) {
    let origin = |row: &Row| (row.time, row.seq, row.at);
    rows.sort_by(|a, b| origin(a).cmp(&origin(b)).then_with(|| compare_values(&a.values, &b.values)));
}

fn compare_values(a: &[Value], b: &[Value]) -> std::cmp::Ordering {
    a.iter().zip(b).map(|(x, y)| x.compare(y)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

fn encoded(exprs: &[Expr], row: &Row) -> Vec<u8> {
    let mut out = Vec::new();
    exprs.iter().for_each(|e| encode_value(&value_of(e, row), &mut out));
    out
}

/// The parts of a key as values: one zero, one NaN.
fn key_values(keyed: &Keyed, mut key: &[u8]) -> Vec<Value> {
    keyed.key.iter().map(|e| decode_value(&mut key, &e.data_type())).collect()
}

fn keyed_rows(keyed: &Keyed, lateness_ns: i64, mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        row.key = encoded(&keyed.key, row);
    }
    in_event_order(&mut rows);
    let mut groups: BTreeMap<Vec<u8>, Vec<Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(row.key.clone()).or_default().push(row);
    }
    let mut out = Vec::new();
    for (key, rows) in groups {
        match &keyed.kind {
            KeyedKind::Aggregate { windows, aggregates } => {
                for (bounds, rows) in windowed(windows, lateness_ns, &rows) {
                    out.push(aggregate_window(keyed, aggregates, &key, bounds, &rows));
                }
            }
            KeyedKind::Rows { windows, order, limit, distinct } => {
                let adds_bounds = !matches!(windows, Windows::Upstream { .. });
                for (bounds, rows) in windowed(windows, lateness_ns, &rows) {
                    let kept = list_window(rows, order, *limit, distinct.as_deref());
                    out.extend(kept.into_iter().map(|row| in_window(row, bounds, adds_bounds)));
                }
            }
            KeyedKind::Running { aggregates } => {
                for (i, row) in rows.iter().enumerate() {
                    let mut values = key_values(keyed, &key);
                    values.extend(aggregates.iter().map(|a| aggregate_of(a, &rows[..=i])));
                    out.push(Row { at: row.time, values, ..row.clone() });
                }
            }
            KeyedKind::Distinct { by, within_ns } => out.extend(distinct_rows(&rows, by, *within_ns)),
            KeyedKind::Limit { n } => {
                out.extend(rows.into_iter().take(*n as usize).map(|row| Row { at: row.time, ..row }));
            }
            KeyedKind::Pattern(pattern) => out.extend(pattern_rows(keyed, pattern, &key, &rows)),
            KeyedKind::Table { delete, .. } => out.extend(table_rows(keyed, delete.as_ref(), &key, &rows)),
            KeyedKind::Changes { diff, as_diff } => out.extend(change_rows(diff, *as_diff, &rows)),
            KeyedKind::Snapshot { diff, by } => out.extend(snapshot_rows(diff, by, &rows)),
        }
    }
    out
}

/// The rows of one key by window, each in event order.
fn windowed(windows: &Windows, lateness_ns: i64, rows: &[Row]) -> Vec<(Bounds, Vec<Row>)> {
    match windows {
        Windows::Time { .. } => {
            let mut out: BTreeMap<Bounds, Vec<Row>> = BTreeMap::new();
            for row in rows {
                for bounds in open_windows(windows, lateness_ns, row) {
                    out.entry(bounds).or_default().push(row.clone());
                }
            }
            out.into_iter().collect()
        }
        Windows::Upstream { start, end } => {
            let mut out: BTreeMap<Bounds, Vec<Row>> = BTreeMap::new();
            for row in rows {
                let bound = |column: &usize| match row.values[*column] {
                    Value::Timestamp(ns) => ns,
                    ref other => unreachable!("{other:?} is no bound of a window"),
                };
                out.entry((bound(start), bound(end))).or_default().push(row.clone());
            }
            out.into_iter().collect()
        }
        Windows::Session { gap_ns } => {
            let mut sessions: Vec<Vec<Row>> = Vec::new();
            for row in rows.iter().cloned() {
                match sessions.last_mut() {
                    Some(session) if row.time < session[session.len() - 1].time + gap_ns => session.push(row),
                    Some(_) | None => sessions.push(vec![row]),
                }
            }
            let bounds = |s: &Vec<Row>| (s[0].time, s[s.len() - 1].time + gap_ns);
            sessions.into_iter().map(|s| (bounds(&s), s)).collect()
        }
        Windows::Count { size, slide, partial } => {
            let (size, slide) = (*size as usize, *slide as usize);
            let mut out = Vec::new();
            for from in (0..rows.len()).step_by(slide) {
                let complete = from + size <= rows.len();
                if complete || *partial {
                    let of = &rows[from..rows.len().min(from + size)];
                    out.push(((of[0].time, of[of.len() - 1].time + 1), of.to_vec()));
                }
                if !complete {
                    break;
                }
            }
            out
        }
    }
}

fn aggregate_window(keyed: &Keyed, calls: &[AggregateCall], key: &[u8], bounds: Bounds, rows: &[Row]) -> Row {
    let mut values = key_values(keyed, key);
    values.extend([Value::Timestamp(bounds.0), Value::Timestamp(bounds.1)]);
    values.extend(calls.iter().map(|call| aggregate_of(call, rows)));
    Row { time: bounds.1 - 1, at: bounds.1 - 1, seq: (0, 0), key: key.to_vec(), values }
}

fn aggregate_of(call: &AggregateCall, rows: &[Row]) -> Value {
    let arg_types: Vec<DataType> = call.args.iter().map(Expr::data_type).collect();
    let args = (0..call.args.len()).collect();
    let aggregate = Aggregate { function: call.function.clone(), args, arg_types, ty: call.ty.clone() };
    let values = |row: &Row| call.args.iter().map(|e| value_of(e, row)).collect();
    let reference = |row: &Row| ReferenceRow { time: row.time, at: row.at, seq: row.seq, values: values(row) };
    aggregate_rows(&aggregate, &rows.iter().map(reference).collect::<Vec<_>>())
}

/// By sort keys; null comes last in both directions.
fn in_order_of(order: &[SortKey], a: &Row, b: &Row) -> std::cmp::Ordering {
    let orders = order.iter().map(|key| match (value_of(&key.expr, a), value_of(&key.expr, b)) {
        (Value::Null, Value::Null) => std::cmp::Ordering::Equal,
        (Value::Null, _) => std::cmp::Ordering::Greater,
        (_, Value::Null) => std::cmp::Ordering::Less,
        (x, y) if key.descending => y.compare(&x),
        (x, y) => x.compare(&y),
    });
    orders.into_iter().find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

/// By (at, seq): the first of each value, then sorted, then the first of them.
fn list_window(mut rows: Vec<Row>, order: &[SortKey], limit: Option<u64>, distinct: Option<&[Expr]>) -> Vec<Row> {
    rows.sort_by(|a, b| (a.at, a.seq).cmp(&(b.at, b.seq)).then_with(|| compare_values(&a.values, &b.values)));
    if let Some(by) = distinct {
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|row| seen.insert(encoded(by, row)));
    }
    rows.sort_by(|a, b| in_order_of(order, a, b));
    rows.truncate(limit.map_or(usize::MAX, |n| n as usize));
    let ranked = rows.into_iter().enumerate();
    ranked.map(|(rank, row)| Row { seq: (0, rank as u64), ..row }).collect()
}

fn in_window(mut row: Row, bounds: Bounds, adds_bounds: bool) -> Row {
    if adds_bounds {
        row.values.extend([Value::Timestamp(bounds.0), Value::Timestamp(bounds.1)]);
    }
    Row { time: bounds.1 - 1, at: bounds.1 - 1, ..row }
}

/// The rows of one key whose value none given before had, or none within the time that counts.
fn distinct_rows(rows: &[Row], by: &[Expr], within_ns: Option<i64>) -> Vec<Row> {
    let mut given: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let mut out = Vec::new();
    for row in rows {
        let value = encoded(by, row);
        let known = given.get(&value).is_some_and(|time| within_ns.is_none_or(|ns| row.time < time + ns));
        if !known {
            given.insert(value, row.time);
            out.push(Row { at: row.time, ..row.clone() });
        }
    }
    out
}
