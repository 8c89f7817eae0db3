//! A program with its inputs, as the commands that compile one share it.

use std::io::IsTerminal;
use std::path::Path;

use super::args::{FindingsFormat, InputArgs, InputFormat};
use super::{EXIT_USAGE, complain, say};
use crate::compile::{Compilation, compile, settings};
use crate::connector::spec::{FileFormat, Input, OnError};
use crate::diagnostic::{render_json, render_text};
use crate::runtime::surroundings::locate;
use crate::sema::Environment;
use crate::sema::hir::Settings;
use crate::sema::inputs::{CommandInput, Surroundings};

/// Compiles the program at `path` with the inputs of the command line. An exit code is a failure that
/// has been reported.
pub fn compile_program(
    path: &Path,
    inputs: &InputArgs,
    on_error: OnError,
    has_state_dir: bool,
    surroundings: &mut dyn Surroundings,
) -> Result<Compilation, u8> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(|error| {
        complain(format!("{name}: {}", error_text(&error)));
        EXIT_USAGE
    })?;
    let text = String::from_utf8(text).map_err(|_| {
        complain(format!("{name}: not UTF-8"));
        EXIT_USAGE
    })?;
    let given = command_inputs(inputs).map_err(|message| {
        complain(message);
        EXIT_USAGE
    })?;
    let environment = Environment { inputs: &given, surroundings, on_error, has_state_dir };
    Ok(compile(&name, text, environment))
}

/// What the program at `path` says of how it is run; nothing where it is wrong, which [`compile_program`] tells.
pub fn settings_of_program(path: &Path) -> Settings {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    settings(&path.display().to_string(), text)
}

/// Prints all findings on standard error.
pub fn print_findings(compilation: &Compilation, format: FindingsFormat) {
    if compilation.diagnostics.is_empty() && format == FindingsFormat::Text {
        return;
    }
    match format {
        FindingsFormat::Text => {
            let color = std::io::stderr().is_terminal();
            eprint!("{}", render_text(&compilation.diagnostics, &compilation.sources, color));
        }
        FindingsFormat::Json => say(format_args!("{}\n", render_json(&compilation.diagnostics, &compilation.sources))),
    }
}

/// The `-i` arguments.
fn command_inputs(args: &InputArgs) -> Result<Vec<CommandInput>, String> {
    args.inputs.iter().map(|argument| command_input(argument, stdin_format(args))).collect()
}

fn command_input(argument: &str, stdin: FileFormat) -> Result<CommandInput, String> {
    let (type_name, path) = match argument.split_once('=') {
        Some((name, path)) if is_identifier(name) => (Some(name.to_string()), path),
        Some(_) | None => (None, argument),
    };
    let input = match path {
        "-" => Input::Stdin { format: stdin, time_unit: None },
        _ => locate(path, None).map_err(|e| e.to_string())?,
    };
    let name = if path == "-" { "stdin" } else { path };
    Ok(CommandInput { type_name, name: name.to_string(), input })
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
}

fn stdin_format(args: &InputArgs) -> FileFormat {
    match args.stdin_format {
        None | Some(InputFormat::Jsonl) => FileFormat::Jsonl,
        Some(InputFormat::Csv) => FileFormat::Csv { delimiter: None },
        Some(InputFormat::Tsv) => FileFormat::Csv { delimiter: Some(b'\t') },
        Some(InputFormat::Evt) => FileFormat::Evt,
    }
}

fn error_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_string(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_string(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_string(),
        _ => error.to_string(),
    }
}
