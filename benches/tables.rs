//! How fast tables are behind the decoder, on one core, and what they hold in memory.
//!
//! `cargo bench --bench tables [-- NAME…]`; `--tiny` runs each part over a few rows, so that tests can run it.
//!
//! - `enrich`: 5 M decoded rows looked up, at random, in a table of 1 M rows: two fields of it. What counts is encoding
//!   the keys, waiting, the lookup and the columns that come of it; then the same while the table changes, a row for
//!   every ten that are looked up.
//! - `sharing`: a table of 1 M rows is filled, and every stream looks up its first rows, with one stream, with ten that
//!   share the table, and with ten that have one each; every time in a process of its own.
//! - `deletions`: 10 M rows of keys that come, change and go, 100,000 of them at a time; what is held after each million.

mod operator;

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};
use varpulis_runtime::data::key::encode_keys;
use varpulis_runtime::data::{Batch, DataType, Seq, Type};
use varpulis_runtime::dataflow::align::{Core, Progress};
use varpulis_runtime::dataflow::op::base_table::BaseTable;
use varpulis_runtime::dataflow::op::counters::Counters;
use varpulis_runtime::dataflow::op::enrich::Enriched;
use varpulis_runtime::dataflow::op::versions::{Shared, Versions};
use varpulis_runtime::plan::physical::{Keyed, KeyedKind, Lookup, Op};

use crate::operator::{Args, Fields, Sink, fields, plan, resident_bytes, types, xorshift};

const BATCH_ROWS: usize = 1 << 15;
const TABLE_ROWS: usize = 1_000_000;
/// What a stream must have looked up to have started.
const FIRST_ROWS: usize = 1_000;
const LOOKUPS: usize = 5_000_000;
const STEP_NS: i64 = 1_000;

const PROGRAM: &str = "
event Customer:
    at: timestamp
    id: int
    name: str
    tier: str
    score: float
    gone: bool

event Order:
    at: timestamp
    customer: int
    amount: float

table Customers = Customer.key(id).delete(when: gone).allowed_lateness(1s)

stream Named = Order.enrich(Customers, on: customer, fields: [name, tier])
    .emit(customer: customer, amount: amount, name: name, tier: tier)
";

/// The operators of the program, and what rows of the table are made of.
struct Operators {
    table: Keyed,
    fields: Fields,
    lookup: Lookup,
}

fn operators() -> Operators {
    let plan = plan(PROGRAM.to_string());
    let lookup =
        plan.nodes.iter().find_map(|n| if let Op::Enrich { lookup, .. } = &n.op { Some(lookup) } else { None });
    let table = plan.nodes.iter().find_map(|n| match &n.op {
        Op::Keyed { input, keyed } if matches!(keyed.kind, KeyedKind::Table { .. }) => Some((*input, keyed.clone())),
        _ => None,
    });
    let (input, table) = table.expect("the program has a table");
    Operators { table, fields: fields(&plan, input), lookup: lookup.expect("the program looks up").clone() }
}

impl Operators {
    fn table(&self) -> (BaseTable, Shared) {
        let counters: Arc<Counters> = Arc::default();
        let versions = Shared::new(Versions::new(self.table.lateness_ns, counters.clone()).into());
        (BaseTable::new(&self.table, types(&self.fields), versions.clone(), counters), versions)
    }

    fn enrichment(&self, versions: &Shared) -> Enriched {
        Enriched::new(&self.lookup, types(&self.fields), versions.clone(), Arc::default())
    }

    /// Rows of the table with these keys, one every step from `from` on.
    fn customers(&self, ids: &[i64], from: i64, gone: impl Fn(usize) -> bool) -> Batch {
        let column = |(name, _): &(String, DataType)| -> ArrayRef {
            match name.as_str() {
                "id" => Arc::new(Int64Array::from(ids.to_vec())),
                "name" => Arc::new(ids.iter().map(|id| Some(format!("customer {id}"))).collect::<StringArray>()),
                "tier" => Arc::new(
                    ids.iter().map(|id| Some(["gold", "silver", "none"][*id as usize % 3])).collect::<StringArray>(),
                ),
                "score" => Arc::new(Float64Array::from_iter_values(ids.iter().map(|id| *id as f64 / 7.0))),
                "gone" => Arc::new((0..ids.len()).map(|row| Some(gone(row))).collect::<arrow_array::BooleanArray>()),
                "at" => Arc::new(Int64Array::from_iter_values((0..ids.len() as i64).map(|i| from + i * STEP_NS))),
                other => panic!("no column {other}"),
            }
        };
        let time: Vec<i64> = (0..ids.len() as i64).map(|i| from + i * STEP_NS).collect();
        let seq = Seq { partition: vec![1; ids.len()].into(), position: (0..ids.len() as u64).collect() };
        let batch = Batch {
            columns: self.fields.iter().map(column).collect(),
            time: time.into(),
            seq: Some(seq),
            ..Batch::default()
        };
        with_keys(batch, ids)
    }
}

fn with_keys(batch: Batch, ids: &[i64]) -> Batch {
    let column: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    let keys = Some(Arc::new(encode_keys(&[(column, Type::Int.required())], ids.len())));
    Batch { keys, ..batch }
}

/// Rows that are looked up: columns, as the decoder gives them, and what they ask for.
fn orders(rows: usize, keys: usize, from: i64) -> Vec<(Batch, ArrayRef)> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let starts = (0..rows).step_by(BATCH_ROWS);
    let batch = |start: usize| {
        let len = BATCH_ROWS.min(rows - start);
        let ids: ArrayRef =
            Arc::new(Int64Array::from_iter_values((0..len).map(|_| (xorshift(&mut state) % keys as u64) as i64)));
        let time: Vec<i64> = (start..start + len).map(|i| from + i as i64 * STEP_NS).collect();
        let amounts: ArrayRef = Arc::new(Float64Array::from_iter_values((0..len).map(|i| i as f64)));
        (Batch { columns: vec![ids.clone(), amounts], time: time.into(), ..Batch::default() }, ids)
    };
    starts.map(batch).collect()
}

fn fire(core: &mut impl Core<Rows = Batch>, watermark: i64, sink: &mut Sink) {
    while core.fire(watermark, sink) == Progress::Yielded {}
}

/// Fills a table with so many rows; when it is filled.
fn fill(operators: &Operators, table: &mut BaseTable, rows: usize) -> i64 {
    let (mut sink, mut now) = (Sink::default(), 0);
    for start in (0..rows).step_by(BATCH_ROWS) {
        let ids: Vec<i64> = (start..rows.min(start + BATCH_ROWS)).map(|id| id as i64).collect();
        table.apply(0, operators.customers(&ids, now, |_| false), &mut sink);
        now += ids.len() as i64 * STEP_NS;
        fire(table, now, &mut sink);
    }
    now
}

/// Looks rows up; the seconds that it took, and how many rows came of it.
fn look_up(enrichment: &mut Enriched, rows: &[(Batch, ArrayRef)], mut between: impl FnMut(i64)) -> (f64, usize) {
    let mut sink = Sink::default();
    let started = Instant::now();
    for (batch, ids) in rows {
        let keys = encode_keys(&[(ids.clone(), Type::Int.required())], batch.len());
        let now = batch.time[batch.len() - 1] + 1;
        enrichment.apply(0, Batch { keys: Some(Arc::new(keys)), ..batch.clone() }, &mut sink);
        between(now);
        fire(enrichment, now, &mut sink);
    }
    (started.elapsed().as_secs_f64(), sink.0)
}

fn enrich(tiny: bool) {
    let operators = operators();
    let (table_rows, lookups) = if tiny { (1_000, 10_000) } else { (TABLE_ROWS, LOOKUPS) };
    let (mut table, versions) = operators.table();
    let mut enrichment = operators.enrichment(&versions);
    let mut now = fill(&operators, &mut table, table_rows);
    for name in ["enrich, a table at rest", "enrich, a table at rest", "enrich, a table that changes"] {
        let rows = orders(lookups, table_rows, now);
        let (mut state, mut sink) = (1_u64, Sink::default());
        let changes = name.ends_with("changes");
        let (seconds, out) = look_up(&mut enrichment, &rows, |until| {
            if changes {
                let ids: Vec<i64> =
                    (0..BATCH_ROWS / 10).map(|_| (xorshift(&mut state) % table_rows as u64) as i64).collect();
                table.apply(0, operators.customers(&ids, until - ids.len() as i64 * STEP_NS, |_| false), &mut sink);
                fire(&mut table, until, &mut sink);
            }
        });
        now += (lookups as i64 + 1) * STEP_NS;
        let bytes = versions.borrow().state().1;
        println!(
            "{name:<30} {:>6.2} M rows/s  {out:>9} rows  {:>6.1} MB of state",
            lookups as f64 / seconds / 1e6,
            bytes as f64 / 1e6
        );
    }
}

/// Runs one way of `sharing` in this process, which `sharing` has started with `SHARE` in its environment.
fn share(streams: usize, tables: usize, tiny: bool) {
    let operators = operators();
    let rows = if tiny { 1_000 } else { TABLE_ROWS };
    let first = orders(FIRST_ROWS.min(rows), rows, rows as i64 * STEP_NS);
    let started = Instant::now();
    let mut filled: Vec<(BaseTable, Shared)> = (0..tables).map(|_| operators.table()).collect();
    let mut readers: Vec<Enriched> = (0..streams).map(|i| operators.enrichment(&filled[i % tables].1)).collect();
    for (table, _) in &mut filled {
        fill(&operators, table, rows);
    }
    let found: usize = readers.iter_mut().map(|reader| look_up(reader, &first, |_| {}).1).sum();
    let seconds = started.elapsed().as_secs_f64();
    println!("{seconds} {} {found}", resident_bytes());
}

fn sharing(tiny: bool) {
    let ways = [("one stream", 1, 1), ("ten streams, one table", 10, 1), ("ten streams, ten tables", 10, 10)];
    let mut first = None;
    for (name, streams, tables) in ways {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.env("SHARE", format!("{streams} {tables}"));
        if tiny {
            command.arg("--tiny");
        }
        let output = command.output().expect("this program runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [seconds, bytes, _] = numbers[..] else { panic!("{text}{}", String::from_utf8_lossy(&output.stderr)) };
        let (s, b) = *first.get_or_insert((seconds, bytes));
        println!(
            "sharing, {name:<24} {seconds:>6.2} s to start ({:.2} x)  {:>7.1} MB ({:.2} x)",
            seconds / s,
            bytes / 1e6,
            bytes / b
        );
    }
}

fn deletions(tiny: bool) {
    let operators = operators();
    let (rows, live) = if tiny { (10_000, 100) } else { (10_000_000, 100_000) };
    let (mut table, versions) = operators.table();
    let mut enrichment = operators.enrichment(&versions);
    let (mut sink, mut now) = (Sink::default(), 0);
    // Row i brings key i / 2 into the table, changes it, or takes out the one that came `live` keys before.
    for start in (0..rows).step_by(BATCH_ROWS) {
        let of = start..rows.min(start + BATCH_ROWS);
        let ids: Vec<i64> =
            of.clone().map(|i| if i % 2 == 0 { i as i64 / 2 } else { (i as i64 / 2 - live).max(0) }).collect();
        table.apply(0, operators.customers(&ids, now, |row| (start + row) % 2 == 1), &mut sink);
        now += ids.len() as i64 * STEP_NS;
        fire(&mut table, now, &mut sink);
        fire(&mut enrichment, now, &mut sink);
        if of.end / (rows / 10) != start / (rows / 10) {
            let (entries, bytes) = versions.borrow().state();
            let (bytes, resident) = (bytes as f64 / 1e6, resident_bytes() as f64 / 1e6);
            println!(
                "deletions, {:>9} rows: {entries:>8} entries, {bytes:>7.2} MB; process {resident:>6.1} MB",
                of.end
            );
        }
    }
}

fn main() {
    let args = Args::read();
    if let Some(way) = std::env::var_os("SHARE") {
        let numbers = way.to_string_lossy().split(' ').map(|n| n.parse().expect("a number")).collect::<Vec<usize>>();
        return share(numbers[0], numbers[1], args.tiny);
    }
    for (name, part) in [("enrich", enrich as fn(bool)), ("sharing", sharing), ("deletions", deletions)] {
        if args.wants(name) {
            part(args.tiny);
        }
    }
}
