//! `varpulis generate`: synthetic rows.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};

use super::args::{GenerateArgs, GeneratedFormat, GeneratedKind};
use super::{EXIT_FAILED, complain};
use crate::connector::generator::trades::{TradesFormat, TradesSpec, write_trades};

pub fn generate(args: GenerateArgs) -> u8 {
    match write(&args) {
        Ok(()) => 0,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => 0,
        Err(error) => {
            complain(format!("{}: {error}", args.output));
            EXIT_FAILED
        }
    }
}

fn write(args: &GenerateArgs) -> std::io::Result<()> {
    let out: Box<dyn Write> =
        if args.output == "-" { Box::new(std::io::stdout()) } else { Box::new(File::create(&args.output)?) };
    let mut out = BufWriter::new(out);
    match args.kind {
        GeneratedKind::Trades => write_trades(&trades(args), &mut out)?,
    }
    out.flush()
}

fn trades(args: &GenerateArgs) -> TradesSpec {
    TradesSpec {
        rows: args.rows,
        keys: args.keys,
        rate_per_s: args.rate,
        out_of_order_ns: args.out_of_order,
        seed: args.seed,
        format: match args.format {
            GeneratedFormat::Jsonl => TradesFormat::Jsonl,
            GeneratedFormat::Csv => TradesFormat::Csv,
        },
    }
}
