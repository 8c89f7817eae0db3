//! Text to tree and back: the only module that knows the grammar.

pub mod ast;

use crate::diagnostic::Diagnostic;

/// Parses one file of a program. What could be read is in the tree, what could not in the diagnostics.
pub fn parse(_file: u32, _text: &str) -> (ast::Program, Vec<Diagnostic>) {
    todo!()
}
