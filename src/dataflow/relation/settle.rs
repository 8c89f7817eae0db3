//! The end of a chain of relations: what changes come to at each event time, once that is certain.
//!
//! Updates reach it in any order, cancel each other, and come in more epochs than one. They wait until the watermark has
//! passed their time; what is then left of them leaves in the order of time and key, what goes before what comes.
//!
//! Of what comes before it nothing is saved: after a restart the base tables tell their versions again. What has left
//! before is known by its time: a key group's changes up to the watermark that was saved are not told twice.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array};
use timely::dataflow::channels::pact::DistributorPact;

use crate::data::key::{KEY_GROUPS, key_group};
use crate::data::{Batch, DataType};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::dataflow::exchange::ByKey;
use crate::dataflow::op::counters::Counters;
use crate::dataflow::op::driven::{Packets, drive};
use crate::dataflow::op::keeper::Site;
use crate::dataflow::op::order::{Clock, Runs, net_changes};
use crate::state::entries::{Durable, EVERY_WORKER, Entries, NEVER, RestoreError, SavedEntry, Worker, take_i64};
use crate::state::scratch::Spill;

/// Adds the operator over keyed changes of columns of `types` and `$diff`.
pub fn settle<'scope>(
    name: &str,
    input: Packets<'scope>,
    types: Vec<DataType>,
    state: &str,
    counters: Arc<Counters>,
    site: Site<'_>,
) -> Packets<'scope> {
    let mut core = Settle::new(types, counters.clone());
    let keeper = site.keeper(state, &mut core, counters);
    let inputs = vec![(input, DistributorPact(|_: usize| ByKey::default()))];
    let settled = drive(name, inputs, 1, core, keeper, site.gauge, site.chaos);
    settled.into_iter().next().expect("the one output")
}

/// See the module's doc.
struct Settle {
    types: Vec<DataType>,
    waiting: Runs,
    /// Up to where everything has left.
    fired: i64,
    /// By key group: up to where everything had left before the run began, or an epoch ended.
    told: Vec<i64>,
    /// Nothing is told of changes before these.
    told_before: Vec<i64>,
    worker: Worker,
    is_saving: bool,
    counters: Arc<Counters>,
}

impl Settle {
    fn new(types: Vec<DataType>, counters: Arc<Counters>) -> Settle {
        let told = vec![i64::MIN; KEY_GROUPS as usize];
        Settle {
            types,
            waiting: Runs::new(Clock::Time),
            fired: i64::MIN,
            told_before: told.clone(),
            told,
            worker: Worker::ONLY,
            is_saving: false,
            counters,
        }
    }

    /// What changes come to, in order.
    fn settled(&self, changes: &Batch) -> Batch {
        let (diffs, columns) = changes.columns.split_last().expect("changes have a column that says how often");
        let diffs = diffs.as_primitive::<Int64Type>().values();
        let columns: Vec<(ArrayRef, DataType)> = columns.iter().cloned().zip(self.types.iter().cloned()).collect();
        let keys = changes.keys.as_ref().expect("rows are keyed before they are exchanged");
        let place = |row: u32| (changes.time[row as usize], keys.key(row as usize));
        // A full join may have equal rows, each of which comes and goes by itself.
        let net = net_changes(&changes.time, keys, &columns, diffs).into_iter();
        let mut left: Vec<(u32, i64)> =
            net.flat_map(|(row, sum)| std::iter::repeat_n((row, sum.signum()), sum.unsigned_abs() as usize)).collect();
        // Stable: what goes, and what comes, stay in the order of values.
        left.sort_by(|&(a, x), &(b, y)| (place(a), x > 0).cmp(&(place(b), y > 0)));
        let mut settled = changes.take(&left.iter().map(|(row, _)| *row).collect::<Vec<u32>>());
        let diffs: ArrayRef = Arc::new(left.iter().map(|(_, diff)| *diff).collect::<Int64Array>());
        *settled.columns.last_mut().expect("as before") = diffs;
        settled
    }

    /// Those that had not been told before the run began.
    fn new_ones(&self, settled: &Batch) -> Batch {
        let keys = settled.keys.as_ref().expect("as before");
        let is_new =
            |&row: &u32| settled.time[row as usize] >= self.told_before[key_group(keys.hash(row as usize)) as usize];
        settled.take(&(0..settled.len() as u32).filter(is_new).collect::<Vec<u32>>())
    }
}

impl Core for Settle {
    type Rows = Batch;

    fn apply(&mut self, _: usize, batch: Batch, _: &mut dyn Outlet<Batch>) {
        self.waiting.push(batch);
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        self.fired = self.fired.max(watermark);
        let changes = self.waiting.release(watermark);
        if changes.is_empty() {
            return Progress::Done;
        }
        let settled = self.settled(&Batch::concat(&changes));
        let new = self.new_ones(&settled);
        self.counters.add_in(new.len());
        self.counters.add_out(new.len());
        out.send(0, new);
        self.counters.set_state(self.waiting.len(), self.waiting.bytes());
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        0
    }
}

/// Of each worker, up to where it has told the changes of which key groups.
impl Durable for Settle {
    fn track(&mut self, worker: Worker) {
        self.worker = worker;
    }

    /// What was told is known for ever, also when all tables have ended.
    fn clock(&self, watermark: i64) -> i64 {
        watermark.min(NEVER - 1)
    }

    fn begin_save(&mut self, _: bool) {
        let (worker, fired) = (self.worker, self.fired);
        let owned = self.told.iter_mut().enumerate().filter(|(group, _)| worker.owns(*group as u16));
        owned.for_each(|(_, told)| *told = (*told).max(fired));
        self.is_saving = true;
    }

    fn save(&mut self, _: usize, out: &mut Entries) -> bool {
        if std::mem::take(&mut self.is_saving) {
            let index = (self.worker.index as u64).to_be_bytes();
            out.push(EVERY_WORKER, &index, &[], NEVER, |value| {
                for groups in self.told.chunk_by(|a, b| a == b) {
                    value.extend((groups.len() as i64).to_be_bytes());
                    value.extend(groups[0].to_be_bytes());
                }
            });
        }
        true
    }

    fn expect(&mut self, _: usize) {}

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        let (mut value, mut group) = (entry.value, 0);
        while !value.is_empty() {
            let (groups, until) = (take_i64(&mut value)? as usize, take_i64(&mut value)?);
            let told = self.told.get_mut(group..).and_then(|rest| rest.get_mut(..groups));
            let told = told.ok_or(RestoreError::Damaged("there are more key groups than there can be"))?;
            told.iter_mut().for_each(|t| *t = (*t).max(until));
            group += groups;
        }
        self.told_before.clone_from(&self.told);
        Ok(())
    }

    /// What waits is in flight, and there is nothing else.
    fn spill_to(&mut self, _: &Arc<Spill>) {}

    fn shed(&mut self) {}

    fn take_ahead(&mut self) -> Entries {
        Entries::default()
    }
}
