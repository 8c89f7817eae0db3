#!/usr/bin/env python3
"""Compares what Varpulis matches with what FlinkCEP does, where the two mean the same, and with `reference.py`.

    tests/flink/compare.py [--seed N] [--programs N] [--cache FOLDER] [--reference-only | --wide] [VARPULIS]

Needs Java 17 or later with a compiler, and 210 MB for Flink's jars, which come from PyPI once (see `jars.py`; the folder
is `--cache`, else `VARPULIS_FLINK`, else one in the user's cache).

A program has twenty random patterns; the rows made for each are the rows of a key, and each pattern is applied to all
keys. Everything follows from the seed, which is printed. The first case that differs is printed with its program, its
rows and the three answers, and the exit code is 1.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import cases
import flinkcep
import reference
import writing

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varpulis"
PATTERNS = 20
# Every other program runs on two workers, in small blocks and with stalls.
FLAGS = (["-w", "1"], ["-w", "2", "--block-bytes", "300", "--chaos", "1"])
# Rows of one key lie further apart from those of the next than any `within`.
KEY_MS = 60_000


def make_program(rng, maker):
    """Twenty cases, and the rows of all of them."""
    made = [cases.make(rng, f"P{i}", maker) for i in range(PATTERNS)]
    # Patterns without a key should see rows of several at a time.
    at_once = 1 if maker is cases.Maker else 3
    rows = [dict(row, key=f"k{i:02}", time=row["time"] + i // at_once * KEY_MS)
            for i, (_, of_key) in enumerate(made) for row in of_key]
    rows = [dict(row, index=i) for i, row in enumerate(sorted(rows, key=lambda row: row["time"]))]
    return [case for case, _ in made], rows


def of_varpulis(binary, of_program, rows, flags):
    """By stream, the matches or runs, tuples of (index of the row, step); for trends (key, how many, sums of steps)."""
    with tempfile.TemporaryDirectory() as folder:
        program, given = Path(folder, "q.vpl"), Path(folder, "rows.jsonl")
        program.write_text(writing.program(of_program))
        given.write_text(writing.input_rows(rows))
        done = subprocess.run([binary, "run", program, "-i", given, "--quiet", *flags], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{program.read_text()}\n{done.stderr}")
    found, trends = defaultdict(list), defaultdict(Counter)
    for line in done.stdout.splitlines():
        row = json.loads(line)
        name, _ = row.pop("_stream"), row.pop("_time")
        if "n" in row:
            key = row.pop("k")
            trends[name, key].update({step: value or 0 for step, value in row.items()})
        else:
            found[name].append(tuple(sorted((index, step) for step, taken in row.items() for index in taken)))
    for (name, key), sums in trends.items():
        found[name].append(trend(key, sums))
    return found


def trend(key, sums):
    return key, *sorted((step, value) for step, value in sums.items() if value)


def trends_of(matches, rows):
    """What there is to count in the matches, by key."""
    keys = defaultdict(Counter)
    for match in matches:
        sums = keys[rows[match[0][0]]["key"]]
        sums["n"] += 1
        for index, step in match:
            sums[step] += rows[index]["value"]
    return [trend(key, sums) for key, sums in keys.items()]


def of_flink(command, programs):
    """The same of each program; instead of a case's matches, why Flink refuses the pattern."""
    given = []
    for of_program, rows in programs:
        for case in of_program:
            seen = rows
            if case.strategy == "strict":
                # Ours is among the rows of the types that the pattern names.
                named = reference.named_types(case.tree)
                seen = [row for row in rows if row["type"] in named]
            given.append({"name": case.name, "events": seen, "patterns": writing.flink_patterns(case)})
    answers = iter(zip(given, flinkcep.run(command, given)))
    found = []
    for of_program, _ in programs:
        of_streams = {}
        for case in of_program:
            of_streams |= of_results(case, *next(answers))
        found.append(of_streams)
    return found


def of_results(case, given, answer):
    refused = [result["refused"] for result in answer["results"] if "refused" in result]
    if refused:
        return {case.name: refused[0]}
    found, timeouts = [], set()
    for result in answer["results"]:
        found += [(match["at"] is None, match["at"], rows_of(match, given)) for match in result["matches"]]
        timeouts |= {rows_of(run, given) for run in result["timeouts"]}
    of_streams = {case.name: left_over(case, found)}
    # A greedy loop that goes on after a match times out in the end; and runs of several orders are in part the same.
    one_order = len(answer["results"]) == 1
    if cases.has_timeouts(case) and one_order and (case.strategy != "skip_till_next" or not cases.has_loop(case.tree)):
        of_streams[case.name + "_out"] = sorted(timeouts)
    return of_streams


def rows_of(match, given):
    return tuple(sorted((given["events"][i]["index"], step) for step, taken in match["steps"].items() for i in taken))


def left_over(case, found):
    """What we give of what Flink gives, where the two are known to differ."""
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
    keys = defaultdict(list)
    for row in rows:
        keys[case.keyed and row["key"]].append(row)
    of_streams = {case.name: []} | ({case.name + "_out": []} if cases.has_timeouts(case) else {})
    for of_key in keys.values():
        found, timeouts = reference.Key(case.tree, case.strategy, case.after_match, case.within).all(of_key)
        of_streams[case.name] += found
        if cases.has_timeouts(case):
            of_streams[case.name + "_out"] += sorted(set(timeouts))
    return of_streams | ({case.name + "_all": trends_of(of_streams[case.name], rows)} if cases.has_trends(case) else {})


def show(case, rows, answers, suffix):
    """The program, the rows of the keys where the answers differ, and who found which match how often."""
    disputed = {match for answer in answers.values() for match in answer
                if len({other.count(match) for other in answers.values()}) > 1}
    keys = {match[0] if suffix == "_all" else rows[match[0][0]]["key"] for match in disputed}
    print(writing.program([case]) + writing.input_rows([row for row in rows if row["key"] in keys]))
    for match in sorted(disputed, key=str):
        print(*(f"{who} {answer.count(match)}x" for who, answer in answers.items()), match, sep="  ")


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    parser = argparse.ArgumentParser(description="Compares patterns with FlinkCEP.")
    parser.add_argument("varpulis", nargs="?", default=target / "release" / "varpulis")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--programs", type=int, default=50)
    parser.add_argument("--cache", type=Path, default=os.environ.get("VARPULIS_FLINK", CACHE / "flink"))
    parser.add_argument("--reference-only", action="store_true", help="FlinkCEP against reference.py, without Varpulis")
    parser.add_argument("--wide", action="store_true", help="patterns of every kind: Varpulis against reference.py")
    options = parser.parse_args()

    print(f"seed {options.seed}, {options.programs} programs of {PATTERNS} patterns")
    maker = cases.WideMaker if options.wide else cases.Maker
    programs = [make_program(random.Random(f"{options.seed}/{i}"), maker) for i in range(options.programs)]
    flinks = [{}] * len(programs) if options.wide else of_flink(flinkcep.prepare(Path(options.cache)), programs)
    counts = Counter()
    for number, ((of_program, rows), flink) in enumerate(zip(programs, flinks)):
        varpulis = None if options.reference_only else of_varpulis(options.varpulis, of_program, rows, FLAGS[number % 2])
        for case in of_program:
            for stream, wanted in of_reference(case, rows).items():
                answers = {"reference": wanted, "flink": flink.get(stream), "varpulis": None if varpulis is None else varpulis[stream]}
                if isinstance(flink.get(case.name), str):
                    counts[f"refused by Flink: {flink[case.name][:70]}"] += stream == case.name
                    answers["flink"] = None
                suffix = stream.removeprefix(case.name)
                what = f"{case.strategy}, {case.after_match}" + {"": "", "_out": ", timeouts", "_all": ", trends"}[suffix]
                counts[f"{what}: patterns"] += 1
                counts[f"{what}: rows"] += len(wanted)
                answers = {who: answer for who, answer in answers.items() if answer is not None}
                if suffix == "_out":
                    # Runs of the same rows that stand at different places of loops within loops time out each.
                    answers = {who: sorted(set(answer)) for who, answer in answers.items()}
                if len({tuple(sorted(answer)) for answer in answers.values()}) > 1:
                    print(f"{stream}:")
                    show(case, rows, answers, suffix)
                    sys.exit(1)
    for name, count in sorted(counts.items()):
        print(f"{count:8} {name}")


if __name__ == "__main__":
    main()
