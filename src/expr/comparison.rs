//! The operators that compare, as a type of their own: what one of them says of an order, and what it is with its
//! sides exchanged.
//!
//! [`BinaryOp`] lists all binary operators, as programs write them. Whoever treats those that compare alike, and the
//! others differently, asks [`BinaryOp::family`], so that the list of either stands here alone.

use std::cmp::Ordering;

use super::BinaryOp;

/// See the module's doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What kind of operator one is, by what evaluates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Of numbers, instants and durations, and `+` of strings.
    Arithmetic,
    Comparison(Comparison),
    Like,
    Matches,
}

impl BinaryOp {
    pub fn family(self) -> Family {
        match self {
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::FloorDivide
            | BinaryOp::Modulo
            | BinaryOp::Power
            | BinaryOp::BitAnd
            | BinaryOp::BitOr
            | BinaryOp::BitXor
            | BinaryOp::ShiftLeft
            | BinaryOp::ShiftRight => Family::Arithmetic,
            BinaryOp::Equal => Family::Comparison(Comparison::Equal),
            BinaryOp::NotEqual => Family::Comparison(Comparison::NotEqual),
            BinaryOp::Less => Family::Comparison(Comparison::Less),
            BinaryOp::LessOrEqual => Family::Comparison(Comparison::LessOrEqual),
            BinaryOp::Greater => Family::Comparison(Comparison::Greater),
            BinaryOp::GreaterOrEqual => Family::Comparison(Comparison::GreaterOrEqual),
            BinaryOp::Like => Family::Like,
            BinaryOp::Matches => Family::Matches,
        }
    }

    /// `None` of what does not compare.
    pub fn comparison(self) -> Option<Comparison> {
        match self.family() {
            Family::Comparison(comparison) => Some(comparison),
            Family::Arithmetic | Family::Like | Family::Matches => None,
        }
    }
}

impl Comparison {
    /// As it is written in a program.
    pub fn symbol(self) -> &'static str {
        let op = match self {
            Comparison::Equal => BinaryOp::Equal,
            Comparison::NotEqual => BinaryOp::NotEqual,
            Comparison::Less => BinaryOp::Less,
            Comparison::LessOrEqual => BinaryOp::LessOrEqual,
            Comparison::Greater => BinaryOp::Greater,
            Comparison::GreaterOrEqual => BinaryOp::GreaterOrEqual,
        };
        op.symbol()
    }

    /// Whether it is true of a left side that is `order` to the right one.
    #[inline]
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The one that says the same with the sides exchanged.
    pub fn flipped(self) -> Comparison {
        match self {
            Comparison::Equal => Comparison::Equal,
            Comparison::NotEqual => Comparison::NotEqual,
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        }
    }

    /// Whether it asks of values more than that they are equal or not, which not all types can say.
    pub fn needs_order(self) -> bool {
        match self {
            Comparison::Equal | Comparison::NotEqual => false,
            Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_comparison_says_the_same_of_exchanged_sides() {
        let symbols = ["==", "!=", "<", "<=", ">", ">="];
        let all = [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ];
        for (comparison, symbol) in all.into_iter().zip(symbols) {
            assert_eq!(comparison.symbol(), symbol);
            for order in [Ordering::Less, Ordering::Equal, Ordering::Greater] {
                assert_eq!(comparison.holds(order), comparison.flipped().holds(order.reverse()), "{symbol} {order:?}");
            }
        }
        assert_eq!(BinaryOp::LessOrEqual.comparison(), Some(Comparison::LessOrEqual));
        assert_eq!(BinaryOp::Matches.comparison(), None);
    }
}
