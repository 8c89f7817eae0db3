#!/usr/bin/env python3
"""Memory and open files where inputs are many, uneven, or faster than whoever takes the output; `make bounded` calls it.

    benches/bounded.py [--tiny] [--only NAME] [VARPULIS]

| name | what is run |
|---|---|
| files | 400 daily files in one glob, some 350 MB: totals per day and symbol, and a tenth of the rows as they are |
| merge | a log of 350 MB merged with one of a thousandth of its rows over the same time, the same two outputs |
| stall | the 400 files with every row in the output, whose reader takes a line and then sleeps 20 s |

Each at -w 1, -w 2, and as two processes of one worker. The rows that come out are counted and summed and
compared with what was generated. Memory is the greatest resident set of each process and, for the stall,
how much it grew while nobody read; open files are counted in /proc while it runs. The inputs are generated
once into the cache directory.

Exits with 1 when a row is lost or doubled, or a bound is broken. Needs Python 3.9 and Linux.
"""

import argparse
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

CACHE = Path(os.environ.get("CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varpulis")
DAYS = 400
START = datetime(2025, 1, 1)
SYMBOLS = 50
SAMPLE_EVERY_S = 0.05

MEMORY_MB_MAX = 300
# Standard streams, sockets, wake-up pipes and the like; and a few of the 400 files.
FILES_MAX = 40
# What may still come in after the reader stopped: what fills up to the bound on what is in flight.
STALL_GROWTH_MB_MAX = 150
STALL_S = 20.0

EVENT = """event {name}:
    ts: timestamp
    symbol: str
    volume: int

"""
OUTPUTS = """
stream Daily = {of}.partition_by(symbol).window(1d).aggregate(n: count(), total: sum(volume)).emit(n: n, volume: total)
stream Kept = {of}.where(volume % 10 == 0).emit(volume: volume)
"""
PROGRAMS = {
    "files": EVENT.format(name="Trade") + OUTPUTS.format(of="Trade"),
    "merge": EVENT.format(name="Trade") + EVENT.format(name="Quote") + "stream Both = merge(Trade, Quote)\n"
    + OUTPUTS.format(of="Both"),
    "stall": EVENT.format(name="Trade") + "stream Kept = Trade.emit(at: ts, symbol: symbol, volume: volume)\n",
}


# ---------------------------------------------------------------- input

def write_rows(path, start, span_s, rows, seed):
    """Rows in order of time; (rows, sum, rows of a tenth, their sum)."""
    draw = random.Random(seed)
    lines, sums = [], [0, 0, 0, 0]
    for i in range(rows):
        volume = draw.randrange(100_000)
        at = start + timedelta(seconds=span_s * i / rows)
        lines.append('{"ts":"%s","symbol":"S%06d","volume":%d}\n' % (at.isoformat() + "Z", draw.randrange(SYMBOLS), volume))
        sums[0] += 1
        sums[1] += volume
        if volume % 10 == 0:
            sums[2] += 1
            sums[3] += volume
    path.write_text("".join(lines))
    return sums


def generate(folder, tiny):
    """The files, and by name what they hold."""
    rows = 100 if tiny else 12_000
    known = folder / "sums.txt"
    if known.exists():
        return [tuple(map(int, line.split())) for line in known.read_text().splitlines()]
    print(f"generating {folder}", file=sys.stderr)
    (folder / "days").mkdir(parents=True, exist_ok=True)
    days = [0, 0, 0, 0]
    with open(folder / "partial", "w") as large:
        for day in range(DAYS):
            path = folder / "days" / f"{START + timedelta(days=day):%Y-%m-%d}.jsonl"
            days = [a + b for a, b in zip(days, write_rows(path, START + timedelta(days=day), 86_399, rows, day))]
            large.write(path.read_text())
    os.rename(folder / "partial", folder / "large.jsonl")
    small = write_rows(folder / "small.jsonl", START, DAYS * 86_400 - 1, days[0] // 1000, -1)
    known.write_text("\n".join(" ".join(map(str, sums)) for sums in (days, small)))
    return [tuple(days), tuple(small)]


# ---------------------------------------------------------------- watching

class Watch(threading.Thread):
    """Samples resident memory and open files of processes until told to stop."""

    def __init__(self, processes):
        super().__init__(daemon=True)
        self.processes, self.done = processes, threading.Event()
        self.samples, self.files = [], 0

    def run(self):
        while not self.done.wait(SAMPLE_EVERY_S):
            resident = []
            for process in self.processes:
                try:
                    text = Path(f"/proc/{process.pid}/status").read_text()
                    resident.append(int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024)
                    self.files = max(self.files, len(os.listdir(f"/proc/{process.pid}/fd")))
                except (OSError, TypeError):
                    pass
            self.samples.append((time.monotonic(), max(resident, default=0)))

    def greatest(self, begin, end):
        return max((resident for at, resident in self.samples if begin <= at <= end), default=0)


def free_addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    addresses = ["127.0.0.1:%d" % s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return addresses


def start(binary, folder, name, inputs, ways):
    program = folder / f"{name}.vpl"
    program.write_text(PROGRAMS[name])
    command = [str(binary), str(program), "--quiet", "--ordered"]
    for given in inputs:
        command += ["-i", given]
    if ways != "2 processes":
        commands = [command + ways.split()]
    else:
        hosts = folder / "hosts"
        hosts.write_text("\n".join(free_addresses(2)))
        commands = [command + ["-n", "2", "-p", str(i), "--hostfile", str(hosts)] for i in range(2)]
    outs = [subprocess.PIPE] + [subprocess.DEVNULL] * (len(commands) - 1)
    return [subprocess.Popen(c, stdout=out, stderr=subprocess.PIPE) for c, out in zip(commands, outs)]


def read_output(pipe, sums):
    """Adds up rows by stream: (rows, sum of n, sum of volume)."""
    pattern = re.compile(rb'"_stream":"(\w+)"(?:[^}]*?"n":(\d+))?[^}]*?"volume":(\d+)')
    for line in pipe:
        stream, n, volume = pattern.search(line).groups()
        of = sums.setdefault(stream.decode(), [0, 0, 0])
        of[0] += 1
        of[1] += int(n or 0)
        of[2] += int(volume)


def run(binary, folder, name, inputs, ways, stall_s):
    """Sums of the output, the watch, greatest resident bytes of any process, and when the stall began and ended."""
    processes = start(binary, folder, name, inputs, ways)
    watch = Watch(processes)
    watch.start()
    pipe, sums = processes[0].stdout, {}
    stalled = None
    if stall_s:
        read_output([pipe.readline()], sums)
        stalled = (time.monotonic(), time.monotonic() + stall_s)
        time.sleep(stall_s)
    read_output(pipe, sums)
    errors = [p.stderr.read().decode() for p in processes]
    resident = 0
    for process, text in zip(processes, errors):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        resident = max(resident, usage.ru_maxrss * 1024)
        if process.returncode or text:
            sys.exit(f"{name} {ways}: exit {process.returncode}\n{text}")
    watch.done.set()
    watch.join()
    return sums, watch, resident, stalled


# ---------------------------------------------------------------- the three

def expected(name, days, small):
    if name == "stall":
        return {"Kept": [days[0], 0, days[1]]}
    whole = days if name == "files" else tuple(a + b for a, b in zip(days, small))
    return {"Daily": [None, whole[0], whole[1]], "Kept": [whole[2], 0, whole[3]]}


def agrees(sums, wanted):
    same = lambda got, want: want is None or got == want
    return sums.keys() == wanted.keys() and all(all(map(same, sums[s], wanted[s])) for s in wanted)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("varpulis", nargs="?", default=str(CACHE / "target/release/varpulis"))
    parser.add_argument("--tiny", action="store_true", help="a hundredth of the rows: a test of this script")
    parser.add_argument("--only", choices=PROGRAMS)
    options = parser.parse_args()
    folder = CACHE / ("bounded-tiny" if options.tiny else "bounded")
    folder.mkdir(parents=True, exist_ok=True)
    days, small = generate(folder, options.tiny)
    inputs = {
        "files": [f"Trade={folder}/days/*.jsonl"],
        "merge": [f"Trade={folder}/large.jsonl", f"Quote={folder}/small.jsonl"],
        "stall": [f"Trade={folder}/days/*.jsonl"],
    }
    broken = False
    print(f"{'':22} {'seconds':>8} {'peak MB':>8} {'files':>6}")
    for name in [options.only] if options.only else PROGRAMS:
        for ways in ["-w 1", "-w 2", "2 processes"]:
            began = time.monotonic()
            stall_s = (1.0 if options.tiny else STALL_S) if name == "stall" else 0
            sums, watch, resident, stalled = run(options.varpulis, folder, name, inputs[name], ways, stall_s)
            seconds = time.monotonic() - began
            wanted = expected(name, days, small)
            faults = [] if agrees(sums, wanted) else [f"came out {sums}, expected {wanted}"]
            if resident > MEMORY_MB_MAX << 20:
                faults.append(f"more than {MEMORY_MB_MAX} MB")
            if watch.files > FILES_MAX:
                faults.append(f"more than {FILES_MAX} open files")
            note = ""
            if stalled:
                grown = watch.greatest(*stalled) - watch.greatest(stalled[0] - 0.2, stalled[0] + SAMPLE_EVERY_S)
                late = watch.greatest(*stalled) - watch.greatest(stalled[0], stalled[0] + stall_s / 2)
                note = f"  grew by {grown / 1e6:.0f} MB while nobody read, {late / 1e6:.0f} MB of it in the second half"
                if grown > STALL_GROWTH_MB_MAX << 20:
                    faults.append(f"grew by more than {STALL_GROWTH_MB_MAX} MB")
            broken |= bool(faults)
            print(f"{name + ' ' + ways:22} {seconds:8.2f} {resident / 1e6:8.0f} {watch.files:6}{note}"
                  f"  {'; '.join(faults) or 'ok'}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
