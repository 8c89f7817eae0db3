//! A failed parse in words: what was expected, what was found, and what was probably meant.
//!
//! pest names the furthest position it reached and the rules it tried there. Rule names never reach
//! the user: [`wording`] has the words for them. The hints come from the tokens around the failure,
//! since a slip is recognised by what was written, not by what was expected.

use std::ops::Range;

use pest::error::{Error, ErrorVariant, InputLocation};

use super::build::File;
use super::grammar::Rule;
use super::layout::Line;
use super::literal;
use super::reports::Reports;
use super::scan::{Token, TokenKind};
use crate::diagnostic::codes;

/// The most alternatives that a message lists.
const EXPECTED_MAX: usize = 4;

/// Reports the failure of parsing `range`, which is `line`.
pub fn report(file: &File<'_>, line: &Line, range: Range<usize>, error: Error<Rule>, reports: &mut Reports) {
    let offset = match error.location {
        InputLocation::Pos(offset) | InputLocation::Span((offset, _)) => offset,
    };
    let at = range.start + offset;
    let rules = match error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => {
            // The parser's own guard; the limits of `layout` are meant to come first.
            reports.error(codes::TOO_DEEP, range, "nested too deep to be parsed", None);
            return;
        }
    };
    let code: Vec<Token> = file.code(line).copied().collect();
    let next = code.partition_point(|token| token.end <= at);
    let place = Place { file, code: &code, next, at };
    let hint = place.hint(&rules);
    let expected = expected(&rules, place.unit());
    match code.get(next) {
        Some(token) => {
            let (range, found) = place.found(token);
            let message = format!("expected {expected}, found {found}");
            reports.error(codes::UNEXPECTED, range, message, hint);
        }
        None => {
            let last = code.last().map_or(range.clone(), |token| token.start..token.end);
            let what = if place.first_word() == "" { "file" } else { place.unit() };
            let message = format!("the {what} ends here, but {expected} is expected");
            reports.error(codes::INCOMPLETE, last, message, hint);
        }
    }
}

/// A piece of source text as it is put into a message.
pub fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 30;
    let line = text.lines().next().unwrap_or("");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_string(),
    }
}

struct Place<'a> {
    file: &'a File<'a>,
    code: &'a [Token],
    /// Index of the token that was not expected.
    next: usize,
    at: usize,
}

impl Place<'_> {
    fn text(&self, index: Option<usize>) -> &str {
        index.and_then(|i| self.code.get(i)).map_or("", |token| token.text(self.file.text))
    }

    fn kind(&self, index: Option<usize>) -> Option<TokenKind> {
        index.and_then(|i| self.code.get(i)).map(|token| token.kind)
    }

    fn first_word(&self) -> &str {
        self.text(Some(0))
    }

    /// What the line is called.
    fn unit(&self) -> &'static str {
        const DECLARATIONS: &[&str] =
            &["event", "type", "const", "fn", "import", "connector", "stream", "table", "pattern"];
        if DECLARATIONS.contains(&self.first_word()) { "declaration" } else { "line" }
    }

    /// The range and description of the token that was not expected; inside an f-string, of the word
    /// or character.
    fn found(&self, token: &Token) -> (Range<usize>, String) {
        let text = self.file.text;
        if token.start < self.at && token.kind == TokenKind::String {
            let rest = &text[self.at..token.end];
            let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = word.max(rest.chars().next().map_or(0, char::len_utf8));
            return (self.at..self.at + length, format!("`{}`", shown(&rest[..length])));
        }
        let description = match token.kind {
            TokenKind::String => "a string".to_string(),
            _ => format!("`{}`", shown(token.text(text))),
        };
        (token.start..token.end, description)
    }

    /// What was probably meant.
    fn hint(&self, rules: &[Rule]) -> Option<String> {
        let previous = self.next.checked_sub(1);
        let (found, before) = (self.text(Some(self.next)), self.text(previous));
        let after = self.text(Some(self.next + 1));
        self.pattern_hint(found, before, rules)
            .or_else(|| self.symbol_hint(found, before, after, rules))
            .map(str::to_string)
            .or_else(|| self.word_hint(found, before, after, rules))
    }

    /// Where a pattern's steps could go on.
    fn pattern_hint(&self, found: &str, before: &str, rules: &[Rule]) -> Option<&'static str> {
        let in_list = rules.contains(&Rule::comma) && self.first_word() == "pattern";
        if found == "->" && in_list {
            return Some("in `SEQ(…)` steps are separated by commas");
        }
        if !rules.contains(&Rule::step_op) {
            return None;
        }
        Some(match found {
            "," | "=>" | "~>" | "~" | "followed" => "the next step of a pattern stands behind `->`",
            "+" | "*" | "?" | "{" if matches!(before, "+" | "*" | "?" | "}") => {
                "a step has one quantifier; what is repeated is repeated in parentheses: `(A+)?`"
            }
            "+" | "*" | "?" | "{" => "a quantifier stands behind the type: `A+ as a`",
            "(" if before == "SEQ" => {
                "`SEQ(…)` is a named pattern's: `pattern P = SEQ(…)`; here steps are joined by `->`"
            }
            "(" if before.eq_ignore_ascii_case("seq") => "the list of steps is written `SEQ(…)`",
            _ => return None,
        })
    }

    fn symbol_hint(&self, found: &str, before: &str, after: &str, rules: &[Rule]) -> Option<&'static str> {
        let operand_expected = rules.iter().any(|rule| wording(*rule).is_some_and(|(_, words)| words == EXPRESSION));
        Some(match found {
            "=" if after == ">" => "greater or equal is written `>=`",
            "=" | "===" if rules.contains(&Rule::infix) => "compare with `==`; a named argument is `name: value`",
            "==" | ":=" if rules.contains(&Rule::assign) => "a declaration has a single `=`",
            ":" if rules.contains(&Rule::assign) => "a declaration has `=` after its name",
            "!==" | "<>" => "`not equal` is written `!=`",
            "=>" => "greater or equal is written `>=`",
            "<" if after == ">" => "`not equal` is written `!=`",
            "&&" => "write `and`",
            "||" => "write `or`; a lone `|` is bitwise",
            "!" => "write `not`",
            "" if before == "." && self.kind(self.next.checked_sub(2)) == Some(TokenKind::Number) => {
                "a float has digits after its point, as in `5.0`"
            }
            ";" => "statements need no terminator: leave the `;` out",
            "?" if !operand_expected => "a choice is written `if c then a else b`, a default `a ?? b`",
            "//" if operand_expected => "comments begin with `#`",
            "+" if operand_expected => "there is no unary plus",
            "*" if before == "(" && self.text(self.next.checked_sub(2)) == "count" => "rows are counted by `count()`",
            "*" if before == "(" => "all fields are kept unless `.select` or `.emit` names some",
            "." if self.kind(self.next.checked_sub(1)) == Some(TokenKind::Number) => {
                "a float has digits after its point, as in `5.0`"
            }
            "." if rules.contains(&Rule::infix)
                && !rules.contains(&Rule::operator)
                && self.text(Some(self.next + 2)) == "(" =>
            {
                "there are no methods: a function is called as `f(x)`"
            }
            "," if self.unit() == "line" => "the lines of a block are not separated by commas",
            "->" if self.first_word() == "fn" => "the result type stands between `)` and `=`",
            ")" | "]" | "}" if before == "," => "a value is missing after the comma",
            "{" if self.unit() == "declaration" && rules.contains(&Rule::colon) => {
                "a block is opened by `:` and indented"
            }
            _ => return None,
        })
    }

    fn word_hint(&self, found: &str, before: &str, after: &str, rules: &[Rule]) -> Option<String> {
        const KEYWORDS: &[&str] =
            &["and", "or", "not", "in", "is", "null", "true", "false", "if", "then", "else", "like", "matches", "as"];
        let lower = found.to_lowercase();
        let hint = match found {
            _ if lower != found && KEYWORDS.contains(&lower.as_str()) => format!("keywords are lower case: `{lower}`"),
            _ if KEYWORDS.contains(&found) && rules.iter().any(|rule| matches!(rule, Rule::name | Rule::type_name)) => {
                format!("`{found}` is a keyword; choose another name")
            }
            "None" | "nil" | "NULL" | "undefined" if rules.contains(&Rule::kw_null) => {
                "the missing value is `null`".to_string()
            }
            _ if before == "is" => "`is` tests for `null` only; compare with `==`".to_string(),
            _ if self.kind(self.next.checked_sub(1)) == Some(TokenKind::Number)
                && self.kind(Some(self.next)) == Some(TokenKind::Word) =>
            {
                return unit_hint(before, found);
            }
            "xor" => "bitwise exclusive or is `^`; for conditions use `!=`".to_string(),
            "between" => "write `low <= x and x <= high`".to_string(),
            "div" => "floor division is `//`".to_string(),
            "mod" => "the remainder is `%`".to_string(),
            "isnt" | "isnot" => "write `is not null`".to_string(),
            "elif" | "elseif" if rules.contains(&Rule::kw_else) => "write `else if`".to_string(),
            _ if self.text(self.next.checked_sub(2)) == "count" && before == "distinct" => {
                "distinct values are counted by `count_distinct(x)`".to_string()
            }
            _ if self.text(self.next.checked_sub(2)) == "."
                && rules.iter().any(|rule| matches!(rule, Rule::args | Rule::lparen)) =>
            {
                format!("an operator is called with parentheses: `.{before}()`")
            }
            "where" | "filter" | "select" | "window" | "emit" | "having" | "aggregate"
                if rules.contains(&Rule::operator) =>
            {
                format!("operators begin with a dot: `.{found}(…)`")
            }
            _ if rules.contains(&Rule::comma)
                && after == ":"
                && self.kind(Some(self.next)) == Some(TokenKind::Word) =>
            {
                "a comma is missing between the arguments".to_string()
            }
            _ if self.kind(self.next.checked_sub(1)) == Some(TokenKind::Word)
                && self.kind(Some(self.next)) == Some(TokenKind::String)
                && matches!(before, "r" | "b" | "u" | "F") =>
            {
                "strings have no prefix but `f`, for interpolation".to_string()
            }
            _ if self.unit() == "line" && self.code.get(self.next).is_some_and(|token| token.breaks_before > 0) => {
                "a line that is indented deeper continues the one before".to_string()
            }
            _ if self.unit() == "line" && rules == [Rule::kw_return] => {
                "a function's block is made of `let`, `if`, `elif`, `else` and `return`".to_string()
            }
            _ => return None,
        };
        Some(hint)
    }
}

/// For a number and a word behind it that may be its unit.
fn unit_hint(number: &str, word: &str) -> Option<String> {
    match literal::number(&format!("{number}{word}")) {
        Ok(_) => Some(format!("a unit follows its number without a space: `{number}{word}`")),
        Err(error) => error.hint.filter(|hint| hint.starts_with("did you mean")),
    }
}

const EXPRESSION: &str = "an expression";
const OPERATOR: &str = "an operator";
const END_OF_LINE: &str = "the end of the line";

/// The words for a rule, and how early they are listed. Rules without words are never worth naming.
fn wording(rule: Rule) -> Option<(u8, &'static str)> {
    use Rule::*;
    Some(match rule {
        expr | operand | arg | kw_null | boolean | fstring | string | timestamp | float | duration | size | int
        | list | map | paren | if_call | if_expr | cast | name_or_call | prefix | fexpr => (1, EXPRESSION),
        type_expr | type_name | list_type | brace_type => (1, "a type"),
        source | timer | merge | join | from | sequence | join_arg => (1, "a stream or event type"),
        step | member | group | kw_all => (1, "an event type"),
        name | word => (2, "a name"),
        param | record_field => (2, "a field `name: type`"),
        map_entry => (2, "an entry `\"key\": value`"),
        operator => (4, "`.operator(…)`"),
        lparen | args => (3, "`(`"),
        rparen => (0, "`)`"),
        lbrack => (3, "`[`"),
        rbrack => (0, "`]`"),
        lbrace => (3, "`{`"),
        rbrace => (0, "`}`"),
        comma => (0, "`,`"),
        colon => (5, "`:`"),
        assign => (0, "`=`"),
        count => (1, "a count"),
        arrow | step_op => (5, "`->`"),
        infix | is_null | kw_is => (6, OPERATOR),
        EOI => (5, END_OF_LINE),
        kw_then => (0, "`then`"),
        kw_else | else_if => (0, "`else`"),
        kw_if => (1, "`if`"),
        kw_as | alias => (5, "`as`"),
        kw_on => (5, "`on`"),
        kw_where | condition => (5, "`where`"),
        kw_within | within => (5, "`within`"),
        kw_partition | partition => (5, "`partition by`"),
        kw_by => (0, "`by`"),
        kw_let => (1, "`let`"),
        kw_return => (1, "`return`"),
        kw_elif => (1, "`elif`"),
        kw_extends => (5, "`extends`"),
        kw_from => (5, "`from`"),
        kw_not => (2, "`not`"),
        direction => (6, "`desc`"),
        fclose_double => (3, "`\"`"),
        fclose_single => (3, "`'`"),
        // What begins a declaration is known before it is parsed, punctuation inside of rules and
        // whole lines are never tried alone, and these are better left out of a list.
        WHITESPACE | COMMENT | word_char | reserved | kw_event | kw_type | kw_const | kw_fn | kw_import
        | kw_connector | kw_stream | kw_table | kw_pattern | kw_and | kw_or | kw_cast | kw_join | kw_merge
        | kw_timer | kw_seq | dot | qdot | quest | digits | exponent | clock | zone | escape | ftext_double
        | ftext_single | field | subscript | primary | if_ahead | as_ahead | skipped | member_op | not_all | plus
        | star | quantifier | seq | event_header | event_member | event_time | type_decl | const_decl | fn_decl
        | fn_header | signature | import_decl | connector_decl | stream_decl | table_decl | pattern_decl
        | block_header | option | let_line | return_line | if_header | elif_header | else_header => return None,
    })
}

/// What was expected, as a list of alternatives.
fn expected(rules: &[Rule], unit: &str) -> String {
    // Behind an operand brackets are possible as operators are, and as little worth naming.
    let after_operand = rules.contains(&Rule::infix);
    let opening = |rule: &Rule| matches!(rule, Rule::args | Rule::lparen | Rule::lbrack | Rule::lbrace);
    let named = rules.iter().filter(|rule| !(after_operand && opening(rule)));
    let mut words: Vec<(u8, &'static str)> = named.filter_map(|rule| wording(*rule)).collect();
    if unit == "declaration" {
        let end = words.iter_mut().filter(|(_, word)| *word == END_OF_LINE);
        end.for_each(|(_, word)| *word = "the end of the declaration");
    }
    words.sort();
    words.dedup();
    let has = |words: &[(u8, &str)], wanted: &str| words.iter().any(|(_, word)| *word == wanted);
    if has(&words, EXPRESSION) {
        // A name begins an expression, and so do brackets.
        words.retain(|(rank, word)| *rank < 2 && *word != "`if`" || *word == EXPRESSION);
    }
    match words.first().map(|(rank, _)| *rank) {
        // A closing bracket or separator says it all: that something else could be opened does not help.
        Some(0) => words.retain(|(rank, _)| *rank < 3),
        Some(1..4) => words.retain(|(rank, _)| *rank < 5),
        Some(_) | None => {}
    }
    words.truncate(EXPECTED_MAX);
    match words.as_slice() {
        [] => "something else".to_string(),
        [(_, only)] => only.to_string(),
        [most @ .., (_, last)] => {
            let most: Vec<&str> = most.iter().map(|(_, word)| *word).collect();
            format!("{} or {last}", most.join(", "))
        }
    }
}
