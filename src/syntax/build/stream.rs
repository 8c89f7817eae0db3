//! What streams and tables start from, and their operators.

use pest::iterators::Pair;

use super::Builder;
use crate::syntax::ast::{ElementKind, JoinArg, Name, Source, SourceKind, StreamOp};
use crate::syntax::grammar::{Parts, Rule};

impl<'r> Builder<'r> {
    pub fn source(&mut self, pair: Pair<'_, Rule>) -> Source {
        let span = self.span(&pair);
        let Some(inner) = pair.into_inner().next() else { unreachable!("a source is never empty") };
        let kind = match inner.as_rule() {
            Rule::timer => SourceKind::Timer {
                period: {
                    let mut parts = Parts::of(inner);
                    parts.need(Rule::kw_timer);
                    parts.need(Rule::lparen);
                    self.expr(parts.need(Rule::expr))
                },
            },
            Rule::merge => SourceKind::Merge {
                inputs: Parts::of(inner).all(Rule::source).map(|source| self.source(source)).collect(),
            },
            Rule::join => {
                let mut parts = Parts::of(inner);
                let keyword = self.name(parts.need(Rule::kw_join));
                SourceKind::Join { keyword, args: parts.all(Rule::join_arg).map(|arg| self.join_arg(arg)).collect() }
            }
            Rule::from => self.from(inner),
            Rule::sequence => self.plain_or_pattern(inner),
            other => unreachable!("{other:?} is no source"),
        };
        Source { kind, span }
    }

    fn from(&mut self, pair: Pair<'_, Rule>) -> SourceKind {
        let mut parts = Parts::of(pair);
        let event = self.name(parts.need(Rule::name));
        let before = parts.take(Rule::alias).map(|alias| self.alias(alias));
        parts.need(Rule::dot);
        parts.need(Rule::kw_from);
        let args = self.args(parts.need(Rule::args));
        let after = parts.take(Rule::alias).map(|alias| self.alias(alias));
        SourceKind::From { event, args, alias: after.or(before) }
    }

    /// A lone step with nothing but a name and an alias is a plain source; all else is a pattern.
    fn plain_or_pattern(&mut self, pair: Pair<'_, Rule>) -> SourceKind {
        let body = self.sequence(pair);
        match body.kind {
            ElementKind::Step { event, alias, condition: None } => SourceKind::Named { name: event, alias },
            _ => SourceKind::Pattern { body },
        }
    }

    pub fn alias(&self, pair: Pair<'_, Rule>) -> Name {
        let mut parts = Parts::of(pair);
        parts.need(Rule::kw_as);
        self.name(parts.need(Rule::name))
    }

    fn join_arg(&mut self, pair: Pair<'_, Rule>) -> JoinArg {
        let mut parts = Parts::of(pair);
        if let Some(arg) = parts.take(Rule::arg) {
            return JoinArg::Option(self.arg(arg));
        }
        let source = Box::new(self.source(parts.need(Rule::source)));
        let on = parts.take(Rule::kw_on).map(|_| self.expr(parts.need(Rule::expr)));
        JoinArg::Input { source, on }
    }

    pub fn operator(&mut self, pair: Pair<'_, Rule>) -> StreamOp {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        parts.need(Rule::dot);
        let name = self.name(parts.need(Rule::word));
        let alias = parts.take(Rule::alias).map(|alias| self.alias(alias));
        StreamOp { name, alias, args: self.args(parts.need(Rule::args)), span }
    }
}
