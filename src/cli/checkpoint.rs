//! `varpulis checkpoint`: what lies where state is saved, and whether it holds.

use std::fmt::Display;
use std::time::UNIX_EPOCH;

use super::args::{CheckpointAction, CheckpointArgs};
use super::create::{Then, create};
use super::run::plan;
use super::{EXIT_FAILED, EXIT_STATE, complain, say};
use crate::checkpoint::config::CheckpointConfig;
use crate::checkpoint::recovery::open;
use crate::checkpoint::retention::remove_unnamed;
use crate::state::lock::RunLock;
use crate::state::manifest::Checkpoint;
use crate::state::place::{Choice, Place};
use crate::state::store::{Listed, StateStore, StoreError};

pub fn run(args: CheckpointArgs) -> u8 {
    let prefix = CheckpointConfig::default().key_prefix;
    let done = match &args.action {
        CheckpointAction::List { state_dir } => with(state_dir, |s| list(s, &prefix)),
        CheckpointAction::Show { id, state_dir } => with(state_dir, |s| show(s, &prefix, *id)),
        CheckpointAction::Verify { id, state_dir } => with(state_dir, |s| verify(s, &prefix, *id)),
        CheckpointAction::Plan(args) => return plan(args),
        CheckpointAction::Create { stop, timeout, state_dir } => {
            create(state_dir, if *stop { Then::Stop } else { Then::GoOn }, *timeout)
        }
        CheckpointAction::Delete { id, state_dir } => change(state_dir, |s| delete(s, &prefix, *id)),
    };
    done.unwrap_or_else(|error| {
        complain(error);
        EXIT_FAILED
    })
}

/// Looks at what is in a place, which a run may be using.
fn with(place: &Place, act: impl FnOnce(&dyn StateStore) -> Result<u8, StoreError>) -> Result<u8, StoreError> {
    act(&*place.open_for_reading()?)
}

/// Changes what is in a place that no run is using.
fn change(place: &Place, act: impl FnOnce(&dyn StateStore) -> Result<u8, StoreError>) -> Result<u8, StoreError> {
    drop(place.open_for_reading()?);
    let _lock = match place.folder().map(RunLock::take).transpose() {
        Ok(lock) => lock,
        Err(error) => {
            complain(error);
            return Ok(EXIT_STATE);
        }
    };
    act(&*place.open(&Choice::default())?)
}

fn list(store: &dyn StateStore, prefix: &str) -> Result<u8, StoreError> {
    let listed = store.list_checkpoints(prefix)?;
    if listed.is_empty() {
        say("no checkpoints\n");
        return Ok(0);
    }
    let titles = ["id", "run", "age", "rows", "segments", "bytes"];
    say(line(titles.map(str::to_string), "state"));
    for item in listed {
        let Some(bytes) = store.get(&item.name)? else { continue };
        let (id, run) = (item.id.to_string(), item.generation.to_string());
        say(match Checkpoint::decode(&item.name, &bytes) {
            Err(error) => line([id, run, String::new(), String::new(), String::new(), String::new()], error),
            Ok(record) => {
                let bytes: u64 = record.segments.iter().map(|s| s.bytes).sum();
                let (rows, segments) = (record.events_processed.to_string(), record.segments.len().to_string());
                let state = if record.finished { "finished" } else { "to be continued" };
                line([id, run, age(&record), rows, segments, bytes.to_string()], state)
            }
        });
    }
    Ok(0)
}

/// A line of the list.
fn line([id, run, age, rows, segments, bytes]: [String; 6], rest: impl Display) -> String {
    format!("{id:>8}  {run:>4}  {age:>10}  {rows:>14}  {segments:>8}  {bytes:>12}  {rest}\n")
}

fn age(record: &Checkpoint) -> String {
    let now_ms = UNIX_EPOCH.elapsed().map_or(0, |d| d.as_millis() as u64);
    let seconds = now_ms.saturating_sub(record.timestamp_ms) / 1000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The newest record with this id, or the newest of all.
fn find(store: &dyn StateStore, prefix: &str, id: Option<u64>) -> Result<Option<Listed>, StoreError> {
    let listed = store.list_checkpoints(prefix)?;
    let found = listed.into_iter().rfind(|l| id.is_none_or(|id| l.id == id));
    if found.is_none() {
        complain(format!("{}: there is no such checkpoint", store.place()));
    }
    Ok(found)
}

fn show(store: &dyn StateStore, prefix: &str, id: Option<u64>) -> Result<u8, StoreError> {
    let Some(item) = find(store, prefix, id)? else { return Ok(EXIT_FAILED) };
    let Some(bytes) = store.get(&item.name)? else { return Ok(EXIT_FAILED) };
    let mut record = Checkpoint::decode(&item.name, &bytes)?;
    // It is long, and `explain` shows it better.
    record.program.plan = serde_json::Value::Null;
    say(serde_json::to_string_pretty(&record).expect("a record is JSON") + "\n");
    Ok(0)
}

fn verify(store: &dyn StateStore, prefix: &str, id: Option<u64>) -> Result<u8, StoreError> {
    let mut code = 0;
    let listed = store.list_checkpoints(prefix)?;
    for item in listed.iter().filter(|l| id.is_none_or(|id| l.id == id)) {
        match open(store, item)? {
            Ok(recovered) => say(format!("{}: holds, {} segments\n", item.id, recovered.record.segments.len())),
            Err(reason) => {
                say(format!("{}: does not hold: {reason}\n", item.id));
                code = EXIT_FAILED;
            }
        }
    }
    Ok(code)
}

fn delete(store: &dyn StateStore, prefix: &str, id: u64) -> Result<u8, StoreError> {
    let Some(item) = find(store, prefix, Some(id))? else { return Ok(EXIT_FAILED) };
    store.delete(&item.name)?;
    let removed = remove_unnamed(store, prefix)?;
    let run = item.generation;
    say(format!("checkpoint {id} of run {run} is deleted, and {removed} segments that nothing else needs\n"));
    Ok(0)
}
