//! What benchmarks of single operators share: arguments, a program's plan, a sink that counts, random numbers, and the
//! memory of the process.
//!
//! Such a benchmark compiles a program, so that it measures what a run would do, takes the operator out of the plan, and
//! drives it without a dataflow. A file of its own, because each of the benchmarks is a program of its own.

use varpulis_runtime::compile::compile;
use varpulis_runtime::connector::spec::{FileFormat, Input, OnError};
use varpulis_runtime::data::{Batch, DataType};
use varpulis_runtime::dataflow::align::Outlet;
use varpulis_runtime::diagnostic::render_text;
use varpulis_runtime::plan::physical::Plan;
use varpulis_runtime::sema::Environment;
use varpulis_runtime::sema::inputs::{FileRequest, SampledType, Surroundings};

/// What a run allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the command line asks for.
pub struct Args {
    /// A few rows only, so that tests can run the benchmark.
    pub tiny: bool,
    names: Vec<String>,
}

impl Args {
    pub fn read() -> Args {
        let (flags, names): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|arg| arg.starts_with('-'));
        Args { tiny: flags.iter().any(|flag| flag == "--tiny"), names }
    }

    /// Whether the part is named, or none is.
    pub fn wants(&self, part: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| part.contains(name.as_str()))
    }
}

/// A world in which every path is one JSONL file that cannot be sampled.
struct Files;

impl Surroundings for Files {
    fn open(&mut self, request: &FileRequest) -> Result<Input, String> {
        let (paths, time_unit) = (vec![request.path.clone()], request.time_unit);
        Ok(Input::Files { paths, format: FileFormat::Jsonl, compression: None, time_unit })
    }

    fn sample(&mut self, _name: &str, _input: &Input, _types: &[String]) -> Result<Vec<SampledType>, String> {
        Err("there is no input to sample".to_string())
    }
}

/// The plan of a program that has no errors.
pub fn plan(program: String) -> Plan {
    let environment =
        Environment { inputs: &[], surroundings: &mut Files, on_error: OnError::Skip, has_state_dir: false };
    let made = compile("bench.vpl", program, environment);
    match made.stages {
        Some(stages) => stages.physical,
        None => panic!("{}", render_text(&made.diagnostics, &made.sources, false)),
    }
}

/// Names and types of the fields of a node's rows.
pub type Fields = Vec<(String, DataType)>;

pub fn fields(plan: &Plan, node: usize) -> Fields {
    plan.nodes[node].schema.fields.iter().map(|field| (field.name.clone(), field.data_type.clone())).collect()
}

pub fn types(fields: &Fields) -> Vec<DataType> {
    fields.iter().map(|(_, ty)| ty.clone()).collect()
}

/// Counts the rows that leave.
#[derive(Default)]
pub struct Sink(pub usize);

impl Outlet<Batch> for Sink {
    fn send(&mut self, _: usize, rows: Batch) {
        self.0 += rows.len();
    }
}

/// The next number of Marsaglia's xorshift with 64 bits.
pub fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
