//! Runs the graph on the workers of this process until its input ends or the run is stopped.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::initialize::Hooks;
use timely::{CommunicationConfig, WorkerConfig};

use super::feedback::Feedback;
use super::relation::arrange::configure;
use super::render::{Context, render};
use super::time::Time;

/// How long a worker sleeps at most before it looks whether the run is to stop.
const PARK: Duration = Duration::from_millis(20);

/// How workers talk to each other.
pub enum Transport {
    /// Batches are moved between the workers of this process.
    Memory,
    /// Batches are serialized even within the process: for tests.
    Serialized,
    /// Batches go to other processes over these sockets (by process; none to this one).
    Network { process: usize, sockets: Vec<Option<TcpStream>> },
}

/// Runs `context` on `workers` threads. An error is one of timely's set-up; a worker that panics ends
/// the process, since its peers would wait for it for ever.
pub fn run_workers(context: Arc<Context>, workers: usize, transport: Transport) -> Result<(), String> {
    let is_one_of_several = matches!(transport, Transport::Network { .. });
    let (builders, others) = allocators(workers, transport)?;
    let mut config = WorkerConfig::default();
    configure(&mut config);
    let guards = timely::execute::execute_from(builders, others, config, move |worker| {
        let id = worker.next_dataflow_index();
        let mut feedback = is_one_of_several
            .then(|| Feedback::open(worker, workers, context.intake.gauge.clone(), context.stop.clone()));
        worker.dataflow::<Time, _, _>(|scope| render(scope, &context));
        while worker.step_or_park(Some(PARK)) {
            // Looked at before the exchange, so that the others hear of it before the worker ends.
            let stops = context.stop.is_requested();
            if feedback.as_mut().is_some_and(Feedback::exchange) {
                worker.step();
            }
            if stops {
                // The capabilities are still held: what is open does not fire.
                worker.drop_dataflow(id);
                break;
            }
        }
    })?;
    for result in guards.join() {
        result?;
    }
    Ok(())
}

type Allocators = (Vec<AllocatorBuilder>, Box<dyn std::any::Any + Send>);

fn allocators(workers: usize, transport: Transport) -> Result<Allocators, String> {
    let hooks = Hooks::default();
    match transport {
        Transport::Memory if workers == 1 => CommunicationConfig::Thread.try_build_with(hooks),
        Transport::Memory => CommunicationConfig::Process(workers).try_build_with(hooks),
        Transport::Serialized => CommunicationConfig::ProcessBinary(workers).try_build_with(hooks),
        Transport::Network { process, sockets } => {
            let local = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
            let remote = initialize_networking_from_sockets(local, sockets, process, workers, hooks);
            let (builders, guard) = remote.map_err(|e| e.to_string())?;
            Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
        }
    }
}
