//! The physical plan as text and as a graph.

use std::fmt::Write;

use crate::data::Schema;
use crate::data::time::format_duration;
use crate::expr::Aggregate;
use crate::plan::bounds::{kept, sentence};
use crate::plan::explain::dot::Graph;
use crate::plan::explain::expr::expr;
use crate::plan::explain::{logical, parts, pattern};
use crate::plan::physical::{Keyed, KeyedKind, Node, NodeId, Op, Plan, Relate, StateId, Step, WindowBody};
use crate::state::options::Capacity;

/// Sources first, then one block for each node, then the outputs; of a program with this capacity.
pub fn text(plan: &Plan, capacity: Option<Capacity>) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a string");
    for (i, source) in plan.sources.iter().enumerate() {
        line(format!("source {i}: {}, on error {}", parts::input(&source.input), parts::on_error(source.on_error)));
        for ty in &source.types {
            let sampled = if ty.sampled { " (sampled)" } else { "" };
            let time = ty.time.as_ref().map_or("from the format".to_string(), |e| expr(e, &ty.schema));
            let unread = if ty.is_read { "" } else { " (not read, moves the watermark)" };
            line(format!("   type {}{sampled}{unread}: {}; time {time}", ty.name, parts::columns(&ty.schema)));
        }
        for (j, output) in source.outputs.iter().enumerate() {
            let ty = &source.types[output.ty];
            let filter = output.filter.as_ref().map_or(String::new(), |e| format!(", where {}", expr(e, &ty.schema)));
            let seq = if output.seq { ", seq" } else { "" };
            line(format!("   output {j}: {}, {}{seq}{filter}", ty.name, parts::watermark(&output.watermark)));
        }
    }
    for (id, node) in plan.nodes.iter().enumerate() {
        line(format!("{id}: {} [{}]", operator(plan, node), node.stream));
        for detail in details(plan, id, capacity) {
            line(format!("   {detail}"));
        }
        line(format!("   -> {}", parts::columns(&node.schema)));
    }
    for output in &plan.outputs {
        let target = &output.target;
        line(format!("output {}: {} -> {}", output.name, output.node, parts::target(target)));
        line(format!("   with saved state: {}", parts::guarantee(target)));
    }
    out
}

pub fn dot(plan: &Plan, capacity: Option<Capacity>) -> String {
    let mut graph = Graph::new("physical");
    for (id, node) in plan.nodes.iter().enumerate() {
        let mut label = operator(plan, node);
        for detail in details(plan, id, capacity) {
            label += &format!("\n{detail}");
        }
        graph.node(id, &node.stream, &label);
        if let Op::Keyed { keyed: Keyed { kind: KeyedKind::Pattern { pattern }, .. }, .. } = &node.op {
            pattern::draw(&mut graph, id, pattern);
        }
        node.op.inputs().iter().for_each(|from| graph.edge(*from, id));
    }
    for output in &plan.outputs {
        graph.output(output.node, &output.name, &parts::target(&output.target));
    }
    graph.finish()
}

/// The node in one line.
pub fn operator(plan: &Plan, node: &Node) -> String {
    match &node.op {
        Op::Source { source, output } => {
            let ty = plan.sources[*source].outputs[*output].ty;
            format!("source {source} output {output} ({})", plan.sources[*source].types[ty].name)
        }
        Op::Chain { input, .. } => format!("chain of {input}"),
        Op::Merge { inputs } => {
            let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            format!("merge of {}", inputs.join(", "))
        }
        Op::Keyed { input, keyed } => format!("{} of {input}", kind(keyed, &plan.nodes[*input].schema)),
        Op::Join { inputs, join, .. } => {
            let what = logical::join_of(join, inputs.map(|i| &plan.nodes[i].schema));
            format!("{what} of {}, {}", inputs[0], inputs[1])
        }
        Op::Enrich { input, table, lookup, .. } => {
            let (of, from) = (&plan.nodes[*input].schema, &plan.nodes[*table].schema);
            format!("enrich of {input} from {table}: {}", logical::lookup(lookup, of, from))
        }
        Op::Relate { inputs, relate, .. } => {
            let ids: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            format!("{} of {}", logical::relate(relate, &plan.nodes[inputs[0]].schema), ids.join(", "))
        }
        Op::Late { of } => format!("late rows of {of}"),
        Op::Timer { inputs, period_ns } => {
            let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            format!("timer {} after {}", format_duration(*period_ns), inputs.join(", "))
        }
    }
}

fn details(plan: &Plan, id: NodeId, capacity: Option<Capacity>) -> Vec<String> {
    let node = &plan.nodes[id];
    match &node.op {
        Op::Chain { input, steps } => chain(&plan.nodes[*input].schema, steps, &node.schema),
        Op::Keyed { input, keyed } => {
            let schema = &plan.nodes[*input].schema;
            let exchange = if keyed.key.is_empty() {
                "to one worker".to_string()
            } else {
                let found = match &keyed.kind {
                    KeyedKind::Pattern { .. } => pattern::found(&keyed.key, schema),
                    KeyedKind::Window { .. }
                    | KeyedKind::Running { .. }
                    | KeyedKind::Distinct { .. }
                    | KeyedKind::Limit { .. }
                    | KeyedKind::Table { .. }
                    | KeyedKind::Changes { .. }
                    | KeyedKind::Snapshot { .. } => "",
                };
                format!("exchange by {}{found}", parts::exprs(&keyed.key, schema))
            };
            let state = &keyed.state;
            let mut facts = vec![
                exchange,
                format!("state {}/{}/{}", state.stream, state.kind, state.ordinal),
                format!("bounded by {}", sentence(&keyed.bound, !keyed.key.is_empty(), capacity)),
            ];
            if !matches!(keyed.lateness_ns, 0 | i64::MAX) {
                facts.push(format!("lateness {}", format_duration(keyed.lateness_ns)));
            }
            if keyed.keeps_late {
                facts.push("late rows kept".to_string());
            }
            let mut lines = vec![facts.join("; ")];
            if let KeyedKind::Table { .. } = &keyed.kind {
                lines.push(versions(plan, node, keyed));
            }
            if let KeyedKind::Pattern { pattern } = &keyed.kind {
                lines.extend(pattern::details(pattern, &keyed.key, schema, &node.schema));
            }
            lines
        }
        Op::Join { inputs, join, state, lateness_ns, bound } => {
            let by = |side: usize| parts::exprs(&join.keys[side], &plan.nodes[inputs[side]].schema);
            let exchange = match join.keys[0].is_empty() {
                true => "to one worker".to_string(),
                false => format!("exchange by {} and by {}", by(0), by(1)),
            };
            let mut facts = vec![
                exchange,
                format!("state {}", state.name()),
                format!("bounded by {}", sentence(bound, true, capacity)),
            ];
            if *lateness_ns != 0 {
                facts.push(format!("lateness {}", format_duration(*lateness_ns)));
            }
            vec![facts.join("; ")]
        }
        Op::Enrich { input, lookup, state, .. } => {
            let key = parts::exprs(&lookup.on, &plan.nodes[*input].schema);
            let bound = "bounded by the rows that the table is behind";
            vec![format!("exchange by {key}; state {}; {bound}", state.name())]
        }
        Op::Relate { relate, state, .. } => related(plan, id, relate, state.as_ref()),
        Op::Source { .. } | Op::Merge { .. } | Op::Late { .. } | Op::Timer { .. } => Vec::new(),
    }
}

/// Which rows a table keeps that no longer hold, and for how long it remembers a deletion.
fn versions(plan: &Plan, node: &Node, keyed: &Keyed) -> String {
    let is_it = |id: &NodeId| std::ptr::eq(&plan.nodes[*id], node);
    let looks_up = |op: &Op| matches!(op, Op::Enrich { table, .. } if is_it(table));
    let settles = |op: &Op| matches!(op, Op::Relate { relate: Relate::Settle { .. }, .. });
    let needs = |(id, n): &(NodeId, &Node)| looks_up(&n.op) || settles(&n.op) && plan.before(*id).iter().any(is_it);
    let readers: Vec<String> =
        plan.nodes.iter().enumerate().filter(needs).map(|(_, n)| format!("{} ({})", n.stream, n.label)).collect();
    let kept = match readers.as_slice() {
        [] => "replaced rows go at once".to_string(),
        readers => format!("replaced rows are kept up to the slowest of {}", readers.join(", ")),
    };
    let deleted = match keyed.lateness_ns {
        i64::MAX => "deletions are remembered".to_string(),
        ns => format!("deletions are forgotten {} later", format_duration(ns)),
    };
    format!("{kept}; {deleted}")
}

/// What an operator of derived tables keeps, who shares it, and what bounds it.
fn related(plan: &Plan, id: NodeId, relate: &Relate, state: Option<&StateId>) -> Vec<String> {
    let readers = || plan.nodes.iter().enumerate().filter(|(_, n)| n.op.inputs().contains(&id));
    let keeps = match relate {
        Relate::Arrange { .. } => {
            let by: Vec<String> = readers().map(|(reader, n)| format!("{reader} ({})", n.stream)).collect();
            let shared = if by.len() > 1 { "shared by" } else { "read by" };
            format!("an arrangement, {shared} {}", by.join(", "))
        }
        Relate::Unmatched { .. } | Relate::Distinct { .. } => "two arrangements".to_string(),
        Relate::Aggregate { aggregates, .. } => match aggregates.iter().filter(|a| a.extreme().is_some()).count() {
            0 => "an arrangement of sums and one of results".to_string(),
            n => format!("arrangements of sums, of results, and {} of values", 6 * n),
        },
        Relate::Top { .. } => "six arrangements".to_string(),
        Relate::Settle { .. } => format!("state {}", state.map(StateId::name).unwrap_or_default()),
        Relate::Feed | Relate::Join => return Vec::new(),
    };
    kept(relate).map(|bound| format!("{keeps}; bounded by {bound}; rebuilt after a restart")).into_iter().collect()
}

fn chain(input: &Schema, steps: &[Step], output: &Schema) -> Vec<String> {
    let last = steps.iter().rposition(|s| matches!(s, Step::Project(_)));
    let mut schema = input.clone();
    let mut lines = Vec::with_capacity(steps.len());
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Filter(e) => lines.push(format!("filter {}", expr(e, &schema))),
            Step::Print { prefix, expr: e } => lines.push(format!("print {prefix:?} {}", expr(e, &schema))),
            Step::Log { level, message } => {
                lines.push(format!("log {} {}", parts::level(*level), expr(message, &schema)));
            }
            Step::Project(exprs) => {
                // Only the last projection's names are known; columns in between are numbered.
                let names = |i: usize| format!("#{i}");
                let next = if last == Some(i) {
                    output.clone()
                } else {
                    let field = |(i, e): (usize, &crate::expr::Expr)| crate::data::Field::new(names(i), e.data_type());
                    Schema::new(exprs.iter().enumerate().map(field).collect())
                };
                lines.push(format!("project {}", parts::named(exprs, &schema, &next)));
                schema = next;
            }
        }
    }
    lines
}

fn kind(keyed: &Keyed, input: &Schema) -> String {
    match &keyed.kind {
        KeyedKind::Window { windows, body: WindowBody::Aggregate { aggregates } } => {
            format!("window {}: {}", parts::windows(windows, input), calls(aggregates, input))
        }
        KeyedKind::Window { windows, body: WindowBody::Rows { order, limit, distinct } } => {
            let rows = parts::rows(order, *limit, distinct.as_deref(), input);
            format!("window {}: rows {rows}", parts::windows(windows, input))
        }
        KeyedKind::Running { aggregates } => format!("running {}", calls(aggregates, input)),
        KeyedKind::Distinct { by, within_ns } => {
            let within = within_ns.map_or(String::new(), |ns| format!(" within {}", format_duration(ns)));
            format!("distinct {}{within}", parts::exprs(by, input))
        }
        KeyedKind::Limit { n } => format!("limit {n}"),
        KeyedKind::Pattern { pattern } => pattern::in_a_line(pattern),
        KeyedKind::Table { delete, .. } => parts::table(delete.as_ref(), input),
        KeyedKind::Changes { as_diff, .. } => parts::changes(*as_diff).to_string(),
        KeyedKind::Snapshot { by, .. } => format!("snapshot in the order of {}", parts::exprs(by, input)),
    }
}

fn calls(aggregates: &[Aggregate], input: &Schema) -> String {
    let name = |i: &usize| input.fields.get(*i).map_or("?".to_string(), |f| f.name.clone());
    let call = |a: &Aggregate| parts::aggregate(&a.function, &a.args.iter().map(name).collect::<Vec<_>>());
    aggregates.iter().map(call).collect::<Vec<_>>().join(", ")
}
