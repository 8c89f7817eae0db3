//! `approx_count_distinct`: HyperLogLog, with 4096 registers and thus a standard error of 1.6%.
//!
//! A register is the greatest rank (leading zeros + 1) among the hashes that fall to it, so that no
//! order and no splitting matters. Few values are kept sparsely, and become dense without changing
//! the registers. The estimator is Ertl's, which needs no tables of corrections.

use arrow_array::ArrayRef;
use arrow_array::builder::Int64Builder;

use super::domain::Domain;
use super::grouped::Fold;
use super::{Rows, StateError, state};
use crate::expr::Errors;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 12;
pub(super) const REGISTERS: usize = 1 << INDEX_BITS;
/// The greatest rank: all other bits are zero.
const RANK_MAX: u8 = (64 - INDEX_BITS) as u8 + 1;
const RANKS: usize = RANK_MAX as usize + 1;
/// Beyond so many registers a dense sketch takes less room, and is much faster.
const SPARSE_MAX: usize = 256;

/// The registers of a group.
pub(super) enum Sketch {
    /// Registers that are not 0, as `index << 8 | rank`, sorted.
    Sparse(Vec<u32>),
    Dense(Box<[u8; REGISTERS]>),
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch::Sparse(Vec::new())
    }
}

/// The register of a hash, and its rank there.
#[inline]
pub(super) fn place(hash: u64) -> (usize, u8) {
    let index = (hash >> (64 - INDEX_BITS)) as usize;
    // The bit that is set below the others bounds the rank.
    let rest = hash << INDEX_BITS | 1 << (INDEX_BITS - 1);
    (index, rest.leading_zeros() as u8 + 1)
}

/// The hash of a single value, as the domains hash their items.
#[cfg(any(test, feature = "checked"))]
pub(super) fn hash_value(value: &crate::data::Value) -> u64 {
    use super::domain::{Bools, Floats, Ints, Strings, ordered};
    use super::encoded::Encoded;
    use crate::data::Value;
    match value {
        Value::Int(v) | Value::Timestamp(v) | Value::Duration(v) => Ints::hash(*v),
        Value::Float(v) => Floats::hash(ordered(*v)),
        Value::Str(v) => Strings::hash(v),
        Value::Bool(v) => Bools::hash(*v),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Record(_) => {
            let mut key = Vec::new();
            crate::data::key::encode_value(value, &mut key);
            Encoded::hash(&key)
        }
    }
}

impl Sketch {
    #[inline]
    fn raise(&mut self, index: usize, rank: u8) {
        match self {
            Sketch::Dense(registers) => registers[index] = registers[index].max(rank),
            Sketch::Sparse(entries) => {
                raise_sparse(entries, index, rank);
                if entries.len() > SPARSE_MAX {
                    *self = Sketch::Dense(dense(entries));
                }
            }
        }
    }

    fn merge(&mut self, other: &Sketch) {
        match other {
            Sketch::Sparse(entries) => entries.iter().for_each(|&e| self.raise((e >> 8) as usize, e as u8)),
            Sketch::Dense(others) => {
                if let Sketch::Sparse(entries) = self {
                    *self = Sketch::Dense(dense(entries));
                }
                others.iter().enumerate().for_each(|(i, &rank)| self.raise(i, rank));
            }
        }
    }

    fn estimate(&self) -> i64 {
        match self {
            Sketch::Sparse(entries) => {
                let mut counts = [0; RANKS];
                counts[0] = (REGISTERS - entries.len()) as u32;
                entries.iter().for_each(|e| counts[(e & 0xff) as usize] += 1);
                estimate(&counts)
            }
            Sketch::Dense(registers) => estimate(&count_ranks(&registers[..])),
        }
    }
}

fn raise_sparse(entries: &mut Vec<u32>, index: usize, rank: u8) {
    let entry = (index as u32) << 8 | u32::from(rank);
    match entries.binary_search_by_key(&(index as u32), |e| e >> 8) {
        Ok(at) => entries[at] = entries[at].max(entry),
        Err(at) => entries.insert(at, entry),
    }
}

fn dense(entries: &[u32]) -> Box<[u8; REGISTERS]> {
    let mut registers = Box::new([0; REGISTERS]);
    entries.iter().for_each(|e| registers[(e >> 8) as usize] = *e as u8);
    registers
}

/// How many registers have each rank.
pub(super) fn count_ranks(registers: &[u8]) -> [u32; RANKS] {
    // Four tables, because neighbours often have the same rank, and one addition would wait for the other.
    let mut counts = [[0u32; RANKS]; 4];
    for four in registers.chunks(4) {
        four.iter().zip(&mut counts).for_each(|(&rank, counts)| counts[rank as usize] += 1);
    }
    std::array::from_fn(|rank| counts.iter().map(|c| c[rank]).sum())
}

/// The number of different values that most likely left so many registers with each rank, to the nearest.
pub(super) fn estimate(counts: &[u32; RANKS]) -> i64 {
    let m = REGISTERS as f64;
    let mut z = m * tau(1.0 - f64::from(counts[RANK_MAX as usize]) / m);
    for rank in (1..RANK_MAX as usize).rev() {
        z = 0.5 * (z + f64::from(counts[rank]));
    }
    z += m * sigma(f64::from(counts[0]) / m);
    (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as i64
}

/// The weight of registers that are still 0: `x + Σ x^(2^k) 2^(k-1)`.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * power;
        power += power;
        if sum == before {
            return sum;
        }
    }
}

/// The weight of registers that can rise no more: `(1 − x − Σ (1 − x^(2^-k))² 2^-k) / 3`.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut power, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        power *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * power;
        if sum == before {
            return sum / 3.0;
        }
    }
}

/// `approx_count_distinct(x)`.
pub(super) struct ApproxCountDistinct<D>(pub D);

impl<D: Domain> Fold for ApproxCountDistinct<D> {
    type State = Sketch;
    type Input<'a> = D::Input<'a>;
    type Builder = Int64Builder;
    const NAME: &'static str = "approx_count_distinct";

    fn input<'a>(&self, rows: &Rows<'a>, args: &'a [ArrayRef]) -> D::Input<'a> {
        self.0.input(rows, args)
    }

    #[inline]
    fn step(&self, state: &mut Sketch, input: &D::Input<'_>, row: usize) {
        let (index, rank) = place(D::hash(D::get(input, row)));
        state.raise(index, rank);
    }

    fn merge(&self, into: &mut Sketch, from: &Sketch) {
        into.merge(from);
    }

    fn builder(&self, len: usize) -> Int64Builder {
        Int64Builder::with_capacity(len)
    }

    fn append(&self, state: &Sketch, out: &mut Int64Builder, _errors: &Errors) {
        out.append_value(state.estimate());
    }

    #[inline]
    fn heap_bytes(&self, state: &Sketch) -> usize {
        match state {
            Sketch::Sparse(entries) => 4 * entries.capacity(),
            Sketch::Dense(_) => REGISTERS,
        }
    }

    /// Whether it is dense, and all registers or the sparse entries.
    fn encode(&self, state: &Sketch, out: &mut Vec<u8>) {
        match state {
            Sketch::Sparse(entries) => {
                out.push(0);
                state::put_count(entries.len(), out);
                entries.iter().for_each(|e| out.extend_from_slice(&e.to_le_bytes()));
            }
            Sketch::Dense(registers) => {
                out.push(1);
                out.extend_from_slice(&registers[..]);
            }
        }
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<Sketch, StateError> {
        let damaged = StateError { aggregate: Self::NAME, reason: "a register is out of range" };
        if state::take_bool(bytes, Self::NAME)? {
            let registers: [u8; REGISTERS] = state::take(bytes, Self::NAME)?;
            let sound = registers.iter().all(|&r| r <= RANK_MAX);
            return if sound { Ok(Sketch::Dense(Box::new(registers))) } else { Err(damaged) };
        }
        let mut sketch = Sketch::default();
        for _ in 0..state::take_count(bytes, 4, Self::NAME)? {
            let entry = u32::from_le_bytes(state::take(bytes, Self::NAME)?);
            let (index, rank) = ((entry >> 8) as usize, entry as u8);
            if index >= REGISTERS || rank == 0 || rank > RANK_MAX {
                return Err(damaged);
            }
            sketch.raise(index, rank);
        }
        Ok(sketch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::aggregate::domain::{Ints, Strings};

    fn sketch_of(values: impl Iterator<Item = i64>) -> Sketch {
        let mut sketch = Sketch::default();
        for v in values {
            let (index, rank) = place(Ints::hash(v));
            sketch.raise(index, rank);
        }
        sketch
    }

    #[test]
    fn estimates_are_within_five_standard_errors() {
        assert_eq!(sketch_of(0..0).estimate(), 0);
        assert_eq!(sketch_of(0..10).estimate(), 10);
        for n in [1_000i64, 4_000, 10_000, 100_000, 1_000_000] {
            let estimate = sketch_of(0..n).estimate();
            let error = (estimate - n).abs() as f64 / n as f64;
            assert!(error < 0.08, "{estimate} instead of {n}");
        }
    }

    /// Saved sketches stand on these.
    #[test]
    fn hashes_are_pinned() {
        assert_eq!(Ints::hash(42), PINNED_42);
        assert_eq!(Strings::hash("zone"), PINNED_ZONE);
    }

    const PINNED_42: u64 = 3360378419284247170;
    const PINNED_ZONE: u64 = 9601440796545326101;
}
