//! What the values of a field have looked like so far, and the type that follows from it.
//!
//! Values of formats with types of their own are of a *kind*, and two kinds in one field contradict
//! each other unless one widens to the other. The cells of CSV have no kind: there the narrowest type
//! that every cell can be read as is taken, and text holds them all.

use std::sync::Arc;

use hashbrown::HashMap;

use super::SampleError;
use crate::connector::spec::TimeUnit;
use crate::data::time::parse_timestamp;
use crate::data::{DataType, Field, Type};

/// What a value is, before any look at the others of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Bool,
    Int,
    Float,
    Str,
    Timestamp,
    Duration,
    List,
    Record,
}

const KINDS: [Kind; 8] =
    [Kind::Bool, Kind::Int, Kind::Float, Kind::Str, Kind::Timestamp, Kind::Duration, Kind::List, Kind::Record];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::Str => "str",
            Kind::Timestamp => "timestamp",
            Kind::Duration => "duration",
            Kind::List => "a list",
            Kind::Record => "a record",
        }
    }
}

/// The values of one field, of the items of a list, or of one column of CSV.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Where the first value of each kind was.
    first: [Option<u64>; KINDS.len()],
    /// Null, or missing in a row.
    null: bool,
    /// Of ints.
    range: Option<(i64, i64)>,
    /// Whether some text was no timestamp.
    plain_text: bool,
    items: Option<Box<Shape>>,
    members: Members,
}

/// The fields of records, in the order in which they were first seen.
#[derive(Clone, Debug, Default)]
pub struct Members {
    records: u64,
    fields: Vec<(String, Shape, u64)>,
    by_name: HashMap<String, usize>,
}

/// A field's type, with the unit if it is a timestamp that is written as an int.
pub type Inferred = (DataType, Option<TimeUnit>);

impl Shape {
    pub fn see_null(&mut self) {
        self.null = true;
    }

    /// Notes a value of a kind that says all about it.
    pub fn see(&mut self, kind: Kind, position: u64) {
        self.first[kind as usize].get_or_insert(position);
    }

    pub fn see_int(&mut self, value: i64, position: u64) {
        self.see(Kind::Int, position);
        let (low, high) = self.range.unwrap_or((value, value));
        self.range = Some((low.min(value), high.max(value)));
    }

    pub fn see_text(&mut self, text: &[u8], position: u64) {
        self.see(Kind::Str, position);
        self.plain_text = self.plain_text || parse_timestamp(text).is_none();
    }

    /// Notes a list; its items are to be seen by what is returned.
    pub fn see_list(&mut self, position: u64) -> &mut Shape {
        self.see(Kind::List, position);
        self.items.get_or_insert_default()
    }

    /// Notes a record; its members are to be seen by what is returned.
    pub fn see_record(&mut self, position: u64) -> &mut Members {
        self.see(Kind::Record, position);
        self.members.records += 1;
        &mut self.members
    }

    /// The type of all values. `path` is the field's name, with those of the records around it.
    pub fn infer(&self, path: &str) -> Result<DataType, SampleError> {
        let mut seen: Vec<Kind> = KINDS.into_iter().filter(|k| self.first[*k as usize].is_some()).collect();
        let texts_are_times = !self.plain_text;
        let ty = match seen[..] {
            // Nothing but nulls: text can hold whatever comes.
            [] => return Ok(Type::Str.optional()),
            [Kind::Bool] => Type::Bool,
            [Kind::Int] => Type::Int,
            [Kind::Float] | [Kind::Int, Kind::Float] => Type::Float,
            [Kind::Str] if texts_are_times => Type::Timestamp,
            [Kind::Str] => Type::Str,
            [Kind::Timestamp] => Type::Timestamp,
            [Kind::Str, Kind::Timestamp] if texts_are_times => Type::Timestamp,
            [Kind::Duration] => Type::Duration,
            [Kind::List] => {
                let items = self.items.as_deref().cloned().unwrap_or_default();
                Type::List(Box::new(items.infer(&format!("{path}[]"))?))
            }
            [Kind::Record] => {
                let fields = self.members.infer(path)?;
                Type::Record(fields.into_iter().map(|(field, _)| field).collect::<Arc<[Field]>>())
            }
            [_, _, ..] => {
                seen.sort_by_key(|kind| self.first[*kind as usize]);
                let at = |kind: Kind| self.first[kind as usize].unwrap_or_default();
                return Err(SampleError::Conflict {
                    field: path.to_string(),
                    first: seen[0].name(),
                    first_at: at(seen[0]),
                    second: seen[1].name(),
                    second_at: at(seen[1]),
                });
            }
        };
        Ok(ty.required().with_nullable(self.null))
    }

    /// As [`Shape::infer`], for a field of a row: an int may turn out to be a timestamp.
    fn infer_field(&self, name: &str, path: &str) -> Result<Inferred, SampleError> {
        let inferred = self.infer(path)?;
        if inferred.ty == Type::Int
            && let Some(unit) = self.range.and_then(|(low, high)| time_unit(name, low, high))
        {
            return Ok((Type::Timestamp.required().with_nullable(inferred.nullable), Some(unit)));
        }
        Ok((inferred, None))
    }
}

impl Members {
    /// Notes one more record, whose members are to be seen by [`Members::member`].
    pub fn see_record(&mut self) {
        self.records += 1;
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    /// The shape of a member's values, which the current record is the next to have.
    pub fn member(&mut self, name: &str) -> &mut Shape {
        let place = match self.by_name.get(name) {
            Some(&place) => place,
            None => {
                self.by_name.insert(name.to_string(), self.fields.len());
                self.fields.push((name.to_string(), Shape::default(), 0));
                self.fields.len() - 1
            }
        };
        let (_, shape, records) = &mut self.fields[place];
        *records += 1;
        shape
    }

    /// The fields; what some record lacked is nullable. `path` is empty for the fields of rows.
    pub fn infer(&self, path: &str) -> Result<Vec<(Field, Option<TimeUnit>)>, SampleError> {
        let field = |(name, shape, records): &(String, Shape, u64)| {
            let full = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let (ty, unit) =
                if path.is_empty() { shape.infer_field(name, &full)? } else { (shape.infer(&full)?, None) };
            let nullable = ty.nullable || *records < self.records;
            Ok((Field::new(name.clone(), ty.with_nullable(nullable)), unit))
        };
        self.fields.iter().map(field).collect()
    }
}

/// The first instant of 1990 and of 2100, in s.
const PLAUSIBLE_S: (i64, i64) = (631_152_000, 4_102_444_800);

const TIME_NAMES: [&str; 6] = ["timestamp", "ts", "time", "event_time", "@timestamp", "datetime"];

/// The unit in which ints of a field with this name, all between `low` and `high`, are instants of
/// 1990 to 2100. The ranges of the units do not meet.
pub fn time_unit(name: &str, low: i64, high: i64) -> Option<TimeUnit> {
    if !(TIME_NAMES.contains(&name) || name.ends_with("_at") || name.ends_with("_time")) {
        return None;
    }
    let units = [
        (TimeUnit::Seconds, 1),
        (TimeUnit::Milliseconds, 1_000),
        (TimeUnit::Microseconds, 1_000_000),
        (TimeUnit::Nanoseconds, 1_000_000_000),
    ];
    let fits = |per_s: i64| low >= PLAUSIBLE_S.0 * per_s && high < PLAUSIBLE_S.1 * per_s;
    units.into_iter().find(|(_, per_s)| fits(*per_s)).map(|(unit, _)| unit)
}

/// The cells of one column of CSV.
#[derive(Clone, Debug)]
pub struct CellShape {
    ints: bool,
    floats: bool,
    bools: bool,
    timestamps: bool,
    /// Some cell was a number with digits: `NaN` alone makes no column of floats.
    digits: bool,
    range: Option<(i64, i64)>,
    values: u64,
    /// Null for every type but text.
    quoted_null: bool,
    null: bool,
}

impl Default for CellShape {
    fn default() -> CellShape {
        CellShape {
            ints: true,
            floats: true,
            bools: true,
            timestamps: true,
            digits: false,
            range: None,
            values: 0,
            quoted_null: false,
            null: false,
        }
    }
}

impl CellShape {
    pub fn see(&mut self, text: &str, quoted: bool) {
        let trimmed = text.trim_ascii();
        if trimmed.is_empty() || trimmed == "NA" {
            // Only the bare forms are null for text.
            let bare = !quoted && trimmed.len() == text.len();
            self.null |= bare;
            self.quoted_null |= !bare;
            return;
        }
        self.values += 1;
        let digits = trimmed.trim_start_matches(['+', '-']);
        // `007` is the name of something, and so is a number beyond 64 bits.
        let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let int: Option<i64> = trimmed.parse().ok().filter(|_| !leading_zero);
        let float =
            trimmed.parse::<f64>().is_ok_and(|v| v.is_finite() || !digits.contains(|c: char| c.is_ascii_digit()));
        self.ints &= int.is_some();
        self.floats &= float && !leading_zero && !(all_digits && int.is_none());
        self.bools &= trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false");
        self.timestamps &= parse_timestamp(trimmed.as_bytes()).is_some();
        self.digits |= digits.contains(|c: char| c.is_ascii_digit());
        if let Some(int) = int {
            let (low, high) = self.range.unwrap_or((int, int));
            self.range = Some((low.min(int), high.max(int)));
        }
    }

    pub fn infer(&self, name: &str) -> Inferred {
        if self.values == 0 {
            return (Type::Str.required().with_nullable(self.null), None);
        }
        let unit = self.range.filter(|_| self.ints).and_then(|(low, high)| time_unit(name, low, high));
        let ty = match unit {
            Some(_) => Type::Timestamp,
            None if self.ints => Type::Int,
            None if self.floats && self.digits => Type::Float,
            None if self.bools => Type::Bool,
            None if self.timestamps => Type::Timestamp,
            None => return (Type::Str.required().with_nullable(self.null), None),
        };
        (ty.required().with_nullable(self.null || self.quoted_null), unit)
    }
}
