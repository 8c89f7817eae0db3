//! The types of operators: what operands they take, to what those are widened, and what comes out.
//!
//! `sema` asks here and inserts the casts; the evaluator and the test oracle rely on the answer. There is no
//! other table of promotions, so that an int meets a float the same way in arithmetic, comparisons,
//! branches and lists.
//!
//! A result is nullable when an operand is. The null of an evaluation error (overflow, division by
//! zero) is outside the types: counting it in would make every arithmetic result nullable, and no
//! program could declare a field that it computes. Columns can hold nulls whatever their type says.

use super::{BinaryOp, UnaryOp};
use crate::data::{DataType, Type};

/// The types of a binary operator for given operands.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryTypes {
    /// What the operands are cast to, after swapping.
    pub left: DataType,
    pub right: DataType,
    pub result: DataType,
    /// The operands change places: `2 * 1h` is evaluated as `1h * 2`.
    pub swapped: bool,
}

/// Why operands do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    #[error("`{op}` takes {takes}, not {left} and {right}")]
    Operands { op: &'static str, takes: &'static str, left: DataType, right: DataType },
    #[error("`{op}` takes {takes}, not {found}")]
    Operand { op: &'static str, takes: &'static str, found: DataType },
    #[error("{left} and {right} have no common type")]
    NoCommonType { left: DataType, right: DataType },
    #[error("{from} cannot be cast to {to}")]
    NoCast { from: DataType, to: DataType },
}

impl BinaryOp {
    /// As it is written in a program.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::FloorDivide => "//",
            BinaryOp::Modulo => "%",
            BinaryOp::Power => "**",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessOrEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterOrEqual => ">=",
            BinaryOp::Like => "like",
            BinaryOp::Matches => "matches",
        }
    }
}

impl UnaryOp {
    /// As it is written in a program.
    pub fn symbol(self) -> &'static str {
        match self {
            UnaryOp::Not => "not",
            UnaryOp::Negate => "-",
            UnaryOp::BitNot => "~",
        }
    }
}

/// The types of `left op right`.
pub fn binary(op: BinaryOp, left: &DataType, right: &DataType) -> Result<BinaryTypes, TypeError> {
    let nullable = left.nullable || right.nullable || left.ty == Type::Null || right.ty == Type::Null;
    let wrong =
        || TypeError::Operands { op: op.symbol(), takes: operands(op), left: left.clone(), right: right.clone() };
    let (a, b) = fill_nulls(op, &left.ty, &right.ty);
    let (a, b, result, swapped) = match op.comparison() {
        Some(comparison) => {
            let common = left.unify(right).ok_or_else(wrong)?.ty;
            if comparison.needs_order() && !common.is_ordered() {
                return Err(wrong());
            }
            (common.clone(), common, Type::Bool, false)
        }
        None => signature(op, &a, &b)
            .or_else(|| signature(op, &b, &a).filter(|_| commutes(op)).map(|(b, a, result, _)| (b, a, result, true)))
            .ok_or_else(wrong)?,
    };
    let (left, right) = if swapped { (right, left) } else { (left, right) };
    Ok(BinaryTypes {
        left: a.required().with_nullable(left.nullable),
        right: b.required().with_nullable(right.nullable),
        result: result.required().with_nullable(nullable),
        swapped,
    })
}

/// `null` takes the type of the other operand, or one that the operator has.
fn fill_nulls(op: BinaryOp, left: &Type, right: &Type) -> (Type, Type) {
    let default = if matches!(op, BinaryOp::Like | BinaryOp::Matches) { Type::Str } else { Type::Int };
    let beside = |other: &Type| match (op, other) {
        (_, Type::Null) => default.clone(),
        // A duration is multiplied by a number, and is what is added to a timestamp.
        (BinaryOp::Multiply, Type::Duration) => Type::Int,
        (BinaryOp::Add, Type::Timestamp) => Type::Duration,
        (_, other) => other.clone(),
    };
    match (left, right) {
        (Type::Null, right) => (beside(right), if *right == Type::Null { default.clone() } else { right.clone() }),
        (left, Type::Null) => (left.clone(), beside(left)),
        (left, right) => (left.clone(), right.clone()),
    }
}

/// Operand types after widening, and the result; without the operators that compare.
fn signature(op: BinaryOp, a: &Type, b: &Type) -> Option<(Type, Type, Type, bool)> {
    use Type::{Bool, Duration, Float, Int, Str, Timestamp};
    let same = |ty: Type| Some((ty.clone(), ty.clone(), ty, false));
    let number = || match (a, b) {
        (Int, Int) => same(Int),
        (Int | Float, Int | Float) => same(Float),
        _ => None,
    };
    match op {
        BinaryOp::Add => match (a, b) {
            (Timestamp, Duration) => Some((Timestamp, Duration, Timestamp, false)),
            (Duration, Duration) => same(Duration),
            (Str, Str) => same(Str),
            _ => number(),
        },
        BinaryOp::Subtract => match (a, b) {
            (Timestamp, Duration) => Some((Timestamp, Duration, Timestamp, false)),
            (Timestamp, Timestamp) => Some((Timestamp, Timestamp, Duration, false)),
            (Duration, Duration) => same(Duration),
            _ => number(),
        },
        BinaryOp::Multiply => match (a, b) {
            (Duration, Int) => Some((Duration, Int, Duration, false)),
            (Duration, Float) => Some((Duration, Float, Duration, false)),
            _ => number(),
        },
        BinaryOp::Divide => match (a, b) {
            (Duration, Int | Float) => Some((Duration, Float, Duration, false)),
            (Duration, Duration) => Some((Duration, Duration, Float, false)),
            (Int | Float, Int | Float) => same(Float),
            _ => None,
        },
        BinaryOp::FloorDivide => match (a, b) {
            (Duration, Duration) => Some((Duration, Duration, Int, false)),
            _ => number(),
        },
        BinaryOp::Modulo => match (a, b) {
            (Duration, Duration) => same(Duration),
            _ => number(),
        },
        BinaryOp::Power => number(),
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor | BinaryOp::ShiftLeft | BinaryOp::ShiftRight => {
            (*a == Int && *b == Int).then_some((Int, Int, Int, false))
        }
        BinaryOp::Like | BinaryOp::Matches => (*a == Str && *b == Str).then_some((Str, Str, Bool, false)),
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual => None,
    }
}

/// Whether the operands may change places where only the other order has a signature. `str + str`
/// needs no such thing, so nothing is swapped that does not commute.
fn commutes(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Multiply)
}

fn operands(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "numbers, durations, strings, or a timestamp and a duration",
        BinaryOp::Subtract => "numbers, durations, timestamps, or a timestamp and a duration",
        BinaryOp::Multiply => "numbers, or a duration and a number",
        BinaryOp::Divide => "numbers, durations, or a duration and a number",
        BinaryOp::FloorDivide | BinaryOp::Modulo => "numbers or durations",
        BinaryOp::Power => "numbers",
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor | BinaryOp::ShiftLeft | BinaryOp::ShiftRight => "ints",
        BinaryOp::Equal | BinaryOp::NotEqual => "values of one type",
        BinaryOp::Less | BinaryOp::LessOrEqual | BinaryOp::Greater | BinaryOp::GreaterOrEqual => {
            "values of one ordered type"
        }
        BinaryOp::Like | BinaryOp::Matches => "strings",
    }
}

/// The type to which the operand of `op` is cast, which is also the result's.
pub fn unary(op: UnaryOp, arg: &DataType) -> Result<DataType, TypeError> {
    let (takes, null_is) = match op {
        UnaryOp::Not => ("a bool", Type::Bool),
        UnaryOp::Negate => ("a number or a duration", Type::Int),
        UnaryOp::BitNot => ("an int", Type::Int),
    };
    match (op, &arg.ty) {
        (_, Type::Null) => Ok(null_is.optional()),
        (UnaryOp::Not, Type::Bool)
        | (UnaryOp::Negate, Type::Int | Type::Float | Type::Duration)
        | (UnaryOp::BitNot, Type::Int) => Ok(arg.clone()),
        _ => Err(TypeError::Operand { op: op.symbol(), takes, found: arg.clone() }),
    }
}

/// The type of an operand of `and` and `or`, of an `if`'s condition, and of a filter.
pub fn condition(op: &'static str, arg: &DataType) -> Result<DataType, TypeError> {
    match arg.ty {
        Type::Bool => Ok(arg.clone()),
        Type::Null => Ok(Type::Bool.optional()),
        _ => Err(TypeError::Operand { op, takes: "a bool", found: arg.clone() }),
    }
}

/// The type to which branches of an `if`, items of a list or values of a map are cast.
pub fn common<'a>(types: impl IntoIterator<Item = &'a DataType>) -> Result<DataType, TypeError> {
    let mut types = types.into_iter();
    let Some(first) = types.next() else { return Ok(Type::Null.optional()) };
    types.try_fold(first.clone(), |left, right| {
        left.unify(right).ok_or_else(|| TypeError::NoCommonType { left, right: right.clone() })
    })
}

/// The type of a coalesce, to which its operands are cast: null only if the last may be.
pub fn coalesce(types: &[DataType]) -> Result<DataType, TypeError> {
    let nullable = types.iter().all(|t| t.nullable || t.ty == Type::Null);
    Ok(common(types)?.with_nullable(nullable))
}

/// The types to which `value` and `list` are cast in `value in list`.
pub fn contains(value: &DataType, list: &DataType) -> Result<(DataType, DataType), TypeError> {
    let item = match &list.ty {
        Type::List(item) => (**item).clone(),
        Type::Null => value.clone(),
        _ => return Err(TypeError::Operand { op: "in", takes: "a list on its right", found: list.clone() }),
    };
    let wrong = || TypeError::NoCommonType { left: value.clone(), right: item.clone() };
    let common = value.unify(&item).ok_or_else(wrong)?.ty;
    let value = common.clone().required().with_nullable(value.nullable || value.ty == Type::Null);
    let item = common.required().with_nullable(item.nullable || item.ty == Type::Null);
    let list = Type::List(Box::new(item)).required().with_nullable(list.nullable || list.ty == Type::Null);
    Ok((value, list))
}

/// The type to which the index is cast, and that of `container[index]`, which may always be null.
pub fn index(container: &DataType, index: &DataType) -> Result<(DataType, DataType), TypeError> {
    let (wanted, item) = match &container.ty {
        Type::List(item) => (Type::Int, item),
        Type::Map(value) => (Type::Str, value),
        _ => return Err(TypeError::Operand { op: "[]", takes: "a list or a map", found: container.clone() }),
    };
    if index.ty != wanted && index.ty != Type::Null {
        let takes = if wanted == Type::Int { "an int to index a list" } else { "a string to index a map" };
        return Err(TypeError::Operand { op: "[]", takes, found: index.clone() });
    }
    let nullable = index.nullable || index.ty == Type::Null;
    Ok((wanted.required().with_nullable(nullable), item.ty.clone().optional()))
}

/// The type of `container[from:to]`; the ends are ints.
pub fn slice(container: &DataType, ends: &[&DataType]) -> Result<DataType, TypeError> {
    if !matches!(container.ty, Type::List(_) | Type::Str) {
        return Err(TypeError::Operand { op: "[:]", takes: "a list or a string", found: container.clone() });
    }
    if let Some(end) = ends.iter().find(|e| !matches!(e.ty, Type::Int | Type::Null)) {
        return Err(TypeError::Operand { op: "[:]", takes: "ints as its ends", found: (*end).clone() });
    }
    let nullable = ends.iter().any(|e| e.nullable || e.ty == Type::Null);
    Ok(container.clone().with_nullable(container.nullable || nullable))
}

/// The type of `cast(from as to)`, if there is such a cast: `to`, nullable where `from` is.
///
/// A `try_cast` makes it nullable throughout, and so may a cast that fails (see the module's doc).
pub fn cast(from: &DataType, to: &DataType) -> Result<DataType, TypeError> {
    if !has_cast(&from.ty, &to.ty) {
        return Err(TypeError::NoCast { from: from.clone(), to: to.clone() });
    }
    Ok(to.clone().with_nullable(to.nullable || from.nullable || from.ty == Type::Null))
}

fn has_cast(from: &Type, to: &Type) -> bool {
    match (from, to) {
        _ if from == to => true,
        (Type::Null, _) | (_, Type::Str) => true,
        (Type::Int, Type::Float | Type::Bool | Type::Timestamp | Type::Duration) => true,
        (Type::Bool, Type::Int | Type::Float) => true,
        (Type::Float | Type::Timestamp | Type::Duration, Type::Int) => true,
        (Type::Str, Type::Int | Type::Float | Type::Bool | Type::Timestamp | Type::Duration) => true,
        (Type::List(a), Type::List(b)) | (Type::Map(a), Type::Map(b)) => has_cast(&a.ty, &b.ty),
        (Type::Record(a), Type::Record(b)) => b.iter().all(|to| {
            let from = a.iter().find(|f| f.name == to.name);
            from.map_or(to.data_type.nullable, |f| has_cast(&f.data_type.ty, &to.data_type.ty))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(op: BinaryOp, left: Type, right: Type) -> (Type, Type, Type, bool) {
        let t = binary(op, &left.required(), &right.required()).unwrap();
        (t.left.ty, t.right.ty, t.result.ty, t.swapped)
    }

    #[test]
    fn an_int_widens_to_float_everywhere() {
        for op in [BinaryOp::Add, BinaryOp::Modulo, BinaryOp::FloorDivide, BinaryOp::Power] {
            assert_eq!(types(op, Type::Int, Type::Float), (Type::Float, Type::Float, Type::Float, false));
            assert_eq!(types(op, Type::Int, Type::Int), (Type::Int, Type::Int, Type::Int, false));
        }
        assert_eq!(types(BinaryOp::Less, Type::Float, Type::Int), (Type::Float, Type::Float, Type::Bool, false));
        assert_eq!(types(BinaryOp::Divide, Type::Int, Type::Int), (Type::Float, Type::Float, Type::Float, false));
    }

    #[test]
    fn a_duration_comes_first_in_a_product_and_last_in_a_sum() {
        assert_eq!(
            types(BinaryOp::Multiply, Type::Int, Type::Duration),
            (Type::Duration, Type::Int, Type::Duration, true)
        );
        let sum = types(BinaryOp::Add, Type::Duration, Type::Timestamp);
        assert_eq!(sum, (Type::Timestamp, Type::Duration, Type::Timestamp, true));
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let refused = |op, a: Type, b: Type| binary(op, &a.required(), &b.required()).is_err();
        assert!(refused(BinaryOp::Subtract, Type::Duration, Type::Timestamp));
        assert!(refused(BinaryOp::Add, Type::Timestamp, Type::Timestamp));
        assert!(refused(BinaryOp::Add, Type::Str, Type::Int));
        assert!(refused(BinaryOp::ShiftLeft, Type::Float, Type::Int));
        let list = Type::List(Box::new(Type::Int.required()));
        assert!(refused(BinaryOp::Less, list.clone(), list.clone()));
        assert!(!refused(BinaryOp::Equal, list.clone(), list));
    }

    #[test]
    fn null_takes_whatever_type_fits() {
        let null = Type::Null.optional();
        let sum = binary(BinaryOp::Add, &null, &Type::Duration.required()).unwrap();
        assert_eq!(sum.result, Type::Duration.optional());
        let product = binary(BinaryOp::Multiply, &null, &Type::Duration.required()).unwrap();
        assert_eq!((product.result, product.swapped), (Type::Duration.optional(), true));
        assert!(binary(BinaryOp::Matches, &null, &null).is_ok());
    }
}
