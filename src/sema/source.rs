//! What a stream starts from: an event type, another stream, a union of several, a timer, or the late
//! rows of a stream.

use std::collections::BTreeSet;

use crate::data::{DataType, Field, Schema, Type, Value};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::expr::{Expr, add_columns};
use crate::sema::Analyzer;
use crate::sema::arguments::Constants;
use crate::sema::globals::{Globals, StreamDecl};
use crate::sema::hir::{Keyed, KeyedKind, MergeInput, OpKind, Source, StreamId, TypeId};
use crate::sema::ops::Origin;
use crate::sema::pattern::Opening;
use crate::sema::row::{Alias, Row};
use crate::sema::typer::coerce;
use crate::syntax::ast::{self, Element, ElementKind, JoinArg, Name, SourceKind, StreamOp};

/// A source, the rows that it gives, and the operators that are left to read.
pub(super) struct Start<'a> {
    pub source: Source,
    pub row: Row,
    pub origin: Origin,
    pub ops: &'a [StreamOp],
    /// The pattern that the rows are matched against.
    pub pattern: Option<Opening<'a>>,
}

impl<'a> Analyzer<'a, '_> {
    pub(super) fn source(&mut self, decl: &StreamDecl<'a>) -> Option<Start<'a>> {
        if let (SourceKind::Named { name, .. }, Some((first, rest))) = (&decl.source.kind, decl.ops.split_first())
            && first.name.text == "late"
        {
            let (source, row) = self.late(name, first)?;
            let origin = Origin { stateful: true, ..Origin::default() };
            return Some(Start { source, row, origin, ops: rest, pattern: None });
        }
        if let SourceKind::Named { name, alias } = &decl.source.kind
            && self.is_table(&name.text)
        {
            return self.of_table(decl, name, alias.as_ref());
        }
        if let Some(start) = self.pattern_stream(decl) {
            return start;
        }
        if let Some(start) = self.joined_stream(decl) {
            return start;
        }
        let (source, row, origin) = self.start(decl.source)?;
        Some(Start { source, row, origin, ops: decl.ops, pattern: None })
    }

    pub(super) fn start(&mut self, source: &'a ast::Source) -> Option<(Source, Row, Origin)> {
        match &source.kind {
            SourceKind::Named { name, alias } => {
                let (source, schema, origin) = self.named(name)?;
                Some((source, row_as(schema, alias.as_ref()), origin))
            }
            SourceKind::From { event, args, alias } => {
                let (ty, scans) = self.inputs.read(event, Some(args), &mut self.findings)?;
                let row = row_as(self.inputs.types[ty].schema.clone(), alias.as_ref());
                let origin = self.event_origin(ty);
                Some((Source::Event { ty, scans }, row, origin))
            }
            SourceKind::Merge { inputs } => self.merge(inputs, source.span),
            SourceKind::Timer { period } => {
                let mut constants = Constants { globals: self.globals, findings: &mut self.findings };
                let period_ns = constants.duration(period, "the period of a timer")?;
                let schema = Schema::new(vec![Field::new("n", Type::Int.required())]);
                let origin = Origin { stateful: true, ..Origin::default() };
                Some((Source::Timer { period_ns }, Row::new(schema), origin))
            }
            SourceKind::Join { .. } => {
                let message = "a join stands at the head of a stream";
                let found = Diagnostic::error(codes::BAD_JOIN, source.span, message);
                self.findings.push(found.with_hint("make it a stream of its own"));
                None
            }
            SourceKind::Pattern { .. } => self.not_supported(source.span, "patterns as a part of a source"),
        }
    }

    fn not_supported<T>(&mut self, span: Span, what: &str) -> Option<T> {
        let message = format!("{what} are not supported yet");
        self.findings.push(Diagnostic::error(codes::NOT_SUPPORTED, span, message));
        None
    }

    /// A stream or event type; streams have their names to themselves, so the order does not matter.
    pub(super) fn named(&mut self, name: &Name) -> Option<(Source, Schema, Origin)> {
        let globals = self.globals;
        if self.is_table(&name.text) {
            self.table_as_stream(name);
            return None;
        }
        if let Some(decl) = globals.streams.iter().find(|s| s.name.text == name.text) {
            let id = self.stream(decl)?;
            return Some((Source::Stream(id), self.streams[id].schema.clone(), self.origins[id].clone()));
        }
        let (ty, scans) = self.inputs.read(name, None, &mut self.findings)?;
        let schema = self.inputs.types[ty].schema.clone();
        let origin = self.event_origin(ty);
        Some((Source::Event { ty, scans }, schema, origin))
    }

    fn event_origin(&self, ty: TypeId) -> Origin {
        let mut times = BTreeSet::new();
        self.inputs.types[ty].time.iter().for_each(|time| add_columns(time, &mut times));
        Origin { watermarked: true, times, ..Origin::default() }
    }

    /// The rows that came too late for a stream, in the fields of its first stateful operator's input.
    fn late(&mut self, name: &'a Name, op: &StreamOp) -> Option<(Source, Row)> {
        let globals = self.globals;
        let Some(decl) = globals.streams.iter().find(|s| s.name.text == name.text) else {
            let message = format!("`{}` is no stream, so no row is late for it", name.text);
            self.findings.push(Diagnostic::error(codes::MISPLACED_LATE, op.span, message));
            return None;
        };
        if !op.args.is_empty() {
            let message = "`.late()` takes no arguments";
            self.findings.push(Diagnostic::error(codes::BAD_OPERATOR_ARGUMENTS, op.span, message));
            return None;
        }
        let of = self.stream(decl)?;
        let stream = &self.streams[of];
        if matches!(stream.source, Source::Join(_)) {
            let message = format!("the rows that are late for the join `{}` are of several types", name.text);
            let found = Diagnostic::error(codes::MISPLACED_LATE, op.span, message);
            self.findings.push(found.with_hint("the report counts them; `.allowed_lateness(…)` waits for them"));
            return None;
        }
        let Some(first) = stream.ops.iter().position(|op| matches!(op.kind, OpKind::Keyed(_))) else {
            let message = format!("`{}` has no operator for which a row could be late", name.text);
            self.findings.push(Diagnostic::error(codes::MISPLACED_LATE, op.span, message));
            return None;
        };
        let input = if first == 0 { &stream.source_schema } else { &stream.ops[first - 1].schema };
        if let OpKind::Keyed(Keyed { kind: KeyedKind::Table { lateness_ns: i64::MAX, .. }, .. }) =
            &stream.ops[first].kind
        {
            let message = format!("no row comes too late for the table `{}`", name.text);
            let found = Diagnostic::error(codes::MISPLACED_LATE, op.span, message);
            self.findings.push(found.with_hint("`.allowed_lateness(…)` of a table says from when on"));
            return None;
        }
        let row = Row::new(input.clone());
        let columns: Vec<usize> = row.visible().map(|(i, _)| i).collect();
        let fields = row.visible().map(|(_, f)| f.clone()).collect();
        if self.starts_in_order(of) {
            let message = format!("no row can be late for `{}`: its source gives its rows in order of time", name.text);
            self.findings.push(Diagnostic::warning(codes::NO_LATE_ROWS, op.span, message));
        }
        Some((Source::Late { of, columns }, Row::new(Schema::new(fields))))
    }

    /// Whether the rows that a stream reads leave a stateful operator, none of which is ever late.
    fn starts_in_order(&self, stream: StreamId) -> bool {
        fn in_order(source: &Source, origins: &[Origin]) -> bool {
            match source {
                Source::Event { .. } => false,
                Source::Stream(id) => origins[*id].stateful,
                Source::Merge(inputs) => inputs.iter().all(|i| in_order(&i.source, origins)),
                Source::Timer { .. } | Source::Late { .. } | Source::Join(_) => true,
            }
        }
        in_order(&self.streams[stream].source, &self.origins)
    }

    /// The rows of all inputs: fields by name, those that one lacks null, ints widened where they meet
    /// floats.
    fn merge(&mut self, inputs: &'a [ast::Source], span: Span) -> Option<(Source, Row, Origin)> {
        let started: Vec<_> = inputs.iter().map(|i| (self.start(i), i.span)).collect();
        for input in inputs {
            if let SourceKind::Named { alias: Some(alias), .. } | SourceKind::From { alias: Some(alias), .. } =
                &input.kind
            {
                let message = "an input of `merge` has no alias: its fields belong to the merged rows";
                self.findings.push(Diagnostic::error(codes::BAD_OPERATOR_ARGUMENTS, alias.span, message));
                return None;
            }
        }
        let started: Vec<_> = started.into_iter().map(|(s, span)| s.map(|s| (s, span))).collect::<Option<_>>()?;
        if started.is_empty() {
            self.findings.push(Diagnostic::error(codes::BAD_OPERATOR_ARGUMENTS, span, "`merge` needs inputs"));
            return None;
        }
        let mut fields: Vec<Field> = Vec::new();
        for ((_, row, _), span) in &started {
            for field in &row.schema.fields {
                self.unite(&mut fields, field, *span)?;
            }
        }
        for field in &mut fields {
            let everywhere = started.iter().all(|((_, row, _), _)| row.schema.index_of(&field.name).is_some());
            field.data_type.nullable |= !everywhere;
        }
        let is_time = |field: &Field| {
            let of = |row: &Row, origin: &Origin| {
                row.schema.index_of(&field.name).is_some_and(|i| origin.times.contains(&i))
            };
            started.iter().all(|((_, row, origin), _)| of(row, origin))
        };
        let origin = Origin {
            stateful: started.iter().any(|((_, _, o), _)| o.stateful),
            watermarked: started.iter().all(|((_, _, o), _)| o.watermarked),
            times: fields.iter().enumerate().filter(|(_, field)| is_time(field)).map(|(i, _)| i).collect(),
            ..Origin::default()
        };
        let inputs = started.into_iter().map(|((source, row, _), _)| {
            let projection = fields.iter().map(|f| merged_field(&row, f)).collect();
            MergeInput { source, projection }
        });
        Some((Source::Merge(inputs.collect()), Row::new(Schema::new(fields.clone())), origin))
    }

    fn unite(&mut self, fields: &mut Vec<Field>, field: &Field, span: Span) -> Option<()> {
        let Some(known) = fields.iter_mut().find(|f| f.name == field.name) else {
            fields.push(field.clone());
            return Some(());
        };
        match known.data_type.unify(&field.data_type) {
            Some(both) => known.data_type = both,
            None => {
                let (name, old, new) = (&field.name, &known.data_type, &field.data_type);
                let message = format!("`{name}` is {new} here and {old} in the inputs before");
                let found = Diagnostic::error(codes::MERGE_MISMATCH, span, message);
                self.findings.push(
                    found.with_hint(format!("`.extend({name}: cast({name} as {}))` brings them together", old.ty)),
                );
                return None;
            }
        }
        Some(())
    }
}

fn merged_field(row: &Row, field: &Field) -> Expr {
    match row.named(&field.name) {
        Some(e) => coerce(e, &field.data_type.ty),
        None => {
            let ty = DataType { ty: field.data_type.ty.clone(), nullable: true };
            Expr::Literal { value: Value::Null, ty }
        }
    }
}

pub(super) fn row_as(schema: Schema, alias: Option<&Name>) -> Row {
    let mut row = Row::new(schema);
    row.alias = alias.map(|a| Alias { name: a.text.clone(), span: a.span, used: false.into() });
    row
}

/// Calls `visit` with every stream whose rows a source reads; the rows that came too late for a stream
/// are not its rows.
pub fn for_each_stream(source: &Source, visit: &mut dyn FnMut(StreamId)) {
    match source {
        Source::Event { .. } | Source::Timer { .. } | Source::Late { .. } => {}
        Source::Stream(id) => visit(*id),
        Source::Merge(inputs) => inputs.iter().for_each(|i| for_each_stream(&i.source, visit)),
        Source::Join(join) => join.inputs.iter().for_each(|i| for_each_stream(&i.source, visit)),
    }
}

/// The names that streams read and nobody declares: event types to be sampled.
pub fn undeclared(globals: &Globals<'_>) -> BTreeSet<String> {
    fn collect(source: &ast::Source, names: &mut BTreeSet<String>) {
        match &source.kind {
            SourceKind::Named { name, .. } | SourceKind::From { event: name, .. } => {
                names.insert(name.text.clone());
            }
            SourceKind::Merge { inputs } => inputs.iter().for_each(|i| collect(i, names)),
            SourceKind::Join { args, .. } => args.iter().for_each(|arg| match arg {
                JoinArg::Input { source, .. } => collect(source, names),
                JoinArg::Option(_) => {}
            }),
            SourceKind::Timer { .. } => {}
            SourceKind::Pattern { body } => collect_steps(body, names),
        }
    }
    fn collect_steps(element: &Element, names: &mut BTreeSet<String>) {
        match &element.kind {
            ElementKind::Step { event, .. } => {
                names.insert(event.text.clone());
            }
            ElementKind::Sequence(members) | ElementKind::And(members) | ElementKind::Or(members) => {
                members.iter().for_each(|m| collect_steps(m, names));
            }
            ElementKind::Repeat { element, .. } | ElementKind::Not(element) | ElementKind::Named { element, .. } => {
                collect_steps(element, names);
            }
        }
    }
    let mut names = BTreeSet::new();
    globals.streams.iter().for_each(|s| collect(s.source, &mut names));
    globals.patterns.iter().for_each(|p| collect_steps(p.body, &mut names));
    let streams = globals.streams.iter().map(|s| s.name);
    let patterns = globals.patterns.iter().map(|p| p.name);
    streams.chain(patterns).for_each(|name| {
        names.remove(&name.text);
    });
    names.retain(|name| !globals.types.is_event(name));
    names
}
