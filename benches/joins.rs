//! How fast joins are behind the decoder, on one core: rows per second in, pairs, and what they hold in memory.
//!
//! `cargo bench --bench joins [-- NAME…]`; `--tiny` runs each over a few rows, so that tests can run it. Two streams of
//! half the rows each; a key comes once in two minutes and a second on each side, and its two rows at most half a minute apart, in
//! no order: with a million keys and `within: 1m` every row has one match. The operator gets its rows as it does in a
//! run, in batches with their keys. A hot key has a tenth of all rows, each of which finds at most one other: twice the
//! rows take twice the time. The last part goes on for ten million rows and shows the process's memory on the way.

mod operator;

use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Float64Array, Int64Array};
use varpulis_runtime::data::key::encode_keys;
use varpulis_runtime::data::{Batch, DataType, Type};
use varpulis_runtime::dataflow::align::{Core, Progress};
use varpulis_runtime::dataflow::op::counters::Tally;
use varpulis_runtime::dataflow::op::join::Joins;
use varpulis_runtime::join::Join;
use varpulis_runtime::plan::physical::Op;

use crate::operator::{Args, Fields, Sink, fields, plan, resident_bytes, types, xorshift};

const BATCH_ROWS: usize = 1 << 14;
const ROWS: usize = 5_000_000;
const KEYS: usize = 1_000_000;
/// A key comes again after this time.
const ROUND_NS: i64 = 121_000_000_000;
/// In how many keys the order of the two sides differs.
const SHUFFLED: usize = 200_000;

const TYPES: &str = "event A:\n    at: timestamp\n    k: int\n    x: float\n\n\
    event B:\n    at: timestamp\n    k: int\n    y: float\n\nstream J = ";

/// Whose rows a tenth of which have one key.
#[derive(Clone, Copy, PartialEq)]
enum Hot {
    None,
    Left,
    Both,
}

const PARTS: [(&str, &str, Hot); 8] = [
    ("inner, 1 min", "join(A as a, B as b on a.k == b.k, within: 1m).emit(k: a.k, x: x, y: y)", Hot::None),
    ("left, 1 min", "left_join(A as a, B as b on a.k == b.k, within: 1m).emit(k: a.k, x: x, y: y)", Hot::None),
    ("full, 1 min", "full_join(A as a, B as b on a.k == b.k, within: 1m).emit(k: a.k, x: x, y: y)", Hot::None),
    ("compared, 1 min", "join(A as a, B as b on a.k == b.k and x < y, within: 1m).emit(k: a.k, x: x, y: y)", Hot::None),
    (
        "left, no match, 1 min",
        "left_join(A as a, B as b on a.k == b.k and x > y + 2, within: 1m).emit(k: a.k)",
        Hot::None,
    ),
    ("window, 1 min", "join(A as a, B as b).on(a.k == b.k).window(1m).emit(k: a.k, x: x, y: y)", Hot::None),
    ("hot left key, 1 min", "join(A as a, B as b on a.k == b.k, within: 1m).emit(k: a.k, x: x, y: y)", Hot::Left),
    (
        "hot key on both sides, 1 ms",
        "left_join(A as a, B as b on a.k == b.k, after: 1ms).allowed_lateness(4m).emit(k: a.k, x: x, y: y)",
        Hot::Both,
    ),
];

fn main() {
    let args = Args::read();
    let tiny = args.tiny;
    for (name, text, hot) in PARTS.iter().filter(|(name, ..)| args.wants(name)) {
        let (join, lateness_ns, types) = join(text);
        let sizes = if *hot == Hot::None { vec![ROWS] } else { vec![ROWS / 2, ROWS] };
        for rows in sizes.into_iter().map(|rows| if tiny { rows / 500 } else { rows }) {
            let batches: Vec<(usize, Batch)> = Batches::new(rows, *hot, &types).collect();
            let (mut best, mut last) = (f64::INFINITY, (0, 0));
            for _ in 0..if tiny { 1 } else { 3 } {
                let start = Instant::now();
                last = run(&join, lateness_ns, &types, batches.iter().cloned(), &mut |_| {});
                best = best.min(start.elapsed().as_secs_f64());
            }
            let (rate, (pairs, bytes)) = (rows as f64 / best / 1e6, last);
            println!(
                "{name:<28} {rows:>8} rows {rate:>6.2} M rows/s  {pairs:>9} out  {:>7.1} MB of state",
                bytes as f64 / 1e6
            );
        }
    }
    if args.wants("soak") {
        soak(if tiny { 20_000 } else { 2 * ROWS });
    }
}

/// The process's memory while a left join goes on.
fn soak(rows: usize) {
    let (join, lateness_ns, types) = join(PARTS[1].1);
    let batches = Batches::new(rows, Hot::None, &types);
    let (mut seen, mut next) = (0, rows / 10);
    run(&join, lateness_ns, &types, batches, &mut |batch| {
        seen += batch;
        if seen >= next {
            println!("soak: {seen:>9} rows, process {:>6.1} MB", resident_bytes() as f64 / 1e6);
            next += rows / 10;
        }
    });
}

/// The operator of a program's join, its lateness, and the fields of its inputs.
fn join(stream: &str) -> (Join, i64, [Fields; 2]) {
    let plan = plan(format!("{TYPES}{stream}"));
    let found = plan.nodes.iter().find_map(|node| match &node.op {
        Op::Join { inputs, join, lateness_ns, .. } => {
            Some((join.clone(), *lateness_ns, inputs.map(|input| fields(&plan, input))))
        }
        _ => None,
    });
    found.expect("the program is a join")
}

/// Batches of the left and the right input by turns, each with its side.
struct Batches<'f> {
    rows: usize,
    hot: Hot,
    fields: &'f [Fields; 2],
    state: u64,
    at: usize,
    side: usize,
    /// The keys of a stretch of the right input, in another order.
    shuffled: Vec<usize>,
}

impl<'f> Batches<'f> {
    fn new(rows: usize, hot: Hot, fields: &'f [Fields; 2]) -> Batches<'f> {
        Batches { rows: rows / 2, hot, fields, state: 0x9e37_79b9_7f4a_7c15, at: 0, side: 0, shuffled: Vec::new() }
    }

    /// The key of row `number` of a side.
    fn key(&mut self, number: usize) -> i64 {
        let within = number % SHUFFLED;
        if self.side == 1 && within == 0 {
            self.shuffled = (0..SHUFFLED).collect();
            for i in (1..SHUFFLED).rev() {
                self.shuffled.swap(i, xorshift(&mut self.state) as usize % (i + 1));
            }
        }
        let is_hot = self.hot == Hot::Both || (self.hot == Hot::Left && self.side == 0);
        if is_hot && number.is_multiple_of(10) {
            return -1;
        }
        let number = if self.side == 0 { number } else { number - within + self.shuffled[within] };
        // Neighbours are no neighbours as keys.
        ((number % KEYS) * 7_919 % KEYS) as i64
    }
}

impl Iterator for Batches<'_> {
    type Item = (usize, Batch);

    fn next(&mut self) -> Option<(usize, Batch)> {
        let len = BATCH_ROWS.min(self.rows - self.at);
        if len == 0 {
            return None;
        }
        let step_ns = ROUND_NS / KEYS as i64;
        let keys: Vec<i64> = (self.at..self.at + len).map(|i| self.key(i)).collect();
        let numbers: Vec<f64> = (0..len).map(|_| (xorshift(&mut self.state) % 1_000_000) as f64 / 1e6).collect();
        let time: Vec<i64> = (self.at..self.at + len).map(|i| i as i64 * step_ns).collect();
        let column = |(name, _): &(String, DataType)| -> ArrayRef {
            match name.as_str() {
                "k" => Arc::new(Int64Array::from(keys.clone())),
                "x" | "y" => Arc::new(Float64Array::from(numbers.clone())),
                other => panic!("no column {other}"),
            }
        };
        let columns: Vec<ArrayRef> = self.fields[self.side].iter().map(column).collect();
        let key = [(Arc::new(Int64Array::from(keys.clone())) as ArrayRef, Type::Int.required())];
        let keys = Some(Arc::new(encode_keys(&key, len)));
        let out = (self.side, Batch { columns, time: time.into(), keys, ..Batch::default() });
        self.side = 1 - self.side;
        if self.side == 0 {
            self.at += len;
        }
        Some(out)
    }
}

/// The rows that came out, and the most bytes of state.
fn run(
    join: &Join,
    lateness_ns: i64,
    fields: &[Fields; 2],
    batches: impl Iterator<Item = (usize, Batch)>,
    each: &mut dyn FnMut(usize),
) -> (usize, usize) {
    let types = [0, 1].map(|side: usize| types(&fields[side]));
    let tally = Arc::new(Tally::default());
    let mut core = Joins::new(join, lateness_ns, [&types[0], &types[1]], tally.counters(0));
    let mut sink = Sink::default();
    let fire = |core: &mut Joins, sink: &mut Sink, watermark: i64| {
        while core.fire(watermark, sink) == Progress::Yielded {}
    };
    for (side, batch) in batches {
        let (rows, last) = (batch.len(), batch.time[batch.len() - 1]);
        core.apply(side, batch, &mut sink);
        if side == 1 {
            fire(&mut core, &mut sink, last);
        }
        each(rows);
    }
    fire(&mut core, &mut sink, i64::MAX);
    (sink.0, tally.read().state_bytes_peak)
}
