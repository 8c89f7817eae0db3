//! Which steps of a pattern a row can come to.
//!
//! A row is tried on the moves of a run in their order, so a step without a condition leaves nothing of its type to
//! the moves behind it. A step that is behind such a one wherever a run can stand never takes a row.

use crate::diagnostic::{Diagnostic, codes};
use crate::pattern::automaton::{Automaton, Move};
use crate::pattern::{Pattern, Selection};
use crate::sema::pattern::shape::StepDecl;

/// Warnings about the steps that no row comes to.
pub fn unreachable(pattern: &Pattern, automaton: &Automaton, steps: &[StepDecl<'_>]) -> Vec<Diagnostic> {
    let takers = takers(pattern, automaton);
    let mut found = Vec::new();
    for (step, decl) in steps.iter().enumerate() {
        let Taker::Other(other) = takers[step] else { continue };
        let (event, other) = (&decl.event.text, &steps[other]);
        let message = format!("no `{event}` ever comes to this step: another one takes it first");
        let diagnostic = Diagnostic::warning(codes::UNREACHABLE_STEP, decl.event.span, message);
        let diagnostic = diagnostic.with_label(other.event.span, "this one, which has no condition");
        found.push(
            diagnostic.with_hint("what follows is tried before what repeats, and an alternative before the next"),
        );
    }
    found
}

/// Who takes the rows that fit a step.
#[derive(Clone, Copy, PartialEq)]
enum Taker {
    Nobody,
    Itself,
    Other(usize),
}

/// By step, over all the states to which runs come.
fn takers(pattern: &Pattern, automaton: &Automaton) -> Vec<Taker> {
    let mut takers = vec![Taker::Nobody; pattern.steps.len()];
    let mut reached = vec![false; automaton.states.len()];
    let mut waiting = vec![0];
    while let Some(state) = waiting.pop() {
        if std::mem::replace(&mut reached[state], true) {
            continue;
        }
        // Steps that leave no row of their source to the moves behind them.
        let mut greedy: Vec<usize> = Vec::new();
        for m in &automaton.states[state].moves {
            let (step, to) = match *m {
                Move::Take { step, to } => (step, Some(usize::from(to))),
                Move::Watch { step } => (step, None),
            };
            let own = &pattern.steps[step];
            let before = greedy.iter().find(|g| pattern.steps[**g].source == own.source);
            match (before, takers[step]) {
                (Some(other), Taker::Nobody) => takers[step] = Taker::Other(*other),
                (Some(_), Taker::Itself | Taker::Other(_)) => {}
                (None, _) => {
                    takers[step] = Taker::Itself;
                    waiting.extend(to);
                }
            }
            // With all combinations, what one move takes is left to the others; a negation ends the run.
            let takes = to.is_none() || pattern.selection != Selection::SkipTillAny;
            if own.condition.is_none() && takes {
                greedy.push(step);
            }
        }
    }
    takers
}
