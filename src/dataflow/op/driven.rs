//! Puts a core and its driver into the graph: the thin operator that all stateful operators share.

use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession};

use crate::data::Batch;
use crate::data::flight::Gauge;
use crate::dataflow::align::{Core, Driver, Held, Outlet, Progress};
use crate::dataflow::chaos::Chaos;
use crate::dataflow::op::keeper::StateKeeper;
use crate::dataflow::packet::Packet;
use crate::dataflow::time::{Time, meet};
use crate::state::entries::Durable;

pub type Packets<'scope> = Stream<'scope, Time, Packet>;
pub type PacketBuilder = CapacityContainerBuilder<Packet>;

/// The operator's outputs and the capabilities for them, as the driver sees them.
struct Ports<'a, 'b> {
    sessions: Vec<OutputBuilderSession<'a, Time, PacketBuilder>>,
    /// One for each output; empty once closed.
    held: &'b mut Vec<Capability<Time>>,
    gauge: &'b Arc<Gauge>,
}

impl Outlet<Batch> for Ports<'_, '_> {
    fn send(&mut self, port: usize, mut rows: Batch) {
        if rows.is_empty() {
            return;
        }
        // A window may give more rows than it took in: they hold the sources back like those of a source,
        // until whoever is next has taken them in, which needs no further input.
        if rows.flight.is_none() {
            rows.flight = Some(Arc::new(self.gauge.depart(rows.len(), rows.bytes())));
        }
        let capability = &self.held[port];
        if cfg!(feature = "checked") {
            let least = rows.places().iter().min().expect("rows");
            let held = capability.time();
            assert!(*least >= held.event, "a row placed at {least} is sent under a capability of {held:?}");
        }
        self.sessions[port].session_with_builder(capability).give_container(&mut rows.into());
    }
}

impl Held<Batch> for Ports<'_, '_> {
    fn downgrade(&mut self, to: Time) {
        self.held.iter_mut().for_each(|c| c.downgrade(&to));
    }

    fn close(&mut self) {
        self.held.clear();
    }
}

/// Adds an operator named `name` that runs `core` over `inputs`, each with its pact, and has `ports`
/// outputs. What it sends is counted by `gauge`; `keeper` saves its state.
pub fn drive<'scope, C, P>(
    name: &str,
    inputs: Vec<(Packets<'scope>, P)>,
    ports: usize,
    core: C,
    keeper: StateKeeper,
    gauge: Arc<Gauge>,
    mut chaos: Chaos,
) -> Vec<Packets<'scope>>
where
    C: Core<Rows = Batch> + Durable + 'static,
    P: ParallelizationContract<Time, Packet>,
{
    let scope = inputs.first().expect("a driven operator has an input").0.scope();
    let mut builder = OperatorBuilder::new(name.to_string(), scope);
    let mut handles: Vec<_> = inputs.into_iter().map(|(stream, pact)| builder.new_input(stream, pact)).collect();
    let (mut outputs, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..ports {
        let (output, stream) = builder.new_output::<Packet>();
        outputs.push(OutputBuilder::<Time, PacketBuilder>::from(output));
        streams.push(stream);
    }
    let activator = scope.activator_for(builder.operator_info().address);
    // An operator that has yielded at the end of its input holds no capability that would keep it alive.
    builder.build_reschedule(move |mut held| {
        let epoch = keeper.epoch();
        let mut driver = Driver::new(core, keeper, epoch);
        let mut first = Some(Time { epoch, event: i64::MIN });
        move |frontiers| {
            // A run that continues never was in the epochs before: what it sends at once, late rows, is of this one.
            if let Some(first) = first.take() {
                held.iter_mut().for_each(|c| c.downgrade(&first));
            }
            let sessions = outputs.iter_mut().map(OutputBuilder::activate).collect();
            let mut ports = Ports { sessions, held: &mut held, gauge: &gauge };
            for (input, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, packet| {
                    let stamp = capability.stamp().iter().fold(Time::END, |m, t| m.meet(*t));
                    driver.receive(stamp, input, packet.land(&gauge), &mut ports);
                });
            }
            let m = frontiers.iter().fold(Time::END, |m, f| m.meet(meet(f.frontier())));
            let yielded = chaos.yields() || driver.advance(m, &mut ports) == Progress::Yielded;
            if yielded {
                activator.activate();
            }
            yielded
        }
    });
    streams
}
