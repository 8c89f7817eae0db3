//! Every aggregate, for every type that it takes, against the reference: split into batches, spread
//! over accumulators and slots, saved, read back and merged at random.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::reference::{ReferenceRow, aggregate_rows};
use super::*;
use crate::data::array::{array_of_values, value_at};
use crate::data::{Field, Value};

/// A row before it has values: those depend on the type.
#[derive(Clone, Debug)]
struct Seed {
    group: u32,
    time: i64,
    /// How far its place is behind.
    behind: i64,
    partition: u32,
    position: u64,
    values: [u64; 2],
}

const GROUPS: u32 = 4;

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let seed = (0..GROUPS - 1, (0i64..4, 0i64..3), 0u32..3, 0u64..4, any::<[u64; 2]>()).prop_map(
        |(group, (time, behind), partition, position, values)| Seed {
            group,
            time,
            behind,
            partition,
            position,
            values,
        },
    );
    prop::collection::vec(seed, 0..40)
}

/// A value of a type, from random bits; often one of few, so that there are ties and extremes.
fn value_of(ty: &DataType, bits: u64) -> Value {
    let (choice, rest) = (bits % 8, bits / 8);
    if choice == 0 {
        return Value::Null;
    }
    let whole = match choice {
        1 => i64::MAX,
        2 => i64::MIN,
        3 => rest as i64,
        _ => rest as i64 % 5,
    };
    match &ty.ty {
        Type::Null => Value::Null,
        Type::Int => Value::Int(whole),
        Type::Timestamp => Value::Timestamp(whole),
        Type::Duration => Value::Duration(whole),
        Type::Bool => Value::Bool(rest.is_multiple_of(2)),
        Type::Float => Value::Float(float_from(choice, rest)),
        Type::Str => Value::str(["", "a", "b\0", "zone", "é"][(rest % 5) as usize]),
        Type::List(item) => Value::List((0..rest % 3).map(|i| value_of(item, rest >> (8 * i + 8))).collect()),
        Type::Map(value) => {
            let keys = ["a", "b"].iter().take((rest % 3) as usize).enumerate();
            Value::Map(keys.map(|(i, &k)| (k.into(), value_of(value, rest >> (8 * i + 8)))).collect())
        }
        Type::Record(fields) => {
            let field = |(i, f): (usize, &Field)| value_of(&f.data_type, rest >> (8 * i));
            Value::Record(fields.iter().enumerate().map(field).collect())
        }
    }
}

fn float_from(choice: u64, rest: u64) -> f64 {
    const RARE: [f64; 8] = [-0.0, 0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324];
    match choice {
        1 if rest.is_multiple_of(5) => RARE[(rest / 5 % 8) as usize],
        1 | 2 => (rest % 100) as f64 * 1e17,
        3 => f64::from_bits(rest % (0x7ff << 52)),
        _ => (rest % 2_000) as f64 / 100.0 - 10.0,
    }
}

/// Every call that resolves, over columns `x` (of each type) and `name`.
static CASES: LazyLock<Vec<Aggregate>> = LazyLock::new(|| {
    let int = || Type::Int.optional();
    let record = Type::Record([Field::new("a", int()), Field::new("b", Type::Str.optional())].into());
    let types = [
        Type::Int,
        Type::Float,
        Type::Bool,
        Type::Str,
        Type::Timestamp,
        Type::Duration,
        Type::List(Box::new(Type::Float.optional())),
        Type::Map(Box::new(int())),
        record,
    ];
    types.into_iter().flat_map(|ty| cases_of(ty.optional())).collect()
});

fn cases_of(ty: DataType) -> Vec<Aggregate> {
    let row = [Field::new("x", ty.clone()), Field::new("name", Type::Str.optional())];
    let constants = [Value::Int(1), Value::Int(3), Value::Float(0.3), Value::str(", ")];
    let calls = std::iter::once((vec![], vec![]))
        .chain([(vec![ty.clone()], vec![None])])
        .chain(constants.map(|c| (vec![ty.clone(), Type::Int.required()], vec![None, Some(c)])));
    let calls: Vec<_> = calls.collect();
    let mut cases = Vec::new();
    for entry in aggregates() {
        for (args, constants) in &calls {
            let call = AggregateCall { args, constants, row: &row };
            if let Ok(ResolvedAggregate { function, args, result }) = (entry.resolve)(&call) {
                cases.push(Aggregate { function, args: (0..args.len()).collect(), arg_types: args, ty: result });
            }
        }
    }
    cases
}

/// The types of the columns `x` and `name` for a case.
fn column_types(case: &Aggregate) -> [DataType; 2] {
    let x = case.arg_types.first().cloned().unwrap_or(Type::Int.optional());
    [x, Type::Str.optional()]
}

fn reference_row(case: &Aggregate, seed: &Seed) -> ReferenceRow {
    let types = column_types(case);
    let values = types.iter().zip(seed.values).map(|(ty, bits)| value_of(ty, bits)).collect();
    ReferenceRow { time: seed.time, at: seed.time + seed.behind, seq: (seed.partition, seed.position), values }
}

/// The seeds of a batch as an accumulator takes them; groups go to the slots that `slot` says.
fn with_rows<R>(
    case: &Aggregate,
    seeds: &[Seed],
    slot: impl Fn(u32) -> u32,
    f: impl FnOnce(&Rows<'_>, &[ArrayRef]) -> R,
) -> R {
    let slots: Vec<u32> = seeds.iter().map(|s| slot(s.group)).collect();
    let times: Vec<i64> = seeds.iter().map(|s| s.time).collect();
    let places: Vec<i64> = seeds.iter().map(|s| s.time + s.behind).collect();
    let seq = Seq {
        partition: seeds.iter().map(|s| s.partition).collect(),
        position: seeds.iter().map(|s| s.position).collect(),
    };
    let rows: Vec<ReferenceRow> = seeds.iter().map(|s| reference_row(case, s)).collect();
    let column = |(&i, ty): (&usize, &DataType)| {
        array_of_values(ty, &rows.iter().map(|r| r.values[i].clone()).collect::<Vec<_>>())
    };
    let args: Vec<ArrayRef> = case.args.iter().zip(&case.arg_types).map(column).collect();
    f(&Rows { slots: &slots, times: &times, places: &places, seq: Some(&seq) }, &args)
}

fn expected(case: &Aggregate, seeds: &[Seed], group: u32) -> Value {
    let rows: Vec<_> = seeds.iter().filter(|s| s.group == group).map(|s| reference_row(case, s)).collect();
    aggregate_rows(case, &rows)
}

/// Debug output tells `-0.0` from `0.0`, and has NaN equal to itself.
fn text(value: &Value) -> String {
    format!("{value:?}")
}

/// A random decision after the other, from few.
struct Picks<'a>(std::iter::Cycle<std::slice::Iter<'a, u32>>);

impl Picks<'_> {
    fn below(&mut self, n: usize) -> usize {
        *self.0.next().expect("picks are not empty") as usize % n
    }
}

fn saved_and_read(case: &Aggregate, state: &dyn Accumulator) -> Box<dyn Accumulator> {
    let mut read = case.accumulator();
    let mut bytes = Vec::new();
    (0..GROUPS).for_each(|slot| state.encode(slot, &mut bytes));
    let mut rest = bytes.as_slice();
    for slot in 0..GROUPS {
        read.decode(slot, &mut rest).unwrap();
    }
    assert!(rest.is_empty(), "a state is self-delimiting");
    read
}

/// Applies the batches to several accumulators whose slots are rotated, and merges these.
fn spread_and_merged(case: &Aggregate, seeds: &[Seed], picks: &mut Picks<'_>) -> Box<dyn Accumulator> {
    let mut parts: Vec<_> = (0..3).map(|_| case.accumulator()).collect();
    let mut rest = seeds;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(1 + picks.below(rest.len()));
        let part = picks.below(3);
        with_rows(case, batch, |g| (g + part as u32) % GROUPS, |rows, args| parts[part].update(rows, args));
        rest = after;
    }
    let mut merged = case.accumulator();
    let mut order: Vec<usize> = vec![0, 1, 2];
    while !order.is_empty() {
        let part = order.swap_remove(picks.below(order.len()));
        if picks.below(2) == 0 {
            parts[part] = saved_and_read(case, parts[part].as_ref());
        }
        let groups: Vec<u32> = (0..GROUPS).collect();
        let slots: Vec<u32> = groups.iter().map(|g| (g + part as u32) % GROUPS).collect();
        merged.merge(&groups, parts[part].as_ref(), &slots);
    }
    merged
}

fn results(case: &Aggregate, state: &dyn Accumulator, errors: &Errors) -> Vec<Value> {
    let groups: Vec<u32> = (0..GROUPS).collect();
    let array = state.output(&groups, errors);
    assert_eq!(array.data_type(), &case.ty.arrow());
    (0..groups.len()).map(|i| value_at(array.as_ref(), &case.ty, i)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_split_and_no_order_matters(seeds in seeds(), picks in prop::collection::vec(any::<u32>(), 1..20)) {
        for case in CASES.iter() {
            let mut picks = Picks(picks.iter().cycle());
            let merged = spread_and_merged(case, &seeds, &mut picks);
            let errors = Errors::default();
            for (group, result) in results(case, merged.as_ref(), &errors).iter().enumerate() {
                prop_assert_eq!(text(result), text(&expected(case, &seeds, group as u32)), "{:?}", case);
            }
        }
    }

    #[test]
    fn running_results_are_those_of_the_rows_so_far(seeds in seeds(), cut in any::<prop::sample::Index>()) {
        for case in CASES.iter() {
            let mut seeds = seeds.clone();
            // Rows that tie come in any order: other columns than the one that is aggregated decide.
            seeds.sort_by_key(|s| (s.time, s.partition, s.position));
            let mut state = case.accumulator();
            let errors = Errors::default();
            let cut = cut.index(seeds.len() + 1);
            let mut at = 0;
            for batch in [&seeds[..cut], &seeds[cut..]] {
                let array = with_rows(case, batch, |g| g, |rows, args| state.running(rows, args, &errors));
                prop_assert_eq!(array.data_type(), &case.ty.arrow());
                for (row, seed) in batch.iter().enumerate() {
                    at += 1;
                    let expected = expected(case, &seeds[..at], seed.group);
                    prop_assert_eq!(text(&value_at(&array, &case.ty, row)), text(&expected), "{:?}", case);
                }
                state = saved_and_read(case, state.as_ref());
            }
        }
    }

    #[test]
    fn cleared_slots_are_empty_and_give_back_what_they_held(seeds in seeds()) {
        for case in CASES.iter() {
            let groups: Vec<u32> = (0..GROUPS).collect();
            let mut state = case.accumulator();
            let fill = |state: &mut Box<dyn Accumulator>| {
                with_rows(case, &seeds, |g| g, |rows, args| state.update(rows, args));
                let full = state.bytes();
                state.clear(&groups);
                (full, state.bytes())
            };
            let (full, empty) = fill(&mut state);
            prop_assert!(empty <= full);
            prop_assert_eq!(fill(&mut state).1, empty);
            let errors = Errors::default();
            for result in results(case, state.as_ref(), &errors) {
                prop_assert_eq!(text(&result), text(&aggregate_rows(case, &[])));
            }
        }
    }

    #[test]
    fn damaged_states_are_errors_or_read_as_something(
        seeds in seeds(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        for case in CASES.iter() {
            let mut state = case.accumulator();
            with_rows(case, &seeds, |g| g, |rows, args| state.update(rows, args));
            let mut bytes = Vec::new();
            state.encode(0, &mut bytes);
            let at = at.index(bytes.len());
            let cut = bytes[..at].to_vec();
            prop_assert!(case.accumulator().decode(0, &mut cut.as_slice()).is_err(), "{:?}", case);
            bytes[at] = byte;
            for damaged in [bytes, noise.clone(), [&[state::VERSION], noise.as_slice()].concat()] {
                let mut read = case.accumulator();
                if read.decode(0, &mut damaged.as_slice()).is_ok() {
                    results(case, read.as_ref(), &Errors::default());
                    state.merge(&[0], read.as_ref(), &[0]);
                    results(case, state.as_ref(), &Errors::default());
                }
            }
        }
    }
}

#[test]
fn every_aggregate_is_among_the_cases_for_every_type_it_takes() {
    let cases_of = |name| CASES.iter().filter(|c| c.function.name() == name).count();
    for entry in aggregates() {
        let expected = match entry.name {
            "any" | "all" | "count_if" | "string_join" => 1,
            // With each of two numbers as the constant.
            "ema" => 2 * 2,
            "variance" => 2,
            "sum" | "stddev" => 3,
            "avg" | "median" => 4,
            "percentile" => 2 * 4,
            "min" | "max" => 6,
            "top_k" => 2 * 9,
            // With and without an argument.
            "count" | "collect" => 2 * 9,
            _ => 9,
        };
        assert_eq!(cases_of(entry.name), expected, "{}", entry.name);
    }
}

#[test]
fn a_sum_that_overflows_is_null_and_counted() {
    let aggregate = Aggregate {
        function: AggregateFunction::Sum,
        args: vec![0],
        arg_types: vec![Type::Int.required()],
        ty: Type::Int.optional(),
    };
    let mut state = aggregate.accumulator();
    let column = array_of_values(&Type::Int.required(), &[Value::Int(i64::MAX), Value::Int(1), Value::Int(-5)]);
    state.update(&Rows { slots: &[0, 0, 1], times: &[0; 3], places: &[0; 3], seq: None }, &[column]);
    let errors = Errors::default();
    let sums = state.output(&[0, 1], &errors);
    assert_eq!(value_at(&sums, &aggregate.ty, 0), Value::Null);
    assert_eq!(value_at(&sums, &aggregate.ty, 1), Value::Int(-5));
    assert_eq!(errors.count(), 1);
}
