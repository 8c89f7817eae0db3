//! How fast tables that follow from tables keep up, on one core: a join of two tables with an aggregate on top.
//!
//! `cargo bench --bench relations [-- --tiny]`. A table of 1 M orders joins one of 100,000 customers by customer, and
//! the amounts are summed by tier. Both are loaded first; then orders change their amounts, each an old row that goes and
//! a new one that comes, every change at an event time of its own. The first figures are of changes as fast as they are
//! taken, in packets of several sizes; the last part sends 50,000 changes a second, packet by packet in real time, and
//! tells how long it took until the effect of each packet had left.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Int64Array};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::{Capability, Operator, Probe};
use timely::dataflow::{ProbeHandle, Scope};
use timely::worker::Worker as TimelyWorker;
use varpulis_runtime::data::flight::Gauge;
use varpulis_runtime::data::{Batch, DataType, Type};
use varpulis_runtime::dataflow::chaos::Chaos;
use varpulis_runtime::dataflow::op::chain::{key_by, map_batches};
use varpulis_runtime::dataflow::op::driven::{PacketBuilder, Packets};
use varpulis_runtime::dataflow::op::keeper::{Keeping, Site};
use varpulis_runtime::dataflow::relation::account::Account;
use varpulis_runtime::dataflow::relation::aggregate::aggregate;
use varpulis_runtime::dataflow::relation::arrange::arrange;
use varpulis_runtime::dataflow::relation::join::join;
use varpulis_runtime::dataflow::relation::settle::settle;
use varpulis_runtime::dataflow::stop::Stop;
use varpulis_runtime::dataflow::time::Time;
use varpulis_runtime::expr::Expr;
use varpulis_runtime::expr::aggregate::{Aggregate, AggregateFunction};
use varpulis_runtime::state::entries::Worker;

/// What a run allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ORDERS: i64 = 1_000_000;
const CUSTOMERS: i64 = 100_000;
const TIERS: i64 = 10;
const RATE_PER_S: u64 = 50_000;

/// What a source is to send next, and the capability for it.
#[derive(Default)]
struct Feed {
    batches: Vec<(i64, Batch)>,
    capability: Option<Capability<Time>>,
    /// Up to where nothing more will come.
    until: i64,
    activate: Option<Box<dyn Fn()>>,
}

impl Feed {
    fn activate(&self) {
        (self.activate.as_ref().expect("the graph is built"))();
    }
}

type Shared = Rc<RefCell<Feed>>;

fn int() -> DataType {
    Type::Int.required()
}

fn by<'scope>(input: Packets<'scope>, column: usize) -> Packets<'scope> {
    key_by("key", input, vec![Expr::column(column, int())], None, Arc::default())
}

fn feed<'scope>(scope: Scope<'scope, Time>, shared: Shared) -> Packets<'scope> {
    source::<Time, PacketBuilder, _, _>(scope, "feed", move |capability, info| {
        let activator = scope.activator_for(info.address);
        shared.borrow_mut().capability = Some(capability);
        shared.borrow_mut().activate = Some(Box::new(move || activator.activate()));
        move |output| {
            let mut feed = shared.borrow_mut();
            let batches = std::mem::take(&mut feed.batches);
            let until = feed.until;
            let Some(capability) = &mut feed.capability else { return };
            for (time, batch) in batches {
                capability.downgrade(&Time { epoch: 0, event: time });
                output.session_with_builder(&*capability).give_container(&mut batch.into());
            }
            capability.downgrade(&Time { epoch: 0, event: until });
        }
    })
}

/// The graph, and how far it has come; `told` counts the rows that leave.
fn graph(worker: &mut TimelyWorker, feeds: [Shared; 2], told: Rc<RefCell<u64>>) -> ProbeHandle<Time> {
    let probe = ProbeHandle::new();
    let gauge = Arc::new(Gauge::of_process(0));
    worker.dataflow::<Time, _, _>(|scope| {
        let [orders, customers] = feeds.map(|shared| feed(scope, shared));
        let account = &Account::new(gauge.clone(), Arc::default(), None);
        let orders = arrange("orders", by(orders, 1), vec![int(); 3], account);
        let customers = arrange("customers", by(customers, 0), vec![int(); 2], account);
        let pairs = join("join", orders, customers, vec![int(); 5], account);
        let calls = vec![
            Aggregate { function: AggregateFunction::CountRows, args: vec![], arg_types: vec![], ty: int() },
            Aggregate { function: AggregateFunction::Sum, args: vec![2], arg_types: vec![int()], ty: int() },
        ];
        let sums = aggregate("sums", by(pairs, 4), vec![int()], calls, account);
        let (keeping, stop) = (Keeping::default(), Stop::default());
        let site = Site { worker: Worker::ONLY, keeping: &keeping, stop: &stop, gauge, chaos: Chaos::new(None, 0) };
        let settled = settle("settle", by(sums, 0), vec![int(); 3], "sums", Arc::default(), site);
        let new = map_batches("told", settled, move |_, batch| {
            *told.borrow_mut() += batch.len() as u64;
            batch
        });
        new.probe_with(&probe).sink(Pipeline, "end", |(input, _)| input.for_each(|_, packet| drop(packet.take())));
    });
    probe
}

fn batch(rows: &[(i64, Vec<i64>, i64)]) -> Batch {
    let width = rows[0].1.len();
    let column = |i: usize| -> ArrayRef { Arc::new(rows.iter().map(|r| r.1[i]).collect::<Int64Array>()) };
    let diffs: ArrayRef = Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>());
    let columns = (0..width).map(column).chain([diffs]).collect();
    Batch { columns, time: rows.iter().map(|r| r.0).collect(), ..Batch::default() }
}

/// The orders as they are, and their changes.
struct Orders {
    amounts: Vec<i64>,
    state: u64,
    now: i64,
}

impl Orders {
    fn row(&self, id: i64) -> Vec<i64> {
        vec![id, id % CUSTOMERS, self.amounts[id as usize]]
    }

    /// So many orders change, each at a time of its own.
    fn changes(&mut self, count: usize) -> (i64, Batch) {
        let (from, mut rows) = (self.now, Vec::with_capacity(2 * count));
        for _ in 0..count {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            let id = (self.state % self.amounts.len() as u64) as i64;
            rows.push((self.now, self.row(id), -1));
            self.amounts[id as usize] += 1;
            rows.push((self.now, self.row(id), 1));
            self.now += 1;
        }
        (from, batch(&rows))
    }
}

fn main() {
    let tiny = std::env::args().any(|arg| arg == "--tiny");
    timely::execute_directly(move |worker| {
        let (orders, customers) = (Shared::default(), Shared::default());
        let told = Rc::<RefCell<u64>>::default();
        let probe = graph(worker, [orders.clone(), customers.clone()], told.clone());
        let reach = |worker: &mut TimelyWorker, until: i64| {
            for feed in [&orders, &customers] {
                feed.borrow_mut().until = until;
                feed.borrow().activate();
            }
            while probe.less_than(&Time { epoch: 0, event: until }) {
                worker.step();
            }
        };
        let share = if tiny { 100 } else { 1 };
        let mut table = Orders { amounts: vec![1; (ORDERS / share) as usize], state: 1, now: 1 };
        let start = Instant::now();
        let ids: Vec<i64> = (0..table.amounts.len() as i64).collect();
        for part in ids.chunks(8192) {
            let rows: Vec<_> = part.iter().map(|&id| (0, table.row(id), 1)).collect();
            orders.borrow_mut().batches.push((0, batch(&rows)));
        }
        let rows: Vec<_> = (0..CUSTOMERS).map(|id| (0, vec![id, id % TIERS], 1)).collect();
        customers.borrow_mut().batches.push((0, batch(&rows)));
        reach(worker, 1);
        let loaded = ids.len() as f64 + CUSTOMERS as f64;
        println!("load                         {:>8.0} rows/s", loaded / start.elapsed().as_secs_f64());
        for size in [100, 1_000, 10_000] {
            let count = if tiny { 2 * size } else { 400_000 };
            let before = *told.borrow();
            let made: Vec<_> = (0..count / size).map(|_| table.changes(size)).collect();
            let start = Instant::now();
            for (from, changes) in made {
                let until = from + size as i64;
                orders.borrow_mut().batches.push((from, changes));
                reach(worker, until);
            }
            let rate = count as f64 / start.elapsed().as_secs_f64();
            let told = *told.borrow() - before;
            println!("changes in packets of {size:>6} {rate:>8.0} updates/s  {told:>9} rows out");
        }
        latency(worker, &orders, &mut table, &reach, if tiny { 1 } else { 10 });
        // A source that could still send would keep the worker from ending.
        for feed in [&orders, &customers] {
            feed.borrow_mut().capability = None;
            feed.borrow().activate();
        }
    });
}

/// Packets of one millisecond's changes, sent when they are due; how long each took until its effect had left.
fn latency(
    worker: &mut TimelyWorker,
    orders: &Shared,
    table: &mut Orders,
    reach: &dyn Fn(&mut TimelyWorker, i64),
    seconds: u64,
) {
    let size = (RATE_PER_S / 1_000) as usize;
    let packets = 1_000 * seconds;
    let mut taken: Vec<Duration> = Vec::new();
    let start = Instant::now();
    for i in 0..packets {
        let due = start + Duration::from_millis(i);
        let (from, changes) = table.changes(size);
        while Instant::now() < due {
            worker.step();
        }
        orders.borrow_mut().batches.push((from, changes));
        reach(worker, from + size as i64);
        taken.push(due.elapsed());
    }
    taken.sort();
    let at = |share: f64| taken[(taken.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "latency at {RATE_PER_S} updates/s: median {:.2} ms, p99 {:.2} ms, most {:.2} ms",
        at(0.5),
        at(0.99),
        at(0.9999)
    );
}
