//! The fused stateless operator: filters, projections and diagnostics over a batch, in one pass.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, NullArray};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use super::counters::Counters;
use super::driven::{PacketBuilder, Packets};
use crate::data::key::encode_keys;
use crate::data::{Batch, DataType};
use crate::dataflow::time::Time;
use crate::expr::text::write_text;
use crate::expr::{Errors, Expr, evaluate, evaluate_predicate};
use crate::plan::physical::{LogLevel, Step};

/// Runs the steps over a batch.
pub fn run_steps(steps: &[Step], mut batch: Batch, errors: &Errors) -> Batch {
    for step in steps {
        if batch.is_empty() {
            return Batch::default();
        }
        match step {
            Step::Filter(predicate) => batch = batch.filter(&evaluate_predicate(predicate, &batch, errors)),
            Step::Project(exprs) => {
                let columns = exprs.iter().map(|e| evaluate(e, &batch, errors)).collect();
                batch = Batch { columns, ..batch };
            }
            Step::Print { prefix, expr } => print_rows(expr, &batch, errors, &mut |text| eprintln!("{prefix} {text}")),
            Step::Log { level, message } => {
                print_rows(message, &batch, errors, &mut |text| eprintln!("{} {text}", level_name(*level)));
            }
        }
    }
    batch
}

fn print_rows(text: &Expr, batch: &Batch, errors: &Errors, print: &mut dyn FnMut(&str)) {
    let (values, ty) = (evaluate(text, batch, errors), text.data_type().ty);
    let mut line = String::new();
    for row in 0..values.len() {
        line.clear();
        write_text(&values, &ty, row, &mut line);
        print(&line);
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "DEBUG",
        LogLevel::Info => "INFO",
        LogLevel::Warn => "WARN",
        LogLevel::Error => "ERROR",
    }
}

/// Adds the operator.
///
/// Of changes that are not `settled` nothing is counted: how many there are depends on timing, and after a restart they
/// come again.
pub fn chain<'scope>(
    name: &str,
    input: Packets<'scope>,
    steps: Vec<Step>,
    settled: bool,
    counters: Arc<Counters>,
) -> Packets<'scope> {
    map_batches(name, input, move |epoch, batch| {
        let errors = Errors::default();
        counters.enter(epoch);
        let rows = batch.len();
        let out = run_steps(&steps, batch, &errors);
        if settled {
            counters.add_errors(errors.count());
            counters.add_in(rows);
            counters.add_out(out.len());
        }
        out
    })
}

/// Adds the operator that encodes the key by which the rows will be exchanged. Of columns that are not
/// `read` only the places remain: what is exchanged is copied.
pub fn key_by<'scope>(
    name: &str,
    input: Packets<'scope>,
    key: Vec<Expr>,
    read: Option<Vec<usize>>,
    counters: Arc<Counters>,
) -> Packets<'scope> {
    let types: Vec<DataType> = key.iter().map(Expr::data_type).collect();
    map_batches(name, input, move |epoch, batch| {
        let errors = Errors::default();
        let columns: Vec<_> = key.iter().zip(&types).map(|(e, t)| (evaluate(e, &batch, &errors), t.clone())).collect();
        counters.enter(epoch);
        counters.add_errors(errors.count());
        let keys = Some(Arc::new(encode_keys(&columns, batch.len())));
        let mut columns = batch.columns;
        if let Some(read) = &read {
            let nothing: ArrayRef = Arc::new(NullArray::new(batch.time.len()));
            let unread = columns.iter_mut().enumerate().filter(|(i, _)| !read.contains(i));
            unread.for_each(|(_, column)| *column = nothing.clone());
        }
        Batch { columns, keys, ..batch }
    })
}

/// A stateless operator, in the place of its input: what it gives leaves with the stamp that came, whose
/// epoch `logic` is told.
pub fn map_batches<'scope>(
    name: &str,
    input: Packets<'scope>,
    mut logic: impl FnMut(u64, Batch) -> Batch + 'static,
) -> Packets<'scope> {
    input.unary::<PacketBuilder, _, _, _>(Pipeline, name, |_, _| {
        move |input, output| {
            input.for_each(|capability, packet| {
                let epoch = capability.stamp().iter().fold(Time::END, |m, t| m.meet(*t)).epoch;
                let batch = logic(epoch, packet.take());
                if !batch.is_empty() {
                    output.session_with_builder(&capability).give_container(&mut batch.into());
                }
            });
        }
    })
}
