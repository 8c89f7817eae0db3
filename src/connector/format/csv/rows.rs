//! The rows of one type: reading a row's cells into columns.
//!
//! Invariant: between rows all columns are as long as `positions`; a row that fails is cut off again.

use super::cursor::Cursor;
use super::value::{self, CellFault};
use crate::connector::format::column::Column;
use crate::connector::format::instant::InstantParser;
use crate::connector::spec::SourceType;
use crate::connector::{DecodedRows, MalformedReason};

/// Rows of one type under construction.
pub struct TypeRows {
    fields: Vec<(String, Column)>,
    /// For each column of the file, the field that it fills.
    targets: Vec<Option<usize>>,
    /// Fields that the file has no column for.
    absent: Vec<usize>,
    instants: InstantParser,
    positions: Vec<u64>,
    /// Of the row being read, by field.
    faults: Vec<(usize, RowFault)>,
}

/// Why a row is malformed.
#[derive(Debug)]
pub struct RowFault {
    pub reason: MalformedReason,
    pub detail: String,
}

impl RowFault {
    pub fn syntax(detail: impl Into<String>) -> RowFault {
        RowFault { reason: MalformedReason::Syntax, detail: detail.into() }
    }
}

impl TypeRows {
    pub fn new(ty: &SourceType) -> TypeRows {
        let unit = |i: usize| ty.time_units.get(i).copied().flatten();
        let fields = ty.schema.fields.iter().enumerate();
        TypeRows {
            fields: fields.map(|(i, f)| (f.name.clone(), Column::new(&f.data_type, unit(i)))).collect(),
            targets: Vec::new(),
            absent: Vec::new(),
            instants: InstantParser::default(),
            positions: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Prepares for rows under a header. Of several columns of one name the last counts.
    pub fn set_header(&mut self, names: &[&str]) {
        self.targets = vec![None; names.len()];
        self.absent.clear();
        for (field, (name, _)) in self.fields.iter().enumerate() {
            match names.iter().rposition(|n| n == name) {
                Some(column) => self.targets[column] = Some(field),
                None => self.absent.push(field),
            }
        }
    }

    /// Reads the row at the cursor, up to its line end.
    #[inline]
    pub fn read(&mut self, cursor: &mut Cursor, position: u64) -> Result<(), RowFault> {
        let Some(last) = self.targets.len().checked_sub(1) else { return Err(RowFault::syntax("")) };
        for (i, target) in self.targets.iter().enumerate() {
            match *target {
                None => cursor.skip_cell().map_err(RowFault::syntax)?,
                Some(field) => {
                    let (name, column) = &mut self.fields[field];
                    if let Err(fault) = value::read(cursor, column, &mut self.instants) {
                        self.faults.push((field, field_fault(name, fault)?));
                        column.truncate(self.positions.len());
                        column.push_null();
                    }
                }
            }
            if cursor.another() == (i == last) {
                return Err(RowFault::syntax(""));
            }
        }
        if !self.absent.is_empty() {
            self.fill_absent();
        }
        if !self.faults.is_empty() {
            return Err(self.first_fault());
        }
        self.positions.push(position);
        Ok(())
    }

    fn fill_absent(&mut self) {
        for &field in &self.absent {
            let (name, column) = &mut self.fields[field];
            column.push_null();
            if !column.nullable {
                let detail = format!("no column `{name}`");
                self.faults.push((field, RowFault { reason: MalformedReason::MissingField, detail }));
            }
        }
    }

    #[cold]
    fn first_fault(&mut self) -> RowFault {
        let first = std::mem::take(&mut self.faults).into_iter().min_by_key(|(field, _)| *field);
        first.expect("called when there are faults").1
    }

    /// Drops what an unfinished row has written.
    pub fn cut(&mut self) {
        let rows = self.positions.len();
        self.fields.iter_mut().for_each(|(_, column)| column.truncate(rows));
        self.faults.clear();
    }

    /// The rows so far; none are left.
    pub fn finish(&mut self) -> DecodedRows {
        let columns = self.fields.iter_mut().map(|(_, column)| column.finish()).collect();
        let room = self.positions.len() + self.positions.len() / 8;
        let positions = std::mem::replace(&mut self.positions, Vec::with_capacity(room));
        DecodedRows { columns, positions, format_times: None }
    }
}

#[cold]
fn field_fault(name: &str, fault: CellFault) -> Result<RowFault, RowFault> {
    match fault {
        CellFault::Syntax(what) => Err(RowFault::syntax(what)),
        CellFault::Value(reason @ (MalformedReason::WrongType | MalformedReason::TimeOutOfRange), detail) => {
            Ok(RowFault { reason, detail: format!("field `{name}`: {detail}") })
        }
        CellFault::Value(reason, detail) => Ok(RowFault { reason, detail: format!("field `{name}` {detail}") }),
    }
}
