//! The structure of a pattern: its steps in a row, the tree that joins them, and what no pattern can be.

use crate::diagnostic::{Code, Diagnostic, Span, codes};
use crate::pattern::Node;
use crate::pattern::automaton::{Automaton, STATES_MAX};
use crate::sema::pattern::scope::Branch;
use crate::syntax::ast::{self, Element, ElementKind, Name, Quantifier};

/// Most steps of a pattern.
pub const STEPS_MAX: usize = 64;

/// A step as it is written.
pub struct StepDecl<'a> {
    pub event: &'a Name,
    pub alias: Option<&'a Name>,
    pub condition: Option<&'a ast::Expr>,
    pub path: Vec<Branch>,
}

/// The steps of a pattern, and how they follow each other.
pub struct Shape<'a> {
    pub steps: Vec<StepDecl<'a>>,
    pub root: Node,
    pub automaton: Automaton,
    /// What makes matches wait for the end of `within`.
    pub waits: Option<Wait>,
}

/// Something at the end of a pattern for which only time tells that it is over.
#[derive(Clone, Copy)]
pub struct Wait {
    pub span: Span,
    pub negated: bool,
}

/// Where an element stands.
#[derive(Clone, Copy)]
struct At {
    /// Nothing comes before it.
    start: bool,
    /// Nothing comes after it.
    end: bool,
    /// It is a member of a sequence.
    member: bool,
}

struct Reader<'a, 'f> {
    findings: &'f mut Vec<Diagnostic>,
    steps: Vec<StepDecl<'a>>,
    path: Vec<Branch>,
    waits: Option<Wait>,
}

impl<'a> Shape<'a> {
    /// `None` when something is wrong, which is reported.
    pub fn read(body: &'a Element, findings: &mut Vec<Diagnostic>) -> Option<Shape<'a>> {
        let mut reader = Reader { findings, steps: Vec::new(), path: Vec::new(), waits: None };
        let root = reader.element(body, At { start: true, end: true, member: false });
        let named_once = reader.aliases();
        let few = reader.steps.len() <= STEPS_MAX;
        if !few {
            let message = format!("the pattern has {} steps, more than {STEPS_MAX}", reader.steps.len());
            reader.error(
                codes::PATTERN_TOO_LARGE,
                body.span,
                message,
                "make two patterns of it: a step can be a stream",
            );
        }
        let Reader { steps, waits, findings, .. } = reader;
        let root = root.filter(|_| few)?;
        let Ok(automaton) = Automaton::new(&root) else {
            let message = format!("written out, the pattern has more than {STATES_MAX} steps");
            let found = Diagnostic::error(codes::PATTERN_TOO_LARGE, body.span, message);
            let hint = "each round of a counted loop is a step, and each order of the members of an `and`";
            findings.push(found.with_hint(hint));
            return None;
        };
        // The automaton decides, for the first member takes a row whatever its quantifier; the tree knows where.
        let at = waits.unwrap_or(Wait { span: body.span, negated: false });
        let waits = automaton.waits().then_some(at);
        named_once.then_some(Shape { steps, root, automaton, waits })
    }
}

impl<'a> Reader<'a, '_> {
    fn error(&mut self, code: Code, span: Span, message: impl Into<String>, hint: &str) {
        self.findings.push(Diagnostic::error(code, span, message).with_hint(hint));
    }

    fn element(&mut self, e: &'a Element, at: At) -> Option<Node> {
        match &e.kind {
            ElementKind::Step { event, alias, condition } => {
                let (alias, condition) = (alias.as_ref(), condition.as_ref());
                self.steps.push(StepDecl { event, alias, condition, path: self.path.clone() });
                Some(Node::Step(self.steps.len() - 1))
            }
            ElementKind::Sequence(members) => {
                let last = members.len() - 1;
                let at = |i| At { start: at.start && i == 0, end: at.end && i == last, member: true };
                self.members(members, Branch::Sequence, at).map(Node::Sequence)
            }
            ElementKind::And(members) => {
                self.members(members, Branch::AnyOrder, |_| At { member: false, ..at }).map(Node::AnyOrder)
            }
            ElementKind::Or(members) => {
                self.members(members, Branch::OneOf, |_| At { member: false, ..at }).map(Node::OneOf)
            }
            ElementKind::Repeat { element, quantifier } => self.repeat(e, element, *quantifier, at),
            ElementKind::Not(element) => self.not(e, element, at),
            ElementKind::Named { element, alias, condition } => self.named(element, alias, condition, at),
        }
    }

    fn members(
        &mut self,
        members: &'a [Element],
        branch: impl Fn(usize) -> Branch,
        at: impl Fn(usize) -> At,
    ) -> Option<Vec<Node>> {
        let mut nodes = Vec::with_capacity(members.len());
        for (i, member) in members.iter().enumerate() {
            nodes.push(self.below(branch(i), member, at(i)));
        }
        nodes.into_iter().collect()
    }

    fn below(&mut self, branch: Branch, e: &'a Element, at: At) -> Option<Node> {
        self.path.push(branch);
        let node = self.element(e, at);
        self.path.pop();
        node
    }

    fn repeat(&mut self, e: &Element, element: &'a Element, quantifier: Quantifier, at: At) -> Option<Node> {
        let Quantifier { min, max, span } = quantifier;
        let branch = Branch::Repeat { many: max != Some(1), none: min == 0 };
        let node = self.below(branch, element, At { member: false, ..at });
        if max == Some(0) {
            self.error(codes::BAD_QUANTIFIER, span, "no row can fit a step that takes none", "leave the step out");
            return None;
        }
        if max.is_some_and(|max| max < min) {
            let message = format!("at least {min} rows and at most {} is impossible", max.unwrap_or(min));
            self.error(codes::BAD_QUANTIFIER, span, message, "the smaller number comes first, as in `{2,5}`");
            return None;
        }
        if at.end && max != Some(min) {
            self.waits.get_or_insert(Wait { span: e.span, negated: false });
        }
        Some(Node::Repeat { node: Box::new(node?), min, max })
    }

    fn not(&mut self, e: &Element, element: &'a Element, at: At) -> Option<Node> {
        let step = self.below(Branch::Not, element, At { member: false, ..at });
        let wrong = match (&element.kind, at) {
            (_, At { start: true, .. }) => {
                Some(("a pattern begins with a row, not with the absence of one", "put a step before `not`"))
            }
            (_, At { member: false, .. }) => Some((
                "`not` stands between steps, or at the end: here nothing says from when to when",
                "write it with `->`, as in `A -> not B -> C`",
            )),
            (ElementKind::Step { .. }, _) => None,
            (ElementKind::Repeat { .. }, _) => {
                Some(("one row ends what `not` watches, so it has no quantifier", "leave the quantifier out"))
            }
            (ElementKind::Not(_), _) => Some(("`not` of `not`", "write a step")),
            (ElementKind::Sequence(_) | ElementKind::And(_) | ElementKind::Or(_) | ElementKind::Named { .. }, _) => {
                Some((
                    "`not` is of a single step",
                    "write several, as in `not B -> not C`, or make a stream of the group",
                ))
            }
        };
        if let Some((message, hint)) = wrong {
            self.error(codes::BAD_NEGATION, e.span, message, hint);
            return None;
        }
        if at.end {
            self.waits.get_or_insert(Wait { span: e.span, negated: true });
        }
        match step? {
            Node::Step(step) => Some(Node::Not(step)),
            _ => None,
        }
    }

    fn named(
        &mut self,
        element: &'a Element,
        alias: &Option<Name>,
        condition: &Option<ast::Expr>,
        at: At,
    ) -> Option<Node> {
        self.element(element, at);
        let hint = "give them to the steps in it";
        if let Some(alias) = alias {
            self.error(codes::NAMED_GROUP, alias.span, "a group has no alias: it is no row", hint);
        }
        if let Some(condition) = condition {
            self.error(codes::NAMED_GROUP, condition.span, "a group has no condition: it is no row", hint);
        }
        None
    }

    fn aliases(&mut self) -> bool {
        let mut seen: Vec<&Name> = Vec::new();
        let mut sound = true;
        for alias in self.steps.iter().filter_map(|s| s.alias) {
            if let Some(first) = seen.iter().find(|a| a.text == alias.text) {
                let message = format!("two steps have the alias `{}`", alias.text);
                let found = Diagnostic::error(codes::DECLARED_TWICE, alias.span, message);
                self.findings.push(found.with_label(first.span, "the first one is here"));
                sound = false;
            }
            seen.push(alias);
        }
        sound
    }
}
