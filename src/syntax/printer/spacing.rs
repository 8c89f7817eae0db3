//! Where a space stands between two tokens, decided once for a whole file.
//!
//! The printer works on tokens, so that literals, parentheses and comments stay as they were written
//! and only white space changes. What a token is (a minus or a sign, a quantifier or a product, a
//! slice's colon or a name's) follows from its neighbours and its brackets.

use crate::syntax::layout::Line;
use crate::syntax::scan::{Token, TokenKind};

/// Words after which an operand begins: a bracket after them is not a call, a minus is a sign.
const BEFORE_OPERAND: &[&str] = &[
    "and", "or", "not", "in", "is", "like", "matches", "as", "then", "else", "if", "elif", "return", "where", "on",
    "by", "within", "all",
];

/// How tokens are printed.
pub struct Spacing {
    /// Whether a space stands before the token when its line is not broken there.
    pub gap: Vec<bool>,
    /// A comma before a closing bracket: printed only in broken brackets.
    pub trailing_comma: Vec<bool>,
    /// Brackets of a quantifier such as `{2,3}`: never broken.
    pub quantifier: Vec<bool>,
}

struct Bracket {
    subscript: bool,
    quantifier: bool,
}

/// The spacing of a file's tokens, which are laid out in declarations.
pub fn spacing(text: &str, tokens: &[Token], lines: &[Line]) -> Spacing {
    let count = tokens.len();
    let mut spacing =
        Spacing { gap: vec![false; count], trailing_comma: vec![false; count], quantifier: vec![false; count] };
    let mut brackets: Vec<Bracket> = Vec::new();
    let code: Vec<usize> = (0..count).filter(|i| !tokens[*i].is_comment()).collect();
    let mut begins = vec![false; count];
    lines.iter().for_each(|line| begins[line.tokens.start] = true);
    // Comments do not change what the tokens around them are.
    let mut gaps = vec![true; count];
    for (at, &i) in code.iter().enumerate() {
        let ends = code.get(at + 1).is_none_or(|next| begins[*next]);
        let near = Near { text, tokens, code: &code, at, ends };
        if tokens[i].kind == TokenKind::Open {
            let quantifier = near.is_quantifier();
            let word = near.word(0);
            brackets.push(Bracket { subscript: word == "[" && near.operand_before(), quantifier });
        }
        let bracket = brackets.last();
        spacing.quantifier[i] = bracket.is_some_and(|bracket| bracket.quantifier);
        spacing.trailing_comma[i] =
            near.word(0) == "," && !spacing.quantifier[i] && matches!(near.kind(1), Some(TokenKind::Close));
        gaps[i] = near.gap(bracket);
        if tokens[i].kind == TokenKind::Close {
            brackets.pop();
        }
    }
    for i in 1..count {
        let (before, this) = (tokens[i - 1], tokens[i]);
        spacing.gap[i] = match (before.is_comment(), this.is_comment()) {
            (false, false) => gaps[i],
            (_, true) => before.kind != TokenKind::Open,
            (true, false) => this.kind != TokenKind::Close && this.text(text) != ",",
        };
    }
    spacing
}

/// A token among its neighbours.
struct Near<'a> {
    text: &'a str,
    tokens: &'a [Token],
    code: &'a [usize],
    at: usize,
    /// Whether the declaration ends with it.
    ends: bool,
}

impl Near<'_> {
    fn token(&self, offset: isize) -> Option<&Token> {
        let at = self.at.checked_add_signed(offset)?;
        self.code.get(at).map(|i| &self.tokens[*i])
    }

    fn kind(&self, offset: isize) -> Option<TokenKind> {
        self.token(offset).map(|token| token.kind)
    }

    fn word(&self, offset: isize) -> &str {
        self.token(offset).map_or("", |token| token.text(self.text))
    }

    /// Whether the token before ends an operand.
    fn operand_before(&self) -> bool {
        match self.kind(-1) {
            Some(TokenKind::Word) => !BEFORE_OPERAND.contains(&self.word(-1)) || self.is_member(-1),
            Some(TokenKind::Number | TokenKind::String | TokenKind::Timestamp | TokenKind::Close) => true,
            Some(
                TokenKind::Open
                | TokenKind::Symbol
                | TokenKind::Broken
                | TokenKind::LineComment
                | TokenKind::BlockComment,
            )
            | None => false,
        }
    }

    /// Whether the word is a member's or operator's name, where keywords do not count.
    fn is_member(&self, offset: isize) -> bool {
        matches!(self.word(offset - 1), "." | "?.")
    }

    fn is_quantifier(&self) -> bool {
        let closes = |offset| self.word(offset) == "}";
        // The keys of a map are strings.
        self.word(0) == "{"
            && self.kind(1) == Some(TokenKind::Number)
            && (closes(2) || self.word(2) == "," && (closes(3) || closes(4)))
    }

    /// Whether `+ * ?` follows a pattern step or a type instead of standing between operands.
    fn is_postfix(&self) -> bool {
        match self.word(0) {
            "?" => true,
            "+" | "*" => {
                let follows = matches!(self.word(1), "->" | "as" | "where" | "and" | "or" | ")" | "," | "." | "within");
                self.ends || follows || self.word(1) == "partition" && self.word(2) == "by"
            }
            _ => false,
        }
    }

    fn is_sign(&self, offset: isize) -> bool {
        let near = Near { at: self.at.wrapping_add_signed(offset), ..*self };
        matches!(near.word(0), "-" | "~") && !near.operand_before()
    }

    fn gap(&self, bracket: Option<&Bracket>) -> bool {
        let (this, before) = (self.word(0), self.word(-1));
        if bracket.is_some_and(|bracket| bracket.quantifier) {
            return false;
        }
        let slice = |word: &str| word == ":" && bracket.is_some_and(|bracket| bracket.subscript);
        let member = |word: &str| word == "." || word == "?.";
        if self.kind(-1) == Some(TokenKind::Open) || self.kind(0) == Some(TokenKind::Close) {
            return false;
        }
        if matches!(this, "," | ":") || member(this) || member(before) || slice(before) || self.is_postfix() {
            return false;
        }
        if self.is_sign(-1) {
            return false;
        }
        match this {
            "[" => !self.operand_before(),
            "(" => self.gap_before_parenthesis(),
            _ => true,
        }
    }

    fn gap_before_parenthesis(&self) -> bool {
        if self.word(-2) == "as" && !self.is_member(-2) {
            // `.emit as Alert (…)`: the arguments are the operator's, not the alias's.
            return true;
        }
        match self.word(-1) {
            "if" => !self.has_comma_inside(),
            // Also an aggregate.
            "all" => {
                !matches!(self.kind(-2), Some(TokenKind::Open)) && matches!(self.word(-2), "->" | "=" | "and" | "or")
            }
            _ => !self.operand_before(),
        }
    }

    /// Whether a comma stands directly in the parentheses that open here.
    fn has_comma_inside(&self) -> bool {
        let mut depth = 0usize;
        for i in &self.code[self.at..] {
            let token = &self.tokens[*i];
            match token.kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth -= 1,
                TokenKind::Symbol if depth == 1 && token.text(self.text) == "," => return true,
                TokenKind::Word
                | TokenKind::Number
                | TokenKind::String
                | TokenKind::Timestamp
                | TokenKind::Symbol
                | TokenKind::LineComment
                | TokenKind::BlockComment
                | TokenKind::Broken => {}
            }
            if depth == 0 {
                return false;
            }
        }
        false
    }
}
