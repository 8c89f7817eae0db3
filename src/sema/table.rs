//! Tables as streams see them: which names are tables, and what may be read of one.
//!
//! A table is read through `.changes()` and `.snapshot()`, which stand directly behind its name, and looked up in by
//! `.enrich`. Its rows are changes ([`hir`](super::hir)), so that nothing else may read them as if they were events.

use crate::connector::spec::Input;
use crate::data::time::TIME_MIN;
use crate::data::{Schema, Type, Value};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::expr::Expr;
use crate::sema::Analyzer;
use crate::sema::globals::StreamDecl;
use crate::sema::hir::{Relation, ScanId, Source, StreamId, WatermarkChange};
use crate::sema::ops::Origin;
use crate::sema::ops::time::Defaults;
use crate::sema::source::{Start, row_as};
use crate::syntax::ast::{ExprKind, Name, StreamOp};

/// A table that operators of a stream name.
pub struct TableRef {
    pub name: String,
    pub id: StreamId,
    /// The columns of its changes.
    pub schema: Schema,
    pub relation: Relation,
}

impl<'a> Analyzer<'a, '_> {
    pub(super) fn is_table(&self, name: &str) -> bool {
        self.globals.table(name).is_some()
    }

    /// A stream that begins with the changes of a table.
    pub(super) fn of_table(&mut self, decl: &StreamDecl<'a>, name: &Name, alias: Option<&Name>) -> Option<Start<'a>> {
        let of = decl.ops.first().map(|op| op.name.text.as_str());
        if !matches!(of, Some("changes" | "snapshot")) {
            self.table_as_stream(name);
            return None;
        }
        let globals = self.globals;
        let table = globals.table(&name.text)?;
        let id = self.stream(table)?;
        let stream = &self.streams[id];
        let mut row = row_as(stream.schema.clone(), alias);
        row.key_names = stream.relation.as_ref()?.key_names.clone();
        let origin = Origin { stateful: true, ..Origin::default() };
        if of == Some("snapshot") {
            self.needs_end(id, decl.ops[0].span);
        }
        Some(Start { source: Source::Stream(id), row, origin, ops: decl.ops, pattern: None })
    }

    /// A table stands where rows are events.
    pub(super) fn table_as_stream(&mut self, name: &Name) {
        let message = format!("`{}` is a table, and cannot be read as a stream of events", name.text);
        let found = Diagnostic::error(codes::TABLE_AS_STREAM, name.span, message);
        let name = &name.text;
        self.findings.push(found.with_hint(format!(
            "`{name}.changes()` is the stream of its changes, `{name}.snapshot()` its rows at the end of the input, \
             `.enrich({name}, …)` looks rows up in it, and a `table` may follow from it"
        )));
    }

    /// `.snapshot()` is of the moment when every input of the table has ended.
    fn needs_end(&mut self, table: StreamId, span: Span) {
        let mut scans = Vec::new();
        self.add_scans(&Source::Stream(table), &mut scans);
        let is_endless = |scan: &&ScanId| match &self.inputs.scans[**scan].input {
            Input::Follow { .. } | Input::Generator { limit: None, .. } => true,
            Input::Files { .. } | Input::Stdin { .. } | Input::Generator { limit: Some(_), .. } => false,
        };
        if let Some(scan) = scans.iter().find(is_endless) {
            let input = &self.inputs.scans[*scan].name;
            let message = format!("`.snapshot()` waits for the end of {input}, which never ends");
            let found = Diagnostic::error(codes::SNAPSHOT_WITHOUT_END, span, message);
            self.findings.push(found.with_hint("`.changes()` tells of every change as it happens"));
        }
    }

    /// The tables that a stream's `.enrich` operators name, each built before the stream. What is no table is left to
    /// the operator to say.
    pub(super) fn enriching_tables(&mut self, ops: &'a [StreamOp]) -> Vec<TableRef> {
        let mut tables: Vec<TableRef> = Vec::new();
        for op in ops.iter().filter(|op| op.name.text == "enrich") {
            let Some(ExprKind::Name(name)) = op.args.first().map(|a| &a.value.kind) else { continue };
            let globals = self.globals;
            let Some(decl) = globals.table(name) else { continue };
            if tables.iter().any(|t| t.name == *name) {
                continue;
            }
            let Some(id) = self.stream(decl) else { continue };
            let stream = &self.streams[id];
            if let Some(relation) = stream.relation.clone() {
                tables.push(TableRef { name: name.clone(), id, schema: stream.schema.clone(), relation });
            }
        }
        tables
    }

    /// Whether the rows of a table's source have no time of their own. Then they hold from the beginning of time,
    /// and the input must have an end: lookups wait for it.
    pub(super) fn untimed(&mut self, decl: &StreamDecl<'a>, start: &Start<'a>) -> Option<Option<WatermarkChange>> {
        let Source::Event { ty, scans } = &start.source else { return Some(None) };
        let is_timed = self.inputs.types[*ty].time.is_some() || scans.iter().all(|s| self.inputs.has_format_time(*s));
        if !decl.is_table || is_timed || decl.ops.iter().any(|op| op.name.text == "watermark") {
            return Some(None);
        }
        let endless = scans.iter().find(|s| !matches!(self.inputs.scans[**s].input, Input::Files { .. }));
        if let Some(scan) = endless {
            let (name, input) = (&self.inputs.types[*ty].name, &self.inputs.scans[*scan].name);
            let message = format!("rows of `{name}` have no time, and {input} is no file that ends");
            let found = Diagnostic::error(codes::UNTIMED_TABLE, decl.source.span, message);
            self.findings.push(found.with_hint(
                "a table of rows without a time is read to its end before the first lookup: read it from files that \
                 are not followed, or give the type a field of type `timestamp`",
            ));
            return None;
        }
        let time = Expr::literal(Value::Timestamp(TIME_MIN), Type::Timestamp);
        // All rows have one time, so that no other strategy says anything.
        let Defaults { watermark, .. } = Defaults::default();
        Some(Some(WatermarkChange { watermark, on: Some((0, time, decl.source.span)) }))
    }
}
