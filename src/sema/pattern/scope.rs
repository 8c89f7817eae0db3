//! The steps of a pattern as its expressions see them: by alias, and from where.
//!
//! What an alias means depends on the place of the step and on the place that asks: one row, many rows, or rows
//! that no run has taken yet. The ways from the pattern's root to the two steps tell.

use std::cell::Cell;

use crate::data::Field;
use crate::diagnostic::Span;
use crate::expr::Expr;
use crate::sema::row::Row;

/// One turn on the way from a pattern's root to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// The member of a sequence.
    Sequence(usize),
    /// The member of an `and`.
    AnyOrder(usize),
    /// The member of an `or`.
    OneOf(usize),
    /// Under a quantifier that allows many rounds, or none.
    Repeat {
        many: bool,
        none: bool,
    },
    Not,
}

/// A step with what its expressions need to know of it.
#[derive(Debug)]
pub struct Capture {
    pub alias: Option<(String, Span)>,
    /// The event type or stream.
    pub event: String,
    /// Its rows in the pattern's common schema: a field of another source has a hidden name.
    pub row: Row,
    /// The fields in the order in which their type has them: positions in `row`.
    pub order: Vec<usize>,
    pub path: Vec<Branch>,
    pub used: Cell<bool>,
}

/// All that the expressions of a pattern see.
#[derive(Debug)]
pub struct Scope {
    pub steps: Vec<Capture>,
    /// The parts of the key that have names of their own; `None`: computed.
    pub key_names: Vec<Option<String>>,
}

/// What an alias is from some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The row that the condition judges.
    Own,
    /// One row; `optional`: or none.
    Single {
        optional: bool,
    },
    Many,
    Unbound(Unbound),
}

/// Why there are no rows yet, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbound {
    Later,
    AnyOrder,
    OtherBranch,
    Negated,
}

impl Capture {
    /// Its alias, or else its type.
    pub fn name(&self) -> &str {
        self.alias.as_ref().map_or(&self.event, |(name, _)| name)
    }

    /// Whether it can take more than one row.
    pub fn is_repeated(&self) -> bool {
        self.path.iter().any(|b| matches!(b, Branch::Repeat { many: true, .. }))
    }

    /// The fields with their positions, as their type has them.
    pub fn fields(&self) -> Vec<(usize, Field)> {
        self.order.iter().map(|&i| (i, self.row.schema.fields[i].clone())).collect()
    }
}

impl Scope {
    pub fn by_alias(&self, alias: &str) -> Option<usize> {
        self.steps.iter().position(|s| s.alias.as_ref().is_some_and(|(name, _)| name == alias))
    }

    /// The values of the key's parts, over the input.
    pub fn key_of_row(&self) -> Vec<Expr> {
        self.steps.first().map(|s| s.row.key()).unwrap_or_default()
    }

    /// What step `of` is from the condition of step `from`, or, without one, from the whole match.
    pub fn seen(&self, of: usize, from: Option<usize>) -> Seen {
        if from == Some(of) {
            return Seen::Own;
        }
        let path = &self.steps[of].path;
        if path.last() == Some(&Branch::Not) {
            return Seen::Unbound(Unbound::Negated);
        }
        let mut apart = 0;
        if let Some(from) = from {
            let other = &self.steps[from].path;
            apart = path.iter().zip(other).take_while(|(a, b)| a == b).count();
            match (path.get(apart), other.get(apart)) {
                (Some(Branch::Sequence(of)), Some(Branch::Sequence(from))) if of > from => {
                    return Seen::Unbound(Unbound::Later);
                }
                (Some(Branch::AnyOrder(_)), _) => return Seen::Unbound(Unbound::AnyOrder),
                (Some(Branch::OneOf(_)), _) => return Seen::Unbound(Unbound::OtherBranch),
                (_, _) => {}
            }
        }
        let below = &path[apart..];
        match below.iter().any(|b| matches!(b, Branch::Repeat { many: true, .. })) {
            true => Seen::Many,
            false => Seen::Single { optional: may_lack(below) },
        }
    }

    /// Whether step `of` may have taken no row where the condition of step `from` asks, or the whole match.
    pub fn may_lack(&self, of: usize, from: Option<usize>) -> bool {
        let path = &self.steps[of].path;
        let common = |from: usize| path.iter().zip(&self.steps[from].path).take_while(|(a, b)| a == b).count();
        from == Some(of) || may_lack(&path[from.map_or(0, common)..])
    }
}

fn may_lack(below: &[Branch]) -> bool {
    below.iter().any(|b| matches!(b, Branch::Repeat { none: true, .. } | Branch::OneOf(_)))
}
