//! The inputs of a join as the names of the joined rows see them: `o.id`, `p.amount`.
//!
//! A joined row has the columns of all inputs. One whose name only one input has keeps it, and is found
//! with and without the input's name before it. A name that several have is qualified in the row itself
//! (`o.id`, which no other field can be called), so that nothing finds it but who says of which input.
//!
//! What an input's field is called lives as long as the column does: a projection that replaces or drops
//! the column ends it, so that `p.amount` never is something else than what `p` had.

use crate::data::{Field, Schema};
use crate::expr::Expr;
use crate::sema::row::{Alias, Row, is_hidden};

/// The column of an input in which its rows' event time stands; `p.event_time` finds it.
pub const TIME: &str = "$time";

/// One input of a join.
#[derive(Clone, Debug)]
pub struct Part {
    pub alias: Alias,
    /// What the input calls its fields, and the columns that they are.
    fields: Vec<(String, String)>,
}

/// What a name of a part leads to.
#[derive(Clone, Debug)]
pub enum Found {
    Column(Expr),
    /// The input has the field, and the rows do not any more.
    Gone,
    /// The input has no such field.
    Unknown,
}

/// The rows of a join of these inputs. Hidden columns are numbered by input.
pub fn joined(inputs: &[(Alias, Schema)]) -> Row {
    let having = |name: &str| inputs.iter().filter(|(_, schema)| schema.index_of(name).is_some()).count();
    let (mut fields, mut parts) = (Vec::new(), Vec::new());
    for (i, (alias, schema)) in inputs.iter().enumerate() {
        let mut own = Vec::new();
        for field in &schema.fields {
            let column = match field.name.as_str() {
                hidden if is_hidden(hidden) => format!("{hidden}{i}"),
                shared if having(shared) > 1 => format!("{}.{shared}", alias.name),
                name => name.to_string(),
            };
            let word = if field.name == TIME { "event_time" } else { &field.name };
            // A field of that name comes first, and hides the word.
            if own.iter().all(|(n, _)| n != word) {
                own.push((word.to_string(), column.clone()));
            }
            fields.push(Field::new(column, field.data_type.clone()));
        }
        parts.push(Part { alias: alias.clone(), fields: own });
    }
    Row { parts, ..Row::new(Schema::new(fields)) }
}

impl Row {
    /// The input of that name.
    pub fn part(&self, alias: &str) -> Option<&Part> {
        self.parts.iter().find(|p| p.alias.name == alias)
    }

    /// The field `name` of an input.
    pub fn part_field(&self, part: &Part, name: &str) -> Found {
        let Some((_, column)) = part.fields.iter().find(|(n, _)| n == name) else { return Found::Unknown };
        self.named(column).map_or(Found::Gone, Found::Column)
    }

    /// The inputs that have a field of that name which cannot be told from another's without saying whose it is.
    pub fn parts_with(&self, name: &str) -> Vec<&str> {
        let has = |p: &&Part| matches!(self.part_field(p, name), Found::Column(_));
        let parts: Vec<&str> = self.parts.iter().filter(has).map(|p| p.alias.name.as_str()).collect();
        if is_hidden(name) || name == "event_time" { Vec::new() } else { parts }
    }
}

impl Part {
    /// Forgets what the input calls columns that `is_kept` denies.
    pub fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        for (_, column) in &mut self.fields {
            if !is_kept(column) {
                // No column is called so: the name stays known, and leads nowhere.
                column.clear();
            }
        }
    }

    /// What the input calls its fields.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str()).filter(|name| !is_hidden(name))
    }
}

/// The field that a column is of, where its name is qualified.
pub fn qualified(column: &str) -> Option<(&str, &str)> {
    column.split_once('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Type;
    use crate::diagnostic::Span;

    fn input(alias: &str, fields: &[&str]) -> (Alias, Schema) {
        let fields = fields.iter().map(|f| Field::new(*f, Type::Int.required())).collect();
        (Alias { name: alias.to_string(), span: Span::default(), used: false.into() }, Schema::new(fields))
    }

    fn column(row: &Row, alias: &str, name: &str) -> Option<usize> {
        match row.part_field(row.part(alias)?, name) {
            Found::Column(Expr::Column { index, .. }) => Some(index),
            Found::Column(_) | Found::Gone | Found::Unknown => None,
        }
    }

    #[test]
    fn a_name_of_several_inputs_is_found_by_input_only() {
        let row = joined(&[input("a", &["id", "x", TIME]), input("b", &["id", "y", TIME])]);
        let names: Vec<&str> = row.schema.fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["a.id", "x", "$time0", "b.id", "y", "$time1"]);
        assert!(row.field("id").is_none() && row.field("x").is_some());
        assert_eq!(row.parts_with("id"), ["a", "b"]);
        assert_eq!((column(&row, "a", "id"), column(&row, "b", "id")), (Some(0), Some(3)));
        assert_eq!((column(&row, "a", "event_time"), column(&row, "b", "event_time")), (Some(2), Some(5)));
        assert!(matches!(row.part_field(&row.parts[0], "y"), Found::Unknown));
    }

    #[test]
    fn a_field_that_was_replaced_is_no_longer_the_input_s() {
        let mut row = joined(&[input("a", &["id", "x"]), input("b", &["y"])]);
        row.parts.iter_mut().for_each(|p| p.keep(|column| column != "x"));
        assert!(matches!(row.part_field(&row.parts[0], "x"), Found::Gone));
        assert_eq!(column(&row, "b", "y"), Some(2));
    }
}
