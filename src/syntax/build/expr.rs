//! Expressions: literals, calls, fields. Precedence is the ladder's.

use pest::iterators::Pair;

use super::Builder;
use super::ladder::{self, Infix, Part};
use crate::diagnostic::codes;
use crate::syntax::ast::{Arg, BinaryOp, Direction, Expr, ExprKind, Name, StrPart, UnaryOp};
use crate::syntax::grammar::{Parts, Rule};
use crate::syntax::literal::{self, Number};

/// An operand of the ladder: a primary and what follows it.
struct Operand<'i> {
    primary: Pair<'i, Rule>,
    postfix: Vec<Pair<'i, Rule>>,
    /// Where the minus of -9223372036854775808 is, the one literal that its sign belongs to.
    minus: Option<usize>,
}

impl<'r> Builder<'r> {
    pub fn expr(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let range = self.range(&pair);
        let mut parts: Vec<Part<Operand<'_>>> = Vec::new();
        for pair in pair.into_inner() {
            let range = self.range(&pair);
            match pair.as_rule() {
                Rule::operand => self.operand_parts(pair, &mut parts),
                Rule::infix => parts.push(Part::Infix(infix(pair.as_str()), range)),
                Rule::is_null => {
                    let mut inner = Parts::of(pair);
                    inner.need(Rule::kw_is);
                    parts.push(Part::IsNull { negated: inner.take(Rule::kw_not).is_some(), range });
                }
                other => unreachable!("{other:?} in an expression"),
            }
        }
        let depth = 1 + ladder::check(&parts, self.reports);
        self.deeper(depth, range, |builder| ladder::climb(builder, parts, |b, operand| b.operand(operand)))
    }

    fn operand_parts<'i>(&mut self, pair: Pair<'i, Rule>, parts: &mut Vec<Part<Operand<'i>>>) {
        let mut inner = Parts::of(pair);
        while let Some(prefix) = inner.take(Rule::prefix) {
            let op = match prefix.as_str() {
                "-" => UnaryOp::Negate,
                "~" => UnaryOp::BitNot,
                _ => UnaryOp::Not,
            };
            parts.push(Part::Prefix(op, self.range(&prefix)));
        }
        let Some(primary) = inner.next() else { unreachable!("an operand has a primary") };
        let mut postfix = Vec::new();
        while let Some(pair) = inner.next() {
            postfix.push(pair);
        }
        let magnitude = primary.as_rule() == Rule::int
            && postfix.is_empty()
            && literal::number(primary.as_str()) == Ok(Number::IntMinMagnitude);
        let minus = match parts.pop_if(|part| magnitude && matches!(part, Part::Prefix(UnaryOp::Negate, _))) {
            Some(Part::Prefix(_, range)) => Some(range.start),
            Some(_) | None => None,
        };
        parts.push(Part::Operand(Operand { primary, postfix, minus }));
    }

    fn operand(&mut self, operand: Operand<'_>) -> Expr {
        let Operand { primary, postfix, minus } = operand;
        if let Some(start) = minus {
            let span = self.reports.span(start..self.range(&primary).end);
            return Expr { kind: ExprKind::Int(i64::MIN), span };
        }
        let depth = postfix.len();
        let range = self.range(&primary);
        self.deeper(depth, range, |builder| {
            let base = builder.primary(primary);
            postfix.into_iter().fold(base, |base, pair| builder.postfix(base, pair))
        })
    }

    fn postfix(&mut self, base: Expr, pair: Pair<'_, Rule>) -> Expr {
        let span = base.span.to(self.span(&pair));
        let base = Box::new(base);
        let rule = pair.as_rule();
        let mut parts = Parts::of(pair);
        if rule == Rule::field {
            let optional = parts.take(Rule::qdot).is_some();
            parts.take(Rule::dot);
            let name = self.name(parts.need(Rule::word));
            return Expr { kind: ExprKind::Field { base, name, optional }, span };
        }
        let bracket = self.span(&parts.need(Rule::lbrack));
        let from = parts.take(Rule::expr).map(|pair| Box::new(self.expr(pair)));
        let slice = parts.take(Rule::colon).is_some();
        let to = parts.take(Rule::expr).map(|pair| Box::new(self.expr(pair)));
        let kind = match (slice, from) {
            (true, from) => ExprKind::Slice { base, from, to },
            (false, Some(index)) => ExprKind::Index { base, index },
            (false, None) => {
                let range = bracket.start as usize..span.end as usize;
                self.reports.error(codes::UNEXPECTED, range, "an index is expected between the brackets", None);
                ExprKind::Error
            }
        };
        Expr { kind, span }
    }

    fn primary(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::kw_null => ExprKind::Null,
            Rule::boolean => ExprKind::Bool(pair.as_str() == "true"),
            Rule::string => ExprKind::Str(string_value(pair.as_str())),
            Rule::fstring => self.fstring(pair),
            Rule::timestamp => literal::timestamp(pair.as_str()).map_or(ExprKind::Error, ExprKind::Timestamp),
            Rule::int | Rule::float | Rule::duration | Rule::size => self.number(pair),
            Rule::list => ExprKind::List(Parts::of(pair).all(Rule::expr).map(|item| self.expr(item)).collect()),
            Rule::map => ExprKind::Map(Parts::of(pair).all(Rule::map_entry).map(|e| self.map_entry(e)).collect()),
            Rule::paren => {
                let mut parts = Parts::of(pair);
                parts.need(Rule::lparen);
                // The parentheses belong to what is underlined.
                return Expr { span, ..self.expr(parts.need(Rule::expr)) };
            }
            Rule::if_expr => return self.if_expr(pair),
            Rule::if_call => {
                let mut parts = Parts::of(pair);
                let function = self.name(parts.need(Rule::kw_if));
                ExprKind::Call { function, args: self.args(parts.need(Rule::args)) }
            }
            Rule::cast => self.cast(pair),
            Rule::name_or_call => {
                let mut parts = Parts::of(pair);
                let name = parts.need(Rule::name);
                match parts.take(Rule::args) {
                    Some(args) => ExprKind::Call { function: self.name(name), args: self.args(args) },
                    None => ExprKind::Name(name.as_str().to_string()),
                }
            }
            other => unreachable!("{other:?} is no primary"),
        };
        Expr { kind, span }
    }

    fn number(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        match literal::number(pair.as_str()) {
            Ok(Number::Int(value)) => ExprKind::Int(value),
            Ok(Number::Float(value)) => ExprKind::Float(value),
            Ok(Number::Duration(ns)) => ExprKind::Duration(ns),
            Ok(Number::Size(bytes)) => ExprKind::Size(bytes),
            Ok(Number::IntMinMagnitude) => {
                let range = self.range(&pair);
                let message = "the number does not fit a 64-bit int";
                self.reports.error(codes::INVALID_NUMBER, range, message, None);
                ExprKind::Error
            }
            // The scanner has reported it.
            Err(_) => ExprKind::Error,
        }
    }

    fn fstring(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let mut parts = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::ftext_double | Rule::ftext_single => {
                    parts.push(StrPart::Text(literal::unescape(part.as_str(), true).unwrap_or_default()));
                }
                Rule::fexpr => {
                    let mut inner = Parts::of(part);
                    inner.need(Rule::lbrace);
                    parts.push(StrPart::Expr(self.expr(inner.need(Rule::expr))));
                }
                _ => {}
            }
        }
        ExprKind::Interpolated(parts)
    }

    fn map_entry(&mut self, pair: Pair<'_, Rule>) -> (String, Expr) {
        let mut parts = Parts::of(pair);
        let key = string_value(parts.need(Rule::string).as_str());
        parts.need(Rule::colon);
        (key, self.expr(parts.need(Rule::expr)))
    }

    /// `if a then b else if c then d else e`; an `else if` nests in the tree, but not in the parser.
    fn if_expr(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let range = self.range(&pair);
        let mut parts = Parts::of(pair);
        let start = parts.need(Rule::kw_if).as_span().start();
        let first = (start, parts.need(Rule::expr), {
            parts.need(Rule::kw_then);
            parts.need(Rule::expr)
        });
        let mut branches = vec![first];
        while let Some(branch) = parts.take(Rule::else_if) {
            let mut inner = Parts::of(branch);
            inner.need(Rule::kw_else);
            let start = inner.need(Rule::kw_if).as_span().start();
            let condition = inner.need(Rule::expr);
            inner.need(Rule::kw_then);
            branches.push((start, condition, inner.need(Rule::expr)));
        }
        parts.need(Rule::kw_else);
        let otherwise = parts.need(Rule::expr);
        self.deeper(branches.len(), range.clone(), |builder| {
            let built: Vec<_> = branches
                .into_iter()
                .map(|(start, condition, then)| (start, builder.expr(condition), builder.expr(then)))
                .collect();
            let last = builder.expr(otherwise);
            built.into_iter().rev().fold(last, |otherwise, (start, condition, then)| {
                let span = builder.reports.span(start + builder.base..range.end);
                let (condition, then) = (Box::new(condition), Box::new(then));
                Expr { kind: ExprKind::If { condition, then, otherwise: Box::new(otherwise) }, span }
            })
        })
    }

    fn cast(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let mut parts = Parts::of(pair);
        let fallible = parts.need(Rule::kw_cast).as_str() == "try_cast";
        parts.need(Rule::lparen);
        let arg = Box::new(self.expr(parts.need(Rule::expr)));
        parts.need(Rule::kw_as);
        ExprKind::Cast { arg, ty: self.type_expr(parts.need(Rule::type_expr)), fallible }
    }

    pub fn args(&mut self, pair: Pair<'_, Rule>) -> Vec<Arg> {
        Parts::of(pair).all(Rule::arg).map(|arg| self.arg(arg)).collect()
    }

    pub fn arg(&mut self, pair: Pair<'_, Rule>) -> Arg {
        let mut parts = Parts::of(pair);
        let name: Option<Name> = parts.take(Rule::word).map(|word| self.name(word));
        parts.take(Rule::colon);
        let value = self.expr(parts.need(Rule::expr));
        let direction = parts.take(Rule::direction).map(|pair| {
            let direction = if pair.as_str() == "desc" { Direction::Descending } else { Direction::Ascending };
            (direction, self.span(&pair))
        });
        Arg { name, value, direction }
    }
}

/// The value of a string token; the scanner has checked its escapes.
pub fn string_value(token: &str) -> String {
    literal::unescape(&token[1..token.len() - 1], false).unwrap_or_default()
}

fn infix(text: &str) -> Infix {
    let op = match text {
        "or" => BinaryOp::Or,
        "and" => BinaryOp::And,
        "==" => BinaryOp::Equal,
        "!=" => BinaryOp::NotEqual,
        "<" => BinaryOp::Less,
        "<=" => BinaryOp::LessOrEqual,
        ">" => BinaryOp::Greater,
        ">=" => BinaryOp::GreaterOrEqual,
        "like" => BinaryOp::Like,
        "matches" => BinaryOp::Matches,
        "??" => BinaryOp::Coalesce,
        "|" => BinaryOp::BitOr,
        "^" => BinaryOp::BitXor,
        "&" => BinaryOp::BitAnd,
        "<<" => BinaryOp::ShiftLeft,
        ">>" => BinaryOp::ShiftRight,
        "+" => BinaryOp::Add,
        "-" => BinaryOp::Subtract,
        "*" => BinaryOp::Multiply,
        "/" => BinaryOp::Divide,
        "//" => BinaryOp::FloorDivide,
        "%" => BinaryOp::Modulo,
        "**" => BinaryOp::Power,
        "in" => return Infix::In { negated: false },
        // `not in`, with any white space between the words.
        _ => return Infix::In { negated: true },
    };
    Infix::Binary(op)
}
