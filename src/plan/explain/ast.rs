//! The syntax tree as text: the program as the parser took it, imported files first.

use crate::diagnostic::Sources;
use crate::syntax::ast::Program;
use crate::syntax::write_program;

/// `files` are those of `sources`, in the order in which they import each other.
pub fn text(files: &[Program], sources: &Sources) -> String {
    let mut out = String::new();
    for program in files {
        // A file without declarations has nothing to show.
        let Some(first) = program.declarations.first() else { continue };
        let file = first.span.file;
        if files.len() > 1 {
            out += &format!("# {}\n", sources.name(file));
        }
        out += &write_program(program);
    }
    out
}
