//! What a run had counted up to a checkpoint, by names that a changed program still has: the form in which
//! the record of a checkpoint keeps it, and how a run goes on from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::connector::rejects::Rejected;
use crate::dataflow::op::counters::{Counts, Tally};
use crate::plan::physical::Plan;

/// What one process has counted, or all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    sources: BTreeMap<String, Rejected>,
    operators: BTreeMap<String, Counts>,
    outputs: BTreeMap<String, Counts>,
}

/// The tallies of a run, with the names of what they are of.
#[derive(Clone)]
pub struct Tallies {
    sources: Vec<String>,
    pub nodes: Vec<Arc<Tally>>,
    node_names: Vec<String>,
    pub outputs: Vec<Arc<Tally>>,
    output_names: Vec<String>,
}

/// The names, each with the number of those before that are equal to it.
fn numbered(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let number = |name: String| {
        let count = seen.entry(name.clone()).or_insert(0);
        *count += 1;
        format!("{name}/{}", *count - 1)
    };
    names.map(number).collect()
}

impl Tallies {
    /// Of a plan whose run goes on from `before`.
    pub fn new(plan: &Plan, before: &Counted) -> Tallies {
        let node_names = numbered(plan.nodes.iter().map(|n| format!("{}/{}", n.stream, n.label)));
        let output_names = numbered(plan.outputs.iter().map(|o| o.name.clone()));
        let tally = |of: &BTreeMap<String, Counts>, name: &String| {
            Arc::new(Tally::after(of.get(name).copied().unwrap_or_default()))
        };
        Tallies {
            sources: numbered(plan.sources.iter().map(|s| s.name.clone())),
            nodes: node_names.iter().map(|name| tally(&before.operators, name)).collect(),
            node_names,
            outputs: output_names.iter().map(|name| tally(&before.outputs, name)).collect(),
            output_names,
        }
    }

    /// What earlier runs had rejected, by source.
    pub fn rejected(&self, before: &Counted) -> Vec<Rejected> {
        self.sources.iter().map(|name| before.sources.get(name).cloned().unwrap_or_default()).collect()
    }

    /// Ends an epoch that everybody has left; `rejected` up to its end, by source.
    pub fn end_epoch(&self, epoch: u64, rejected: Vec<Rejected>) -> Counted {
        let ended = |names: &[String], tallies: &[Arc<Tally>]| {
            names.iter().cloned().zip(tallies.iter().map(|t| t.end_epoch(epoch))).collect()
        };
        Counted {
            sources: self.sources.iter().cloned().zip(rejected).collect(),
            operators: ended(&self.node_names, &self.nodes),
            outputs: ended(&self.output_names, &self.outputs),
        }
    }
}

impl Counted {
    /// What all processes of a run had counted, from the record of a checkpoint. What cannot be read was
    /// written by another version, and counts as nothing.
    pub fn of_record(counters: &serde_json::Value) -> Counted {
        let mut all = Counted::default();
        for process in counters.as_array().into_iter().flatten() {
            all.add(serde_json::from_value(process.clone()).unwrap_or_default());
        }
        all
    }

    fn add(&mut self, other: Counted) {
        other.sources.into_iter().for_each(|(name, r)| self.sources.entry(name).or_default().add(r));
        other.operators.into_iter().for_each(|(name, c)| self.operators.entry(name).or_default().add(c));
        other.outputs.into_iter().for_each(|(name, c)| self.outputs.entry(name).or_default().add(c));
    }

    pub fn rows_read(&self) -> u64 {
        self.sources.values().map(|s| s.rows_read).sum()
    }
}
