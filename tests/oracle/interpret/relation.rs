//! Tables that follow from tables, as they are defined: at each time, what the operator says of the rows that are there.

use std::collections::{BTreeMap, BTreeSet};

use varpulis_runtime::data::Value;
use varpulis_runtime::data::key::{decode_value, encode_exact};
use varpulis_runtime::expr::aggregate::reference::{ReferenceRow, aggregate_rows};
use varpulis_runtime::expr::{Aggregate, Expr};
use varpulis_runtime::plan::logical::{NodeId, Op, Plan};
use varpulis_runtime::sema::hir::Relate;

use super::{Row, encoded, in_order_of};

/// Rows without `$diff`, by their bytes, each with how often it is there.
type Contents = BTreeMap<Vec<u8>, (Vec<Value>, i64)>;

/// The changes that the operator gives over the rows of its inputs.
pub fn related_rows(plan: &Plan, inputs: &[NodeId], relate: &Relate, nodes: &[Vec<Row>]) -> Vec<Row> {
    if matches!(relate, Relate::Feed | Relate::Arrange { .. } | Relate::Settle { .. }) {
        return nodes[inputs[0]].clone();
    }
    let keys: Vec<Vec<Expr>> = inputs.iter().map(|input| arranged_by(plan, *input)).collect();
    let times: BTreeSet<i64> = inputs.iter().flat_map(|i| nodes[*i].iter().map(|row| row.time)).collect();
    let (mut before, mut out) = (Contents::new(), Vec::new());
    for time in times {
        let given: Vec<Contents> = inputs.iter().map(|i| contents(&nodes[*i], time)).collect();
        let now = result(relate, &given, &keys);
        let all: BTreeSet<&Vec<u8>> = before.keys().chain(now.keys()).collect();
        for row in all {
            let count = |contents: &Contents| contents.get(row).map_or(0, |(_, count)| *count);
            let change = count(&now) - count(&before);
            if change != 0 {
                let (values, _) = now.get(row).or(before.get(row)).expect("it is in one of them");
                let values = values.iter().cloned().chain([Value::Int(change)]).collect();
                out.push(Row { time, at: time, seq: (0, 0), key: Vec::new(), values });
            }
        }
        before = now;
    }
    out
}

/// The key of an arrangement; of other nodes nobody asks.
fn arranged_by(plan: &Plan, node: NodeId) -> Vec<Expr> {
    match &plan.nodes[node].op {
        Op::Relate { relate: Relate::Arrange { key }, .. } => key.clone(),
        _ => Vec::new(),
    }
}

fn add(contents: &mut Contents, values: Vec<Value>, count: i64) {
    let mut bytes = Vec::new();
    values.iter().for_each(|v| encode_exact(v, &mut bytes));
    contents.entry(bytes).or_insert((values, 0)).1 += count;
}

/// What changes up to a time add up to.
fn contents(changes: &[Row], time: i64) -> Contents {
    let mut contents = Contents::new();
    for row in changes.iter().filter(|row| row.time <= time) {
        let (diff, values) = row.values.split_last().expect("changes say how often");
        let Value::Int(diff) = diff else { unreachable!("{diff:?} is no number of times") };
        add(&mut contents, values.to_vec(), *diff);
    }
    contents.retain(|_, (_, count)| *count != 0);
    contents
}

/// The values as a row that expressions can look at.
fn row_of(values: &[Value]) -> Row {
    Row { time: 0, at: 0, seq: (0, 0), key: Vec::new(), values: values.to_vec() }
}

fn result(relate: &Relate, given: &[Contents], keys: &[Vec<Expr>]) -> Contents {
    let rows = || given[0].values().map(|(values, count)| (row_of(values), *count));
    let mut out = Contents::new();
    match relate {
        Relate::Feed | Relate::Arrange { .. } | Relate::Settle { .. } => unreachable!("handled before"),
        Relate::Join => {
            for (left, times) in rows() {
                for (right, more) in given[1].values() {
                    if encoded(&keys[0], &left) == encoded(&keys[1], &row_of(right)) {
                        add(&mut out, [left.values.clone(), right.clone()].concat(), times * more);
                    }
                }
            }
        }
        Relate::Unmatched { .. } => {
            for (left, times) in rows() {
                let begins = |pair: &(Vec<Value>, i64)| bytes(&pair.0[..left.values.len()]) == bytes(&left.values);
                if !given[1].values().any(begins) {
                    add(&mut out, left.values, times);
                }
            }
        }
        Relate::Aggregate { key, aggregates } => {
            for (key_bytes, rows) in groups(key, rows()) {
                let mut key_bytes = &key_bytes[..];
                let parts = key.iter().map(|e| decode_value(&mut key_bytes, &e.data_type())).collect::<Vec<_>>();
                let results = aggregates.iter().map(|a| aggregated(a, &rows));
                add(&mut out, parts.into_iter().chain(results).collect(), 1);
            }
        }
        Relate::Distinct { by } => {
            for (row, _) in groups(by, rows()) {
                let mut row = &row[..];
                add(&mut out, by.iter().map(|e| decode_value(&mut row, &e.data_type())).collect(), 1);
            }
        }
        Relate::Top { key, order, n } => {
            for (_, mut rows) in groups(key, rows()) {
                rows.sort_by(|a, b| in_order_of(order, a, b).then_with(|| bytes(&a.values).cmp(&bytes(&b.values))));
                rows.into_iter().take(*n as usize).for_each(|row| add(&mut out, row.values, 1));
            }
        }
    }
    out
}

fn bytes(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|v| encode_exact(v, &mut bytes));
    bytes
}

/// The rows of each key, each as often as it is there.
fn groups(key: &[Expr], rows: impl Iterator<Item = (Row, i64)>) -> BTreeMap<Vec<u8>, Vec<Row>> {
    let mut groups: BTreeMap<Vec<u8>, Vec<Row>> = BTreeMap::new();
    for (row, times) in rows {
        let group = groups.entry(encoded(key, &row)).or_default();
        group.extend((0..times).map(|_| row.clone()));
    }
    groups
}

fn aggregated(aggregate: &Aggregate, rows: &[Row]) -> Value {
    let values = |row: &Row| aggregate.args.iter().map(|i| row.values[*i].clone()).collect();
    let reference = |row: &Row| ReferenceRow { time: 0, at: 0, seq: (0, 0), values: values(row) };
    let aggregate = Aggregate { args: (0..aggregate.args.len()).collect(), ..aggregate.clone() };
    aggregate_rows(&aggregate, &rows.iter().map(reference).collect::<Vec<_>>())
}
