//! What a run says at its end: rows by stream, what was rejected, what was late, and what it took.

use crate::connector::rejects::Rejected;
use crate::dataflow::op::counters::Counts;
use crate::dataflow::stop::StopReason;

/// The outcome of a run in one process.
#[derive(Debug)]
pub struct Report {
    /// (source name, what was rejected) in the order of the plan.
    pub sources: Vec<(String, Rejected)>,
    /// (stream, label, counts) of the plan's nodes.
    pub nodes: Vec<(String, String, Counts)>,
    /// (name, rows written) of the outputs.
    pub outputs: Vec<(String, u64)>,
    /// Why it ended before its input did.
    pub stopped: Option<StopReason>,
    pub seconds: f64,
    pub in_flight_bytes_peak: i64,
    /// The partition that held the watermark when the run ended early.
    pub furthest_behind: Option<String>,
}
