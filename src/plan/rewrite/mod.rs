//! Rewrites of the logical plan. None changes what a program means; each says what it relies on.
//!
//! What may differ afterwards is how many evaluation errors are counted: a value that nobody needs is
//! not computed, so its overflow is not counted.

mod arguments;
mod fold;
mod partition_patterns;
mod projections;
mod prune;
mod push_filters;
mod share;

use crate::expr::Expr;
use crate::plan::logical::{Node, NodeId, Plan};

pub use prune::settle_fields;

/// One rewrite.
type Pass = fn(Plan) -> Plan;

/// All rewrites, in order, of a program in which a capacity bounds the state or not.
pub fn rewrite(mut plan: Plan, has_capacity: bool) -> Plan {
    let partition = if has_capacity { |plan| plan } else { partition_patterns::partition_patterns };
    let passes: [(&str, Pass); 10] = [
        ("fields", settle_fields),
        ("fold", fold::fold_constants),
        ("patterns", partition),
        ("share", share::share),
        ("filters", push_filters::push_filters),
        ("arguments", arguments::arguments),
        ("prune", prune::prune),
        ("projections", projections::merge_projections),
        ("prune", prune::prune),
        ("share", share::share),
    ];
    for (name, pass) in passes {
        plan = pass(plan);
        if cfg!(any(debug_assertions, feature = "checked", test))
            && let Err(reason) = plan.validate()
        {
            panic!("the rewrite {name} broke the plan: {reason}");
        }
    }
    plan
}

/// `e` over columns that are `exprs` over others: the same over those.
pub fn substitute(e: Expr, exprs: &[Expr]) -> Expr {
    match e {
        Expr::Column { index, .. } => exprs[index].clone(),
        e => e.map_children(&mut |child| substitute(child, exprs)),
    }
}

/// Whether `e` depends on the row's place, which only the source and stateful operators know.
pub fn reads_place(e: &Expr) -> bool {
    let mut found = matches!(e, Expr::Place);
    e.for_each_child(&mut |child| found |= reads_place(child));
    found
}

/// The nodes of a plan while a pass rebuilds them in order: `moved[old]` is the new id.
struct Rebuilt {
    nodes: Vec<Node>,
    moved: Vec<NodeId>,
}

impl Rebuilt {
    fn new(capacity: usize) -> Rebuilt {
        Rebuilt { nodes: Vec::with_capacity(capacity), moved: Vec::with_capacity(capacity) }
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Puts the new nodes into the plan.
    fn finish(self, mut plan: Plan) -> Plan {
        plan.nodes = self.nodes;
        for output in &mut plan.outputs {
            output.node = self.moved[output.node];
        }
        plan
    }
}
