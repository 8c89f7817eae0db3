//! The operators, one to a file. A stateful one is a core ([`super::align::Core`]) that is tested
//! without timely; `keyed` puts any of them into the graph.

pub mod assign;
pub mod body;
pub mod chain;
pub mod counters;
pub mod driven;
pub mod late;
pub mod source;
pub mod window;
