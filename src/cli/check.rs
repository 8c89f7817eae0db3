//! `varpulis check`: findings, what bounds each state, declarations for types that were sampled, and with
//! `--strict` what is wrong with the inputs' rows.

use super::args::{CheckArgs, FindingsFormat};
use super::program::{compile_program, print_findings};
use super::{EXIT_FAILED, EXIT_USAGE, complain, say};
use crate::compile::Stages;
use crate::connector::sample::{SampledType, declaration};
use crate::connector::spec::OnError;
use crate::plan::bounds::describe;
use crate::runtime::strict::check_inputs;
use crate::runtime::surroundings::Outside;
use crate::sema::hir::EventType;

pub fn check(args: CheckArgs) -> u8 {
    let compilation = match compile_program(&args.program, &args.inputs, OnError::Skip, false, &mut Outside) {
        Ok(compilation) => compilation,
        Err(code) => return code,
    };
    print_findings(&compilation, args.format);
    let Some(stages) = &compilation.stages else { return EXIT_USAGE };
    if args.format == FindingsFormat::Text {
        let capacity = stages.hir.settings.state.limits.capacity;
        describe(&stages.physical, capacity).iter().for_each(|line| say(format_args!("{line}\n")));
        stages.hir.types.iter().filter(|t| t.sampled).for_each(|t| say(format_args!("\n{}", sampled_declaration(t))));
    }
    if args.strict { strict(stages) } else { 0 }
}

/// The declaration to paste for a type that was not declared.
fn sampled_declaration(ty: &EventType) -> String {
    let event_time = match &ty.time {
        Some(crate::expr::Expr::Column { index, .. }) => Some(*index),
        Some(_) | None => None,
    };
    let (schema, time_units) = (ty.schema.clone(), ty.time_units.clone());
    let sampled = SampledType { name: Some(ty.name.clone()), schema, time_units, event_time, rows: 0 };
    declaration(&sampled, &ty.name)
}

/// Reads all bounded inputs; 1 if any row is malformed.
fn strict(stages: &Stages) -> u8 {
    let reports = match check_inputs(stages) {
        Ok(reports) => reports,
        Err(error) => {
            complain(error);
            return EXIT_FAILED;
        }
    };
    let mut text = String::new();
    reports.iter().for_each(|report| report.write_rejected(&mut text));
    say(text);
    let is_sound = reports.iter().all(|report| report.rejected.malformed.is_empty());
    if is_sound { 0 } else { EXIT_FAILED }
}
