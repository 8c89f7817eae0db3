//! The keyed operators of the plan: the exchange by key, and the core that the plan names.

use std::sync::Arc;

use timely::dataflow::channels::pact::DistributorPact;

use super::assign::Assigner;
use super::base_table::base_table;
use super::body::{AggregateBody, Body};
use super::chain::key_by;
use super::changes::Changes;
use super::count::CountWindows;
use super::counters::{Counters, Tally};
use super::distinct::Distinct;
use super::driven::{Packets, drive};
use super::keeper::Site;
use super::late::Late;
use super::limit::Limit;
use super::ordered::{InOrder, Ordered};
use super::rows::RowsBody;
use super::running::Running;
use super::sequence::Sequences;
use super::session::Sessions;
use super::snapshot::Snapshot;
use super::tabled::Limited;
use super::upstream::UpstreamWindows;
use super::versions::Shared;
use super::window::TimeWindows;
use crate::data::{Batch, DataType};
use crate::dataflow::align::Core;
use crate::dataflow::exchange::ByKey;
use crate::expr::Expr;
use crate::pattern::Gives;
use crate::pattern::matcher::Matcher;
use crate::pattern::trends::Trends;
use crate::plan::physical::{Keyed, KeyedKind, WindowBody, Windows};
use crate::state::entries::Durable;
use crate::state::table::ranks::Ranks;

/// What a keyed operator is made of.
struct Parts<'scope, 'a> {
    name: &'a str,
    input: Packets<'scope>,
    keyed: &'a Keyed,
    /// Types of the input's columns.
    types: Vec<DataType>,
    counters: Arc<Counters>,
    /// Of the same tally, for the operator that encodes the keys: it may be in another epoch.
    key_counters: Arc<Counters>,
    site: Site<'a>,
}

/// An operator that was added.
pub struct Built<'scope> {
    /// Its rows, and its late rows where they are kept.
    pub ports: Vec<Packets<'scope>>,
    /// Of a table: what enrichments look up in.
    pub versions: Option<Shared>,
}

/// Adds the operator.
pub fn keyed<'scope>(
    name: &str,
    input: Packets<'scope>,
    keyed: &Keyed,
    types: Vec<DataType>,
    tally: &Arc<Tally>,
    site: Site<'_>,
) -> Built<'scope> {
    let counters = tally.counters(site.keeping.epoch);
    let key_counters = tally.counters(site.keeping.epoch);
    let parts = Parts { name, input, keyed, types, counters: counters.clone(), key_counters, site };
    let ports = match &keyed.kind {
        KeyedKind::Window { windows, body: WindowBody::Aggregate { aggregates } } => {
            let body = AggregateBody::new(aggregates.clone(), keyed.key_types());
            parts.windows(windows, body)
        }
        KeyedKind::Window { windows, body: WindowBody::Rows { order, limit, distinct } } => {
            let adds_bounds = !matches!(windows, Windows::Upstream { .. });
            let (types, distinct) = (parts.types.clone(), distinct.clone());
            let body = RowsBody::new(order.clone(), *limit, distinct, types, adds_bounds);
            parts.windows(windows, body)
        }
        KeyedKind::Running { aggregates } => {
            parts.ordered(Running::new(aggregates.clone(), keyed.key_types(), counters))
        }
        KeyedKind::Distinct { by, within_ns } => {
            let logic = Distinct::new(&keyed.key, by, &parts.types, *within_ns, counters);
            parts.ordered(logic)
        }
        KeyedKind::Limit { n } => parts.ordered(Limit::new(*n, counters)),
        KeyedKind::Pattern { pattern } => {
            let (key_types, delay_ns) = (keyed.key_types(), pattern.delay_ns());
            match &pattern.gives {
                Gives::Matches(_) | Gives::Timeouts(_) => {
                    let matcher = Matcher::new(pattern).expect("sema has built the automaton");
                    parts.ordered(Sequences::new(matcher, key_types, delay_ns, counters))
                }
                Gives::Trends(trends) => {
                    let trends = Trends::new(pattern, trends).expect("sema has built the automaton");
                    parts.ordered(Sequences::new(trends, key_types, delay_ns, counters))
                }
            }
        }
        KeyedKind::Changes { diff, as_diff } => {
            let diff = column_of(diff);
            let logic = Changes::new(diff, *as_diff, parts.types.clone(), counters);
            parts.ordered(logic)
        }
        KeyedKind::Snapshot { diff, by } => {
            let by = by.iter().map(column_of).collect();
            let logic = Snapshot::new(column_of(diff), by, parts.types.clone(), counters);
            parts.ordered(logic)
        }
        KeyedKind::Table { .. } => {
            let Parts { name, input, keyed, types, site, .. } = parts;
            let (ports, versions) = base_table(name, input, keyed, types, tally, site);
            return Built { ports, versions: Some(versions) };
        }
    };
    Built { ports, versions: None }
}

/// Hidden columns of a table's changes are columns as they come.
fn column_of(e: &Expr) -> usize {
    match e {
        Expr::Column { index, .. } => *index,
        _ => unreachable!("sema makes columns of them"),
    }
}

impl<'scope> Parts<'scope, '_> {
    fn windows<B: Body + 'static>(self, windows: &Windows, body: B) -> Vec<Packets<'scope>> {
        let counters = self.counters.clone();
        match windows {
            Windows::Time { size_ns, slide_ns, offset_ns, tz } => {
                let tz = tz.as_ref().map(|tz| tz.parse().expect("the compiler checked the time zone"));
                let assigner = Assigner::new(*size_ns, *slide_ns, *offset_ns, tz);
                let core = TimeWindows::new(assigner, self.keyed.lateness_ns, body, self.late(), counters);
                let core = if self.site.chaos.is_on() { core.with_emit_rows(2) } else { core };
                self.drive(core)
            }
            Windows::Session { gap_ns } => self.ordered(Sessions::new(*gap_ns, body, counters)),
            Windows::Count { size, slide, partial } => {
                self.ordered(CountWindows::new(*size, *slide, *partial, body, counters))
            }
            Windows::Upstream { start, end } => self.drive(UpstreamWindows::new(*start, *end, body, counters)),
        }
    }

    fn ordered<L: InOrder + Durable + Limited + 'static>(self, logic: L) -> Vec<Packets<'scope>> {
        let (types, counters) = (self.types.clone(), self.counters.clone());
        let core = Ordered::new(logic, self.keyed.lateness_ns, types, self.late(), counters);
        self.drive(core)
    }

    fn late(&self) -> Late {
        if self.keyed.keeps_late { Late::Sent } else { Late::Dropped }
    }

    fn drive(self, mut core: impl Core<Rows = Batch> + Durable + Limited + 'static) -> Vec<Packets<'scope>> {
        let key = format!("{} key", self.name);
        let rows = key_by(&key, self.input, self.keyed.key.clone(), columns_read(self.keyed), self.key_counters);
        let inputs = vec![(rows, DistributorPact(|_: usize| ByKey::default()))];
        if let Some(capacity) = self.site.keeping.capacity {
            core.limit_to(Ranks::new(capacity, !self.keyed.key.is_empty()));
        }
        let keeper = self.site.keeper(&self.keyed.state.name(), &mut core, self.counters);
        let ports = 1 + self.keyed.keeps_late as usize;
        drive(self.name, inputs, ports, core, keeper, self.site.gauge, self.site.chaos)
    }
}

/// The columns that the operator reads; `None`: all.
fn columns_read(keyed: &Keyed) -> Option<Vec<usize>> {
    match &keyed.kind {
        // Sessions and count windows order their rows first, by all their columns if need be.
        KeyedKind::Window { windows: Windows::Time { .. }, body: WindowBody::Aggregate { aggregates } }
            if !keyed.keeps_late =>
        {
            Some(aggregates.iter().flat_map(|a| a.args.iter().copied()).collect())
        }
        KeyedKind::Window { .. }
        | KeyedKind::Running { .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Pattern { .. }
        | KeyedKind::Table { .. }
        | KeyedKind::Changes { .. }
        | KeyedKind::Snapshot { .. } => None,
    }
}
