//! The operators of which tables that follow from tables are made.
//!
//! Their inputs are *changes*: rows that end with the column `$diff`, how often they come or go. So are their outputs,
//! in any order and not yet certain, until `Settle` puts them in order. Unlike the operators of streams they see rows
//! go, and keep their results up to date.

use serde::{Deserialize, Serialize};

use crate::data::{DataType, Type};
use crate::expr::{Aggregate, Expr};
use crate::sema::hir::SortKey;

/// See the module's doc. The inputs of a node are as many as the variant says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Relate {
    /// The changes of a base table as they come, and all over again after a restart, since nothing is saved of what
    /// follows from them. Output: the input's columns.
    Feed,
    /// The rows of the input by a key, for those that read them by it. Output: the input's columns.
    Arrange { key: Vec<Expr> },
    /// The pairs of rows of two arranged inputs with equal keys. Output: the columns of the first without `$diff`, those
    /// of the second.
    Join,
    /// The rows of the first input with which no row of the second begins. `key` is the table's, over either. Output:
    /// the columns of the first.
    Unmatched { key: Vec<Expr> },
    /// For each key that has rows, the key, the aggregates over them, `$diff`.
    Aggregate { key: Vec<Expr>, aggregates: Vec<Aggregate> },
    /// The different values of `by`. Output: those, `$diff`.
    Distinct { by: Vec<Expr> },
    /// Of each key the first `n` rows by `order`, then by their values. Output: the input's columns.
    Top { key: Vec<Expr>, order: Vec<SortKey>, n: u64 },
    /// What changes come to at each event time, in order of time and key. Output: the input's columns. What rows are
    /// looked up in has one of its own: its table, which it fills, begins with the whole contents when both are new.
    Settle { key: Vec<Expr>, is_looked_up: bool },
}

/// A join with another table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableJoin {
    /// Whether rows of a side stay that are in no pair.
    pub keeps: [bool; 2],
    /// Equal in a pair: over the rows before, and over the other table's changes.
    pub keys: [Vec<Expr>; 2],
    /// What else holds of a pair: over the columns of both without the first `$diff`.
    pub residual: Option<Expr>,
    /// The key of the rows before, and that of the other table, over its changes.
    pub ids: [Vec<Expr>; 2],
}

impl Relate {
    /// What it is called, for `explain` and names of states.
    pub fn name(&self) -> &'static str {
        match self {
            Relate::Feed => "feed",
            Relate::Arrange { .. } => "arrange",
            Relate::Join => "join",
            Relate::Unmatched { .. } => "unmatched",
            Relate::Aggregate { .. } => "aggregate",
            Relate::Distinct { .. } => "distinct",
            Relate::Top { .. } => "top",
            Relate::Settle { is_looked_up: false, .. } => "settle",
            Relate::Settle { is_looked_up: true, .. } => "contents",
        }
    }

    /// Every expression over the first input.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            Relate::Feed | Relate::Join => Vec::new(),
            Relate::Arrange { key } | Relate::Unmatched { key } | Relate::Settle { key, .. } => key.iter().collect(),
            Relate::Distinct { by } => by.iter().collect(),
            Relate::Aggregate { key, .. } => key.iter().collect(),
            Relate::Top { key, order, .. } => key.iter().chain(order.iter().map(|k| &k.expr)).collect(),
        }
    }

    /// The types of its columns over inputs with columns of these types.
    pub fn output_types(&self, inputs: &[Vec<DataType>]) -> Vec<DataType> {
        let types = |exprs: &[Expr]| exprs.iter().map(Expr::data_type).collect::<Vec<_>>();
        let diff = [Type::Int.required()];
        match self {
            Relate::Feed
            | Relate::Arrange { .. }
            | Relate::Unmatched { .. }
            | Relate::Top { .. }
            | Relate::Settle { .. } => inputs[0].clone(),
            Relate::Join => {
                let (_, left) = inputs[0].split_last().expect("changes have a column that says how often");
                [left, &inputs[1]].concat()
            }
            Relate::Aggregate { key, aggregates } => {
                types(key).into_iter().chain(aggregates.iter().map(|a| a.ty.clone())).chain(diff).collect()
            }
            Relate::Distinct { by } => types(by).into_iter().chain(diff).collect(),
        }
    }
}
