//! Arguments and options: matching what was written with what is known, and reading constants.
//!
//! Whatever has named arguments (operators, connectors, blocks) goes through here, so that an unknown
//! key is an error with the nearest known one everywhere.

use crate::data::Value;
use crate::data::time::format_duration;
use crate::diagnostic::{Code, Diagnostic, Span, codes, nearest};
use crate::expr::Expr;
use crate::sema::globals::{Globals, folded};
use crate::sema::typer::{Place, Typer};
use crate::syntax::ast::{self, Arg, BlockOption, ExprKind, Name, OptionValue};

/// The arguments of one call, apart by position and by name.
pub struct Arguments<'a> {
    /// As messages call it: `.window`, `the connector file`.
    pub what: String,
    pub span: Span,
    pub positional: Vec<&'a Arg>,
    pub named: Vec<(&'a Name, &'a ast::Expr)>,
}

/// What a call takes.
pub struct Takes<'k> {
    /// Least and greatest number of positional arguments.
    pub positional: (usize, usize),
    pub named: &'k [&'k str],
}

impl<'a> Arguments<'a> {
    /// `None` when something does not fit, which is reported.
    pub fn read(
        what: impl Into<String>,
        span: Span,
        args: &'a [Arg],
        takes: &Takes<'_>,
        code: Code,
        findings: &mut Vec<Diagnostic>,
    ) -> Option<Arguments<'a>> {
        let mut out = Arguments { what: what.into(), span, positional: Vec::new(), named: Vec::new() };
        let mut sound = true;
        for arg in args {
            let Some(name) = &arg.name else {
                out.positional.push(arg);
                continue;
            };
            if !takes.named.contains(&name.text.as_str()) {
                findings.push(unknown_option(&out.what, name, takes.named, code));
                sound = false;
            } else if out.named.iter().any(|(n, _)| n.text == name.text) {
                let message = format!("`{}` is given twice", name.text);
                findings.push(Diagnostic::error(codes::GIVEN_TWICE, name.span, message));
                sound = false;
            } else {
                out.named.push((name, &arg.value));
            }
        }
        let (least, greatest) = takes.positional;
        let given = out.positional.len();
        if given < least || given > greatest {
            let wanted = if least == greatest {
                format!("{least}")
            } else if greatest == usize::MAX {
                format!("at least {least}")
            } else {
                format!("{least} to {greatest}")
            };
            let plural = if greatest == 1 { "" } else { "s" };
            let unnamed = if takes.named.is_empty() { "" } else { "unnamed " };
            let message = format!("{} takes {wanted} {unnamed}argument{plural}, not {given}", out.what);
            findings.push(Diagnostic::error(code, span, message));
            sound = false;
        }
        sound.then_some(out)
    }

    pub fn get(&self, name: &str) -> Option<&'a ast::Expr> {
        self.named.iter().find(|(n, _)| n.text == name).map(|(_, e)| *e)
    }
}

/// An option that nobody knows, with the nearest known one.
pub fn unknown_option(what: &str, name: &Name, known: &[&str], code: Code) -> Diagnostic {
    let found = Diagnostic::error(code, name.span, format!("{what} has no option `{}`", name.text));
    match (nearest(&name.text, known.iter().copied()), known) {
        (Some(near), _) => found.with_hint(format!("did you mean `{near}`?")),
        (None, []) => found,
        (None, known) => found.with_hint(format!("it knows {}", known.join(", "))),
    }
}

/// The options of a block, apart by whether they have options of their own.
pub struct Options<'a> {
    values: Vec<(&'a Name, &'a ast::Expr)>,
    blocks: Vec<(&'a Name, &'a [BlockOption])>,
}

impl<'a> Options<'a> {
    /// Reads options of which `values` have a value and `blocks` have options; `what` is what messages call
    /// the whole. What is wrong is reported and left out.
    pub fn read(
        what: &str,
        options: impl IntoIterator<Item = &'a BlockOption>,
        values: &[&str],
        blocks: &[&str],
        findings: &mut Vec<Diagnostic>,
    ) -> Options<'a> {
        let mut out = Options { values: Vec::new(), blocks: Vec::new() };
        let known = [values, blocks].concat();
        for BlockOption { name, value } in options {
            let is = |word: &&str| **word == name.text;
            if !known.iter().any(is) {
                findings.push(unknown_option(what, name, &known, codes::UNKNOWN_OPTION));
                continue;
            }
            if out.name(&name.text).is_some() {
                let message = format!("`{}` is given twice", name.text);
                findings.push(Diagnostic::error(codes::GIVEN_TWICE, name.span, message));
                continue;
            }
            match (value, values.iter().any(is)) {
                (OptionValue::Expr(e), true) => out.values.push((name, e)),
                (OptionValue::Nested(options), false) => out.blocks.push((name, options)),
                (OptionValue::Nested(_), true) => {
                    let message = format!("`{}` is a single value", name.text);
                    findings.push(Diagnostic::error(codes::BAD_OPTION, name.span, message));
                }
                (OptionValue::Expr(_), false) => {
                    let message = format!("`{}` has options of its own, in lines below it", name.text);
                    findings.push(Diagnostic::error(codes::BAD_OPTION, name.span, message));
                }
            }
        }
        out
    }

    /// The name of an option as it is written, if it is given.
    pub fn name(&self, name: &str) -> Option<&'a Name> {
        let values = self.values.iter().map(|(n, _)| *n);
        values.chain(self.blocks.iter().map(|(n, _)| *n)).find(|n| n.text == name)
    }

    pub fn get(&self, name: &str) -> Option<&'a ast::Expr> {
        self.values.iter().find(|(n, _)| n.text == name).map(|(_, e)| *e)
    }

    /// The options of a block in this one; none if it is not given.
    pub fn block(&self, name: &str) -> &'a [BlockOption] {
        self.blocks.iter().find(|(n, _)| n.text == name).map_or(&[], |(_, options)| *options)
    }
}

/// Reads constants for options.
pub struct Constants<'t, 'a> {
    pub globals: &'t Globals<'a>,
    pub findings: &'t mut Vec<Diagnostic>,
}

impl Constants<'_, '_> {
    pub fn value(&mut self, e: &ast::Expr) -> Option<Value> {
        let typed = Typer::new(self.globals, Place::Constant, self.findings).expr(e)?;
        match folded(typed, e, self.findings)? {
            Expr::Literal { value, .. } => Some(value),
            _ => None,
        }
    }

    fn wrong(&mut self, e: &ast::Expr, what: &str, wanted: &str) {
        self.findings.push(Diagnostic::error(codes::BAD_OPTION, e.span, format!("{what} must be {wanted}")));
    }

    /// A duration greater than zero.
    pub fn duration(&mut self, e: &ast::Expr, what: &str) -> Option<i64> {
        match self.duration_or_zero(e, what)? {
            0 => {
                self.wrong(e, what, "longer than 0s");
                None
            }
            ns => Some(ns),
        }
    }

    pub fn duration_or_zero(&mut self, e: &ast::Expr, what: &str) -> Option<i64> {
        match self.value(e)? {
            Value::Duration(ns) if ns >= 0 => Some(ns),
            Value::Duration(ns) => {
                self.wrong(e, what, &format!("a positive duration, not {}", format_duration(ns)));
                None
            }
            Value::Int(n) => {
                let found = Diagnostic::error(codes::BAD_OPTION, e.span, format!("{what} must be a duration"));
                self.findings.push(found.with_hint(format!("write a unit, such as `{n}s` or `{n}m`")));
                None
            }
            _ => {
                self.wrong(e, what, "a duration, such as `5m`");
                None
            }
        }
    }

    /// An int of at least 1.
    pub fn count(&mut self, e: &ast::Expr, what: &str) -> Option<u64> {
        match self.value(e)? {
            Value::Int(n) if n >= 1 => Some(n as u64),
            _ => {
                self.wrong(e, what, "an int of at least 1");
                None
            }
        }
    }

    /// Bytes, more than none: an int, or a size such as `64MB`.
    pub fn size(&mut self, e: &ast::Expr, what: &str) -> Option<u64> {
        let bytes = match &e.kind {
            ExprKind::Size(bytes) => *bytes,
            _ => match self.value(e)? {
                Value::Int(n) => u64::try_from(n).unwrap_or(0),
                _ => 0,
            },
        };
        if bytes == 0 {
            self.wrong(e, what, "a number of bytes, such as `134217728` or `128MiB`");
        }
        (bytes > 0).then_some(bytes)
    }

    pub fn text(&mut self, e: &ast::Expr, what: &str) -> Option<String> {
        match self.value(e)? {
            Value::Str(text) => Some(text.to_string()),
            _ => {
                self.wrong(e, what, "text in quotes");
                None
            }
        }
    }

    pub fn boolean(&mut self, e: &ast::Expr, what: &str) -> Option<bool> {
        match self.value(e)? {
            Value::Bool(b) => Some(b),
            _ => {
                self.wrong(e, what, "true or false");
                None
            }
        }
    }

    /// One of `words`, by its position.
    pub fn word<T: Copy>(&mut self, e: &ast::Expr, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(e, what)?;
        if let Some((_, value)) = words.iter().find(|(w, _)| *w == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
        let message = format!("{what} cannot be \"{text}\"");
        let found = Diagnostic::error(codes::BAD_OPTION, e.span, message);
        self.findings.push(match nearest(&text, known.iter().copied()) {
            Some(near) => found.with_hint(format!("did you mean \"{near}\"?")),
            None => found.with_hint(format!("it can be \"{}\"", known.join("\", \""))),
        });
        None
    }
}
