//! Outputs that are written in parts, one for each epoch with rows: a folder of whole files, each of which
//! appears when the checkpoint is committed that its rows belong to.
//!
//! ```text
//! out.parquet/part-000001.parquet        shown: its checkpoint was committed
//! out.parquet/.part-000002.parquet.tmp   written, or being written
//! ```
//!
//! The steps, and what a crash between them leaves:
//!
//! 1. A part is written under its temporary name. A restart removes it.
//! 2. The epoch ends: the part is completed, synced, and its temporary name with it. The same.
//! 3. The checkpoint's record is written, which counts the parts and names those not yet shown, with length
//!    and checksum. From here on the part is output: a restart does what is left of 4.
//! 4. The part is renamed, and its folder synced.
//!
//! Going back to a checkpoint removes parts that were shown after it. A part that the checkpoint counts and
//! that has gone is told but is no error, because it is natural to move parts away once they are
//! whole; one that has changed is an error as long as the record knows its checksum.
//!
//! The parts of several processes lie in one folder under different names; each process sees to its own,
//! and the first to those of processes that write no more.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::part::{PartFile, Written, sync_folder};
use super::{Mark, Records, SinkError};
use crate::connector::paths::{extension, split_compression};
use crate::connector::position::{PartRecord, SinkRecord};
use crate::failpoint::hit;

/// The parts of one output that this process writes.
pub(super) struct Series {
    path: String,
    suffix: String,
    process: usize,
    /// What was completed, whether or not it is shown.
    parts: u64,
    bytes: u64,
    /// Parts that may not be shown yet.
    hidden: Vec<Arc<Part>>,
}

/// A completed part on its way to its name.
pub(super) struct Part {
    record: PartRecord,
    file: Arc<File>,
    folder: PathBuf,
    temporary: PathBuf,
    path: PathBuf,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Written,
    Synced,
    Renamed,
    Shown,
}

/// What the name of a file in the folder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    process: usize,
    number: u64,
    temporary: bool,
}

impl Series {
    /// Opens the folder and removes parts that no record counts.
    pub(super) fn open(path: &str, records: &Records) -> Result<Series, SinkError> {
        let suffix = suffix_of(path)?;
        if Path::new(path).is_file() {
            return Err(SinkError::PartsInFile { path: path.to_string() });
        }
        let failed = |e| SinkError::io(path, e);
        if !Path::new(path).is_dir() {
            fs::create_dir_all(path).map_err(failed)?;
            sync_folder(Path::new(path).parent().unwrap_or(Path::new("/"))).map_err(failed)?;
        }
        sweep(path, &suffix, records).map_err(failed)?;
        let record = records.own(path).cloned().unwrap_or_default();
        let (parts, bytes) = (record.parts, record.bytes);
        Ok(Series { path: path.to_string(), suffix, process: records.process, parts, bytes, hidden: Vec::new() })
    }

    /// Begins the next part.
    pub(super) fn begin(&self) -> io::Result<PartFile> {
        hit("sink.part.create")?;
        let name = Name { process: self.process, number: self.parts + 1, temporary: false };
        let text = |name: Name| name.in_folder(&self.path, &self.suffix).to_string_lossy().into_owned();
        PartFile::create_as(text(Name { temporary: true, ..name }), text(name))
    }

    /// Takes the part that was begun last, completed.
    pub(super) fn end(&mut self, part: PartFile) {
        self.parts += 1;
        self.bytes += part.written.bytes;
        let name = Name { process: self.process, number: self.parts, temporary: false };
        let record = PartRecord { number: self.parts, bytes: part.written.bytes, checksum: part.written.checksum() };
        self.hidden.push(Arc::new(Part {
            record,
            file: part.file.clone(),
            folder: PathBuf::from(&self.path),
            temporary: Name { temporary: true, ..name }.in_folder(&self.path, &self.suffix),
            path: name.in_folder(&self.path, &self.suffix),
            stage: Mutex::new(Stage::Written),
        }));
        part.leave();
    }

    /// What was completed so far.
    pub(super) fn mark(&mut self) -> Mark {
        self.hidden.retain(|part| part.stage() < Stage::Shown);
        let hidden = self.hidden.iter().map(|part| part.record.clone()).collect();
        let record = SinkRecord { bytes: self.bytes, parts: self.parts, hidden, ..SinkRecord::default() };
        Mark::of_parts(self.path.clone(), record, self.hidden.clone())
    }
}

impl Part {
    fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Makes parts durable under their temporary names.
    pub(super) fn sync(parts: &[Arc<Part>]) -> io::Result<()> {
        let written: Vec<&Arc<Part>> = parts.iter().filter(|p| p.stage() < Stage::Synced).collect();
        for part in &written {
            hit("sink.part.sync")?;
            part.file.sync_all()?;
        }
        if let Some(part) = written.first() {
            hit("sink.part.folder")?;
            sync_folder(&part.folder)?;
        }
        written.iter().for_each(|part| part.reach(Stage::Synced));
        Ok(())
    }

    /// Gives parts their names.
    pub(super) fn show(parts: &[Arc<Part>]) -> io::Result<()> {
        for part in parts.iter().filter(|p| p.stage() < Stage::Renamed) {
            hit("sink.part.rename")?;
            fs::rename(&part.temporary, &part.path)?;
            part.reach(Stage::Renamed);
        }
        let renamed: Vec<&Arc<Part>> = parts.iter().filter(|p| p.stage() < Stage::Shown).collect();
        if let Some(part) = renamed.first() {
            hit("sink.part.renamed")?;
            sync_folder(&part.folder)?;
        }
        renamed.iter().for_each(|part| part.reach(Stage::Shown));
        Ok(())
    }
}

impl Name {
    fn in_folder(self, folder: &str, suffix: &str) -> PathBuf {
        let process = if self.process == 0 { String::new() } else { format!("-p{}", self.process) };
        let name = format!("part-{:06}{process}.{suffix}", self.number);
        Path::new(folder).join(if self.temporary { format!(".{name}.tmp") } else { name })
    }

    /// `None` for what no series has written.
    fn parse(name: &str, suffix: &str) -> Option<Name> {
        let hidden = name.strip_prefix('.').and_then(|n| n.strip_suffix(".tmp"));
        let stem = hidden.unwrap_or(name).strip_prefix("part-")?.strip_suffix(suffix)?.strip_suffix('.')?;
        let (number, process) = stem.split_once("-p").map_or((stem, Some(0)), |(n, p)| (n, p.parse().ok()));
        let parsed = Name { process: process?, number: number.parse().ok()?, temporary: hidden.is_some() };
        // Nothing is removed but what was written under exactly that name.
        let own = parsed.in_folder("", suffix);
        (own.as_os_str() == name).then_some(parsed)
    }
}

/// What comes after the name of a part: the format's extension and that of the compression.
fn suffix_of(path: &str) -> Result<String, SinkError> {
    let (stem, _) = split_compression(path);
    let Some(format) = extension(stem) else { return Err(SinkError::NamelessParts { path: path.to_string() }) };
    Ok(match extension(path) {
        Some(compression) if stem.len() < path.len() => format!("{format}.{compression}"),
        Some(_) | None => format,
    })
}

fn names(folder: &str, suffix: &str) -> io::Result<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().to_str().and_then(|name| Name::parse(name, suffix)));
    }
    Ok(names)
}

/// Removes what is not counted: parts of epochs after the checkpoint, and temporary ones.
fn sweep(path: &str, suffix: &str, records: &Records) -> io::Result<()> {
    let mut removed = false;
    for name in names(path, suffix)? {
        let counted = records.of(name.process, path).map_or(0, |r| r.parts);
        if records.cares_for(name.process) && (name.temporary || name.number > counted) {
            hit("sink.part.remove")?;
            fs::remove_file(name.in_folder(path, suffix))?;
            removed = true;
        }
    }
    if removed { sync_folder(Path::new(path)) } else { Ok(()) }
}

/// Shows the parts that a committed checkpoint has and that were not shown any more, wherever `records`
/// leads. What the user is to know: parts that have gone.
pub(super) fn complete(records: &Records) -> Result<Vec<String>, SinkError> {
    let mut notes = Vec::new();
    for ((process, path), record) in &records.by_process {
        if record.parts == 0 || !records.cares_for(*process) {
            continue;
        }
        let suffix = suffix_of(path)?;
        for part in &record.hidden {
            show_again(path, &suffix, *process, part)?;
        }
        let there = match names(path, &suffix) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            there => there.map_err(|e| SinkError::io(path, e))?,
        };
        let is_there = |number: &u64| there.contains(&Name { process: *process, number: *number, temporary: false });
        let gone = (1..=record.parts).filter(|number| !is_there(number)).count();
        if gone > 0 {
            notes.push(format!("{path}: {gone} of {} parts are not there any more", record.parts));
        }
    }
    Ok(notes)
}

/// Renames a part, if that is still to be done. It is looked at first: neither name says that its content
/// is the one that the record means.
fn show_again(folder: &str, suffix: &str, process: usize, part: &PartRecord) -> Result<(), SinkError> {
    let shown = Name { process, number: part.number, temporary: false }.in_folder(folder, suffix);
    let hidden = Name { process, number: part.number, temporary: true }.in_folder(folder, suffix);
    let failed = |e| SinkError::io(folder, e);
    let Some(found) = [&shown, &hidden].into_iter().find(|p| p.exists()) else { return Ok(()) };
    let mut file = File::open(found).map_err(failed)?;
    let written = Written::of(&mut file, u64::MAX).map_err(failed)?;
    if (written.bytes, written.checksum()) != (part.bytes, part.checksum) {
        return Err(SinkError::PartChanged { path: found.display().to_string() });
    }
    if *found == hidden {
        hit("sink.part.complete").and_then(|()| fs::rename(&hidden, &shown)).map_err(failed)?;
    }
    // The crash may have been between the rename and its becoming durable.
    sync_folder(Path::new(folder)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A folder of parts, and the records that a checkpoint over it would have.
    struct Bench {
        dir: tempfile::TempDir,
        records: Records,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { dir: tempfile::tempdir().unwrap(), records: Records { writers: 1, ..Records::default() } }
        }

        fn path(&self) -> String {
            self.dir.path().join("out.csv.gz").to_str().unwrap().to_string()
        }

        fn open(&self) -> Series {
            self.records.complete().unwrap();
            Series::open(&self.path(), &self.records).unwrap()
        }

        fn commit(&mut self, mark: &Mark) {
            self.records.by_process.insert((self.records.process, mark.path.clone()), mark.record.clone());
        }

        /// What a reader sees, by name, and everything else.
        fn seen(&self) -> (Vec<String>, usize) {
            let entries = fs::read_dir(self.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            let (mut shown, hidden): (Vec<_>, Vec<_>) = entries.partition(|name| !name.starts_with('.'));
            shown.sort();
            (shown, hidden.len())
        }
    }

    fn write_part(series: &mut Series, text: &str) {
        let mut part = series.begin().unwrap();
        part.write_all(text.as_bytes()).unwrap();
        series.end(part);
    }

    fn first(n: u64) -> Vec<String> {
        (1..=n).map(|n| format!("part-{n:06}.csv.gz")).collect()
    }

    /// Whatever step a run dies after, a restart shows what was committed and nothing else.
    #[test]
    fn what_is_committed_is_shown() {
        for steps in 0..=4 {
            let mut bench = Bench::new();
            let mut series = bench.open();
            write_part(&mut series, "one");
            let mark = series.mark();
            mark.sync().unwrap();
            bench.commit(&mark);
            mark.show().unwrap();
            assert_eq!(bench.seen(), (first(1), 0));
            let committed = {
                let part = series.begin().unwrap();
                if steps > 0 {
                    series.end(part);
                } else {
                    // Killed, it stays.
                    part.leave();
                }
                let mark = series.mark();
                if steps > 1 {
                    mark.sync().unwrap();
                }
                assert_eq!(bench.seen(), (first(1), 1), "not before its checkpoint");
                if steps > 2 {
                    bench.commit(&mark);
                }
                if steps > 3 {
                    mark.show().unwrap();
                }
                steps > 2
            };
            let count = 1 + u64::from(committed);
            let mut series = bench.open();
            assert_eq!(bench.seen(), (first(count), 0), "after {steps} steps");
            write_part(&mut series, "next");
            let mark = series.mark();
            assert_eq!(mark.record.parts, count + 1);
            mark.sync().unwrap();
            mark.show().unwrap();
            assert_eq!(bench.seen(), (first(count + 1), 0));
        }
    }

    #[test]
    fn an_epoch_that_was_given_up_is_shown_with_the_next() {
        let mut bench = Bench::new();
        let mut series = bench.open();
        write_part(&mut series, "one");
        series.mark().sync().unwrap();
        write_part(&mut series, "two");
        let mark = series.mark();
        mark.sync().unwrap();
        assert_eq!((mark.record.parts, mark.record.bytes, mark.record.hidden.len()), (2, 6, 2));
        bench.commit(&mark);
        drop(bench.open());
        assert_eq!(bench.seen(), (first(2), 0));
    }

    #[test]
    fn going_back_removes_what_came_after() {
        let mut bench = Bench::new();
        let mut series = bench.open();
        for number in 1..=3 {
            write_part(&mut series, "x");
            let mark = series.mark();
            if number == 1 {
                bench.commit(&mark);
            }
            mark.sync().unwrap();
            mark.show().unwrap();
        }
        fs::write(format!("{}/part-7.csv.gz", bench.path()), "somebody else's").unwrap();
        drop(bench.open());
        let mut left = first(1);
        left.push("part-7.csv.gz".to_string());
        assert_eq!(bench.seen(), (left, 0));
    }

    #[test]
    fn each_process_sees_to_its_own_parts() {
        let mut bench = Bench::new();
        for process in [0, 1] {
            bench.records = Records { process, writers: 2, ..bench.records };
            let mut series = bench.open();
            write_part(&mut series, "x");
            let mark = series.mark();
            mark.sync().unwrap();
            bench.commit(&mark);
            write_part(&mut series, "not committed");
        }
        // The second process writes no more: the first shows and removes what it has left.
        bench.records = Records { process: 0, writers: 1, ..bench.records };
        drop(bench.open());
        assert_eq!(bench.seen(), (vec!["part-000001-p1.csv.gz".to_string(), first(1).remove(0)], 0));
    }

    #[test]
    fn other_content_is_no_part_of_the_checkpoint() {
        let mut bench = Bench::new();
        let mut series = bench.open();
        write_part(&mut series, "one");
        let mark = series.mark();
        bench.commit(&mark);
        mark.sync().unwrap();
        mark.show().unwrap();
        let part = format!("{}/part-000001.csv.gz", bench.path());
        fs::write(&part, "two").unwrap();
        assert!(matches!(bench.records.complete(), Err(SinkError::PartChanged { .. })));
        // To move it away is everybody's right.
        fs::remove_file(&part).unwrap();
        assert_eq!(bench.records.complete().unwrap().len(), 1);
    }

    #[test]
    fn names_are_those_of_parts_and_no_others() {
        for (name, process, temporary) in
            [("part-000012.jsonl", 0, false), (".part-000012.jsonl.tmp", 0, true), ("part-000012-p3.jsonl", 3, false)]
        {
            assert_eq!(Name::parse(name, "jsonl"), Some(Name { process, number: 12, temporary }));
        }
        for other in ["part-12.jsonl", "part-000012.csv", "part-000012.jsonl.tmp", "part-000012-p0.jsonl", "x.jsonl"] {
            assert_eq!(Name::parse(other, "jsonl"), None, "{other}");
        }
        assert_eq!(suffix_of("a.b/out.CSV.gz").unwrap(), "csv.gz");
        assert!(matches!(suffix_of("a.b/out.gz"), Err(SinkError::NamelessParts { .. })));
    }
}
