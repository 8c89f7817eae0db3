//! What a pattern is told beside its steps: how long a match may last, its key, how rows are chosen.
//!
//! Options stand directly behind a pattern, each at most once, in any order; those of a named pattern are not said
//! again where it is used.

use crate::data::Value;
use crate::data::time::format_duration;
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::pattern::{AfterMatch, MAX_RUNS_DEFAULT, Selection};
use crate::sema::arguments::{Arguments, Constants, Takes};
use crate::sema::globals::Globals;
use crate::syntax::ast::{self, Name, PatternClause, StreamOp};

/// The operators that are options of a pattern, and of nothing else.
pub const PATTERN_OPTIONS: [&str; 4] = ["within", "strategy", "after_match", "max_runs"];

const SELECTIONS: [(&str, Selection); 3] = [
    ("skip_till_next", Selection::SkipTillNext),
    ("strict", Selection::Strict),
    ("skip_till_any", Selection::SkipTillAny),
];

const AFTER_MATCH: [(&str, AfterMatch); 3] = [
    ("next_row", AfterMatch::NextRow),
    ("to_next_start", AfterMatch::ToNextStart),
    ("skip_past_last", AfterMatch::SkipPastLast),
];

/// A part of the key, possibly with a name.
#[derive(Clone, Copy)]
pub struct KeyPart<'a> {
    pub name: Option<&'a Name>,
    pub value: &'a ast::Expr,
}

/// What is said, and where.
#[derive(Default)]
pub struct Options<'a> {
    pub within: Option<(i64, Span)>,
    pub key: Option<(Vec<KeyPart<'a>>, Span)>,
    pub selection: Option<(Selection, Span)>,
    pub after_match: Option<(AfterMatch, Span)>,
    pub max_runs: Option<(u64, Span)>,
    /// Options that every stream has.
    pub of_stream: Vec<&'a StreamOp>,
    /// Something was wrong, and is reported.
    wrong: bool,
    /// Of a wrong option, which is given nevertheless.
    wrong_ones: Vec<(&'static str, Span)>,
}

/// Whether the operator is an option where it stands directly behind a pattern.
pub fn is_option(op: &StreamOp) -> bool {
    let name = op.name.text.as_str();
    PATTERN_OPTIONS.contains(&name) || matches!(name, "partition_by" | "allowed_lateness" | "watermark")
}

impl<'a> Options<'a> {
    pub fn add_clauses(&mut self, clauses: &'a [PatternClause], globals: &Globals<'_>, findings: &mut Vec<Diagnostic>) {
        for clause in clauses {
            match clause {
                PatternClause::Within(e) => self.add_within(e, e.span, globals, findings),
                PatternClause::PartitionBy(parts) => {
                    let span = parts.first().zip(parts.last()).map_or(Span::default(), |(a, b)| a.span.to(b.span));
                    let parts = parts.iter().map(|value| KeyPart { name: None, value }).collect();
                    self.give("partition_by", span, Some(parts), |o| &mut o.key, findings);
                }
                PatternClause::Operator(op) if is_option(op) => self.add(op, globals, findings),
                PatternClause::Operator(op) => {
                    let message = format!("`.{}` is no option of a pattern", op.name.text);
                    let found = Diagnostic::error(codes::MISPLACED_OPTION, op.span, message);
                    findings.push(found.with_hint("it belongs to the stream that uses the pattern"));
                    self.wrong = true;
                }
            }
        }
    }

    /// Adds an option, which [`is_option`] has recognised.
    pub fn add(&mut self, op: &'a StreamOp, globals: &Globals<'_>, findings: &mut Vec<Diagnostic>) {
        let name = op.name.text.as_str();
        if name == "partition_by" {
            let parts = op.args.iter().map(|a| KeyPart { name: a.name.as_ref(), value: &a.value }).collect();
            return self.give("partition_by", op.span, Some(parts), |o| &mut o.key, findings);
        }
        if !PATTERN_OPTIONS.contains(&name) {
            return self.of_stream.push(op);
        }
        let takes = Takes { positional: (1, 1), named: &[] };
        let code = codes::BAD_OPERATOR_ARGUMENTS;
        let Some(args) = Arguments::read(format!("`.{name}`"), op.span, &op.args, &takes, code, findings) else {
            self.wrong = true;
            return;
        };
        let e = &args.positional[0].value;
        let mut constants = Constants { globals, findings };
        match name {
            "within" => self.add_within(e, op.span, globals, findings),
            "strategy" => {
                let value = constants.word(e, "the strategy of a pattern", &SELECTIONS);
                self.give("strategy", op.span, value, |o| &mut o.selection, findings);
            }
            "after_match" => {
                let value = constants.word(e, "what follows a match", &AFTER_MATCH);
                self.give("after_match", op.span, value, |o| &mut o.after_match, findings);
            }
            _ => {
                let value = constants.count(e, "the number of runs");
                self.give("max_runs", op.span, value, |o| &mut o.max_runs, findings);
            }
        }
    }

    fn add_within(&mut self, e: &ast::Expr, span: Span, globals: &Globals<'_>, findings: &mut Vec<Diagnostic>) {
        let mut constants = Constants { globals, findings };
        let value = match constants.value(e) {
            None => None,
            Some(Value::Duration(ns)) if ns > 0 => Some(ns),
            Some(Value::Duration(ns)) => {
                let message = format!("no match fits into {}", format_duration(ns));
                let found = Diagnostic::error(codes::BAD_OPTION, e.span, message);
                findings.push(found.with_hint("`within` is longer than the time from a match's first row to its last"));
                None
            }
            Some(_) => constants.duration(e, "`within`"),
        };
        self.give("within", span, value, |o| &mut o.within, findings);
    }

    fn give<T>(
        &mut self,
        name: &'static str,
        span: Span,
        value: Option<T>,
        slot: impl for<'o> Fn(&'o mut Options<'a>) -> &'o mut Option<(T, Span)>,
        findings: &mut Vec<Diagnostic>,
    ) {
        let wrong = self.wrong_ones.iter().find(|(n, _)| *n == name).map(|(_, span)| *span);
        let before = slot(self).as_ref().map(|(_, span)| *span).or(wrong);
        if let Some(before) = before {
            let found = Diagnostic::error(codes::GIVEN_TWICE, span, format!("a pattern has one `{name}`"));
            findings.push(found.with_label(before, "the first one is here"));
            self.wrong = true;
            return;
        }
        match value {
            Some(value) => *slot(self) = Some((value, span)),
            None => {
                self.wrong = true;
                self.wrong_ones.push((name, span));
            }
        }
    }

    /// Whether all is well.
    pub fn are_sound(&self) -> bool {
        !self.wrong
    }

    /// Whether it is said, rightly or wrongly, how long a match may last.
    pub fn have_within(&self) -> bool {
        self.within.is_some() || self.wrong_ones.iter().any(|(n, _)| *n == "within")
    }

    pub fn within_ns(&self) -> Option<i64> {
        self.within.map(|(ns, _)| ns)
    }

    pub fn key_parts(&self) -> &[KeyPart<'a>] {
        self.key.as_ref().map_or(&[], |(parts, _)| parts)
    }

    pub fn selection(&self) -> Selection {
        self.selection.map_or(Selection::SkipTillNext, |(s, _)| s)
    }

    pub fn after_match(&self) -> AfterMatch {
        self.after_match.map_or(AfterMatch::NextRow, |(a, _)| a)
    }

    pub fn max_runs(&self) -> u64 {
        self.max_runs.map_or(MAX_RUNS_DEFAULT, |(n, _)| n)
    }
}
