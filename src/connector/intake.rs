//! The partitions of a process and how its workers share them.
//!
//! Any worker claims the next block of the partition that is furthest behind, decodes it, publishes its
//! greatest time and keeps it until the blocks before it are known; [`Reader`] is one worker's side of
//! that, [`Intake`] what they share. Lowest watermark first is what lets logs of many days be read in
//! order with few of them open, and what keeps merged inputs of different length from drifting apart.
//!
//! # Invariants
//! 1. A block's rows leave once, from the worker that claimed it, after all earlier blocks of the
//!    partition are published.
//! 2. [`Reader::frontier`] is never after a place of a row that the worker still sends.
//! 3. The gate stops claiming only: a block that is claimed is always decoded, and time moves on.
//!
//! Nothing here knows timely; the source operator asks a `Reader` for work when it is scheduled.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::BlockData;
use super::arrivals::{Arrivals, arrive, first_time, in_flight};
use super::format::Decoder;
use super::partition::{BLOCK_BYTES, BlockReader, Polled, ReadError};
use super::progress::{Claim, Progress, Times, watermark};
use super::rejects::Rejects;
use super::spec::{Source, SourceOutput, WatermarkStrategy};
use crate::data::Batch;
use crate::data::flight::Gauge;
use crate::expr::Errors;

/// Bytes in flight for each worker beyond which no further block is claimed. A few blocks keep everybody
/// busy; more would let a worker run ahead of another, and what lies between them is held in windows
/// and sinks.
const IN_FLIGHT_BYTES_PER_WORKER: i64 = 4 << 20;
const IN_FLIGHT_BYTES_MAX: i64 = 64 << 20;
/// Blocks that a worker may hold, decoded or not, before it claims no more.
const HELD_BLOCKS_MAX: usize = 2;
/// How many rows a partition may be read beyond the one that is furthest behind.
const MAX_DRIFT_ROWS: u64 = 1_000_000;
/// How often silent partitions are looked at.
const IDLE_CHECK: Duration = Duration::from_millis(5);
/// How much of a partition is read to learn its first time.
const PEEK_BYTES: usize = 64 << 10;

/// Opens a partition's reader; called again when a peeked partition is read in earnest.
pub type Opener = Box<dyn Fn(Arc<dyn Fn() + Send + Sync>) -> Result<Box<dyn BlockReader>, ReadError> + Send + Sync>;
/// Wakes a worker.
pub type Wake = Box<dyn Fn() + Send + Sync>;
/// Makes a decoder of a source, one per worker.
pub type DecoderMaker = Box<dyn Fn() -> Box<dyn Decoder> + Send + Sync>;

/// One partition, as the process shares it.
pub struct Partition {
    /// Index of the plan's source that it belongs to.
    pub source: usize,
    pub name: String,
    /// Its place among all partitions of the program, by name: the first half of `_seq`.
    pub rank: u32,
    /// Whether it may be silent and never end.
    pub live: bool,
    open: Opener,
    reader: Mutex<Option<Box<dyn BlockReader>>>,
    progress: Mutex<Progress>,
    /// Rows read while another partition was further behind.
    ahead_rows: AtomicU64,
    pub read_bytes: AtomicU64,
    pub size_bytes: AtomicU64,
    /// Since when a live partition has had nothing to read.
    silent_since: Mutex<Option<Instant>>,
}

/// What the workers of a process share.
pub struct Intake {
    pub sources: Vec<Source>,
    pub partitions: Vec<Partition>,
    decoders: Vec<DecoderMaker>,
    pub gauge: Arc<Gauge>,
    pub rejects: Rejects,
    /// The epoch that sources shall enter.
    epoch_wanted: AtomicU64,
    block_bytes: AtomicUsize,
    wakers: Mutex<Vec<Wake>>,
    /// When silent partitions were last looked at.
    idle_checked: Mutex<Instant>,
    /// Workers that read.
    readers: AtomicUsize,
}

/// What came of a call of [`Reader::work`].
#[derive(Debug, PartialEq, Eq)]
pub enum Worked {
    /// Something was read or sent: call again.
    Busy,
    /// Nothing can be done before time passes or somebody else works: call again after so long.
    Wait(Duration),
    /// All partitions have ended and everything has been sent.
    Finished,
}

/// A batch that leaves the source.
pub struct Departure {
    /// Index of the source, and of the output within it.
    pub source: usize,
    pub output: usize,
    pub epoch: u64,
    /// The watermark before the batch's first row.
    pub watermark: i64,
    pub batch: Batch,
}

/// One worker's side of the intake.
pub struct Reader {
    intake: Arc<Intake>,
    decoders: Vec<Box<dyn Decoder>>,
    held: VecDeque<Held>,
    epoch: u64,
    /// The bytes of the last block, decoded: the next reader gets them to read into.
    spare: Option<Vec<u8>>,
}

struct Held {
    partition: usize,
    claim: Claim,
    arrivals: Arrivals,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panicked ends the run; what it left behind is not looked at.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Partition {
    /// Of a source with so many `outputs`; `rank` is settled when all partitions are known.
    pub fn new(source: usize, outputs: usize, name: String, live: bool, open: Opener) -> Partition {
        Partition {
            source,
            name,
            rank: 0,
            live,
            open,
            reader: Mutex::new(None),
            progress: Mutex::new(Progress::new(i64::MIN, outputs)),
            ahead_rows: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            size_bytes: AtomicU64::new(0),
            silent_since: Mutex::new(None),
        }
    }

    /// How long it has had nothing to read.
    fn silent_ns(&self) -> i64 {
        lock(&self.silent_since).map_or(0, |since| since.elapsed().as_nanos() as i64)
    }

    /// Where an output's watermark stands for blocks not yet claimed; `None` when it has ended.
    fn watermark(&self, output: usize, spec: &SourceOutput) -> Option<i64> {
        let progress = lock(&self.progress);
        Some(event_time(spec, progress.greatest_for(None)?, progress.floor(output), i64::MIN))
    }
}

impl Intake {
    pub fn new(
        sources: Vec<Source>,
        partitions: Vec<Partition>,
        decoders: Vec<DecoderMaker>,
        rejects: Rejects,
        block_bytes: Option<usize>,
    ) -> Intake {
        Intake {
            sources,
            partitions,
            decoders,
            gauge: Arc::default(),
            rejects,
            epoch_wanted: AtomicU64::new(0),
            block_bytes: AtomicUsize::new(block_bytes.unwrap_or(BLOCK_BYTES)),
            wakers: Mutex::default(),
            idle_checked: Mutex::new(Instant::now()),
            readers: AtomicUsize::new(0),
        }
    }

    /// Whether so much is in flight that nothing more should be read.
    fn is_gated(&self) -> bool {
        let workers = self.readers.load(Ordering::Relaxed) as i64;
        self.gauge.bytes() >= (IN_FLIGHT_BYTES_PER_WORKER * workers).min(IN_FLIGHT_BYTES_MAX)
    }

    /// Learns the first time of every partition that can be read twice, so that reading can begin with
    /// the earliest, and checks that all can be opened.
    pub fn peek(&self) -> Result<(), ReadError> {
        if self.partitions.len() < 2 {
            return Ok(());
        }
        for partition in self.partitions.iter().filter(|p| !p.live) {
            let mut reader = (partition.open)(Arc::new(|| {}))?;
            partition.size_bytes.store(reader.size_bytes().unwrap_or(0), Ordering::Relaxed);
            reader.set_target_bytes(PEEK_BYTES);
            let Polled::Block(block) = reader.poll_block()? else { continue };
            let source = &self.sources[partition.source];
            let mut decoded = self.decoders[partition.source]().decode(&block);
            if let Some(error) = decoded.failed.take() {
                return Err(error);
            }
            let first = first_time(&arrive(source, &block, &mut decoded, 0, i64::MAX));
            *lock(&partition.progress) = Progress::new(first.unwrap_or(i64::MIN), source.outputs.len());
        }
        Ok(())
    }

    /// Asks all sources to enter the next epoch.
    pub fn request_epoch(&self) {
        self.epoch_wanted.fetch_add(1, Ordering::Relaxed);
        self.wake();
    }

    /// Blocks have about so many bytes from now on.
    pub fn set_block_bytes(&self, bytes: usize) {
        self.block_bytes.store(bytes.max(1), Ordering::Relaxed);
    }

    /// `waker` is called when a silent partition has data.
    pub fn add_waker(&self, waker: Wake) {
        lock(&self.wakers).push(waker);
    }

    fn wake(&self) {
        lock(&self.wakers).iter().for_each(|w| w());
    }

    /// The partition that holds the watermark, by name, with its greatest time; `None` when all ended.
    pub fn furthest_behind(&self) -> Option<(&str, i64)> {
        let behind = |p: &Partition| lock(&p.progress).greatest_for(None);
        let known = self.partitions.iter().filter_map(|p| Some((p.name.as_str(), behind(p)?)));
        known.min_by_key(|(_, greatest)| *greatest)
    }

    /// Lets time go on where live partitions are silent: one that has been for an output's `idle` follows
    /// the least watermark of those that are not; when all are, each moves on with the clock from where
    /// it was.
    fn pass_idle_time(&self, now_ns: i64) {
        let mut checked = lock(&self.idle_checked);
        let elapsed = checked.elapsed();
        if elapsed < IDLE_CHECK {
            return;
        }
        *checked = Instant::now();
        let silent_ns: Vec<i64> = self.partitions.iter().map(Partition::silent_ns).collect();
        for (index, partition) in self.partitions.iter().enumerate().filter(|(_, p)| p.live) {
            for (output, spec) in self.sources[partition.source].outputs.iter().enumerate() {
                if silent_ns[index] < spec.watermark.idle_ns {
                    continue;
                }
                let Some(own) = partition.watermark(output, spec) else { continue };
                let busy = self.partitions.iter().zip(&silent_ns).filter(|(_, ns)| **ns < spec.watermark.idle_ns);
                let others = busy.filter_map(|(p, _)| self.least_watermark(p)).min();
                let to = match (spec.watermark.strategy, others) {
                    (WatermarkStrategy::ProcessingTime, _) => now_ns,
                    (_, Some(others)) => others,
                    (_, None) if own == i64::MIN => own,
                    (_, None) => own.saturating_add(elapsed.as_nanos() as i64),
                };
                lock(&partition.progress).raise_floor(output, to);
            }
        }
    }

    /// The least watermark that any output has of a partition; `None` when it has ended.
    fn least_watermark(&self, partition: &Partition) -> Option<i64> {
        let outputs = self.sources[partition.source].outputs.iter().enumerate();
        outputs.filter_map(|(output, spec)| partition.watermark(output, spec)).min()
    }

    /// One worker's reader.
    pub fn reader(self: &Arc<Self>) -> Reader {
        self.readers.fetch_add(1, Ordering::Relaxed);
        let decoders = self.decoders.iter().map(|make| make()).collect();
        Reader { intake: self.clone(), decoders, held: VecDeque::new(), epoch: 0, spare: None }
    }
}

impl Reader {
    /// Does one piece of work: enters an epoch, sends a block whose turn has come, or reads another.
    pub fn work(&mut self, now_ns: i64, depart: &mut dyn FnMut(Departure)) -> Result<Worked, ReadError> {
        self.enter_epoch();
        self.intake.pass_idle_time(now_ns);
        if self.send_next(depart) {
            return Ok(Worked::Busy);
        }
        if self.held.len() < HELD_BLOCKS_MAX && !self.intake.is_gated() {
            return self.read_next(now_ns);
        }
        if self.is_finished() {
            return Ok(Worked::Finished);
        }
        Ok(Worked::Wait(Duration::from_micros(50)))
    }

    /// The epoch of everything that this worker sends from now on, at least.
    fn enter_epoch(&mut self) {
        let wanted = self.intake.epoch_wanted.load(Ordering::Relaxed);
        if wanted > self.epoch {
            self.intake.partitions.iter().for_each(|p| lock(&p.progress).enter_epoch(wanted));
            self.epoch = wanted;
        }
    }

    fn is_finished(&self) -> bool {
        self.held.is_empty() && self.intake.partitions.iter().all(|p| lock(&p.progress).is_exhausted())
    }

    /// Sends the first held block whose predecessors are all published.
    fn send_next(&mut self, depart: &mut dyn FnMut(Departure)) -> bool {
        let partitions = &self.intake.partitions;
        let ready = |held: &Held| lock(&partitions[held.partition].progress).greatest_before(held.claim.index);
        let next = self.held.iter().enumerate().find_map(|(i, held)| Some((i, ready(held)?)));
        let Some((position, before)) = next else { return false };
        let held = self.held.remove(position).expect("it was just found");
        self.depart_all(&held, before, depart);
        lock(&self.intake.partitions[held.partition].progress).sent(held.claim.index);
        true
    }

    fn depart_all(&self, held: &Held, before: i64, depart: &mut dyn FnMut(Departure)) {
        let partition = &self.intake.partitions[held.partition];
        let source = &self.intake.sources[partition.source];
        let flight = Arc::new(self.intake.gauge.depart(held.arrivals.rows, held.arrivals.bytes));
        for (output, spec) in source.outputs.iter().enumerate() {
            let errors = Errors::default();
            let floor = held.claim.floors[output];
            let batch = held.arrivals.leave(spec, partition.rank, before, floor, &errors);
            self.intake.rejects.add_filter_errors(partition.source, errors.count());
            if !batch.is_empty() {
                depart(Departure {
                    source: partition.source,
                    output,
                    epoch: held.claim.epoch,
                    watermark: event_time(spec, before, floor, held.arrivals.arrival_ns),
                    batch: in_flight(batch, &flight),
                });
            }
        }
    }

    /// Claims and decodes a block of the partition that is furthest behind and has one.
    fn read_next(&mut self, now_ns: i64) -> Result<Worked, ReadError> {
        let mut order: Vec<(i64, usize)> = Vec::new();
        for (index, partition) in self.intake.partitions.iter().enumerate() {
            order.extend(lock(&partition.progress).greatest_for(None).map(|greatest| (greatest, index)));
        }
        order.sort_unstable();
        for (place, &(_, index)) in order.iter().enumerate() {
            let partition = &self.intake.partitions[index];
            if place == 0 {
                partition.ahead_rows.store(0, Ordering::Relaxed);
            } else if partition.ahead_rows.load(Ordering::Relaxed) > MAX_DRIFT_ROWS {
                continue;
            }
            match self.read_from(index, now_ns)? {
                Read::Block(rows) => {
                    let ahead = if place == 0 { 0 } else { rows as u64 };
                    self.intake.partitions[index].ahead_rows.fetch_add(ahead, Ordering::Relaxed);
                    return Ok(Worked::Busy);
                }
                Read::End => return Ok(Worked::Busy),
                Read::Nothing => {}
            }
        }
        if self.is_finished() {
            return Ok(Worked::Finished);
        }
        // Live partitions wake the worker when they have data; the clock moves idle ones.
        let wait = if self.held.is_empty() { Duration::from_millis(5) } else { Duration::from_micros(50) };
        Ok(Worked::Wait(wait))
    }

    fn read_from(&mut self, index: usize, now_ns: i64) -> Result<Read, ReadError> {
        let partition = &self.intake.partitions[index];
        let (block, claim) = {
            let mut reader = lock(&partition.reader);
            if lock(&partition.progress).is_exhausted() {
                return Ok(Read::End);
            }
            if reader.is_none() {
                let intake = Arc::downgrade(&self.intake);
                let wake = Arc::new(move || intake.upgrade().iter().for_each(|i| i.wake()));
                *reader = Some((partition.open)(wake)?);
            }
            let open = reader.as_mut().expect("it was just opened");
            open.set_target_bytes(self.intake.block_bytes.load(Ordering::Relaxed));
            self.spare.take().into_iter().for_each(|buffer| open.recycle(buffer));
            let polled = open.poll_block()?;
            partition.read_bytes.store(open.read_bytes(), Ordering::Relaxed);
            partition.size_bytes.store(open.size_bytes().unwrap_or(0), Ordering::Relaxed);
            match polled {
                Polled::Pending => {
                    lock(&partition.silent_since).get_or_insert_with(Instant::now);
                    return Ok(Read::Nothing);
                }
                Polled::End => {
                    lock(&partition.progress).exhaust();
                    *reader = None;
                    return Ok(Read::End);
                }
                Polled::Block(block) => (block, lock(&partition.progress).claim()),
            }
        };
        *lock(&partition.silent_since) = None;
        let source = &self.intake.sources[partition.source];
        let mut decoded = self.decoders[partition.source].decode(&block);
        if let Some(error) = decoded.failed.take() {
            return Err(error);
        }
        let max_ahead_ns = if partition.live { max_ahead_ns(source) } else { None };
        let ahead_of = max_ahead_ns.map_or(i64::MAX, |d| now_ns.saturating_add(d));
        let arrivals = arrive(source, &block, &mut decoded, now_ns, ahead_of);
        self.intake.rejects.add_ahead(partition.source, arrivals.ahead.len() as u64);
        self.intake.rejects.take(partition.source, &partition.name, decoded);
        let times = Times {
            greatest: arrivals.greatest,
            ahead: arrivals.ahead.clone(),
            confirms_within_ns: max_ahead_ns.unwrap_or(0),
        };
        lock(&partition.progress).publish(claim.index, times);
        if let BlockData::Bytes(bytes) = block.data {
            self.spare = Some(bytes);
        }
        let rows = arrivals.rows;
        self.held.push_back(Held { partition: index, claim, arrivals });
        Ok(Read::Block(rows))
    }

    /// The capability that this worker needs for an output: (epoch, watermark). `None` when it will
    /// send nothing more on it.
    pub fn frontier(&self, source: usize, output: usize) -> Option<(u64, i64)> {
        let spec = &self.intake.sources[source].outputs[output];
        let mut least: Option<(u64, i64)> = None;
        for (index, partition) in self.intake.partitions.iter().enumerate().filter(|(_, p)| p.source == source) {
            let unsent = self.held.iter().filter(|h| h.partition == index).min_by_key(|h| h.claim.index);
            let progress = lock(&partition.progress);
            let Some(greatest) = progress.greatest_for(unsent.map(|h| h.claim.index)) else { continue };
            let floor = unsent.map_or(progress.floor(output), |h| h.claim.floors[output]);
            let event = event_time(spec, greatest, floor, unsent.map_or(i64::MIN, |h| h.arrivals.arrival_ns));
            let epoch = unsent.map_or(self.epoch, |h| h.claim.epoch.min(self.epoch));
            least = Some(least.map_or((epoch, event), |(e, t)| (e.min(epoch), t.min(event))));
        }
        least
    }
}

/// How far ahead of the clock a row of the source may be and move the watermark at once; `None`: any.
fn max_ahead_ns(source: &Source) -> Option<i64> {
    source.outputs.iter().map(|o| o.watermark.max_ahead_ns).max().flatten()
}

/// The watermark of an output behind the greatest time `greatest`.
fn event_time(output: &SourceOutput, greatest: i64, floor: i64, arrival_ns: i64) -> i64 {
    match output.watermark.strategy {
        WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns } => watermark(greatest, out_of_order_ns, floor),
        WatermarkStrategy::AtEnd => i64::MIN,
        WatermarkStrategy::ProcessingTime => arrival_ns.max(floor),
    }
}

enum Read {
    Block(usize),
    End,
    Nothing,
}
