#!/usr/bin/env python3
"""Compares what Varpulis matches with what FlinkCEP does, where the two mean the same, and with `reference.py`.

    tests/flink/compare.py [--seed N] [--programs N] [--cache FOLDER] [--reference-only] [VARPULIS]

Needs Java 17 or later with a compiler, and 210 MB for Flink's jars, which come from PyPI once (see `flinkcep.py`; the folder
is `--cache`, else `VARPULIS_FLINK`, else one in the user's cache).

A program has twenty random patterns; the rows made for each are the rows of a key, and each pattern is applied to all
keys. Everything follows from the seed, which is printed. The first case that differs is printed with its program,
its rows and the three answers, and the exit code is 1.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import cases
import flinkcep
import reference

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varpulis"
PATTERNS = 20
# Rows of one key lie further apart from those of the next than any `within`.
KEY_MS = 60_000


def make_program(rng):
    """Twenty cases, and the rows of all of them."""
    made = [cases.make(rng, f"P{i}") for i in range(PATTERNS)]
    rows = [dict(row, key=f"k{i:02}", time=row["time"] + i * KEY_MS) for i, (_, of_key) in enumerate(made) for row in of_key]
    rows = [dict(row, index=i) for i, row in enumerate(rows)]
    return [case for case, _ in made], rows


def of_varpulis(binary, of_program, rows):
    """The matches of each case: sets of tuples of (index of the row, step)."""
    with tempfile.TemporaryDirectory() as folder:
        program, given = Path(folder, "q.vpl"), Path(folder, "rows.jsonl")
        program.write_text(cases.program(of_program))
        given.write_text(cases.input_rows(rows))
        done = subprocess.run([binary, "run", program, "-i", given, "--quiet"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{program.read_text()}\n{done.stderr}")
    found = {case.name: [] for case in of_program}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        name, _ = row.pop("_stream"), row.pop("_time")
        found[name].append(tuple(sorted((index, step) for step, taken in row.items() for index in taken)))
    return found


def of_flink(command, programs):
    """The same of each program, or why Flink refuses the pattern."""
    given = []
    for of_program, rows in programs:
        for case in of_program:
            seen = rows
            if case.strategy == "strict":
                # Ours is among the rows of the types that the pattern names.
                named = reference.named_types(case.tree)
                seen = [row for row in rows if row["type"] in named]
            given.append({"name": case.name, "events": seen, "patterns": cases.flink_patterns(case)})
    answers = iter(zip(given, flinkcep.run(command, given)))
    return [{case.name: of_results(case, *next(answers)) for case in of_program} for of_program, _ in programs]


def of_results(case, given, answer):
    found = []
    for result in answer["results"]:
        if "refused" in result:
            return result["refused"]
        for match in result["matches"]:
            taken = ((given["events"][i]["index"], step) for step, indexes in match["steps"].items() for i in indexes)
            found.append((match["at"] is None, match["at"], tuple(sorted(taken))))
    if case.strategy == "skip_till_any" and case.after_match != "next_row":
        return chosen(found, case.after_match)
    if case.strategy == "skip_till_next":
        # After a match Flink's greedy loop takes further rows, and matches again.
        return chosen(found, "to_next_start")
    # With a repeated group Flink gives a match once for each way that its automaton finds.
    return sorted({match for _, _, match in found})


def chosen(found, after_match):
    """What a rule leaves of all matches: of each start the one that was complete first, of several the one whose rows
    are earlier. Flink, asked for the rule, takes any of these several."""
    first = {}
    for _, _, match in sorted(found, key=lambda entry: (entry[0], entry[1] or 0, entry[2])):
        first.setdefault(match[0][0], match)
    taken = []
    for match in sorted(first.values()):
        # Rows of a key lie together, so that the match before is one of this key or ends before it.
        if after_match == "to_next_start" or not taken or match[0][0] > taken[-1][-1][0]:
            taken.append(match)
    return taken


def of_reference(case, rows):
    keys = {}
    for row in rows:
        keys.setdefault(row["key"], []).append(row)
    found = []
    for of_key in keys.values():
        found += reference.Key(case.tree, case.strategy, case.after_match, case.within).all(of_key)[0]
    return found


def show(case, rows, answers):
    """The program, the rows of the keys where the answers differ, and who found which match how often."""
    disputed = {match for answer in answers.values() for match in answer
                if len({other.count(match) for other in answers.values()}) > 1}
    keys = {rows[match[0][0]]["key"] for match in disputed}
    print(cases.program([case]) + cases.input_rows([row for row in rows if row["key"] in keys]))
    for match in sorted(disputed):
        print(*(f"{who} {answer.count(match)}x" for who, answer in answers.items()), match, sep="  ")


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    parser = argparse.ArgumentParser(description="Compares patterns with FlinkCEP.")
    parser.add_argument("varpulis", nargs="?", default=target / "release" / "varpulis")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--programs", type=int, default=50)
    parser.add_argument("--cache", type=Path, default=os.environ.get("VARPULIS_FLINK", CACHE / "flink"))
    parser.add_argument("--reference-only", action="store_true", help="FlinkCEP against reference.py, without Varpulis")
    options = parser.parse_args()

    print(f"seed {options.seed}, {options.programs} programs of {PATTERNS} patterns")
    command = flinkcep.prepare(Path(options.cache))
    programs = [make_program(random.Random(f"{options.seed}/{i}")) for i in range(options.programs)]
    counts = Counter()
    for (of_program, rows), flink in zip(programs, of_flink(command, programs)):
        varpulis = None if options.reference_only else of_varpulis(options.varpulis, of_program, rows)
        for case in of_program:
            kind = f"{case.strategy}, {case.after_match}"
            answers = {"reference": of_reference(case, rows), "flink": flink[case.name]}
            if isinstance(answers["flink"], str):
                counts[f"refused by Flink: {answers.pop('flink')[:70]}"] += 1
            if varpulis is not None:
                answers["varpulis"] = varpulis[case.name]
            counts[f"{kind}: patterns"] += 1
            counts[f"{kind}: matches"] += len(answers["reference"])
            if len({tuple(sorted(answer)) for answer in answers.values()}) > 1:
                show(case, rows, answers)
                sys.exit(1)
    for name, count in sorted(counts.items()):
        print(f"{count:8} {name}")


if __name__ == "__main__":
    main()
