//! The table of diagnostic codes. A code is stable: it is never given to another finding.

use std::fmt;

/// A stable code, printed as `E0123` (or `W0123` for those that are only ever warnings).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
