#!/usr/bin/env python3
"""What FlinkCEP gives for the examples of docs/patterns.md, in the words of its own methods.

    tests/flink/examples.py [--cache FOLDER]
"""

import argparse
import os
from pathlib import Path

import flinkcep
from compare import CACHE

ROWS = "a b1 d1 b2 d2 b3 c"


def step(name, join=None, of=None, **more):
    return {"name": name, "types": [of or name], "join": join} | more


def abc(join, loop, greedy=False):
    return [step("a"), step("b", join, max=None, loop=loop, greedy=greedy), step("c", join)]


# Title, rows, elements, what else the pattern has.
EXAMPLES = [
    ("a next b", "a c b1 b2", [step("a"), step("b", "next")], {}),
    ("a followedBy b", "a c b1 b2", [step("a"), step("b", "followedBy")], {}),
    ("a followedByAny b", "a c b1 b2", [step("a"), step("b", "followedByAny")], {}),
    ("a next b+ next c, consecutive", ROWS, abc("next", "consecutive"), {}),
    ("a next b+ next c, consecutive", "a b1 b2 b3 c", abc("next", "consecutive"), {}),
    ("a followedBy b+ followedBy c", ROWS, abc("followedBy", "relaxed"), {}),
    ("a followedBy b+ followedBy c, greedy", ROWS, abc("followedBy", "relaxed", True), {}),
    ("a followedBy b+ followedBy c, allowCombinations", ROWS, abc("followedBy", "allowCombinations"), {}),
    ("a followedByAny b+ followedByAny c", ROWS, abc("followedByAny", "relaxed"), {}),
    ("a followedByAny b+ followedByAny c, allowCombinations", ROWS, abc("followedByAny", "allowCombinations"), {}),
    ("b+ greedy followedBy c", "b1 c1 b2 c2",
     [step("b", max=None, greedy=True), step("c", "followedBy")], {}),
    ("a followedBy b+", "a b1 b2", [step("a"), step("b", "followedBy", max=None)], {"within_ms": 9000}),
    ("a followedBy b{1,2} followedBy c", "a b1 b2 c",
     [step("a"), step("b", "followedBy", max=2), step("c", "followedBy")], {}),
    ("a followedBy b{1,2} followedBy c, greedy", "a b1 b2 b3 c",
     [step("a"), step("b", "followedBy", max=2, greedy=True), step("c", "followedBy")], {}),
    ("b+ followedBy (b where value > 5), greedy", "b:1 b:7 b:8",
     [step("b", max=None, greedy=True), step("x", "followedBy", of="b", where=[">", ["value"], 5])], {}),
    ("a followedBy b? followedBy c", "a b1 c", [step("a"), step("b", "followedBy", min=0), step("c", "followedBy")], {}),
    ("a notFollowedBy b followedBy c", "a c1 b1 c2",
     [step("a"), step("b", "notFollowedBy"), step("c", "followedBy")], {}),
    ("a notFollowedBy e followedByAny c{1,2}, allowCombinations", "a c1 e c2",
     [step("a"), step("e", "notFollowedBy"), step("c", "followedByAny", max=2, loop="allowCombinations")], {}),
    ("a notFollowedBy e followedByAny c{1,2}, allowCombinations", "a c1 d e c2",
     [step("a"), step("e", "notFollowedBy"), step("c", "followedByAny", max=2, loop="allowCombinations")], {}),
    ("a notFollowedBy b followedBy (b as s) followedBy c", "a b1 c",
     [step("a"), step("b", "notFollowedBy"), step("s", "followedBy", of="b"), step("c", "followedBy")], {}),
    ("a notFollowedBy b, within 5 s", "a d d d d b", [step("a"), step("b", "notFollowedBy")], {"within_ms": 5000}),
    ("a followedBy b, within 5 s", "a d d d d b", [step("a"), step("b", "followedBy")], {"within_ms": 5000}),
    ("c followedBy a+ followedBy b", "c d a1 a2 a3 d a4 b",
     [step("c"), step("a", "followedBy", max=None), step("b", "followedBy")], {}),
    ("a+ until b", "a1 c a2 b a3", [step("a", max=None, until={"types": ["b"]})], {}),
    ("a followedBy a, skipToNext", "a1 a2 a3 a4", [step("x", of="a"), step("y", "followedBy", of="a")],
     {"after_match": "skipToNext"}),
    ("a followedByAny b, skipToNext", "a1 a2 b1 b2", [step("a"), step("b", "followedByAny")],
     {"after_match": "skipToNext"}),
    ("a followedBy a, skipPastLastEvent", "a1 a2 a3 a4", [step("x", of="a"), step("y", "followedBy", of="a")],
     {"after_match": "skipPastLastEvent"}),
    ("b followedByAny c followedByAny d, skipPastLastEvent", "b1 b2 c d",
     [step("b"), step("c", "followedByAny"), step("d", "followedByAny")], {"after_match": "skipPastLastEvent"}),
]


def main():
    parser = argparse.ArgumentParser(description="What FlinkCEP gives for the examples.")
    parser.add_argument("--cache", type=Path, default=os.environ.get("VARPULIS_FLINK", CACHE / "flink"))
    command = flinkcep.prepare(Path(parser.parse_args().cache))
    given = []
    for title, rows, elements, more in EXAMPLES:
        events = [{"type": row[0], "time": 1000 * i, "value": float(row.partition(":")[2] or 0)}
                  for i, row in enumerate(rows.split())]
        given.append({"name": title, "events": events, "patterns": [{"elements": elements} | more]})
    for (title, rows, _, _), answer in zip(EXAMPLES, flinkcep.run(command, given)):
        names, result = rows.split(), answer["results"][0]
        found = [" ".join(names[i] for i in sorted(sum(match["steps"].values(), []))) for match in result.get("matches", [])]
        print(f"{title}\n    on {rows}: " + (result.get("refused") or "".join(f"{{{match}}} " for match in found) or "nothing"))


if __name__ == "__main__":
    main()
