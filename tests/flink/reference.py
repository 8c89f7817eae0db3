"""What a pattern matches, by the letter of docs/patterns.md: a third opinion, written to be read and not to be fast.

A pattern is a tree: `{"step": name, "type", "where"}`, `{"not": step}`, `{"seq": [...]}`, `{"or": [...]}`,
`{"and": [...]}`, or `{"of": tree, "min", "max"}`, with `max` None for any number. Conditions are those of `Shapes.java`.
"""

import math

OPERATORS = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
             "==": lambda a, b: a == b}


def frontier(tree, rest):
    """The moves of a run that stands before `tree`, with `rest` after it (a chain of trees), in order."""
    if tree is None:
        return [("accept",)] if rest is None else frontier(*rest)
    if "step" in tree:
        return [("take", tree, rest)]
    if "not" in tree:
        return frontier(None, rest) + [("watch", tree["not"])]
    if "seq" in tree:
        for member in reversed(tree["seq"][1:]):
            rest = (member, rest)
        return frontier(tree["seq"][0], rest)
    if "or" in tree:
        return [move for member in tree["or"] for move in frontier(member, rest)]
    if "and" in tree:
        members = tree["and"]
        others = [members[:i] + members[i + 1:] for i in range(len(members))]
        after = [({"and": left}, rest) if left else rest for left in others]
        return [move for member, then in zip(members, after) for move in frontier(member, then)]
    low, high = tree["min"], tree["max"]
    again = (dict(tree, min=max(low - 1, 0), max=None if high is None else high - 1), rest)
    if low > 0:
        return frontier(tree["of"], again)
    return frontier(None, rest) + (frontier(tree["of"], again) if high != 0 else [])


def at_least_one(tree):
    """The first member takes a row, even if its quantifier allows none."""
    if "seq" in tree:
        return {"seq": [at_least_one(tree["seq"][0]), *tree["seq"][1:]]}
    return dict(tree, min=max(tree["min"], 1)) if "of" in tree else tree


def term(node, row, taken):
    if not isinstance(node, list):
        return node
    if node[0] == "value":
        return row["value"]
    if node[0] == "key":
        return row["key"] if len(node) == 1 else next((r["key"] for r, step in taken if step == node[1]), None)
    if node[0] in "+-":
        left, right = term(node[1], row, taken), term(node[2], row, taken)
        return left + right if node[0] == "+" else left - right
    values = [r["value"] for r, step in taken if step == node[1]]
    if node[0] == "count":
        return len(values)
    of = {"sum": sum, "min": min, "max": max, "last": lambda v: v[-1], "latest": lambda v: v[-1]}[node[0]]
    return of(values) if values else math.nan


def holds(node, row, taken):
    if node is None:
        return True
    if node[0] in ("and", "or"):
        return (all if node[0] == "and" else any)(holds(part, row, taken) for part in node[1:])
    return OPERATORS[node[0]](term(node[1], row, taken), term(node[2], row, taken))


def fits(step, row, taken):
    return row["type"] == step["type"] and holds(step.get("where"), row, taken)


def named_types(tree):
    if "step" in tree or "not" in tree:
        return {tree.get("not", tree)["type"]}
    members = tree.get("seq") or tree.get("or") or tree.get("and") or [tree["of"]]
    return set().union(*map(named_types, members))


class Key:
    """The runs of one key, and what it has found. A run is (rows taken with their steps, frontier, closed)."""

    def __init__(self, tree, strategy, after_match="next_row", within=None):
        self.root, self.named = at_least_one(tree), named_types(tree)
        self.strategy, self.after_match, self.within = strategy, after_match, within
        self.runs, self.waiting, self.found, self.timeouts = [], [], [], []

    def all(self, rows):
        """The matches among the rows, and the runs that timed out, as sets of ((index of the row, step), ...)."""
        for row in rows:
            self.expire(row["time"])
            self.apply(row)
        self.expire(math.inf)
        self.runs = []
        self.settle([])
        return self.found, self.timeouts

    def expire(self, time):
        """One start at a time: the runs of one first row expire together, before any row of that time."""
        if self.within is None:
            return
        while self.runs:
            first = min((taken[0][0]["time"], taken[0][0]["index"]) for taken, _, _ in self.runs)
            if time - first[0] < self.within:
                return
            over = [run for run in self.runs if run[0][0][0]["index"] == first[1]]
            self.runs = [run for run in self.runs if run[0][0][0]["index"] != first[1]]
            self.timeouts += [match_of(run) for run in over if ("accept",) not in run[1]]
            self.settle([match_of(run) for run in over if ("accept",) in run[1]])

    def apply(self, row):
        runs, complete = [], []
        for taken, moves, closed in [*self.runs, ((), frontier(self.root, None), False)]:
            after, stays = step_of(taken, moves, closed, row, self.strategy, row["type"] in self.named)
            runs += stays if taken else []
            for run in after:
                if run[1] == [("accept",)]:
                    complete.append(match_of(run))
                else:
                    runs.append(run)
        self.runs = runs
        self.settle(complete)

    def settle(self, certain):
        """What becomes of the matches that are certain from now on."""
        certain = sorted(set(certain), key=lambda match: ([index for index, _ in match], match))
        if self.after_match == "next_row":
            self.found += certain
        elif self.after_match == "to_next_start":
            for match in certain:
                if not any(match[0][0] == other[0][0] for other in self.found):
                    self.found.append(match)
            self.runs = [r for r in self.runs if not any(first_of(r) == match[0][0] for match in self.found)]
        else:
            self.waiting += certain
            while self.waiting:
                # Sorting keeps the order in which matches of one first row became certain.
                match = min(self.waiting, key=lambda match: match[0][0])
                if any(first_of(run) < match[0][0] for run in self.runs):
                    return
                self.found.append(match)
                self.waiting = [other for other in self.waiting if other[0][0] > match[-1][0]]
                self.runs = [run for run in self.runs if first_of(run) > match[-1][0]]


def match_of(run):
    return tuple((row["index"], step) for row, step in run[0])


def first_of(run):
    return run[0][0][0]["index"]


def step_of(taken, moves, closed, row, strategy, is_named):
    """The runs that begin with this row taken, and the run itself where it goes on."""
    after = []
    for move in moves:
        # Before its first row there is no run that a row could end.
        if move[0] == "watch" and taken and fits(move[1], row, taken):
            return after, []
        if move[0] == "take" and not closed and fits(move[1], row, taken):
            run = (taken + ((row, move[1]["step"]),), frontier(None, move[2]), False)
            after.append(run)
            if strategy != "skip_till_any":
                return after, []
    if strategy == "strict" and is_named:
        return after, [(taken, moves, True)] if ("accept",) in moves else []
    return after, [(taken, moves, closed)]
