//! What something depends on, as a set of facts: each exactly, to be compared, and as text, to be shown.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_64;

/// One thing that something depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// For people; two facts may read alike and not be.
    pub text: String,
    pub exact: String,
}

/// All that something depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(BTreeSet<Fact>);

impl Facts {
    pub fn add(&mut self, text: String, exact: Json) {
        self.insert(Fact { text, exact: exact.to_string() });
    }

    pub fn insert(&mut self, fact: Fact) {
        self.0.insert(fact);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.0.iter()
    }

    /// Short, and the same for the same facts.
    pub fn hash(&self) -> String {
        let exact: BTreeSet<&str> = self.0.iter().map(|f| f.exact.as_str()).collect();
        format!("{:016x}", xxh3_64(exact.into_iter().collect::<Vec<_>>().join("\n").as_bytes()))
    }

    /// How these differ from what they were, a line each.
    pub fn differences(&self, before: &Facts) -> Vec<String> {
        let gone: Vec<&Fact> = before.0.difference(&self.0).collect();
        let new: Vec<&Fact> = self.0.difference(&before.0).collect();
        let is_in = |list: &[&Fact], fact: &Fact| list.iter().any(|f| f.text == fact.text);
        let mut lines: Vec<String> =
            new.iter().filter(|f| is_in(&gone, f)).map(|f| format!("changed: {}", f.text)).collect();
        lines.extend(gone.iter().filter(|f| !is_in(&new, f)).map(|f| format!("before:  {}", f.text)));
        lines.extend(new.iter().filter(|f| !is_in(&gone, f)).map(|f| format!("now:     {}", f.text)));
        lines
    }
}
