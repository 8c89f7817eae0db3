"""How a case is written: as a VPL program with its input, and as patterns of FlinkCEP."""

import json

from cases import TYPES, captures, has_timeouts, has_trends, members_of, orders

# What a strategy is in Flink: how steps follow, how loops do, and whether a loop takes all that it can.
FLINK = {
    "skip_till_any": ("followedByAny", "allowCombinations", False),
    "skip_till_next": ("followedBy", "relaxed", True),
    "strict": ("next", "consecutive", True),
}
AFTER_MATCH = {"next_row": "noSkip", "to_next_start": "skipToNext", "skip_past_last": "skipPastLastEvent"}
# Longer than any input: with a skip rule Flink keeps matches back while an older run lives, even at the end.
ALWAYS_MS = 10**12


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
    key = "\n    .partition_by(k)" if case.keyed else ""
    pattern = f"{vpl_tree(case.tree, steps)}{within}{key}\n    .strategy(\"{case.strategy}\")"
    written = f"stream {case.name} = {pattern}\n    .after_match(\"{case.after_match}\")\n    {emit}"
    if has_timeouts(case):
        written += f"\n\nstream {case.name}_out = {case.name}.timeout(){emit}"
    if has_trends(case):
        sums = ", ".join(f"{step}: sum_trends({step}.v)" for step in steps)
        written += (f"\n\nstream {case.name}_all = {pattern}\n    .trend_aggregate(k: k, n: count_trends(), {sums})\n"
                    f"    .emit(k: k, n: n, {', '.join(f'{step}: {step}' for step in steps)})")
    return written


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
