//! Damaged checkpoints: whatever is cut off or changed is seen, the checkpoint before is used, and what is
//! written in the end is right.

use std::fs;
use std::path::PathBuf;

use super::{Case, Random, succeed, varpulis};

const ROWS: u64 = 4_000;
/// Where a file is cut.
const CUT_BYTES: usize = 4096;
const FLIPS: u64 = 1000;

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

/// A run that is killed with two checkpoints behind it.
fn killed_run() -> Case {
    let case = Case::new(ROWS, 11);
    // Under chaos checkpoints follow each other closely. The second record is
    // written, which may be the last, and then the process dies.
    let mut command = case.saving("damaged.jsonl", "state", 2);
    let status = command.args(["--chaos", "3"]).env("VARPULIS_FAIL", "checkpoint.committed=crash@2").status();
    assert!(!status.unwrap().success());
    assert!(files(&case, "checkpoints").len() > 1);
    case
}

#[test]
fn damage_is_seen_and_the_checkpoint_before_is_used() {
    let case = killed_run();
    assert!(verifies(&case));
    let newest = |kind: &str| files(&case, kind).pop().unwrap();
    let mut random = Random(11);
    for path in [newest("checkpoints"), newest("segments")] {
        let whole = fs::read(&path).unwrap();
        let cuts = (0..whole.len()).step_by(CUT_BYTES).map(|length| whole[..length].to_vec());
        let flips = (0..FLIPS / 50).map(|_| {
            let (mut damaged, bit) = (whole.clone(), random.below(whole.len() as u64 * 8));
            damaged[(bit / 8) as usize] ^= 1 << (bit % 8);
            damaged
        });
        for damaged in cuts.chain(flips) {
            fs::write(&path, damaged).unwrap();
            assert!(!verifies(&case), "{}", path.display());
        }
        fs::write(&path, whole).unwrap();
    }
    // What the newest checkpoint stands on is gone: the one before is as good.
    let newest = newest("checkpoints");
    fs::write(&newest, b"").unwrap();
    let output = case.saving("damaged.jsonl", "state", 1).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("does not hold"), "{said}");
    case.compare("damaged.jsonl", true, "after damage");
}

#[test]
fn nothing_is_continued_when_no_checkpoint_holds() {
    let case = killed_run();
    files(&case, "checkpoints").iter().for_each(|path| fs::write(path, b"").unwrap());
    let output = case.saving("damaged.jsonl", "state", 1).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let mut anew = case.saving("damaged.jsonl", "state", 1);
    anew.args(["--restore", "none"]);
    succeed(anew);
    case.compare("damaged.jsonl", true, "begun anew");
}
