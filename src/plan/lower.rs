//! From *what* to *how*: stateless operators become chains, readers become outputs of sources, and every
//! stateful operator gets its state, its bound and its delay.

use std::collections::{BTreeMap, BTreeSet};

use crate::connector::spec::{Source, SourceOutput, SourceType, TimeUnit};
use crate::data::{Field, Type};
use crate::expr::remap;
use crate::expr::{Aggregate, Expr};
use crate::plan::bounds::{bound, join_bound};
use crate::plan::logical::{self, NodeId, Op};
use crate::plan::order::needs_seq;
use crate::plan::patterns::delay_ns;
use crate::plan::physical::{self, Keyed, KeyedKind, StateId, WindowBody};
use crate::sema::hir::{self, Relate, Step, TimedType};

/// Lowers a rewritten plan. Aggregates have plain columns as arguments.
pub fn lower(plan: &logical::Plan) -> physical::Plan {
    let (sources, reader_outputs) = sources(plan);
    let late: BTreeSet<NodeId> = plan
        .nodes
        .iter()
        .filter_map(|n| match n.op {
            Op::Late { of } => Some(of),
            _ => None,
        })
        .collect();
    let mut lowering = Lowering {
        plan,
        uses: plan.uses(),
        may_be_late: plan.may_be_late(),
        keeps_late: late,
        reader_outputs,
        nodes: Vec::new(),
        moved: Vec::new(),
        ordinals: BTreeMap::new(),
    };
    for id in 0..plan.nodes.len() {
        let new = lowering.node(id);
        lowering.moved.push(new);
    }
    let Lowering { nodes, moved, .. } = lowering;
    let outputs = plan.outputs.iter().map(|o| physical::Output {
        node: moved[o.node],
        name: o.name.clone(),
        target: o.target.clone(),
    });
    physical::Plan { sources, outputs: outputs.collect(), nodes }
}

struct Lowering<'a> {
    plan: &'a logical::Plan,
    uses: Vec<usize>,
    may_be_late: Vec<bool>,
    /// Stateful operators whose late rows somebody reads.
    keeps_late: BTreeSet<NodeId>,
    /// By reader: source and output.
    reader_outputs: Vec<(usize, usize)>,
    nodes: Vec<physical::Node>,
    moved: Vec<physical::NodeId>,
    ordinals: BTreeMap<(String, &'static str), u32>,
}

impl Lowering<'_> {
    fn node(&mut self, id: NodeId) -> physical::NodeId {
        let node = &self.plan.nodes[id];
        let mut output_delay_ns = 0;
        let op = match &node.op {
            Op::Source { reader } => {
                let (source, output) = self.reader_outputs[*reader];
                physical::Op::Source { source, output }
            }
            Op::Step { input, step } => {
                if let Some(chain) = self.extended(*input, step, node) {
                    return chain;
                }
                physical::Op::Chain { input: self.moved[*input], steps: vec![lower_step(step)] }
            }
            Op::Merge { inputs } => physical::Op::Merge { inputs: inputs.iter().map(|i| self.moved[*i]).collect() },
            Op::Keyed { input, keyed, lateness_ns } => {
                // Rows that leave a stateful operator are never late: waiting for them would only delay.
                let lateness_ns = if self.may_be_late[*input] { *lateness_ns } else { 0 };
                output_delay_ns = delay_ns(keyed, lateness_ns);
                let keyed = self.keyed(id, keyed, lateness_ns);
                physical::Op::Keyed { input: self.moved[*input], keyed }
            }
            Op::Join { inputs, join, lateness_ns } => {
                let lateness_ns = if inputs.iter().any(|i| self.may_be_late[*i]) { *lateness_ns } else { 0 };
                output_delay_ns = join.delay_ns(lateness_ns);
                let (state, bound) = (self.state(id, "join"), join_bound(join, lateness_ns));
                let inputs = inputs.map(|i| self.moved[i]);
                physical::Op::Join { inputs, join: join.clone(), state, lateness_ns, bound }
            }
            Op::Enrich { input, table, lookup } => {
                let (input, table) = (self.moved[*input], self.moved[*table]);
                physical::Op::Enrich { input, table, lookup: lookup.clone(), state: self.state(id, "enrich") }
            }
            Op::Relate { inputs, relate } => {
                let inputs = inputs.iter().map(|i| self.moved[*i]).collect();
                let settles = matches!(relate, Relate::Settle { .. });
                let state = settles.then(|| self.state(id, relate.name()));
                physical::Op::Relate { inputs, relate: relate.clone(), state }
            }
            Op::Late { of } => physical::Op::Late { of: self.moved[*of] },
            Op::Timer { inputs, period_ns } => {
                let inputs = inputs.iter().map(|i| self.moved[*i]).collect();
                physical::Op::Timer { inputs, period_ns: *period_ns }
            }
        };
        let logical::Node { stream, label, schema, .. } = node.clone();
        self.nodes.push(physical::Node { stream, label, op, schema, output_delay_ns });
        self.nodes.len() - 1
    }

    /// The chain that computes `input`, with one step more, if nobody else reads `input`.
    fn extended(&mut self, input: NodeId, step: &Step, node: &logical::Node) -> Option<physical::NodeId> {
        if self.uses[input] != 1 {
            return None;
        }
        let chain = self.moved[input];
        let before = &mut self.nodes[chain];
        let physical::Op::Chain { steps, .. } = &mut before.op else { return None };
        steps.push(lower_step(step));
        before.schema = node.schema.clone();
        before.stream.clone_from(&node.stream);
        if before.label != node.label && !before.label.ends_with(&format!(", {}", node.label)) {
            before.label = format!("{}, {}", before.label, node.label);
        }
        Some(chain)
    }

    /// The next state of a kind of a node's stream.
    fn state(&mut self, id: NodeId, kind: &'static str) -> StateId {
        let stream = self.plan.nodes[id].stream.clone();
        let next = self.ordinals.entry((stream.clone(), kind)).or_insert(0);
        *next += 1;
        StateId { stream, kind: kind.to_string(), ordinal: *next - 1 }
    }

    fn keyed(&mut self, id: NodeId, keyed: &hir::Keyed, lateness_ns: i64) -> Keyed {
        let (name, kind) = match &keyed.kind {
            hir::KeyedKind::Aggregate { windows, aggregates } => {
                let aggregates = aggregates.iter().map(lower_aggregate).collect();
                ("window", KeyedKind::Window { windows: windows.clone(), body: WindowBody::Aggregate { aggregates } })
            }
            hir::KeyedKind::Rows { windows, order, limit, distinct } => {
                let body = WindowBody::Rows { order: order.clone(), limit: *limit, distinct: distinct.clone() };
                ("rows", KeyedKind::Window { windows: windows.clone(), body })
            }
            hir::KeyedKind::Running { aggregates } => {
                ("running", KeyedKind::Running { aggregates: aggregates.iter().map(lower_aggregate).collect() })
            }
            hir::KeyedKind::Distinct { by, within_ns } => {
                ("distinct", KeyedKind::Distinct { by: by.clone(), within_ns: *within_ns })
            }
            hir::KeyedKind::Limit { n } => ("limit", KeyedKind::Limit { n: *n }),
            hir::KeyedKind::Pattern(pattern) => ("pattern", KeyedKind::Pattern { pattern: pattern.clone() }),
            hir::KeyedKind::Table { delete, .. } => {
                let readers = || self.plan.nodes.iter().map(|n| &n.op).filter(|op| op.inputs().contains(&id));
                let is_fed = |op: &Op| matches!(op, Op::Relate { relate: Relate::Feed, .. });
                let feeds = readers().any(is_fed);
                let tells = readers().any(|op| !matches!(op, Op::Enrich { .. }) && !is_fed(op));
                ("table", KeyedKind::Table { delete: delete.clone(), tells, feeds })
            }
            hir::KeyedKind::Changes { diff, as_diff } => {
                ("changes", KeyedKind::Changes { diff: diff.clone(), as_diff: *as_diff })
            }
            hir::KeyedKind::Snapshot { diff, by } => {
                ("snapshot", KeyedKind::Snapshot { diff: diff.clone(), by: by.clone() })
            }
        };
        Keyed {
            state: self.state(id, name),
            key: keyed.key.clone(),
            lateness_ns,
            kind,
            keeps_late: self.keeps_late.contains(&id),
            bound: bound(keyed, lateness_ns),
        }
    }
}

fn lower_step(step: &Step) -> physical::Step {
    match step.clone() {
        Step::Filter(e) => physical::Step::Filter(e),
        Step::Project(exprs) => physical::Step::Project(exprs),
        Step::Print { prefix, expr } => physical::Step::Print { prefix, expr },
        Step::Log { level, message } => physical::Step::Log { level, message },
    }
}

fn lower_aggregate(call: &hir::AggregateCall) -> Aggregate {
    let column = |e: &Expr| match e {
        Expr::Column { index, .. } => *index,
        _ => unreachable!("arguments are columns after the rewrites"),
    };
    Aggregate {
        function: call.function.clone(),
        args: call.args.iter().map(column).collect(),
        arg_types: call.args.iter().map(Expr::data_type).collect(),
        ty: call.ty.clone(),
    }
}

/// The sources, one for each scan and event time, and where each reader finds its rows.
///
/// A type has one event time in a source; a reader that sees another one (`.watermark(on:)`) scans the
/// input for itself.
fn sources(plan: &logical::Plan) -> (Vec<Source>, Vec<(usize, usize)>) {
    let seq = needs_seq(plan);
    let mut sources: Vec<Source> = Vec::new();
    // By source: its scan, and the event time that its readers ask for.
    let mut made: Vec<(hir::ScanId, Option<Expr>)> = Vec::new();
    let mut found = Vec::with_capacity(plan.readers.len());
    for (i, reader) in plan.readers.iter().enumerate() {
        let key = (reader.scan, reader.time.clone());
        let source = made.iter().position(|m| *m == key).unwrap_or_else(|| {
            let scan = &plan.scans[reader.scan];
            sources.push(Source {
                name: scan.name.clone(),
                input: scan.input.clone(),
                types: Vec::new(),
                outputs: Vec::new(),
                on_error: scan.on_error,
            });
            made.push(key);
            sources.len() - 1
        });
        let ty = source_type(plan, reader);
        let into = &mut sources[source];
        let ty = into.types.iter().position(|t| t.name == ty.name).unwrap_or_else(|| {
            into.types.push(ty);
            into.types.len() - 1
        });
        let (watermark, filter) = (reader.watermark.clone(), reader.filter.clone());
        into.outputs.push(SourceOutput { ty, watermark, seq: seq[i], filter });
        found.push((source, into.outputs.len() - 1));
    }
    for (source, (scan, _)) in sources.iter_mut().zip(&made) {
        let scan = &plan.scans[*scan];
        let unread: Vec<&TimedType> =
            scan.timed.iter().filter(|timed| source.types.iter().all(|ty| ty.name != timed.ty.name)).collect();
        source.types.extend(unread.into_iter().map(|timed| unread_type(timed, scan.input.time_unit())));
    }
    (sources, found)
}

/// A type whose rows matter for their time alone.
fn unread_type(TimedType { ty, declared }: &TimedType, of_input: Option<TimeUnit>) -> SourceType {
    let unit = |field: &Field| of_input.filter(|_| field.data_type.ty == Type::Timestamp);
    SourceType {
        name: ty.name.clone(),
        schema: ty.schema.clone(),
        time_units: ty.schema.fields.iter().map(unit).collect(),
        time: ty.time.clone(),
        sampled: false,
        declared: declared.clone(),
        is_read: false,
    }
}

fn source_type(plan: &logical::Plan, reader: &logical::Reader) -> SourceType {
    let ty = &plan.types[reader.ty];
    let at = |old: usize| reader.fields.iter().position(|f| *f == old).unwrap_or(old);
    let time = reader.time.clone().or_else(|| ty.time.clone());
    // What the input says holds for declared types; a sampled one knows better, field by field.
    let of_input = plan.scans[reader.scan].input.time_unit();
    let unit = |f: &usize| {
        let is_timestamp = ty.schema.fields[*f].data_type.ty == Type::Timestamp;
        ty.time_units[*f].or(of_input.filter(|_| is_timestamp))
    };
    SourceType {
        name: ty.name.clone(),
        schema: plan.reader_schema(reader),
        time_units: reader.fields.iter().map(unit).collect(),
        time: time.map(|e| remap(e, &at)),
        sampled: ty.sampled,
        declared: ty.schema.fields.iter().map(|f| f.name.clone()).collect(),
        is_read: true,
    }
}
