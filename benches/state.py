#!/usr/bin/env python3
"""What saved state costs: checkpoints, restarts, and state beyond memory; `make bench-state` calls it.

    benches/state.py [--tiny] [--rounds N] [--only incremental|cost|restore|spill] [VARPULIS]

- incremental: a million keys, of which one in a hundred changes between two checkpoints: bytes of an
  incremental checkpoint against those of a full one.
- cost: the same run without and with checkpoints, in pairs that take turns; the median of the pairs counts.
- restore: a run that was stopped is continued; the time until its state is back.
- spill: 20 million different keys in a running aggregate with a budget of 256 MB.

Input is generated once into the cache directory, as CSV. Needs Python 3.9; NumPy comes from PyPI into the
virtual environment of `compare.py`.
"""

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from compare import WORK, ensure_venv

EVENT = """event Row:
    ts: timestamp
    k: int
    v: int

"""
RUNNING = EVENT + """stream Totals = Row
    .partition_by(k)
    .aggregate(n: count(), total: sum(v), high: max(v))
    .where(n % 50 == 0)
    .emit(k: key, n: n, total: total, high: high)
"""
FOLLOWED = """connector F = file(path: "{path}", follow: true)

event Row:
    ts: timestamp
    k: int
    v: int

stream Totals = Row.from(F)
    .partition_by(k)
    .aggregate(n: count(), total: sum(v), high: max(v))
    .where(n < 0)
"""
DISTINCT = EVENT + """stream Again = Row
    .partition_by(k)
    .aggregate(n: count(), total: sum(v))
    .where(n > 1)
    .emit(k: key, n: n, total: total)
"""


def write_rows(path, rows, keys, order):
    """Rows a millisecond apart; `order`: keys at random, or each once in a scattered order."""
    import numpy as np

    if path.exists():
        return path
    WORK.mkdir(parents=True, exist_ok=True)
    print(f"generating {path}", file=sys.stderr)
    random = np.random.default_rng(7)
    template = b"2026-03-01T00:00:00.000Z,00000000,000\n"
    partial = path.with_suffix(".partial")

    def digits(matrix, column, width, values):
        for i in range(width):
            matrix[:, column + width - 1 - i] = 48 + values // 10**i % 10

    with open(partial, "wb") as file:
        file.write(b"ts,k,v\n")
        for begin in range(0, rows, 1_000_000):
            count = min(1_000_000, rows - begin)
            ms = np.arange(begin, begin + count, dtype=np.int64)
            matrix = np.tile(np.frombuffer(template, dtype=np.uint8), (count, 1))
            digits(matrix, 11, 2, ms // 3_600_000 % 24)
            digits(matrix, 14, 2, ms // 60_000 % 60)
            digits(matrix, 17, 2, ms // 1000 % 60)
            digits(matrix, 20, 3, ms % 1000)
            # A step that shares no factor with the number of keys goes through all of them.
            chosen = random.integers(0, keys, count) if order == "random" else ms * 7_368_787 % keys
            digits(matrix, 25, 8, chosen)
            digits(matrix, 34, 3, random.integers(0, 1000, count))
            file.write(matrix.tobytes())
    partial.rename(path)
    return path


def text_row(ms, key):
    return b"2026-03-01T%02d:%02d:%02d.%03dZ,%08d,%03d\n" % (
        ms // 3_600_000 % 24, ms // 60_000 % 60, ms // 1000 % 60, ms % 1000, key, ms % 1000)


def start(binary, program, *args):
    return subprocess.Popen([binary, program, *map(str, args)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def stats_of(process):
    said = process.communicate()[1]
    if process.returncode:
        sys.exit(f"the run ended with {process.returncode}\n{said}")
    return json.loads(said.strip().splitlines()[-1])


def records(binary, state):
    """The checkpoints under a folder, oldest first."""
    listed = subprocess.run([binary, "checkpoint", "list", "--state-dir", state], capture_output=True, text=True).stdout
    ids = re.findall(r"^\D*(\d+)", listed, re.M)
    shown = (subprocess.run([binary, "checkpoint", "show", i, "--state-dir", state], capture_output=True, text=True)
             for i in ids)
    return [json.loads(s.stdout) for s in shown if s.returncode == 0]


def wait_until_read(process, path):
    """Waits until a run has read a file to its end, and a little longer, as what was read is still on its way."""
    size, folder = path.stat().st_size, Path(f"/proc/{process.pid}")

    def position(fd):
        try:
            return int((folder / "fdinfo" / fd.name).read_text().split()[1]) if fd.readlink() == path else 0
        except OSError:
            return 0

    while process.poll() is None and max(map(position, (folder / "fd").iterdir()), default=0) < size:
        time.sleep(0.1)
    time.sleep(1)


def take_checkpoint(binary, state, rows, *args):
    """A checkpoint of a run that has had time to read so many rows: its record."""
    # The run may not have begun yet.
    deadline = time.monotonic() + 60
    while subprocess.run([binary, "checkpoint", "create", "--state-dir", state, *args], capture_output=True).returncode:
        if time.monotonic() > deadline:
            sys.exit("the run makes no checkpoint")
        time.sleep(0.1)
    record = max(records(binary, state), key=lambda r: r["id"])
    if record["events_processed"] != rows:
        sys.exit(f"the run has read {record['events_processed']:,} of {rows:,} rows when it was asked for a checkpoint")
    return record


# ---------------------------------------------------------------- parts

def incremental(binary, tiny, _):
    keys = 10_000 if tiny else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path, state = folder / "rows.csv", folder / "state"
        path.write_bytes(write_rows(WORK / f"keys-{keys}.csv", keys, keys, "each").read_bytes())
        (folder / "q.vpl").write_text(FOLLOWED.format(path=path))
        process = start(binary, folder / "q.vpl", "--state-dir", state, "--checkpoint-interval", "1h",
                        "--unordered", "--stats", "json")
        rows, sizes = keys, []
        for _ in range(4):
            wait_until_read(process, path)
            record = take_checkpoint(binary, state, rows)
            own = [s for s in record["segments"] if s["epoch"] == record["id"]]
            sizes.append((sum(s["bytes"] for s in own), sum(s["entries"] for s in own)))
            with open(path, "ab") as file:
                file.writelines(text_row(rows + i, i * 97) for i in range(keys // 100))
            rows += keys // 100
        process.send_signal(signal.SIGUSR2)
        stats_of(process)
    full, worst = sizes[0], max(sizes[1:])
    print(f"incremental: full {full[0]:,} bytes for {full[1]:,} entries; {worst[0]:,} bytes for {worst[1]:,} changed: "
          f"{100 * worst[0] / full[0]:.2f} % (bar 3 %)", flush=True)


def cost(binary, tiny, rounds):
    rows, keys = (200_000, 10_000) if tiny else (100_000_000, 1_000_000)
    path = write_rows(WORK / f"random-{rows}-{keys}.csv", rows, keys, "random")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "q.vpl").write_text(RUNNING)
        def run(*args):
            return stats_of(start(binary, folder / "q.vpl", "-i", f"Row={path}", "-o", folder / "out.jsonl", "-w", 1,
                                  "--stats", "json", *args))
        interval = "1s" if tiny else "10s"
        run()  # The first one reads the input from the disk.
        for name, bar, place in (("files", 5, "{}"), ("RocksDB", 10, "rocksdb://{}")):
            ratios, pauses = [], []
            for i in range(rounds):
                state = folder / f"{name}{i}"
                plain = run()["seconds"]
                stats = run("--state-dir", place.format(state), "--checkpoint-interval", interval)
                ratios.append(plain / stats["seconds"])
                pauses.append(stats["checkpoint_pauses"])
                subprocess.run(["rm", "-rf", state])
            lost = 100 * (1 - statistics.median(ratios))
            p99, longest = max(p["p99_us"] for p in pauses), max(p["max_us"] for p in pauses)
            print(f"cost, {name}: {rows:,} rows over {keys:,} keys, checkpoints each {interval}, {rounds} pairs: throughput "
                  f"{lost:.1f} % lower (bar {bar} %; pairs {', '.join(f'{100 * (1 - r):.0f}' for r in ratios)}); "
                  f"pauses p99 {p99 / 1000:.1f} ms, longest {longest / 1000:.1f} ms (bar 20 ms)")


def restore(binary, tiny, rounds):
    for keys in (10_000, 20_000) if tiny else (1_000_000, 20_000_000):
        with tempfile.TemporaryDirectory() as folder:
            restore_of(binary, keys, rounds, Path(folder))


def restore_of(binary, keys, rounds, folder):
    path, state = write_rows(WORK / f"keys-{keys}.csv", keys, keys, "each"), folder / "state"
    (folder / "q.vpl").write_text(FOLLOWED.format(path=path))

    def run(workers):
        return start(binary, folder / "q.vpl", "--state-dir", state, "--checkpoint-interval", "1h", "--unordered",
                     "--stats", "json", "-w", workers)

    first = run(2)
    wait_until_read(first, path)
    record = take_checkpoint(binary, state, keys, "--stop")
    held = stats_of(first)["memory"]["state_peak_bytes"]
    encoded = sum(s["bytes_written"] for s in record["operator_states"].values())
    size = sum(s["bytes"] for s in record["segments"])
    for workers in (1, 2):
        times = []
        for _ in range(rounds):
            process = run(workers)
            take_checkpoint(binary, state, keys, "--stop")
            times.append(stats_of(process)["restore_seconds"])
        print(f"restore, -w {workers}: {keys:,} keys, {held >> 20:,} MB in memory, {encoded >> 20:,} MB of entries, "
              f"{size >> 20:,} MB of files: {statistics.median(times):.2f} s", flush=True)


def spill(binary, tiny, _):
    keys = 200_000 if tiny else 20_000_000
    rows = keys + keys // 4
    path = write_rows(WORK / f"each-{rows}-{keys}.csv", rows, keys, "each")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "q.vpl").write_text(DISTINCT)
        process = start(binary, folder / "q.vpl", "-i", f"Row={path}", "-o", folder / "out.jsonl", "-w", 2, "--stats", "json",
                        "--unordered", "--memory-budget", "8MB" if tiny else "256MB")
        stats = stats_of(process)
        with open(folder / "out.jsonl") as file:
            found = sum('"n":2,' in line for line in file)
    if found != rows - keys:
        sys.exit(f"spill: {found} keys came twice, not {rows - keys}")
    written, read = stats["spilled_entries"]["written"], stats["spilled_entries"]["read"]
    print(f"spill: {keys:,} keys, {rows:,} rows, budget 256 MB, -w 2: {rows / stats['seconds']:,.0f} rows/s (bar 150,000), "
          f"peak {stats['memory']['peak_bytes'] >> 20} MB (bar 600); {written:,} entries written, {read:,} read back")


PARTS = {"incremental": incremental, "cost": cost, "restore": restore, "spill": spill}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("binary", nargs="?", default="varpulis")
    args = parser.parse_args()
    ensure_venv()
    for name, part in PARTS.items():
        if args.only in (None, name):
            part(args.binary, args.tiny, args.rounds)


if __name__ == "__main__":
    main()
