//! Names: parameters, fields, the words of a window, constants, in this order.

use crate::data::Type;
use crate::diagnostic::{Span, codes, nearest};
use crate::expr::Expr;
use crate::sema::parts::{Found, Part};
use crate::sema::row::{Row, WINDOW_END, WINDOW_START};
use crate::sema::typer::{Group, Place, Typer};
use crate::syntax::ast::Name;

/// Words that stand for something of the row that is no field; a field of the same name hides them.
const WORDS: [&str; 4] = ["event_time", "key", "window_end", "window_start"];

impl Typer<'_, '_> {
    pub(super) fn name(&mut self, name: &str, span: Span) -> Option<Expr> {
        if let Some((_, value)) = self.locals.iter().rev().find(|(n, _)| n == name) {
            return value.clone();
        }
        // A function sees its parameters and the constants, nothing of the row that it is called over.
        if self.inlining.is_empty() {
            match &self.place {
                Place::Constant => {}
                Place::Row(row) => {
                    let row = *row;
                    if let Some(e) = row.field(name) {
                        return Some(e);
                    }
                    if self.is_ambiguous(row, name, span) {
                        return None;
                    }
                    if WORDS.contains(&name) {
                        return self.row_word(row, name, span);
                    }
                }
                Place::Group(group) => {
                    if let Some(e) = group_word(group, name) {
                        return Some(e);
                    }
                    let row = group.row;
                    if row.field(name).is_some() {
                        return self.unaggregated(name, span);
                    }
                    if self.is_ambiguous(row, name, span) {
                        return None;
                    }
                    if WORDS.contains(&name) {
                        self.no_window_word(name, span);
                        return None;
                    }
                }
                Place::Captures(_) => {
                    if let Some(found) = self.capture_name(name, span) {
                        return found;
                    }
                }
            }
        }
        match self.globals.consts.get(name) {
            Some(value) => value.clone(),
            None => {
                self.unknown_name(name, span);
                None
            }
        }
    }

    fn row_word(&mut self, row: &Row, word: &str, span: Span) -> Option<Expr> {
        let found = match word {
            "event_time" => Some(Expr::EventTime),
            "key" => row.key_value(row.key()),
            "window_start" => row.named(WINDOW_START),
            _ => row.named(WINDOW_END),
        };
        if found.is_none() {
            self.no_window_word(word, span);
        }
        found
    }

    pub(super) fn no_window_word(&mut self, word: &str, span: Span) {
        match word {
            "key" => self.report_with_hint(
                codes::NO_WINDOW_NAME,
                span,
                "there is no `key` here",
                "`.partition_by(…)` gives the stream a key",
            ),
            "event_time" => self.report_with_hint(
                codes::NO_WINDOW_NAME,
                span,
                "a group of rows has no `event_time` of its own",
                "use it in an aggregate, as in `max(event_time)`, or after `.aggregate`",
            ),
            _ => self.report_with_hint(
                codes::NO_WINDOW_NAME,
                span,
                format!("there is no `{word}` here"),
                "it is known once `.window(…)` and an operator that uses the window, such as `.aggregate`, stand before",
            ),
        }
    }

    /// Whether several inputs of a join have the field, which is reported.
    fn is_ambiguous(&mut self, row: &Row, name: &str, span: Span) -> bool {
        let parts = row.parts_with(name);
        if parts.is_empty() {
            return false;
        }
        let ways: Vec<String> = parts.iter().map(|p| format!("`{p}.{name}`")).collect();
        let (message, hint) = match &ways[..] {
            [only] => (format!("the field is called {only} here"), format!("write {only}")),
            ways => (
                format!("`{name}` is ambiguous: {} inputs of the join have a field of that name", ways.len()),
                format!("say which one: {}", ways.join(" or ")),
            ),
        };
        self.report_with_hint(codes::AMBIGUOUS_NAME, span, message, hint);
        true
    }

    /// `alias.field` of a joined row.
    pub(super) fn part_field(&mut self, row: &Row, part: &Part, alias: Span, name: &Name) -> Option<Expr> {
        let (of, field) = (&part.alias.name, &name.text);
        let column = match row.part_field(part, field) {
            Found::Column(column) => column,
            Found::Gone => {
                let message = format!("the rows have no `{of}.{field}` any more");
                let hint = "an operator before this one has replaced it or left it out";
                self.report_with_hint(codes::UNKNOWN_NAME, alias.to(name.span), message, hint);
                return None;
            }
            Found::Unknown => {
                let message = format!("`{of}` has no field `{field}`");
                match nearest(field, part.field_names()) {
                    Some(near) => {
                        let hint = format!("did you mean `{of}.{near}`?");
                        self.report_with_hint(codes::UNKNOWN_NAME, name.span, message, hint);
                    }
                    None => self.report(codes::UNKNOWN_NAME, name.span, message),
                }
                return None;
            }
        };
        let Place::Group(group) = &self.place else { return Some(column) };
        let Expr::Column { index, .. } = column else { return Some(column) };
        let column = &row.schema.fields[index].name;
        let key = row.key_fields.iter().position(|k| k.as_ref() == Some(column));
        match key.and_then(|part| Some((part, group.row.key().get(part)?.data_type()))) {
            Some((part, ty)) => Some(Expr::column(part, ty)),
            None => self.unaggregated(&format!("{of}.{field}"), alias.to(name.span)),
        }
    }

    fn unaggregated(&mut self, name: &str, span: Span) -> Option<Expr> {
        self.report_with_hint(
            codes::UNAGGREGATED_FIELD,
            span,
            format!("`{name}` has many values in a group"),
            format!("say which one, as in `last({name})`, or make it part of the key with `.partition_by({name})`"),
        );
        None
    }

    fn unknown_name(&mut self, name: &str, span: Span) {
        let mut known: Vec<&str> = self.globals.consts.keys().map(String::as_str).collect();
        known.extend(self.locals.iter().map(|(n, _)| n.as_str()));
        let mut fields: Vec<&str> = Vec::new();
        if self.inlining.is_empty() {
            match &self.place {
                Place::Constant => {}
                Place::Row(row) => fields.extend(row.field_names()),
                Place::Group(group) => fields.extend(group.row.field_names()),
                Place::Captures(captures) => {
                    let step = captures.step().map(|step| &captures.scope.steps[step].row);
                    fields.extend(step.iter().flat_map(|row| row.field_names()));
                }
            }
            known.extend(WORDS);
        }
        known.extend(&fields);
        let message = match (&self.place, self.inlining.is_empty()) {
            (Place::Constant, true) => format!("there is no constant `{name}`"),
            (_, false) => format!("`{name}` is neither a parameter nor a constant"),
            (Place::Row(_) | Place::Group(_) | Place::Captures(_), true) => {
                format!("there is no field or constant `{name}`")
            }
        };
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if fields.is_empty() || fields.len() > 12 => None,
            None => Some(format!("the fields here are {}", fields.join(", "))),
        };
        match hint {
            Some(hint) => self.report_with_hint(codes::UNKNOWN_NAME, span, message, hint),
            None => self.report(codes::UNKNOWN_NAME, span, message),
        }
    }
}

/// What a name in `.aggregate` means of the group itself: a part of its key or a bound of its window.
pub(super) fn group_word(group: &Group<'_>, name: &str) -> Option<Expr> {
    let row = group.row;
    let parts: Vec<Expr> = row.key().iter().enumerate().map(|(i, e)| Expr::column(i, e.data_type())).collect();
    if row.field(name).is_some() {
        let part = row.key_fields.iter().position(|n| n.as_deref() == Some(name))?;
        return Some(parts[part].clone());
    }
    let bound = |offset: usize| {
        let windowed = group.windowed.then_some(row.key_names.len() + offset);
        windowed.map(|i| Expr::column(i, Type::Timestamp.required()))
    };
    match name {
        "key" => row.key_value(parts),
        "window_start" => bound(0),
        "window_end" => bound(1),
        _ => None,
    }
}
