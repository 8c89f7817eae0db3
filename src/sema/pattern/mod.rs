//! Patterns: from either form of the language to one keyed operator over one merged input.
//!
//! ```text
//! elements ─ shape ─> steps and tree ─ inputs ─> common columns ─ conditions ─> Pattern without outputs
//! stream's operators ─ options ─┘                                   ─ outputs ─> Pattern, filters, projection
//! ```
//!
//! A named pattern is read again for each stream that uses it, since the stream may give its key; what is wrong with
//! it is told once. One that no stream uses is checked alone.

mod inputs;
pub mod options;
mod outputs;
mod reach;
pub mod scope;
mod shape;

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::data::Value;
use crate::data::time::format_duration;
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::expr::{Expr, remap};
use crate::pattern::{Gives, Memory, Pattern, Step};
use crate::sema::Analyzer;
use crate::sema::fold::fold;
use crate::sema::globals::{PatternDecl, StreamDecl};
use crate::sema::pattern::inputs::{Inputs, View, key_name};
use crate::sema::pattern::options::{Options, is_option};
use crate::sema::pattern::scope::{Capture, Scope};
use crate::sema::pattern::shape::{Shape, StepDecl};
use crate::sema::source::Start;
use crate::sema::typer::captures::{Asked, Captures, MEMORIES};
use crate::sema::typer::{Place, Typer};
use crate::syntax::ast::{Element, Name, PatternClause, SourceKind, StreamOp};

/// A pattern that is read but for what its stream makes of the matches.
pub struct Opening<'a> {
    pub pattern: Pattern,
    pub scope: Scope,
    pub options: Options<'a>,
    pub label: String,
    pub span: Span,
    /// Whether the stream is of the runs that timed out.
    pub timeouts: bool,
    /// The first expression in a condition that needs rows that were taken before.
    pub remembers: Option<Span>,
    /// Nothing was wrong; else it serves only to find what else is.
    pub sound: bool,
}

/// The aliases and patterns of the program, and which of them something uses.
#[derive(Default)]
pub struct Uses<'a> {
    patterns: Vec<&'a str>,
    /// By place.
    aliases: BTreeMap<(u32, u32), (String, Span, bool)>,
}

/// What the steps ask of rows.
struct Conditions {
    /// By step, `Some(None)`: none; `None`: wrong, and reported.
    typed: Vec<Option<Option<Expr>>>,
    memories: Vec<Memory>,
    /// The first expression that asked for a memory.
    remembers: Option<Span>,
}

/// A pattern as a stream uses it.
struct Written<'a> {
    body: &'a Element,
    clauses: &'a [PatternClause],
    /// The options of the stream whose runs this one sees time out.
    of_other: &'a [StreamOp],
    /// The stream's options, and its other operators.
    options: &'a [StreamOp],
    rest: &'a [StreamOp],
    timeouts: Option<Span>,
}

impl<'a> Analyzer<'a, '_> {
    /// The source of a stream of matches; `None`: the stream is none.
    pub(super) fn pattern_stream(&mut self, decl: &StreamDecl<'a>) -> Option<Option<Start<'a>>> {
        let written = self.written(decl)?;
        Some(written.and_then(|written| {
            let told = self.findings.len();
            let prepared = self.prepare(&written, decl.source.span, true);
            self.forget_repetitions(told);
            let (inputs, opening) = prepared?;
            let Inputs { source, schema, origin, views } = inputs;
            let mut row = views.into_iter().next().map(|v| v.row).unwrap_or_default();
            row.schema = schema;
            Some(Start { source, row, origin, ops: written.rest, pattern: Some(opening) })
        }))
    }

    /// What is wrong with a named pattern is found for each stream that uses it.
    fn forget_repetitions(&mut self, told: usize) {
        let new = self.findings.split_off(told);
        for found in new {
            if !self.findings.contains(&found) {
                self.findings.push(found);
            }
        }
    }

    fn written(&mut self, decl: &StreamDecl<'a>) -> Option<Option<Written<'a>>> {
        let globals = self.globals;
        let (name, alias) = match &decl.source.kind {
            SourceKind::Pattern { body } => return Some(Some(written(body, &[], &[], decl.ops))),
            SourceKind::Named { name, alias } => (name, alias),
            SourceKind::From { .. } | SourceKind::Merge { .. } | SourceKind::Join { .. } | SourceKind::Timer { .. } => {
                return None;
            }
        };
        let timeout = decl.ops.first().filter(|op| op.name.text == "timeout");
        if let Some(PatternDecl { name: used, body, clauses }) =
            globals.patterns.iter().find(|p| p.name.text == name.text)
        {
            self.uses.patterns.push(&used.text);
            if let Some(alias) = alias {
                return Some(self.no_alias(alias));
            }
            return Some(self.timed_out(written(body, clauses, &[], decl.ops), timeout));
        }
        let timeout = timeout?;
        let of = globals.streams.iter().find(|s| s.name.text == name.text);
        let pattern = of.and_then(|of| match &of.source.kind {
            SourceKind::Pattern { body } => Some((of, body, [].as_slice())),
            SourceKind::Named { name, .. } => {
                let used = globals.patterns.iter().find(|p| p.name.text == name.text)?;
                Some((of, used.body, used.clauses))
            }
            SourceKind::From { .. } | SourceKind::Merge { .. } | SourceKind::Join { .. } | SourceKind::Timer { .. } => {
                None
            }
        });
        let Some((of, body, clauses)) = pattern else {
            let message = format!("`{}` is neither a pattern nor a stream of matches, so no run times out", name.text);
            self.findings.push(Diagnostic::error(codes::MISPLACED_TIMEOUT, timeout.span, message));
            return Some(None);
        };
        if let Some(alias) = alias {
            return Some(self.no_alias(alias));
        }
        let skipped = usize::from(of.ops.first().is_some_and(|op| op.name.text == "timeout"));
        let of_other = leading_options(&of.ops[skipped..]);
        Some(self.timed_out(written(body, clauses, of_other, decl.ops), Some(timeout)))
    }

    fn no_alias<T>(&mut self, alias: &Name) -> Option<T> {
        let message = "a pattern has no alias: its rows are known by those of its steps";
        self.findings.push(Diagnostic::error(codes::BAD_OPERATOR_ARGUMENTS, alias.span, message));
        None
    }

    fn timed_out(&mut self, mut written: Written<'a>, timeout: Option<&StreamOp>) -> Option<Written<'a>> {
        let Some(timeout) = timeout else { return Some(written) };
        if !timeout.args.is_empty() {
            let message = "`.timeout()` takes no arguments";
            self.findings.push(Diagnostic::error(codes::BAD_OPERATOR_ARGUMENTS, timeout.span, message));
            return None;
        }
        // It stands before the options.
        let ops = &written.rest[1..];
        let options = leading_options(ops);
        (written.options, written.rest) = (options, &ops[options.len()..]);
        written.timeouts = Some(timeout.span);
        Some(written)
    }

    /// Reads a pattern up to its outputs, as far as it can be understood. One that is not `used` may still get its time from a stream.
    fn prepare(&mut self, written: &Written<'a>, span: Span, used: bool) -> Option<(Inputs, Opening<'a>)> {
        let globals = self.globals;
        let mut options = Options::default();
        options.add_clauses(written.clauses, globals, &mut self.findings);
        for op in written.of_other.iter().chain(written.options) {
            options.add(op, globals, &mut self.findings);
        }
        let shape = Shape::read(written.body, &mut self.findings);
        let timed = !used || shape.as_ref().is_none_or(|shape| self.is_timed(shape, &options, written.timeouts));
        let shape = shape?;
        let inputs = self.pattern_inputs(&shape.steps, options.key_parts())?;
        let scope = scope(&shape.steps, &inputs.views, &options);
        let Conditions { typed: conditions, memories, remembers } = self.conditions(&shape.steps, &scope);
        let sound = timed && options.are_sound() && conditions.iter().all(Option::is_some);
        let tag = |event: &str| inputs.views.iter().position(|v| v.event == event).unwrap_or(0) as i64;
        let steps = scope.steps.iter().zip(conditions).map(|(capture, condition)| Step {
            name: capture.name().to_string(),
            source: tag(&capture.event),
            condition: condition.flatten(),
        });
        let pattern = Pattern {
            steps: steps.collect(),
            root: shape.root.clone(),
            within_ns: options.within_ns(),
            selection: options.selection(),
            after_match: options.after_match(),
            max_runs: options.max_runs(),
            memories,
            gives: Gives::Matches(Vec::new()),
        };
        if sound {
            self.findings.extend(reach::unreachable(&pattern, &shape.automaton, &shape.steps));
        }
        let label =
            options.within_ns().map_or("pattern".to_string(), |ns| format!("pattern within {}", format_duration(ns)));
        let timeouts = written.timeouts.is_some();
        Some((inputs, Opening { pattern, scope, options, label, span, timeouts, remembers, sound }))
    }

    /// Whether there is a `within` where only time settles something.
    fn is_timed(&mut self, shape: &Shape<'_>, options: &Options<'_>, timeouts: Option<Span>) -> bool {
        if options.have_within() {
            return true;
        }
        let (span, message) = match (shape.waits, timeouts) {
            (Some(wait), _) if wait.negated => (wait.span, "nothing says how long no row of this may come"),
            (Some(wait), _) => (wait.span, "nothing says when a match may be over: more rows might always follow"),
            (None, Some(span)) => (span, "without a `within` no run times out"),
            (None, None) => return true,
        };
        let found = Diagnostic::error(codes::WITHIN_NEEDED, span, message);
        self.findings.push(found.with_hint("say how long a match lasts, as in `.within(5m)`"));
        false
    }

    fn conditions(&mut self, steps: &[StepDecl<'a>], scope: &Scope) -> Conditions {
        let mut typed = Vec::with_capacity(steps.len());
        let (mut memories, mut first) = (Vec::new(), None);
        for (step, decl) in steps.iter().enumerate() {
            let Some(written) = decl.condition else {
                typed.push(Some(None));
                continue;
            };
            let asked = Asked::Condition { step, memories: std::mem::take(&mut memories), first };
            let place = Place::Captures(Captures::new(scope, asked));
            let mut typer = Typer::new(self.globals, place, &mut self.findings);
            let condition = typer.condition(written, "the condition of a step");
            if let Asked::Condition { memories: more, first: found, .. } = typer.into_captures().asked {
                (memories, first) = (more, found);
            }
            typed.push(condition.and_then(|e| self.satisfiable(e, written.span)));
        }
        let count = memories.len();
        let shift = |i: usize| if i >= MEMORIES { i - MEMORIES } else { count + i };
        let typed = typed.into_iter().map(|e| e.map(|e| e.map(|e| remap(e, &shift)))).collect();
        Conditions { typed, memories, remembers: first }
    }

    /// The condition, if it is one: what is always true needs no look.
    fn satisfiable(&mut self, condition: Expr, span: Span) -> Option<Option<Expr>> {
        match fold(condition) {
            Ok(Expr::Literal { value: Value::Bool(true), .. }) => Some(None),
            Ok(Expr::Literal { .. }) => {
                let found = Diagnostic::error(codes::NEVER_TRUE, span, "the condition is never true");
                self.findings
                    .push(found.with_hint("no row can fit the step: leave the step out, or change the condition"));
                None
            }
            Ok(e) | Err(e) => Some(Some(e)),
        }
    }

    /// What the stream has used of the pattern's aliases; of a wrong one it is not known.
    pub(super) fn note_aliases(&mut self, scope: &Scope, sound: bool) {
        for step in &scope.steps {
            let Some((name, span)) = &step.alias else { continue };
            let noted = self.uses.aliases.entry((span.file, span.start));
            noted.or_insert_with(|| (name.clone(), *span, false)).2 |= step.used.get() || !sound;
        }
    }

    /// Patterns that no stream uses are checked nevertheless; aliases that nothing uses are told.
    pub(super) fn finish_patterns(&mut self) {
        for PatternDecl { name, body, clauses } in &self.globals.patterns {
            if self.uses.patterns.contains(&name.text.as_str()) {
                continue;
            }
            let written = written(body, clauses, &[], &[]);
            if self.prepare(&written, name.span, false).is_some_and(|(_, opening)| opening.sound) {
                let message = format!("no stream uses the pattern `{}`", name.text);
                let found = Diagnostic::warning(codes::UNUSED_PATTERN, name.span, message);
                self.findings.push(found.with_hint(format!("as in `stream X = {}.emit(…)`", name.text)));
            }
        }
        for (name, span, used) in std::mem::take(&mut self.uses.aliases).into_values() {
            if !used {
                let message = format!("the alias `{name}` is never used");
                self.findings.push(Diagnostic::warning(codes::UNUSED_ALIAS, span, message));
            }
        }
    }
}

fn written<'a>(
    body: &'a Element,
    clauses: &'a [PatternClause],
    of_other: &'a [StreamOp],
    ops: &'a [StreamOp],
) -> Written<'a> {
    let options = leading_options(ops);
    Written { body, clauses, of_other, options, rest: &ops[options.len()..], timeouts: None }
}

fn leading_options(ops: &[StreamOp]) -> &[StreamOp] {
    let end = ops.iter().position(|op| !is_option(op)).unwrap_or(ops.len());
    &ops[..end]
}

fn scope(steps: &[StepDecl<'_>], views: &[View], options: &Options<'_>) -> Scope {
    let capture = |step: &StepDecl<'_>| {
        let view = views.iter().find(|v| v.event == step.event.text);
        let view = view.expect("every step's source was read");
        Capture {
            alias: step.alias.map(|a| (a.text.clone(), a.span)),
            event: view.event.clone(),
            row: view.row.clone(),
            order: view.order.clone(),
            path: step.path.clone(),
            used: Cell::new(false),
        }
    };
    let key_names = options.key_parts().iter().map(key_name).collect();
    Scope { steps: steps.iter().map(capture).collect(), key_names }
}
