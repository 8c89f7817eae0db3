//! Throws damaged bytes at what reads bytes: the parser, every decoder, and the sampler.
//!
//! Inputs are the programs and rows of `tests/golden`, mutated: bytes flipped, cut, doubled, spliced, and
//! tokens put in that parsers trip over. Columnar files are made here, and damaged byte by byte. Nothing may
//! panic, a decoder accounts for every row, and no row of a sample contradicts its schema. Each target runs a fixed number of inputs; `FUZZ_SECONDS=600` makes it run for a time instead (`make fuzz`).
//! A finding prints its seed; `FUZZ_SEED=N` begins there.

use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampNanosecondArray,
};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use varpulis_runtime::connector::columns::{ArrowReader, ParquetReader};
use varpulis_runtime::connector::format::columnar::read_rows;
use varpulis_runtime::connector::format::evt::EvtClock;
use varpulis_runtime::connector::format::{DecoderConfig, decoder};
use varpulis_runtime::connector::guard::is_guarded;
use varpulis_runtime::connector::partition::{BlockReader, Polled, ReadError};
use varpulis_runtime::connector::sample::Sampler;
use varpulis_runtime::connector::spec::{FileFormat, SourceType, TimeUnit};
use varpulis_runtime::connector::{Block, BlockContext, BlockData, CsvHeader, Decoded, MalformedReason};
use varpulis_runtime::data::{Field, Schema, Type};
use varpulis_runtime::diagnostic::{Sources, render_json, render_text};
use varpulis_runtime::expr::Expr;
use varpulis_runtime::syntax::parse;

const INPUTS: u64 = 20_000;
/// Of columnar files, which go by way of a file system.
const FILES: u64 = 2_000;
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

/// Bytes flipped, overwritten with the ends of ranges, and sometimes cut: what is left keeps its offsets.
fn damage(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(bytes.len());
        let width = [1, 2, 4, 8][random.below(4)].min(bytes.len() - at);
        match random.below(6) {
            0..=2 => bytes[at] ^= 1 << random.below(8),
            3 => bytes[at] = random.next() as u8,
            4 => bytes[at..at + width].fill([0, 0x7f, 0x80, 0xff][random.below(4)]),
            _ => {
                let from = random.below(bytes.len() - width + 1);
                bytes.copy_within(from..from + width, at);
            }
        }
    }
    if random.below(20) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

/// Runs `target` over mutated inputs.
fn fuzz(corpus: &[Vec<u8>], target: impl Fn(&[u8])) {
    fuzz_with(INPUTS, |random| mutate(corpus, random), target);
}

/// Runs `target` over the inputs that `make` gives; a panic ends the test with the seed and the input.
fn fuzz_with(inputs: u64, make: impl Fn(&mut Random) -> Vec<u8>, target: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let began = Instant::now();
    let limit = number("FUZZ_SECONDS").map(Duration::from_secs);
    let first = number("FUZZ_SEED").unwrap_or(0);
    let mut seed = first;
    while limit.map_or(seed - first < inputs, |limit| began.elapsed() < limit) {
        let input = make(&mut Random(seed));
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
        is_read: true,
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
    account(&decoder.decode(&block), types, 7..input.len() as u64 + 7);
}

/// Every row is somewhere, columns have one length and the schema's types, positions ascend.
fn account(decoded: &Decoded, types: &[SourceType], within: Range<u64>) {
    let other: u64 = decoded.other_types.iter().map(|(_, count)| count).sum();
    let mut rows = decoded.malformed.len() as u64 + other;
    for (ty, got) in types.iter().zip(&decoded.types) {
        rows += got.positions.len() as u64;
        assert!(got.positions.is_sorted() && got.positions.iter().all(|&p| within.contains(&p)));
        for (field, column) in ty.schema.fields.iter().zip(&got.columns) {
            assert_eq!(column.len(), got.positions.len());
            assert_eq!(*column.data_type(), field.data_type.arrow());
            assert!(field.data_type.nullable || column.null_count() == 0);
            column.to_data().validate_full().expect("a valid column");
        }
    }
    assert!(decoded.malformed.iter().all(|row| within.contains(&row.position)));
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

#[test]
fn evt_decoder() {
    let types = [event(), SourceType { name: "Login".to_string(), ..event() }];
    fuzz(&corpus(&["evt"]), |input| {
        let whole = decode_evt(&types, 0, 0, input);
        account(&whole, &types, 0..input.len() as u64);
        // A block that begins at a later line, with the time that its reader hands down, gives the same rows.
        let Some(cut) = input.iter().position(|&b| b == b'\n').map(|at| at + 1) else { return };
        let mut clock = EvtClock::default();
        clock.advance(&input[..cut]);
        let parts = [decode_evt(&types, 0, 0, &input[..cut]), decode_evt(&types, cut, clock.now_ns(), &input[cut..])];
        assert_eq!(parts.iter().map(|d| d.rows).sum::<u64>(), whole.rows);
        for (ty, all) in whole.types.iter().enumerate() {
            let times = |d: &Decoded| d.types[ty].format_times.clone().unwrap_or_default();
            let positions = |d: &Decoded| d.types[ty].positions.clone();
            assert_eq!(parts.iter().flat_map(times).collect::<Vec<_>>(), times(&whole));
            assert_eq!(parts.iter().flat_map(positions).collect::<Vec<_>>(), all.positions);
        }
    });
}

fn decode_evt(types: &[SourceType], position: usize, now_ns: i64, input: &[u8]) -> Decoded {
    let mut decoder = decoder(FileFormat::Evt, &DecoderConfig { types: types.to_vec() });
    let data = BlockData::Bytes(input.to_vec());
    decoder.decode(&Block { index: 0, position: position as u64, context: BlockContext::Time(now_ns), data })
}

#[test]
fn sampler() {
    let names = ["type", "at", "k", "v", "x", "ok"].map(String::from).to_vec();
    let header = Arc::new(CsvHeader { names, delimiter: b',', lines: 1 });
    let texts = corpus(&["jsonl", "csv"]);
    fuzz(&texts, |input| {
        sample(FileFormat::Jsonl, BlockContext::Nothing, input);
        sample(FileFormat::Csv { delimiter: None }, BlockContext::Header(header.clone()), input);
    });
}

/// Samples a block, and decodes it with what was sampled.
fn sample(format: FileFormat, context: BlockContext, input: &[u8]) {
    let block = Block { index: 0, position: 0, context, data: BlockData::Bytes(input.to_vec()) };
    let mut sampler = Sampler::new(format, vec!["E".to_string()]);
    sampler.add(&block);
    let Some(Ok(sampled)) = sampler.sampled("E") else { return };
    let ty = SourceType {
        is_read: true,
        name: "E".to_string(),
        declared: sampled.schema.fields.iter().map(|f| f.name.clone()).collect(),
        time_units: sampled.time_units,
        schema: sampled.schema,
        time: None,
        sampled: true,
    };
    let decoded = decoder(format, &DecoderConfig { types: vec![ty] }).decode(&block);
    for row in &decoded.malformed {
        let contradicts = matches!(row.reason, MalformedReason::WrongType | MalformedReason::MissingField);
        let was_sampled =
            !matches!(format, FileFormat::Jsonl) || serde_json::from_slice::<serde_json::Value>(&row.raw).is_ok();
        assert!(!(contradicts && was_sampled), "{}: {}", String::from_utf8_lossy(&row.raw), row.detail);
    }
}

/// Rows of the type [`event`], as far as columnar files have its fields.
fn record_batch(rows: usize) -> RecordBatch {
    let numbers = || (0..rows as i64).map(|i| (i % 5 != 0).then_some(i * 7 % 11));
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter(numbers().map(|n| n.map(|n| "abcdefghijk"[..n as usize].to_string()))));
    let mut tags = ListBuilder::new(StringBuilder::new());
    numbers().for_each(|n| tags.append_option(n.map(|n| vec![Some("tag"); n as usize % 3])));
    let floats: ArrayRef = Arc::new(Float64Array::from_iter(numbers().map(|n| n.map(|n| n as f64 / 4.0))));
    let place = |name: &str, column: &ArrayRef| {
        (Arc::new(arrow_schema::Field::new(name, column.data_type().clone(), true)), column.clone())
    };
    let times = (0..rows as i64).map(|i| 1_772_323_200_000_000_000 + i * 1_000_000_000);
    RecordBatch::try_from_iter_with_nullable([
        ("at", Arc::new(TimestampNanosecondArray::from_iter_values(times)) as ArrayRef, false),
        ("k", texts.clone(), true),
        ("v", Arc::new(Int64Array::from_iter(numbers())), true),
        ("ok", Arc::new(BooleanArray::from_iter(numbers().map(|n| n.map(|n| n > 5)))), true),
        ("tags", Arc::new(tags.finish()), true),
        ("place", Arc::new(StructArray::from(vec![place("lat", &floats), place("name", &texts)])), true),
    ])
    .expect("columns of one length")
}

/// Reads a file to its end, and accounts for its rows.
fn read_columns(dir: &Path, format: FileFormat, input: &[u8]) -> Result<(), ReadError> {
    let path = dir.join("input").display().to_string();
    fs::write(&path, input).expect("a temporary file");
    let mut reader: Box<dyn BlockReader> = match format {
        FileFormat::Parquet => Box::new(ParquetReader::open(&path)?),
        _ => Box::new(ArrowReader::open(&path)?),
    };
    let types = [event()];
    let mut decoder = decoder(format, &DecoderConfig { types: types.to_vec() });
    while let Polled::Block(block) = reader.poll_block()? {
        // What the sampler reads: all columns.
        if let Some(batch) = read_rows(&block)? {
            let block = Block { data: BlockData::Rows(batch), ..Block::default() };
            let mut sampler = Sampler::new(FileFormat::Parquet, vec!["E".to_string()]);
            sampler.add(&block);
            let _ = sampler.sampled("E");
        }
        let decoded = decoder.decode(&block);
        if let Some(failed) = decoded.failed {
            return Err(failed);
        }
        account(&decoded, &types, block.position..u64::MAX);
    }
    Ok(())
}

#[test]
fn parquet_reader() {
    let files = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())];
    let corpus = files.map(|compression| {
        let properties =
            WriterProperties::builder().set_compression(compression).set_max_row_group_row_count(Some(8)).build();
        let batch = record_batch(20);
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).expect("a schema of Parquet");
        writer.write(&batch).expect("rows in memory");
        writer.close().expect("rows in memory");
        bytes
    });
    fuzz_columns(FileFormat::Parquet, &corpus);
}

#[test]
fn arrow_reader() {
    let batch = record_batch(20);
    let mut corpus = Vec::new();
    for compression in [None, Some(arrow_ipc::CompressionType::LZ4_FRAME), Some(arrow_ipc::CompressionType::ZSTD)] {
        let options = IpcWriteOptions::default().try_with_compression(compression).expect("known compression");
        let mut file =
            FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options.clone()).expect("a schema");
        let mut stream = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).expect("a schema");
        for part in [batch.slice(0, 8), batch.slice(8, 12)] {
            file.write(&part).expect("rows in memory");
            stream.write(&part).expect("rows in memory");
        }
        corpus.push(file.into_inner().expect("rows in memory"));
        corpus.push(stream.into_inner().expect("rows in memory"));
    }
    fuzz_columns(FileFormat::Arrow, &corpus);
}

fn fuzz_columns(format: FileFormat, corpus: &[Vec<u8>]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for whole in corpus {
        read_columns(dir.path(), format, whole).expect("what is not damaged is read");
    }
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_guarded() {
            print(panic);
        }
    }));
    fuzz_with(FILES, |random| damage(corpus, random), |input| drop(read_columns(dir.path(), format, input)));
}
