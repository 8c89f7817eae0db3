//! From the physical plan to a timely graph, line by line: nothing is decided here.
//!
//! Every worker renders the same graph in the same order; channel numbers follow from that.

use std::sync::Arc;

use timely::dataflow::Scope;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};

use super::chaos::Chaos;
use super::exchange::ToFirst;
use super::op::chain::{chain, map_batches};
use super::op::counters::Tally;
use super::op::driven::{Packets, drive};
use super::op::enrich::{TableParts, enrich};
use super::op::join::{Parts, join};
use super::op::keeper::{Keeping, Site};
use super::op::keyed::keyed;
use super::op::lanes::in_text_order;
use super::op::merge::merge;
use super::op::sink::{Form, OrderedSink, SharedWriter, UnorderedSink};
use super::op::source::{Clock, sources};
use super::op::timer::{clock, timer};
use super::op::versions::Shared;
use super::relation::arrange::Arrangement;
use super::relation::render::{Given, Place, Related, follow, related};
use super::stop::Stop;
use super::time::Time;
use crate::connector::intake::Intake;
use crate::data::Batch;
use crate::plan::physical::{NodeId, Op, Plan, Relate};
use crate::state::entries::Worker;

/// Turns rows of an output into what its writer takes: encoded text, or the same columns.
pub type Encoder = Box<dyn FnMut(Batch) -> Batch>;

/// What a run gives every worker.
pub struct Context {
    pub plan: Plan,
    pub intake: Arc<Intake>,
    pub stop: Arc<Stop>,
    pub clock: Clock,
    /// By node.
    pub tallies: Vec<Arc<Tally>>,
    /// By output.
    pub output_tallies: Vec<Arc<Tally>>,
    /// Makes the encoder of an output, on each worker.
    pub encoder: Box<dyn Fn(usize) -> Encoder + Send + Sync>,
    pub writer: SharedWriter,
    pub ordered: bool,
    pub keeping: Keeping,
    /// By output.
    pub forms: Vec<Form>,
    /// By output: under what the ordered sink saves rows that wait in it.
    pub held_as: Vec<String>,
    pub chaos_seed: Option<u64>,
}

/// A rendered node.
struct Rendered<'scope> {
    /// Its rows, and its late rows where they are kept.
    ports: Vec<Packets<'scope>>,
    /// Of a table: what this worker has of it.
    versions: Option<Shared>,
    arrangement: Option<Arrangement<'scope>>,
}

/// Renders the whole plan.
pub fn render<'scope>(scope: Scope<'scope, Time>, context: &Context) {
    let plan = &context.plan;
    let chaos = |salt: usize| Chaos::new(context.chaos_seed, (scope.index() * 1000 + salt) as u64);
    let site = |salt: usize| Site {
        worker: Worker { index: scope.index(), peers: scope.peers() },
        keeping: &context.keeping,
        stop: &context.stop,
        gauge: context.intake.gauge.clone(),
        chaos: chaos(salt),
    };
    let source_counters = |source: usize, output: usize| {
        let is_read = |op: &Op| *op == Op::Source { source, output };
        let node = plan.nodes.iter().position(|n| is_read(&n.op));
        node.map_or_else(Arc::default, |id| context.tallies[id].counters(context.keeping.epoch))
    };
    let (archive, stop) = (context.keeping.archive.clone(), &context.stop);
    let inputs = sources(scope, &context.intake, &source_counters, stop, context.clock, archive, chaos(999));
    let mut nodes: Vec<Rendered<'scope>> = Vec::with_capacity(plan.nodes.len());
    for (id, node) in plan.nodes.iter().enumerate() {
        let rows = |input: NodeId| nodes[input].ports[0].clone();
        let (settled, counters) = (plan.is_settled(id), context.tallies[id].counters(context.keeping.epoch));
        let name = format!("{} {}", node.stream, node.label);
        let (mut versions, mut arrangement) = (None, None);
        let ports = match &node.op {
            Op::Source { source, output } => vec![inputs[*source][*output].clone()],
            Op::Chain { input, steps } => vec![chain(&name, rows(*input), steps.clone(), settled, counters)],
            Op::Merge { inputs } => vec![merge(scope, &name, inputs.iter().map(|i| rows(*i)).collect())],
            Op::Keyed { input, keyed: spec } => {
                let types = plan.nodes[*input].schema.fields.iter().map(|f| f.data_type.clone()).collect();
                let built = keyed(&name, rows(*input), spec, types, &context.tallies[id], site(id));
                versions = built.versions;
                built.ports
            }
            Op::Enrich { input, table, lookup, state } => {
                let table = table_of(plan, *table, &nodes[*table]);
                vec![enrich(&name, rows(*input), table, lookup, &state.name(), &context.tallies[id], site(id))]
            }
            Op::Join { inputs, join: spec, state, lateness_ns, bound: _ } => {
                let types = |id: NodeId| plan.nodes[id].schema.fields.iter().map(|f| f.data_type.clone()).collect();
                join(Parts {
                    name: &name,
                    inputs: inputs.map(rows),
                    join: spec,
                    state: state.name(),
                    lateness_ns: *lateness_ns,
                    types: inputs.map(types),
                    tally: &context.tallies[id],
                    site: site(id),
                })
            }
            Op::Relate { inputs, relate, state } => {
                let place = Place { name: &name, tally: &context.tallies[id], state: state.as_ref(), site: site(id) };
                let related = relation(plan, id, (inputs, relate), &nodes, place);
                arrangement = related.arrangement;
                related.changes.into_iter().collect()
            }
            Op::Late { of } => vec![nodes[*of].ports[1].clone()],
            Op::Timer { inputs, period_ns } if inputs.is_empty() => {
                clock(scope, &name, *period_ns, counters, context.stop.clone())
            }
            Op::Timer { inputs, period_ns } => {
                let inputs = inputs.iter().map(|i| rows(*i)).collect();
                let state = plan.state_name(id).expect("a timer over inputs keeps its ticks");
                timer(scope, &name, &state, inputs, *period_ns, counters, site(id))
            }
        };
        nodes.push(Rendered { ports, versions, arrangement });
    }
    render_outputs(context, &nodes, &site);
}

/// The operator of tables that is node `id`. Base tables keep their versions until what it settles needs them no more.
fn relation<'scope>(
    plan: &Plan,
    id: NodeId,
    (inputs, relate): (&[NodeId], &Relate),
    nodes: &[Rendered<'scope>],
    place: Place<'_>,
) -> Related<'scope> {
    let given = inputs.iter().map(|i| given(plan, *i, &nodes[*i])).collect();
    let related = related(relate, given, place);
    let before = plan.before(id);
    let tables = before.iter().filter_map(|table| nodes[*table].versions.as_ref());
    follow(relate, tables, related.changes.as_ref());
    related
}

/// What an operator of tables reads of node `id`.
fn given<'scope>(plan: &Plan, id: NodeId, rendered: &Rendered<'scope>) -> Given<'scope> {
    let (_, columns) = plan.nodes[id].schema.fields.split_last().expect("changes have a column that says how often");
    let types = columns.iter().map(|f| f.data_type.clone()).collect();
    Given { ports: rendered.ports.clone(), arrangement: rendered.arrangement.clone(), types }
}

/// What an enrichment reads of the table that node `id` is.
fn table_of<'scope>(plan: &Plan, id: NodeId, rendered: &Rendered<'scope>) -> TableParts<'scope> {
    let Op::Keyed { input, .. } = &plan.nodes[id].op else { unreachable!("a table is keyed") };
    let types = plan.nodes[*input].schema.fields.iter().map(|f| f.data_type.clone()).collect();
    let versions = rendered.versions.clone().expect("a table has versions");
    TableParts { changes: rendered.ports[0].clone(), versions, types }
}

/// The batch with its flight counted anew: text takes more room than the columns that it was made of.
fn reweighed(batch: Batch) -> Batch {
    let flight = batch.flight.as_ref().map(|flight| Arc::new(flight.again(batch.len(), batch.bytes())));
    Batch { flight, ..batch }
}

/// The name of the state of the sink of output `index`; of the ordered one, which all outputs share.
fn sink_state(output: Option<&str>) -> String {
    format!("{}/sink/0", output.unwrap_or_default())
}

/// The names of all states that each worker hands over.
pub fn state_names(plan: &Plan, ordered: bool) -> Vec<String> {
    let sinks: Vec<String> = match ordered {
        true => vec![sink_state(None)],
        false => plan.outputs.iter().map(|o| sink_state(Some(&o.name))).collect(),
    };
    (0..plan.nodes.len()).filter_map(|id| plan.state_name(id)).chain(sinks).collect()
}

/// How many sinks of a worker write, and so have to leave an epoch; of the ordered sink only the first does.
pub fn writing_sinks(plan: &Plan, ordered: bool, workers: usize) -> usize {
    if ordered { 1 } else { plan.outputs.len() * workers }
}

fn render_outputs<'a>(context: &'a Context, nodes: &[Rendered<'_>], site: &dyn Fn(usize) -> Site<'a>) {
    let outputs = &context.plan.outputs;
    let encoded = |index: usize| {
        let rows = nodes[outputs[index].node].ports[0].clone();
        let mut encode = (context.encoder)(index);
        let sorts = context.ordered && matches!(context.forms[index], Form::Text);
        map_batches(&format!("{} encode", outputs[index].name), rows, move |_, batch| {
            let rows = reweighed(encode(batch));
            if sorts { in_text_order(rows) } else { rows }
        })
    };
    let (epoch, writer) = (context.keeping.epoch, &context.writer);
    if !context.ordered {
        for (index, tally) in context.output_tallies.iter().enumerate() {
            let mut core = UnorderedSink::new(index, epoch, tally.counters(epoch), writer.clone());
            let site = site(900 + index);
            let keeper = site.keeper(&sink_state(Some(&outputs[index].name)), &mut core, Arc::default());
            drive("sink", vec![(encoded(index), Pipeline)], 0, core, keeper, site.gauge, site.chaos);
        }
        return;
    }
    let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
    let counters = context.output_tallies.iter().map(|t| t.counters(epoch)).collect();
    let held_as = context.held_as.clone();
    let mut core = OrderedSink::new(&names, held_as, context.forms.clone(), epoch, counters, writer.clone());
    let site = site(998);
    let keeper = site.keeper(&sink_state(None), &mut core, Arc::default());
    let inputs = (0..outputs.len()).map(|i| (encoded(i), DistributorPact(|_: usize| ToFirst))).collect();
    drive("ordered sink", inputs, 0, core, keeper, site.gauge, site.chaos);
}
