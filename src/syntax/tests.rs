//! What the language's definition says parses, and how.

use super::parse;
use crate::diagnostic::{Diagnostic, Sources, render_text};

/// Every declaration form of the language, as its definition shows them.
const EXAMPLES: &str = r#"
event TemperatureReading:            # fields with types; `extends Base` inherits fields
    at: timestamp                    # the first timestamp field is the event time, unless `time:` says otherwise
    zone: str
    value: float
    note: str?

event Flight extends Base:
    date: timestamp
    minute: int
    tags: [str]
    extra: {str: int}?
    place: {lat: float, lon: float}
    time: date + minutes(minute)

type Celsius = float
const THRESHOLD = 28.0               # a constant expression, visible everywhere below
fn fahrenheit(c: float) -> float = c * 9 / 5 + 32          # pure, inlined
fn band(v: float) -> str:
    let c = v -
        1.0
    if c > 40:
        return "HOT"
    elif c > 30:
        return "WARM"
    else: return "OK"
import "common.vpl"                  # relative to the importing file
connector Sensors = kafka(brokers: ["localhost:9092"], group: "hvac")

stream ZoneStats = TemperatureReading
    .where(value > THRESHOLD and zone != "lab")
    .partition_by(zone)
    .window(5m)
    .aggregate(zone: last(zone), avg_temp: avg(value), max_temp: max(value), n: count())
    .having(n >= 3)
    .emit(zone: zone, avg: avg_temp, alert: if max_temp > 40 then "HOT" else "WARM")

stream Late = ZoneStats.late()
stream Both = merge(Orders, Payments.from(Sensors, topic: "p"),)
stream Ticks = timer(10s)
stream Worst = Flights.partition_by(route).window(1d).aggregate(count()).partition_by().top(3, by: d)
stream Alerts = E as e
    .emit as Alert (x: e.x, y: -e.y ?? 0)
    .to(Out, topic: "alerts")

window:
    allowed_lateness: 5m
    watermark_strategy: "bounded_out_of_orderness"
    out_of_order: 2s
    idle: 30s

stream Enriched = join(Orders as o, Payments as p on o.id == p.order_id, within: 10m)        # interval join
    .emit(id: o.id, paid: p.amount)
stream Unpaid = left_join(Orders as o, Payments as p on o.id == p.order_id, within: 10m)     # also right_join
    .where(p.order_id is null)                                                               # appear later
table Customers = CustomerEvent.key(id)             # latest row per key
stream Named = Orders.enrich(Customers, on: customer_id, fields: [name, tier])               # as of the order
stream Windowed = join(A, B).on(A.k == B.k).window(5m)

stream Fraud = Login as l
    -> Transfer as t1 where user == l.user
    -> all Transfer as ts where user == l.user and amount > t1.amount
    -> not Logout where user == l.user
    .within(5m)
    .partition_by(user)
    .emit(user: l.user, n: count(ts), total: sum(ts.amount), biggest: max(ts.amount))

stream Groups = (A and B)+ -> C{2,3} as c -> D? or E* -> F.within(1m)

pattern Swing = SEQ(Reading as a, Reading+ as up where value > prev(up.value, a.value), Reading as d where value < last(up.value) - 5)
    within 10m partition by sensor_id
stream Swings = Swing.emit(sensor: a.sensor_id, peak: max(up.value))

state:
    backend: "rocksdb"            # or "in_memory" (default)
    block_cache_size: 134217728
    memory_budget: 1GB            # per process
checkpoint:
    enabled: true
    strategy:
        type: "incremental"       # or "full"
        location: "s3://bucket/prefix/"
    retention:
        keep_last: 10
        max_age: 7d
"#;

fn rendered(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut sources = Sources::default();
    sources.add("test.vpl", text);
    render_text(diagnostics, &sources, false)
}

#[test]
fn try_file() {
    if let Ok(path) = std::env::var("VPL_TRY") {
        let text = std::fs::read_to_string(path).unwrap();
        let (program, diagnostics) = parse(0, &text);
        if std::env::var("VPL_AST").is_ok() {
            println!("{program:#?}");
        }
        println!("{}", rendered(&text, &diagnostics));
    }
}

#[test]
fn the_examples_of_the_definition_parse() {
    let (program, diagnostics) = parse(0, EXAMPLES);
    assert!(diagnostics.is_empty(), "{}", rendered(EXAMPLES, &diagnostics));
    assert_eq!(program.declarations.len(), 26);
}
