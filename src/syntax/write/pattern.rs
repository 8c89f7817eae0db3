//! Patterns as text, with the parentheses that their joins need.

use std::fmt::{self, Write};

use super::Writer;
use crate::syntax::ast::{Element, ElementKind, Name, PatternClause, Quantifier};

/// How tight a part of a pattern binds; see [`crate::syntax::build`].
fn binding(kind: &ElementKind) -> u8 {
    match kind {
        ElementKind::Sequence(_) => 0,
        ElementKind::Or(_) => 1,
        ElementKind::And(_) => 2,
        ElementKind::Not(_) => 3,
        ElementKind::Repeat { .. } => 4,
        ElementKind::Step { .. } | ElementKind::Named { .. } => 5,
    }
}

impl Writer<'_> {
    pub(super) fn clause(&mut self, clause: &PatternClause) -> fmt::Result {
        match clause {
            PatternClause::Within(e) => {
                self.out.push_str(" within ");
                self.expr(e, 0)
            }
            PatternClause::PartitionBy(keys) => {
                self.out.push_str(" partition by ");
                for (i, key) in keys.iter().enumerate() {
                    self.comma(i);
                    self.expr(key, 0)?;
                }
                Ok(())
            }
            PatternClause::Operator(op) => self.operator(op),
        }
    }

    pub(super) fn element(&mut self, element: &Element, least: u8) -> fmt::Result {
        // A condition takes in whatever `and` or `or` follows it.
        let swallows = least > 0 && ends_in_condition(element);
        if binding(&element.kind) < least || swallows {
            self.out.push('(');
            self.element(element, 0)?;
            self.out.push(')');
            return Ok(());
        }
        match &element.kind {
            ElementKind::Sequence(members) => self.members(members, " -> ", 0),
            ElementKind::Or(members) => self.members(members, " or ", 2),
            ElementKind::And(members) => self.members(members, " and ", 3),
            ElementKind::Not(inner) => {
                self.out.push_str("not ");
                self.element(inner, if matches!(inner.kind, ElementKind::Step { .. }) { 0 } else { 4 })
            }
            ElementKind::Repeat { element: inner, quantifier } => match &inner.kind {
                ElementKind::Step { event, alias, condition } => {
                    self.out.push_str(&event.text);
                    self.quantifier(*quantifier)?;
                    self.naming(alias.as_ref(), condition.as_ref())
                }
                ElementKind::Named { element: inner, alias, condition } => {
                    self.group(inner)?;
                    self.quantifier(*quantifier)?;
                    self.naming(alias.as_ref(), condition.as_ref())
                }
                _ => {
                    self.group(inner)?;
                    self.quantifier(*quantifier)
                }
            },
            ElementKind::Step { event, alias, condition } => {
                self.out.push_str(&event.text);
                self.naming(alias.as_ref(), condition.as_ref())
            }
            ElementKind::Named { element: inner, alias, condition } => {
                self.group(inner)?;
                self.naming(alias.as_ref(), condition.as_ref())
            }
        }
    }

    fn group(&mut self, inner: &Element) -> fmt::Result {
        self.out.push('(');
        self.element(inner, 0)?;
        self.out.write_str(")")
    }

    fn members(&mut self, members: &[Element], join: &str, least: u8) -> fmt::Result {
        for (i, member) in members.iter().enumerate() {
            if i > 0 {
                self.out.push_str(join);
            }
            // A sequence in a sequence was written in parentheses.
            let grouped = matches!(member.kind, ElementKind::Sequence(_));
            self.element(member, if grouped { 1 } else { least })?;
        }
        Ok(())
    }

    fn quantifier(&mut self, quantifier: Quantifier) -> fmt::Result {
        match (quantifier.min, quantifier.max) {
            (1, None) => self.out.write_str("+"),
            (0, None) => self.out.write_str("*"),
            (0, Some(1)) => self.out.write_str("?"),
            (min, None) => write!(self.out, "{{{min},}}"),
            (min, Some(max)) if min == max => write!(self.out, "{{{min}}}"),
            (min, Some(max)) => write!(self.out, "{{{min},{max}}}"),
        }
    }

    fn naming(&mut self, alias: Option<&Name>, condition: Option<&crate::syntax::ast::Expr>) -> fmt::Result {
        self.alias(alias)?;
        match condition {
            Some(condition) => {
                self.out.push_str(" where ");
                self.expr(condition, 0)
            }
            None => Ok(()),
        }
    }
}

fn ends_in_condition(element: &Element) -> bool {
    match &element.kind {
        ElementKind::Step { condition, .. } | ElementKind::Named { condition, .. } => condition.is_some(),
        ElementKind::Repeat { element, .. } => match &element.kind {
            ElementKind::Step { condition, .. } | ElementKind::Named { condition, .. } => condition.is_some(),
            _ => false,
        },
        ElementKind::Not(inner) => ends_in_condition(inner),
        ElementKind::Sequence(_) | ElementKind::And(_) | ElementKind::Or(_) => false,
    }
}
