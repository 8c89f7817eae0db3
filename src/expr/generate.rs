//! Random well-typed expressions and values, for the tests that compare two implementations.
//!
//! All comes from one seed, so that a failing case can be made again. Values lean to where things go wrong:
//! the ends of the ints, zeros of both signs, NaN, empty and non-ASCII strings, nulls. Every kind of
//! expression and every function of the table has a chance, as `typing` and the signatures allow.

use std::sync::{Arc, LazyLock};

use super::function::{Resolved, functions, signature};
use super::{BinaryOp, CastFailure, Expr, FunctionRef, UnaryOp, typing};
use crate::data::time::{NS_PER_DAY, NS_PER_H, NS_PER_S};
use crate::data::{DataType, Field, Type, Value};

/// A seeded sequence of numbers (splitmix64): small, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next_u64() % n as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Makes expressions over columns of the given types.
pub struct Generator {
    pub random: Random,
    columns: Vec<DataType>,
}

const INTS: &[i64] = &[0, 1, -1, 2, 3, 7, 10, 63, 64, 100, -5, 1 << 53, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1];
const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.5,
    -7.25,
    1e10,
    1e300,
    9.3e18,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN_POSITIVE,
];
const STRINGS: &[&str] = &[
    "",
    "a",
    "b",
    "ab",
    "A",
    "abc",
    "naïve",
    "日本",
    "a%b_c",
    "\\",
    " 42 ",
    "-7",
    "3.5",
    "true",
    "1h30m",
    "2026-03-01T09:30:00Z",
    "2026-03-01",
    "x\"y\n",
    "day",
    "{\"a\": [1, 2]}",
];
const PATTERNS: &[&str] =
    &["", "a", "%", "a%", "%b", "%a%", "_", "a_c", "a\\%b\\_c", "%\\", "^a", "[a-c]+", "\\d+", "(", "(a)(b)?", "%日_"];

/// Functions with the types of arguments that they take and the type that they then give.
static CALLS: LazyLock<Vec<(FunctionRef, Resolved)>> = LazyLock::new(|| {
    let mut out = Vec::new();
    for name in functions().iter().map(|f| f.name) {
        let function = FunctionRef::by_name(name).expect("it is in the table");
        for variable in [Type::Int, Type::Float, Type::Str] {
            for args in signature::examples(function.0.signature, &variable.optional()) {
                let resolved = (function.0.resolve)(&args).expect("examples fit the signature");
                out.push((function, resolved));
            }
        }
    }
    out
});

impl Generator {
    pub fn new(seed: u64, columns: Vec<DataType>) -> Generator {
        Generator { random: Random::new(seed), columns }
    }

    /// A type, at most so deeply nested.
    pub fn ty(&mut self, depth: usize) -> Type {
        let choices = if depth == 0 { 6 } else { 9 };
        match self.random.below(choices) {
            0 => Type::Int,
            1 => Type::Float,
            2 => Type::Bool,
            3 => Type::Str,
            4 => Type::Timestamp,
            5 => Type::Duration,
            6 => Type::List(Box::new(self.ty(depth - 1).optional())),
            7 => Type::Map(Box::new(self.ty(depth - 1).optional())),
            _ => {
                let fields = ["a", "b", "c"].map(|name| Field::new(name, self.ty(depth - 1).optional()));
                Type::Record(Arc::from(fields))
            }
        }
    }

    /// A value of a type; null sometimes, if it may be.
    pub fn value(&mut self, ty: &DataType) -> Value {
        if ty.nullable && self.random.chance(15) {
            return Value::Null;
        }
        match &ty.ty {
            Type::Null => Value::Null,
            Type::Int => Value::Int(self.int()),
            Type::Float => Value::Float(self.float()),
            Type::Bool => Value::Bool(self.random.chance(50)),
            Type::Str => Value::str(self.random.pick::<&str>(STRINGS)),
            Type::Timestamp => Value::Timestamp(match self.random.below(4) {
                0 => self.int(),
                _ => self.random.below(30_000) as i64 * NS_PER_DAY + self.random.next_u64() as i64 % NS_PER_DAY,
            }),
            Type::Duration => Value::Duration(match self.random.below(4) {
                0 => self.int(),
                1 => self.random.below(50) as i64 * NS_PER_H,
                _ => (self.random.below(200) as i64 - 100) * NS_PER_S,
            }),
            Type::List(item) => {
                let len = self.random.below(4);
                Value::List((0..len).map(|_| self.value(item)).collect())
            }
            Type::Map(value) => {
                let len = self.random.below(4);
                Value::Map(["a", "b", "é"][..len.min(3)].iter().map(|k| ((*k).into(), self.value(value))).collect())
            }
            Type::Record(fields) => Value::Record(fields.iter().map(|f| self.value(&f.data_type)).collect()),
        }
    }

    fn int(&mut self) -> i64 {
        match self.random.below(3) {
            0 => *self.random.pick(INTS),
            1 => self.random.below(20) as i64 - 5,
            _ => self.random.next_u64() as i64 >> self.random.below(64),
        }
    }

    fn float(&mut self) -> f64 {
        match self.random.below(3) {
            0 => *self.random.pick(FLOATS),
            1 => self.random.below(40) as f64 / 4.0 - 5.0,
            _ => f64::from_bits(self.random.next_u64()),
        }
    }

    fn boxed(&mut self, ty: Type, depth: usize) -> Box<Expr> {
        Box::new(self.expr(&ty, depth))
    }

    fn literal(&mut self, ty: &Type) -> Expr {
        let ty = ty.clone().optional();
        Expr::Literal { value: self.value(&ty), ty }
    }

    fn leaf(&mut self, ty: &Type) -> Expr {
        let fitting: Vec<_> = (0..self.columns.len()).filter(|&i| self.columns[i].ty == *ty).collect();
        if *ty == Type::Timestamp && self.random.chance(20) {
            return if self.random.chance(50) { Expr::EventTime } else { Expr::Place };
        }
        if fitting.is_empty() || self.random.chance(25) {
            return self.literal(ty);
        }
        let index = *self.random.pick(&fitting);
        Expr::column(index, self.columns[index].clone())
    }

    /// An expression of a type, at most so deep.
    pub fn expr(&mut self, ty: &Type, depth: usize) -> Expr {
        if depth == 0 || self.random.chance(10) {
            return self.leaf(ty);
        }
        if self.random.chance(50) {
            return self.of_any_type(ty, depth - 1);
        }
        self.of_type(ty, depth - 1)
    }

    /// The expressions that there are for every type.
    fn of_any_type(&mut self, ty: &Type, depth: usize) -> Expr {
        let nullable = ty.clone().optional();
        match self.random.below(6) {
            0 => Expr::If {
                condition: self.boxed(Type::Bool, depth),
                then: self.boxed(ty.clone(), depth),
                otherwise: self.boxed(ty.clone(), depth),
                ty: nullable,
            },
            1 => {
                let count = 2 + self.random.below(2);
                Expr::Coalesce { args: (0..count).map(|_| self.expr(ty, depth)).collect(), ty: nullable }
            }
            2 => {
                let list = Type::List(Box::new(nullable.clone()));
                Expr::Index { container: self.boxed(list, depth), index: self.boxed(Type::Int, depth), ty: nullable }
            }
            3 => {
                let map = Type::Map(Box::new(nullable.clone()));
                Expr::Index { container: self.boxed(map, depth), index: self.boxed(Type::Str, depth), ty: nullable }
            }
            4 => {
                let fields = [Field::new("a", self.ty(0).optional()), Field::new("b", nullable.clone())];
                let record = self.boxed(Type::Record(Arc::from(fields)), depth);
                Expr::Field { record, index: 1, ty: nullable }
            }
            _ => self.call(ty, depth).unwrap_or_else(|| self.leaf(ty)),
        }
    }

    /// A call that gives the type, if any function does.
    fn call(&mut self, ty: &Type, depth: usize) -> Option<Expr> {
        let fitting: Vec<_> = CALLS.iter().filter(|(_, resolved)| resolved.result.ty == *ty).collect();
        if fitting.is_empty() {
            return None;
        }
        let (function, resolved) = *self.random.pick(&fitting);
        let args = resolved.args.iter().map(|arg| self.expr(&arg.ty, depth)).collect();
        Some(Expr::Call { function: *function, args, ty: resolved.result.clone() })
    }

    /// The expressions that there are for a type only.
    fn of_type(&mut self, ty: &Type, depth: usize) -> Expr {
        match ty {
            Type::Null => self.literal(ty),
            Type::Bool => self.boolean(depth),
            Type::Str if self.random.chance(40) => self.slice(ty, depth),
            Type::Int | Type::Float | Type::Str | Type::Timestamp | Type::Duration => self.scalar(ty, depth),
            Type::List(item) => match self.random.below(3) {
                0 => self.slice(ty, depth),
                1 => self.cast(ty, depth),
                _ => {
                    let count = self.random.below(4);
                    let items = (0..count).map(|_| self.expr(&item.ty, depth)).collect();
                    Expr::List { items, ty: ty.clone().required() }
                }
            },
            Type::Map(_) if self.random.chance(30) => self.cast(ty, depth),
            Type::Map(value) => {
                let keys = ["a", "b", "é"];
                let entries = keys[..self.random.below(4)].iter();
                let entries = entries.map(|k| (k.to_string(), self.expr(&value.ty, depth))).collect();
                Expr::Map { entries, ty: ty.clone().required() }
            }
            Type::Record(_) if self.random.chance(30) => self.cast(ty, depth),
            Type::Record(fields) => {
                let values = fields.iter().map(|f| self.expr(&f.data_type.ty, depth)).collect();
                Expr::Record { fields: values, ty: ty.clone().required() }
            }
        }
    }

    fn slice(&mut self, ty: &Type, depth: usize) -> Expr {
        let container = self.boxed(ty.clone(), depth);
        let mut end = |percent| self.random.chance(percent).then(|| self.boxed(Type::Int, depth));
        let (from, to) = (end(70), end(70));
        Expr::Slice { container, from, to, ty: ty.clone().optional() }
    }

    /// Arithmetic that gives a type, a negation, or a cast to it.
    fn scalar(&mut self, ty: &Type, depth: usize) -> Expr {
        if self.random.chance(20) {
            return self.cast(ty, depth);
        }
        if self.random.chance(10) && matches!(ty, Type::Int | Type::Float | Type::Duration) {
            let op = if *ty == Type::Int && self.random.chance(50) { UnaryOp::BitNot } else { UnaryOp::Negate };
            return Expr::Unary { op, arg: self.boxed(ty.clone(), depth), ty: ty.clone().optional() };
        }
        let operands = [Type::Int, Type::Float, Type::Str, Type::Timestamp, Type::Duration];
        loop {
            let op = *self.random.pick(&ARITHMETIC);
            let (left, right) = (self.random.pick(&operands).clone(), self.random.pick(&operands).clone());
            if let Ok(types) = typing::binary(op, &left.optional(), &right.optional())
                && types.result.ty == *ty
            {
                let (left, right) = (self.boxed(types.left.ty, depth), self.boxed(types.right.ty, depth));
                return Expr::Binary { op, left, right, ty: types.result };
            }
        }
    }

    fn boolean(&mut self, depth: usize) -> Expr {
        let ty = Type::Bool.optional();
        let count = 2 + self.random.below(2);
        match self.random.below(9) {
            0 => Expr::And((0..count).map(|_| self.expr(&Type::Bool, depth)).collect()),
            1 => Expr::Or((0..count).map(|_| self.expr(&Type::Bool, depth)).collect()),
            2 => Expr::Unary { op: UnaryOp::Not, arg: self.boxed(Type::Bool, depth), ty },
            3 => {
                let of = self.ty(1);
                Expr::IsNull(self.boxed(of, depth))
            }
            4 => {
                let of = self.ty(1);
                let list = Type::List(Box::new(of.clone().optional()));
                Expr::In { value: self.boxed(of, depth), list: self.boxed(list, depth) }
            }
            5 => {
                let op = *self.random.pick(&[BinaryOp::Like, BinaryOp::Matches]);
                let pattern = Value::str(self.random.pick::<&str>(PATTERNS));
                let literal = Expr::literal(pattern, Type::Str);
                let right = if self.random.chance(80) { Box::new(literal) } else { self.boxed(Type::Str, depth) };
                Expr::Binary { op, left: self.boxed(Type::Str, depth), right, ty }
            }
            6 => self.cast(&Type::Bool, depth),
            _ => {
                let of = self.ty(1);
                let ordered = if of.is_ordered() { COMPARISONS.len() } else { 2 };
                let op = COMPARISONS[self.random.below(ordered)];
                Expr::Binary { op, left: self.boxed(of.clone(), depth), right: self.boxed(of, depth), ty }
            }
        }
    }

    fn cast(&mut self, to: &Type, depth: usize) -> Expr {
        let from = loop {
            let from = if self.random.chance(5) { Type::Null } else { self.castable(to) };
            if typing::cast(&from.clone().optional(), &to.clone().optional()).is_ok() {
                break from;
            }
        };
        let on_failure = if self.random.chance(70) { CastFailure::Count } else { CastFailure::Null };
        Expr::Cast { arg: self.boxed(from, depth), ty: to.clone().optional(), on_failure }
    }

    /// A type that may be castable, of the same shape.
    fn castable(&mut self, to: &Type) -> Type {
        match to {
            Type::List(item) => Type::List(Box::new(self.castable(&item.ty).optional())),
            Type::Map(value) => Type::Map(Box::new(self.castable(&value.ty).optional())),
            Type::Record(fields) => {
                let mut from: Vec<_> = fields
                    .iter()
                    .map(|f| Field::new(f.name.clone(), self.castable(&f.data_type.ty).optional()))
                    .collect();
                from.reverse();
                from.pop_if(|_| self.random.chance(30));
                Type::Record(from.into())
            }
            Type::Null | Type::Int | Type::Float | Type::Bool | Type::Str | Type::Timestamp | Type::Duration => {
                self.ty(0)
            }
        }
    }
}

const ARITHMETIC: [BinaryOp; 12] = [
    BinaryOp::Add,
    BinaryOp::Subtract,
    BinaryOp::Multiply,
    BinaryOp::Divide,
    BinaryOp::FloorDivide,
    BinaryOp::Modulo,
    BinaryOp::Power,
    BinaryOp::BitAnd,
    BinaryOp::BitOr,
    BinaryOp::BitXor,
    BinaryOp::ShiftLeft,
    BinaryOp::ShiftRight,
];

/// The first two need no order.
const COMPARISONS: [BinaryOp; 6] = [
    BinaryOp::Equal,
    BinaryOp::NotEqual,
    BinaryOp::Less,
    BinaryOp::LessOrEqual,
    BinaryOp::Greater,
    BinaryOp::GreaterOrEqual,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::Batch;
    use crate::data::array::{array_of_values, value_at};
    use crate::expr::reference::evaluate_row;
    use crate::expr::{Errors, evaluate};

    /// As equal as two results can be: also in the sign of zero, which no comparison shows.
    fn identical(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Value::List(a), Value::List(b)) | (Value::Record(a), Value::Record(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| identical(a, b))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && identical(&a.1, &b.1))
            }
            (a, b) => a == b,
        }
    }

    fn agree(seed: u64) -> Result<(), TestCaseError> {
        let mut random = Random::new(seed);
        let mut types = Generator::new(random.next_u64(), Vec::new());
        let columns: Vec<_> =
            (0..8).map(|i| types.ty(if i < 5 { 0 } else { 2 }).required().with_nullable(random.chance(70))).collect();
        let mut generator = Generator::new(random.next_u64(), columns.clone());
        let rows = random.below(24);
        let table: Vec<Vec<Value>> =
            (0..rows + 5).map(|_| columns.iter().map(|ty| generator.value(ty)).collect()).collect();
        let column = |i: usize| table.iter().map(|row| row[i].clone()).collect::<Vec<_>>();
        let times: Vec<i64> = (0..table.len() as i64).map(|i| i * NS_PER_H).collect();
        let places: Vec<i64> = times.iter().map(|t| t + (*t / NS_PER_H) % 3).collect();
        let whole = Batch {
            columns: columns.iter().enumerate().map(|(i, ty)| array_of_values(ty, &column(i))).collect(),
            time: times.clone().into(),
            at: Some(places.clone().into()),
            ..Batch::default()
        };
        // A slice has arrays that do not begin at the beginning of their buffers.
        let start = random.below(6);
        let batch = whole.slice(start, rows);
        for _ in 0..4 {
            let ty = generator.ty(2);
            let depth = 1 + random.below(4);
            let expr = generator.expr(&ty, depth);
            let errors = Errors::default();
            let array = evaluate(&expr, &batch, &errors);
            prop_assert_eq!(array.data_type(), &expr.data_type().arrow(), "{:?}", &expr);
            let mut expected_errors = 0;
            for row in 0..rows {
                let at = start + row;
                let (expected, failed) = evaluate_row(&expr, &table[at], times[at], places[at]);
                expected_errors += failed;
                let found = value_at(&array, &expr.data_type(), row);
                prop_assert!(
                    identical(&found, &expected),
                    "{found:?}, not {expected:?}, of {:?} in {expr:?}",
                    &table[at]
                );
            }
            prop_assert_eq!(errors.count(), expected_errors, "{:?} over {:?}", &expr, &table[start..start + rows]);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn the_evaluator_agrees_with_the_reference(seed: u64) {
            agree(seed)?;
        }
    }
}
