//! The inputs of a case as plain values, and their text.
//!
//! The interpreter takes the values, the engine reads the text; nothing else passes between the two.

use std::path::{Path, PathBuf};

use varpulis_runtime::data::Value;
use varpulis_runtime::data::time::{format_duration, format_timestamp};

/// The event types of a case: name, and the fields with their names and types as the program has them.
#[derive(Clone, Debug)]
pub struct EventType {
    pub name: String,
    pub fields: Vec<(String, String)>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    pub name: String,
    /// The type that all rows have; otherwise each row names its own.
    pub ty: Option<usize>,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub enum Line {
    /// A row of a type, by its number, with all fields of the type.
    Row { ty: usize, values: Vec<Value> },
    /// What is no row.
    Damaged,
}

impl File {
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(&self.name)
    }

    fn is_csv(&self) -> bool {
        self.name.ends_with(".csv")
    }

    /// Where a line stands among the others: only comparisons within the file matter.
    pub fn position(&self, line: usize) -> u64 {
        line as u64 + u64::from(self.is_csv())
    }

    /// The file's text.
    pub fn text(&self, types: &[EventType]) -> String {
        let mut out = String::new();
        if self.is_csv() {
            let ty = self.ty.expect("a CSV file has rows of one type");
            let names: Vec<&str> = types[ty].fields.iter().map(|f| f.0.as_str()).collect();
            out += &names.join(",");
            out.push('\n');
        }
        for line in &self.lines {
            match line {
                Line::Damaged => out += "{\"at\": \n",
                Line::Row { values, .. } if self.is_csv() => {
                    let cells: Vec<String> = values.iter().map(plain_text).collect();
                    out += &cells.join(",");
                    out.push('\n');
                }
                Line::Row { ty, values } => out += &self.json_row(&types[*ty], values),
            }
        }
        out
    }

    fn json_row(&self, ty: &EventType, values: &[Value]) -> String {
        let mut members = Vec::new();
        if self.ty.is_none() {
            members.push(format!("\"event_type\":\"{}\"", ty.name));
        }
        for (i, ((name, _), value)) in ty.fields.iter().zip(values).enumerate() {
            // Half of the nulls are fields that are not there.
            if !value.is_null() || i % 2 == 0 {
                members.push(format!("\"{name}\":{}", json_text(value)));
            }
        }
        format!("{{{}}}\n", members.join(","))
    }
}

fn json_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Str(_) | Value::Timestamp(_) | Value::Duration(_) => format!("{:?}", plain_text(value)),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => plain_text(value),
        Value::List(_) | Value::Map(_) | Value::Record(_) => unreachable!("no field is nested"),
    }
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Str(s) => s.to_string(),
        Value::Timestamp(ns) => format_timestamp(*ns),
        Value::Duration(ns) => format_duration(*ns),
        Value::Int(v) => v.to_string(),
        Value::Float(v) => format!("{v:?}"),
        Value::Bool(v) => v.to_string(),
        Value::List(_) | Value::Map(_) | Value::Record(_) => unreachable!("no field is nested"),
    }
}
