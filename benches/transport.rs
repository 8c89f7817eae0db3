//! How fast bytes come in and rows go out, on one core: files cut into blocks, and batches encoded.
//!
//! `cargo bench --bench transport [-- --mb N]`; `--tiny` works on a little, so that tests can run it.
//! Each line ends with a checksum, which keeps the compiler from dropping the work and tells when a
//! change for speed has changed the result. The files are read from the page cache.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use varpulis_runtime::connector::BlockData;
use varpulis_runtime::connector::compression::CompressedReader;
use varpulis_runtime::connector::file::{FileReader, TextKind};
use varpulis_runtime::connector::format::encode::jsonl::Meta;
use varpulis_runtime::connector::format::encode::{CsvEncoder, EncodedRows, JsonlEncoder, RowEncoder};
use varpulis_runtime::connector::generator::NexmarkReader;
use varpulis_runtime::connector::generator::trades::{TradesSpec, write_trades};
use varpulis_runtime::connector::partition::{BlockReader, Polled};
use varpulis_runtime::connector::spec::{Compression, GeneratorKind};
use varpulis_runtime::data::array::array_of_values;
use varpulis_runtime::data::{Batch, Field, Schema, Type, Value};

const ROUNDS: usize = 5;
const BATCH_ROWS: usize = 16 << 10;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let tiny = args.iter().any(|a| a == "--tiny");
    let mb = args.iter().position(|a| a == "--mb").and_then(|i| args.get(i + 1)?.parse().ok()).unwrap_or(256);
    let rows = if tiny { 1000 } else { mb * 12_000 };
    let folder = std::env::temp_dir().join(format!("varpulis-transport-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let at = |name: &str| folder.join(name).to_str().expect("the path is text").to_string();
    let spec = TradesSpec { rows, ..TradesSpec::default() };
    let start = Instant::now();
    write_trades(&spec, &mut File::create(at("trades.jsonl")).expect("it can be created")).expect("it can be written");
    println!("{:<20} {:>8.2} M rows/s", "write trades", rows as f64 / start.elapsed().as_secs_f64() / 1e6);
    read_files(&at, rows);
    encode_rows(rows);
    generate(if tiny { 1000 } else { 200_000 });
    std::fs::remove_dir_all(folder).expect("what was written can be removed");
}

fn read_files(at: &dyn Fn(&str) -> String, rows: u64) {
    let text = std::fs::read(at("trades.jsonl")).expect("it was written");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).expect("memory takes it");
    std::fs::write(at("trades.jsonl.gz"), gzip.finish().expect("memory takes it")).expect("it can be written");
    let zstd = zstd::encode_all(&text[..], 1).expect("memory takes it");
    std::fs::write(at("trades.jsonl.zst"), zstd).expect("it can be written");
    let quoted = format!("\"a\",\"b, c\"\n{}", "\"some text\",\"a \"\"quoted\"\" one\"\n".repeat(rows as usize * 3));
    std::fs::write(at("quoted.csv"), quoted).expect("it can be written");
    measure("read lines", || read(FileReader::open(&at("trades.jsonl"), TextKind::Lines)));
    let csv = TextKind::Csv { delimiter: None };
    measure("read quoted CSV", || read(FileReader::open(&at("quoted.csv"), csv)));
    for (name, compression) in [("gz", Compression::Gzip), ("zst", Compression::Zstd)] {
        let path = at(&format!("trades.jsonl.{name}"));
        measure(&format!("read {name}"), || read(CompressedReader::open(&path, compression, TextKind::Lines)));
    }
}

fn read<R: BlockReader, E: std::fmt::Debug>(reader: Result<R, E>) -> (f64, u64) {
    let mut reader = reader.expect("the file is there");
    let (mut bytes, mut checksum) = (0, 0u64);
    while let Polled::Block(block) = reader.poll_block().expect("the file is whole") {
        let BlockData::Bytes(text) = block.data else { panic!("no line is too long") };
        bytes += text.len();
        checksum = checksum.rotate_left(5) ^ text[text.len() / 2] as u64;
    }
    (bytes as f64, checksum)
}

/// Prints the best of some rounds of work that tells how many bytes it did.
fn measure(name: &str, mut work: impl FnMut() -> (f64, u64)) {
    let mut best = 0f64;
    let mut checksum = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (amount, sum) = black_box(work());
        best = best.max(amount / start.elapsed().as_secs_f64());
        checksum = sum;
    }
    println!("{name:<20} {:>8.2} GB/s      checksum {checksum:016x}", best / 1e9);
}

/// Makes the value of a row.
type Make = fn(i64) -> Value;

/// A batch of rows like those of a usual output: a name, two numbers and a time.
fn batch() -> (Schema, Batch) {
    let columns: [(&str, Type, Make); 4] = [
        ("symbol", Type::Str, |i| Value::str(&format!("SYM{:04}", i * 7919 % 1000))),
        ("average", Type::Float, |i| Value::Float((5_000 + i * 104_729 % 10_000) as f64 / 100.0)),
        ("count", Type::Int, |i| Value::Int(i * 31 % 1000)),
        ("until", Type::Timestamp, |i| Value::Timestamp(1_772_323_200_000_000_000 + i * 1_000_000)),
    ];
    let schema = Schema::new(columns.iter().map(|(n, ty, _)| Field::new(*n, ty.clone().required())).collect());
    let values = |make: Make| (0..BATCH_ROWS as i64).map(make).collect::<Vec<_>>();
    let arrays = columns.iter().map(|(_, ty, make)| array_of_values(&ty.clone().required(), &values(*make)));
    let time: Vec<i64> = (0..BATCH_ROWS as i64).map(|i| 1_772_323_200_000_000_000 + i * 1_000_000).collect();
    (schema, Batch { columns: arrays.collect(), time: time.into(), ..Batch::default() })
}

fn encode_rows(rows: u64) {
    let (schema, batch) = batch();
    let mut encoders: Vec<(&str, Box<dyn RowEncoder>)> = vec![
        ("encode JSONL", Box::new(JsonlEncoder::new("Averages", &schema, Meta::Shown))),
        ("encode JSONL bare", Box::new(JsonlEncoder::new("Averages", &schema, Meta::Hidden))),
        ("encode CSV", Box::new(CsvEncoder::new(&schema, b','))),
    ];
    let batches = (rows as usize).div_ceil(BATCH_ROWS);
    for (name, encoder) in &mut encoders {
        let mut best = 0f64;
        let mut out = EncodedRows::default();
        let mut checksum = 0u64;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..batches {
                out.clear();
                encoder.encode(black_box(&batch), &mut out);
                checksum = checksum.rotate_left(5) ^ out.bytes.len() as u64;
            }
            best = best.max((batches * BATCH_ROWS) as f64 / start.elapsed().as_secs_f64());
        }
        let row_bytes = out.bytes.len() / BATCH_ROWS;
        println!("{name:<20} {:>8.2} M rows/s  {row_bytes} B/row  checksum {checksum:016x}", best / 1e6);
    }
}

fn generate(events: u64) {
    let open = || NexmarkReader::open(GeneratorKind::Nexmark, 0, Some(events), None, Arc::new(|| {}));
    let start = Instant::now();
    let mut reader = open().expect("the generator needs nothing");
    let mut rows = 0;
    while let Polled::Block(block) = reader.poll_block().expect("the generator does not fail") {
        let BlockData::Rows(batch) = block.data else { panic!("events are rows") };
        rows += batch.num_rows();
    }
    println!("{:<20} {:>8.2} M rows/s", "generate nexmark", rows as f64 / start.elapsed().as_secs_f64() / 1e6);
}
