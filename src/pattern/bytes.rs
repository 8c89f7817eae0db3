//! Numbers in what is saved of a key: small ones, which most are, take one byte.

use crate::expr::aggregate::StateError;

pub fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn take(bytes: &mut &[u8]) -> Result<u64, StateError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(damaged("a number is too long"))
}

pub fn take_byte(bytes: &mut &[u8]) -> Result<u8, StateError> {
    let (first, rest) = bytes.split_first().ok_or_else(|| damaged("it is cut off"))?;
    *bytes = rest;
    Ok(*first)
}

pub fn damaged(reason: &'static str) -> StateError {
    StateError { aggregate: "pattern", reason }
}
