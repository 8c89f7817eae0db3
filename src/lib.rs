//! Varpulis compiles VPL programs to timely dataflow and runs them.
//!
//! The modules, in the order in which a program and then its rows pass through them:

pub mod compile;
pub mod connector;
pub mod data;
pub mod dataflow;
pub mod diagnostic;
pub mod expr;
pub mod plan;
pub mod runtime;
pub mod sema;
pub mod state;
pub mod syntax;
