//! *What* a program computes: one graph of simple operators over all its streams.
//!
//! A node is a function of its inputs' rows alone, so that a naive interpreter can run the plan row by
//! row (the tests have one) and rewrites can be checked against it. Rows have columns, an event time
//! `time`, a place `at >= time` (DESIGN §4), and a rank among rows of equal time, `seq`.
//!
//! | node | rows that it gives |
//! |---|---|
//! | `Source` | the rows of one type in one scan, in the order of each partition; their event time, place and rank come from there |
//! | `Step::Filter` | those for which the predicate is true |
//! | `Step::Project` | one for each, with these columns; time, place and rank stay |
//! | `Step::Print`, `Step::Log` | all, unchanged |
//! | `Merge` | the rows of all inputs |
//! | `Keyed` with `Aggregate` | for each key and window that a row on time belongs to: the key, the window's bounds, the aggregates over its rows; `time = at = end - 1ns`, for count windows the time of the last row, for windows from upstream that of the window's rows |
//! | `Keyed` with `Rows` | per key and window its rows on time, by (`at`, `seq`): the first of each `distinct`, sorted (stably) by `order`, the first `limit` of them; time as for `Aggregate` |
//! | `Keyed` with `Running` | for each row on time, in order of (`time`, `seq`), per key: the key and the aggregates over the rows up to it; `at = time` |
//! | `Keyed` with `Distinct` | rows on time in order of (`time`, `seq`): those whose value of `by` no row given before with the same key had (within `within`, if there is one) |
//! | `Keyed` with `Limit` | the first `n` rows on time per key, in order of (`time`, `seq`) |
//! | `Keyed` with `Pattern` | a row for each match among the rows on time of a key, in order of (`time`, `seq`), or what else it gives of them (`docs/patterns.md`); `time = at =` that of the match's last row, or `within` after its first where it is certain only then |
//! | `Join` | for each pair of rows on time, one of each input, whose keys are equal and not null, that are near enough ([`Reach`](crate::join::Reach)) and satisfy the rest: columns of both, `time = at =` the later of their times, in a window its last instant; of a side that is kept, the rows on time in no pair, the other side's columns null, `time = at =` their own time or the window's last instant |
//! | `Keyed` with `Table` | the changes of the table that has, at every place, of each key the row with the greatest (`time`, `seq`) among those whose place is not after it, unless `delete` is true of that row: the old row with `$diff` -1, the new one with 1, both at `time = at =` that place; equal rows give none |
//! | `Keyed` with `Changes` | of the changes at one place and of one key, those that do not cancel each other out; an old row and a new one together are an `update`, which is the new row alone unless `as_diff` |
//! | `Keyed` with `Snapshot` | the rows whose changes add up to more than nothing, at the end of the input, by `by`, then by value; `time = at =` the latest change of any of them |
//! | `Enrich` | every row of the input, with time, place and rank, and with the fields of the row that the table has at the row's place for the key `on`; with the defaults if there is none or a part of the key is null, and not at all if a match is `required` |
//! | `Relate` | changes: rows that end with `$diff`, how often they come (or, below 0, go) at `time = at`. At each time the changes up to it add up to what [`Relate`] says of the rows that those of its inputs add up to |
//! | `Late` | the input rows of the keyed node `of` that are late for it; `time = at =` the row's place |
//! | `Timer` | ticks `n = 0, 1, …` at the multiples of the period that the least watermark of the inputs has passed, beginning with the first after its first value |
//!
//! A row is late for a time window iff `end + lateness <= at` (for a sliding one: for every window
//! that it belongs to; for a join in windows too), for every other keyed node iff `time + lateness < at`.
//!
//! # Invariants ([`Plan::validate`])
//! 1. Nodes come after their inputs.
//! 2. Expressions refer to columns of the input, and have their types; a node's schema has one field
//!    for each column it gives, with unique names.
//! 3. Inputs of a merge have equal schemas but for what may be null.
//! 4. The table of an `Enrich` is keyed, of the kind `Table`.
//! 5. `Late` names a keyed node, and has the schema of that node's input.

use crate::connector::spec::Watermark;
use crate::data::{DataType, Field, Schema, Type};
use crate::expr::Expr;
use crate::join::Join;
use crate::plan::patterns::pattern_types;
use crate::sema::hir::{self, Keyed, KeyedKind, Lookup, Relate, ScanId, Step, TypeId, Windows};

pub use crate::sema::hir::{EventType, Scan};

pub type NodeId = usize;

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub types: Vec<EventType>,
    pub scans: Vec<Scan>,
    pub readers: Vec<Reader>,
    pub nodes: Vec<Node>,
    pub outputs: Vec<Output>,
}

/// A view of a scan: one type under one watermark.
#[derive(Clone, Debug, PartialEq)]
pub struct Reader {
    pub ty: TypeId,
    pub scan: ScanId,
    pub watermark: Watermark,
    /// `on:` of `.watermark`: the event time, over the type's fields, instead of the type's own.
    pub time: Option<Expr>,
    /// The fields that the program uses, in the order of the type's schema: the columns of the `Source`
    /// node. What is not among them is not decoded; what is among them must be valid in every row.
    pub fields: Vec<usize>,
    /// Rows that do not satisfy it leave the source no more; over `fields`.
    pub filter: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The stream that it belongs to; of shared nodes, the first.
    pub stream: String,
    pub label: String,
    pub op: Op,
    pub schema: Schema,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Source {
        reader: usize,
    },
    Step {
        input: NodeId,
        step: Step,
    },
    Merge {
        inputs: Vec<NodeId>,
    },
    Keyed {
        input: NodeId,
        keyed: Keyed,
        /// What a row may trail; 0 where no row can be late.
        lateness_ns: i64,
    },
    Join {
        inputs: [NodeId; 2],
        join: Join,
        /// As of `Keyed`.
        lateness_ns: i64,
    },
    Enrich {
        input: NodeId,
        table: NodeId,
        lookup: Lookup,
    },
    /// An operator of tables that follow from tables.
    Relate {
        inputs: Vec<NodeId>,
        relate: Relate,
    },
    Late {
        of: NodeId,
    },
    Timer {
        inputs: Vec<NodeId>,
        period_ns: i64,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub node: NodeId,
    pub name: String,
    pub target: hir::Target,
}

impl Op {
    /// The nodes that it reads, a `Late` node its stateful operator.
    pub fn inputs(&self) -> Vec<NodeId> {
        match self {
            Op::Source { .. } => Vec::new(),
            Op::Step { input, .. } | Op::Keyed { input, .. } => vec![*input],
            Op::Merge { inputs } | Op::Timer { inputs, .. } | Op::Relate { inputs, .. } => inputs.clone(),
            Op::Join { inputs, .. } => inputs.to_vec(),
            Op::Enrich { input, table, .. } => vec![*input, *table],
            Op::Late { of } => vec![*of],
        }
    }

    /// The same operator over other nodes.
    pub fn map_inputs(&mut self, f: &mut dyn FnMut(NodeId) -> NodeId) {
        match self {
            Op::Source { .. } => {}
            Op::Step { input, .. } | Op::Keyed { input, .. } => *input = f(*input),
            Op::Merge { inputs } | Op::Timer { inputs, .. } | Op::Relate { inputs, .. } => {
                inputs.iter_mut().for_each(|i| *i = f(*i));
            }
            Op::Join { inputs, .. } => inputs.iter_mut().for_each(|i| *i = f(*i)),
            Op::Enrich { input, table, .. } => {
                *input = f(*input);
                *table = f(*table);
            }
            Op::Late { of } => *of = f(*of),
        }
    }
}

impl Plan {
    /// How often each node is read, by nodes and outputs.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for input in self.nodes.iter().flat_map(|n| n.op.inputs()) {
            uses[input] += 1;
        }
        for output in &self.outputs {
            uses[output.node] += 1;
        }
        uses
    }

    /// The type of the columns that a reader gives.
    pub fn reader_schema(&self, reader: &Reader) -> Schema {
        let all = &self.types[reader.ty].schema.fields;
        Schema::new(reader.fields.iter().map(|i| all[*i].clone()).collect())
    }

    /// By node: whether its rows may be late for whoever reads them.
    pub fn may_be_late(&self) -> Vec<bool> {
        let mut late: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            late.push(match &node.op {
                Op::Source { .. } => true,
                Op::Step { input, .. } | Op::Enrich { input, .. } => late[*input],
                Op::Merge { inputs } => inputs.iter().any(|i| late[*i]),
                Op::Keyed { .. } | Op::Join { .. } | Op::Relate { .. } | Op::Late { .. } | Op::Timer { .. } => false,
            });
        }
        late
    }

    /// Checks the invariants of the module's doc; a broken one is a mistake in the planner.
    pub fn validate(&self) -> Result<(), String> {
        for (id, node) in self.nodes.iter().enumerate() {
            let place = || format!("node {id} ({} of {})", node.label, node.stream);
            if node.op.inputs().iter().any(|i| *i >= id) {
                return Err(format!("{} reads a later node", place()));
            }
            for (i, field) in node.schema.fields.iter().enumerate() {
                if node.schema.fields[..i].iter().any(|f| f.name == field.name) {
                    return Err(format!("{} has two columns {}", place(), field.name));
                }
            }
            self.validate_op(node).map_err(|reason| format!("{}: {reason}", place()))?;
        }
        match self.outputs.iter().find(|o| o.node >= self.nodes.len()) {
            Some(output) => Err(format!("the output {} has no node", output.name)),
            None => Ok(()),
        }
    }

    fn validate_op(&self, node: &Node) -> Result<(), String> {
        let given: Vec<DataType> = match &node.op {
            Op::Source { reader } => {
                let reader = &self.readers[*reader];
                let schema = self.reader_schema(reader);
                reader.filter.iter().try_for_each(|e| fits(e, &schema))?;
                column_types(&schema)
            }
            Op::Step { input, step } => step_types(step, &self.nodes[*input].schema)?,
            Op::Merge { inputs } => {
                if inputs.iter().any(|i| !same_types(&self.nodes[*i].schema, &node.schema)) {
                    return Err("its inputs differ".to_string());
                }
                column_types(&node.schema)
            }
            Op::Keyed { input, keyed, .. } => keyed_types(keyed, &self.nodes[*input].schema)?,
            Op::Enrich { input, table, lookup } => {
                lookup_types(lookup, &self.nodes[*input].schema, &self.nodes[*table])?
            }
            Op::Relate { inputs, relate } => {
                let schemas: Vec<&Schema> = inputs.iter().map(|i| &self.nodes[*i].schema).collect();
                relate.exprs().into_iter().try_for_each(|e| fits(e, schemas[0]))?;
                relate.output_types(&schemas.into_iter().map(column_types).collect::<Vec<_>>())
            }
            Op::Late { of } => match &self.nodes[*of].op {
                Op::Keyed { input, .. } => column_types(&self.nodes[*input].schema),
                _ => return Err("the node that it belongs to is not keyed".to_string()),
            },
            Op::Join { inputs, join, .. } => join_types(join, inputs.map(|i| &self.nodes[i].schema))?,
            Op::Timer { .. } => vec![Type::Int.required()],
        };
        let expected = column_types(&node.schema);
        if given.len() != expected.len() || !given.iter().zip(&expected).all(|(a, b)| alike(a, b)) {
            return Err(format!("it gives {given:?}, its schema says {:?}", column_types(&node.schema)));
        }
        Ok(())
    }
}

/// The types of what a join over these inputs gives.
pub(in crate::plan) fn join_types(join: &Join, inputs: [&Schema; 2]) -> Result<Vec<DataType>, String> {
    let both = Schema::new(inputs.iter().flat_map(|s| s.fields.iter().cloned()).collect());
    for (key, schema) in join.keys.iter().zip(inputs) {
        key.iter().try_for_each(|e| fits(e, schema))?;
    }
    let types = |side: usize| join.keys[side].iter().map(|e| e.data_type().ty).collect::<Vec<_>>();
    if types(0) != types(1) {
        return Err(format!("its keys are {:?} and {:?}", types(0), types(1)));
    }
    join.residual.iter().try_for_each(|e| fits(e, &both))?;
    match join.output.iter().find(|i| **i >= both.len()) {
        Some(gone) => Err(format!("there is no column {gone}")),
        None => Ok(join.output_types([&column_types(inputs[0]), &column_types(inputs[1])])),
    }
}

fn column_types(schema: &Schema) -> Vec<DataType> {
    schema.fields.iter().map(|f| f.data_type.clone()).collect()
}

/// Whether two types differ in nothing but in what may be null, which no array depends on.
pub(in crate::plan) fn alike(a: &DataType, b: &DataType) -> bool {
    a.arrow() == b.arrow() && a.unify(b).is_some()
}

fn same_types(a: &Schema, b: &Schema) -> bool {
    a.len() == b.len()
        && a.fields.iter().zip(&b.fields).all(|(x, y)| x.name == y.name && alike(&x.data_type, &y.data_type))
}

/// Whether the columns that `e` reads are there and of the types it says.
pub fn fits(e: &Expr, schema: &Schema) -> Result<(), String> {
    if let Expr::Column { index, ty } = e {
        return match schema.fields.get(*index) {
            Some(field) if alike(&field.data_type, ty) => Ok(()),
            Some(field) => Err(format!("column {index} ({}) is {}, not {ty}", field.name, field.data_type)),
            None => Err(format!("there is no column {index}")),
        };
    }
    let mut result = Ok(());
    e.for_each_child(&mut |child| {
        if result.is_ok() {
            result = fits(child, schema);
        }
    });
    result
}

fn step_types(step: &Step, input: &Schema) -> Result<Vec<DataType>, String> {
    match step {
        Step::Filter(e) => {
            fits(e, input)?;
            if e.data_type().ty != Type::Bool {
                return Err(format!("the predicate is {}", e.data_type()));
            }
            Ok(column_types(input))
        }
        Step::Project(exprs) => {
            exprs.iter().try_for_each(|e| fits(e, input))?;
            Ok(exprs.iter().map(Expr::data_type).collect())
        }
        Step::Print { expr: e, .. } | Step::Log { message: e, .. } => {
            fits(e, input)?;
            Ok(column_types(input))
        }
    }
}

fn keyed_types(keyed: &Keyed, input: &Schema) -> Result<Vec<DataType>, String> {
    keyed.key.iter().try_for_each(|e| fits(e, input))?;
    keyed.for_each_expr(&mut |e| fits(e, input))?;
    let bounds = [Type::Timestamp.required(), Type::Timestamp.required()];
    let keys = keyed.key.iter().map(Expr::data_type);
    Ok(match &keyed.kind {
        KeyedKind::Aggregate { aggregates, .. } => {
            keys.chain(bounds).chain(aggregates.iter().map(|a| a.ty.clone())).collect()
        }
        KeyedKind::Running { aggregates } => keys.chain(aggregates.iter().map(|a| a.ty.clone())).collect(),
        KeyedKind::Rows { windows: Windows::Upstream { .. }, .. } => column_types(input),
        KeyedKind::Rows { .. } => column_types(input).into_iter().chain(bounds).collect(),
        KeyedKind::Distinct { .. } | KeyedKind::Limit { .. } | KeyedKind::Snapshot { .. } => column_types(input),
        KeyedKind::Table { .. } => column_types(input).into_iter().chain([Type::Int.required()]).chain(keys).collect(),
        KeyedKind::Changes { .. } => column_types(input).into_iter().chain([Type::Str.required()]).collect(),
        KeyedKind::Pattern(pattern) => pattern_types(pattern, &keys.collect::<Vec<_>>(), input)?,
    })
}

/// The types of an enrichment's columns; an error where it does not fit its table.
fn lookup_types(lookup: &Lookup, input: &Schema, table: &Node) -> Result<Vec<DataType>, String> {
    let Op::Keyed { keyed: Keyed { key, kind: KeyedKind::Table { .. } }, .. } = &table.op else {
        return Err("what it looks up in is no table".to_string());
    };
    lookup.on.iter().try_for_each(|e| fits(e, input))?;
    if lookup.on.len() != key.len() || lookup.on.iter().zip(key).any(|(a, b)| a.data_type().ty != b.data_type().ty) {
        return Err("it looks up another key than the table's".to_string());
    }
    let field = |(column, default): &(usize, Expr)| match table.schema.fields.get(*column) {
        Some(f) if f.data_type.ty == default.data_type().ty => {
            Ok(DataType { ty: f.data_type.ty.clone(), nullable: true })
        }
        Some(f) => Err(format!("the default of {} is {}", f.name, default.data_type())),
        None => Err(format!("the table has no column {column}")),
    };
    let fields: Vec<DataType> = lookup.fields.iter().map(field).collect::<Result<_, _>>()?;
    Ok(column_types(input).into_iter().chain(fields).collect())
}

/// The columns of a node that gives all of its input's.
pub fn same_columns(schema: &Schema) -> Vec<Expr> {
    let column = |(i, f): (usize, &Field)| Expr::column(i, f.data_type.clone());
    schema.fields.iter().enumerate().map(column).collect()
}
