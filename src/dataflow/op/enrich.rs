//! Each row of a stream with what a table has for it, as of the row's place.
//!
//! Rows wait until the table's watermark has passed their place: then everything that holds there is in the worker's
//! versions of the table, which its operator fills and all enrichments share. So a replay finds what the live run
//! found. Rows leave with the time, place and rank that they came with.
//!
//! The second input is the table's changes, for its frontier alone; rows of it are dropped unseen.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use arrow_array::ArrayRef;
use timely::dataflow::channels::pact::DistributorPact;

use super::chain::key_by;
use super::counters::{Counters, Tally};
use super::driven::{Packets, drive};
use super::keeper::Site;
use super::order::{Clock, Runs};
use super::versions::Shared;
use super::window::EMIT_ROWS;
use crate::data::array::array_of_values;
use crate::data::key::{decode_keys, encode_row, has_null};
use crate::data::{Batch, DataType, Value};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::dataflow::exchange::ByKey;
use crate::expr::Expr;
use crate::plan::physical::Lookup;
use crate::state::entries::{Durable, EVERY_WORKER, Entries, RestoreError, SavedEntry, Worker};
use crate::state::scratch::Spill;

/// The input of the rows; the other one is the table's.
const ROWS: usize = 0;

/// See the module's doc.
pub struct Enriched {
    on_types: Vec<DataType>,
    /// The columns of the table's rows that are appended.
    fields: Vec<usize>,
    required: bool,
    /// Types of the columns that the table's rows are made of.
    table_types: Vec<DataType>,
    /// By field: what stands in for the table's row where there is none.
    missing: Vec<Vec<u8>>,
    versions: Shared,
    /// Tells the table which places are still to be looked up.
    position: Rc<Cell<i64>>,
    waiting: Runs,
    /// Rows whose turn has come, each batch with how many of it have been looked up.
    ready: VecDeque<(Batch, usize)>,
    rows_at_once: usize,
    counters: Arc<Counters>,
}

impl Enriched {
    /// Of a table whose rows have columns of `table_types`.
    pub fn new(lookup: &Lookup, table_types: Vec<DataType>, versions: Shared, counters: Arc<Counters>) -> Enriched {
        let position = versions.borrow_mut().reader();
        Enriched {
            on_types: lookup.on.iter().map(Expr::data_type).collect(),
            fields: lookup.fields.iter().map(|(column, _)| *column).collect(),
            required: lookup.required,
            missing: lookup.fields.iter().map(|field| missing_row(field, &table_types)).collect(),
            table_types,
            versions,
            position,
            waiting: Runs::new(Clock::Place),
            ready: VecDeque::new(),
            rows_at_once: EMIT_ROWS,
            counters,
        }
    }

    fn look_up(&mut self, batch: Batch, out: &mut dyn Outlet<Batch>) {
        let keys = batch.keys.clone().expect("rows are keyed before a keyed operator");
        let mut slots = Vec::with_capacity(batch.len());
        self.versions.borrow_mut().find(&keys, 0..batch.len(), &mut slots);
        if self.on_types.iter().any(|ty| ty.nullable) {
            let nulls = (0..batch.len()).filter(|row| has_null(keys.key(*row), &self.on_types));
            nulls.for_each(|row| slots[row] = None);
        }
        let versions = self.versions.borrow();
        let places = batch.places().clone();
        let found = slots.iter().zip(places.iter()).map(|(slot, at)| versions.row(slot.as_ref().copied()?, *at));
        let mut rows: Vec<Option<&[u8]>> = found.collect();
        let batch = if self.required {
            let matched: Vec<u32> = (0..rows.len() as u32).filter(|row| rows[*row as usize].is_some()).collect();
            self.counters.add_unmatched(rows.len() - matched.len());
            rows.retain(Option::is_some);
            if rows.len() == batch.len() { batch } else { batch.take(&matched) }
        } else {
            batch
        };
        if batch.is_empty() {
            return;
        }
        let mut columns = batch.columns.clone();
        for (field, missing) in self.fields.iter().zip(&self.missing) {
            let rows = rows.iter().map(|row| row.unwrap_or(missing));
            columns.push(decode_keys(rows, &self.table_types, *field));
        }
        self.counters.add_out(batch.len());
        out.send(0, Batch { columns, ..batch });
    }
}

/// The encoded row of which one field has its default.
fn missing_row((field, default): &(usize, Expr), types: &[DataType]) -> Vec<u8> {
    let mut values = vec![Value::Null; types.len()];
    let Expr::Literal { value, .. } = default else { unreachable!("defaults are literals") };
    values[*field] = value.clone();
    let column = |(value, ty): (&Value, &DataType)| -> (ArrayRef, DataType) {
        (array_of_values(ty, std::slice::from_ref(value)), ty.clone())
    };
    let columns: Vec<(ArrayRef, DataType)> = values.iter().zip(types).map(column).collect();
    let mut bytes = Vec::new();
    encode_row(&columns, 0, &mut bytes);
    bytes
}

impl Core for Enriched {
    type Rows = Batch;

    fn apply(&mut self, input: usize, batch: Batch, _: &mut dyn Outlet<Batch>) {
        if input == ROWS {
            self.counters.add_in(batch.len());
            self.waiting.push(batch);
        }
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        if self.ready.is_empty() {
            self.ready = self.waiting.release(watermark).into_iter().map(|batch| (batch, 0)).collect();
        }
        let mut left = self.rows_at_once;
        while let Some((batch, from)) = self.ready.pop_front() {
            let rows = left.min(batch.len() - from);
            self.look_up(batch.slice(from, rows), out);
            if from + rows < batch.len() {
                self.ready.push_front((batch, from + rows));
            }
            left -= rows;
            if left == 0 && !self.ready.is_empty() {
                return Progress::Yielded;
            }
        }
        self.position.set(watermark);
        self.counters.set_state(self.waiting.len(), self.waiting.bytes());
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        0
    }
}

/// The rows that wait; the versions are the table's to save.
impl Durable for Enriched {
    fn track(&mut self, worker: Worker) {
        self.waiting.track(worker);
    }

    fn begin_save(&mut self, full: bool) {
        self.waiting.begin_save(full);
    }

    fn save(&mut self, _: usize, out: &mut Entries) -> bool {
        self.waiting.save_slice(out)
    }

    fn expect(&mut self, _: usize) {}

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        if entry.group != EVERY_WORKER {
            return Err(RestoreError::Damaged("rows that wait for a table belong to no key"));
        }
        self.waiting.restore_own(entry)
    }

    fn spill_to(&mut self, _: &Arc<Spill>) {}

    fn shed(&mut self) {}

    fn take_ahead(&mut self) -> Entries {
        Entries::default()
    }
}

/// A table as an enrichment reads it: its changes, its versions, and the types of its columns.
pub struct TableParts<'scope> {
    pub changes: Packets<'scope>,
    pub versions: Shared,
    pub types: Vec<DataType>,
}

/// Adds the operator.
pub fn enrich<'scope>(
    name: &str,
    input: Packets<'scope>,
    table: TableParts<'scope>,
    lookup: &Lookup,
    state: &str,
    tally: &Arc<Tally>,
    site: Site<'_>,
) -> Packets<'scope> {
    let counters = tally.counters(site.keeping.epoch);
    let key_counters = tally.counters(site.keeping.epoch);
    let rows = key_by(&format!("{name} key"), input, lookup.on.clone(), None, key_counters);
    let mut core = Enriched::new(lookup, table.types, table.versions, counters.clone());
    if site.chaos.is_on() {
        core.rows_at_once = 2;
    }
    let by_key = |_: usize| ByKey::default();
    let inputs = vec![(rows, DistributorPact(by_key)), (table.changes, DistributorPact(by_key))];
    let keeper = site.keeper(state, &mut core, counters);
    drive(name, inputs, 1, core, keeper, site.gauge, site.chaos).remove(0)
}
