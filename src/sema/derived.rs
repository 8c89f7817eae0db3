//! Tables that follow from tables: `table T2 = T1.where(…)`, with `.select`, `.extend`, `.partition_by`, `.aggregate`,
//! `.distinct` and `.top`, which keep up with what they read.
//!
//! Steps are those of streams, over changes. The columns of the rows are the fields, then hidden ones: the key of the
//! table so far (`$id0`, …), the parts of `.partition_by` (`$key0`, …), and last how often a row comes (`$diff`).

use crate::data::{DataType, Field, Schema};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::expr::{Aggregate, Expr};
use crate::sema::Analyzer;
use crate::sema::arguments::Takes;
use crate::sema::globals::StreamDecl;
use crate::sema::hir::{AggregateCall, Op, OpKind, Relate, Relation, Source, Step, Stream};
use crate::sema::ops::{Chain, Origin};
use crate::sema::row::{DIFF, Row, key_column};
use crate::sema::source::row_as;
use crate::syntax::ast::{JoinArg, SourceKind, StreamOp};

/// What may stand behind the source of a table that follows from tables.
const OPERATORS: [&str; 9] =
    ["where", "filter", "having", "select", "extend", "partition_by", "aggregate", "distinct", "top"];

/// The column of a part of a table's key while its rows are still being made.
fn id_column(part: usize) -> String {
    format!("$id{part}")
}

/// What a table starts with, before its operators: changes with the table's key in hidden columns.
pub(super) struct Start {
    /// With its columns.
    pub source: (Source, Schema),
    pub ops: Vec<Op>,
    pub row: Row,
    pub key_names: Vec<String>,
}

/// A table that follows from tables, while its operators are read.
struct Derived<'c, 'a, 'f, 'g> {
    chain: &'c mut Chain<'a, 'f, 'g>,
    /// How the parts of the key are called.
    id_names: Vec<String>,
}

impl<'a> Analyzer<'a, '_> {
    /// The table, if it follows from another.
    pub(super) fn derived(&mut self, decl: &StreamDecl<'a>) -> Option<Option<(Stream, Origin)>> {
        if !decl.is_table {
            return None;
        }
        let (name, alias) = match &decl.source.kind {
            SourceKind::Named { name, alias } if self.is_table(&name.text) => (name, alias),
            SourceKind::Join { args, .. } => {
                let is_table =
                    |arg: &JoinArg| matches!(arg, JoinArg::Input { source, .. } if self.is_table_source(source));
                return args.iter().any(is_table).then(|| self.joined_tables(decl));
            }
            SourceKind::Named { .. }
            | SourceKind::From { .. }
            | SourceKind::Merge { .. }
            | SourceKind::Timer { .. }
            | SourceKind::Pattern { .. } => return None,
        };
        let globals = self.globals;
        let table = globals.table(&name.text)?;
        let Some(id) = self.stream(table) else { return Some(None) };
        let Stream { schema: source_schema, relation, .. } = &self.streams[id];
        let (source_schema, relation) = (source_schema.clone(), relation.clone()?);
        let row = row_as(source_schema.clone(), alias.as_ref());
        let start =
            Start { source: (Source::Stream(id), source_schema), ops: Vec::new(), row, key_names: relation.key_names };
        Some(self.follow(decl, start, decl.ops))
    }

    /// The table that operators make of what it starts with.
    pub(super) fn follow(
        &mut self,
        decl: &StreamDecl<'a>,
        start: Start,
        ops: &'a [StreamOp],
    ) -> Option<(Stream, Origin)> {
        let Start { source: (source, source_schema), ops: begun, row, key_names } = start;
        let origin = Origin { stateful: true, ..Origin::default() };
        let mut chain =
            Chain::new(self.globals, self.connectors, self.defaults, &mut self.findings, decl.name, origin, row);
        chain.ops = begun;
        let mut derived = Derived { chain: &mut chain, id_names: key_names };
        derived.begin(decl.source.span);
        let mut sound = true;
        for op in ops {
            let read = derived.read(op);
            sound &= read.is_some();
            if read.is_none() && !Chain::keeps_rows(op) {
                return None;
            }
        }
        sound &= derived.is_timeless();
        let key_names = derived.end();
        let schema = chain.row.schema.clone();
        let stream = Stream {
            name: decl.name.text.clone(),
            span: decl.name.span,
            source,
            source_schema,
            watermark: None,
            lateness_ns: 0,
            ops: std::mem::take(&mut chain.ops),
            schema,
            relation: Some(Relation { key_names, is_derived: true }),
            outputs: Vec::new(),
        };
        sound.then_some((stream, Origin { stateful: true, ..Origin::default() }))
    }
}

impl<'a> Derived<'_, 'a, '_, '_> {
    fn begin(&mut self, span: Span) {
        let keys = self.chain.hidden().into_iter().filter(|(name, _)| name != DIFF);
        let hidden = keys.enumerate().map(|(i, (_, e))| (id_column(i), e)).collect();
        self.columns("table", span, self.chain.visible(), hidden);
    }

    /// Replaces the columns; `$diff` stays the last.
    fn columns(&mut self, label: &str, span: Span, fields: Vec<(String, Expr)>, mut hidden: Vec<(String, Expr)>) {
        let diff = self.chain.row.named(DIFF).expect("changes have a column that says how often");
        hidden.push((DIFF.to_string(), diff));
        self.chain.project(label, span, fields, hidden);
    }

    fn read(&mut self, op: &'a StreamOp) -> Option<()> {
        let name = op.name.text.as_str();
        if !OPERATORS.contains(&name) {
            if !self.chain.is_operator(name) {
                return self.chain.read(op);
            }
            let message = format!("`.{name}` cannot stand in a table that follows from another");
            let hint = match name {
                "key" | "delete" => "its key and its rows follow from those of the other".to_string(),
                "changes" | "snapshot" | "late" => "a table follows from another without it".to_string(),
                "watermark" | "allowed_lateness" => "it belongs to the table that this one follows from".to_string(),
                _ => format!("a stream that begins with `{}.changes()` may have it", self.chain.name.text),
            };
            self.chain.error_with_hint(codes::NOT_IN_TABLE, op.name.span, message, hint);
            return None;
        }
        match name {
            "partition_by" => {
                self.chain.read(op)?;
                self.diff_last(op.span);
                Some(())
            }
            "aggregate" => self.aggregate(op),
            "distinct" => self.distinct(op),
            "top" => self.top(op),
            _ => self.chain.read(op),
        }
    }

    fn diff_last(&mut self, span: Span) {
        let hidden = self.chain.hidden().into_iter().filter(|(name, _)| name != DIFF).collect();
        self.columns("partition_by", span, self.chain.visible(), hidden);
    }

    fn relate(&mut self, label: String, span: Span, relate: Relate, schema: Schema) {
        self.chain.row.schema = schema.clone();
        self.chain.ops.push(Op { label, span, kind: OpKind::Relate(relate), schema });
    }

    /// One row per key of `.partition_by`.
    fn aggregate(&mut self, op: &'a StreamOp) -> Option<()> {
        let (fields, calls) = self.chain.group_fields(&op.args, false)?;
        let key = self.chain.row.key();
        // What the aggregates are over becomes columns: the parts of the key, then the arguments.
        let mut hidden: Vec<(String, Expr)> = key.into_iter().enumerate().map(|(i, e)| (key_column(i), e)).collect();
        let parts = hidden.len();
        let mut aggregates = Vec::new();
        for AggregateCall { function, args, ty } in calls {
            let from = hidden.len();
            let arg_types: Vec<DataType> = args.iter().map(Expr::data_type).collect();
            hidden.extend(args.into_iter().enumerate().map(|(i, e)| (format!("$arg{}", from + i), e)));
            let args = (from..hidden.len()).collect();
            aggregates.push(Aggregate { function, args, arg_types, ty });
        }
        if let Some(lasting) = aggregates.iter().find(|a| !a.can_take_back()) {
            let name = lasting.function.name();
            let message = format!("`{name}` cannot take back a row that is gone, and the rows of a table go");
            let hint =
                "sums, counts, means, deviations, `min`, `max`, `any` and `all` can; `.top(n, by: …)` keeps rows";
            self.chain.error_with_hint(codes::NOT_RETRACTABLE, op.span, message, hint);
            return None;
        }
        self.columns("aggregate", op.span, Vec::new(), hidden);
        let key: Vec<Expr> = (0..parts).map(|i| self.chain.row.column(i)).collect();
        let mut columns: Vec<Field> =
            key.iter().enumerate().map(|(i, e)| Field::new(key_column(i), e.data_type())).collect();
        columns.extend(aggregates.iter().enumerate().map(|(i, a)| Field::new(format!("$agg{i}"), a.ty.clone())));
        columns.push(Field::new(DIFF, crate::data::Type::Int.required()));
        self.relate("aggregate".to_string(), op.span, Relate::Aggregate { key, aggregates }, Schema::new(columns));
        let keys = || (0..parts).map(|i| self.chain.row.column(i));
        let hidden = keys().enumerate().map(|(i, e)| (key_column(i), e));
        let hidden = hidden.chain(keys().enumerate().map(|(i, e)| (id_column(i), e))).collect();
        self.columns("aggregate", op.span, fields, hidden);
        self.id_names.clone_from(&self.chain.row.key_names);
        self.chain.aggregated = true;
        Some(())
    }

    /// The different rows, whose key they are themselves.
    fn distinct(&mut self, op: &'a StreamOp) -> Option<()> {
        self.chain.arguments(op, &Takes { positional: (0, 0), named: &[] })?;
        let fields = self.chain.visible();
        let by: Vec<Expr> = fields.iter().map(|(_, e)| e.clone()).collect();
        let mut schema = Schema::new(fields.iter().map(|(n, e)| Field::new(n.clone(), e.data_type())).collect());
        schema.fields.push(Field::new(DIFF, crate::data::Type::Int.required()));
        self.relate("distinct".to_string(), op.span, Relate::Distinct { by }, schema);
        self.chain.row.key_names.clear();
        self.chain.row.key_fields.clear();
        let fields = self.chain.visible();
        self.id_names = fields.iter().map(|(name, _)| name.clone()).collect();
        let hidden = fields.iter().enumerate().map(|(i, (_, e))| (id_column(i), e.clone())).collect();
        self.columns("distinct", op.span, fields, hidden);
        Some(())
    }

    /// The first rows of each key of `.partition_by`.
    fn top(&mut self, op: &'a StreamOp) -> Option<()> {
        let (n, key) = self.chain.first_by(op)?;
        self.warn_if_alone(op);
        let schema = self.chain.row.schema.clone();
        let relate = Relate::Top { key: self.chain.row.key(), order: vec![key], n };
        self.relate(format!("top {n}"), op.span, relate, schema);
        Some(())
    }

    /// Warns of a choice among the rows of a key when an aggregate has left it one.
    fn warn_if_alone(&mut self, op: &StreamOp) {
        let mut alone = false;
        for before in &self.chain.ops {
            match &before.kind {
                OpKind::Relate(Relate::Aggregate { .. }) => alone = true,
                OpKind::Step(_) if before.label == "partition_by" => alone = false,
                OpKind::Step(_)
                | OpKind::Keyed(_)
                | OpKind::Enrich(_)
                | OpKind::Relate(_)
                | OpKind::JoinTable { .. } => {}
            }
        }
        if alone && !self.chain.row.key_names.is_empty() {
            let message = format!("each key has one row, so `.{}` changes nothing", op.name.text);
            let found = Diagnostic::warning(codes::ONE_ROW_PER_GROUP, op.span, message);
            self.chain
                .findings
                .push(found.with_hint("`.partition_by()` before it brings the rows of all keys together"));
        }
    }

    /// Whether rows are made of nothing but fields: a row goes at another time than it came, and must be the same row.
    fn is_timeless(&mut self) -> bool {
        let is_timed = |op: &&Op| match &op.kind {
            OpKind::Step(Step::Filter(e)) => reads_time(e),
            OpKind::Step(Step::Project(exprs)) => exprs.iter().any(reads_time),
            OpKind::Relate(relate) => relate.exprs().into_iter().any(reads_time),
            OpKind::Step(Step::Print { .. } | Step::Log { .. })
            | OpKind::Keyed(_)
            | OpKind::Enrich(_)
            | OpKind::JoinTable { .. } => false,
        };
        let Some(span) = self.chain.ops.iter().find(is_timed).map(|op| op.span) else { return true };
        self.chain.findings.push(has_no_time(span));
        false
    }

    /// Leaves the fields, `$diff` and the key; gives the names of its parts.
    fn end(mut self) -> Vec<String> {
        self.chain.tell_unused_parts();
        self.chain.check_shared_names();
        let diff = self.chain.row.named(DIFF).expect("changes have a column that says how often");
        let ids = (0..self.id_names.len()).filter_map(|i| Some((key_column(i), self.chain.row.named(&id_column(i))?)));
        let hidden = std::iter::once((DIFF.to_string(), diff)).chain(ids).collect();
        let (fields, span) = (self.chain.visible(), self.chain.name.span);
        self.chain.project("table", span, fields, hidden);
        std::mem::take(&mut self.id_names)
    }
}

/// Whether an expression reads the time or the place of the row itself.
pub(super) fn reads_time(e: &Expr) -> bool {
    let mut found = matches!(e, Expr::EventTime | Expr::Place);
    e.for_each_child(&mut |child| found |= reads_time(child));
    found
}

/// What is said of an expression over rows of tables that reads their event time.
pub(super) fn has_no_time(span: Span) -> Diagnostic {
    let message = "a row of a table has no event time of its own: it comes at one time, and goes at another";
    let found = Diagnostic::error(codes::NOT_IN_TABLE, span, message);
    found.with_hint("keep the time as a field of the table that this one follows from")
}
