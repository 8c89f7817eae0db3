//! From what was written to what is meant: scopes, types, and the end of sugar.
//!
//! ```text
//! ast of all files ─ globals ─> types, constants, functions, connectors
//!                  ─ streams ─> for each, in the order in which they read each other: source, then operators
//!                              └> hir::Program
//! ```
//!
//! Every rejection of a program happens here, and all of them in one run: a declaration or operator
//! that is wrong is reported and left out, and whoever depends on it stays silent.

pub mod arguments;
pub mod connector;
mod derived;
pub mod fold;
pub mod globals;
pub mod hir;
pub mod inputs;
mod join;
mod ops;
pub mod parts;
mod pattern;
pub mod relate;
pub mod row;
pub mod settings;
mod source;
mod table;
pub mod typer;
pub mod types;

use std::collections::{BTreeMap, BTreeSet};

use crate::connector::spec::{Input, OnError, WatermarkStrategy};
use crate::diagnostic::{Diagnostic, Severity, Span, codes};
use crate::sema::connector::Connectors;
use crate::sema::globals::{Globals, StreamDecl};
use crate::sema::hir::{Output, ScanId, Source, Stream, StreamId, Target};
use crate::sema::inputs::{CommandInput, InputTable, Surroundings};
use crate::sema::ops::{Chain, Defaults, Origin, TableParts};
use crate::sema::pattern::Uses;
use crate::sema::source::Start;
use crate::syntax::ast;

/// The place of what is not in the program.
const NOWHERE: Span = Span { file: u32::MAX, start: 0, end: 0 };

/// What the command line says about a program's inputs.
pub struct Environment<'e> {
    pub inputs: &'e [CommandInput],
    pub surroundings: &'e mut dyn Surroundings,
    /// What malformed rows become where the program does not say.
    pub on_error: OnError,
    /// Whether the command line says where state is saved.
    pub has_state_dir: bool,
}

/// Checks a program, whose `files` come in the order in which they import each other, the main file
/// last. There is a program if and only if there is no error.
pub fn analyze(files: &[ast::Program], environment: Environment<'_>) -> (Option<hir::Program>, Vec<Diagnostic>) {
    let mut findings = Vec::new();
    let globals = globals::collect(files, &mut findings);
    let connectors = Connectors::read(&globals, &mut findings);
    let defaults = ops::read_defaults(&globals, &mut findings);
    let settings = settings::read(&globals, environment.has_state_dir, &mut findings);
    let undeclared = source::undeclared(&globals);
    let Environment { inputs, surroundings, on_error, has_state_dir: _ } = environment;
    let inputs = InputTable::new(&globals, &connectors, inputs, surroundings, on_error, undeclared);
    let mut analyzer = Analyzer {
        globals: &globals,
        connectors: &connectors,
        defaults: &defaults,
        inputs,
        findings,
        built: BTreeMap::new(),
        path: Vec::new(),
        streams: Vec::new(),
        origins: Vec::new(),
        uses: Uses::default(),
    };
    for decl in &globals.streams {
        analyzer.stream(decl);
    }
    analyzer.finish_patterns();
    analyzer.settle_outputs();
    let Analyzer { mut inputs, mut findings, streams, .. } = analyzer;
    inputs.note_timed(&mut findings);
    if settings.state.limits.capacity.is_some() {
        findings.extend(streams.iter().filter(|s| s.relation.is_some()).map(no_capacity));
    }
    if globals.streams.iter().all(|s| s.is_table) && !findings.iter().any(|d| d.severity == Severity::Error) {
        let end = diagnostic_end(files);
        findings.push(Diagnostic::error(codes::NO_STREAM, end, "the program has no stream"));
    }
    findings.sort_by_key(|d| (d.span.file, d.span.start));
    if findings.iter().any(|d| d.severity == Severity::Error) {
        return (None, findings);
    }
    for unused in inputs.unused() {
        let message = format!("no stream reads the input {}", unused.name);
        findings.push(Diagnostic::warning(codes::UNUSED_INPUT, NOWHERE, message));
    }
    let InputTable { types, scans, .. } = inputs;
    (Some(hir::Program { types, scans, streams, watermark: defaults.watermark, settings }), findings)
}

/// What readers of a table find would depend on how far they are behind, if its rows could be evicted.
fn no_capacity(table: &Stream) -> Diagnostic {
    let message =
        format!("a `capacity` cannot bound the table `{}`: what is looked up of it must be there", table.name);
    let found = Diagnostic::error(codes::TABLE_CAPACITY, table.span, message);
    found.with_hint("`memory_budget` with `backend: \"rocksdb\"` keeps what does not fit in memory on disk")
}

/// The settings of a program, which need neither its inputs nor its streams; the defaults where they are
/// wrong, which [`analyze`] tells.
pub fn settings_alone(files: &[ast::Program]) -> hir::Settings {
    let mut findings = Vec::new();
    let globals = globals::collect(files, &mut findings);
    findings.clear();
    let settings = settings::read(&globals, true, &mut findings);
    if findings.is_empty() { settings } else { hir::Settings::default() }
}

fn diagnostic_end(files: &[ast::Program]) -> crate::diagnostic::Span {
    let last = files.last().and_then(|f| f.declarations.last());
    last.map_or(Default::default(), |d| d.span)
}

/// The streams, while they are built.
struct Analyzer<'a, 'e> {
    globals: &'e Globals<'a>,
    connectors: &'e Connectors,
    defaults: &'e Defaults,
    inputs: InputTable<'e, 'a>,
    findings: Vec<Diagnostic>,
    /// `None`: wrong, and reported.
    built: BTreeMap<&'a str, Option<StreamId>>,
    /// Streams that are being built, each because the one before reads it.
    path: Vec<&'a str>,
    streams: Vec<Stream>,
    /// By stream: what its readers must know of where its rows come from.
    origins: Vec<Origin>,
    uses: Uses<'a>,
}

impl<'a> Analyzer<'a, '_> {
    /// Builds a stream, and those that it reads before it.
    fn stream(&mut self, decl: &StreamDecl<'a>) -> Option<StreamId> {
        let name = decl.name.text.as_str();
        if let Some(built) = self.built.get(name) {
            return *built;
        }
        if let Some(depth) = self.path.iter().position(|n| *n == name) {
            let path = self.path[depth..].join(" -> ");
            let message = format!("`{name}` reads itself ({path} -> {name})");
            self.findings.push(Diagnostic::error(codes::STREAM_CYCLE, decl.name.span, message));
            // All members of the circle are wrong, and one diagnostic says so.
            return None;
        }
        self.path.push(name);
        let stream = self.build(decl);
        self.path.pop();
        let id = stream.map(|(stream, origin)| {
            self.streams.push(stream);
            self.origins.push(origin);
            self.streams.len() - 1
        });
        self.built.insert(name, id);
        id
    }

    fn build(&mut self, decl: &StreamDecl<'a>) -> Option<(Stream, Origin)> {
        if let Some(derived) = self.derived(decl) {
            return derived;
        }
        let errors = self.errors();
        let start = self.source(decl)?;
        let untimed = self.untimed(decl, &start)?;
        let tables = self.enriching_tables(start.ops);
        let Start { source, row, origin, ops, pattern } = start;
        let source_schema = row.schema.clone();
        let mut chain =
            Chain::new(self.globals, self.connectors, self.defaults, &mut self.findings, decl.name, origin, row);
        chain.tables = tables;
        chain.table = decl.is_table.then(TableParts::default);
        let ops = match &pattern {
            Some(opening) => chain.matches(opening, ops)?,
            None => ops,
        };
        for op in ops {
            if chain.read(op).is_none() && !Chain::keeps_rows(op) {
                return None;
            }
        }
        chain.finish();
        let relation = chain.finish_table();
        let lateness_ns = chain.settled_lateness();
        let outputs = chain.take_outputs();
        let end = chain.end();
        let watermark = chain.watermark.take().map(|(change, _)| change).or(untimed);
        let (ops, schema) = (std::mem::take(&mut chain.ops), chain.row.schema.clone());
        let strategy = watermark.as_ref().map_or(&self.defaults.watermark, |w| &w.watermark).strategy;
        self.check_event_time(decl, &source, strategy, watermark.as_ref().is_some_and(|w| w.on.is_some()));
        if let Some(hir::WatermarkChange { on: Some((_, _, span)), .. }) = &watermark {
            self.check_replayable(&source, *span);
        }
        let sound = pattern.as_ref().is_none_or(|p| p.sound) && self.errors() == errors;
        if let Some(opening) = &pattern {
            self.note_aliases(&opening.scope, sound);
        }
        let stream = Stream {
            name: decl.name.text.clone(),
            span: decl.name.span,
            source,
            source_schema,
            watermark,
            lateness_ns,
            ops,
            schema,
            relation,
            outputs,
        };
        sound.then_some((stream, end))
    }

    fn errors(&self) -> usize {
        self.findings.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// Rows need a time: their own, their format's, or the arrival clock's.
    fn check_event_time(&mut self, decl: &StreamDecl<'a>, source: &Source, strategy: WatermarkStrategy, on: bool) {
        match source {
            Source::Event { ty, scans } => {
                let ty = &self.inputs.types[*ty];
                let timed = ty.time.is_some() || on || strategy == WatermarkStrategy::ProcessingTime;
                if timed || scans.iter().all(|s| self.inputs.has_format_time(*s)) {
                    return;
                }
                let message = format!("`{}` has no event time", ty.name);
                let found = Diagnostic::error(codes::NO_EVENT_TIME, decl.source.span, message);
                self.findings
                    .push(found.with_hint("give it a field of type `timestamp`, or a line `time: expression`"));
            }
            Source::Merge(inputs) => inputs.iter().for_each(|i| self.check_event_time(decl, &i.source, strategy, on)),
            Source::Join(join) => join.inputs.iter().for_each(|i| self.check_event_time(decl, &i.source, strategy, on)),
            Source::Stream(_) | Source::Timer { .. } | Source::Late { .. } => {}
        }
    }

    /// A type has one event time in one scan of its input: a second one needs a second scan.
    fn check_replayable(&mut self, source: &Source, span: Span) {
        let mut scans = Vec::new();
        self.add_scans(source, &mut scans);
        if scans.iter().any(|s| matches!(self.inputs.scans[*s].input, Input::Stdin { .. })) {
            let message = "stdin can be read only once, and so with one event time";
            let found = Diagnostic::error(codes::MISPLACED_WATERMARK, span, message);
            self.findings.push(found.with_hint("give the type a line `time: expression`"));
        }
    }

    fn add_scans(&self, source: &Source, scans: &mut Vec<ScanId>) {
        match source {
            Source::Event { scans: read, .. } => scans.extend(read),
            Source::Stream(id) | Source::Late { of: id, .. } => {
                let stream = &self.streams[*id];
                self.add_scans(&stream.source, scans);
                let tables = stream.ops.iter().filter_map(|op| op.kind.table());
                tables.for_each(|table| self.add_scans(&Source::Stream(table), scans));
            }
            Source::Merge(inputs) => inputs.iter().for_each(|i| self.add_scans(&i.source, scans)),
            Source::Join(join) => join.inputs.iter().for_each(|i| self.add_scans(&i.source, scans)),
            Source::Timer { .. } => {}
        }
    }

    /// A program in which no stream says that it is an output puts out what no stream reads. Who asks for
    /// the late rows of a stream does not read the stream.
    fn settle_outputs(&mut self) {
        let mut read = BTreeSet::new();
        let mut late = BTreeSet::new();
        for stream in &self.streams {
            match &stream.source {
                Source::Late { of, .. } => {
                    late.insert(*of);
                }
                source => source::for_each_stream(source, &mut |id| {
                    read.insert(id);
                }),
            }
            read.extend(stream.ops.iter().filter_map(|op| op.kind.table()));
        }
        let is_output = |op: &ast::StreamOp| matches!(op.name.text.as_str(), "emit" | "to");
        let stated = self.globals.streams.iter().flat_map(|s| s.ops).any(is_output);
        // With errors about, the stream that reads this one may be among what was left out.
        let wrong = self.errors() > 0;
        for (id, stream) in self.streams.iter_mut().enumerate() {
            if read.contains(&id) || !stream.outputs.is_empty() {
                continue;
            }
            if stream.relation.is_some() {
                if !late.contains(&id) && !wrong {
                    let message = format!("nothing reads the table `{}`", stream.name);
                    let found = Diagnostic::warning(codes::UNUSED_STREAM, stream.span, message);
                    self.findings.push(found.with_hint(format!("`stream C = {}.changes()` would", stream.name)));
                }
            } else if !stated {
                stream.outputs.push(Output { name: stream.name.clone(), target: Target::Default });
            } else if !stream.tells() && !late.contains(&id) && !wrong {
                let message = format!("nothing reads `{}`, and it is no output", stream.name);
                let found = Diagnostic::warning(codes::UNUSED_STREAM, stream.span, message);
                self.findings.push(found.with_hint("`.emit(…)` or `.to(…)` makes it an output"));
            }
        }
    }
}
