//! How a program differs from the one that a checkpoint was taken of: which states go on, which begin
//! empty, which are lost, and the same for outputs and input partitions. All of it is known, and said,
//! before anything starts.
//!
//! Pure: what is compared is given. What may be done about a difference is decided by who calls.
//!
//! # Invariants
//! 1. A state is kept only if its definition is what it was; entries are never read as something else.
//! 2. Where a state is kept over another input, no row reaches it that a window which it has closed would
//!    have to take in: such rows are late ([`Comparison::floors`]), and counted.

mod described;

use std::collections::BTreeSet;
use std::fmt::Write;

pub use self::described::{Described, DescribedOutput, DescribedPartition};
use crate::plan::definition::StateDefinition;
use crate::plan::physical::Plan;
use crate::state::manifest::{Checkpoint, OutputRecord};

/// What becomes of a state, an output or a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    /// A state goes on over other rows than before.
    InputChanged,
    /// Begins with nothing.
    New,
    /// Goes on elsewhere: an output in another file.
    Moved,
    /// No longer in the program, and nothing is lost by that.
    Gone,
    /// No longer in the program: what it holds is lost.
    Dropped,
    /// Still in the program under another definition: what it holds is lost, and it begins with nothing.
    Replaced,
    /// Cannot go on in any way but under another name.
    Impossible,
}

/// The options by which a run may be told to go on in spite of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// States may go on over another input.
    pub changed: bool,
    /// What states and outputs hold may be lost.
    pub drop: bool,
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub verdict: Verdict,
    /// `state`, `output` or `input`.
    pub kind: &'static str,
    pub name: String,
    /// What differs, a line each.
    pub reasons: Vec<String>,
}

/// A program against a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub items: Vec<Item>,
    /// By source and output: a watermark that rows of it may not fall behind.
    pub floors: Vec<Vec<i64>>,
    /// Whether the plan is another one at all, in whatever way.
    pub is_other_plan: bool,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Verdict::Kept => "kept",
            Verdict::InputChanged => "kept, input changed",
            Verdict::New => "new",
            Verdict::Moved => "moved",
            Verdict::Gone => "gone",
            Verdict::Dropped => "dropped",
            Verdict::Replaced => "dropped and new",
            Verdict::Impossible => "cannot continue",
        }
    }

    fn is_allowed(self, allowed: Allowed) -> bool {
        match self {
            Verdict::Kept | Verdict::New | Verdict::Moved | Verdict::Gone => true,
            Verdict::InputChanged => allowed.changed,
            Verdict::Dropped | Verdict::Replaced => allowed.drop,
            Verdict::Impossible => false,
        }
    }
}

/// Compares a program with the checkpoint that it is to continue from. `before` is the program of the
/// checkpoint, where it can still be read; it is needed for reasons only.
pub fn compare(record: &Checkpoint, program: &Described, before: Option<&Plan>) -> Comparison {
    let mut out = Comparison {
        items: Vec::new(),
        floors: program.sources.iter().map(|outputs| vec![i64::MIN; *outputs]).collect(),
        is_other_plan: record.program.fingerprint != program.fingerprint,
    };
    let before = before.map(crate::plan::definition::definitions).unwrap_or_default();
    let fresh = compare_partitions(record, program, &mut out.items);
    for state in &program.states {
        let was = before.iter().find(|b| b.name == state.name);
        let item = compare_state(record, state, was, &fresh);
        if item.verdict == Verdict::InputChanged {
            out.raise_floors(record, state);
        }
        out.items.push(item);
    }
    for name in recorded_states(record).filter(|name| program.states.iter().all(|s| s.name != **name)) {
        out.items.push(Item::new(Verdict::Dropped, "state", name));
    }
    compare_outputs(record, program, &mut out.items);
    out
}

/// The states of operators in a record; what sinks hold is compared by output.
fn recorded_states(record: &Checkpoint) -> impl Iterator<Item = &String> {
    let names = record.window_states.keys().chain(record.pattern_states.keys()).chain(record.operator_states.keys());
    names.filter(|name| !name.ends_with("/sink/0"))
}

/// Partitions that the record does not have.
fn compare_partitions<'p>(
    record: &Checkpoint,
    program: &'p Described,
    items: &mut Vec<Item>,
) -> Vec<&'p DescribedPartition> {
    let mut fresh = Vec::new();
    for partition in &program.partitions {
        if record.partitions.contains_key(&partition.name) {
            items.push(Item::new(Verdict::Kept, "input", &partition.name));
        } else {
            let reason = "read from its beginning".to_string();
            items.push(Item { reasons: vec![reason], ..Item::new(Verdict::New, "input", &partition.name) });
            fresh.push(partition);
        }
    }
    for (name, was) in &record.partitions {
        if program.partitions.iter().any(|p| p.name == *name) {
            continue;
        }
        let (verdict, reason) = match was.ended {
            true => (Verdict::Gone, "it had been read to its end"),
            false => (Verdict::Dropped, "it had not been read to its end"),
        };
        items.push(Item { reasons: vec![reason.to_string()], ..Item::new(verdict, "input", name) });
    }
    fresh
}

fn compare_state(
    record: &Checkpoint,
    state: &StateDefinition,
    before: Option<&StateDefinition>,
    fresh: &[&DescribedPartition],
) -> Item {
    let item = |verdict, reasons| Item { verdict, kind: "state", name: state.name.clone(), reasons };
    let Some(was) = record.state(&state.name) else { return item(Verdict::New, Vec::new()) };
    if was.definition != state.definition.hash() {
        let reasons = before.map_or_else(Vec::new, |b| state.definition.differences(&b.definition));
        return item(Verdict::Replaced, reasons);
    }
    let reads = |p: &&&DescribedPartition| state.sources.iter().any(|(source, _)| *source == p.source);
    let mut reasons: Vec<String> = fresh.iter().filter(reads).map(|p| format!("now:     {}", p.name)).collect();
    if was.input != state.input.hash() {
        reasons.extend(before.map_or_else(Vec::new, |b| state.input.differences(&b.input)));
    } else if reasons.is_empty() {
        return item(Verdict::Kept, Vec::new());
    }
    if was.watermarks.contains(&i64::MAX) {
        reasons.push("its input had ended, and nothing can be added".to_string());
        return item(Verdict::Replaced, reasons);
    }
    item(Verdict::InputChanged, reasons)
}

fn compare_outputs(record: &Checkpoint, program: &Described, items: &mut Vec<Item>) {
    let before = &record.program;
    // What waited for its order is held by the ordered sink alone.
    let held = before.ordered;
    if held && !program.ordered {
        let reason = "rows that wait for their order; `--ordered` keeps them".to_string();
        items.push(Item { reasons: vec![reason], ..Item::new(Verdict::Dropped, "output", "what is held") });
    }
    for output in &program.outputs {
        items.push(match before.outputs.get(&output.label) {
            None => Item::new(Verdict::New, "output", &output.label),
            Some(was) => compare_output(output, was, held),
        });
    }
    for name in before.outputs.keys().filter(|name| program.outputs.iter().all(|o| o.label != **name)) {
        items.push(Item::new(if held { Verdict::Dropped } else { Verdict::Gone }, "output", name));
    }
}

fn compare_output(output: &DescribedOutput, was: &OutputRecord, held: bool) -> Item {
    let OutputRecord { form, destination, is_file } = was;
    let mut reasons = Vec::new();
    if output.record.form != *form {
        reasons.extend([format!("before:  {form}"), format!("now:     {}", output.record.form)]);
    }
    if output.record.destination != *destination {
        let to = &output.record.destination;
        reasons.push(format!("{destination} stays as it is; from here on rows go to {to}"));
    }
    let verdict = match (output.record.form == *form, output.record.destination == *destination) {
        (true, true) => Verdict::Kept,
        (true, false) => Verdict::Moved,
        (false, true) if *is_file => {
            reasons.push("a file has one form; name another one".to_string());
            Verdict::Impossible
        }
        (false, _) if held => Verdict::Replaced,
        (false, _) => Verdict::New,
    };
    Item { verdict, kind: "output", name: output.label.clone(), reasons }
}

impl Item {
    fn new(verdict: Verdict, kind: &'static str, name: &str) -> Item {
        Item { verdict, kind, name: name.to_string(), reasons: Vec::new() }
    }
}

impl Comparison {
    /// Rows from here on may not fall behind what a state had fired up to.
    fn raise_floors(&mut self, record: &Checkpoint, state: &StateDefinition) {
        let clock = record.state(&state.name).and_then(|s| s.watermarks.iter().copied().max()).unwrap_or(i64::MIN);
        if clock == i64::MIN {
            return;
        }
        let reached = clock.saturating_add(state.clock_lag_ns);
        for (source, output) in &state.sources {
            let floor = &mut self.floors[*source][*output];
            *floor = reached.max(*floor);
        }
    }

    /// Whether everything goes on as it was.
    pub fn is_unchanged(&self) -> bool {
        self.items.iter().all(|i| i.verdict == Verdict::Kept)
    }

    /// States whose entries are not to be read.
    pub fn lost_states(&self) -> impl Iterator<Item = &str> {
        let lost = |i: &&Item| i.kind == "state" && matches!(i.verdict, Verdict::Dropped | Verdict::Replaced);
        self.items.iter().filter(lost).map(|i| i.name.as_str())
    }

    /// The options without which the run does not start; `None` if no option helps.
    pub fn needs(&self, allowed: Allowed) -> Option<Vec<&'static str>> {
        let mut needed = BTreeSet::new();
        for item in self.items.iter().filter(|i| !i.verdict.is_allowed(allowed)) {
            needed.insert(match item.verdict {
                Verdict::InputChanged => "--allow-changed",
                Verdict::Dropped | Verdict::Replaced => "--allow-drop",
                Verdict::Impossible => return None,
                Verdict::Kept | Verdict::New | Verdict::Moved | Verdict::Gone => continue,
            });
        }
        Some(needed.into_iter().collect())
    }

    /// The items for people, a line for each and one for each reason; those that are kept only if `all`.
    pub fn to_text(&self, all: bool) -> String {
        let mut out = String::new();
        for Item { verdict, kind, name, reasons } in &self.items {
            if *verdict == Verdict::Kept && !all {
                continue;
            }
            let _ = writeln!(out, "  {:<19}  {kind:<6}  {name}", verdict.text());
            for reason in reasons {
                let _ = writeln!(out, "  {:<19}          {reason}", "");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
