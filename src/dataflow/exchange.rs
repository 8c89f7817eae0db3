//! Sends every row to the worker that owns its key group.
//!
//! The key was encoded and hashed before (it travels with the batch), because timely bypasses the
//! distributor when there is one worker. Batches are split and sent on at once: they are large under
//! load, and when they are small nobody wants to wait.

use timely::Accountable;
use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::progress::Stamp;

use super::packet::Packet;
use crate::data::key::{group_owner, key_group};

/// By key group.
#[derive(Default)]
pub struct ByKey {
    /// Rows of the current batch by target; kept for its allocations.
    rows: Vec<Vec<u32>>,
}

impl Distributor<Packet> for ByKey {
    fn partition<T: Clone, P: Push<Message<T, Packet>>>(
        &mut self,
        packet: &mut Packet,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let batch = packet.take();
        let keys = batch.keys.as_ref().expect("rows are keyed before they are exchanged");
        let peers = pushers.len();
        self.rows.resize_with(peers, Vec::new);
        self.rows.iter_mut().for_each(Vec::clear);
        for row in 0..batch.len() {
            self.rows[group_owner(key_group(keys.hash(row)), peers)].push(row as u32);
        }
        for (rows, pusher) in self.rows.iter().zip(pushers) {
            if rows.len() == batch.len() {
                push(batch.clone().into(), stamp, pusher);
            } else if !rows.is_empty() {
                push(batch.take(rows).into(), stamp, pusher);
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Packet>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

/// Everything to the first worker: what an ordered sink reads.
#[derive(Default)]
pub struct ToFirst;

impl Distributor<Packet> for ToFirst {
    fn partition<T: Clone, P: Push<Message<T, Packet>>>(
        &mut self,
        packet: &mut Packet,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        push(std::mem::take(packet), stamp, &mut pushers[0]);
    }

    fn flush<T: Clone, P: Push<Message<T, Packet>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

/// Everywhere rows leave, none that are empty: timely counts an empty message as not sent.
fn push<T: Clone, P: Push<Message<T, Packet>>>(mut packet: Packet, stamp: &Stamp<T>, pusher: &mut P) {
    if packet.record_count() > 0 {
        Message::push_at(&mut packet, stamp.clone(), pusher);
    }
}
