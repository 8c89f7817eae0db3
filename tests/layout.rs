//! The shape of the source tree, checked: which module may use which, what each file says of itself, and
//! how large things may grow.
//!
//! A rule that is broken names the file and line. Loosening one is a decision for `docs/adr/`, not for
//! the change that ran into it.

use std::fs;
use std::path::{Path, PathBuf};

/// Dependencies point down: each module with those that it may use. `failpoint` stands below all and may be
/// used by whatever writes.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("failpoint", &[]),
    ("data", &[]),
    ("diagnostic", &["data"]),
    ("expr", &["data"]),
    ("syntax", &["data", "diagnostic"]),
    ("state", &["failpoint", "data", "expr", "connector"]),
    ("connector", &["failpoint", "data", "expr"]),
    ("checkpoint", &["failpoint", "data", "state", "connector"]),
    ("persistence", &["state", "checkpoint"]),
    ("pattern", &["data", "expr"]),
    ("join", &["data", "expr"]),
    ("sema", &["data", "diagnostic", "syntax", "expr", "pattern", "join", "state", "connector"]),
    ("plan", &["data", "diagnostic", "syntax", "expr", "pattern", "join", "state", "connector", "sema"]),
    ("compile", &["data", "diagnostic", "syntax", "expr", "pattern", "join", "connector", "sema", "plan"]),
    ("dataflow", &["failpoint", "data", "expr", "pattern", "join", "state", "checkpoint", "connector", "plan"]),
    (
        "runtime",
        &[
            "data",
            "diagnostic",
            "syntax",
            "expr",
            "state",
            "connector",
            "sema",
            "plan",
            "compile",
            "dataflow",
            "checkpoint",
        ],
    ),
    (
        "cli",
        &[
            "data",
            "diagnostic",
            "syntax",
            "expr",
            "state",
            "connector",
            "checkpoint",
            "sema",
            "plan",
            "compile",
            "checkpoint",
            "dataflow",
            "runtime",
        ],
    ),
];

/// Crates that only one module may know.
const OWNED_CRATES: [(&str, &str); 4] =
    [("pest", "syntax"), ("timely", "dataflow"), ("differential_dataflow", "dataflow"), ("clap", "cli")];

/// Crates that only one file and the folder beside it may know, so that another could take their place.
const OWNED_BY_A_FILE: [(&str, &str); 2] =
    [("rocksdb", "src/state/store/rocksdb"), ("object_store", "src/state/store/object")];

const FILE_LINES_MAX: usize = 600;
/// Files that may be longer, each with its reason.
const LONG_FILES: [(&str, &str); 0] = [];

const FUNCTION_LINES_MAX: usize = 70;
/// How many functions are longer today. The number only goes down.
const LONG_FUNCTIONS_MAX: usize = 0;

/// Places that are still open, and files that say nothing of themselves, while the first modules are being
/// written. The numbers only go down.
const LEFT_OPEN_MAX: usize = 0;
const SILENT_FILES_MAX: usize = 0;

struct Source {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The top-level module that owns the file; `None` for `main.rs`, `lib.rs` and files outside `src`.
    fn module(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("src/")?;
        let module = inner.split('/').next()?.trim_end_matches(".rs");
        (!matches!(module, "lib" | "main" | "bin")).then_some(module)
    }

    /// Lines with their numbers, comments and the contents of strings taken out.
    fn code(&self) -> Vec<(usize, String)> {
        let mut in_string = false;
        self.text.lines().enumerate().map(|(i, line)| (i + 1, strip(line, &mut in_string))).collect()
    }
}

/// Takes comments, strings and character literals out of a line. Raw strings count as strings; those
/// with quotes inside are rare enough that a file which breaks this would say so at once.
fn strip(line: &str, in_string: &mut bool) -> String {
    let mut out = String::new();
    let chars: Vec<char> = line.chars().collect();
    let mut i = 0;
    while i < chars.len() {
        let rest = &chars[i..];
        match rest {
            ['\\', ..] if *in_string => i += 1,
            ['"', ..] => *in_string = !*in_string,
            _ if *in_string => {}
            ['/', '/', ..] => break,
            ['\'', '\\', _, '\'', ..] => i += 3,
            ['\'', _, '\'', ..] => i += 2,
            ['b' | 'r', '"', ..] | ['r', '#', '"', ..] => {}
            _ => out.push(chars[i]),
        }
        i += 1;
    }
    out
}

fn sources(roots: &[&str]) -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = roots.iter().map(|root| top.join(root)).filter(|path| path.exists()).collect();
    let mut sources = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let relative = path.strip_prefix(top).unwrap().to_str().unwrap().replace('\\', "/");
            sources.push(Source { path: relative, text: fs::read_to_string(&path).unwrap() });
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!sources.is_empty());
    sources
}

fn report(broken: Vec<String>) {
    report_above(0, broken);
}

fn report_above(allowed: usize, broken: Vec<String>) {
    assert!(broken.len() <= allowed, "{} broken, {allowed} allowed:\n{}", broken.len(), broken.join("\n"));
}

/// The identifiers that follow `prefix` in a line of code.
fn after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).filter_map(move |(at, _)| {
        let standing_alone = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name = line[at + prefix.len()..].split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        (standing_alone && !name.is_empty()).then_some(name)
    })
}

#[test]
fn dependencies_point_down() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let Some(module) = source.module() else { continue };
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{}: module `{module}` is not in the table", source.path));
            continue;
        };
        for (number, line) in source.code() {
            for used in after(&line, "crate::") {
                let known = MAY_USE.iter().any(|(name, _)| *name == used);
                if known && used != module && !allowed.contains(&used) {
                    broken.push(format!("{}:{number}: `{module}` may not use `{used}`", source.path));
                }
            }
        }
    }
    report(broken);
}

/// Whether a line names a crate; a path that only ends in the same word does not.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = &line[at + name.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            && (rest.starts_with("::") || rest.starts_with("_derive::"))
    })
}

#[test]
fn foreign_crates_stay_with_their_owner() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        for (number, line) in source.code() {
            for (name, owner) in OWNED_CRATES {
                if names_crate(&line, name) && source.module() != Some(owner) {
                    broken.push(format!("{}:{number}: only `{owner}` may use `{name}`", source.path));
                }
            }
            for (name, owner) in OWNED_BY_A_FILE {
                // A module of the same name is another thing, and re-exported.
                let is_module = line.trim_start().starts_with("pub use");
                let is_owner = source.path.strip_prefix(owner).is_some_and(|rest| rest.starts_with(['.', '/']));
                if names_crate(&line, name) && !is_module && !is_owner {
                    broken.push(format!("{}:{number}: only {owner}.rs may use `{name}`", source.path));
                }
            }
        }
    }
    report(broken);
}

#[test]
fn every_fail_point_stands_in_one_place() {
    let all = sources(&["src"]);
    let mut broken = Vec::new();
    for point in varpulis_runtime::failpoint::POINTS {
        let hit = format!("hit(\"{point}\")");
        let here = |source: &&Source| !source.path.contains("/tests") && source.path != "src/failpoint.rs";
        let places: usize = all.iter().filter(here).map(|source| source.text.matches(&hit).count()).sum();
        if places != 1 {
            broken.push(format!("{point}: {places} places"));
        }
    }
    report(broken);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources(&["src", "tests", "benches"]).into_iter().filter(|source| !source.text.starts_with("//!"));
    report_above(SILENT_FILES_MAX, silent.map(|source| format!("{}: does not open with `//!`", source.path)).collect());
}

#[test]
fn files_stay_short() {
    let mut broken = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX && !LONG_FILES.iter().any(|(path, _)| *path == source.path) {
            broken.push(format!("{}: {lines} lines, more than {FILE_LINES_MAX}", source.path));
        }
    }
    report(broken);
}

#[test]
fn functions_fit_a_screen() {
    let mut long = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (name, start, lines) in functions(&source.code()) {
            if lines > FUNCTION_LINES_MAX {
                long.push(format!("{}:{start}: `{name}` has {lines} lines", source.path));
            }
        }
    }
    report_above(LONG_FUNCTIONS_MAX, long);
}

/// Name, first line and length of each function that has a body.
fn functions(code: &[(usize, String)]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    // Open functions with the depth of their body; `None` until its brace is seen.
    let mut open: Vec<(String, usize, Option<usize>)> = Vec::new();
    let (mut depth, mut brackets) = (0usize, 0usize);
    for (number, line) in code {
        let declared = after(line, "fn ").next().map(|name| (line.find("fn ").unwrap(), name.to_string()));
        for (at, c) in line.char_indices() {
            if let Some((column, name)) = &declared
                && at == *column
            {
                open.push((name.clone(), *number, None));
            }
            match c {
                '{' => {
                    depth += 1;
                    if let Some(last) = open.last_mut()
                        && last.2.is_none()
                    {
                        last.2 = Some(depth);
                    }
                }
                '}' => {
                    if open.last().is_some_and(|last| last.2 == Some(depth)) {
                        let (name, start, _) = open.pop().unwrap();
                        found.push((name, start, number - start + 1));
                    }
                    depth = depth.saturating_sub(1);
                }
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                // A declaration without a body, in a trait; not the `;` of an array's type.
                ';' if brackets == 0 && open.last().is_some_and(|last| last.2.is_none()) => {
                    open.pop();
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn nothing_is_left_open() {
    let banned = ["todo!", "unimplemented!", "dbg!", "allow(dead_code)", "allow(unused"];
    let mut broken = Vec::new();
    for source in sources(&["src", "benches"]) {
        for (number, line) in source.code() {
            for word in banned {
                if line.contains(word) {
                    broken.push(format!("{}:{number}: `{word}`", source.path));
                }
            }
        }
    }
    report_above(LEFT_OPEN_MAX, broken);
}
