//! The runs of a key as bytes, for checkpoints and the scratch.
//!
//! Rows are written once, however many runs share them, and so are the lists that they share. The form begins with a
//! version.

use std::collections::HashMap;
use std::rc::Rc;

use super::bytes::{damaged, put, take, take_byte};
use super::folds::Folds;
use super::program::Program;
use super::run::{KeyRuns, Match, Row, Run, Taken};
use crate::data::Value;
use crate::data::key::{decode_value, encode_exact};
use crate::expr::aggregate::StateError;

const VERSION: u8 = 1;

/// `before` of the first row of a list.
const NOTHING: u64 = u64::MAX;

/// Appends the runs of a key.
pub fn encode(key: &KeyRuns, folds: &Folds, out: &mut Vec<u8>) {
    let mut lists = Lists::default();
    let runs: Vec<u64> = key.runs.iter().map(|run| lists.add(&run.last)).collect();
    let waiting: Vec<u64> = key.waiting.iter().map(|m| lists.add(&m.last)).collect();
    out.push(VERSION);
    put(key.next, out);
    put(lists.rows.len() as u64, out);
    for row in &lists.rows {
        put(row.time as u64, out);
        put(row.ordinal, out);
        put(row.kept.len() as u64, out);
        out.extend_from_slice(&row.kept);
    }
    put(lists.links.len() as u64, out);
    for (row, step, before) in &lists.links {
        put(*row, out);
        put(u64::from(*step), out);
        put(*before, out);
    }
    put(runs.len() as u64, out);
    for (run, last) in key.runs.iter().zip(runs) {
        put(u64::from(run.state), out);
        out.push(run.is_closed.into());
        put(run.start, out);
        put(run.first_time as u64, out);
        put(u64::from(run.rows), out);
        put(last, out);
        run.memories.iter().for_each(|memory| encode_exact(memory, out));
        folds.encode(run.slot, out);
    }
    put(waiting.len() as u64, out);
    for (found, last) in key.waiting.iter().zip(waiting) {
        put(found.start, out);
        put(found.first_time as u64, out);
        put(found.time as u64, out);
        put(u64::from(found.rows), out);
        put(last, out);
    }
}

/// Takes what [`encode`] wrote off the front of `bytes`.
pub fn decode(bytes: &mut &[u8], program: &Program, folds: &mut Folds) -> Result<KeyRuns, StateError> {
    if take_byte(bytes)? != VERSION {
        return Err(damaged("it is of another version"));
    }
    let next = take(bytes)?;
    let mut rows: Vec<Rc<Row>> = Vec::new();
    for _ in 0..take(bytes)? {
        let (time, ordinal, len) = (take(bytes)? as i64, take(bytes)?, take(bytes)?);
        let (kept, rest) = bytes.split_at_checked(len as usize).ok_or_else(|| damaged("it is cut off"))?;
        *bytes = rest;
        rows.push(Rc::new(Row { time, ordinal, kept: kept.into() }));
    }
    let mut links: Vec<Rc<Taken>> = Vec::new();
    for _ in 0..take(bytes)? {
        let (row, step, before) = (take(bytes)?, take(bytes)?, take(bytes)?);
        let row = rows.get(row as usize).ok_or_else(|| damaged("a row is missing"))?.clone();
        if step as usize >= program.steps.len() {
            return Err(damaged("a step is missing"));
        }
        let before = match before {
            NOTHING => None,
            before => Some(link(&links, before)?),
        };
        links.push(Rc::new(Taken { row, step: step as u16, before }));
    }
    let mut key = KeyRuns { next, ..KeyRuns::default() };
    for _ in 0..take(bytes)? {
        let run = decode_run(bytes, &links, program, folds)?;
        key.runs.push(run, program.indexing.as_deref());
    }
    for _ in 0..take(bytes)? {
        let (start, first_time, time) = (take(bytes)?, take(bytes)? as i64, take(bytes)? as i64);
        let (rows, last) = (take(bytes)? as u32, take(bytes)?);
        key.waiting.push_back(Match { start, first_time, time, rows, last: link(&links, last)? });
    }
    Ok(key)
}

fn decode_run(bytes: &mut &[u8], links: &[Rc<Taken>], program: &Program, folds: &mut Folds) -> Result<Run, StateError> {
    let state = take(bytes)?;
    if state as usize >= program.automaton.states.len() {
        return Err(damaged("a state is missing"));
    }
    let is_closed = take_byte(bytes)? == 1;
    let (start, first_time) = (take(bytes)?, take(bytes)? as i64);
    let (rows, last) = (take(bytes)? as u32, take(bytes)?);
    let memories = program.memories.iter().map(|m| decode_value(bytes, &m.data_type()));
    let memories: Box<[Value]> = memories.collect();
    let slot = folds.decode(bytes)?;
    let last = link(links, last)?;
    Ok(Run { state: state as u16, is_closed, start, first_time, rows, last, memories, slot })
}

/// The rows and lists of a key, each once.
#[derive(Default)]
struct Lists<'k> {
    rows: Vec<&'k Row>,
    /// Row, step, and the link before.
    links: Vec<(u64, u16, u64)>,
    row_numbers: HashMap<*const Row, u64>,
    link_numbers: HashMap<*const Taken, u64>,
}

impl<'k> Lists<'k> {
    /// The number of the list's last link; links come after those before them.
    fn add(&mut self, last: &'k Rc<Taken>) -> u64 {
        let mut new = Vec::new();
        let mut before = NOTHING;
        for taken in last.back() {
            if let Some(known) = self.link_numbers.get(&Rc::as_ptr(taken)) {
                before = *known;
                break;
            }
            new.push(taken);
        }
        for taken in new.into_iter().rev() {
            let row = *self.row_numbers.entry(Rc::as_ptr(&taken.row)).or_insert_with(|| {
                self.rows.push(&taken.row);
                self.rows.len() as u64 - 1
            });
            self.links.push((row, taken.step, before));
            before = self.links.len() as u64 - 1;
            self.link_numbers.insert(Rc::as_ptr(taken), before);
        }
        before
    }
}

fn link(links: &[Rc<Taken>], number: u64) -> Result<Rc<Taken>, StateError> {
    links.get(number as usize).cloned().ok_or_else(|| damaged("a row is missing"))
}
