//! *How* a program runs: the plan that every worker renders, line by line, into a timely graph.
//!
//! Nothing is left to decide here: chains are fused, exchanges and strategies are chosen, the columns
//! that each source decodes are named, and every stateful operator has its [`StateId`]. The plan is
//! serializable, because the processes of a cluster receive it from the one that compiled.
//!
//! # Invariants ([`Plan::validate`])
//! 1. Nodes are in topological order: inputs come before their readers.
//! 2. Expressions of a node refer to columns of its input's schema.
//! 3. A node's `output_delay_ns` is at least 0, and includes only its own delay.
//! 4. State ids are unique.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::connector::spec::{Source, WatermarkStrategy};
use crate::data::{DataType, Schema};
use crate::expr::{Aggregate, Expr};
use crate::join::Join;
use crate::pattern::Pattern;
use crate::plan::logical::{fits, join_types};
use crate::plan::patterns::pattern_types;
pub use crate::sema::hir::{LogLevel, SortKey, Target, Windows};
pub use crate::sema::hir::{Lookup, Relate};

pub type NodeId = usize;

/// A whole program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub sources: Vec<Source>,
    pub nodes: Vec<Node>,
    pub outputs: Vec<Output>,
}

/// One operator of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The stream that it belongs to, for counters and messages.
    pub stream: String,
    /// What it is, for `explain` and counters: `where`, `window 5m`, ….
    pub label: String,
    pub op: Op,
    /// Schema of its output.
    pub schema: Schema,
    /// How far its rows may trail the watermark (DESIGN §3); 0 unless lateness is allowed.
    pub output_delay_ns: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Rows of `sources[source].outputs[output]`.
    Source { source: usize, output: usize },
    /// A fused chain over one input.
    Chain { input: NodeId, steps: Vec<Step> },
    /// Rows of all inputs, whose schemas are equal (`merge`; missing columns were added before).
    Merge { inputs: Vec<NodeId> },
    /// A keyed stateful operator; the exchange by key is part of it.
    Keyed { input: NodeId, keyed: Keyed },
    /// Pairs of rows of two inputs; the exchanges by the keys of both are part of it.
    Join { inputs: [NodeId; 2], join: Join, state: StateId, lateness_ns: i64, bound: Bound },
    /// The rows that arrived too late for the stateful operator `of`; its event time is the row's place.
    Late { of: NodeId },
    /// Each row of the input with what the table has at the row's place; the exchange by `on` is part of it. Rows wait
    /// until the table has come past their place.
    Enrich { input: NodeId, table: NodeId, lookup: Lookup, state: StateId },
    /// An operator of tables that follow from tables; the exchange is part of it. What settles has a state.
    Relate { inputs: Vec<NodeId>, relate: Relate, state: Option<StateId> },
    /// Ticks at multiples of `period_ns` as the watermark of `inputs` passes them; with no inputs it
    /// follows the clock. One column `n`, int, counting from 0 at the first tick.
    Timer { inputs: Vec<NodeId>, period_ns: i64 },
}

/// A step of a fused stateless chain. Each maps the columns of the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Keep rows where it is true.
    Filter(Expr),
    /// Replace the columns by these.
    Project(Vec<Expr>),
    /// `.print`: the rendered row goes to stderr; the rows stay as they are.
    Print { prefix: String, expr: Expr },
    /// `.log(level:, message:)`.
    Log { level: LogLevel, message: Expr },
}

/// Names a state by the program, not by its place in the plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateId {
    pub stream: String,
    pub kind: String,
    /// Which one of that kind in the stream, from 0.
    pub ordinal: u32,
}

/// A keyed stateful operator: exchange by `key`, then `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keyed {
    pub state: StateId,
    /// Expressions over the input, of the unified key type; empty: one group, on one worker.
    pub key: Vec<Expr>,
    /// Lateness that is allowed before a row counts as late.
    pub lateness_ns: i64,
    pub kind: KeyedKind,
    /// Whether some `Late` node reads this operator's late rows.
    pub keeps_late: bool,
    /// What bounds the state, for `check` and `explain`.
    pub bound: Bound,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KeyedKind {
    /// Time, session and count windows. Rows whose window is known from upstream use
    /// [`Windows::Upstream`].
    Window { windows: Windows, body: WindowBody },
    /// Aggregates without a window: the input row's columns are replaced by the running values,
    /// one row per input row, in event-time order. Output columns as [`WindowBody::Aggregate`]'s, without the bounds.
    Running { aggregates: Vec<Aggregate> },
    /// First row per key and value; `by` is evaluated over the input (empty: the whole row).
    Distinct { by: Vec<Expr>, within_ns: Option<i64> },
    /// The first `n` rows per key.
    Limit { n: u64 },
    /// The matches of a pattern among the rows of a key, in event-time order. Output columns: what it gives.
    Pattern { pattern: Box<Pattern> },
    /// The latest row of each key, with the versions that readers may still look up. A lateness of `i64::MAX` is none.
    /// Output columns: those of the input, `$diff`, the key; rows leave only if somebody `tells` of changes.
    /// `feeds`: tables follow from it, which hear of everything again after a restart, on an output of their own.
    Table { delete: Option<Expr>, tells: bool, feeds: bool },
    /// Changes of a table that do not cancel each other out at their place. Output columns: those of the input, `$op`.
    Changes { diff: Expr, as_diff: bool },
    /// The rows that a table's changes leave in the end, in the order of `by`. Output columns: those of the input.
    Snapshot { diff: Expr, by: Vec<Expr> },
}

/// What a window gives when it closes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WindowBody {
    /// One row per group. Output columns: one per key expression, `window_start`, `window_end`
    /// (timestamps), then one per aggregate. (The planner projects what is needed.)
    Aggregate { aggregates: Vec<Aggregate> },
    /// The group's rows, sorted, at most `limit` of them, distinct by `distinct` if given (the first
    /// by (`_time`, `_seq`) stays). Output columns: those of the input, then `window_start`, `window_end`,
    /// unless the windows are [`Windows::Upstream`], whose rows have them already.
    Rows { order: Vec<SortKey>, limit: Option<u64>, distinct: Option<Vec<Expr>> },
}

/// What bounds the state of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// Open windows: keys seen within so many ns of event time.
    Window { span_ns: i64 },
    /// Keys alive within a gap, `within` or lateness of so many ns.
    Within { span_ns: i64 },
    /// Rows of so many ns of event time, of both inputs of a join.
    Rows { span_ns: i64 },
    /// One entry per key, for ever.
    KeyCount,
    /// The rows of a table.
    Table,
    /// Changes that the watermark has not passed.
    Waiting,
    /// Nothing: `check` warns.
    Nothing,
    /// Nothing either, and fewer entries do not help: each grows with every row.
    Growing,
    /// Partial matches that nothing ends, at most so many per key: `check` warns.
    Runs { max: u64 },
}

/// A stream whose rows leave the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    pub node: NodeId,
    /// `_stream`: the stream's name or its `as` type.
    pub name: String,
    pub target: Target,
}

impl StateId {
    /// The name under which the state is saved.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.stream, self.kind, self.ordinal)
    }
}

impl Keyed {
    /// Types of the key columns.
    pub fn key_types(&self) -> Vec<DataType> {
        self.key.iter().map(Expr::data_type).collect()
    }
}

impl Plan {
    /// The name of the state that a node keeps, if it keeps one.
    pub fn state_name(&self, id: NodeId) -> Option<String> {
        let node = &self.nodes[id];
        match &node.op {
            Op::Keyed { keyed, .. } => Some(keyed.state.name()),
            Op::Join { state, .. } => Some(state.name()),
            Op::Enrich { state, .. } => Some(state.name()),
            Op::Relate { state, .. } => state.as_ref().map(StateId::name),
            Op::Timer { inputs, .. } if !inputs.is_empty() => {
                let is_timer = |n: &&Node| matches!(n.op, Op::Timer { .. }) && n.stream == node.stream;
                Some(format!("{}/timer/{}", node.stream, self.nodes[..id].iter().filter(is_timer).count()))
            }
            Op::Timer { .. } | Op::Source { .. } | Op::Chain { .. } | Op::Merge { .. } | Op::Late { .. } => None,
        }
    }

    /// Whether it depends on nothing but the inputs how many rows a node gives: changes that nothing has settled yet may
    /// cancel each other out before they are seen, or after.
    pub fn is_settled(&self, id: NodeId) -> bool {
        match &self.nodes[id].op {
            Op::Relate { relate, .. } => matches!(relate, Relate::Settle { .. }),
            Op::Chain { input, .. } => self.is_settled(*input),
            Op::Merge { inputs } => inputs.iter().all(|input| self.is_settled(*input)),
            Op::Source { .. }
            | Op::Keyed { .. }
            | Op::Join { .. }
            | Op::Enrich { .. }
            | Op::Late { .. }
            | Op::Timer { .. } => true,
        }
    }

    /// The nodes that a node's rows come from, through all that lies between.
    pub fn before(&self, id: NodeId) -> BTreeSet<NodeId> {
        let mut before = BTreeSet::new();
        let mut next = self.nodes[id].op.inputs();
        while let Some(id) = next.pop() {
            if before.insert(id) {
                next.extend(self.nodes[id].op.inputs());
            }
        }
        before
    }

    /// Checks the invariants of the module's doc; a broken one is a mistake in the planner.
    pub fn validate(&self) -> Result<(), String> {
        let mut states = BTreeSet::new();
        for (id, node) in self.nodes.iter().enumerate() {
            let place = |reason: String| format!("node {id} ({} of {}): {reason}", node.label, node.stream);
            if node.op.inputs().iter().any(|i| *i >= id) {
                return Err(place("it reads a later node".to_string()));
            }
            if node.output_delay_ns < 0 {
                return Err(place("its delay is negative".to_string()));
            }
            self.validate_op(node).map_err(place)?;
            let state = match &node.op {
                Op::Keyed { keyed, .. } => Some(&keyed.state),
                Op::Join { state, .. } | Op::Enrich { state, .. } => Some(state),
                Op::Relate { state, .. } => state.as_ref(),
                Op::Source { .. } | Op::Chain { .. } | Op::Merge { .. } | Op::Late { .. } | Op::Timer { .. } => None,
            };
            if let Some(state) = state.filter(|state| !states.insert(*state)) {
                return Err(place(format!("its state {state:?} is another's too")));
            }
        }
        match self.outputs.iter().find(|o| o.node >= self.nodes.len()) {
            Some(output) => Err(format!("the output {} has no node", output.name)),
            None => Ok(()),
        }
    }

    fn validate_op(&self, node: &Node) -> Result<(), String> {
        match &node.op {
            Op::Source { source, output } => {
                let source = &self.sources[*source];
                let output = &source.outputs[*output];
                let schema = &source.types[output.ty].schema;
                let exprs = output.filter.iter().chain(&source.types[output.ty].time);
                exprs.into_iter().try_for_each(|e| fits(e, schema))?;
                if *schema != node.schema {
                    return Err("its schema is not its type's".to_string());
                }
                Ok(())
            }
            Op::Chain { input, steps } => {
                let mut schema = self.nodes[*input].schema.clone();
                for step in steps {
                    match step {
                        Step::Filter(e) | Step::Print { expr: e, .. } | Step::Log { message: e, .. } => {
                            fits(e, &schema)?;
                        }
                        Step::Project(exprs) => {
                            exprs.iter().try_for_each(|e| fits(e, &schema))?;
                            let fields = exprs.iter().map(|e| crate::data::Field::new("", e.data_type()));
                            schema = Schema::new(fields.collect());
                        }
                    }
                }
                if schema.len() != node.schema.len() {
                    return Err("its last step gives other columns".to_string());
                }
                Ok(())
            }
            Op::Keyed { input, keyed } => {
                let schema = &self.nodes[*input].schema;
                keyed.key.iter().try_for_each(|e| fits(e, schema))?;
                let columns = keyed.kind.aggregates().iter().flat_map(|a| a.args.iter().zip(&a.arg_types));
                columns.into_iter().try_for_each(|(i, ty)| fits(&Expr::column(*i, ty.clone()), schema))?;
                if let KeyedKind::Pattern { pattern } = &keyed.kind {
                    pattern_types(pattern, &keyed.key_types(), schema)?;
                }
                Ok(())
            }
            Op::Join { inputs, join, .. } => join_types(join, inputs.map(|i| &self.nodes[i].schema)).map(|_| ()),
            Op::Enrich { input, table, lookup, .. } => {
                lookup.on.iter().try_for_each(|e| fits(e, &self.nodes[*input].schema))?;
                let (given, width) = (&self.nodes[*table].schema, self.nodes[*input].schema.len());
                if lookup.fields.iter().any(|(column, _)| *column >= given.len()) {
                    return Err("it looks up a column that the table does not have".to_string());
                }
                if node.schema.len() != width + lookup.fields.len() {
                    return Err("it gives other columns than its schema says".to_string());
                }
                Ok(())
            }
            Op::Relate { inputs, relate, .. } => {
                relate.exprs().into_iter().try_for_each(|e| fits(e, &self.nodes[inputs[0]].schema))
            }
            Op::Merge { .. } | Op::Late { .. } | Op::Timer { .. } => Ok(()),
        }
    }
}

impl Op {
    /// The nodes that it reads, a `Late` node its stateful operator.
    pub fn inputs(&self) -> Vec<NodeId> {
        match self {
            Op::Source { .. } => Vec::new(),
            Op::Chain { input, .. } | Op::Keyed { input, .. } => vec![*input],
            Op::Merge { inputs } | Op::Timer { inputs, .. } | Op::Relate { inputs, .. } => inputs.clone(),
            Op::Join { inputs, .. } => inputs.to_vec(),
            Op::Enrich { input, table, .. } => vec![*input, *table],
            Op::Late { of } => vec![*of],
        }
    }
}

impl KeyedKind {
    /// The aggregates that it computes.
    pub fn aggregates(&self) -> &[Aggregate] {
        match self {
            KeyedKind::Window { body: WindowBody::Aggregate { aggregates }, .. }
            | KeyedKind::Running { aggregates } => aggregates,
            KeyedKind::Window { body: WindowBody::Rows { .. }, .. }
            | KeyedKind::Distinct { .. }
            | KeyedKind::Limit { .. }
            | KeyedKind::Pattern { .. }
            | KeyedKind::Table { .. }
            | KeyedKind::Changes { .. }
            | KeyedKind::Snapshot { .. } => &[],
        }
    }
}

impl Plan {
    /// The greatest out-of-orderness with which rows of a node were read; `None` when there is none
    /// that more of would help.
    pub fn out_of_order_ns(&self, node: NodeId) -> Option<i64> {
        match &self.nodes[node].op {
            Op::Source { source, output } => match self.sources[*source].outputs[*output].watermark.strategy {
                WatermarkStrategy::BoundedOutOfOrderness { out_of_order_ns } => Some(out_of_order_ns),
                WatermarkStrategy::AtEnd | WatermarkStrategy::ProcessingTime => None,
            },
            op => op.inputs().into_iter().filter_map(|input| self.out_of_order_ns(input)).max(),
        }
    }
}
