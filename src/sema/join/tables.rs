//! Joins of tables: `table T = join(A as a, B as b on a.k == b.k)`, kept up to date. They hold at any time, so that no
//! `within` bounds them.

use super::condition::{apart, in_step};
use super::make_nullable;
use crate::data::{Field, Schema, Type};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::expr::Expr;
use crate::sema::Analyzer;
use crate::sema::arguments::{Arguments, Takes};
use crate::sema::derived::Start;
use crate::sema::globals::StreamDecl;
use crate::sema::hir::{Op, OpKind, Source, Step, Stream, StreamId, TableJoin};
use crate::sema::ops::Origin;
use crate::sema::parts::joined;
use crate::sema::row::{Alias, DIFF, Row, is_hidden};
use crate::syntax::ast::{self, JoinArg, Name, SourceKind, StreamOp};

/// A table that is joined.
struct Input<'a> {
    id: StreamId,
    alias: Alias,
    /// Its fields and its key, without `$diff`.
    schema: Schema,
    key_names: Vec<String>,
    on: Option<&'a ast::Expr>,
    span: Span,
}

impl<'a> Analyzer<'a, '_> {
    /// The table that a join of tables makes.
    pub(in crate::sema) fn joined_tables(&mut self, decl: &StreamDecl<'a>) -> Option<(Stream, Origin)> {
        let SourceKind::Join { keyword, args } = &decl.source.kind else { return None };
        let inputs: Vec<Option<Input<'a>>> = args.iter().filter_map(|arg| self.joined_table(keyword, arg)).collect();
        let inputs: Vec<Input<'a>> = inputs.into_iter().collect::<Option<_>>()?;
        if inputs.len() < 2 {
            let message = format!("`{}` has fewer than two inputs", keyword.text);
            self.findings.push(Diagnostic::error(codes::BAD_JOIN, decl.source.span, message));
            return None;
        }
        let twice = |(i, input): &(usize, &Input<'a>)| inputs[..*i].iter().any(|o| o.alias.name == input.alias.name);
        if let Some((_, input)) = inputs.iter().enumerate().find(twice) {
            let message = format!("two inputs of the join are called `{}`", input.alias.name);
            let found = Diagnostic::error(codes::BAD_JOIN, input.span, message);
            self.findings.push(found.with_hint(format!("`{} as …` gives one another name", input.alias.name)));
            return None;
        }
        let (on, rest) = match decl.ops.split_first() {
            Some((first, rest)) if first.name.text == "on" => (Some(first), rest),
            Some(_) | None => (None, decl.ops),
        };
        let (ops, row) = self.table_joins(keyword, &inputs, on, decl.source.span)?;
        let names = inputs.iter().flat_map(|i| i.key_names.iter().map(|key| format!("{}.{key}", i.alias.name)));
        let first = &self.streams[inputs[0].id];
        let source_schema = first.schema.clone();
        let source = (Source::Stream(inputs[0].id), source_schema);
        self.follow(decl, Start { source, ops, row, key_names: names.collect() }, rest)
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
        let table = globals.streams.iter().find(|s| s.is_table && s.name.text == name.text)?;
        let Some(id) = self.stream(table) else { return Some(None) };
        let stream = &self.streams[id];
        let fields = stream.schema.fields.iter().filter(|f| f.name != DIFF).cloned().collect();
        let key_names = stream.relation.as_ref()?.key_names.clone();
        let (name, used) = match alias {
            Some(alias) => (alias, false),
            None => (name, true),
        };
        let alias = Alias { name: name.text.clone(), span: name.span, used: used.into() };
        Some(Some(Input { id, alias, schema: Schema::new(fields), key_names, on, span: source.span }))
    }

    pub(in crate::sema) fn is_table_source(&self, source: &ast::Source) -> bool {
        matches!(&source.kind, SourceKind::Named { name, .. } if self.is_table(&name.text))
    }

    /// The joins of two tables each, and the rows of the last, which end with `$diff`.
    fn table_joins(
        &mut self,
        keyword: &Name,
        inputs: &[Input<'a>],
        on: Option<&'a StreamOp>,
        span: Span,
    ) -> Option<(Vec<Op>, Row)> {
        let keeps = match keyword.text.as_str() {
            "left_join" => [true, false],
            "right_join" => [false, true],
            "full_join" => [true, true],
            _ => [false, false],
        };
        let all: Vec<(Alias, Schema)> = inputs.iter().map(|i| (i.alias.clone(), i.schema.clone())).collect();
        let of_all = match on {
            Some(op) => {
                let takes = Takes { positional: (1, 1), named: &[] };
                let code = codes::BAD_OPERATOR_ARGUMENTS;
                let args = Arguments::read("`.on`", op.span, &op.args, &takes, code, &mut self.findings)?;
                self.conjuncts(&all, &args.positional[0].value, &all)?
            }
            None => Vec::new(),
        };
        let mut so_far = vec![all[0].clone()];
        let first = &self.streams[inputs[0].id].schema;
        let columns = all[0].1.fields.iter().map(|f| f.name.as_str()).chain([DIFF]);
        let columns = columns.filter_map(|name| first.index_of(name));
        let exprs = columns.map(|i| Expr::column(i, first.fields[i].data_type.clone())).collect();
        let begin = OpKind::Step(Step::Project(exprs));
        // As the planner has them of the other inputs: equal arrangements of a table are one.
        let mut begun = all[0].1.clone();
        begun.fields.push(Field::new(DIFF, Type::Int.required()));
        let mut ops = vec![Op { label: "table".to_string(), span, kind: begin, schema: begun }];
        for (i, input) in inputs.iter().enumerate().skip(1) {
            let left_width: usize = so_far.iter().map(|(_, s)| s.len()).sum();
            let width = left_width + input.schema.len();
            so_far.push(all[i].clone());
            let mut conditions = match input.on {
                Some(on) => self.conjuncts(&so_far, on, &all)?,
                None => Vec::new(),
            };
            conditions.extend(of_all.iter().filter(|e| in_step(e, left_width, width, i == 1)).cloned());
            let (keys, residual) = apart(conditions, left_width);
            if keys[0].is_empty() {
                let name = &input.alias.name;
                let message = format!("no equality connects `{name}` with the tables before it");
                let found = Diagnostic::error(codes::NO_EQUALITY, input.on.map_or(span, |on| on.span), message);
                self.findings.push(found.with_hint(format!("write one, as in `on other.key == {name}.key`")));
                return None;
            }
            let ids = [hidden(&joined(&so_far[..i]).schema), hidden(&input.schema)];
            if keeps[0] {
                make_nullable(&mut so_far[i..]);
            }
            if keeps[1] {
                make_nullable(&mut so_far[..i]);
            }
            let join = TableJoin { keeps, keys, residual, ids };
            let kind = OpKind::JoinTable { right: input.id, join };
            ops.push(Op { label: keyword.text.clone(), span, kind, schema: with_diff(&so_far) });
        }
        for ((alias, _), (told, _)) in so_far.iter().zip(&all) {
            alias.used.set(told.used.get());
        }
        let mut row = joined(&so_far);
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
