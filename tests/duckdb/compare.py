#!/usr/bin/env python3
"""Compares random programs of joins and tables, row by row, with SQL in DuckDB that says what they mean.

    tests/duckdb/compare.py [--seed N] [--cases N] [VARPULIS]

A case is a program of several streams and tables over small inputs, with rows that tie in time, come late, come again
or delete. The SQL follows the language's definition, not the engine. Case i has the seed N + i; the first that differs is
printed with what is needed of its program, its input, its SQL and both answers, and the exit code is 1.
`--seed N --cases 1` runs that case alone. DuckDB comes from PyPI, see `environment.py`.
"""

import argparse
import contextlib
import functools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path

import cases
import changes
import inputs
from environment import CACHE, import_duckdb

# Whatever the number of workers and the size of blocks, the answer is one.
FLAGS = (["-w", "1"], ["-w", "2"], ["-w", "1", "--block-bytes", "300"], ["-w", "2", "--block-bytes", "300", "--chaos", "1"])
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Failed(Exception):
    """A program that does not run, or SQL that does not."""


@functools.lru_cache(maxsize=None)
def plain(value):
    """A value to be compared: times in nanoseconds since 1970, and floats without their last digits, in which averages of
    averages differ by the order in which they were added."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, str) and TIME.fullmatch(value):
        seconds = int(datetime.fromisoformat(value[:19]).replace(tzinfo=timezone.utc).timestamp())
        return seconds * 1_000_000_000 + int(value[20:-1].ljust(9, "0") if "." in value else 0)
    return value


@contextlib.contextmanager
def started(binary, program, outputs, files, flags):
    """The program, which runs meanwhile."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        folder = Path(folder)
        (folder / "q.vpl").write_text(program.vpl(outputs))
        given = inputs.write_files(folder, files)
        command = [binary, "run", folder / "q.vpl", "--quiet", "--format", "jsonl", *given, *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as running:
            try:
                yield running
            finally:
                running.kill()


def of_varpulis(running, outputs):
    """(stream, row) in the order of the output; a row is a tuple of its time and its fields."""
    written, errors = running.communicate()
    if running.returncode:
        raise Failed(f"exit code {running.returncode}\n{errors}")
    fields = {r.name: ["_time", *r.output.fields] for r in outputs}
    rows = []
    for line in written.splitlines():
        row = json.loads(line)
        stream = row.pop("_stream")
        # Another output that these read.
        if stream not in fields:
            continue
        if set(row) != set(fields[stream]):
            raise Failed(f"{stream} has the fields {list(row)}")
        rows.append((stream, tuple(plain(row[name]) for name in fields[stream])))
    return rows


def statements_of(program, outputs, files):
    needed = program.needed(outputs)
    load = inputs.load(program, [r for r in needed if r in program.types or r in program.references], files)
    return load + [sql for relation in needed for sql in relation.sql]


def of_duckdb(db, program, outputs, files):
    """By stream, (order, row) in the order that the contract gives; rows of the same order come in any."""
    try:
        for statement in statements_of(program, outputs, files):
            db.execute(statement)
        found = {r: [tuple(map(plain, row)) for row in db.execute(r.output.query).fetchall()] for r in outputs}
        return {r.name: changes.due(rows, r.output) for r, rows in found.items()}
    except Exception as error:
        raise Failed(f"SQL: {error}") from error


def shown(rows):
    return "\n".join(f"    {row}" for row in rows) or "    nothing"


def difference(wanted, got, outputs):
    """What differs first, or None; and the relation in which it does."""
    by_stream = {r.name: [] for r in outputs}
    for stream, row in got:
        by_stream[stream].append(row)
    for relation in outputs:
        rows, due = by_stream[relation.name], wanted[relation.name]
        at = 0
        for order, of_order in groupby(due, key=lambda pair: pair[0]):
            group = [row for _, row in of_order]
            here = rows[at:at + len(group)]
            at += len(group)
            if group != here and Counter(group) != Counter(here):
                return relation, f"at {order}"
        if at < len(rows):
            return relation, f"after {at} rows"
    return order_between(wanted, got, outputs)


def order_between(wanted, got, outputs):
    """Streams come by place, then by name; all of them agree with what is due, so that the places are known."""
    places = {r.name: iter([order[0] for order, _ in wanted[r.name]]) for r in outputs if r.output.by_place}
    last = (inputs.BEGINNING, "")
    for stream, row in got:
        if stream in places:
            here = (next(places[stream]), stream)
            if here < last:
                relation = next(r for r in outputs if r.name == stream)
                return relation, f"{row} comes behind {last}, out of order"
            last = max(last, here)
    return None


def answers(db, binary, program, outputs, files, flags):
    with started(binary, program, outputs, files, flags) as running:
        return of_duckdb(db, program, outputs, files), of_varpulis(running, outputs)


def check(db, binary, program, outputs, files, flags):
    """How many rows agree; and (relation or None, what is wrong), or None."""
    try:
        wanted, got = answers(db, binary, program, outputs, files, flags)
    except Failed as failed:
        return 0, (None, str(failed))
    return len(got), difference(wanted, got, outputs)


def smaller(db, binary, program, outputs, files, flags, found):
    """The same difference with fewer outputs and rows: whatever can be left out and leaves one of its kind."""
    def still(outputs, files):
        again = check(db, binary, program, outputs, files, flags)[1]
        return again is not None and (again[0] == found[0] or again[1].splitlines()[:2] == found[1].splitlines()[:2])

    for relation in list(outputs):
        fewer = [r for r in outputs if r is not relation]
        if fewer and still(fewer, files):
            outputs = fewer
    for name in files:
        of_type, rows = files[name]
        for i in reversed(range(len(rows))):
            fewer = files | {name: (of_type, files[name][1][:i] + files[name][1][i + 1:])}
            if still(outputs, fewer):
                files = fewer
    return outputs, files


def report(db, binary, program, outputs, files, flags, found, seed):
    """Prints a difference, as small as it gets."""
    outputs, files = smaller(db, binary, program, outputs, files, flags, found)
    relation, what = check(db, binary, program, outputs, files, flags)[1]
    print(f"\nseed {seed} ({' '.join(flags)}): {relation.name + ' differs ' if relation else ''}{what}")
    print(f"\n{program.vpl(outputs)}")
    for name, (_, rows) in files.items():
        print(name)
        for of, row in rows:
            print("    " + json.dumps({"type": of} | row | ({"ts": inputs.time_text(row["ts"])} if "ts" in row else {})))
    print()
    print(";\n".join([*statements_of(program, outputs, files), *(r.output.query for r in outputs)]) + ";\n")
    if relation:
        wanted, got = answers(db, binary, program, outputs, files, flags)
        print(f"{relation.name}: {['_time', *relation.output.fields]}\n  duckdb")
        print(shown([row for _, row in wanted[relation.name]]))
        print("  varpulis\n" + shown([row for stream, row in got if stream == relation.name]))


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    parser = argparse.ArgumentParser(description="Compares random joins and tables with DuckDB.")
    parser.add_argument("varpulis", nargs="?", default=target / "release" / "varpulis")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--cases", type=int, default=2000)
    options = parser.parse_args()
    db = import_duckdb().connect()
    # To optimize such small queries takes longer than to run them.
    db.execute("set threads = 1; pragma disable_optimizer")
    print(f"seed {options.seed}", flush=True)
    began, rows, streams = time.monotonic(), 0, 0
    for seed in range(options.seed, options.seed + options.cases):
        program, files, flags = cases.make(random.Random(seed), FLAGS)
        outputs = [r for r in program.relations if r.output]
        agreed, found = check(db, options.varpulis, program, outputs, files, flags)
        if found:
            report(db, options.varpulis, program, outputs, files, flags, found, seed)
            sys.exit(1)
        streams, rows = streams + len(outputs), rows + agreed
    seconds = time.monotonic() - began
    print(f"{options.cases} programs agree, {rows} rows of {streams} streams; {seconds:.0f} s, {options.cases / seconds:.0f} programs/s")


if __name__ == "__main__":
    main()
