//! Patterns: steps and what joins them.
//!
//! The grammar gives steps in a row with `->`, `and` and `or` between them; the tree is made here. `and` binds
//! tighter than `or`, and `or` tighter than `->`.

use pest::iterators::Pair;

use super::Builder;
use crate::diagnostic::Span;
use crate::syntax::ast::{Element, ElementKind, PatternClause, Quantifier};
use crate::syntax::grammar::{Parts, Rule};

/// What joins two steps, loosest first.
const JOINS: [Rule; 3] = [Rule::arrow, Rule::kw_or, Rule::kw_and];

impl Builder<'_> {
    /// The body of a named pattern and what follows it.
    pub fn pattern(&mut self, mut parts: Parts<'_>) -> (Element, Vec<PatternClause>) {
        let body = match parts.take(Rule::seq) {
            Some(seq) => {
                let span = self.span(&seq);
                let mut steps: Vec<Element> =
                    Parts::of(seq).all(Rule::member).map(|member| self.sequence(member)).collect();
                match steps.len() {
                    1 => steps.remove(0),
                    _ => Element { kind: ElementKind::Sequence(steps), span },
                }
            }
            None => self.sequence(parts.need(Rule::sequence)),
        };
        let mut clauses = Vec::new();
        while let Some(part) = parts.next() {
            clauses.push(match part.as_rule() {
                Rule::within => PatternClause::Within(self.only_expr(part)),
                Rule::partition => {
                    PatternClause::PartitionBy(Parts::of(part).all(Rule::expr).map(|e| self.expr(e)).collect())
                }
                Rule::operator => PatternClause::Operator(self.operator(part)),
                _ => continue,
            });
        }
        (body, clauses)
    }

    fn only_expr(&mut self, pair: Pair<'_, Rule>) -> crate::syntax::ast::Expr {
        let expr = Parts::of(pair).all(Rule::expr).next();
        self.expr(expr.expect("the grammar puts an expression here"))
    }

    /// Steps and what joins them: all of a pattern, or what stands between two commas.
    pub fn sequence(&mut self, pair: Pair<'_, Rule>) -> Element {
        let (mut steps, mut joins) = (Vec::new(), Vec::new());
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::step => steps.push(self.step(part)),
                _ => joins.push(part.into_inner().next().map_or(Rule::arrow, |join| join.as_rule())),
            }
        }
        joined(steps, &joins, &JOINS)
    }

    fn step(&mut self, pair: Pair<'_, Rule>) -> Element {
        let whole = self.span(&pair);
        let mut parts = Parts::of(pair);
        let negated = parts.take(Rule::kw_not).is_some();
        let all = parts.take(Rule::kw_all).map(|all| Quantifier { min: 1, max: None, span: self.span(&all) });
        let name = parts.take(Rule::name).map(|name| self.name(name));
        let group = if name.is_none() { Some(self.group(parts.need(Rule::group))) } else { None };
        let quantifier = parts.take(Rule::quantifier).map(|quantifier| self.quantifier(quantifier));
        let mut span = name.as_ref().map_or(whole, |name| name.span);
        span = group.as_ref().map_or(span, |group| group.span);
        // Both are the step's own, although a quantifier stands between.
        let (alias, condition) = (parts.take(Rule::alias), parts.take(Rule::condition));
        for own in alias.iter().chain(&condition) {
            span = span.to(self.span(own));
        }
        let alias = alias.map(|alias| self.alias(alias));
        let condition = condition.map(|condition| self.only_expr(condition));
        let kind = match (name, group) {
            (Some(event), _) => ElementKind::Step { event, alias, condition },
            (None, Some(group)) if alias.is_none() && condition.is_none() => group.kind,
            (None, Some(group)) => ElementKind::Named { element: Box::new(group), alias, condition },
            (None, None) => unreachable!("a step is a name or a group"),
        };
        let mut element = Element { kind, span };
        for quantifier in quantifier.into_iter().chain(all) {
            let span = element.span.to(quantifier.span);
            let kind = ElementKind::Repeat { element: Box::new(element), quantifier };
            element = Element { kind, span };
        }
        if negated {
            element = Element { kind: ElementKind::Not(Box::new(element)), span: whole };
        }
        element
    }

    /// What stands in the parentheses, with the span of both.
    fn group(&mut self, pair: Pair<'_, Rule>) -> Element {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        parts.need(Rule::lparen);
        Element { span, ..self.sequence(parts.need(Rule::sequence)) }
    }

    /// More than fit a count are as many as fit: both are too many.
    fn quantifier(&mut self, pair: Pair<'_, Rule>) -> Quantifier {
        let span = self.span(&pair);
        let count = |pair: Pair<'_, Rule>| pair.as_str().replace('_', "").parse().unwrap_or(u32::MAX);
        let mut parts = Parts::of(pair);
        let (min, max) = match parts.next().map(|part| part.as_rule()) {
            Some(Rule::plus) => (1, None),
            Some(Rule::star) => (0, None),
            Some(Rule::quest) => (0, Some(1)),
            _ => {
                let min = count(parts.need(Rule::count));
                match parts.take(Rule::comma) {
                    Some(_) => (min, parts.take(Rule::count).map(count)),
                    None => (min, Some(min)),
                }
            }
        };
        Quantifier { min, max, span }
    }
}

/// The tree of steps with `joins` between them, the loosest of `levels` on top.
fn joined(mut steps: Vec<Element>, joins: &[Rule], levels: &[Rule]) -> Element {
    let Some((loosest, tighter)) = levels.split_first() else { return steps.remove(0) };
    let mut members = Vec::new();
    let mut rest = joins;
    loop {
        let end = rest.iter().position(|j| j == loosest);
        let (inner, after) = match end {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        let others = steps.split_off(inner.len() + 1);
        members.push(joined(steps, inner, tighter));
        steps = others;
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    if members.len() == 1 {
        return members.remove(0);
    }
    let span: Span = members[0].span.to(members[members.len() - 1].span);
    let kind = match loosest {
        Rule::arrow => ElementKind::Sequence(members),
        Rule::kw_or => ElementKind::Or(members),
        _ => ElementKind::And(members),
    };
    Element { kind, span }
}
