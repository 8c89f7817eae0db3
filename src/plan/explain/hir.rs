//! The checked program as text, stream by stream.

use std::fmt::Write;

use crate::data::time::format_duration;
use crate::plan::explain::expr::expr;
use crate::plan::explain::{logical, parts};
use crate::sema::hir::{OpKind, Program, Source};

pub fn text(program: &Program) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a string");
    for ty in &program.types {
        let sampled = if ty.sampled { " (sampled)" } else { "" };
        let time = ty.time.as_ref().map_or("from the format".to_string(), |e| expr(e, &ty.schema));
        line(format!("event {}{sampled}: {}; time {time}", ty.name, parts::columns(&ty.schema)));
    }
    for stream in &program.streams {
        line(format!("stream {} = {}", stream.name, source(program, &stream.source)));
        if let Some(change) = &stream.watermark {
            line(format!("   watermark {}", parts::watermark(&change.watermark)));
        }
        if stream.lateness_ns != 0 {
            line(format!("   allowed lateness {}", format_duration(stream.lateness_ns)));
        }
        let mut schema = &stream.source_schema;
        for op in &stream.ops {
            line(match &op.kind {
                OpKind::Step(step) => format!("   {}: {}", op.label, logical::step(step, schema, &op.schema)),
                OpKind::Keyed(keyed) => format!("   {}: {}", op.label, logical::keyed(keyed, schema)),
            });
            schema = &op.schema;
        }
        line(format!("   -> {}", parts::columns(&stream.schema)));
        for output in &stream.outputs {
            line(format!("   output {} -> {}", output.name, parts::target(&output.target)));
        }
    }
    out
}

fn source(program: &Program, from: &Source) -> String {
    match from {
        Source::Event { ty, scans } => {
            let scans: Vec<&str> = scans.iter().map(|s| program.scans[*s].name.as_str()).collect();
            format!("{} of {}", program.types[*ty].name, scans.join(", "))
        }
        Source::Stream(id) => program.streams[*id].name.clone(),
        Source::Merge(inputs) => {
            let inputs: Vec<String> = inputs.iter().map(|i| source(program, &i.source)).collect();
            format!("merge({})", inputs.join(", "))
        }
        Source::Timer { period_ns } => format!("timer({})", format_duration(*period_ns)),
        Source::Late { of, .. } => format!("{}.late()", program.streams[*of].name),
    }
}
