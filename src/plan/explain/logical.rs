//! The logical plan as text and as a graph.

use std::fmt::Write;

use crate::data::time::format_duration;
use crate::data::{Field, Schema, Value};
use crate::expr::{Aggregate, Expr};
use crate::join::{Join, Reach, name_of};
use crate::plan::bounds::{bound, join_bound, sentence};
use crate::plan::explain::dot::Graph;
use crate::plan::explain::expr::expr;
use crate::plan::explain::{parts, pattern};
use crate::plan::logical::{Node, Op, Plan};
use crate::plan::patterns::delay_ns;
use crate::sema::hir::{self, Keyed, KeyedKind, Lookup, Relate, Step, TableJoin};
use crate::state::options::Capacity;

/// One line for each node: what it does, to what, and (indented) what comes out; of a program with this capacity.
pub fn text(plan: &Plan, capacity: Option<Capacity>) -> String {
    let mut out = String::new();
    let late = plan.may_be_late();
    for (id, node) in plan.nodes.iter().enumerate() {
        writeln!(out, "{id}: {} [{}]", operator(plan, node), node.stream).expect("writing to a string");
        if let Op::Keyed { input, keyed, lateness_ns } = &node.op {
            let lateness_ns = if late[*input] { *lateness_ns } else { 0 };
            let state = sentence(&bound(keyed, lateness_ns), !keyed.key.is_empty(), capacity);
            let mut facts = vec![format!("state: {state}")];
            match delay_ns(keyed, lateness_ns) {
                0 => {}
                i64::MAX => facts.push("delay until the end of the input".to_string()),
                delay_ns => facts.push(format!("delay {}", format_duration(delay_ns))),
            }
            writeln!(out, "   {}", facts.join("; ")).expect("writing to a string");
            if let KeyedKind::Pattern(pattern) = &keyed.kind {
                let schema = &plan.nodes[*input].schema;
                for detail in pattern::details(pattern, &keyed.key, schema, &node.schema) {
                    writeln!(out, "   {detail}").expect("writing to a string");
                }
            }
        }
        if let Op::Join { inputs, join, lateness_ns } = &node.op {
            let lateness_ns = if inputs.iter().any(|i| late[*i]) { *lateness_ns } else { 0 };
            let mut facts = format!("state: {}", sentence(&join_bound(join, lateness_ns), true, capacity));
            if join.delay_ns(lateness_ns) > 0 {
                facts += &format!("; delay {}", format_duration(join.delay_ns(lateness_ns)));
            }
            writeln!(out, "   {facts}").expect("writing to a string");
        }
        writeln!(out, "   -> {}", parts::columns(&node.schema)).expect("writing to a string");
    }
    for output in &plan.outputs {
        writeln!(out, "output {}: {} -> {}", output.name, output.node, parts::target(&output.target))
            .expect("writing to a string");
    }
    out
}

pub fn dot(plan: &Plan) -> String {
    let mut graph = Graph::new("logical");
    for (id, node) in plan.nodes.iter().enumerate() {
        graph.node(id, &node.stream, &operator(plan, node));
        if let Op::Keyed { keyed: Keyed { kind: KeyedKind::Pattern(pattern), .. }, .. } = &node.op {
            pattern::draw(&mut graph, id, pattern);
        }
        node.op.inputs().iter().for_each(|from| graph.edge(*from, id));
    }
    for output in &plan.outputs {
        graph.output(output.node, &output.name, &parts::target(&output.target));
    }
    graph.finish()
}

fn operator(plan: &Plan, node: &Node) -> String {
    match &node.op {
        Op::Source { reader } => {
            let reader = &plan.readers[*reader];
            let (ty, scan) = (&plan.types[reader.ty], &plan.scans[reader.scan]);
            let schema = plan.reader_schema(reader);
            let mut out = format!("source {} of {}, {}", ty.name, scan.name, parts::watermark(&reader.watermark));
            if let Some(time) = &reader.time {
                out += &format!(", time {}", expr(time, &ty.schema));
            }
            if let Some(filter) = &reader.filter {
                out += &format!(", where {}", expr(filter, &schema));
            }
            out
        }
        Op::Step { input, step } => {
            format!("{} of {input}", self::step(step, &plan.nodes[*input].schema, &node.schema))
        }
        Op::Merge { inputs } => {
            let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            format!("merge of {}", inputs.join(", "))
        }
        Op::Keyed { input, keyed, .. } => format!("{} of {input}", self::keyed(keyed, &plan.nodes[*input].schema)),
        Op::Join { inputs, join, .. } => {
            format!("{} of {}, {}", join_of(join, inputs.map(|i| &plan.nodes[i].schema)), inputs[0], inputs[1])
        }
        Op::Enrich { input, table, lookup } => {
            let (of, from) = (&plan.nodes[*input].schema, &plan.nodes[*table].schema);
            format!("enrich of {input} from {table}: {}", self::lookup(lookup, of, from))
        }
        Op::Relate { inputs, relate } => {
            let ids: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            format!("{} of {}", self::relate(relate, &plan.nodes[inputs[0]].schema), ids.join(", "))
        }
        Op::Late { of } => format!("late rows of {of}"),
        Op::Timer { inputs, period_ns } => {
            let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            format!("timer {} after {}", format_duration(*period_ns), inputs.join(", "))
        }
    }
}

pub fn step(step: &Step, input: &Schema, output: &Schema) -> String {
    match step {
        Step::Filter(e) => format!("filter {}", expr(e, input)),
        Step::Project(exprs) => format!("project {}", parts::named(exprs, input, output)),
        Step::Print { prefix, expr: e } => format!("print {prefix:?} {}", expr(e, input)),
        Step::Log { level, message } => format!("log {} {}", parts::level(*level), expr(message, input)),
    }
}

/// A join in a line.
pub fn join_of(join: &Join, inputs: [&Schema; 2]) -> String {
    let near = match join.reach {
        Reach::Interval { before_ns, after_ns } if before_ns == after_ns => {
            format!("within {}", format_duration(after_ns))
        }
        Reach::Interval { before_ns, after_ns } => {
            format!("up to {} before and {} after", format_duration(before_ns), format_duration(after_ns))
        }
        Reach::Window { size_ns, offset_ns: 0 } => format!("in windows of {}", format_duration(size_ns)),
        Reach::Window { size_ns, offset_ns } => {
            format!("in windows of {} at {}", format_duration(size_ns), format_duration(offset_ns))
        }
    };
    let mut out = format!("{} {near}", join.name());
    let equal = |(l, r)| format!("{} == {}", expr(l, inputs[0]), expr(r, inputs[1]));
    let keys: Vec<String> = join.keys[0].iter().zip(&join.keys[1]).map(equal).collect();
    if !keys.is_empty() {
        out += &format!(" by {}", keys.join(", "));
    }
    if let Some(residual) = &join.residual {
        let side = |side: usize| {
            let name = ["left", "right"][side];
            inputs[side].fields.iter().map(move |f| Field { name: format!("{name}.{}", f.name), ..f.clone() })
        };
        out += &format!(" where {}", expr(residual, &Schema::new(side(0).chain(side(1)).collect())));
    }
    out
}

/// An operator of tables that follow from tables, over its first input.
pub fn relate(relate: &Relate, input: &Schema) -> String {
    let by = |key: &[Expr]| match key {
        [] => String::new(),
        key => format!(" by {}", parts::exprs(key, input)),
    };
    match relate {
        Relate::Feed => "changes".to_string(),
        Relate::Arrange { key } => format!("arrangement{}", by(key)),
        Relate::Join => "pairs".to_string(),
        Relate::Unmatched { .. } => "unmatched rows".to_string(),
        Relate::Aggregate { key, aggregates } => {
            let column = |i: &usize| input.fields.get(*i).map_or("?".to_string(), |f| f.name.clone());
            let call = |a: &Aggregate| parts::aggregate(&a.function, &a.args.iter().map(column).collect::<Vec<_>>());
            let calls: Vec<String> = aggregates.iter().map(call).collect();
            format!("{}{}", calls.join(", "), by(key))
        }
        Relate::Distinct { by } => format!("distinct {}", parts::exprs(by, input)),
        Relate::Top { key, order, n } => format!("first {n} in the order of {}{}", parts::order(order, input), by(key)),
        Relate::Settle { key, .. } => format!("settled changes{}", by(key)),
    }
}

/// `left_join on a == b where c`, over the rows before and the changes of the other table.
pub fn table_join(join: &TableJoin, left: &Schema, right: &Schema) -> String {
    let kind = name_of(join.keeps);
    let equal = join.keys[0].iter().zip(&join.keys[1]).map(|(l, r)| format!("{} == {}", expr(l, left), expr(r, right)));
    let residual = match &join.residual {
        Some(_) => " and more",
        None => "",
    };
    format!("{kind} on {}{residual}", equal.collect::<Vec<_>>().join(" and "))
}

pub fn keyed(keyed: &Keyed, input: &Schema) -> String {
    let what = match &keyed.kind {
        KeyedKind::Aggregate { windows, aggregates } => {
            format!("window {}: {}", parts::windows(windows, input), calls(aggregates, input))
        }
        KeyedKind::Rows { windows, order, limit, distinct } => {
            let rows = parts::rows(order, *limit, distinct.as_deref(), input);
            format!("window {}: rows {rows}", parts::windows(windows, input))
        }
        KeyedKind::Running { aggregates } => format!("running {}", calls(aggregates, input)),
        KeyedKind::Distinct { by, within_ns } => {
            let within = within_ns.map_or(String::new(), |ns| format!(" within {}", format_duration(ns)));
            format!("distinct {}{within}", parts::exprs(by, input))
        }
        KeyedKind::Limit { n } => format!("limit {n}"),
        KeyedKind::Pattern(pattern) => pattern::in_a_line(pattern),
        KeyedKind::Table { delete, .. } => parts::table(delete.as_ref(), input),
        KeyedKind::Changes { as_diff, .. } => parts::changes(*as_diff).to_string(),
        KeyedKind::Snapshot { by, .. } => format!("snapshot in the order of {}", parts::exprs(by, input)),
    };
    if keyed.key.is_empty() {
        return what;
    }
    let key = parts::exprs(&keyed.key, input);
    match &keyed.kind {
        KeyedKind::Pattern(_) => format!("{what}, partitioned by {key}{}", pattern::found(&keyed.key, input)),
        KeyedKind::Aggregate { .. }
        | KeyedKind::Rows { .. }
        | KeyedKind::Running { .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Table { .. }
        | KeyedKind::Changes { .. }
        | KeyedKind::Snapshot { .. } => format!("{what} by {key}"),
    }
}

/// What is looked up in a table, and what becomes of it.
pub fn lookup(lookup: &Lookup, input: &Schema, table: &Schema) -> String {
    let name = |i: usize| table.fields.get(i).map_or("?", |f| f.name.as_str());
    let field = |(column, default): &(usize, Expr)| match default {
        Expr::Literal { value: Value::Null, .. } => name(*column).to_string(),
        default => format!("{} or {}", name(*column), expr(default, input)),
    };
    let fields: Vec<String> = lookup.fields.iter().map(field).collect();
    let required = if lookup.required { ", a match is required" } else { "" };
    format!("{} for {}{required}", fields.join(", "), parts::exprs(&lookup.on, input))
}

fn calls(aggregates: &[hir::AggregateCall], input: &Schema) -> String {
    let call = |a: &hir::AggregateCall| {
        let args: Vec<String> = a.args.iter().map(|e| expr(e, input)).collect();
        parts::aggregate(&a.function, &args)
    };
    aggregates.iter().map(call).collect::<Vec<_>>().join(", ")
}
