//! The timely graph: the only module that knows timely. Everything here is either the timestamp, the
//! driver and the exchange that all operators share, or a thin operator around a pure core.

pub mod align;
pub mod chaos;
pub mod exchange;
pub mod feedback;
pub mod op;
pub mod packet;
pub mod relation;
pub mod render;
pub mod stop;
pub mod time;
pub mod worker;
