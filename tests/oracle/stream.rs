//! Writes random streams: sources, chains of operators, expressions and aggregates over the fields
//! that are there.

mod join;
mod pattern;
mod relation;
mod table;

use varpulis_runtime::expr::generate::Random;

use crate::generate::{Field, Scale, Ty};

/// Something that streams can be read from.
#[derive(Clone, Debug)]
struct Readable {
    name: String,
    fields: Vec<Field>,
    /// Whether its rows come from an input through stateless operators only.
    watermarked: bool,
    /// The fields of the rows that may come too late for it.
    late: Option<Vec<Field>>,
}

/// Writes the streams of one program.
pub struct Writer {
    pub random: Random,
    scale: Scale,
    readable: Vec<Readable>,
    tables: Vec<table::Table>,
    fresh: usize,
    pub has_timer: bool,
    /// Patterns that the next stream uses.
    declared: String,
    /// The field that all steps of the pattern are to agree in.
    tie: Option<String>,
}

/// The stream that is being written.
struct Chain {
    text: String,
    fields: Vec<Field>,
    watermarked: bool,
    late: Option<Vec<Field>>,
    /// Whether rows belong to a window.
    in_window: bool,
    aggregated: bool,
}

const SCALARS: [Ty; 6] = [Ty::Int, Ty::Float, Ty::Bool, Ty::Str, Ty::Timestamp, Ty::Duration];

impl Writer {
    /// Over event types, each with its fields.
    pub fn new(random: Random, scale: Scale, types: Vec<(String, Vec<Field>)>) -> Writer {
        let readable = |(name, fields)| Readable { name, fields, watermarked: true, late: None };
        let readable = types.into_iter().map(readable).collect();
        Writer {
            random,
            scale,
            readable,
            tables: Vec::new(),
            fresh: 0,
            has_timer: false,
            declared: String::new(),
            tie: None,
        }
    }

    /// The text of all streams.
    pub fn streams(&mut self) -> String {
        let mut out = String::new();
        for number in 0..1 + self.random.below(4) {
            let name = format!("S{number}");
            if self.random.chance(25) {
                out += &self.table();
                while self.random.chance(40) {
                    out += &self.derived_table();
                }
            }
            let mut chain = self.source();
            if chain.watermarked && self.random.chance(50) {
                let by = self.length(
                    &["0s", "500ms", "1s", "3s", "10s", "1m", "unbounded"],
                    &["0s", "30m", "5h", "1d", "unbounded"],
                );
                chain.text += &format!("\n    .watermark(out_of_order: {by})");
            }
            for _ in 0..self.random.below(6) {
                self.operator(&mut chain);
            }
            if chain.late.is_some() && self.random.chance(40) {
                let by = *self.random.pick(&["0s", "1s", "2s", "5s", "20s"]);
                chain.text += &format!("\n    .allowed_lateness({by})");
            }
            self.emit(&mut chain, number);
            out += &std::mem::take(&mut self.declared);
            out += &format!("stream {name} = {}\n", chain.text);
            let Chain { fields, watermarked, late, .. } = chain;
            self.readable.push(Readable { name, fields, watermarked, late });
        }
        out
    }

    /// A length of time that fits the rows.
    fn length(&mut self, seconds: &[&'static str], days: &[&'static str]) -> &'static str {
        let lengths = match self.scale {
            Scale::Seconds => seconds,
            Scale::Days => days,
        };
        lengths[self.random.below(lengths.len())]
    }

    fn name(&mut self) -> String {
        self.fresh += 1;
        format!("n{}", self.fresh)
    }

    fn source(&mut self) -> Chain {
        let chain = |text: String, fields: Vec<Field>, watermarked: bool| Chain {
            text,
            fields,
            watermarked,
            late: None,
            in_window: false,
            aggregated: false,
        };
        let with_late: Vec<Readable> = self.readable.iter().filter(|r| r.late.is_some()).cloned().collect();
        match self.random.below(24) {
            0..=2 if !with_late.is_empty() => {
                let of = self.random.pick(&with_late).clone();
                chain(format!("{}.late()", of.name), of.late.expect("chosen for it"), false)
            }
            3..=6 if self.readable.len() > 1 => self.merge(),
            8..=10 if !self.tables.is_empty() => self.of_table(),
            7 => {
                self.has_timer = true;
                let period = self.length(&["500ms", "1s", "5s", "7s", "1m"], &["1h", "7h", "1d", "7d"]);
                chain(
                    format!("timer({period})"),
                    vec![Field { name: "n".to_string(), ty: Ty::Int, nullable: false }],
                    false,
                )
            }
            8..=12 => self.pattern(),
            20..=23 => self.join(),
            _ => {
                let of = self.random.pick(&self.readable).clone();
                chain(of.name, of.fields, of.watermarked)
            }
        }
    }

    fn merge(&mut self) -> Chain {
        let mut inputs: Vec<Readable> = Vec::new();
        for _ in 0..2 + self.random.below(2) {
            inputs.push(self.random.pick(&self.readable).clone());
        }
        let mut fields: Vec<Field> = Vec::new();
        for field in inputs.iter().flat_map(|i| &i.fields) {
            if !fields.iter().any(|f| f.name == field.name) {
                fields.push(field.clone());
            }
        }
        for field in &mut fields {
            let all = |i: &Readable| i.fields.iter().any(|f| f.name == field.name && !f.nullable);
            field.nullable = !inputs.iter().all(all);
        }
        let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
        Chain {
            text: format!("merge({})", names.join(", ")),
            fields,
            watermarked: inputs.iter().all(|i| i.watermarked),
            late: None,
            in_window: false,
            aggregated: false,
        }
    }

    fn operator(&mut self, chain: &mut Chain) {
        match self.random.below(14) {
            0 | 1 => {
                let condition = self.expr(chain, Ty::Bool, 2);
                chain.text += &format!("\n    .where({condition})");
            }
            2 => {
                let ty = *self.random.pick(&SCALARS);
                let (name, e) = (self.name(), self.expr(chain, ty, 2));
                chain.text += &format!("\n    .extend({name}: {e})");
                chain.fields.push(Field { name, ty, nullable: true });
            }
            3 => self.select(chain),
            4 | 5 => self.partition_by(chain),
            6..=8 => self.window(chain),
            9 | 10 => self.aggregate(chain),
            11 => self.distinct(chain),
            12 => {
                self.becomes_stateful(chain);
                chain.text += &format!("\n    .limit({})", 1 + self.random.below(6));
            }
            _ if !self.tables.is_empty() && self.random.chance(60) => self.enrich(chain),
            _ if chain.aggregated => {
                let condition = self.expr(chain, Ty::Bool, 1);
                chain.text += &format!("\n    .having({condition})");
            }
            _ if chain.in_window => self.list(chain),
            _ => {}
        }
    }

    fn becomes_stateful(&mut self, chain: &mut Chain) {
        chain.late.get_or_insert_with(|| chain.fields.clone());
        chain.watermarked = false;
    }

    fn select(&mut self, chain: &mut Chain) {
        let mut fields: Vec<Field> = Vec::new();
        for field in chain.fields.clone() {
            if self.random.chance(70) {
                fields.push(field);
            }
        }
        let mut items: Vec<String> = fields.iter().map(|f| f.name.clone()).collect();
        if fields.is_empty() || self.random.chance(40) {
            let ty = *self.random.pick(&SCALARS);
            let (name, e) = (self.name(), self.expr(chain, ty, 2));
            items.push(format!("{name}: {e}"));
            fields.push(Field { name, ty, nullable: true });
        }
        chain.text += &format!("\n    .select({})", items.join(", "));
        chain.fields = fields;
    }

    fn partition_by(&mut self, chain: &mut Chain) {
        let parts: Vec<String> = (0..self.random.below(3))
            .map(|_| {
                let ty = *self.random.pick(&[Ty::Str, Ty::Str, Ty::Int, Ty::Bool, Ty::Float, Ty::Duration]);
                self.expr(chain, ty, 1)
            })
            .collect();
        chain.text += &format!("\n    .partition_by({})", parts.join(", "));
    }

    fn window(&mut self, chain: &mut Chain) {
        let text = match self.random.below(8) {
            0..=4 if self.scale == Scale::Days => self.days(),
            0..=2 => {
                let offset = *self.random.pick(&["", "", ", offset: 1s", ", offset: 2500ms"]);
                format!(".window({}{offset})", self.random.pick(&["1s", "5s", "10s", "1m", "7s"]))
            }
            3 | 4 => {
                let form =
                    *self.random.pick(&["10s, sliding: 5s", "5s, sliding: 2s", "10s, sliding: 3s", "20s, sliding: 1s"]);
                let offset = *self.random.pick(&["", "", ", offset: 1s"]);
                format!(".window({form}{offset})")
            }
            5 | 6 => {
                let gap = self.length(&["1s", "500ms", "3s", "10s"], &["30m", "1h", "5h", "1d"]);
                format!(".session_window(gap: {gap})")
            }
            _ => {
                let sliding = *self.random.pick(&["", "", ", sliding: 1", ", sliding: 2", ", sliding: 4"]);
                let partial = *self.random.pick(&["", ", partial: true"]);
                format!(".window({}{sliding}{partial})", 1 + self.random.below(4))
            }
        };
        chain.text += &format!("\n    {text}");
        // Until the window has been used, its bounds cannot be named.
        chain.in_window = false;
        if self.random.chance(70) {
            self.aggregate(chain);
        } else {
            self.list(chain);
        }
        chain.in_window = true;
    }

    /// A window over days, of a place or of UTC.
    fn days(&mut self) -> String {
        const ZONES: [&str; 8] = [
            "UTC",
            "Europe/Paris",
            "America/Sao_Paulo",
            "Africa/Monrovia",
            "Asia/Kathmandu",
            "Pacific/Apia",
            "America/New_York",
            "America/St_Johns",
        ];
        if self.random.chance(25) {
            let form = *self.random.pick(&["12h", "1d", "1d, sliding: 5h", "2d, offset: 7h", "7d, sliding: 1d"]);
            return format!(".window({form})");
        }
        let form = *self.random.pick(&["1d", "1d", "2d", "7d", "3d, sliding: 1d", "7d, sliding: 2d"]);
        let offset = *self.random.pick(&["", "", ", offset: 1d"]);
        format!(".window({form}{offset}, tz: {:?})", self.random.pick(&ZONES))
    }

    /// An operator that lists the rows of a window.
    fn list(&mut self, chain: &mut Chain) {
        self.becomes_stateful(chain);
        let keys = || [Ty::Int, Ty::Float, Ty::Str, Ty::Timestamp, Ty::Duration];
        let ty = *self.random.pick(&keys());
        let by = self.expr(chain, ty, 1);
        let direction = *self.random.pick(&["", " desc", " asc"]);
        chain.text += &match self.random.below(5) {
            0 | 1 => format!("\n    .top({}, by: {by}{direction})", 1 + self.random.below(3)),
            2 => format!("\n    .limit({})", 1 + self.random.below(4)),
            3 => format!("\n    .distinct({by})"),
            _ => {
                let limit = if self.random.chance(50) { ".limit(3)" } else { "" };
                format!("\n    .order_by({by}{direction}){limit}")
            }
        };
    }

    fn distinct(&mut self, chain: &mut Chain) {
        self.becomes_stateful(chain);
        let ty = *self.random.pick(&SCALARS);
        let by = if self.random.chance(80) { self.expr(chain, ty, 1) } else { String::new() };
        let within = self.length(&["", "1s", "5s", "1m"], &["", "1h", "1d"]);
        let args: Vec<String> = [by, if within.is_empty() { String::new() } else { format!("within: {within}") }]
            .into_iter()
            .filter(|a| !a.is_empty())
            .collect();
        chain.text += &format!("\n    .distinct({})", args.join(", "));
    }

    fn aggregate(&mut self, chain: &mut Chain) {
        self.becomes_stateful(chain);
        let mut fields: Vec<Field> = Vec::new();
        let mut items = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let name = self.name();
            let (e, ty) = self.aggregate_call(chain);
            items.push(format!("{name}: {e}"));
            fields.push(Field { name, ty, nullable: true });
        }
        chain.text += &format!("\n    .aggregate({})", items.join(", "));
        chain.fields = fields;
        chain.aggregated = true;
    }

    fn aggregate_call(&mut self, chain: &Chain) -> (String, Ty) {
        let number = *self.random.pick(&[Ty::Int, Ty::Int, Ty::Float, Ty::Duration]);
        let plain = *self.random.pick(&[Ty::Int, Ty::Float]);
        let any = *self.random.pick(&SCALARS);
        let mean = if number == Ty::Duration { Ty::Duration } else { Ty::Float };
        let (n, p, a) = (self.expr(chain, number, 1), self.expr(chain, plain, 1), self.expr(chain, any, 1));
        match self.random.below(26) {
            0..=2 => ("count()".to_string(), Ty::Int),
            3 => (format!("count({a})"), Ty::Int),
            4 => (format!("count_if({})", self.expr(chain, Ty::Bool, 1)), Ty::Int),
            5 | 6 => (format!("sum({n})"), number),
            7 => (format!("avg({n})"), mean),
            8 => (format!("min({n})"), number),
            9 => (format!("max({n})"), number),
            10 | 11 => (format!("first({a})"), any),
            12 | 13 => (format!("last({a})"), any),
            14 => (format!("stddev({p})"), Ty::Float),
            15 => (format!("variance({p})"), Ty::Float),
            16 => (format!("median({p})"), Ty::Float),
            17 => (format!("percentile({p}, 0.25)"), Ty::Float),
            18 => (format!("count_distinct({a})"), Ty::Int),
            19 => (format!("collect({a})"), Ty::List),
            20 => (format!("collect_distinct({a})"), Ty::List),
            21 => (format!("ema({p}, 3)"), Ty::Float),
            22 => (format!("mode({a})"), any),
            23 => (format!("top_k({a}, 2)"), Ty::List),
            24 => (format!("string_join({}, \"-\")", self.expr(chain, Ty::Str, 1)), Ty::Str),
            _ => {
                let of = *self.random.pick(&["any", "all"]);
                (format!("{of}({})", self.expr(chain, Ty::Bool, 1)), Ty::Bool)
            }
        }
    }

    fn emit(&mut self, chain: &mut Chain, number: usize) {
        if self.random.chance(40) {
            return;
        }
        let alias = if self.random.chance(20) { format!(" as X{number} ") } else { String::new() };
        if self.random.chance(30) {
            chain.text += &format!("\n    .emit{alias}()");
            return;
        }
        let mut items = Vec::new();
        let mut fields = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let ty = *self.random.pick(&SCALARS);
            let (name, e) = (self.name(), self.expr(chain, ty, 1));
            items.push(format!("{name}: {e}"));
            fields.push(Field { name, ty, nullable: true });
        }
        chain.text += &format!("\n    .emit{alias}({})", items.join(", "));
        chain.fields = fields;
    }

    /// An expression of a type over the chain's fields.
    fn expr(&mut self, chain: &Chain, ty: Ty, depth: usize) -> String {
        let fields: Vec<Field> = chain.fields.iter().filter(|f| f.ty == ty).cloned().collect();
        // A list is asked for only where a field is one, and nothing makes another.
        if !fields.is_empty() && (ty == Ty::List || self.random.chance(if depth == 0 { 85 } else { 60 })) {
            return self.random.pick(&fields).name.clone();
        }
        if depth == 0 || (ty != Ty::Bool && self.random.chance(25)) {
            return self.leaf(chain, ty);
        }
        match self.random.below(8) {
            0 => {
                let condition = self.expr(chain, Ty::Bool, depth - 1);
                let (x, y) = (self.expr(chain, ty, depth - 1), self.expr(chain, ty, depth - 1));
                format!("(if {condition} then {x} else {y})")
            }
            1 => {
                let nullable: Vec<Field> = fields.into_iter().filter(|f| f.nullable).collect();
                if nullable.is_empty() {
                    return self.leaf(chain, ty);
                }
                format!("({} ?? {})", self.random.pick(&nullable).name.clone(), self.leaf(chain, ty))
            }
            _ => self.operation(chain, ty, depth),
        }
    }

    fn operation(&mut self, chain: &Chain, ty: Ty, depth: usize) -> String {
        let sub = |w: &mut Writer, ty: Ty| w.expr(chain, ty, depth - 1);
        match ty {
            Ty::Int => {
                let op = *self.random.pick(&["+", "-", "*", "//", "%"]);
                format!("({} {op} {})", sub(self, Ty::Int), sub(self, Ty::Int))
            }
            Ty::Float => {
                let op = *self.random.pick(&["+", "-", "*", "/"]);
                let right = *self.random.pick(&[Ty::Int, Ty::Float]);
                format!("({} {op} {})", sub(self, Ty::Float), sub(self, right))
            }
            Ty::Str => format!("({} + {})", sub(self, Ty::Str), sub(self, Ty::Str)),
            Ty::Timestamp => format!("({} + {})", sub(self, Ty::Timestamp), sub(self, Ty::Duration)),
            Ty::Duration => format!("({} - {})", sub(self, Ty::Timestamp), sub(self, Ty::Timestamp)),
            Ty::Bool => match self.random.below(8) {
                0 => format!("({} and {})", sub(self, Ty::Bool), sub(self, Ty::Bool)),
                1 => format!("({} or {})", sub(self, Ty::Bool), sub(self, Ty::Bool)),
                2 => format!("(not {})", sub(self, Ty::Bool)),
                3 => {
                    let nullable: Vec<Field> = chain.fields.iter().filter(|f| f.nullable).cloned().collect();
                    if nullable.is_empty() {
                        return self.leaf(chain, Ty::Bool);
                    }
                    let not = *self.random.pick(&["", " not"]);
                    format!("({} is{not} null)", self.random.pick(&nullable).name.clone())
                }
                _ => {
                    let of = *self.random.pick(&[Ty::Int, Ty::Float, Ty::Str, Ty::Duration, Ty::Int, Ty::Timestamp]);
                    let op = *self.random.pick(&["==", "!=", "<", "<=", ">", ">="]);
                    format!("({} {op} {})", sub(self, of), sub(self, of))
                }
            },
            Ty::List => unreachable!("no expression is asked for a list"),
        }
    }

    fn leaf(&mut self, chain: &Chain, ty: Ty) -> String {
        if ty == Ty::Timestamp && chain.in_window && self.random.chance(60) {
            return (*self.random.pick(&["window_start", "window_end", "event_time"])).to_string();
        }
        literal(&mut self.random, ty)
    }
}

/// A literal of a type.
fn literal(random: &mut Random, ty: Ty) -> String {
    let among: &[&str] = match ty {
        Ty::Int => &["0", "1", "2", "3", "(-1)", "10"],
        Ty::Float => &["0.0", "0.5", "1.5", "(-2.0)", "1e10"],
        Ty::Bool => &["true", "false"],
        Ty::Str => &["\"x\"", "\"y\"", "\"zz\""],
        Ty::Timestamp => &["@2026-03-01", "@2026-03-01T00:00:20Z"],
        Ty::Duration => &["1s", "500ms", "1m30s"],
        Ty::List => unreachable!("no expression is asked for a list"),
    };
    (*random.pick(among)).to_string()
}
