//! From the physical plan to a timely graph, line by line: nothing is decided here.
//!
//! Every worker renders the same graph in the same order; channel numbers follow from that.

use std::sync::Arc;

use timely::dataflow::Scope;
use timely::dataflow::channels::pact::DistributorPact;

use super::chaos::Chaos;
use super::exchange::ToFirst;
use super::op::chain::{chain, map_batches};
use super::op::counters::Counters;
use super::op::driven::{Packets, drive};
use super::op::keyed::keyed;
use super::op::lanes::in_text_order;
use super::op::merge::merge;
use super::op::sink::{Form, OrderedSink, SharedWriter, unordered_sink};
use super::op::source::{Clock, sources};
use super::op::timer::{clock, timer};
use super::stop::Stop;
use super::time::Time;
use crate::connector::intake::Intake;
use crate::data::Batch;
use crate::plan::physical::{NodeId, Op, Plan};

/// Turns rows of an output into what its writer takes: encoded text, or the same columns.
pub type Encoder = Box<dyn FnMut(Batch) -> Batch>;

/// What a run gives every worker.
pub struct Context {
    pub plan: Plan,
    pub intake: Arc<Intake>,
    pub stop: Arc<Stop>,
    pub clock: Clock,
    /// By node.
    pub counters: Vec<Arc<Counters>>,
    /// By output.
    pub output_counters: Vec<Arc<Counters>>,
    /// Makes the encoder of an output, on each worker.
    pub encoder: Box<dyn Fn(usize) -> Encoder + Send + Sync>,
    pub writer: SharedWriter,
    pub ordered: bool,
    /// By output.
    pub forms: Vec<Form>,
    pub chaos_seed: Option<u64>,
}

/// The outputs of a rendered node: its rows, and its late rows where they are kept.
struct Rendered<'scope> {
    ports: Vec<Packets<'scope>>,
}

/// Renders the whole plan.
pub fn render<'scope>(scope: Scope<'scope, Time>, context: &Context) {
    let plan = &context.plan;
    let chaos = |salt: usize| Chaos::new(context.chaos_seed, (scope.index() * 1000 + salt) as u64);
    let gauge = || context.intake.gauge.clone();
    let source_counters = |source: usize, output: usize| {
        let is_read = |op: &Op| *op == Op::Source { source, output };
        let node = plan.nodes.iter().position(|n| is_read(&n.op));
        node.map_or_else(Arc::default, |id| context.counters[id].clone())
    };
    let inputs = sources(scope, &context.intake, &source_counters, &context.stop, context.clock, chaos(999));
    let mut nodes: Vec<Rendered<'scope>> = Vec::with_capacity(plan.nodes.len());
    for (id, node) in plan.nodes.iter().enumerate() {
        let rows = |input: NodeId| nodes[input].ports[0].clone();
        let counters = context.counters[id].clone();
        let name = format!("{} {}", node.stream, node.label);
        let ports = match &node.op {
            Op::Source { source, output } => vec![inputs[*source][*output].clone()],
            Op::Chain { input, steps } => vec![chain(&name, rows(*input), steps.clone(), counters)],
            Op::Merge { inputs } => vec![merge(scope, &name, inputs.iter().map(|i| rows(*i)).collect())],
            Op::Keyed { input, keyed: spec } => {
                let types = plan.nodes[*input].schema.fields.iter().map(|f| f.data_type.clone()).collect();
                keyed(&name, rows(*input), spec, types, counters, gauge(), chaos(id))
            }
            Op::Late { of } => vec![nodes[*of].ports[1].clone()],
            Op::Timer { inputs, period_ns } if inputs.is_empty() => {
                clock(scope, &name, *period_ns, counters, context.stop.clone())
            }
            Op::Timer { inputs, period_ns } => {
                let inputs = inputs.iter().map(|i| rows(*i)).collect();
                timer(scope, &name, inputs, *period_ns, counters, gauge(), chaos(id))
            }
        };
        nodes.push(Rendered { ports });
    }
    render_outputs(context, &nodes, chaos(998));
}

/// The batch with its flight counted anew: text takes more room than the columns that it was made of.
fn reweighed(batch: Batch) -> Batch {
    let flight = batch.flight.as_ref().map(|flight| Arc::new(flight.again(batch.len(), batch.bytes())));
    Batch { flight, ..batch }
}

fn render_outputs(context: &Context, nodes: &[Rendered<'_>], chaos: Chaos) {
    let outputs = &context.plan.outputs;
    let encoded = |index: usize| {
        let rows = nodes[outputs[index].node].ports[0].clone();
        let mut encode = (context.encoder)(index);
        let sorts = context.ordered && matches!(context.forms[index], Form::Text);
        map_batches(&format!("{} encode", outputs[index].name), rows, move |batch| {
            let rows = reweighed(encode(batch));
            if sorts { in_text_order(rows) } else { rows }
        })
    };
    if !context.ordered {
        for (index, counters) in context.output_counters.iter().enumerate() {
            unordered_sink(encoded(index), index, counters.clone(), context.writer.clone());
        }
        return;
    }
    let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
    let core = OrderedSink::new(&names, context.forms.clone(), context.output_counters.clone(), context.writer.clone());
    let inputs = (0..outputs.len()).map(|i| (encoded(i), DistributorPact(|_: usize| ToFirst))).collect();
    drive("ordered sink", inputs, 0, core, context.intake.gauge.clone(), chaos);
}
