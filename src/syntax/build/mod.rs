//! Pairs to tree. One file for each family of rules; each function is named after the rule it reads.
//!
//! The grammar has already accepted what comes here. What can still be wrong is what a grammar cannot
//! say: chained comparisons, trees too deep to walk.

mod block;
mod declaration;
mod expr;
pub mod ladder;
mod pattern;
mod stream;

use std::ops::Range;

use pest::iterators::Pair;

use super::ast::{Name, TypeExpr, TypeKind};
use super::grammar::{Parts, Rule, exact_range};
use super::reports::Reports;
use crate::diagnostic::Span;

pub use declaration::{File, declaration};

/// How deep an expression's tree may be; operators in a row count as well. Later phases recurse.
pub const EXPRESSION_DEPTH_MAX: usize = 500;

/// Builds the nodes of one line.
pub struct Builder<'r> {
    /// Where the parsed text begins in the file.
    pub base: usize,
    pub reports: &'r mut Reports,
    /// Depth of the expression being built, at most.
    level: usize,
}

impl<'r> Builder<'r> {
    pub fn new(base: usize, reports: &'r mut Reports) -> Builder<'r> {
        Builder { base, reports, level: 0 }
    }

    fn range(&self, pair: &Pair<'_, Rule>) -> Range<usize> {
        let range = exact_range(pair);
        range.start + self.base..range.end + self.base
    }

    pub fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        self.reports.span(self.range(pair))
    }

    pub fn name(&self, pair: Pair<'_, Rule>) -> Name {
        Name { text: pair.as_str().to_string(), span: self.span(&pair) }
    }

    pub fn type_expr(&self, pair: Pair<'_, Rule>) -> TypeExpr {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let kind = match parts.peek() {
            Some(Rule::list_type) => {
                let mut inner = Parts::of(parts.need(Rule::list_type));
                inner.need(Rule::lbrack);
                TypeKind::List(Box::new(self.type_expr(inner.need(Rule::type_expr))))
            }
            Some(Rule::brace_type) => self.brace_type(parts.need(Rule::brace_type)),
            _ => TypeKind::Named(parts.need(Rule::type_name).as_str().to_string()),
        };
        TypeExpr { kind, nullable: parts.take(Rule::quest).is_some(), span }
    }

    /// `{str: T}` is a map; a record with the one field `str` cannot be written.
    fn brace_type(&self, pair: Pair<'_, Rule>) -> TypeKind {
        let mut fields: Vec<(Name, TypeExpr)> = Parts::of(pair)
            .all(Rule::record_field)
            .map(|field| {
                let mut parts = Parts::of(field);
                let name = self.name(parts.need(Rule::word));
                parts.need(Rule::colon);
                (name, self.type_expr(parts.need(Rule::type_expr)))
            })
            .collect();
        match fields.as_slice() {
            [(name, _)] if name.text == "str" => TypeKind::Map(Box::new(fields.remove(0).1)),
            _ => TypeKind::Record(fields),
        }
    }
}
