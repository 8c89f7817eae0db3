//! The lines of indented blocks: fields of events, options, statements of functions.

use super::Builder;
use super::declaration::File;
use crate::diagnostic::codes;
use crate::syntax::ast::{BlockOption, EventMember, Expr, OptionValue, Statement, TypeExpr, TypeKind};
use crate::syntax::grammar::{Parts, Rule};
use crate::syntax::layout::Line;
use crate::syntax::reports::Reports;

/// The fields of an event, and its `time:` line.
pub fn members(file: &File<'_>, lines: &[Line], reports: &mut Reports) -> Vec<EventMember> {
    let names: Vec<&str> = lines.iter().map(|line| file.first_word(line)).collect();
    let mut members = Vec::new();
    for line in lines {
        if file.first_word(line) == "time" && !declares_time_field(file, line, &names) {
            let Some((pair, base)) = file.parse(Rule::event_time, line, reports) else { continue };
            let mut builder = Builder::new(base, reports);
            let span = builder.span(&pair);
            members.push(EventMember::Time { value: builder.expr(value_of(pair, Rule::expr)), span });
        } else if let Some((pair, base)) = file.parse(Rule::event_member, line, reports) {
            let builder = Builder::new(base, reports);
            let mut parts = Parts::of(pair);
            let name = builder.name(parts.need(Rule::word));
            parts.need(Rule::colon);
            members.push(EventMember::Field { name, ty: builder.type_expr(parts.need(Rule::type_expr)) });
        }
        no_block(file, line, reports);
    }
    members
}

const BUILT_IN_TYPES: &[&str] = &["int", "float", "bool", "str", "timestamp", "duration"];

/// Whether `time: …` is a field called `time`: what follows reads as a type, and not as the name of
/// another field. A lone name that is neither is a type if it has the capital of one.
fn declares_time_field(file: &File<'_>, line: &Line, members: &[&str]) -> bool {
    let mut silent = Reports::new(0);
    let Some((pair, base)) = file.parse(Rule::event_member, line, &mut silent) else { return false };
    let TypeExpr { kind, nullable, .. } = Builder::new(base, &mut silent).type_expr(value_of(pair, Rule::type_expr));
    match kind {
        TypeKind::Named(name) => {
            let capital = name.starts_with(|c: char| c.is_ascii_uppercase());
            nullable || BUILT_IN_TYPES.contains(&name.as_str()) || capital && !members.contains(&name.as_str())
        }
        TypeKind::List(_) | TypeKind::Map(_) | TypeKind::Record(_) => true,
    }
}

fn value_of(pair: pest::iterators::Pair<'_, Rule>, rule: Rule) -> pest::iterators::Pair<'_, Rule> {
    let mut parts = Parts::of(pair);
    parts.need(Rule::word);
    parts.need(Rule::colon);
    parts.need(rule)
}

/// Reports a block where there can be none.
fn no_block(file: &File<'_>, line: &Line, reports: &mut Reports) {
    if let Some(child) = line.children.first().filter(|_| !line.broken) {
        let range = file.range(child);
        let message = "this line is indented deeper than the block it is in";
        reports.error(codes::INDENTATION, range, message, None);
    }
}

/// The options of `window:`, `state:`, `checkpoint:`.
pub fn options(file: &File<'_>, lines: &[Line], reports: &mut Reports) -> Vec<BlockOption> {
    let mut options = Vec::new();
    for line in lines {
        let nested = line.opens_block.then(|| self::options(file, &line.children, reports));
        let rule = if line.opens_block { Rule::block_header } else { Rule::option };
        let Some((pair, base)) = file.parse(rule, line, reports) else { continue };
        let mut builder = Builder::new(base, reports);
        let mut parts = Parts::of(pair);
        let name = builder.name(parts.need(Rule::word));
        parts.need(Rule::colon);
        let value = match nested {
            Some(options) => OptionValue::Nested(options),
            None => OptionValue::Expr(builder.expr(parts.need(Rule::expr))),
        };
        options.push(BlockOption { name, value });
    }
    options
}

/// The statements of a function's block.
pub fn statements(file: &File<'_>, lines: &[Line], reports: &mut Reports) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    // Whether an `elif` or `else` may follow, though the `if` itself may have been broken.
    let mut after_if = false;
    for line in lines {
        let word = file.first_word(line);
        match word {
            "if" => {
                let body = self::statements(file, &line.children, reports);
                if let Some(condition) = condition(file, line, Rule::if_header, reports) {
                    statements.push(Statement::If { branches: vec![(condition, body)], otherwise: None });
                }
                after_if = true;
            }
            "elif" | "else" => {
                let body = self::statements(file, &line.children, reports);
                if !after_if {
                    let range = file.range(line);
                    let message = format!("`{word}` without an `if` before it");
                    reports.error(codes::STRAY_BRANCH, range, message, None);
                }
                branch(file, line, body, statements.last_mut(), reports);
                after_if &= word == "elif";
            }
            _ => {
                after_if = false;
                statements.extend(plain_statement(file, line, reports));
                no_block(file, line, reports);
            }
        }
    }
    statements
}

/// Adds an `elif` or `else` to the `if` before it.
fn branch(file: &File<'_>, line: &Line, body: Vec<Statement>, last: Option<&mut Statement>, reports: &mut Reports) {
    let is_else = file.first_word(line) == "else";
    let condition = if is_else {
        file.parse(Rule::else_header, line, reports).map(|_| None)
    } else {
        condition(file, line, Rule::elif_header, reports).map(Some)
    };
    if let (Some(condition), Some(Statement::If { branches, otherwise })) = (condition, last) {
        match condition {
            Some(condition) => branches.push((condition, body)),
            None => *otherwise = Some(body),
        }
    }
}

fn condition(file: &File<'_>, line: &Line, rule: Rule, reports: &mut Reports) -> Option<Expr> {
    let (pair, base) = file.parse(rule, line, reports)?;
    let mut parts = Parts::of(pair);
    parts.next();
    Some(Builder::new(base, reports).expr(parts.need(Rule::expr)))
}

fn plain_statement(file: &File<'_>, line: &Line, reports: &mut Reports) -> Option<Statement> {
    if file.first_word(line) == "let" {
        let (pair, base) = file.parse(Rule::let_line, line, reports)?;
        let mut builder = Builder::new(base, reports);
        let mut parts = Parts::of(pair);
        parts.need(Rule::kw_let);
        let name = builder.name(parts.need(Rule::name));
        parts.need(Rule::assign);
        return Some(Statement::Let { name, value: builder.expr(parts.need(Rule::expr)) });
    }
    let (pair, base) = file.parse(Rule::return_line, line, reports)?;
    let mut builder = Builder::new(base, reports);
    let span = builder.span(&pair);
    let mut parts = Parts::of(pair);
    parts.need(Rule::kw_return);
    Some(Statement::Return { value: builder.expr(parts.need(Rule::expr)), span })
}
