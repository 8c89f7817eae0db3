//! The one input of a pattern: the rows of all that its steps name, in common columns.
//!
//! Column 0 tells the sources apart, the parts of the key follow, then the fields. A field of one name and type has
//! one column in all sources; where types differ, each later one gets a column of its own, named `Type.field`.

use crate::data::{DataType, Field, Schema, Type, Value};
use crate::diagnostic::{Diagnostic, codes};
use crate::expr::Expr;
use crate::pattern::SOURCE_COLUMN;
use crate::sema::Analyzer;
use crate::sema::hir::{MergeInput, Source};
use crate::sema::ops::Origin;
use crate::sema::pattern::options::KeyPart;
use crate::sema::pattern::shape::StepDecl;
use crate::sema::row::{Row, key_column};
use crate::sema::typer::{Place, Typer, coerce};
use crate::syntax::ast::{ExprKind, Name};

/// What is merged, and how each source's rows are seen in it.
pub struct Inputs {
    pub source: Source,
    pub schema: Schema,
    pub origin: Origin,
    /// In the order of the tags.
    pub views: Vec<View>,
}

/// The rows of one source in the common columns.
pub struct View {
    pub event: String,
    pub row: Row,
    /// Positions of the source's fields, in its own order.
    pub order: Vec<usize>,
}

/// A source as it is read.
struct Read<'a> {
    name: &'a Name,
    source: Source,
    schema: Schema,
    origin: Origin,
    key: Vec<Expr>,
}

impl<'a> Analyzer<'a, '_> {
    pub(super) fn pattern_inputs(&mut self, steps: &[StepDecl<'a>], key: &[KeyPart<'a>]) -> Option<Inputs> {
        let mut names: Vec<&'a Name> = Vec::new();
        for step in steps {
            if names.iter().all(|n| n.text != step.event.text) {
                names.push(step.event);
            }
        }
        let read: Vec<Option<Read<'a>>> = names.iter().map(|name| self.pattern_input(name, steps, key)).collect();
        let mut read: Vec<Read<'a>> = read.into_iter().collect::<Option<_>>()?;
        let key_types = self.key_types(&mut read, key)?;
        Some(join(read, &key_types, key))
    }

    fn pattern_input(&mut self, name: &'a Name, steps: &[StepDecl<'a>], key: &[KeyPart<'a>]) -> Option<Read<'a>> {
        if self.globals.patterns.iter().any(|p| p.name.text == name.text) {
            let message = format!("`{}` is a pattern, and steps are of event types or streams", name.text);
            let found = Diagnostic::error(codes::UNKNOWN_SOURCE, name.span, message);
            self.findings
                .push(found.with_hint(format!("name a stream that uses it, as in `stream X = {}.emit(…)`", name.text)));
            return None;
        }
        let (source, schema, origin) = self.named(name)?;
        let row = Row::new(schema.clone());
        let parts: Vec<Option<Expr>> = key.iter().map(|part| self.key_part(name, &row, part, steps)).collect();
        let key = parts.into_iter().collect::<Option<_>>()?;
        Some(Read { name, source, schema, origin, key })
    }

    /// A part of the key over the rows of one source.
    fn key_part(&mut self, of: &Name, row: &Row, part: &KeyPart<'a>, steps: &[StepDecl<'a>]) -> Option<Expr> {
        let mut findings = Vec::new();
        let typed = Typer::new(self.globals, Place::Row(row), &mut findings).expr(part.value);
        for mut found in findings {
            if found.code == codes::UNKNOWN_NAME {
                found.message = format!("{}, and `{}` is a step's type", found.message, of.text);
                found = found.with_label(of.span, "this step's rows have no such key");
            }
            if let ExprKind::Field { base, name, .. } = &part.value.kind
                && let ExprKind::Name(alias) = &base.kind
                && steps.iter().any(|s| s.alias.is_some_and(|a| a.text == *alias))
            {
                found = found.with_hint(format!("the key is that of every row: write `{}`", name.text));
            }
            // A mistake that does not depend on the type would be found for each.
            if !self.findings.contains(&found) {
                self.findings.push(found);
            }
        }
        typed
    }

    /// The types of the key's parts, to which those of all sources are widened.
    fn key_types(&mut self, read: &mut [Read<'a>], key: &[KeyPart<'a>]) -> Option<Vec<DataType>> {
        let mut types: Vec<DataType> = Vec::new();
        for (i, part) in key.iter().enumerate() {
            let mut ty = read[0].key[i].data_type();
            for (n, other) in read.iter().enumerate().skip(1) {
                let own = other.key[i].data_type();
                match ty.unify(&own) {
                    Some(both) => ty = both,
                    None => {
                        let first = read[..n].iter().map(|r| r.name.text.as_str()).collect::<Vec<_>>().join(", ");
                        let message = format!("the key is {own} in `{}` and {ty} in {first}", other.name.text);
                        let found = Diagnostic::error(codes::NO_COMMON_TYPE, part.value.span, message);
                        self.findings.push(found.with_hint("a cast makes one type of them"));
                        return None;
                    }
                }
            }
            for source in read.iter_mut() {
                let e = std::mem::replace(&mut source.key[i], Expr::EventTime);
                source.key[i] = coerce(e, &ty.ty);
            }
            types.push(ty);
        }
        Some(types)
    }
}

fn join(read: Vec<Read<'_>>, key_types: &[DataType], key: &[KeyPart<'_>]) -> Inputs {
    let mut fields = vec![Field::new("$source", Type::Int.required())];
    fields.extend(key_types.iter().enumerate().map(|(i, ty)| Field::new(key_column(i), ty.clone())));
    let first = fields.len();
    // By source: the column of each of its fields.
    let mut columns: Vec<Vec<usize>> = Vec::new();
    for source in &read {
        let of = source.schema.fields.iter().map(|f| column_of(&mut fields, first, f, &source.name.text));
        columns.push(of.collect());
    }
    for (i, field) in fields.iter_mut().enumerate().skip(first) {
        field.data_type.nullable |= columns.iter().any(|c| !c.contains(&i));
    }
    let names: Vec<String> =
        key.iter().enumerate().map(|(i, part)| key_name(part).unwrap_or(format!("key{i}"))).collect();
    let origin = Origin {
        stateful: read.iter().any(|r| r.origin.stateful),
        watermarked: read.iter().all(|r| r.origin.watermarked),
        ..Origin::default()
    };
    let views = read.iter().zip(&columns).map(|(r, of)| view(r, of, &fields, first, &names)).collect();
    let inputs = read.into_iter().zip(&columns).enumerate();
    let inputs = inputs.map(|(tag, (r, of))| {
        let mut projection = vec![Expr::literal(Value::Int(tag as i64), Type::Int)];
        debug_assert_eq!(projection.len(), SOURCE_COLUMN + 1);
        projection.extend(r.key);
        projection.extend(fields.iter().enumerate().skip(first).map(|(column, field)| {
            match of.iter().position(|c| *c == column) {
                Some(own) => Expr::column(own, r.schema.fields[own].data_type.clone()),
                None => Expr::Literal { value: Value::Null, ty: field.data_type.clone() },
            }
        }));
        MergeInput { source: r.source, projection }
    });
    let source = Source::Merge(inputs.collect());
    Inputs { source, schema: Schema::new(fields.clone()), origin, views }
}

/// What the program calls a part of the key.
pub fn key_name(part: &KeyPart<'_>) -> Option<String> {
    part.name.map(|n| n.text.clone()).or_else(|| crate::sema::ops::plain_name(part.value))
}

/// The column in which a source's field stands, which may be one that another source has made.
fn column_of(fields: &mut Vec<Field>, first: usize, field: &Field, source: &str) -> usize {
    let mut name = field.name.clone();
    if let Some(known) = fields.iter().skip(first).position(|f| f.name == field.name) {
        let known = first + known;
        if fields[known].data_type.ty == field.data_type.ty {
            fields[known].data_type.nullable |= field.data_type.nullable;
            return known;
        }
        name = format!("{source}.{name}");
    }
    fields.push(Field::new(name, field.data_type.clone()));
    fields.len() - 1
}

/// The common columns with the names and types of one source.
fn view(read: &Read<'_>, columns: &[usize], fields: &[Field], first: usize, key_names: &[String]) -> View {
    let own = |i: usize| columns.iter().position(|c| *c == i).map(|own| read.schema.fields[own].clone());
    let seen = fields.iter().enumerate().map(|(i, field)| match own(i) {
        _ if i < first => field.clone(),
        Some(own) => own,
        None => Field::new(format!("$other{i}"), field.data_type.clone()),
    });
    let mut row = Row::new(Schema::new(seen.collect()));
    row.key_names = key_names.to_vec();
    row.key_fields = vec![None; key_names.len()];
    View { event: read.name.text.clone(), row, order: columns.to_vec() }
}
