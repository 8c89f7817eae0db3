//! Writes random joins: of two or three inputs, in any of their kinds, with keys of one type or of two that unify.

use super::{Chain, Readable, Writer};
use crate::generate::{Field, Ty};

/// Types whose values are keys.
const KEYS: [Ty; 6] = [Ty::Int, Ty::Float, Ty::Bool, Ty::Str, Ty::Timestamp, Ty::Duration];

impl Writer {
    pub(super) fn join(&mut self) -> Chain {
        let count = 2 + usize::from(self.random.chance(20));
        let inputs: Vec<Readable> = (0..count).map(|_| self.random.pick(&self.readable).clone()).collect();
        let mut conditions: Vec<Option<String>> = vec![None];
        let mut has_equality = true;
        for i in 1..count {
            let condition = self.pairing(&inputs, i);
            has_equality &= condition.is_some();
            conditions.push(condition);
        }
        let keyword = match has_equality {
            true => *self.random.pick(&["join", "join", "left_join", "right_join", "full_join"]),
            false => "cross_join",
        };
        let one_condition = count == 2 && self.random.chance(15);
        let mut parts: Vec<String> = Vec::new();
        for (i, (input, condition)) in inputs.iter().zip(&conditions).enumerate() {
            let on = condition.as_ref().filter(|_| !one_condition).map_or(String::new(), |c| format!(" on {c}"));
            parts.push(format!("{} as p{i}{on}", input.name));
        }
        let windowed = keyword != "cross_join" && self.random.chance(25);
        if !windowed {
            parts.push(self.reach());
        }
        let mut text = format!("{keyword}({})", parts.join(", "));
        if let Some(condition) = conditions[1].as_ref().filter(|_| one_condition) {
            text += &format!("\n    .on({condition})");
        }
        if windowed {
            let size = self.length(&["1s", "5s", "10s", "7s, offset: 1s"], &["1h", "7h", "1d", "3d, offset: 5h"]);
            text += &format!("\n    .window({size})");
        }
        let fields = self.flattened(&inputs, &mut text);
        if self.random.chance(30) {
            let by = self.length(&["0s", "1s", "5s", "20s"], &["0s", "1h", "1d"]);
            text += &format!("\n    .allowed_lateness({by})");
        }
        Chain { text, fields, watermarked: false, late: None, in_window: false, aggregated: false }
    }

    fn reach(&mut self) -> String {
        let mut length = || self.length(&["0s", "500ms", "1s", "3s", "10s", "1m"], &["0s", "30m", "5h", "1d", "3d"]);
        let (one, other) = (length(), length());
        match self.random.below(6) {
            0 => format!("after: {one}"),
            1 => format!("before: {one}"),
            2 => format!("after: {one}, before: {other}"),
            _ => format!("within: {one}"),
        }
    }

    /// Equalities between input `i` and those before, and possibly more.
    fn pairing(&mut self, inputs: &[Readable], i: usize) -> Option<String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (j, before) in inputs[..i].iter().enumerate() {
            for (l, r) in before.fields.iter().flat_map(|l| inputs[i].fields.iter().map(move |r| (l, r))) {
                if KEYS.contains(&l.ty) && unify(l.ty, r.ty) {
                    pairs.push((format!("p{j}.{}", l.name), format!("p{i}.{}", r.name)));
                }
            }
        }
        if pairs.is_empty() || self.random.chance(5) {
            return None;
        }
        let mut parts = Vec::new();
        for _ in 0..1 + usize::from(self.random.chance(30)) {
            let (left, right) = self.random.pick(&pairs).clone();
            parts.push(if self.random.chance(50) {
                format!("{left} == {right}")
            } else {
                format!("{right} == {left}")
            });
        }
        if self.random.chance(40) {
            let (left, right) = self.random.pick(&pairs).clone();
            parts.push(match self.random.below(3) {
                0 => format!("{left} != {right}"),
                1 => format!("({left} is null or p0.event_time <= p{i}.event_time)"),
                _ => format!("({left} == {right} or p{i}.event_time < p0.event_time)"),
            });
        }
        Some(parts.join(" and "))
    }

    /// Gives the fields of all inputs names of their own.
    fn flattened(&mut self, inputs: &[Readable], text: &mut String) -> Vec<Field> {
        let mut items = Vec::new();
        let mut fields = Vec::new();
        for (i, input) in inputs.iter().enumerate() {
            for field in input.fields.clone() {
                if self.random.chance(60) {
                    let name = self.name();
                    items.push(format!("{name}: p{i}.{}", field.name));
                    fields.push(Field { name, nullable: true, ..field });
                }
            }
        }
        if fields.is_empty() {
            let name = self.name();
            items.push(format!("{name}: p0.event_time"));
            fields.push(Field { name, ty: Ty::Timestamp, nullable: true });
        }
        *text += &format!("\n    .select({})", items.join(", "));
        fields
    }
}

/// Whether values of two types can be equal.
fn unify(a: Ty, b: Ty) -> bool {
    a == b || matches!((a, b), (Ty::Int, Ty::Float) | (Ty::Float, Ty::Int))
}
