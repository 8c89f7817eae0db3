//! Stores that are killed or fail at each of their steps.
//!
//! A script of changes runs over a store while one hit of one fail point crashes or returns an error.
//! What is found afterwards is the state before or after the change that was under way, never a mixture
//! and never a part of a value.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::failpoint::{CRASH_CODE, Crashed, POINTS, Scope};

type Content = BTreeMap<String, Vec<u8>>;

/// Changes of every kind: new and replaced values, one of several kilobytes, in new and in old folders.
fn script() -> Vec<Change> {
    vec![
        put("run:generation", b"1"),
        put("run:segments:1", &[7; 10_000]),
        put("run:generation", b"2 and longer"),
        put("other:run:segments:1", b"x"),
        delete("run:segments:1"),
        put("run:segments:2", &[8; 9_999]),
        put("run:segments:2", b"short"),
        delete("other:run:segments:1"),
    ]
}

/// The contents after each number of changes.
fn states() -> Vec<Content> {
    let mut content = Content::new();
    let mut states = vec![content.clone()];
    for change in script() {
        apply(&change, &mut content);
        states.push(content.clone());
    }
    states
}

/// Does a change the way callers do: records by `create`, all else by `put`.
fn make(change: &Change, store: &dyn StateStore) -> Result<(), StoreError> {
    match change {
        Change::Put { name, value } if name.ends_with('2') && value.len() > 100 => store.create(name, value).map(drop),
        Change::Put { name, value } => store.put(name, value),
        Change::Delete { name } => store.delete(name),
    }
}

/// How often each of the points with this beginning is hit by the script.
fn hits(points: &str, open: &dyn Fn(&Path) -> SharedStore) -> Vec<(&'static str, usize)> {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let scope = Scope::new("");
    script().iter().for_each(|change| make(change, &*store).unwrap());
    let trail = scope.trail();
    let own = POINTS.iter().filter(|point| point.starts_with(points));
    own.map(|point| (*point, trail.iter().filter(|hit| *hit == point).count())).collect()
}

/// Runs the script with every hit of every point crashing, and checks what is left each time.
fn crash_at_each(points: &str, open: &dyn Fn(&Path) -> SharedStore) {
    let states = states();
    for (point, count) in hits(points, open) {
        assert!(count > 0, "the script does not come by {point}");
        for hit in 1..=count {
            let folder = TempDir::new().unwrap();
            let mut done = 0;
            let store = open(folder.path());
            let scope = Scope::new(&format!("{point}=crash@{hit}"));
            let run = AssertUnwindSafe(|| {
                script().iter().for_each(|change| {
                    make(change, &*store).unwrap();
                    done += 1;
                });
            });
            assert!(catch_unwind(run).is_err_and(|payload| payload.is::<Crashed>()), "{point}@{hit} did not crash");
            drop(scope);
            drop(store);
            let store = open(folder.path());
            let found = content(&*store);
            assert!(states[done..=done + 1].contains(&found), "{point}@{hit}: {:?}", found.keys());
            // Whoever restarts does the change that was under way again, and goes on.
            script()[done..].iter().for_each(|change| make(change, &*store).unwrap());
            assert_eq!(content(&*store), states[states.len() - 1], "{point}@{hit}");
        }
    }
}

/// The same with errors instead of crashes: the store stays usable, and trying again succeeds.
fn fail_at_each(points: &str, open: &dyn Fn(&Path) -> SharedStore) {
    let states = states();
    for (point, count) in hits(points, open) {
        for (hit, action) in (1..=count).zip(["full", "denied", "timeout"].into_iter().cycle()) {
            let folder = TempDir::new().unwrap();
            let store = open(folder.path());
            let scope = Scope::new(&format!("{point}={action}@{hit}"));
            let mut errors = Vec::new();
            for (done, change) in script().iter().enumerate() {
                while let Err(error) = make(change, &*store) {
                    errors.push(error.to_string());
                    assert!(states[done..=done + 1].contains(&content(&*store)), "{point}@{hit}");
                }
                assert_eq!(content(&*store), states[done + 1], "{point}@{hit}");
            }
            assert_eq!(errors.len(), 1, "{point}={action}@{hit}: {errors:?}");
            drop(scope);
            drop(store);
            assert_eq!(content(&*open(folder.path())), states[states.len() - 1]);
        }
    }
}

fn open_files(path: &Path) -> SharedStore {
    Arc::new(FileStore::open(path).unwrap())
}

#[test]
fn files_survive_a_crash_at_each_step() {
    crash_at_each("store.file.", &open_files);
}

#[test]
fn files_survive_an_error_at_each_step() {
    fail_at_each("store.file.", &open_files);
}

#[cfg(feature = "persistence")]
#[test]
fn rocksdb_survives_a_crash_and_an_error_at_each_step() {
    let open = |path: &Path| -> SharedStore { Arc::new(RocksDbStore::open(path).unwrap()) };
    crash_at_each("store.rocksdb.", &open);
    fail_at_each("store.rocksdb.", &open);
}

/// One server for all; each folder's name is a prefix in its bucket.
#[cfg(feature = "s3")]
#[test]
fn object_storage_survives_a_crash_and_an_error_at_each_step() {
    let server = super::object::Server::start();
    let open = |path: &Path| -> SharedStore {
        Arc::new(super::object::open(
            &server,
            path.file_name().and_then(|name| name.to_str()).expect("a temporary folder's name"),
        ))
    };
    crash_at_each("store.object.", &open);
    fail_at_each("store.object.", &open);
}

/// The order of the steps is what makes them safe: no name before the value is synced, no return before
/// the folder is.
#[test]
fn a_file_is_synced_before_it_has_its_name() {
    let folder = TempDir::new().unwrap();
    let store = FileStore::open(folder.path()).unwrap();
    let scope = Scope::new("");
    let written = ["store.file.write", "store.file.write.half", "store.file.sync"];
    let made = ["store.file.folder", "store.file.sync_folder"];
    store.put("a:b:c", b"1").unwrap();
    assert_eq!(scope.trail(), [&made[..], &made, &written, &["store.file.rename", "store.file.sync_folder"]].concat());
    store.create("a:b:d", b"1").unwrap();
    assert_eq!(scope.trail(), [&written[..], &["store.file.link", "store.file.sync_folder"]].concat());
    store.delete("a:b:d").unwrap();
    assert_eq!(scope.trail(), ["store.file.delete", "store.file.sync_folder"]);
    // Another process may have made the folder and died before it was durable.
    let other = FileStore::open(folder.path()).unwrap();
    other.put("a:e", b"1").unwrap();
    assert_eq!(
        scope.trail(),
        [&["store.file.sync_folder"], &written[..], &["store.file.rename", "store.file.sync_folder"]].concat()
    );
}

fn temporaries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with('~')).count()
}

#[test]
fn what_a_crash_leaves_is_not_seen_and_removed_when_nobody_writes() {
    let folder = TempDir::new().unwrap();
    let store = open_files(folder.path());
    let scope = Scope::new("store.file.write.half=crash");
    assert!(catch_unwind(AssertUnwindSafe(|| store.put("a", &[1; 1000]))).is_err());
    drop(scope);
    assert_eq!(temporaries(folder.path()), 1);
    assert_eq!(store.list("").unwrap(), [""; 0]);
    fs::write(folder.path().join("~mine"), "not a temporary file of the store").unwrap();

    let second = open_files(folder.path());
    assert_eq!(temporaries(folder.path()), 2, "the first store is still open, and could be writing it");
    drop((store, second));
    let third = open_files(folder.path());
    assert_eq!(temporaries(folder.path()), 1);
    assert_eq!(third.list("").unwrap(), [""; 0]);
}

/// A temporary file of the same name as the next one, left by a process that had the same number.
#[test]
fn a_leftover_does_not_stop_a_write() {
    let folder = TempDir::new().unwrap();
    let store = open_files(folder.path());
    for number in 0..3 {
        fs::write(folder.path().join(format!("~{}-{number}", std::process::id())), "left").unwrap();
    }
    store.put("a", b"new").unwrap();
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(temporaries(folder.path()), 3);
}

#[test]
fn no_link_leads_out() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    let folder = TempDir::new().unwrap();
    let store = open_files(folder.path());
    store.put("real:value", b"v").unwrap();
    symlink(outside.path(), folder.path().join("linked")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("real").join("link")).unwrap();
    symlink(outside.path().join("new"), folder.path().join("dangling")).unwrap();
    for name in ["linked:secret", "linked:new", "linked:deep:new", "real:link", "dangling"] {
        assert!(matches!(store.get(name), Err(StoreError::Foreign { .. })), "{name}");
        assert!(matches!(store.put(name, b"x"), Err(StoreError::Foreign { .. })), "{name}");
        assert!(matches!(store.create(name, b"x"), Err(StoreError::Foreign { .. })), "{name}");
        assert!(matches!(store.delete(name), Err(StoreError::Foreign { .. })), "{name}");
    }
    assert_eq!(store.list("").unwrap(), ["real:value"]);
    let left: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret"]);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"s");
}

/// The root itself may be a link: whoever runs the program chose it.
#[test]
fn the_root_may_be_a_link() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
    open_files(&folder.path().join("link")).put("a:b", b"x").unwrap();
    assert_eq!(open_files(&folder.path().join("real")).get("a:b").unwrap().as_deref(), Some(&b"x"[..]));
}

#[test]
fn a_file_is_no_root() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        assert!(matches!(FileStore::open(&path), Err(StoreError::Io { .. })));
    }
}

const FOLDER_VARIABLE: &str = "VARPULIS_TEST_STORE";

/// Runs the script over files: in a folder of its own, or for the test below in the one that it names.
#[test]
fn the_script_runs_over_files() {
    let own = TempDir::new().unwrap();
    let folder = std::env::var_os(FOLDER_VARIABLE).map_or(own.path().to_path_buf(), Into::into);
    let store = open_files(&folder);
    script().iter().for_each(|change| make(change, &*store).unwrap());
    assert_eq!(content(&*store), states()[states().len() - 1]);
}

/// The same by a real process and the environment, where nothing unwinds.
#[test]
fn a_process_dies_where_the_environment_says() {
    for rule in ["store.file.write.half=crash@2", "store.file.link=crash", "store.file.sync_folder=crash@4"] {
        let folder = TempDir::new().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "state::store::tests::crash::the_script_runs_over_files", "--nocapture"])
            .env("VARPULIS_FAIL", rule)
            .env(FOLDER_VARIABLE, folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(CRASH_CODE), "{rule}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(rule.split('=').next().unwrap()), "{said}");
        let found = content(&*open_files(folder.path()));
        assert!(states().contains(&found) && found != states()[states().len() - 1], "{rule}: {:?}", found.keys());
    }
}
