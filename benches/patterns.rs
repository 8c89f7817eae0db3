//! How fast patterns are behind the decoder, on one core: rows per second, matches, and what they hold in memory.
//!
//! `cargo bench --bench patterns [-- NAME…]`; `--tiny` runs each over a few rows, so that tests can run it. 5 M rows of
//! 1,000 keys and three kinds, half a millisecond apart: a key has 20 rows in ten seconds. Programs are compiled from
//! VPL; the operator gets its rows as it does in a run, in order and with their keys, and sorts and buffers them. The
//! last part has keys that never come again, in three rounds, and shows what the table still counts after each.

mod operator;

use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Float64Array, Int64Array};
use varpulis_runtime::data::key::encode_keys;
use varpulis_runtime::data::{Batch, DataType, Type};
use varpulis_runtime::dataflow::align::Core;
use varpulis_runtime::dataflow::op::counters::{Counters, Tally};
use varpulis_runtime::dataflow::op::late::Late;
use varpulis_runtime::dataflow::op::ordered::{InOrder, Ordered};
use varpulis_runtime::dataflow::op::sequence::Sequences;
use varpulis_runtime::pattern::matcher::Matcher;
use varpulis_runtime::pattern::trends::Trends;
use varpulis_runtime::pattern::{Gives, Pattern};
use varpulis_runtime::plan::physical::{Keyed, KeyedKind, Op};

use crate::operator::{Args, Fields, Sink, fields, plan, resident_bytes, types, xorshift};

const BATCH_ROWS: usize = 1 << 15;
const ROWS: usize = 5_000_000;
const KEYS: u64 = 1_000;
const STEP_NS: i64 = 500_000;

const EVENT: &str = "event E:\n    at: timestamp\n    user: int\n    kind: int\n    x: float\n\nstream M = ";

const PARTS: [(&str, &str); 11] = [
    (
        "a -> b, compared, 10 s",
        "E as a where kind == 0 -> E as b where kind == 1 and b.x > a.x * 1.5
        .within(10s).partition_by(user).emit(a: a.x, b: b.x)",
    ),
    (
        "a -> b, compared, 1,000 s",
        "E as a where kind == 0 -> E as b where kind == 1 and b.x > a.x * 1.5
        .within(1000s).partition_by(user).emit(a: a.x, b: b.x)",
    ),
    (
        "… skip_past_last, 10 s",
        "E as a where kind == 0 -> E as b where kind == 1 and b.x > a.x
        .within(10s).partition_by(user).after_match(\"skip_past_last\").emit(a: a.x, b: b.x)",
    ),
    (
        "… skip_past_last, 1,000 s",
        "E as a where kind == 0 -> E as b where kind == 1 and b.x > a.x
        .within(1000s).partition_by(user).after_match(\"skip_past_last\").emit(a: a.x, b: b.x)",
    ),
    (
        "a -> b+ -> c, 10 s",
        "E as a where kind == 0 -> E+ as b where kind == 1 -> E as c where kind == 2
        .within(10s).partition_by(user).emit(a: a.x, n: count(b), total: sum(b.x), c: c.x)",
    ),
    (
        "a -> b+ -> c, 1,000 s",
        "E as a where kind == 0 -> E+ as b where kind == 1 -> E as c where kind == 2
        .within(1000s).partition_by(user).emit(a: a.x, n: count(b), total: sum(b.x), c: c.x)",
    ),
    (
        "a -> not b -> c, 10 s",
        "E as a where kind == 0 -> not E where kind == 1 -> E as c where kind == 2
        .within(10s).partition_by(user).emit(a: a.x, c: c.x)",
    ),
    (
        "a -> b, equal, no key",
        "E as a where kind == 0 -> E as b where kind == 1 and b.user == a.user and b.x > a.x
        .within(10s).emit(a: a.x, b: b.x)",
    ),
    (
        "per match: a -> b, 10 s",
        "E as a where kind == 0 -> E as b where kind == 1 and b.x - a.x > 0.5
        .within(10s).partition_by(user).emit(a: a.x, b: b.x)",
    ),
    (
        "trends: a -> b+ -> c, 10 s",
        "E as a where kind == 0 -> E+ as b where kind == 1 -> E as c where kind == 2
        .within(10s).partition_by(user).strategy(\"skip_till_any\")
        .trend_aggregate(n: count_trends(), total: sum_trends(b.x)).emit(n, total)",
    ),
    (
        "trends, up to 2^80 matches",
        "E as a where kind == 0 and x < 0.01 -> E+ as b where kind == 1 -> E as c where kind == 2 and x < 0.1
        .within(120s).partition_by(user).strategy(\"skip_till_any\")
        .trend_aggregate(n: count_trends(), total: sum_trends(b.kind)).emit(n, total)",
    ),
];

fn main() {
    let args = Args::read();
    let tiny = args.tiny;
    let rows = if tiny { 10_000 } else { ROWS };
    let rounds = if tiny { 1 } else { 3 };
    for (name, text) in PARTS.iter().filter(|(name, _)| args.wants(name)) {
        let (keyed, types) = pattern(text);
        let mut state = 1;
        let batches = batches(&keyed, &types, rows, 0, || xorshift(&mut state) % KEYS);
        let (mut best, mut last) = (f64::INFINITY, (0, 0));
        for _ in 0..rounds {
            let start = Instant::now();
            last = run(&keyed, &types, &batches);
            best = best.min(start.elapsed().as_secs_f64());
        }
        let (rate, (matches, bytes)) = (rows as f64 / best / 1e6, last);
        println!("{name:<28} {rate:>6.2} M rows/s  {matches:>9} matches  {:>7.1} MB of state", bytes as f64 / 1e6);
    }
    if args.wants("one-shot keys") {
        one_shot_keys(if tiny { 1_000 } else { 1_000_000 });
    }
}

/// The operator of a program's pattern and the fields of its input.
fn pattern(stream: &str) -> (Keyed, Fields) {
    let plan = plan(format!("{EVENT}{stream}"));
    let found = plan.nodes.iter().find_map(|node| match &node.op {
        Op::Keyed { input, keyed } if matches!(keyed.kind, KeyedKind::Pattern { .. }) => {
            Some((keyed.clone(), fields(&plan, *input)))
        }
        _ => None,
    });
    found.expect("the program is a pattern")
}

/// Rows of the pattern's input; the rounds of one program follow each other in time.
fn batches(keyed: &Keyed, fields: &Fields, rows: usize, round: u64, mut user: impl FnMut() -> u64) -> Vec<Batch> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || xorshift(&mut state);
    let mut at = 0;
    let mut out = Vec::new();
    while at < rows {
        let len = BATCH_ROWS.min(rows - at);
        let users: Vec<i64> = (0..len).map(|_| user() as i64).collect();
        let kinds: Vec<i64> = (0..len).map(|_| (random() % 3) as i64).collect();
        let numbers: Vec<f64> = (0..len).map(|_| (random() % 1_000_000) as f64 / 1e6).collect();
        let time: Vec<i64> = (at..at + len).map(|i| (round as i64 * 100_000_000 + i as i64) * STEP_NS).collect();
        let column = |(name, _): &(String, DataType)| -> ArrayRef {
            match name.as_str() {
                "$source" => Arc::new(Int64Array::from(vec![0; len])),
                "$key0" | "user" => Arc::new(Int64Array::from(users.clone())),
                "kind" => Arc::new(Int64Array::from(kinds.clone())),
                "at" => Arc::new(Int64Array::from(time.clone())),
                "x" => Arc::new(Float64Array::from(numbers.clone())),
                other => panic!("no column {other}"),
            }
        };
        let columns: Vec<ArrayRef> = fields.iter().map(column).collect();
        let key = match keyed.key.is_empty() {
            true => Vec::new(),
            false => vec![(Arc::new(Int64Array::from(users.clone())) as ArrayRef, Type::Int.required())],
        };
        let keys = Some(Arc::new(encode_keys(&key, len)));
        out.push(Batch { columns, time: time.into(), keys, ..Batch::default() });
        at += len;
    }
    out
}

/// The matches, and the most bytes of state.
fn run(keyed: &Keyed, fields: &Fields, batches: &[Batch]) -> (usize, usize) {
    let types = types(fields);
    let tally = Arc::new(Tally::default());
    let mut core = core(keyed, types, &tally);
    let mut sink = Sink::default();
    for batch in batches {
        core.apply(0, batch.clone(), &mut sink);
        core.fire(batch.time[batch.len() - 1], &mut sink);
    }
    core.fire(i64::MAX, &mut sink);
    (sink.0, tally.read().state_bytes_peak)
}

fn of(keyed: &Keyed) -> &Pattern {
    match &keyed.kind {
        KeyedKind::Pattern { pattern } => pattern,
        _ => unreachable!("only patterns are measured"),
    }
}

fn core(keyed: &Keyed, types: Vec<DataType>, tally: &Arc<Tally>) -> Box<dyn Core<Rows = Batch>> {
    let (counters, key_types) = (tally.counters(0), keyed.key_types());
    let pattern = of(keyed);
    match &pattern.gives {
        Gives::Matches(_) | Gives::Timeouts(_) => {
            let matcher = Matcher::new(pattern).expect("a small pattern");
            let logic = Sequences::new(matcher, key_types, pattern.delay_ns(), counters.clone());
            Box::new(Ordered::new(logic, 0, types, Late::Dropped, counters))
        }
        Gives::Trends(trends) => {
            let trends = Trends::new(pattern, trends).expect("a small pattern");
            let logic = Sequences::new(trends, key_types, 0, counters.clone());
            Box::new(Ordered::new(logic, 0, types, Late::Dropped, counters))
        }
    }
}

/// Keys of one row each, which wait in vain; what is left when they have expired.
fn one_shot_keys(keys: usize) {
    let (_, text) = PARTS[0];
    let (keyed, fields) = pattern(text);
    let counters: Arc<Counters> = Arc::default();
    let matcher = Matcher::new(of(&keyed)).expect("a small pattern");
    let mut logic = Sequences::new(matcher, keyed.key_types(), 0, counters);
    let mut sink = Sink::default();
    for round in 0..3u64 {
        let mut next = 0;
        let mut peak = (0, 0);
        for batch in batches(&keyed, &fields, keys * 3, round, || {
            next += 1;
            next + round * 100_000_000
        }) {
            logic.rows(&batch, &mut sink);
            peak = peak.max(logic.state());
        }
        logic.advance((round as i64 + 1) * 100_000_000 * STEP_NS, &mut sink);
        let ((most, most_bytes), (left, left_bytes)) = (peak, logic.state());
        let (most_bytes, left_bytes) = (most_bytes as f64 / 1e6, left_bytes as f64 / 1e6);
        let resident = resident_bytes() as f64 / 1e6;
        println!(
            "one-shot keys, round {round}: at most {most} entries, {most_bytes:.1} MB; left {left} entries, \
             {left_bytes:.3} MB; process {resident:.0} MB"
        );
    }
}
