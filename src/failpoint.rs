//! Named places where a test makes the program fail: by an error of the system, or by death at once.
//!
//! A point stands before (or between, or after) the steps by which something becomes durable: writes,
//! fsyncs, renames, uploads, commits. Recovery is tested by failing at each, which no test can do from
//! outside. Only builds with the feature `checked` can fail; in others [`hit`] is an empty function and
//! the variable is not read.
//!
//! `VARPULIS_FAIL="store.file.rename=crash@3;store.file.sync=full"` is a list of rules,
//! `point=action` with an optional `@`:
//!
//! | action | what happens |
//! |---|---|
//! | `crash` | the process ends as by SIGKILL: nothing is flushed, no destructor runs; exit code [`CRASH_CODE`] |
//! | `full` | the step fails: no space left |
//! | `denied` | the step fails: permission denied |
//! | `timeout` | the step fails: timed out |
//!
//! `@3` is the third hit of the point and no other, `@3+` the third and all later ones; without `@`, every
//! hit. A process counts its own hits, over all threads. A rule that cannot be read, or a point that does
//! not exist, ends the process with a panic at the first hit of any point: a test that fails nothing
//! would be worse.
//!
//! Tests inside a process use `Scope`, which concerns one thread: there `crash` unwinds with `Crashed`.

/// The exit code of a process that crashed at a point, which no other end of a process has.
pub const CRASH_CODE: i32 = 86;

/// What a rule can make happen.
pub const ACTIONS: [&str; 4] = ["crash", "full", "denied", "timeout"];

/// All points, for tests that go through them. Each is hit in one place of the code.
pub const POINTS: &[&str] = &[
    // Before the first byte of a value, and when half of it is written.
    "store.file.write",
    "store.file.write.half",
    // Before the value is synced, before it gets its name (by `put`, by `create`), and before the folder
    // that has the name is synced.
    "store.file.sync",
    "store.file.rename",
    "store.file.link",
    "store.file.sync_folder",
    "store.file.folder",
    "store.file.delete",
    // Before a batch is written, and when it is durable but nobody knows.
    "store.rocksdb.write",
    "store.rocksdb.written",
    // Before an object is uploaded or deleted, and when that has succeeded but nobody knows.
    "store.object.put",
    "store.object.put.done",
    "store.object.create",
    "store.object.create.done",
    "store.object.delete",
    "store.object.delete.done",
    // Before a segment is put, before the record that makes a checkpoint valid, and after it.
    "checkpoint.segment",
    "checkpoint.commit",
    "checkpoint.committed",
    // Before the folder of a new output file is synced, and before what an output file had at the end of an
    // epoch is.
    "sink.folder",
    "sink.sync",
    // Before a part of an output is created, completed (as bytes, as columns), synced, and its folder synced:
    // all of that happens under a temporary name.
    "sink.part.create",
    "sink.part.end",
    "sink.columns.end",
    "sink.part.sync",
    "sink.part.folder",
    // After the commit: before the part gets its name, and before its folder is synced.
    "sink.part.rename",
    "sink.part.renamed",
    // At a restart: before the part of a commit that a crash cut short gets its name, and before a part that
    // nobody counts is removed.
    "sink.part.complete",
    "sink.part.remove",
];

#[cfg(not(feature = "checked"))]
#[inline(always)]
pub fn hit(_point: &'static str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "checked")]
pub use active::{Crashed, Scope, hit};

#[cfg(feature = "checked")]
mod active {
    use std::cell::RefCell;
    use std::io;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use super::{CRASH_CODE, POINTS};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Action {
        Crash,
        Fail(io::ErrorKind),
    }

    /// One `point=action@hits`.
    #[derive(Debug)]
    struct Rule {
        point: String,
        action: Action,
        first: u64,
        last: u64,
        hits: u64,
    }

    static OF_PROCESS: LazyLock<Mutex<Vec<Rule>>> = LazyLock::new(|| {
        let text = std::env::var("VARPULIS_FAIL").unwrap_or_default();
        Mutex::new(parse(&text))
    });

    thread_local! {
        static OF_THREAD: RefCell<Option<(Vec<Rule>, Vec<&'static str>)>> = const { RefCell::new(None) };
    }

    /// What a crash inside a [`Scope`] unwinds with.
    #[derive(Debug)]
    pub struct Crashed;

    /// Rules for the thread that made it, until it is dropped. It also notes which points were hit.
    #[derive(Debug)]
    #[must_use]
    pub struct Scope(());

    impl Scope {
        /// Takes rules in the form of the variable; the empty text only takes notes.
        pub fn new(rules: &str) -> Scope {
            let rules = parse(rules);
            OF_THREAD.with_borrow_mut(|scope| {
                assert!(scope.is_none(), "a scope inside a scope");
                *scope = Some((rules, Vec::new()));
            });
            Scope(())
        }

        /// The points hit since the last call, in order.
        pub fn trail(&self) -> Vec<&'static str> {
            OF_THREAD.with_borrow_mut(|scope| scope.as_mut().map(|s| std::mem::take(&mut s.1)).unwrap_or_default())
        }
    }

    impl Drop for Scope {
        fn drop(&mut self) {
            OF_THREAD.with_borrow_mut(|scope| *scope = None);
        }
    }

    /// Passes, or fails as a rule says.
    pub fn hit(point: &'static str) -> io::Result<()> {
        assert!(POINTS.contains(&point), "fail point {point} is not in the list");
        let here = OF_THREAD.with_borrow_mut(|scope| {
            let (rules, trail) = scope.as_mut()?;
            trail.push(point);
            due(rules, point)
        });
        match here {
            Some(Action::Crash) => std::panic::resume_unwind(Box::new(Crashed)),
            Some(Action::Fail(kind)) => return Err(kind.into()),
            None => {}
        }
        let due = due(&mut OF_PROCESS.lock().unwrap_or_else(PoisonError::into_inner), point);
        match due {
            Some(Action::Crash) => {
                eprintln!("varpulis: fail point {point}: crash");
                signal_hook::low_level::exit(CRASH_CODE)
            }
            Some(Action::Fail(kind)) => Err(kind.into()),
            None => Ok(()),
        }
    }

    /// Counts the hit in every rule of the point, and gives the first action that it is the turn of.
    fn due(rules: &mut [Rule], point: &str) -> Option<Action> {
        let mut action = None;
        for rule in rules.iter_mut().filter(|rule| rule.point == point) {
            rule.hits += 1;
            if (rule.first..=rule.last).contains(&rule.hits) {
                action = action.or(Some(rule.action));
            }
        }
        action
    }

    fn parse(text: &str) -> Vec<Rule> {
        text.split(';').map(str::trim).filter(|rule| !rule.is_empty()).map(parse_rule).collect()
    }

    fn parse_rule(text: &str) -> Rule {
        let unreadable = || -> ! { panic!("fail point rule {text:?} is not `point=action`, `@n` or `@n+`") };
        let Some((point, rest)) = text.split_once('=') else { unreadable() };
        assert!(POINTS.contains(&point), "fail point {point:?} does not exist");
        let (action, hits) = rest.split_once('@').unwrap_or((rest, "1+"));
        let action = match action {
            "crash" => Action::Crash,
            "full" => Action::Fail(io::ErrorKind::StorageFull),
            "denied" => Action::Fail(io::ErrorKind::PermissionDenied),
            "timeout" => Action::Fail(io::ErrorKind::TimedOut),
            _ => unreadable(),
        };
        let (first, open) = match hits.strip_suffix('+') {
            Some(first) => (first, true),
            None => (hits, false),
        };
        let Ok(first) = first.parse() else { unreadable() };
        Rule { point: point.to_string(), action, first, last: if open { u64::MAX } else { first }, hits: 0 }
    }

    #[cfg(test)]
    mod tests {
        use super::super::ACTIONS;
        use super::*;

        #[test]
        fn fails_at_the_hits_named_and_no_others() {
            let scope = Scope::new("store.file.sync=full@2; store.file.rename=denied@3+");
            let kinds = |point| -> Vec<Option<io::ErrorKind>> {
                (0..4).map(|_| hit(point).err().map(|error| error.kind())).collect()
            };
            let (full, denied) = (Some(io::ErrorKind::StorageFull), Some(io::ErrorKind::PermissionDenied));
            assert_eq!(kinds("store.file.sync"), [None, full, None, None]);
            assert_eq!(kinds("store.file.rename"), [None, None, denied, denied]);
            assert_eq!(kinds("store.file.link"), [None; 4]);
            assert_eq!(scope.trail().len(), 12);
            drop(scope);
            assert!(hit("store.file.rename").is_ok());
        }

        #[test]
        fn every_action_can_be_asked_for() {
            for action in ACTIONS {
                let _scope = Scope::new(&format!("store.file.sync={action}"));
                let outcome = std::panic::catch_unwind(|| hit("store.file.sync").map_err(|error| error.kind()));
                match outcome {
                    Err(payload) => assert!(action == "crash" && payload.is::<Crashed>()),
                    Ok(outcome) => assert!(action != "crash" && outcome.is_err()),
                }
            }
        }

        #[test]
        fn what_cannot_be_read_is_not_passed_over() {
            for wrong in ["store.file.sync", "store.file.sink=full", "store.file.sync=burn", "store.file.sync=full@x"] {
                assert!(std::panic::catch_unwind(|| parse(wrong)).is_err(), "{wrong}");
            }
        }
    }
}
