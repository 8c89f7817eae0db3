//! Eight bytes at a time in a `u64`: what the text decoders search and convert digits with.
//!
//! Words are little-endian loads, so the first byte of the text is the lowest. The masks have the high
//! bit of a byte set where the byte fits; the *lowest* set bit is always right, those above it may be
//! wrong where the subtraction borrowed. Written without `std::arch`: the values of rows are short, so
//! that wider registers gain little, and these need no `unsafe` and no second code path.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const ZEROS: u64 = ONES * b'0' as u64;

/// `byte` in all eight places.
#[inline(always)]
pub const fn splat(byte: u8) -> u64 {
    ONES * byte as u64
}

/// The eight bytes at `at`; what lies beyond the end of `text` reads as line ends.
#[inline(always)]
pub fn load(text: &[u8], at: usize) -> u64 {
    match text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => load_tail(text, at),
    }
}

#[cold]
fn load_tail(text: &[u8], at: usize) -> u64 {
    let mut bytes = [b'\n'; 8];
    let rest = text.get(at..).unwrap_or(&[]);
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(bytes)
}

/// Marks the bytes equal to `byte`.
#[inline(always)]
pub fn mark_equal(word: u64, byte: u8) -> u64 {
    let x = word ^ splat(byte);
    x.wrapping_sub(ONES) & !x & HIGHS
}

/// Marks the bytes below `limit`, which is at most 128.
#[inline(always)]
pub fn mark_below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(splat(limit)) & !word & HIGHS
}

/// The index of the first marked byte; 8 when none is.
#[inline(always)]
pub fn first_marked(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// The digits' values: what a byte differs from `'0'` by.
#[inline(always)]
pub fn digit_values(word: u64) -> u64 {
    word ^ ZEROS
}

/// Marks the bytes of [`digit_values`] that were no digits. All marks are right.
#[inline(always)]
pub fn mark_not_digits(values: u64) -> u64 {
    ((values & !HIGHS).wrapping_add(splat(0x76)) | values) & HIGHS
}

/// The number that the first `count` (1 to 8) of [`digit_values`] make.
#[inline(always)]
pub fn number_of_digits(values: u64, count: usize) -> u64 {
    // Shifting up puts zeros in front of the digits.
    let values = values << (64 - 8 * count);
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let mask = 0x0000_00ff_0000_00ff;
    let high = (pairs & mask).wrapping_mul(0x000f_4240_0000_0064);
    let low = ((pairs >> 16) & mask).wrapping_mul(0x0000_2710_0000_0001);
    high.wrapping_add(low) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn marks_agree_with_a_loop(bytes: [u8; 8], wanted: u8, limit in 0u8..=128) {
            let word = u64::from_le_bytes(bytes);
            let find = |fits: &dyn Fn(u8) -> bool| bytes.iter().position(|&b| fits(b)).unwrap_or(8);
            prop_assert_eq!(first_marked(mark_equal(word, wanted)), find(&|b| b == wanted));
            prop_assert_eq!(first_marked(mark_below(word, limit)), find(&|b| b < limit));
            let marks = mark_not_digits(digit_values(word));
            for (i, b) in bytes.iter().enumerate() {
                prop_assert_eq!(marks >> (8 * i + 7) & 1 == 1, !b.is_ascii_digit());
            }
        }

        #[test]
        fn digits_make_numbers(number in 0u64..100_000_000, width in 1usize..=8) {
            let number = number % 10u64.pow(width as u32);
            let text = format!("{number:0width$},rest of the row");
            let values = digit_values(load(text.as_bytes(), 0));
            prop_assert_eq!(number_of_digits(values, width), number);
        }

        #[test]
        fn beyond_the_end_are_line_ends(text in prop::collection::vec(any::<u8>(), 0..12), at in 0usize..20) {
            let expected: Vec<u8> = (at..at + 8).map(|i| text.get(i).copied().unwrap_or(b'\n')).collect();
            prop_assert_eq!(load(&text, at).to_le_bytes().to_vec(), expected);
        }
    }
}
