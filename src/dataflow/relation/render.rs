//! From the operators of the plan to those of this module.

use std::sync::Arc;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use super::account::Account;
use super::aggregate::aggregate;
use super::arrange::{Arrangement, arrange};
use super::distinct::distinct;
use super::join::{join, unmatched};
use super::settle::settle;
use super::top::top;
use crate::data::DataType;
use crate::dataflow::op::chain::key_by;
use crate::dataflow::op::counters::Tally;
use crate::dataflow::op::driven::Packets;
use crate::dataflow::op::keeper::Site;
use crate::dataflow::op::versions::Shared;
use crate::dataflow::time::meet;
use crate::expr::Expr;
use crate::plan::physical::{Relate, StateId};

/// An input of an operator.
pub struct Given<'scope> {
    /// Its rows; of a base table that others follow from, the last are those that they are fed with.
    pub ports: Vec<Packets<'scope>>,
    pub arrangement: Option<Arrangement<'scope>>,
    /// Of its columns without `$diff`.
    pub types: Vec<DataType>,
}

/// Where an operator stands.
pub struct Place<'a> {
    pub name: &'a str,
    pub tally: &'a Arc<Tally>,
    pub state: Option<&'a StateId>,
    pub site: Site<'a>,
}

/// What an operator gives: its changes, or an arrangement of them.
pub struct Related<'scope> {
    pub changes: Option<Packets<'scope>>,
    pub arrangement: Option<Arrangement<'scope>>,
}

/// Adds an operator.
pub fn related<'scope>(relate: &Relate, given: Vec<Given<'scope>>, place: Place<'_>) -> Related<'scope> {
    let Place { name, tally, state, site } = place;
    let counters = tally.counters(site.keeping.epoch);
    // What is counted of changes depends on timing, but for those that have settled.
    let uncounted = Arc::default;
    let by =
        |input: Packets<'scope>, key: &[Expr]| key_by(&format!("{name} key"), input, key.to_vec(), None, uncounted());
    let account = &Account::new(site.gauge.clone(), counters.clone(), site.keeping.spill.as_ref());
    let mut given = given.into_iter();
    let Given { mut ports, arrangement, types } = given.next().expect("an operator has an input");
    let input = ports.pop();
    let rows = || input.clone().expect("an operator reads changes");
    let arranged = |arrangement: Option<Arrangement<'scope>>| arrangement.expect("a join reads arrangements");
    let mut other = || given.next().expect("the operator has two inputs");
    let changes = match relate {
        Relate::Feed => rows(),
        Relate::Arrange { key } => {
            let arrangement = Some(arrange(name, by(rows(), key), types, account));
            return Related { changes: None, arrangement };
        }
        Relate::Join => {
            let right = other();
            let types = [types, right.types].concat();
            join(name, arranged(arrangement), arranged(right.arrangement), types, account)
        }
        Relate::Unmatched { key } => {
            let pairs = other().ports.pop().expect("pairs are changes");
            unmatched(name, by(rows(), key), by(pairs, key), types, account)
        }
        Relate::Aggregate { key, aggregates } => {
            let key_types = key.iter().map(Expr::data_type).collect();
            aggregate(name, by(rows(), key), key_types, aggregates.clone(), account)
        }
        Relate::Distinct { by: columns } => {
            let types = columns.iter().map(Expr::data_type).collect();
            distinct(name, by(rows(), columns), types, account)
        }
        Relate::Top { key, order, n } => top(name, by(rows(), key), order.clone(), *n, types, account),
        Relate::Settle { key, .. } => {
            let state = state.expect("what settles has a state").name();
            settle(name, by(rows(), key), types, &state, counters, site)
        }
    };
    Related { changes: Some(changes), arrangement: None }
}

/// Lets base tables keep their versions until what follows from them has settled, on all workers: what a worker alone
/// has settled says nothing of the others, which a restart may find behind it. A change at the frontier is still to be
/// told, and takes back what held just before.
pub fn follow<'t>(relate: &Relate, tables: impl Iterator<Item = &'t Shared>, settled: Option<&Packets<'_>>) {
    if let (Relate::Settle { .. }, Some(settled)) = (relate, settled) {
        tables.for_each(|table| follow_table(table, settled));
    }
}

fn follow_table(table: &Shared, settled: &Packets<'_>) {
    let asked = table.borrow_mut().reader();
    settled.clone().sink(Pipeline, "follow", move |(input, frontier)| {
        input.for_each(|_, packet| drop(packet.take()));
        asked.set(meet(frontier.frontier()).event.saturating_sub(1));
    });
}
