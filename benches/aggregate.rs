//! What each aggregate costs per row, on one core: batches of 64 K rows over 1,000 groups in random order.
//!
//! `cargo bench --bench aggregate [-- NAME…]`; `--tiny` runs each over a few rows, so that tests can run it.
//! Values come from a fixed seed. The checksum is of the results, which must not change with speed.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use varpulis_runtime::data::array::value_at;
use varpulis_runtime::data::key::encode_value;
use varpulis_runtime::data::{DataType, Seq, Type, Value, batch};
use varpulis_runtime::expr::Errors;
use varpulis_runtime::expr::aggregate::{Aggregate, AggregateCall, Rows, aggregate};

const BATCH_ROWS: usize = 1 << 16;
const GROUPS: u64 = 1_000;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A batch with a column of each type.
struct Input {
    slots: Vec<u32>,
    times: Vec<i64>,
    seq: Seq,
    columns: Vec<(&'static str, Type, ArrayRef)>,
}

fn input(rows: usize) -> Input {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let slots = (0..rows).map(|_| (random.next() % GROUPS) as u32).collect();
    let ints: Vec<i64> = (0..rows).map(|_| 10_000 + (random.next() % 90_000) as i64).collect();
    let prices: Vec<f64> = (0..rows).map(|_| 1_000.0 + (random.next() % 900_000) as f64 / 100.0).collect();
    let tiny: Vec<f64> = prices.iter().map(|p| p * 1e-12).collect();
    let gaps: Vec<Option<f64>> = prices.iter().map(|&p| (!random.next().is_multiple_of(4)).then_some(p)).collect();
    let names: Vec<String> = (0..rows).map(|_| format!("N{:03}", random.next() % 100)).collect();
    let bools: Vec<bool> = ints.iter().map(|v| v % 3 == 0).collect();
    Input {
        slots,
        times: (0..rows as i64).collect(),
        seq: Seq { partition: vec![0; rows].into(), position: (0..rows as u64).collect() },
        columns: vec![
            ("int", Type::Int, Arc::new(Int64Array::from(ints))),
            ("float", Type::Float, Arc::new(Float64Array::from(prices))),
            ("float below 1e-7", Type::Float, Arc::new(Float64Array::from(tiny))),
            ("float?", Type::Float, Arc::new(Float64Array::from(gaps))),
            ("str", Type::Str, Arc::new(StringArray::from(names))),
            ("bool", Type::Bool, Arc::new(arrow_array::BooleanArray::from(bools))),
        ],
    }
}

/// The call `name(x)` or `name(x, constant)`, if that is one.
fn call(name: &str, ty: &Type) -> Option<Aggregate> {
    let entry = aggregate(name)?;
    let arg: DataType = ty.clone().optional();
    let constant = |v: Value| (vec![arg.clone(), Type::Int.required()], vec![None, Some(v)]);
    let forms = [(vec![arg.clone()], vec![None]), constant(Value::Int(1)), constant(Value::str(","))];
    let resolved = forms
        .iter()
        .find_map(|(args, constants)| (entry.resolve)(&AggregateCall { args, constants, row: &[] }).ok())?;
    // Where the argument would be cast first, the call is measured on another column.
    if resolved.args.first().is_some_and(|widened| widened.ty != *ty) {
        return None;
    }
    let args = (0..resolved.args.len()).collect();
    Some(Aggregate { function: resolved.function, args, arg_types: resolved.args, ty: resolved.result })
}

/// Nanoseconds per row of `update`, per group of `output`, and a hash of the results.
fn measure(aggregate: &Aggregate, input: &Input, column: &ArrayRef, batches: usize) -> (f64, f64, u64) {
    let rows = Rows { slots: &input.slots, times: &input.times, places: &input.times, seq: Some(&input.seq) };
    let mut state = aggregate.accumulator();
    let start = Instant::now();
    for _ in 0..batches {
        state.update(black_box(&rows), std::slice::from_ref(column));
    }
    let update = start.elapsed().as_secs_f64() * 1e9 / (batches * input.slots.len()) as f64;
    let groups: Vec<u32> = (0..GROUPS as u32).collect();
    let errors = Errors::default();
    let start = Instant::now();
    let results = state.output(black_box(&groups), &errors);
    let output = start.elapsed().as_secs_f64() * 1e9 / GROUPS as f64;
    let mut bytes = Vec::new();
    (0..results.len()).for_each(|i| encode_value(&value_at(&results, &aggregate.ty, i), &mut bytes));
    (update, output, batch::hash(&bytes))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let tiny = args.iter().any(|arg| arg == "--tiny");
    let names: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let input = input(if tiny { 1_000 } else { BATCH_ROWS });
    let (batches, rounds) = if tiny { (1, 1) } else { (8, 5) };
    for entry in varpulis_runtime::expr::aggregate::aggregates() {
        if !names.is_empty() && !names.iter().any(|name| name.as_str() == entry.name) {
            continue;
        }
        for (label, ty, column) in &input.columns {
            let Some(aggregate) = call(entry.name, ty) else { continue };
            let runs = (0..rounds).map(|_| measure(&aggregate, &input, column, batches));
            let best = runs.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1), b.2)).expect("at least one round");
            let label = format!("{}({label})", entry.name);
            println!("{label:<40} {:>7.1} ns/row  {:>9.1} ns/group  checksum {:016x}", best.0, best.1, best.2);
        }
    }
}
