//! The rows on an edge of the plan, described by where they come from: the facts that decide which they
//! are, and each column as an expression over those of the last node that made rows. So it does not matter
//! where the planner put a filter, or whether it made one projection of two.

use std::collections::BTreeSet;

use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use super::facts::Facts;
use crate::connector::spec::{Input, SourceOutput, SourceType};
use crate::data::{DataType, Field, Schema, Type};
use crate::expr::Expr;
use crate::expr::remap;
use crate::plan::explain::expr::expr;
use crate::plan::explain::parts;
use crate::plan::physical::{Plan, Step};
use crate::plan::rewrite::substitute;

/// An expression with more operands than this is known by its hash where others use it: written out, a
/// chain of columns that each use the one before twice would have no end.
const OPERANDS_MAX: usize = 1000;

/// The rows on an edge.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    pub facts: Facts,
    pub base: Vec<Base>,
    /// The columns, over `base`.
    pub columns: Vec<Expr>,
    /// The outputs of sources that they come from.
    pub sources: BTreeSet<(usize, usize)>,
}

/// A column of the node that made the rows.
#[derive(Clone, Debug)]
pub struct Base {
    /// What it is, whatever its place.
    pub exact: String,
    /// For people.
    pub name: String,
}

/// A text by its hash.
pub fn short(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

/// The expression with its columns by what they are.
pub fn exact(e: &Expr, base: &[Base]) -> String {
    let mut order = Vec::new();
    note_columns(e, &mut order);
    let place = |column: usize| order.iter().position(|c| *c == column).expect("every column was noted");
    let columns: Vec<&str> = order.iter().map(|c| base[*c].exact.as_str()).collect();
    json!([remap(e.clone(), &place), columns]).to_string()
}

/// Columns in the order in which they come first.
fn note_columns(e: &Expr, order: &mut Vec<usize>) {
    if let Expr::Column { index, .. } = e
        && !order.contains(index)
    {
        order.push(*index);
    }
    e.for_each_child(&mut |child| note_columns(child, order));
}

/// The expression as people write it.
pub fn text(e: &Expr, base: &[Base]) -> String {
    expr(e, &names(base))
}

/// The names alone.
pub fn names(base: &[Base]) -> Schema {
    let unknown = DataType { ty: Type::Null, nullable: true };
    Schema::new(base.iter().map(|b| Field::new(b.name.clone(), unknown.clone())).collect())
}

impl Edge {
    /// Every column stands for itself; `exact` says what it is.
    pub fn columns_are(&mut self, schema: &Schema, exact: &dyn Fn(usize) -> String) {
        let base = |(i, f): (usize, &Field)| Base { exact: exact(i), name: f.name.clone() };
        self.base = schema.fields.iter().enumerate().map(base).collect();
        self.columns = crate::plan::logical::same_columns(schema);
    }

    /// An expression over the columns, over the base.
    fn over_base(&mut self, e: &Expr) -> Expr {
        let sizes: Vec<usize> = self.columns.iter().map(|c| operands(c, &[])).collect();
        if operands(e, &sizes) > OPERANDS_MAX && sizes.iter().any(|size| *size > 1) {
            self.seal();
        }
        substitute(e.clone(), &self.columns)
    }

    /// Makes every column stand for itself.
    fn seal(&mut self) {
        let base = |e: &Expr| Base { exact: short(&exact(e, &self.base)), name: "…".to_string() };
        self.base = self.columns.iter().map(base).collect();
        let column = |(i, e): (usize, &Expr)| Expr::column(i, e.data_type());
        self.columns = self.columns.iter().enumerate().map(column).collect();
    }

    fn filter(&mut self, predicate: &Expr) {
        if let Expr::And(parts) = predicate {
            return parts.iter().for_each(|part| self.filter(part));
        }
        let predicate = self.over_base(predicate);
        self.facts
            .add(format!("where {}", text(&predicate, &self.base)), json!(["where", exact(&predicate, &self.base)]));
    }
}

/// How many operands an expression has when its columns have so many; without `sizes`, one each.
fn operands(e: &Expr, sizes: &[usize]) -> usize {
    if let Expr::Column { index, .. } = e {
        return sizes.get(*index).copied().unwrap_or(1);
    }
    let mut count = 1;
    e.for_each_child(&mut |child| count += operands(child, sizes));
    count
}

/// The rows of an output of a source.
pub fn of_source(plan: &Plan, source: usize, output: usize) -> Edge {
    let from = &plan.sources[source];
    let SourceOutput { ty, watermark, filter, seq: _ } = &from.outputs[output];
    let SourceType { name, schema, time_units, time, sampled: _, declared: _, is_read: _ } = &from.types[*ty];
    let mut edge = Edge { sources: [(source, output)].into(), ..Edge::default() };
    let (shown, input) = (format!("{name} from {}", from.name), json!([from.name, shape(&from.input), name]));
    edge.facts.add(shown, json!(["source", input]));
    edge.facts.add(format!("watermark {}", parts::watermark(watermark)), json!(["watermark", watermark]));
    let fields: Vec<_> = schema.fields.iter().zip(time_units).collect();
    let exactly = |i: usize| json!([name, fields[i].0, fields[i].1]).to_string();
    // A row that is not valid in one of them does not come.
    for (i, (field, _)) in fields.iter().enumerate() {
        let shown = format!("{name}.{} is read: {}", field.name, field.data_type);
        edge.facts.add(shown, json!(["field", exactly(i)]));
    }
    edge.columns_are(schema, &exactly);
    if let Some(time) = time {
        edge.facts.add(format!("event time {}", text(time, &edge.base)), json!(["time", exact(time, &edge.base)]));
    }
    // Their times move the watermark, by which rows are late.
    for unread in from.types.iter().filter(|ty| !ty.is_read) {
        let base = unread.schema.fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
        let shown = format!("rows of {} move the watermark", unread.name);
        edge.facts.add(shown, json!(["unread", unread.name, base, unread.time]));
    }
    filter.iter().for_each(|predicate| edge.filter(predicate));
    edge
}

/// An input without its paths.
fn shape(input: &Input) -> serde_json::Value {
    match input {
        Input::Files { paths: _, format, compression, time_unit } => json!(["files", format, compression, time_unit]),
        Input::Stdin { format, time_unit } => json!(["stdin", format, time_unit]),
        Input::Follow { path: _, format, time_unit } => json!(["follow", format, time_unit]),
        Input::Generator { .. } => json!(["generator", input]),
    }
}

/// The rows behind a chain.
pub fn through(mut edge: Edge, steps: &[Step]) -> Edge {
    for step in steps {
        match step {
            Step::Filter(predicate) => edge.filter(predicate),
            Step::Project(exprs) => {
                // One may seal the edge, and so change what those before it are over.
                exprs.iter().for_each(|e| drop(edge.over_base(e)));
                edge.columns = exprs.iter().map(|e| edge.over_base(e)).collect();
            }
            Step::Print { .. } | Step::Log { .. } => {}
        }
    }
    edge
}

/// The rows of several edges, whatever their order.
pub fn merged(inputs: Vec<&Edge>, schema: &Schema) -> Edge {
    let mut out = Edge::default();
    let mut parts: Vec<(String, &Edge)> = inputs.into_iter().map(|edge| (edge.facts.hash(), edge)).collect();
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, edge) in &parts {
        edge.facts.iter().for_each(|fact| out.facts.insert(fact.clone()));
        out.sources.extend(&edge.sources);
    }
    let origins: Vec<&String> = parts.iter().map(|(hash, _)| hash).collect();
    out.facts.add(format!("{} merged", parts.len()), json!(["merge", origins]));
    out.columns_are(schema, &|i| {
        let columns: Vec<_> = parts.iter().map(|(hash, e)| json!([hash, exact(&e.columns[i], &e.base)])).collect();
        short(&json!(columns).to_string())
    });
    out
}
