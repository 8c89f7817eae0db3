//! A program as far as a checkpoint remembers it: its states, outputs and input partitions.

use xxhash_rust::xxh3::xxh3_64;

use crate::connector::intake::Partition;
use crate::plan::definition::{StateDefinition, definitions};
use crate::plan::physical::Plan;
use crate::runtime::outputs::Routed;
use crate::state::manifest::{Checkpoint, OutputRecord, ProgramRecord};

/// See the module's doc.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Described {
    pub fingerprint: String,
    pub states: Vec<StateDefinition>,
    pub outputs: Vec<DescribedOutput>,
    pub partitions: Vec<DescribedPartition>,
    /// By source: how many outputs it has.
    pub sources: Vec<usize>,
    pub ordered: bool,
    /// What its sampled types were taken from.
    pub samples: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedOutput {
    /// The output's name; of several that have the same, with a number.
    pub label: String,
    pub record: OutputRecord,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedPartition {
    pub name: String,
    pub source: usize,
}

impl Described {
    /// `partitions` are those of all processes.
    pub fn new(plan: &Plan, outputs: &[Routed], partitions: &[Partition], ordered: bool) -> Described {
        let outputs = outputs.iter().map(|o| DescribedOutput { label: o.label().to_string(), record: o.record() });
        let partition = |p: &Partition| DescribedPartition { name: p.key.clone(), source: p.source };
        Described {
            fingerprint: fingerprint(plan),
            states: definitions(plan),
            outputs: outputs.collect(),
            partitions: partitions.iter().map(partition).collect(),
            sources: plan.sources.iter().map(|s| s.outputs.len()).collect(),
            ordered,
            samples: serde_json::Value::Null,
        }
    }

    /// Writes into a record what a later program is compared with.
    pub fn describe(&self, plan: &Plan, record: &mut Checkpoint) {
        record.program = ProgramRecord {
            plan: serde_json::to_value(plan).expect("a plan is JSON"),
            fingerprint: self.fingerprint.clone(),
            samples: self.samples.clone(),
            ordered: self.ordered,
            outputs: self.outputs.iter().map(|o| (o.label.clone(), o.record.clone())).collect(),
        };
        for state in &self.states {
            if let Some(summary) = record.state_mut(&state.name) {
                (summary.definition, summary.input) = (state.definition.hash(), state.input.hash());
            }
        }
    }
}

/// What a plan is recognized by.
fn fingerprint(plan: &Plan) -> String {
    let bytes = serde_json::to_vec(plan).expect("a plan is JSON");
    format!("{:016x}", xxh3_64(&bytes))
}
