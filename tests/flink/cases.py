"""Random patterns and rows.

A pattern is a tree as in `reference.py`, with its strategy, rule after a match and `within` (ms or None) beside it. A
`Maker` makes what means the same in FlinkCEP, and the table in docs/patterns.md says what does not; a `WideMaker` all.
"""

import itertools
import random
from dataclasses import dataclass

TYPES = "ABCDE"

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


def orders(tree):
    """The same without `or` and `and`: a match of one of these sequences is a match."""
    def alternatives(member):
        if "or" in member:
            return [[inner] for inner in member["or"]]
        return [list(order) for order in itertools.permutations(member["and"])] if "and" in member else [[member]]
    return [sum(chosen, []) for chosen in itertools.product(*map(alternatives, tree["seq"]))]


def has_loop(tree):
    return "of" in tree and tree["min"] != tree["max"] or any(map(has_loop, tree.get("seq", [])))


def has_timeouts(case):
    """Whether the runs that time out are compared as well, under the name of the case with `_out`."""
    return case.within is not None and case.after_match == "next_row" and not waits(case.tree)


def has_trends(case):
    """Whether the matches can be counted without being made; it is compared under the name of the case with `_all`."""
    looks_back = any(refers(step["where"]) for step in all_steps(case.tree))
    # The rows of one match may go through a loop in a loop in several ways; trends are not for those.
    return (case.strategy == "skip_till_any" and case.after_match == "next_row" and case.keyed and not looks_back
            and not is_nested(case.tree))


def is_nested(tree, inside=False):
    """Whether a loop, or what may be left out, is in a loop."""
    if "step" in tree or "not" in tree:
        return False
    is_loop = "of" in tree and tree["max"] != 1
    return "of" in tree and inside or any(is_nested(member, inside or is_loop) for member in members_of(tree))


def refers(node):
    """Whether a condition is over more than the current row."""
    return isinstance(node, list) and (isinstance(node[-1], str) and len(node) == 2 or any(map(refers, node[1:])))


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
