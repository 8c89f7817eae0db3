//! The table of aggregates, and their accumulators.
//!
//! An accumulator holds the states of many groups in columns, addressed by *slot*: the operator's
//! [`Table`](crate::state::Table) maps a key to a slot, and one call updates a whole batch. No result
//! depends on the order in which rows arrive or on how they were spread over workers: sums are exact,
//! what depends on order keeps it with the values. Sequences follow (`_time`, `_seq`), ties between
//! values of one frequency (`_at`, `_seq`), and then the values themselves decide.

mod balance;
mod count;
mod distinct;
mod domain;
mod encoded;
mod exact;
mod extreme;
mod grouped;
mod order;
mod quantile;
#[cfg(any(test, feature = "checked"))]
pub mod reference;
mod sequence;
mod sketch;
mod spread;
mod state;
mod sum;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::ArrayRef;
use serde::{Deserialize, Serialize};

use super::Errors;
use crate::data::{DataType, Seq, Type};
pub use balance::Balance;
use count::{Count, Quantifier};
use distinct::{CountDistinct, InOrder, Mode, Tallied, TopK};
use domain::{Bools, Floats, Ints, Strings};
use encoded::Encoded;
use exact::Spread;
use extreme::{End, Extreme};
use grouped::Grouped;
use quantile::{BetweenFloats, BetweenInts, BetweenTimes, Quantile};
use sequence::{Collect, Ema, Skip, StringJoin};
use sketch::ApproxCountDistinct;
use spread::{OfDurations, OfFloats, OfInts, SpreadOf};
use sum::{MeanOfFloats, MeanOfInts, MeanOfTimes, SumOfFloats, SumOfInts, Totalled};
pub use table::{AggregateCall, AggregateEntry, ResolvedAggregate, aggregate, aggregates};

/// The accumulator of a fold that is generic over the domain of the first argument.
macro_rules! over_values {
    ($aggregate:expr, $fold:expr) => {{
        let ty = &$aggregate.arg_types[0];
        match &ty.ty {
            Type::Int | Type::Timestamp | Type::Duration => Grouped::boxed($fold(Ints)),
            Type::Float => Grouped::boxed($fold(Floats)),
            Type::Bool => Grouped::boxed($fold(Bools)),
            Type::Str => Grouped::boxed($fold(Strings)),
            Type::Null | Type::List(_) | Type::Map(_) | Type::Record(_) => {
                Grouped::boxed($fold(Encoded::value(ty.clone())))
            }
        }
    }};
}

/// One aggregate call of a plan. Arguments are columns of the operator's input, evaluated before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    pub function: AggregateFunction,
    /// Positions, in the operator's input, of the columns that the call aggregates.
    pub args: Vec<usize>,
    /// Types of those columns, after widening.
    pub arg_types: Vec<DataType>,
    /// Type of the result.
    pub ty: DataType,
}

/// What is aggregated. Constant parameters are part of the function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AggregateFunction {
    /// `count()`: rows.
    CountRows,
    /// `count(x)`: rows where x is not null.
    Count,
    /// `count_if(e)`: rows where e is true.
    CountIf,
    Sum,
    Avg,
    Min,
    Max,
    /// By (event time, `_seq`), skipping nulls.
    First,
    Last,
    /// Sample standard deviation and variance; null for fewer than two values.
    Stddev,
    Variance,
    Median,
    /// Linear interpolation between closest ranks; `p` in 0..=1, as `quantile_cont` has it elsewhere.
    Percentile {
        p: f64,
    },
    CountDistinct,
    ApproxCountDistinct,
    /// `collect(x)`: the values in order.
    Collect,
    /// `collect()`: the rows in order, as records; `args` are all their columns.
    CollectRows,
    /// The different values, in the order in which each came first.
    CollectDistinct,
    /// Exponential moving average over `n` rows in event-time order, alpha = 2 / (n + 1).
    Ema {
        n: u32,
    },
    /// The most frequent value; ties go to the one that was first by (place, `_seq`).
    Mode,
    /// The `k` most frequent values, most frequent first, ties as `mode`.
    TopK {
        k: u32,
    },
    Any,
    All,
    StringJoin {
        sep: Arc<str>,
    },
}

/// The rows of a batch as an accumulator sees them.
pub struct Rows<'a> {
    /// The slot of each row's group.
    pub slots: &'a [u32],
    pub times: &'a [i64],
    /// `_at`, by which the most frequent values are ranked where they tie.
    pub places: &'a [i64],
    /// Where rows of equal time stand; without it (rows of a window upstream) ties fall to the values.
    pub seq: Option<&'a Seq>,
}

/// The states of one aggregate for all groups, addressed by slot.
///
/// # Contract
/// - `update`, `merge` and `decode` grow the accumulator to the slots they are given.
/// - A slot that was never updated, or was cleared, is the empty group.
/// - `merge` is exact: any order and grouping of merges gives the same result as updating with all rows.
/// - `output` does not change the state.
pub trait Accumulator {
    fn update(&mut self, rows: &Rows<'_>, args: &[ArrayRef]);

    /// Updates row by row, and gives for each row the result of its group after it.
    ///
    /// Rows come in order, from one call to the next as well, and the state is never merged: so that
    /// no aggregate has to go over its past for every row, unless its result does.
    fn running(&mut self, rows: &Rows<'_>, args: &[ArrayRef], errors: &Errors) -> ArrayRef;

    /// For each i, merges slot `from[i]` of `other`, an accumulator of the same aggregate, into slot `into[i]`.
    fn merge(&mut self, into: &[u32], other: &dyn Accumulator, from: &[u32]);

    /// The results of `slots`, in that order. What overflows the result type is null and counted.
    fn output(&self, slots: &[u32], errors: &Errors) -> ArrayRef;

    /// Makes the slots empty groups again, giving back what they hold.
    fn clear(&mut self, slots: &[u32]);

    /// Appends the state of a slot in a self-delimiting, versioned form.
    fn encode(&self, slot: u32, out: &mut Vec<u8>);

    /// Reads back what `encode` wrote into an empty slot, taking it off the front of `bytes`.
    fn decode(&mut self, slot: u32, bytes: &mut &[u8]) -> Result<(), StateError>;

    /// Heap bytes held, approximately.
    fn bytes(&self) -> usize;

    /// For downcasts in `merge`.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A saved state that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the saved state of `{aggregate}` is damaged: {reason}")]
pub struct StateError {
    pub aggregate: &'static str,
    pub reason: &'static str,
}

impl AggregateFunction {
    /// The name in the language.
    pub fn name(&self) -> &'static str {
        use AggregateFunction::*;
        match self {
            CountRows | Count => "count",
            CountIf => "count_if",
            Sum => "sum",
            Avg => "avg",
            Min => "min",
            Max => "max",
            First => "first",
            Last => "last",
            Stddev => "stddev",
            Variance => "variance",
            Median => "median",
            Percentile { .. } => "percentile",
            CountDistinct => "count_distinct",
            ApproxCountDistinct => "approx_count_distinct",
            Collect | CollectRows => "collect",
            CollectDistinct => "collect_distinct",
            Ema { .. } => "ema",
            Mode => "mode",
            TopK { .. } => "top_k",
            Any => "any",
            All => "all",
            StringJoin { .. } => "string_join",
        }
    }

    /// Whether results depend on the order of rows, so that `_time` and `_seq` must be kept.
    pub fn is_ordered(&self) -> bool {
        use AggregateFunction::*;
        match self {
            First | Last | Collect | CollectRows | CollectDistinct | Ema { .. } | Mode | TopK { .. } => true,
            StringJoin { .. } => true,
            CountRows | Count | CountIf | Sum | Avg | Min | Max | Stddev | Variance | Median => false,
            Percentile { .. } | CountDistinct | ApproxCountDistinct | Any | All => false,
        }
    }

    /// Whether the result of an empty group is a value: 0 or an empty list. Of others it is null.
    pub fn has_empty_result(&self) -> bool {
        use AggregateFunction::*;
        match self {
            CountRows | Count | CountIf | CountDistinct | ApproxCountDistinct => true,
            Collect | CollectRows | CollectDistinct | TopK { .. } => true,
            Sum | Avg | Min | Max | First | Last | Stddev | Variance | Median | Percentile { .. } => false,
            Ema { .. } | Mode | Any | All | StringJoin { .. } => false,
        }
    }
}

/// Accumulators for aggregates, without any groups.
pub fn accumulators(aggregates: &[Aggregate]) -> Vec<Box<dyn Accumulator>> {
    aggregates.iter().map(Aggregate::accumulator).collect()
}

impl Aggregate {
    /// An accumulator without any groups.
    pub fn accumulator(&self) -> Box<dyn Accumulator> {
        match &self.function {
            AggregateFunction::CountRows => Grouped::boxed(Count::Rows),
            AggregateFunction::Count => Grouped::boxed(Count::Values),
            AggregateFunction::CountIf => Grouped::boxed(Count::True),
            AggregateFunction::Any => Grouped::boxed(Quantifier::Any),
            AggregateFunction::All => Grouped::boxed(Quantifier::All),
            AggregateFunction::Sum => match self.measure() {
                Numeric::Float => Grouped::boxed(Totalled::<SumOfFloats>::new()),
                Numeric::Int | Numeric::Time => Grouped::boxed(Totalled::<SumOfInts>::new()),
            },
            AggregateFunction::Avg => match self.measure() {
                Numeric::Float => Grouped::boxed(Totalled::<MeanOfFloats>::new()),
                Numeric::Int => Grouped::boxed(Totalled::<MeanOfInts>::new()),
                Numeric::Time => Grouped::boxed(Totalled::<MeanOfTimes>::new()),
            },
            AggregateFunction::Stddev => self.spread(Spread::Stddev),
            AggregateFunction::Variance => self.spread(Spread::Variance),
            AggregateFunction::Median => self.quantile(0.5),
            AggregateFunction::Percentile { p } => self.quantile(*p),
            AggregateFunction::Min => over_values!(self, Extreme::<_, false>),
            AggregateFunction::Max => over_values!(self, Extreme::<_, true>),
            AggregateFunction::First => over_values!(self, End::<_, false>),
            AggregateFunction::Last => over_values!(self, End::<_, true>),
            AggregateFunction::CountDistinct => over_values!(self, CountDistinct),
            AggregateFunction::ApproxCountDistinct => over_values!(self, ApproxCountDistinct),
            AggregateFunction::Mode => over_values!(self, |domain| Tallied { domain, ranking: Mode }),
            AggregateFunction::TopK { k } => {
                over_values!(self, |domain| Tallied { domain, ranking: TopK { k: *k as usize, item: self.item() } })
            }
            AggregateFunction::CollectDistinct => {
                over_values!(self, |domain| Tallied { domain, ranking: InOrder { item: self.item() } })
            }
            AggregateFunction::Collect => {
                over_values!(self, |domain| Collect { domain, item: self.item(), skip: Skip::Nulls })
            }
            AggregateFunction::CollectRows => {
                let domain = Encoded::row(self.arg_types.clone(), self.item());
                Grouped::boxed(Collect { domain, item: self.item(), skip: Skip::Nothing })
            }
            AggregateFunction::StringJoin { sep } => Grouped::boxed(StringJoin { sep: sep.clone() }),
            AggregateFunction::Ema { n } => Grouped::boxed(Ema::new(*n)),
        }
    }

    fn spread(&self, spread: Spread) -> Box<dyn Accumulator> {
        match self.measure() {
            Numeric::Float => Grouped::boxed(SpreadOf::<OfFloats>::new(spread)),
            Numeric::Int => Grouped::boxed(SpreadOf::<OfInts>::new(spread)),
            Numeric::Time => Grouped::boxed(SpreadOf::<OfDurations>::new(spread)),
        }
    }

    fn quantile(&self, p: f64) -> Box<dyn Accumulator> {
        match self.measure() {
            Numeric::Float => Grouped::boxed(Quantile::<BetweenFloats>::new(p)),
            Numeric::Int => Grouped::boxed(Quantile::<BetweenInts>::new(p)),
            Numeric::Time => Grouped::boxed(Quantile::<BetweenTimes>::new(p)),
        }
    }

    /// What is measured by the first argument.
    fn measure(&self) -> Numeric {
        match &self.arg_types[0].ty {
            Type::Float => Numeric::Float,
            Type::Int => Numeric::Int,
            Type::Timestamp | Type::Duration => Numeric::Time,
            other @ (Type::Null | Type::Bool | Type::Str | Type::List(_) | Type::Map(_) | Type::Record(_)) => {
                unreachable!("calls that measure a {other} do not resolve")
            }
        }
    }

    /// The type of the items of the result, a list.
    fn item(&self) -> DataType {
        match &self.ty.ty {
            Type::List(item) => (**item).clone(),
            other => unreachable!("the result is a list, not a {other}"),
        }
    }
}

/// The types that sums, means and quantiles tell apart.
enum Numeric {
    Int,
    Float,
    /// Durations and timestamps: results are of the same type.
    Time,
}
