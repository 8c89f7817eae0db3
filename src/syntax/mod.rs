//! Text to tree and back: the only module that knows the grammar.
//!
//! ```text
//! text ── scan ──> tokens ── layout ──> lines ── pest, one line at a time ──> pairs ── build ──> ast
//!                    └──────────────────────────── printer ──> text
//! ```
//!
//! Parsing never fails outright: every step reports what it finds and passes the rest on. An error
//! costs a line of a block or a declaration, so that one run reports the errors of all of them. All
//! steps take linear time, and recursion is bounded by limits that `layout` and `build` enforce.

pub mod ast;
mod build;
mod failure;
mod grammar;
mod layout;
mod literal;
mod printer;
mod reports;
#[cfg(test)]
mod roundtrip;
mod scan;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;
mod write;

use crate::diagnostic::{Diagnostic, codes};
pub use literal::size;
pub use printer::format;
use reports::Reports;
pub use write::{quoted, write_expr, write_program, write_type};

/// The largest program file. Spans are 32-bit, and nobody has written a tenth of it by hand.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Parses one file of a program. What could be read is in the tree, what could not in the diagnostics.
pub fn parse(file: u32, text: &str) -> (ast::Program, Vec<Diagnostic>) {
    let mut reports = Reports::new(file);
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes; programs have at most {FILE_BYTES_MAX}", text.len());
        reports.error(codes::TOO_LARGE, 0..0, message, None);
        return (ast::Program::default(), reports.finish());
    }
    let tokens = scan::scan(text, &mut reports);
    let lines = layout::layout(text, &tokens, &mut reports);
    let file = build::File { text, tokens: &tokens };
    let declarations = lines.iter().filter_map(|line| build::declaration(&file, line, &mut reports)).collect();
    (ast::Program { declarations }, reports.finish())
}
