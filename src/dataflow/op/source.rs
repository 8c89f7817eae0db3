//! The source operator: one for all inputs of a program, with an output for each (type, watermark).
//!
//! It is one operator, and not one per input, so that the partition furthest behind is read first
//! whatever input it belongs to. It holds one capability per output, at (epoch, least watermark of the
//! partitions behind it), and moves it at most once per activation.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use timely::dataflow::Scope;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;

use super::counters::Counters;
use super::driven::{PacketBuilder, Packets};
use crate::checkpoint::archive::Archive;
use crate::checkpoint::protocol::Want;
use crate::connector::intake::{Departure, Intake, Now, Reader, Worked};
use crate::connector::spec::WatermarkStrategy;
use crate::data::Batch;
use crate::dataflow::chaos::Chaos;
use crate::dataflow::packet::Packet;
use crate::dataflow::stop::Stop;
use crate::dataflow::time::{Time, meet};

/// How many pieces of work are done before other operators get their turn.
const WORK_PER_ACTIVATION: usize = 2;

/// Adds the operator. Streams come by source, then by output; `counters` gives those of an output.
pub fn sources<'scope>(
    scope: Scope<'scope, Time>,
    intake: &Arc<Intake>,
    counters: &dyn Fn(usize, usize) -> Arc<Counters>,
    stop: &Arc<Stop>,
    clock: Clock,
    archive: Option<Archive>,
    chaos: Chaos,
) -> Vec<Vec<Packets<'scope>>> {
    let mut builder = OperatorBuilder::new("sources".to_string(), scope);
    let (mut outputs, mut streams, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for (index, source) in intake.sources.iter().enumerate() {
        let mut of_source = Vec::new();
        for output in 0..source.outputs.len() {
            let (port, stream) = builder.new_output::<Packet>();
            outputs.push(OutputBuilder::<Time, PacketBuilder>::from(port));
            let probe = Handle::new();
            of_source.push(stream.probe_with(&probe));
            let strategy = source.outputs[output].watermark.strategy;
            ports.push(Port { source: index, output, strategy, probe, counters: counters(index, output) });
        }
        streams.push(of_source);
    }
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address.clone());
    let remote = scope.worker().sync_activator_for(info.address.to_vec());
    // A worker that has gone needs no waking.
    intake.add_waker(Box::new(move || {
        let _ = remote.activate();
    }));
    let (reader, stop) = (intake.reader(), stop.clone());
    let intake = intake.clone();
    builder.build(move |capabilities| {
        let held = capabilities.into_iter().map(Some).collect();
        let mut source = SourceOperator { reader, ports, held, chaos, intake, clock, archive };
        move |_| {
            if stop.is_requested() {
                // The capabilities stay, so that open windows do not fire as if the input had ended.
                return;
            }
            let mut sessions: Vec<_> = outputs.iter_mut().map(OutputBuilder::activate).collect();
            let mut send = |port: usize, capability: &Capability<Time>, batch: Batch| {
                sessions[port].session_with_builder(capability).give_container(&mut batch.into());
            };
            match source.activate(&mut send) {
                Ok(Some(wait)) if wait.is_zero() => activator.activate(),
                Ok(Some(wait)) => activator.activate_after(wait),
                Ok(None) => {}
                Err(error) => stop.fail(error.to_string()),
            }
            if let Some(error) = source.intake.rejects.failure() {
                stop.fail(error.to_string());
            }
            if let Some(refusal) = source.intake.rejects.refusal() {
                stop.refuse(refusal);
            }
        }
    });
    streams
}

struct SourceOperator {
    reader: Reader,
    ports: Vec<Port>,
    held: Vec<Option<Capability<Time>>>,
    chaos: Chaos,
    intake: Arc<Intake>,
    clock: Clock,
    /// Who is told when the inputs have ended, and whom chaos asks for checkpoints.
    archive: Option<Archive>,
}

/// What leaves on a port.
struct Port {
    source: usize,
    output: usize,
    strategy: WatermarkStrategy,
    /// What all workers of all processes have still to send on it.
    probe: Handle<Time>,
    counters: Arc<Counters>,
}

impl Port {
    /// How far everybody has come, as an event time of rows; `None` where time does not follow the rows.
    fn reached_ns(&self) -> Option<i64> {
        let WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns } = self.strategy else { return None };
        let watermark = self.probe.with_frontier(meet).event;
        Some(if watermark == i64::MIN { watermark } else { watermark.saturating_add(out_of_order_ns) })
    }
}

type Send<'a> = &'a mut dyn FnMut(usize, &Capability<Time>, Batch);

impl SourceOperator {
    /// Works for a while; when to come again, or `None` when the input has ended.
    fn activate(&mut self, send: Send<'_>) -> Result<Option<Duration>, crate::connector::partition::ReadError> {
        self.disturb();
        let mut again = Some(Duration::ZERO);
        if self.chaos.one_in(3) {
            return Ok(again);
        }
        for _ in 0..WORK_PER_ACTIVATION {
            let mut departures = Vec::new();
            let worked = self.reader.work(self.clock.read(self.reached_ns()), &mut |d| departures.push(d))?;
            departures.into_iter().for_each(|d| self.depart(d, send));
            match worked {
                Worked::Busy => {}
                Worked::Wait(duration) => {
                    again = Some(duration);
                    break;
                }
                Worked::Finished => {
                    again = None;
                    self.archive.iter().for_each(Archive::inputs_ended);
                    break;
                }
            }
        }
        self.downgrade();
        Ok(again)
    }

    /// Under chaos: other block sizes, and epochs that nobody needs.
    fn disturb(&mut self) {
        if self.chaos.is_on() {
            self.intake.set_block_bytes(1 + self.chaos.below(400) as usize);
            if self.chaos.one_in(3) {
                match &self.archive {
                    Some(archive) => archive.want(Want::Now),
                    None => self.intake.request_epoch(),
                }
            }
        }
    }

    fn reached_ns(&self) -> i64 {
        self.ports.iter().filter_map(Port::reached_ns).min().unwrap_or(i64::MAX)
    }

    fn depart(&mut self, departure: Departure, send: Send<'_>) {
        let Departure { source, output, epoch, watermark, batch } = departure;
        let is_port = |p: &Port| (p.source, p.output) == (source, output);
        let port = self.ports.iter().position(is_port).expect("every output has a port");
        let counters = &self.ports[port].counters;
        counters.enter(epoch);
        counters.add_in(batch.len());
        counters.add_out(batch.len());
        let held = self.held[port].as_ref().expect("an output with rows to send is held");
        let capability = held.delayed(&Time { epoch, event: watermark.max(held.time().event) });
        if self.chaos.one_in(2) && batch.len() > 1 {
            let cut = 1 + self.chaos.below(batch.len() as u64 - 1) as usize;
            send(port, &capability, batch.slice(0, cut));
            send(port, &capability, batch.slice(cut, batch.len() - cut));
        } else {
            send(port, &capability, batch);
        }
    }

    fn downgrade(&mut self) {
        for (held, port) in self.held.iter_mut().zip(&self.ports) {
            let Some(capability) = held else { continue };
            match self.reader.frontier(port.source, port.output) {
                Some((epoch, event)) => {
                    let to = Time { epoch, event: event.max(capability.time().event) };
                    if to != *capability.time() {
                        capability.downgrade(&to);
                    }
                }
                None => *held = None,
            }
        }
    }
}

/// The clocks of the source operator, and with [`now_ns`] the only ones of the dataflow: for
/// `processing_time`, `idle` and `max_ahead`.
///
/// One for all workers of a process, which compare what they read.
#[derive(Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { began: Instant::now() }
    }

    fn read(&self, reached_ns: i64) -> Now {
        Now { arrival_ns: now_ns(), steady_ns: self.began.elapsed().as_nanos() as i64, reached_ns }
    }
}

/// The arrival clock.
pub fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}
