//! One case through the compiler and the engine, in this process.

use std::path::Path;
use std::sync::Arc;

use varpulis_runtime::compile::{Stages, compile};
use varpulis_runtime::connector::format::encode::jsonl::{JsonlEncoder, Meta};
use varpulis_runtime::connector::format::encode::{EncodedRows, RowEncoder};
use varpulis_runtime::connector::intake::Limits;
use varpulis_runtime::connector::sink::Destination;
use varpulis_runtime::connector::spec::{OnError, OutputFormat};
use varpulis_runtime::data::Batch;
use varpulis_runtime::data::array::array_of_values;
use varpulis_runtime::dataflow::stop::Stop;
use varpulis_runtime::dataflow::worker::Transport;
use varpulis_runtime::diagnostic::render_text;
use varpulis_runtime::plan::logical::Plan;
use varpulis_runtime::plan::physical;
use varpulis_runtime::runtime::job::{Job, Share, run};
use varpulis_runtime::runtime::outputs::DefaultOutput;
use varpulis_runtime::runtime::surroundings::{Outside, locate};
use varpulis_runtime::sema::Environment;
use varpulis_runtime::sema::inputs::CommandInput;
use varpulis_runtime::state::scratch::{MemoryScratch, Spill};

use crate::generate::Case;
use crate::interpret::{Row, interpret};

/// How the engine is run.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    pub workers: usize,
    pub chaos_seed: Option<u64>,
    pub block_bytes: Option<usize>,
    pub serialized: bool,
    /// Whether state is spilled as much as possible.
    pub spills: bool,
}

/// The program compiled over the case's files in `dir`, or why it does not compile.
pub fn compile_case(case: &Case, dir: &Path) -> Result<Stages, String> {
    let mut inputs = Vec::new();
    for file in &case.files {
        let path = file.path(dir).display().to_string();
        let input = locate(&path, None).map_err(|e| e.to_string())?;
        inputs.push(CommandInput { type_name: file.ty.map(|ty| case.types[ty].name.clone()), name: path, input });
    }
    let mut outside = Outside;
    let environment =
        Environment { inputs: &inputs, surroundings: &mut outside, on_error: OnError::Skip, has_state_dir: false };
    let compilation = compile("case.vpl", case.program.clone(), environment);
    let findings = render_text(&compilation.diagnostics, &compilation.sources, false);
    compilation.stages.ok_or(findings)
}

/// What the engine writes.
pub fn engine_output(plan: &physical::Plan, mode: Mode, dir: &Path) -> Result<String, String> {
    let path = dir.join("out.jsonl").display().to_string();
    let transport = if mode.serialized { Transport::Serialized } else { Transport::Memory };
    let stop = Arc::new(Stop::default());
    // Tables that follow from tables cannot go to disk, and end a run that has no room for them.
    let has_arrangements = plan.nodes.iter().any(|node| matches!(node.op, physical::Op::Relate { .. }));
    let spill = (mode.spills && !has_arrangements).then(|| {
        let stop = stop.clone();
        // Hardly anything stays in memory.
        Arc::new(Spill::new(Arc::new(MemoryScratch::default()), 1, move |reason| stop.fail(reason)))
    });
    let job = Job {
        plan: plan.clone(),
        workers: mode.workers,
        output: DefaultOutput { destination: Destination::of(&path), format: OutputFormat::Jsonl, meta: Meta::Shown },
        ordered: true,
        dead_letters: None,
        saving: None,
        spill,
        capacity: None,
        chaos_seed: mode.chaos_seed,
        limits: Limits { block_bytes: mode.block_bytes, ..Limits::default() },
        transport,
        share: Share::WHOLE,
    };
    let report = run(job, stop, |_| {}).map_err(|e| e.to_string())?;
    if let Some(reason) = report.stopped {
        return Err(format!("stopped: {reason:?}"));
    }
    std::fs::read_to_string(&path).map_err(|e| e.to_string())
}

/// What the interpreter says: all outputs' rows by (place, stream, key, `_seq`, text).
pub fn expected_output(case: &Case, plan: &Plan, dir: &Path) -> String {
    let nodes = interpret(plan, &case.types, &case.files, dir);
    let mut lines: Vec<(i64, &str, usize, Row, Vec<u8>)> = Vec::new();
    for (number, output) in plan.outputs.iter().enumerate() {
        for row in &nodes[output.node] {
            lines.push((row.at, &output.name, number, row.clone(), line(plan, number, row)));
        }
    }
    lines.sort_by(|a, b| {
        let origin = |l: &(i64, &str, usize, Row, Vec<u8>)| (l.3.key.clone(), l.3.seq);
        (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)).then_with(|| origin(a).cmp(&origin(b))).then_with(|| a.4.cmp(&b.4))
    });
    lines.into_iter().map(|l| String::from_utf8(l.4).expect("JSON is UTF-8")).collect()
}

fn line(plan: &Plan, output: usize, row: &Row) -> Vec<u8> {
    let output = &plan.outputs[output];
    let schema = &plan.nodes[output.node].schema;
    let column = |(field, value): (&varpulis_runtime::data::Field, &_)| {
        array_of_values(&field.data_type.ty.clone().optional(), std::slice::from_ref(value))
    };
    let columns = schema.fields.iter().zip(&row.values).map(column).collect();
    let batch = Batch { columns, time: vec![row.time].into(), ..Batch::default() };
    let mut encoded = EncodedRows::default();
    JsonlEncoder::new(&output.name, schema, Meta::Shown).encode(&batch, &mut encoded);
    encoded.bytes
}
