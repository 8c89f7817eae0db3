//! The program's own functions, which exist only here: a call is replaced by the body.
//!
//! A body is typed once against its declared parameters, so that its mistakes are reported where they
//! are, called or not; each call then types it again over the actual arguments, because their
//! nullability decides that of the result. Blocks of `let`, `if` and `return` become nested `if`s.

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic, Span, codes};
use crate::expr::Expr;
use crate::sema::globals::{Function, Globals};
use crate::sema::typer::{Place, Typer, coerce};
use crate::syntax::ast::{Arg, FnBody, Name, Statement};

/// Types every function of the program, and gives the names of those that are wrong.
pub fn check_functions(globals: &Globals<'_>, findings: &mut Vec<Diagnostic>) -> BTreeSet<String> {
    let mut bad = BTreeSet::new();
    for (name, function) in &globals.functions {
        let mut found = Vec::new();
        let params: Vec<_> = function.params.iter().map(|p| globals.types.resolve(&p.ty, &mut found)).collect();
        let mut typer = Typer::new(globals, Place::Constant, &mut found);
        typer.inlining.push(name.clone());
        for (i, (param, ty)) in function.params.iter().zip(params).enumerate() {
            if function.params[..i].iter().any(|p| p.name.text == param.name.text) {
                let message = format!("`{}` is declared twice", param.name.text);
                typer.report(codes::DECLARED_TWICE, param.name.span, message);
            }
            typer.locals.push((param.name.text.clone(), ty.map(|ty| Expr::column(i, ty))));
        }
        if typer.body(function).is_none() || !found.is_empty() {
            bad.insert(name.clone());
        }
        findings.append(&mut found);
    }
    bad
}

impl Typer<'_, '_> {
    pub(super) fn inline(&mut self, name: &Name, args: &[Arg], span: Span) -> Option<Expr> {
        let function = &self.globals.functions[&name.text];
        if let Some(depth) = self.inlining.iter().position(|f| *f == name.text) {
            let path: Vec<&str> = self.inlining[depth..].iter().map(String::as_str).collect();
            let message = format!("`{}` calls itself ({} -> {})", name.text, path.join(" -> "), name.text);
            self.report(codes::RECURSIVE_FUNCTION, span, message);
            return None;
        }
        if args.len() != function.params.len() {
            let (wanted, given) = (function.params.len(), args.len());
            let plural = if wanted == 1 { "" } else { "s" };
            let message = format!("`{}` takes {wanted} argument{plural}, not {given}", name.text);
            self.report(codes::BAD_ARGUMENTS, span, message);
            return None;
        }
        let mut locals = Vec::new();
        let mut failed = false;
        for (arg, param) in args.iter().zip(function.params) {
            let typed = self.expr(&arg.value);
            let wanted = self.globals.types.resolve(&param.ty, &mut Vec::new());
            let value = match (typed, wanted) {
                (Some(e), Some(ty)) => {
                    let what = format!("`{}`", param.name.text);
                    self.fitted(e, &ty.ty, arg.value.span, codes::BAD_ARGUMENTS, &what)
                }
                (None, _) | (_, None) => None,
            };
            failed |= value.is_none();
            locals.push((param.name.text.clone(), value));
        }
        if failed || self.globals.bad_functions.contains(&name.text) {
            return None;
        }
        let outer = std::mem::replace(&mut self.locals, locals);
        self.inlining.push(name.text.clone());
        let reported = self.findings.len();
        let body = self.body(function);
        self.inlining.pop();
        self.locals = outer;
        self.keep_recursion_only(reported);
        body
    }

    /// What is wrong inside a callee is reported where the callee is checked; only that a call leads
    /// back to the function being checked is news.
    fn keep_recursion_only(&mut self, from: usize) {
        let nested: Vec<Diagnostic> = self.findings.drain(from..).collect();
        let root = self.inlining.first().map(|f| format!("-> {f})"));
        let leads_back = |d: &Diagnostic| {
            d.code == codes::RECURSIVE_FUNCTION && root.as_ref().is_some_and(|r| d.message.ends_with(r.as_str()))
        };
        self.findings.extend(nested.into_iter().filter(leads_back));
    }

    /// `e` as a value of the declared type `ty`.
    pub fn fitted(&mut self, e: Expr, ty: &crate::data::Type, span: Span, code: Code, what: &str) -> Option<Expr> {
        let found = e.data_type();
        if found.unify(&ty.clone().required()).is_some_and(|u| u.ty == *ty) {
            return Some(coerce(e, ty));
        }
        self.report(code, span, format!("{what} is {ty}, and {found} does not fit"));
        None
    }

    fn body(&mut self, function: &Function<'_>) -> Option<Expr> {
        let (value, span) = match function.body {
            FnBody::Expr(e) => (self.expr(e)?, e.span),
            FnBody::Block(statements) => (self.block(&[statements], function.name.span)?, function.name.span),
        };
        let Some(result) = function.result else { return Some(value) };
        let ty = self.globals.types.resolve(result, self.findings)?;
        self.fitted(value, &ty.ty, span, codes::TYPE_MISMATCH, &format!("the result of `{}`", function.name.text))
    }

    /// The value of a block, innermost first, followed by the rest of the blocks around it: what falls
    /// through an `if` goes on after it.
    fn block(&mut self, blocks: &[&[Statement]], function: Span) -> Option<Expr> {
        let Some((innermost, outer)) = blocks.split_last() else {
            self.report(codes::MISSING_RETURN, function, "the function can end without `return`");
            return None;
        };
        let Some((statement, rest)) = innermost.split_first() else { return self.block(outer, function) };
        let mut following = outer.to_vec();
        following.push(rest);
        match statement {
            Statement::Return { value, .. } => self.expr(value),
            Statement::Let { name, value } => {
                let value = self.expr(value);
                self.locals.push((name.text.clone(), value));
                let result = self.block(&following, function);
                self.locals.pop();
                result
            }
            Statement::If { branches, otherwise } => {
                self.branching(branches, otherwise.as_deref(), &following, function)
            }
        }
    }

    fn branching(
        &mut self,
        branches: &[(crate::syntax::ast::Expr, Vec<Statement>)],
        otherwise: Option<&[Statement]>,
        following: &[&[Statement]],
        function: Span,
    ) -> Option<Expr> {
        let Some(((condition, then), rest)) = branches.split_first() else {
            let mut blocks = following.to_vec();
            blocks.extend(otherwise);
            return self.block(&blocks, function);
        };
        let typed = self.condition(condition, "the condition of `if`");
        let mut blocks = following.to_vec();
        blocks.push(then);
        let then = self.block(&blocks, function);
        let otherwise = self.branching(rest, otherwise, following, function);
        self.branches(typed?, then?, otherwise?, condition.span)
    }
}
