//! JSONL: one object per row, beginning with `_stream` and `_time` unless they are left out.

use super::json::{ClockText, Column, name_prefix, write_string};
use super::{EncodedRows, RowEncoder};
use crate::data::{Batch, DataType, Schema};

/// Whether rows begin with `_stream` and `_time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    Shown,
    Hidden,
}

pub struct JsonlEncoder {
    /// `{"_stream":"Name","_time":"`; empty when the meta fields are hidden.
    opening: Vec<u8>,
    /// For each column: what stands before its value, and its type.
    columns: Vec<(Vec<u8>, DataType)>,
    clock: ClockText,
    /// A guess at the size of a row, from the last batch.
    row_bytes: usize,
}

impl JsonlEncoder {
    pub fn new(stream: &str, schema: &Schema, meta: Meta) -> JsonlEncoder {
        let mut opening = Vec::new();
        if meta == Meta::Shown {
            opening.extend_from_slice(b"{\"_stream\":");
            write_string(stream, &mut opening);
            opening.extend_from_slice(b",\"_time\":\"");
        }
        let column = |(i, f): (usize, &crate::data::Field)| {
            (name_prefix(&f.name, i == 0 && meta == Meta::Hidden), f.data_type.clone())
        };
        let columns = schema.fields.iter().enumerate().map(column).collect();
        JsonlEncoder { opening, columns, clock: ClockText::default(), row_bytes: 64 }
    }
}

impl RowEncoder for JsonlEncoder {
    fn encode(&mut self, batch: &Batch, out: &mut EncodedRows) {
        let JsonlEncoder { opening, columns, clock, row_bytes } = self;
        let arrays = columns.iter().zip(&batch.columns);
        let columns: Vec<(&[u8], Column<'_>)> =
            arrays.map(|((prefix, ty), array)| (prefix.as_slice(), Column::new(array, ty))).collect();
        let start = out.bytes.len();
        out.ends.reserve(batch.len());
        out.bytes.reserve(batch.len() * *row_bytes);
        for row in 0..batch.len() {
            if opening.is_empty() {
                out.bytes.extend_from_slice(if columns.is_empty() { b"{" } else { b"" });
            } else {
                out.bytes.extend_from_slice(opening);
                clock.write(batch.time[row], &mut out.bytes);
                out.bytes.push(b'"');
            }
            for (prefix, column) in &columns {
                out.bytes.extend_from_slice(prefix);
                column.write(row, clock, &mut out.bytes);
            }
            out.bytes.extend_from_slice(b"}\n");
            out.ends.push(out.bytes.len());
        }
        if !batch.is_empty() {
            *row_bytes = (out.bytes.len() - start) / batch.len() + 16;
        }
    }

    fn header(&self) -> Option<&[u8]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::array::array_of_values;
    use crate::data::{Field, Type, Value};

    fn batch(columns: &[(&str, Type, Vec<Value>)], time: &[i64]) -> (Schema, Batch) {
        let field = |c: &(&str, Type, Vec<Value>)| Field::new(c.0, c.1.clone().optional());
        let schema = Schema::new(columns.iter().map(field).collect());
        let arrays = columns.iter().map(|c| array_of_values(&c.1.clone().optional(), &c.2)).collect();
        (schema, Batch { columns: arrays, time: time.to_vec().into(), ..Batch::default() })
    }

    fn encode(schema: &Schema, batch: &Batch, meta: Meta) -> Vec<String> {
        let mut rows = EncodedRows::default();
        JsonlEncoder::new("Out", schema, meta).encode(batch, &mut rows);
        (0..rows.len()).map(|i| String::from_utf8(rows.row(i).to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_row_of_every_type() {
        let record =
            Type::Record([Field::new("x", Type::Int.required()), Field::new("y", Type::Str.optional())].into());
        let (schema, batch) = batch(
            &[
                ("i", Type::Int, vec![Value::Int(-5), Value::Null]),
                ("f", Type::Float, vec![Value::Float(1.0), Value::Float(f64::NAN)]),
                ("b", Type::Bool, vec![Value::Bool(true), Value::Bool(false)]),
                ("s\"", Type::Str, vec![Value::str("a\"\n"), Value::str("")]),
                ("t", Type::Timestamp, vec![Value::Timestamp(1_500_000_000), Value::Null]),
                ("d", Type::Duration, vec![Value::Duration(90_000_000_000), Value::Duration(0)]),
                (
                    "l",
                    Type::List(Box::new(Type::Int.optional())),
                    vec![Value::List(vec![Value::Int(1), Value::Null]), Value::List(vec![])],
                ),
                (
                    "m",
                    Type::Map(Box::new(Type::Float.optional())),
                    vec![Value::Map(vec![("k".into(), Value::Float(0.5)), ("l".into(), Value::Null)]), Value::Null],
                ),
                ("r", record, vec![Value::Record(vec![Value::Int(1), Value::Null]), Value::Null]),
            ],
            &[0, 1],
        );
        let rows = encode(&schema, &batch, Meta::Shown);
        assert!(rows[0].starts_with("{\"_stream\":\"Out\",\"_time\":\"1970-01-01T00:00:00Z\",\"i\":-5,\"f\":1.0,"));
        let parsed: Vec<serde_json::Value> = rows.iter().map(|r| serde_json::from_str(r).unwrap()).collect();
        let first = json!({
            "_stream": "Out", "_time": "1970-01-01T00:00:00Z", "i": -5, "f": 1.0, "b": true, "s\"": "a\"\n",
            "t": "1970-01-01T00:00:01.500Z", "d": "1m30s", "l": [1, null], "m": {"k": 0.5, "l": null},
            "r": {"x": 1, "y": null},
        });
        assert_eq!(parsed[0], first);
        let second = json!({
            "_stream": "Out", "_time": "1970-01-01T00:00:00.000000001Z", "i": null, "f": null, "b": false, "s\"": "",
            "t": null, "d": "0s", "l": [], "m": null, "r": null,
        });
        assert_eq!(parsed[1], second);
    }

    #[test]
    fn meta_fields_can_be_left_out() {
        let (schema, rows) = batch(&[("i", Type::Int, vec![Value::Int(1)])], &[0]);
        assert_eq!(encode(&schema, &rows, Meta::Hidden), ["{\"i\":1}\n"]);
        let (schema, rows) = batch(&[], &[0]);
        assert_eq!(encode(&schema, &rows, Meta::Hidden), ["{}\n"]);
    }

    #[test]
    fn a_slice_of_a_batch_gives_its_rows() {
        let items = Type::List(Box::new(Type::Str.required()));
        let list = |s: &str| Value::List(vec![Value::str(s)]);
        let (schema, rows) = batch(&[("l", items, vec![list("a"), Value::Null, list("c")])], &[0, 1, 2]);
        assert_eq!(encode(&schema, &rows.slice(1, 2), Meta::Hidden), ["{\"l\":null}\n", "{\"l\":[\"c\"]}\n"]);
    }
}
