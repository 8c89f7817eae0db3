//! What the planner asks of a pattern: whether it fits the rows that it reads, and how far what it gives trails them.

use crate::data::{DataType, Schema, Type};
use crate::pattern::{Gives, Node, Output, Pattern, Trend};
use crate::plan::explain::pattern::condition_schema;
use crate::plan::logical::{alike, fits};
use crate::sema::hir::{Keyed, KeyedKind};

/// The types of the columns that it gives, where it reads rows of `input` by a key of these types; a mistake of the
/// compiler if it does not fit them.
pub fn pattern_types(pattern: &Pattern, key: &[DataType], input: &Schema) -> Result<Vec<DataType>, String> {
    pattern.row_exprs().try_for_each(|e| fits(e, input))?;
    let of_conditions = condition_schema(pattern, input);
    for step in &pattern.steps {
        let Some(condition) = &step.condition else { continue };
        fits(condition, &of_conditions).map_err(|reason| format!("the condition of {}: {reason}", step.name))?;
        if condition.data_type().ty != Type::Bool {
            return Err(format!("the condition of {} is {}", step.name, condition.data_type()));
        }
    }
    if let Some(step) = steps_named(pattern).into_iter().find(|step| *step >= pattern.steps.len()) {
        return Err(format!("there is no step {step}"));
    }
    for (part, ty) in key_parts(pattern) {
        match key.get(part) {
            Some(known) if alike(known, ty) => {}
            Some(known) => return Err(format!("part {part} of its key is {known}, not {ty}")),
            None => return Err(format!("there is no part {part} of its key")),
        }
    }
    Ok(pattern.output_types())
}

/// Every reference to a step.
fn steps_named(pattern: &Pattern) -> Vec<usize> {
    let mut steps = Vec::new();
    let mut nodes = vec![&pattern.root];
    while let Some(node) = nodes.pop() {
        match node {
            Node::Step(step) | Node::Not(step) => steps.push(*step),
            Node::Sequence(members) | Node::AnyOrder(members) | Node::OneOf(members) => nodes.extend(members),
            Node::Repeat { node, .. } => nodes.push(node),
        }
    }
    steps.extend(pattern.memories.iter().map(|m| m.step));
    match &pattern.gives {
        Gives::Matches(outputs) | Gives::Timeouts(outputs) => steps.extend(outputs.iter().filter_map(|o| match o {
            Output::Single { step, .. } | Output::Aggregate { step, .. } => Some(*step),
            Output::Key { .. } | Output::MatchStart | Output::MatchEnd | Output::LastStep | Output::Rows => None,
        })),
        Gives::Trends(trends) => steps.extend(trends.iter().filter_map(|t| match t {
            Trend::Sum { step, .. } => Some(*step),
            Trend::Key { .. } | Trend::Count => None,
        })),
    }
    steps
}

fn key_parts(pattern: &Pattern) -> Vec<(usize, &DataType)> {
    match &pattern.gives {
        Gives::Matches(outputs) | Gives::Timeouts(outputs) => outputs.iter().filter_map(key_part).collect(),
        Gives::Trends(trends) => trends.iter().filter_map(key_part_of_trend).collect(),
    }
}

fn key_part(output: &Output) -> Option<(usize, &DataType)> {
    match output {
        Output::Key { part, ty } => Some((*part, ty)),
        Output::MatchStart
        | Output::MatchEnd
        | Output::LastStep
        | Output::Rows
        | Output::Single { .. }
        | Output::Aggregate { .. } => None,
    }
}

fn key_part_of_trend(trend: &Trend) -> Option<(usize, &DataType)> {
    match trend {
        Trend::Key { part, ty } => Some((*part, ty)),
        Trend::Count | Trend::Sum { .. } => None,
    }
}

/// How far the rows of a keyed operator trail the watermark, if rows may be late for it by so much.
pub fn delay_ns(keyed: &Keyed, lateness_ns: i64) -> i64 {
    let own_ns = match &keyed.kind {
        // Rows are corrected when they come, and not waited for.
        KeyedKind::Table { .. } => return 0,
        // What is left in the end is known when all is over.
        KeyedKind::Snapshot { .. } => i64::MAX,
        KeyedKind::Pattern(pattern) => pattern.delay_ns(),
        KeyedKind::Aggregate { .. }
        | KeyedKind::Rows { .. }
        | KeyedKind::Running { .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Changes { .. } => 0,
    };
    lateness_ns.saturating_add(own_ns)
}
