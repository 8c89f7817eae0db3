//! Throws damaged bytes at what reads bytes: the parser and every decoder.
//!
//! Inputs are the programs and rows of `tests/golden`, mutated: bytes flipped, cut, doubled, spliced, and
//! tokens put in that parsers trip over. Nothing may panic, and a decoder accounts for every row. Each
//! target runs a fixed number of inputs; `FUZZ_SECONDS=600` makes it run for a time instead (`make fuzz`).
//! A finding prints its seed; `FUZZ_SEED=N` begins there.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use varpulis_runtime::connector::format::{DecoderConfig, decoder};
use varpulis_runtime::connector::spec::{FileFormat, SourceType, TimeUnit};
use varpulis_runtime::connector::{Block, BlockContext, BlockData, CsvHeader, Decoded};
use varpulis_runtime::data::{Field, Schema, Type};
use varpulis_runtime::diagnostic::{Sources, render_json, render_text};
use varpulis_runtime::expr::Expr;
use varpulis_runtime::syntax::parse;

const INPUTS: u64 = 20_000;
/// Longer inputs find nothing that shorter ones do not, and cost more.
const INPUT_BYTES_MAX: usize = 4_096;

/// What parsers trip over.
const TOKENS: [&[u8]; 40] = [
    b"\"",
    b"'",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b",",
    b":",
    b"\n",
    b"\r\n",
    b"\t",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xf0\x9f",
    "é".as_bytes(),
    "\u{feff}".as_bytes(),
    b"-",
    b"1e999",
    b"-0.0",
    b"9223372036854775808",
    b"0.1e-400",
    b"NaN",
    b"null",
    b"true",
    b"@",
    b"@9999999999999h",
    b"#",
    b"/*",
    b"*/",
    b"f\"{",
    b"..",
    b"[[[[[[[[[[[[[[[[[[[[",
    b"((((((((((((((((((((",
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Two places of `text`, in order and near each other.
    fn range(&mut self, text: &[u8]) -> (usize, usize) {
        let from = self.below(text.len() + 1);
        (from, (from + self.below(40)).min(text.len()))
    }
}

/// The contents of all golden files with one of the extensions.
fn corpus(extensions: &[&str]) -> Vec<Vec<u8>> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")];
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ext| extensions.iter().any(|wanted| ext == *wanted)) {
            files.push(path);
        }
    }
    files.sort();
    assert!(!files.is_empty(), "no golden file has one of {extensions:?}");
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut text = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(8) {
        let (from, to) = random.range(&text);
        match random.below(6) {
            0 if from < text.len() => text[from] ^= 1 << random.below(8),
            1 => drop(text.drain(from..to)),
            2 => {
                let piece = text[from..to].to_vec();
                let at = random.below(text.len() + 1);
                text.splice(at..at, piece);
            }
            3 => {
                let other = &corpus[random.below(corpus.len())];
                let (start, end) = random.range(other);
                text.splice(from..to, other[start..end].iter().copied());
            }
            _ => {
                let token = TOKENS[random.below(TOKENS.len())];
                text.splice(from..from, token.iter().copied());
            }
        }
    }
    text.truncate(INPUT_BYTES_MAX);
    text
}

/// Runs `target` over mutated inputs; a panic ends the test with the seed and the input.
fn fuzz(corpus: &[Vec<u8>], target: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let began = Instant::now();
    let limit = number("FUZZ_SECONDS").map(Duration::from_secs);
    let first = number("FUZZ_SEED").unwrap_or(0);
    let mut seed = first;
    while limit.map_or(seed - first < INPUTS, |limit| began.elapsed() < limit) {
        let input = mutate(corpus, &mut Random(seed));
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            panic!("FUZZ_SEED={seed} fails on {:?}", String::from_utf8_lossy(&input));
        }
        seed += 1;
    }
    println!("{} inputs", seed - first);
}

#[test]
fn parser() {
    fuzz(&corpus(&["vpl"]), |input| {
        let text = String::from_utf8_lossy(input);
        let mut sources = Sources::default();
        let file = sources.add("fuzz.vpl", text.as_ref());
        let (_, diagnostics) = parse(file, &text);
        for diagnostic in &diagnostics {
            let (start, end) = (diagnostic.span.start as usize, diagnostic.span.end as usize);
            assert!(start <= end && text.get(start..end).is_some(), "a span outside the text: {diagnostic:?}");
        }
        assert_eq!(render_text(&diagnostics, &sources, false).is_empty(), diagnostics.is_empty());
        render_json(&diagnostics, &sources);
    });
}

/// A type with a field of every kind.
fn event() -> SourceType {
    let place =
        Type::Record(Arc::from([Field::new("lat", Type::Float.optional()), Field::new("name", Type::Str.optional())]));
    let fields = vec![
        Field::new("at", Type::Timestamp.required()),
        Field::new("k", Type::Str.optional()),
        Field::new("v", Type::Int.optional()),
        Field::new("x", Type::Float.optional()),
        Field::new("ok", Type::Bool.optional()),
        Field::new("other", Type::Timestamp.optional()),
        Field::new("wait", Type::Duration.optional()),
        Field::new("tags", Type::List(Box::new(Type::Str.optional())).optional()),
        Field::new("more", Type::Map(Box::new(Type::Int.optional())).optional()),
        Field::new("place", place.optional()),
    ];
    let mut time_units = vec![None; fields.len()];
    time_units[5] = Some(TimeUnit::Milliseconds);
    SourceType {
        name: "E".to_string(),
        declared: fields.iter().map(|field| field.name.clone()).collect(),
        time: Some(Expr::column(0, Type::Timestamp.required())),
        schema: Schema::new(fields),
        time_units,
        sampled: false,
    }
}

fn decode(format: FileFormat, types: &[SourceType], context: BlockContext, input: &[u8]) {
    let mut decoder = decoder(format, &DecoderConfig { types: types.to_vec() });
    let block = Block { index: 0, position: 7, context, data: BlockData::Bytes(input.to_vec()) };
    account(&decoder.decode(&block), types, input.len() as u64 + 7);
}

/// Every row is somewhere, columns have one length and the schema's types, positions ascend.
fn account(decoded: &Decoded, types: &[SourceType], end: u64) {
    let other: u64 = decoded.other_types.iter().map(|(_, count)| count).sum();
    let mut rows = decoded.malformed.len() as u64 + other;
    for (ty, got) in types.iter().zip(&decoded.types) {
        rows += got.positions.len() as u64;
        assert!(got.positions.is_sorted() && got.positions.iter().all(|&p| (7..end).contains(&p)));
        for (field, column) in ty.schema.fields.iter().zip(&got.columns) {
            assert_eq!(column.len(), got.positions.len());
            assert_eq!(*column.data_type(), field.data_type.arrow());
            assert!(field.data_type.nullable || column.null_count() == 0);
            column.to_data().validate_full().expect("a valid column");
        }
    }
    assert!(decoded.malformed.iter().all(|row| (7..end).contains(&row.position)));
    assert_eq!(rows, decoded.rows, "rows are lost or doubled");
}

#[test]
fn jsonl_decoder() {
    let types = [event(), SourceType { name: "A".to_string(), ..event() }];
    fuzz(&corpus(&["jsonl"]), |input| {
        decode(FileFormat::Jsonl, &types[..1], BlockContext::Nothing, input);
        decode(FileFormat::Jsonl, &types, BlockContext::Nothing, input);
    });
}

#[test]
fn csv_decoder() {
    let names = ["x", "at", "k", "v", "ok", "other", "wait"].map(String::from).to_vec();
    let header = Arc::new(CsvHeader { names, delimiter: b',', lines: 1 });
    fuzz(&corpus(&["csv"]), |input| {
        let format = FileFormat::Csv { delimiter: None };
        decode(format, &[event()], BlockContext::Header(header.clone()), input);
    });
}
