//! The driver of stateful operators against the model of its protocol: sources that change epoch
//! independently, two keyed windows one after the other, crashes, and restarts with another number of
//! workers. What is emitted must be what a sort and a loop give.
//!
//! The network is simulated: messages of one sender stay in order, everything else is chosen at random
//! from a seed that a failure prints. The operators run the engine's own [`Driver`].

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use varpulis_runtime::dataflow::align::{Core, Driver, Held, Keeper, Outlet, Progress};
use varpulis_runtime::dataflow::time::Time;

const SIZE_FIRST: i64 = 10;
const SIZE_SECOND: i64 = 30;
const OUT_OF_ORDER: i64 = 3;
/// Schedules in a normal run; each is run without crashes and with three.
const SCHEDULES: u64 = 10_000;

/// (time, place, key, value)
type Row = (i64, i64, u64, i64);
/// (window end, key) -> sum
type State = BTreeMap<(i64, u64), i64>;
type Message = (Time, Vec<Row>);

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }
}

fn partitions(random: &mut Random) -> Vec<Vec<(i64, u64)>> {
    let count = random.range(1, 3);
    let mut out = Vec::new();
    for _ in 0..count {
        let mut clock = random.range(0, 20) as i64;
        let mut rows = Vec::new();
        for _ in 0..random.range(5, 25) {
            clock += random.range(0, 4) as i64;
            let behind = [0, 0, 0, 1, 3, 6, 15][random.below(7) as usize];
            rows.push(((clock - behind).max(0), random.range(0, 3)));
        }
        out.push(rows);
    }
    out
}

fn placed(rows: &[(i64, u64)]) -> Vec<Row> {
    let mut greatest = i64::MIN;
    let mut out = Vec::new();
    for &(time, key) in rows {
        out.push((time, time.max(greatest.saturating_sub(OUT_OF_ORDER)), key, 1));
        greatest = greatest.max(time);
    }
    out
}

fn end_of(time: i64, size: i64) -> i64 {
    (time.div_euclid(size) + 1) * size
}

/// The answer by definition.
fn oracle(parts: &[Vec<(i64, u64)>], lateness: i64) -> Vec<(i64, u64, i64)> {
    let mut first = State::new();
    for (time, at, key, value) in parts.iter().flat_map(|p| placed(p)) {
        let end = end_of(time, SIZE_FIRST);
        if end + lateness > at {
            *first.entry((end, key)).or_default() += value;
        }
    }
    let mut second = State::new();
    for ((end, key), value) in first {
        *second.entry((end_of(end - 1, SIZE_SECOND), key)).or_default() += value;
    }
    second.into_iter().map(|((end, key), value)| (end, key, value)).collect()
}

/// A window operator in ten lines.
struct Window {
    size: i64,
    lateness: i64,
    state: State,
    random: Random,
}

/// Copies of a window's state by epoch.
struct Copies {
    saved: Rc<RefCell<BTreeMap<u64, State>>>,
    /// What is being saved, and of which epoch.
    saving: Option<(u64, State)>,
    random: Random,
}

impl Keeper<Window> for Copies {
    fn begin(&mut self, core: &mut Window, epoch: u64, _: i64) {
        let before = self.saving.replace((epoch, core.state.clone()));
        assert!(before.is_none(), "an epoch ends while the one before is being saved");
    }

    fn save(&mut self, _: &mut Window) -> Progress {
        if self.random.below(4) == 0 {
            return Progress::Yielded;
        }
        let (epoch, state) = self.saving.take().expect("something is to be saved");
        self.saved.borrow_mut().insert(epoch, state);
        Progress::Done
    }

    fn tend(&mut self, _: &mut Window, _: u64) {}
}

impl Core for Window {
    type Rows = Vec<Row>;

    fn apply(&mut self, _: usize, rows: Vec<Row>, _: &mut dyn Outlet<Vec<Row>>) {
        for (time, at, key, value) in rows {
            let end = end_of(time, self.size);
            if end + self.lateness > at {
                *self.state.entry((end, key)).or_default() += value;
            }
        }
    }

    fn fire(&mut self, watermark: i64, out: &mut dyn Outlet<Vec<Row>>) -> Progress {
        while let Some((&(end, key), &value)) = self.state.first_key_value() {
            if end.saturating_add(self.lateness) > watermark {
                break;
            }
            if self.random.below(8) == 0 {
                return Progress::Yielded;
            }
            self.state.pop_first();
            out.send(0, vec![(end - 1, end - 1, key, value)]);
        }
        Progress::Done
    }

    fn output_delay_ns(&self) -> i64 {
        self.lateness
    }
}

/// What the driver sends and holds, as the simulated network sees it.
struct Port {
    held: Option<Time>,
    sent: Vec<(Time, Row)>,
}

impl Outlet<Vec<Row>> for Port {
    fn send(&mut self, _: usize, rows: Vec<Row>) {
        let held = self.held.expect("rows are sent while a capability is held");
        for row in rows {
            assert!(row.0 >= held.event, "a row timed {} under {held:?}", row.0);
            self.sent.push((held, row));
        }
    }
}

impl Held<Vec<Row>> for Port {
    fn downgrade(&mut self, to: Time) {
        let held = self.held.expect("a capability that is held");
        assert!(held.epoch <= to.epoch && held.event <= to.event, "{held:?} goes back to {to:?}");
        self.held = Some(to);
    }

    fn close(&mut self) {
        self.held = None;
    }
}

struct Instance {
    driver: Driver<Window, Copies>,
    port: Port,
    saved: Rc<RefCell<BTreeMap<u64, State>>>,
    /// Messages by sender, in order.
    inbox: BTreeMap<usize, VecDeque<Message>>,
}

/// Where a run begins: the epoch, positions and watermarks of the sources, states of the two stages.
#[derive(Clone, Default)]
struct Checkpoint {
    epoch: u64,
    positions: Vec<usize>,
    watermarks: Vec<i64>,
    states: [State; 2],
}

struct Run<'a> {
    random: &'a mut Random,
    parts: Vec<Vec<Row>>,
    workers: usize,
    from: Checkpoint,
    /// The capabilities of the sources.
    sources: Vec<Option<Time>>,
    positions: Vec<usize>,
    wanted: u64,
    /// Epoch -> source -> (position, watermark).
    recorded: BTreeMap<u64, BTreeMap<usize, (usize, i64)>>,
    stages: [Vec<Instance>; 2],
    sink: VecDeque<(Time, Row)>,
    written: BTreeMap<u64, Vec<(i64, u64, i64)>>,
}

impl<'a> Run<'a> {
    fn new(random: &'a mut Random, parts: Vec<Vec<Row>>, from: Checkpoint, lateness: i64) -> Run<'a> {
        let workers = random.range(1, 3) as usize;
        let mut instance = |stage: usize, worker: usize| {
            let saved = Rc::new(RefCell::new(BTreeMap::new()));
            let own = |(k, v): (&(i64, u64), &i64)| (k.1 as usize % workers == worker).then_some((*k, *v));
            let core = Window {
                size: [SIZE_FIRST, SIZE_SECOND][stage],
                lateness: [lateness, 0][stage],
                state: from.states[stage].iter().filter_map(own).collect(),
                random: Random(random.below(u64::MAX)),
            };
            let copies = Copies { saved: saved.clone(), saving: None, random: Random(random.below(u64::MAX)) };
            let held = Time { epoch: from.epoch, event: i64::MIN };
            let driver = Driver::new(core, copies, from.epoch);
            Instance { driver, port: Port { held: Some(held), sent: Vec::new() }, saved, inbox: BTreeMap::new() }
        };
        let stages = [0, 1].map(|stage| (0..workers).map(|w| instance(stage, w)).collect());
        let start = |w: &i64| Some(Time { epoch: from.epoch, event: *w });
        Run {
            parts,
            workers,
            sources: from.watermarks.iter().map(start).collect(),
            positions: from.positions.clone(),
            wanted: from.epoch,
            recorded: BTreeMap::new(),
            stages,
            sink: VecDeque::new(),
            written: BTreeMap::new(),
            from,
            random,
        }
    }

    fn in_flight(&self, stage: usize) -> impl Iterator<Item = Time> {
        self.stages[stage].iter().flat_map(|i| i.inbox.values().flatten().map(|m| m.0))
    }

    /// The frontier at the input of a stage; stage 2 is the sink.
    fn frontier(&self, stage: usize) -> Time {
        let mut all: Vec<Time> = self.sources.iter().flatten().copied().chain(self.in_flight(0)).collect();
        for s in 0..stage.min(2) {
            all.extend(self.stages[s].iter().filter_map(|i| i.port.held));
            if s == 0 && stage >= 1 {
                all.extend(self.in_flight(1));
            }
        }
        if stage == 2 {
            all.extend(self.sink.iter().map(|m| m.0));
        }
        all.into_iter().fold(Time::END, Time::meet)
    }

    fn is_over(&self) -> bool {
        self.sources.iter().all(Option::is_none) && self.stages.iter().flatten().all(|i| i.port.held.is_none())
    }

    fn step(&mut self) {
        let live: Vec<usize> = (0..self.sources.len()).filter(|&p| self.sources[p].is_some()).collect();
        let choice = self.random.below(100);
        if choice < 5 && !live.is_empty() {
            self.wanted += 1;
        } else if choice < 50 && !live.is_empty() {
            let source = live[self.random.below(live.len() as u64) as usize];
            self.step_source(source);
        } else {
            let (stage, worker) = (self.random.below(2) as usize, self.random.below(self.workers as u64) as usize);
            self.step_operator(stage, worker);
        }
        if self.random.below(2) == 0
            && let Some((stamp, row)) = self.sink.pop_front()
        {
            self.written.entry(stamp.epoch).or_default().push((row.0 + 1, row.2, row.3));
        }
    }

    fn step_source(&mut self, p: usize) {
        let held = self.sources[p].expect("a live source");
        let (position, rows) = (self.positions[p], &self.parts[p]);
        if held.epoch < self.wanted && self.random.below(2) == 0 {
            for epoch in held.epoch..self.wanted {
                self.recorded.entry(epoch).or_default().insert(p, (position, held.event));
            }
            self.sources[p] = Some(Time { epoch: self.wanted, ..held });
        } else if position < rows.len() {
            let batch = &rows[position..rows.len().min(position + self.random.range(1, 3) as usize)];
            self.positions[p] = position + batch.len();
            for worker in 0..self.workers {
                let own: Vec<Row> = batch.iter().filter(|r| r.2 as usize % self.workers == worker).copied().collect();
                if !own.is_empty() {
                    self.stages[0][worker].inbox.entry(p).or_default().push_back((held, own));
                }
            }
            let greatest = rows[..self.positions[p]].iter().map(|r| r.0).max().expect("rows were read");
            self.sources[p] = Some(Time { event: held.event.max(greatest - OUT_OF_ORDER), ..held });
        } else if held.epoch == self.wanted && self.random.below(3) == 0 {
            self.sources[p] = None;
        }
    }

    fn step_operator(&mut self, stage: usize, worker: usize) {
        let instance = &mut self.stages[stage][worker];
        if instance.port.held.is_none() {
            return;
        }
        for queue in instance.inbox.values_mut() {
            for (stamp, rows) in queue.drain(..self.random.below(queue.len() as u64 + 1) as usize) {
                instance.driver.receive(stamp, 0, rows, &mut instance.port);
            }
        }
        let frontier = self.frontier(stage);
        let instance = &mut self.stages[stage][worker];
        instance.driver.advance(frontier, &mut instance.port);
        for (stamp, row) in std::mem::take(&mut instance.port.sent) {
            if stage == 0 {
                let target = row.2 as usize % self.workers;
                self.stages[1][target].inbox.entry(worker).or_default().push_back((stamp, vec![row]));
            } else {
                self.sink.push_back((stamp, row));
            }
        }
    }

    /// The newest epoch whose rows are all written and whose states and positions are all saved.
    fn checkpoint(&self) -> Option<Checkpoint> {
        let below = self.frontier(2).epoch.min(self.wanted + 1);
        let epoch = (self.from.epoch..below).rev().find(|epoch| {
            let saved = |i: &Instance| i.saved.borrow().contains_key(epoch);
            let recorded = self.recorded.get(epoch).map_or(0, BTreeMap::len);
            recorded == self.sources.len() && self.stages.iter().flatten().all(saved)
        })?;
        let states = [0, 1].map(|stage: usize| {
            let parts = self.stages[stage].iter().map(|i| i.saved.borrow()[&epoch].clone());
            parts.flatten().collect::<State>()
        });
        let positions = self.recorded[&epoch].values();
        Some(Checkpoint {
            epoch: epoch + 1,
            positions: positions.clone().map(|p| p.0).collect(),
            watermarks: positions.map(|p| p.1).collect(),
            states,
        })
    }
}

/// One input under one random schedule; what was written and what should have been.
fn trial(seed: u64, crashes: u64, lateness: i64) {
    let mut random = Random(seed);
    let parts = partitions(&mut random);
    let expected = oracle(&parts, lateness);
    let rows: Vec<Vec<Row>> = parts.iter().map(|p| placed(p)).collect();
    let mut from =
        Checkpoint { positions: vec![0; rows.len()], watermarks: vec![i64::MIN; rows.len()], ..Default::default() };
    let mut written = Vec::new();
    for attempt in 0..=crashes {
        let crash_after = if attempt < crashes { Some(random.range(20, 200)) } else { None };
        let mut run = Run::new(&mut random, rows.clone(), from.clone(), lateness);
        let mut steps = 0;
        while !run.is_over() && crash_after.is_none_or(|n| steps < n) {
            run.step();
            steps += 1;
            assert!(steps < 1_000_000, "seed {seed}: the run does not end");
        }
        if run.is_over() {
            written.extend(run.written.into_values().flatten());
            written.extend(run.sink.into_iter().map(|(_, row)| (row.0 + 1, row.2, row.3)));
            break;
        }
        if let Some(checkpoint) = run.checkpoint() {
            let committed = std::mem::take(&mut run.written).into_iter().filter(|(e, _)| *e < checkpoint.epoch);
            written.extend(committed.flat_map(|(_, rows)| rows));
            from = checkpoint;
        }
    }
    written.sort_unstable();
    assert_eq!(written, expected, "seed {seed}, {crashes} crashes, lateness {lateness}");
}

#[test]
fn driver_agrees_with_the_model_without_crashes() {
    (0..SCHEDULES).for_each(|seed| trial(seed, 0, 0));
}

#[test]
fn driver_agrees_with_the_model_over_crashes_and_rescaling() {
    (0..SCHEDULES).for_each(|seed| trial(seed, 3, 0));
}

#[test]
fn driver_agrees_with_the_model_when_its_output_is_delayed() {
    (0..SCHEDULES).for_each(|seed| trial(seed, 3, 7));
}
