//! Checkpoints: how the entries of an epoch become durable, when the record of it is written, and how a
//! run begins again from one.

pub mod archive;
pub mod config;
pub mod manager;
pub mod merge;
pub mod protocol;
pub mod recovery;
pub mod retention;
pub mod segment;
