//! `connector` declarations: which kinds there are, what they know, and what they come to as an input
//! or as a target.

use std::collections::BTreeMap;

use crate::connector::spec::{Commit, FileFormat, GeneratorKind, OnError, OutputFormat, TimeUnit};
use crate::diagnostic::{Diagnostic, Span, codes, nearest};
use crate::sema::arguments::{Arguments, Constants, Takes};
use crate::sema::globals::Globals;
use crate::sema::hir::Target;
use crate::syntax::ast::{Arg, Name};

const KINDS: [&str; 4] = ["file", "generator", "stdin", "stdout"];
const LATER_KINDS: [&str; 9] = ["kafka", "mqtt", "http", "webhook", "websocket", "tcp", "nats", "redis", "s3"];

const READ_OPTIONS: [&str; 6] = ["path", "format", "follow", "time_unit", "on_error", "dead_letter"];
/// What the declaration of a file may say: all that `.from` and `.to` know of it.
const FILE_OPTIONS: [&str; 7] = ["path", "format", "follow", "time_unit", "on_error", "dead_letter", "commit"];

const FILE_FORMATS: [(&str, FileFormat); 8] = [
    ("jsonl", FileFormat::Jsonl),
    ("json", FileFormat::Jsonl),
    ("ndjson", FileFormat::Jsonl),
    ("csv", FileFormat::Csv { delimiter: None }),
    ("tsv", FileFormat::Csv { delimiter: Some(b'\t') }),
    ("evt", FileFormat::Evt),
    ("parquet", FileFormat::Parquet),
    ("arrow", FileFormat::Arrow),
];

const OUTPUT_FORMATS: [(&str, OutputFormat); 7] = [
    ("jsonl", OutputFormat::Jsonl),
    ("json", OutputFormat::Jsonl),
    ("ndjson", OutputFormat::Jsonl),
    ("csv", OutputFormat::Csv),
    ("table", OutputFormat::Table),
    ("parquet", OutputFormat::Parquet),
    ("arrow", OutputFormat::Arrow),
];

const TIME_UNITS: [(&str, TimeUnit); 5] = [
    ("s", TimeUnit::Seconds),
    ("ms", TimeUnit::Milliseconds),
    ("us", TimeUnit::Microseconds),
    ("µs", TimeUnit::Microseconds),
    ("ns", TimeUnit::Nanoseconds),
];

const COMMITS: [(&str, Commit); 1] = [("checkpoint", Commit::Checkpoint)];

const ON_ERROR: [(&str, OnError); 3] =
    [("skip", OnError::Skip), ("dead_letter", OnError::DeadLetter), ("fail", OnError::Fail)];

/// A declared connector with its options.
#[derive(Clone, Debug, PartialEq)]
pub enum Connector {
    File(FileOptions),
    Stdin(FileOptions),
    Generator { kind: GeneratorKind, rate_per_s: Option<u64>, limit: Option<u64>, seed: u64 },
    Stdout { format: OutputFormat },
}

/// The options of a file, as far as the declaration gives them; `.from(…)` may add and replace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileOptions {
    pub path: Option<String>,
    /// As it is written, because a file that is read and one that is written know different ones.
    pub format: Option<(String, Span)>,
    pub follow: bool,
    pub time_unit: Option<TimeUnit>,
    pub on_error: Option<OnError>,
    pub commit: Option<Commit>,
}

/// All connectors by name; `None`: wrong, and reported.
pub struct Connectors(BTreeMap<String, Option<Connector>>);

impl Connectors {
    pub fn read(globals: &Globals<'_>, findings: &mut Vec<Diagnostic>) -> Connectors {
        let mut all = BTreeMap::new();
        for (name, decl) in &globals.connectors {
            let mut constants = Constants { globals, findings };
            let connector = Connector::read(&decl.kind.text, decl.kind.span, decl.args, &mut constants);
            all.insert(name.clone(), connector);
        }
        Connectors(all)
    }

    pub fn get(&self, name: &str) -> Option<&Connector> {
        self.0.get(name)?.as_ref()
    }
}

/// Nothing of that name is a connector.
pub fn unknown(name: &str, span: Span, globals: &Globals<'_>) -> Diagnostic {
    let found = Diagnostic::error(codes::UNKNOWN_CONNECTOR, span, format!("there is no connector `{name}`"));
    match nearest(name, globals.connectors.keys().map(String::as_str)) {
        Some(near) => found.with_hint(format!("did you mean `{near}`?")),
        None => found,
    }
}

impl Connector {
    fn read(kind: &str, span: Span, args: &[Arg], constants: &mut Constants<'_, '_>) -> Option<Connector> {
        let what = format!("the connector `{kind}`");
        let read = |named: &[&str], constants: &mut Constants<'_, '_>| {
            let takes = Takes { positional: (0, 0), named };
            Arguments::read(what.clone(), span, args, &takes, codes::UNKNOWN_OPTION, constants.findings)
        };
        match kind {
            "file" => {
                let mut options = FileOptions::default();
                options.change(&read(&FILE_OPTIONS, constants)?, constants)?;
                Some(Connector::File(options))
            }
            "stdin" => {
                let mut options = FileOptions::default();
                options.change(&read(&["format", "time_unit", "on_error", "dead_letter"], constants)?, constants)?;
                Some(Connector::Stdin(options))
            }
            "generator" => generator(&read(&["kind", "rate", "limit", "seed"], constants)?, constants),
            "stdout" => {
                let format = match read(&["format"], constants)?.get("format") {
                    Some(e) => constants.word(e, "the format", &OUTPUT_FORMATS)?,
                    None => OutputFormat::Jsonl,
                };
                Some(Connector::Stdout { format })
            }
            later if LATER_KINDS.contains(&later) => {
                let message = format!("connectors of the kind `{later}` are not built yet");
                let found = Diagnostic::error(codes::NOT_SUPPORTED, span, message);
                constants.findings.push(found.with_hint(format!("there are {}", KINDS.join(", "))));
                None
            }
            other => {
                let message = format!("there is no kind of connector `{other}`");
                let found = Diagnostic::error(codes::UNKNOWN_KIND, span, message);
                constants.findings.push(match nearest(other, KINDS.into_iter().chain(LATER_KINDS)) {
                    Some(near) => found.with_hint(format!("did you mean `{near}`?")),
                    None => found.with_hint(format!("there are {}", KINDS.join(", "))),
                });
                None
            }
        }
    }

    /// One that is written where it is used: `file(path: "planes.csv")`.
    pub fn inline(function: &Name, args: &[Arg], constants: &mut Constants<'_, '_>) -> Option<Connector> {
        Connector::read(&function.text, function.span, args, constants)
    }

    /// What an input of it is called, where it has no name of its own.
    pub fn what(&self) -> String {
        match self {
            Connector::File(FileOptions { path: Some(path), .. }) => path.clone(),
            Connector::File(_) => "file".to_string(),
            Connector::Stdin(_) => "stdin".to_string(),
            Connector::Generator { .. } => "generator".to_string(),
            Connector::Stdout { .. } => "stdout".to_string(),
        }
    }

    /// The connector with the options that `.from(C, …)` adds.
    pub fn with_options(&self, args: &[Arg], span: Span, constants: &mut Constants<'_, '_>) -> Option<Connector> {
        let mut changed = self.clone();
        let named: &[&str] = match &changed {
            Connector::File(_) => &READ_OPTIONS,
            Connector::Stdin(_) => &READ_OPTIONS[3..],
            Connector::Generator { .. } | Connector::Stdout { .. } => &[],
        };
        let takes = Takes { positional: (0, 0), named };
        let args = Arguments::read("`.from`", span, args, &takes, codes::UNKNOWN_OPTION, constants.findings)?;
        match &mut changed {
            Connector::File(options) | Connector::Stdin(options) => options.change(&args, constants)?,
            Connector::Generator { .. } | Connector::Stdout { .. } => {}
        }
        Some(changed)
    }

    /// Where `.to(C, …)` writes.
    pub fn sink(&self, args: &[Arg], span: Span, constants: &mut Constants<'_, '_>) -> Option<Target> {
        let named: &[&str] = match self {
            Connector::File(_) => &["path", "format", "commit"],
            Connector::Stdin(_) | Connector::Generator { .. } | Connector::Stdout { .. } => &["format"],
        };
        let takes = Takes { positional: (0, 0), named };
        let args = Arguments::read("`.to`", span, args, &takes, codes::UNKNOWN_OPTION, constants.findings)?;
        match self {
            Connector::File(options) => {
                let mut options = options.clone();
                options.change(&args, constants)?;
                let Some(path) = options.path else {
                    constants.findings.push(Diagnostic::error(codes::MISSING_OPTION, span, "the file needs `path:`"));
                    return None;
                };
                let commit = options.commit.unwrap_or_default();
                file_target(path, options.format, commit, span, constants.findings)
            }
            Connector::Stdout { format } => {
                let format = match args.get("format") {
                    Some(e) => constants.word(e, "the format", &OUTPUT_FORMATS)?,
                    None => *format,
                };
                Some(Target::Stdout { format })
            }
            Connector::Stdin(_) | Connector::Generator { .. } => {
                let message = "this connector can be read, not written";
                constants.findings.push(Diagnostic::error(codes::WRONG_DIRECTION, span, message));
                None
            }
        }
    }
}

impl FileOptions {
    fn change(&mut self, args: &Arguments<'_>, constants: &mut Constants<'_, '_>) -> Option<()> {
        if let Some(e) = args.get("path") {
            self.path = Some(constants.text(e, "`path`")?);
        }
        if let Some(e) = args.get("format") {
            self.format = Some((constants.text(e, "`format`")?, e.span));
        }
        if let Some(e) = args.get("follow") {
            self.follow = constants.boolean(e, "`follow`")?;
        }
        if let Some(e) = args.get("time_unit") {
            self.time_unit = Some(constants.word(e, "`time_unit`", &TIME_UNITS)?);
        }
        if let Some(e) = args.get("on_error") {
            self.on_error = Some(constants.word(e, "`on_error`", &ON_ERROR)?);
        }
        if let Some(e) = args.get("commit") {
            self.commit = Some(constants.word(e, "`commit`", &COMMITS)?);
        }
        if let Some(e) = args.get("dead_letter") {
            let message = "a dead-letter connector is not supported yet";
            let found = Diagnostic::error(codes::NOT_SUPPORTED, e.span, message);
            constants.findings.push(found.with_hint("`--dead-letter FILE` on the command line works for all inputs"));
            return None;
        }
        Some(())
    }

    /// The format that rows are read in; `None` inside: the path says.
    pub fn read_format(&self, findings: &mut Vec<Diagnostic>) -> Option<Option<FileFormat>> {
        match &self.format {
            None => Some(None),
            Some((name, span)) => format_by_name(name, *span, &FILE_FORMATS, findings).map(Some),
        }
    }
}

fn format_by_name<T: Copy>(
    name: &str,
    span: Span,
    known: &[(&'static str, T)],
    findings: &mut Vec<Diagnostic>,
) -> Option<T> {
    if let Some((_, format)) = known.iter().find(|(n, _)| *n == name) {
        return Some(*format);
    }
    let found = Diagnostic::error(codes::BAD_OPTION, span, format!("there is no format \"{name}\""));
    findings.push(match nearest(name, known.iter().map(|(n, _)| *n)) {
        Some(near) => found.with_hint(format!("did you mean \"{near}\"?")),
        None => {
            let names: Vec<&str> = known.iter().map(|(n, _)| *n).collect();
            found.with_hint(format!("there are \"{}\"", names.join("\", \"")))
        }
    });
    None
}

/// A file to write; without a format its name says which.
pub fn file_target(
    path: String,
    format: Option<(String, Span)>,
    commit: Commit,
    span: Span,
    findings: &mut Vec<Diagnostic>,
) -> Option<Target> {
    if let Some((name, at)) = format {
        let format = format_by_name(&name, at, &OUTPUT_FORMATS, findings)?;
        return Some(Target::File { path, format, commit });
    }
    let plain = path.trim_end_matches(".gz").trim_end_matches(".zst");
    let extension = plain.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, e)| e);
    let format = match extension.and_then(|e| OUTPUT_FORMATS.iter().find(|(n, _)| *n == e)) {
        Some((_, format)) => *format,
        None if extension.is_none() => OutputFormat::Jsonl,
        None => {
            let message = format!("the name \"{path}\" does not say which format to write");
            let found = Diagnostic::error(codes::MISSING_OPTION, span, message);
            findings.push(found.with_hint("declare a connector with `format:`, or use a name such as \"out.jsonl\""));
            return None;
        }
    };
    Some(Target::File { path, format, commit })
}

/// `commit:` of a path that is written out in `.to`.
pub fn commit(args: &Arguments<'_>, constants: &mut Constants<'_, '_>) -> Option<Commit> {
    match args.get("commit") {
        Some(e) => constants.word(e, "`commit`", &COMMITS),
        None => Some(Commit::AtOnce),
    }
}

fn generator(args: &Arguments<'_>, constants: &mut Constants<'_, '_>) -> Option<Connector> {
    let kind = match args.get("kind") {
        Some(e) => constants.word(e, "the kind of generator", &[("nexmark", GeneratorKind::Nexmark)])?,
        None => {
            let message = "the generator needs `kind:`";
            let found = Diagnostic::error(codes::MISSING_OPTION, args.span, message);
            constants.findings.push(found.with_hint("it can be \"nexmark\""));
            return None;
        }
    };
    let rate_per_s = match args.get("rate") {
        Some(e) => Some(constants.count(e, "`rate`")?),
        None => None,
    };
    let limit = match args.get("limit") {
        Some(e) => Some(constants.count(e, "`limit`")?),
        None => None,
    };
    let seed = match args.get("seed") {
        Some(e) => constants.count(e, "`seed`")?,
        None => 0,
    };
    Some(Connector::Generator { kind, rate_per_s, limit, seed })
}
