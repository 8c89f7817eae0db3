//! Writes random patterns: steps over what can be read, groups, alternatives, negations, conditions over earlier
//! captures, and options.

use super::{Chain, Field, Readable, Ty, Writer};

fn has(fields: &[Field], name: &str) -> bool {
    fields.iter().any(|f| f.name == name)
}

/// Rows that steps have taken, under an alias.
struct Capture {
    alias: String,
    fields: Vec<Field>,
    /// Whether they may be many, so that the alias stands for no single row.
    many: bool,
}

/// The pattern that is being written.
struct Body {
    text: Vec<String>,
    captures: Vec<Capture>,
    sources: Vec<Readable>,
    /// Whether only time can settle a match.
    waits: bool,
    /// Whether all combinations would be too many.
    repeats: bool,
}

impl Writer {
    /// A chain that begins with a pattern and what it gives of a match.
    pub(super) fn pattern(&mut self) -> Chain {
        let mut body =
            Body { text: Vec::new(), captures: Vec::new(), sources: Vec::new(), waits: false, repeats: false };
        // One field for all steps may be found to be the key.
        self.tie = self.random.chance(40).then(|| self.random.pick(&["k", "m", "a", "b", "f", "g", "d"]).to_string());
        for place in 0..2 + self.random.below(2) {
            if place > 0 && self.random.chance(15) {
                let step = self.negated(&mut body);
                body.text.push(step);
            }
            let part = self.part(&mut body);
            body.text.push(part);
        }
        if self.random.chance(10) {
            let step = self.negated(&mut body);
            body.text.push(step);
            body.waits = true;
        }
        let text = self.with_options(&body);
        let (items, fields) = self.outputs(&body);
        let filter = match self.random.chance(20) {
            true => format!("\n    .where({})", self.comparison_of_captures(&body)),
            false => String::new(),
        };
        let late = body.sources.iter().flat_map(|s| &s.fields).fold(Vec::new(), |mut all: Vec<Field>, field| {
            if !all.iter().any(|f| f.name == field.name) {
                all.push(Field { nullable: true, ..field.clone() });
            }
            all
        });
        Chain {
            text: format!("{text}{filter}\n    .select({})", items.join(", ")),
            fields,
            watermarked: false,
            late: Some(late),
            in_window: false,
            aggregated: false,
        }
    }

    /// A member of the sequence.
    fn part(&mut self, body: &mut Body) -> String {
        let first = body.captures.len();
        let group = match self.random.below(12) {
            _ if self.tie.is_some() && first == 0 => return self.step(body, "", first),
            0 => Some([" or ", ""]),
            1 => Some([" and ", ""]),
            2 => Some([" -> ", "{2}"]),
            3 => Some([" -> ", "+"]),
            _ => None,
        };
        body.waits = false;
        let Some([join, quantifier]) = group else {
            let quantifier = *self.random.pick(&["", "", "", "", "+", "*", "?", "{1,2}", "{2}"]);
            body.waits = matches!(quantifier, "+" | "*" | "?" | "{1,2}");
            body.repeats |= !quantifier.is_empty();
            return self.step(body, quantifier, first);
        };
        let members = [self.step(body, "", first), self.step(body, "", first)];
        body.waits = quantifier == "+";
        body.repeats |= !quantifier.is_empty();
        for capture in &mut body.captures[first..] {
            capture.many = !quantifier.is_empty();
        }
        format!("({}){quantifier}", members.join(join))
    }

    fn source_of_step(&mut self, body: &mut Body) -> Readable {
        let tied = |r: &&Readable| self.tie.as_ref().is_some_and(|name| has(&r.fields, name));
        let tied: Vec<Readable> = self.readable.iter().filter(tied).cloned().collect();
        let of = if tied.is_empty() { self.random.pick(&self.readable) } else { self.random.pick(&tied) }.clone();
        if !body.sources.iter().any(|s| s.name == of.name) {
            body.sources.push(of.clone());
        }
        of
    }

    /// A step whose condition sees the captures before number `bound`.
    fn step(&mut self, body: &mut Body, quantifier: &str, bound: usize) -> String {
        let of = self.source_of_step(body);
        let alias = format!("p{}", body.captures.len());
        let many = matches!(quantifier, "+" | "*" | "{1,2}" | "{2}");
        let own = many.then_some(alias.as_str());
        let condition = self.condition(&of, &body.captures[..bound], own);
        let text = format!("{}{quantifier} as {alias}{condition}", of.name);
        body.captures.push(Capture { alias, fields: of.fields, many });
        // What follows a condition would be taken for a part of it.
        if condition.is_empty() { text } else { format!("({text})") }
    }

    fn negated(&mut self, body: &mut Body) -> String {
        let of = self.source_of_step(body);
        let condition = self.condition(&of, &body.captures, None);
        format!("not {}{condition}", of.name)
    }

    /// ` where …` over a row of `of`, what was taken before, and the rows that the step itself has taken.
    fn condition(&mut self, of: &Readable, before: &[Capture], own: Option<&str>) -> String {
        let mut parts = Vec::new();
        if self.random.chance(30) {
            let fields = of.fields.clone();
            let chain = Chain {
                text: String::new(),
                fields,
                watermarked: false,
                late: None,
                in_window: false,
                aggregated: false,
            };
            // Without a field it may be never true, which is an error.
            let e = self.expr(&chain, Ty::Bool, 1);
            let word = |e: &str| e.split(|c: char| !c.is_alphanumeric()).any(|w| of.fields.iter().any(|f| f.name == w));
            parts.extend(Some(e).filter(|e| word(e)));
        }
        if !before.is_empty() && self.random.chance(60) {
            let capture = &before[self.random.below(before.len())];
            let other = match capture.many {
                true => *self.random.pick(&["first", "last", "min", "max"]),
                false => "",
            };
            parts.extend(self.compared(of, &capture.fields, &capture.alias, other));
        }
        if let Some(alias) = own
            && self.random.chance(40)
        {
            let function = *self.random.pick(&["prev", "first", "max", "avg"]);
            let with_itself = self.compared(of, &of.fields, alias, function);
            parts.extend(with_itself.or(Some(format!("count({alias}) < 3"))));
        }
        let tie = before.first().filter(|first| !first.many).and_then(|first| {
            let field =
                self.tie.as_ref().filter(|name| [&first.fields, &of.fields].iter().all(|fields| has(fields, name)));
            field.map(|name| format!("{name} == {}.{name}", first.alias))
        });
        if let Some(tie) = tie {
            parts.push(tie);
            return format!(" where {}", parts.join(" and "));
        }
        let join = if self.random.chance(80) { " and " } else { " or " };
        if parts.is_empty() { String::new() } else { format!(" where {}", parts.join(join)) }
    }

    /// A field of the row against one that a capture has, or a function of it.
    fn compared(&mut self, of: &Readable, fields: &[Field], alias: &str, function: &str) -> Option<String> {
        let is_number = |ty: Ty| matches!(ty, Ty::Int | Ty::Float);
        let pairs: Vec<(&Field, &Field)> = of
            .fields
            .iter()
            .flat_map(|own| fields.iter().map(move |other| (own, other)))
            .filter(|(own, other)| own.ty == other.ty && !matches!(own.ty, Ty::List | Ty::Bool))
            .filter(|(own, _)| function.is_empty() || function == "prev" || is_number(own.ty))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        // The same field says more than any.
        let same: Vec<(&Field, &Field)> = pairs.iter().copied().filter(|(a, b)| a.name == b.name).collect();
        let among = if same.is_empty() || self.random.chance(20) { pairs } else { same };
        let (own, other) = *self.random.pick(&among);
        let op = *self.random.pick(&["==", "==", "==", "!=", "<", ">="]);
        let value = format!("{alias}.{}", other.name);
        Some(match function {
            "" => format!("{} {op} {value}", own.name),
            "prev" => format!("{} {op} prev({value}, {})", own.name, own.name),
            function => format!("{} {op} {function}({value})", own.name),
        })
    }

    /// The pattern with its options, in line or under a name of its own.
    fn with_options(&mut self, body: &Body) -> String {
        let all = !body.repeats && self.random.chance(30);
        let within = match all {
            true => self.length(&["1s", "2s"], &["30m", "1h"]),
            false => self.length(&["1s", "3s", "5s", "10s", "1m"], &["30m", "2h", "5h", "1d"]),
        };
        let is_timed = all || body.waits || self.random.chance(80);
        let strategy = match all {
            true => "skip_till_any",
            false => *self.random.pick(&["skip_till_next", "skip_till_next", "strict"]),
        };
        let after = *self.random.pick(&["next_row", "next_row", "to_next_start", "skip_past_last"]);
        let is_common =
            |f: &&Field| f.ty != Ty::List && body.sources.iter().all(|s| s.fields.iter().any(|o| o.name == f.name));
        let common: Vec<Field> = body.sources[0].fields.iter().filter(is_common).cloned().collect();
        let key = match common.is_empty() || self.random.chance(50) {
            true => None,
            false => Some(self.random.pick(&common).name.clone()),
        };
        let rules = format!("\n    .strategy({strategy:?})\n    .after_match({after:?})");
        let steps = body.text.join("\n    -> ");
        if self.random.chance(30) {
            let name = self.name().to_uppercase();
            let within = if is_timed { format!("\n    within {within}") } else { String::new() };
            let key = key.map_or(String::new(), |key| format!("\n    partition by {key}"));
            self.declared += &format!("pattern {name} = {steps}{within}{key}{rules}\n");
            let timeout = is_timed && after != "skip_past_last" && self.random.chance(30);
            return if timeout { format!("{name}.timeout()") } else { name };
        }
        let within = if is_timed { format!("\n    .within({within})") } else { String::new() };
        let key = key.map_or(String::new(), |key| format!("\n    .partition_by({key})"));
        format!("{steps}{within}{key}{rules}")
    }

    fn comparison_of_captures(&mut self, body: &Body) -> String {
        let (op, n) = (*self.random.pick(&[">", "<=", "!="]), self.random.below(3));
        format!("count({}) {op} {n}", self.random.pick(&body.captures).alias)
    }

    /// What is said of a match: the items of `.select`, and the fields that they make.
    fn outputs(&mut self, body: &Body) -> (Vec<String>, Vec<Field>) {
        let (mut items, mut fields) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.random.below(5) {
            let (e, ty) = self.output(body);
            let name = self.name();
            items.push(format!("{name}: {e}"));
            fields.push(Field { name, ty, nullable: true });
        }
        (items, fields)
    }

    fn output(&mut self, body: &Body) -> (String, Ty) {
        let capture = &body.captures[self.random.below(body.captures.len())];
        let alias = &capture.alias;
        if capture.fields.is_empty() || self.random.chance(25) {
            return match self.random.below(4) {
                0 => ("match_start".to_string(), Ty::Timestamp),
                1 => ("match_end".to_string(), Ty::Timestamp),
                2 => ("match_duration".to_string(), Ty::Duration),
                _ => (format!("count({alias})"), Ty::Int),
            };
        }
        let field = self.random.pick(&capture.fields).clone();
        let value = format!("{alias}.{}", field.name);
        if !capture.many && self.random.chance(70) {
            return (value, field.ty);
        }
        match field.ty {
            Ty::Int | Ty::Float => match self.random.below(5) {
                0 => (format!("sum({value})"), field.ty),
                1 => (format!("avg({value})"), Ty::Float),
                2 => (format!("max({value})"), field.ty),
                3 => (format!("collect({value})"), Ty::List),
                _ => (format!("last({value})"), field.ty),
            },
            Ty::List => (format!("count({alias})"), Ty::Int),
            Ty::Bool | Ty::Str | Ty::Timestamp | Ty::Duration => match self.random.below(4) {
                0 => (format!("first({value})"), field.ty),
                1 => (format!("count_distinct({value})"), Ty::Int),
                2 => (format!("collect({value})"), Ty::List),
                _ => (format!("last({value})"), field.ty),
            },
        }
    }
}
