//! Keyed state: the one table that every stateful operator keeps its groups in, the form in which
//! entries are saved, and the stores where saved state lies.

pub mod entries;
pub mod lock;
pub mod manifest;
pub mod options;
pub mod place;
pub mod scratch;
pub mod store;
pub mod table;

pub use table::Table;
