//! The graph as timely runs it: one line per operator, with what it exchanges.

use std::fmt::Write;

use crate::plan::physical::{Op, Plan, Relate};

/// The operators in the order in which every worker renders them.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a string");
    let ports: usize = plan.sources.iter().map(|s| s.outputs.len()).sum();
    line(format!("sources: one operator, {} inputs, {ports} outputs", plan.sources.len()));
    for (id, node) in plan.nodes.iter().enumerate() {
        let name = format!("{} {}", node.stream, node.label);
        match &node.op {
            Op::Source { .. } | Op::Late { .. } => {}
            Op::Chain { .. } => line(format!("{id}: {name}: pipeline")),
            Op::Merge { inputs } => line(format!("{id}: {name}: concatenation of {}", inputs.len())),
            Op::Keyed { keyed, .. } => {
                line(format!("{id}: {name} key: pipeline, encodes {} key columns", keyed.key.len()));
                let late = if keyed.keeps_late { ", late rows on a second output" } else { "" };
                line(format!("{id}: {name}: exchange by key group, driven{late}"));
            }
            Op::Join { join, .. } => {
                for side in ["left", "right"] {
                    line(format!(
                        "{id}: {name} key: pipeline, encodes {} key columns of the {side} input",
                        join.keys[0].len()
                    ));
                }
                line(format!("{id}: {name}: two exchanges by key group, driven"));
            }
            Op::Enrich { table, lookup, .. } => {
                line(format!("{id}: {name} key: pipeline, encodes {} key columns", lookup.on.len()));
                line(format!("{id}: {name}: exchange by key group, and behind {table}: driven, reads its versions"));
            }
            Op::Relate { relate, .. } => line(format!("{id}: {name}: {}", related(relate))),
            Op::Timer { .. } => line(format!("{id}: {name}: exchange to worker 0, driven")),
        }
    }
    for output in &plan.outputs {
        line(format!("{} encode: pipeline", output.name));
    }
    line("ordered sink: exchange to worker 0, driven; or a sink per output and worker when unordered".to_string());
    out
}

fn related(relate: &Relate) -> &'static str {
    match relate {
        Relate::Feed => "an output of the table of its own, with all versions after a restart",
        Relate::Arrange { .. } => "exchange by key group, an arrangement",
        Relate::Join => "a join of two arrangements",
        Relate::Unmatched { .. } => "exchange by key group, a reduction of the pairs",
        Relate::Aggregate { .. } => "exchange by key group, an arrangement of sums, a reduction",
        Relate::Distinct { .. } => "exchange by key group, an arrangement, a reduction",
        Relate::Top { .. } => "exchange by key group, three stages of an arrangement and a reduction",
        Relate::Settle { .. } => "exchange by key group, driven",
    }
}
