//! The rows of one type: reading a row's members into columns.
//!
//! Invariant: before and after a row all columns are as long as `positions`. A row that fails, or that
//! turns out to be of another type, leaves them so too ([`TypeRows::cut`]).

use super::cursor::Cursor;
use super::fault::{Fault, FieldFault, FieldFaultKind, Syntax};
use super::keys::{Action, KeyId, Keys, ROW_START};
use super::value;
use crate::connector::format::column::Column;
use crate::connector::format::instant::InstantParser;
use crate::connector::spec::SourceType;
use crate::connector::{DecodedRows, MalformedReason};

/// Rows of one type under construction.
#[derive(Debug)]
pub struct TypeRows {
    pub name: String,
    /// Whether rows may be of other types, so that a tag that does not fit says something.
    several: bool,
    slots: Vec<Slot>,
    keys: Keys,
    instants: InstantParser,
    positions: Vec<u64>,
    /// Of the row being read; what a slot was last written in.
    stamp: u64,
    /// Slots written in the row being read.
    written: usize,
    /// Faults of the row's fields. They count only if all of the row is well-formed, and if no later
    /// member has the same name.
    faults: Vec<SlotFault>,
    /// Unknown names that were never met before: in the row being read, and since the last report.
    unknown_in_row: Vec<KeyId>,
    unknown: Vec<KeyId>,
    /// By key: whether it is in `unknown` or was.
    reported: Vec<bool>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    column: Column,
    stamp: u64,
}

#[derive(Debug)]
struct SlotFault {
    slot: usize,
    reason: MalformedReason,
    detail: String,
}

/// What has been decided about the row that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It is taken to be of this type; its tags are compared.
    Assumed,
    /// It is of this type and the members are its fields, whatever tags they look like.
    Settled,
    /// Its fields were in `data`; the members are what follows that.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Read,
    /// The assumption was wrong: the row must be classified first.
    Unsettled,
}

/// Why a row is malformed.
#[derive(Debug)]
pub enum RowFault {
    Syntax(Syntax),
    Field { reason: MalformedReason, detail: String },
}

impl From<Syntax> for RowFault {
    fn from(syntax: Syntax) -> RowFault {
        RowFault::Syntax(syntax)
    }
}

impl TypeRows {
    pub fn new(ty: &SourceType, several: bool) -> TypeRows {
        let unit = |i: usize| ty.time_units.get(i).copied().flatten();
        let slot = |(i, f): (usize, &crate::data::Field)| Slot {
            name: f.name.clone(),
            column: Column::new(&f.data_type, unit(i)),
            stamp: 0,
        };
        TypeRows {
            name: ty.name.clone(),
            several,
            slots: ty.schema.fields.iter().enumerate().map(slot).collect(),
            keys: Keys::new(actions(ty, several)),
            instants: InstantParser::default(),
            positions: Vec::new(),
            stamp: 0,
            written: 0,
            faults: Vec::new(),
            unknown_in_row: Vec::new(),
            unknown: Vec::new(),
            reported: Vec::new(),
        }
    }

    /// Reads the row whose `{` is at the cursor, up to and without the line end.
    #[inline]
    pub fn read(&mut self, cursor: &mut Cursor, certainty: Certainty, position: u64) -> Result<Outcome, RowFault> {
        self.begin();
        if self.read_members(cursor, certainty, 0, ROW_START)?.is_none() {
            return Ok(Outcome::Unsettled);
        }
        cursor.skip_space();
        if cursor.peek() != b'\n' {
            return Err(Syntax("expected the end of the line").into());
        }
        self.end(position)
    }

    /// Reads the fields of an envelope whose line is known to be well-formed. `cursor` is at the `{` of
    /// its `data`, and ends behind it.
    pub fn read_data(&mut self, cursor: &mut Cursor, position: u64) -> Result<Outcome, RowFault> {
        self.begin();
        self.read_members(cursor, Certainty::Settled, 1, ROW_START)?;
        self.end(position)
    }

    fn begin(&mut self) {
        self.stamp += 1;
        self.written = 0;
    }

    /// Reads an object's members; the last one's name, or `None` if the assumption was wrong.
    #[inline(always)]
    fn read_members(
        &mut self,
        cursor: &mut Cursor,
        mut certainty: Certainty,
        depth: usize,
        mut previous: KeyId,
    ) -> Result<Option<KeyId>, Syntax> {
        if !cursor.open(b'}', depth)? {
            return Ok(Some(previous));
        }
        let mut tagged = false;
        loop {
            previous = self.keys.read(cursor, previous)?;
            if cursor.peek() <= b' ' {
                cursor.skip_space();
            }
            match self.keys.action(previous) {
                Action::Field(slot) if certainty != Certainty::Rest => self.read_field(cursor, slot as usize, depth)?,
                action => {
                    let next = self.read_other(cursor, action, previous, &mut certainty, &mut tagged, depth)?;
                    match next {
                        Some(key) => previous = key,
                        None => return Ok(None),
                    }
                }
            }
            if !cursor.another(b'}')? {
                return Ok(Some(previous));
            }
        }
    }

    #[inline(always)]
    fn read_field(&mut self, cursor: &mut Cursor, slot: usize, depth: usize) -> Result<(), Syntax> {
        let Slot { column, stamp, .. } = &mut self.slots[slot];
        if *stamp == self.stamp {
            column.truncate(self.positions.len());
            self.faults.retain(|f| f.slot != slot);
        } else {
            *stamp = self.stamp;
            self.written += 1;
        }
        let start = cursor.at;
        match value::read(cursor, column, &mut self.instants, depth + 1) {
            Ok(()) => Ok(()),
            Err(fault) => self.note_fault(cursor, slot, start, depth, fault),
        }
    }

    /// The value from `start` on does not fit. Whether that matters is decided at the row's end.
    #[cold]
    fn note_fault(
        &mut self,
        cursor: &mut Cursor,
        slot: usize,
        start: usize,
        depth: usize,
        fault: Fault,
    ) -> Result<(), Syntax> {
        let Slot { name, column, .. } = &mut self.slots[slot];
        let (reason, detail) = match fault {
            Fault::Syntax(syntax) => return Err(syntax),
            Fault::Null => (MalformedReason::MissingField, format!("field `{name}` is null")),
            Fault::Field(fault) => {
                let FieldFault { path, kind } = *fault;
                match kind {
                    FieldFaultKind::Missing => {
                        (MalformedReason::MissingField, format!("field `{name}{path}` is missing"))
                    }
                    FieldFaultKind::DistantTime => (
                        MalformedReason::TimeOutOfRange,
                        format!("field `{name}{path}`: the time is not in 1900 to 2200"),
                    ),
                    FieldFaultKind::WrongType { expected, found } => (
                        MalformedReason::WrongType,
                        format!("field `{name}{path}`: expected {expected}, found {found}"),
                    ),
                }
            }
        };
        self.faults.push(SlotFault { slot, reason, detail });
        column.truncate(self.positions.len());
        column.push_null();
        cursor.at = start;
        cursor.skip_value(depth + 1)
    }

    /// A member that is no field, or that is one but not here.
    fn read_other(
        &mut self,
        cursor: &mut Cursor,
        action: Action,
        key: KeyId,
        certainty: &mut Certainty,
        tagged: &mut bool,
        depth: usize,
    ) -> Result<Option<KeyId>, Syntax> {
        match (action, *certainty) {
            (Action::EventType, Certainty::Assumed) => {
                *tagged = true;
                return Ok(self.read_tag(cursor)?.then_some(key));
            }
            (Action::Type, Certainty::Assumed) if self.several && !*tagged => {
                return Ok(self.read_tag(cursor)?.then_some(key));
            }
            (Action::Data, Certainty::Assumed) if cursor.peek() == b'{' => {
                // Fields beside `data` do not count: without them the envelope can be read in one go.
                if !*tagged || self.written > 0 {
                    return Ok(None);
                }
                *certainty = Certainty::Rest;
                return self.read_envelope(cursor, depth, key);
            }
            // A second tag or `data` may change what the first said.
            (Action::EventType | Action::Data, Certainty::Rest) => return Ok(None),
            (Action::Unknown | Action::Data, Certainty::Assumed | Certainty::Settled) if self.is_new(key) => {
                self.unknown_in_row.push(key);
            }
            (
                Action::Field(_) | Action::EventType | Action::Type | Action::Data | Action::Unused | Action::Unknown,
                Certainty::Assumed | Certainty::Settled | Certainty::Rest,
            ) => {}
        }
        cursor.skip_value(depth + 1)?;
        Ok(Some(key))
    }

    #[inline(never)]
    fn read_envelope(&mut self, cursor: &mut Cursor, depth: usize, key: KeyId) -> Result<Option<KeyId>, Syntax> {
        self.read_members(cursor, Certainty::Settled, depth + 1, key)
    }

    /// Reads a tag's value; whether it names this type.
    fn read_tag(&mut self, cursor: &mut Cursor) -> Result<bool, Syntax> {
        if cursor.peek() != b'"' {
            return Ok(false);
        }
        let text = cursor.string()?;
        Ok(cursor.bytes_of(&text) == self.name.as_bytes())
    }

    /// Ends a row whose members have all been read.
    #[inline(always)]
    fn end(&mut self, position: u64) -> Result<Outcome, RowFault> {
        if self.written < self.slots.len() {
            self.fill_missing();
        }
        if !self.faults.is_empty() {
            return Err(self.first_fault());
        }
        if !self.unknown_in_row.is_empty() {
            self.report_unknown();
        }
        self.positions.push(position);
        Ok(Outcome::Read)
    }

    #[cold]
    fn first_fault(&mut self) -> RowFault {
        let first = std::mem::take(&mut self.faults).into_iter().min_by_key(|fault| fault.slot);
        let SlotFault { reason, detail, .. } = first.expect("called when there are faults");
        RowFault::Field { reason, detail }
    }

    #[inline(never)]
    fn fill_missing(&mut self) {
        for (i, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.stamp != self.stamp) {
            slot.column.push_null();
            if !slot.column.nullable {
                let detail = format!("field `{}` is missing", slot.name);
                self.faults.push(SlotFault { slot: i, reason: MalformedReason::MissingField, detail });
            }
        }
    }

    fn report_unknown(&mut self) {
        for key in self.unknown_in_row.drain(..) {
            if self.reported.len() <= key as usize {
                self.reported.resize(key as usize + 1, false);
            }
            if !std::mem::replace(&mut self.reported[key as usize], true) {
                self.unknown.push(key);
            }
        }
    }

    /// Whether an unknown name has not been reported yet.
    #[inline]
    fn is_new(&self, key: KeyId) -> bool {
        !self.reported.get(key as usize).is_some_and(|reported| *reported)
    }

    /// Drops what an unfinished row has written.
    #[cold]
    pub fn cut(&mut self) {
        let rows = self.positions.len();
        self.slots.iter_mut().for_each(|slot| slot.column.truncate(rows));
        self.faults.clear();
        self.unknown_in_row.clear();
    }

    /// The rows so far; none are left.
    pub fn finish(&mut self) -> DecodedRows {
        let columns = self.slots.iter_mut().map(|slot| slot.column.finish()).collect();
        let room = self.positions.len() + self.positions.len() / 8;
        let positions = std::mem::replace(&mut self.positions, Vec::with_capacity(room));
        DecodedRows { columns, positions, format_times: None }
    }

    /// The unknown names met since the last call that were never met before.
    pub fn take_unknown(&mut self) -> Vec<String> {
        self.unknown_in_row.clear();
        std::mem::take(&mut self.unknown).into_iter().filter_map(|key| self.keys.name(key)).collect()
    }
}

/// What the names that the type or the format knows mean.
fn actions(ty: &SourceType, several: bool) -> Vec<(String, Action)> {
    let mut actions: Vec<(String, Action)> = Vec::new();
    let mut add = |name: &str, action| {
        if actions.iter().all(|(n, _)| n != name) {
            actions.push((name.to_string(), action));
        }
    };
    for (i, field) in ty.schema.fields.iter().enumerate() {
        add(&field.name, Action::Field(i as u32));
    }
    if several {
        add(super::tag::EVENT_TYPE, Action::EventType);
        add(super::tag::TYPE, Action::Type);
    }
    for name in &ty.declared {
        add(name, Action::Unused);
    }
    add(super::tag::EVENT_TYPE, Action::EventType);
    add(super::tag::TYPE, Action::Type);
    add(super::tag::DATA, Action::Data);
    actions
}
