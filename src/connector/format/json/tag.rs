//! Of which type a row is.
//!
//! A row names its type by a string member `event_type`; failing that by `type`, if that is the name of
//! one of the source's types. With one type only that is read, a row without a tag is of that type, and a
//! member that the type declares is a field and no tag. An envelope has `event_type` and an object `data`,
//! which holds the fields: its other members are none.

use super::cursor::Cursor;
use super::fault::Syntax;
use crate::connector::spec::{SourceType, only_read};

pub const EVENT_TYPE: &str = "event_type";
pub const TYPE: &str = "type";
pub const DATA: &str = "data";

/// What the tags of the source's rows can mean.
#[derive(Debug)]
pub struct Tags {
    types: Vec<TaggedType>,
    /// The type of rows that name none.
    pub only: Option<usize>,
    /// Whether the first member may settle the type; not if a tag is a field, too.
    pub head_decides: bool,
}

#[derive(Debug)]
struct TaggedType {
    name: Vec<u8>,
    declares_event_type: bool,
    declares_type: bool,
    declares_data: bool,
}

/// What a whole row says about its type.
#[derive(Debug, PartialEq, Eq)]
pub enum Class {
    Row {
        ty: usize,
        /// Where the envelope's object begins.
        data: Option<usize>,
    },
    Other(String),
    Untagged,
}

impl Tags {
    pub fn new(types: &[SourceType]) -> Tags {
        let declares =
            |ty: &SourceType, name: &str| ty.schema.index_of(name).is_some() || ty.declared.iter().any(|d| d == name);
        let tagged = |ty: &SourceType| TaggedType {
            name: ty.name.clone().into_bytes(),
            declares_event_type: declares(ty, EVENT_TYPE),
            declares_type: declares(ty, TYPE),
            declares_data: declares(ty, DATA),
        };
        let is_field = |ty: &SourceType| [EVENT_TYPE, TYPE].iter().any(|tag| ty.schema.index_of(tag).is_some());
        let head_decides = !types.iter().any(is_field);
        Tags { types: types.iter().map(tagged).collect(), only: only_read(types), head_decides }
    }

    fn named(&self, name: &[u8]) -> Option<usize> {
        self.types.iter().position(|ty| ty.name == name)
    }

    /// The type that the first member names, if it is a tag. Moves the cursor anywhere.
    #[inline]
    pub fn of_head(&self, cursor: &mut Cursor) -> Option<usize> {
        cursor.at += 1;
        cursor.skip_space();
        let tag = cursor.literal(b"\"event_type\"") || cursor.literal(b"\"type\"");
        if !tag || cursor.expect(b':', "").is_err() {
            return None;
        }
        cursor.skip_space();
        if cursor.peek() != b'"' {
            return None;
        }
        let text = cursor.string().ok()?;
        self.named(cursor.bytes_of(&text))
    }

    /// Scans the whole row, whose first byte is at the cursor, and checks that it is well-formed.
    pub fn classify(&self, cursor: &mut Cursor) -> Result<Class, Syntax> {
        let (mut event_type, mut ty, mut data) = (None, None, None);
        if cursor.open(b'}', 0)? {
            loop {
                cursor.skip_space();
                if cursor.peek() != b'"' {
                    return Err(Syntax("expected a member's name"));
                }
                let name = cursor.string()?;
                let tag = [EVENT_TYPE, TYPE, DATA].into_iter().find(|t| t.as_bytes() == cursor.bytes_of(&name));
                cursor.expect(b':', "expected `:`")?;
                cursor.skip_space();
                match tag {
                    Some(EVENT_TYPE) => event_type = string_value(cursor)?,
                    Some(TYPE) => ty = string_value(cursor)?,
                    Some(DATA) => {
                        data = (cursor.peek() == b'{').then_some(cursor.at);
                        cursor.skip_value(1)?;
                    }
                    Some(_) | None => cursor.skip_value(1)?,
                }
                if !cursor.another(b'}')? {
                    break;
                }
            }
        }
        cursor.skip_space();
        if cursor.peek() != b'\n' {
            return Err(Syntax("expected the end of the line"));
        }
        Ok(self.class(event_type, ty, data))
    }

    fn class(&self, event_type: Option<Vec<u8>>, ty: Option<Vec<u8>>, data: Option<usize>) -> Class {
        let only = self.only.map(|only| &self.types[only]);
        let event_type = event_type.filter(|_| only.is_none_or(|only| !only.declares_event_type));
        let ty = ty.filter(|_| only.is_none_or(|only| !only.declares_type));
        let Some(name) = event_type else {
            let tagged = ty.and_then(|name| self.named(&name)).or(self.only);
            return tagged.map_or(Class::Untagged, |ty| Class::Row { ty, data: None });
        };
        match self.named(&name) {
            Some(ty) => Class::Row { ty, data: data.filter(|_| !self.types[ty].declares_data) },
            None => Class::Other(String::from_utf8_lossy(&name).into_owned()),
        }
    }
}

/// The value at the cursor, if it is a string; it is taken in any case.
fn string_value(cursor: &mut Cursor) -> Result<Option<Vec<u8>>, Syntax> {
    if cursor.peek() != b'"' {
        cursor.skip_value(1)?;
        return Ok(None);
    }
    let text = cursor.string()?;
    Ok(Some(cursor.bytes_of(&text).to_vec()))
}
