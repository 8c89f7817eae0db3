//! The whole compiler: from the text of a program to the plan that every worker renders.
//!
//! ```text
//! files ─ parse ─> ast ─ sema ─> hir ─ build ─> logical ─ rewrite ─> logical ─ lower ─> physical
//! ```
//!
//! Each phase reports all that it finds; the next one runs only when there is no error.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Severity, Sources, Span, codes};
use crate::plan::{bounds, build, logical, lower, physical, rewrite};
use crate::sema::{self, Environment, hir};
use crate::syntax::{self, ast};

/// What the phases made of a program, as far as they came.
#[derive(Default)]
pub struct Compilation {
    pub sources: Sources,
    pub diagnostics: Vec<Diagnostic>,
    /// The files of the program, imported ones first, the main file last.
    pub files: Vec<ast::Program>,
    pub stages: Option<Stages>,
}

/// A program without errors, in all its forms.
pub struct Stages {
    pub hir: hir::Program,
    pub logical: logical::Plan,
    pub physical: physical::Plan,
}

/// Compiles the program whose main file has this path and text.
pub fn compile(path: &str, text: String, environment: Environment<'_>) -> Compilation {
    let mut out = Compilation::default();
    let mut loader = Loader { out: &mut out, loaded: HashMap::new(), path: Vec::new() };
    loader.load(path, text);
    if out.failed() {
        return out;
    }
    let (program, findings) = sema::analyze(&out.files, environment);
    out.diagnostics.extend(findings);
    let Some(program) = program else { return out };
    out.diagnostics.extend(bounds::unbounded(&program));
    out.diagnostics.sort_by_key(|d| (d.span.file, d.span.start));
    let built = build::build(&program);
    let logical = rewrite::rewrite(built, program.settings.state.limits.capacity.is_some());
    let physical = lower::lower(&logical);
    if cfg!(any(debug_assertions, feature = "checked", test))
        && let Err(reason) = physical.validate()
    {
        panic!("the physical plan is broken: {reason}");
    }
    out.stages = Some(Stages { hir: program, logical, physical });
    out
}

/// What a program says of how it is run, without a look at its inputs: where its checkpoints are has to be
/// known before types are sampled. The defaults where the program is wrong.
pub fn settings(path: &str, text: String) -> hir::Settings {
    let mut out = Compilation::default();
    Loader { out: &mut out, loaded: HashMap::new(), path: Vec::new() }.load(path, text);
    if out.failed() { hir::Settings::default() } else { sema::settings_alone(&out.files) }
}

impl Compilation {
    /// Whether there is an error, so that there is no plan.
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// Reads a program's files in the order in which they import each other.
struct Loader<'o> {
    out: &'o mut Compilation,
    /// Files that are read already, by canonical path: a file that two others import counts once.
    loaded: HashMap<PathBuf, ()>,
    /// Files that are being read, each because the one before imports it.
    path: Vec<PathBuf>,
}

impl Loader<'_> {
    fn load(&mut self, path: &str, text: String) {
        let canonical = canonical(Path::new(path));
        let file = self.out.sources.add(path, text.clone());
        let (program, diagnostics) = syntax::parse(file, &text);
        self.out.diagnostics.extend(diagnostics);
        self.path.push(canonical.clone());
        for declaration in &program.declarations {
            if let ast::DeclarationKind::Import { path: imported, path_span } = &declaration.kind {
                self.import(Path::new(path), imported, *path_span);
            }
        }
        self.path.pop();
        self.loaded.insert(canonical, ());
        self.out.files.push(program);
    }

    fn import(&mut self, importing: &Path, path: &str, span: Span) {
        let target = importing.parent().unwrap_or(Path::new("")).join(path);
        let key = canonical(&target);
        if let Some(depth) = self.path.iter().position(|p| *p == key) {
            let names: Vec<String> = self.path[depth..].iter().map(|p| file_name(p)).collect();
            let message = format!("the file imports itself ({} -> {})", names.join(" -> "), file_name(&key));
            self.out.diagnostics.push(Diagnostic::error(codes::IMPORT_CYCLE, span, message));
            return;
        }
        if self.loaded.contains_key(&key) {
            return;
        }
        match std::fs::read_to_string(&target) {
            Ok(text) => self.load(&target.to_string_lossy(), text),
            Err(error) => {
                let message = format!("cannot read {}: {}", target.display(), reason(&error));
                self.out.diagnostics.push(Diagnostic::error(codes::IMPORT_UNREADABLE, span, message));
            }
        }
    }
}

/// The one path of a file; of a file that is not there, the path as it is written.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_string(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8".to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod pattern_stress;
#[cfg(test)]
mod pattern_tests;
#[cfg(test)]
mod tests;
