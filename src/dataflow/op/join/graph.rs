//! A join in the graph: two exchanges by key, one driven operator.

use std::sync::Arc;

use timely::dataflow::channels::pact::DistributorPact;

use super::Joins;
use crate::data::DataType;
use crate::dataflow::exchange::ByKey;
use crate::dataflow::op::chain::key_by;
use crate::dataflow::op::counters::Tally;
use crate::dataflow::op::driven::{Packets, drive};
use crate::dataflow::op::keeper::Site;
use crate::dataflow::op::tabled::Limited;
use crate::join::Join;
use crate::state::table::ranks::Ranks;

/// What the operator is made of in the graph.
pub struct Parts<'scope, 'a> {
    pub name: &'a str,
    pub inputs: [Packets<'scope>; 2],
    pub join: &'a Join,
    /// The name under which the state is saved.
    pub state: String,
    pub lateness_ns: i64,
    /// Of the inputs' columns.
    pub types: [Vec<DataType>; 2],
    pub tally: &'a Arc<Tally>,
    pub site: Site<'a>,
}

/// Adds the operator.
pub fn join<'scope>(parts: Parts<'scope, '_>) -> Vec<Packets<'scope>> {
    let Parts { name, inputs, join, state, lateness_ns, types, tally, site } = parts;
    let counters = || tally.counters(site.keeping.epoch);
    let core_counters = counters();
    let mut core = Joins::new(join, lateness_ns, [&types[0], &types[1]], core_counters.clone());
    if site.chaos.is_on() {
        core = core.with_emit_rows(2);
    }
    let mut keyed = Vec::new();
    for (side, input) in inputs.into_iter().enumerate() {
        let read = core.plan.columns_read(side);
        let rows = key_by(&format!("{name} key"), input, join.keys[side].clone(), Some(read), counters());
        keyed.push((rows, DistributorPact(|_: usize| ByKey::default())));
    }
    if let Some(capacity) = site.keeping.capacity {
        core.limit_to(Ranks::new(capacity, !join.keys[0].is_empty()));
    }
    let keeper = site.keeper(&state, &mut core, core_counters);
    drive(name, keyed, 1, core, keeper, site.gauge, site.chaos)
}
