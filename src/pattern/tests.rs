//! The matcher against the definition of the semantics: random patterns over random rows, cut into batches anywhere,
//! with time passing anywhere in between, and with runs that are written and read back.
//!
//! `PATTERN_CASES=n` tries n cases; `PATTERN_SEED=n` tries the one of that seed and prints it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::keyed::PerKey;
use super::matcher::Matcher;
use super::prepared::Prepared;
use super::reference::{ReferenceInput, ReferenceMatch, matches};
use super::run::{KeyRuns, Match};
use super::trends::{KeyTrends, Trends};
use super::*;
use crate::data::array::{array_of_values, value_at};
use crate::data::{Batch, Value};
use crate::expr::generate::Random;
use crate::expr::{BinaryOp, Errors};

const CASES: u64 = 50_000;

/// Columns of the input: the source and a number.
const VALUE_COLUMN: usize = 1;

struct Generator {
    random: Random,
    steps: Vec<Step>,
    memories: Vec<Memory>,
    /// Whether some member waits for `within` to pass.
    negated: Vec<usize>,
}

impl Generator {
    fn step(&mut self) -> usize {
        let step = self.steps.len();
        let source = self.random.below(2) as i64;
        self.steps.push(Step { name: format!("s{step}"), source, condition: None });
        step
    }

    /// A part that takes at least one row.
    fn part(&mut self, depth: usize, budget: &mut usize) -> Node {
        if depth == 0 || *budget <= 1 || self.random.chance(60) {
            *budget = budget.saturating_sub(1);
            return Node::Step(self.step());
        }
        match self.random.below(3) {
            0 => self.sequence(depth - 1, budget, 2),
            1 => Node::OneOf((0..2).map(|_| self.part(depth - 1, budget)).collect()),
            _ => Node::AnyOrder((0..2).map(|_| self.part(depth - 1, budget)).collect()),
        }
    }

    /// A member of a sequence, repeated or not.
    fn member(&mut self, depth: usize, budget: &mut usize) -> Node {
        let node = self.part(depth, budget);
        let (min, max) = match self.random.below(10) {
            0 => (1, None),
            1 => (0, None),
            2 => (0, Some(1)),
            3 => (2, Some(2)),
            4 => (1, Some(2)),
            5 => (2, None),
            _ => return node,
        };
        Node::Repeat { node: Box::new(node), min, max }
    }

    fn sequence(&mut self, depth: usize, budget: &mut usize, first_min: usize) -> Node {
        let mut members = vec![self.part(depth, budget)];
        for _ in 0..first_min - 1 + self.random.below(2) {
            if self.random.chance(20) && *budget > 1 {
                let step = self.step();
                self.negated.push(step);
                members.push(Node::Not(step));
            }
            members.push(self.member(depth, budget));
        }
        // What may be empty may not be repeated.
        members.push(self.part(0, budget));
        Node::Sequence(members)
    }

    fn root(&mut self) -> Node {
        let mut budget = 5;
        let mut members = vec![self.member(1, &mut budget)];
        while budget > 0 {
            if self.random.chance(25) {
                let step = self.step();
                self.negated.push(step);
                members.push(Node::Not(step));
                budget = budget.saturating_sub(1);
            }
            if budget > 0 {
                members.push(self.member(1, &mut budget));
            }
            if self.random.chance(20) {
                break;
            }
        }
        Node::Sequence(members)
    }

    fn memory(&mut self, step: usize) -> usize {
        let value = Expr::column(VALUE_COLUMN, Type::Int.optional());
        let sum = || Call { function: AggregateFunction::Sum, args: vec![value.clone()], ty: Type::Int.optional() };
        let value = match self.random.below(5) {
            0 | 1 => MemoryValue::Last(value),
            2 => MemoryValue::First(value),
            3 => MemoryValue::Count,
            _ => MemoryValue::Aggregate(sum()),
        };
        let memory = Memory { step, value };
        self.memories.iter().position(|m| *m == memory).unwrap_or_else(|| {
            self.memories.push(memory);
            self.memories.len() - 1
        })
    }
}

fn binary(op: BinaryOp, left: Expr, right: Expr, ty: Type) -> Expr {
    Expr::Binary { op, left: Box::new(left), right: Box::new(right), ty: ty.optional() }
}

/// A pattern, with conditions of every kind.
fn pattern(random: Random) -> (Pattern, Random) {
    let mut g = Generator { random, steps: Vec::new(), memories: Vec::new(), negated: Vec::new() };
    let root = g.root();
    // Which memory each condition reads, before it is known how many there are.
    let mut conditions = Vec::new();
    for _ in 0..g.steps.len() {
        let kind = g.random.below(10);
        let other = g.random.below(g.steps.len());
        let remembered = (kind >= 2 && !g.negated.contains(&other)).then(|| g.memory(other));
        conditions.push((kind, remembered, g.random.below(4) as i64));
    }
    let mut pattern = Pattern {
        steps: g.steps,
        root,
        within_ns: Some([2, 4, 8, 100][g.random.below(4)]),
        selection: [Selection::SkipTillNext, Selection::Strict, Selection::SkipTillAny][g.random.below(3)],
        after_match: [AfterMatch::NextRow, AfterMatch::ToNextStart, AfterMatch::SkipPastLast][g.random.below(3)],
        max_runs: 1_000_000,
        memories: g.memories,
        gives: Gives::Matches(Vec::new()),
    };
    let automaton = automaton::Automaton::new(&pattern.root).expect("a few steps");
    if !automaton.waits() && g.random.chance(40) {
        pattern.within_ns = None;
    }
    for (step, (kind, remembered, n)) in conditions.into_iter().enumerate() {
        let column = Expr::column(pattern.index_of(Slot::Column(VALUE_COLUMN)), Type::Int.optional());
        let number = Expr::literal(Value::Int(n), Type::Int);
        let memory = |m: usize| Expr::column(m, pattern.memories[m].data_type());
        let condition = match (kind, remembered) {
            (1, _) => binary(BinaryOp::GreaterOrEqual, column, number, Type::Bool),
            (2, Some(m)) => binary(BinaryOp::GreaterOrEqual, column, memory(m), Type::Bool),
            (3, Some(m)) => {
                let scaled = binary(BinaryOp::Subtract, memory(m), number, Type::Int);
                binary(BinaryOp::Greater, column, scaled, Type::Bool)
            }
            (4, Some(m)) => {
                let sum = binary(BinaryOp::Add, column, memory(m), Type::Int);
                Expr::Or(vec![Expr::IsNull(Box::new(memory(m))), binary(BinaryOp::Greater, sum, number, Type::Bool)])
            }
            (5, Some(m)) => binary(BinaryOp::LessOrEqual, memory(m), number, Type::Bool),
            (6, Some(m)) => binary(BinaryOp::Equal, memory(m), column, Type::Bool),
            (7, Some(m)) => binary(BinaryOp::Less, column, memory(m), Type::Bool),
            (8, Some(m)) => {
                let other = memory(g.random.below(pattern.memories.len()));
                let equal = binary(BinaryOp::Equal, column.clone(), memory(m), Type::Bool);
                Expr::And(vec![binary(BinaryOp::Less, other, column, Type::Bool), equal])
            }
            (9, Some(m)) => binary(BinaryOp::NotEqual, column, memory(m), Type::Bool),
            _ => continue,
        };
        pattern.steps[step].condition = Some(condition);
    }
    (pattern, g.random)
}

/// Few rows, but where each run does at most one thing with a row, so that trying everything takes no time, sometimes
/// enough for many runs.
fn rows(pattern: &Pattern, random: &mut Random) -> Vec<ReferenceInput> {
    let mut time = 0;
    let many = pattern.selection == Selection::SkipTillNext && random.chance(20);
    let count = random.below(if many { 40 } else { 13 });
    (0..count)
        .map(|_| {
            time += [0, 0, 1, 1, 2, 3][random.below(6)];
            let value = if random.chance(8) { Value::Null } else { Value::Int(random.below(5) as i64) };
            ReferenceInput { time, columns: vec![Value::Int(random.below(2) as i64), value] }
        })
        .collect()
}

fn batch(rows: &[ReferenceInput]) -> Batch {
    let column = |i: usize| rows.iter().map(|r| r.columns[i].clone()).collect::<Vec<_>>();
    Batch {
        columns: vec![
            array_of_values(&Type::Int.required(), &column(0)),
            array_of_values(&Type::Int.optional(), &column(1)),
        ],
        time: rows.iter().map(|r| r.time).collect::<Vec<_>>().into(),
        ..Batch::default()
    }
}

/// What the matcher gives when the rows come in batches cut anywhere, and to how many rows it found runs in an index.
fn run(pattern: &Pattern, rows: &[ReferenceInput], random: &mut Random) -> (Vec<ReferenceMatch>, usize) {
    let mut matcher = Matcher::new(pattern).expect("a few steps");
    if let Some(indexing) = &mut matcher.program.indexing {
        Rc::make_mut(indexing).without = [0, 0, 1, 3, usize::MAX][random.below(5)];
    }
    let (mut key, mut out) = (KeyRuns::default(), Vec::new());
    let mut begin = 0;
    // A key without runs is forgotten, and its rows are numbered anew: what was before is remembered here.
    let mut base = 0;
    let (mut found, mut indexed): (Vec<ReferenceMatch>, usize) = (Vec::new(), 0);
    while begin < rows.len() {
        let end = begin + 1 + random.below(rows.len() - begin);
        let batch = batch(&rows[begin..end]);
        let errors = Errors::default();
        let prepared = Prepared::new(&matcher.program, &batch, &errors);
        for row in 0..batch.len() {
            let fits = prepared.fits[row];
            let is_idle = key.is_empty() && !matcher.starts(fits) || fits == 0 && !matcher.is_strict();
            if key.is_empty() {
                (key, base) = (KeyRuns::default(), begin + row);
            }
            if is_idle {
                // A row that is not applied is no row of the key.
                key.next += 1;
                continue;
            }
            indexed += usize::from(key.runs.is_indexed());
            matcher.row(&mut key, &prepared, row, &mut out);
            found.extend(out.drain(..).map(|m| of(&m, base)));
        }
        begin = end;
        if random.chance(30) {
            let mut bytes = Vec::new();
            matcher.encode(&key, &mut bytes);
            matcher.drop_key(std::mem::take(&mut key));
            key = matcher.decode(&mut bytes.as_slice()).expect("it was just written");
        }
        if random.chance(30) && begin < rows.len() {
            matcher.expire(&mut key, rows[begin].time, &mut out);
            found.extend(out.drain(..).map(|m| of(&m, base)));
        }
    }
    matcher.expire(&mut key, i64::MAX, &mut out);
    found.extend(out.drain(..).map(|m| of(&m, base)));
    assert!(key.is_empty(), "nothing is left of a key when its input has ended");
    (found, indexed)
}

fn of(m: &Match, base: usize) -> ReferenceMatch {
    let mut rows: Vec<(usize, usize)> =
        m.last.back().map(|t| (base + t.row.ordinal as usize, t.step as usize)).collect();
    rows.reverse();
    ReferenceMatch { time: m.time, rows }
}

/// How many matches there are, and to how many rows runs were found in an index.
fn check(seed: u64) -> Result<(usize, usize), String> {
    let (mut pattern, mut random) = pattern(Random::new(seed));
    let rows = rows(&pattern, &mut random);
    let (mut expected, mut timeouts) = matches(&pattern, &rows);
    if pattern.after_match != AfterMatch::SkipPastLast && random.chance(20) {
        // What expires is asked for instead.
        pattern.gives = Gives::Timeouts(Vec::new());
        expected = std::mem::take(&mut timeouts);
        expected.sort();
        // The same rows in the same steps are one partial match, however the pattern reads them.
        expected.dedup();
    }
    let (mut given, indexed) = run(&pattern, &rows, &mut random);
    let is_waiting = pattern.after_match == AfterMatch::SkipPastLast;
    if !is_waiting && given.windows(2).any(|w| w[0].time > w[1].time) {
        return Err(format!("{}\nmatches come out of order: {given:?}", describe(seed, &pattern, &rows)));
    }
    given.sort();
    expected.sort();
    if given == expected {
        return Ok((given.len(), indexed));
    }
    Err(format!("{}\nexpected {expected:?}\n   given {given:?}", describe(seed, &pattern, &rows)))
}

fn describe(seed: u64, pattern: &Pattern, rows: &[ReferenceInput]) -> String {
    let rows: Vec<String> = rows.iter().map(|r| format!("{} {:?}", r.time, r.columns)).collect();
    format!("PATTERN_SEED={seed}\n{pattern:#?}\n{}", rows.join("\n"))
}

#[test]
fn random_patterns_give_what_the_definition_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("PATTERN_SEED") {
        let (pattern, mut random) = pattern(Random::new(seed));
        println!("{}", describe(seed, &pattern, &rows(&pattern, &mut random)));
        println!("{:?}", check(seed).map_err(|difference| println!("{difference}")));
        return;
    }
    let (mut found, mut found_by_index) = (0, 0);
    for seed in 0..number("PATTERN_CASES").unwrap_or(CASES) {
        match check(seed) {
            Ok((matches, indexed)) => (found, found_by_index) = (found + matches, found_by_index + indexed),
            Err(difference) => panic!("{difference}"),
        }
    }
    assert!(found > 0 && found_by_index > 0, "some pattern must match, and some key be indexed");
    println!("{found} matches, {found_by_index} rows applied by an index");
}

/// Trends that the counting gives, and those of the definition's matches: count and sum by moment.
fn check_trends(seed: u64) -> Result<usize, String> {
    let (mut pattern, mut random) = pattern(Random::new(seed));
    let reads_memory = |s: &Step| {
        let mut read = BTreeSet::new();
        s.condition.iter().for_each(|e| add_columns(e, &mut read));
        read.iter().any(|i| matches!(pattern.slot(*i), Slot::Memory(_)))
    };
    let remembers = pattern.steps.iter().any(reads_memory);
    if remembers || automaton::Automaton::new(&pattern.root).expect("a few steps").is_ambiguous() {
        return Ok(0);
    }
    pattern.selection = Selection::SkipTillAny;
    pattern.after_match = AfterMatch::NextRow;
    let rows = rows(&pattern, &mut random);
    // By the row that completes the matches, or by when their first row expires.
    let mut expected: BTreeMap<(i64, Option<usize>), (i64, Option<i64>)> = BTreeMap::new();
    for found in matches(&pattern, &rows).0 {
        let last = found.rows[found.rows.len() - 1].0;
        let by_row = (found.time == rows[last].time).then_some(last);
        let (count, sum) = expected.entry((found.time, by_row)).or_default();
        *count += 1;
        for (row, step) in found.rows {
            if let (1, Value::Int(value)) = (step, &rows[row].columns[VALUE_COLUMN]) {
                *sum = Some(sum.unwrap_or(0) + value);
            }
        }
    }
    let expected: Vec<(i64, i64, Option<i64>)> = expected.iter().map(|((time, _), (n, s))| (*time, *n, *s)).collect();
    let value = Expr::column(VALUE_COLUMN, Type::Int.optional());
    let asked = match pattern.steps.len() {
        1 => vec![Trend::Count],
        _ => vec![Trend::Count, Trend::Sum { step: 1, value }],
    };
    let given = count_trends(&pattern, &asked, &rows, &mut random);
    let strip = |(time, n, sum): (i64, i64, Option<i64>)| (time, n, if asked.len() == 1 { None } else { sum });
    let (mut given, mut expected): (Vec<_>, Vec<_>) = (given, expected.into_iter().map(strip).collect());
    given.sort();
    expected.sort();
    if given == expected {
        return Ok(given.len());
    }
    Err(format!("{}\nexpected {expected:?}\n   given {given:?}", describe(seed, &pattern, &rows)))
}

fn count_trends(
    pattern: &Pattern,
    asked: &[Trend],
    rows: &[ReferenceInput],
    random: &mut Random,
) -> Vec<(i64, i64, Option<i64>)> {
    let mut trends = Trends::new(pattern, asked).expect("a few steps");
    let (mut key, mut out) = (KeyTrends::default(), Vec::new());
    let batch = batch(rows);
    let errors = Errors::default();
    let prepared = trends.prepare(&batch, &errors);
    for row in 0..batch.len() {
        trends.row(&mut key, &prepared, row, &mut out);
        if random.chance(30) {
            let mut bytes = Vec::new();
            trends.encode(&key, &mut bytes);
            key = trends.decode(&mut bytes.as_slice()).expect("it was just written");
        }
    }
    trends.expire(&mut key, i64::MAX, &mut out);
    assert!(trends.is_empty(&key), "nothing is left of a key when its input has ended");
    let keys = vec![&[][..]; out.len()];
    let columns = trends.columns(&[], &out, &keys, &errors);
    let int = |column: usize, row: usize| match value_at(&columns.columns[column], &Type::Int.optional(), row) {
        Value::Int(value) => Some(value),
        _ => None,
    };
    let sum = |row: usize| if asked.len() == 1 { None } else { int(1, row) };
    (0..columns.len()).map(|row| (columns.time[row], int(0, row).expect("a small count"), sum(row))).collect()
}

#[test]
fn trends_are_counted_as_the_definition_makes_them() {
    let cases = std::env::var("PATTERN_CASES").ok().and_then(|n| n.parse::<u64>().ok()).unwrap_or(CASES);
    let mut found = 0;
    for seed in 0..cases {
        match check_trends(seed) {
            Ok(matches) => found += matches,
            Err(difference) => panic!("{difference}"),
        }
    }
    assert!(found > 0, "some pattern must match");
    println!("{found} trends");
}

#[test]
fn a_long_list_of_rows_is_dropped_without_a_deep_stack() {
    let row = std::rc::Rc::new(run::Row { time: 0, ordinal: 0, kept: Box::default() });
    let mut last: Option<std::rc::Rc<run::Taken>> = None;
    for _ in 0..1_000_000 {
        last = Some(std::rc::Rc::new(run::Taken { row: row.clone(), step: 0, before: last.take() }));
    }
    drop(last);
    assert_eq!(std::rc::Rc::strong_count(&row), 1);
}
