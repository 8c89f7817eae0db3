//! The operators over relations against what they mean: at each event time, the result over the rows that are there.
//!
//! Histories of rows that come, change and go are sent in any order that their frontier allows, in epochs that end
//! anywhere, to one and two workers; what is settled must be, time by time, how the result over everything changes.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use arrow_array::{Array, ArrayRef, Int64Array};
use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::implementations::spine_fueled::SpineBatch;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::{Operator, Probe};
use timely::progress::Antichain;

use super::account::Account;
use super::aggregate::aggregate;
use super::arrange::{Arrangement, arrange, configure};
use super::distinct::distinct;
use super::join::{join, unmatched};
use super::settle::settle;
use super::top::top;
use crate::data::array::value_at;
use crate::data::flight::Gauge;
use crate::data::{Batch, DataType, Type, Value};
use crate::dataflow::chaos::Chaos;
use crate::dataflow::op::chain::{key_by, map_batches};
use crate::dataflow::op::counters::Tally;
use crate::dataflow::op::driven::{PacketBuilder, Packets};
use crate::dataflow::op::keeper::{Keeping, Site};
use crate::dataflow::stop::Stop;
use crate::dataflow::time::Time;
use crate::expr::Expr;
use crate::expr::aggregate::{Aggregate, AggregateFunction};
use crate::plan::physical::SortKey;
use crate::state::entries::Worker;

/// `id, k, v`; of these the first is the key of the relation.
type Row = [Option<i64>; 3];
/// What changes, and when.
type Change = (i64, Row, i64);
/// A result: rows of any width, and how often each is there.
type Contents = BTreeMap<Vec<Option<i64>>, i64>;

/// When a row of a result changes, the row, and by how often it is there.
type Told = (i64, Vec<Option<i64>>, i64);

/// A generator of numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)) % n
    }
}

const TIMES: i64 = 12;

/// Rows of few ids that come, change and go.
fn history(random: &mut Random) -> Vec<Change> {
    let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
    let mut changes = Vec::new();
    for time in 0..TIMES {
        let mut ids: Vec<i64> = (0..6).filter(|_| random.below(3) == 0).collect();
        ids.dedup();
        for id in ids {
            let new = (random.below(4) > 0).then(|| {
                let k = (random.below(6) > 0).then(|| random.below(3) as i64);
                [Some(id), k, Some(random.below(5) as i64)]
            });
            if let Some(old) = rows.remove(&id) {
                changes.push((time, old, -1));
            }
            if let Some(new) = new {
                rows.insert(id, new);
                changes.push((time, new, 1));
            }
        }
    }
    changes
}

/// What is sent at once, under which capability.
type Sent = (Time, Vec<Change>);

/// The changes in an order that the frontier allows.
fn schedule(changes: &[Change], random: &mut Random) -> Vec<Sent> {
    let (mut epoch, mut from) = (0, 0);
    let mut sent = Vec::new();
    while from < TIMES {
        let to = from + 1 + random.below(4) as i64;
        let mut part: Vec<Change> = changes.iter().filter(|c| from <= c.0 && c.0 < to).copied().collect();
        for i in (1..part.len()).rev() {
            part.swap(i, random.below(i as u64 + 1) as usize);
        }
        while !part.is_empty() {
            let rest = part.split_off((1 + random.below(4) as usize).min(part.len()));
            sent.push((Time { epoch, event: from }, std::mem::replace(&mut part, rest)));
            epoch += (random.below(3) == 0) as u64;
        }
        from = to;
    }
    sent
}

fn batch(changes: &[Change]) -> Batch {
    let column = |i: usize| -> ArrayRef { Arc::new(changes.iter().map(|c| c.1[i]).collect::<Int64Array>()) };
    let diffs: ArrayRef = Arc::new(changes.iter().map(|c| c.2).collect::<Int64Array>());
    let columns = vec![column(0), column(1), column(2), diffs];
    Batch { columns, time: changes.iter().map(|c| c.0).collect(), ..Batch::default() }
}

fn account(gauge: Arc<Gauge>) -> Rc<Account> {
    Account::new(gauge, Arc::default(), None)
}

fn int() -> DataType {
    DataType { ty: Type::Int, nullable: true }
}

fn ints(columns: usize) -> Vec<DataType> {
    vec![int(); columns]
}

/// The updates that an arrangement holds.
fn held(arrangement: &Arrangement<'_>) -> impl FnMut(Time) -> usize + use<> {
    let mut trace = arrangement.trace.clone();
    move |until| {
        let until = Antichain::from_elem(until);
        trace.set_logical_compaction(until.borrow());
        trace.set_physical_compaction(until.borrow());
        let mut updates = 0;
        trace.map_spans(|span| updates += span.inner.as_ref().map_or(0, |batch| batch.len()));
        updates
    }
}

#[test]
fn what_is_gone_leaves_the_arrangements() {
    const ROWS: i64 = 20_000;
    let mut config = timely::Config::thread();
    configure(&mut config.worker);
    let tally = Arc::new(Tally::default());
    let counted = tally.clone();
    let guards = timely::execute(config, move |worker| {
        let (gauge, counted) = (Arc::new(Gauge::of_process(0)), counted.clone());
        let row = |time: i64, id: i64, diff: i64| (time, [Some(id), Some(id), None], diff);
        let all = |time: i64, diff: i64| (0..ROWS).map(|id| row(time, id, diff)).collect::<Vec<Change>>();
        // All rows come, change ten times, and go; one more is there when nothing else is.
        let mut sent: Vec<Sent> = vec![(Time { epoch: 0, event: 0 }, all(0, 1))];
        for event in 1..10 {
            let changes = [all(event, -1), all(event, 1)].concat();
            sent.extend(changes.chunks(1000).map(|part| (Time { epoch: 0, event }, part.to_vec())));
        }
        sent.push((Time { epoch: 0, event: 10 }, all(10, -1)));
        sent.push((Time { epoch: 0, event: 11 }, vec![row(11, -1, 1)]));
        let steps = sent.len();
        let (probe, mut held) = worker.dataflow::<Time, _, _>(|scope| {
            let rows = send(scope, sent, gauge.clone());
            let (probe, rows) = rows.probe();
            let account = Account::new(gauge, counted.counters(0), None);
            let arranged = arrange("rows", by(rows, &[1]), ints(3), &account);
            let held = held(&arranged);
            join("join", arranged.clone(), arranged, ints(6), &account)
                .sink(Pipeline, "end", |(input, _)| input.for_each(|_, packet| drop(packet.take())));
            (probe, held)
        });
        let mut most = 0;
        for _ in 0..20 * steps {
            worker.step();
            most = most.max(held(probe.with_frontier(|f| f.first().copied().unwrap_or(Time { epoch: 0, event: 12 }))));
        }
        assert!(probe.done());
        assert!(most as i64 > ROWS / 2, "at most {most} updates were held");
        let left = held(Time { epoch: 0, event: 12 });
        assert!(left <= 3, "{left} updates are left of one row");
    });
    for outcome in guards.expect("the worker starts").join() {
        outcome.expect("nothing panics");
    }
    let counts = tally.read();
    assert!(counts.state_entries_peak as i64 > ROWS / 2, "{} updates were counted", counts.state_entries_peak);
    // A key and a row have some dozen bytes each, behind a pointer and two counters; a time and a difference.
    let each = counts.state_bytes_peak / counts.state_entries_peak;
    assert!((100..200).contains(&each), "an update is taken for {each} bytes");
}

/// The first worker sends all; the others take part in what follows.
fn send<'scope>(scope: Scope<'scope, Time>, sent: Vec<Sent>, gauge: Arc<Gauge>) -> Packets<'scope> {
    let is_first = scope.index() == 0;
    source::<Time, PacketBuilder, _, _>(scope, "changes", move |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut capability = is_first.then_some(capability);
        let mut sent = sent.into_iter();
        move |output| {
            let Some(held) = &mut capability else { return };
            let Some((time, changes)) = sent.next() else {
                capability = None;
                return;
            };
            held.downgrade(&time);
            let mut rows = batch(&changes);
            rows.flight = Some(Arc::new(gauge.depart(rows.len(), rows.bytes())));
            output.session_with_builder(&*held).give_container(&mut rows.into());
            activator.activate();
        }
    })
}

fn by<'scope>(input: Packets<'scope>, columns: &[usize]) -> Packets<'scope> {
    let key = columns.iter().map(|&i| Expr::column(i, int())).collect();
    key_by("key", input, key, None, Arc::default())
}

fn with_key<'scope>(input: Packets<'scope>, column: usize) -> Packets<'scope> {
    map_batches("not null", input, move |_, batch| {
        let known =
            arrow_array::BooleanArray::from_iter((0..batch.len()).map(|i| Some(batch.columns[column].is_valid(i))));
        batch.filter(&known)
    })
}

/// The operator over two relations that a test is about, and how many columns it gives.
type Build = for<'scope> fn(Vec<Packets<'scope>>, &Rc<Account>) -> (Packets<'scope>, usize);

/// What is settled, in the order in which a worker told it.
fn run(workers: usize, seed: u64, sent: [Vec<Sent>; 2], build: Build) -> Vec<Told> {
    let told: Arc<Mutex<Vec<Told>>> = Arc::default();
    let into = told.clone();
    let gauge = Arc::new(Gauge::of_process(0));
    let counted = gauge.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (into, gauge) = (into.clone(), counted.clone());
        let sent = sent.clone();
        worker.dataflow::<Time, _, _>(|scope| {
            let inputs = sent.into_iter().map(|sent| send(scope, sent, gauge.clone())).collect();
            let (result, width) = build(inputs, &account(gauge.clone()));
            let all: Vec<usize> = (0..width).collect();
            let worker = Worker { index: scope.index(), peers: scope.peers() };
            let (keeping, stop) = (Keeping::default(), Stop::default());
            let site = Site { worker, keeping: &keeping, stop: &stop, gauge, chaos: Chaos::new(Some(seed), 7) };
            let settled = settle("settle", by(result, &all), ints(width), "state", Arc::default(), site);
            settled.sink(Pipeline, "told", move |(input, _)| {
                input.for_each(|_, packet| {
                    let rows = packet.take();
                    let cell = |i: usize, row: usize| match value_at(rows.columns[i].as_ref(), &int(), row) {
                        Value::Int(v) => Some(v),
                        _ => None,
                    };
                    let row = |row| {
                        let values = (0..width).map(|i| cell(i, row)).collect();
                        (rows.time[row], values, cell(width, row).expect("how often"))
                    };
                    into.lock().expect("no panic").extend((0..rows.len()).map(row));
                });
            });
        });
    });
    for outcome in guards.expect("workers start").join() {
        outcome.expect("no worker panics");
    }
    assert_eq!((gauge.rows(), gauge.bytes()), (0, 0), "all flights have landed");
    std::mem::take(&mut *told.lock().expect("no panic"))
}

/// How the result of `meaning` changes from time to time.
fn expected(histories: &[Vec<Change>; 2], meaning: fn(&[Row], &[Row]) -> Contents) -> Vec<Told> {
    let mut told = Vec::new();
    let mut before = Contents::new();
    for time in 0..TIMES {
        let rows = |history: &Vec<Change>| {
            let mut rows: BTreeMap<Row, i64> = BTreeMap::new();
            history.iter().filter(|c| c.0 <= time).for_each(|c| *rows.entry(c.1).or_default() += c.2);
            rows.into_iter().filter(|(_, n)| *n > 0).map(|(row, _)| row).collect::<Vec<Row>>()
        };
        let now = meaning(&rows(&histories[0]), &rows(&histories[1]));
        let of = |contents: &Contents, row: &Vec<Option<i64>>| contents.get(row).copied().unwrap_or(0);
        let mut rows: Vec<&Vec<Option<i64>>> = before.keys().chain(now.keys()).collect();
        rows.sort();
        rows.dedup();
        told.extend(rows.iter().map(|row| (time, row.to_vec(), of(&now, row) - of(&before, row))).filter(|c| c.2 != 0));
        before = now;
    }
    told
}

fn check(build: Build, meaning: fn(&[Row], &[Row]) -> Contents) {
    let mut changes = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let histories = [history(&mut random), history(&mut random)];
        let sent = histories.each_ref().map(|h| schedule(h, &mut random));
        let mut told = run(1 + (seed % 2) as usize, seed, sent, build);
        told.sort();
        let mut expected = expected(&histories, meaning);
        expected.sort();
        assert_eq!(told, expected, "seed {seed}");
        changes += told.len();
    }
    assert!(changes > 60, "only {changes} changes were compared");
}

fn counted(rows: impl Iterator<Item = Vec<Option<i64>>>) -> Contents {
    let mut contents = Contents::new();
    rows.for_each(|row| *contents.entry(row).or_default() += 1);
    contents
}

fn pairs<'a>(left: &'a [Row], right: &'a [Row]) -> impl Iterator<Item = (Row, Row)> + 'a {
    left.iter().flat_map(move |l| right.iter().filter(move |r| l[1].is_some() && l[1] == r[1]).map(move |r| (*l, *r)))
}

#[test]
fn joined_rows_are_all_pairs_with_one_key() {
    check(
        |inputs, account| {
            let arranged =
                inputs.into_iter().map(|rows| arrange("rows", by(with_key(rows, 1), &[1]), ints(3), account));
            let [left, right] = <[_; 2]>::try_from(arranged.collect::<Vec<_>>()).ok().expect("two relations");
            (join("join", left, right, ints(6), account), 6)
        },
        |left, right| counted(pairs(left, right).map(|(l, r)| [l, r].concat())),
    );
}

#[test]
fn one_arrangement_serves_both_sides_of_a_join_with_itself() {
    check(
        |mut inputs, account| {
            let rows = arrange("rows", by(with_key(inputs.remove(0), 1), &[1]), ints(3), account);
            (join("join", rows.clone(), rows, ints(6), account), 6)
        },
        |left, _| counted(pairs(left, left).map(|(l, r)| [l, r].concat())),
    );
}

#[test]
fn unmatched_rows_are_those_in_no_pair() {
    check(
        |inputs, account| {
            let left = inputs[0].clone();
            let arranged =
                inputs.into_iter().map(|rows| arrange("rows", by(with_key(rows, 1), &[1]), ints(3), account));
            let [one, other] = <[_; 2]>::try_from(arranged.collect::<Vec<_>>()).ok().expect("two relations");
            let pairs = join("join", one, other, ints(6), account);
            (unmatched("unmatched", by(left, &[0]), by(pairs, &[0]), ints(3), account), 3)
        },
        |left, right| {
            let is_matched = |l: &Row| pairs(left, right).any(|(m, _)| m == *l);
            counted(left.iter().filter(|l| !is_matched(l)).map(|l| l.to_vec()))
        },
    );
}

#[test]
fn aggregates_are_those_of_the_rows_that_are_there() {
    check(
        |mut inputs, account| {
            let call = |function, args: Vec<usize>| {
                let arg_types = ints(args.len());
                Aggregate { function, args, arg_types, ty: int() }
            };
            let calls = vec![
                call(AggregateFunction::CountRows, vec![]),
                call(AggregateFunction::Count, vec![1]),
                call(AggregateFunction::Min, vec![2]),
                call(AggregateFunction::Sum, vec![2]),
                call(AggregateFunction::Max, vec![2]),
                call(AggregateFunction::Max, vec![1]),
            ];
            let rows = by(inputs.remove(0), &[1]);
            (aggregate("aggregate", rows, ints(1), calls, account), 7)
        },
        |rows, _| {
            let mut groups: BTreeMap<Option<i64>, Vec<i64>> = BTreeMap::new();
            rows.iter().for_each(|[_, k, v]| groups.entry(*k).or_default().extend(v));
            counted(groups.into_iter().map(|(k, values)| {
                let n = values.len() as i64;
                let (least, greatest) = (values.iter().min().copied(), values.iter().max().copied());
                let of_key = if k.is_some() { n } else { 0 };
                vec![k, Some(n), Some(of_key), least, Some(values.iter().sum()), greatest, k]
            }))
        },
    );
}

#[test]
fn distinct_rows_are_there_once() {
    check(
        |mut inputs, account| {
            let rows = map_batches("columns", inputs.remove(0), |_, batch| {
                let columns = vec![batch.columns[1].clone(), batch.columns[2].clone(), batch.columns[3].clone()];
                Batch { columns, ..batch }
            });
            (distinct("distinct", by(rows, &[0, 1]), ints(2), account), 2)
        },
        |rows, _| {
            let mut distinct = counted(rows.iter().map(|[_, k, v]| vec![*k, *v]));
            distinct.values_mut().for_each(|n| *n = 1);
            distinct
        },
    );
}

#[test]
fn the_first_rows_of_a_key_are_kept_up_to_date() {
    check(
        |mut inputs, account| {
            let order = vec![SortKey { expr: Expr::column(2, int()), descending: true }];
            let rows = by(inputs.remove(0), &[1]);
            (top("top", rows, order, 2, ints(3), account), 3)
        },
        |rows, _| {
            let mut groups: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
            rows.iter().for_each(|row| groups.entry(row[1]).or_default().push(*row));
            counted(groups.into_values().flat_map(|mut rows| {
                rows.sort_by_key(|[id, _, v]| (std::cmp::Reverse(*v), *id));
                rows.truncate(2);
                rows.into_iter().map(|row| row.to_vec())
            }))
        },
    );
}
