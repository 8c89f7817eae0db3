#!/usr/bin/env python3
"""How fast joins run from JSONL to JSONL on one worker, and the memory of the process on the way.

    benches/joins.py [--rows 5000000] [VARPULIS]

Two files of so many rows each. A key comes once in two minutes and a second in each; its two rows are at most half
a minute apart, in no order, so that with `within: 1m` every row has one match. In the last part a tenth of all rows
have one key, each of which finds one other, while four minutes of rows are held: twice the rows take twice the time.
Times are of the processor, over all threads, which a busy machine changes little.
"""

import argparse
import os
import random
import subprocess
import tempfile
import threading
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varpulis"
KEYS, ROUND_US, SHUFFLED = 1_000_000, 121_000_000, 200_000
PROGRAM = """
event A:
    ts: timestamp
    k: int
    x: int

event B:
    ts: timestamp
    k: int
    x: int

stream J = {kind}(A as a, B as b on a.k == b.k, {bound}).emit(k: a.k, x: a.x, y: b.x)
"""


def write_input(path: Path, side: int, rows: int, hot: bool):
    chance = random.Random(5)
    with path.open("w") as out:
        for i in range(rows):
            if side and i % SHUFFLED == 0:
                order = list(range(SHUFFLED))
                chance.shuffle(order)
            number = i - i % SHUFFLED + order[i % SHUFFLED] if side else i
            key = -1 if hot and i % 10 == 0 else number % KEYS * 7_919 % KEYS
            seconds, micros = divmod(i * (ROUND_US // KEYS), 1_000_000)
            clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}"
            out.write(f'{{"ts":"2026-03-01T{clock}Z","k":{key},"x":{i}}}\n')


def run(binary, work: Path, kind: str, bound: str):
    """Seconds of the processor, rows out, and the process's memory in MB, ten times a second."""
    program, out = work / "join.vpl", work / "out.jsonl"
    program.write_text(PROGRAM.format(kind=kind, bound=bound))
    inputs = [arg for name in "AB" for arg in ("-i", f"{name}={work / name}.jsonl")]
    command = [binary, "run", program, *inputs, "-o", out, "-w", "1", "--unordered", "--quiet"]
    process = subprocess.Popen([str(part) for part in command])
    memory, is_over = [], threading.Event()

    def watch():
        while not is_over.wait(0.1):
            try:
                memory.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096 / 1e6)
            except (OSError, IndexError):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    is_over.set()
    watcher.join()
    assert status == 0, f"{command} failed"
    with out.open() as lines:
        return usage.ru_utime + usage.ru_stime, sum(1 for _ in lines), memory


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    parser = argparse.ArgumentParser(description="Measures joins from JSONL to JSONL.")
    parser.add_argument("varpulis", nargs="?", default=target / "release" / "varpulis")
    parser.add_argument("--rows", type=int, default=5_000_000, help="of each input")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for side, name in enumerate("AB"):
            write_input(work / f"{name}.jsonl", side, options.rows, False)
        for kind, bound in (("join", "within: 1m"), ("left_join", "within: 1m"), ("full_join", "within: 1m")):
            report(f"{kind}, {bound}", 2 * options.rows, *run(options.varpulis, work, kind, bound))
        for rows in (options.rows // 4, options.rows // 2):
            for side, name in enumerate("AB"):
                write_input(work / f"{name}.jsonl", side, rows, True)
            found = run(options.varpulis, work, "left_join", "after: 1ms).allowed_lateness(4m")
            report("left_join, hot key, after: 1ms", 2 * rows, *found)


def report(name, rows, seconds, out, memory):
    late = memory[len(memory) // 3:] or [0]
    print(f"{name:<32} {rows:>9} rows in {seconds:6.2f} s of the processor, {rows / seconds / 1e6:5.2f} M rows/s; "
          f"{out:>8} rows out; {min(late):4.0f} to {max(late):4.0f} MB after a third")


if __name__ == "__main__":
    main()
