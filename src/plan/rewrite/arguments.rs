//! Gives every aggregate plain columns: what is aggregated is computed in a projection before.

use crate::data::Field;
use crate::expr::Expr;
use crate::plan::logical::{Node, Op, Plan, same_columns};
use crate::plan::rewrite::Rebuilt;
use crate::sema::hir::{AggregateCall, KeyedKind, Step};

pub fn arguments(mut plan: Plan) -> Plan {
    let nodes = std::mem::take(&mut plan.nodes);
    let mut out = Rebuilt::new(nodes.len());
    for mut node in nodes {
        node.op.map_inputs(&mut |i| out.moved[i]);
        match &mut node.op {
            Op::Keyed { input, keyed, .. } => match &mut keyed.kind {
                KeyedKind::Aggregate { aggregates, .. } | KeyedKind::Running { aggregates } => {
                    let before = out.nodes[*input].clone();
                    if let Some((exprs, fields)) = columns(aggregates, &before) {
                        let op = Op::Step { input: *input, step: Step::Project(exprs) };
                        let schema = crate::data::Schema::new(fields);
                        *input = out.push(Node { op, schema, label: "arguments".to_string(), ..before });
                    }
                }
                KeyedKind::Rows { .. }
                | KeyedKind::Distinct { .. }
                | KeyedKind::Limit { .. }
                | KeyedKind::Pattern(_)
                | KeyedKind::Table { .. }
                | KeyedKind::Changes { .. }
                | KeyedKind::Snapshot { .. } => {}
            },
            // Late rows have the operator's input columns, to which some may have been added; whoever
            // reads them expects those of before.
            Op::Late { of } => {
                if let Op::Keyed { input, .. } = &out.nodes[*of].op {
                    let input = out.nodes[*input].schema.clone();
                    let schema = std::mem::replace(&mut node.schema, input);
                    if node.schema.len() > schema.len() {
                        let op = Op::Step { input: out.push(node.clone()), step: Step::Project(same_columns(&schema)) };
                        node = Node { op, schema, ..node };
                    }
                }
            }
            Op::Source { .. }
            | Op::Step { .. }
            | Op::Merge { .. }
            | Op::Join { .. }
            | Op::Enrich { .. }
            | Op::Relate { .. }
            | Op::Timer { .. } => {}
        }
        let new = out.push(node);
        out.moved.push(new);
    }
    out.finish(plan)
}

/// The columns of the projection before, if one is needed: all there are, then the arguments.
fn columns(aggregates: &mut [AggregateCall], before: &Node) -> Option<(Vec<Expr>, Vec<Field>)> {
    let width = before.schema.len();
    let mut exprs = same_columns(&before.schema);
    let mut fields = before.schema.fields.clone();
    for arg in aggregates.iter_mut().flat_map(|a| &mut a.args) {
        if matches!(arg, Expr::Column { .. }) {
            continue;
        }
        let ty = arg.data_type();
        let known = exprs.iter().position(|e| e == arg);
        let index = known.unwrap_or_else(|| {
            exprs.push(arg.clone());
            fields.push(Field::new(format!("$arg{}", exprs.len() - width - 1), ty.clone()));
            exprs.len() - 1
        });
        *arg = Expr::column(index, ty);
    }
    (exprs.len() > width).then_some((exprs, fields))
}
