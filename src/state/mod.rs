//! Keyed state: the one table that every stateful operator keeps its groups in.

pub mod table;

pub use table::Table;
