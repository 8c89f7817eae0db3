//! The partitions of a process and how its workers share them.
//!
//! Any worker claims the next block of the partition that is furthest behind, decodes it, publishes its
//! greatest time and keeps it until the blocks before it are known; [`Reader`] is one worker's side of
//! that, [`Intake`] what they share. Lowest watermark first is what lets logs of many days be read in
//! order with few of them open, and together with the bound on [`Drift`] what keeps inputs of different
//! length, workers and processes from running away from each other.
//!
//! # Invariants
//! 1. A block's rows leave once, from the worker that claimed it, after all earlier blocks of the
//!    partition are published.
//! 2. [`Reader::frontier`] is never after a place of a row that the worker still sends.
//! 3. The gate stops claiming only: a block that is claimed is always decoded, and time moves on. A
//!    partition that was silent is looked at even so, since nobody may go by its silence otherwise; one
//!    block of each may so come in beyond the bound.
//!
//! Nothing here knows timely, and nothing looks at a clock; the source operator asks a `Reader` for work
//! when it is scheduled, and says what time it is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::BlockData;
use super::arrivals::{Arrivals, arrive, first_time, in_flight};
use super::drift::Drift;
use super::format::Decoder;
use super::partition::{BLOCK_BYTES, BlockReader, Polled, ReadError};
use super::progress::{Claim, Progress, Times, watermark};
use super::rejects::Rejects;
use super::silence::{Idled, Silence};
use super::spec::{Source, SourceOutput, WatermarkStrategy};
use crate::data::Batch;
use crate::data::flight::Gauge;
use crate::expr::Errors;

/// Bytes in flight for each worker beyond which no further block is claimed. A few blocks keep everybody
/// busy; more would let a worker run ahead of another, and what lies between them is held in windows
/// and sinks.
const IN_FLIGHT_BYTES_PER_WORKER: usize = 4 << 20;
const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
/// Blocks that a worker may hold, decoded or not, before it claims no more.
const HELD_BLOCKS_MAX: usize = 2;
/// How many rows may be read beyond what everybody has come to, per worker and once more. The watermark
/// trails what is read by the blocks that workers hold even when nobody is slow.
const DRIFT_ROWS_MAX: u64 = 100_000;
/// The same where a source is live: whoever has rows is not to wait soon for a partition that has none.
const LIVE_DRIFT_ROWS_MAX: u64 = 1_000_000;
/// How often silent partitions are looked at.
const IDLE_CHECK: Duration = Duration::from_millis(5);
/// How soon to come again when the gate is shut or one is ahead. Much is under way then, so that nothing
/// waits for this.
const PAUSED_WAIT: Duration = Duration::from_micros(500);
/// How soon to come again when another worker decodes the block before one's own.
const TURN_WAIT: Duration = Duration::from_micros(50);
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
    /// What checkpoints call it: its name, with more where several sources read what has it.
    pub key: String,
    /// Its place among all partitions of the program, by name: the first half of `_seq`.
    pub rank: u32,
    /// Whether it may be silent and never end.
    pub live: bool,
    open: Opener,
    reader: Mutex<Option<Box<dyn BlockReader>>>,
    progress: Mutex<Progress>,
    pub read_bytes: AtomicU64,
    pub size_bytes: AtomicU64,
    /// Where reading begins, if not at the start.
    start: Option<u64>,
    /// The file behind it, whose identity is checked when a run continues.
    pub path: Option<String>,
    silence: Mutex<Silence>,
    /// What `idle` has done to it.
    idled: Mutex<Idled>,
}

/// What a reader is told when it is asked to work: what the clocks say, and how far the others are.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// ns since 1970: when rows that are read now arrive.
    pub arrival_ns: i64,
    /// ns on a clock that is never set: what silence is measured with.
    pub steady_ns: i64,
    /// No worker of any process has still to send a row that precedes this by more than its
    /// out-of-orderness; an event time.
    pub reached_ns: i64,
}

/// How much is read at once and in all, where that is not the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub block_bytes: Option<usize>,
    pub in_flight_bytes: Option<usize>,
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
    /// Whether capabilities are kept when all partitions have ended, for a last checkpoint.
    is_held_open: AtomicBool,
    /// Whether no further block is claimed, because the run is to stop after a checkpoint.
    is_closing: AtomicBool,
    block_bytes: AtomicUsize,
    in_flight_bytes_max: Option<usize>,
    drift: Mutex<Drift>,
    wakers: Mutex<Vec<Wake>>,
    /// When silent partitions were last looked at, on the steady clock; `None` before the first time.
    idle_checked_ns: Mutex<Option<i64>>,
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
            key: name.clone(),
            name,
            rank: 0,
            live,
            open,
            reader: Mutex::new(None),
            progress: Mutex::new(Progress::new(i64::MIN, outputs)),
            read_bytes: AtomicU64::new(0),
            size_bytes: AtomicU64::new(0),
            start: None,
            path: None,
            silence: Mutex::default(),
            idled: Mutex::default(),
        }
    }

    /// What `idle` has done to it so far.
    pub fn idled(&self) -> Idled {
        *lock(&self.idled)
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
        limits: Limits,
        epoch: u64,
    ) -> Intake {
        Intake {
            sources,
            partitions,
            decoders,
            gauge: Arc::default(),
            rejects,
            epoch_wanted: AtomicU64::new(epoch),
            is_held_open: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            block_bytes: AtomicUsize::new(limits.block_bytes.unwrap_or(BLOCK_BYTES)),
            in_flight_bytes_max: limits.in_flight_bytes,
            drift: Mutex::default(),
            wakers: Mutex::default(),
            idle_checked_ns: Mutex::new(None),
            readers: AtomicUsize::new(0),
        }
    }

    /// Whether so much is in flight that nothing more should be read.
    fn is_gated(&self) -> bool {
        let workers = self.readers.load(Ordering::Relaxed);
        let of_workers = (IN_FLIGHT_BYTES_PER_WORKER * workers).min(IN_FLIGHT_BYTES_MAX);
        self.gauge.bytes() >= self.in_flight_bytes_max.unwrap_or(of_workers) as i64
    }

    /// Learns the first time of every partition that can be read twice, so that reading can begin with
    /// the earliest, and checks that all can be opened.
    pub fn peek(&self) -> Result<(), ReadError> {
        if self.partitions.len() < 2 {
            return Ok(());
        }
        for partition in
            self.partitions.iter().filter(|p| !p.live && p.start.is_none() && !lock(&p.progress).is_exhausted())
        {
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
            lock(&partition.progress).begins_at(first.unwrap_or(i64::MIN));
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

    /// Lets time go on where no rows do. A live partition that has been silent for an output's `idle`
    /// follows the least watermark of those that have not; when all have, each moves on with the clock
    /// from where it was. An output that goes by the arrival clock goes by it without rows too.
    fn pass_idle_time(&self, now: Now) {
        let mut checked = lock(&self.idle_checked_ns);
        if checked.is_some_and(|before| now.steady_ns - before < IDLE_CHECK.as_nanos() as i64) {
            return;
        }
        *checked = Some(now.steady_ns);
        let silences: Vec<Silence> = self.partitions.iter().map(|p| lock(&p.silence).account()).collect();
        for (partition, silence) in self.partitions.iter().zip(&silences).filter(|(p, _)| p.live) {
            let mut moved: Option<i64> = None;
            for (output, spec) in self.sources[partition.source].outputs.iter().enumerate() {
                let Some(own) = partition.watermark(output, spec) else { continue };
                let to = match spec.watermark.strategy {
                    WatermarkStrategy::ProcessingTime => now.arrival_ns,
                    WatermarkStrategy::AtEnd => continue,
                    WatermarkStrategy::BoundedOutOfOrderness { .. } => {
                        let Some(to) = self.idle_watermark(own, silence, &silences, spec.watermark.idle_ns) else {
                            continue;
                        };
                        moved = moved.max((to > own).then(|| to.saturating_sub(own)));
                        to
                    }
                };
                lock(&partition.progress).raise_floor(output, to);
            }
            if let Some(moved_ns) = moved {
                lock(&partition.idled).add(silence, moved_ns);
            }
        }
    }

    /// Where an output's watermark `own` goes behind a partition of that `silence`; `None` when it has
    /// not been silent for `idle_ns`.
    fn idle_watermark(&self, own: i64, silence: &Silence, silences: &[Silence], idle_ns: i64) -> Option<i64> {
        let passed_ns = silence.passed_ns(idle_ns)?;
        let busy = self.partitions.iter().zip(silences).filter(|(_, s)| !s.has_lasted(idle_ns));
        let others = busy.filter_map(|(p, _)| self.least_watermark(p)).min();
        match others {
            Some(others) => Some(others),
            None if own == i64::MIN => None,
            None => Some(own.saturating_add(passed_ns)),
        }
    }

    /// Whether so much has been read beyond what everybody has come to that who is ahead must wait.
    fn has_drifted(&self, reached_ns: i64) -> bool {
        let is_live = self.partitions.iter().any(|p| p.live);
        let workers = self.readers.load(Ordering::Relaxed) as u64;
        let rows_max = if is_live { LIVE_DRIFT_ROWS_MAX } else { DRIFT_ROWS_MAX * (1 + workers) };
        lock(&self.drift).rows_past(reached_ns) > rows_max
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
    pub fn work(&mut self, now: Now, depart: &mut dyn FnMut(Departure)) -> Result<Worked, ReadError> {
        self.enter_epoch();
        self.intake.pass_idle_time(now);
        if self.send_next(depart) {
            return Ok(Worked::Busy);
        }
        if self.held.len() >= HELD_BLOCKS_MAX {
            return Ok(Worked::Wait(TURN_WAIT));
        }
        let is_open = !self.intake.is_gated() && !self.intake.is_closing.load(Ordering::Relaxed);
        if self.read_next(now, is_open)? {
            return Ok(Worked::Busy);
        }
        if self.is_finished() {
            return Ok(Worked::Finished);
        }
        // Live partitions wake the worker when they have data; the clock moves idle ones.
        let is_paused = !is_open || self.intake.has_drifted(now.reached_ns);
        Ok(Worked::Wait(match (self.held.is_empty(), is_paused) {
            (false, _) => TURN_WAIT,
            (true, true) => PAUSED_WAIT,
            (true, false) => IDLE_CHECK,
        }))
    }

    /// The epoch of everything that this worker sends from now on, at least.
    fn enter_epoch(&mut self) {
        let wanted = self.intake.epoch_wanted.load(Ordering::Relaxed);
        if wanted > self.epoch {
            self.intake.partitions.iter().for_each(|p| p.enter_epoch(wanted));
            self.epoch = wanted;
        }
    }

    fn is_finished(&self) -> bool {
        self.held.is_empty() && self.intake.has_ended()
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
            self.intake.rejects.add_filter_errors(partition.source, held.claim.epoch, errors.count());
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

    /// Claims and decodes a block of the partition that is furthest behind and has one; `false` when
    /// none has. With the gate shut, or when too far ahead, only partitions that were silent are looked at.
    fn read_next(&mut self, now: Now, is_open: bool) -> Result<bool, ReadError> {
        let mut order: Vec<(i64, usize)> = Vec::new();
        for (index, partition) in self.intake.partitions.iter().enumerate() {
            order.extend(lock(&partition.progress).greatest_for(None).map(|greatest| (greatest, index)));
        }
        order.sort_unstable();
        let has_drifted = self.intake.has_drifted(now.reached_ns);
        for (greatest, index) in order {
            let partition = &self.intake.partitions[index];
            let may_read = is_open && !(has_drifted && greatest > now.reached_ns);
            if !may_read && !lock(&partition.silence).is_silent() {
                continue;
            }
            match self.read_from(index, now)? {
                Read::Block | Read::End => return Ok(true),
                Read::Nothing => {}
            }
        }
        Ok(false)
    }

    fn read_from(&mut self, index: usize, now: Now) -> Result<Read, ReadError> {
        let partition = &self.intake.partitions[index];
        let (block, claim) = {
            let mut reader = lock(&partition.reader);
            if lock(&partition.progress).is_exhausted() {
                return Ok(Read::End);
            }
            if reader.is_none() {
                let intake = Arc::downgrade(&self.intake);
                let wake = Arc::new(move || intake.upgrade().iter().for_each(|i| i.wake()));
                let mut opened = (partition.open)(wake)?;
                partition.start.map_or(Ok(()), |position| opened.seek(position))?;
                *reader = Some(opened);
            }
            let open = reader.as_mut().expect("it was just opened");
            open.set_target_bytes(self.intake.block_bytes.load(Ordering::Relaxed));
            self.spare.take().into_iter().for_each(|buffer| open.recycle(buffer));
            let polled = open.poll_block()?;
            partition.read_bytes.store(open.read_bytes(), Ordering::Relaxed);
            partition.size_bytes.store(open.size_bytes().unwrap_or(0), Ordering::Relaxed);
            match polled {
                Polled::Pending => {
                    lock(&partition.silence).found_empty(now.steady_ns);
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
        *lock(&partition.silence) = Silence::default();
        let source = &self.intake.sources[partition.source];
        let mut decoded = self.decoders[partition.source].decode(&block);
        if let Some(error) = decoded.failed.take() {
            return Err(error);
        }
        let max_ahead_ns = if partition.live { max_ahead_ns(source) } else { None };
        let ahead_of = max_ahead_ns.map_or(i64::MAX, |d| now.arrival_ns.saturating_add(d));
        let arrivals = arrive(source, &block, &mut decoded, now.arrival_ns, ahead_of);
        self.intake.rejects.add_ahead(partition.source, claim.epoch, arrivals.ahead.len() as u64);
        self.intake.rejects.take(partition.source, &partition.name, claim.epoch, decoded);
        let times = Times {
            greatest: arrivals.greatest,
            ahead: arrivals.ahead.clone(),
            rows: arrivals.rows as u64,
            confirms_within_ns: max_ahead_ns.unwrap_or(0),
        };
        lock(&partition.progress).publish(claim.index, times);
        if let BlockData::Bytes(bytes) = block.data {
            self.spare = Some(bytes);
        }
        if arrivals.greatest > now.reached_ns {
            lock(&self.intake.drift).add(arrivals.greatest, arrivals.rows as u64);
        }
        self.held.push_back(Held { partition: index, claim, arrivals });
        Ok(Read::Block)
    }

    /// The capability that this worker needs for an output: (epoch, watermark). `None` when it will
    /// send nothing more on it.
    pub fn frontier(&self, source: usize, output: usize) -> Option<(u64, i64)> {
        let spec = &self.intake.sources[source].outputs[output];
        let ended = (self.epoch, i64::MAX);
        let mut least = self.intake.is_held_open.load(Ordering::Relaxed).then_some(ended);
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

/// What came of an attempt to read a partition.
enum Read {
    Block,
    End,
    Nothing,
}

mod epochs;
#[cfg(test)]
mod tests;
