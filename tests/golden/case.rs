//! What a case is made of: a program, the directives in its first comment lines, and the files beside it.
//!
//! | file | meaning |
//! |---|---|
//! | `<case>.vpl` | the program, after its directives |
//! | `<case>.<ext>` | an input, given as `-i <case>.<ext>` |
//! | `<case>.<Type>.<ext>` | an input of one type, given as `-i <Type>=…`; `<case>.<Type>.<n>.<ext>` are several, in order |
//! | `<case>.stdin` | fed to standard input |
//! | `<case>.out` | expected standard output, then the files that the run left in `{tmp}`; not there if there is none |
//! | `<case>.stderr` | expected standard error, where it is compared |
//! | `<case>.inc` | anything else that the program or the arguments name |
//!
//! Input extensions are `jsonl csv tsv evt parquet arrow`, each also with `.gz` or `.zst`. Directives are
//! lines `# name: value` at the top of the program:
//!
//! | directive | meaning |
//! |---|---|
//! | `command` | what to run instead of the topic's default (`run`; `check` in the topics `check` and `syntax`) |
//! | `program` | a program elsewhere to run instead of this file, which then holds directives alone |
//! | `args` | further arguments, separated by spaces; `{tmp}` is a fresh directory |
//! | `exit` | expected exit code, default 0 |
//! | `stats` | JSON pointers into `--stats json` to compare, separated by spaces; they follow the output |
//! | `runs` | `one`: a single run instead of the matrix, where the program itself asks for a clock |
//!
//! The working directory is the topic's, so that paths in arguments and messages are short.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const INPUT_EXTENSIONS: [&str; 6] = ["jsonl", "csv", "tsv", "evt", "parquet", "arrow"];
const OTHER_EXTENSIONS: [&str; 5] = ["vpl", "out", "stderr", "stdin", "inc"];

/// A program with all that decides how it is run and judged.
#[derive(Debug)]
pub struct Case {
    pub dir: PathBuf,
    pub topic: String,
    pub stem: String,
    /// The program's path from the topic's directory.
    pub program: String,
    /// Subcommand words, such as `explain --stage ast`.
    pub command: Vec<String>,
    pub args: Vec<String>,
    /// `-i` arguments from the files beside the program.
    pub inputs: Vec<String>,
    pub exit: i32,
    pub stats: Vec<String>,
    pub one_run: bool,
}

impl Case {
    pub fn name(&self) -> String {
        format!("{}/{}", self.topic, self.stem)
    }

    /// The path of a neighbour, `<stem>.<extension>`.
    pub fn file(&self, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", self.stem))
    }

    /// Whether the case runs its program, so that the matrix applies.
    pub fn runs_program(&self) -> bool {
        self.command[0] == "run"
    }
}

/// All cases below `root`, sorted by name.
pub fn discover(root: &Path) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for topic in subdirectories(root) {
        let names = file_names(&topic);
        for name in &names {
            if let Some(stem) = name.strip_suffix(".vpl") {
                cases.push(read_case(&topic, stem, &names)?);
            }
        }
    }
    Ok(cases)
}

/// Files below `root` that belong to no case, whose extension means nothing, or that expect what a case without them
/// does, and that rewriting the expected files would delete.
pub fn strays(root: &Path) -> Result<Vec<String>, String> {
    let mut strays = Vec::new();
    for topic in subdirectories(root) {
        let names = file_names(&topic);
        for name in &names {
            let parts: Vec<&str> = name.split('.').collect();
            let known =
                parts.len() > 1 && (is_input(&parts[1..]) || OTHER_EXTENSIONS.contains(&parts[parts.len() - 1]));
            let is_empty = || fs::metadata(topic.join(name)).is_ok_and(|file| file.len() == 0);
            let is_needless = name.ends_with(".out") && is_empty();
            if !known || is_needless || !names.contains(&format!("{}.vpl", parts[0])) {
                strays.push(topic.join(name).display().to_string());
            }
        }
    }
    Ok(strays)
}

fn subdirectories(root: &Path) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    dirs
}

fn file_names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn read_case(dir: &Path, stem: &str, names: &BTreeSet<String>) -> Result<Case, String> {
    let topic = dir.file_name().unwrap().to_str().unwrap().to_string();
    let source = fs::read(dir.join(format!("{stem}.vpl"))).map_err(|e| format!("{topic}/{stem}: {e}"))?;
    let source = String::from_utf8_lossy(&source).into_owned();
    let default_command = if matches!(topic.as_str(), "check" | "syntax") { "check" } else { "run" };
    let mut case = Case {
        dir: dir.to_path_buf(),
        program: format!("{stem}.vpl"),
        inputs: input_arguments(stem, names),
        topic,
        stem: stem.to_string(),
        command: vec![default_command.to_string()],
        args: Vec::new(),
        exit: 0,
        stats: Vec::new(),
        one_run: false,
    };
    for line in source.lines() {
        let Some((name, value)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(": ")) else { break };
        // A sentence with a colon in it is a comment.
        if !name.bytes().all(|b| b.is_ascii_lowercase()) {
            break;
        }
        let words = || value.split_whitespace().map(String::from).collect::<Vec<_>>();
        match name {
            "command" => case.command = words(),
            "program" => case.program = value.trim().to_string(),
            "args" => case.args = words(),
            "exit" => case.exit = value.trim().parse().map_err(|_| format!("{}: `exit: {value}`", case.name()))?,
            "stats" => case.stats = words(),
            "runs" if value.trim() == "one" => case.one_run = true,
            _ => return Err(format!("{}: unknown directive `{name}: {value}`", case.name())),
        }
    }
    Ok(case)
}

fn input_arguments(stem: &str, names: &BTreeSet<String>) -> Vec<String> {
    let mut arguments = Vec::new();
    for name in names {
        let parts: Vec<&str> = name.split('.').collect();
        if parts[0] == stem && is_input(&parts[1..]) {
            let ty = parts[1..].first().filter(|part| part.starts_with(|c: char| c.is_ascii_uppercase()));
            arguments.push("-i".to_string());
            arguments.push(ty.map_or(name.clone(), |ty| format!("{ty}={name}")));
        }
    }
    arguments
}

fn is_input(extensions: &[&str]) -> bool {
    let extensions = match extensions {
        [rest @ .., "gz" | "zst"] => rest,
        all => all,
    };
    extensions.last().is_some_and(|ext| INPUT_EXTENSIONS.contains(ext))
}
