//! What the rows of tables that follow from tables depend on.

use std::collections::BTreeSet;

use serde_json::json;

use super::StateDefinition;
use super::facts::Facts;
use super::rows::{Edge, short};
use crate::data::Schema;
use crate::plan::explain::logical;
use crate::sema::hir::Relate;

/// What is remembered of an operator over these inputs (its name is for the caller to say), and its rows. Of changes
/// that were told nothing depends on which columns they have, so that the operator's input says all.
pub fn of(inputs: Vec<(&Edge, &Schema)>, relate: &Relate, given: &Schema) -> (StateDefinition, Edge) {
    let (mut definition, mut input) = (Facts::default(), Facts::default());
    let mut sources: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut columns = Vec::new();
    for (edge, _) in &inputs {
        edge.facts.iter().for_each(|fact| input.insert(fact.clone()));
        sources.extend(&edge.sources);
        columns.push(edge.columns.iter().map(|c| super::rows::exact(c, &edge.base)).collect::<Vec<_>>());
    }
    definition.add(logical::relate(relate, inputs[0].1), json!(["relation", relate.name()]));
    let origin = short(&json!(["relation", relate, input.hash(), columns]).to_string());
    let mut out = Edge { sources: sources.clone(), ..Edge::default() };
    out.facts.add(format!("the rows of {}", logical::relate(relate, inputs[0].1)), json!(["rows of", origin]));
    out.columns_are(given, &|i| short(&json!([origin, i]).to_string()));
    (StateDefinition { name: String::new(), definition, input, sources, clock_lag_ns: 0 }, out)
}
