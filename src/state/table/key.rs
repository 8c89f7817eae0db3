//! A key as the table keeps it.

/// An encoded key; short ones, which most are, take no allocation.
#[derive(Debug, Clone)]
pub enum Key {
    Inline { len: u8, bytes: [u8; KEY_INLINE_BYTES] },
    Heap(Box<[u8]>),
}

const KEY_INLINE_BYTES: usize = 22;

impl Key {
    pub fn new(key: &[u8]) -> Key {
        if key.len() > KEY_INLINE_BYTES {
            return Key::Heap(key.into());
        }
        let mut bytes = [0; KEY_INLINE_BYTES];
        bytes[..key.len()].copy_from_slice(key);
        Key::Inline { len: key.len() as u8, bytes }
    }

    pub fn heap_bytes(&self) -> usize {
        match self {
            Key::Inline { .. } => 0,
            Key::Heap(bytes) => bytes.len(),
        }
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Key::Inline { len, bytes } => &bytes[..*len as usize],
            Key::Heap(bytes) => bytes,
        }
    }
}
