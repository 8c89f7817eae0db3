//! Trees as VPL text, on few lines: for `explain` and messages, and to test the parser against.
//!
//! The text parses to the same tree. It is not laid out (`format` does that) and has the parentheses
//! that precedence needs, not those that were written.

pub mod expr;
mod pattern;

use std::fmt::{self, Write};

use super::ast::*;
use super::build::ladder::PRIMARY;
pub use expr::quoted;

/// A program as text.
pub fn write_program(program: &Program) -> String {
    let mut out = String::new();
    for declaration in &program.declarations {
        // Writing to a string cannot fail.
        let _ = Writer { out: &mut out }.declaration(declaration);
    }
    out
}

/// A part of a pattern as text.
#[cfg(test)]
pub fn write_element(element: &Element) -> String {
    let mut out = String::new();
    let _ = Writer { out: &mut out }.element(element, 0);
    out
}

/// An expression as text.
pub fn write_expr(expr: &Expr) -> String {
    let mut out = String::new();
    let _ = Writer { out: &mut out }.expr(expr, 0);
    out
}

/// A type as text.
pub fn write_type(ty: &TypeExpr) -> String {
    let mut out = String::new();
    let _ = Writer { out: &mut out }.type_expr(ty);
    out
}

struct Writer<'a> {
    out: &'a mut String,
}

impl Writer<'_> {
    fn declaration(&mut self, declaration: &Declaration) -> fmt::Result {
        match &declaration.kind {
            DeclarationKind::Event { name, extends, members } => {
                write!(self.out, "event {}", name.text)?;
                if let Some(base) = extends {
                    write!(self.out, " extends {}", base.text)?;
                }
                self.out.push_str(":\n");
                members.iter().try_for_each(|member| self.member(member))
            }
            DeclarationKind::TypeAlias { name, ty } => {
                write!(self.out, "type {} = ", name.text)?;
                self.type_expr(ty)?;
                writeln!(self.out)
            }
            DeclarationKind::Const { name, ty, value } => {
                write!(self.out, "const {}", name.text)?;
                if let Some(ty) = ty {
                    self.out.push_str(": ");
                    self.type_expr(ty)?;
                }
                self.out.push_str(" = ");
                self.expr(value, 0)?;
                writeln!(self.out)
            }
            DeclarationKind::Fn { name, params, result, body } => self.function(name, params, result.as_ref(), body),
            DeclarationKind::Import { path, .. } => writeln!(self.out, "import {}", quoted(path)),
            DeclarationKind::Connector { name, kind, args } => {
                write!(self.out, "connector {} = {}", name.text, kind.text)?;
                self.args(args)?;
                writeln!(self.out)
            }
            DeclarationKind::Stream { name, source, ops } => self.chain("stream", name, source, ops),
            DeclarationKind::Table { name, source, ops } => self.chain("table", name, source, ops),
            DeclarationKind::Pattern { name, body, clauses } => {
                write!(self.out, "pattern {} = ", name.text)?;
                self.element(body, 0)?;
                clauses.iter().try_for_each(|clause| self.clause(clause))?;
                writeln!(self.out)
            }
            DeclarationKind::Block { keyword, options } => {
                writeln!(self.out, "{}:", keyword.text)?;
                self.options(options, 1)
            }
        }
    }

    fn member(&mut self, member: &EventMember) -> fmt::Result {
        match member {
            EventMember::Field { name, ty } => {
                write!(self.out, "    {}: ", name.text)?;
                self.type_expr(ty)?;
            }
            EventMember::Time { value, .. } => {
                self.out.push_str("    time: ");
                // Bare names and brackets would read as types.
                match value.kind {
                    ExprKind::Name(_) | ExprKind::List(_) | ExprKind::Map(_) => self.expr(value, PRIMARY + 1)?,
                    _ => self.expr(value, 0)?,
                }
            }
        }
        writeln!(self.out)
    }

    fn function(&mut self, name: &Name, params: &[Param], result: Option<&TypeExpr>, body: &FnBody) -> fmt::Result {
        write!(self.out, "fn {}(", name.text)?;
        for (i, param) in params.iter().enumerate() {
            self.comma(i);
            write!(self.out, "{}: ", param.name.text)?;
            self.type_expr(&param.ty)?;
        }
        self.out.push(')');
        if let Some(result) = result {
            self.out.push_str(" -> ");
            self.type_expr(result)?;
        }
        match body {
            FnBody::Expr(value) => {
                self.out.push_str(" = ");
                self.expr(value, 0)?;
                writeln!(self.out)
            }
            FnBody::Block(statements) => {
                self.out.push_str(":\n");
                self.statements(statements, 1)
            }
        }
    }

    fn statements(&mut self, statements: &[Statement], depth: usize) -> fmt::Result {
        let indent = "    ".repeat(depth);
        for statement in statements {
            match statement {
                Statement::Let { name, value } => {
                    write!(self.out, "{indent}let {} = ", name.text)?;
                    self.expr(value, 0)?;
                    writeln!(self.out)?;
                }
                Statement::If { branches, otherwise } => {
                    for (i, (condition, body)) in branches.iter().enumerate() {
                        write!(self.out, "{indent}{} ", if i == 0 { "if" } else { "elif" })?;
                        self.expr(condition, 0)?;
                        self.out.push_str(":\n");
                        self.statements(body, depth + 1)?;
                    }
                    if let Some(body) = otherwise {
                        writeln!(self.out, "{indent}else:")?;
                        self.statements(body, depth + 1)?;
                    }
                }
                Statement::Return { value, .. } => {
                    write!(self.out, "{indent}return ")?;
                    self.expr(value, 0)?;
                    writeln!(self.out)?;
                }
            }
        }
        Ok(())
    }

    fn options(&mut self, options: &[BlockOption], depth: usize) -> fmt::Result {
        for option in options {
            write!(self.out, "{}{}:", "    ".repeat(depth), option.name.text)?;
            match &option.value {
                OptionValue::Expr(value) => {
                    self.out.push(' ');
                    self.expr(value, 0)?;
                    writeln!(self.out)?;
                }
                OptionValue::Nested(options) => {
                    writeln!(self.out)?;
                    self.options(options, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn chain(&mut self, keyword: &str, name: &Name, source: &Source, ops: &[StreamOp]) -> fmt::Result {
        write!(self.out, "{keyword} {} = ", name.text)?;
        self.source(source)?;
        ops.iter().try_for_each(|op| self.operator(op))?;
        writeln!(self.out)
    }

    fn operator(&mut self, op: &StreamOp) -> fmt::Result {
        write!(self.out, "\n    .{}", op.name.text)?;
        if let Some(alias) = &op.alias {
            write!(self.out, " as {} ", alias.text)?;
        }
        self.args(&op.args)
    }

    fn source(&mut self, source: &Source) -> fmt::Result {
        match &source.kind {
            SourceKind::Named { name, alias } => {
                self.out.push_str(&name.text);
                self.alias(alias.as_ref())
            }
            SourceKind::From { event, args, alias } => {
                write!(self.out, "{}.from", event.text)?;
                self.args(args)?;
                self.alias(alias.as_ref())
            }
            SourceKind::Merge { inputs } => {
                self.out.push_str("merge(");
                for (i, input) in inputs.iter().enumerate() {
                    self.comma(i);
                    self.source(input)?;
                }
                self.out.push(')');
                Ok(())
            }
            SourceKind::Join { keyword, args } => {
                write!(self.out, "{}(", keyword.text)?;
                for (i, arg) in args.iter().enumerate() {
                    self.comma(i);
                    self.join_arg(arg)?;
                }
                self.out.push(')');
                Ok(())
            }
            SourceKind::Timer { period } => {
                self.out.push_str("timer(");
                self.expr(period, 0)?;
                self.out.push(')');
                Ok(())
            }
            SourceKind::Pattern { body } => self.element(body, 0),
        }
    }

    fn alias(&mut self, alias: Option<&Name>) -> fmt::Result {
        match alias {
            Some(alias) => write!(self.out, " as {}", alias.text),
            None => Ok(()),
        }
    }

    fn join_arg(&mut self, arg: &JoinArg) -> fmt::Result {
        match arg {
            JoinArg::Input { source, on } => {
                self.source(source)?;
                if let Some(on) = on {
                    self.out.push_str(" on ");
                    self.expr(on, 0)?;
                }
                Ok(())
            }
            JoinArg::Option(arg) => self.arg(arg),
        }
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.out.push_str(", ");
        }
    }

    fn args(&mut self, args: &[Arg]) -> fmt::Result {
        self.out.push('(');
        for (i, arg) in args.iter().enumerate() {
            self.comma(i);
            self.arg(arg)?;
        }
        self.out.push(')');
        Ok(())
    }

    fn arg(&mut self, arg: &Arg) -> fmt::Result {
        if let Some(name) = &arg.name {
            write!(self.out, "{}: ", name.text)?;
        }
        self.expr(&arg.value, 0)?;
        match arg.direction {
            Some((Direction::Ascending, _)) => self.out.write_str(" asc"),
            Some((Direction::Descending, _)) => self.out.write_str(" desc"),
            None => Ok(()),
        }
    }

    fn type_expr(&mut self, ty: &TypeExpr) -> fmt::Result {
        match &ty.kind {
            TypeKind::Named(name) => self.out.push_str(name),
            TypeKind::List(item) => {
                self.out.push('[');
                self.type_expr(item)?;
                self.out.push(']');
            }
            TypeKind::Map(value) => {
                self.out.push_str("{str: ");
                self.type_expr(value)?;
                self.out.push('}');
            }
            TypeKind::Record(fields) => {
                self.out.push('{');
                for (i, (name, ty)) in fields.iter().enumerate() {
                    self.comma(i);
                    write!(self.out, "{}: ", name.text)?;
                    self.type_expr(ty)?;
                }
                self.out.push('}');
            }
        }
        if ty.nullable {
            self.out.push('?');
        }
        Ok(())
    }
}
