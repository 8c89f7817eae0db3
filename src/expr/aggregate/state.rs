//! Reading saved states: fixed-width little-endian parts, taken off the front of a slice. Nothing here
//! trusts a byte: too short is an error, and lengths are checked before anything is allocated.

use super::StateError;

/// The version of every state's form; the first byte of each.
pub(super) const VERSION: u8 = 1;

fn damaged(aggregate: &'static str, reason: &'static str) -> StateError {
    StateError { aggregate, reason }
}

/// The next `N` bytes.
pub(super) fn take<const N: usize>(bytes: &mut &[u8], aggregate: &'static str) -> Result<[u8; N], StateError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(damaged(aggregate, "it is cut off"))?;
    *bytes = rest;
    Ok(*head)
}

/// The next byte, 0 or 1.
pub(super) fn take_bool(bytes: &mut &[u8], aggregate: &'static str) -> Result<bool, StateError> {
    match take::<1>(bytes, aggregate)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [_] => Err(damaged(aggregate, "a flag is neither 0 nor 1")),
    }
}

/// As many bytes as the next four say.
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8], aggregate: &'static str) -> Result<&'a [u8], StateError> {
    let len = u32::from_le_bytes(take(bytes, aggregate)?) as usize;
    let (head, rest) = bytes.split_at_checked(len).ok_or(damaged(aggregate, "it is cut off"))?;
    *bytes = rest;
    Ok(head)
}

/// A number of items that follow, each of `item_bytes` or more.
pub(super) fn take_count(bytes: &mut &[u8], item_bytes: usize, aggregate: &'static str) -> Result<usize, StateError> {
    let count = u32::from_le_bytes(take(bytes, aggregate)?) as usize;
    if count > bytes.len() / item_bytes {
        return Err(damaged(aggregate, "it is cut off"));
    }
    Ok(count)
}

/// The opposite of [`take_bytes`].
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// The opposite of [`take_count`].
///
/// # Panics
/// When a single group holds 2^32 items or more: far beyond what fits in memory.
pub(super) fn put_count(count: usize, out: &mut Vec<u8>) {
    let count = u32::try_from(count).expect("a group of fewer than 2^32 values");
    out.extend_from_slice(&count.to_le_bytes());
}

/// A number of rows. More than 2^62 cannot have been counted, and would overflow later.
pub(super) fn take_rows(bytes: &mut &[u8], aggregate: &'static str) -> Result<u64, StateError> {
    let rows = u64::from_le_bytes(take(bytes, aggregate)?);
    if rows >> 62 != 0 {
        return Err(damaged(aggregate, "it counts more rows than there can be"));
    }
    Ok(rows)
}

/// A string as [`put_bytes`] wrote it.
pub(super) fn take_str<'a>(bytes: &mut &'a [u8], aggregate: &'static str) -> Result<&'a str, StateError> {
    let text = take_bytes(bytes, aggregate)?;
    std::str::from_utf8(text).map_err(|_| damaged(aggregate, "a string is not UTF-8"))
}
