//! Tables that follow from tables: what their operators read, joins taken apart, and what makes them readable again.
//!
//! A base table is read through `Feed`, a derived one as it comes; whoever is no table itself reads what is settled.
//! The columns of a table's changes are its fields, `$diff` and its key; the operators want `$diff` last.

use super::Builder;
use crate::data::{DataType, Field, Schema, Type, Value};
use crate::expr::{BinaryOp, Expr, UnaryOp};
use crate::plan::logical::{NodeId, Op, same_columns};
use crate::sema::hir::{Keyed, KeyedKind, Relate, Step, StreamId, TableJoin};
use crate::sema::row::{DIFF, OP, is_hidden, key_column};

impl Builder<'_> {
    /// The changes of a table for a table that follows from it.
    pub(super) fn changes_of(&mut self, table: StreamId) -> NodeId {
        let node = self.stream(table, None);
        if self.program.streams[table].relation.as_ref().is_some_and(|r| r.is_derived) {
            return node;
        }
        self.relate(&[node], Relate::Feed)
    }

    /// The changes of a derived table as of a base table: in order, each of them once.
    pub(super) fn settled(&mut self, table: StreamId, is_looked_up: bool) -> NodeId {
        let raw = self.stream(table, None);
        let changes = self.diff_last(raw);
        let settled = self.relate(&[changes], Relate::Settle { key: self.key_of(changes), is_looked_up });
        let schema = self.plan.nodes[raw].schema.clone();
        self.select(settled, &schema)
    }

    /// A derived table that rows are looked up in: its changes make a base table of their own.
    pub(super) fn looked_up(&mut self, table: StreamId) -> NodeId {
        let settled = self.settled(table, true);
        let node = self.plan.nodes[settled].clone();
        let key = self.key_of(settled);
        let diff = named(&node.schema, DIFF);
        let mut schema = node.schema.clone();
        schema.fields.push(Field::new(OP, Type::Str.required()));
        let keyed = Keyed { key: key.clone(), kind: KeyedKind::Changes { diff, as_diff: false } };
        let op = Op::Keyed { input: settled, keyed, lateness_ns: 0 };
        let told = self.add(&node.stream, "changes", op, schema);
        // A base table gives the names of its difference and its key to columns of its own.
        let schema = &self.plan.nodes[told].schema;
        let of_key = |i: usize| Field::new(format!("$of{i}"), key[i].data_type());
        let fields = schema.fields.iter().filter(|f| !is_hidden(&f.name) || f.name == OP).cloned();
        let fields: Vec<Field> = fields.chain((0..key.len()).map(of_key)).collect();
        let exprs = schema.fields.iter().enumerate().filter(|(_, f)| !is_hidden(&f.name) || f.name == OP);
        let exprs = exprs.map(|(i, f)| Expr::column(i, f.data_type.clone())).chain(key).collect();
        let rows = self.project(told, exprs, Schema::new(fields));
        let schema = self.plan.nodes[rows].schema.clone();
        let key: Vec<Expr> =
            schema.fields.iter().filter(|f| f.name.starts_with("$of")).map(|f| named(&schema, &f.name)).collect();
        let is_gone = Expr::Binary {
            op: BinaryOp::Equal,
            left: Box::new(named(&schema, OP)),
            right: Box::new(Expr::literal(Value::str("delete"), Type::Str)),
            ty: Type::Bool.required(),
        };
        let mut fields = schema.fields.clone();
        fields.push(Field::new(DIFF, Type::Int.required()));
        fields.extend(key.iter().enumerate().map(|(i, e)| Field::new(key_column(i), e.data_type())));
        let keyed = Keyed { key, kind: KeyedKind::Table { delete: Some(is_gone), lateness_ns: 0 } };
        let op = Op::Keyed { input: rows, keyed, lateness_ns: 0 };
        self.add(&node.stream, "table", op, Schema::new(fields))
    }

    /// `left`, whose rows end with `$diff`, with another table. Gives rows of `schema`, that of pairs.
    pub(super) fn join_table(&mut self, left: NodeId, right: StreamId, join: &TableJoin, schema: &Schema) -> NodeId {
        let changes = self.changes_of(right);
        let right = self.diff_last(changes);
        let sides = [left, right];
        let arranged = [0, 1].map(|side| {
            let known = self.with_key(sides[side], &join.keys[side]);
            self.relate(&[known], Relate::Arrange { key: join.keys[side].clone() })
        });
        let mut pairs = self.pairs(arranged, schema);
        if let Some(residual) = &join.residual {
            pairs = self.step(pairs, Step::Filter(residual.clone()));
        }
        let widths = sides.map(|side| self.plan.nodes[side].schema.len() - 1);
        let mut all = vec![pairs];
        for side in [0, 1] {
            if !join.keeps[side] {
                continue;
            }
            let columns = same_columns(&self.plan.nodes[pairs].schema);
            let (first, rest) = columns.split_at(widths[0]);
            let (second, diff) = rest.split_at(widths[1]);
            // The pairs, with this side's columns first.
            let beginning = match side {
                0 => pairs,
                _ => {
                    let exprs = [second, first, diff].concat();
                    let names = &self.plan.nodes[pairs].schema.fields;
                    let (a, b) = names.split_at(widths[0]);
                    let (b, c) = b.split_at(widths[1]);
                    let fields = [b, a, c].concat();
                    self.project(pairs, exprs, Schema::new(fields))
                }
            };
            let alone = self.relate(&[sides[side], beginning], Relate::Unmatched { key: join.ids[side].clone() });
            let own = same_columns(&self.plan.nodes[alone].schema);
            let (own, diff) = own.split_at(widths[side]);
            let nulls: Vec<Expr> = [first, second][1 - side].iter().map(null_like).collect();
            let exprs = if side == 0 { [own, &nulls, diff].concat() } else { [&nulls, own, diff].concat() };
            all.push(self.project(alone, exprs, schema.clone()));
        }
        match all[..] {
            [pairs] => pairs,
            [pairs, ..] => {
                let stream = self.plan.nodes[pairs].stream.clone();
                // Branches of a merge have equal names and types.
                all[0] = self.project(pairs, same_columns(&self.plan.nodes[pairs].schema), schema.clone());
                self.add(&stream, "merge", Op::Merge { inputs: all }, schema.clone())
            }
            [] => unreachable!("there are pairs"),
        }
    }

    /// An operator that gives its (first) input's columns.
    pub(super) fn relate(&mut self, inputs: &[NodeId], relate: Relate) -> NodeId {
        let first = self.plan.nodes[inputs[0]].clone();
        let name = relate.name();
        self.add(&first.stream, name, Op::Relate { inputs: inputs.to_vec(), relate }, first.schema)
    }

    /// The pairs of two arranged inputs, with the names of `schema`.
    fn pairs(&mut self, inputs: [NodeId; 2], schema: &Schema) -> NodeId {
        let [left, right] = inputs.map(|i| &self.plan.nodes[i]);
        let (_, columns) = left.schema.fields.split_last().expect("changes have a column that says how often");
        let types = columns.iter().chain(&right.schema.fields).map(|f| f.data_type.clone());
        let fields = schema.fields.iter().zip(types).map(|(name, ty)| Field::new(name.name.clone(), ty)).collect();
        let stream = left.stream.clone();
        let op = Op::Relate { inputs: inputs.to_vec(), relate: Relate::Join };
        self.add(&stream, "join", op, Schema::new(fields))
    }

    fn step(&mut self, input: NodeId, step: Step) -> NodeId {
        let node = self.plan.nodes[input].clone();
        self.add(&node.stream, "where", Op::Step { input, step }, node.schema)
    }

    fn project(&mut self, input: NodeId, exprs: Vec<Expr>, schema: Schema) -> NodeId {
        let stream = self.plan.nodes[input].stream.clone();
        self.add(&stream, "select", Op::Step { input, step: Step::Project(exprs) }, schema)
    }

    /// The columns of `schema`, which the node has in another order.
    fn select(&mut self, input: NodeId, schema: &Schema) -> NodeId {
        let of = &self.plan.nodes[input].schema;
        if of == schema {
            return input;
        }
        let exprs = schema.fields.iter().map(|f| named(of, &f.name)).collect();
        self.project(input, exprs, schema.clone())
    }

    pub(super) fn diff_last(&mut self, input: NodeId) -> NodeId {
        let fields = &self.plan.nodes[input].schema.fields;
        let (diff, others): (Vec<Field>, Vec<Field>) = fields.iter().cloned().partition(|f| f.name == DIFF);
        self.select(input, &Schema::new([others, diff].concat()))
    }

    /// Rows whose key has no null, which equals nothing.
    fn with_key(&mut self, input: NodeId, key: &[Expr]) -> NodeId {
        let known: Vec<Expr> = key
            .iter()
            .filter(|e| e.data_type().nullable)
            .map(|e| Expr::Unary {
                op: UnaryOp::Not,
                arg: Box::new(Expr::IsNull(Box::new(e.clone()))),
                ty: Type::Bool.required(),
            })
            .collect();
        match known.len() {
            0 => input,
            1 => self.step(input, Step::Filter(known.into_iter().next().expect("one"))),
            _ => self.step(input, Step::Filter(Expr::And(known))),
        }
    }

    /// The key of a table, over its changes.
    fn key_of(&self, changes: NodeId) -> Vec<Expr> {
        let schema = &self.plan.nodes[changes].schema;
        (0..).map_while(|i| schema.index_of(&key_column(i)).map(|_| named(schema, &key_column(i)))).collect()
    }
}

fn named(schema: &Schema, name: &str) -> Expr {
    let index = schema.index_of(name).expect("a table's changes have the columns that they are to have");
    Expr::column(index, schema.fields[index].data_type.clone())
}

fn null_like(column: &Expr) -> Expr {
    let ty = DataType { nullable: true, ..column.data_type() };
    Expr::Literal { value: Value::Null, ty }
}
