//! The conditions of joins: conjunctions, of which equalities between the two sides become keys.

use std::collections::BTreeSet;

use crate::data::Schema;
use crate::diagnostic::{Diagnostic, codes};
use crate::expr::{BinaryOp, Expr, add_columns};
use crate::sema::Analyzer;
use crate::sema::derived::{has_no_time, reads_time};
use crate::sema::parts::{TIME, joined};
use crate::sema::row::Alias;
use crate::sema::typer::{Place, Typer};
use crate::syntax::ast;

impl Analyzer<'_, '_> {
    /// The parts of a condition over these inputs.
    pub(super) fn conjuncts(
        &mut self,
        inputs: &[(Alias, Schema)],
        on: &ast::Expr,
        all: &[(Alias, Schema)],
    ) -> Option<Vec<Expr>> {
        let row = joined(inputs);
        let typed =
            Typer::new(self.globals, Place::Row(&row), &mut self.findings).condition(on, "the condition of a join");
        for (part, (alias, _)) in row.parts.iter().zip(all) {
            alias.used.set(alias.used.get() || part.alias.used.get());
        }
        let typed = typed?;
        if reads_time(&typed) && inputs.iter().any(|(_, schema)| schema.index_of(TIME).is_none()) {
            self.findings.push(has_no_time(on.span));
            return None;
        }
        if reads_time(&typed) {
            let ways: Vec<String> = inputs.iter().map(|(a, _)| format!("`{}.event_time`", a.name)).collect();
            let message = "`event_time` is ambiguous: each input of the join has its own";
            let found = Diagnostic::error(codes::AMBIGUOUS_NAME, on.span, message);
            self.findings.push(found.with_hint(format!("say which one: {}", ways.join(" or "))));
            return None;
        }
        Some(match typed {
            Expr::And(parts) => flat(parts),
            one => vec![one],
        })
    }
}

fn flat(parts: Vec<Expr>) -> Vec<Expr> {
    let nested = |e| match e {
        Expr::And(parts) => flat(parts),
        e => vec![e],
    };
    parts.into_iter().flat_map(nested).collect()
}

fn columns(e: &Expr) -> BTreeSet<usize> {
    let mut columns = BTreeSet::new();
    add_columns(e, &mut columns);
    columns
}

/// Whether a condition over all inputs belongs to the join that adds the columns from `left_width` to `width`.
pub fn in_step(e: &Expr, left_width: usize, width: usize, is_first: bool) -> bool {
    match columns(e).last() {
        Some(last) => *last < width && (*last >= left_width || is_first),
        None => is_first,
    }
}

/// The equalities between the two sides as keys, and the rest as one condition.
pub fn apart(conditions: Vec<Expr>, left_width: usize) -> ([Vec<Expr>; 2], Option<Expr>) {
    let (mut keys, mut rest) = ([Vec::new(), Vec::new()], Vec::new());
    for condition in conditions {
        match sides(&condition, left_width) {
            Some([left, right]) => {
                keys[0].push(left);
                keys[1].push(crate::expr::remap(right, &|i| i - left_width));
            }
            None => rest.push(condition),
        }
    }
    let residual = if rest.len() > 1 { Some(Expr::And(rest)) } else { rest.pop() };
    (keys, residual)
}

/// The two sides of an equality between the left input and the right one.
fn sides(e: &Expr, left_width: usize) -> Option<[Expr; 2]> {
    let Expr::Binary { op: BinaryOp::Equal, left, right, .. } = e else { return None };
    let is_left = |e: &Expr| columns(e).last().is_some_and(|last| *last < left_width);
    let is_right = |e: &Expr| columns(e).first().is_some_and(|first| *first >= left_width);
    match (&**left, &**right) {
        (l, r) if is_left(l) && is_right(r) => Some([l.clone(), r.clone()]),
        (r, l) if is_left(l) && is_right(r) => Some([l.clone(), r.clone()]),
        (_, _) => None,
    }
}
