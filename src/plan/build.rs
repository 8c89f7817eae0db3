//! From the streams of a checked program to one graph.
//!
//! A `.watermark` further down a chain of stateless operators reaches up to the sources: such a stream
//! gets its own copy of the operators above it, over its own readers. Everything else is built once.

mod relations;

use std::collections::HashMap;

use crate::connector::spec::{Input, Watermark};
use crate::data::time::NS_PER_H;
use crate::data::{Field, Schema};
use crate::expr::Expr;
use crate::plan::logical::{Node, NodeId, Op, Output, Plan, Reader, same_columns};
use crate::plan::rewrite::substitute;
use crate::sema::hir::{self, KeyedKind, OpKind, ScanId, Source, Step, StreamId, TypeId};

/// How far a row of a live source may be ahead of the arrival clock, unless the program says.
const MAX_AHEAD_DEFAULT_NS: i64 = NS_PER_H;

/// The watermark that a reader downstream asks of the sources above it.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    watermark: Watermark,
    /// The event time over the rows of the stream that is asked.
    on: Option<Expr>,
}

/// Builds the plan of a checked program.
pub fn build(program: &hir::Program) -> Plan {
    let plan = Plan {
        types: program.types.clone(),
        scans: program.scans.clone(),
        readers: Vec::new(),
        nodes: Vec::new(),
        outputs: Vec::new(),
    };
    let mut builder = Builder { program, plan, built: Vec::new(), first_keyed: HashMap::new(), timers: Vec::new() };
    for (id, stream) in program.streams.iter().enumerate() {
        if stream.outputs.is_empty() && !stream.tells() {
            continue;
        }
        let node = builder.stream(id, None);
        for output in &stream.outputs {
            let hir::Output { name, target } = output.clone();
            builder.plan.outputs.push(Output { node, name, target });
        }
    }
    builder.connect_timers();
    builder.plan
}

struct Builder<'a> {
    program: &'a hir::Program,
    plan: Plan,
    built: Vec<(StreamId, Option<Asked>, NodeId)>,
    /// The first stateful operator of each stream.
    first_keyed: HashMap<StreamId, NodeId>,
    timers: Vec<NodeId>,
}

impl Builder<'_> {
    fn add(&mut self, stream: &str, label: &str, op: Op, schema: Schema) -> NodeId {
        self.plan.nodes.push(Node { stream: stream.to_string(), label: label.to_string(), op, schema });
        self.plan.nodes.len() - 1
    }

    /// The node that gives a stream's rows.
    fn stream(&mut self, id: StreamId, asked: Option<Asked>) -> NodeId {
        if let Some((_, _, node)) = self.built.iter().find(|(s, a, _)| *s == id && *a == asked) {
            return *node;
        }
        let program = self.program;
        let stream = &program.streams[id];
        // What was asked at the end of the chain, brought to its beginning; the stream's own wish gives way.
        let asked_here = match (&asked, &stream.watermark) {
            (Some(asked), _) => {
                let on = asked.on.clone().map(|on| through(&stream.ops, on));
                Some(Asked { watermark: asked.watermark.clone(), on })
            }
            (None, Some(change)) => {
                let on = change.on.as_ref().map(|(after, on, _)| through(&stream.ops[..*after], on.clone()));
                Some(Asked { watermark: change.watermark.clone(), on })
            }
            (None, None) => None,
        };
        let mut node = self.source(stream, &stream.source, asked_here.as_ref());
        for op in &stream.ops {
            let input = node;
            let kind = match &op.kind {
                OpKind::Enrich(enrich) => {
                    let is_derived = program.streams[enrich.table].relation.as_ref().is_some_and(|r| r.is_derived);
                    let table = if is_derived { self.looked_up(enrich.table) } else { self.stream(enrich.table, None) };
                    Op::Enrich { input, table, lookup: enrich.lookup.clone() }
                }
                OpKind::Relate(relate) => Op::Relate { inputs: vec![input], relate: relate.clone() },
                OpKind::JoinTable { right, join } => {
                    node = self.join_table(input, *right, join, &op.schema);
                    continue;
                }
                OpKind::Step(step) => Op::Step { input, step: step.clone() },
                OpKind::Keyed(keyed) => {
                    let lateness_ns = match keyed.kind {
                        KeyedKind::Table { lateness_ns, .. } => lateness_ns,
                        KeyedKind::Aggregate { .. }
                        | KeyedKind::Rows { .. }
                        | KeyedKind::Running { .. }
                        | KeyedKind::Distinct { .. }
                        | KeyedKind::Limit { .. }
                        | KeyedKind::Pattern(_)
                        | KeyedKind::Changes { .. }
                        | KeyedKind::Snapshot { .. } => stream.lateness_ns,
                    };
                    Op::Keyed { input, keyed: keyed.clone(), lateness_ns }
                }
            };
            node = self.add(&stream.name, &op.label, kind, op.schema.clone());
            if matches!(op.kind, OpKind::Keyed(_)) && asked.is_none() {
                self.first_keyed.entry(id).or_insert(node);
            }
        }
        self.built.push((id, asked, node));
        node
    }

    fn source(&mut self, stream: &hir::Stream, source: &Source, asked: Option<&Asked>) -> NodeId {
        match source {
            Source::Event { ty, scans } => self.event(stream, *ty, scans, asked),
            Source::Stream(id) => match (&stream.relation, &self.program.streams[*id].relation) {
                (Some(reader), _) if reader.is_derived => self.changes_of(*id),
                (_, Some(read)) if read.is_derived => self.settled(*id, false),
                (_, _) => self.stream(*id, asked.cloned()),
            },
            Source::Merge(inputs) => {
                let mut merged = Vec::new();
                for input in inputs {
                    let asked = asked
                        .map(|a| Asked { on: a.on.clone().map(|on| substitute(on, &input.projection)), ..a.clone() });
                    let node = self.source(stream, &input.source, asked.as_ref());
                    let step = Step::Project(input.projection.clone());
                    let schema = projected(&stream.source_schema, &input.projection);
                    merged.push(self.add(&stream.name, "merge", Op::Step { input: node, step }, schema));
                }
                self.merge(stream, merged)
            }
            Source::Join(joined) => self.joined(stream, joined),
            Source::Timer { period_ns } => {
                let op = Op::Timer { inputs: Vec::new(), period_ns: *period_ns };
                let node = self.add(&stream.name, "timer", op, stream.source_schema.clone());
                self.timers.push(node);
                node
            }
            Source::Late { of, columns } => {
                self.stream(*of, None);
                let of = self.first_keyed[of];
                let Op::Keyed { input, .. } = &self.plan.nodes[of].op else {
                    unreachable!("only stateful operators are first ones")
                };
                let schema = self.plan.nodes[*input].schema.clone();
                let all = same_columns(&schema);
                let late = self.add(&stream.name, "late", Op::Late { of }, schema);
                let step = Step::Project(columns.iter().map(|i| all[*i].clone()).collect());
                self.add(&stream.name, "late", Op::Step { input: late, step }, stream.source_schema.clone())
            }
        }
    }

    /// The joins one after the other. Each input has its rows' time as a column, for those who ask of it.
    fn joined(&mut self, stream: &hir::Stream, joined: &hir::Joined) -> NodeId {
        let mut inputs = Vec::with_capacity(joined.inputs.len());
        for input in &joined.inputs {
            let node = self.source(stream, &input.source, None);
            let mut exprs = same_columns(&self.plan.nodes[node].schema);
            exprs.push(Expr::EventTime);
            let op = Op::Step { input: node, step: Step::Project(exprs) };
            inputs.push(self.add(&stream.name, "join input", op, input.schema.clone()));
        }
        let mut left = inputs[0];
        for (right, step) in inputs[1..].iter().zip(&joined.steps) {
            let op = Op::Join { inputs: [left, *right], join: step.join.clone(), lateness_ns: stream.lateness_ns };
            left = self.add(&stream.name, &step.label, op, step.schema.clone());
        }
        left
    }

    /// Branches of a merge may differ in what can be null; the rows that come out are those of all.
    fn merge(&mut self, stream: &hir::Stream, inputs: Vec<NodeId>) -> NodeId {
        if let [only] = inputs[..] {
            return only;
        }
        let schema = stream.source_schema.clone();
        self.add(&stream.name, "merge", Op::Merge { inputs }, schema)
    }

    fn event(&mut self, stream: &hir::Stream, ty: TypeId, scans: &[ScanId], asked: Option<&Asked>) -> NodeId {
        let schema = self.program.types[ty].schema.clone();
        let mut nodes = Vec::new();
        for scan in scans {
            let mut watermark = asked.map_or(&self.program.watermark, |a| &a.watermark).clone();
            if watermark.max_ahead_ns.is_none() && is_live(&self.program.scans[*scan].input) {
                watermark.max_ahead_ns = Some(MAX_AHEAD_DEFAULT_NS);
            }
            let time = asked.and_then(|a| a.on.clone());
            let fields = (0..schema.len()).collect();
            let reader = Reader { ty, scan: *scan, watermark, time, fields, filter: None };
            nodes.push(self.reader(&stream.name, reader, &schema));
        }
        if let [only] = nodes[..] {
            return only;
        }
        self.add(&stream.name, "merge", Op::Merge { inputs: nodes }, schema)
    }

    fn reader(&mut self, stream: &str, reader: Reader, schema: &Schema) -> NodeId {
        let known = self.plan.readers.iter().position(|r| *r == reader);
        if let Some(known) = known {
            let of = |n: &Node| matches!(n.op, Op::Source { reader } if reader == known);
            if let Some(node) = self.plan.nodes.iter().position(of) {
                return node;
            }
        }
        let label = self.program.types[reader.ty].name.clone();
        self.plan.readers.push(reader);
        let op = Op::Source { reader: self.plan.readers.len() - 1 };
        self.add(stream, &label, op, schema.clone())
    }

    /// A timer follows all sources of the program, which may have been built after it.
    fn connect_timers(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let is_source = |n: &Node| matches!(n.op, Op::Source { .. });
        let nodes = std::mem::take(&mut self.plan.nodes);
        let (sources, others): (Vec<_>, Vec<_>) = nodes.into_iter().enumerate().partition(|(_, n)| is_source(n));
        let count = sources.len();
        let mut moved = HashMap::new();
        for (new, (old, _)) in sources.iter().chain(&others).enumerate() {
            moved.insert(*old, new);
        }
        for (_, mut node) in sources.into_iter().chain(others) {
            node.op.map_inputs(&mut |i| moved[&i]);
            if let Op::Timer { inputs, .. } = &mut node.op {
                *inputs = (0..count).collect();
            }
            self.plan.nodes.push(node);
        }
        for output in &mut self.plan.outputs {
            output.node = moved[&output.node];
        }
    }
}

/// An expression over the rows after `ops`, none of which is stateful, over the rows before them.
fn through(ops: &[hir::Op], e: Expr) -> Expr {
    let mut e = e;
    for op in ops.iter().rev() {
        if let OpKind::Step(Step::Project(exprs)) = &op.kind {
            e = substitute(e, exprs);
        }
    }
    e
}

fn projected(names: &Schema, exprs: &[Expr]) -> Schema {
    let fields = names.fields.iter().zip(exprs).map(|(f, e)| Field::new(f.name.clone(), e.data_type()));
    Schema::new(fields.collect())
}

/// Whether the input has no end, so that clocks matter.
fn is_live(input: &Input) -> bool {
    match input {
        Input::Follow { .. } => true,
        Input::Files { .. } | Input::Stdin { .. } | Input::Generator { .. } => false,
    }
}
