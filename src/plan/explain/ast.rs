//! The syntax tree as text: names are as they are written, every operation is in parentheses, so that
//! one sees how the parser took the program.

use std::fmt::Write;

use crate::data::time::{format_duration, format_timestamp};
use crate::syntax::ast::{
    Arg, BinaryOp, BlockOption, DeclarationKind, Direction, EventMember, Expr, ExprKind, FnBody, JoinArg, OptionValue,
    Program, Source, SourceKind, Statement, StrPart, TypeExpr, TypeKind, UnaryOp,
};

/// All files of a program, in the order in which they import each other.
pub fn text(files: &[Program]) -> String {
    let mut out = Tree { text: String::new(), depth: 0 };
    for declaration in files.iter().flat_map(|f| &f.declarations) {
        out.declaration(&declaration.kind);
    }
    out.text
}

struct Tree {
    text: String,
    depth: usize,
}

impl Tree {
    fn line(&mut self, text: &str) {
        writeln!(self.text, "{}{text}", "  ".repeat(self.depth)).expect("writing to a string");
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Tree)) {
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }

    fn declaration(&mut self, kind: &DeclarationKind) {
        match kind {
            DeclarationKind::Event { name, extends, members } => {
                let base = extends.as_ref().map_or(String::new(), |b| format!(" extends {}", b.text));
                self.line(&format!("event {}{base}", name.text));
                self.nested(|out| members.iter().for_each(|m| out.member(m)));
            }
            DeclarationKind::TypeAlias { name, ty } => self.line(&format!("type {} = {}", name.text, type_expr(ty))),
            DeclarationKind::Const { name, ty, value } => {
                let ty = ty.as_ref().map_or(String::new(), |t| format!(": {}", type_expr(t)));
                self.line(&format!("const {}{ty} = {}", name.text, expr(value)));
            }
            DeclarationKind::Fn { name, params, result, body } => {
                let params: Vec<String> =
                    params.iter().map(|p| format!("{}: {}", p.name.text, type_expr(&p.ty))).collect();
                let result = result.as_ref().map_or(String::new(), |t| format!(" -> {}", type_expr(t)));
                self.line(&format!("fn {}({}){result}", name.text, params.join(", ")));
                self.nested(|out| match body {
                    FnBody::Expr(e) => out.line(&expr(e)),
                    FnBody::Block(statements) => out.statements(statements),
                });
            }
            DeclarationKind::Import { path, .. } => self.line(&format!("import {path:?}")),
            DeclarationKind::Connector { name, kind, args: list } => {
                self.line(&format!("connector {} = {}({})", name.text, kind.text, args(list)));
            }
            DeclarationKind::Stream { name, source: from, ops }
            | DeclarationKind::Table { name, source: from, ops } => {
                let word = if matches!(kind, DeclarationKind::Table { .. }) { "table" } else { "stream" };
                self.line(&format!("{word} {} = {}", name.text, source(from)));
                self.nested(|out| {
                    for op in ops {
                        let alias = op.alias.as_ref().map_or(String::new(), |a| format!(" as {}", a.text));
                        out.line(&format!(".{}{alias}({})", op.name.text, args(&op.args)));
                    }
                });
            }
            DeclarationKind::Pattern { name } => self.line(&format!("pattern {}", name.text)),
            DeclarationKind::Block { keyword, options } => {
                self.line(&keyword.text);
                self.nested(|out| out.options(options));
            }
        }
    }

    fn member(&mut self, member: &EventMember) {
        match member {
            EventMember::Field { name, ty } => self.line(&format!("{}: {}", name.text, type_expr(ty))),
            EventMember::Time { value, .. } => self.line(&format!("time = {}", expr(value))),
        }
    }

    fn options(&mut self, options: &[BlockOption]) {
        for option in options {
            match &option.value {
                OptionValue::Expr(e) => self.line(&format!("{}: {}", option.name.text, expr(e))),
                OptionValue::Nested(inner) => {
                    self.line(&option.name.text);
                    self.nested(|out| out.options(inner));
                }
            }
        }
    }

    fn statements(&mut self, statements: &[Statement]) {
        for statement in statements {
            match statement {
                Statement::Let { name, value } => self.line(&format!("let {} = {}", name.text, expr(value))),
                Statement::Return { value, .. } => self.line(&format!("return {}", expr(value))),
                Statement::If { branches, otherwise } => {
                    for (condition, inner) in branches {
                        self.line(&format!("if {}", expr(condition)));
                        self.nested(|out| out.statements(inner));
                    }
                    if let Some(inner) = otherwise {
                        self.line("else");
                        self.nested(|out| out.statements(inner));
                    }
                }
            }
        }
    }
}

fn type_expr(ty: &TypeExpr) -> String {
    let text = match &ty.kind {
        TypeKind::Named(name) => name.clone(),
        TypeKind::List(item) => format!("[{}]", type_expr(item)),
        TypeKind::Map(value) => format!("{{str: {}}}", type_expr(value)),
        TypeKind::Record(members) => {
            let member =
                |(name, ty): &(crate::syntax::ast::Name, TypeExpr)| format!("{}: {}", name.text, type_expr(ty));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
    };
    if ty.nullable { format!("{text}?") } else { text }
}

fn source(from: &Source) -> String {
    let named =
        |alias: &Option<crate::syntax::ast::Name>| alias.as_ref().map_or(String::new(), |a| format!(" as {}", a.text));
    match &from.kind {
        SourceKind::Named { name, alias } => format!("{}{}", name.text, named(alias)),
        SourceKind::From { event, args: list, alias } => format!("{}.from({}){}", event.text, args(list), named(alias)),
        SourceKind::Merge { inputs } => {
            format!("merge({})", inputs.iter().map(source).collect::<Vec<_>>().join(", "))
        }
        SourceKind::Join { keyword, args: list } => {
            let one = |a: &JoinArg| match a {
                JoinArg::Input { source: from, on } => {
                    let on = on.as_ref().map_or(String::new(), |e| format!(" on {}", expr(e)));
                    format!("{}{on}", source(from))
                }
                JoinArg::Option(option) => arg(option),
            };
            format!("{}({})", keyword.text, list.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        SourceKind::Timer { period } => format!("timer({})", expr(period)),
        SourceKind::Pattern => "a pattern".to_string(),
    }
}

fn args(list: &[Arg]) -> String {
    list.iter().map(arg).collect::<Vec<_>>().join(", ")
}

fn arg(arg: &Arg) -> String {
    let name = arg.name.as_ref().map_or(String::new(), |n| format!("{}: ", n.text));
    let direction = match arg.direction {
        None => "",
        Some((Direction::Ascending, _)) => " asc",
        Some((Direction::Descending, _)) => " desc",
    };
    format!("{name}{}{direction}", expr(&arg.value))
}

fn expr(e: &Expr) -> String {
    let all = |list: &[Expr]| list.iter().map(expr).collect::<Vec<_>>().join(", ");
    match &e.kind {
        ExprKind::Null => "null".to_string(),
        ExprKind::Bool(v) => v.to_string(),
        ExprKind::Int(v) => v.to_string(),
        ExprKind::Float(v) => format!("{v:?}"),
        ExprKind::Str(v) => format!("{v:?}"),
        ExprKind::Interpolated(parts) => {
            let part = |p: &StrPart| match p {
                StrPart::Text(text) => text.clone(),
                StrPart::Expr(e) => format!("{{{}}}", expr(e)),
            };
            format!("f\"{}\"", parts.iter().map(part).collect::<String>())
        }
        ExprKind::Duration(ns) => format_duration(*ns),
        ExprKind::Size(bytes) => format!("{bytes}B"),
        ExprKind::Timestamp(ns) => format!("@{}", format_timestamp(*ns)),
        ExprKind::Name(name) => name.clone(),
        ExprKind::List(items) => format!("[{}]", all(items)),
        ExprKind::Map(entries) => {
            let entry = |(k, v): &(String, Expr)| format!("{k:?}: {}", expr(v));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        ExprKind::Unary { op: UnaryOp::Not, arg } => format!("(not {})", expr(arg)),
        ExprKind::Unary { op: UnaryOp::Negate, arg } => format!("(-{})", expr(arg)),
        ExprKind::Unary { op: UnaryOp::BitNot, arg } => format!("(~{})", expr(arg)),
        ExprKind::Binary { op, left, right } => format!("({} {} {})", expr(left), symbol(*op), expr(right)),
        ExprKind::IsNull { arg, negated } => {
            format!("({} is {}null)", expr(arg), if *negated { "not " } else { "" })
        }
        ExprKind::In { value, list, negated } => {
            format!("({} {}in {})", expr(value), if *negated { "not " } else { "" }, expr(list))
        }
        ExprKind::If { condition, then, otherwise } => {
            format!("(if {} then {} else {})", expr(condition), expr(then), expr(otherwise))
        }
        ExprKind::Field { base, name, optional } => {
            format!("{}{}{}", expr(base), if *optional { "?." } else { "." }, name.text)
        }
        ExprKind::Index { base, index } => format!("{}[{}]", expr(base), expr(index)),
        ExprKind::Slice { base, from, to } => {
            let end = |e: &Option<Box<Expr>>| e.as_ref().map_or(String::new(), |e| expr(e));
            format!("{}[{}:{}]", expr(base), end(from), end(to))
        }
        ExprKind::Call { function, args: list } => format!("{}({})", function.text, args(list)),
        ExprKind::Cast { arg, ty, fallible } => {
            format!("{}({} as {})", if *fallible { "try_cast" } else { "cast" }, expr(arg), type_expr(ty))
        }
        ExprKind::Error => "<error>".to_string(),
    }
}

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Or => "or",
        BinaryOp::And => "and",
        BinaryOp::Equal => "==",
        BinaryOp::NotEqual => "!=",
        BinaryOp::Less => "<",
        BinaryOp::LessOrEqual => "<=",
        BinaryOp::Greater => ">",
        BinaryOp::GreaterOrEqual => ">=",
        BinaryOp::Like => "like",
        BinaryOp::Matches => "matches",
        BinaryOp::Coalesce => "??",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "^",
        BinaryOp::BitAnd => "&",
        BinaryOp::ShiftLeft => "<<",
        BinaryOp::ShiftRight => ">>",
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::FloorDivide => "//",
        BinaryOp::Modulo => "%",
        BinaryOp::Power => "**",
    }
}
