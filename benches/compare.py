#!/usr/bin/env python3
"""Compares varpulis with DuckDB and Polars on one machine, in one run; `make bench` calls it.

    benches/compare.py [--tiny] [--rounds N] [--only GROUP] [VARPULIS]

Ten million trades of 87 bytes a row of JSONL, and the same as CSV, are generated once into the cache
directory. The contestants of a group take turns, so that whatever else the machine does meets all of
them, and the best of the rounds counts. Each runs in a process of its own and writes its result to a
file; time is the whole process for varpulis, and the query alone (without start and import) for the
Python libraries; memory is the greatest resident set of the process. Results are compared before
anything is printed.

Needs Python 3.9; DuckDB, Polars and NumPy come from PyPI into a virtual environment in the cache.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

CACHE = Path(os.environ.get("CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varpulis")
VENV = CACHE / "venv"
WORK = CACHE / "bench"
PACKAGES = ("duckdb", "polars", "numpy")

TRADES = 10_000_000
TRADES_TINY = 100_000
# One hour of trades, whatever their number: 60 windows of a minute.
SPAN_US = 3_600_000_000
START = "2026-03-01T09:"


def ensure_venv():
    """Continues in an interpreter that has the libraries."""
    if Path(sys.prefix) != VENV:
        python = VENV / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        have = f"import {', '.join(PACKAGES)}"
        if subprocess.run([python, "-c", have], capture_output=True).returncode:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        os.execv(python, [str(python), *sys.argv])


# ---------------------------------------------------------------- input

def generate(path, rows, keys, jsonl):
    """Rows of fixed width, written as a matrix of bytes: time in order, keys and values from a fixed seed."""
    import numpy as np

    def digits(matrix, column, width, values):
        for i in range(width):
            matrix[:, column + width - 1 - i] = 48 + values // 10**i % 10

    template = (
        b'{"ts":"2026-03-01T09:00:00.000000Z","symbol":"S000000","price":0000.00,"volume":00000}\n'
        if jsonl else b"2026-03-01T09:00:00.000000Z,S000000,0000.00,00000\n"
    )
    minute, symbol, price = template.index(b"00:00."), template.index(b"S0") + 1, template.index(b"0000.00")
    volume = template.rindex(b"00000")
    random = np.random.default_rng(42)
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        if not jsonl:
            file.write(b"ts,symbol,price,volume\n")
        for begin in range(0, rows, 1_000_000):
            count = min(1_000_000, rows - begin)
            us = (np.arange(begin, begin + count, dtype=np.int64) * SPAN_US) // rows
            matrix = np.tile(np.frombuffer(template, dtype=np.uint8), (count, 1))
            digits(matrix, minute, 2, us // 60_000_000)
            digits(matrix, minute + 3, 2, us // 1_000_000 % 60)
            digits(matrix, minute + 6, 6, us % 1_000_000)
            digits(matrix, symbol, 6, random.integers(0, keys, count))
            cents = random.integers(100_000, 1_000_000, count)
            digits(matrix, price, 4, cents // 100)
            digits(matrix, price + 5, 2, cents % 100)
            digits(matrix, volume, 5, random.integers(10_000, 100_000, count))
            file.write(matrix.tobytes())
    partial.rename(path)


def input_file(rows, keys, extension):
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"trades-{rows}-{keys}.{extension}"
    if not path.exists():
        print(f"generating {path}", file=sys.stderr)
        own_process("generate", path, rows, keys)
    return path


def own_process(*args):
    """Runs a part of this script apart: a child's greatest resident set begins at its parent's, so the
    process that measures must stay small."""
    if subprocess.run([sys.executable, __file__, "--worker", *map(str, args)]).returncode:
        sys.exit(f"{args[0]} failed")


# ---------------------------------------------------------------- contestants

EVENT = """event Trade:
    ts: timestamp
    symbol: str
    price: float
    volume: int

"""
AGGREGATE = """
    .aggregate(n: count(), mean: avg(price), high: max(price), total: sum(volume))
    .emit(symbol: key, minute: window_start, n: n, mean: mean, high: high, total: total)
"""
PROGRAMS = {
    "tumbling": EVENT + "stream Out = Trade.where(price > 2000).partition_by(symbol).window(1m)" + AGGREGATE,
    "sliding": EVENT + "stream Out = Trade.where(price > 2000).partition_by(symbol).window(1h, sliding: 1m)" + AGGREGATE,
    "nothing": EVENT + "stream Out = Trade.where(price < 0)\n",
}


def varpulis(binary, program, source, workers, ordered=True):
    extension = source.suffix[1:]
    path = WORK / f"{program}.vpl"
    path.write_text(PROGRAMS[program])
    out = WORK / f"varpulis-{program}-{workers}-{ordered}.{extension}"
    command = [binary, path, "-w", workers, "-i", f"Trade={source}", "-o", out, "--format", extension,
               "--no-meta", "--quiet", "--ordered" if ordered else "--unordered"]
    return [str(part) for part in command], out


def library(name, source, threads):
    out = WORK / f"{name}-{threads}{source.suffix}"
    return [sys.executable, __file__, "--worker", name, str(source), str(out), str(threads)], out


def worker(name, *args):
    """What runs in a process of its own."""
    if name == "generate":
        path, rows, keys = args
        generate(Path(path), int(rows), int(keys), path.endswith(".jsonl"))
    elif name == "agree":
        agree([Path(path) for path in args])
    else:
        query(name, *args)


def query(name, source, out, threads):
    """Runs one query of a library and prints its seconds."""
    jsonl = source.endswith(".jsonl")
    if name == "duckdb":
        import duckdb
        columns = "{'ts': 'TIMESTAMP', 'symbol': 'VARCHAR', 'price': 'DOUBLE', 'volume': 'BIGINT'}"
        scan = (f"read_json('{source}', format = 'newline_delimited', columns = {columns})" if jsonl
                else f"read_csv('{source}', header = true, columns = {columns})")
        target = "format json" if jsonl else "format csv, header true"
        db = duckdb.connect(config={"threads": int(threads)})
        db.execute("set preserve_insertion_order = false")
        began = time.perf_counter()
        db.execute(f"""copy (select symbol, date_trunc('minute', ts) as minute, count(*) as n, avg(price) as mean,
                             max(price) as high, sum(volume) as total
                      from {scan} where price > 2000 group by all) to '{out}' ({target})""")
    else:
        os.environ["POLARS_MAX_THREADS"] = str(threads)
        import polars as pl
        schema = {"ts": pl.String, "symbol": pl.String, "price": pl.Float64, "volume": pl.Int64}
        began = time.perf_counter()
        scan = pl.scan_ndjson(source, schema=schema) if jsonl else pl.scan_csv(source, schema=schema)
        result = (
            scan.filter(pl.col("price") > 2000)
            .with_columns(minute=pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us").dt.truncate("1m"))
            .group_by("symbol", "minute")
            .agg(n=pl.len(), mean=pl.col("price").mean(), high=pl.col("price").max(), total=pl.col("volume").sum())
        )
        result.sink_ndjson(out) if jsonl else result.sink_csv(out)
    print(json.dumps({"seconds": time.perf_counter() - began}))


def measure(command):
    """Seconds and greatest resident bytes of one process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stdout = process.stdout.read()
    stderr = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}\nexit {process.returncode}\n{stderr.decode()}")
    if b'"seconds"' in stdout:
        seconds = json.loads(stdout.splitlines()[-1])["seconds"]
    return seconds, usage.ru_maxrss * 1024


# ---------------------------------------------------------------- groups

def groups(binary, rows, tiny):
    """Name -> (contestants by name, name of the one that others are compared with)."""
    keys = 1_000
    json_file, csv_file = input_file(rows, keys, "jsonl"), input_file(rows, keys, "csv")
    wide_file = input_file(rows, min(1_000_000, rows // 10), "jsonl")

    def contest(source):
        return {
            "varpulis -w 1": varpulis(binary, "tumbling", source, 1),
            "varpulis -w 1 --unordered": varpulis(binary, "tumbling", source, 1, ordered=False),
            "duckdb 1 thread": library("duckdb", source, 1),
            "polars 1 thread": library("polars", source, 1),
            "varpulis -w 2": varpulis(binary, "tumbling", source, 2),
            "varpulis -w 2 --unordered": varpulis(binary, "tumbling", source, 2, ordered=False),
            "duckdb 2 threads": library("duckdb", source, 2),
            "polars 2 threads": library("polars", source, 2),
        }

    return {
        "jsonl": ("JSONL, 1,000 keys", contest(json_file)),
        "csv": ("CSV, 1,000 keys", contest(csv_file)),
        "keys": ("JSONL, 1,000,000 keys" if not tiny else "JSONL, many keys", {
            "varpulis -w 1": varpulis(binary, "tumbling", wide_file, 1),
            "duckdb 1 thread": library("duckdb", wide_file, 1),
            "varpulis -w 2": varpulis(binary, "tumbling", wide_file, 2),
            "duckdb 2 threads": library("duckdb", wide_file, 2),
        }),
        "sliding": ("60 panes against a tumbling window of the same slide", {
            "tumbling -w 1": varpulis(binary, "tumbling", json_file, 1),
            "sliding -w 1": varpulis(binary, "sliding", json_file, 1),
        }),
        "nothing": ("a filter that keeps nothing, JSONL", {"varpulis -w 1": varpulis(binary, "nothing", json_file, 1)}),
    }


def agree(outputs):
    """Exits when two results differ: counts, maxima and sums exactly, averages to 12 digits (only varpulis
    sums floats exactly)."""
    import duckdb
    reader = "read_json" if outputs[0].suffix == ".jsonl" else "read_csv"

    def rows(path):
        return f"""(select symbol, epoch(minute::timestamp)::bigint as minute, n::bigint as n, mean::double as mean,
                           high::double as high, total::bigint as total from {reader}('{path}'))"""
    for other in outputs[1:]:
        bad = duckdb.connect().execute(f"""select count(*) from {rows(outputs[0])} a full join {rows(other)} b using (symbol, minute)
            where a.n is distinct from b.n or a.high is distinct from b.high or a.total is distinct from b.total
               or abs(a.mean - b.mean) > 1e-12 * abs(a.mean)""").fetchone()[0]
        if bad:
            sys.exit(f"{bad} groups differ between {outputs[0]} and {other}")


def run_group(contestants, rounds):
    best = {}
    for _ in range(rounds):
        for name, (command, out) in contestants.items():
            if out.exists():
                out.unlink()
            seconds, resident = measure(command)
            before = best.get(name, (float("inf"), 0))
            best[name] = (min(before[0], seconds), max(before[1], resident))
    return best


def print_group(title, best, rows):
    print(f"\n{title}")
    print(f"  {'':28} {'seconds':>8} {'M rows/s':>9} {'peak MB':>8}")
    for name, (seconds, resident) in best.items():
        print(f"  {name:28} {seconds:8.2f} {rows / seconds / 1e6:9.2f} {resident / 1e6:8.0f}")


def ratio(label, best, slow, fast, bar):
    """How many times faster `fast` is than `slow`, with the bar it is held to."""
    if slow in best and fast in best:
        value = best[slow][0] / best[fast][0]
        verdict = "ok" if bar is None or value >= bar else "MISSED"
        print(f"  {label}: {value:.2f}" + (f" (bar {bar:.2f}, {verdict})" if bar else ""))


def print_ratios(key, best, rows):
    if key in ("jsonl", "csv"):
        bar = 1.0 if key == "jsonl" else 0.9
        ratio("speed against duckdb, 1", best, "duckdb 1 thread", "varpulis -w 1", bar)
        ratio("speed against duckdb, 2", best, "duckdb 2 threads", "varpulis -w 2", None)
        ratio("speed against polars, 1", best, "polars 1 thread", "varpulis -w 1", None)
        ratio("speed against polars, 2", best, "polars 2 threads", "varpulis -w 2", None)
        ratio("-w 2 against -w 1, ordered", best, "varpulis -w 1", "varpulis -w 2", 1.6)
        ratio("-w 2 against -w 1, unordered", best, "varpulis -w 1 --unordered", "varpulis -w 2 --unordered", 1.75)
    elif key == "keys":
        ratio("speed against duckdb, 1", best, "duckdb 1 thread", "varpulis -w 1", 1 / 1.2)
        ratio("speed against duckdb, 2", best, "duckdb 2 threads", "varpulis -w 2", 1 / 1.2)
    elif key == "sliding":
        ratio("speed against tumbling", best, "tumbling -w 1", "sliding -w 1", 1 / 1.5)
    elif key == "nothing":
        rate = rows / best["varpulis -w 1"][0] / 1e6
        print(f"  {rate:.2f} M rows/s (bar 6.00, {'ok' if rate >= 6 else 'MISSED'})")
    peak = max(resident for name, (_, resident) in best.items() if "duckdb" not in name and "polars" not in name) / 1e6
    print(f"  peak memory of varpulis: {peak:.0f} MB (bar 300, {'ok' if peak < 300 else 'MISSED'})")


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    parser = argparse.ArgumentParser(description="Compares varpulis with DuckDB and Polars.")
    parser.add_argument("varpulis", nargs="?", default=target / "release" / "varpulis")
    parser.add_argument("--tiny", action="store_true", help="100,000 trades: a test of this script, no measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="one group: jsonl, csv, keys, sliding or nothing")
    options = parser.parse_args()
    rows = TRADES_TINY if options.tiny else TRADES
    for key, (title, contestants) in groups(options.varpulis, rows, options.tiny).items():
        if options.only in (None, key):
            best = run_group(contestants, 1 if options.tiny else options.rounds)
            if key in ("jsonl", "csv", "keys"):
                own_process("agree", *(out for _, out in contestants.values()))
            print_group(title, best, rows)
            if not options.tiny:
                print_ratios(key, best, rows)
            sys.stdout.flush()


if __name__ == "__main__":
    ensure_venv()
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        main()
