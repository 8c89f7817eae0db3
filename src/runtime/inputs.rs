//! The inputs of a plan and the partitions behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::job::Share;
use crate::connector::format::{DecoderConfig, decoder};
use crate::connector::input;
use crate::connector::intake::{DecoderMaker, Intake, Limits, Opener, Partition};
use crate::connector::partition::ReadError;
use crate::connector::rejects::Rejects;
use crate::connector::sink::dead_letter::DeadLetters;
use crate::connector::spec::{FileFormat, Input, Source, SourceType};
use crate::data::flight::Gauge;
use crate::plan::explain::expr::expr;
use crate::plan::physical::Plan;

/// The partitions of a program. Those in `ranks` keep theirs, which rows that wait bear; what is not among
/// them comes after.
pub fn all_partitions(plan: &Plan, ranks: &BTreeMap<String, u32>) -> Vec<Partition> {
    let mut partitions = Vec::new();
    for (index, source) in plan.sources.iter().enumerate() {
        partitions.extend(partitions_of(index, source));
    }
    // The rank follows from the name alone, not from the order in which partitions were found.
    partitions.sort_by(|a, b| a.name.cmp(&b.name));
    tell_apart(plan, &mut partitions);
    let first = ranks.values().max().map_or(0, |greatest| greatest + 1);
    let unranked = partitions.iter_mut().filter(|p| !ranks.contains_key(&p.key));
    (first..).zip(unranked).for_each(|(rank, p)| p.rank = rank);
    let ranked = partitions.iter_mut().filter_map(|p| ranks.get(&p.key).map(|rank| (p, rank)));
    ranked.for_each(|(p, rank)| p.rank = *rank);
    partitions
}

/// Those of them that this process reads.
pub fn partitions(plan: &Plan, share: Share, ranks: &BTreeMap<String, u32>) -> Vec<Partition> {
    let mut partitions = all_partitions(plan, ranks);
    partitions.retain(|p| share.reads(p.rank, p.live));
    partitions
}

/// Gives partitions of one name, which several sources read each for itself, keys of their own: by what they
/// are read as, and not by the place of the source in the plan.
fn tell_apart(plan: &Plan, partitions: &mut [Partition]) {
    for same in partitions.chunk_by_mut(|a, b| a.name == b.name).filter(|same| same.len() > 1) {
        for partition in same {
            let read_as = |t: &SourceType| match &t.time {
                Some(time) => format!("{} by {}", t.name, expr(time, &t.schema)),
                None => t.name.clone(),
            };
            let types: Vec<String> =
                plan.sources[partition.source].types.iter().filter(|ty| ty.is_read).map(read_as).collect();
            partition.key = format!("{} ({})", partition.name, types.join(", "));
        }
    }
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
