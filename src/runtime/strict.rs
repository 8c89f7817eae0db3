//! `check --strict`: reads the inputs without running the program, and checks every declared field of
//! their rows, not only those that the program uses.

use std::collections::BTreeMap;
use std::time::Duration;

use super::inputs::{open_intake, partitions};
use super::job::{Share, count_lines};
use super::report::SourceReport;
use crate::compile::Stages;
use crate::connector::intake::{Limits, Now, Worked};
use crate::connector::partition::ReadError;
use crate::connector::spec::{OnError, Source, SourceType};
use crate::plan::physical::Plan;
use crate::sema::hir;

/// What is wrong with the rows of the program's bounded inputs.
pub fn check_inputs(stages: &Stages) -> Result<Vec<SourceReport>, ReadError> {
    let bounded = stages.physical.sources.iter().filter(|s| !s.input.is_live());
    let sources: Vec<Source> = bounded.map(|s| with_all_fields(s, &stages.hir)).collect();
    let names: Vec<String> = sources.iter().map(|s| s.name.clone()).collect();
    let plan = Plan { sources, nodes: Vec::new(), outputs: Vec::new() };
    let partitions = partitions(&plan, Share::WHOLE, &BTreeMap::new());
    let intake = std::sync::Arc::new(open_intake(&plan, partitions, None, Limits::default(), 0, 0)?);
    let mut reader = intake.reader();
    // Nobody reads what is sent, and nothing waits for it.
    let now = Now { arrival_ns: 0, steady_ns: 0, reached_ns: i64::MAX };
    loop {
        match reader.work(now, &mut drop)? {
            Worked::Busy => {}
            Worked::Finished => break,
            Worked::Wait(duration) => std::thread::sleep(duration.min(Duration::from_millis(1))),
        }
    }
    let reports = names.into_iter().zip(intake.rejects.read()).enumerate().map(|(i, (name, mut rejected))| {
        rejected.shown.iter_mut().for_each(|(partition, row)| count_lines(&plan.sources[i].input, partition, row));
        SourceReport { name, rejected, idled: Vec::new() }
    });
    Ok(reports.collect())
}

/// The source with its types as they were declared; rows are only looked at.
fn with_all_fields(source: &Source, program: &hir::Program) -> Source {
    let full = |ty: &SourceType| {
        if !ty.is_read {
            return ty.clone();
        }
        let declared = program.types.iter().find(|t| t.name == ty.name).expect("a source's type is of the program");
        SourceType {
            schema: declared.schema.clone(),
            time: declared.time.clone(),
            time_units: declared.time_units.clone(),
            ..ty.clone()
        }
    };
    let mut checked = source.clone();
    checked.types = source.types.iter().map(full).collect();
    checked.outputs.iter_mut().for_each(|output| output.filter = None);
    // A row that contradicts a sample is reported here like any other.
    checked.types.iter_mut().for_each(|ty| ty.sampled = false);
    checked.on_error = OnError::Skip;
    checked
}
