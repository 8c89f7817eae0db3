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

    DECLARED_TWICE "E0201" "a name is declared twice";
    UNKNOWN_SOURCE "E0202" "a stream reads something that is neither an event type nor a stream";
    UNKNOWN_TYPE "E0203" "a type of that name does not exist";
    STREAM_CYCLE "E0204" "streams read each other in a circle";
    IMPORT_UNREADABLE "E0205" "an imported file cannot be read";
    IMPORT_CYCLE "E0206" "files import each other in a circle";
    TYPE_CYCLE "E0207" "types contain or extend each other in a circle";
    UNKNOWN_CONNECTOR "E0208" "a connector of that name does not exist";
    UNKNOWN_NAME "E0209" "a name in an expression is neither a field nor a constant";
    UNKNOWN_FUNCTION "E0210" "a function of that name does not exist";
    NO_MEMBER "E0211" "a record has no member of that name, or the value is no record";
    NO_WINDOW_NAME "E0212" "`window_start`, `window_end` or `key` is used where there is none";
    RECURSIVE_FUNCTION "E0213" "a function calls itself";
    NO_STREAM "E0214" "a program declares no stream";

    BAD_OPERANDS "E0301" "an operator does not take values of these types";
    BAD_ARGUMENTS "E0302" "a function is called with the wrong arguments";
    NOT_BOOL "E0303" "a condition is not a bool";
    NO_COMMON_TYPE "E0304" "values that must have one type have nothing in common";
    NULLABLE_RECORD "E0305" "a member of a value that may be null is taken with `.` instead of `?.`";
    CONSTANT_FAILS "E0306" "a constant expression overflows or divides by zero";
    MISSING_RETURN "E0307" "a function's block can end without `return`";
    TYPE_MISMATCH "E0308" "a value does not have the type that was declared for it";
    NOT_REPLAYABLE "E0309" "`now()` and its kin would make a replay differ from the live run";
    BAD_CAST "E0310" "a value cannot be cast to that type";
    NOT_ORDERED "E0311" "values of this type have no order";
    BAD_EVENT_TIME "E0312" "the event time of a type is not a timestamp";

    UNKNOWN_OPERATOR "E0401" "a stream operator of that name does not exist";
    BAD_OPERATOR_ARGUMENTS "E0402" "an operator has too many, too few or unknown arguments";
    UNNAMED_FIELD "E0403" "an expression needs a name to become a field";
    DUPLICATE_FIELD "E0404" "two fields of a row have one name";
    UNUSED_WINDOW "E0405" "a `.window` is followed by nothing that uses it";
    WINDOW_NEEDED "E0406" "an operator needs a window, or its state would grow without bound";
    MISPLACED_HAVING "E0407" "`.having` without an aggregate before it";
    AFTER_EMIT "E0408" "an operator stands after `.emit`";
    GIVEN_TWICE "E0409" "an operator that may be given once is given twice";
    MISPLACED_WATERMARK "E0410" "`.watermark` does not stand next to the source";
    MISPLACED_LATE "E0411" "`.late()` where no row can be late, or not at the head of a stream";
    UNUSED_LATENESS "E0412" "`.allowed_lateness` in a stream without an operator that could use it";
    MERGE_MISMATCH "E0413" "inputs of `merge` have fields of one name and of types with nothing in common";
    MISPLACED_AGGREGATE "E0414" "an aggregate stands outside `.aggregate`";
    NESTED_AGGREGATE "E0415" "an aggregate stands inside another";
    UNAGGREGATED_FIELD "E0416" "a field stands in `.aggregate` outside any aggregate";
    BAD_NEGATION "E0417" "`not` of a pattern stands where nothing delimits it, or is of more than a step";
    WITHIN_NEEDED "E0418" "a pattern whose matches only time can settle has no `within`";
    BAD_QUANTIFIER "E0419" "no number of rows satisfies a quantifier";
    PATTERN_TOO_LARGE "E0420" "a pattern has too many steps";
    NEVER_TRUE "E0421" "no row can fit a step of a pattern";
    NOT_BOUND "E0422" "a step of a pattern is referred to where it cannot have taken a row";
    MANY_ROWS "E0423" "a step that takes many rows is used as one row";
    CAPTURE_ALONE "E0424" "an alias of a pattern stands where a value is needed";
    NAMED_GROUP "E0425" "a group of a pattern has an alias or a condition";
    NO_MATCH_FIELDS "E0426" "nothing says which fields a match has";
    MISPLACED_OPTION "E0427" "an option of patterns does not stand directly behind a pattern";
    MISPLACED_TIMEOUT "E0428" "`.timeout()` does not stand directly behind a pattern";
    BAD_TREND "E0429" "`.trend_aggregate` of a pattern or an expression that it cannot count";
    AMBIGUOUS_NAME "E0430" "several inputs of a join have a field of that name";
    SHARED_NAMES "E0431" "a stream of a join ends with fields of one name from several inputs";
    BAD_JOIN "E0432" "a join has too few inputs, one that cannot be joined, or two of one name";
    NO_EQUALITY "E0433" "a join has no equality between its inputs";
    NO_JOIN_BOUND "E0434" "nothing bounds a join in time";
    TABLE_AS_STREAM "E0440" "a table is read where a stream of events is needed";
    NO_TABLE_KEY "E0441" "a table has no `.key`";
    NOT_IN_TABLE "E0442" "an operator of streams stands in a table";
    NOT_OF_STREAM "E0443" "an operator of tables stands in a stream";
    NO_TABLE "E0444" "what is looked up in is no table";
    KEY_MISMATCH "E0445" "what is looked up does not fit the table's key";
    UNTIMED_TABLE "E0446" "a table of rows without a time has an input that is no file with an end";
    SNAPSHOT_WITHOUT_END "E0447" "`.snapshot()` of a table whose input has no end";
    TABLE_CAPACITY "E0448" "a capacity cannot bound a table";
    NOT_RETRACTABLE "E0450" "an aggregate over a table cannot take rows back";

    UNKNOWN_OPTION "E0501" "an option of that name does not exist";
    BAD_OPTION "E0502" "the value of an option is of the wrong type or out of range";
    MISSING_OPTION "E0503" "an option that must be given is missing";
    UNKNOWN_KIND "E0504" "a connector kind of that name does not exist";

    NO_EVENT_TIME "E0601" "a type has no event time";
    UNDECLARED_TYPE "E0602" "a type is not declared and cannot be sampled from an input";
    WRONG_DIRECTION "E0603" "a connector cannot be used in this direction (a source as a sink, or the reverse)";
    NO_INPUT "E0604" "inputs are given, and none for a type that is read";

    NOT_SUPPORTED "E0901" "the language has it, this version does not";

    NEGATED_POWER "W0101" "unary minus binds tighter than `**`";
    UNBOUNDED_STATE "W0102" "nothing bounds the state of an operator";
    UNUSED_ALIAS "W0103" "an alias is never used";
    UNUSED_STREAM "W0104" "a stream is neither an output nor read";
    ONE_ROW_PER_GROUP "W0105" "an operator keeps all rows, because each group has only one";
    NO_LATE_ROWS "W0106" "`.allowed_lateness` where no row can be late";
    UNUSED_INPUT "W0107" "an input that no stream reads";
    NOT_SAVED "W0108" "the program says how its state is saved, and nothing says where";
    UNUSED_PATTERN "W0109" "a pattern that no stream uses";
    DELETIONS_KEPT "W0120" "a table remembers deleted keys for ever";
    UNREACHABLE_STEP "W0110" "no row comes to a step of a pattern, because another one takes it first";
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
