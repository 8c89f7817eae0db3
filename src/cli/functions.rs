//! `varpulis functions`: the tables of scalar functions and aggregates.

use super::args::FunctionsArgs;
use super::{EXIT_USAGE, complain, say};
use crate::diagnostic::nearest;
use crate::expr::aggregate::aggregates;
use crate::expr::function::functions as table;

struct Entry {
    name: &'static str,
    signature: &'static str,
    doc: &'static str,
}

fn scalar() -> Vec<Entry> {
    table().iter().map(|f| Entry { name: f.name, signature: f.signature, doc: f.doc }).collect()
}

fn aggregate() -> Vec<Entry> {
    aggregates().iter().map(|a| Entry { name: a.name, signature: a.signature, doc: a.doc }).collect()
}

pub fn functions(args: FunctionsArgs) -> u8 {
    let (scalar, aggregate) = (scalar(), aggregate());
    let Some(name) = args.name else {
        say("Scalar functions\n\n");
        scalar.iter().for_each(print_entry);
        say("\nAggregates\n\n");
        aggregate.iter().for_each(print_entry);
        return 0;
    };
    let all = || scalar.iter().chain(&aggregate);
    let found: Vec<&Entry> = all().filter(|e| e.name == name).collect();
    if found.is_empty() {
        let hint = nearest(&name, all().map(|e| e.name)).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        complain(format!("no function `{name}`{hint}"));
        return EXIT_USAGE;
    }
    found.into_iter().for_each(print_entry);
    0
}

fn print_entry(entry: &Entry) {
    entry.signature.lines().for_each(|line| say(format_args!("  {}\n", line.trim())));
    say(format_args!("      {}\n", entry.doc));
}
