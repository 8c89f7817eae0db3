//! The table of diagnostic codes. A code is stable: it is never given to another finding.
//!
//! `E01xx` syntax, `E02xx` names, `E03xx` types, `E04xx` streams and operators, `E05xx` options and
//! blocks, `E06xx` inputs, `E09xx` not built yet, `W01xx` warnings. Each phase adds its own, in order.

use std::fmt;

/// A stable code, printed as `E0123` (or `W0123` for those that are only ever warnings).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub &'static str);

impl Code {
    /// The line that explains the code, as the table has it.
    pub fn explanation(self) -> Option<&'static str> {
        ALL.iter().find(|entry| entry.code == self).map(|entry| entry.explanation)
    }
}

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

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct CodeEntry {
    pub code: Code,
    /// The constant's name.
    pub name: &'static str,
    pub explanation: &'static str,
}

macro_rules! codes {
    ($($name:ident $code:literal $explanation:literal;)*) => {
        $(
            #[doc = $explanation]
            pub const $name: Code = Code($code);
        )*

        /// Every code, for `explain-code` and the documentation.
        pub const ALL: &[CodeEntry] = &[
            $(CodeEntry { code: $name, name: stringify!($name), explanation: $explanation },)*
        ];
    };
}

codes! {
    UNEXPECTED "E0101" "something else was expected at this place";
    INCOMPLETE "E0102" "a declaration or line ends before it is complete";
    UNKNOWN_DECLARATION "E0103" "a line at the top level does not begin a declaration";
    UNTERMINATED_STRING "E0104" "a string has no closing quote on its line";
    UNTERMINATED_COMMENT "E0105" "a `/*` comment is never closed";
    INVALID_CHARACTER "E0106" "a character that VPL does not use outside strings and comments";
    UNCLOSED_BRACKET "E0107" "a bracket is never closed";
    UNMATCHED_BRACKET "E0108" "a closing bracket has no opening one, or one of another kind";
    TOO_DEEP "E0109" "brackets, blocks or operators are nested or chained beyond the limit";
    INVALID_NUMBER "E0110" "a number is not written as VPL writes numbers, or does not fit";
    UNKNOWN_UNIT "E0111" "the unit of a duration or size is unknown";
    INVALID_ESCAPE "E0112" "a backslash in a string is followed by something that is no escape";
    INVALID_TIMESTAMP "E0113" "a `@` is not followed by a date or an RFC 3339 timestamp";
    CHAINED_COMPARISON "E0114" "comparisons do not chain";
    INDENTATION "E0115" "a line of a block is not indented like its siblings";
    MIXED_INDENTATION "E0116" "tabs and spaces are mixed in the indentation of a block";
    MISSING_BLOCK "E0117" "a trailing `:` is not followed by an indented block";
    STRAY_BRANCH "E0118" "an `elif` or `else` does not follow an `if`";
    INVALID_INTERPOLATION "E0119" "the braces of an f-string do not hold an expression";
    TOO_LARGE "E0120" "a program file is larger than the limit";
    TOO_MANY_ERRORS "E0121" "a file has more errors than are worth showing";

    NEGATED_POWER "W0101" "unary minus binds tighter than `**`";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut seen = HashSet::new();
        for entry in ALL {
            let text = entry.code.0;
            assert!(seen.insert(text), "{text} is given twice");
            assert!(text.len() == 5 && text.starts_with(['E', 'W']), "{text}");
            assert!(text[1..].bytes().all(|b| b.is_ascii_digit()), "{text}");
            assert!(!entry.explanation.ends_with('.'), "{text}");
        }
    }
}
