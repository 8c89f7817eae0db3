//! The outside world for the compiler: files behind paths, and samples of their rows.

use std::sync::Arc;

use crate::connector::BlockData;
use crate::connector::format::columnar::read_rows;
use crate::connector::input::{open as open_input, partitions};
use crate::connector::partition::{Polled, ReadError};
use crate::connector::paths::{FileKind, compression_of, expand, kind_of};
use crate::connector::sample::Sampler;
use crate::connector::spec::{FileFormat, Input};
use crate::sema::inputs::{FileRequest, SampledType, Surroundings};

/// Bytes read at a time for a sample.
const SAMPLE_BLOCK_BYTES: usize = 1 << 20;

/// The files of this machine.
#[derive(Default)]
pub struct Outside;

impl Surroundings for Outside {
    fn open(&mut self, request: &FileRequest) -> Result<Input, String> {
        let input = if request.follow { follow(request) } else { locate(&request.path, request.format) };
        let mut input = input.map_err(|e| e.to_string())?;
        match &mut input {
            Input::Files { time_unit, .. } | Input::Stdin { time_unit, .. } | Input::Follow { time_unit, .. } => {
                *time_unit = request.time_unit;
            }
            Input::Generator { .. } => {}
        }
        Ok(input)
    }

    fn sample(&mut self, _: &str, input: &Input, types: &[String]) -> Result<Vec<SampledType>, String> {
        let Input::Files { format, .. } = input else {
            return Err("only files can be sampled; declare the type".to_string());
        };
        let mut sampler = Sampler::new(*format, types.to_vec());
        read_sample(input, &mut sampler).map_err(|e| e.to_string())?;
        let mut out = Vec::new();
        for name in types {
            let Some(sampled) = sampler.sampled(name) else { continue };
            let sampled = sampled.map_err(|e| e.to_string())?;
            out.push(SampledType {
                name: name.clone(),
                schema: sampled.schema,
                time_units: sampled.time_units,
                event_time: sampled.event_time,
            });
        }
        Ok(out)
    }
}

/// The files behind a path or glob. `format` overrides what their names tell.
pub fn locate(pattern: &str, format: Option<FileFormat>) -> Result<Input, ReadError> {
    let paths = expand(pattern)?;
    let first = match format {
        Some(format) => FileKind { format, compression: compression_of(&paths[0]) },
        None => kind_of(&paths[0])?,
    };
    let unlike = |path: &&String| compression_of(path) != first.compression;
    if let Some(other) = paths.iter().find(unlike) {
        let (pattern, a, b) = (pattern.to_string(), paths[0].clone(), other.clone());
        return Err(ReadError::MixedCompression { pattern, a, b });
    }
    Ok(Input::Files { paths, format: first.format, compression: first.compression, time_unit: None })
}

/// A file that is followed may not be there yet.
fn follow(request: &FileRequest) -> Result<Input, ReadError> {
    let format = match request.format {
        Some(format) => format,
        None => match kind_of(&request.path) {
            Ok(kind) => kind.format,
            Err(ReadError::NotFound { .. } | ReadError::UnknownFormat { .. }) => FileFormat::Jsonl,
            Err(error) => return Err(error),
        },
    };
    Ok(Input::Follow { path: request.path.clone(), format, time_unit: None })
}

/// Reads the files from the first on until the sample is full.
fn read_sample(input: &Input, sampler: &mut Sampler) -> Result<(), ReadError> {
    for file in partitions(input).into_iter().filter(|p| !p.live) {
        let mut reader = open_input(input, &file.name, Arc::new(|| {}))?;
        reader.set_target_bytes(SAMPLE_BLOCK_BYTES);
        while let Polled::Block(mut block) = reader.poll_block()? {
            if let Some(rows) = read_rows(&block)? {
                block.data = BlockData::Rows(rows);
            }
            sampler.add(&block);
            if sampler.is_full() {
                return Ok(());
            }
        }
    }
    Ok(())
}
