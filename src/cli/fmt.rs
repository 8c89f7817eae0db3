//! `varpulis fmt`: programs in the canonical layout.

use std::io::{IsTerminal, Read};
use std::path::Path;

use super::args::FmtArgs;
use super::{EXIT_FAILED, EXIT_USAGE, complain, say};
use crate::diagnostic::{Sources, render_text};
use crate::syntax::format;

pub fn fmt(args: FmtArgs) -> u8 {
    let codes = args.programs.iter().map(|path| match format_file(path, args.check) {
        Ok(changes) => (changes && args.check) as u8 * EXIT_FAILED,
        Err(message) => {
            eprint!("{message}");
            EXIT_USAGE
        }
    });
    codes.max().unwrap_or(0)
}

/// Formats one file in place, or only looks; whether anything changes.
fn format_file(path: &Path, check: bool) -> Result<bool, String> {
    let name = path.display().to_string();
    let is_stdin = name == "-";
    let text = if is_stdin { read_stdin() } else { std::fs::read_to_string(path) };
    let text = text.map_err(|e| format!("varpulis: {name}: {e}\n"))?;
    let formatted = format(&text).map_err(|findings| {
        let mut sources = Sources::default();
        sources.add(name.clone(), text.clone());
        render_text(&findings, &sources, std::io::stderr().is_terminal())
    })?;
    let changes = formatted != text;
    if check {
        if changes {
            complain(format!("{name} would change"));
        }
    } else if is_stdin {
        say(formatted);
    } else if changes {
        std::fs::write(path, formatted).map_err(|e| format!("varpulis: {name}: {e}\n"))?;
    }
    Ok(changes)
}

fn read_stdin() -> std::io::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
