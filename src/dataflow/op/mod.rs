//! The operators, one to a file. A stateful one is a core ([`super::align::Core`]) that is tested
//! without timely; `driven` puts any of them into the graph.

pub mod assign;
pub mod base_table;
pub mod body;
pub mod chain;
pub mod changes;
pub mod count;
pub mod counters;
pub mod distinct;
pub mod driven;
pub mod enrich;
pub mod join;
pub mod keeper;
pub mod keyed;
pub mod lanes;
pub mod late;
pub mod limit;
pub mod merge;
pub mod order;
pub mod ordered;
pub mod pauses;
pub mod rows;
pub mod running;
pub mod sequence;
pub mod session;
pub mod sink;
pub mod sliding;
pub mod snapshot;
pub mod source;
pub mod tabled;
pub mod timer;
pub mod upstream;
pub mod versions;
pub mod window;
