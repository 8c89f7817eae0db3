//! Relations that follow from relations: the operators over tables that run on differential dataflow.
//!
//! Between operators travel *changes*: packets whose rows carry how often they come or go (`$diff`, the last column),
//! each at the event time at which it takes effect. In here they are updates `((key, row), time, diff)`, both sides
//! encoded as keys and rows are in saved state, at exact event times; what is kept of them are arrangements, which all
//! operators share that read the same changes by the same key.
//!
//! | module | what it gives |
//! |---|---|
//! | `updates` | updates of packets, and packets of updates |
//! | `account` | what all of them take of memory |
//! | `arrange` | the rows of a relation by a key |
//! | `join` | pairs of rows with one key, and the rows that found no partner |
//! | `aggregate` | a row per key, from sums and counts that are kept in the differences, and from extremes in stages |
//! | `distinct`, `top` | reductions over the rows of a key |
//! | `settle` | the end of it all: what changes come to at each event time, once that is certain |
//!
//! # Invariants
//! 1. Rows are where their key group is, on the exchange of all keyed operators: differential's own hash routes nothing.
//! 2. An update's epoch is that of the packet that it came with. Which epoch it is has no bearing on results: only
//!    frontiers know of it, so that an epoch ends for `settle` as it does for all others.
//! 3. Nothing here is saved. After a restart the base tables tell their contents again, and `settle` drops what had
//!    been told before (DESIGN §6).

pub mod account;
pub mod aggregate;
pub mod arrange;
pub mod distinct;
pub mod join;
pub mod render;
pub mod settle;
#[cfg(test)]
mod tests;
pub mod top;
pub mod updates;
