//! The golden harness: programs, their inputs and the output that the language promises, as files.
//!
//! A case is `tests/golden/<topic>/<case>.vpl`; [`case`] says how its neighbours are named. A case that
//! runs a program is run at several numbers of workers, block sizes and chaos seeds ([`matrix`]), and
//! every run must give the expected bytes: what is tested is not only the answer but that there is one.
//!
//! - `UPDATE_GOLDEN=1 cargo test …` rewrites the expected files (the first run of the matrix writes, the
//!   others must agree with it).
//! - `GOLDEN=run/window cargo test …` runs the cases whose name contains the text.
//!
//! The harness knows nothing of the library: it sees the binary as a user does.

mod case;
mod diff;
mod docs;
mod matrix;
mod process;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cases that run at once: two, so that a machine of two cores is busy and watchdogs stay quiet.
const LANES: usize = 2;

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn update() -> bool {
    std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1")
}

#[test]
fn cases() {
    let filter = std::env::var("GOLDEN").unwrap_or_default();
    let update = update();
    let cases: Vec<case::Case> = case::discover(&golden_dir())
        .unwrap_or_else(|error| panic!("{error}"))
        .into_iter()
        .filter(|case| case.name().contains(&filter))
        .collect();
    let failures = Mutex::new(Vec::new());
    let runs = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match matrix::run_case(case, update) {
                        Ok(count) => {
                            runs.fetch_add(count, Ordering::Relaxed);
                        }
                        Err(failure) => failures.lock().unwrap().push((case.name(), failure)),
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    println!("{} cases, {} runs, {} failed", cases.len(), runs.into_inner(), failures.len());
    if !failures.is_empty() {
        let text: Vec<String> = failures.iter().map(|(name, why)| format!("=== {name}\n{why}")).collect();
        let names: Vec<&str> = failures.iter().map(|(name, _)| name.as_str()).collect();
        panic!("{}\nfailed: {}\n(UPDATE_GOLDEN=1 rewrites the expected files)", text.join("\n"), names.join(" "));
    }
}

#[test]
fn documentation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let failures: Vec<String> = docs::examples(root).iter().filter_map(|example| docs::run(example).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn list_of_functions() {
    docs::check_functions(Path::new(env!("CARGO_MANIFEST_DIR")), update())
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn every_file_belongs_to_a_case() {
    let strays = case::strays(&golden_dir()).unwrap();
    assert!(strays.is_empty(), "files that no case claims: {strays:#?}");
}
