//! A run from beginning to end: opens inputs and outputs, starts the workers, and reports.

pub mod changes;
pub mod checkpoints;
pub mod cluster;
pub mod counted;
pub mod inputs;
pub mod job;
pub mod memory;
pub mod outputs;
pub mod report;
pub mod samples;
pub mod settings;
pub mod strict;
pub mod surroundings;
pub mod watch;
