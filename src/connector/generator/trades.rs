//! Synthetic trades for measurements: rows of a few fields, written as fast as a disk takes them.
//!
//! ```text
//! {"ts":"2026-03-01T00:00:00.000100Z","symbol":"SYM0421","price":101.25,"volume":310}
//! ```
//!
//! Times advance evenly; with out-of-orderness, each row's time is taken back by a random part of it.
//! The same specification gives the same bytes everywhere.

use std::io::{self, Write};

use crate::connector::format::encode::json::ClockText;
use crate::data::time::NS_PER_S;

/// 2026-03-01T00:00:00Z.
const BASE_TIME_NS: i64 = 1_772_323_200 * NS_PER_S;
/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 1 << 20;

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradesSpec {
    pub rows: u64,
    /// Different symbols.
    pub keys: u64,
    /// Trades per second of event time.
    pub rate_per_s: u64,
    pub out_of_order_ns: i64,
    pub seed: u64,
    pub format: TradesFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TradesFormat {
    Jsonl,
    Csv,
}

impl Default for TradesSpec {
    fn default() -> TradesSpec {
        TradesSpec {
            rows: 1_000_000,
            keys: 1000,
            rate_per_s: 10_000,
            out_of_order_ns: 0,
            seed: 1,
            format: TradesFormat::Jsonl,
        }
    }
}

/// Writes the trades of `spec`.
pub fn write_trades(spec: &TradesSpec, out: &mut impl Write) -> io::Result<()> {
    let mut random = Random(spec.seed);
    let mut clock = ClockText::default();
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + 256);
    if spec.format == TradesFormat::Csv {
        buffer.extend_from_slice(b"ts,symbol,price,volume\n");
    }
    for row in 0..spec.rows {
        let even = (row as i128 * NS_PER_S as i128 / spec.rate_per_s.max(1) as i128) as i64;
        let back = random.below(spec.out_of_order_ns.max(0) as u64 + 1) as i64;
        // Microseconds, as most logs have.
        let time_ns = BASE_TIME_NS + (even - back) / 1000 * 1000;
        let symbol = random.below(spec.keys.max(1));
        // Cents around 100, and lots of ten.
        let (cents, volume) = (5_000 + random.below(10_000), 10 * (1 + random.below(100)));
        write_row(spec.format, &mut clock, time_ns, symbol, cents, volume, &mut buffer);
        if buffer.len() >= BUFFER_BYTES {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    out.write_all(&buffer)?;
    out.flush()
}

fn write_row(
    format: TradesFormat,
    clock: &mut ClockText,
    time_ns: i64,
    symbol: u64,
    cents: u64,
    volume: u64,
    out: &mut Vec<u8>,
) {
    let [opening, after_time, after_symbol, after_price, ending]: [&[u8]; 5] = match format {
        TradesFormat::Jsonl => [b"{\"ts\":\"", b"\",\"symbol\":\"SYM", b"\",\"price\":", b",\"volume\":", b"}\n"],
        TradesFormat::Csv => [b"", b",SYM", b",", b",", b"\n"],
    };
    out.extend_from_slice(opening);
    clock.write(time_ns, out);
    out.extend_from_slice(after_time);
    write_padded(symbol, 4, out);
    out.extend_from_slice(after_symbol);
    out.extend_from_slice(itoa::Buffer::new().format(cents / 100).as_bytes());
    out.push(b'.');
    write_padded(cents % 100, 2, out);
    out.extend_from_slice(after_price);
    out.extend_from_slice(itoa::Buffer::new().format(volume).as_bytes());
    out.extend_from_slice(ending);
}

/// The number with at least so many digits.
fn write_padded(value: u64, digits: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value).as_bytes();
    out.extend(std::iter::repeat_n(b'0', digits.saturating_sub(text.len())));
    out.extend_from_slice(text);
}

/// SplitMix64 (Steele, Lea, Flood 2014): a few instructions per number, and the same ones for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::time::parse_timestamp;

    fn text(spec: &TradesSpec) -> String {
        let mut out = Vec::new();
        write_trades(spec, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_are_determined_by_the_specification() {
        let spec = TradesSpec { rows: 100, ..TradesSpec::default() };
        let first = "{\"ts\":\"2026-03-01T00:00:00Z\",\"symbol\":\"SYM0";
        assert!(text(&spec).starts_with(first), "{}", text(&spec));
        assert_eq!(text(&spec), text(&spec));
        assert_ne!(text(&spec), text(&TradesSpec { seed: 2, ..spec.clone() }));
        let rows: Vec<serde_json::Value> = text(&spec).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(rows.len(), 100);
        assert!(rows.iter().all(|r| r["price"].is_f64() && r["volume"].is_u64()));
    }

    #[test]
    fn times_go_back_by_no_more_than_was_asked_for() {
        let spec =
            TradesSpec { rows: 1000, out_of_order_ns: NS_PER_S, format: TradesFormat::Csv, ..TradesSpec::default() };
        let text = text(&spec);
        assert_eq!(text.lines().next(), Some("ts,symbol,price,volume"));
        let times: Vec<i64> =
            text.lines().skip(1).map(|l| parse_timestamp(l.split(',').next().unwrap().as_bytes()).unwrap()).collect();
        let (mut greatest, mut furthest) = (i64::MIN, 0);
        for time in times {
            greatest = greatest.max(time);
            furthest = furthest.max(greatest - time);
        }
        assert!(furthest > 0 && furthest <= NS_PER_S, "{furthest}");
    }
}
