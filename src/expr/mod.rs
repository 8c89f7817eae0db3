//! Typed scalar expressions, the one evaluator over batches, and the tables of functions and
//! aggregates.
//!
//! An [`Expr`] is what `sema` leaves of an expression of the language: names are column positions,
//! every node knows its type, sugar is gone, implicit widening is an explicit [`Expr::Cast`]. It is
//! part of the plan, so it can be serialized and printed. Nothing here knows streams or time.

pub mod aggregate;
mod comparison;
pub mod eval;
pub mod function;
#[cfg(any(test, feature = "checked"))]
pub mod generate;
#[cfg(any(test, feature = "checked"))]
pub mod reference;
pub mod text;
pub mod typing;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::data::{DataType, Type, Value};
pub use aggregate::Aggregate;
pub use comparison::{Comparison, Family};
pub use eval::{Errors, evaluate, evaluate_predicate};
pub use function::FunctionRef;

/// A typed scalar expression over the columns of one edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Expr {
    /// A column by position.
    Column {
        index: usize,
        ty: DataType,
    },
    Literal {
        value: Value,
        ty: DataType,
    },
    /// `_time` of the row.
    EventTime,
    /// `_at` of the row.
    Place,
    Unary {
        op: UnaryOp,
        arg: Box<Expr>,
        ty: DataType,
    },
    /// Both sides have the operand type that the operator needs (`sema` inserts casts).
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
        ty: DataType,
    },
    /// `and` and `or` of two or more, evaluated left to right over the rows still undecided.
    And(Vec<Expr>),
    Or(Vec<Expr>),
    IsNull(Box<Expr>),
    /// The first that is not null. All have the type `ty`.
    Coalesce {
        args: Vec<Expr>,
        ty: DataType,
    },
    /// Branches are evaluated only over the rows that take them.
    If {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
        ty: DataType,
    },
    /// `value in list`; null semantics of SQL.
    In {
        value: Box<Expr>,
        list: Box<Expr>,
    },
    Cast {
        arg: Box<Expr>,
        ty: DataType,
        on_failure: CastFailure,
    },
    /// A member of a record, by position.
    Field {
        record: Box<Expr>,
        index: usize,
        ty: DataType,
    },
    /// `list[i]` (0-based, negative from the end) or `map["key"]`; null when there is none.
    Index {
        container: Box<Expr>,
        index: Box<Expr>,
        ty: DataType,
    },
    /// `a[from:to]` of a list or string; either end may be missing.
    Slice {
        container: Box<Expr>,
        from: Option<Box<Expr>>,
        to: Option<Box<Expr>>,
        ty: DataType,
    },
    List {
        items: Vec<Expr>,
        ty: DataType,
    },
    /// Keys are strings.
    Map {
        entries: Vec<(String, Expr)>,
        ty: DataType,
    },
    Record {
        fields: Vec<Expr>,
        ty: DataType,
    },
    Call {
        function: FunctionRef,
        args: Vec<Expr>,
        ty: DataType,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UnaryOp {
    Not,
    /// Of int, float or duration.
    Negate,
    /// `~`, of int.
    BitNot,
}

/// What a binary operator computes. Operand types are equal but for the cases named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BinaryOp {
    /// Also timestamp + duration and str + str.
    Add,
    /// Also timestamp - duration and timestamp - timestamp (a duration).
    Subtract,
    /// Also duration * int and duration * float (number on the right).
    Multiply,
    /// Of floats; also duration / float (a duration) and duration / duration (a float).
    Divide,
    /// `//`, floor division of ints or floats; also duration // duration (an int).
    FloorDivide,
    /// `%`, with the sign of the divisor, of ints, floats or durations.
    Modulo,
    /// Of ints (a negative exponent fails) or floats.
    Power,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// SQL's `like`: `%` and `_`, `\` escapes.
    Like,
    /// A regular expression found anywhere in the string.
    Matches,
}

/// What a cast that cannot be done gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CastFailure {
    /// `cast(x as T)` and implicit widening: null, counted under `expr_errors`.
    Count,
    /// `try_cast(x as T)`: null.
    Null,
}

impl Expr {
    pub fn column(index: usize, ty: DataType) -> Expr {
        Expr::Column { index, ty }
    }

    pub fn literal(value: Value, ty: Type) -> Expr {
        let nullable = value.is_null();
        Expr::Literal { value, ty: DataType { ty, nullable } }
    }

    pub fn data_type(&self) -> DataType {
        match self {
            Expr::Column { ty, .. }
            | Expr::Literal { ty, .. }
            | Expr::Unary { ty, .. }
            | Expr::Binary { ty, .. }
            | Expr::Coalesce { ty, .. }
            | Expr::If { ty, .. }
            | Expr::Cast { ty, .. }
            | Expr::Field { ty, .. }
            | Expr::Index { ty, .. }
            | Expr::Slice { ty, .. }
            | Expr::List { ty, .. }
            | Expr::Map { ty, .. }
            | Expr::Record { ty, .. }
            | Expr::Call { ty, .. } => ty.clone(),
            Expr::EventTime | Expr::Place => Type::Timestamp.required(),
            Expr::And(args) | Expr::Or(args) => {
                Type::Bool.required().with_nullable(args.iter().any(|a| a.data_type().nullable))
            }
            Expr::IsNull(_) => Type::Bool.required(),
            Expr::In { value, list } => {
                let item_nullable = match list.data_type().ty {
                    Type::List(item) => item.nullable,
                    _ => false,
                };
                Type::Bool
                    .required()
                    .with_nullable(value.data_type().nullable || list.data_type().nullable || item_nullable)
            }
        }
    }

    /// Calls `visit` on every direct operand.
    pub fn for_each_child<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match self {
            Expr::Column { .. } | Expr::Literal { .. } | Expr::EventTime | Expr::Place => {}
            Expr::Unary { arg, .. } | Expr::Cast { arg, .. } | Expr::IsNull(arg) => visit(arg),
            Expr::Binary { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Expr::And(args) | Expr::Or(args) | Expr::Coalesce { args, .. } | Expr::Call { args, .. } => {
                args.iter().for_each(visit)
            }
            Expr::If { condition, then, otherwise, .. } => {
                visit(condition);
                visit(then);
                visit(otherwise);
            }
            Expr::In { value, list } => {
                visit(value);
                visit(list);
            }
            Expr::Field { record, .. } => visit(record),
            Expr::Index { container, index, .. } => {
                visit(container);
                visit(index);
            }
            Expr::Slice { container, from, to, .. } => {
                visit(container);
                from.iter().chain(to).for_each(|e| visit(e));
            }
            Expr::List { items, .. } => items.iter().for_each(visit),
            Expr::Record { fields, .. } => fields.iter().for_each(visit),
            Expr::Map { entries, .. } => entries.iter().for_each(|(_, e)| visit(e)),
        }
    }

    /// The same expression with every direct operand replaced by `f` of it.
    pub fn map_children(self, f: &mut dyn FnMut(Expr) -> Expr) -> Expr {
        let mut boxed = |e: Box<Expr>| Box::new(f(*e));
        match self {
            Expr::Column { .. } | Expr::Literal { .. } | Expr::EventTime | Expr::Place => self,
            Expr::Unary { op, arg, ty } => Expr::Unary { op, arg: boxed(arg), ty },
            Expr::Cast { arg, ty, on_failure } => Expr::Cast { arg: boxed(arg), ty, on_failure },
            Expr::IsNull(arg) => Expr::IsNull(boxed(arg)),
            Expr::Binary { op, left, right, ty } => Expr::Binary { op, left: boxed(left), right: boxed(right), ty },
            Expr::And(args) => Expr::And(args.into_iter().map(f).collect()),
            Expr::Or(args) => Expr::Or(args.into_iter().map(f).collect()),
            Expr::Coalesce { args, ty } => Expr::Coalesce { args: args.into_iter().map(f).collect(), ty },
            Expr::Call { function, args, ty } => Expr::Call { function, args: args.into_iter().map(f).collect(), ty },
            Expr::If { condition, then, otherwise, ty } => {
                Expr::If { condition: boxed(condition), then: boxed(then), otherwise: boxed(otherwise), ty }
            }
            Expr::In { value, list } => Expr::In { value: boxed(value), list: boxed(list) },
            Expr::Field { record, index, ty } => Expr::Field { record: boxed(record), index, ty },
            Expr::Index { container, index, ty } => {
                Expr::Index { container: boxed(container), index: boxed(index), ty }
            }
            Expr::Slice { container, from, to, ty } => {
                let container = boxed(container);
                let from = from.map(&mut boxed);
                Expr::Slice { container, from, to: to.map(boxed), ty }
            }
            Expr::List { items, ty } => Expr::List { items: items.into_iter().map(f).collect(), ty },
            Expr::Record { fields, ty } => Expr::Record { fields: fields.into_iter().map(f).collect(), ty },
            Expr::Map { entries, ty } => {
                Expr::Map { entries: entries.into_iter().map(|(k, e)| (k, f(e))).collect(), ty }
            }
        }
    }
}

/// `e` with every column moved.
pub fn remap(e: Expr, to: &dyn Fn(usize) -> usize) -> Expr {
    match e {
        Expr::Column { index, ty } => Expr::Column { index: to(index), ty },
        e => e.map_children(&mut |child| remap(child, to)),
    }
}

/// Adds the columns that `e` reads.
pub fn add_columns(e: &Expr, columns: &mut BTreeSet<usize>) {
    if let Expr::Column { index, .. } = e {
        columns.insert(*index);
    }
    e.for_each_child(&mut |child| add_columns(child, columns));
}
