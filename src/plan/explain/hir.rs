//! The checked program as text, stream by stream.

use std::fmt::Write;

use crate::data::time::format_duration;
use crate::plan::explain::expr::expr;
use crate::plan::explain::{logical, parts};
use crate::sema::hir::{Backend, CheckpointOptions, OpKind, Program, Settings, Source, StateOptions};
use crate::state::options::Compression;

pub fn text(program: &Program) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a string");
    for ty in &program.types {
        let sampled = if ty.sampled { " (sampled)" } else { "" };
        let time = ty.time.as_ref().map_or("from the format".to_string(), |e| expr(e, &ty.schema));
        line(format!("event {}{sampled}: {}; time {time}", ty.name, parts::columns(&ty.schema)));
    }
    for stream in &program.streams {
        let what = if stream.relation.is_some() { "table" } else { "stream" };
        line(format!("{what} {} = {}", stream.name, source(program, &stream.source)));
        if let Some(change) = &stream.watermark {
            line(format!("   watermark {}", parts::watermark(&change.watermark)));
        }
        if !matches!(stream.lateness_ns, 0 | i64::MAX) {
            line(format!("   allowed lateness {}", format_duration(stream.lateness_ns)));
        }
        let mut schema = &stream.source_schema;
        for op in &stream.ops {
            line(match &op.kind {
                OpKind::Step(step) => format!("   {}: {}", op.label, logical::step(step, schema, &op.schema)),
                OpKind::Enrich(enrich) => {
                    let table = &program.streams[enrich.table].schema;
                    format!("   {}: {}", op.label, logical::lookup(&enrich.lookup, schema, table))
                }
                OpKind::Keyed(keyed) => format!("   {}: {}", op.label, logical::keyed(keyed, schema)),
                OpKind::Relate(relate) => format!("   {}: {}", op.label, logical::relate(relate, schema)),
                OpKind::JoinTable { right, join } => {
                    let table = &program.streams[*right];
                    format!("   {}: {} with {}", op.label, logical::table_join(join, schema, &table.schema), table.name)
                }
            });
            schema = &op.schema;
        }
        line(format!("   -> {}", parts::columns(&stream.schema)));
        for output in &stream.outputs {
            line(format!("   output {} -> {}", output.name, parts::target(&output.target)));
        }
    }
    settings(&program.settings).into_iter().for_each(&mut line);
    out
}

/// What the program says of how it is run, if it says something.
fn settings(settings: &Settings) -> Vec<String> {
    let mut out = Vec::new();
    let Settings { state, checkpoint } = settings;
    if *state != StateOptions::default() {
        let backend = match &state.backend {
            Backend::InMemory => "in memory".to_string(),
            Backend::RocksDb { compression, block_cache_bytes } => {
                let compression = compression.map_or(String::new(), |c| format!(", {}", compressed(c)));
                let cache = block_cache_bytes.map_or(String::new(), |b| format!(", block cache of {b} bytes"));
                format!("in RocksDB{compression}{cache}")
            }
        };
        let path = state.path.as_ref().map_or(String::new(), |path| format!(", at {path}"));
        let capacity = state.limits.capacity.map_or(String::new(), |c| format!(", at most {c}"));
        out.push(format!("state {backend}{path}{capacity}"));
    }
    if *checkpoint != CheckpointOptions::default() {
        let CheckpointOptions { enabled, interval_ns, on_shutdown, full, compression, location, keep_last, max_age_ns } =
            checkpoint;
        let parts = [
            enabled.map(|e| if e { "enabled" } else { "disabled" }.to_string()),
            interval_ns.map(|ns| format!("every {}", format_duration(ns))),
            on_shutdown.map(|on| if on { "on shutdown" } else { "not on shutdown" }.to_string()),
            full.map(|full| if full { "full" } else { "incremental" }.to_string()),
            compression.map(|c| compressed(c).to_string()),
            location.as_ref().map(|location| format!("at {location}")),
            keep_last.map(|n| format!("of which {n} are kept")),
            max_age_ns.map(|ns| format!("kept for {}", format_duration(ns))),
        ];
        out.push(format!("checkpoints {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    }
    out
}

fn compressed(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "not compressed",
        Compression::Lz4 => "compressed by lz4",
        Compression::Zstd => "compressed by zstd",
    }
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
        Source::Join(joined) => {
            let mut out = source(program, &joined.inputs[0].source);
            let mut width = joined.inputs[0].schema.clone();
            for (input, step) in joined.inputs[1..].iter().zip(&joined.steps) {
                let what = logical::join_of(&step.join, [&width, &input.schema]);
                out = format!("{what} of {out} and {}", source(program, &input.source));
                width = step.schema.clone();
            }
            out
        }
        Source::Timer { period_ns } => format!("timer({})", format_duration(*period_ns)),
        Source::Late { of, .. } => format!("{}.late()", program.streams[*of].name),
    }
}
