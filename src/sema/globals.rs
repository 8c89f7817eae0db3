//! What the whole program can see: types, constants, functions, connectors, and the names of streams.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, codes};
use crate::expr::{Expr, FunctionRef};
use crate::sema::fold::fold;
use crate::sema::typer::{Place, Typer, check_functions};
use crate::sema::types::{TypeDecl, Types};
use crate::syntax::ast::{
    self, Arg, BlockOption, DeclarationKind, Element, FnBody, Name, Param, PatternClause, StreamOp, TypeExpr,
};

/// The declarations of all files.
#[derive(Default)]
pub struct Globals<'a> {
    pub types: Types<'a>,
    /// Folded to literals; `None`: wrong, and reported.
    pub consts: BTreeMap<String, Option<Expr>>,
    pub functions: BTreeMap<String, Function<'a>>,
    /// Functions that are wrong, so that calls of them say nothing more.
    pub bad_functions: BTreeSet<String>,
    pub connectors: BTreeMap<String, ConnectorDecl<'a>>,
    /// Streams and tables.
    pub streams: Vec<StreamDecl<'a>>,
    pub patterns: Vec<PatternDecl<'a>>,
    /// `window:` blocks.
    pub window_options: Vec<&'a [BlockOption]>,
    /// `state:` and `checkpoint:` blocks; there may be one of each.
    pub state_blocks: Vec<Block<'a>>,
    pub checkpoint_blocks: Vec<Block<'a>>,
}

#[derive(Clone, Copy)]
pub struct Function<'a> {
    pub name: &'a Name,
    pub params: &'a [Param],
    pub result: Option<&'a TypeExpr>,
    pub body: &'a FnBody,
}

#[derive(Clone, Copy)]
pub struct ConnectorDecl<'a> {
    pub name: &'a Name,
    pub kind: &'a Name,
    pub args: &'a [Arg],
}

/// A block with its keyword.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    pub keyword: &'a Name,
    pub options: &'a [BlockOption],
}

#[derive(Clone, Copy)]
pub struct StreamDecl<'a> {
    pub name: &'a Name,
    pub source: &'a ast::Source,
    pub ops: &'a [StreamOp],
    /// Whether it is declared as a table.
    pub is_table: bool,
}

#[derive(Clone, Copy)]
pub struct PatternDecl<'a> {
    pub name: &'a Name,
    pub body: &'a Element,
    pub clauses: &'a [PatternClause],
}

impl<'a> Globals<'a> {
    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<&StreamDecl<'a>> {
        self.streams.iter().find(|stream| stream.is_table && stream.name.text == name)
    }
}

type ConstDecl<'a> = (&'a Name, Option<&'a TypeExpr>, &'a ast::Expr);

/// Collects the declarations of `files` (imported ones first) and checks all but the streams.
pub fn collect<'a>(files: &'a [ast::Program], findings: &mut Vec<Diagnostic>) -> Globals<'a> {
    let mut globals = Globals::default();
    let mut types: BTreeMap<String, TypeDecl<'a>> = BTreeMap::new();
    let mut consts: Vec<ConstDecl<'a>> = Vec::new();
    let mut names: BTreeMap<&'a str, &'a Name> = BTreeMap::new();
    for declaration in files.iter().flat_map(|f| &f.declarations) {
        if let Some(name) = declared_name(&declaration.kind)
            && !is_first(name, &mut names, findings)
        {
            continue;
        }
        match &declaration.kind {
            DeclarationKind::Event { name, extends, members } => {
                types.insert(name.text.clone(), TypeDecl::Event { name, extends: extends.as_ref(), members });
            }
            DeclarationKind::TypeAlias { name, ty } => {
                types.insert(name.text.clone(), TypeDecl::Alias { name, ty });
            }
            DeclarationKind::Const { name, ty, value } => consts.push((name, ty.as_ref(), value)),
            DeclarationKind::Fn { name, params, result, body } => {
                let function = Function { name, params, result: result.as_ref(), body };
                globals.functions.insert(name.text.clone(), function);
            }
            DeclarationKind::Import { .. } => {}
            DeclarationKind::Connector { name, kind, args } => {
                globals.connectors.insert(name.text.clone(), ConnectorDecl { name, kind, args });
            }
            DeclarationKind::Stream { name, source, ops } => {
                globals.streams.push(StreamDecl { name, source, ops, is_table: false });
            }
            DeclarationKind::Table { name, source, ops } => {
                globals.streams.push(StreamDecl { name, source, ops, is_table: true });
            }
            DeclarationKind::Pattern { name, body, clauses } => {
                globals.patterns.push(PatternDecl { name, body, clauses });
            }
            DeclarationKind::Block { keyword, options } => match keyword.text.as_str() {
                "window" => globals.window_options.push(options),
                "state" => globals.state_blocks.push(Block { keyword, options }),
                "checkpoint" => globals.checkpoint_blocks.push(Block { keyword, options }),
                other => not_supported(findings, keyword, &format!("`{other}:` blocks")),
            },
        }
    }
    globals.types = Types::new(types);
    globals.types.check(findings);
    // The checks read the globals that they complete, one kind of declaration after the other.
    for (name, ty, value) in consts {
        let value = constant(&globals, name, ty, value, findings);
        globals.consts.insert(name.text.clone(), value);
    }
    globals.bad_functions = check_functions(&globals, findings);
    globals
}

fn not_supported(findings: &mut Vec<Diagnostic>, name: &Name, what: &str) {
    findings.push(Diagnostic::error(codes::NOT_SUPPORTED, name.span, format!("{what} are not supported yet")));
}

fn declared_name(kind: &DeclarationKind) -> Option<&Name> {
    match kind {
        DeclarationKind::Event { name, .. }
        | DeclarationKind::TypeAlias { name, .. }
        | DeclarationKind::Const { name, .. }
        | DeclarationKind::Fn { name, .. }
        | DeclarationKind::Connector { name, .. }
        | DeclarationKind::Stream { name, .. }
        | DeclarationKind::Table { name, .. }
        | DeclarationKind::Pattern { name, .. } => Some(name),
        DeclarationKind::Import { .. } | DeclarationKind::Block { .. } => None,
    }
}

/// All declarations share one space of names: the first one stands.
fn is_first<'a>(name: &'a Name, names: &mut BTreeMap<&'a str, &'a Name>, findings: &mut Vec<Diagnostic>) -> bool {
    if FunctionRef::by_name(&name.text).is_some() {
        let message = format!("`{}` is a function of the language", name.text);
        findings.push(Diagnostic::error(codes::DECLARED_TWICE, name.span, message).with_hint("choose another name"));
        return false;
    }
    if let Some(first) = names.get(name.text.as_str()) {
        let message = format!("`{}` is declared twice", name.text);
        let found = Diagnostic::error(codes::DECLARED_TWICE, name.span, message);
        findings.push(found.with_label(first.span, "it is first declared here"));
        return false;
    }
    names.insert(&name.text, name);
    true
}

fn constant(
    globals: &Globals<'_>,
    name: &Name,
    ty: Option<&TypeExpr>,
    value: &ast::Expr,
    findings: &mut Vec<Diagnostic>,
) -> Option<Expr> {
    let mut typer = Typer::new(globals, Place::Constant, findings);
    let mut typed = typer.expr(value)?;
    if let Some(ty) = ty {
        let ty = globals.types.resolve(ty, typer.findings)?;
        typed = typer.fitted(typed, &ty.ty, value.span, codes::TYPE_MISMATCH, &format!("`{}`", name.text))?;
    }
    folded(typed, value, findings)
}

/// A constant expression as a literal, or what keeps it from being one. Constants are typed without a
/// row at hand, so that there is nothing in them that is not constant.
pub fn folded(typed: Expr, written: &ast::Expr, findings: &mut Vec<Diagnostic>) -> Option<Expr> {
    match fold(typed) {
        Ok(literal) => Some(literal),
        Err(_) => {
            let message = "the constant cannot be computed (an overflow, a division by zero, or a failed cast)";
            findings.push(Diagnostic::error(codes::CONSTANT_FAILS, written.span, message));
            None
        }
    }
}
