//! One declaration: which rule reads its first line, and what its block holds.

use pest::Parser;
use pest::iterators::Pair;

use super::Builder;
use super::block::{members, options, statements};
use super::expr::string_value;
use crate::diagnostic::{codes, nearest};
use crate::syntax::ast::{Declaration, DeclarationKind, FnBody, Name, Param, TypeExpr};
use crate::syntax::failure;
use crate::syntax::grammar::{Parts, Rule, VplParser};
use crate::syntax::layout::Line;
use crate::syntax::reports::Reports;
use crate::syntax::scan::{Token, TokenKind};

/// A file being parsed.
pub struct File<'a> {
    pub text: &'a str,
    pub tokens: &'a [Token],
}

impl<'a> File<'a> {
    /// The tokens of a line, comments left out.
    pub fn code(&self, line: &Line) -> impl DoubleEndedIterator<Item = &'a Token> + use<'a> {
        self.tokens[line.tokens.clone()].iter().filter(|token| !token.is_comment())
    }

    pub fn first_word(&self, line: &Line) -> &'a str {
        self.code(line).next().map_or("", |token| token.text(self.text))
    }

    /// Where a line begins and ends, comments left out.
    pub fn range(&self, line: &Line) -> std::ops::Range<usize> {
        let mut code = self.code(line);
        let Some(first) = code.next() else { return 0..0 };
        first.start..code.next_back().unwrap_or(first).end
    }

    /// Where a declaration with its block begins and ends.
    pub fn full_range(&self, line: &Line) -> std::ops::Range<usize> {
        let start = self.range(line).start;
        let mut last = line;
        while let Some(child) = last.children.last() {
            last = child;
        }
        start..self.range(last).end
    }

    /// Parses a line by a rule; `None` if it was or now is reported.
    pub fn parse(&self, rule: Rule, line: &Line, reports: &mut Reports) -> Option<(Pair<'a, Rule>, usize)> {
        if line.broken {
            return None;
        }
        let range = self.range(line);
        match VplParser::parse(rule, &self.text[range.clone()]) {
            Ok(mut pairs) => pairs.next().map(|pair| (pair, range.start)),
            Err(error) => {
                failure::report(self, line, range, error, reports);
                None
            }
        }
    }
}

/// The declaration of a line, unless it is too broken to be one.
pub fn declaration(file: &File<'_>, line: &Line, reports: &mut Reports) -> Option<Declaration> {
    let span = reports.span(file.full_range(line));
    let rule = match (file.first_word(line), line.opens_block) {
        ("event", _) => Rule::event_header,
        ("type", _) => Rule::type_decl,
        ("const", _) => Rule::const_decl,
        ("fn", true) => Rule::fn_header,
        ("fn", false) => Rule::fn_decl,
        ("import", _) => Rule::import_decl,
        ("connector", _) => Rule::connector_decl,
        ("stream", _) => Rule::stream_decl,
        ("table", _) => Rule::table_decl,
        ("pattern", _) => Rule::pattern_decl,
        ("window" | "state" | "checkpoint", _) => Rule::block_header,
        _ => {
            unknown(file, line, reports);
            return None;
        }
    };
    let parsed = file.parse(rule, line, reports);
    // The lines of a block are read even if its header is broken: their errors are errors, too.
    let kind = match rule {
        Rule::event_header => {
            let members = members(file, &line.children, reports);
            let (mut parts, builder) = open(parsed?, reports);
            parts.need(Rule::kw_event);
            let name = builder.name(parts.need(Rule::name));
            let extends = parts.take(Rule::kw_extends).map(|_| builder.name(parts.need(Rule::name)));
            DeclarationKind::Event { name, extends, members }
        }
        Rule::fn_header => {
            let body = FnBody::Block(statements(file, &line.children, reports));
            let (mut parts, builder) = open(parsed?, reports);
            let (name, params, result) = signature(&builder, parts.need(Rule::signature));
            DeclarationKind::Fn { name, params, result, body }
        }
        Rule::block_header => {
            let options = options(file, &line.children, reports);
            let (mut parts, builder) = open(parsed?, reports);
            DeclarationKind::Block { keyword: builder.name(parts.need(Rule::word)), options }
        }
        _ => {
            let (parts, builder) = open(parsed?, reports);
            unindented(rule, parts, builder)
        }
    };
    Some(Declaration { kind, span })
}

fn open<'i, 'r>(parsed: (Pair<'i, Rule>, usize), reports: &'r mut Reports) -> (Parts<'i>, Builder<'r>) {
    (Parts::of(parsed.0), Builder::new(parsed.1, reports))
}

/// A declaration without a block.
fn unindented(rule: Rule, mut parts: Parts<'_>, mut builder: Builder<'_>) -> DeclarationKind {
    if rule == Rule::fn_decl {
        let (name, params, result) = signature(&builder, parts.need(Rule::signature));
        parts.need(Rule::assign);
        let body = FnBody::Expr(builder.expr(parts.need(Rule::expr)));
        return DeclarationKind::Fn { name, params, result, body };
    }
    // The keyword.
    parts.next();
    if rule == Rule::import_decl {
        let path = parts.need(Rule::string);
        return DeclarationKind::Import { path: string_value(path.as_str()), path_span: builder.span(&path) };
    }
    let name = builder.name(parts.need(Rule::name));
    match rule {
        Rule::type_decl => {
            parts.need(Rule::assign);
            DeclarationKind::TypeAlias { name, ty: builder.type_expr(parts.need(Rule::type_expr)) }
        }
        Rule::const_decl => {
            let ty = parts.take(Rule::colon).map(|_| builder.type_expr(parts.need(Rule::type_expr)));
            parts.need(Rule::assign);
            DeclarationKind::Const { name, ty, value: builder.expr(parts.need(Rule::expr)) }
        }
        Rule::connector_decl => {
            parts.need(Rule::assign);
            let kind = builder.name(parts.need(Rule::name));
            DeclarationKind::Connector { name, kind, args: builder.args(parts.need(Rule::args)) }
        }
        Rule::stream_decl | Rule::table_decl => {
            parts.need(Rule::assign);
            let source = builder.source(parts.need(Rule::source));
            let ops = parts.all(Rule::operator).map(|operator| builder.operator(operator)).collect();
            match rule {
                Rule::stream_decl => DeclarationKind::Stream { name, source, ops },
                _ => DeclarationKind::Table { name, source, ops },
            }
        }
        Rule::pattern_decl => {
            parts.need(Rule::assign);
            let (body, clauses) = builder.pattern(parts);
            DeclarationKind::Pattern { name, body, clauses }
        }
        other => unreachable!("{other:?} is no declaration without a block"),
    }
}

fn signature(builder: &Builder<'_>, pair: Pair<'_, Rule>) -> (Name, Vec<Param>, Option<TypeExpr>) {
    let mut parts = Parts::of(pair);
    parts.need(Rule::kw_fn);
    let name = builder.name(parts.need(Rule::name));
    parts.need(Rule::lparen);
    let mut params = Vec::new();
    while let Some(param) = parts.take(Rule::param) {
        let mut inner = Parts::of(param);
        let name = builder.name(inner.need(Rule::name));
        inner.need(Rule::colon);
        params.push(Param { name, ty: builder.type_expr(inner.need(Rule::type_expr)) });
        parts.take(Rule::comma);
    }
    parts.need(Rule::rparen);
    let result = parts.take(Rule::arrow).map(|_| builder.type_expr(parts.need(Rule::type_expr)));
    (name, params, result)
}

const KEYWORDS: &[&str] = &[
    "event",
    "type",
    "const",
    "fn",
    "import",
    "connector",
    "stream",
    "table",
    "pattern",
    "window",
    "state",
    "checkpoint",
];

fn unknown(file: &File<'_>, line: &Line, reports: &mut Reports) {
    let Some(first) = file.code(line).next() else { return };
    if line.broken || first.kind == TokenKind::Broken {
        return;
    }
    let word = first.text(file.text);
    let indented = first.start > 0 && file.text[..first.start].ends_with([' ', '\t']);
    let hint = match nearest(word, KEYWORDS.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if word == "//" => "comments begin with `#`".to_string(),
        None if matches!(word, "SELECT" | "select" | "CREATE" | "create") => {
            "VPL is not SQL: write `stream Name = Source.where(…).select(…)`".to_string()
        }
        None if matches!(word, "def" | "function" | "func") => "functions are declared by `fn`".to_string(),
        None if matches!(word, "let" | "var" | "val") => "constants are declared by `const NAME = …`".to_string(),
        None if word == "." => "a chain of operators follows `stream Name = Source`".to_string(),
        None if indented => "if the line belongs to a block, indent it like the lines of the block".to_string(),
        None => format!("declarations begin with one of {}", KEYWORDS.join(", ")),
    };
    let message = format!("expected a declaration, found `{}`", failure::shown(word));
    reports.error(codes::UNKNOWN_DECLARATION, first.start..first.end, message, Some(hint));
}
