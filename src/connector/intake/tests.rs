//! What moves time and what stops reading, over partitions that say what they are told and clocks that
//! stand where they are put.

use std::collections::VecDeque;

use arrow_array::Int64Array;

use super::*;
use crate::connector::spec::{FileFormat, Input, OnError, SourceType, Watermark};
use crate::connector::{Block, BlockData, Decoded, DecodedRows};
use crate::data::{Field, Schema, Type};
use crate::expr::Expr;

const IDLE_NS: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;
/// When the arrival clock began, far from where the steady one did.
const EPOCH_NS: i64 = 1_000_000 * IDLE_NS;

/// What a partition will say; silent when there is nothing.
type Script = Arc<Mutex<VecDeque<Option<Vec<i64>>>>>;

struct Scripted {
    script: Script,
    position: u64,
}

impl BlockReader for Scripted {
    fn poll_block(&mut self) -> Result<Polled, ReadError> {
        Ok(match lock(&self.script).pop_front() {
            None => Polled::Pending,
            Some(None) => Polled::End,
            Some(Some(times)) => {
                let bytes: Vec<u8> = times.iter().flat_map(|t| t.to_le_bytes()).collect();
                let block = Block { position: self.position, data: BlockData::Bytes(bytes), ..Block::default() };
                self.position += times.len() as u64;
                Polled::Block(block)
            }
        })
    }

    fn set_target_bytes(&mut self, _: usize) {}

    fn seek(&mut self, _: u64) -> Result<(), ReadError> {
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn size_bytes(&self) -> Option<u64> {
        None
    }

    fn read_bytes(&self) -> u64 {
        self.position
    }
}

/// Reads what [`Scripted`] writes: event times, and nothing else.
struct Times8;

impl Decoder for Times8 {
    fn decode(&mut self, block: &Block) -> Decoded {
        let BlockData::Bytes(bytes) = &block.data else { panic!("rows are bytes") };
        let time = |word: &[u8]| i64::from_le_bytes(word.try_into().unwrap());
        let times: Vec<i64> = bytes.chunks_exact(8).map(time).collect();
        let rows = times.len() as u64;
        let positions = (block.position..block.position + rows).collect();
        let rows_of_type =
            DecodedRows { columns: vec![Arc::new(Int64Array::from(times))], positions, format_times: None };
        Decoded { types: vec![rows_of_type], rows, ..Decoded::default() }
    }
}

fn source(watermark: Watermark) -> Source {
    let schema = Schema::new(vec![Field::new("at", Type::Timestamp.required())]);
    let time = Expr::column(0, Type::Timestamp.required());
    let ty = SourceType {
        is_read: true,
        name: "E".to_string(),
        schema,
        time_units: vec![None],
        time: Some(time),
        sampled: false,
        declared: vec!["at".to_string()],
    };
    Source {
        name: "live".to_string(),
        input: Input::Follow { path: "live".to_string(), format: FileFormat::Jsonl, time_unit: None },
        types: vec![ty],
        outputs: vec![SourceOutput { ty: 0, watermark, seq: false, filter: None }],
        on_error: OnError::Skip,
    }
}

fn ordered(out_of_order_ns: i64) -> Watermark {
    let strategy = WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns };
    Watermark { strategy, idle_ns: IDLE_NS, max_ahead_ns: None }
}

/// One worker over live partitions.
struct Live {
    scripts: Vec<Script>,
    intake: Arc<Intake>,
    reader: Reader,
}

impl Live {
    fn new(partitions: usize, watermark: Watermark) -> Live {
        let scripts: Vec<Script> = (0..partitions).map(|_| Script::default()).collect();
        let partition = |(i, script): (usize, &Script)| {
            let script = script.clone();
            let open: Opener = Box::new(move |_| {
                Ok(Box::new(Scripted { script: script.clone(), position: 0 }) as Box<dyn BlockReader>)
            });
            Partition::new(0, 1, format!("p{i}"), true, open)
        };
        let partitions = scripts.iter().enumerate().map(partition).collect();
        let make: DecoderMaker = Box::new(|| Box::new(Times8));
        let rejects = Rejects::new(vec![("live".to_string(), OnError::Skip, false)], None);
        let intake =
            Arc::new(Intake::new(vec![source(watermark)], partitions, vec![make], rejects, Limits::default(), 0));
        Live { scripts, reader: intake.reader(), intake }
    }

    fn say(&self, partition: usize, times: &[i64]) {
        lock(&self.scripts[partition]).push_back(Some(times.to_vec()));
    }

    /// Works until nothing is left to do; what left, by its watermark and number of rows.
    fn work(&mut self, at_ms: i64) -> Vec<Departure> {
        let mut out = Vec::new();
        while self.step(at_ms, &mut |d| out.push(d)) == Worked::Busy {}
        out
    }

    /// Works until nothing is left to do, for somebody who takes in at once what leaves.
    fn discard(&mut self, at_ms: i64) {
        while self.step(at_ms, &mut drop) == Worked::Busy {}
    }

    /// One piece of work of a run that has no other workers and no out-of-orderness.
    fn step(&mut self, at_ms: i64, depart: &mut dyn FnMut(Departure)) -> Worked {
        let reached_ns = self.watermark();
        let now = Now { arrival_ns: EPOCH_NS + at_ms * MS, steady_ns: at_ms * MS, reached_ns };
        self.reader.work(now, depart).unwrap()
    }

    fn watermark(&self) -> i64 {
        self.reader.frontier(0, 0).expect("live partitions do not end").1
    }

    fn unread(&self, partition: usize) -> usize {
        lock(&self.scripts[partition]).len()
    }
}

#[test]
fn a_silent_partition_follows_those_that_are_not() {
    let mut live = Live::new(3, ordered(5));
    live.say(0, &[100]);
    live.say(1, &[200]);
    live.say(2, &[300]);
    live.work(0);
    assert_eq!(live.watermark(), 95);
    live.say(1, &[400]);
    live.say(2, &[500]);
    live.work(990);
    assert_eq!(live.watermark(), 95, "it has not been silent for idle");
    for (at_ms, time) in [(1000, 600), (1010, 700)] {
        live.say(1, &[time]);
        live.say(2, &[time + 50]);
        live.work(at_ms);
    }
    live.work(1020);
    assert_eq!(live.watermark(), 695, "the least of the others");
    let idled: Vec<Idled> = live.intake.partitions.iter().map(Partition::idled).collect();
    assert_eq!((idled[0].times, idled[0].moved_ns), (1, 600));
    assert_eq!((idled[1], idled[2]), (Idled::default(), Idled::default()));
    // A row of the silent one that is behind what the others went by is late, and so is its place.
    live.say(0, &[150]);
    let departed = live.work(1030);
    assert_eq!(departed[0].batch.places()[..], [695]);
}

#[test]
fn when_all_are_silent_each_moves_on_with_the_clock() {
    let mut live = Live::new(2, ordered(0));
    live.say(0, &[1000]);
    live.say(1, &[5000]);
    live.work(0);
    let mut at_ms = 0;
    while at_ms < 1500 {
        at_ms += 10;
        live.work(at_ms);
    }
    live.work(1510);
    assert_eq!(live.watermark(), 1000 + 500 * MS, "half a second beyond idle");
    assert_eq!(live.intake.partitions[0].idled(), live.intake.partitions[1].idled());
    assert_eq!(live.intake.partitions[0].idled().moved_ns, 500 * MS);
    // Somebody speaks: the other one follows.
    live.say(1, &[6000 + 700 * MS]);
    live.work(1520);
    live.work(1530);
    assert_eq!(live.watermark(), 6000 + 700 * MS);
}

#[test]
fn nothing_moves_before_the_first_row_of_all() {
    let mut live = Live::new(1, ordered(0));
    for at_ms in [0, 2000, 4000] {
        live.work(at_ms);
    }
    assert_eq!(live.watermark(), i64::MIN);
}

/// A partition that nobody looks at, because another one is read first, is not silent: the rows that
/// have arrived meanwhile must not become late.
#[test]
fn rows_that_wait_unread_do_not_become_late() {
    let mut live = Live::new(2, ordered(0));
    live.say(0, &[10 * MS]);
    live.say(1, &[1000 * MS]);
    for at_ms in [0, 1100, 1110] {
        live.work(at_ms);
    }
    // Both have been idle, and now both speak; the one further behind is read first and overtakes.
    live.say(0, &[3000 * MS]);
    live.say(1, &[2500 * MS]);
    let mut places = Vec::new();
    for step in 0..10 {
        live.step(1120 + 6 * step, &mut |d| places.push((d.batch.time[0], d.batch.places()[0])));
    }
    assert_eq!(places, [(3000 * MS, 3000 * MS), (2500 * MS, 2500 * MS)]);
}

/// The gate stops reading and not time: a silent partition is looked at, and when it speaks, one block
/// comes in.
#[test]
fn a_shut_gate_neither_stops_time_nor_makes_silence() {
    let mut live = Live::new(2, ordered(0));
    live.say(0, &[100]);
    live.say(1, &[200]);
    live.work(0);
    let shut = live.intake.gauge.depart(1, IN_FLIGHT_BYTES_MAX);
    live.say(1, &[300]);
    live.say(1, &[400]);
    for at_ms in [500, 1100, 1110, 1120] {
        live.work(at_ms);
    }
    assert_eq!(live.unread(1), 1, "one block of a partition that was silent came in");
    assert_eq!(live.watermark(), 300, "the silent one follows what was read");
    assert_eq!(live.intake.partitions[1].idled(), Idled::default(), "what has rows is not silent");
    drop(shut);
    live.work(1130);
    assert_eq!(live.unread(1), 0);
}

/// Nobody waits for ever for a partition that says nothing.
#[test]
fn others_pause_for_a_silent_partition_until_it_is_idle() {
    let mut live = Live::new(2, ordered(0));
    live.say(0, &[1]);
    live.say(1, &[2]);
    live.discard(0);
    let block: Vec<i64> = (10..10 + LIVE_DRIFT_ROWS_MAX as i64 / 2).collect();
    (0..4).for_each(|_| live.say(1, &block));
    live.discard(10);
    assert_eq!(live.unread(1), 2, "with the row before them, two blocks are more than may be ahead");
    live.discard(500);
    assert_eq!(live.unread(1), 2);
    // Looked at, found idle, and known to be by those who wait.
    for at_ms in [1200, 1210, 1220] {
        live.discard(at_ms);
    }
    assert_eq!(live.unread(1), 0);
    assert_eq!(live.watermark(), *block.last().unwrap());
}

#[test]
fn a_row_far_ahead_of_the_clock_moves_nothing_alone() {
    let mut live = Live::new(1, Watermark { max_ahead_ns: Some(50 * MS), ..ordered(0) });
    let now = EPOCH_NS;
    live.say(0, &[now, now + 51 * MS, now + 50 * MS]);
    live.work(0);
    assert_eq!(live.watermark(), now + 50 * MS);
    assert_eq!(live.intake.rejects.read()[0].ahead, 1);
    live.say(0, &[now + 90 * MS]);
    let departed = live.work(1);
    assert_eq!(live.watermark(), now + 90 * MS, "two that are close confirm each other");
    assert_eq!(departed[0].batch.places()[..], [now + 90 * MS]);
    // By the time the clock gets there, no confirmation is needed.
    live.say(0, &[now + 149 * MS]);
    live.work(100);
    assert_eq!((live.watermark(), live.intake.rejects.read()[0].ahead), (now + 149 * MS, 2));
}

/// With `processing_time` the clock is the watermark, whether rows come or not.
#[test]
fn processing_time_needs_no_rows() {
    let strategy = WatermarkStrategy::ProcessingTime;
    let mut live = Live::new(1, Watermark { strategy, ..ordered(0) });
    live.work(10);
    assert_eq!(live.watermark(), EPOCH_NS + 10 * MS);
    live.say(0, &[7]);
    let departed = live.work(12);
    assert_eq!(departed[0].batch.time[..], [EPOCH_NS + 12 * MS]);
    live.work(20);
    assert_eq!(live.watermark(), EPOCH_NS + 20 * MS);
}
