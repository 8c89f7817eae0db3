//! Varpulis compiles VPL programs to timely dataflow and runs them.
//!
//! The modules, in the order in which a program and then its rows pass through them:
//!
//! - [`cli`]: flags to jobs, outcomes to exit codes.
//! - [`compile`]: the whole compiler as one function.
//! - [`syntax`]: text to tree and back; the only module that knows the grammar.
//! - [`sema`]: names, types and operators; every rejection of a program happens here at the latest.
//! - [`plan`]: logical plan, rewrites, physical plan, explain.
//! - [`runtime`]: a run from beginning to end, in one process or several.
//! - [`connector`]: how rows come in and go out: transports and formats.
//! - [`dataflow`]: the timely graph: timestamp, driver, exchange, operators.
//! - [`expr`]: typed expressions, the evaluator, functions and aggregates.
//! - [`join`]: joins of two inputs: what they pair, and the rows that they hold.
//! - [`pattern`]: sequence patterns: tree, automaton, matcher.
//! - [`checkpoint`]: how state becomes durable, and how a run begins again from it.
//! - [`persistence`]: the public face of stores and checkpoints.
//! - [`state`]: the table that keyed operators keep their groups in, its saved form, and the stores.
//! - [`data`]: types, batches, keys and time, which all others are built on.
//! - [`diagnostic`]: what is wrong with a program, and where.
//! - [`failpoint`]: where tests make a write fail or the process die.

pub mod cli;

pub mod compile;
pub mod diagnostic;
pub mod failpoint;
pub mod sema;
pub mod syntax;

pub mod data;
pub mod expr;
pub mod join;
pub mod pattern;
pub mod plan;

pub mod checkpoint;
pub mod connector;
pub mod dataflow;
pub mod persistence;
pub mod runtime;
pub mod state;
