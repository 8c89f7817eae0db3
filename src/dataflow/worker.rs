//! Runs the graph on the workers of this process until its input ends or the run is stopped.

use std::sync::Arc;
use std::time::Duration;

use timely::communication::initialize::Hooks;
use timely::{CommunicationConfig, WorkerConfig};

use super::render::{Context, render};
use super::time::Time;

/// How long a worker sleeps at most before it looks whether the run is to stop.
const PARK: Duration = Duration::from_millis(20);

/// How workers talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Batches are moved.
    Memory,
    /// Batches are serialized even within the process: for tests.
    Serialized,
}

/// Runs `context` on `workers` threads. An error is a panic of a worker, or of timely's own threads.
pub fn run_workers(context: Arc<Context>, workers: usize, transport: Transport) -> Result<(), String> {
    let communication = match (workers, transport) {
        (1, Transport::Memory) => CommunicationConfig::Thread,
        (n, Transport::Memory) => CommunicationConfig::Process(n),
        (n, Transport::Serialized) => CommunicationConfig::ProcessBinary(n),
    };
    let (builders, others) = communication.try_build_with(Hooks::default())?;
    let guards = timely::execute::execute_from(builders, others, WorkerConfig::default(), move |worker| {
        let id = worker.next_dataflow_index();
        worker.dataflow::<Time, _, _>(|scope| render(scope, &context));
        while worker.step_or_park(Some(PARK)) {
            if context.stop.is_requested() {
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
