//! `timer(d)`: a row at every multiple of `d` in event time, as the watermark of the program passes it.
//!
//! Ticks lie between the first and the last place of the program's rows, which do not depend on timing
//! as watermarks do. Rows of all workers are summed up to their least and greatest place before they go
//! to the first worker, where the ticks are made. In a program without any other source ticks follow the
//! clock, for ever.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array};
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::operators::core::Concatenate;
use timely::dataflow::operators::generic::operator::source;

use super::chain::map_batches;
use super::counters::Counters;
use super::driven::{PacketBuilder, Packets, drive};
use super::keeper::Site;
use super::source::now_ns;
use super::window::send_in_slices;
use crate::data::{Batch, Keys};
use crate::dataflow::align::{Core, Outlet, Progress};
use crate::dataflow::exchange::ToFirst;
use crate::dataflow::stop::Stop;
use crate::dataflow::time::Time;
use crate::state::entries::{Durable, EVERY_WORKER, Entries, NEVER, RestoreError, SavedEntry, Worker, take_i64};
use crate::state::scratch::Spill;

/// Adds the operator.
pub fn timer<'scope>(
    scope: Scope<'scope, Time>,
    name: &str,
    state: &str,
    inputs: Vec<Packets<'scope>>,
    period_ns: i64,
    counters: Arc<Counters>,
    site: Site<'_>,
) -> Vec<Packets<'scope>> {
    let spans = inputs.into_iter().map(|input| map_batches(&format!("{name} span"), input, |_, batch| span(batch)));
    let all = scope.concatenate(spans.collect::<Vec<_>>());
    let mut core = Ticks {
        period_ns,
        first: None,
        last: i64::MIN,
        next: None,
        count: 0,
        is_first: true,
        saving: None,
        counters: counters.clone(),
    };
    let keeper = site.keeper(state, &mut core, counters);
    drive(name, vec![(all, DistributorPact(|_: usize| ToFirst))], 1, core, keeper, site.gauge, site.chaos)
}

/// Adds a timer that follows the clock; ticks are made on the first worker.
pub fn clock<'scope>(
    scope: Scope<'scope, Time>,
    name: &str,
    period_ns: i64,
    counters: Arc<Counters>,
    stop: Arc<Stop>,
) -> Vec<Packets<'scope>> {
    let is_first = scope.index() == 0;
    let ticks = source::<Time, PacketBuilder, _, _>(scope, name, |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut held = is_first.then_some(capability);
        let mut next = (now_ns().div_euclid(period_ns) + 1) * period_ns;
        let mut count = 0;
        move |output| {
            let Some(capability) = held.as_mut().filter(|_| !stop.is_requested()) else { return };
            let now = now_ns();
            while next <= now {
                let rows = ticks_at(vec![next], count);
                counters.add_out(rows.len());
                output.session_with_builder(&*capability).give_container(&mut rows.into());
                count += 1;
                next += period_ns;
            }
            capability.downgrade(&Time { epoch: 0, event: next });
            activator.activate_after(Duration::from_nanos((next - now) as u64));
        }
    });
    vec![ticks]
}

/// Rows at `times`, numbered from `first`.
fn ticks_at(times: Vec<i64>, first: i64) -> Batch {
    let numbers: Int64Array = (first..first + times.len() as i64).collect::<Vec<_>>().into();
    let keys = Some(Arc::new(Keys::none(times.len())));
    Batch { columns: vec![Arc::new(numbers) as ArrayRef], time: times.into(), keys, ..Batch::default() }
}

/// The least and the greatest place of a batch, as two rows.
fn span(batch: Batch) -> Batch {
    let places = batch.places();
    let (Some(least), Some(greatest)) = (places.iter().min(), places.iter().max()) else { return Batch::default() };
    Batch { time: vec![*least, *greatest].into(), ..Batch::default() }
}

/// The ticks between the first and the last place.
struct Ticks {
    period_ns: i64,
    /// Of the rows taken in.
    first: Option<i64>,
    last: i64,
    /// The next tick, once the first place is certain.
    next: Option<i64>,
    count: i64,
    /// Whether ticks are made on this worker.
    is_first: bool,
    /// What is to be saved.
    saving: Option<[i64; 4]>,
    counters: Arc<Counters>,
}

impl Core for Ticks {
    type Rows = Batch;

    fn apply(&mut self, _: usize, batch: Batch, _: &mut dyn Outlet<Batch>) {
        for &place in batch.time.iter() {
            self.first = Some(self.first.map_or(place, |f| f.min(place)));
            self.last = self.last.max(place);
        }
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Batch>) -> Progress {
        let Some(first) = self.first.filter(|first| *first < watermark) else { return Progress::Done };
        let mut next = self.next.unwrap_or_else(|| first.div_euclid(self.period_ns) * self.period_ns);
        if next < first {
            next += self.period_ns;
        }
        // At the end of the input the watermark is infinite; the last place is where ticks end.
        let end = if watermark == i64::MAX { self.last + 1 } else { watermark };
        let mut times = Vec::new();
        while next < end {
            times.push(next);
            next += self.period_ns;
        }
        self.next = Some(next);
        if times.is_empty() {
            return Progress::Done;
        }
        let rows = ticks_at(times, self.count);
        self.count += rows.len() as i64;
        send_in_slices(rows, &self.counters, out);
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        0
    }
}

impl Durable for Ticks {
    fn track(&mut self, worker: Worker) {
        self.is_first = worker.index == 0;
    }

    fn begin_save(&mut self, _: bool) {
        let first = self.first.filter(|_| self.is_first);
        self.saving = first.map(|first| [first, self.last, self.next.unwrap_or(i64::MIN), self.count]);
    }

    fn save(&mut self, _: usize, out: &mut Entries) -> bool {
        if let Some(parts) = self.saving.take() {
            out.push(EVERY_WORKER, &[], &[], NEVER, |value| parts.iter().for_each(|p| value.extend(p.to_be_bytes())));
        }
        true
    }

    fn restore(&mut self, entry: &SavedEntry<'_>) -> Result<(), RestoreError> {
        if self.is_first {
            let mut value = entry.value;
            (self.first, self.last) = (Some(take_i64(&mut value)?), take_i64(&mut value)?);
            self.next = Some(take_i64(&mut value)?).filter(|next| *next != i64::MIN);
            self.count = take_i64(&mut value)?;
        }
        Ok(())
    }

    fn expect(&mut self, _: usize) {}

    fn spill_to(&mut self, _: &Arc<Spill>) {}

    fn shed(&mut self) {}

    fn take_ahead(&mut self) -> Entries {
        Entries::default()
    }
}
