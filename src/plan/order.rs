//! Which sources must give their rows a rank among rows of equal time (`_seq`).
//!
//! It is needed where an operator applies rows in order, where an aggregate or a sort breaks ties by
//! it, and where rows reach an output without having passed a window, because ordered output goes by it.

use crate::plan::logical::{Op, Plan};
use crate::sema::hir::{Keyed, KeyedKind};

/// By reader.
pub fn needs_seq(plan: &Plan) -> Vec<bool> {
    let mut needed = vec![false; plan.nodes.len()];
    for output in &plan.outputs {
        needed[output.node] = true;
    }
    let mut readers = vec![false; plan.readers.len()];
    for (id, node) in plan.nodes.iter().enumerate().rev() {
        match &node.op {
            Op::Source { reader } => readers[*reader] |= needed[id],
            Op::Step { input, .. } => needed[*input] |= needed[id],
            Op::Merge { inputs } => inputs.iter().for_each(|i| needed[*i] |= needed[id]),
            Op::Keyed { input, keyed, .. } => needed[*input] |= is_order_sensitive(keyed),
            Op::Enrich { input, .. } => needed[*input] |= needed[id],
            Op::Late { of } => {
                if let Op::Keyed { input, .. } = &plan.nodes[*of].op {
                    needed[*input] |= needed[id];
                }
            }
            // Pairs have no rank, and which they are depends on no order.
            Op::Join { .. } | Op::Relate { .. } | Op::Timer { .. } => {}
        }
    }
    readers
}

fn is_order_sensitive(keyed: &Keyed) -> bool {
    match &keyed.kind {
        KeyedKind::Aggregate { windows, aggregates } => {
            windows.is_order_sensitive() || aggregates.iter().any(|a| a.function.is_ordered())
        }
        KeyedKind::Rows { .. }
        | KeyedKind::Running { .. }
        | KeyedKind::Distinct { .. }
        | KeyedKind::Limit { .. }
        | KeyedKind::Pattern(_)
        | KeyedKind::Table { .. } => true,
        KeyedKind::Changes { .. } | KeyedKind::Snapshot { .. } => false,
    }
}
