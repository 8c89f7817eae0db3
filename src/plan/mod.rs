//! From a checked program to what the dataflow renders: logical plan, rewrites, physical plan, explain.

pub mod bounds;
pub mod build;
pub mod definition;
pub mod explain;
pub mod logical;
pub mod lower;
pub mod order;
pub mod patterns;
pub mod physical;
pub mod rewrite;
pub mod ties;
