//! From a checked program to what the dataflow renders: logical plan, rewrites, physical plan, explain.

pub mod physical;
