//! Joins of tables: `table T = join(A as a, B as b on a.k == b.k)`, kept up to date. They hold at any time, so that no
//! `within` bounds them.

use super::inputs::{Chain, Condition, Side};
use crate::data::{Field, Schema, Type};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::expr::Expr;
use crate::sema::Analyzer;
use crate::sema::derived::Start;
use crate::sema::globals::StreamDecl;
use crate::sema::hir::{Op, OpKind, Source, Step, Stream, StreamId, TableJoin};
use crate::sema::ops::Origin;
use crate::sema::parts::joined;
use crate::sema::row::{Alias, DIFF, Row, is_hidden};
use crate::syntax::ast::{self, JoinArg, Name, SourceKind};

/// A table that is joined, and its key. Its fields are without `$diff`.
type Input<'a> = (StreamId, Vec<String>, Side<'a>);

impl<'a> Analyzer<'a, '_> {
    /// The table that a join of tables makes.
    pub(in crate::sema) fn joined_tables(&mut self, decl: &StreamDecl<'a>) -> Option<(Stream, Origin)> {
        let SourceKind::Join { keyword, args } = &decl.source.kind else { return None };
        if keyword.text == "cross_join" {
            let found = Diagnostic::error(codes::BAD_JOIN, keyword.span, "tables are joined by an equality");
            self.findings.push(found.with_hint("`join(…, T as t on other.key == t.key)` is such a one"));
            return None;
        }
        let inputs: Vec<Option<Input<'a>>> = args.iter().filter_map(|arg| self.joined_table(keyword, arg)).collect();
        let inputs: Vec<Input<'a>> = inputs.into_iter().collect::<Option<_>>()?;
        let (on, rest) = match decl.ops.split_first() {
            Some((first, rest)) if first.name.text == "on" => (Some(first), rest),
            Some(_) | None => (None, decl.ops),
        };
        let mut key_names = Vec::new();
        let (mut ids, mut sides) = (Vec::new(), Vec::new());
        for (id, keys, side) in inputs {
            key_names.extend(keys.iter().map(|key| format!("{}.{key}", side.alias.name)));
            ids.push(id);
            sides.push(side);
        }
        let inputs = Chain::new(self, keyword, decl.source.span, sides, on)?;
        let source = (Source::Stream(ids[0]), self.streams[ids[0]].schema.clone());
        let (ops, row) = self.table_joins(keyword, decl.source.span, &ids, inputs)?;
        self.follow(decl, Start { source, ops, row, key_names }, rest)
    }

    /// `None` for what is no input.
    fn joined_table(&mut self, keyword: &Name, arg: &'a JoinArg) -> Option<Option<Input<'a>>> {
        let (source, on) = match arg {
            JoinArg::Input { source, on } => (source, on.as_ref()),
            JoinArg::Option(option) => {
                let message = format!("a `{}` of tables holds at any time, and has no options", keyword.text);
                self.findings.push(Diagnostic::error(codes::BAD_JOIN, option.value.span, message));
                return Some(None);
            }
        };
        let (SourceKind::Named { name, alias }, true) = (&source.kind, self.is_table_source(source)) else {
            let message = "tables are joined with tables, and this is none";
            let found = Diagnostic::error(codes::BAD_JOIN, source.span, message);
            self.findings.push(found.with_hint("`.enrich(T, on: k)` looks up in a table for each row of a stream"));
            return Some(None);
        };
        let globals = self.globals;
        let table = globals.table(&name.text)?;
        let Some(id) = self.stream(table) else { return Some(None) };
        let stream = &self.streams[id];
        let fields = stream.schema.fields.iter().filter(|f| f.name != DIFF).cloned().collect();
        let key_names = stream.relation.as_ref()?.key_names.clone();
        let (name, used) = match alias {
            Some(alias) => (alias, false),
            None => (name, true),
        };
        let alias = Alias { name: name.text.clone(), span: name.span, used: used.into() };
        Some(Some((id, key_names, Side { alias, schema: Schema::new(fields), on, span: source.span })))
    }

    pub(in crate::sema) fn is_table_source(&self, source: &ast::Source) -> bool {
        matches!(&source.kind, SourceKind::Named { name, .. } if self.is_table(&name.text))
    }

    /// The joins of two tables each, and the rows of the last, which end with `$diff`.
    fn table_joins(
        &mut self,
        keyword: &Name,
        span: Span,
        ids: &[StreamId],
        mut inputs: Chain<'a>,
    ) -> Option<(Vec<Op>, Row)> {
        let first = &self.streams[ids[0]].schema;
        let mut begun = inputs.so_far[0].1.clone();
        begun.fields.push(Field::new(DIFF, Type::Int.required()));
        // As the planner has them of the other inputs: equal arrangements of a table are one.
        let columns = begun.fields.iter().filter_map(|f| first.index_of(&f.name));
        let exprs = columns.map(|i| Expr::column(i, first.fields[i].data_type.clone())).collect();
        let begin = OpKind::Step(Step::Project(exprs));
        let mut ops = vec![Op { label: "table".to_string(), span, kind: begin, schema: begun }];
        for step in inputs.steps() {
            let hidden = [hidden(&joined(&inputs.so_far).schema), hidden(&inputs.side(step).schema)];
            let Condition { keys, residual } = inputs.join(self, step)?;
            if keys[0].is_empty() {
                self.no_equality(inputs.side(step), span, "tables", "");
                return None;
            }
            let join = TableJoin { keeps: inputs.keeps, keys, residual, ids: hidden };
            let kind = OpKind::JoinTable { right: ids[step], join };
            ops.push(Op { label: keyword.text.clone(), span, kind, schema: with_diff(&inputs.so_far) });
        }
        let mut row = inputs.row();
        row.schema.fields.push(Field::new(DIFF, Type::Int.required()));
        Some((ops, row))
    }
}

fn with_diff(inputs: &[(Alias, Schema)]) -> Schema {
    let mut schema = joined(inputs).schema;
    schema.fields.push(Field::new(DIFF, Type::Int.required()));
    schema
}

/// The columns of keys.
fn hidden(schema: &Schema) -> Vec<Expr> {
    let hidden = schema.fields.iter().enumerate().filter(|(_, f)| is_hidden(&f.name));
    hidden.map(|(i, f)| Expr::column(i, f.data_type.clone())).collect()
}
