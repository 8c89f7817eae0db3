//! The examples of the documents and the README, run: what the documentation shows is what a reader gets.
//!
//! A fenced block whose info string begins with `vpl` is a program. The blocks after it, up to the next
//! program, belong to it:
//!
//! | info string | meaning |
//! |---|---|
//! | `vpl` | a program that must pass `check`, and run where there is an `output` |
//! | `vpl error` | a program that `check` rejects |
//! | `jsonl Type`, `csv Type`, `evt Type`, … | an input of the type |
//! | `jsonl`, `evt` | an input of several types |
//! | `jsonl name.jsonl`, … | a file that the program names itself |
//! | `output` | standard output of a run, as the reader sees it |
//! | `message` | text that `check` prints for a rejected program, or part of it |

use std::fs;
use std::path::Path;

use crate::diff;
use crate::process;

const DOCUMENTS: [&str; 6] =
    ["docs/joins.md", "docs/language.md", "docs/patterns.md", "docs/state.md", "docs/tables.md", "README.md"];

/// The list that `varpulis functions` prints, as a document.
const FUNCTIONS: &str = "docs/functions.md";

/// Compares the document of functions with what the binary prints, or writes it.
pub fn check_functions(root: &Path, update: bool) -> Result<(), String> {
    let printed = process::run(root, &["functions".to_string()], None)?;
    let intro = "# Functions and aggregates\n\nWhat `varpulis functions` prints.\n";
    let wanted = format!("{intro}\n```text\n{}```\n", String::from_utf8_lossy(&printed.stdout));
    let path = root.join(FUNCTIONS);
    if update {
        return fs::write(&path, wanted).map_err(|error| error.to_string());
    }
    let found = fs::read_to_string(&path).map_err(|error| format!("{FUNCTIONS}: {error}"))?;
    let differs =
        |text| Err(format!("{FUNCTIONS} is not what the binary prints (UPDATE_GOLDEN=1 rewrites it)\n{text}"));
    diff::unified(&found, &wanted).map_or(Ok(()), differs)
}

/// One program of the document with what belongs to it.
#[derive(Debug, Default)]
pub struct Example {
    /// The document, and the line where the program's block begins.
    place: String,
    program: String,
    rejected: bool,
    /// (extension, type or file name, text)
    inputs: Vec<(String, String, String)>,
    output: Option<String>,
    message: Option<String>,
}

/// The examples of all documents below the repository's root.
pub fn examples(root: &Path) -> Vec<Example> {
    let examples_of = |document: &&str| {
        let path = root.join(document);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let examples = read_examples(document, &text);
        assert!(!examples.is_empty(), "{document} has no examples");
        examples
    };
    DOCUMENTS.iter().flat_map(examples_of).collect()
}

fn read_examples(document: &str, text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for (line, info, body) in blocks(text) {
        let words: Vec<&str> = info.split_whitespace().collect();
        let place = format!("{document}:{line}");
        match words[..] {
            ["vpl"] | ["vpl", "error"] => {
                examples.push(Example { place, program: body, rejected: words.len() == 2, ..Example::default() });
            }
            [] | ["sh"] | ["text"] => {}
            [kind, ref rest @ ..] => {
                let example = examples.last_mut().unwrap_or_else(|| panic!("{place}: `{kind}` before any program"));
                match (kind, rest) {
                    ("output", []) => example.output = Some(body),
                    ("message", []) => example.message = Some(body),
                    ("jsonl" | "evt", []) => example.inputs.push((kind.to_string(), String::new(), body)),
                    (extension, [ty]) => example.inputs.push((extension.to_string(), ty.to_string(), body)),
                    _ => panic!("{place}: unknown block `{info}`"),
                }
            }
        }
    }
    examples
}

/// Fenced blocks: line number, info string, text.
fn blocks(text: &str) -> Vec<(usize, String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for (i, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some((i + 1, info.trim().to_string(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, _, body))) => body.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Checks and runs one example.
pub fn run(example: &Example) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let place = &example.place;
    fs::write(dir.path().join("q.vpl"), &example.program).map_err(|error| error.to_string())?;
    let mut inputs = Vec::new();
    for (extension, ty, text) in &example.inputs {
        let named_by_program = ty.contains('.');
        let name = match ty.as_str() {
            "" => format!("rows.{extension}"),
            name if named_by_program => name.to_string(),
            ty => format!("{}.{extension}", ty.to_lowercase()),
        };
        fs::write(dir.path().join(&name), text).map_err(|error| error.to_string())?;
        if !named_by_program {
            inputs.extend(["-i".to_string(), if ty.is_empty() { name } else { format!("{ty}={name}") }]);
        }
    }
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).chain(inputs.clone()).collect::<Vec<_>>();

    let checked = process::run(dir.path(), &words(&["check", "q.vpl"]), None)?;
    let messages = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    let expected_exit = if example.rejected { 2 } else { 0 };
    if checked.exit != Some(expected_exit) {
        return Err(format!("{place}: check gave {:?}, not {expected_exit}\n{messages}", checked.exit));
    }
    if let Some(message) = &example.message
        && !messages.contains(message.trim_end())
    {
        return Err(format!("{place}: check does not print\n{message}\nbut\n{messages}"));
    }
    let Some(expected) = &example.output else { return Ok(()) };
    let ran = process::run(dir.path(), &words(&["run", "q.vpl", "--quiet"]), None)?;
    if ran.exit != Some(0) {
        return Err(format!("{place}: exit {:?}\n{}", ran.exit, String::from_utf8_lossy(&ran.stderr)));
    }
    diff::unified(expected, &String::from_utf8_lossy(&ran.stdout))
        .map_or(Ok(()), |text| Err(format!("{place}\n{text}")))
}
