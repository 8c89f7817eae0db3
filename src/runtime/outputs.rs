//! The outputs of a plan and the sinks behind them.
//!
//! Outputs that name the same destination share its sink; a sink is told streams by their number within
//! it, the dataflow by their number in the plan.

use std::sync::Arc;

use arrow_array::BinaryArray;
use arrow_array::cast::AsArray;
use arrow_buffer::{OffsetBuffer, ScalarBuffer};

use crate::connector::format::encode::jsonl::Meta;
use crate::connector::format::encode::{EncodedRows, RowEncoder};
use crate::connector::sink::{self, Destination, Mark, OutputStream, Sink, SinkError, Start};
use crate::connector::spec::OutputFormat;
use crate::data::Batch;
use crate::dataflow::op::sink::{Form, WriteError, Writer};
use crate::dataflow::render::Encoder;
use crate::plan::physical::{Plan, Target};

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
    stream: OutputStream,
    destination: Destination,
    format: OutputFormat,
    meta: Meta,
}

/// The routes of all outputs, in the order of the plan.
pub fn route(plan: &Plan, default: &DefaultOutput) -> Vec<Routed> {
    let routed = plan.outputs.iter().map(|output| {
        let schema = plan.nodes[output.node].schema.clone();
        let stream = OutputStream { name: output.name.clone(), schema };
        let (destination, format) = match &output.target {
            Target::Default => (default.destination.clone(), default.format),
            Target::Stdout { format } => (Destination::Stdout, *format),
            Target::File { path, format } => (Destination::of(path), *format),
        };
        Routed { stream, destination, format, meta: default.meta }
    });
    routed.collect()
}

impl Routed {
    /// How the output's rows reach the writer.
    pub fn form(&self) -> Form {
        match sink::encoder(&self.destination, self.format, &self.stream, self.meta) {
            Some(_) => Form::Text,
            None => Form::Columns(self.stream.schema.fields.iter().map(|f| f.data_type.clone()).collect()),
        }
    }

    /// The output's encoder for one worker.
    pub fn encoder(&self) -> Encoder {
        match sink::encoder(&self.destination, self.format, &self.stream, self.meta) {
            Some(mut encoder) => Box::new(move |batch| encode(encoder.as_mut(), batch)),
            None => Box::new(|batch| batch),
        }
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
        let mut groups: Vec<(Destination, OutputFormat, Meta, Vec<OutputStream>)> = Vec::new();
        let mut routes = Vec::new();
        for output in outputs {
            let known = groups.iter().position(|g| g.0 == output.destination && g.1 == output.format);
            let group = known.unwrap_or_else(|| {
                groups.push((output.destination.clone(), output.format, output.meta, Vec::new()));
                groups.len() - 1
            });
            routes.push((group, groups[group].3.len()));
            groups[group].3.push(output.stream.clone());
        }
        let open = |(to, format, meta, streams): &(_, _, _, Vec<_>)| sink::open(to, *format, streams, *meta, start);
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
            match sink {
                Sink::Bytes(sink) => self.marks.extend(sink.mark().map_err(write_error)?),
                // They are refused where anything is saved, but for a terminal's table.
                Sink::Batches(_) => {}
            }
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
