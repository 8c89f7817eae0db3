//! The parser that pest makes of `grammar/vpl.pest`, and the little that is needed to walk its pairs.

use std::iter::Peekable;

use pest::iterators::{Pair, Pairs};
use pest_derive::Parser;

#[derive(Parser)]
#[grammar = "../grammar/vpl.pest"]
pub struct VplParser;

/// The parts of a pair, taken in the order of its rule.
///
/// The grammar says which parts there are, so asking for one that is not there is a bug, not a fault
/// of the program being parsed.
pub struct Parts<'i>(Peekable<Pairs<'i, Rule>>);

impl<'i> Parts<'i> {
    pub fn of(pair: Pair<'i, Rule>) -> Parts<'i> {
        Parts(pair.into_inner().peekable())
    }

    /// The next part if it is of this rule.
    pub fn take(&mut self, rule: Rule) -> Option<Pair<'i, Rule>> {
        self.0.next_if(|pair| pair.as_rule() == rule)
    }

    /// The next part, which the grammar guarantees to be of this rule.
    pub fn need(&mut self, rule: Rule) -> Pair<'i, Rule> {
        match self.take(rule) {
            Some(pair) => pair,
            None => unreachable!("the grammar puts {rule:?} here, not {:?}", self.0.peek()),
        }
    }

    pub fn next(&mut self) -> Option<Pair<'i, Rule>> {
        self.0.next()
    }

    pub fn peek(&mut self) -> Option<Rule> {
        self.0.peek().map(|pair| pair.as_rule())
    }

    /// All remaining parts of this rule; what separates them is dropped.
    pub fn all(self, rule: Rule) -> impl Iterator<Item = Pair<'i, Rule>> {
        self.0.filter(move |pair| pair.as_rule() == rule)
    }
}

/// The range of a pair's tokens. A pair's own span may end in the white space before an optional part
/// that is not there; its last token ends exactly.
pub fn exact_range(pair: &Pair<'_, Rule>) -> std::ops::Range<usize> {
    let start = pair.as_span().start();
    let mut last = pair.clone();
    while let Some(inner) = last.clone().into_inner().next_back() {
        last = inner;
    }
    start..last.as_span().end()
}
