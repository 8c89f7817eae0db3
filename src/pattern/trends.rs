//! Aggregates over all matches of a pattern, without making them.
//!
//! Under `skip_till_any`, with conditions that look at the row alone, how many partial matches stand in a state is all
//! that the next row asks, and a sum over them goes the same way: a row adds what stands in a state to what stands in the
//! next. So a row costs as much as there are first rows within `within`, however many matches they make; without
//! `within` all first rows are counted as one. The idea is that of GRETA (Poppe et al., VLDB 2017).
//!
//! Counts and sums are integers of any size, and are rounded once, when they are emitted.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array};

use super::automaton::{Move, TooLarge};
use super::bytes::{damaged, put, take, take_byte};
use super::exact::{Exact, Sum};
use super::keyed::PerKey;
use super::prepared::Prepared;
use super::program::Program;
use super::{Pattern, Trend};
use crate::data::key::decode_keys;
use crate::data::{Batch, DataType, Type};
use crate::expr::Errors;
use crate::expr::aggregate::StateError;

const VERSION: u8 = 1;

/// See the module's doc.
pub struct Trends {
    program: Program,
    trends: Vec<Trend>,
    within_ns: Option<i64>,
    /// Of what the sums of `trends` are: a step, and which of its kept values.
    sums: Vec<(usize, usize)>,
    /// What a row adds to others, before any of it is added; the first so many are in use.
    deltas: Vec<(u16, Tally)>,
    used: usize,
}

/// All partial matches that stand in one state.
#[derive(Clone, Debug, Default)]
struct Tally {
    count: Exact,
    /// As the sums of the trends.
    sums: Vec<Sum>,
}

/// What is known of a key.
#[derive(Debug, Default)]
pub struct KeyTrends {
    starts: VecDeque<Start>,
}

/// All partial matches whose first row has one time.
#[derive(Debug)]
struct Start {
    time: i64,
    /// By state.
    tallies: Vec<Tally>,
}

/// All matches that became certain at one moment.
#[derive(Debug)]
pub struct Settled {
    time: i64,
    tally: Tally,
}

impl Start {
    fn is_empty(&self) -> bool {
        self.tallies.iter().all(|tally| tally.count.is_zero())
    }
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.count.add(&other.count);
        self.sums.resize_with(self.sums.len().max(other.sums.len()), Sum::default);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, other)| sum.add(other));
    }
}

impl Trends {
    pub fn new(pattern: &Pattern, trends: &[Trend]) -> Result<Trends, TooLarge> {
        let mut program = Program::new(pattern)?;
        let mut sums = Vec::new();
        for trend in trends {
            if let Trend::Sum { step, value } = trend {
                let kept = &mut program.steps[*step].kept;
                let position = kept.iter().position(|e| e == value).unwrap_or_else(|| {
                    kept.push(value.clone());
                    kept.len() - 1
                });
                sums.push((*step, position));
            }
        }
        let trends = trends.to_vec();
        Ok(Trends { program, trends, within_ns: pattern.within_ns, sums, deltas: Vec::new(), used: 0 })
    }

    /// Notes that the partial matches of `from`, each with one more row, taken by `step`, are to stand in state `to`.
    fn lengthen(&mut self, from: &Tally, step: usize, to: u16, rows: &Prepared<'_>, row: usize) {
        if self.used == self.deltas.len() {
            self.deltas.push((0, Tally::default()));
        }
        let (into, tally) = &mut self.deltas[self.used];
        self.used += 1;
        *into = to;
        tally.count.clone_from(&from.count);
        tally.sums.clone_from(&from.sums);
        tally.sums.resize_with(self.sums.len(), Sum::default);
        for (sum, (of, kept)) in tally.sums.iter_mut().zip(&self.sums) {
            if *of == step {
                sum.add_value(&rows.kept_value(step, *kept, row), &from.count);
            }
        }
    }

    /// Does what a row does to the partial matches of one time; those that it completes are added to `done`. Tells
    /// whether it ended any.
    fn advance(&mut self, start: &mut Start, rows: &Prepared<'_>, row: usize, done: &mut Tally) -> bool {
        let fits = rows.fits[row];
        let mut has_ended = false;
        for (state, tally) in start.tallies.iter_mut().enumerate().skip(1) {
            if self.program.interest[state] & fits == 0 || tally.count.is_zero() {
                continue;
            }
            for i in 0..self.program.automaton.states[state].moves.len() {
                match self.program.automaton.states[state].moves[i] {
                    Move::Take { step, to } if fits >> step & 1 == 1 => self.lengthen(tally, step, to, rows, row),
                    Move::Watch { step } if fits >> step & 1 == 1 => {
                        *tally = Tally::default();
                        has_ended = true;
                        break;
                    }
                    Move::Take { .. } | Move::Watch { .. } => {}
                }
            }
        }
        self.enter_all(start, done);
        has_ended
    }

    fn enter_all(&mut self, start: &mut Start, done: &mut Tally) {
        for (to, tally) in &self.deltas[..self.used] {
            self.enter(start, *to, tally, done);
        }
        self.used = 0;
    }

    fn enter(&self, start: &mut Start, to: u16, tally: &Tally, done: &mut Tally) {
        let state = &self.program.automaton.states[to as usize];
        match state.accepts && state.moves.is_empty() {
            true => done.add(tally),
            false => start.tallies[to as usize].add(tally),
        }
    }

    fn begin(&mut self, key: &mut KeyTrends, rows: &Prepared<'_>, row: usize, done: &mut Tally) {
        let (fits, time) = (rows.fits[row], rows.batch.time[row]);
        if self.program.interest[0] & fits == 0 {
            return;
        }
        // Without `within` it does not matter when a match began.
        let is_known = key.starts.back().is_some_and(|s| s.time == time || self.within_ns.is_none());
        if !is_known {
            let tallies = vec![Tally::default(); self.program.automaton.states.len()];
            key.starts.push_back(Start { time, tallies });
        }
        let one = Tally { count: Exact::ONE, sums: Vec::new() };
        for i in 0..self.program.automaton.states[0].moves.len() {
            if let Move::Take { step, to } = self.program.automaton.states[0].moves[i]
                && fits >> step & 1 == 1
            {
                self.lengthen(&one, step, to, rows, row);
            }
        }
        self.enter_all(key.starts.back_mut().expect("it was just looked for"), done);
    }
}

impl PerKey for Trends {
    type Key = KeyTrends;
    type Settled = Settled;

    fn prepare<'a>(&self, batch: &'a Batch, errors: &'a Errors) -> Prepared<'a> {
        Prepared::new(&self.program, batch, errors)
    }

    fn starts(&self, fits: u64) -> bool {
        self.program.interest[0] & fits != 0
    }

    fn is_strict(&self) -> bool {
        false
    }

    fn row(&mut self, key: &mut KeyTrends, rows: &Prepared<'_>, row: usize, out: &mut Vec<Settled>) {
        let time = rows.batch.time[row];
        self.expire(key, time, out);
        let mut done = Tally::default();
        let mut has_ended = false;
        for start in &mut key.starts {
            has_ended |= self.advance(start, rows, row, &mut done);
        }
        self.begin(key, rows, row, &mut done);
        if !done.count.is_zero() {
            out.push(Settled { time, tally: done });
        }
        // Nothing goes from the beginning of a match but with a negation, or by a match at once.
        let first_completes = key.starts.back().is_some_and(|start| start.is_empty());
        if has_ended || first_completes {
            key.starts.retain(|start| !start.is_empty());
        }
    }

    fn expire(&mut self, key: &mut KeyTrends, now: i64, out: &mut Vec<Settled>) {
        let Some(within_ns) = self.within_ns else {
            if now == i64::MAX {
                key.starts.clear();
            }
            return;
        };
        while key.starts.front().is_some_and(|start| start.time.saturating_add(within_ns) <= now) {
            let Some(start) = key.starts.pop_front() else { return };
            let mut tally = Tally::default();
            for (state, waiting) in self.program.automaton.states.iter().zip(&start.tallies) {
                if state.waits() {
                    tally.add(waiting);
                }
            }
            if !tally.count.is_zero() {
                out.push(Settled { time: start.time.saturating_add(within_ns), tally });
            }
        }
    }

    fn has_deadlines(&self) -> bool {
        self.within_ns.is_some()
    }

    fn deadline(&self, key: &KeyTrends) -> Option<i64> {
        let within_ns = self.within_ns?;
        key.starts.front().map(|start| start.time.saturating_add(within_ns))
    }

    fn is_empty(&self, key: &KeyTrends) -> bool {
        key.starts.is_empty()
    }

    fn key_bytes(&self, key: &KeyTrends) -> usize {
        let tally = size_of::<Tally>() + self.sums.len() * size_of::<Sum>();
        key.starts.capacity() * size_of::<Start>() + key.starts.len() * self.program.automaton.states.len() * tally
    }

    fn bytes(&self) -> usize {
        0
    }

    fn drop_key(&mut self, _: KeyTrends) {}

    fn encode(&self, key: &KeyTrends, out: &mut Vec<u8>) {
        out.push(VERSION);
        put(key.starts.len() as u64, out);
        for start in &key.starts {
            put(start.time as u64, out);
            for tally in &start.tallies {
                tally.count.encode(out);
                put(tally.sums.len() as u64, out);
                tally.sums.iter().for_each(|sum| sum.encode(out));
            }
        }
    }

    fn decode(&mut self, bytes: &mut &[u8]) -> Result<KeyTrends, StateError> {
        if take_byte(bytes)? != VERSION {
            return Err(damaged("it is of another version"));
        }
        let mut key = KeyTrends::default();
        for _ in 0..take(bytes)? {
            let time = take(bytes)? as i64;
            let mut tallies = Vec::with_capacity(self.program.automaton.states.len());
            for _ in 0..self.program.automaton.states.len() {
                let count = Exact::decode(bytes)?;
                let sums = (0..take(bytes)?).map(|_| Sum::decode(bytes)).collect::<Result<_, _>>()?;
                tallies.push(Tally { count, sums });
            }
            key.starts.push_back(Start { time, tallies });
        }
        Ok(key)
    }

    fn gives_keys(&self) -> bool {
        self.trends.iter().any(|trend| matches!(trend, Trend::Key { .. }))
    }

    fn columns(&self, key_types: &[DataType], settled: &[Settled], keys: &[&[u8]], errors: &Errors) -> Batch {
        let mut sum = 0;
        let int = |value: Option<i64>| {
            if value.is_none() {
                errors.add(1);
            }
            value
        };
        let mut column = |trend: &Trend| -> ArrayRef {
            match trend {
                Trend::Key { part, .. } => decode_keys(keys.iter().copied(), key_types, *part),
                Trend::Count => Arc::new(settled.iter().map(|s| int(s.tally.count.to_int())).collect::<Int64Array>()),
                Trend::Sum { value, .. } => {
                    let sums = settled.iter().map(|s| s.tally.sums.get(sum).filter(|sum| !sum.is_empty()));
                    let ty = value.data_type().ty;
                    let array: ArrayRef = match ty {
                        Type::Float => Arc::new(sums.map(|s| s.map(Sum::to_float)).collect::<Float64Array>()),
                        _ => Arc::new(sums.map(|s| s.and_then(|s| int(s.to_int()))).collect::<Int64Array>()),
                    };
                    sum += 1;
                    array
                }
            }
        };
        let columns = self.trends.iter().map(&mut column).collect();
        Batch { columns, time: settled.iter().map(|s| s.time).collect(), ..Batch::default() }
    }
}
