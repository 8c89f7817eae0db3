//! Makes one projection of two that follow each other, and removes those that change nothing.
//!
//! An expression of the first that the second uses more than once is not copied unless it is a column
//! or a literal, so that nothing is computed twice.

use crate::expr::Expr;
use crate::plan::logical::{Op, Plan, same_columns};
use crate::plan::rewrite::{Rebuilt, substitute};
use crate::sema::hir::Step;

pub fn merge_projections(mut plan: Plan) -> Plan {
    let uses = plan.uses();
    let is_output: Vec<bool> = (0..plan.nodes.len()).map(|i| plan.outputs.iter().any(|o| o.node == i)).collect();
    let nodes = std::mem::take(&mut plan.nodes);
    let mut out = Rebuilt::new(nodes.len());
    // By new id: whether exactly one node reads it, so that the reader may take it in.
    let mut alone: Vec<bool> = Vec::new();
    for (old, mut node) in nodes.into_iter().enumerate() {
        node.op.map_inputs(&mut |i| out.moved[i]);
        if let Op::Step { input, step: Step::Project(exprs) } = &mut node.op {
            let below = &out.nodes[*input];
            if let Op::Step { input: further, step: Step::Project(first) } = &below.op
                && alone[*input]
                && cheap(first, exprs)
            {
                *exprs = exprs.iter().map(|e| substitute(e.clone(), first)).collect();
                *input = *further;
            }
            let below = &out.nodes[*input];
            if *exprs == same_columns(&below.schema) && below.schema == node.schema {
                out.moved.push(*input);
                // The node below now has the readers of this one.
                alone[*input] = alone[*input] && uses[old] == 1 && !is_output[old];
                continue;
            }
        }
        let new = out.push(node);
        alone.push(uses[old] == 1 && !is_output[old]);
        out.moved.push(new);
    }
    out.finish(plan)
}

/// Whether nothing of `first` that costs anything would be computed more than once in `second`.
fn cheap(first: &[Expr], second: &[Expr]) -> bool {
    let mut counts = vec![0usize; first.len()];
    second.iter().for_each(|e| count(e, &mut counts));
    first
        .iter()
        .zip(counts)
        .all(|(e, n)| n <= 1 || matches!(e, Expr::Column { .. } | Expr::Literal { .. } | Expr::EventTime | Expr::Place))
}

fn count(e: &Expr, counts: &mut [usize]) {
    if let Expr::Column { index, .. } = e {
        counts[*index] += 1;
    }
    e.for_each_child(&mut |child| count(child, counts));
}
