//! Random programs and inputs, each from one seed.
//!
//! A program is written as text, so that the whole compiler is in the test. The writer keeps track of
//! the fields that a stream has and of what may follow, so that most programs compile; those that do
//! not are skipped and counted. Inputs lean to where things go wrong: equal times, rows at the very
//! bounds of windows, rows out of order and late, duplicates, nulls, the ends of the ranges, and days on which
//! clocks change.

use varpulis_runtime::data::Value;
use varpulis_runtime::data::time::{NS_PER_H, NS_PER_S, parse_timestamp};
use varpulis_runtime::expr::generate::Random;

use crate::input::{EventType, File, Line};
use crate::stream::Writer;

/// A program and its inputs.
#[derive(Clone, Debug)]
pub struct Case {
    pub program: String,
    pub types: Vec<EventType>,
    pub files: Vec<File>,
}

/// The types of fields that the generator knows how to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    Int,
    Float,
    Bool,
    Str,
    Timestamp,
    Duration,
    /// Lists: they are carried along and no expression reads them.
    List,
}

/// A field of the rows at some point of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub ty: Ty,
    pub nullable: bool,
}

/// The fields that event types choose from: one name has one type, so that types can be merged.
const POOL: [(&str, Ty, &str); 8] = [
    ("a", Ty::Int, "int"),
    ("b", Ty::Int, "int?"),
    ("f", Ty::Float, "float"),
    ("g", Ty::Float, "float?"),
    ("k", Ty::Str, "str"),
    ("m", Ty::Str, "str?"),
    ("t", Ty::Bool, "bool?"),
    ("d", Ty::Duration, "duration"),
];

const TYPE_NAMES: [&str; 3] = ["A", "B", "C"];

/// How far apart the rows of a case are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A minute in half seconds.
    Seconds,
    /// Three weeks in half hours, with windows over local days.
    Days,
}

/// Around where clocks, signs and ranges change. Times begin here.
const STARTS_OF_MINUTES: [&str; 6] = [
    "2026-03-01T00:00:00Z",
    "2026-03-01T00:00:00Z",
    "2026-03-01T00:00:00Z",
    "1969-12-31T23:59:30Z",
    "1900-01-01T00:00:01Z",
    "2199-12-31T23:58:30Z",
];
const STARTS_OF_WEEKS: [&str; 10] = [
    "2026-03-15T00:00:00Z",
    "2026-10-15T12:00:00Z",
    "1969-12-20T00:00:00Z",
    // Clocks skip midnight in Brazil, by an odd interval in Liberia and in Nepal, and a day in Samoa.
    "2018-10-25T00:00:00Z",
    "1971-12-30T00:00:00Z",
    "1985-12-25T00:00:00Z",
    "2011-12-20T00:00:00Z",
    // Clocks in Newfoundland go back over midnight.
    "2006-10-20T00:00:00Z",
    // Mean solar time.
    "1911-03-01T00:00:00Z",
    "1900-01-02T00:00:00Z",
];

/// The case of a seed.
pub fn case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let scale = if random.chance(15) { Scale::Days } else { Scale::Seconds };
    let types: Vec<EventType> = (0..1 + random.below(3)).map(|i| event_type(&mut random, i)).collect();
    let mut program = String::new();
    for ty in &types {
        program += &format!("event {}:\n", ty.name);
        ty.fields.iter().for_each(|(name, ty)| program += &format!("    {name}: {ty}\n"));
        program.push('\n');
    }
    if random.chance(30) {
        program += "window:\n";
        let unit = if scale == Scale::Days { "h" } else { "s" };
        program += &format!("    out_of_order: {}{unit}\n", random.below(6));
        program += &format!("    allowed_lateness: {}{unit}\n\n", random.below(4));
    }
    let mut writer = Writer::new(random, scale, types.iter().map(fields_of).collect());
    program += &writer.streams();
    let has_timer = writer.has_timer;
    let mut random = writer.random;
    let files = files(&mut random, &types, scale, has_timer);
    Case { program, types, files }
}

fn event_type(random: &mut Random, number: usize) -> EventType {
    let mut fields = vec![("at".to_string(), "timestamp".to_string())];
    for (name, _, ty) in POOL {
        if random.chance(55) {
            fields.push((name.to_string(), ty.to_string()));
        }
    }
    EventType { name: TYPE_NAMES[number].to_string(), fields }
}

fn fields_of(ty: &EventType) -> (String, Vec<Field>) {
    let field = |(name, text): &(String, String)| {
        let known = POOL.iter().find(|p| p.0 == name).map_or(Ty::Timestamp, |p| p.1);
        Field { name: name.clone(), ty: known, nullable: text.ends_with('?') }
    };
    (ty.name.clone(), ty.fields.iter().map(field).collect())
}

/// The inputs: for each type files of its own, or files of all types, whose rows say which they are.
fn files(random: &mut Random, types: &[EventType], scale: Scale, has_timer: bool) -> Vec<File> {
    let times = Times::new(random, scale, has_timer);
    let mixed = types.len() > 1 && random.chance(40);
    let mut out = Vec::new();
    let kinds: Vec<Option<usize>> = if mixed { vec![None] } else { (0..types.len()).map(Some).collect() };
    for ty in kinds {
        let csv = ty.is_some() && random.chance(20);
        for number in 0..1 + random.below(3) {
            let stem = ty.map_or("all", |ty| types[ty].name.as_str());
            // The order of names is not the order in which the files are given.
            let name = format!("{}{stem}{number}.{}", random.pick(&["x", "y"]), if csv { "csv" } else { "jsonl" });
            let lines = lines(random, types, ty, csv, &times);
            out.push(File { name, ty, lines });
        }
    }
    out
}

/// The event times of a case.
struct Times {
    start: i64,
    scale: Scale,
    /// Whether rows may be centuries apart, between which a timer would tick for ever.
    far: bool,
}

impl Times {
    fn new(random: &mut Random, scale: Scale, has_timer: bool) -> Times {
        let start = *match scale {
            Scale::Seconds => random.pick(&STARTS_OF_MINUTES),
            Scale::Days => random.pick(&STARTS_OF_WEEKS),
        };
        Times { start: timestamp(start), scale, far: !has_timer }
    }

    /// Mostly half seconds or half hours, so that times tie and fall on the bounds of windows.
    fn one(&self, random: &mut Random) -> i64 {
        let (step, steps) = match self.scale {
            Scale::Seconds => (NS_PER_S / 2, 120),
            Scale::Days => (NS_PER_H / 2, 1008),
        };
        let round = self.start + random.below(steps) as i64 * step;
        match random.below(12) {
            0 => round + 1,
            1 => round - 1,
            2 => round + random.below(step as usize) as i64,
            _ => round,
        }
    }
}

fn timestamp(text: &str) -> i64 {
    parse_timestamp(text.as_bytes()).expect("a timestamp")
}

fn lines(random: &mut Random, types: &[EventType], ty: Option<usize>, csv: bool, of: &Times) -> Vec<Line> {
    let rows = *random.pick(&[0, 1, 3, 8, 15, 25, 40]);
    let mut times: Vec<i64> = (0..rows).map(|_| of.one(random)).collect();
    times.sort_unstable();
    // Rows move by at most so many places from where they would stand in order.
    let disorder = *random.pick(&[0, 0, 1, 3, 10, 40]);
    for i in 0..times.len() {
        let to = (i + random.below(disorder + 1)).min(times.len() - 1);
        times.swap(i, to);
    }
    if of.far && random.chance(5) && !times.is_empty() {
        let far = *random.pick(&["1900-01-01T00:00:00Z", "2199-12-31T23:59:59.999999999Z"]);
        let row = random.below(times.len());
        times[row] = timestamp(far);
    }
    let mut out: Vec<Line> = Vec::new();
    for time in times {
        let ty = ty.unwrap_or_else(|| random.below(types.len()));
        let mut values = vec![Value::Timestamp(time)];
        values.extend(types[ty].fields[1..].iter().map(|(_, text)| field_value(random, text)));
        out.push(Line::Row { ty, values });
        if random.chance(10) {
            let again = random.below(out.len());
            let line = out[again].clone();
            out.push(line);
        }
        if !csv && random.chance(2) {
            out.push(Line::Damaged);
        }
    }
    out
}

fn field_value(random: &mut Random, text: &str) -> Value {
    if text.ends_with('?') && random.chance(25) {
        return Value::Null;
    }
    match text.trim_end_matches('?') {
        "int" if random.chance(4) => Value::Int(*random.pick(&[i64::MAX, i64::MIN, i64::MAX - 1, -1, 1 << 53])),
        "int" => Value::Int(random.below(7) as i64 - 2),
        "float" if random.chance(6) => Value::Float(*random.pick(&[-0.0, 1e300, -1e300, 1e16, 5e-324, 0.1, 0.3])),
        "float" => Value::Float((random.below(9) as f64 - 3.0) / 2.0),
        "bool" => Value::Bool(random.chance(50)),
        "str" => Value::str(["x", "y", "z", "zz", "é"][random.below(5)]),
        "duration" => Value::Duration((random.below(8) as i64) * NS_PER_S / 2),
        other => unreachable!("no field has the type {other}"),
    }
}
