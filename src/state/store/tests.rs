//! What every store promises, checked on each of them by the same tests.

#[cfg(feature = "checked")]
mod crash;
#[cfg(feature = "s3")]
mod object;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::state::manifest::ManifestError;

/// A store that can be closed and opened again.
struct Subject {
    open: Box<dyn Fn() -> SharedStore>,
    /// Whether a `write` that fails has done nothing.
    atomic: bool,
    /// Whether a name may be both a value and a folder of others.
    nested: bool,
    /// Whether a name may be as long as the contract says.
    long_names: bool,
}

fn subjects() -> Vec<Subject> {
    let memory: SharedStore = Arc::new(MemoryStore::new());
    let open = Box::new(move || Arc::clone(&memory));
    let mut subjects = vec![Subject { open, atomic: true, nested: false, long_names: true }];
    let open = in_folder(|path| Arc::new(FileStore::open(path).unwrap()));
    subjects.push(Subject { open, atomic: false, nested: false, long_names: true });
    #[cfg(feature = "persistence")]
    {
        let open = in_folder(|path| Arc::new(RocksDbStore::open(path).unwrap()));
        subjects.push(Subject { open, atomic: true, nested: true, long_names: true });
    }
    #[cfg(feature = "s3")]
    {
        let server = object::Server::start();
        let open = Box::new(move || -> SharedStore { Arc::new(object::open(&server, "prefix/of/the-store")) });
        // The test's server makes names of files of them.
        subjects.push(Subject { open, atomic: false, nested: true, long_names: false });
    }
    subjects
}

fn in_folder(open: impl Fn(&std::path::Path) -> SharedStore + 'static) -> Box<dyn Fn() -> SharedStore> {
    let folder = TempDir::new().unwrap();
    // Two levels that do not exist yet.
    Box::new(move || open(&folder.path().join("made").join("by open")))
}

/// Runs a test on a new store of each kind. The output of a test that fails says which it was.
fn on_each(test: impl Fn(&dyn StateStore)) {
    for subject in subjects() {
        let store = (subject.open)();
        println!("on {}", store.place());
        test(&*store);
    }
}

fn put(name: &str, value: &[u8]) -> Change {
    Change::Put { name: name.to_string(), value: value.to_vec() }
}

fn delete(name: &str) -> Change {
    Change::Delete { name: name.to_string() }
}

#[test]
fn a_value_is_what_was_put_last() {
    on_each(|store| {
        assert_eq!(store.get("a:b:c").unwrap(), None);
        store.put("a:b:c", b"one").unwrap();
        assert_eq!(store.get("a:b:c").unwrap().as_deref(), Some(&b"one"[..]));
        store.put("a:b:c", b"another").unwrap();
        assert_eq!(store.get("a:b:c").unwrap().as_deref(), Some(&b"another"[..]));
        store.delete("a:b:c").unwrap();
        assert_eq!(store.get("a:b:c").unwrap(), None);
        store.delete("a:b:c").unwrap();
        store.delete("never:there").unwrap();
    });
}

#[test]
fn empty_and_large_values_are_kept() {
    let large: Vec<u8> = (0..40u32 << 18).flat_map(u32::to_le_bytes).collect();
    on_each(|store| {
        store.put("empty", b"").unwrap();
        store.put("large", &large).unwrap();
        assert!(store.create("created", &large).unwrap());
        assert_eq!(store.get("empty").unwrap().as_deref(), Some(&[][..]));
        assert!(store.get("large").unwrap().as_ref() == Some(&large));
        assert!(store.get("created").unwrap().as_ref() == Some(&large));
    });
}

#[test]
fn names_that_are_none_are_refused() {
    let long = "x".repeat(256);
    let deep = vec!["x"; 500].join(":");
    let wrong = [
        "",
        ":",
        "a:",
        ":a",
        "a::b",
        ".",
        "..",
        "...",
        "a:..:b",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a b",
        "ä",
        "~1-2",
        "a\0b",
        "a\n",
        "%2e%2e",
        &long,
        &deep,
    ];
    on_each(|store| {
        for name in wrong {
            let refused = |outcome: Result<(), StoreError>| {
                assert!(matches!(&outcome, Err(StoreError::BadName { name: n }) if n == name), "{name:?}: {outcome:?}");
            };
            refused(store.put(name, b"x"));
            refused(store.create(name, b"x").map(drop));
            refused(store.get(name).map(drop));
            refused(store.delete(name));
            refused(store.write(&[put(name, b"x")]));
        }
        assert_eq!(store.list("").unwrap(), [""; 0]);
    });
}

#[test]
fn names_may_be_long_and_have_dots() {
    let (long, deep) = ("x".repeat(255), vec!["x"; 384].join(":"));
    let names = [".a", "a.b-c_D:9", &deep, &long];
    for subject in subjects() {
        let store = (subject.open)();
        let names = if subject.long_names { &names[..] } else { &names[..2] };
        for name in names {
            store.put(name, name.as_bytes()).unwrap();
        }
        assert_eq!(store.list("").unwrap(), names);
        for name in names {
            assert_eq!(store.get(name).unwrap().as_deref(), Some(name.as_bytes()));
        }
    }
}

#[test]
fn a_name_is_a_value_or_a_folder() {
    for subject in subjects().into_iter().filter(|subject| !subject.nested) {
        let store = (subject.open)();
        store.put("a:b", b"x").unwrap();
        for wrong in ["a", "a:b:c", "a:b:c:d"] {
            assert!(matches!(store.put(wrong, b"y"), Err(StoreError::Nested { .. })), "{wrong}");
            assert!(matches!(store.create(wrong, b"y"), Err(StoreError::Nested { .. })), "{wrong}");
            assert_eq!(store.get(wrong).unwrap(), None);
            store.delete(wrong).unwrap();
        }
        assert_eq!(store.list("").unwrap(), ["a:b"]);
    }
}

#[test]
fn lists_by_prefix_in_order() {
    on_each(|store| {
        for name in ["b:2", "a", "b:10", "b-1", "b:1:x", "c:1", "B:1", "bb:1", "b.1"] {
            store.put(name, b"").unwrap();
        }
        let all = ["B:1", "a", "b-1", "b.1", "b:10", "b:1:x", "b:2", "bb:1", "c:1"];
        assert_eq!(store.list("").unwrap(), all);
        assert_eq!(store.list("b").unwrap(), all[2..8]);
        assert_eq!(store.list("b:").unwrap(), all[4..7]);
        assert_eq!(store.list("b:1").unwrap(), all[4..6]);
        assert_eq!(store.list("b:1:").unwrap(), ["b:1:x"]);
        assert_eq!(store.list("b:2").unwrap(), ["b:2"]);
        for nothing in ["d", "b:2:", "..:", "/", "b:1:x:"] {
            assert_eq!(store.list(nothing).unwrap(), [""; 0], "{nothing}");
        }
    });
}

#[test]
fn creates_once() {
    on_each(|store| {
        assert!(store.create("a:b", b"first").unwrap());
        assert!(!store.create("a:b", b"second").unwrap());
        assert_eq!(store.get("a:b").unwrap().as_deref(), Some(&b"first"[..]));
        store.delete("a:b").unwrap();
        assert!(store.create("a:b", b"third").unwrap());
    });
}

/// Of many threads that create one name, one is told that it did, and its value is there whole.
#[test]
fn creates_once_among_threads() {
    const THREADS: u8 = 8;
    on_each(|store| {
        for round in 0..10 {
            let name = format!("claims:{round}");
            let start = std::sync::Barrier::new(THREADS.into());
            let winners: Vec<u8> = std::thread::scope(|scope| {
                let claim = |thread: u8| {
                    let (name, start) = (&name, &start);
                    scope.spawn(move || {
                        start.wait();
                        store.create(name, &vec![thread; 100_000]).unwrap().then_some(thread)
                    })
                };
                let threads: Vec<_> = (0..THREADS).map(claim).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(winners.len(), 1);
            assert!(store.get(&name).unwrap() == Some(vec![winners[0]; 100_000]));
        }
    });
}

#[test]
fn writes_in_order() {
    on_each(|store| {
        store.put("c", b"old").unwrap();
        store
            .write(&[put("a", b"1"), put("a", b"2"), put("b", b"x"), delete("b"), delete("c"), put("c", b"3")])
            .unwrap();
        assert_eq!(store.list("").unwrap(), ["a", "c"]);
        assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(store.get("c").unwrap().as_deref(), Some(&b"3"[..]));
        store.write(&[]).unwrap();
    });
}

/// A `write` that is refused in the middle has done nothing, where the store is atomic, else the changes
/// before.
#[test]
fn a_write_that_is_refused_leaves_a_beginning() {
    for subject in subjects() {
        let store = (subject.open)();
        store.put("a", b"old").unwrap();
        store.put("b", b"old").unwrap();
        let outcome =
            store.write(&[put("a", b"new"), delete("b"), put("a", b"newer"), put("..", b"x"), put("c", b"x")]);
        assert!(matches!(outcome, Err(StoreError::BadName { .. })));
        let left = if subject.atomic { vec!["a", "b"] } else { vec!["a"] };
        assert_eq!(store.list("").unwrap(), left, "{}", store.place());
        let value = if subject.atomic { b"old".to_vec() } else { b"newer".to_vec() };
        assert_eq!(store.get("a").unwrap(), Some(value));
    }
}

#[test]
fn values_outlive_the_store() {
    for subject in subjects() {
        let store = (subject.open)();
        store.put("a:b", b"1").unwrap();
        store.create("a:c", b"2").unwrap();
        store.write(&[put("d", b"3"), put("e", b"4"), delete("e")]).unwrap();
        drop(store);
        let store = (subject.open)();
        assert_eq!(store.list("").unwrap(), ["a:b", "a:c", "d"]);
        assert_eq!(store.get("a:c").unwrap().as_deref(), Some(&b"2"[..]));
        assert!(!store.create("a:c", b"other").unwrap());
    }
}

#[test]
fn checkpoints_are_saved_listed_loaded_and_pruned() {
    let checkpoint = |generation, id| Checkpoint { id, generation, events_processed: id * 10, ..Checkpoint::default() };
    on_each(|store| {
        let ids = |listed: Vec<Listed>| -> Vec<(u64, u64)> { listed.iter().map(|l| (l.generation, l.id)).collect() };
        for (generation, id) in [(1, 9), (1, 10), (2, 10), (2, 11)] {
            assert!(store.save_checkpoint("p:q", &checkpoint(generation, id)).unwrap());
        }
        assert!(!store.save_checkpoint("p:q", &Checkpoint { timestamp_ms: 1, ..checkpoint(2, 11) }).unwrap());
        assert!(store.save_checkpoint("p:r", &checkpoint(3, 12)).unwrap());
        store.put("p:q:checkpoints:notes", b"not a checkpoint").unwrap();
        store.put("p:q:segments:1", b"not one either").unwrap();

        assert_eq!(ids(store.list_checkpoints("p:q").unwrap()), [(1, 9), (1, 10), (2, 10), (2, 11)]);
        assert_eq!(store.load_checkpoint("p:q", 9).unwrap(), Some(checkpoint(1, 9)));
        assert_eq!(store.load_checkpoint("p:q", 10).unwrap(), Some(checkpoint(2, 10)), "of the newest generation");
        assert_eq!(store.load_checkpoint("p:q", 11).unwrap(), Some(checkpoint(2, 11)));
        assert_eq!(store.load_checkpoint("p:q", 12).unwrap(), None);

        assert_eq!(ids(store.prune_checkpoints("p:q", 2).unwrap()), [(1, 9), (1, 10)]);
        assert_eq!(ids(store.prune_checkpoints("p:q", 2).unwrap()), []);
        assert_eq!(ids(store.list_checkpoints("p:q").unwrap()), [(2, 10), (2, 11)]);
        assert_eq!(ids(store.list_checkpoints("p:r").unwrap()), [(3, 12)]);
        assert!(store.get("p:q:checkpoints:notes").unwrap().is_some());
    });
}

#[test]
fn a_damaged_checkpoint_is_an_error_not_an_answer() {
    on_each(|store| {
        let checkpoint = Checkpoint { id: 5, generation: 1, ..Checkpoint::default() };
        let mut bytes = checkpoint.encode();
        let last = bytes.len() - 1;
        bytes[last - 4] ^= 1;
        store.put(&manifest_name("p", 5, 1), &bytes).unwrap();
        let loaded = store.load_checkpoint("p", 5);
        assert!(matches!(loaded, Err(StoreError::Manifest(ManifestError::Damaged { .. }))), "{loaded:?}");
    });
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Put(String, u8),
    Create(String, u8),
    Delete(String),
    Write(Vec<Change>),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Names of one depth, so that none is the folder of another.
    let name = || "[ab]:[ab.-]{1,2}:[c]".prop_filter("folders", |name| name.split(':').all(is_part));
    let change = (name(), any::<u8>(), any::<bool>()).prop_map(|(name, value, keep)| match keep {
        true => put(&name, &[value; 3]),
        false => delete(&name),
    });
    let step = prop_oneof![
        4 => (name(), any::<u8>()).prop_map(|(name, value)| Step::Put(name, value)),
        4 => (name(), any::<u8>()).prop_map(|(name, value)| Step::Create(name, value)),
        2 => name().prop_map(Step::Delete),
        2 => prop::collection::vec(change, 0..5).prop_map(Step::Write),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..30)
}

/// Does a step to a store and to a plain map, which must agree on what was created.
fn take(step: &Step, store: &dyn StateStore, model: &mut BTreeMap<String, Vec<u8>>) {
    match step {
        Step::Put(name, value) => {
            store.put(name, &[*value; 3]).unwrap();
            model.insert(name.clone(), vec![*value; 3]);
        }
        Step::Create(name, value) => {
            assert_eq!(store.create(name, &[*value; 3]).unwrap(), !model.contains_key(name));
            model.entry(name.clone()).or_insert_with(|| vec![*value; 3]);
        }
        Step::Delete(name) => {
            store.delete(name).unwrap();
            model.remove(name);
        }
        Step::Write(changes) => {
            store.write(changes).unwrap();
            changes.iter().for_each(|change| apply(change, model));
        }
        Step::Reopen => {}
    }
}

fn apply(change: &Change, model: &mut BTreeMap<String, Vec<u8>>) {
    match change {
        Change::Put { name, value } => model.insert(name.clone(), value.clone()),
        Change::Delete { name } => model.remove(name),
    };
}

/// All values of a store.
fn content(store: &dyn StateStore) -> BTreeMap<String, Vec<u8>> {
    let names = store.list("").unwrap();
    names.into_iter().map(|name| (name.clone(), store.get(&name).unwrap().expect(&name))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map(steps in steps()) {
        for subject in subjects() {
            let (mut store, mut model) = ((subject.open)(), BTreeMap::new());
            for step in &steps {
                if matches!(step, Step::Reopen) {
                    drop(store);
                    store = (subject.open)();
                }
                take(step, &*store, &mut model);
            }
            prop_assert_eq!(content(&*store), model);
        }
    }
}
