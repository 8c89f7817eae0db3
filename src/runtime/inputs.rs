//! The inputs of a plan and the partitions behind them.

use std::sync::Arc;

use super::job::Share;
use crate::connector::format::{DecoderConfig, decoder};
use crate::connector::input;
use crate::connector::intake::{DecoderMaker, Intake, Limits, Opener, Partition};
use crate::connector::partition::ReadError;
use crate::connector::rejects::Rejects;
use crate::connector::sink::dead_letter::DeadLetters;
use crate::connector::spec::{FileFormat, Input, Source};
use crate::data::flight::Gauge;
use crate::plan::physical::Plan;

/// The partitions that this process reads, ranked among all of the program.
pub fn partitions(plan: &Plan, share: Share) -> Vec<Partition> {
    let mut partitions = Vec::new();
    for (index, source) in plan.sources.iter().enumerate() {
        partitions.extend(partitions_of(index, source));
    }
    // The rank follows from the name alone, not from the order in which partitions were found.
    partitions.sort_by(|a, b| a.name.cmp(&b.name));
    partitions.iter_mut().enumerate().for_each(|(rank, p)| p.rank = rank as u32);
    partitions.retain(|p| share.reads(p.rank, p.live));
    partitions
}

/// Opens nothing yet, but checks that those to be peeked can be read. `epoch` is the first of the run.
pub fn open_intake(
    plan: &Plan,
    partitions: Vec<Partition>,
    dead_letters: Option<DeadLetters>,
    limits: Limits,
    process: usize,
    epoch: u64,
) -> Result<Intake, ReadError> {
    let sampled = |s: &Source| s.types.iter().any(|t| t.sampled);
    let policies = plan.sources.iter().map(|s| (s.name.clone(), s.on_error, sampled(s))).collect();
    let rejects = Rejects::new(policies, dead_letters);
    let decoders = plan.sources.iter().map(decoder_maker).collect();
    let mut intake = Intake::new(plan.sources.clone(), partitions, decoders, rejects, limits, epoch);
    intake.gauge = Arc::new(Gauge::of_process(process));
    intake.peek()?;
    Ok(intake)
}

fn decoder_maker(source: &Source) -> DecoderMaker {
    let config = DecoderConfig { types: source.types.clone() };
    let format = match &source.input {
        Input::Files { format, .. } | Input::Stdin { format, .. } | Input::Follow { format, .. } => *format,
        Input::Generator { .. } => FileFormat::Arrow,
    };
    Box::new(move || decoder(format, &config))
}

fn partitions_of(index: usize, source: &Source) -> impl Iterator<Item = Partition> {
    input::partitions(&source.input).into_iter().map(move |spec| {
        let (of, name) = (source.input.clone(), spec.name.clone());
        let open: Opener = Box::new(move |waker| input::open(&of, &name, waker));
        let mut partition = Partition::new(index, source.outputs.len(), spec.name, spec.live, open);
        if let Input::Files { .. } | Input::Follow { .. } = &source.input {
            partition.path = Some(partition.name.clone());
        }
        partition
    })
}
