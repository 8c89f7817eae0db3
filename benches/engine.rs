//! How fast the parts behind the decoder are, on one core: rows per second, and a checksum of what came out.
//!
//! `cargo bench --bench engine [-- NAME…]`; `--tiny` runs each part over a few rows, so that tests can run
//! it. Rows come from a fixed seed: trades of 1,000 symbols, in time order. The checksum keeps the
//! compiler from dropping the work, and tells when a change for speed has changed the result.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use varpulis_runtime::data::key::{encode_keys, group_owner, key_group};
use varpulis_runtime::data::{Batch, DataType, Type, Value};
use varpulis_runtime::dataflow::align::{Core, Outlet};
use varpulis_runtime::dataflow::op::assign::Assigner;
use varpulis_runtime::dataflow::op::body::AggregateBody;
use varpulis_runtime::dataflow::op::late::Late;
use varpulis_runtime::dataflow::op::window::TimeWindows;
use varpulis_runtime::expr::aggregate::{Aggregate, AggregateFunction, Rows};
use varpulis_runtime::expr::{BinaryOp, Errors, Expr, evaluate, evaluate_predicate};

const BATCH_ROWS: usize = 1 << 15;
const SYMBOLS: u64 = 1_000;
const NS_PER_S: i64 = 1_000_000_000;

/// Columns of a trade, by position.
const SYMBOL: usize = 0;
const PRICE: usize = 1;
const VOLUME: usize = 2;

type Part = (&'static str, fn(&[Batch]) -> u64);

const PARTS: [Part; 8] = [
    ("filter", filter),
    ("arithmetic", arithmetic),
    ("keys", keys),
    ("exchange", exchange),
    ("sum of floats", sum_of_floats),
    ("avg, max, count", several_aggregates),
    ("tumbling window", tumbling),
    ("sliding window", sliding),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let tiny = args.iter().any(|arg| arg == "--tiny");
    let names: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let batches = trades(if tiny { 2 } else { 100 });
    let rows: usize = batches.iter().map(Batch::len).sum();
    let rounds = if tiny { 1 } else { 5 };
    for (name, part) in PARTS {
        if !names.is_empty() && !names.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let (mut best, mut checksum) = (f64::INFINITY, 0);
        for _ in 0..rounds {
            let start = Instant::now();
            checksum = black_box(part(black_box(&batches)));
            best = best.min(start.elapsed().as_secs_f64());
        }
        let (rate, each) = (rows as f64 / best / 1e6, best * 1e9 / rows as f64);
        println!("{name:<24} {rate:>7.2} M rows/s  {each:>6.1} ns/row  checksum {checksum:016x}");
    }
}

/// Trades with their keys, a millisecond apart.
fn trades(batches: usize) -> Vec<Batch> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let batch = |index: usize| {
        let symbols: Vec<String> = (0..BATCH_ROWS).map(|_| format!("S{:06}", random() % SYMBOLS)).collect();
        let prices: Vec<f64> = (0..BATCH_ROWS).map(|_| 1_000.0 + (random() % 900_000) as f64 / 100.0).collect();
        let volumes: Vec<i64> = (0..BATCH_ROWS).map(|_| 10_000 + (random() % 90_000) as i64).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(symbols)),
            Arc::new(Float64Array::from(prices)),
            Arc::new(Int64Array::from(volumes)),
        ];
        let keys = encode_keys(&[(columns[SYMBOL].clone(), Type::Str.required())], BATCH_ROWS);
        let time = (0..BATCH_ROWS).map(|row| (index * BATCH_ROWS + row) as i64 * NS_PER_S / 1_000).collect();
        Batch { columns, time, keys: Some(Arc::new(keys)), ..Batch::default() }
    };
    (0..batches).map(batch).collect()
}

fn price() -> Expr {
    Expr::column(PRICE, Type::Float.required())
}

fn binary(op: BinaryOp, left: Expr, right: Expr, ty: DataType) -> Expr {
    Expr::Binary { op, left: Box::new(left), right: Box::new(right), ty }
}

/// `price > 2000 and volume % 2 == 0`, and the rows that it keeps.
fn filter(batches: &[Batch]) -> u64 {
    let int = |value| Expr::literal(Value::Int(value), Type::Int);
    let volume = Expr::column(VOLUME, Type::Int.required());
    let even = binary(BinaryOp::Modulo, volume, int(2), Type::Int.required());
    let condition = Expr::And(vec![
        binary(BinaryOp::Greater, price(), Expr::literal(Value::Float(2_000.0), Type::Float), Type::Bool.required()),
        binary(BinaryOp::Equal, even, int(0), Type::Bool.required()),
    ]);
    let errors = Errors::default();
    batches.iter().map(|batch| batch.filter(&evaluate_predicate(&condition, batch, &errors)).len() as u64).sum()
}

/// `price * price + price`.
fn arithmetic(batches: &[Batch]) -> u64 {
    let float = || Type::Float.required();
    let squared = binary(BinaryOp::Multiply, price(), price(), float());
    let expr = binary(BinaryOp::Add, squared, price(), float());
    let errors = Errors::default();
    let last = |column: ArrayRef| column.as_primitive::<Float64Type>().value(column.len() - 1).to_bits();
    batches.iter().fold(0, |sum, batch| sum ^ last(evaluate(&expr, batch, &errors)))
}

/// Encodes and hashes the symbol.
fn keys(batches: &[Batch]) -> u64 {
    let encode = |batch: &Batch| encode_keys(&[(batch.columns[SYMBOL].clone(), Type::Str.required())], batch.len());
    batches.iter().fold(0, |sum, batch| sum ^ encode(batch).hash(batch.len() - 1))
}

/// Splits batches between two workers by key group.
fn exchange(batches: &[Batch]) -> u64 {
    let mut checksum = 0u64;
    for batch in batches {
        let keys = batch.keys.as_ref().expect("keyed");
        let mut rows = [Vec::new(), Vec::new()];
        for row in 0..batch.len() {
            rows[group_owner(key_group(keys.hash(row)), 2)].push(row as u32);
        }
        checksum = rows.iter().fold(checksum, |sum, rows| sum * 31 + batch.take(rows).len() as u64);
    }
    checksum
}

fn aggregate(function: AggregateFunction, column: usize, arg: Type, result: DataType) -> Aggregate {
    Aggregate { function, args: vec![column], arg_types: vec![arg.required()], ty: result }
}

fn exact_sum() -> Aggregate {
    aggregate(AggregateFunction::Sum, PRICE, Type::Float, Type::Float.optional())
}

fn usual_aggregates() -> Vec<Aggregate> {
    vec![
        Aggregate {
            function: AggregateFunction::CountRows,
            args: Vec::new(),
            arg_types: Vec::new(),
            ty: Type::Int.required(),
        },
        aggregate(AggregateFunction::Avg, PRICE, Type::Float, Type::Float.optional()),
        aggregate(AggregateFunction::Max, PRICE, Type::Float, Type::Float.optional()),
    ]
}

/// Exact sums of floats in a thousand groups.
fn sum_of_floats(batches: &[Batch]) -> u64 {
    grouped(batches, &[exact_sum()])
}

fn several_aggregates(batches: &[Batch]) -> u64 {
    grouped(batches, &usual_aggregates())
}

fn grouped(batches: &[Batch], aggregates: &[Aggregate]) -> u64 {
    let mut accumulators: Vec<_> = aggregates.iter().map(Aggregate::accumulator).collect();
    for batch in batches {
        let volumes = batch.columns[VOLUME].as_primitive::<Int64Type>();
        let slots: Vec<u32> = volumes.values().iter().map(|volume| (*volume as u64 % SYMBOLS) as u32).collect();
        let rows = Rows { slots: &slots, times: &batch.time, places: batch.places(), seq: None };
        for (aggregate, accumulator) in aggregates.iter().zip(&mut accumulators) {
            let args: Vec<ArrayRef> = aggregate.args.iter().map(|&arg| batch.columns[arg].clone()).collect();
            accumulator.update(&rows, &args);
        }
    }
    let slots: Vec<u32> = (0..SYMBOLS as u32).collect();
    let errors = Errors::default();
    accumulators.iter().fold(0, |sum, accumulator| sum ^ digest(&accumulator.output(&slots, &errors)))
}

/// The bits of a column of numbers.
fn digest(column: &ArrayRef) -> u64 {
    match column.as_primitive_opt::<Float64Type>() {
        Some(floats) => floats.values().iter().fold(0, |sum, value| sum.rotate_left(1) ^ value.to_bits()),
        None => column.as_primitive::<Int64Type>().values().iter().fold(0, |sum, n| sum.rotate_left(1) ^ *n as u64),
    }
}

/// Counts the rows that leave and folds their times.
#[derive(Default)]
struct Sink(u64);

impl Outlet<Batch> for Sink {
    fn send(&mut self, _: usize, rows: Batch) {
        self.0 = rows.time.iter().fold(self.0, |sum, time| sum.rotate_left(1) ^ *time as u64);
    }
}

fn tumbling(batches: &[Batch]) -> u64 {
    windows(batches, 60 * NS_PER_S)
}

/// An hour every minute: 60 panes to a window.
fn sliding(batches: &[Batch]) -> u64 {
    windows(batches, 3_600 * NS_PER_S)
}

fn windows(batches: &[Batch], size_ns: i64) -> u64 {
    let body = AggregateBody::new(usual_aggregates(), vec![Type::Str.required()]);
    let assigner = Assigner::new(size_ns, 60 * NS_PER_S, 0, None);
    let mut core = TimeWindows::new(assigner, 0, body, Late::Dropped, Arc::default());
    let mut sink = Sink::default();
    for batch in batches {
        core.apply(0, batch.clone(), &mut sink);
        core.fire(batch.time[batch.len() - 1], &mut sink);
    }
    core.fire(i64::MAX, &mut sink);
    sink.0
}
