//! `join(A as a, B as b on a.k == b.k, within: 10m)` and its kin: from inputs, conditions and bounds to joins of two
//! inputs each, the first of which reads two inputs of the program and every other the rows of the one before.
//!
//! A condition is a conjunction. What of it compares a value of the newest input with one of those before becomes the
//! key by which rows are brought together; the rest is tried on each pair.

mod condition;
mod inputs;
mod tables;

use self::inputs::{Chain, Condition, Side};
use crate::data::time::format_duration;
use crate::data::{Field, Type};
use crate::diagnostic::{Diagnostic, Span, codes, nearest};
use crate::join::{Join, Reach};
use crate::sema::Analyzer;
use crate::sema::arguments::{Arguments, Constants, Takes};
use crate::sema::globals::StreamDecl;
use crate::sema::hir::{JoinInput, JoinStep, Joined, Source};
use crate::sema::ops::Origin;
use crate::sema::parts::{TIME, joined};
use crate::sema::row::{Alias, Row};
use crate::sema::source::Start;
use crate::syntax::ast::{self, Arg, JoinArg, Name, SourceKind, StreamOp};

/// The options of a join.
const OPTIONS: [&str; 3] = ["within", "after", "before"];

/// A join as it is written.
struct Written<'a> {
    keyword: &'a Name,
    span: Span,
    sources: Vec<Source>,
    inputs: Chain<'a>,
    reach: Reach,
    /// `within 10m`.
    bound: String,
}

impl<'a> Analyzer<'a, '_> {
    /// The joined rows that a stream begins with, if it does.
    pub(super) fn joined_stream(&mut self, decl: &StreamDecl<'a>) -> Option<Option<Start<'a>>> {
        let SourceKind::Join { keyword, args } = &decl.source.kind else { return None };
        let is_of_tables = |arg: &JoinArg| match arg {
            JoinArg::Input { source, .. } => self.is_table_source(source),
            JoinArg::Option(_) => true,
        };
        if args.iter().all(is_of_tables) {
            let message = "a join of tables is a table";
            let found = Diagnostic::error(codes::TABLE_AS_STREAM, decl.source.span, message);
            let hint = format!("write `table {0} = …`, and read `{0}.changes()`", decl.name.text);
            self.findings.push(found.with_hint(hint));
            return Some(None);
        }
        let (on, window, rest) = leading(decl.ops, args);
        Some(self.written_join(keyword, args, decl.source.span, on, window).and_then(|written| {
            let (source, row) = self.steps(written)?;
            let origin = Origin { stateful: true, judges: true, ..Origin::default() };
            Some(Start { source, row, origin, ops: rest, pattern: None })
        }))
    }

    fn written_join(
        &mut self,
        keyword: &'a Name,
        args: &'a [JoinArg],
        span: Span,
        on: Option<&'a StreamOp>,
        window: Option<&'a StreamOp>,
    ) -> Option<Written<'a>> {
        let (mut inputs, mut options) = (Vec::new(), Vec::new());
        for arg in args {
            match arg {
                JoinArg::Input { source, on } => inputs.push(self.input(source, on.as_ref())),
                JoinArg::Option(arg) => options.push(arg),
            }
        }
        let bound = self.reach(keyword, span, &options, window);
        let inputs: Vec<(Source, Side<'a>)> = inputs.into_iter().collect::<Option<_>>()?;
        let (reach, bound) = bound?;
        let (sources, sides) = inputs.into_iter().unzip();
        let inputs = Chain::new(self, keyword, span, sides, on)?;
        Some(Written { keyword, span, sources, inputs, reach, bound })
    }

    fn input(&mut self, source: &'a ast::Source, on: Option<&'a ast::Expr>) -> Option<(Source, Side<'a>)> {
        let name = match &source.kind {
            SourceKind::Named { name, .. } => name,
            SourceKind::From { event, .. } => event,
            SourceKind::Merge { .. }
            | SourceKind::Join { .. }
            | SourceKind::Timer { .. }
            | SourceKind::Pattern { .. } => {
                let message = "an input of a join is an event type or a stream";
                let found = Diagnostic::error(codes::BAD_JOIN, source.span, message);
                self.findings.push(found.with_hint("make it a stream of its own, and join that"));
                return None;
            }
        };
        let (read, row, _) = self.start(source)?;
        let implied = || Alias { name: name.text.clone(), span: name.span, used: true.into() };
        let alias = row.alias.unwrap_or_else(implied);
        let mut schema = row.schema;
        schema.fields.push(Field::new(TIME, Type::Timestamp.required()));
        Some((read, Side { alias, schema, on, span: source.span }))
    }

    /// What bounds the join in time, and how it is called.
    fn reach(
        &mut self,
        keyword: &Name,
        span: Span,
        options: &[&'a Arg],
        window: Option<&'a StreamOp>,
    ) -> Option<(Reach, String)> {
        if let Some(op) = window {
            return self.join_window(op);
        }
        let mut given = [None, None, None];
        let mut sound = true;
        for option in options {
            let Some(name) = &option.name else { continue };
            let Some(known) = OPTIONS.iter().position(|o| *o == name.text) else {
                let message = format!("`{}` has no option `{}`", keyword.text, name.text);
                let found = Diagnostic::error(codes::BAD_JOIN, name.span, message);
                self.findings.push(match nearest(&name.text, OPTIONS) {
                    Some(near) => found.with_hint(format!("did you mean `{near}`?")),
                    None => found.with_hint(format!("it knows {}", OPTIONS.join(", "))),
                });
                sound = false;
                continue;
            };
            if given[known].is_some() {
                let message = format!("`{}` is given twice", name.text);
                self.findings.push(Diagnostic::error(codes::GIVEN_TWICE, name.span, message));
                sound = false;
            }
            let mut constants = Constants { globals: self.globals, findings: &mut self.findings };
            let ns = constants.duration_or_zero(&option.value, &format!("`{}`", name.text));
            sound &= ns.is_some();
            given[known] = Some((ns.unwrap_or(0), name.span));
        }
        if !sound {
            return None;
        }
        match given {
            [Some((ns, _)), None, None] => {
                let reach = Reach::Interval { before_ns: ns, after_ns: ns };
                Some((reach, format!("within {}", format_duration(ns))))
            }
            [None, None, None] => {
                let message = format!("nothing says how far apart in time the rows of `{}` may be", keyword.text);
                let found = Diagnostic::error(codes::NO_JOIN_BOUND, span, message);
                let hint = "`within: 10m` bounds it, or `.window(5m)` behind the join; see also `after:` and `before:`";
                self.findings.push(found.with_hint(hint));
                None
            }
            [Some(_), Some((_, other)), _] | [Some(_), None, Some((_, other))] => {
                let message = "`within` bounds both directions, `after` and `before` one each: give either";
                self.findings.push(Diagnostic::error(codes::GIVEN_TWICE, other, message));
                None
            }
            [None, after, before] => {
                let (after_ns, before_ns) = (after.map_or(0, |a| a.0), before.map_or(0, |b| b.0));
                let bound = format!("after {} before {}", format_duration(after_ns), format_duration(before_ns));
                Some((Reach::Interval { before_ns, after_ns }, bound))
            }
        }
    }

    fn join_window(&mut self, op: &'a StreamOp) -> Option<(Reach, String)> {
        let takes = Takes { positional: (1, 1), named: &["offset"] };
        let code = codes::BAD_OPERATOR_ARGUMENTS;
        let what = "the `.window` of a join, which is a tumbling one,";
        let args = Arguments::read(what, op.span, &op.args, &takes, code, &mut self.findings)?;
        let mut constants = Constants { globals: self.globals, findings: &mut self.findings };
        let size_ns = constants.duration(&args.positional[0].value, "the size of a join's window")?;
        let offset_ns = match args.get("offset") {
            Some(e) => constants.duration_or_zero(e, "the offset of a window")?.rem_euclid(size_ns),
            None => 0,
        };
        let offset = if offset_ns == 0 { String::new() } else { format!(" offset {}", format_duration(offset_ns)) };
        Some((Reach::Window { size_ns, offset_ns }, format!("window {}{offset}", format_duration(size_ns))))
    }

    /// The joins of two inputs each, and the rows of the last.
    fn steps(&mut self, written: Written<'a>) -> Option<(Source, Row)> {
        let Written { keyword, span, sources, mut inputs, reach, bound } = written;
        let (mut steps, mut sound) = (Vec::new(), true);
        for step in inputs.steps() {
            let Some(Condition { keys, residual }) = inputs.join(self, step) else {
                sound = false;
                continue;
            };
            if keys[0].is_empty() && keyword.text != "cross_join" {
                let pairs = ", or `cross_join` for all pairs in its time";
                let instead = if keyword.text == "join" { pairs } else { "" };
                self.no_equality(inputs.side(step), span, "inputs", instead);
                sound = false;
                continue;
            }
            let schema = joined(&inputs.so_far).schema;
            let join = Join { keeps: inputs.keeps, keys, reach, residual, output: (0..schema.len()).collect() };
            steps.push(JoinStep { label: format!("{} {bound}", keyword.text), join, schema });
        }
        let row = inputs.row();
        let read = sources.into_iter().zip(inputs.into_sides());
        let inputs = read.map(|(source, side)| JoinInput { source, schema: side.schema }).collect();
        sound.then_some((Source::Join(Joined { inputs, steps }), row))
    }
}

/// `.on(…)` and `.window(…)` directly behind a join, and the operators after them. A join that has a bound of its own
/// has no window: one that follows is that of an aggregate.
fn leading<'a>(ops: &'a [StreamOp], args: &[JoinArg]) -> (Option<&'a StreamOp>, Option<&'a StreamOp>, &'a [StreamOp]) {
    let (mut on, mut window, mut rest) = (None, None, ops);
    let is_bounded = args.iter().any(|arg| matches!(arg, JoinArg::Option(_)));
    while let Some((first, others)) = rest.split_first() {
        match first.name.text.as_str() {
            "on" if on.is_none() => on = Some(first),
            "window" if window.is_none() && !is_bounded => window = Some(first),
            _ => break,
        }
        rest = others;
    }
    (on, window, rest)
}
