//! The inputs of a plan and the partitions behind them.

use std::sync::Arc;

use super::job::Share;
use crate::connector::format::{DecoderConfig, decoder};
use crate::connector::input;
use crate::connector::intake::{DecoderMaker, Intake, Limits, Opener, Partition};
use crate::connector::partition::ReadError;
use crate::connector::rejects::{DeadLetters, Rejects};
use crate::connector::spec::{FileFormat, Input, Source};
use crate::data::flight::Gauge;
use crate::plan::physical::Plan;

/// Opens nothing yet, but knows every partition and checks that those to be peeked can be read.
pub fn open_intake(
    plan: &Plan,
    share: Share,
    dead_letters: Option<DeadLetters>,
    limits: Limits,
) -> Result<Intake, ReadError> {
    let mut partitions = Vec::new();
    for (index, source) in plan.sources.iter().enumerate() {
        partitions.extend(partitions_of(index, source));
    }
    // The rank follows from the name alone, not from the order in which partitions were found.
    partitions.sort_by(|a, b| a.name.cmp(&b.name));
    partitions.iter_mut().enumerate().for_each(|(rank, p)| p.rank = rank as u32);
    partitions.retain(|p| share.reads(p.rank, p.live));
    let sampled = |s: &Source| s.types.iter().any(|t| t.sampled);
    let policies = plan.sources.iter().map(|s| (s.name.clone(), s.on_error, sampled(s))).collect();
    let rejects = Rejects::new(policies, dead_letters);
    let decoders = plan.sources.iter().map(decoder_maker).collect();
    let mut intake = Intake::new(plan.sources.clone(), partitions, decoders, rejects, limits);
    intake.gauge = Arc::new(Gauge::of_process(share.process));
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
        Partition::new(index, source.outputs.len(), spec.name, spec.live, open)
    })
}
