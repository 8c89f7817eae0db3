//! Declared types: aliases, and event types with what they inherit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::data::{DataType, Field, Schema, Type};
use crate::diagnostic::{Diagnostic, Span, codes, nearest};
use crate::syntax::ast::{self, EventMember, Name, TypeExpr, TypeKind};

const BUILT_IN: [(&str, Type); 6] = [
    ("int", Type::Int),
    ("float", Type::Float),
    ("bool", Type::Bool),
    ("str", Type::Str),
    ("timestamp", Type::Timestamp),
    ("duration", Type::Duration),
];

/// What a type's name was declared as.
#[derive(Clone, Copy)]
pub enum TypeDecl<'a> {
    Event { name: &'a Name, extends: Option<&'a Name>, members: &'a [EventMember] },
    Alias { name: &'a Name, ty: &'a TypeExpr },
}

/// An event type with its own and its inherited fields.
#[derive(Clone)]
pub struct Event<'a> {
    pub name: String,
    pub span: Span,
    pub schema: Schema,
    /// The `time:` line, its own or the nearest inherited one.
    pub time: Option<&'a ast::Expr>,
}

/// All type declarations of the program; each is resolved when it is first asked for.
#[derive(Default)]
pub struct Types<'a> {
    declared: BTreeMap<String, TypeDecl<'a>>,
    /// `None`: wrong, and reported.
    events: RefCell<BTreeMap<String, Option<Event<'a>>>>,
    resolving: RefCell<Vec<String>>,
}

impl<'a> TypeDecl<'a> {
    pub fn name(&self) -> &'a Name {
        match self {
            TypeDecl::Event { name, .. } | TypeDecl::Alias { name, .. } => name,
        }
    }
}

impl<'a> Types<'a> {
    pub fn new(declared: BTreeMap<String, TypeDecl<'a>>) -> Types<'a> {
        Types { declared, ..Types::default() }
    }

    /// Resolves every declaration, used or not, so that each mistake is reported.
    pub fn check(&self, findings: &mut Vec<Diagnostic>) {
        for (name, decl) in &self.declared {
            match decl {
                TypeDecl::Event { .. } => {
                    self.event(name, findings);
                }
                TypeDecl::Alias { ty, .. } => {
                    self.guarded(name, ty.span, findings, |f| self.resolve(ty, f));
                }
            }
        }
    }

    pub fn is_event(&self, name: &str) -> bool {
        matches!(self.declared.get(name), Some(TypeDecl::Event { .. }))
    }

    pub fn event_names(&self) -> impl Iterator<Item = &str> {
        self.declared.iter().filter(|(_, d)| matches!(d, TypeDecl::Event { .. })).map(|(n, _)| n.as_str())
    }

    /// The event type of that name, which is declared as one; `None` when its declaration is wrong.
    pub fn event(&self, name: &str, findings: &mut Vec<Diagnostic>) -> Option<Event<'a>> {
        if let Some(known) = self.events.borrow().get(name) {
            return known.clone();
        }
        let Some(TypeDecl::Event { name: declared, extends, members }) = self.declared.get(name).copied() else {
            return None;
        };
        let event = self.guarded(name, declared.span, findings, |f| self.build(declared, extends, members, f));
        self.events.borrow_mut().insert(name.to_string(), event.clone());
        event
    }

    fn build(
        &self,
        name: &'a Name,
        extends: Option<&'a Name>,
        members: &'a [EventMember],
        findings: &mut Vec<Diagnostic>,
    ) -> Option<Event<'a>> {
        let mut event = Event { name: name.text.clone(), span: name.span, schema: Schema::default(), time: None };
        let mut sound = true;
        if let Some(base) = extends {
            if !self.is_event(&base.text) {
                findings.push(self.unknown(&base.text, base.span, "event type"));
                return None;
            }
            let base = self.event(&base.text, findings)?;
            event.schema = base.schema;
            event.time = base.time;
        }
        let mut own_time: Option<Span> = None;
        for member in members {
            match member {
                EventMember::Time { value, span } => {
                    if own_time.replace(*span).is_some() {
                        findings.push(Diagnostic::error(codes::DECLARED_TWICE, *span, "`time` is declared twice"));
                    }
                    event.time = Some(value);
                }
                EventMember::Field { name, ty } => {
                    if event.schema.index_of(&name.text).is_some() {
                        let message = format!("the field `{}` is declared twice", name.text);
                        findings.push(Diagnostic::error(codes::DECLARED_TWICE, name.span, message));
                        sound = false;
                        continue;
                    }
                    match self.resolve(ty, findings) {
                        Some(ty) => event.schema.fields.push(Field::new(name.text.clone(), ty)),
                        None => sound = false,
                    }
                }
            }
        }
        sound.then_some(event)
    }

    /// Runs `resolve` for the declaration `name`, which must not lead back to itself.
    fn guarded<T>(
        &self,
        name: &str,
        span: Span,
        findings: &mut Vec<Diagnostic>,
        resolve: impl FnOnce(&mut Vec<Diagnostic>) -> Option<T>,
    ) -> Option<T> {
        if let Some(depth) = self.resolving.borrow().iter().position(|n| n == name) {
            let path = self.resolving.borrow()[depth..].join(" -> ");
            let message = format!("`{name}` contains itself ({path} -> {name})");
            findings.push(Diagnostic::error(codes::TYPE_CYCLE, span, message));
            return None;
        }
        self.resolving.borrow_mut().push(name.to_string());
        let resolved = resolve(findings);
        self.resolving.borrow_mut().pop();
        resolved
    }

    pub fn resolve(&self, ty: &TypeExpr, findings: &mut Vec<Diagnostic>) -> Option<DataType> {
        let resolved = match &ty.kind {
            TypeKind::Named(name) => self.named(name, ty.span, findings)?,
            TypeKind::List(item) => Type::List(Box::new(self.resolve(item, findings)?)).required(),
            TypeKind::Map(value) => Type::Map(Box::new(self.resolve(value, findings)?)).required(),
            TypeKind::Record(members) => {
                let mut fields: Vec<Field> = Vec::with_capacity(members.len());
                for (name, ty) in members {
                    if fields.iter().any(|f| f.name == name.text) {
                        let message = format!("the member `{}` is declared twice", name.text);
                        findings.push(Diagnostic::error(codes::DECLARED_TWICE, name.span, message));
                        return None;
                    }
                    fields.push(Field::new(name.text.clone(), self.resolve(ty, findings)?));
                }
                Type::Record(Arc::from(fields)).required()
            }
        };
        let nullable = resolved.nullable || ty.nullable;
        Some(resolved.with_nullable(nullable))
    }

    fn named(&self, name: &str, span: Span, findings: &mut Vec<Diagnostic>) -> Option<DataType> {
        if let Some((_, ty)) = BUILT_IN.iter().find(|(n, _)| *n == name) {
            return Some(ty.clone().required());
        }
        match self.declared.get(name).copied() {
            Some(TypeDecl::Alias { ty, .. }) => self.guarded(name, span, findings, |f| self.resolve(ty, f)),
            Some(TypeDecl::Event { .. }) => {
                if let Some(depth) = self.resolving.borrow().iter().position(|n| n == name) {
                    let path = self.resolving.borrow()[depth..].join(" -> ");
                    let message = format!("`{name}` contains itself ({path} -> {name})");
                    findings.push(Diagnostic::error(codes::TYPE_CYCLE, span, message));
                    return None;
                }
                let event = self.event(name, findings)?;
                Some(Type::Record(Arc::from(event.schema.fields)).required())
            }
            None => {
                findings.push(self.unknown(name, span, "type"));
                None
            }
        }
    }

    fn unknown(&self, name: &str, span: Span, what: &str) -> Diagnostic {
        let known = BUILT_IN.iter().map(|(n, _)| *n).chain(self.declared.keys().map(String::as_str));
        let found = Diagnostic::error(codes::UNKNOWN_TYPE, span, format!("there is no {what} `{name}`"));
        let other_names = [("string", "str"), ("integer", "int"), ("double", "float"), ("boolean", "bool")];
        match other_names.iter().find(|(n, _)| *n == name.to_lowercase()) {
            Some((_, ours)) => found.with_hint(format!("did you mean `{ours}`?")),
            None => match nearest(name, known) {
                Some(near) => found.with_hint(format!("did you mean `{near}`?")),
                None => found,
            },
        }
    }
}
