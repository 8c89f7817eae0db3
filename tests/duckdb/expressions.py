"""Owns random conditions and values. Their text is VPL and SQL at once: both know `==`, `and`, `coalesce` and
three-valued logic. What they do not share is left out: `/` and `//`, `%`, and int overflow.
"""

from program import Field

KINDS_OF = {"int": ("int", "float"), "float": ("int", "float"), "str": ("str",), "timestamp": ("timestamp",), "bool": ("bool",)}
STRINGS = ("a", "b", "c")


def names(fields, *kinds):
    return [name for name, of in fields.items() if of.kind in kinds]


def literal(rng, kind):
    if kind == "str":
        return f"'{rng.choice(STRINGS)}'"
    return str(rng.randint(0, 5)) if kind == "int" else str(rng.choice([0.5, 1.5, 2.0, 3.0]))


def atom(rng, fields):
    """A comparison with a literal or of two fields, or a test of null."""
    name = rng.choice(list(fields))
    kind = fields[name].kind
    if fields[name].nullable and (rng.random() < 0.2 or kind == "bool"):
        return f"{name} is {rng.choice(['', 'not '])}null"
    others = [n for n in names(fields, *KINDS_OF[kind]) if n != name]
    comparison = rng.choice(["==", "!=", "<", "<=", ">", ">="])
    if others and (rng.random() < 0.4 or kind in ("timestamp", "bool")):
        other = rng.choice(others)
    elif kind in ("timestamp", "bool"):
        return f"{name} == {name}" if kind == "timestamp" else f"({name} or {name})"
    else:
        other = literal(rng, kind)
    if kind == "bool":
        comparison = rng.choice(["==", "!="])
    if kind == "int" and rng.random() < 0.2:
        name = f"{name} + 1"
    return f"{name} {comparison} {other}"


def condition(rng, fields):
    roll = rng.random()
    if roll < 0.6:
        return atom(rng, fields)
    if roll < 0.7:
        return f"not ({atom(rng, fields)})"
    return f"({atom(rng, fields)} {'and' if roll < 0.8 else 'or'} {atom(rng, fields)})"


def value(rng, fields):
    """A value computed from the fields, and its type."""
    numbers = names(fields, "int", "float")
    roll = rng.random()
    if not numbers or roll < 0.2:
        return condition(rng, fields), Field("bool")
    name = rng.choice(numbers)
    kind = fields[name].kind
    if roll < 0.4:
        return f"coalesce({name}, {literal(rng, kind)})", Field(kind, False)
    if roll < 0.6:
        return f"{name} {rng.choice('+-*')} {literal(rng, kind)}", Field(kind)
    other = rng.choice(numbers)
    both = "float" if "float" in (kind, fields[other].kind) else "int"
    return f"{name} {rng.choice('+-')} {other}", Field(both)


def some_fields(rng, fields, least=1):
    """A few of the fields, in their order."""
    count = rng.randint(min(least, len(fields)), len(fields))
    chosen = set(rng.sample(list(fields), count))
    return [name for name in fields if name in chosen]


def equality(rng, left, right):
    """An equality of a value of the one with a value of the other, if there are two that can be equal."""
    pairs = [(a, b) for a in left for b in right if left[a].kind != "bool" and right[b].kind in KINDS_OF[left[a].kind]]
    # Times are equal too rarely to be the key of many joins.
    pairs = [(a, b) for a, b in pairs if left[a].kind != "timestamp" or rng.random() < 0.1]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    if left[a].kind == "int" and rng.random() < 0.15:
        a = f"{a} + 1"
    return f"{a} == {b}" if rng.random() < 0.5 else f"{b} == {a}"


def join_condition(rng, left, right):
    """One or two equalities, and a residual condition now and then."""
    parts = [equality(rng, left, right)]
    if parts[0] is None:
        return None
    if rng.random() < 0.25:
        parts.append(equality(rng, left, right))
    if rng.random() < 0.4:
        parts.append(condition(rng, {**left, **right}))
    parts = [part for part in parts if part]
    rng.shuffle(parts)
    return " and ".join(parts)


def qualified(alias, fields, nullable=False):
    return {f"{alias}.{name}": Field(of.kind, of.nullable or nullable) for name, of in fields.items()}


def aggregate(rng, fields, rest):
    """An aggregate in VPL and in SQL, and its type."""
    numbers = names(rest, "int", "float") or names(fields, "int", "float")
    ordered = names(rest, "int", "float", "str", "timestamp")
    kind = rng.choice(["count", "count", "count_of", "count_if", "sum", "sum", "avg", "least", "least"])
    if kind == "count_of":
        name = rng.choice(list(fields))
        return f"count({name})", f"count({name})", Field("int", False)
    if kind == "count_if":
        test = condition(rng, fields)
        return f"count_if({test})", f"count(*) filter ({test})", Field("int", False)
    if kind == "least" and ordered:
        name, function = rng.choice(ordered), rng.choice(["min", "max"])
        return f"{function}({name})", f"{function}({name})", Field(rest[name].kind)
    if kind in ("sum", "avg") and numbers:
        name = rng.choice(numbers)
        of = "float" if kind == "avg" else fields[name].kind
        # Sums of ints are wider than ints in SQL.
        sql = f"{kind}({name})" + ("::bigint" if of == "int" else "")
        return f"{kind}({name})", sql, Field(of)
    return "count()", "count(*)", Field("int", False)
