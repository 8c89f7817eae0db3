//! Event logs for people to write, `.evt`: one event per line, with its time as an offset.
//!
//! ```text
//! # a comment, as is // this
//! @5s  Login { user: "ann", ip: "10.0.0.1" }
//! @5s  Transfer("ann", 120.5)                   positional, in the order of the declared fields
//! BATCH 100                                     100 ms later
//! Logout { user: "ann" }                        keeps the time of the line before
//! ```
//!
//! An offset counts from 1970; `@2026-03-01T09:30:00Z` gives the instant itself. A line's time holds
//! until another is given, so a block carries the time in force at its beginning.

mod clock;
mod decode;
mod rewrite;

pub use clock::EvtClock;
pub use decode::EvtDecoder;
