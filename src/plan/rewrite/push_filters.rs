//! Moves filters towards the sources, and into them.
//!
//! A filter moves below stateless operators only: below anything stateful it would change which rows
//! exist when others are judged late, counted or limited. It does not move below `.print` and `.log`,
//! which show the rows as they were. Inside a source a row is dropped after its time has counted and
//! its fields were checked, so that what is late or malformed does not depend on filters.

use crate::expr::Expr;
use crate::plan::logical::{Node, NodeId, Op, Plan};
use crate::plan::rewrite::{Rebuilt, reads_place, substitute};
use crate::sema::hir::Step;

pub fn push_filters(mut plan: Plan) -> Plan {
    while let Some(id) = plan.nodes.iter().enumerate().position(|(id, _)| movable(&plan, id)) {
        plan = swap(plan, id);
    }
    into_sources(plan)
}

fn filter_of(plan: &Plan, id: NodeId) -> Option<(&Expr, NodeId)> {
    match &plan.nodes[id].op {
        Op::Step { input, step: Step::Filter(e) } => Some((e, *input)),
        _ => None,
    }
}

/// Whether the filter `id` may change places with what it reads, which nobody else reads.
fn movable(plan: &Plan, id: NodeId) -> bool {
    let Some((_, input)) = filter_of(plan, id) else { return false };
    if plan.uses()[input] != 1 {
        return false;
    }
    match &plan.nodes[input].op {
        Op::Step { step, .. } => match step {
            Step::Project(_) | Step::Filter(_) => true,
            Step::Print { .. } | Step::Log { .. } => false,
        },
        Op::Merge { .. } => true,
        Op::Source { .. } | Op::Keyed { .. } | Op::Join { .. } | Op::Enrich { .. } | Op::Relate { .. } => false,
        Op::Late { .. } | Op::Timer { .. } => false,
    }
}

/// Rebuilds the plan with the filter `id` below its input.
fn swap(mut plan: Plan, id: NodeId) -> Plan {
    let Some((predicate, below)) = filter_of(&plan, id).map(|(e, i)| (e.clone(), i)) else { return plan };
    let nodes = std::mem::take(&mut plan.nodes);
    let filter = nodes[id].clone();
    let mut out = Rebuilt::new(nodes.len() + 1);
    for (old, mut node) in nodes.into_iter().enumerate() {
        if old == id {
            // Its input has taken its place.
            let new = out.moved[below];
            out.moved.push(new);
            continue;
        }
        node.op.map_inputs(&mut |i| out.moved[i]);
        if old == below {
            move_below(&mut node, &predicate, &filter, &mut out);
        }
        let new = out.push(node);
        out.moved.push(new);
    }
    out.finish(plan)
}

/// Puts the filter between `node` and its inputs.
fn move_below(node: &mut Node, predicate: &Expr, filter: &Node, out: &mut Rebuilt) {
    let mut add = |input: NodeId, predicate: Expr| {
        let schema = out.nodes[input].schema.clone();
        let op = Op::Step { input, step: Step::Filter(predicate) };
        out.push(Node { stream: filter.stream.clone(), label: filter.label.clone(), op, schema })
    };
    match &mut node.op {
        Op::Step { input, step: Step::Project(exprs) } => *input = add(*input, substitute(predicate.clone(), exprs)),
        // Both conditions become one, in the order in which they stood.
        Op::Step { step: Step::Filter(first), .. } => *first = both(first.clone(), predicate.clone()),
        Op::Merge { inputs } => inputs.iter_mut().for_each(|i| *i = add(*i, predicate.clone())),
        Op::Step { step: Step::Print { .. } | Step::Log { .. }, .. }
        | Op::Source { .. }
        | Op::Keyed { .. }
        | Op::Join { .. }
        | Op::Enrich { .. }
        | Op::Relate { .. }
        | Op::Late { .. }
        | Op::Timer { .. } => unreachable!("the filter is not movable"),
    }
}

fn both(first: Expr, second: Expr) -> Expr {
    let mut all = Vec::new();
    for e in [first, second] {
        match e {
            Expr::And(parts) => all.extend(parts),
            e => all.push(e),
        }
    }
    Expr::And(all)
}

/// A filter that alone reads a source becomes part of it.
fn into_sources(mut plan: Plan) -> Plan {
    let uses = plan.uses();
    let nodes = std::mem::take(&mut plan.nodes);
    let readers: Vec<Option<usize>> = nodes
        .iter()
        .map(|n| match n.op {
            Op::Source { reader } => Some(reader),
            _ => None,
        })
        .collect();
    let mut out = Rebuilt::new(nodes.len());
    for mut node in nodes {
        if let Op::Step { input, step: Step::Filter(predicate) } = &node.op
            && let Some(reader) = readers[*input]
            && uses[*input] == 1
            && !reads_place(predicate)
        {
            plan.readers[reader].filter = Some(predicate.clone());
            let new = out.moved[*input];
            out.moved.push(new);
            continue;
        }
        node.op.map_inputs(&mut |i| out.moved[i]);
        let new = out.push(node);
        out.moved.push(new);
    }
    out.finish(plan)
}
