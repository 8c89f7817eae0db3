//! Tables as they are defined: at a place, of each key the row that ranks highest among those whose place is not
//! after it. Nothing is kept from one place to the next.

use varpulis_runtime::data::Value;
use varpulis_runtime::expr::Expr;
use varpulis_runtime::sema::hir::{Keyed, KeyedKind, Lookup};

use super::{Row, compare_values, encoded, key_values, value_of};

/// The row that a table has of a key at a place, of all the rows of that key.
fn content<'r>(delete: Option<&Expr>, rows: &[&'r Row], place: i64) -> Option<&'r Row> {
    let before = rows.iter().filter(|row| row.at <= place);
    let rank = |row: &Row| (row.time, row.seq, row.at);
    let last = before.max_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| compare_values(&a.values, &b.values)))?;
    let is_deleted = delete.is_some_and(|e| value_of(e, last) == Value::Bool(true));
    (!is_deleted).then_some(*last)
}

/// The changes of a table, of the rows of one key.
pub fn table_rows(keyed: &Keyed, delete: Option<&Expr>, key: &[u8], rows: &[Row]) -> Vec<Row> {
    let all: Vec<&Row> = rows.iter().collect();
    let mut places: Vec<i64> = rows.iter().map(|row| row.at).collect();
    places.sort_unstable();
    places.dedup();
    let mut out = Vec::new();
    let mut before: Option<&Row> = None;
    for place in places {
        let now = content(delete, &all, place);
        if before.map(|row| &row.values) != now.map(|row| &row.values) {
            for (row, diff) in before.iter().map(|row| (row, -1)).chain(now.iter().map(|row| (row, 1))) {
                let mut values = row.values.clone();
                values.push(Value::Int(diff));
                values.extend(key_values(keyed, key));
                out.push(Row { time: place, at: place, seq: (0, 0), key: key.to_vec(), values });
            }
        }
        before = now;
    }
    out
}

fn diff_of(diff: &Expr, row: &Row) -> i64 {
    match value_of(diff, row) {
        Value::Int(n) => n,
        other => unreachable!("{other:?} is no difference"),
    }
}

/// Rows that differ in nothing but in whether they come or go.
fn without_diff(diff: &Expr, row: &Row) -> Vec<Value> {
    let Expr::Column { index, .. } = diff else { unreachable!("a column") };
    let mut values = row.values.clone();
    values.remove(*index);
    values
}

/// What happens to one key, place by place.
pub fn change_rows(diff: &Expr, as_diff: bool, rows: &[Row]) -> Vec<Row> {
    let mut out = Vec::new();
    for at_once in rows.chunk_by(|a, b| a.time == b.time) {
        let mut at_once: Vec<&Row> = at_once.iter().collect();
        at_once.sort_by(|a, b| compare_values(&without_diff(diff, a), &without_diff(diff, b)));
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for equal in at_once.chunk_by(|a, b| without_diff(diff, a) == without_diff(diff, b)) {
            let net: i64 = equal.iter().map(|row| diff_of(diff, row)).sum();
            let side = if net < 0 { &mut old } else { &mut new };
            let of_sign = equal.iter().filter(|row| diff_of(diff, row).signum() == net.signum());
            side.extend(of_sign.take(net.unsigned_abs() as usize).copied());
        }
        let told: Vec<(&Row, &str)> = match as_diff {
            true => old.iter().map(|row| (*row, "delete")).chain(new.iter().map(|row| (*row, "insert"))).collect(),
            false => {
                let updates = old.len().min(new.len());
                let updated = new[..updates].iter().map(|row| (*row, "update"));
                let deleted = old[updates..].iter().map(|row| (*row, "delete"));
                updated.chain(deleted).chain(new[updates..].iter().map(|row| (*row, "insert"))).collect()
            }
        };
        for (rank, (row, op)) in told.into_iter().enumerate() {
            let mut values = row.values.clone();
            values.push(Value::str(op));
            out.push(Row { seq: (0, rank as u64), values, ..row.clone() });
        }
    }
    out
}

/// What the changes of a table add up to.
pub fn snapshot_rows(diff: &Expr, by: &[Expr], rows: &[Row]) -> Vec<Row> {
    let mut left: Vec<(Vec<u8>, Row, i64)> = Vec::new();
    for row in rows {
        let (key, change) = (encoded(by, row), diff_of(diff, row));
        let same = |held: &(Vec<u8>, Row, i64)| held.0 == key && without_diff(diff, &held.1) == without_diff(diff, row);
        match left.iter_mut().find(|held| same(held)) {
            Some((_, held, count)) => {
                *count += change;
                held.time = row.time;
            }
            None => left.push((key, row.clone(), change)),
        }
        left.retain(|(_, _, count)| *count != 0);
    }
    let latest = left.iter().map(|(_, row, _)| row.time).max().unwrap_or_default();
    let Expr::Column { index, .. } = diff else { unreachable!("a column") };
    let mut out: Vec<Row> = Vec::new();
    left.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| compare_values(&a.1.values, &b.1.values)));
    for (key, mut row, _) in left {
        row.values[*index] = Value::Int(1);
        out.push(Row { time: latest, at: latest, seq: (0, 0), key, ..row });
    }
    out
}

/// A row with what the table, made of `table_rows`, has at its place; `None` where a match is required and missing.
pub fn enriched(lookup: &Lookup, row: &Row, table: &Keyed, table_rows: &[&Row]) -> Option<Row> {
    let KeyedKind::Table { delete, .. } = &table.kind else { unreachable!("no table") };
    let key = encoded(&lookup.on, row);
    let is_null = lookup.on.iter().any(|e| value_of(e, row) == Value::Null);
    let of_key: Vec<&Row> = table_rows.iter().filter(|r| encoded(&table.key, r) == key).copied().collect();
    let found = if is_null { None } else { content(delete.as_ref(), &of_key, row.at) };
    if found.is_none() && lookup.required {
        return None;
    }
    let mut values = row.values.clone();
    for (column, default) in &lookup.fields {
        values.push(match (found, default) {
            (Some(found), _) if *column < found.values.len() => found.values[*column].clone(),
            (Some(_), _) => unreachable!("a hidden column is looked up"),
            (None, Expr::Literal { value, .. }) => value.clone(),
            (None, other) => unreachable!("{other:?} is no literal"),
        });
    }
    Some(Row { key, values, ..row.clone() })
}
