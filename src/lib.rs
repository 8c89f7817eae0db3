//! Varpulis compiles VPL programs to timely dataflow and runs them.
//!
//! The modules, in the order in which a program and then its rows pass through them:

pub mod cli;

pub mod compile;
pub mod diagnostic;
pub mod sema;
pub mod syntax;

pub mod data;
pub mod expr;
pub mod plan;

pub mod connector;
pub mod dataflow;
pub mod runtime;
pub mod state;
