//! What a stream makes of the matches of its pattern: filters, and then the fields that rows have from there on.
//!
//! A match has captures, not fields. Whatever the stream asks of them becomes a column of the operator, and a
//! projection right behind it gives the fields their names; from there on the stream is like any other.

use crate::data::{Field, Schema};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::expr::Expr;
use crate::pattern::automaton::Automaton;
use crate::pattern::{AfterMatch, Gives, Output, Selection, Trend};
use crate::sema::arguments::Takes;
use crate::sema::hir::{KeyedKind, Step};
use crate::sema::ops::{Chain, field_of};
use crate::sema::pattern::Opening;
use crate::sema::pattern::options::is_option;
use crate::sema::row::key_column;
use crate::sema::typer::captures::{Asked, Captures};
use crate::sema::typer::{Place, Typer};
use crate::syntax::ast::{Expr as AstExpr, StreamOp};

/// A filter as it is written.
type Filter<'a> = (&'a StreamOp, &'a AstExpr);

/// Typed filters and fields over the operator's columns, and what they ask of it.
struct Made {
    filters: Vec<Expr>,
    fields: Vec<(String, Expr)>,
    asked: Asked,
}

impl<'a> Chain<'a, '_, '_> {
    /// Reads the operators up to the one that gives the rows their fields, and leaves the others.
    pub(in crate::sema) fn matches(&mut self, opening: &Opening<'a>, ops: &'a [StreamOp]) -> Option<&'a [StreamOp]> {
        let mut sound = true;
        for op in &opening.options.of_stream {
            sound &= self.read(op).is_some();
        }
        let is_filter = |op: &StreamOp| matches!(op.name.text.as_str(), "where" | "filter" | "having");
        let end = ops.iter().position(|op| !is_filter(op)).unwrap_or(ops.len());
        let mut filters: Vec<Filter<'a>> = Vec::new();
        for op in &ops[..end] {
            match self.arguments(op, &Takes { positional: (1, 1), named: &[] }) {
                Some(args) => filters.push((op, &args.positional[0].value)),
                None => sound = false,
            }
        }
        let Some((op, rest)) = ops[end..].split_first() else {
            self.no_fields(opening.span, "a match has no fields of its own");
            return None;
        };
        match op.name.text.as_str() {
            "emit" => {
                self.begin_emit(op)?;
                self.match_fields(opening, op, &filters)?;
            }
            "select" => self.match_fields(opening, op, &filters)?,
            "trend_aggregate" => self.trends(opening, op, &filters)?,
            _ => {
                self.misplaced(op);
                return None;
            }
        }
        sound.then_some(rest)
    }

    fn no_fields(&mut self, span: Span, message: &str) {
        let hint = "`.emit(…)` or `.select(…)` says which ones, as in `.emit(first: a.x, n: count(b))`";
        self.findings.push(Diagnostic::error(codes::NO_MATCH_FIELDS, span, message).with_hint(hint));
    }

    /// Something else stands where fields are needed.
    fn misplaced(&mut self, op: &'a StreamOp) {
        let name = op.name.text.as_str();
        if is_option(op) {
            let message = format!("`.{name}` stands behind what is made of the matches");
            let found = Diagnostic::error(codes::MISPLACED_OPTION, op.span, message);
            self.findings.push(found.with_hint("put it directly behind the pattern"));
        } else if name == "timeout" || !self.is_operator(name) {
            self.read(op);
        } else {
            self.no_fields(op.span, &format!("`.{name}` needs rows with fields, and a match has none of its own"));
        }
    }

    fn match_fields(&mut self, opening: &Opening<'a>, op: &'a StreamOp, filters: &[Filter<'a>]) -> Option<()> {
        if op.args.is_empty() {
            self.no_fields(op.span, "a match has no fields of its own");
            return None;
        }
        let key = opening.scope.key_of_row().into_iter().enumerate();
        let outputs = key.map(|(part, e)| Output::Key { part, ty: e.data_type() }).collect();
        let asked = Asked::Outputs { outputs, timeouts: opening.timeouts };
        let made = self.made(opening, op, filters, asked)?;
        let Asked::Outputs { outputs, .. } = &made.asked else { return None };
        let gives = match opening.timeouts {
            true => Gives::Timeouts(outputs.clone()),
            false => Gives::Matches(outputs.clone()),
        };
        self.push(opening, op, filters, made, gives);
        Some(())
    }

    fn trends(&mut self, opening: &Opening<'a>, op: &'a StreamOp, filters: &[Filter<'a>]) -> Option<()> {
        self.countable(opening, op, filters)?;
        let key = opening.scope.key_of_row().into_iter().enumerate();
        let asked = Asked::Trends(key.map(|(part, e)| Trend::Key { part, ty: e.data_type() }).collect());
        let made = self.made(opening, op, &[], asked)?;
        let Asked::Trends(trends) = &made.asked else { return None };
        let gives = Gives::Trends(trends.clone());
        self.push(opening, op, &[], made, gives);
        self.aggregated = true;
        Some(())
    }

    /// Whether the matches of the pattern can be counted without being made.
    fn countable(&mut self, opening: &Opening<'a>, op: &StreamOp, filters: &[Filter<'a>]) -> Option<()> {
        let Opening { options, .. } = opening;
        let wrong = if op.args.is_empty() {
            Some((
                op.span,
                "`.trend_aggregate` needs at least one aggregate",
                "as in `.trend_aggregate(n: count_trends())`",
            ))
        } else if opening.timeouts {
            Some((op.span, "a trend is of matches, not of runs that timed out", "leave `.timeout()` out"))
        } else if let Some((filter, _)) = filters.first() {
            Some((filter.span, "trends are counted without looking at each match", "put the condition into the steps"))
        } else if options.selection() != Selection::SkipTillAny {
            let span = options.selection.map_or(op.span, |(_, span)| span);
            Some((span, "trends are all combinations of rows", "say `.strategy(\"skip_till_any\")`"))
        } else if let Some((AfterMatch::ToNextStart | AfterMatch::SkipPastLast, span)) = options.after_match {
            Some((span, "trends are counted with all matches", "leave `.after_match` out"))
        } else if let Some((_, span)) = options.max_runs {
            Some((span, "trends are counted without runs", "leave `.max_runs` out"))
        } else if Automaton::new(&opening.pattern.root).is_ok_and(|automaton| automaton.is_ambiguous()) {
            let message =
                "the same rows in the same steps fit this pattern in several ways, and would count several times";
            Some((op.span, message, "a loop in a loop does that: leave one of them out"))
        } else {
            let hint = "write it over the fields of the step's own row and the key";
            opening.remembers.map(|span| (span, "the conditions of a trend see no other step", hint))
        };
        let Some((span, message, hint)) = wrong else { return Some(()) };
        self.findings.push(Diagnostic::error(codes::BAD_TREND, span, message).with_hint(hint));
        None
    }

    /// Types the filters and the fields.
    fn made(&mut self, opening: &Opening<'a>, op: &'a StreamOp, filters: &[Filter<'a>], asked: Asked) -> Option<Made> {
        let place = Place::Captures(Captures::new(&opening.scope, asked));
        let mut typer = Typer::new(self.globals, place, self.findings);
        let conditions: Vec<Option<Expr>> = filters
            .iter()
            .map(|(op, e)| typer.condition(e, &format!("the condition of `.{}`", op.name.text)))
            .collect();
        let typed: Vec<Option<Expr>> = op.args.iter().map(|a| typer.expr(&a.value)).collect();
        let asked = typer.into_captures().asked;
        let fields = self.named_fields(&op.args, typed);
        let filters = conditions.into_iter().collect::<Option<_>>()?;
        Some(Made { filters, fields: fields?, asked })
    }

    /// Adds the operator, the filters and the projection.
    fn push(&mut self, opening: &Opening<'a>, op: &StreamOp, written: &[Filter<'a>], made: Made, gives: Gives) {
        let mut pattern = opening.pattern.clone();
        pattern.gives = gives;
        let parts = self.row.key_names.len();
        let names = (0..).map(|i: usize| if i < parts { key_column(i) } else { format!("$match{}", i - parts) });
        let schema = names.zip(pattern.output_types()).map(|(name, ty)| Field::new(name, ty)).collect();
        let kind = KeyedKind::Pattern(Box::new(pattern));
        self.keyed(opening.label.clone(), opening.span, kind, Schema::new(schema));
        for ((op, _), condition) in written.iter().zip(made.filters) {
            self.step("where", op.span, Step::Filter(condition));
        }
        let hidden = (0..parts).map(|i| (key_column(i), self.row.column(i))).collect();
        let key_fields: Vec<Option<String>> = (0..parts).map(|part| field_of(&made.fields, part)).collect();
        self.project(&op.name.text, op.span, made.fields, hidden);
        self.row.key_fields = key_fields;
    }
}
