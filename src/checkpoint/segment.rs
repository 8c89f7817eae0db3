//! Segments: entries of many states as one immutable value, sorted, compressed and checksummed.
//!
//! ```text
//! segment   "VPSEGM", version u16 | block … | index | index offset u64 | xxh3 of all before u64
//! block     zstd, lz4, or as it is, of: group u16, expiry i64, key, sub-key, value length + 1 (0: tombstone),
//!           value; for entry after entry, ordered by (state, group, key, sub-key)
//! index     compression u8 | states: name … | blocks: state, first group, last group, offset, length,
//!           raw length, entries …
//! ```
//!
//! Numbers are little-endian, lengths and counts variable-length integers. A block holds entries of one
//! state, so that a worker reads only the blocks whose groups it owns. Nothing in a segment is trusted
//! before the checksum has been verified; after that, what is wrong with it is our own mistake, and still
//! an error and not a panic.

use xxhash_rust::xxh3::xxh3_64;

use crate::state::entries::{Entries, Entry, sorted};
pub use crate::state::options::Compression;

const MAGIC: &[u8; 6] = b"VPSEGM";
const VERSION: u16 = 1;
/// Bytes of a block before compression.
const BLOCK_BYTES: usize = 256 << 10;

/// A segment that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SegmentError {
    #[error("not a segment")]
    NotOne,
    #[error("written in format {0}, newer than this program's {VERSION}")]
    Newer(u16),
    #[error("damaged (its checksum does not hold)")]
    Damaged,
    #[error("inconsistent: {0}")]
    Inconsistent(&'static str),
}

/// The bytes of a segment with the entries of `states`, by name, each in parts of which the later count.
pub fn encode_segment(states: &[(&str, &[Entries])], compression: Compression) -> Vec<u8> {
    let mut writer = Writer { out: Vec::new(), raw: Vec::new(), blocks: Vec::new(), compression };
    writer.out.extend_from_slice(MAGIC);
    writer.out.extend(VERSION.to_le_bytes());
    for (state, (_, entries)) in states.iter().enumerate() {
        let mut block = BlockIndex { state, ..BlockIndex::default() };
        for entry in sorted(entries) {
            if block.entries == 0 {
                block.first_group = entry.group;
            }
            block.last_group = entry.group;
            block.entries += 1;
            put_entry(&entry, &mut writer.raw);
            if writer.raw.len() >= BLOCK_BYTES {
                writer.finish_block(block);
                block = BlockIndex { state, ..BlockIndex::default() };
            }
        }
        if block.entries > 0 {
            writer.finish_block(block);
        }
    }
    writer.finish(states)
}

struct Writer {
    out: Vec<u8>,
    raw: Vec<u8>,
    blocks: Vec<BlockIndex>,
    compression: Compression,
}

#[derive(Clone, Copy, Debug, Default)]
struct BlockIndex {
    state: usize,
    first_group: u16,
    last_group: u16,
    offset: usize,
    bytes: usize,
    raw_bytes: usize,
    entries: u64,
}

impl Writer {
    fn finish_block(&mut self, block: BlockIndex) {
        let offset = self.out.len();
        match self.compression {
            Compression::None => self.out.extend_from_slice(&self.raw),
            Compression::Lz4 => self.out.extend(lz4_flex::block::compress(&self.raw)),
            Compression::Zstd => {
                self.out.extend(zstd::bulk::compress(&self.raw, 1).expect("compression to memory does not fail"));
            }
        }
        let bytes = self.out.len() - offset;
        self.blocks.push(BlockIndex { offset, bytes, raw_bytes: self.raw.len(), ..block });
        self.raw.clear();
    }

    fn finish(mut self, states: &[(&str, &[Entries])]) -> Vec<u8> {
        let index_offset = self.out.len() as u64;
        self.out.push(match self.compression {
            Compression::None => 0,
            Compression::Zstd => 1,
            Compression::Lz4 => 2,
        });
        put_number(states.len() as u64, &mut self.out);
        for (name, _) in states {
            put_bytes(name.as_bytes(), &mut self.out);
        }
        put_number(self.blocks.len() as u64, &mut self.out);
        for b in &self.blocks {
            let groups = [u64::from(b.first_group), u64::from(b.last_group)];
            let sizes = [b.offset as u64, b.bytes as u64, b.raw_bytes as u64, b.entries];
            for number in [b.state as u64].into_iter().chain(groups).chain(sizes) {
                put_number(number, &mut self.out);
            }
        }
        self.out.extend(index_offset.to_le_bytes());
        let checksum = xxh3_64(&self.out);
        self.out.extend(checksum.to_le_bytes());
        self.out
    }
}

/// A segment whose checksum holds.
#[derive(Debug)]
pub struct Segment {
    bytes: Vec<u8>,
    compression: Compression,
    states: Vec<String>,
    blocks: Vec<BlockIndex>,
}

impl Segment {
    pub fn open(bytes: Vec<u8>) -> Result<Segment, SegmentError> {
        let body = bytes.len().checked_sub(8).filter(|len| *len >= MAGIC.len() + 2 + 8).ok_or(SegmentError::NotOne)?;
        if !bytes.starts_with(MAGIC) {
            return Err(SegmentError::NotOne);
        }
        let version = u16::from_le_bytes([bytes[6], bytes[7]]);
        let checksum = u64::from_le_bytes(bytes[body..].try_into().expect("eight bytes"));
        if xxh3_64(&bytes[..body]) != checksum {
            return Err(SegmentError::Damaged);
        }
        if version > VERSION {
            return Err(SegmentError::Newer(version));
        }
        let index_end = body - 8;
        let offset = u64::from_le_bytes(bytes[index_end..body].try_into().expect("eight bytes"));
        let offset = usize::try_from(offset).ok().filter(|o| *o < index_end);
        let mut index = &bytes[offset.ok_or(SegmentError::Inconsistent("the index lies outside"))?..index_end];
        let compression = match take_byte(&mut index)? {
            0 => Compression::None,
            1 => Compression::Zstd,
            2 => Compression::Lz4,
            _ => return Err(SegmentError::Inconsistent("an unknown compression")),
        };
        let mut states = Vec::new();
        for _ in 0..take_number(&mut index)? {
            let name =
                std::str::from_utf8(take_bytes(&mut index)?).map_err(|_| SegmentError::Inconsistent("a name"))?;
            states.push(name.to_string());
        }
        let mut blocks = Vec::new();
        for _ in 0..take_number(&mut index)? {
            let mut next = || take_number(&mut index);
            let (state, first, last) = (next()? as usize, next()? as u16, next()? as u16);
            let (offset, length, raw_bytes, entries) = (next()? as usize, next()? as usize, next()? as usize, next()?);
            if state >= states.len() || offset.checked_add(length).is_none_or(|end| end > body) {
                return Err(SegmentError::Inconsistent("a block lies outside"));
            }
            blocks.push(BlockIndex {
                state,
                first_group: first,
                last_group: last,
                offset,
                bytes: length,
                raw_bytes,
                entries,
            });
        }
        Ok(Segment { bytes, compression, states, blocks })
    }

    /// The names of the states that have entries here.
    pub fn states(&self) -> impl Iterator<Item = &str> {
        self.states.iter().map(String::as_str)
    }

    /// The entries of a state in blocks with a group that `wanted` says yes to for some group of the
    /// block's range, in order.
    pub fn cursor(self: &std::sync::Arc<Self>, state: &str, wanted: impl Fn(u16, u16) -> bool) -> Cursor {
        let of_state = |b: &&BlockIndex| self.states[b.state] == state && wanted(b.first_group, b.last_group);
        let blocks = self.blocks.iter().filter(of_state).copied().rev().collect();
        Cursor { segment: self.clone(), blocks, raw: Vec::new(), at: 0, current: None }
    }

    /// Replaces what is in `raw` by a block. One buffer serves all blocks: fresh ones would cost more than the
    /// decompression.
    fn block(&self, block: &BlockIndex, raw: &mut Vec<u8>) -> Result<(), SegmentError> {
        let bytes = &self.bytes[block.offset..block.offset + block.bytes];
        let broken = SegmentError::Inconsistent("a block does not decompress");
        raw.resize(block.raw_bytes, 0);
        let made = match self.compression {
            Compression::None if bytes.len() == raw.len() => {
                raw.copy_from_slice(bytes);
                Ok(raw.len())
            }
            Compression::None => Err(()),
            Compression::Lz4 => lz4_flex::block::decompress_into(bytes, raw).map_err(drop),
            Compression::Zstd => zstd::bulk::decompress_to_buffer(bytes, raw).map_err(drop),
        };
        if made == Ok(block.raw_bytes) { Ok(()) } else { Err(broken) }
    }

    /// How many entries of a state lie in blocks that may hold groups which are `wanted`.
    pub fn entries_of(&self, state: &str, wanted: impl Fn(u16, u16) -> bool) -> u64 {
        let blocks = self.blocks.iter().filter(|b| self.states[b.state] == state);
        blocks.filter(|b| wanted(b.first_group, b.last_group)).map(|b| b.entries).sum()
    }
}

/// Walks over the entries of one state in one segment.
pub struct Cursor {
    segment: std::sync::Arc<Segment>,
    /// Blocks still to come, the next one last.
    blocks: Vec<BlockIndex>,
    raw: Vec<u8>,
    /// Where the entry after the current one begins.
    at: usize,
    current: Option<Span>,
}

/// Where the parts of an entry lie in the block.
#[derive(Clone, Copy)]
struct Span {
    group: u16,
    expiry: i64,
    key: (usize, usize),
    sub: (usize, usize),
    value: Option<(usize, usize)>,
}

impl Cursor {
    /// Moves to the next entry; `false` at the end.
    pub fn advance(&mut self) -> Result<bool, SegmentError> {
        while self.at >= self.raw.len() {
            self.current = None;
            let Some(block) = self.blocks.pop() else { return Ok(false) };
            self.at = 0;
            self.segment.block(&block, &mut self.raw)?;
        }
        let mut rest = &self.raw[self.at..];
        let total = self.raw.len();
        let group = u16::from_le_bytes(take(&mut rest)?);
        let expiry = i64::from_le_bytes(take(&mut rest)?);
        let part = |rest: &mut &[u8], length: usize| -> Result<(usize, usize), SegmentError> {
            let start = total - rest.len();
            let tail = rest.get(length..).ok_or(SegmentError::Inconsistent("an entry is cut off"))?;
            *rest = tail;
            Ok((start, start + length))
        };
        let length = take_number(&mut rest)? as usize;
        let key = part(&mut rest, length)?;
        let length = take_number(&mut rest)? as usize;
        let sub = part(&mut rest, length)?;
        let value = match take_number(&mut rest)? as usize {
            0 => None,
            length => Some(part(&mut rest, length - 1)?),
        };
        self.at = total - rest.len();
        self.current = Some(Span { group, expiry, key, sub, value });
        Ok(true)
    }

    /// The current entry.
    ///
    /// # Panics
    /// Before the first [`Self::advance`], and after it has said `false`.
    pub fn entry(&self) -> Entry<'_> {
        let span = self.current.expect("the cursor stands on an entry");
        let bytes = |(from, to): (usize, usize)| &self.raw[from..to];
        let value = span.value.map(bytes);
        Entry { group: span.group, key: bytes(span.key), sub: bytes(span.sub), expiry: span.expiry, value }
    }
}

fn put_entry(entry: &Entry<'_>, out: &mut Vec<u8>) {
    out.extend(entry.group.to_le_bytes());
    out.extend(entry.expiry.to_le_bytes());
    put_bytes(entry.key, out);
    put_bytes(entry.sub, out);
    match entry.value {
        None => put_number(0, out),
        Some(value) => {
            put_number(value.len() as u64 + 1, out);
            out.extend_from_slice(value);
        }
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the least first; the top bit says that more follow.
fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], SegmentError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(SegmentError::Inconsistent("it is cut off"))?;
    *bytes = rest;
    Ok(*head)
}

fn take_byte(bytes: &mut &[u8]) -> Result<u8, SegmentError> {
    take::<1>(bytes).map(|[byte]| byte)
}

fn take_number(bytes: &mut &[u8]) -> Result<u64, SegmentError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(SegmentError::Inconsistent("a number is too long"))
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], SegmentError> {
    let length = take_number(bytes)? as usize;
    let (head, rest) = bytes.split_at_checked(length).ok_or(SegmentError::Inconsistent("it is cut off"))?;
    *bytes = rest;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    type Owned = (u16, Vec<u8>, Vec<u8>, i64, Option<Vec<u8>>);

    fn owned(entry: Entry<'_>) -> Owned {
        (entry.group, entry.key.to_vec(), entry.sub.to_vec(), entry.expiry, entry.value.map(<[u8]>::to_vec))
    }

    fn push(entries: &mut Entries, (group, key, sub, expiry, value): &Owned) {
        match value {
            Some(value) => entries.push(*group, key, sub, *expiry, |out| out.extend_from_slice(value)),
            None => entries.push_tombstone(*group, key, sub),
        }
    }

    fn read(segment: &Arc<Segment>, state: &str) -> Vec<Owned> {
        let mut cursor = segment.cursor(state, |_, _| true);
        let mut out = Vec::new();
        while cursor.advance().unwrap() {
            out.push(owned(cursor.entry()));
        }
        out
    }

    fn entries() -> impl Strategy<Value = Vec<Owned>> {
        let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..70_000));
        let entry = (0..5u16, bytes(3), bytes(3), any::<i64>(), value)
            .prop_map(|(g, k, s, e, v)| (g, k, s, if v.is_some() { e } else { crate::state::entries::NEVER }, v));
        prop::collection::vec(entry, 0..30)
    }

    fn compressions() -> impl Strategy<Value = Compression> {
        prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn reads_what_it_wrote(a in entries(), b in entries(), compression in compressions()) {
            let of = |list: &[Owned]| list.iter().fold(Entries::default(), |mut e, o| { push(&mut e, o); e });
            let (first, second) = b.split_at(b.len() / 2);
            let bytes = encode_segment(&[("a", &[of(&a)]), ("b", &[of(first), of(second)])], compression);
            let segment = Arc::new(Segment::open(bytes).unwrap());
            for (name, mut expected) in [("a", a), ("b", b)] {
                expected.sort_by(|x, y| (x.0, &x.1, &x.2).cmp(&(y.0, &y.1, &y.2)));
                // Of several for one place, the last counts.
                expected.reverse();
                expected.dedup_by(|x, y| (x.0, &x.1, &x.2) == (y.0, &y.1, &y.2));
                expected.reverse();
                prop_assert_eq!(read(&segment, name), expected);
            }
        }
    }

    /// A program may choose, and so each must do what it says.
    #[test]
    fn every_compression_is_its_own() {
        let mut entries = Entries::default();
        (0..1000).for_each(|group| entries.push(group, b"key", b"", 5, |out| out.extend([7; 100])));
        let bytes = |compression| encode_segment(&[("a", &[entries.clone()])], compression);
        let [none, lz4, zstd] = [Compression::None, Compression::Lz4, Compression::Zstd].map(bytes);
        assert!(none.len() > 100_000 && lz4.len() < 20_000 && zstd.len() < 20_000);
        assert_ne!(lz4, zstd);
    }

    /// No truncation and no flipped bit goes unseen.
    #[test]
    fn damage_is_always_seen() {
        let mut entries = Entries::default();
        for group in 0..50 {
            entries.push(group, b"key", b"", 5, |out| out.extend([group as u8; 9]));
        }
        let whole = encode_segment(&[("a", &[entries.clone()])], Compression::Zstd);
        for length in 0..whole.len() {
            assert!(Segment::open(whole[..length].to_vec()).is_err(), "{length}");
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Segment::open(damaged).is_err(), "bit {bit}");
        }
    }
}
