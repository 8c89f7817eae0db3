//! The matcher: what a row does to the runs of its key.
//!
//! A row is applied to each run of its key, and may begin one; runs expire in the order in which they began. Both may
//! make matches certain, which the rule for what comes after a match then emits, drops or lets wait. The matcher itself
//! keeps nothing of a key but the aggregates that conditions ask for, by a slot of each run.

use std::rc::Rc;

use super::automaton::{Move, TooLarge};
use super::folds::Folds;
use super::index::Place;
use super::keyed::PerKey;
use super::output::columns;
use super::prepared::Prepared;
use super::program::Program;
use super::run::{KeyRuns, Match, Row, Run, Taken, in_order};
use super::{AfterMatch, Gives, MemoryValue, Output, Pattern, Selection, saved};
use crate::data::{Batch, DataType, Value};
use crate::expr::Errors;
use crate::expr::aggregate::StateError;

/// See the module's doc.
pub struct Matcher {
    pub program: Program,
    pub within_ns: Option<i64>,
    selection: Selection,
    after_match: AfterMatch,
    max_runs: usize,
    /// Whether partial matches that expire are what is asked for, instead of matches.
    gives_timeouts: bool,
    outputs: Vec<Output>,
    folds: Folds,
    /// The memories of a run that has taken nothing.
    blank: Box<[Value]>,
    /// Runs of which a key had too many, since they were last counted.
    capped: u64,
    /// For a row that makes new runs of runs.
    scratch: Vec<Run>,
    /// For a row that finds runs in an index: their numbers, and where one of them stood and stands.
    found: Vec<u64>,
    before: Vec<Place>,
    after: Vec<Place>,
    done: Vec<Match>,
}

/// A row that is being applied; what is kept of it is made when a run takes it.
struct Applied<'r, 'b> {
    rows: &'r Prepared<'b>,
    row: usize,
    ordinal: u64,
    kept: Vec<(usize, Rc<Row>)>,
}

impl Applied<'_, '_> {
    fn time(&self) -> i64 {
        self.rows.batch.time[self.row]
    }

    fn kept(&mut self, step: usize) -> Rc<Row> {
        if let Some((_, row)) = self.kept.iter().find(|(s, _)| *s == step) {
            return row.clone();
        }
        let kept = self.rows.kept(step, self.row);
        let row = Rc::new(Row { time: self.time(), ordinal: self.ordinal, kept });
        self.kept.push((step, row.clone()));
        row
    }
}

/// What a row does to a run.
enum Outcome {
    Stays,
    Completes,
    Ends,
}

impl Matcher {
    pub fn new(pattern: &Pattern) -> Result<Matcher, TooLarge> {
        let program = Program::new(pattern)?;
        let mut folds = Folds::new(&program);
        let blank = program.memories.iter().enumerate().map(|(i, m)| match &m.value {
            MemoryValue::Last(_) | MemoryValue::First(_) => Value::Null,
            MemoryValue::Count => Value::Int(0),
            MemoryValue::Aggregate(_) => folds.empty(i),
        });
        let blank = blank.collect();
        let outputs = match &pattern.gives {
            Gives::Matches(outputs) | Gives::Timeouts(outputs) => outputs.clone(),
            Gives::Trends(_) => unreachable!("trends are counted, not matched"),
        };
        Ok(Matcher {
            program,
            within_ns: pattern.within_ns,
            selection: pattern.selection,
            after_match: pattern.after_match,
            max_runs: usize::try_from(pattern.max_runs).unwrap_or(usize::MAX),
            gives_timeouts: matches!(pattern.gives, Gives::Timeouts(_)),
            outputs,
            folds,
            blank,
            capped: 0,
            scratch: Vec::new(),
            found: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            done: Vec::new(),
        })
    }

    fn expire_run(&mut self, run: Run, out: &mut Vec<Match>) {
        self.folds.free(run.slot);
        let Some(within_ns) = self.within_ns else { return };
        let time = run.first_time.saturating_add(within_ns);
        let state = &self.program.automaton.states[run.state as usize];
        let ended = Match { start: run.start, first_time: run.first_time, time, rows: run.rows, last: run.last };
        match state.waits() {
            true => self.done.push(ended),
            false if self.gives_timeouts => out.push(ended),
            false => {}
        }
    }

    /// Each run does at most one thing with the row.
    fn advance_each(&mut self, key: &mut KeyRuns, applied: &mut Applied<'_, '_>) {
        let fits = applied.rows.fits[applied.row];
        let is_strict = self.is_strict();
        if key.runs.is_indexed() {
            return self.advance_found(key, applied);
        }
        key.runs.retain_mut(None, |run| {
            if self.program.interest[run.state as usize] & fits == 0 && !is_strict {
                return true;
            }
            match self.advance(run, applied) {
                Outcome::Stays => true,
                Outcome::Ends => {
                    self.folds.free(run.slot);
                    false
                }
                Outcome::Completes => {
                    self.folds.free(run.slot);
                    self.done.push(completed(run));
                    false
                }
            }
        });
    }

    /// As [`Self::advance_each`], of the runs alone that the row may concern.
    #[inline(never)]
    fn advance_found(&mut self, key: &mut KeyRuns, applied: &mut Applied<'_, '_>) {
        let Some(indexing) = self.program.indexing.clone() else { return };
        let mut found = std::mem::take(&mut self.found);
        key.runs.find(&indexing, applied.rows, applied.row, &mut found);
        for number in found.drain(..) {
            let run = key.runs.get_mut(number);
            indexing.places(run, &mut self.before);
            match self.advance(run, applied) {
                Outcome::Stays => {
                    indexing.places(run, &mut self.after);
                    key.runs.move_to(number, &self.before, &self.after);
                    continue;
                }
                Outcome::Ends => {}
                Outcome::Completes => self.done.push(completed(run)),
            }
            self.folds.free(run.slot);
            key.runs.remove(number, &self.before);
        }
        self.found = found;
        key.runs.tidy(&indexing);
    }

    fn advance(&mut self, run: &mut Run, applied: &mut Applied<'_, '_>) -> Outcome {
        let state = &self.program.automaton.states[run.state as usize];
        let fits = applied.rows.fits[applied.row];
        let chosen = state.moves.iter().find(|m| {
            let step = match m {
                Move::Take { .. } if run.is_closed => return false,
                Move::Take { step, .. } | Move::Watch { step } => *step,
            };
            fits >> step & 1 == 1 && applied.rows.satisfies(&self.program, step, applied.row, &run.memories)
        });
        match chosen.copied() {
            Some(Move::Watch { .. }) => Outcome::Ends,
            Some(Move::Take { step, to }) => {
                self.take(run, step, to, applied);
                if self.is_complete(run) { Outcome::Completes } else { Outcome::Stays }
            }
            None if !self.is_strict() => Outcome::Stays,
            None if state.accepts => {
                run.is_closed = true;
                Outcome::Stays
            }
            None => Outcome::Ends,
        }
    }

    /// Each run stays, unless a negation ends it, and makes new runs of all that it could do.
    fn branch_each(&mut self, key: &mut KeyRuns, applied: &mut Applied<'_, '_>) {
        let fits = applied.rows.fits[applied.row];
        if key.runs.iter().all(|run| self.program.interest[run.state as usize] & fits == 0) {
            return;
        }
        let mut after = std::mem::take(&mut self.scratch);
        for run in key.runs.drain() {
            if self.program.interest[run.state as usize] & fits == 0 {
                after.push(run);
                continue;
            }
            let begin = after.len();
            let mut ends = false;
            for i in 0..self.program.automaton.states[run.state as usize].moves.len() {
                let chosen = self.program.automaton.states[run.state as usize].moves[i];
                let (Move::Take { step, .. } | Move::Watch { step }) = chosen;
                if fits >> step & 1 == 0 || !applied.rows.satisfies(&self.program, step, applied.row, &run.memories) {
                    continue;
                }
                match chosen {
                    Move::Watch { .. } => {
                        ends = true;
                        break;
                    }
                    Move::Take { step, to } => {
                        let mut branch = self.branch(&run);
                        self.take(&mut branch, step, to, applied);
                        after.push(branch);
                    }
                }
            }
            match ends {
                true => self.folds.free(run.slot),
                // The one that was made first stands first.
                false => after.insert(begin, run),
            }
        }
        for run in after.drain(..) {
            if self.is_complete(&run) {
                self.folds.free(run.slot);
                self.done.push(completed(&run));
            } else {
                key.runs.push(run, None);
            }
        }
        self.scratch = after;
    }

    fn branch(&mut self, run: &Run) -> Run {
        Run { last: run.last.clone(), memories: run.memories.clone(), slot: self.folds.copy(run.slot), ..*run }
    }

    /// Begins a run, or one for each step that the row may begin.
    fn start(&mut self, key: &mut KeyRuns, applied: &mut Applied<'_, '_>) {
        let fits = applied.rows.fits[applied.row];
        if !self.starts(fits) {
            return;
        }
        for i in 0..self.program.automaton.states[0].moves.len() {
            let Move::Take { step, to } = self.program.automaton.states[0].moves[i] else { continue };
            if fits >> step & 1 == 0 || !applied.rows.satisfies(&self.program, step, applied.row, &self.blank) {
                continue;
            }
            let (start, first_time) = (applied.ordinal, applied.time());
            let last = Rc::new(Taken { row: applied.kept(step), step: step as u16, before: None });
            let memories = self.blank.clone();
            let slot = self.folds.allocate();
            let mut run = Run { state: to, is_closed: false, start, first_time, rows: 1, last, memories, slot };
            self.remember(&mut run, step, applied);
            if self.is_complete(&run) {
                self.folds.free(run.slot);
                self.done.push(completed(&run));
            } else {
                key.runs.push(run, self.program.indexing.as_deref());
            }
            if self.selection != Selection::SkipTillAny {
                break;
            }
        }
    }

    fn take(&mut self, run: &mut Run, step: usize, to: u16, applied: &mut Applied<'_, '_>) {
        let row = applied.kept(step);
        run.last = Rc::new(Taken { row, step: step as u16, before: Some(run.last.clone()) });
        run.rows += 1;
        run.state = to;
        self.remember(run, step, applied);
    }

    fn remember(&mut self, run: &mut Run, step: usize, applied: &Applied<'_, '_>) {
        let memories = &self.program.steps[step].memories;
        // Whether a row is the first is told by a count, which is brought up to date last.
        for (i, &m) in memories.iter().enumerate() {
            match &self.program.memories[m].value {
                MemoryValue::Last(_) => {
                    run.memories[m] = applied.rows.remembered(step, i, applied.row).unwrap_or(Value::Null);
                }
                MemoryValue::First(_) => {
                    if self.count_before(run, step) == 0 {
                        run.memories[m] = applied.rows.remembered(step, i, applied.row).unwrap_or(Value::Null);
                    }
                }
                MemoryValue::Aggregate(_) => {
                    let args = applied.rows.args(step, i, applied.row);
                    run.memories[m] = self.folds.update(m, run.slot, applied.rows, applied.row, &args);
                }
                MemoryValue::Count => {}
            }
        }
        for &m in memories {
            if let (MemoryValue::Count, Value::Int(count)) = (&self.program.memories[m].value, &mut run.memories[m]) {
                *count += 1;
            }
        }
    }

    fn count_before(&self, run: &Run, step: usize) -> i64 {
        let is_count = |m: &&usize| matches!(self.program.memories[**m].value, MemoryValue::Count);
        let count = self.program.steps[step].memories.iter().find(is_count).map(|&m| &run.memories[m]);
        match count {
            Some(Value::Int(count)) => *count,
            Some(_) | None => unreachable!("the program counts the rows of a step whose first is asked for"),
        }
    }

    fn is_complete(&self, run: &Run) -> bool {
        let state = &self.program.automaton.states[run.state as usize];
        state.accepts && state.moves.is_empty()
    }

    /// Emits the matches that have just become certain, as the rule for what comes after a match says.
    fn settle(&mut self, key: &mut KeyRuns, out: &mut Vec<Match>) {
        if self.done.is_empty() {
            return;
        }
        let mut done = std::mem::take(&mut self.done);
        in_order(&mut done);
        match self.after_match {
            AfterMatch::NextRow => done.drain(..).for_each(|m| self.emit(m, out)),
            AfterMatch::ToNextStart => {
                let mut last = None;
                for m in done.drain(..) {
                    if last == Some(m.start) {
                        continue;
                    }
                    last = Some(m.start);
                    // Otherwise no two runs have the same first row.
                    if self.selection == Selection::SkipTillAny {
                        self.drop_runs(key, |run| run.start == m.start);
                    }
                    self.emit(m, out);
                }
            }
            AfterMatch::SkipPastLast => {
                for m in done.drain(..) {
                    self.wait(key, m);
                }
                self.release(key, out);
            }
        }
        self.done = done;
    }

    fn emit(&self, m: Match, out: &mut Vec<Match>) {
        if !self.gives_timeouts {
            out.push(m);
        }
    }

    /// Puts a match in the queue. Where a match is certain with its last row, what begins within it is dropped at once:
    /// that is lost if the match is taken, and if it is not, then for a run that began before and ends after all that
    /// there is now. One that waits for `within` may end before.
    fn wait(&mut self, key: &mut KeyRuns, m: Match) {
        let (first, last) = (m.start, m.last.row.ordinal);
        if !self.program.automaton.waits() {
            let covers = |w: &Match| w.start <= first && first <= w.last.row.ordinal;
            if key.waiting.iter().any(covers) {
                return;
            }
            let is_within = move |start: u64| first <= start && start <= last;
            key.waiting.retain(|w| !is_within(w.start));
            self.drop_runs(key, |run| is_within(run.start));
        }
        let at = key.waiting.partition_point(|w| w.start <= first);
        key.waiting.insert(at, m);
    }

    /// Takes the waiting matches for which no run is left that began earlier.
    fn release(&mut self, key: &mut KeyRuns, out: &mut Vec<Match>) {
        while let Some(first) = key.waiting.front() {
            if key.runs.front().is_some_and(|run| run.start < first.start) {
                return;
            }
            let Some(taken) = key.waiting.pop_front() else { return };
            let last = taken.last.row.ordinal;
            key.waiting.retain(|w| w.start > last);
            self.drop_runs(key, |run| run.start <= last);
            self.emit(taken, out);
        }
    }

    fn drop_runs(&mut self, key: &mut KeyRuns, is_dropped: impl Fn(&Run) -> bool) {
        let folds = &mut self.folds;
        key.runs.retain_mut(self.program.indexing.as_deref(), |run| {
            let dropped = is_dropped(run);
            if dropped {
                folds.free(run.slot);
            }
            !dropped
        });
    }

    /// Drops the oldest of too many runs.
    fn cap(&mut self, key: &mut KeyRuns, out: &mut Vec<Match>) {
        if key.runs.len() <= self.max_runs {
            return;
        }
        while key.runs.len() > self.max_runs {
            if let Some(run) = key.runs.pop_front(self.program.indexing.as_deref()) {
                self.folds.free(run.slot);
                self.capped += 1;
            }
        }
        if self.after_match == AfterMatch::SkipPastLast {
            self.release(key, out);
        }
    }
}

impl PerKey for Matcher {
    type Key = KeyRuns;
    type Settled = Match;

    fn prepare<'a>(&self, batch: &'a Batch, errors: &'a Errors) -> Prepared<'a> {
        Prepared::new(&self.program, batch, errors)
    }

    fn starts(&self, fits: u64) -> bool {
        self.program.interest[0] & fits != 0
    }

    fn is_strict(&self) -> bool {
        self.selection == Selection::Strict
    }

    fn row(&mut self, key: &mut KeyRuns, rows: &Prepared<'_>, row: usize, out: &mut Vec<Match>) {
        self.expire(key, rows.batch.time[row], out);
        let mut applied = Applied { rows, row, ordinal: key.next, kept: Vec::new() };
        key.next += 1;
        match self.selection {
            Selection::SkipTillNext | Selection::Strict => self.advance_each(key, &mut applied),
            Selection::SkipTillAny => self.branch_each(key, &mut applied),
        }
        self.start(key, &mut applied);
        self.settle(key, out);
        self.cap(key, out);
    }

    fn expire(&mut self, key: &mut KeyRuns, now: i64, out: &mut Vec<Match>) {
        let expires = |run: &Run, within_ns: Option<i64>| match within_ns {
            Some(within_ns) => run.first_time.saturating_add(within_ns) <= now,
            None => now == i64::MAX,
        };
        while let Some(front) = key.runs.front().filter(|run| expires(run, self.within_ns)) {
            let start = front.start;
            let mut timeouts = Vec::new();
            while key.runs.front().is_some_and(|run| run.start == start) {
                let run = key.runs.pop_front(self.program.indexing.as_deref()).expect("there is a first one");
                self.expire_run(run, &mut timeouts);
            }
            in_order(&mut timeouts);
            out.append(&mut timeouts);
            self.settle(key, out);
        }
        if self.after_match == AfterMatch::SkipPastLast {
            self.release(key, out);
        }
    }

    fn has_deadlines(&self) -> bool {
        self.within_ns.is_some()
    }

    fn deadline(&self, key: &KeyRuns) -> Option<i64> {
        let within_ns = self.within_ns?;
        key.runs.front().map(|run| run.first_time.saturating_add(within_ns))
    }

    fn is_empty(&self, key: &KeyRuns) -> bool {
        key.is_empty()
    }

    fn key_bytes(&self, key: &KeyRuns) -> usize {
        key.bytes()
    }

    fn bytes(&self) -> usize {
        self.folds.bytes()
    }

    fn drop_key(&mut self, key: KeyRuns) {
        key.runs.iter().for_each(|run| self.folds.free(run.slot));
    }

    fn encode(&self, key: &KeyRuns, out: &mut Vec<u8>) {
        saved::encode(key, &self.folds, out);
    }

    fn decode(&mut self, bytes: &mut &[u8]) -> Result<KeyRuns, StateError> {
        saved::decode(bytes, &self.program, &mut self.folds)
    }

    fn take_capped(&mut self) -> u64 {
        std::mem::take(&mut self.capped)
    }

    fn gives_keys(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Key { .. }))
    }

    fn columns(&self, key_types: &[DataType], settled: &[Match], keys: &[&[u8]], errors: &Errors) -> Batch {
        columns(&self.program, &self.outputs, key_types, settled, keys, errors)
    }
}

fn completed(run: &Run) -> Match {
    let time = run.last.row.time;
    Match { start: run.start, first_time: run.first_time, time, rows: run.rows, last: run.last.clone() }
}
