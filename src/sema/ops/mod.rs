//! The operators of a stream, each typed over the rows that the one before leaves.
//!
//! [`Chain`] is the stream as far as it has been read: the columns of its rows, the window that waits
//! for an operator to use it, and the operators so far. Operators come in any number, and each either
//! adds to the chain or says what is wrong and leaves the rows as they were, so that one mistake does
//! not make the rest of the stream unreadable.

mod aggregate;
mod enrich;
mod output;
mod rows;
mod stateless;
mod table;
pub(super) mod time;
mod window;

use std::collections::BTreeSet;

use crate::data::{Field, Schema};
use crate::diagnostic::{Code, Diagnostic, Span, codes, nearest};
use crate::expr::{Expr, add_columns};
use crate::sema::arguments::Constants;
use crate::sema::connector::Connectors;
use crate::sema::globals::Globals;
use crate::sema::hir::{Keyed, KeyedKind, Op, OpKind, Output, Step, WatermarkChange, Windows};
use crate::sema::parts::qualified;
use crate::sema::row::{Row, is_hidden};
use crate::sema::table::TableRef;
use crate::sema::typer::{Place, Typer};
use crate::syntax::ast::{self, StreamOp};

pub use aggregate::field_of;
pub use stateless::plain_name;
pub use table::TableParts;
pub use time::{Defaults, read_defaults};

/// All operators that a stream may have, for suggestions.
const OPERATORS: [&str; 32] = [
    "where",
    "filter",
    "select",
    "extend",
    "partition_by",
    "window",
    "session_window",
    "aggregate",
    "having",
    "distinct",
    "order_by",
    "limit",
    "top",
    "watermark",
    "allowed_lateness",
    "late",
    "emit",
    "to",
    "print",
    "log",
    "enrich",
    "key",
    "delete",
    "changes",
    "snapshot",
    "within",
    "strategy",
    "after_match",
    "max_runs",
    "timeout",
    "trend_aggregate",
    "on",
];

/// What stands before a chain's operators.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Whether a stateful operator stands between the source and here.
    pub stateful: bool,
    /// Whether the rows come, through stateless operators only, from an input with a watermark.
    pub watermarked: bool,
    /// Whether the stream's source itself waits for late rows.
    pub judges: bool,
    /// The columns that the rows' event time is read from, where that is known.
    pub times: BTreeSet<usize>,
}

/// A stream while its operators are read.
pub struct Chain<'a, 'f, 'g> {
    pub globals: &'f Globals<'g>,
    pub connectors: &'f Connectors,
    pub defaults: &'f Defaults,
    pub findings: &'f mut Vec<Diagnostic>,
    pub name: &'a ast::Name,
    pub origin: Origin,
    pub row: Row,
    pub ops: Vec<Op>,
    /// `.window(…)` that no operator has used yet.
    pending: Option<Pending>,
    /// Whether rows are the results of an aggregate, so that `.having` makes sense.
    pub(in crate::sema) aggregated: bool,
    pub lateness: Option<(i64, Span)>,
    pub watermark: Option<(WatermarkChange, Span)>,
    /// Where `.emit` stood, and its `as` name.
    emitted: Option<(Span, Option<String>)>,
    /// Of a table's declaration.
    pub table: Option<TableParts>,
    /// The tables that `.enrich` may look up in.
    pub tables: Vec<TableRef>,
    pub outputs: Vec<Output>,
}

struct Pending {
    windows: Windows,
    label: String,
    span: Span,
}

impl<'a, 'f, 'g> Chain<'a, 'f, 'g> {
    pub fn new(
        globals: &'f Globals<'g>,
        connectors: &'f Connectors,
        defaults: &'f Defaults,
        findings: &'f mut Vec<Diagnostic>,
        name: &'a ast::Name,
        origin: Origin,
        row: Row,
    ) -> Chain<'a, 'f, 'g> {
        Chain {
            globals,
            connectors,
            defaults,
            findings,
            name,
            origin,
            row,
            ops: Vec::new(),
            pending: None,
            aggregated: false,
            lateness: None,
            watermark: None,
            emitted: None,
            table: None,
            tables: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Reads one operator; `None` when something was wrong with it.
    pub fn read(&mut self, op: &'a StreamOp) -> Option<()> {
        let name = op.name.text.as_str();
        if let Some((emit, _)) = &self.emitted
            && !matches!(name, "to" | "print" | "log" | "emit")
            && OPERATORS.contains(&name)
        {
            let message = format!("`.{name}` stands after `.emit`, which ends what a stream computes");
            let found = Diagnostic::error(codes::AFTER_EMIT, op.span, message);
            self.findings.push(found.with_label(*emit, "`.emit` is here").with_hint("put it before `.emit`"));
            return None;
        }
        if !self.fits_table(op) {
            return None;
        }
        match name {
            "where" | "filter" => self.filter(op),
            "having" => self.having(op),
            "select" => self.select(op),
            "extend" => self.extend(op),
            "partition_by" => self.partition_by(op),
            "print" => self.print(op),
            "log" => self.log(op),
            "window" => self.window(op),
            "session_window" => self.session_window(op),
            "aggregate" => self.aggregate(op),
            "distinct" => self.distinct(op),
            "order_by" => self.order_by(op),
            "limit" => self.limit(op),
            "top" => self.top(op),
            "watermark" => self.set_watermark(op),
            "allowed_lateness" => self.set_lateness(op),
            "late" => {
                self.error(codes::MISPLACED_LATE, op.span, "`.late()` follows the name of a stream directly");
                None
            }
            "emit" => self.emit(op),
            "to" => self.to(op),
            "enrich" => self.enrich(op),
            "key" => self.key(op),
            "delete" => self.delete(op),
            "changes" => self.changes(op),
            "snapshot" => self.snapshot(op),
            "within" | "strategy" | "after_match" | "max_runs" => {
                let message = format!("`.{name}` is an option of a pattern, and stands directly behind one");
                self.error(codes::MISPLACED_OPTION, op.span, message);
                None
            }
            "timeout" => {
                let message = "`.timeout()` follows the name of a pattern or of a stream of its matches directly";
                self.error(codes::MISPLACED_TIMEOUT, op.span, message);
                None
            }
            "trend_aggregate" => {
                let message = "`.trend_aggregate` counts the matches of a pattern, and stands behind one";
                self.error(codes::BAD_TREND, op.span, message);
                None
            }
            "on" => {
                let message = "`.on` is the condition of a join, and stands directly behind one";
                self.error(codes::BAD_JOIN, op.span, message);
                None
            }
            _ => self.unknown(op),
        }
    }

    fn unknown(&mut self, op: &StreamOp) -> Option<()> {
        let name = &op.name;
        let found =
            Diagnostic::error(codes::UNKNOWN_OPERATOR, name.span, format!("there is no operator `.{}`", name.text));
        let renamed =
            [("map", "select"), ("group_by", "partition_by"), ("key_by", "partition_by"), ("sort", "order_by")];
        let near = renamed.iter().find(|(n, _)| *n == name.text).map(|(_, ours)| *ours);
        self.findings.push(match near.or_else(|| nearest(&name.text, OPERATORS)) {
            Some(near) => found.with_hint(format!("did you mean `.{near}`?")),
            None => found,
        });
        None
    }

    pub(in crate::sema) fn is_operator(&self, name: &str) -> bool {
        OPERATORS.contains(&name)
    }

    /// Whether an operator that was wrong leaves the rows as they would have been: then what follows can
    /// still be judged.
    pub fn keeps_rows(op: &StreamOp) -> bool {
        let name = op.name.text.as_str();
        matches!(
            name,
            "where" | "filter" | "having" | "print" | "log" | "to" | "watermark" | "allowed_lateness" | "late"
        )
    }

    /// What can only be said at the end of the chain; the fields and nothing else are left.
    pub fn finish(&mut self) {
        if let Some(pending) = self.pending.take() {
            let found = Diagnostic::error(codes::UNUSED_WINDOW, pending.span, "nothing uses this window");
            self.findings.push(found.with_hint("`.aggregate`, `.order_by`, `.top`, `.limit` or `.distinct` would"));
        }
        self.tell_unused_parts();
        self.check_shared_names();
        self.drop_hidden();
    }

    fn drop_hidden(&mut self) {
        if self.row.hidden().next().is_some() {
            let fields = self.visible();
            self.project("select", self.name.span, fields, Vec::new());
        }
    }

    /// The columns that the rows' event time was read from, as far as they are left.
    pub(super) fn event_times(&self) -> BTreeSet<usize> {
        let mut times = self.origin.times.clone();
        for (i, op) in self.ops.iter().enumerate() {
            self.add_chosen_times(i, &mut times);
            match &op.kind {
                OpKind::Step(Step::Project(exprs)) => {
                    let is_time = |e: &Expr| matches!(e, Expr::Column { index, .. } if times.contains(index));
                    times = exprs.iter().enumerate().filter(|(_, e)| is_time(e)).map(|(i, _)| i).collect();
                }
                OpKind::Step(Step::Filter(_) | Step::Print { .. } | Step::Log { .. }) | OpKind::Enrich(_) => {}
                OpKind::Keyed(Keyed { kind: KeyedKind::Distinct { .. } | KeyedKind::Limit { .. }, .. }) => {}
                OpKind::Keyed(_) | OpKind::Relate(_) | OpKind::JoinTable { .. } => times.clear(),
            }
        }
        self.add_chosen_times(self.ops.len(), &mut times);
        times
    }

    /// Adds what `.watermark(on: …)` reads, if it stands before operator number `place`.
    fn add_chosen_times(&self, place: usize, times: &mut BTreeSet<usize>) {
        if let Some((WatermarkChange { on: Some((at, e, _)), .. }, _)) = &self.watermark
            && *at == place
        {
            add_columns(e, times);
        }
    }

    /// Warns of aliases that nothing names.
    pub(in crate::sema) fn tell_unused_parts(&mut self) {
        let aliases = self.row.alias.iter().chain(self.row.parts.iter().map(|part| &part.alias));
        for alias in aliases.filter(|alias| !alias.used.get()) {
            let message = format!("the alias `{}` is never used", alias.name);
            self.findings.push(Diagnostic::warning(codes::UNUSED_ALIAS, alias.span, message));
        }
    }

    /// The rows of a stream have one field of each name.
    pub(in crate::sema) fn check_shared_names(&mut self) {
        let of_part = |name| qualified(name).filter(|(part, _)| self.row.part(part).is_some());
        let Some((_, name)) = self.row.field_names().find_map(of_part) else { return };
        let parts = self.row.parts_with(name);
        let fields: Vec<String> = parts.iter().map(|p| format!("{p}_{name}: {p}.{name}")).collect();
        let message = format!("{} have a field `{name}` each, and a row has one of a name", among(&parts));
        let hint = format!("name the fields that the stream is to have, as in `.select({}, …)`", fields.join(", "));
        self.error_with_hint(codes::SHARED_NAMES, self.name.span, message, hint);
    }

    fn error(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.findings.push(Diagnostic::error(code, span, message));
    }

    pub(in crate::sema) fn error_with_hint(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.findings.push(Diagnostic::error(code, span, message).with_hint(hint));
    }

    fn constants(&mut self) -> Constants<'_, 'g> {
        Constants { globals: self.globals, findings: self.findings }
    }

    /// The expression over the current rows.
    fn typed(&mut self, e: &ast::Expr) -> Option<Expr> {
        Typer::new(self.globals, Place::Row(&self.row), self.findings).expr(e)
    }

    fn condition(&mut self, e: &ast::Expr, what: &str) -> Option<Expr> {
        Typer::new(self.globals, Place::Row(&self.row), self.findings).condition(e, what)
    }

    pub(super) fn step(&mut self, label: impl Into<String>, span: Span, step: Step) {
        let schema = self.row.schema.clone();
        self.ops.push(Op { label: label.into(), span, kind: OpKind::Step(step), schema });
    }

    pub(super) fn keyed(&mut self, label: impl Into<String>, span: Span, kind: KeyedKind, schema: Schema) {
        let keyed = Keyed { key: self.row.key(), kind };
        self.row.schema = schema.clone();
        self.ops.push(Op { label: label.into(), span, kind: OpKind::Keyed(keyed), schema });
    }

    /// Replaces the columns of the rows.
    pub(in crate::sema) fn project(
        &mut self,
        label: &str,
        span: Span,
        fields: Vec<(String, Expr)>,
        hidden: Vec<(String, Expr)>,
    ) {
        let all = fields.into_iter().chain(hidden);
        let (names, exprs): (Vec<String>, Vec<Expr>) = all.unzip();
        let schema = Schema::new(names.into_iter().zip(&exprs).map(|(n, e)| Field::new(n, e.data_type())).collect());
        let before = &self.row.schema;
        let is_kept = |name: &str| match schema.index_of(name).map(|i| &exprs[i]) {
            Some(Expr::Column { index, .. }) => before.fields[*index].name == name,
            Some(_) | None => false,
        };
        for field in &mut self.row.key_fields {
            *field = field.take().filter(|name| is_kept(name));
        }
        self.row.parts.iter_mut().for_each(|part| part.keep(is_kept));
        self.row.schema = schema;
        self.step(label, span, Step::Project(exprs));
    }

    /// The hidden columns as they are, for a projection that changes the fields only.
    pub(in crate::sema) fn hidden(&self) -> Vec<(String, Expr)> {
        self.row.hidden().map(|(i, f)| (f.name.clone(), self.row.column(i))).collect()
    }

    pub(in crate::sema) fn visible(&self) -> Vec<(String, Expr)> {
        self.row.visible().map(|(i, f)| (f.name.clone(), self.row.column(i))).collect()
    }

    /// Whether a stateful operator stands between the source and here.
    fn stateful(&self) -> bool {
        self.origin.stateful || self.ops.iter().any(|op| matches!(op.kind, OpKind::Keyed(_)))
    }

    /// Whether rows have waited for a table: their watermark is not that of the input alone.
    pub(super) fn enriched(&self) -> bool {
        self.ops.iter().any(|op| matches!(op.kind, OpKind::Enrich(_)))
    }

    /// What the chain's readers see behind it.
    pub fn end(&self) -> Origin {
        let stateful = self.stateful();
        let watermarked = self.origin.watermarked && !stateful && !self.enriched();
        Origin { stateful, watermarked, judges: false, times: self.event_times() }
    }

    pub(super) fn duplicate(&mut self, fields: &[(String, Expr)], name: &str, span: Span) -> bool {
        let found = fields.iter().any(|(n, _)| n == name);
        if found {
            self.error(codes::DUPLICATE_FIELD, span, format!("two fields are named `{name}`"));
        }
        if is_hidden(name) {
            self.error(codes::UNNAMED_FIELD, span, format!("`{name}` cannot be the name of a field"));
            return true;
        }
        found
    }
}

/// "`a`, `b` and `c`".
fn among(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}
