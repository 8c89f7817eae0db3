//! Removes columns and nodes that nobody reads, and settles which fields sources decode.
//!
//! Aggregates stay, and what a pattern gives, read or not: they are what the operator's state is made of, and that is not to change
//! with what is done with its rows further down.
//!
//! Which fields a source decodes is settled once, on the plan as it was built: a row must be valid in
//! every field that the program uses, whatever filters come first, so no later rewrite may change it.

use std::collections::BTreeSet;

use crate::data::{Field, Schema};
use crate::expr::Expr;
use crate::expr::{add_columns, remap};
use crate::join::Join;
use crate::plan::logical::{Node, NodeId, Op, Plan, same_columns};
use crate::plan::rewrite::Rebuilt;
use crate::plan::ties::need_all_columns;
use crate::sema::hir::{Keyed, KeyedKind, Lookup, Step, Windows};

/// Narrows every source to the fields that the program uses: by any reader of its type and scan, and
/// for its event time.
pub fn settle_fields(mut plan: Plan) -> Plan {
    let needed = needed_columns(&plan);
    let mut used: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); plan.readers.len()];
    for (node, columns) in plan.nodes.iter().zip(&needed) {
        if let (Op::Source { reader }, Some(columns)) = (&node.op, columns) {
            used[*reader].extend(columns.iter().map(|c| plan.readers[*reader].fields[*c]));
        }
    }
    for (i, reader) in plan.readers.iter().enumerate() {
        for time in plan.types[reader.ty].time.iter().chain(&reader.time) {
            add_columns(time, &mut used[i]);
        }
    }
    let of = |reader: usize| (plan.readers[reader].ty, plan.readers[reader].scan);
    let fields: Vec<BTreeSet<usize>> = (0..plan.readers.len())
        .map(|r| (0..used.len()).filter(|s| of(*s) == of(r)).flat_map(|s| used[s].iter().copied()).collect())
        .collect();
    let kept: Vec<Vec<usize>> = plan
        .readers
        .iter()
        .zip(&fields)
        .map(|(reader, fields)| {
            let at = |f: &usize| reader.fields.iter().position(|g| g == f);
            fields.iter().filter_map(at).collect()
        })
        .collect();
    for (reader, fields) in plan.readers.iter_mut().zip(&fields) {
        reader.fields = fields.iter().copied().collect();
    }
    rebuild(plan, &needed, Some(&kept))
}

/// Removes what nobody reads; the fields of sources stay.
pub fn prune(plan: Plan) -> Plan {
    let needed = needed_columns(&plan);
    rebuild(plan, &needed, None)
}

/// By node: the columns that are read of it; `None`: nothing depends on the node at all.
fn needed_columns(plan: &Plan) -> Vec<Option<BTreeSet<usize>>> {
    let mut needed: Vec<Option<BTreeSet<usize>>> = vec![None; plan.nodes.len()];
    let decide_ties = need_all_columns(plan);
    for output in &plan.outputs {
        let all = 0..plan.nodes[output.node].schema.len();
        needed[output.node].get_or_insert_default().extend(all);
    }
    for (id, node) in plan.nodes.iter().enumerate().rev() {
        if let Op::Step { step: Step::Print { .. } | Step::Log { .. }, .. } = &node.op {
            needed[id].get_or_insert_default();
        }
        let Some(columns) = needed[id].clone() else { continue };
        match &node.op {
            Op::Source { .. } => {}
            Op::Step { input, step } => {
                let into = needed[*input].get_or_insert_default();
                step_needs(step, &columns, into);
            }
            Op::Merge { inputs } => {
                inputs.iter().for_each(|input| needed[*input].get_or_insert_default().extend(&columns));
            }
            Op::Keyed { input, keyed, .. } => {
                let width = plan.nodes[*input].schema.len();
                let into = needed[*input].get_or_insert_default();
                keyed_needs(keyed, &columns, width, into);
                if decide_ties[id] {
                    into.extend(0..width);
                }
            }
            Op::Enrich { input, table, lookup } => {
                let width = plan.nodes[*input].schema.len();
                let into = needed[*input].get_or_insert_default();
                into.extend(columns.iter().filter(|c| **c < width));
                lookup.on.iter().for_each(|e| add_columns(e, into));
                let read = columns.iter().filter_map(|c| c.checked_sub(width)).map(|field| lookup.fields[field].0);
                needed[*table].get_or_insert_default().extend(read);
            }
            Op::Join { inputs, join, .. } => {
                let left_width = plan.nodes[inputs[0]].schema.len();
                let mut read: BTreeSet<usize> = columns.iter().map(|c| join.output[*c]).collect();
                join.residual.iter().for_each(|e| add_columns(e, &mut read));
                for (side, input) in inputs.iter().enumerate() {
                    let into = needed[*input].get_or_insert_default();
                    join.keys[side].iter().for_each(|e| add_columns(e, into));
                    into.extend(read.iter().filter_map(|c| match side {
                        0 => Some(*c).filter(|c| *c < left_width),
                        _ => c.checked_sub(left_width),
                    }));
                }
            }
            // Rows that agree in what is read are still as many rows as they were.
            Op::Relate { inputs, .. } => inputs.iter().for_each(|input| {
                needed[*input].get_or_insert_default().extend(0..plan.nodes[*input].schema.len());
            }),
            Op::Late { of } => {
                needed[*of].get_or_insert_default();
                if let Op::Keyed { input, .. } = &plan.nodes[*of].op {
                    needed[*input].get_or_insert_default().extend(&columns);
                }
            }
            Op::Timer { inputs, .. } => {
                for input in inputs {
                    needed[*input].get_or_insert_default();
                }
            }
        }
    }
    needed
}

fn step_needs(step: &Step, columns: &BTreeSet<usize>, into: &mut BTreeSet<usize>) {
    match step {
        Step::Filter(e) | Step::Print { expr: e, .. } | Step::Log { message: e, .. } => {
            into.extend(columns);
            add_columns(e, into);
        }
        Step::Project(exprs) => columns.iter().for_each(|c| add_columns(&exprs[*c], into)),
    }
}

fn keyed_needs(keyed: &Keyed, columns: &BTreeSet<usize>, width: usize, into: &mut BTreeSet<usize>) {
    keyed.key.iter().for_each(|e| add_columns(e, into));
    if let Some(Windows::Upstream { start, end }) = keyed.windows() {
        into.extend([*start, *end]);
    }
    match &keyed.kind {
        KeyedKind::Aggregate { aggregates, .. } | KeyedKind::Running { aggregates } => {
            aggregates.iter().flat_map(|a| &a.args).for_each(|e| add_columns(e, into));
        }
        // A change in any field is a change, and when it was the last one is told of a snapshot.
        KeyedKind::Changes { .. } | KeyedKind::Snapshot { .. } => into.extend(0..width),
        KeyedKind::Rows { .. } | KeyedKind::Distinct { .. } | KeyedKind::Limit { .. } | KeyedKind::Table { .. } => {
            into.extend(columns.iter().filter(|c| **c < width));
            let visited: Result<(), ()> = keyed.for_each_expr(&mut |e| {
                add_columns(e, into);
                Ok(())
            });
            debug_assert!(visited.is_ok());
        }
        KeyedKind::Pattern(pattern) => into.extend(pattern.columns()),
    }
}

/// Where a node's old columns are among its new ones; `None`: gone.
type Moved = Vec<Option<usize>>;

fn rebuild(plan: Plan, needed: &[Option<BTreeSet<usize>>], source_columns: Option<&[Vec<usize>]>) -> Plan {
    let exact: BTreeSet<NodeId> = plan.outputs.iter().map(|o| o.node).collect();
    let mut out = Rebuilt::new(plan.nodes.len());
    let mut columns: Vec<Moved> = Vec::with_capacity(plan.nodes.len());
    // The operators themselves, where `out.moved` has what gives their columns as they were.
    let mut operators: Vec<NodeId> = Vec::with_capacity(plan.nodes.len());
    for (id, node) in plan.nodes.iter().enumerate() {
        let Some(wanted) = &needed[id] else {
            // Nobody refers to it, so neither id nor columns are ever looked up.
            out.moved.push(usize::MAX);
            operators.push(usize::MAX);
            columns.push(Vec::new());
            continue;
        };
        let mut node = node.clone();
        let moved = match &mut node.op {
            Op::Source { reader } => match source_columns {
                Some(kept) => select(&mut node.schema, &kept[*reader]),
                None => as_they_were(node.schema.len()),
            },
            Op::Step { input, step } => {
                let before = &columns[*input];
                *input = out.moved[*input];
                step_columns(step, &mut node.schema, wanted, before, &out.nodes[*input].schema, exact.contains(&id))
            }
            Op::Merge { inputs } => {
                inputs.iter_mut().for_each(|i| *i = aligned(*i, &plan, wanted, &columns, &mut out));
                select(&mut node.schema, &wanted.iter().copied().collect::<Vec<usize>>())
            }
            Op::Keyed { input, keyed, .. } => {
                let before = &columns[*input];
                *input = out.moved[*input];
                keyed_columns(keyed, &mut node.schema, &out.nodes[*input].schema, before)
            }
            Op::Enrich { input, table, lookup } => {
                let (before, of_table) = (&columns[*input], &columns[*table]);
                (*input, *table) = (out.moved[*input], operators[*table]);
                enriched(lookup, &mut node.schema, wanted, before, of_table, &out.nodes[*input].schema)
            }
            Op::Join { inputs, join, .. } => {
                let before = inputs.map(|i| &columns[i]);
                *inputs = inputs.map(|i| out.moved[i]);
                join_columns(join, &mut node.schema, wanted, before, out.nodes[inputs[0]].schema.len())
            }
            Op::Relate { inputs, .. } => {
                inputs.iter_mut().for_each(|i| *i = whole(*i, &plan, &columns, &mut out));
                as_they_were(node.schema.len())
            }
            Op::Late { of } => {
                let input = plan.nodes[*of].op.inputs()[0];
                node.schema = out.nodes[out.moved[input]].schema.clone();
                *of = operators[*of];
                columns[input].clone()
            }
            Op::Timer { inputs, .. } => {
                inputs.iter_mut().for_each(|i| *i = out.moved[*i]);
                as_they_were(1)
            }
        };
        let (mut new, mut moved) = (out.push(node), moved);
        operators.push(new);
        if exact.contains(&id) && !moved.iter().enumerate().all(|(i, m)| *m == Some(i)) {
            new = restored(&plan.nodes[id], new, &moved, &mut out);
            moved = as_they_were(moved.len());
        }
        out.moved.push(new);
        columns.push(moved);
    }
    out.finish(plan)
}

fn as_they_were(columns: usize) -> Moved {
    (0..columns).map(Some).collect()
}

fn at(e: Expr, moved: &Moved) -> Expr {
    remap(e, &|i| moved[i].expect("a column that is read is kept"))
}

/// Keeps the columns `kept` of a schema.
fn select(schema: &mut Schema, kept: &[usize]) -> Moved {
    let mut moved = vec![None; schema.len()];
    for (new, old) in kept.iter().enumerate() {
        moved[*old] = Some(new);
    }
    schema.fields = kept.iter().map(|i| schema.fields[*i].clone()).collect();
    moved
}

/// Keeps the expressions that are read, equal ones once; a projection that is an output keeps all.
fn prune_projection(
    exprs: &mut Vec<Expr>,
    schema: &mut Schema,
    wanted: &BTreeSet<usize>,
    before: &Moved,
    exact: bool,
) -> Moved {
    let mut moved: Moved = vec![None; exprs.len()];
    let mut kept: Vec<Expr> = Vec::new();
    let mut fields = Vec::new();
    for i in wanted {
        let e = at(exprs[*i].clone(), before);
        let known = if exact { None } else { kept.iter().position(|k| *k == e) };
        moved[*i] = Some(known.unwrap_or(kept.len()));
        if known.is_none() {
            kept.push(e);
            fields.push(schema.fields[*i].clone());
        }
    }
    *exprs = kept;
    schema.fields = fields;
    moved
}

/// A projection keeps what is read, unless it is an output; other steps leave the columns as they come.
fn step_columns(
    step: &mut Step,
    schema: &mut Schema,
    wanted: &BTreeSet<usize>,
    before: &Moved,
    input: &Schema,
    exact: bool,
) -> Moved {
    match step {
        Step::Project(exprs) => prune_projection(exprs, schema, wanted, before, exact),
        Step::Filter(e) | Step::Print { expr: e, .. } | Step::Log { message: e, .. } => {
            *e = at(std::mem::replace(e, Expr::EventTime), before);
            schema.fields = input.fields.clone();
            before.clone()
        }
    }
}

/// The input with all its columns.
fn whole(input: NodeId, plan: &Plan, columns: &[Moved], out: &mut Rebuilt) -> NodeId {
    aligned(input, plan, &(0..plan.nodes[input].schema.len()).collect(), columns, out)
}

/// The input of a merge with exactly the columns `wanted`.
fn aligned(input: NodeId, plan: &Plan, wanted: &BTreeSet<usize>, columns: &[Moved], out: &mut Rebuilt) -> NodeId {
    let new = out.moved[input];
    let moved = &columns[input];
    let old = &plan.nodes[input];
    // A column may stand for an equal one of another name.
    let names = |fields: &[Field]| fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
    let in_place = wanted.iter().enumerate().all(|(to, from)| moved[*from] == Some(to));
    let wanted_fields: Vec<Field> = wanted.iter().map(|i| old.schema.fields[*i].clone()).collect();
    if in_place && names(&out.nodes[new].schema.fields) == names(&wanted_fields) {
        return new;
    }
    let all = same_columns(&old.schema);
    let exprs = wanted.iter().map(|i| at(all[*i].clone(), moved)).collect();
    let schema = Schema::new(wanted_fields);
    let op = Op::Step { input: new, step: Step::Project(exprs) };
    out.push(Node { stream: old.stream.clone(), label: "merge".to_string(), op, schema })
}

/// A projection that gives a node's columns as they were.
fn restored(old: &Node, new: NodeId, moved: &Moved, out: &mut Rebuilt) -> NodeId {
    let exprs = same_columns(&old.schema).into_iter().map(|e| at(e, moved)).collect();
    let op = Op::Step { input: new, step: Step::Project(exprs) };
    out.push(Node { stream: old.stream.clone(), label: "select".to_string(), op, schema: old.schema.clone() })
}

/// Keeps the fields that are read of what a table gives, behind what is left of the input.
fn enriched(
    lookup: &mut Lookup,
    schema: &mut Schema,
    wanted: &BTreeSet<usize>,
    before: &Moved,
    of_table: &Moved,
    input: &Schema,
) -> Moved {
    let added = schema.fields.split_off(before.len());
    schema.fields = input.fields.clone();
    for e in &mut lookup.on {
        *e = at(std::mem::replace(e, Expr::EventTime), before);
    }
    let mut moved = before.clone();
    let fields = std::mem::take(&mut lookup.fields);
    for (i, ((column, default), field)) in fields.into_iter().zip(added).enumerate() {
        let is_read = wanted.contains(&(before.len() + i));
        moved.push(is_read.then_some(schema.len()));
        if is_read {
            let column = of_table[column].expect("a column that is read is kept");
            lookup.fields.push((column, default));
            schema.fields.push(field);
        }
    }
    moved
}

fn keyed_columns(keyed: &mut Keyed, schema: &mut Schema, input: &Schema, before: &Moved) -> Moved {
    match &mut keyed.kind {
        KeyedKind::Aggregate { .. } | KeyedKind::Running { .. } | KeyedKind::Pattern(_) => {
            keyed.map(&mut |e| at(e, before), &|i| before[i].expect("a column that is read is kept"));
            (0..schema.len()).map(Some).collect()
        }
        KeyedKind::Rows { .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Table { .. }
        | KeyedKind::Changes { .. }
        | KeyedKind::Snapshot { .. } => {
            let added = schema.fields.split_off(before.len());
            keyed.map(&mut |e| at(e, before), &|i| before[i].expect("bounds of a window are kept"));
            schema.fields = input.fields.clone();
            let mut moved = before.clone();
            for field in added {
                moved.push(Some(schema.len()));
                schema.fields.push(field);
            }
            moved
        }
    }
}

/// Keeps what is read of the pairs; the left input has `left_width` columns from now on.
fn join_columns(
    join: &mut Join,
    schema: &mut Schema,
    wanted: &BTreeSet<usize>,
    before: [&Moved; 2],
    left_width: usize,
) -> Moved {
    let kept: Vec<usize> = wanted.iter().copied().collect();
    join.output = kept.iter().map(|c| join.output[*c]).collect();
    let place = |side: usize| move |i: usize| before[side][i].expect("a column that is read is kept");
    join.moved(before[0].len(), [&place(0), &place(1)], left_width);
    select(schema, &kept)
}
