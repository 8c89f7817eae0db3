//! What the state of a join depends on.
//!
//! Rows of both inputs are held, each with the columns that are read of it, and with whether something was paired
//! with it: the whole condition is part of the definition.

use std::collections::BTreeSet;

use serde_json::json;

use super::facts::Facts;
use super::rows::{Base, Edge, exact, names, short, text};
use super::{StateDefinition, named};
use crate::data::Schema;
use crate::data::time::format_duration;
use crate::join::Join;
use crate::plan::explain::logical::join_of;

/// The definition of a join over these inputs, and the rows that leave it.
pub fn of_join(
    sides: [(&Edge, &Schema); 2],
    join: &Join,
    name: String,
    lateness_ns: i64,
    given: &Schema,
) -> (StateDefinition, Edge) {
    let columns = sides.map(|(edge, schema)| named(edge, schema));
    let own = own_facts(join, &columns, lateness_ns);
    let (mut input, mut sources) = (Facts::default(), BTreeSet::new());
    let held = join.held_columns();
    let mut first = 0;
    for (side, (edge, schema)) in sides.iter().enumerate() {
        // What one input has may not stand for what the other has.
        for fact in edge.facts.iter() {
            let shown = format!("{} input: {}", ["left", "right"][side], fact.text);
            input.add(shown, json!(["side", side, fact.exact]));
        }
        for (i, field) in schema.fields.iter().enumerate().filter(|(i, _)| held.contains(&(first + i))) {
            let shown = format!("{} input: {}", ["left", "right"][side], text(&edge.columns[i], &edge.base));
            let name = if field.name.starts_with('$') { "" } else { field.name.as_str() };
            input.add(shown, json!(["column", side, name, exact(&edge.columns[i], &edge.base)]));
        }
        sources.extend(&edge.sources);
        first += schema.len();
    }
    let state = StateDefinition { name, definition: own, input, sources: sources.clone(), clock_lag_ns: 0 };
    let origin = short(&json!([state.definition.hash(), state.input.hash()]).to_string());
    let mut out = Edge { sources, ..Edge::default() };
    out.facts.add(format!("the rows of {}", state.name), json!(["rows of", origin]));
    let both: Vec<&Base> = columns.iter().flatten().collect();
    out.columns_are(given, &|i| {
        short(&json!([origin, both[join.output[i]].exact, side_of(join.output[i], &columns)]).to_string())
    });
    (state, out)
}

fn side_of(column: usize, columns: &[Vec<Base>; 2]) -> usize {
    usize::from(column >= columns[0].len())
}

fn own_facts(join: &Join, columns: &[Vec<Base>; 2], lateness_ns: i64) -> Facts {
    let Join { keeps, keys, reach, residual, output: _ } = join;
    let mut own = Facts::default();
    let schemas = [names(&columns[0]), names(&columns[1])];
    own.add(join_of(join, [&schemas[0], &schemas[1]]), json!(["join", keeps, reach]));
    for (side, key) in keys.iter().enumerate() {
        for (part, e) in key.iter().enumerate() {
            let shown = format!("key {}", text(e, &columns[side]));
            own.add(shown, json!(["key", side, part, exact(e, &columns[side]), e.data_type()]));
        }
    }
    let both: Vec<Base> = columns
        .iter()
        .enumerate()
        .flat_map(|(side, c)| c.iter().map(move |b| Base { exact: json!([side, b.exact]).to_string(), ..b.clone() }))
        .collect();
    if let Some(residual) = residual {
        own.add(format!("where {}", text(residual, &both)), json!(["residual", exact(residual, &both)]));
    }
    own.add(format!("lateness {}", format_duration(lateness_ns)), json!(["lateness", lateness_ns]));
    for column in join.held_columns() {
        own.add(format!("rows with {}", both[column].name), json!(["column", both[column].exact]));
    }
    own
}
