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

    /// A box beside the node `of`, for the states of its automaton.
    pub fn cluster(&mut self, of: usize, title: &str) -> Cluster<'_> {
        let title = quoted(title);
        let text = format!("  subgraph cluster_n{of} {{\n    label={title};\n    node [shape=circle];\n");
        self.text += &text;
        Cluster { text: &mut self.text, of }
    }

    pub fn finish(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }
}

/// What a state of an automaton is to a match.
#[derive(Clone, Copy)]
pub enum Shape {
    State,
    Match,
    /// A match when its time has passed.
    WaitingMatch,
}

/// An automaton that is written as it grows.
pub struct Cluster<'g> {
    text: &'g mut String,
    of: usize,
}

impl Cluster<'_> {
    fn line(&mut self, text: String) {
        writeln!(self.text, "    {text}").expect("writing to a string");
    }

    pub fn state(&mut self, id: usize, name: &str, shape: Shape) {
        let shape = match shape {
            Shape::State => "",
            Shape::Match => ", shape=doublecircle",
            Shape::WaitingMatch => ", shape=doublecircle, style=dashed",
        };
        let (of, label) = (self.of, quoted_name(name));
        self.line(format!("n{of}_{id} [label={label}{shape}];"));
    }

    /// The place of runs that a negation has ended.
    pub fn end(&mut self) {
        self.line(format!("n{}_end [label=\"\", shape=point];", self.of));
    }

    pub fn taken(&mut self, from: usize, to: usize, label: &str) {
        let (of, label) = (self.of, quoted_name(label));
        self.line(format!("n{of}_{from} -> n{of}_{to} [label={label}];"));
    }

    pub fn ended(&mut self, from: usize, label: &str) {
        let (of, label) = (self.of, quoted_name(label));
        self.line(format!("n{of}_{from} -> n{of}_end [label={label}, style=dotted];"));
    }

    /// Ties the automaton to its node.
    pub fn finish(self) {
        let of = self.of;
        writeln!(self.text, "  }}\n  n{of} -> n{of}_0 [style=dashed, arrowhead=none];").expect("writing to a string");
    }
}

fn quoted_name(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Lines of a label are set left-aligned.
fn quoted(text: &str) -> String {
    format!("\"{}\\l\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\l"))
}
