//! The diagnostics of one file while it is being parsed.
//!
//! Positions become spans here, and the number of errors is bounded here: a megabyte of noise gives a
//! page of errors, not a megabyte of them.

use std::ops::Range;

use crate::diagnostic::{Code, Diagnostic, Span, codes};

/// The most errors reported for one file; the rest is summed up by `E0121`.
pub const ERRORS_MAX: usize = 100;

pub struct Reports {
    file: u32,
    diagnostics: Vec<Diagnostic>,
    dropped: usize,
}

impl Reports {
    pub fn new(file: u32) -> Reports {
        Reports { file, diagnostics: Vec::new(), dropped: 0 }
    }

    pub fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.file, range.start, range.end)
    }

    pub fn error(&mut self, code: Code, range: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        let mut diagnostic = Diagnostic::error(code, self.span(range), message);
        diagnostic.hint = hint;
        self.push(diagnostic);
    }

    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < ERRORS_MAX {
            self.diagnostics.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// What was reported, in the order of the text.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        if let Some(last) = self.diagnostics.last().filter(|_| self.dropped > 0) {
            let message = format!("{} more findings in this file are not shown", self.dropped);
            let note = Diagnostic::error(codes::TOO_MANY_ERRORS, last.span, message);
            self.diagnostics.push(note);
        }
        self.diagnostics
    }
}
