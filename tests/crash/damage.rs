//! Damaged checkpoints: whatever is cut off or changed is seen, the checkpoint before is used, and what is
//! written in the end is right.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use varpulis_runtime::checkpoint::recovery::{newest_valid, open};
use varpulis_runtime::state::store::{FileStore, StateStore};

use super::{Case, Random, crash_by, printed_seed, succeed, varpulis};

const ROWS: u64 = 4_000;
/// Where a file is cut.
const CUT_BYTES: usize = 4096;
const FLIPS: u64 = 1000;
/// Damaged files that a whole run is started over.
const RUNS: u64 = 6;

fn files(case: &Case, kind: &str) -> Vec<PathBuf> {
    let folder = case.path("state").join("varpulis").join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Whether `checkpoint verify` says that all hold.
fn verifies(case: &Case) -> bool {
    let output = varpulis().args(["checkpoint", "verify", "--state-dir"]).arg(case.path("state")).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

/// A run that is killed with checkpoints behind it.
fn killed_run() -> Case {
    let case = Case::new(ROWS, 11);
    // The record is written, which may be the last, and then the process dies.
    crash_by("checkpoint.committed=crash@3", || {
        let _ = fs::remove_dir_all(case.path("state"));
        case.saving("damaged.jsonl", "state", 1)
    });
    assert!(files(&case, "checkpoints").len() > 1);
    case
}

/// The checkpoints of a folder, the newest last, each with the files that it stands on.
struct Standing {
    store: FileStore,
    checkpoints: Vec<(String, BTreeSet<PathBuf>)>,
}

impl Standing {
    fn of(case: &Case) -> Standing {
        let store = FileStore::open(case.path("state")).unwrap();
        let path = |name: &str| case.path("state").join(name.replace(':', "/"));
        let checkpoints = store.list_checkpoints("varpulis").unwrap().into_iter().map(|listed| {
            let recovered = open(&store, &listed).unwrap().unwrap();
            let names = recovered.record.segments.iter().map(|s| s.name.as_str()).chain([listed.name.as_str()]);
            (listed.name.clone(), names.map(path).collect())
        });
        let checkpoints = checkpoints.collect();
        Standing { store, checkpoints }
    }

    /// With `path` damaged: the newest checkpoint without it is found, and all newer ones are named.
    fn check(&self, path: &PathBuf, context: &str) {
        let sound = self.checkpoints.iter().rposition(|(_, files)| !files.contains(path));
        let (found, invalid) = newest_valid(&self.store, "varpulis").unwrap();
        let found = found.map(|r| (r.record.generation, r.record.id));
        let wanted = sound.map(|at| varpulis_runtime::state::manifest::parse_manifest_name(&self.checkpoints[at].0));
        assert_eq!(found, wanted.flatten(), "{context}");
        let named: Vec<&str> = invalid.iter().rev().map(|i| i.name.as_str()).collect();
        let newer: Vec<&str> =
            self.checkpoints[sound.map_or(0, |at| at + 1)..].iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(named, newer, "{context}");
    }
}

fn flip(whole: &[u8], random: &mut Random) -> (u64, Vec<u8>) {
    let (mut damaged, bit) = (whole.to_vec(), random.below(whole.len() as u64 * 8));
    damaged[(bit / 8) as usize] ^= 1 << (bit % 8);
    (bit, damaged)
}

/// Every file is cut at every 4 KB, and a thousand bits are flipped, each alone.
#[test]
fn damage_is_seen_wherever_it_is() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 6);
    let case = killed_run();
    let standing = Standing::of(&case);
    let files: Vec<PathBuf> = files(&case, "checkpoints").into_iter().chain(files(&case, "segments")).collect();
    let named = |path: &&PathBuf| standing.checkpoints.iter().any(|(_, files)| files.contains(*path));
    let files: Vec<&PathBuf> = files.iter().filter(named).collect();
    for path in &files {
        let whole = fs::read(path).unwrap();
        for length in (0..whole.len()).step_by(CUT_BYTES) {
            fs::write(path, &whole[..length]).unwrap();
            standing.check(path, &format!("{} cut at {length}", path.display()));
        }
        fs::write(path, whole).unwrap();
    }
    for _ in 0..FLIPS {
        let path = files[random.below(files.len() as u64) as usize];
        let whole = fs::read(path).unwrap();
        let (bit, damaged) = flip(&whole, &mut random);
        fs::write(path, damaged).unwrap();
        standing.check(path, &format!("CRASH_SEED={seed}: bit {bit} of {}", path.display()));
        fs::write(path, whole).unwrap();
    }
    println!("{} files cut at every {CUT_BYTES} bytes, {FLIPS} bits flipped: all seen", files.len());
}

/// The same through the program, from the damaged file to the last row of output.
#[test]
fn the_checkpoint_before_is_used() {
    let seed = printed_seed();
    let mut random = Random(seed ^ 7);
    for run in 0..RUNS {
        let case = killed_run();
        assert!(verifies(&case));
        // Under the newest checkpoint alone, or one that many stand on.
        let kinds = [
            files(&case, "checkpoints").pop(),
            files(&case, "segments").pop(),
            files(&case, "segments").first().cloned(),
        ];
        let path = kinds[run as usize % 3].clone().unwrap();
        let whole = fs::read(&path).unwrap();
        let damaged = if run < 3 { flip(&whole, &mut random).1 } else { whole[..whole.len() / 2].to_vec() };
        fs::write(&path, damaged).unwrap();
        let context = format!("CRASH_SEED={seed}, run {run}");
        assert!(!verifies(&case), "{context}");
        let output = case.saving("damaged.jsonl", "state", 1).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("does not hold") || said.contains("none of its checkpoints holds"), "{context}: {said}");
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(4), "{context}: {said}");
            let mut anew = case.saving("damaged.jsonl", "state", 1);
            anew.args(["--restore", "none"]);
            succeed(anew);
        }
        case.compare("damaged.jsonl", true, &context);
    }
}

#[test]
fn nothing_is_continued_when_no_checkpoint_holds() {
    let case = killed_run();
    files(&case, "checkpoints").iter().for_each(|path| fs::write(path, b"").unwrap());
    let output = case.saving("damaged.jsonl", "state", 1).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let mut anew = case.saving("damaged.jsonl", "state", 1);
    anew.args(["--restore", "none"]);
    succeed(anew);
    case.compare("damaged.jsonl", true, "begun anew");
}
