//! How fast rows are decoded, on one core: rows per second, and a checksum of what was decoded.
//!
//! `cargo bench --bench decode [-- NAME…] [--mb N]`; `--tiny` decodes a few rows, so that tests can run
//! it. The rows are generated from a fixed seed. The checksum keeps the compiler from dropping the
//! work, and tells when a change for speed has changed the result.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::Array;
use varpulis_runtime::connector::format::{Decoder, DecoderConfig, decoder};
use varpulis_runtime::connector::spec::{FileFormat, SourceType};
use varpulis_runtime::connector::{Block, BlockContext, BlockData, CsvHeader, Decoded};
use varpulis_runtime::data::time::format_timestamp;
use varpulis_runtime::data::{Field, Schema, Type};

const BLOCK_BYTES: usize = 4 << 20;

struct Case {
    name: &'static str,
    format: FileFormat,
    context: BlockContext,
    types: Vec<SourceType>,
    /// The row of a number.
    row: fn(u64) -> String,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let tiny = args.iter().any(|a| a == "--tiny");
    let mb = args.iter().position(|a| a == "--mb").and_then(|i| args.get(i + 1)?.parse().ok()).unwrap_or(100);
    let names: Vec<&String> = args.iter().filter(|a| a.starts_with(|c: char| c.is_alphabetic())).collect();
    let bytes = if tiny { 10_000 } else { mb << 20 };
    let rounds = if tiny { 1 } else { 5 };
    for case in cases() {
        if names.is_empty() || names.iter().any(|n| case.name.contains(n.as_str())) {
            run(&case, bytes, rounds);
        }
    }
}

fn run(case: &Case, bytes: usize, rounds: usize) {
    let blocks = blocks(case, bytes);
    let size: usize = blocks.iter().map(block_bytes).sum();
    // The least time of each block: what else the machine does disturbs some rounds of a block, not all.
    let mut least = vec![f64::INFINITY; blocks.len()];
    let (mut rows, mut checksum) = (0, 0);
    for _ in 0..rounds {
        let mut decoder = decoder(case.format, &DecoderConfig { types: case.types.clone() });
        (rows, checksum) = decode_all(&mut *decoder, &blocks, &mut least);
    }
    let best: f64 = least.iter().sum();
    println!(
        "{:<24} {:>6.2} M rows/s  {:>6.0} MB/s  {:>6.1} ns/row  {rows} rows  checksum {checksum:016x}",
        case.name,
        rows as f64 / best / 1e6,
        size as f64 / best / 1e6,
        best * 1e9 / rows as f64,
    );
}

fn decode_all(decoder: &mut dyn Decoder, blocks: &[Block], least: &mut [f64]) -> (u64, u64) {
    let (mut rows, mut checksum) = (0, 0u64);
    for (block, least) in blocks.iter().zip(least) {
        let start = Instant::now();
        let decoded = black_box(decoder.decode(block));
        *least = least.min(start.elapsed().as_secs_f64());
        rows += decoded.rows;
        checksum = checksum.rotate_left(5) ^ digest(&decoded);
    }
    (rows, checksum)
}

/// A few values of each column: enough to notice a wrong one, too few to cost.
fn digest(decoded: &Decoded) -> u64 {
    let mut digest = decoded.malformed.len() as u64;
    for rows in &decoded.types {
        for column in &rows.columns {
            let data = column.to_data();
            for buffer in data.buffers() {
                let bytes = buffer.as_slice();
                for chunk in bytes.chunks(bytes.len() / 64 + 1) {
                    digest = digest.wrapping_mul(31).wrapping_add(chunk[0] as u64);
                }
            }
            digest = digest.wrapping_mul(31).wrapping_add(column.len() as u64);
        }
    }
    digest
}

fn block_bytes(block: &Block) -> usize {
    if let BlockData::Bytes(bytes) = &block.data { bytes.len() } else { 0 }
}

fn blocks(case: &Case, bytes: usize) -> Vec<Block> {
    let (mut blocks, mut position, mut number) = (Vec::new(), 0u64, 0u64);
    while (position as usize) < bytes {
        let mut text = Vec::with_capacity(BLOCK_BYTES + 1024);
        while text.len() < BLOCK_BYTES && position as usize + text.len() < bytes {
            text.extend_from_slice((case.row)(number).as_bytes());
            text.push(b'\n');
            number += 1;
        }
        let index = blocks.len() as u64;
        let len = text.len() as u64;
        blocks.push(Block { index, position, context: case.context.clone(), data: BlockData::Bytes(text) });
        position += len;
    }
    blocks
}

/// A well-mixed number for each `n`.
fn mix(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The parts of a trade: time, symbol, price, volume, side.
fn trade(n: u64) -> (String, String, String, u64, char) {
    let r = mix(n);
    let time = format_timestamp(1_772_357_400_250_000_000 + n as i64 * 7_000_000);
    let cents = 1_000 + r % 90_000;
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    (time, format!("SYM{:03}", (r >> 20) % 500), price, (r >> 32) % 1_000, if r >> 63 == 0 { 'B' } else { 'S' })
}

fn trade_type(fields: &[&str]) -> SourceType {
    let all = [
        Field::new("ts", Type::Timestamp.required()),
        Field::new("symbol", Type::Str.required()),
        Field::new("price", Type::Float.required()),
        Field::new("volume", Type::Int.required()),
        Field::new("side", Type::Str.required()),
    ];
    let schema = Schema::new(all.iter().filter(|f| fields.contains(&f.name.as_str())).cloned().collect());
    SourceType {
        is_read: true,
        name: "Trade".into(),
        time_units: vec![None; schema.len()],
        schema,
        time: None,
        sampled: false,
        declared: all.iter().map(|f| f.name.clone()).collect(),
    }
}

fn json_case(name: &'static str, fields: &[&str], row: fn(u64) -> String) -> Case {
    let types = vec![trade_type(fields)];
    Case { name, format: FileFormat::Jsonl, context: BlockContext::Nothing, types, row }
}

fn two_types_case(name: &'static str, row: fn(u64) -> String) -> Case {
    let types = vec![trade_type(&ALL), SourceType { name: "Quote".into(), ..trade_type(&ALL[..3]) }];
    Case { name, format: FileFormat::Jsonl, context: BlockContext::Nothing, types, row }
}

fn csv_case(name: &'static str, fields: &[&str]) -> Case {
    let names = ["ts", "symbol", "price", "volume", "side"].map(String::from).to_vec();
    let header = CsvHeader { names, delimiter: b',', lines: 1 };
    Case {
        name,
        format: FileFormat::Csv { delimiter: None },
        context: BlockContext::Header(Arc::new(header)),
        types: vec![trade_type(fields)],
        row: |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            format!("{ts},{symbol},{price},{volume},{side}")
        },
    }
}

const ALL: [&str; 5] = ["ts", "symbol", "price", "volume", "side"];

fn cases() -> Vec<Case> {
    vec![
        json_case("json_all", &ALL, |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            format!(r#"{{"ts":"{ts}","symbol":"{symbol}","price":{price},"volume":{volume},"side":"{side}"}}"#)
        }),
        json_case("json_4_of_5", &ALL[..4], |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            format!(r#"{{"ts":"{ts}","symbol":"{symbol}","price":{price},"volume":{volume},"side":"{side}"}}"#)
        }),
        json_case("json_spaced", &ALL, |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            format!(r#"{{"ts": "{ts}", "symbol": "{symbol}", "price": {price}, "volume": {volume}, "side": "{side}"}}"#)
        }),
        json_case("json_tagged", &ALL, |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            format!(
                r#"{{"event_type":"Trade","ts":"{ts}","symbol":"{symbol}","price":{price},"volume":{volume},"side":"{side}"}}"#
            )
        }),
        json_case("json_envelope", &ALL, |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            format!(
                r#"{{"event_type":"Trade","data":{{"ts":"{ts}","symbol":"{symbol}","price":{price},"volume":{volume},"side":"{side}"}}}}"#
            )
        }),
        json_case("json_wide_2_of_25", &["ts", "price"], |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            let rest: String = (0..20).map(|i| format!(r#","field_{i}":{}"#, mix(n + i) % 100_000)).collect();
            format!(r#"{{"ts":"{ts}","symbol":"{symbol}","price":{price},"volume":{volume},"side":"{side}"{rest}}}"#)
        }),
        json_case("json_escapes", &ALL, |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            format!(
                r#"{{"ts":"{ts}","symbol":"{symbol}\u00e9\/x","price":{price},"volume":{volume},"side":"{side}\n"}}"#
            )
        }),
        two_types_case("json_two_types_head", |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            let ty = ["Trade", "Quote"][(mix(n) % 2) as usize];
            format!(
                r#"{{"event_type":"{ty}","ts":"{ts}","symbol":"{symbol}","price":{price},"volume":{volume},"side":"{side}"}}"#
            )
        }),
        two_types_case("json_two_types_tail", |n| {
            let (ts, symbol, price, volume, side) = trade(n);
            let ty = ["Trade", "Quote"][(mix(n) % 2) as usize];
            format!(
                r#"{{"ts":"{ts}","symbol":"{symbol}","price":{price},"volume":{volume},"side":"{side}","event_type":"{ty}"}}"#
            )
        }),
        csv_case("csv_all", &ALL),
        csv_case("csv_4_of_5", &ALL[..4]),
        json_case("json_missing_mixed", &ALL[..3], |n| {
            let (ts, symbol, price, _, _) = trade(n);
            let note = if mix(n).is_multiple_of(3) { r#""note":"odd","# } else { "" };
            format!(r#"{{"ts":"{ts}",{note}"symbol":"{symbol}","price":{price}}}"#)
        }),
    ]
}
