//! The outputs of a plan and the sinks behind them.
//!
//! Outputs that name the same destination share its sink; a sink is told streams by their number within
//! it, the dataflow by their number in the plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::BinaryArray;
use arrow_array::cast::AsArray;
use arrow_buffer::{OffsetBuffer, ScalarBuffer};

use crate::connector::format::encode::jsonl::Meta;
use crate::connector::format::encode::{EncodedRows, RowEncoder};
use crate::connector::sink::{self, Destination, Guarantee, Mark, OutputStream, Route, Sink, SinkError, Start};
use crate::connector::spec::{Commit, OutputFormat};
use crate::data::Batch;
use crate::dataflow::op::sink::{Form, WriteError, Writer};
use crate::dataflow::render::Encoder;
use crate::plan::explain::parts as shown;
use crate::plan::physical::{Plan, Target};
use crate::state::manifest::OutputRecord;

/// Where rows go that the program does not send elsewhere.
#[derive(Clone, Debug)]
pub struct DefaultOutput {
    pub destination: Destination,
    pub format: OutputFormat,
    pub meta: Meta,
}

/// What is known of each output of the plan.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The stream's name; where several outputs have one name, with a number from the second on.
    label: String,
    stream: OutputStream,
    route: Route,
}

/// The routes of all outputs, in the order of the plan.
pub fn route(plan: &Plan, default: &DefaultOutput) -> Vec<Routed> {
    let routed = plan.outputs.iter().enumerate().map(|(i, output)| {
        let namesakes = plan.outputs[..i].iter().filter(|o| o.name == output.name).count();
        let label = if namesakes == 0 { output.name.clone() } else { format!("{}#{}", output.name, namesakes + 1) };
        let schema = plan.nodes[output.node].schema.clone();
        let stream = OutputStream { name: output.name.clone(), schema };
        let (destination, format, commit) = match &output.target {
            Target::Default => (default.destination.clone(), default.format, Commit::AtOnce),
            Target::Stdout { format } => (Destination::Stdout, *format, Commit::AtOnce),
            Target::File { path, format, commit } => (Destination::of(path), *format, *commit),
        };
        Routed { label, stream, route: Route { destination, format, meta: default.meta, commit } }
    });
    routed.collect()
}

/// What people expect to be files and are none where state is saved, in a sentence.
pub fn parts(plan: &Plan, default: &DefaultOutput) -> Option<String> {
    let outputs = route(plan, default);
    let in_parts = outputs.iter().filter(|o| o.route.guarantee() == Guarantee::AtCheckpoint);
    let names = in_parts.filter_map(|o| match &o.route.destination {
        Destination::Stdout => None,
        Destination::File(path) => Some(path.clone()),
        Destination::Folder(path) => Some(format!("each output in {path}")),
    });
    let names: BTreeSet<String> = names.collect();
    let each = if names.len() > 1 { "are folders" } else { "is a folder" };
    let names: Vec<String> = names.into_iter().collect();
    let what = names.join(", ");
    (!names.is_empty()).then(|| format!("{what} {each} of parts, one for each checkpoint that has new rows"))
}

impl Routed {
    /// What a checkpoint calls the output.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Under what the output's rows are held: they fit no other form.
    pub fn held_as(&self) -> String {
        format!("{}\n{}", self.label, self.record().form)
    }

    /// How the output's rows leave, as a checkpoint remembers it.
    pub fn record(&self) -> OutputRecord {
        let columns = shown::columns(&self.stream.schema);
        let names: Vec<&str> = self.stream.schema.fields.iter().map(|f| f.name.as_str()).collect();
        let mut form = match self.route.format {
            // A row says itself what its columns are.
            OutputFormat::Jsonl => "jsonl".to_string(),
            OutputFormat::Csv => format!("csv of {}", names.join(", ")),
            OutputFormat::Table => format!("a table of {columns}"),
            OutputFormat::Parquet => format!("parquet of {columns}"),
            OutputFormat::Arrow => format!("arrow of {columns}"),
        };
        if self.route.guarantee() == Guarantee::AtCheckpoint {
            form += ", in parts";
        }
        let (destination, is_file) = match &self.route.destination {
            Destination::Stdout => ("standard output".to_string(), false),
            Destination::File(path) => (path.clone(), true),
            Destination::Folder(folder) => (format!("{folder}/"), true),
        };
        OutputRecord { form, destination, is_file }
    }

    /// How the output's rows reach the writer.
    pub fn form(&self) -> Form {
        match self.row_encoder() {
            Some(_) => Form::Text,
            None => Form::Columns(self.stream.schema.fields.iter().map(|f| f.data_type.clone()).collect()),
        }
    }

    /// The output's encoder for one worker.
    pub fn encoder(&self) -> Encoder {
        match self.row_encoder() {
            Some(mut encoder) => Box::new(move |batch| encode(encoder.as_mut(), batch)),
            None => Box::new(|batch| batch),
        }
    }

    fn row_encoder(&self) -> Option<Box<dyn RowEncoder>> {
        sink::encoder(&self.route.destination, self.route.format, &self.stream, self.route.meta)
    }
}

/// The batch with its rows as one column of bytes.
fn encode(encoder: &mut dyn RowEncoder, batch: Batch) -> Batch {
    let mut rows = EncodedRows::default();
    encoder.encode(&batch, &mut rows);
    let offsets: ScalarBuffer<i32> = std::iter::once(0).chain(rows.ends.iter().map(|end| *end as i32)).collect();
    let text = BinaryArray::new(OffsetBuffer::new(offsets), rows.bytes.into(), None);
    Batch { columns: vec![Arc::new(text)], ..batch }
}

/// The sinks of a run, opened.
pub struct Sinks {
    sinks: Vec<Sink>,
    /// By output: its sink, and its number there.
    routes: Vec<(usize, usize)>,
    /// How far each file had been written at the end of the last epoch.
    marks: Vec<Mark>,
}

impl Sinks {
    pub fn open(outputs: &[Routed], start: &Start) -> Result<Sinks, SinkError> {
        let mut groups: Vec<(Route, Vec<OutputStream>)> = Vec::new();
        let mut routes = Vec::new();
        for output in outputs {
            let known = groups.iter().position(|(route, _)| *route == output.route);
            let group = known.unwrap_or_else(|| {
                groups.push((output.route.clone(), Vec::new()));
                groups.len() - 1
            });
            routes.push((group, groups[group].1.len()));
            groups[group].1.push(output.stream.clone());
        }
        let open = |(route, streams): &(Route, Vec<_>)| sink::open(route, streams, start);
        Ok(Sinks { sinks: groups.iter().map(open).collect::<Result<_, _>>()?, routes, marks: Vec::new() })
    }

    /// For a process that writes nothing.
    pub fn none() -> Sinks {
        Sinks { sinks: Vec::new(), routes: Vec::new(), marks: Vec::new() }
    }
}

impl Writer for Sinks {
    fn write(&mut self, output: usize, rows: &Batch) -> Result<(), WriteError> {
        let (sink, stream) = self.routes[output];
        match &mut self.sinks[sink] {
            Sink::Bytes(sink) => {
                let text = rows.columns[0].as_binary::<i32>();
                let (first, last) = (text.value_offsets()[0] as usize, text.value_offsets()[rows.len()] as usize);
                sink.write(stream, &text.value_data()[first..last]).map_err(write_error)
            }
            Sink::Batches(sink) => sink.write(stream, rows).map_err(write_error),
        }
    }

    fn write_text(&mut self, output: usize, rows: &[u8]) -> Result<(), WriteError> {
        let (sink, stream) = self.routes[output];
        match &mut self.sinks[sink] {
            Sink::Bytes(sink) => sink.write(stream, rows).map_err(write_error),
            Sink::Batches(_) => unreachable!("an output of a text format has a sink of bytes"),
        }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        for sink in &mut self.sinks {
            match sink {
                Sink::Bytes(sink) => sink.flush().map_err(write_error)?,
                // Where a columnar file or a table is cut must not depend on timing.
                Sink::Batches(_) => {}
            }
        }
        Ok(())
    }

    fn end_epoch(&mut self) -> Result<(), WriteError> {
        self.marks.clear();
        for sink in &mut self.sinks {
            self.marks.extend(
                match sink {
                    Sink::Bytes(sink) => sink.mark(),
                    Sink::Batches(sink) => sink.mark(),
                }
                .map_err(write_error)?,
            );
        }
        Ok(())
    }

    fn take_marks(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.marks)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        for sink in &mut self.sinks {
            match sink {
                Sink::Bytes(sink) => sink.finish()?,
                Sink::Batches(sink) => sink.finish()?,
            }
        }
        Ok(())
    }
}

fn write_error(error: SinkError) -> WriteError {
    match error {
        SinkError::Closed => WriteError::Closed,
        other => WriteError::Failed(other.to_string()),
    }
}
