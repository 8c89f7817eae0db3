//! The Nexmark auction: people, auctions and bids in a proportion of 1 : 3 : 46, as one partition.
//!
//! A batch holds rows of all three types; a column that a type does not have is null in its rows, and
//! `event_type` says which is which. The position is the number of the event.
//!
//! Event times are computed here, and exactly: the generator's own are single-precision floats, which
//! no longer tell neighbours apart after some millions of events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::builder::{Int64Builder, StringBuilder, TimestampMillisecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;

use crate::connector::partition::{BLOCK_BYTES, BlockReader, Polled, ReadError, Waker};
use crate::connector::spec::GeneratorKind;
use crate::connector::{Block, BlockContext, BlockData};
use crate::data::{Field, Schema, Type};

/// 2015-07-15T00:00:00Z, the beginning of the auction in ms; always the same, so that a run can be
/// repeated.
const BASE_TIME_MS: u64 = 1_436_918_400_000;
/// Events per second of event time, unless a rate is given.
const EVENTS_PER_S: u64 = 10_000;
/// Ids that one seed has for itself. A multiple of 50, the length of the pattern of types.
const IDS_PER_SEED: u64 = 50 << 20;
/// About what a row is in memory.
const ROW_BYTES: usize = 256;
/// How often a limited rate is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Generates the events `0 ..` of a seed.
pub struct NexmarkReader {
    events: EventGenerator,
    config: NexmarkConfig,
    limit: u64,
    rate: Option<Rate>,
    events_per_s: u64,
    block_rows: u64,
    index: u64,
    next: u64,
}

/// Lets through so many events per second of wall-clock time.
struct Rate {
    per_s: u64,
    since: Instant,
    /// The event that was next at `since`.
    first: u64,
    /// Ends the thread that wakes the reader.
    stop: Arc<AtomicBool>,
}

/// The event types with their fields, as a program would declare them.
pub fn nexmark_types() -> [(&'static str, Schema); 3] {
    let schema = |fields: &[(&str, Type)]| {
        Schema::new(fields.iter().map(|(name, ty)| Field::new(*name, ty.clone().required())).collect())
    };
    let (int, str, time) = (Type::Int, Type::Str, Type::Timestamp);
    let person = [
        ("date_time", time.clone()),
        ("id", int.clone()),
        ("name", str.clone()),
        ("email_address", str.clone()),
        ("credit_card", str.clone()),
        ("city", str.clone()),
        ("state", str.clone()),
        ("extra", str.clone()),
    ];
    let auction = [
        ("date_time", time.clone()),
        ("id", int.clone()),
        ("item_name", str.clone()),
        ("description", str.clone()),
        ("initial_bid", int.clone()),
        ("reserve", int.clone()),
        ("expires", time.clone()),
        ("seller", int.clone()),
        ("category", int.clone()),
        ("extra", str.clone()),
    ];
    let bid = [
        ("date_time", time),
        ("auction", int.clone()),
        ("bidder", int.clone()),
        ("price", int),
        ("channel", str.clone()),
        ("url", str.clone()),
        ("extra", str),
    ];
    [("Person", schema(&person)), ("Auction", schema(&auction)), ("Bid", schema(&bid))]
}

impl NexmarkReader {
    /// `limit` is the number of events; `rate_per_s` holds them back to so many per second.
    pub fn open(
        kind: GeneratorKind,
        seed: u64,
        limit: Option<u64>,
        rate_per_s: Option<u64>,
        waker: Waker,
    ) -> Result<NexmarkReader, ReadError> {
        let GeneratorKind::Nexmark = kind;
        let config = NexmarkConfig {
            base_time: BASE_TIME_MS,
            first_event_id: ((seed & u32::MAX as u64) * IDS_PER_SEED) as usize,
            ..NexmarkConfig::default()
        };
        let rate = rate_per_s.map(|per_s| Rate::start(per_s.max(1), waker)).transpose();
        Ok(NexmarkReader {
            events: EventGenerator::new(config.clone()),
            config,
            limit: limit.unwrap_or(u64::MAX),
            rate: rate.map_err(|e| ReadError::io("generator", e))?,
            events_per_s: rate_per_s.unwrap_or(EVENTS_PER_S).max(1),
            block_rows: (BLOCK_BYTES / ROW_BYTES) as u64,
            index: 0,
            next: 0,
        })
    }

    fn time_ms(&self, event: u64) -> u64 {
        BASE_TIME_MS + (event as u128 * 1000 / self.events_per_s as u128) as u64
    }

    fn generate(&mut self, rows: u64) -> RecordBatch {
        let mut columns = Columns::default();
        for number in self.next..self.next + rows {
            let time = self.time_ms(number);
            let event = self.events.next().expect("the generator never ends");
            // What the generator made of the time moves the expiry along with it.
            let shift = time as i64 - event.timestamp() as i64;
            columns.push(event, time as i64, shift);
        }
        columns.finish()
    }
}

impl BlockReader for NexmarkReader {
    fn poll_block(&mut self) -> Result<Polled, ReadError> {
        if self.next >= self.limit {
            return Ok(Polled::End);
        }
        let allowed = self.rate.as_ref().map_or(u64::MAX, |rate| rate.allowed(self.next));
        let rows = self.block_rows.min(self.limit - self.next).min(allowed);
        if rows == 0 {
            return Ok(Polled::Pending);
        }
        let (index, position) = (self.index, self.next);
        let data = BlockData::Rows(self.generate(rows));
        self.index += 1;
        self.next += rows;
        Ok(Polled::Block(Block { index, position, context: BlockContext::Nothing, data }))
    }

    fn set_target_bytes(&mut self, bytes: usize) {
        self.block_rows = (bytes / ROW_BYTES).max(1) as u64;
    }

    fn seek(&mut self, position: u64) -> Result<(), ReadError> {
        self.events = EventGenerator::new(self.config.clone()).with_offset(position);
        (self.index, self.next) = (0, position);
        if let Some(rate) = &mut self.rate {
            (rate.since, rate.first) = (Instant::now(), position);
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.next
    }

    fn size_bytes(&self) -> Option<u64> {
        (self.limit < u64::MAX).then(|| self.limit * ROW_BYTES as u64)
    }

    fn read_bytes(&self) -> u64 {
        self.next * ROW_BYTES as u64
    }
}

impl Rate {
    fn start(per_s: u64, waker: Waker) -> std::io::Result<Rate> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::Builder::new().name("pace generator".to_string()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                waker();
            }
        })?;
        Ok(Rate { per_s, since: Instant::now(), first: 0, stop })
    }

    /// How many events, from `next` on, may be generated by now.
    fn allowed(&self, next: u64) -> u64 {
        let due = self.since.elapsed().as_nanos() * self.per_s as u128 / 1_000_000_000;
        (self.first + due as u64).saturating_sub(next)
    }
}

impl Drop for Rate {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The columns of a batch of all three types.
#[derive(Default)]
struct Columns {
    event_type: StringBuilder,
    date_time: TimestampMillisecondBuilder,
    expires: TimestampMillisecondBuilder,
    extra: StringBuilder,
    ints: [Int64Builder; INTS.len()],
    strings: [StringBuilder; STRINGS.len()],
}

const INTS: [&str; 8] = ["id", "initial_bid", "reserve", "seller", "category", "auction", "bidder", "price"];
const STRINGS: [&str; 9] =
    ["name", "email_address", "credit_card", "city", "state", "item_name", "description", "channel", "url"];

impl Columns {
    fn push(&mut self, event: Event, time_ms: i64, shift_ms: i64) {
        self.date_time.append_value(time_ms);
        let int = |v: usize| Some(v as i64);
        match event {
            Event::Person(p) => {
                self.common("Person", None, &p.extra);
                self.ints([int(p.id), None, None, None, None, None, None, None]);
                let texts = [p.name, p.email_address, p.credit_card, p.city, p.state];
                self.strings(0, &texts);
            }
            Event::Auction(a) => {
                self.common("Auction", Some(a.expires as i64 + shift_ms), &a.extra);
                let (bid, reserve) = (int(a.initial_bid), int(a.reserve));
                self.ints([int(a.id), bid, reserve, int(a.seller), int(a.category), None, None, None]);
                self.strings(5, &[a.item_name, a.description]);
            }
            Event::Bid(b) => {
                self.common("Bid", None, &b.extra);
                self.ints([None, None, None, None, None, int(b.auction), int(b.bidder), int(b.price)]);
                self.strings(7, &[b.channel, b.url]);
            }
        }
    }

    fn common(&mut self, event_type: &str, expires_ms: Option<i64>, extra: &str) {
        self.event_type.append_value(event_type);
        self.expires.append_option(expires_ms);
        self.extra.append_value(extra);
    }

    fn ints(&mut self, values: [Option<i64>; INTS.len()]) {
        self.ints.iter_mut().zip(values).for_each(|(column, value)| column.append_option(value));
    }

    /// `values` belong to the string columns from `first` on; the others get nulls.
    fn strings(&mut self, first: usize, values: &[String]) {
        for (i, column) in self.strings.iter_mut().enumerate() {
            column.append_option(i.checked_sub(first).and_then(|i| values.get(i)));
        }
    }

    fn finish(mut self) -> RecordBatch {
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("event_type", Arc::new(self.event_type.finish())),
            ("date_time", Arc::new(self.date_time.finish().with_timezone("UTC"))),
            ("expires", Arc::new(self.expires.finish().with_timezone("UTC"))),
            ("extra", Arc::new(self.extra.finish())),
        ];
        for (name, column) in INTS.iter().zip(&mut self.ints) {
            columns.push((name, Arc::new(column.finish())));
        }
        for (name, column) in STRINGS.iter().zip(&mut self.strings) {
            columns.push((name, Arc::new(column.finish())));
        }
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
            .expect("all columns got a value per event")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(seed: u64, block_bytes: usize, from: u64, limit: u64) -> RecordBatch {
        let mut reader = NexmarkReader::open(GeneratorKind::Nexmark, seed, Some(limit), None, Arc::new(|| {})).unwrap();
        reader.set_target_bytes(block_bytes);
        reader.seek(from).unwrap();
        let mut batches = Vec::new();
        while let Polled::Block(block) = reader.poll_block().unwrap() {
            let BlockData::Rows(batch) = block.data else { panic!("events are rows") };
            batches.push(batch);
        }
        arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap()
    }

    #[test]
    fn events_are_determined_by_the_seed_alone() {
        let all = read(7, BLOCK_BYTES, 0, 1000);
        assert_eq!(all.num_rows(), 1000);
        assert_eq!(read(7, 1, 0, 1000), all);
        assert_eq!(read(7, 10_000, 990, 1000), all.slice(990, 10));
        assert_ne!(read(8, BLOCK_BYTES, 0, 1000), all);
    }

    #[test]
    fn every_declared_field_is_there_where_its_type_is() {
        use arrow_array::Array;
        use arrow_array::cast::AsArray;
        let batch = read(0, BLOCK_BYTES, 0, 100);
        let names = batch.column_by_name("event_type").unwrap().as_string::<i32>().clone();
        assert_eq!(names.iter().flatten().filter(|n| *n == "Bid").count(), 92);
        for (name, schema) in nexmark_types() {
            for field in &schema.fields {
                let column = batch.column_by_name(&field.name).unwrap();
                let present = (0..100).filter(|&i| names.value(i) == name).all(|i| column.is_valid(i));
                assert!(present, "{name}.{}", field.name);
            }
        }
    }

    #[test]
    fn times_are_exact_after_many_events() {
        let batch = read(0, BLOCK_BYTES, 100_000_000, 100_000_020);
        use arrow_array::cast::AsArray;
        use arrow_array::types::TimestampMillisecondType;
        let times = batch.column_by_name("date_time").unwrap().as_primitive::<TimestampMillisecondType>().clone();
        assert_eq!((times.value(0), times.value(19)), (1_436_928_400_000, 1_436_928_400_001));
    }
}
