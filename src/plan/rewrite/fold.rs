//! Computes constant expressions once, with the evaluator that runs the program, and drops filters that
//! keep everything. What fails (an overflow) stays, to be counted at run time.

use crate::data::{Type, Value};
use crate::expr::Expr;
use crate::pattern;
use crate::plan::logical::{Op, Plan};
use crate::plan::rewrite::Rebuilt;
use crate::sema::fold::{fold, is_constant};
use crate::sema::hir::{KeyedKind, Step};

pub fn fold_constants(mut plan: Plan) -> Plan {
    let nodes = std::mem::take(&mut plan.nodes);
    let mut out = Rebuilt::new(nodes.len());
    for mut node in nodes {
        node.op.map_inputs(&mut |i| out.moved[i]);
        match &mut node.op {
            Op::Step { input, step } => {
                match step {
                    Step::Filter(e) | Step::Print { expr: e, .. } | Step::Log { message: e, .. } => change(e),
                    Step::Project(exprs) => exprs.iter_mut().for_each(change),
                }
                if let Step::Filter(Expr::Literal { value: Value::Bool(true), .. }) = step {
                    out.moved.push(*input);
                    continue;
                }
            }
            Op::Keyed { keyed, .. } => {
                keyed.map(&mut simplified, &|i| i);
                if let KeyedKind::Pattern(pattern) = &mut keyed.kind {
                    pattern.steps.iter_mut().for_each(simplify_condition);
                }
            }
            Op::Join { join, .. } => join.map(&mut |e, _| simplified(e)),
            Op::Enrich { lookup, .. } => lookup.on.iter_mut().for_each(change),
            Op::Source { .. } | Op::Merge { .. } | Op::Relate { .. } | Op::Late { .. } | Op::Timer { .. } => {}
        }
        let new = out.push(node);
        out.moved.push(new);
    }
    out.finish(plan)
}

fn change(e: &mut Expr) {
    *e = simplified(std::mem::replace(e, Expr::EventTime));
}

/// A condition that is always true is none.
fn simplify_condition(step: &mut pattern::Step) {
    let is_true = |e: &Expr| matches!(e, Expr::Literal { value: Value::Bool(true), .. });
    step.condition = step.condition.take().map(simplified).filter(|e| !is_true(e));
}

/// The greatest constant parts become literals.
pub fn simplified(e: Expr) -> Expr {
    if is_constant(&e) {
        return match fold(e) {
            Ok(literal) => literal,
            Err(failing) => failing,
        };
    }
    match e.map_children(&mut simplified) {
        Expr::And(args) => connective(args, true, Expr::And),
        Expr::Or(args) => connective(args, false, Expr::Or),
        Expr::If { condition, then, otherwise, ty } => match *condition {
            Expr::Literal { value: Value::Bool(true), .. } => *then,
            Expr::Literal { value: Value::Bool(false) | Value::Null, .. } => *otherwise,
            condition => Expr::If { condition: Box::new(condition), then, otherwise, ty },
        },
        e => e,
    }
}

/// `and` without `true`s, `or` without `false`s. What decides at once stays: it may stand behind an
/// operand that is null.
fn connective(args: Vec<Expr>, neutral: bool, make: fn(Vec<Expr>) -> Expr) -> Expr {
    let is_neutral = |e: &Expr| matches!(e, Expr::Literal { value: Value::Bool(b), .. } if *b == neutral);
    let mut left: Vec<Expr> = args.into_iter().filter(|e| !is_neutral(e)).collect();
    match left.len() {
        0 => Expr::literal(Value::Bool(neutral), Type::Bool),
        1 => left.remove(0),
        _ => make(left),
    }
}
