//! Joins of two inputs: what one is, and the rows that it holds, without the graph around it.
//!
//! A join pairs each row of its first input, the left one, with every row of the second that has the same key, is
//! near enough in time, and satisfies what else the program asks. Which rows are near does not depend on when they
//! come, so that nothing is ordered: a row is paired with what the other side holds when it arrives, and held for
//! those that come later until the watermark proves that there are none.

pub mod held;
pub mod reach;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use self::reach::Reach;
use crate::data::DataType;
use crate::expr::{Expr, add_columns, remap};

/// One join of two inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// Whether rows of the left and of the right input come out that nothing was paired with.
    pub keeps: [bool; 2],
    /// The key of each side over its columns, part by part of one type. Rows of which a part is null have no pair.
    pub keys: [Vec<Expr>; 2],
    pub reach: Reach,
    /// What pairs must satisfy beyond that, over the columns of the left input and then of the right one.
    pub residual: Option<Expr>,
    /// The columns that come out, as positions among those of the left input and then of the right one.
    pub output: Vec<usize>,
}

/// The join with an equality that keeps the rows of these sides.
pub fn name_of(keeps: [bool; 2]) -> &'static str {
    match keeps {
        [false, false] => "join",
        [true, false] => "left_join",
        [false, true] => "right_join",
        [true, true] => "full_join",
    }
}

impl Join {
    /// `left_join` and its kin, by what they keep.
    pub fn name(&self) -> &'static str {
        if self.keeps == [false, false] && self.keys[0].is_empty() { "cross_join" } else { name_of(self.keeps) }
    }

    /// The columns that are read of the rows held, as positions among those of both inputs.
    pub fn held_columns(&self) -> BTreeSet<usize> {
        let mut columns: BTreeSet<usize> = self.output.iter().copied().collect();
        self.residual.iter().for_each(|e| add_columns(e, &mut columns));
        columns
    }

    /// How far what comes out may trail the watermark, where rows may be late by so much.
    pub fn delay_ns(&self, lateness_ns: i64) -> i64 {
        let kept = [0, 1].into_iter().filter(|side| self.keeps[*side]).map(|side| self.reach.wait_ns(side));
        lateness_ns.saturating_add(kept.max().unwrap_or(0))
    }

    /// Every expression replaced by `f` of it, given the side whose columns it is over; `None`: both sides'.
    pub fn map(&mut self, f: &mut dyn FnMut(Expr, Option<usize>) -> Expr) {
        let mut change = |e: &mut Expr, side| *e = f(std::mem::replace(e, Expr::EventTime), side);
        for (side, key) in self.keys.iter_mut().enumerate() {
            key.iter_mut().for_each(|e| change(e, Some(side)));
        }
        self.residual.iter_mut().for_each(|e| change(e, None));
    }

    /// The same join over inputs whose columns have moved; `moved` is asked for those that it reads.
    pub fn moved(&mut self, left_width: usize, moved: [&dyn Fn(usize) -> usize; 2], new_left_width: usize) {
        let both = |i: usize| match i.checked_sub(left_width) {
            None => moved[0](i),
            Some(right) => new_left_width + moved[1](right),
        };
        self.map(&mut |e, side| match side {
            Some(side) => remap(e, &|i| moved[side](i)),
            None => remap(e, &both),
        });
        self.output.iter_mut().for_each(|i| *i = both(*i));
    }

    /// The types of what comes out: a side that may have no row is null throughout.
    pub fn output_types(&self, inputs: [&[DataType]; 2]) -> Vec<DataType> {
        let ty = |&i: &usize| {
            let (side, column) = match i.checked_sub(inputs[0].len()) {
                None => (0, i),
                Some(right) => (1, right),
            };
            let ty = inputs[side][column].clone();
            let nullable = ty.nullable || self.keeps[1 - side];
            ty.with_nullable(nullable)
        };
        self.output.iter().map(ty).collect()
    }
}
