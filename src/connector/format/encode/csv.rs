//! CSV: a header, then a line per row. Fields are quoted where they must be; null is an empty field,
//! and an empty string is `""`, so that the two can be told apart; nested values are JSON.

use memchr::memchr3;

use super::json::{ClockText, Column};
use super::{EncodedRows, RowEncoder};
use crate::data::{Batch, DataType, Schema};

pub struct CsvEncoder {
    delimiter: u8,
    header: Vec<u8>,
    types: Vec<DataType>,
    clock: ClockText,
    /// A field before it is quoted.
    field: Vec<u8>,
}

impl CsvEncoder {
    pub fn new(schema: &Schema, delimiter: u8) -> CsvEncoder {
        let mut header = Vec::new();
        for (i, field) in schema.fields.iter().enumerate() {
            if i > 0 {
                header.push(delimiter);
            }
            write_field(field.name.as_bytes(), delimiter, &mut header);
        }
        header.push(b'\n');
        let types = schema.fields.iter().map(|f| f.data_type.clone()).collect();
        CsvEncoder { delimiter, header, types, clock: ClockText::default(), field: Vec::new() }
    }
}

impl RowEncoder for CsvEncoder {
    fn encode(&mut self, batch: &Batch, out: &mut EncodedRows) {
        let CsvEncoder { delimiter, types, clock, field, .. } = self;
        let columns: Vec<_> = types.iter().zip(&batch.columns).map(|(ty, array)| Column::new(array, ty)).collect();
        for row in 0..batch.len() {
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    out.bytes.push(*delimiter);
                }
                if column.is_plain() {
                    column.write_text(row, clock, &mut out.bytes);
                } else if !column.is_null(row) {
                    field.clear();
                    column.write_text(row, clock, field);
                    write_field(field, *delimiter, &mut out.bytes);
                }
            }
            out.bytes.push(b'\n');
            out.ends.push(out.bytes.len());
        }
    }

    fn header(&self) -> Option<&[u8]> {
        Some(&self.header)
    }
}

/// Appends a field that is not null, quoted if it must be.
fn write_field(text: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let plain = !text.is_empty() && memchr3(b'"', b'\n', b'\r', text).is_none() && !text.contains(&delimiter);
    if plain {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &b in text {
        if b == b'"' {
            out.push(b'"');
        }
        out.push(b);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::array::array_of_values;
    use crate::data::{Field, Type, Value};

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let list = Type::List(Box::new(Type::Int.optional())).optional();
        let schema = Schema::new(vec![
            Field::new("s", Type::Str.optional()),
            Field::new("a,b", Type::Float.optional()),
            Field::new("l", list.clone()),
        ]);
        let strings = ["plain", "a,b", "say \"x\"", "two\nlines", ""].map(Value::str);
        let strings = [&strings[..], &[Value::Null]].concat();
        let floats = [1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0].map(Value::Float);
        let floats = [&floats[..], &[Value::Null]].concat();
        let lists = [&vec![Value::List(vec![Value::Int(1), Value::Int(2)]); 5][..], &[Value::Null]].concat();
        let batch = Batch {
            columns: vec![
                array_of_values(&Type::Str.optional(), &strings),
                array_of_values(&Type::Float.optional(), &floats),
                array_of_values(&list, &lists),
            ],
            time: vec![0; 6].into(),
            ..Batch::default()
        };
        let mut encoder = CsvEncoder::new(&schema, b',');
        let mut rows = EncodedRows::default();
        encoder.encode(&batch, &mut rows);
        assert_eq!(encoder.header().unwrap(), b"s,\"a,b\",l\n");
        let expected = [
            "plain,1.5,\"[1,2]\"\n",
            "\"a,b\",NaN,\"[1,2]\"\n",
            "\"say \"\"x\"\"\",inf,\"[1,2]\"\n",
            "\"two\nlines\",-inf,\"[1,2]\"\n",
            "\"\",-0.0,\"[1,2]\"\n",
            ",,\n",
        ];
        let found: Vec<_> = (0..rows.len()).map(|i| String::from_utf8_lossy(rows.row(i)).into_owned()).collect();
        assert_eq!(found, expected);
    }
}
