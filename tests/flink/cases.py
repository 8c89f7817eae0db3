"""Random patterns and rows, and how they are written: in VPL, and for FlinkCEP.

A pattern is a tree as in `reference.py`, with its strategy, rule after a match and `within` (ms or None) beside it. Only
what means the same in FlinkCEP is made here; the table in docs/patterns.md says what does not.
"""

import itertools
import json
import random
from dataclasses import dataclass

TYPES = "ABCDE"

# What a strategy is in Flink: how steps follow, how loops do, and whether a loop takes all that it can.
FLINK = {
    "skip_till_any": ("followedByAny", "allowCombinations", False),
    "skip_till_next": ("followedBy", "relaxed", True),
    "strict": ("next", "consecutive", True),
}
AFTER_MATCH = {"next_row": "noSkip", "to_next_start": "skipToNext", "skip_past_last": "skipPastLastEvent"}
# Longer than any input: with a skip rule Flink keeps matches back while an older run lives, even at the end.
ALWAYS_MS = 10**12


@dataclass
class Case:
    name: str
    tree: dict
    strategy: str
    after_match: str
    within: int | None
    keyed: bool


class Maker:
    """Makes one pattern. `names` are the steps that conditions may refer to, with whether they take several rows."""

    def __init__(self, rng, strategy):
        self.rng, self.strategy, self.names, self.made = rng, strategy, {}, 0
        # Where a loop takes all that it can, Flink prefers the loop and we what follows: no row may fit both.
        self.types = rng.sample(TYPES, len(TYPES))
        self.has_loop = self.has_not = False
        self.tie = None

    def type(self, other_than=None):
        if self.strategy != "skip_till_any":
            return self.types.pop()
        return self.rng.choice([name for name in TYPES[:3] if name != other_than])

    def term(self, siblings):
        choices = [["latest", name] for name in siblings]
        for name, several in self.names.items():
            choices.append([self.rng.choice(["last", "sum", "min", "max", "count"]) if several else "last", name])
        if not choices or self.rng.random() < 0.3:
            return self.rng.randint(0, 9)
        chosen = self.rng.choice(choices)
        return [self.rng.choice("+-"), chosen, self.rng.randint(1, 3)] if self.rng.random() < 0.2 else chosen

    def condition(self, siblings=()):
        roll = self.rng.random()
        if roll < 0.6:
            return None
        comparison = [self.rng.choice(["<", "<=", ">", ">=", "=="]), ["value"], self.term(siblings)]
        if roll < 0.92:
            return comparison
        return [self.rng.choice(["and", "or"]), comparison, [self.rng.choice("<>"), ["value"], self.rng.randint(0, 9)]]

    def name(self):
        self.made += 1
        return f"s{self.made:02}"

    def step(self, low=1, high=1, other_than=None):
        name, several = self.name(), high is None or high > 1
        self.has_loop |= several
        own = several and self.rng.random() < 0.4  # A loop may refer to what it has taken itself.
        self.names |= {name: True} if own else {}
        made = {"step": name, "type": self.type(other_than), "where": self.condition()}
        self.names[name] = several
        return made if (low, high) == (1, 1) else {"of": made, "min": low, "max": high}

    def group(self, low, high):
        """Two steps, repeated; the second may refer to the first one's row of the same round."""
        first, second = self.name(), self.name()
        members = [{"step": first, "type": self.type(), "where": self.condition()},
                   {"step": second, "type": self.type(), "where": self.condition([first])}]
        self.names |= {first: True, second: True}
        return {"of": {"seq": members}, "min": low, "max": high}

    def choice(self, kind):
        members = [{"step": self.name(), "type": name, "where": self.condition()} for name in self.rng.sample(TYPES[:3], 2)]
        return {kind: members}

    def quantifier(self, is_last):
        low, high = self.rng.choice(
            [(1, 1), (1, 1), (1, None), (0, 1), (2, 2), (1, 2), (2, 3), (0, None), (2, None)])
        if self.strategy == "skip_till_next" and high is not None and low != high:
            return 1, 1  # Flink's relaxed `?` and `{n,m}` also go on without what they could take.
        # At its end Flink gives each prefix of a loop; here it waits, and gives the whole.
        return (1, 1) if is_last and self.strategy != "skip_till_any" else (low, high)

    def member(self, i, last, after_not):
        low, high = self.quantifier(last)
        if i == 0:
            low = max(low, 1)
        if after_not:
            # What Flink watches for during a loop after `not` depends on rows that fit nothing; before an optional end it
            # does not watch at all; a row that fits both ends the run, unless it completes the match.
            return self.step(other_than=after_not["not"]["type"])
        roll = self.rng.random() if self.strategy == "skip_till_any" else 1
        if roll < 0.1:
            return self.group(low, min(high or 2, 2))
        return self.choice("and" if roll < 0.16 else "or") if roll < 0.22 else self.step(low, high)

    def negation(self):
        self.has_not = True
        return {"not": {"step": self.name(), "type": self.type(), "where": self.condition()}}

    def pattern(self):
        length = self.rng.randint(2, 4 if self.strategy == "skip_till_any" else 3)
        members = []
        for i in range(length):
            after_not = members[-1] if members and "not" in members[-1] else None
            members.append(self.member(i, i == length - 1, after_not))
            # Flink takes no `not` after what is optional; and with a greedy loop before it, it goes on after a match.
            may_negate = "step" in members[-1] and self.strategy != "strict" and not self.has_not
            if may_negate and (self.strategy == "skip_till_any" or not self.has_loop) and self.rng.random() < 0.2:
                members.append(self.negation())
        return {"seq": members}


class WideMaker(Maker):
    """Makes patterns of every kind: Flink does not have them, or means something else."""

    def type(self, other_than=None):
        return self.rng.choice(TYPES[:3])

    def pattern(self):
        return {"seq": self.sequence(0, self.rng.randint(2, 4), is_first=True)}

    def condition(self, siblings=()):
        """With a tie, mostly the one that makes the first row's key that of all; what is tied throughout has a key."""
        made = super().condition(siblings)
        if self.tie is None or self.rng.random() < 0.05:
            return made
        tied = ["==", ["key"], ["key", self.tie]]
        return ["and", tied, made] if made else tied

    def sequence(self, depth, length, is_first=False):
        members, siblings = [self.part(depth, [], is_first)], []
        if depth == 0 and "step" in members[0] and self.rng.random() < 0.4:
            self.tie = members[0]["step"]
        for _ in range(length - 1):
            if "step" in members[-1] and depth > 0:
                siblings.append(members[-1]["step"])
            if self.rng.random() < 0.25 and "not" not in members[-1]:
                members.append(self.negation())
            members.append(self.part(depth, siblings))
        if depth == 0 and self.rng.random() < 0.2:
            members.append(self.negation())
        return members

    def part(self, depth, siblings, is_first=False):
        low, high = self.rng.choice([(1, 1)] * 4 + [(1, None), (0, 1), (2, 2), (1, 2), (2, 3), (0, None), (0, 2)])
        if is_first:
            low = max(low, 1)
        roll = self.rng.random()
        if depth < 2 and roll < 0.2:
            return {"of": {"seq": self.sequence(depth + 1, 2, is_first)}, "min": low, "max": min(high or 2, 2)}
        if depth < 2 and roll < 0.35:
            kind = self.rng.choice(["and", "or"])
            return {kind: [self.alternative(depth + 1) for _ in range(self.rng.randint(2, 3))]}
        if depth == 0:
            return self.step(low, high)
        made = {"step": self.name(), "type": self.type(), "where": self.condition(siblings)}
        return made if (low, high) == (1, 1) else {"of": made, "min": low, "max": high and min(high, 2)}

    def alternative(self, depth):
        made = {"step": self.name(), "type": self.type(), "where": self.condition()}
        return {"seq": [made, self.part(depth, [])]} if self.rng.random() < 0.2 and depth < 2 else made


def make(rng, name, maker=Maker):
    """A case, and rows of a key that it may find something in."""
    strategy = rng.choice(["skip_till_any"] * 3 + ["skip_till_next", "strict"])
    made = maker(rng, strategy)
    tree = made.pattern()
    within, after_match = rng.choice([None, 5000, 9000]), "next_row"
    if waits(tree) or made.tie:
        within = within or 6000
    elif (maker is WideMaker or len(orders(tree)) == 1) and rng.random() < 0.3:
        after_match = rng.choice(["to_next_start", "skip_past_last"])
    return Case(name, tree, strategy, after_match, within, made.tie is None), make_rows(rng, tree)


def waits(tree):
    """Whether some match becomes certain only when `within` has passed."""
    return "not" in tree or "of" in tree and (tree["min"] != tree["max"] or waits(tree["of"])) or any(
        map(waits, tree["seq"][-1:] if "seq" in tree else tree.get("or") or tree.get("and") or []))


def make_rows(rng, tree):
    """Rows that go through the pattern's steps in order, more or less: of random ones hardly any would match."""
    plan = [step["type"] for step in all_steps(tree)]
    time, rows, at = 0, [], 0
    for _ in range(rng.randint(5, 9)):
        time += rng.choice([0, 1000, 1000, 1000, 2000])
        at = rng.choice([at, at + 1]) if rng.random() < 0.7 else rng.randrange(len(plan))
        wanted = plan[at % len(plan)] if rng.random() < 0.9 else rng.choice(TYPES)
        rows.append({"type": wanted, "time": time, "value": rng.randint(0, 9)})
    return rows


def has_loop(tree):
    return "of" in tree and tree["min"] != tree["max"] or any(map(has_loop, tree.get("seq", [])))


def has_timeouts(case):
    """Whether the runs that time out are compared as well, under the name of the case with `_out`."""
    return case.within is not None and case.after_match == "next_row" and not waits(case.tree)


def members_of(tree):
    return tree.get("seq") or tree.get("or") or tree.get("and") or [tree["of"]]


def all_steps(tree):
    if "step" in tree or "not" in tree:
        return [tree.get("not", tree)]
    return [step for member in members_of(tree) for step in all_steps(member)]


def captures(tree):
    """The names of the steps that take rows, with whether they may take several."""
    if "not" in tree:
        return {}
    if "step" in tree:
        return {tree["step"]: False}
    several = "of" in tree and (tree["max"] is None or tree["max"] > 1)
    return {name: several or inner for member in members_of(tree) for name, inner in captures(member).items()}


# ---------------------------------------------------------------- VPL

def program(cases):
    declared = "".join(f"event {name}:\n    at: timestamp\n    k: str\n    i: int\n    v: int\n\n" for name in TYPES)
    return declared + "\n\n".join(map(vpl, cases)) + "\n"


def input_rows(rows):
    """One file for all types: rows of equal time go by their position in it."""
    return "".join(json.dumps({"event_type": row["type"], "at": timestamp(row["time"]), "k": row["key"], "i": row["index"],
                               "v": row["value"]}) + "\n" for row in rows)


def timestamp(ms):
    days, seconds = divmod(ms // 1000, 86400)
    return f"2026-01-{days + 1:02}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"


def vpl(case):
    steps = captures(case.tree)
    within = f"\n    .within({case.within // 1000}s)" if case.within else ""
    emit = f".emit({', '.join(f'{step}: collect({step}.i)' for step in steps)})"
    timeouts = f"\n\nstream {case.name}_out = {case.name}.timeout(){emit}" if has_timeouts(case) else ""
    key = "\n    .partition_by(k)" if case.keyed else ""
    return (f"stream {case.name} = {vpl_tree(case.tree, steps)}{within}{key}\n"
            f"    .strategy(\"{case.strategy}\")\n    .after_match(\"{case.after_match}\")\n    {emit}{timeouts}")


def vpl_tree(tree, steps, quantifier="", is_not=False):
    if "not" in tree:
        return "not " + vpl_tree(tree["not"], steps, is_not=True)
    if "seq" in tree:
        joined = "\n    -> ".join(vpl_tree(member, steps) for member in tree["seq"])
        return f"({joined}){quantifier}" if quantifier else joined
    if "or" in tree or "and" in tree:
        word = " or " if "or" in tree else " and "
        return f"({word.join(f'({vpl_tree(member, steps)})' for member in members_of(tree))})"
    if "of" in tree:
        low, high = tree["min"], tree["max"]
        known = {(1, None): "+", (0, None): "*", (0, 1): "?", (1, 1): "{1}"}.get((low, high))
        counted = f"{{{low}}}" if low == high else f"{{{low},{'' if high is None else high}}}"
        return vpl_tree(tree["of"], steps, known or counted)
    alias = "" if is_not else f" as {tree['step']}"
    where = f" where {vpl_expr(tree['where'], steps)}" if tree["where"] else ""
    return f"{tree['type']}{quantifier}{alias}{where}"


def vpl_expr(node, steps):
    if not isinstance(node, list):
        return str(node)
    if node[0] in ("value", "key"):
        return node[0][0] if len(node) == 1 else f"{node[1]}.k"
    if node[0] in ("and", "or"):
        return f" {node[0]} ".join(f"({vpl_expr(part, steps)})" for part in node[1:])
    if len(node) == 3:
        return f"{vpl_expr(node[1], steps)} {node[0]} {vpl_expr(node[2], steps)}"
    if node[0] == "count":
        return f"count({node[1]})"
    return f"{node[1]}.v" if node[0] == "latest" or not steps[node[1]] else f"{node[0]}({node[1]}.v)"


# ---------------------------------------------------------------- FlinkCEP

def orders(tree):
    """The same without `or` and `and`: a match of one of these sequences is a match."""
    def alternatives(member):
        if "or" in member:
            return [[inner] for inner in member["or"]]
        return [list(order) for order in itertools.permutations(member["and"])] if "and" in member else [[member]]
    return [sum(chosen, []) for chosen in itertools.product(*map(alternatives, tree["seq"]))]


def flink_patterns(case):
    within, rule = case.within, AFTER_MATCH[case.after_match]
    if case.strategy == "skip_till_any":
        rule = "noSkip"  # Which of several matches of a start is taken is left open there; `compare.py` applies the rule.
    if rule != "noSkip":
        within = within or ALWAYS_MS
    return [{"elements": [flink_element(member, case.strategy) for member in members], "within_ms": within,
             "after_match": rule} for members in orders(case.tree)]


def flink_element(tree, strategy):
    join, loop, greedy = FLINK[strategy]
    if "not" in tree:
        return flink_element(tree["not"], strategy) | {"join": "notFollowedBy"}
    if "seq" in tree:
        return {"group": [flink_element(member, strategy) for member in tree["seq"]], "join": join}
    if "of" in tree:
        is_loop = tree["max"] is None or tree["max"] > 1
        more = {"loop": loop, "greedy": greedy and tree["min"] != tree["max"]} if is_loop else {}
        return flink_element(tree["of"], strategy) | {"min": tree["min"], "max": tree["max"]} | more
    return {"name": tree["step"], "types": [tree["type"]], "where": tree["where"], "join": join}
