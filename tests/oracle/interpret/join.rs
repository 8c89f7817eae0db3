//! What a join gives: every row of one input with every row of the other.

use varpulis_runtime::data::{Schema, Value};
use varpulis_runtime::expr::Expr;
use varpulis_runtime::expr::reference::evaluate_row;
use varpulis_runtime::join::{Join, Reach};

use super::{Row, encoded, value_of};

pub fn join_rows(join: &Join, lateness_ns: i64, inputs: [&Vec<Row>; 2], schemas: [&Schema; 2]) -> Vec<Row> {
    let on_time = |row: &&Row| match join.reach {
        Reach::Interval { .. } => row.time.saturating_add(lateness_ns) >= row.at,
        Reach::Window { .. } => window(join, row.time).1.saturating_add(lateness_ns) > row.at,
    };
    let sides = inputs.map(|rows| rows.iter().filter(on_time).cloned().collect::<Vec<Row>>());
    let mut paired = [vec![false; sides[0].len()], vec![false; sides[1].len()]];
    let mut out = Vec::new();
    for (i, left) in sides[0].iter().enumerate() {
        for (j, right) in sides[1].iter().enumerate() {
            if !is_near(join, left.time, right.time) || !has_equal_keys(join, left, right) {
                continue;
            }
            let time = match join.reach {
                Reach::Interval { .. } => left.time.max(right.time),
                Reach::Window { .. } => window(join, left.time).1 - 1,
            };
            let values: Vec<Value> = left.values.iter().chain(&right.values).cloned().collect();
            let fits = |e: &Expr| evaluate_row(e, &values, time, time).0 == Value::Bool(true);
            if join.residual.as_ref().is_none_or(fits) {
                (paired[0][i], paired[1][j]) = (true, true);
                out.push(given(join, time, &values));
            }
        }
    }
    for side in [0, 1] {
        let alone = sides[side].iter().zip(&paired[side]).filter(|(_, paired)| join.keeps[side] && !**paired);
        for (row, _) in alone {
            let nulls = vec![Value::Null; schemas[1 - side].len()];
            let values =
                if side == 0 { [row.values.clone(), nulls].concat() } else { [nulls, row.values.clone()].concat() };
            let time = match join.reach {
                Reach::Interval { .. } => row.time,
                Reach::Window { .. } => window(join, row.time).1 - 1,
            };
            out.push(given(join, time, &values));
        }
    }
    out
}

fn given(join: &Join, time: i64, values: &[Value]) -> Row {
    let values = join.output.iter().map(|i| values[*i].clone()).collect();
    Row { time, at: time, seq: (0, 0), key: Vec::new(), values }
}

/// The bounds of the window that an instant lies in.
fn window(join: &Join, time: i64) -> (i64, i64) {
    let Reach::Window { size_ns, offset_ns } = join.reach else { unreachable!("the join is in windows") };
    let start = (time - offset_ns).div_euclid(size_ns) * size_ns + offset_ns;
    (start, start + size_ns)
}

fn is_near(join: &Join, left: i64, right: i64) -> bool {
    match join.reach {
        Reach::Interval { before_ns, after_ns } => {
            left.saturating_sub(before_ns) <= right && right <= left.saturating_add(after_ns)
        }
        Reach::Window { .. } => window(join, left) == window(join, right),
    }
}

fn has_equal_keys(join: &Join, left: &Row, right: &Row) -> bool {
    let is_null = |side: usize, row: &Row| join.keys[side].iter().any(|e| value_of(e, row) == Value::Null);
    !is_null(0, left) && !is_null(1, right) && encoded(&join.keys[0], left) == encoded(&join.keys[1], right)
}
