//! Which runs of a key a row may concern: an index of those of a key that has many.
//!
//! Most runs of a key with a long `within` wait for a row that few of them accept, such as one of `b.x > a.x`. The index
//! has a set of a state's runs for each way in which moves out of it compare: sorted by the memories that must be equal
//! to something of the row, and then by one that must be greater or less. So a row is applied to the runs that accept
//! these comparisons and to no others. A move that compares nothing asks for a set of all runs of the state.
//! Equalities come first and all together, because one of them may well be that of the key, which tells no runs apart.
//!
//! What stands in the sets are not values but their *places*: numbers in the order of values, which may be equal where
//! values are not. So the index may name a run that does not accept a row, never leave one out that does; the matcher
//! evaluates the conditions of those that are named.
//!
//! The index is derived from the runs, and is no part of what is saved. It serves patterns in which each run does at
//! most one thing with a row and a row of no step does nothing (`skip_till_next`): where runs branch, they stand in an
//! order that the numbers here do not keep, and under `strict` every row concerns every run.

use std::collections::BTreeSet;
use std::ops::Bound::{self, Excluded, Included};

use xxhash_rust::xxh3::xxh3_64;

use super::automaton::{Automaton, Move};
use super::prepared::Prepared;
use super::program::StepProgram;
use super::run::Run;
use super::{Memory, Selection};
use crate::data::key::{ordered_float, ordered_int};
use crate::data::{Type, Value};
use crate::expr::Comparison;

/// A key of more runs than this gets an index, which it loses when it has half as many. With fewer, a look at each costs
/// less than the sets (`benches/patterns.rs`). The tests are to have indexes that come and go.
const RUNS_WITHOUT_INDEX: usize = if cfg!(feature = "checked") { 2 } else { 16 };

/// A pattern of more sets is not indexed: each key with an index has them all.
const SETS_MAX: usize = 64;

/// What the runs of a pattern are indexed by; part of the [program](super::program::Program).
#[derive(Clone, Debug)]
pub struct Indexing {
    /// Most runs of a key that has no index.
    pub without: usize,
    /// By state: the sets that its runs are in.
    states: Vec<Vec<Set>>,
    /// By step: where the runs are that its rows may concern.
    lookups: Vec<Vec<Lookup>>,
    sets: usize,
}

#[derive(Clone, Debug)]
struct Set {
    number: usize,
    by: Sorted,
}

/// What a set is sorted by: memories, each with how its values become places. By nothing: all runs are alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sorted {
    /// First by all of them, as one.
    pub equal: Vec<(usize, Form)>,
    /// Then by this one.
    pub ordered: Option<(usize, Form)>,
}

/// Which part of a set a row of a step asks for: the step's comparisons that say so, by number.
#[derive(Clone, Debug, Default)]
struct Lookup {
    set: usize,
    equal: Vec<(usize, Form)>,
    ordered: Option<(usize, Comparison, Form)>,
}

/// Where a run stands in a set: by what is equal, by what is ordered, by its number.
type Entry = (u64, u64, u64);

/// A set, and the first two numbers of a run's entry in it.
pub type Place = (usize, u64, u64);

/// How a value becomes a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// A number, instant or duration: different values have different places.
    Number,
    /// Of a string, where only equality is asked.
    Hash,
    /// The first bytes of a string.
    Prefix,
}

impl Form {
    /// The place of a value; `None` of null, which compares with nothing.
    pub fn place(self, value: &Value) -> Option<u64> {
        match value {
            Value::Int(v) | Value::Timestamp(v) | Value::Duration(v) => Some(ordered_int(*v)),
            Value::Float(v) => Some(ordered_float(*v)),
            Value::Str(s) => Some(self.place_of_str(s)),
            Value::Null => None,
            Value::Bool(_) | Value::List(_) | Value::Map(_) | Value::Record(_) => {
                unreachable!("values of this type have no place")
            }
        }
    }

    pub fn place_of_str(self, s: &str) -> u64 {
        match self {
            Form::Hash => xxh3_64(s.as_bytes()),
            Form::Prefix => {
                let mut first = [0; 8];
                let len = s.len().min(8);
                first[..len].copy_from_slice(&s.as_bytes()[..len]);
                u64::from_be_bytes(first)
            }
            Form::Number => unreachable!("a string is no number"),
        }
    }

    fn is_exact(self) -> bool {
        self == Form::Number
    }
}

impl Indexing {
    /// `None` for a pattern of which no run can be left out by looking at values.
    pub fn new(
        selection: Selection,
        automaton: &Automaton,
        steps: &[StepProgram],
        memories: &[Memory],
    ) -> Option<Indexing> {
        if selection != Selection::SkipTillNext {
            return None;
        }
        let asked: Vec<Lookup> = steps.iter().map(|step| asked(step, memories)).collect();
        let mut indexing = Indexing {
            without: RUNS_WITHOUT_INDEX,
            states: vec![Vec::new(); automaton.states.len()],
            lookups: vec![Vec::new(); steps.len()],
            sets: 0,
        };
        // No run stands at the beginning.
        for (state, moves) in automaton.states.iter().enumerate().skip(1).map(|(i, state)| (i, &state.moves)) {
            for m in moves {
                let (Move::Take { step, .. } | Move::Watch { step }) = *m;
                let set = indexing.set(state, asked[step].sorted(&steps[step]));
                // Two moves of a state may be about one step.
                if !indexing.lookups[step].iter().any(|lookup| lookup.set == set) {
                    indexing.lookups[step].push(Lookup { set, ..asked[step].clone() });
                }
            }
        }
        let is_of_use = indexing.states.iter().flatten().any(|set| set.by != Sorted::default());
        (is_of_use && indexing.sets <= SETS_MAX).then_some(indexing)
    }

    fn set(&mut self, state: usize, by: Sorted) -> usize {
        if let Some(known) = self.states[state].iter().find(|set| set.by == by) {
            return known.number;
        }
        self.states[state].push(Set { number: self.sets, by });
        self.sets += 1;
        self.sets - 1
    }

    /// What the sets of a state's runs are sorted by.
    pub fn sorted(&self, state: usize) -> impl Iterator<Item = &Sorted> {
        self.states[state].iter().map(|set| &set.by)
    }

    /// Replaces `out` by where a run stands.
    pub fn places(&self, run: &Run, out: &mut Vec<Place>) {
        out.clear();
        for set in &self.states[run.state as usize] {
            let place = |(memory, form): &(usize, Form)| form.place(&run.memories[*memory]);
            let Some(equal) = all(set.by.equal.iter().map(place)) else { continue };
            let ordered = set.by.ordered.as_ref().map_or(Some(0), place);
            out.extend(ordered.map(|ordered| (set.number, equal, ordered)));
        }
    }
}

/// One number for several places: the same for the same ones. `None` if one of them is: nothing is equal to null.
fn all(places: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    places.into_iter().try_fold(0, |all: u64, place| Some((all.rotate_left(23) ^ place?).wrapping_mul(FACTOR)))
}

/// Of the comparisons of a step: all equalities, and the first of the others that asks for an order.
fn asked(step: &StepProgram, memories: &[Memory]) -> Lookup {
    let mut asked = Lookup::default();
    for (i, compared) in step.compared.iter().enumerate() {
        let ty = memories[compared.memory].data_type().ty;
        if ty != compared.left.data_type().ty {
            continue;
        }
        let form = match (ty, compared.op) {
            (Type::Int | Type::Timestamp | Type::Duration | Type::Float, _) => Form::Number,
            (Type::Str, Comparison::Equal) => Form::Hash,
            (Type::Str, _) => Form::Prefix,
            (Type::Null | Type::Bool | Type::List(_) | Type::Map(_) | Type::Record(_), _) => continue,
        };
        match compared.op {
            Comparison::Equal => asked.equal.push((i, form)),
            op if op.needs_order() && asked.ordered.is_none() => asked.ordered = Some((i, op, form)),
            Comparison::NotEqual
            | Comparison::Less
            | Comparison::LessOrEqual
            | Comparison::Greater
            | Comparison::GreaterOrEqual => {}
        }
    }
    asked
}

impl Lookup {
    /// What a set must be sorted by.
    fn sorted(&self, step: &StepProgram) -> Sorted {
        let memory = |compared: usize| step.compared[compared].memory;
        Sorted {
            equal: self.equal.iter().map(|(compared, form)| (memory(*compared), *form)).collect(),
            ordered: self.ordered.map(|(compared, _, form)| (memory(compared), form)),
        }
    }

    /// The entries of runs that may accept a row of step number `step`.
    fn range(&self, step: usize, rows: &Prepared<'_>, row: usize) -> Option<(Bound<Entry>, Bound<Entry>)> {
        let equal = all(self.equal.iter().map(|(compared, form)| rows.place(step, *compared, row, *form)))?;
        let (least, greatest) = (Included((equal, 0, 0)), Included((equal, u64::MAX, u64::MAX)));
        let Some((compared, op, form)) = self.ordered else { return Some((least, greatest)) };
        let place = rows.place(step, compared, row, form)?;
        let (first, last) = ((equal, place, 0), (equal, place, u64::MAX));
        // The memory stands on the right. Where places are not exact, equal ones may be of different values.
        Some(match op {
            Comparison::Less if form.is_exact() => (Excluded(last), greatest),
            Comparison::Less | Comparison::LessOrEqual => (Included(first), greatest),
            Comparison::Greater if form.is_exact() => (least, Excluded(first)),
            Comparison::Greater | Comparison::GreaterOrEqual => (least, Included(last)),
            Comparison::Equal | Comparison::NotEqual => (least, greatest),
        })
    }
}

/// The runs of a key, by number.
#[derive(Debug)]
pub struct Index {
    sets: Vec<BTreeSet<Entry>>,
    /// Where the run stands that is being added or taken out.
    places: Vec<Place>,
}

/// The nodes of a set are mostly some two thirds full.
const ENTRY_BYTES: usize = size_of::<Entry>() * 3 / 2;

impl Index {
    /// Of runs with their numbers.
    pub fn new<'r>(indexing: &Indexing, runs: impl Iterator<Item = (u64, &'r Run)>) -> Index {
        let mut entries = vec![Vec::new(); indexing.sets];
        let mut places = Vec::new();
        for (number, run) in runs {
            indexing.places(run, &mut places);
            places.iter().for_each(|(set, equal, ordered)| entries[*set].push((*equal, *ordered, number)));
        }
        Index { sets: entries.into_iter().map(|entries| entries.into_iter().collect()).collect(), places }
    }

    pub fn add(&mut self, indexing: &Indexing, number: u64, run: &Run) {
        let mut places = std::mem::take(&mut self.places);
        indexing.places(run, &mut places);
        self.insert(number, &places);
        self.places = places;
    }

    pub fn take_out(&mut self, indexing: &Indexing, number: u64, run: &Run) {
        let mut places = std::mem::take(&mut self.places);
        indexing.places(run, &mut places);
        self.remove(number, &places);
        self.places = places;
    }

    pub fn insert(&mut self, number: u64, places: &[Place]) {
        for &(set, equal, ordered) in places {
            self.sets[set].insert((equal, ordered, number));
        }
    }

    pub fn remove(&mut self, number: u64, places: &[Place]) {
        for &(set, equal, ordered) in places {
            let was_there = self.sets[set].remove(&(equal, ordered, number));
            if cfg!(feature = "checked") {
                assert!(was_there, "a run stands where its memories say");
            }
        }
    }

    /// Adds the numbers of the runs that a row may concern, ascending.
    pub fn find(&self, indexing: &Indexing, rows: &Prepared<'_>, row: usize, out: &mut Vec<u64>) {
        let mut steps = rows.fits[row];
        while steps != 0 {
            let step = steps.trailing_zeros() as usize;
            steps &= steps - 1;
            for lookup in &indexing.lookups[step] {
                let set = &self.sets[lookup.set];
                if !set.is_empty()
                    && let Some(range) = lookup.range(step, rows, row)
                {
                    out.extend(set.range(range).map(|(_, _, number)| *number));
                }
            }
        }
        // A run may stand in several sets, and several may be asked.
        out.sort_unstable();
        out.dedup();
    }

    /// Heap bytes, approximately.
    pub fn bytes(&self) -> usize {
        let entries: usize = self.sets.iter().map(BTreeSet::len).sum();
        self.sets.len() * size_of::<BTreeSet<Entry>>() + entries * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn check(form: Form, a: &Value, b: &Value) -> Result<(), TestCaseError> {
        let (places, order) = (form.place(a).cmp(&form.place(b)), a.compare(b));
        match form {
            Form::Number => prop_assert_eq!(places, order),
            Form::Prefix => prop_assert!(places == order || places == Ordering::Equal),
            Form::Hash => prop_assert!(places == Ordering::Equal || order != Ordering::Equal),
        }
        Ok(())
    }

    fn float() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), prop::sample::select(vec![0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, 1.0])]
    }

    proptest! {
        #[test]
        fn places_are_in_the_order_of_values(
            floats in (float(), float()),
            ints in (any::<i64>(), any::<i64>()),
            texts in ("[ab\u{0}é]{0,10}", "[ab\u{0}é]{0,10}"),
        ) {
            check(Form::Number, &Value::Float(floats.0), &Value::Float(floats.1))?;
            check(Form::Number, &Value::Int(ints.0), &Value::Int(ints.1))?;
            check(Form::Prefix, &Value::str(&texts.0), &Value::str(&texts.1))?;
            check(Form::Hash, &Value::str(&texts.0), &Value::str(&texts.1))?;
            check(Form::Hash, &Value::str(&texts.0), &Value::str(&texts.0))?;
        }
    }
}
