//! What joins of streams and joins of tables have in common: inputs with names, conditions over those so far, and fields
//! that become nullable where a side is kept.

use super::condition::{apart, in_step};
use crate::data::{DataType, Schema};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::expr::Expr;
use crate::sema::Analyzer;
use crate::sema::arguments::{Arguments, Takes};
use crate::sema::parts::joined;
use crate::sema::row::{Alias, Row};
use crate::syntax::ast::{self, Name, StreamOp};

/// An input as conditions see it.
pub struct Side<'a> {
    pub alias: Alias,
    pub schema: Schema,
    /// The condition behind it.
    pub on: Option<&'a ast::Expr>,
    pub span: Span,
}

/// By what an input is joined to those before it.
pub struct Condition {
    pub keys: [Vec<Expr>; 2],
    pub residual: Option<Expr>,
}

/// Inputs that are joined one after the other.
pub struct Chain<'a> {
    sides: Vec<Side<'a>>,
    /// All inputs as they are read.
    all: Vec<(Alias, Schema)>,
    /// Those that have been joined, as the join gives them.
    pub so_far: Vec<(Alias, Schema)>,
    /// The conditions of `.on(…)`.
    of_all: Vec<Expr>,
    /// Whether rows of the left and of the right side that find no other come out, too.
    pub keeps: [bool; 2],
}

impl<'a> Chain<'a> {
    /// `on`: an `.on(…)` behind the join.
    pub fn new(
        analyzer: &mut Analyzer<'a, '_>,
        keyword: &Name,
        span: Span,
        sides: Vec<Side<'a>>,
        on: Option<&'a StreamOp>,
    ) -> Option<Chain<'a>> {
        analyzer.check_sides(keyword, span, &sides)?;
        let all: Vec<(Alias, Schema)> = sides.iter().map(|side| (side.alias.clone(), side.schema.clone())).collect();
        let of_all = match on {
            Some(op) => {
                let takes = Takes { positional: (1, 1), named: &[] };
                let code = codes::BAD_OPERATOR_ARGUMENTS;
                let args = Arguments::read("`.on`", op.span, &op.args, &takes, code, &mut analyzer.findings)?;
                analyzer.conjuncts(&all, &args.positional[0].value, &all)?
            }
            None => Vec::new(),
        };
        let keeps = match keyword.text.as_str() {
            "left_join" => [true, false],
            "right_join" => [false, true],
            "full_join" => [true, true],
            _ => [false, false],
        };
        Some(Chain { so_far: vec![all[0].clone()], sides, all, of_all, keeps })
    }

    /// The numbers of the inputs that are joined to those before them.
    pub fn steps(&self) -> std::ops::Range<usize> {
        1..self.sides.len()
    }

    pub fn side(&self, step: usize) -> &Side<'a> {
        &self.sides[step]
    }

    /// Joins input `step`, the next one, to those so far; what the condition says of it.
    pub fn join(&mut self, analyzer: &mut Analyzer<'a, '_>, step: usize) -> Option<Condition> {
        let left_width: usize = self.so_far.iter().map(|(_, schema)| schema.len()).sum();
        let width = left_width + self.sides[step].schema.len();
        self.so_far.push(self.all[step].clone());
        let mut conditions = match self.sides[step].on {
            Some(on) => analyzer.conjuncts(&self.so_far, on, &self.all)?,
            None => Vec::new(),
        };
        // What `.on` asks belongs to the first join that has all it reads.
        conditions.extend(self.of_all.iter().filter(|e| in_step(e, left_width, width, step == 1)).cloned());
        let (keys, residual) = apart(conditions, left_width);
        if self.keeps[0] {
            make_nullable(&mut self.so_far[step..]);
        }
        if self.keeps[1] {
            make_nullable(&mut self.so_far[..step]);
        }
        Some(Condition { keys, residual })
    }

    /// The rows of the last join.
    pub fn row(&self) -> Row {
        for ((alias, _), (told, _)) in self.so_far.iter().zip(&self.all) {
            alias.used.set(told.used.get());
        }
        joined(&self.so_far)
    }

    pub fn into_sides(self) -> Vec<Side<'a>> {
        self.sides
    }
}

impl<'a> Analyzer<'a, '_> {
    fn check_sides(&mut self, keyword: &Name, span: Span, sides: &[Side<'a>]) -> Option<()> {
        if sides.len() < 2 {
            let message = format!("`{}` has fewer than two inputs", keyword.text);
            self.findings.push(Diagnostic::error(codes::BAD_JOIN, span, message));
            return None;
        }
        for (i, Side { alias, span, .. }) in sides.iter().enumerate() {
            if sides[..i].iter().any(|other| other.alias.name == alias.name) {
                let message = format!("two inputs of the join are called `{}`", alias.name);
                let found = Diagnostic::error(codes::BAD_JOIN, *span, message);
                self.findings.push(found.with_hint(format!("`{} as …` gives one another name", alias.name)));
                return None;
            }
        }
        if let Some(on) = sides[0].on {
            let message = "a condition stands behind the second input or a later one";
            self.findings.push(Diagnostic::error(codes::BAD_JOIN, on.span, message));
            return None;
        }
        Some(())
    }

    /// `others`: what the input may be connected with; `instead`: how else it could be joined.
    pub(super) fn no_equality(&mut self, side: &Side<'a>, join: Span, others: &str, instead: &str) {
        let name = &side.alias.name;
        let message = format!("no equality connects `{name}` with the {others} before it");
        let place = side.on.map_or(join, |on| on.span);
        let found = Diagnostic::error(codes::NO_EQUALITY, place, message);
        self.findings.push(found.with_hint(format!("write one, as in `on other.key == {name}.key`{instead}")));
    }
}

fn make_nullable(inputs: &mut [(Alias, Schema)]) {
    for field in inputs.iter_mut().flat_map(|(_, schema)| &mut schema.fields) {
        field.data_type = DataType { nullable: true, ..field.data_type.clone() };
    }
}
