//! Diagnostics as text for people (the style of compilers) and as JSON for programs.

use super::{Diagnostic, Sources};

/// All `diagnostics` with their source lines underlined.
pub fn render_text(_diagnostics: &[Diagnostic], _sources: &Sources, _color: bool) -> String {
    todo!()
}

/// All `diagnostics` as one JSON array.
pub fn render_json(_diagnostics: &[Diagnostic], _sources: &Sources) -> String {
    todo!()
}
