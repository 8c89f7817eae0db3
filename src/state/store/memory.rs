//! A store in memory, for tests and for runs whose checkpoints need to outlive nothing but a restart
//! inside the process.
//!
//! It keeps the whole contract but durability, and refuses what files would refuse, so that a test over
//! it tells of them too.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Change, StateStore, StoreError, check_name};

type Values = BTreeMap<String, Vec<u8>>;

/// Named values in a map. Clone the `Arc` around it to share it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// No value's name is the folder of another's.
    values: RwLock<Values>,
}

impl MemoryStore {
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Values> {
        self.values.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn edit(&self) -> RwLockWriteGuard<'_, Values> {
        self.values.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a value may be put under `name`: it is not a folder, and none of its folders is a value.
    fn check_free(&self, values: &Values, name: &str) -> Result<(), StoreError> {
        let folder = format!("{name}:");
        let is_folder = values.range(folder.clone()..).next().is_some_and(|(other, _)| other.starts_with(&folder));
        let inside_value = name.match_indices(':').any(|(at, _)| values.contains_key(&name[..at]));
        match is_folder || inside_value {
            true => Err(StoreError::Nested { place: self.place(), name: name.to_string() }),
            false => Ok(()),
        }
    }

    fn apply<'a>(&self, values: &mut Values, change: &'a Change) -> Result<Before<'a>, StoreError> {
        match change {
            Change::Put { name, value } => {
                check_name(name)?;
                self.check_free(values, name)?;
                Ok((name, values.insert(name.clone(), value.clone())))
            }
            Change::Delete { name } => {
                check_name(name)?;
                Ok((name, values.remove(name)))
            }
        }
    }
}

/// A name, and the value it had.
type Before<'a> = (&'a str, Option<Vec<u8>>);

impl StateStore for MemoryStore {
    fn place(&self) -> String {
        "memory".to_string()
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write(&[Change::Put { name: name.to_string(), value: value.to_vec() }])
    }

    fn create(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        check_name(name)?;
        let mut values = self.edit();
        if values.contains_key(name) {
            return Ok(false);
        }
        self.check_free(&values, name)?;
        values.insert(name.to_string(), value.to_vec());
        Ok(true)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_name(name)?;
        Ok(self.read().get(name).cloned())
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        self.edit().remove(name);
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let values = self.read();
        let from_prefix = values.range(prefix.to_string()..).map(|(name, _)| name);
        Ok(from_prefix.take_while(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut values = self.edit();
        let mut undo = Vec::with_capacity(changes.len());
        let outcome = changes.iter().try_for_each(|change| {
            undo.push(self.apply(&mut values, change)?);
            Ok(())
        });
        if outcome.is_err() {
            for (name, before) in undo.into_iter().rev() {
                match before {
                    Some(value) => values.insert(name.to_string(), value),
                    None => values.remove(name),
                };
            }
        }
        outcome
    }
}
