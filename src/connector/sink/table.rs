//! Rows as aligned tables for people, on a terminal or in a text file.
//!
//! The width of a column is known only once its rows are, so rows are gathered: a table is printed for
//! every [`TABLE_ROWS`] rows of a stream, and for what there is when the sink is flushed or finished.
//! Cells beyond [`CELL_CHARS_MAX`] characters are cut, with `…`: this is the one format that does not
//! keep values whole.

use super::bytes::{Files, Opening};
use super::{BatchSink, ByteSink, Destination, Mark, OutputStream, SinkError, Start};
use crate::connector::format::encode::json::{ClockText, Column};
use crate::connector::format::encode::jsonl::Meta;
use crate::connector::spec::{Commit, OutputFormat};
use crate::data::{Batch, DataType, Type};

/// Rows of one table.
pub const TABLE_ROWS: usize = 1000;
pub const CELL_CHARS_MAX: usize = 60;

pub struct Tables {
    files: Files,
    streams: Vec<Table>,
    clock: ClockText,
}

/// The next table of one stream.
struct Table {
    /// Shown above the table when several streams share a file.
    title: Option<String>,
    time: Meta,
    names: Vec<String>,
    types: Vec<DataType>,
    rows: Vec<Vec<String>>,
}

impl Tables {
    pub fn open(destination: &Destination, streams: &[OutputStream], meta: Meta) -> Result<Tables, SinkError> {
        let opening = Opening { format: OutputFormat::Table, commit: Commit::AtOnce, start: &Start::Anew };
        let files = Files::open(destination, streams, vec![None; streams.len()], &opening)?;
        let titled = streams.len() > 1 && !matches!(destination, Destination::Folder(_));
        let streams = streams.iter().map(|s| Table::new(s, titled, meta)).collect();
        Ok(Tables { files, streams, clock: ClockText::default() })
    }
}

impl BatchSink for Tables {
    fn write(&mut self, stream: usize, batch: &Batch) -> Result<(), SinkError> {
        let table = &mut self.streams[stream];
        let mut from = 0;
        while from < batch.len() {
            let len = (TABLE_ROWS - table.rows.len()).min(batch.len() - from);
            table.push(&batch.slice(from, len), &mut self.clock);
            if table.rows.len() == TABLE_ROWS {
                self.files.write(stream, table.render().as_bytes())?;
            }
            from += len;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        for (i, table) in self.streams.iter_mut().enumerate().filter(|(_, t)| !t.rows.is_empty()) {
            self.files.write(i, table.render().as_bytes())?;
        }
        self.files.flush()
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.flush()?;
        self.files.finish()
    }

    /// Tables are refused where anything is saved, but on a terminal, where nothing can be continued.
    fn mark(&mut self) -> Result<Vec<Mark>, SinkError> {
        Ok(Vec::new())
    }
}

impl Table {
    fn new(stream: &OutputStream, titled: bool, time: Meta) -> Table {
        let own = stream.schema.fields.iter();
        let shown = if time == Meta::Shown { Some("_time".to_string()) } else { None };
        Table {
            title: titled.then(|| stream.name.clone()),
            time,
            names: shown.into_iter().chain(own.clone().map(|f| f.name.clone())).collect(),
            types: own.map(|f| f.data_type.clone()).collect(),
            rows: Vec::new(),
        }
    }

    fn push(&mut self, batch: &Batch, clock: &mut ClockText) {
        let columns: Vec<_> = self.types.iter().zip(&batch.columns).map(|(ty, c)| Column::new(c, ty)).collect();
        for row in 0..batch.len() {
            let mut cells = Vec::with_capacity(self.names.len());
            let mut text = Vec::new();
            if self.time == Meta::Shown {
                clock.write(batch.time[row], &mut text);
                cells.push(cell(&text));
            }
            for column in &columns {
                text.clear();
                if column.is_null(row) {
                    text.extend_from_slice(b"null");
                } else {
                    column.write_text(row, clock, &mut text);
                }
                cells.push(cell(&text));
            }
            self.rows.push(cells);
        }
    }

    /// The gathered rows as a table; none are left.
    fn render(&mut self) -> String {
        let rows = std::mem::take(&mut self.rows);
        let names: Vec<String> = self.names.iter().map(|n| cell(n.as_bytes())).collect();
        let width = |i: usize| {
            let cells = rows.iter().map(|r| r[i].chars().count());
            cells.chain([names[i].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..names.len()).map(width).collect();
        let rule = |left: &str, middle: &str, right: &str| {
            let bars: Vec<String> = widths.iter().map(|w| "─".repeat(w + 2)).collect();
            format!("{left}{}{right}\n", bars.join(middle))
        };
        let line = |cells: &[String], numbers: bool| {
            let padded = cells.iter().enumerate().map(|(i, text)| {
                let width = widths[i];
                if numbers && self.is_number(i) { format!(" {text:>width$} ") } else { format!(" {text:<width$} ") }
            });
            format!("│{}│\n", padded.collect::<Vec<_>>().join("│"))
        };
        let mut out = self.title.as_ref().map(|t| format!("{t}\n")).unwrap_or_default();
        out.push_str(&rule("┌", "┬", "┐"));
        out.push_str(&line(&names, false));
        out.push_str(&rule("├", "┼", "┤"));
        rows.iter().for_each(|r| out.push_str(&line(r, true)));
        out.push_str(&rule("└", "┴", "┘"));
        out
    }

    fn is_number(&self, column: usize) -> bool {
        let shift = usize::from(self.time == Meta::Shown);
        column.checked_sub(shift).is_some_and(|i| matches!(self.types[i].ty, Type::Int | Type::Float))
    }
}

/// A value on one line, cut to the width of a cell.
fn cell(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i + 1 == CELL_CHARS_MAX && text.chars().nth(i + 1).is_some() {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::array::array_of_values;
    use crate::data::{Field, Schema, Value};

    #[test]
    fn columns_are_aligned_and_long_cells_cut() {
        let schema = Schema::new(vec![Field::new("zone", Type::Str.optional()), Field::new("n", Type::Int.required())]);
        let stream = OutputStream { name: "Zones".into(), schema };
        let mut table = Table::new(&stream, true, Meta::Hidden);
        let long = "x".repeat(CELL_CHARS_MAX + 1);
        let zones = [Value::str("a\nb"), Value::Null, Value::str(&long)];
        let batch = Batch {
            columns: vec![
                array_of_values(&Type::Str.optional(), &zones[..2]),
                array_of_values(&Type::Int.required(), &[Value::Int(5), Value::Int(-10)]),
            ],
            time: vec![0, 0].into(),
            ..Batch::default()
        };
        table.push(&batch, &mut ClockText::default());
        let expected =
            "Zones\n┌──────┬─────┐\n│ zone │ n   │\n├──────┼─────┤\n│ a b  │   5 │\n│ null │ -10 │\n└──────┴─────┘\n";
        assert_eq!(table.render(), expected);
        assert!(table.rows.is_empty());
        assert_eq!(cell(long.as_bytes()), format!("{}…", "x".repeat(CELL_CHARS_MAX - 1)));
    }
}
