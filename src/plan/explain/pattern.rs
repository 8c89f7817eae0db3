//! Patterns as text: the tree in a line, its steps with their conditions, what it gives.

use crate::data::time::format_duration;
use crate::data::{Field, Schema};
use crate::expr::Expr;
use crate::pattern::automaton::Automaton;
use crate::pattern::index::{Form, Indexing, Sorted};
use crate::pattern::program::{Compared, General, Program, StepProgram};
use crate::pattern::{
    AfterMatch, Call, Gives, MAX_RUNS_DEFAULT, Memory, MemoryValue, Node, Output, Pattern, Selection, Slot, Trend,
};
use crate::plan::explain::dot::Graph;
use crate::plan::explain::expr::expr;
use crate::plan::explain::{automaton, parts};

/// `pattern l -> t1 -> ts+ -> not Logout within 5m, skip_till_next, next_row`.
pub fn in_a_line(pattern: &Pattern) -> String {
    let mut out = format!("pattern {}", steps(pattern));
    if let Some(within_ns) = pattern.within_ns {
        out += &format!(" within {}", format_duration(within_ns));
    }
    out += &format!(", {}, {}", selection(pattern.selection), after_match(pattern.after_match));
    if pattern.max_runs != MAX_RUNS_DEFAULT {
        out += &format!(", at most {} runs", pattern.max_runs);
    }
    out
}

/// `l -> t1 -> ts+ -> not Logout`.
pub fn steps(pattern: &Pattern) -> String {
    tree(pattern, &pattern.root, Binding::Sequence)
}

pub fn selection(selection: Selection) -> &'static str {
    match selection {
        Selection::SkipTillNext => "skip_till_next",
        Selection::Strict => "strict",
        Selection::SkipTillAny => "skip_till_any",
    }
}

pub fn after_match(after_match: AfterMatch) -> &'static str {
    match after_match {
        AfterMatch::NextRow => "next_row",
        AfterMatch::ToNextStart => "to_next_start",
        AfterMatch::SkipPastLast => "skip_past_last",
    }
}

/// How each step's condition is evaluated, the automaton, and what it gives, under the names of `output`.
pub fn details(pattern: &Pattern, key: &[Expr], input: &Schema, output: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    if let Ok(program) = Program::new(pattern) {
        lines.extend(program.steps.iter().map(|step| conditions(pattern, &program, step, input)));
        lines.extend(automaton::text(pattern, &program.automaton));
        lines.extend(program.indexing.as_deref().map(|indexing| indexed(pattern, &program, indexing, input)));
    }
    let named = |(value, field): (String, &Field)| match value == field.name {
        true => value,
        false => format!("{}: {value}", field.name),
    };
    let values = given(pattern, key, input).into_iter().zip(&output.fields).map(named);
    let what = match &pattern.gives {
        Gives::Matches(_) => "gives of each match",
        Gives::Timeouts(_) => "gives of each that `within` ended",
        Gives::Trends(_) => "gives of all matches together",
    };
    lines.push(format!("{what}: {}", values.collect::<Vec<_>>().join(", ")));
    lines
}

/// Whether the planner found the key: one that the program gives is in columns of its own.
pub fn found(key: &[Expr], input: &Schema) -> &'static str {
    let given = |e: &Expr| match e {
        Expr::Column { index, .. } => input.fields.get(*index).is_some_and(|f| f.name.starts_with("$key")),
        _ => false,
    };
    if key.iter().all(given) { "" } else { " (found)" }
}

/// Draws its automaton beside node `id`.
pub fn draw(graph: &mut Graph, id: usize, pattern: &Pattern) {
    if let Ok(automaton) = Automaton::new(&pattern.root) {
        automaton::draw(graph, id, pattern, &automaton);
    }
}

/// What is asked of the rows of a step, by how often it is evaluated.
fn conditions(pattern: &Pattern, program: &Program, step: &StepProgram, input: &Schema) -> String {
    let remembered = |i: usize| memory(pattern, &program.memories[i], input);
    let compared = |c: &Compared| format!("{} {} {}", expr(&c.left, input), c.op.symbol(), remembered(c.memory));
    let general = |g: &General| {
        let field = |slot: &Slot| match slot {
            Slot::Memory(i) => Field::new(remembered(*i), program.memories[*i].data_type()),
            Slot::Column(i) => input.fields[*i].clone(),
        };
        expr(&g.expr, &Schema::new(g.of.iter().map(field).collect()))
    };
    let classes: [(&str, Vec<String>); 3] = [
        ("once per batch", step.local.iter().map(|e| expr(e, input)).collect()),
        ("compared with what was taken", step.compared.iter().map(compared).collect()),
        ("per partial match", step.general.iter().map(general).collect()),
    ];
    let asked = classes.into_iter().filter(|(_, list)| !list.is_empty());
    let asked: Vec<String> = asked.map(|(how, list)| format!("{how}: {}", list.join(", "))).collect();
    let asked = if asked.is_empty() { "every row".to_string() } else { asked.join("; ") };
    format!("step {}, {asked}", step.name)
}

/// By what a row finds the runs that it may concern, where a key has many.
fn indexed(pattern: &Pattern, program: &Program, indexing: &Indexing, input: &Schema) -> String {
    let remembered = |(i, _): &(usize, Form)| memory(pattern, &program.memories[*i], input);
    let by =
        |sorted: &Sorted| sorted.equal.iter().chain(&sorted.ordered).map(remembered).collect::<Vec<_>>().join(", ");
    let in_state = |state: usize| {
        let sets: Vec<String> = indexing.sorted(state).map(by).filter(|by| !by.is_empty()).collect();
        (!sets.is_empty()).then(|| format!("in state {state} by {}", sets.join(" or by ")))
    };
    let states: Vec<String> = (1..program.automaton.states.len()).filter_map(in_state).collect();
    format!("indexes the runs {}", states.join("; "))
}

/// The columns that a condition is over: what is remembered, then those of the input.
pub fn condition_schema(pattern: &Pattern, input: &Schema) -> Schema {
    let memories = pattern.memories.iter().map(|m| Field::new(memory(pattern, m, input), m.data_type()));
    Schema::new(memories.chain(input.fields.iter().cloned()).collect())
}

/// What is remembered of earlier rows, as the language writes it.
pub fn memory(pattern: &Pattern, memory: &Memory, input: &Schema) -> String {
    let name = &pattern.steps[memory.step].name;
    let rows = rows_of(name, input);
    match &memory.value {
        MemoryValue::Last(e) if is_repeated(&pattern.root, memory.step) => format!("last({})", expr(e, &rows)),
        MemoryValue::Last(e) => expr(e, &rows),
        MemoryValue::First(e) => format!("first({})", expr(e, &rows)),
        MemoryValue::Count => format!("count({name})"),
        MemoryValue::Aggregate(of) => call(of, name, input),
    }
}

fn call(call: &Call, name: &str, input: &Schema) -> String {
    let rows = rows_of(name, input);
    match call.args.is_empty() {
        true => format!("count({name})"),
        false => parts::aggregate(&call.function, &call.args.iter().map(|e| expr(e, &rows)).collect::<Vec<_>>()),
    }
}

/// The input's columns as they are named in another step.
fn rows_of(name: &str, input: &Schema) -> Schema {
    let field = |f: &Field| Field::new(format!("{name}.{}", f.name), f.data_type.clone());
    Schema::new(input.fields.iter().map(field).collect())
}

/// Whether a match may have several rows of the step.
fn is_repeated(node: &Node, step: usize) -> bool {
    match node {
        Node::Step(_) | Node::Not(_) => false,
        Node::Sequence(members) | Node::AnyOrder(members) | Node::OneOf(members) => {
            members.iter().any(|m| is_repeated(m, step))
        }
        Node::Repeat { node, max, .. } => is_repeated(node, step) || *max != Some(1) && has(node, step),
    }
}

fn has(node: &Node, step: usize) -> bool {
    match node {
        Node::Step(s) | Node::Not(s) => *s == step,
        Node::Sequence(members) | Node::AnyOrder(members) | Node::OneOf(members) => {
            members.iter().any(|m| has(m, step))
        }
        Node::Repeat { node, .. } => has(node, step),
    }
}

/// The columns that it gives, as the language writes them; without `key`, its parts by their number.
pub fn given(pattern: &Pattern, key: &[Expr], input: &Schema) -> Vec<String> {
    let part = |i: usize| key.get(i).map_or(format!("part {i} of the key"), |e| expr(e, input));
    let name = |step: usize| pattern.steps[step].name.as_str();
    let output = |output: &Output| match output {
        Output::Key { part: i, .. } => part(*i),
        Output::MatchStart => "match_start".to_string(),
        Output::MatchEnd => "match_end".to_string(),
        Output::LastStep => "last_step".to_string(),
        Output::Rows => "rows_taken".to_string(),
        Output::Single { step, value } => expr(value, &rows_of(name(*step), input)),
        Output::Aggregate { step, call: of } => call(of, name(*step), input),
    };
    let trend = |trend: &Trend| match trend {
        Trend::Key { part: i, .. } => part(*i),
        Trend::Count => "count_trends()".to_string(),
        Trend::Sum { step, value } => format!("sum_trends({})", expr(value, &rows_of(name(*step), input))),
    };
    match &pattern.gives {
        Gives::Matches(outputs) | Gives::Timeouts(outputs) => outputs.iter().map(output).collect(),
        Gives::Trends(trends) => trends.iter().map(trend).collect(),
    }
}

/// How tight a part of a pattern binds, loosest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Sequence,
    Or,
    And,
    Not,
    Repeat,
}

/// The tree with the names of its steps, in parentheses if it binds less tightly than `least`.
fn tree(pattern: &Pattern, node: &Node, least: Binding) -> String {
    let name = |step: usize| pattern.steps[step].name.as_str();
    let joined = |members: &[Node], join: &str, inner: Binding| {
        members.iter().map(|m| tree(pattern, m, inner)).collect::<Vec<_>>().join(join)
    };
    let (text, binding) = match node {
        Node::Step(step) => (name(*step).to_string(), Binding::Repeat),
        Node::Not(step) => (format!("not {}", name(*step)), Binding::Not),
        Node::Sequence(members) => (joined(members, " -> ", Binding::Or), Binding::Sequence),
        Node::OneOf(members) => (joined(members, " or ", Binding::And), Binding::Or),
        Node::AnyOrder(members) => (joined(members, " and ", Binding::Not), Binding::And),
        Node::Repeat { node, min, max } => {
            // A repetition of a repetition needs its parentheses, too.
            let inner = tree(pattern, node, Binding::Repeat);
            let inner = if matches!(**node, Node::Repeat { .. }) { format!("({inner})") } else { inner };
            (format!("{inner}{}", quantifier(*min, *max)), Binding::Repeat)
        }
    };
    if binding < least { format!("({text})") } else { text }
}

fn quantifier(min: u32, max: Option<u32>) -> String {
    match (min, max) {
        (1, None) => "+".to_string(),
        (0, None) => "*".to_string(),
        (0, Some(1)) => "?".to_string(),
        (min, None) => format!("{{{min},}}"),
        (min, Some(max)) if min == max => format!("{{{min}}}"),
        (min, Some(max)) => format!("{{{min},{max}}}"),
    }
}
