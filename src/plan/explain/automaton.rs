//! The automaton of a pattern, as text and as a part of a graph.

use crate::pattern::Pattern;
use crate::pattern::automaton::{Automaton, Move, State};
use crate::plan::explain::dot::{Graph, Shape};

/// Counted loops and members in any order make many states, which say nothing new.
const STATES_SHOWN_MAX: usize = 40;

/// A line for each state: what may happen in it, in the order in which it is tried.
pub fn text(pattern: &Pattern, automaton: &Automaton) -> Vec<String> {
    let shown = automaton.states.iter().take(STATES_SHOWN_MAX).enumerate();
    let mut lines: Vec<String> = shown.map(|(i, state)| line(pattern, i, state)).collect();
    if automaton.states.len() > STATES_SHOWN_MAX {
        lines.push(format!("and {} states more", automaton.states.len() - STATES_SHOWN_MAX));
    }
    lines
}

fn line(pattern: &Pattern, id: usize, state: &State) -> String {
    let name = |step: usize| pattern.steps[step].name.as_str();
    let place = state.step.map_or("the beginning".to_string(), |step| format!("after {}", name(step)));
    let mut may: Vec<String> = Vec::new();
    for m in &state.moves {
        may.push(match m {
            Move::Take { step, to } => format!("take {} to {to}", name(*step)),
            Move::Watch { step } => format!("end at {}", name(*step)),
        });
    }
    if state.accepts {
        may.push(if state.waits() { "a match when `within` has passed" } else { "a match" }.to_string());
    }
    format!("state {id}, {place}: {}", may.join(", "))
}

/// Draws the automaton of node `id` into a box under its title.
pub fn draw(graph: &mut Graph, id: usize, pattern: &Pattern, automaton: &Automaton) {
    let name = |step: usize| pattern.steps[step].name.as_str();
    let shown = &automaton.states[..automaton.states.len().min(STATES_SHOWN_MAX)];
    let more = automaton.states.len() - shown.len();
    let title = if more == 0 { "automaton".to_string() } else { format!("automaton, and {more} states more") };
    let mut cluster = graph.cluster(id, &title);
    for (i, state) in shown.iter().enumerate() {
        let shape = match (state.accepts, state.waits()) {
            (false, _) => Shape::State,
            (true, false) => Shape::Match,
            (true, true) => Shape::WaitingMatch,
        };
        cluster.state(i, state.step.map_or("", name), shape);
    }
    if shown.iter().flat_map(|s| &s.moves).any(|m| matches!(m, Move::Watch { .. })) {
        cluster.end();
    }
    for (from, state) in shown.iter().enumerate() {
        for (order, m) in state.moves.iter().enumerate() {
            match m {
                Move::Take { to, .. } if *to as usize >= shown.len() => {}
                Move::Take { step, to } => {
                    cluster.taken(from, *to as usize, &format!("{}: {}", order + 1, name(*step)))
                }
                Move::Watch { step } => cluster.ended(from, &format!("{}: {}", order + 1, name(*step))),
            }
        }
    }
    cluster.finish();
}
