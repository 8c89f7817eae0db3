//! Nodes that compute the same from the same are one node: streams share what they have in common.
//!
//! Equal means structurally equal, names of columns included. A shared stateful operator has one state,
//! which belongs to the first stream that has it.

use crate::plan::logical::{Op, Plan};
use crate::plan::rewrite::Rebuilt;
use crate::sema::hir::Step;

pub fn share(mut plan: Plan) -> Plan {
    let nodes = std::mem::take(&mut plan.nodes);
    let mut out = Rebuilt::new(nodes.len());
    for mut node in nodes {
        node.op.map_inputs(&mut |i| out.moved[i]);
        // Printing twice is not printing once.
        let tells = matches!(&node.op, Op::Step { step: Step::Print { .. } | Step::Log { .. }, .. });
        let same = out.nodes.iter().position(|n| n.op == node.op && n.schema == node.schema);
        let new = match same {
            Some(same) if !tells => same,
            Some(_) | None => out.push(node),
        };
        out.moved.push(new);
    }
    out.finish(plan)
}
