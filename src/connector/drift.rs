//! How many rows have been read that the rest of the run has not reached.
//!
//! Such rows wait: in windows, in buffers, in the ordered sink. What bounds them is that whoever is ahead
//! of the others stops reading; whoever holds the watermark never does, so that it moves on. The
//! comparison is with what all workers of all processes have sent, and not with the other partitions of
//! the process: a worker that is stuck in a slow sink, or a slow process, is waited for too.

use std::collections::BTreeMap;

/// Rows read, by the greatest time of their block.
#[derive(Debug, Default)]
pub struct Drift {
    blocks: BTreeMap<i64, u64>,
    rows: u64,
}

impl Drift {
    /// A block of so many rows has been read.
    pub fn add(&mut self, greatest: i64, rows: u64) {
        *self.blocks.entry(greatest).or_default() += rows;
        self.rows += rows;
    }

    /// Rows of blocks that end after `reached`, up to which everybody has come.
    pub fn rows_past(&mut self, reached: i64) -> u64 {
        while let Some(block) = self.blocks.first_entry().filter(|block| *block.key() <= reached) {
            self.rows -= block.remove();
        }
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_until_everybody_has_come_to_them() {
        let mut drift = Drift::default();
        drift.add(10, 3);
        drift.add(30, 5);
        drift.add(10, 1);
        assert_eq!([9, 10, 29, 30].map(|reached| drift.rows_past(reached)), [9, 5, 5, 0]);
    }
}
