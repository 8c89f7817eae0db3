//! Operator precedence: a flat row of operands and operators to a tree.
//!
//! The order is that of the language's definition, loosest first:
//!
//! ```text
//! or   and   not   == != < <= > >= in like matches is null   ??   |   ^   &   << >>   + -   * / // %   **   - ~
//! ```
//!
//! All are left-associative but `**`; comparisons do not associate at all. Unary minus binds tighter
//! than `**`, so that `-2 ** 2` is 4: a warning says so, since other languages differ. `not` needs
//! parentheses on the right of anything that binds tighter than it.
//!
//! The grammar could hold a rule for each level; but then every parenthesis would cost fifteen nested
//! calls of the parser, and the depth of the tree would be known only after it was built.

use std::ops::Range;

use super::{Builder, EXPRESSION_DEPTH_MAX};
use crate::diagnostic::{Diagnostic, codes};
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use crate::syntax::reports::Reports;

pub const OR: u8 = 1;
pub const AND: u8 = 2;
pub const NOT: u8 = 3;
pub const COMPARISON: u8 = 4;
pub const COALESCE: u8 = 5;
pub const POWER: u8 = 12;
pub const UNARY: u8 = 13;
/// Literals, calls, fields: what needs no parentheses anywhere.
pub const PRIMARY: u8 = 14;
const LEVELS: usize = PRIMARY as usize + 1;

/// An element of the row.
pub enum Part<P> {
    Prefix(UnaryOp, Range<usize>),
    Operand(P),
    Infix(Infix, Range<usize>),
    IsNull { negated: bool, range: Range<usize> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Infix {
    Binary(BinaryOp),
    In { negated: bool },
}

impl Infix {
    pub fn precedence(self) -> u8 {
        match self {
            Infix::Binary(op) => precedence(op),
            Infix::In { .. } => COMPARISON,
        }
    }
}

pub fn precedence(op: BinaryOp) -> u8 {
    use BinaryOp::*;
    match op {
        Or => OR,
        And => AND,
        Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual | Like | Matches => COMPARISON,
        Coalesce => COALESCE,
        BitOr => 6,
        BitXor => 7,
        BitAnd => 8,
        ShiftLeft | ShiftRight => 9,
        Add | Subtract => 10,
        Multiply | Divide | FloorDivide | Modulo => 11,
        Power => POWER,
    }
}

fn unary_precedence(op: UnaryOp) -> u8 {
    match op {
        UnaryOp::Not => NOT,
        UnaryOp::Negate | UnaryOp::BitNot => UNARY,
    }
}

/// Checks a row and gives a bound of the depth that its operators add to the tree: for each level the
/// longest run of its operators between two looser ones.
pub fn check<P>(parts: &[Part<P>], reports: &mut Reports) -> usize {
    let (mut runs, mut longest) = ([0usize; LEVELS], [0usize; LEVELS]);
    let mut before = 0u8;
    let mut comparison: Option<Range<usize>> = None;
    for part in parts {
        let level = match part {
            Part::Operand(_) => continue,
            Part::Prefix(op, range) => {
                let level = unary_precedence(*op);
                if level < before {
                    let hint = Some("write the negated part in parentheses, as in `(not x)`".to_string());
                    let message = "`not` binds looser than the operator before it";
                    reports.error(codes::UNEXPECTED, range.clone(), message, hint);
                }
                level
            }
            Part::Infix(op, range) => {
                let level = op.precedence();
                if level == POWER && before == UNARY {
                    let message = "unary minus binds tighter than `**`";
                    let warning = Diagnostic::warning(codes::NEGATED_POWER, reports.span(range.clone()), message);
                    reports.push(warning.with_hint("write `(-a) ** b` or `-(a ** b)`"));
                }
                level
            }
            Part::IsNull { .. } => COMPARISON,
        };
        if let Part::Infix(_, range) | Part::IsNull { range, .. } = part {
            if level < COMPARISON {
                comparison = None;
            } else if level == COMPARISON
                && let Some(first) = comparison.replace(range.clone())
            {
                let message = "comparisons do not chain";
                let error = Diagnostic::error(codes::CHAINED_COMPARISON, reports.span(range.clone()), message)
                    .with_label(reports.span(first), "the first comparison")
                    .with_hint("write `a < b and b < c`, or use parentheses");
                reports.push(error);
            }
        }
        before = level;
        let level = usize::from(level);
        runs[level + 1..].fill(0);
        runs[level] += 1;
        longest[level] = longest[level].max(runs[level]);
    }
    longest.iter().sum()
}

/// What waits on the operator stack for its right operand.
enum Waiting {
    Prefix(UnaryOp, Range<usize>),
    Infix(Infix),
}

impl Waiting {
    fn precedence(&self) -> u8 {
        match self {
            Waiting::Prefix(op, _) => unary_precedence(*op),
            Waiting::Infix(op) => op.precedence(),
        }
    }
}

/// The tree of a row that [`check`] has passed; `operand` builds the leaves.
pub fn climb<'r, P>(
    builder: &mut Builder<'r>,
    parts: Vec<Part<P>>,
    mut operand: impl FnMut(&mut Builder<'r>, P) -> Expr,
) -> Expr {
    let mut operands: Vec<Expr> = Vec::new();
    let mut waiting: Vec<Waiting> = Vec::new();
    for part in parts {
        match part {
            Part::Prefix(op, range) => waiting.push(Waiting::Prefix(op, range)),
            Part::Operand(pair) => operands.push(operand(builder, pair)),
            Part::Infix(op, _) => {
                let level = op.precedence();
                let right = level == POWER;
                reduce(builder, &mut operands, &mut waiting, if right { level + 1 } else { level });
                waiting.push(Waiting::Infix(op));
            }
            Part::IsNull { negated, range } => {
                reduce(builder, &mut operands, &mut waiting, COMPARISON);
                if let Some(arg) = operands.pop() {
                    let span = arg.span.to(builder.reports.span(range));
                    operands.push(Expr { kind: ExprKind::IsNull { arg: Box::new(arg), negated }, span });
                }
            }
        }
    }
    reduce(builder, &mut operands, &mut waiting, 0);
    match operands.pop() {
        Some(expr) => expr,
        None => unreachable!("the grammar begins a row with an operand"),
    }
}

/// Applies the waiting operators that bind at least as tightly as `level`.
fn reduce(builder: &Builder<'_>, operands: &mut Vec<Expr>, waiting: &mut Vec<Waiting>, level: u8) {
    while let Some(top) = waiting.pop_if(|top| top.precedence() >= level) {
        let Some(right) = operands.pop() else { return };
        let (kind, span) = match top {
            Waiting::Prefix(op, range) => {
                let span = builder.reports.span(range).to(right.span);
                (ExprKind::Unary { op, arg: Box::new(right) }, span)
            }
            Waiting::Infix(op) => {
                let Some(left) = operands.pop() else { return };
                let span = left.span.to(right.span);
                (binary(op, Box::new(left), Box::new(right)), span)
            }
        };
        operands.push(Expr { kind, span });
    }
}

fn binary(op: Infix, left: Box<Expr>, right: Box<Expr>) -> ExprKind {
    match op {
        Infix::Binary(op) => ExprKind::Binary { op, left, right },
        Infix::In { negated } => ExprKind::In { value: left, list: right, negated },
    }
}

impl Builder<'_> {
    /// Runs `build` with `by` levels of depth used up, or reports that there are too many.
    pub fn deeper(&mut self, by: usize, range: Range<usize>, build: impl FnOnce(&mut Self) -> Expr) -> Expr {
        if self.level + by > EXPRESSION_DEPTH_MAX {
            let message = format!("an expression of more than {EXPRESSION_DEPTH_MAX} levels");
            let hint = Some("use a list, as in `x in [1, 2, 3]`, or name parts with `fn` or `.extend`".to_string());
            let span = self.reports.span(range.clone());
            self.reports.error(codes::TOO_DEEP, range, message, hint);
            return Expr { kind: ExprKind::Error, span };
        }
        self.level += by;
        let expr = build(self);
        self.level -= by;
        expr
    }
}
