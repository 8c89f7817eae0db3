//! `varpulis check`: findings, what bounds each state, and declarations for types that were sampled.

use super::EXIT_USAGE;
use super::args::{CheckArgs, FindingsFormat};
use super::program::{compile_program, print_findings};
use crate::connector::spec::OnError;
use crate::plan::bounds::describe;

pub fn check(args: CheckArgs) -> u8 {
    let compilation = match compile_program(&args.program, &args.inputs, OnError::Skip) {
        Ok(compilation) => compilation,
        Err(code) => return code,
    };
    print_findings(&compilation, args.format);
    let Some(stages) = &compilation.stages else { return EXIT_USAGE };
    if args.format == FindingsFormat::Text {
        describe(&stages.physical).iter().for_each(|line| println!("{line}"));
    }
    0
}
