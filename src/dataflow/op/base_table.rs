//! A table of the latest row of each key, made of a stream of rows.
//!
//! Rows wait until the watermark has passed their place, and take effect there: of those of a key, the one with the
//! greatest (`_time`, `_seq`) holds, whichever came first. A row that comes after a later one changes nothing; one that
//! is older than what holds, but comes late, does not either. So what the table has at a place depends neither on
//! batches nor on workers.
//!
//! What changes leaves as rows with `$diff`: the old row with -1, the new one with 1, at the place where it changed.
//! Several changes of a key at one place may leave one by one; they add up to the one that counts.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array};

use super::body::key_columns;
use super::chain::key_by;
use super::counters::{Counters, Tally};
use super::driven::{Packets, drive};
use super::keeper::Site;
use super::late::{Late, shortfall_ns};
use super::order::{Clock, Runs, by_seq, by_value, sorted};
use super::versions::{Rank, Row, Shared, Versions};
use super::window::{send_in_slices, send_slices};
use crate::data::key::{decode_rows, encode_row};
use crate::data::{Batch, DataType, Keys};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::dataflow::exchange::ByKey;
use crate::expr::{Errors, Expr, evaluate_predicate};
use crate::plan::physical::{Keyed, KeyedKind};
use crate::state::entries::{Durable, EVERY_WORKER, Entries, NEVER, RestoreError, SavedEntry, Worker};
use crate::state::scratch::Spill;
use timely::dataflow::channels::pact::DistributorPact;

/// How many rows take effect before other operators get their turn.
const ROWS_AT_ONCE: usize = 1 << 14;

/// See the module's doc.
pub struct BaseTable {
    /// Types of the input's columns, of which rows are made.
    types: Vec<DataType>,
    key_types: Vec<DataType>,
    delete: Option<Expr>,
    lateness_ns: i64,
    late: Late,
    /// Whether changes leave.
    tells: bool,
    /// The tables that follow from it, if there are any.
    feeds: Option<Feed>,
    rows_at_once: usize,
    versions: Shared,
    /// By their places.
    waiting: Runs,
    /// Rows whose turn has come, by place, with how many of them have taken effect.
    applying: (Batch, usize),
    counters: Arc<Counters>,
}

/// Tables that follow from a table: they hear of every change, and after a restart of all that the table has first.
struct Feed {
    port: usize,
    /// Whether they are still to hear of what the table had when the run began.
    is_behind: bool,
}

/// Changes on their way out.
#[derive(Default)]
struct Changed {
    rows: Vec<Box<[u8]>>,
    diffs: Vec<i64>,
    times: Vec<i64>,
    keys: Vec<u8>,
    key_ends: Vec<u32>,
}

impl Changed {
    fn push(&mut self, row: Row, diff: i64, time: i64, key: &[u8]) {
        if let Some(row) = row {
            self.rows.push(row);
            self.diffs.push(diff);
            self.times.push(time);
            self.keys.extend_from_slice(key);
            self.key_ends.push(self.keys.len() as u32);
        }
    }

    /// The rows of columns of `types`, `$diff` and the key.
    fn batch(self, types: &[DataType], key_types: &[DataType]) -> Batch {
        let mut rows: Vec<&[u8]> = self.rows.iter().map(|row| &**row).collect();
        let mut columns: Vec<ArrayRef> = decode_rows(&mut rows, types);
        columns.push(Arc::new(Int64Array::from(self.diffs)));
        let keys = Keys::new(self.keys, std::iter::once(0).chain(self.key_ends).collect());
        columns.extend(key_columns(&keys, key_types));
        Batch { columns, time: self.times.into(), keys: Some(Arc::new(keys)), ..Batch::default() }
    }
}

impl BaseTable {
    pub fn new(keyed: &Keyed, types: Vec<DataType>, versions: Shared, counters: Arc<Counters>) -> BaseTable {
        let KeyedKind::Table { delete, tells, feeds } = &keyed.kind else {
            unreachable!("the planner says that it is a table")
        };
        BaseTable {
            types,
            key_types: keyed.key_types(),
            delete: delete.clone(),
            lateness_ns: keyed.lateness_ns,
            late: if keyed.keeps_late { Late::Sent } else { Late::Dropped },
            tells: *tells,
            feeds: feeds.then_some(Feed { port: 1 + keyed.keeps_late as usize, is_behind: false }),
            rows_at_once: ROWS_AT_ONCE,
            versions,
            waiting: Runs::new(Clock::Place),
            applying: (Batch::default(), 0),
            counters,
        }
    }

    /// Lets the next rows take effect.
    fn take_effect(&mut self, out: &mut dyn Outlet<Batch>) {
        let (batch, from) = (&self.applying.0, self.applying.1);
        let batch = batch.slice(from, self.rows_at_once.min(batch.len() - from));
        self.applying.1 += batch.len();
        let errors = Errors::default();
        let deletes = self.delete.as_ref().map(|e| evaluate_predicate(e, &batch, &errors));
        self.counters.add_errors(errors.count());
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let columns: Vec<(ArrayRef, DataType)> =
            batch.columns.iter().cloned().zip(self.types.iter().cloned()).collect();
        let mut versions = self.versions.borrow_mut();
        let slots = versions.slots(&keys, 0..batch.len());
        let (mut changed, mut bytes) = (Changed::default(), Vec::new());
        let tells = self.tells || self.feeds.is_some();
        for (row, slot) in slots.into_iter().enumerate() {
            let new: Row = (!is_true(deletes.as_ref(), row)).then(|| {
                bytes.clear();
                encode_row(&columns, row, &mut bytes);
                bytes.as_slice().into()
            });
            let after = if tells { new.clone() } else { None };
            if let Some(before) = versions.put(slot, batch.places()[row], rank(&batch, row), new)
                && tells
            {
                let (time, key) = (batch.places()[row], keys.key(row));
                changed.push(before, -1, time, key);
                changed.push(after, 1, time, key);
            }
        }
        drop(versions);
        if changed.rows.is_empty() {
            return;
        }
        let changes = changed.batch(&self.types, &self.key_types);
        if let Some(feed) = &self.feeds {
            send_slices(feed.port, changes.clone(), out);
        }
        if self.tells {
            send_in_slices(changes, &self.counters, out);
        }
    }

    /// Tells the tables that follow from this one all that it had when the run began.
    fn catch_up(&mut self, out: &mut dyn Outlet<Batch>) {
        let Some(feed) = self.feeds.as_mut().filter(|feed| feed.is_behind) else { return };
        feed.is_behind = false;
        let mut changed = Changed::default();
        let mut send = |changed: &mut Changed| {
            send_slices(feed.port, std::mem::take(changed).batch(&self.types, &self.key_types), out);
        };
        self.versions.borrow_mut().for_each(&mut |key, before, row, at| {
            changed.push(before, -1, at, key);
            changed.push(row, 1, at, key);
            if changed.rows.len() >= ROWS_AT_ONCE {
                send(&mut changed);
            }
        });
        send(&mut changed);
    }
}

fn is_true(mask: Option<&BooleanArray>, row: usize) -> bool {
    mask.is_some_and(|mask| mask.is_valid(row) && mask.value(row))
}

fn rank(batch: &Batch, row: usize) -> Rank {
    let (partition, position) = batch.seq.as_ref().map_or((0, 0), |seq| (seq.partition[row], seq.position[row]));
    (batch.time[row], partition, position)
}

/// The rows of `batches` in the order in which they take effect: by place, then as they rank, then by value.
fn in_order(batches: &[Batch], types: &[DataType]) -> Batch {
    sorted(Batch::concat(batches), |b, x, y| {
        let places = b.places();
        let by_rank = || b.time[x].cmp(&b.time[y]).then_with(|| by_seq(b, x, y));
        places[x].cmp(&places[y]).then_with(by_rank).then_with(|| by_value(b, types, x, y))
    })
}

impl Core for BaseTable {
    type Rows = Batch;

    fn apply(&mut self, _: usize, batch: Batch, out: &mut dyn Outlet<Batch>) {
        self.counters.add_in(batch.len());
        let on_time = match self.lateness_ns {
            i64::MAX => batch,
            lateness_ns => {
                let shortfall_ns = |time, place| shortfall_ns(time, place, lateness_ns);
                self.late.on_time(batch, shortfall_ns, &self.counters, out)
            }
        };
        self.waiting.push(on_time);
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        self.catch_up(out);
        if self.applying.0.is_empty() {
            let released = self.waiting.release(watermark);
            if !released.is_empty() {
                self.applying = (in_order(&released, &self.types), 0);
            }
        }
        if !self.applying.0.is_empty() {
            self.take_effect(out);
            if self.applying.1 < self.applying.0.len() {
                return Progress::Yielded;
            }
            self.applying = (Batch::default(), 0);
        }
        let mut versions = self.versions.borrow_mut();
        versions.tidy(watermark);
        let (entries, bytes) = versions.state();
        self.counters.set_state(entries + self.waiting.len(), bytes + self.waiting.bytes());
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        0
    }
}

impl Durable for BaseTable {
    fn track(&mut self, worker: Worker) {
        self.waiting.track(worker);
        self.versions.borrow_mut().track(worker);
    }

    /// A table outlives its input: what holds for ever is not dead when the input has ended.
    fn clock(&self, watermark: i64) -> i64 {
        watermark.min(NEVER - 1)
    }

    fn begin_save(&mut self, full: bool) {
        self.waiting.begin_save(full);
        self.versions.borrow_mut().begin_save(full);
    }

    fn save(&mut self, limit: usize, out: &mut Entries) -> bool {
        self.waiting.save_slice(out) && self.versions.borrow_mut().save(limit, out)
    }

    fn expect(&mut self, entries: usize) {
        self.versions.borrow_mut().expect(entries);
    }

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        if entry.group != EVERY_WORKER {
            return self.versions.borrow_mut().restore(entry);
        }
        self.waiting.restore_own(entry)
    }

    fn restored(&mut self) {
        self.feeds.iter_mut().for_each(|feed| feed.is_behind = true);
        self.versions.borrow_mut().restored();
    }

    fn spill_to(&mut self, spill: &Arc<Spill>) {
        self.versions.borrow_mut().spill_to(spill);
    }

    fn shed(&mut self) {
        self.versions.borrow_mut().shed();
    }

    fn take_ahead(&mut self) -> Entries {
        self.versions.borrow_mut().take_ahead()
    }
}

/// Adds the operator: its changes, its late rows where they are kept, its feed where tables follow from it, and its
/// versions for whoever looks them up.
pub fn base_table<'scope>(
    name: &str,
    input: Packets<'scope>,
    keyed: &Keyed,
    types: Vec<DataType>,
    tally: &Arc<Tally>,
    site: Site<'_>,
) -> (Vec<Packets<'scope>>, Shared) {
    let counters = tally.counters(site.keeping.epoch);
    let key_counters = tally.counters(site.keeping.epoch);
    let versions: Shared = Shared::new(Versions::new(keyed.lateness_ns, counters.clone()).into());
    let mut core = BaseTable::new(keyed, types, versions.clone(), counters.clone());
    if site.chaos.is_on() {
        core.rows_at_once = 2;
    }
    let rows = key_by(&format!("{name} key"), input, keyed.key.clone(), None, key_counters);
    let inputs = vec![(rows, DistributorPact(|_: usize| ByKey::default()))];
    let keeper = site.keeper(&keyed.state.name(), &mut core, counters);
    let feeds = matches!(keyed.kind, KeyedKind::Table { feeds: true, .. });
    let ports = 1 + keyed.keeps_late as usize + feeds as usize;
    (drive(name, inputs, ports, core, keeper, site.gauge, site.chaos), versions)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use proptest::prelude::*;

    use super::*;
    use crate::data::key::encode_keys;
    use crate::data::{Seq, Type, Value};
    use crate::expr::BinaryOp;
    use crate::plan::physical::{Bound, StateId};

    /// A row: key, value (0 deletes), how long after the row before it is read, and how much older it is.
    type Read = (i64, i64, i64, i64);

    #[derive(Clone, Debug)]
    struct At {
        key: i64,
        value: i64,
        time: i64,
        place: i64,
    }

    struct Sink(Vec<Batch>);

    impl Outlet<Batch> for Sink {
        fn send(&mut self, _: usize, rows: Batch) {
            self.0.push(rows);
        }
    }

    fn table(rows_at_once: usize) -> BaseTable {
        let column = |i| Expr::column(i, Type::Int.required());
        let zero = Box::new(Expr::literal(Value::Int(0), Type::Int));
        let is_zero =
            Expr::Binary { op: BinaryOp::Equal, left: Box::new(column(1)), right: zero, ty: Type::Bool.required() };
        let keyed = Keyed {
            state: StateId { stream: "T".to_string(), kind: "table".to_string(), ordinal: 0 },
            key: vec![column(0)],
            lateness_ns: i64::MAX,
            kind: KeyedKind::Table { delete: Some(is_zero), tells: true, feeds: false },
            keeps_late: false,
            bound: Bound::KeyCount,
        };
        let versions = Shared::new(Versions::new(i64::MAX, Arc::default()).into());
        let types = vec![Type::Int.required(), Type::Int.required()];
        BaseTable { rows_at_once, ..BaseTable::new(&keyed, types, versions, Arc::default()) }
    }

    fn batch(rows: &[(usize, At)]) -> Batch {
        let ints = |f: &dyn Fn(&At) -> i64| -> ArrayRef {
            Arc::new(rows.iter().map(|(_, r)| Some(f(r))).collect::<Int64Array>())
        };
        let keys = encode_keys(&[(ints(&|r| r.key), Type::Int.required())], rows.len());
        Batch {
            columns: vec![ints(&|r| r.key), ints(&|r| r.value)],
            time: rows.iter().map(|(_, r)| r.time).collect(),
            at: Some(rows.iter().map(|(_, r)| r.place).collect()),
            seq: Some(Seq {
                partition: vec![1; rows.len()].into(),
                position: rows.iter().map(|(position, _)| *position as u64).collect(),
            }),
            keys: Some(Arc::new(keys)),
            flight: None,
        }
    }

    /// The rows of the table at a place: of each key the latest of those that are not placed after it.
    fn batch_answer(rows: &[At], place: i64) -> BTreeMap<i64, i64> {
        let mut latest: BTreeMap<i64, (i64, usize, i64)> = BTreeMap::new();
        for (position, row) in rows.iter().enumerate().filter(|(_, row)| row.place <= place) {
            let held = latest.entry(row.key).or_insert((row.time, position, row.value));
            *held = (*held).max((row.time, position, row.value));
        }
        latest.into_iter().filter(|(_, held)| held.2 != 0).map(|(key, held)| (key, held.2)).collect()
    }

    proptest! {
        /// What the changes add up to at each place is what a look at all rows up to it gives, however rows are cut into
        /// batches, in whatever order those come, and wherever the watermark stands meanwhile.
        #[test]
        fn changes_add_up_to_the_batch_answer_at_each_place(
            reads in prop::collection::vec((0..4i64, 0..4i64, 0..3i64, 0..6i64), 1..50),
            cuts in prop::collection::vec(1..8usize, 1..20),
            swaps in any::<bool>(),
            rows_at_once in 1..5usize,
        ) {
            let mut clock = 0;
            let row = |(key, value, after, late): &Read| {
                clock += after;
                At { key: *key, value: *value, time: clock - late, place: clock }
            };
            let rows: Vec<At> = reads.iter().map(row).collect();
            let (mut core, mut sink) = (table(rows_at_once), Sink(Vec::new()));
            let numbered: Vec<(usize, At)> = rows.iter().cloned().enumerate().collect();
            let (mut from, mut waiting) = (0, Vec::new());
            for cut in cuts.iter().cycle() {
                let to = (from + cut).min(rows.len());
                waiting.push(batch(&numbered[from..to]));
                from = to;
                if swaps && waiting.len() < 2 && from < rows.len() {
                    continue;
                }
                waiting.drain(..).rev().for_each(|batch| core.apply(0, batch, &mut sink));
                let watermark = if from == rows.len() { i64::MAX } else { rows[from].place };
                while core.fire(watermark, &mut sink) == Progress::Yielded {}
                if from == rows.len() {
                    break;
                }
            }
            let mut changes: Vec<(i64, i64, i64, i64)> = Vec::new();
            for batch in &sink.0 {
                let column = |i: usize| batch.columns[i].as_primitive::<Int64Type>().values();
                changes.extend((0..batch.len()).map(|i| (batch.time[i], column(0)[i], column(1)[i], column(2)[i])));
            }
            for place in 0..=clock {
                let mut sums: BTreeMap<(i64, i64), i64> = BTreeMap::new();
                for (_, key, value, diff) in changes.iter().filter(|c| c.0 <= place) {
                    *sums.entry((*key, *value)).or_default() += diff;
                }
                sums.retain(|_, sum| *sum != 0);
                prop_assert!(sums.values().all(|sum| *sum == 1), "{:?} at {}", sums, place);
                let held: BTreeMap<i64, i64> = sums.into_keys().collect();
                prop_assert_eq!(held, batch_answer(&rows, place), "at {}", place);
            }
        }
    }
}
