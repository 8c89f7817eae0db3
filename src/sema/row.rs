//! The columns of a stream's rows at one place of its chain, as names see them.
//!
//! Visible columns are the fields of the program; hidden ones (see [`super::hir`]) are found only by
//! the words `key`, `window_start` and `window_end`. Every projection of the program keeps the hidden
//! columns, so that they stay usable to the end of the stream; the planner removes what nobody reads.

use std::cell::Cell;
use std::sync::Arc;

use crate::data::{DataType, Field, Schema, Type};
use crate::diagnostic::Span;
use crate::expr::Expr;
use crate::sema::parts::Part;

pub const WINDOW_START: &str = "$window_start";
pub const WINDOW_END: &str = "$window_end";
/// Of a change of a table: -1 for a row that goes, 1 for one that comes.
pub const DIFF: &str = "$diff";
/// Of a change of a table: `insert`, `update` or `delete`.
pub const OP: &str = "$op";

/// The columns at one place, and the alias under which the program knows the row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub schema: Schema,
    pub alias: Option<Alias>,
    /// The inputs of a join whose rows these are.
    pub parts: Vec<Part>,
    /// How the parts of the partition key are called; part `i` is column `$key<i>`.
    pub key_names: Vec<String>,
    /// The field that still has the value of each part of the key, if there is one.
    pub key_fields: Vec<Option<String>>,
    /// Which of the sort keys, columns `$sort0` …, sort downwards.
    pub sort_descending: Vec<bool>,
}

/// `as e` of a source. It lives as long as the stream.
#[derive(Clone, Debug)]
pub struct Alias {
    pub name: String,
    pub span: Span,
    pub used: Cell<bool>,
}

pub fn is_hidden(name: &str) -> bool {
    name.starts_with('$')
}

pub fn key_column(part: usize) -> String {
    format!("$key{part}")
}

pub fn sort_column(part: usize) -> String {
    format!("$sort{part}")
}

impl Row {
    pub fn new(schema: Schema) -> Row {
        Row { schema, ..Row::default() }
    }

    pub fn column(&self, index: usize) -> Expr {
        Expr::column(index, self.schema.fields[index].data_type.clone())
    }

    /// The column of that name, hidden or not.
    pub fn named(&self, name: &str) -> Option<Expr> {
        self.schema.index_of(name).map(|i| self.column(i))
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<Expr> {
        if is_hidden(name) { None } else { self.named(name) }
    }

    /// The fields that the program sees, with their positions.
    pub fn visible(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.schema.fields.iter().enumerate().filter(|(_, f)| !is_hidden(&f.name))
    }

    pub fn hidden(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.schema.fields.iter().enumerate().filter(|(_, f)| is_hidden(&f.name))
    }

    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.visible().map(|(_, f)| f.name.as_str())
    }

    /// Whether the rows belong to a window.
    pub fn has_window(&self) -> bool {
        self.schema.index_of(WINDOW_START).is_some()
    }

    /// The parts of the partition key.
    pub fn key(&self) -> Vec<Expr> {
        (0..self.key_names.len()).filter_map(|i| self.named(&key_column(i))).collect()
    }

    /// What the word `key` stands for, given the values of the parts: the value itself, or a record
    /// of the parts. Without a key there is none.
    pub fn key_value(&self, parts: Vec<Expr>) -> Option<Expr> {
        match parts.len() {
            0 => None,
            1 => parts.into_iter().next(),
            _ => {
                let fields: Arc<[Field]> =
                    self.key_names.iter().zip(&parts).map(|(n, e)| Field::new(n.clone(), e.data_type())).collect();
                Some(Expr::Record { fields: parts, ty: DataType { ty: Type::Record(fields), nullable: false } })
            }
        }
    }

    /// A record of all visible fields.
    pub fn as_record(&self) -> Expr {
        let fields: Arc<[Field]> = self.visible().map(|(_, f)| f.clone()).collect();
        let values = self.visible().map(|(i, _)| self.column(i)).collect();
        Expr::Record { fields: values, ty: Type::Record(fields).required() }
    }
}
