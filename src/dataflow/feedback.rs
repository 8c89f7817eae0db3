//! What the processes of a run tell each other beside rows: how much was taken in of what the other
//! sent, and that the run is to stop.
//!
//! Both go through a channel of their own that has no timestamps, so that neither depends on progress:
//! rows are acknowledged while the watermark stands still, and a run that stops does not have to come to
//! an end first. It is asked after every step of a worker rather than run as an operator, which timely
//! would close as soon as it held no capability.
//!
//! Each worker talks to the worker of its own number in the other processes, so that one that is stuck
//! in a slow sink does not keep the rest of its process from hearing.

use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use timely::communication::{Bytesable, Pull, Push};
use timely::worker::Worker;

use super::stop::{Stop, StopReason};
use crate::data::flight::{Amount, Gauge};

/// One word to another process.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notice {
    /// What was taken in of the rows that the process sent.
    taken_in: Amount,
    stop: Option<StopReason>,
}

impl Bytesable for Notice {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        serde_json::from_slice(&bytes).expect("a notice written by the same version")
    }

    fn length_in_bytes(&self) -> usize {
        encoded(self).len()
    }

    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        writer.write_all(&encoded(self)).expect("timely hands out a buffer of the length asked for");
    }
}

/// As JSON, with spaces up to a multiple of 8 bytes, to which messages are aligned.
fn encoded(notice: &Notice) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(notice).expect("a notice has a JSON form");
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    bytes
}

/// One worker's end.
pub struct Feedback {
    /// By process: to the worker of this number there; `None` for the own process.
    peers: Vec<Option<Box<dyn Push<Notice>>>>,
    inbox: Box<dyn Pull<Notice>>,
    gauge: Arc<Gauge>,
    stop: Arc<Stop>,
    /// Whether the others know that the run is to stop.
    stop_is_known: bool,
}

impl Feedback {
    /// Opens the channel, before the dataflow is built: every worker numbers channels in the same order.
    /// `workers` are those of each process.
    pub fn open(worker: &Worker, workers: usize, gauge: Arc<Gauge>, stop: Arc<Stop>) -> Feedback {
        // The address only decides what wakes up when a notice comes: the dataflow that is built next.
        let address = Rc::from([worker.next_dataflow_index()]);
        let (pushers, inbox) = worker.allocate::<Notice>(worker.new_identifier(), address);
        let own_process = worker.index() / workers;
        let is_peer = |i: &usize| i % workers == worker.index() % workers;
        let peers = pushers.into_iter().enumerate().filter(|(i, _)| is_peer(i));
        let peers = peers.map(|(i, pusher)| (i / workers != own_process).then_some(pusher)).collect();
        Feedback { peers, inbox, gauge, stop, stop_is_known: false }
    }

    /// Hears what others say and says what is to be said; whether something was, which leaves with the
    /// worker's next step.
    pub fn exchange(&mut self) -> bool {
        while let Some(notice) = self.inbox.recv() {
            self.gauge.acknowledge(notice.taken_in);
            if let Some(reason) = notice.stop {
                self.stop_is_known = true;
                self.stop.request(reason);
            }
        }
        let mut said = false;
        for (process, taken_in) in self.gauge.take_owed() {
            said |= self.send(process as usize, Notice { taken_in, stop: None });
        }
        if let Some(reason) = self.stop.reason().filter(|_| !self.stop_is_known) {
            self.stop_is_known = true;
            for process in 0..self.peers.len() {
                said |= self.send(process, Notice { stop: Some(reason.clone()), ..Notice::default() });
            }
        }
        said
    }

    /// `false` for the own process, which knows.
    fn send(&mut self, process: usize, notice: Notice) -> bool {
        let Some(peer) = &mut self.peers[process] else { return false };
        peer.send(notice);
        peer.done();
        true
    }
}
