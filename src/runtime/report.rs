//! What a run says at its end: rows by stream, what was rejected, what was late, and what it took. As a
//! few lines for people, or as one JSON object for programs.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::connector::rejects::Rejected;
use crate::connector::silence::Idled;
use crate::data::time::format_duration;
use crate::dataflow::op::counters::Counts;
use crate::dataflow::op::pauses::PauseCounts;
use crate::dataflow::stop::StopReason;
use crate::state::options::format_bytes;

/// The outcome of a run, in one process or all.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// By source of the plan.
    pub sources: Vec<SourceReport>,
    /// By node of the plan.
    pub nodes: Vec<NodeReport>,
    /// By output of the plan.
    pub outputs: Vec<OutputReport>,
    /// Rows that had been read by the runs that this one continues.
    pub rows_before: u64,
    /// Why it ended before its input did.
    pub stopped: Option<StopReason>,
    pub seconds: f64,
    pub workers: usize,
    pub in_flight_bytes_peak: i64,
    pub memory_bytes_peak: Option<u64>,
    pub input_bytes: u64,
    /// How long workers were kept by checkpoints.
    pub pauses: PauseCounts,
    /// What it took to read a checkpoint and to restore the operators of a worker, on average.
    pub restore_seconds: Option<f64>,
    /// Entries of state that were written to the scratch, and that were read back.
    pub spilled: (usize, usize),
    /// The partition that held the watermark when the run ended early.
    pub furthest_behind: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SourceReport {
    pub name: String,
    pub rejected: Rejected,
    /// By partition, where it did anything.
    pub idled: Vec<(String, Idled)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct NodeReport {
    pub stream: String,
    pub label: String,
    pub counts: Counts,
    /// The out-of-orderness that its rows were read with; `None` where there is none (`unbounded`).
    pub out_of_order_ns: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct OutputReport {
    pub name: String,
    pub rows: u64,
}

impl SourceReport {
    /// What was rejected, a line each.
    pub fn write_rejected(&self, out: &mut String) {
        let (source, rejected) = (self, &self.rejected);
        for (reason, count) in &rejected.malformed {
            let _ = writeln!(out, "{} malformed rows in {} ({})", grouped(*count), source.name, reason.name());
        }
        for (partition, row) in &rejected.shown {
            let _ = writeln!(out, "  {partition} at {}: {}: {}", row.place(), row.reason.name(), row.detail);
        }
        for (name, count) in &rejected.other_types {
            let _ = writeln!(
                out,
                "{} rows of type {name} in {}, which the program does not read",
                grouped(*count),
                source.name
            );
        }
        if !rejected.unknown_fields.is_empty() {
            let _ = writeln!(
                out,
                "fields in {} that are not declared: {}",
                source.name,
                rejected.unknown_fields.join(", ")
            );
        }
        if rejected.ahead > 0 {
            let (count, name) = (grouped(rejected.ahead), &source.name);
            let _ = writeln!(out, "{count} rows of {name} were further ahead of the clock than max_ahead");
        }
        for (partition, idled) in &self.idled {
            let (times, moved) = (grouped(idled.times), format_duration(idled.moved_ns));
            let _ = writeln!(
                out,
                "{partition} was silent {times} times for idle, and its watermark moved {moved} without rows"
            );
        }
        if rejected.filter_errors > 0 {
            let _ =
                writeln!(out, "{} expression errors in filters of {}", grouped(rejected.filter_errors), source.name);
        }
    }
}

impl Report {
    pub fn rows_read(&self) -> u64 {
        self.sources.iter().map(|s| s.rejected.rows_read).sum()
    }

    /// Adds the report of another process of the same run.
    pub fn add(&mut self, other: Report) {
        self.sources.iter_mut().zip(other.sources).for_each(|(a, b)| {
            a.rejected.add(b.rejected);
            a.idled.extend(b.idled);
        });
        self.nodes.iter_mut().zip(other.nodes).for_each(|(a, b)| a.counts.add(b.counts));
        self.outputs.iter_mut().zip(other.outputs).for_each(|(a, b)| a.rows += b.rows);
        self.rows_before += other.rows_before;
        self.stopped = self.stopped.take().or(other.stopped);
        self.seconds = self.seconds.max(other.seconds);
        self.workers += other.workers;
        self.in_flight_bytes_peak += other.in_flight_bytes_peak;
        self.memory_bytes_peak = self.memory_bytes_peak.zip(other.memory_bytes_peak).map(|(a, b)| a + b);
        self.input_bytes += other.input_bytes;
        self.pauses.add(other.pauses);
        self.restore_seconds = self.restore_seconds.into_iter().chain(other.restore_seconds).reduce(f64::max);
        self.spilled = (self.spilled.0 + other.spilled.0, self.spilled.1 + other.spilled.1);
        self.furthest_behind = self.furthest_behind.take().or(other.furthest_behind);
    }

    /// The report as JSON, with everything that was counted.
    pub fn to_json(&self) -> Value {
        let sources: Vec<Value> = self.sources.iter().map(source_json).collect();
        let nodes: Vec<Value> = self.nodes.iter().map(node_json).collect();
        let late: u64 = self.nodes.iter().map(|n| n.counts.late).sum();
        let errors: u64 = self.nodes.iter().map(|n| n.counts.errors).sum();
        let evicted: u64 = self.nodes.iter().map(|n| n.counts.evicted).sum();
        let capped: u64 = self.nodes.iter().map(|n| n.counts.capped).sum();
        let unmatched: u64 = self.nodes.iter().map(|n| n.counts.unmatched).sum();
        let malformed: u64 = self.sources.iter().flat_map(|s| s.rejected.malformed.values()).sum();
        json!({
            "stopped": self.stopped.as_ref().map(stop_name),
            "rows_in": self.rows_read(),
            "rows_out": self.outputs.iter().map(|o| o.rows).sum::<u64>(),
            "late": late,
            "evicted": evicted,
            "capped": capped,
            "unmatched": unmatched,
            "malformed": malformed,
            "expr_errors": errors + self.sources.iter().map(|s| s.rejected.filter_errors).sum::<u64>(),
            "sources": sources,
            "outputs": self.outputs,
            "operators": nodes,
            "furthest_behind": self.furthest_behind,
            "workers": self.workers,
            "seconds": self.seconds,
            "input_bytes": self.input_bytes,
            "checkpoint_pauses": {
                "count": self.pauses.count(),
                "p99_us": self.pauses.p99_us(),
                "max_us": self.pauses.max_us(),
            },
            "restore_seconds": self.restore_seconds,
            "spilled_entries": { "written": self.spilled.0, "read": self.spilled.1 },
            "memory": {
                "peak_bytes": self.memory_bytes_peak,
                "in_flight_peak_bytes": self.in_flight_bytes_peak,
                "state_peak_bytes": self.nodes.iter().map(|n| n.counts.state_bytes_peak as u64).sum::<u64>(),
            },
        })
    }

    /// The report for people.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write_rows(&mut out);
        self.sources.iter().for_each(|s| s.write_rejected(&mut out));
        self.nodes.iter().for_each(|n| write_late(n, &mut out));
        for node in self.nodes.iter().filter(|n| n.counts.evicted > 0) {
            let (count, stream, label) = (grouped(node.counts.evicted), &node.stream, &node.label);
            let _ = writeln!(out, "{count} entries of {stream} ({label}) were evicted: there was no room for them");
        }
        for node in self.nodes.iter().filter(|n| n.counts.capped > 0) {
            let (count, stream, label) = (grouped(node.counts.capped), &node.stream, &node.label);
            let _ = writeln!(out, "{count} partial matches of {stream} ({label}) were dropped: `max_runs` was reached");
        }
        for node in self.nodes.iter().filter(|n| n.counts.unmatched > 0) {
            let (count, stream, label) = (grouped(node.counts.unmatched), &node.stream, &node.label);
            let _ = writeln!(out, "{count} rows of {stream} ({label}) were dropped: the table had no row for them");
        }
        for node in self.nodes.iter().filter(|n| n.counts.errors > 0) {
            let (count, stream, label) = (node.counts.errors, &node.stream, &node.label);
            let _ = writeln!(out, "{count} expression errors in {stream} ({label}): their values are null");
        }
        if let Some(reason) = &self.stopped {
            let _ = writeln!(out, "stopped early ({}): open windows were not emitted", stop_name(reason));
            if let Some(partition) = &self.furthest_behind {
                let _ = writeln!(out, "the watermark was held by {partition}");
            }
        }
        let rate = (self.rows_read() - self.rows_before) as f64 / self.seconds.max(1e-9);
        let state: usize = self.nodes.iter().map(|n| n.counts.state_bytes_peak).sum();
        let _ = write!(out, "{:.2} s, {} rows/s; memory: ", self.seconds, grouped(rate as u64));
        if let Some(bytes) = self.memory_bytes_peak {
            let _ = write!(out, "{} at most, of which ", format_bytes(bytes));
        }
        let _ = writeln!(
            out,
            "{} in flight, {} state",
            format_bytes(self.in_flight_bytes_peak as u64),
            format_bytes(state as u64)
        );
        out
    }

    fn write_rows(&self, out: &mut String) {
        for source in &self.sources {
            let _ = writeln!(out, "{} rows read from {}", grouped(source.rejected.rows_read), source.name);
        }
        for output in &self.outputs {
            let _ = writeln!(out, "{} rows out of {}", grouped(output.rows), output.name);
        }
    }
}

fn write_late(node: &NodeReport, out: &mut String) {
    let counts = &node.counts;
    if counts.late == 0 {
        return;
    }
    let _ = write!(out, "{} rows were late for {} ({})", grouped(counts.late), node.stream, node.label);
    if let Some(out_of_order_ns) = node.out_of_order_ns {
        let needed = format_duration(round_up(out_of_order_ns.saturating_add(counts.shortfall_ns)));
        let _ = write!(out, "; out_of_order: {needed} would have kept them");
    }
    let _ = writeln!(out);
}

/// A duration that people would write and that is not shorter: whole seconds beyond a second, and so on.
fn round_up(ns: i64) -> i64 {
    const STEPS: [(i64, i64); 4] =
        [(3_600_000_000_000, 60_000_000_000), (1_000_000_000, 1_000_000_000), (1_000_000, 1_000_000), (1_000, 1_000)];
    let step = STEPS.iter().find(|(from, _)| ns >= *from).map_or(1, |(_, step)| *step);
    ns.checked_add(step - 1).map_or(ns, |n| n / step * step)
}

fn source_json(source: &SourceReport) -> Value {
    let rejected = &source.rejected;
    let malformed: serde_json::Map<String, Value> =
        rejected.malformed.iter().map(|(reason, count)| (reason.name().to_string(), json!(count))).collect();
    json!({
        "name": source.name,
        "rows": rejected.rows_read,
        "malformed": malformed,
        "other_types": rejected.other_types,
        "unknown_fields": rejected.unknown_fields,
        "expr_errors": rejected.filter_errors,
        "ahead": rejected.ahead,
        "idled": source.idled.iter().map(idled_json).collect::<Vec<_>>(),
    })
}

fn idled_json((partition, idled): &(String, Idled)) -> Value {
    json!({ "partition": partition, "times": idled.times, "moved_ns": idled.moved_ns })
}

fn node_json(node: &NodeReport) -> Value {
    let counts = &node.counts;
    let needed = node.out_of_order_ns.filter(|_| counts.late > 0).map(|o| o.saturating_add(counts.shortfall_ns));
    json!({
        "stream": node.stream,
        "operator": node.label,
        "rows_in": counts.rows_in,
        "rows_out": counts.rows_out,
        "late": counts.late,
        "out_of_order_needed_ns": needed,
        "expr_errors": counts.errors,
        "evicted": counts.evicted,
        "capped": counts.capped,
        "unmatched": counts.unmatched,
        "state_entries_peak": counts.state_entries_peak,
        "state_bytes_peak": counts.state_bytes_peak,
        "handed_over": counts.handed_over,
    })
}

fn stop_name(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::Interrupted => "interrupted",
        StopReason::Closed => "output closed",
        StopReason::Failed(_) => "failed",
        StopReason::Refused(_) => "refused a row",
    }
}

/// `1234567` as `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The most memory that this process ever had resident, where the system tells.
pub fn resident_bytes_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
        assert_eq!(round_up(1_500_000_000), 2_000_000_000);
        assert_eq!(round_up(83_000_000_000_001), 83_040_000_000_000);
        assert_eq!(round_up(7), 7);
    }
}
