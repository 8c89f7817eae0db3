//! Rows from nothing: the auction of the Nexmark benchmark as a source, and files of synthetic trades
//! for measurements. Both are determined by their seed.

mod nexmark;
pub mod trades;

pub use nexmark::{NexmarkReader, nexmark_types};
