//! `merge`: the rows of several streams as one.
//!
//! Columns were made equal by the plan. System columns are made equal here: rows that have no `_seq`
//! get the one of rows without an origin, so that batches of one edge agree.

use timely::dataflow::Scope;
use timely::dataflow::operators::core::Concatenate;

use super::chain::map_batches;
use super::driven::Packets;
use crate::data::{Batch, Seq};
use crate::dataflow::time::Time;

/// Adds the operator.
pub fn merge<'scope>(scope: Scope<'scope, Time>, name: &str, inputs: Vec<Packets<'scope>>) -> Packets<'scope> {
    let alike = inputs.into_iter().map(|input| {
        map_batches(name, input, |_, batch| {
            let seq = batch.seq.clone().unwrap_or_else(|| Seq::zeros(batch.len()));
            Batch { seq: Some(seq), keys: None, ..batch }
        })
    });
    scope.concatenate(alike)
}
