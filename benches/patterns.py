#!/usr/bin/env python3
"""Patterns from JSONL to JSONL: 5 M trades of 1,000 symbols, one worker.

usage: benches/patterns.py [--rows N] [--rounds N] [--data DIR] VARPULIS

Prints, for each pattern, rows per second of the best round, matches, and peak memory as the run reports them. What the
matcher alone does is measured by `cargo bench --bench patterns`.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time

EVENT = """event Trade:
    ts: timestamp
    symbol: str
    price: float
    volume: int

"""

A, B, C = (f"volume % 3 == {i}" for i in range(3))

PATTERNS = {
    "filter alone": "stream M = Trade.where(price < 0.0).emit(price: price)",
    "a -> b, compared": f"""stream M = Trade as a where {A} -> Trade as b where {B} and price > a.price * 1.5
    .within(10s).partition_by(symbol).emit(a: a.price, b: b.price)""",
    "a -> b+ -> c": f"""stream M = Trade as a where {A} -> Trade+ as b where {B} -> Trade as c where {C}
    .within(10s).partition_by(symbol).emit(a: a.price, n: count(b), total: sum(b.price), c: c.price)""",
    "a -> not b -> c": f"""stream M = Trade as a where {A} -> not Trade where {B} -> Trade as c where {C}
    .within(10s).partition_by(symbol).emit(a: a.price, c: c.price)""",
    "a -> b, equal, no key": f"""stream M = Trade as a where {A}
    -> Trade as b where {B} and symbol == a.symbol and price > a.price * 1.5
    .within(10s).emit(a: a.price, b: b.price)""",
    "trends of a -> b+ -> c": f"""stream M = Trade as a where {A} -> Trade+ as b where {B} -> Trade as c where {C}
    .within(10s).partition_by(symbol).strategy("skip_till_any")
    .trend_aggregate(n: count_trends(), total: sum_trends(b.price)).emit(n: n, total: total)""",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("varpulis")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--data", default=os.path.join(tempfile.gettempdir(), "varpulis-bench"))
    args = parser.parse_args()
    varpulis = os.path.abspath(args.varpulis)
    os.makedirs(args.data, exist_ok=True)
    trades = os.path.join(args.data, f"patterns-{args.rows}.jsonl")
    if not os.path.exists(trades):
        words = ["generate", "trades", "--keys", "1000", "--rate", "2000", "--rows", str(args.rows), "-o"]
        subprocess.run([varpulis, *words, trades + ".part"], check=True)
        os.replace(trades + ".part", trades)
    for name, stream in PATTERNS.items():
        program = os.path.join(args.data, "pattern.vpl")
        with open(program, "w") as out:
            out.write(EVENT + stream + "\n")
        best, report = float("inf"), None
        for _ in range(args.rounds):
            started = time.monotonic()
            words = ["run", program, "-i", f"Trade={trades}", "-o", os.path.join(args.data, "pattern.jsonl"), "-w", "1"]
            done = subprocess.run([varpulis, *words, "--stats", "json"], check=True, capture_output=True, text=True)
            best, report = min(best, time.monotonic() - started), json.loads(done.stderr.splitlines()[-1])
        rate, matches = args.rows / best / 1e6, report["rows_out"]
        peak = report["memory"]["peak_bytes"] / 1e6
        print(f"{name:<26} {rate:5.2f} M rows/s  {matches:>9} rows out  {peak:5.0f} MB at most", flush=True)


if __name__ == "__main__":
    main()
