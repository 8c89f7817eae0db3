//! What the entries of each state depend on, so that a changed program may go on with those that still
//! mean the same.
//!
//! A state has a *definition*, which is what its entries are made of: the kind of operator, its key, its
//! windows, its aggregates, the columns of rows that wait in it. And it has an *input*: all that decides
//! which rows come. Entries of another definition cannot be read; entries of another input can, and whether
//! they are to be is for the user to say.
//!
//! # Invariants
//! 1. Neither depends on the place of nodes in the plan or of columns in a row, nor on how the planner cut
//!    a chain of filters and projections, so that they do not change with what comes after the operator.
//! 2. What leaves an operator differs where its definition or its input does: a change is handed on to all
//!    states below.
//!
//! What comes after an operator may still reach it: a field that the program begins to use is checked in
//! every row, and rows that wait have the columns that somebody reads. Both are changes, and named.
//!
//! Paths are no part of an input. The files behind it are compared one by one.

mod facts;
mod join;
mod pattern;
mod relation;
mod rows;

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

pub use self::facts::{Fact, Facts};
use self::rows::{Base, Edge, exact, short, text};
use crate::data::Schema;
use crate::data::time::format_duration;
use crate::expr::{Aggregate, Expr};
use crate::plan::explain::parts;
use crate::plan::physical::{Keyed, KeyedKind, Lookup, NodeId, Op, Plan, WindowBody, Windows};

/// What one state depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDefinition {
    pub name: String,
    pub definition: Facts,
    pub input: Facts,
    /// The outputs of sources that its rows come from: (source, output).
    pub sources: BTreeSet<(usize, usize)>,
    /// By how much the operator's clock, as a checkpoint records it, trails the watermark.
    pub clock_lag_ns: i64,
}

/// The states of a plan's operators, in the plan's order.
pub fn definitions(plan: &Plan) -> Vec<StateDefinition> {
    let mut edges: Vec<Edge> = Vec::with_capacity(plan.nodes.len());
    let mut states = Vec::new();
    for (id, node) in plan.nodes.iter().enumerate() {
        let edge = match &node.op {
            Op::Source { source, output } => rows::of_source(plan, *source, *output),
            Op::Chain { input, steps } => rows::through(edges[*input].clone(), steps),
            Op::Merge { inputs } => rows::merged(inputs.iter().map(|i| &edges[*i]).collect(), &node.schema),
            Op::Keyed { input, keyed } => {
                let (edge, schema) = (&edges[*input], &plan.nodes[*input].schema);
                let state = of_keyed(edge, schema, keyed);
                let out = edge_behind(edge, schema, keyed, &node.schema, &state);
                states.push(state);
                out
            }
            Op::Join { inputs, join, state, lateness_ns, .. } => {
                let sides = inputs.map(|i| (&edges[i], &plan.nodes[i].schema));
                let (state, out) = join::of_join(sides, join, state.name(), *lateness_ns, &node.schema);
                states.push(state);
                out
            }
            Op::Enrich { input, table, lookup, state } => {
                let schema = &plan.nodes[*input].schema;
                let (state, out) =
                    of_enrich(&edges[*input], schema, &edges[*table], lookup, state.name(), &node.schema);
                states.push(state);
                out
            }
            Op::Relate { inputs, relate, state } => {
                let edges = inputs.iter().map(|i| (&edges[*i], &plan.nodes[*i].schema));
                let (told, out) = relation::of(edges.collect(), relate, &node.schema);
                states.extend(state.as_ref().map(|state| StateDefinition { name: state.name(), ..told }));
                out
            }
            Op::Late { of } => late(plan, *of, &edges),
            Op::Timer { inputs, period_ns } => {
                let name = plan.state_name(id).unwrap_or_default();
                let (state, out) = of_timer(name, inputs.iter().map(|i| &edges[*i]), *period_ns, &node.schema);
                // One that follows the clock has nothing to go on with.
                states.extend((!inputs.is_empty()).then_some(state));
                out
            }
        };
        edges.push(edge);
    }
    states
}

/// Whether rows wait in the operator, or stay in it, with all their columns.
fn holds_rows(kind: &KeyedKind) -> bool {
    match kind {
        KeyedKind::Window { windows, body: WindowBody::Aggregate { .. } } => windows.is_order_sensitive(),
        KeyedKind::Window { body: WindowBody::Rows { .. }, .. }
        | KeyedKind::Running { .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Pattern { .. }
        | KeyedKind::Table { .. }
        | KeyedKind::Changes { .. }
        | KeyedKind::Snapshot { .. } => true,
    }
}

/// Whether rows are applied in the order of their times, behind the watermark by the lateness.
fn is_ordered(kind: &KeyedKind) -> bool {
    match kind {
        KeyedKind::Window { windows, .. } => windows.is_order_sensitive(),
        KeyedKind::Running { .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Pattern { .. }
        | KeyedKind::Changes { .. }
        | KeyedKind::Snapshot { .. } => true,
        // In the order of their places.
        KeyedKind::Table { .. } => false,
    }
}

/// The input's columns as the definition sees them: by name and type. What the planner added has no name
/// that means anything, and is known by what it computes.
fn named(edge: &Edge, schema: &Schema) -> Vec<Base> {
    let base = |(column, field): (&Expr, &crate::data::Field)| match field.name.starts_with('$') {
        true => Base { exact: exact(column, &edge.base), name: text(column, &edge.base) },
        false => Base { exact: json!([field.name, field.data_type]).to_string(), name: field.name.clone() },
    };
    edge.columns.iter().zip(&schema.fields).map(base).collect()
}

fn of_keyed(edge: &Edge, schema: &Schema, keyed: &Keyed) -> StateDefinition {
    let columns = named(edge, schema);
    let mut own = Facts::default();
    own.add(keyed.state.kind.clone(), json!(["kind", keyed.state.kind]));
    for (i, key) in keyed.key.iter().enumerate() {
        own.add(format!("key {}", text(key, &columns)), json!(["key", i, exact(key, &columns), key.data_type()]));
    }
    let lateness = match keyed.lateness_ns {
        i64::MAX => "no row too late".to_string(),
        ns => format!("lateness {}", format_duration(ns)),
    };
    own.add(lateness, json!(["lateness", keyed.lateness_ns]));
    add_kind(&mut own, &keyed.kind, &columns);
    if holds_rows(&keyed.kind) {
        for (i, (field, column)) in schema.fields.iter().zip(&columns).enumerate() {
            let shown = format!("rows with {}: {}", column.name, field.data_type);
            own.add(shown, json!(["column", i, column.exact, field.data_type]));
        }
    }
    let mut input = edge.facts.clone();
    for i in read_columns(keyed, schema.len()) {
        let (name, column) = (&schema.fields[i].name, &edge.columns[i]);
        if !name.starts_with('$') {
            let shown = text(column, &edge.base);
            let shown = if shown == *name { shown } else { format!("{name}: {shown}") };
            input.add(shown, json!(["column", name, exact(column, &edge.base)]));
        }
    }
    let clock_lag_ns = if is_ordered(&keyed.kind) { keyed.lateness_ns } else { 0 };
    let (name, sources) = (keyed.state.name(), edge.sources.clone());
    StateDefinition { name, definition: own, input, sources, clock_lag_ns }
}

/// The parts of a definition that are the operator's own.
fn add_kind(own: &mut Facts, kind: &KeyedKind, columns: &[Base]) {
    match kind {
        KeyedKind::Window { windows, .. } => {
            let schema = rows::names(columns);
            let exactly = match windows {
                Windows::Upstream { start, end } => json!(["upstream", columns[*start].exact, columns[*end].exact]),
                Windows::Time { .. } | Windows::Session { .. } | Windows::Count { .. } => json!(["windows", windows]),
            };
            own.add(format!("window {}", parts::windows(windows, &schema)), exactly);
        }
        KeyedKind::Running { .. } => {}
        KeyedKind::Distinct { by, within_ns } => {
            for (i, value) in by.iter().enumerate() {
                let exactly = json!(["by", i, exact(value, columns), value.data_type()]);
                own.add(format!("distinct by {}", text(value, columns)), exactly);
            }
            let within = within_ns.map_or("for ever".to_string(), |ns| format!("within {}", format_duration(ns)));
            own.add(within, json!(["within", within_ns]));
        }
        KeyedKind::Limit { n } => own.add(format!("limit {n}"), json!(["limit", n])),
        KeyedKind::Pattern { pattern } => pattern::add(own, pattern, columns),
        KeyedKind::Table { delete, tells: _, feeds: _ } => {
            if let Some(e) = delete {
                own.add(format!("deleted when {}", text(e, columns)), json!(["delete", exact(e, columns)]));
            }
        }
        KeyedKind::Changes { diff, as_diff } => {
            let exactly = json!(["changes", exact(diff, columns), as_diff]);
            own.add(parts::changes(*as_diff).to_string(), exactly);
        }
        KeyedKind::Snapshot { diff, by } => {
            let by: Vec<String> = by.iter().map(|e| exact(e, columns)).collect();
            own.add("snapshot".to_string(), json!(["snapshot", exact(diff, columns), by]));
        }
    }
    for (i, aggregate) in kind.aggregates().iter().enumerate() {
        let args: Vec<String> = aggregate.args.iter().map(|a| columns[*a].name.clone()).collect();
        own.add(parts::aggregate(&aggregate.function, &args), json!(["aggregate", i, exactly(aggregate, columns)]));
    }
}

fn exactly(aggregate: &Aggregate, columns: &[Base]) -> Json {
    let Aggregate { function, args, arg_types, ty } = aggregate;
    json!([function, args.iter().map(|a| &columns[*a].exact).collect::<Vec<_>>(), arg_types, ty])
}

/// The input's columns that the state is made of.
fn read_columns(keyed: &Keyed, width: usize) -> BTreeSet<usize> {
    if holds_rows(&keyed.kind) {
        return (0..width).collect();
    }
    let mut read = BTreeSet::new();
    keyed.key.iter().for_each(|e| crate::expr::add_columns(e, &mut read));
    read.extend(keyed.kind.aggregates().iter().flat_map(|a| a.args.iter().copied()));
    if let KeyedKind::Window { windows: Windows::Upstream { start, end }, .. } = &keyed.kind {
        read.extend([*start, *end]);
    }
    read
}

/// The rows that leave a keyed operator.
fn edge_behind(edge: &Edge, schema: &Schema, keyed: &Keyed, given: &Schema, state: &StateDefinition) -> Edge {
    let columns = named(edge, schema);
    let chosen = match &keyed.kind {
        KeyedKind::Window { body: WindowBody::Rows { order, limit, distinct }, .. } => {
            let order: Vec<Json> = order.iter().map(|k| json!([exact(&k.expr, &columns), k.descending])).collect();
            let all = |by: &Vec<Expr>| by.iter().map(|e| exact(e, &columns)).collect::<Vec<_>>();
            json!([order, limit, distinct.as_ref().map(all)])
        }
        KeyedKind::Window { body: WindowBody::Aggregate { .. }, .. }
        | KeyedKind::Running { .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Pattern { .. }
        | KeyedKind::Table { .. }
        | KeyedKind::Changes { .. }
        | KeyedKind::Snapshot { .. } => Json::Null,
    };
    let origin = short(&json!([state.definition.hash(), state.input.hash(), chosen]).to_string());
    let mut out = Edge { sources: edge.sources.clone(), ..Edge::default() };
    out.facts.add(format!("the rows of {}", state.name), json!(["rows of", origin]));
    let meaning = |i: usize| match &keyed.kind {
        KeyedKind::Window { body: WindowBody::Aggregate { .. }, .. } | KeyedKind::Running { .. } => {
            let bounds = if matches!(keyed.kind, KeyedKind::Running { .. }) { 0 } else { 2 };
            let (keys, aggregates) = (keyed.key.len(), keyed.kind.aggregates());
            match i.checked_sub(keys + bounds) {
                Some(of) => json!(["aggregate", exactly(&aggregates[of], &columns)]),
                None if i < keys => json!(["key", exact(&keyed.key[i], &columns)]),
                None => json!(["bound", i - keys]),
            }
        }
        // What it gives is part of the definition.
        KeyedKind::Pattern { .. } => json!(["given", i]),
        KeyedKind::Window { body: WindowBody::Rows { .. }, .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Table { .. }
        | KeyedKind::Changes { .. }
        | KeyedKind::Snapshot { .. } => match edge.columns.get(i) {
            Some(column) => json!(["column", exact(column, &edge.base)]),
            None => json!(["bound", i - edge.columns.len()]),
        },
    };
    out.columns_are(given, &|i| short(&json!([origin, meaning(i)]).to_string()));
    out
}

/// The rows that wait for a table, and those that leave with what it has for them.
fn of_enrich(
    edge: &Edge,
    schema: &Schema,
    table: &Edge,
    lookup: &Lookup,
    name: String,
    given: &Schema,
) -> (StateDefinition, Edge) {
    let columns = named(edge, schema);
    let mut own = Facts::default();
    own.add("enrich".to_string(), json!(["kind", "enrich"]));
    for (i, key) in lookup.on.iter().enumerate() {
        own.add(format!("key {}", text(key, &columns)), json!(["key", i, exact(key, &columns), key.data_type()]));
    }
    for (i, (field, column)) in schema.fields.iter().zip(&columns).enumerate() {
        let shown = format!("rows with {}: {}", column.name, field.data_type);
        own.add(shown, json!(["column", i, column.exact, field.data_type]));
    }
    let mut input = edge.facts.clone();
    table.facts.iter().for_each(|fact| input.insert(fact.clone()));
    let sources: BTreeSet<(usize, usize)> = edge.sources.union(&table.sources).copied().collect();
    let looked_up = |i: usize| {
        let (column, default) = &lookup.fields[i];
        json!(["looked up", exact(&table.columns[*column], &table.base), default])
    };
    let all: Vec<Json> = (0..lookup.fields.len()).map(looked_up).collect();
    let origin = short(&json!([own.hash(), input.hash(), all, lookup.required]).to_string());
    let mut out = Edge { sources: sources.clone(), ..Edge::default() };
    out.facts.add(format!("the rows of {name}"), json!(["rows of", origin]));
    out.columns_are(given, &|i| match edge.columns.get(i) {
        Some(column) => short(&json!([origin, exact(column, &edge.base)]).to_string()),
        None => short(&json!([origin, i]).to_string()),
    });
    (StateDefinition { name, definition: own, input, sources, clock_lag_ns: 0 }, out)
}

/// The rows that came too late for the operator `of`.
fn late(plan: &Plan, of: NodeId, edges: &[Edge]) -> Edge {
    let Op::Keyed { input, .. } = &plan.nodes[of].op else { unreachable!("only keyed operators have late rows") };
    let (origin, edge) = (&edges[of], &edges[*input]);
    let mut out = Edge { sources: origin.sources.clone(), ..Edge::default() };
    for fact in origin.facts.iter() {
        out.facts.add(format!("too late: {}", fact.text), json!(["late", fact.exact]));
    }
    out.columns_are(&plan.nodes[*input].schema, &|i| short(&exact(&edge.columns[i], &edge.base)));
    out
}

fn of_timer<'e>(
    name: String,
    inputs: impl Iterator<Item = &'e Edge>,
    period_ns: i64,
    given: &Schema,
) -> (StateDefinition, Edge) {
    let (mut definition, mut input) = (Facts::default(), Facts::default());
    definition.add(format!("every {}", format_duration(period_ns)), json!(["timer", period_ns]));
    let mut sources = BTreeSet::new();
    for edge in inputs {
        edge.facts.iter().for_each(|fact| input.insert(fact.clone()));
        sources.extend(&edge.sources);
    }
    let mut out = Edge { sources: sources.clone(), ..Edge::default() };
    let origin = json!(["ticks", definition.hash(), input.hash()]);
    out.facts.add(format!("the ticks of {name}"), origin.clone());
    out.columns_are(given, &|i| short(&json!([origin, i]).to_string()));
    (StateDefinition { name, definition, input, sources, clock_lag_ns: 0 }, out)
}
