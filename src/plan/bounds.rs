//! What bounds the state of each stateful operator, for `check` and `explain`.

use crate::data::time::format_duration;
use crate::diagnostic::{Diagnostic, codes};
use crate::join::Join;
use crate::plan::physical::{self, Bound, Relate};
use crate::sema::hir::{self, Keyed, KeyedKind, OpKind, Windows};
use crate::sema::typer::calls::keeps_all_values;
use crate::state::options::Capacity;

const TABLE: &str = "the rows of the table";
const WAITING: &str = "the changes that the watermark is behind";

/// The bound of an operator whose rows may be late by so much.
pub fn bound(keyed: &Keyed, lateness_ns: i64) -> Bound {
    match &keyed.kind {
        KeyedKind::Aggregate { windows, .. } | KeyedKind::Rows { windows, .. } => match windows {
            Windows::Time { size_ns, .. } => Bound::Window { span_ns: size_ns.saturating_add(lateness_ns) },
            Windows::Session { gap_ns } => Bound::Within { span_ns: gap_ns.saturating_add(lateness_ns) },
            Windows::Count { .. } => Bound::KeyCount,
            Windows::Upstream { .. } => Bound::Window { span_ns: 0 },
        },
        KeyedKind::Running { aggregates } => {
            if aggregates.iter().any(|a| keeps_all_values(&a.function)) {
                Bound::Growing
            } else {
                Bound::KeyCount
            }
        }
        KeyedKind::Distinct { within_ns: Some(within_ns), .. } => {
            Bound::Within { span_ns: within_ns.saturating_add(lateness_ns) }
        }
        KeyedKind::Distinct { within_ns: None, .. } => Bound::Nothing,
        KeyedKind::Limit { .. } => Bound::KeyCount,
        KeyedKind::Table { .. } => Bound::KeyCount,
        KeyedKind::Snapshot { .. } => Bound::Table,
        KeyedKind::Changes { .. } => Bound::Waiting,
        KeyedKind::Pattern(pattern) => match pattern.within_ns {
            Some(within_ns) => Bound::Within { span_ns: within_ns.saturating_add(lateness_ns) },
            None => Bound::Runs { max: pattern.max_runs },
        },
    }
}

/// The bound of a join whose rows may be late by so much.
pub fn join_bound(join: &Join, lateness_ns: i64) -> Bound {
    Bound::Rows { span_ns: join.reach.span_ns(lateness_ns) }
}

/// What `check` says of a bound, in a program with this capacity.
pub fn sentence(bound: &Bound, key: bool, capacity: Option<Capacity>) -> String {
    let Some(capacity) = capacity else { return of_itself(bound, key) };
    match bound {
        Bound::Window { .. } | Bound::Within { .. } | Bound::Rows { .. } | Bound::KeyCount | Bound::Runs { .. } => {
            format!("{}, and the capacity of {capacity}", of_itself(bound, key))
        }
        Bound::Table | Bound::Waiting => of_itself(bound, key),
        Bound::Nothing => format!("the capacity of {capacity}"),
        Bound::Growing => format!("nothing: each of at most {capacity} grows"),
    }
}

fn of_itself(bound: &Bound, key: bool) -> String {
    match bound {
        Bound::Window { span_ns: 0 } => "the rows of one window".to_string(),
        Bound::Window { span_ns } => format!("open windows: {} of event time", format_duration(*span_ns)),
        Bound::Within { span_ns } => format!("keys alive within {}", format_duration(*span_ns)),
        Bound::Rows { span_ns } => format!("the rows of {} of event time", format_duration(*span_ns)),
        Bound::KeyCount if key => "the number of keys".to_string(),
        Bound::KeyCount => "one entry".to_string(),
        Bound::Table => TABLE.to_string(),
        Bound::Waiting => WAITING.to_string(),
        Bound::Nothing | Bound::Growing => "nothing".to_string(),
        Bound::Runs { max } if key => format!("the number of keys, at most {max} partial matches each"),
        Bound::Runs { max } => format!("at most {max} partial matches"),
    }
}

/// What bounds what an operator of derived tables keeps, if it keeps something.
pub fn kept(relate: &Relate) -> Option<&'static str> {
    match relate {
        Relate::Arrange { .. } | Relate::Top { .. } => Some(TABLE),
        Relate::Unmatched { .. } => Some("the rows in pairs"),
        Relate::Aggregate { aggregates, .. } if aggregates.iter().any(|a| a.extreme().is_some()) => Some(TABLE),
        Relate::Aggregate { .. } => Some("the number of keys"),
        Relate::Distinct { .. } => Some("the number of different rows"),
        Relate::Settle { .. } => Some(WAITING),
        Relate::Feed | Relate::Join => None,
    }
}

/// For each stateful operator: the state's name and what bounds it.
pub fn describe(plan: &physical::Plan, capacity: Option<Capacity>) -> Vec<String> {
    let bound = |node: &physical::Node| match &node.op {
        physical::Op::Keyed { keyed, .. } => Some(sentence(&keyed.bound, !keyed.key.is_empty(), capacity)),
        physical::Op::Join { join, bound, .. } => Some(sentence(bound, !join.keys[0].is_empty(), capacity)),
        physical::Op::Enrich { .. } => Some("the rows that the table is behind".to_string()),
        physical::Op::Relate { relate, .. } => kept(relate).map(str::to_string),
        physical::Op::Source { .. }
        | physical::Op::Chain { .. }
        | physical::Op::Merge { .. }
        | physical::Op::Late { .. }
        | physical::Op::Timer { .. } => None,
    };
    let nodes = plan.nodes.iter().filter_map(|n| Some((n, bound(n)?)));
    nodes.map(|(node, bound)| format!("{}: {} is bounded by {bound}", node.stream, node.label)).collect()
}

/// Warnings for operators that nothing bounds.
pub fn unbounded(program: &hir::Program) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for op in program.streams.iter().flat_map(|s| &s.ops) {
        let OpKind::Keyed(keyed) = &op.kind else { continue };
        let is_unbounded = match bound(keyed, 0) {
            Bound::Nothing => program.settings.state.limits.capacity.is_none(),
            // Partial matches that nothing ends hold on to rows, and those with loops to ever more.
            Bound::Growing | Bound::Runs { .. } => true,
            Bound::Window { .. }
            | Bound::Within { .. }
            | Bound::Rows { .. }
            | Bound::KeyCount
            | Bound::Table
            | Bound::Waiting => false,
        };
        if !is_unbounded {
            continue;
        }
        let mut message = format!("nothing bounds the state of `.{}`", op.label);
        let hint = match &keyed.kind {
            KeyedKind::Pattern(pattern) => {
                message =
                    format!("nothing ends partial matches but their number, at most {} per key", pattern.max_runs);
                "`.within(…)` ends them in event time"
            }
            KeyedKind::Distinct { .. } => {
                "`within: 1h` forgets what is older, and a `capacity` in a `state:` block what is beyond it"
            }
            KeyedKind::Aggregate { .. }
            | KeyedKind::Rows { .. }
            | KeyedKind::Running { .. }
            | KeyedKind::Limit { .. }
            | KeyedKind::Table { .. }
            | KeyedKind::Changes { .. }
            | KeyedKind::Snapshot { .. } => "an aggregate that keeps its values needs `.window(…)`",
        };
        findings.push(Diagnostic::warning(codes::UNBOUNDED_STATE, op.span, message).with_hint(hint));
    }
    findings
}
