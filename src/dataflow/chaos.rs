//! Schedules that ordinary runs never show: random block sizes, splits, stalls, epochs and yields, all
//! from one seed. The answer must not change.

use std::cell::Cell;

/// A small generator of decisions (splitmix64); switched off it decides nothing.
#[derive(Clone, Debug)]
pub struct Chaos {
    state: Option<Cell<u64>>,
}

impl Chaos {
    pub fn off() -> Chaos {
        Chaos { state: None }
    }

    /// The chaos of one operator: `seed` is the run's, `salt` tells operators and workers apart.
    pub fn new(seed: Option<u64>, salt: u64) -> Chaos {
        Chaos { state: seed.map(|s| Cell::new(s ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15))) }
    }

    pub fn is_on(&self) -> bool {
        self.state.is_some()
    }

    /// A number below `bound`; 0 when chaos is off.
    pub fn below(&self, bound: u64) -> u64 {
        let Some(state) = &self.state else { return 0 };
        let mut z = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    /// True once in `n` times, and never when chaos is off.
    pub fn one_in(&self, n: u64) -> bool {
        self.is_on() && self.below(n) == 0
    }

    /// Whether a driver puts its work off to the next activation.
    pub fn yields(&mut self) -> bool {
        self.one_in(4)
    }
}
