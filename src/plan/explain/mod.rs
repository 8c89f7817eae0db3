//! Every stage of the compiler as text that people read and goldens pin: stable, and complete enough
//! to tell two plans apart.

pub mod ast;
mod automaton;
pub mod dataflow;
mod dot;
pub mod expr;
pub mod hir;
pub mod logical;
pub mod parts;
pub mod pattern;
pub mod physical;
