//! Graphs in the language of Graphviz.

use std::fmt::Write;

/// A directed graph that is written as it grows.
pub struct Graph {
    text: String,
    outputs: usize,
}

impl Graph {
    pub fn new(name: &str) -> Graph {
        let mut text = String::new();
        writeln!(text, "digraph {name} {{\n  rankdir=LR;\n  node [shape=box, fontname=monospace];")
            .expect("writing to a string");
        Graph { text, outputs: 0 }
    }

    pub fn node(&mut self, id: usize, stream: &str, label: &str) {
        let label = quoted(&format!("{stream}\n{label}"));
        writeln!(self.text, "  n{id} [label={label}];").expect("writing to a string");
    }

    pub fn edge(&mut self, from: usize, to: usize) {
        writeln!(self.text, "  n{from} -> n{to};").expect("writing to a string");
    }

    pub fn output(&mut self, from: usize, name: &str, target: &str) {
        let (id, label) = (self.outputs, quoted(&format!("{name}\n{target}")));
        self.outputs += 1;
        writeln!(self.text, "  out{id} [label={label}, shape=oval];\n  n{from} -> out{id};")
            .expect("writing to a string");
    }

    pub fn finish(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }
}

/// Lines of a label are set left-aligned.
fn quoted(text: &str) -> String {
    format!("\"{}\\l\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\l"))
}
