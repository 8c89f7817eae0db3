//! The bound of memory that the state of a process has, and where the rest goes.

use std::path::Path;
use std::sync::Arc;

use crate::dataflow::stop::Stop;
use crate::state::scratch::Spill;
#[cfg(feature = "persistence")]
use crate::state::store::RocksDbScratch;
use crate::state::store::StoreError;

/// Bounds the memory of state to `budget_bytes`, of which half is for what finds the rest again in `folder`:
/// filters, indexes, what was read and what is not yet written. The folder is emptied, and removed at the end.
#[cfg(feature = "persistence")]
pub fn bound_state(budget_bytes: u64, folder: &Path, stop: &Arc<Stop>) -> Result<Arc<Spill>, StoreError> {
    let half_bytes = (budget_bytes / 2) as usize;
    let scratch = RocksDbScratch::open(folder, half_bytes)?;
    let stop = stop.clone();
    Ok(Arc::new(Spill::new(Arc::new(scratch), half_bytes, move |reason| stop.fail(reason))))
}

/// As with the feature `persistence`, which this build does not have.
#[cfg(not(feature = "persistence"))]
pub fn bound_state(_: u64, folder: &Path, _: &Arc<Stop>) -> Result<Arc<Spill>, StoreError> {
    let reason = "this build has no RocksDB (feature `persistence`), which a bound of memory needs".to_string();
    Err(StoreError::Backend { place: folder.display().to_string(), reason })
}
