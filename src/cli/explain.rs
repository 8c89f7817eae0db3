//! `varpulis explain`: the program at each stage of the compiler.

use super::args::{ExplainArgs, FindingsFormat, GraphFormat, Stage};
use super::program::{compile_program, print_findings};
use super::{EXIT_USAGE, complain, say};
use crate::connector::spec::OnError;
use crate::plan::explain;
use crate::runtime::surroundings::Outside;

pub fn explain(args: ExplainArgs) -> u8 {
    let compilation = match compile_program(&args.program, &args.inputs, OnError::Skip, false, &mut Outside) {
        Ok(compilation) => compilation,
        Err(code) => return code,
    };
    print_findings(&compilation, FindingsFormat::Text);
    if args.stage == Stage::Ast && args.format == GraphFormat::Text {
        say(explain::ast::text(&compilation.files, &compilation.sources));
        return if compilation.failed() { EXIT_USAGE } else { 0 };
    }
    let Some(stages) = &compilation.stages else { return EXIT_USAGE };
    let capacity = stages.hir.settings.state.limits.capacity;
    let text = match (args.stage, args.format) {
        (Stage::Hir, GraphFormat::Text) => explain::hir::text(&stages.hir),
        (Stage::Logical, GraphFormat::Text) => explain::logical::text(&stages.logical, capacity),
        (Stage::Physical, GraphFormat::Text) => explain::physical::text(&stages.physical, capacity),
        (Stage::Dataflow, GraphFormat::Text) => explain::dataflow::text(&stages.physical),
        (Stage::Logical, GraphFormat::Dot) => explain::logical::dot(&stages.logical),
        (Stage::Physical, GraphFormat::Dot) => explain::physical::dot(&stages.physical, capacity),
        (Stage::Ast | Stage::Hir | Stage::Dataflow, _) => {
            complain("only the stages logical and physical are graphs");
            return EXIT_USAGE;
        }
    };
    say(text);
    0
}
