#!/usr/bin/env python3
"""How long a row of a followed file takes to come out, and a window's after its writer fell silent; `make live` calls it.

    benches/live.py [--seconds N] [--rate ROWS_PER_S] [--workers N] [VARPULIS]

A process appends rows to a file, 50,000 a second in one write per millisecond, each row stamped with the
monotonic clock of its write. Varpulis follows the file and keeps a tenth of the rows; another process reads
them from its standard output as they arrive. Latency is the reader's clock when the bytes were there
less the row's stamp: the writer's system call, the look at the file, decoding, the filter, encoding, and
the pipe. The first second is warm-up and not counted.

Then a window: its writer falls silent, and the row of the last window must come out when `idle` has passed
and the clock has gone the rest of the way to the window's end.

Exits with 1 when the rate was not reached, a row is missing, or a bound is broken. Needs Python 3.9.
"""

import argparse
import json
import multiprocessing.connection
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CACHE = Path(os.environ.get("CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varpulis")
WRITES_PER_S = 1_000
KEPT_IN = 10
P99_MS_MAX = 20.0
# What idle promises is to the clock; this is for looking at the clock, the pipe and the machine.
IDLE_EXTRA_MS_MAX = 50.0
IDLE_S = 1.0
WINDOW_S = 2.0

PROGRAM = """connector F = file(path: "{path}", follow: true)

event Row:
    ts_us: int
    sent_ns: int
    value: int
    time: from_unix_us(ts_us)

stream {stream}
"""
FILTER = "Kept = Row.from(F).where(value == 0).emit(sent_ns: sent_ns)"
WINDOW = (f"PerWindow = Row.from(F).watermark(idle: {IDLE_S:.0f}s).window({WINDOW_S:.0f}s)"
          ".aggregate(n: count()).emit(until: window_end, n: n)")


def write_rows(path, rate, seconds, told):
    """Appends rows at the rate, and tells how many and when: (rows, seconds, last stamp, last event time in us)."""
    per_write = rate // WRITES_PER_S
    suffix = [b',"value":%d}\n' % (i % KEPT_IN) for i in range(per_write)]
    # Unbuffered: a write is one system call.
    with open(path, "ab", buffering=0) as file:
        began = time.monotonic_ns()
        writes, late = int(seconds * WRITES_PER_S), 0
        for i in range(writes):
            due = began + i * 1_000_000_000 // WRITES_PER_S
            now = time.monotonic_ns()
            if now < due:
                time.sleep((due - now) / 1e9)
            event_us = time.time_ns() // 1000
            sent = time.monotonic_ns()
            prefix = b'{"ts_us":%d,"sent_ns":%d' % (event_us, sent)
            file.write(b"".join([prefix + s for s in suffix]))
        ended = time.monotonic_ns()
    told.send((writes * per_write, (ended - began) / 1e9, sent, event_us))


def start(binary, directory, stream, workers):
    path = Path(directory) / "rows.jsonl"
    path.touch()
    program = Path(directory) / "program.vpl"
    program.write_text(PROGRAM.format(path=path, stream=stream))
    command = [binary, program, "-w", str(workers), "--no-meta", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return path, process


def start_writer(path, rate, seconds):
    told, tell = multiprocessing.Pipe(duplex=False)
    writer = multiprocessing.Process(target=write_rows, args=(path, rate, seconds, tell))
    writer.start()
    return writer, told


def stop(process):
    """Interrupts varpulis, which must end well."""
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    errors = process.stderr.read().decode()
    if process.wait():
        sys.exit(f"varpulis: exit {process.returncode}\n{errors}")


def measure_latency(binary, directory, rate, seconds, workers):
    """Latencies in ms of the rows that were kept, and the rate that the writer reached."""
    path, process = start(binary, directory, FILTER, workers)
    writer, told = start_writer(path, rate, seconds)
    expected, got, rest = None, 0, b""
    latencies, first = [], None
    descriptor = process.stdout.fileno()
    while expected is None or got < expected:
        ready = multiprocessing.connection.wait([descriptor] + ([told] if expected is None else []))
        if told in ready:
            rows, took, _, _ = told.recv()
            expected = rows // KEPT_IN
        if descriptor not in ready:
            continue
        chunk = os.read(descriptor, 1 << 20)
        now = time.monotonic_ns()
        if not chunk:
            sys.exit(f"varpulis ended early: {process.stderr.read().decode()}")
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        stamps = [int(re.search(rb"\d+", line)[0]) for line in lines]
        got += len(stamps)
        first = first or (stamps and stamps[0]) or None
        latencies += [(now - s) / 1e6 for s in stamps if s > first + 1_000_000_000]
    writer.join()
    stop(process)
    if got != expected:
        sys.exit(f"{got} rows came out, {expected} were kept")
    return sorted(latencies), rows / took


def measure_idle(binary, directory, workers):
    """By how many ms the last window's row came later than it was due, and how long after the last write."""
    path, process = start(binary, directory, WINDOW, workers)
    writer, told = start_writer(path, 1_000, 3.0)
    rows, _, sent_ns, event_us = told.recv()
    window_us = int(WINDOW_S * 1e6)
    end_us = (event_us // window_us + 1) * window_us
    due_ns = sent_ns + int(IDLE_S * 1e9) + (end_us - event_us) * 1000
    seen, text = 0, b""
    while seen < rows:
        chunk = os.read(process.stdout.fileno(), 1 << 16)
        now = time.monotonic_ns()
        if not chunk:
            sys.exit(f"varpulis ended early: {process.stderr.read().decode()}")
        text += chunk
        seen = sum(json.loads(line)["n"] for line in text.splitlines())
    writer.join()
    stop(process)
    if seen != rows:
        sys.exit(f"the windows counted {seen} rows, {rows} were written")
    return (now - due_ns) / 1e6, (now - sent_ns) / 1e6


def percentile(ordered, part):
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("varpulis", nargs="?", default=str(CACHE / "target/release/varpulis"))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=int, default=50_000, help="rows per second, a multiple of 10,000")
    parser.add_argument("--workers", type=int, help="only this number; otherwise 1 and 2")
    options = parser.parse_args()
    broken = []
    print(f"a followed file with {options.rate:,} rows/s for {options.seconds:g} s, one row in {KEPT_IN} kept")
    for workers in [options.workers] if options.workers else [1, 2]:
        with tempfile.TemporaryDirectory() as directory:
            latencies, rate = measure_latency(options.varpulis, directory, options.rate, options.seconds, workers)
        p50, p99, worst = percentile(latencies, 0.5), percentile(latencies, 0.99), latencies[-1]
        ok = p99 < P99_MS_MAX and rate > 0.98 * options.rate
        print(f"  -w {workers}: {rate:,.0f} rows/s written; write to output p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
              f"max {worst:.1f} ms (bar p99 {P99_MS_MAX:g}, {'ok' if ok else 'MISSED'})", flush=True)
        with tempfile.TemporaryDirectory() as directory:
            extra, whole = measure_idle(options.varpulis, directory, workers)
        on_time = 0 <= extra < IDLE_EXTRA_MS_MAX
        print(f"  -w {workers}: the last window of a silent writer came {whole:,.0f} ms after the last write, {extra:.1f} ms "
              f"after it was due with idle {IDLE_S:g} s (bar {IDLE_EXTRA_MS_MAX:g}, {'ok' if on_time else 'MISSED'})", flush=True)
        broken += [ok, on_time].count(False) * [workers]
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
