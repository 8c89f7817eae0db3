//! The automaton of a pattern: one state for each place in the pattern where a run may stand.
//!
//! A state is what a run has just done: it took a row of one step, at one place of the pattern with its counted
//! loops written out. Its *moves* are what it may do next, in the order in which a row is tried on them: what
//! follows comes before another round of the loop that the step stands in, and a negation comes before that round but
//! after what it delimits. State 0 is the beginning. This is Glushkov's construction with ordered follow sets.
//!
//! Built from the tree alone, so that `sema` can judge a pattern by it.

use super::Node;

/// Most states. Counted loops are written out, and members in any order in every order.
pub const STATES_MAX: usize = 1_000;

/// See the module's doc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Automaton {
    pub states: Vec<State>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The step whose row leads here; `None` for the beginning.
    pub step: Option<usize>,
    pub moves: Vec<Move>,
    /// Whether a run that stands here is a match: at once when there are no moves, else when `within` has passed.
    pub accepts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A row of the step is taken, and the run stands in state `to`.
    Take { step: usize, to: u16 },
    /// A row of the step ends the run.
    Watch { step: usize },
}

/// A pattern of more than [`STATES_MAX`] states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern has more than {STATES_MAX} states")]
pub struct TooLarge;

/// The tree with loops written out; a place is the state that its row leads to.
enum Part {
    Place(u16),
    Not(usize),
    Sequence(Vec<Part>),
    OneOf(Vec<Part>),
    Optional(Box<Part>),
    /// Once or more.
    Loop(Box<Part>),
}

/// What may happen next: moves in order, and whether the pattern may end here.
#[derive(Clone, Default)]
struct Frontier {
    moves: Vec<Move>,
    accepts: bool,
}

impl Frontier {
    /// This, and then what `other` has, too; a move that is there already stays where it is.
    fn then(mut self, other: &[Move]) -> Frontier {
        for m in other {
            if !self.moves.contains(m) {
                self.moves.push(*m);
            }
        }
        self
    }
}

impl Automaton {
    /// The automaton of a pattern whose first member must take a row, whatever its quantifier says.
    pub fn new(root: &Node) -> Result<Automaton, TooLarge> {
        let mut builder = Builder { steps: vec![None] };
        let tree = root;
        let root = builder.part(tree)?;
        let mut states: Vec<State> =
            builder.steps.iter().map(|step| State { step: *step, ..State::default() }).collect();
        let end = Frontier { moves: Vec::new(), accepts: true };
        follow(&root, end, &builder.steps, &mut states);
        states[0].moves = start(tree, &root, &builder.steps);
        Ok(Automaton { states })
    }

    /// Whether some run is a match only when `within` has passed.
    pub fn waits(&self) -> bool {
        self.states.iter().any(State::waits)
    }

    /// Whether the same rows in the same steps may lead to several states, so that runs are not matches one by one.
    pub fn is_ambiguous(&self) -> bool {
        self.states.iter().any(|state| {
            let taken: Vec<usize> = state.moves.iter().filter_map(|m| m.taken()).collect();
            taken.iter().enumerate().any(|(i, step)| taken[..i].contains(step))
        })
    }
}

impl State {
    /// Whether a run that stands here is a match when `within` has passed.
    pub fn waits(&self) -> bool {
        self.accepts && !self.moves.is_empty()
    }
}

impl Move {
    fn taken(&self) -> Option<usize> {
        match self {
            Move::Take { step, .. } => Some(*step),
            Move::Watch { .. } => None,
        }
    }
}

struct Builder {
    /// By state.
    steps: Vec<Option<usize>>,
}

impl Builder {
    fn part(&mut self, node: &Node) -> Result<Part, TooLarge> {
        Ok(match node {
            Node::Step(step) => {
                if self.steps.len() > STATES_MAX {
                    return Err(TooLarge);
                }
                self.steps.push(Some(*step));
                Part::Place(self.steps.len() as u16 - 1)
            }
            Node::Not(step) => Part::Not(*step),
            Node::Sequence(members) => Part::Sequence(self.parts(members)?),
            Node::OneOf(members) => Part::OneOf(self.parts(members)?),
            Node::AnyOrder(members) => {
                let members: Vec<&Node> = members.iter().collect();
                self.any_order(&members)?
            }
            Node::Repeat { node, min, max } => self.repeat(node, *min, *max)?,
        })
    }

    fn parts(&mut self, nodes: &[Node]) -> Result<Vec<Part>, TooLarge> {
        nodes.iter().map(|n| self.part(n)).collect()
    }

    fn any_order(&mut self, members: &[&Node]) -> Result<Part, TooLarge> {
        if let [only] = members {
            return self.part(only);
        }
        let mut orders = Vec::new();
        for (i, first) in members.iter().enumerate() {
            let rest: Vec<&Node> = members.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, n)| *n).collect();
            orders.push(Part::Sequence(vec![self.part(first)?, self.any_order(&rest)?]));
        }
        Ok(Part::OneOf(orders))
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>) -> Result<Part, TooLarge> {
        // A group without steps takes no room, however often it is repeated.
        if min.max(max.unwrap_or(1)) as usize > STATES_MAX {
            return Err(TooLarge);
        }
        let mut rounds: Vec<Part> = (0..min).map(|_| self.part(node)).collect::<Result<_, _>>()?;
        match max {
            None => {
                let last = match rounds.pop() {
                    Some(last) => Part::Loop(Box::new(last)),
                    None => Part::Optional(Box::new(Part::Loop(Box::new(self.part(node)?)))),
                };
                rounds.push(last);
            }
            Some(max) => {
                let mut optional: Option<Part> = None;
                for _ in min..max {
                    let round = self.part(node)?;
                    let inner = match optional.take() {
                        Some(rest) => Part::Sequence(vec![round, rest]),
                        None => round,
                    };
                    optional = Some(Part::Optional(Box::new(inner)));
                }
                rounds.extend(optional);
            }
        }
        Ok(Part::Sequence(rounds))
    }
}

fn is_nullable(part: &Part) -> bool {
    match part {
        Part::Place(_) => false,
        Part::Not(_) | Part::Optional(_) => true,
        Part::Sequence(parts) => parts.iter().all(is_nullable),
        Part::OneOf(parts) => parts.iter().any(is_nullable),
        Part::Loop(part) => is_nullable(part),
    }
}

/// The moves with which the pattern begins: those of its first member, which is not left out.
fn start(node: &Node, part: &Part, steps: &[Option<usize>]) -> Vec<Move> {
    match (node, part) {
        (Node::Sequence(members), Part::Sequence(parts)) => start(&members[0], &parts[0], steps),
        (_, part) => first(part, steps),
    }
}

/// The moves with which a part begins, what may follow it left out.
fn first(part: &Part, steps: &[Option<usize>]) -> Vec<Move> {
    match part {
        Part::Place(state) => {
            vec![Move::Take { step: steps[*state as usize].expect("a place is of a step"), to: *state }]
        }
        Part::Not(step) => vec![Move::Watch { step: *step }],
        Part::Optional(part) | Part::Loop(part) => first(part, steps),
        Part::OneOf(parts) => parts.iter().fold(Frontier::default(), |all, part| all.then(&first(part, steps))).moves,
        Part::Sequence(parts) => match parts.split_first() {
            None => Vec::new(),
            Some((head, rest)) if is_nullable(head) => {
                let mut rest_first = Frontier::default();
                // A sequence begins with what comes later, if it can.
                let nullable = rest.iter().take_while(|part| is_nullable(part)).count();
                for part in rest[..rest.len().min(nullable + 1)].iter().rev() {
                    rest_first = rest_first.then(&first(part, steps));
                }
                rest_first.then(&first(head, steps)).moves
            }
            Some((head, _)) => first(head, steps),
        },
    }
}

/// What may happen where `part` is about to begin and `after` follows it.
fn before(part: &Part, after: Frontier, steps: &[Option<usize>]) -> Frontier {
    let own = first(part, steps);
    if is_nullable(part) { after.then(&own) } else { Frontier { moves: own, accepts: false } }
}

/// Gives each place of `part` its moves, where `after` is what follows the part.
fn follow(part: &Part, after: Frontier, steps: &[Option<usize>], states: &mut [State]) {
    match part {
        Part::Place(state) => {
            let state = &mut states[*state as usize];
            (state.moves, state.accepts) = (after.moves, after.accepts);
        }
        Part::Not(_) => {}
        Part::Optional(part) => follow(part, after, steps, states),
        Part::Loop(part) => {
            let again = after.then(&first(part, steps));
            follow(part, again, steps, states);
        }
        Part::OneOf(parts) => parts.iter().for_each(|part| follow(part, after.clone(), steps, states)),
        Part::Sequence(parts) => {
            let mut after = after;
            for part in parts.iter().rev() {
                follow(part, after.clone(), steps, states);
                after = before(part, after, steps);
            }
        }
    }
}
