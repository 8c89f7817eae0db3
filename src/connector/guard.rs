//! Panics of the libraries that read columnar files, as errors.
//!
//! They check most of what a damaged file says of itself, and panic at the rest. Apart because it is the
//! one place where a panic is expected: whoever ends the process on a panic asks [`is_guarded`] first. What
//! a library leaves behind is dropped with the error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::partition::ReadError;

thread_local!(static GUARDED: Cell<bool> = const { Cell::new(false) });

/// Whether a panic on this thread becomes an error.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// What `read` gives; where it panics, the file at `path` is corrupt. `what` it is, is part of the message.
pub fn guarded<T>(path: &str, what: &'static str, read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(before);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(ReadError::Corrupt { path: path.to_string(), what, detail: text.unwrap_or("it is damaged").to_string() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_expected_there_only() {
        let result: Result<(), ReadError> = guarded("x.parquet", "Parquet file", || {
            assert!(is_guarded());
            panic!("no such offset: {}", 7);
        });
        assert_eq!(result.unwrap_err().to_string(), "x.parquet: corrupt Parquet file: no such offset: 7");
        assert!(!is_guarded());
    }
}
