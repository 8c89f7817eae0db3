//! What the state of a pattern depends on.
//!
//! A partial match is a place in the automaton, what is remembered of the rows that it took, and what is to be given
//! of them. All that says how it goes on is part of the definition, conditions too: what was taken under another one
//! would not have been taken. The cap on their number is not: it says nothing of those that there are.

use serde_json::{Value as Json, json};

use super::facts::Facts;
use super::rows::{Base, exact, names, text};
use crate::data::time::format_duration;
use crate::expr::Expr;
use crate::pattern::{Call, Gives, Memory, MemoryValue, Output, Pattern, Trend};
use crate::plan::explain::pattern;

/// Adds the facts of a pattern over these columns.
pub fn add(own: &mut Facts, of: &Pattern, columns: &[Base]) {
    let input = names(columns);
    let remembered = of
        .memories
        .iter()
        .map(|m| Base { exact: memory(m, columns).to_string(), name: pattern::memory(of, m, &input) });
    let of_conditions: Vec<Base> = remembered.chain(columns.iter().cloned()).collect();
    own.add(pattern::steps(of), json!(["root", of.root]));
    for (i, step) in of.steps.iter().enumerate() {
        let (shown, exactly) = match &step.condition {
            Some(e) => (format!(" where {}", text(e, &of_conditions)), Json::String(exact(e, &of_conditions))),
            None => (String::new(), Json::Null),
        };
        own.add(format!("step {}{shown}", step.name), json!(["step", i, step.source, exactly]));
    }
    for (i, (m, base)) in of.memories.iter().zip(&of_conditions).enumerate() {
        own.add(format!("remembered {}", base.name), json!(["memory", i, memory(m, columns)]));
    }
    let within = of.within_ns.map_or("for ever".to_string(), |ns| format!("within {}", format_duration(ns)));
    own.add(within, json!(["within", of.within_ns]));
    own.add(pattern::selection(of.selection).to_string(), json!(["selection", of.selection]));
    own.add(pattern::after_match(of.after_match).to_string(), json!(["after match", of.after_match]));
    for (i, (shown, exactly)) in pattern::given(of, &[], &input).into_iter().zip(given(of, columns)).enumerate() {
        own.add(format!("given {shown}"), json!(["given", i, exactly]));
    }
}

fn exprs(list: &[Expr], columns: &[Base]) -> Vec<String> {
    list.iter().map(|e| exact(e, columns)).collect()
}

fn memory(memory: &Memory, columns: &[Base]) -> Json {
    let value = match &memory.value {
        MemoryValue::Last(e) => json!(["last", exact(e, columns)]),
        MemoryValue::First(e) => json!(["first", exact(e, columns)]),
        MemoryValue::Count => json!(["count"]),
        MemoryValue::Aggregate(of) => call(of, columns),
    };
    json!([memory.step, value])
}

fn call(call: &Call, columns: &[Base]) -> Json {
    json!(["aggregate", call.function, exprs(&call.args, columns), call.ty])
}

fn given(of: &Pattern, columns: &[Base]) -> Vec<Json> {
    let output = |output: &Output| match output {
        Output::Key { part, ty } => json!(["key", part, ty]),
        Output::MatchStart => json!(["match_start"]),
        Output::MatchEnd => json!(["match_end"]),
        Output::LastStep => json!(["last_step", of.steps.iter().map(|s| &s.name).collect::<Vec<_>>()]),
        Output::Rows => json!(["rows_taken"]),
        Output::Single { step, value } => json!(["single", step, exact(value, columns)]),
        Output::Aggregate { step, call: of } => json!([step, call(of, columns)]),
    };
    let trend = |trend: &Trend| match trend {
        Trend::Key { part, ty } => json!(["key", part, ty]),
        Trend::Count => json!(["count_trends"]),
        Trend::Sum { step, value } => json!(["sum_trends", step, exact(value, columns)]),
    };
    let (what, parts): (&str, Vec<Json>) = match &of.gives {
        Gives::Matches(outputs) => ("matches", outputs.iter().map(output).collect()),
        Gives::Timeouts(outputs) => ("timeouts", outputs.iter().map(output).collect()),
        Gives::Trends(trends) => ("trends", trends.iter().map(trend).collect()),
    };
    parts.into_iter().map(|part| json!([what, part])).collect()
}
