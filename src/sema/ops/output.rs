//! `.emit(…)` and `.to(…)`: what leaves the program, and where it goes.

use crate::diagnostic::{Diagnostic, codes};
use crate::sema::arguments::Takes;
use crate::sema::hir::{Output, Target};
use crate::sema::ops::Chain;
use crate::syntax::ast::{Arg, ExprKind, StreamOp};

impl<'a> Chain<'a, '_, '_> {
    pub(super) fn emit(&mut self, op: &'a StreamOp) -> Option<()> {
        self.begin_emit(op)?;
        if !op.args.is_empty() {
            let fields = self.fields(&op.args)?;
            let hidden = self.hidden();
            self.project("emit", op.span, fields, hidden);
        }
        Some(())
    }

    /// Notes that the stream is an output.
    pub(in crate::sema) fn begin_emit(&mut self, op: &'a StreamOp) -> Option<()> {
        if let Some((first, _)) = &self.emitted {
            let found = Diagnostic::error(codes::GIVEN_TWICE, op.span, "a stream has one `.emit`");
            self.findings.push(found.with_label(*first, "the first one is here"));
            return None;
        }
        self.emitted = Some((op.span, op.alias.as_ref().map(|a| a.text.clone())));
        Some(())
    }

    pub(super) fn to(&mut self, op: &'a StreamOp) -> Option<()> {
        let target = match op.args.split_first() {
            Some((Arg { name: None, value, .. }, options)) => match &value.kind {
                ExprKind::Name(name) if self.globals.connectors.contains_key(name) => {
                    let connector = self.connectors.get(name)?.clone();
                    connector.sink(options, value.span, &mut self.constants())?
                }
                ExprKind::Name(name) if !self.globals.consts.contains_key(name) => {
                    let found = crate::sema::connector::unknown(name, value.span, self.globals);
                    self.findings.push(found);
                    return None;
                }
                _ => {
                    let args = self.arguments(op, &Takes { positional: (1, 1), named: &["commit"] })?;
                    let path = self.constants().text(value, "the target of `.to`")?;
                    let commit = crate::sema::connector::commit(&args, &mut self.constants())?;
                    crate::sema::connector::file_target(path, None, commit, value.span, self.findings)?
                }
            },
            Some(_) | None => {
                self.error_with_hint(
                    codes::BAD_OPERATOR_ARGUMENTS,
                    op.span,
                    "`.to` needs a connector or a path",
                    "as in `.to(\"out.jsonl\")`",
                );
                return None;
            }
        };
        self.outputs.push(Output { name: self.name.text.clone(), target });
        Some(())
    }

    /// The outputs of the finished stream: with `.emit` and no `.to`, where the command line says.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        let alias = self.emitted.as_ref().and_then(|(_, alias)| alias.clone());
        let name = alias.unwrap_or_else(|| self.name.text.clone());
        let mut outputs = std::mem::take(&mut self.outputs);
        if outputs.is_empty() && self.emitted.is_some() {
            outputs.push(Output { name: name.clone(), target: Target::Default });
        }
        for output in &mut outputs {
            output.name.clone_from(&name);
        }
        outputs
    }
}
