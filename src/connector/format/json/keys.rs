//! The members' names of one type's rows: what each means to the decoder, and a guess of which comes
//! next.
//!
//! Rows of a stream have their members in nearly always the same order. Each name remembers the one
//! that followed it last; that one is compared as bytes, quotes and colon included, before any string
//! is read or looked up. The guesses make the decoder fast, its results do not depend on them.

use hashbrown::HashMap;

use super::cursor::Cursor;
use super::fault::Syntax;
use crate::connector::format::swar::load;

/// What to do with a member's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Into the column of this index.
    Field(u32),
    /// `event_type`, which may say that the row is of another type.
    EventType,
    /// `type`, likewise.
    Type,
    /// `data`, which holds the fields if the row is an envelope.
    Data,
    /// Declared, but the program does not use it.
    Unused,
    /// Nothing that a declaration names.
    Unknown,
}

/// Index of a name in [`Keys`].
pub type KeyId = u32;

/// Stands before the first member of a row.
pub const ROW_START: KeyId = 0;
/// A name that is not remembered, because there are too many.
const FORGOTTEN: KeyId = 1;

/// Unknown names that are remembered. Data with keys for names would fill the memory otherwise.
const UNKNOWN_MAX: usize = 256;

/// Longest name, with quotes and colon, that is compared as bytes.
const PATTERN_BYTES_MAX: usize = 32;

#[derive(Debug)]
pub struct Keys {
    keys: Vec<Key>,
    by_name: HashMap<Box<[u8]>, KeyId>,
    unknown: usize,
}

#[derive(Debug)]
struct Key {
    /// `"name":`, padded with zeros.
    pattern: [u64; 4],
    masks: [u64; 4],
    /// Bytes of the pattern.
    len: usize,
    action: Action,
    /// The guess.
    next: KeyId,
}

impl Key {
    fn new(name: &[u8], action: Action) -> Key {
        let len = name.len() + 3;
        let plain = !name.iter().any(|b| matches!(b, b'"' | b'\\' | 0..b' '));
        if !plain || len > PATTERN_BYTES_MAX {
            return Key::unmatched(action);
        }
        let (mut bytes, mut mask) = ([0u8; PATTERN_BYTES_MAX], [0u8; PATTERN_BYTES_MAX]);
        bytes[0] = b'"';
        bytes[1..=name.len()].copy_from_slice(name);
        bytes[len - 2] = b'"';
        bytes[len - 1] = b':';
        mask[..len].fill(0xff);
        let words = |bytes: &[u8]| std::array::from_fn(|i| load(bytes, 8 * i));
        Key { pattern: words(&bytes), masks: words(&mask), len, action, next: FORGOTTEN }
    }

    /// Equal to no text: no masked word is 1.
    fn unmatched(action: Action) -> Key {
        Key { pattern: [1; 4], masks: [0; 4], len: 0, action, next: FORGOTTEN }
    }

    #[inline(always)]
    fn matches(&self, cursor: &Cursor) -> bool {
        let text = cursor.text.get(cursor.at..).and_then(|rest| rest.first_chunk::<PATTERN_BYTES_MAX>());
        let Some(text) = text else { return false };
        let same = |i: usize| load(text, 8 * i) & self.masks[i] == self.pattern[i];
        same(0) && same(1) && (self.len <= 16 || (same(2) && same(3)))
    }
}

impl Keys {
    pub fn new(known: impl IntoIterator<Item = (String, Action)>) -> Keys {
        let keys = vec![Key::unmatched(Action::Unknown), Key::unmatched(Action::Unknown)];
        let mut all = Keys { keys, by_name: HashMap::new(), unknown: 0 };
        for (name, action) in known {
            all.add(name.as_bytes(), action);
        }
        all
    }

    fn add(&mut self, name: &[u8], action: Action) -> KeyId {
        let id = self.keys.len() as KeyId;
        self.keys.push(Key::new(name, action));
        self.by_name.insert(name.into(), id);
        id
    }

    #[inline(always)]
    pub fn action(&self, key: KeyId) -> Action {
        self.keys[key as usize].action
    }

    /// Reads the name at the cursor and its colon; `previous` is the name before it.
    #[inline(always)]
    pub fn read(&mut self, cursor: &mut Cursor, previous: KeyId) -> Result<KeyId, Syntax> {
        let guess = self.keys[previous as usize].next;
        let key = &self.keys[guess as usize];
        if key.matches(cursor) {
            cursor.at += key.len;
            return Ok(guess);
        }
        self.look_up(cursor, previous)
    }

    #[inline(never)]
    fn look_up(&mut self, cursor: &mut Cursor, previous: KeyId) -> Result<KeyId, Syntax> {
        cursor.skip_space();
        let guess = self.keys[previous as usize].next;
        let key = &self.keys[guess as usize];
        if key.matches(cursor) {
            cursor.at += key.len;
            return Ok(guess);
        }
        if cursor.peek() != b'"' {
            return Err(Syntax("expected a member's name"));
        }
        let name = cursor.string()?;
        let found = match self.by_name.get(cursor.bytes_of(&name)) {
            Some(&id) => id,
            None if self.unknown < UNKNOWN_MAX => {
                self.unknown += 1;
                self.add(cursor.bytes_of(&name), Action::Unknown)
            }
            None => FORGOTTEN,
        };
        cursor.expect(b':', "expected `:`")?;
        self.keys[previous as usize].next = found;
        Ok(found)
    }

    /// The name of a key that was met, if it is remembered. For messages.
    pub fn name(&self, key: KeyId) -> Option<String> {
        let (name, _) = self.by_name.iter().find(|(_, id)| **id == key)?;
        Some(String::from_utf8_lossy(name).into_owned())
    }
}
