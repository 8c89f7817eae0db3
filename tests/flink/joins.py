#!/usr/bin/env python3
"""Compares interval joins with Flink SQL, row by row, and how long both take.

    tests/flink/joins.py [--rows 1000000] [--keys 100000] [--seed N] [VARPULIS]

Both read two JSONL files in order of time and write JSONL, with one worker or slot. Times are in milliseconds, which
is what Flink's event time knows. Flink's figure is that of its statement alone, without the start of its runtime.
Flink's jars go into a folder outside the checkout (see `jars.py`).
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import jars

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varpulis"
JARS = ("flink-cep-", "flink-dist-", "flink-json-", "flink-connector-files-", "flink-table-api-java-uber-",
        "flink-table-planner-loader-", "flink-table-runtime-", "log4j-api-", "log4j-core-", "log4j-slf4j-impl-")
# What runs on Java 17 needs of it.
OPENS = ("java.base/java.lang", "java.base/java.util", "java.base/java.net", "java.base/java.util.concurrent",
         "java.base/java.nio", "java.base/java.time")

KINDS = {"join": "JOIN", "left_join": "LEFT JOIN", "full_join": "FULL JOIN"}
PROGRAM = """
event A:
    ts: timestamp
    k: int
    x: int

event B:
    ts: timestamp
    k: int
    y: int

stream J = {kind}(A as a, B as b on a.k == b.k, after: {after}s, before: {before}s)
    .emit(k: coalesce(a.k, b.k), x: x, y: y)
"""
TABLE = """
create table {name} (ts timestamp_ltz(3), k int, {value} int, watermark for ts as ts)
with ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
"""
STATEMENT = """
create table J (k int, x int, y int) with ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');
insert into J select coalesce(a.k, b.k), x, y from A a {kind} B b on a.k = b.k
    and b.ts between a.ts - interval '{before}' second and a.ts + interval '{after}' second;
"""


def prepare(cache: Path) -> list:
    """The command that runs statements."""
    path = jars.class_path(cache, JARS, [HERE / "sql" / "Sql.java"], "Sql")
    opens = [f"--add-opens={module}=ALL-UNNAMED" for module in OPENS]
    return ["java", "-Xmx3g", "-Dlog4j2.level=OFF", *opens, "-cp", path, "Sql"]


def write_input(path: Path, value: str, rows: int, keys: int, chance: random.Random):
    """Rows a millisecond apart or at the same time, so that a minute has 60,000 or more."""
    now = 1_772_323_200_000
    with path.open("w") as out:
        for number in range(rows):
            now += chance.choice((0, 1, 1, 2))
            text = datetime.fromtimestamp(now / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
            out.write(f'{{"ts":"{text}Z","k":{chance.randrange(keys)},"{value}":{number}}}\n')


def triples(lines) -> list:
    rows = (json.loads(line) for line in lines)
    return sorted(((r.get("k"), r.get("x"), r.get("y")) for r in rows), key=str)


def of_varpulis(binary, work: Path, kind: str, after: int, before: int):
    program, out = work / "join.vpl", work / "varpulis.jsonl"
    program.write_text(PROGRAM.format(kind=kind, after=after, before=before))
    command = [binary, "run", program, "-i", f"A={work / 'a.jsonl'}", "-i", f"B={work / 'b.jsonl'}", "-o", out,
               "-w", "1", "--unordered", "--quiet"]
    begun = time.monotonic()
    subprocess.run([str(part) for part in command], check=True)
    return triples(out.open()), time.monotonic() - begun


def of_flink(command, work: Path, kind: str, after: int, before: int):
    out, statements = work / "flink", work / "join.sql"
    subprocess.run(["rm", "-rf", out], check=True)
    text = "".join(TABLE.format(name=n, value=v, path=work / f"{n.lower()}.jsonl") for n, v in (("A", "x"), ("B", "y")))
    statements.write_text(text + STATEMENT.format(path=out, kind=KINDS[kind], after=after, before=before))
    done = subprocess.run([*map(str, command), statements, "1"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"flink: {done.stderr[-3000:]}")
    lines = (line for part in sorted(out.glob("part-*")) for line in part.open())
    return triples(lines), float(done.stdout.split()[-1])


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    parser = argparse.ArgumentParser(description="Compares interval joins with Flink SQL.")
    parser.add_argument("varpulis", nargs="?", default=target / "release" / "varpulis")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each input")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=os.environ.get("VARPULIS_FLINK_SQL", CACHE / "flink-sql"))
    options = parser.parse_args()
    command = prepare(Path(options.cache))
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, value in (("a", "x"), ("b", "y")):
            write_input(work / f"{name}.jsonl", value, options.rows, options.keys, chance)
        for kind, after, before in (("join", 60, 60), ("left_join", 30, 0), ("full_join", 5, 10)):
            ours, seconds = of_varpulis(options.varpulis, work, kind, after, before)
            theirs, flink_seconds = of_flink(command, work, kind, after, before)
            if ours != theirs:
                difference = [pair for pair in zip(ours, theirs) if pair[0] != pair[1]][:3]
                sys.exit(f"{kind}: {len(ours)} rows, Flink {len(theirs)}; {difference}")
            print(f"{kind:<10} after {after:>2}s before {before:>2}s: {len(ours):>8} rows agree; "
                  f"varpulis {seconds:6.2f} s, Flink {flink_seconds:6.2f} s")


if __name__ == "__main__":
    main()
