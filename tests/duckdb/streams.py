"""Owns random streams: selections with watermarks of their own, and joins of every kind, and what they mean in SQL.

A row is late for a join within a bound when its time and the lateness lie before its place, and for one in windows when
its window's end and the lateness are not after it. All pairs of rows that are not late and meet the condition and the
bound come out; of an outer join also the rows of a side that are in none.
"""

import expressions
from inputs import PATIENCE
from program import Field, Output, Relation

SQL_JOINS = {"join": "join", "left_join": "left join", "right_join": "right join", "full_join": "full join"}


def selection(rng, program):
    """A stream with a watermark, a condition and a further field; it is an output now and then."""
    source = rng.choice([s for s in program.streams() if s.positioned])
    name, fields = program.name("S"), dict(source.fields)
    vpl, place, where, extra = f"stream {name} = {source.name}", "place", "", ""
    if source in program.types and rng.random() < 0.5:
        patience = rng.choice(PATIENCE)
        program.patience.add(patience)
        vpl += f"\n    .watermark(out_of_order: {patience}ms)"
        place = f"place_{patience}"
    if rng.random() < 0.6:
        condition = expressions.condition(rng, fields)
        vpl, where = vpl + f"\n    .where({condition})", f"\n  where {condition}"
    if "z" not in fields and rng.random() < 0.4:
        value, of = expressions.value(rng, fields)
        vpl, extra = vpl + f"\n    .extend(z: {value})", f", {value} as z"
        fields["z"] = of
    columns = ", ".join(source.fields)
    sql = f"create or replace temp table {name} as select part, pos, event_time, {place} as place, {columns}{extra} from {source.name}{where}"
    made = Relation(name, fields, vpl, [sql], [source], positioned=True, placed=source.placed, timed=source.timed)
    if rng.random() < 0.2:
        emitted = list(fields)
        made.vpl += f"\n    .emit({', '.join(emitted)})"
        made.output = Output(emitted, f"select event_time as _time, place, part, pos, {', '.join(emitted)} from {name}",
                             ["place", "part", "pos"])
    return program.add(made)


def merged(rng, program):
    """The rows of two types, with the fields of both."""
    sources = rng.sample(program.types, 2)
    name, fields = program.name("M"), {}
    for source in sources:
        for field in source.fields:
            nullable = any(field not in s.fields or s.fields[field].nullable for s in sources)
            fields[field] = Field(source.fields[field].kind, nullable)
    branches = "\n  union all by name ".join(f"select part, pos, event_time, place, {', '.join(s.fields)} from {s.name}" for s in sources)
    vpl = f"stream {name} = merge({', '.join(s.name for s in sources)})"
    return program.add(Relation(name, fields, vpl, [f"create or replace temp table {name} as {branches}"], sources, positioned=True, timed=True))


class Bound:
    """What bounds a join: how it is written, and what it means for the rows `old` and `new`, in nanoseconds."""

    def __init__(self, rng, kind=None):
        self.size = self.offset = 0
        first, second = (rng.choice([0, 500, 1000, 2500, 4000]) for _ in range(2))
        kind = kind or rng.choice(["within", "within", "after", "before", "both", "window"])
        self.after = 0 if kind == "before" else first
        self.before = {"within": first, "after": 0, "before": first, "both": second, "window": 0}[kind]
        self.option = {"within": f"within: {first}ms", "after": f"after: {first}ms", "before": f"before: {first}ms",
                       "both": f"after: {first}ms, before: {second}ms", "window": None}[kind]
        if kind == "window":
            self.size = rng.choice([1000, 2500, 3000, 7000])
            self.offset = rng.choice([0, 0, 500, 1200]) % self.size

    def operator(self):
        return f".window({self.size}ms{f', offset: {self.offset}ms' if self.offset else ''})"

    def on_time(self, name, alias, lateness):
        """The rows of an input that are not late."""
        if not self.size:
            return f"(select * from {name} where event_time + {lateness}000000 >= place) {alias}"
        size, offset = f"{self.size}000000", f"{self.offset}000000"
        return (f"(select *, event_time - (event_time - {offset}) % {size} + {size} as until from {name}"
                f" where until + {lateness}000000 > place) {alias}")

    def time(self, aliases):
        """The event time of what these inputs give together."""
        if self.size:
            return f"coalesce({', '.join(f'{a}.until' for a in aliases)}) - 1"
        return f"greatest({', '.join(f'{a}.event_time' for a in aliases)})"

    def meets(self, aliases, new):
        if self.size:
            return f"coalesce({', '.join(f'{a}.until' for a in aliases)}) = {new}.until"
        old = self.time(aliases)
        return f"{new}.event_time between {old} - {self.before}000000 and {old} + {self.after}000000"


def windowed(rng, program):
    """Aggregates of tumbling windows; a row has the last instant of its window."""
    source = rng.choice([s for s in program.streams() if s.placed])
    bound = Bound(rng, "window")
    by = rng.choice([["k"], ["g"], ["k", "g"], []])
    if not set(by) <= source.fields.keys():
        by = []
    name, fields = program.name("W"), {part: source.fields[part] for part in by}
    vpl, items = f"stream {name} = {source.name}", {}
    for new in ("w0", "w1")[:rng.randint(1, 2)]:
        in_vpl, in_sql, fields[new] = expressions.aggregate(rng, source.fields, source.fields)
        items[new] = in_vpl, in_sql
    vpl += f"\n    .partition_by({', '.join(by)})" if by else ""
    given = [f"{part}: last({part})" for part in by] + [f"{new}: {value}" for new, (value, _) in items.items()]
    vpl += f"\n    {bound.operator()}\n    .aggregate({', '.join(given)})"
    columns = ", ".join([*by, *(f"{value} as {new}" for new, (_, value) in items.items())])
    sql = (f"create or replace temp table {name} as select until - 1 as event_time, until - 1 as place, {columns}\n"
           f"  from {bound.on_time(source.name, 's', program.lateness)} group by {', '.join(['until', *by])}")
    made = Relation(name, fields, vpl, [sql, *more_places(program, name)], [source], placed=program.lateness == 0)
    return program.add(made)


def more_places(program, name):
    """What a stream adds to the places at which tables may change; those that tables read come before the first table."""
    return [] if program.tables() else [f"insert into places select distinct place from {name} where place not in (select p from places)"]


def join(rng, program):
    """A join of two or three streams, with at most one that is itself a join."""
    kind = rng.choice(["join", "left_join", "left_join", "right_join", "full_join", "full_join"])
    bound = Bound(rng)
    sources = [rng.choice(program.streams()) for _ in range(3 if rng.random() < 0.3 else 2)]
    lateness = program.lateness
    cross = kind == "join" and not bound.size and rng.random() < 0.3
    # A row of a join has the place that its rows make certain, which is before its time and the program's lateness.
    own_lateness = all(s.positioned for s in sources) and rng.random() < 0.3
    if own_lateness:
        lateness = rng.choice([0, 500, 2000, 5000])
    aliases = "abc"[:len(sources)]
    seen, conditions = {}, []
    for alias, source in zip(aliases, sources):
        fields = expressions.qualified(alias, source.fields)
        if seen:
            if cross:
                conditions.append(expressions.condition(rng, seen | fields) if rng.random() < 0.4 else None)
            else:
                conditions.append(expressions.join_condition(rng, seen, fields))
                if conditions[-1] is None:
                    return None
        seen |= fields
    if not bound.size:
        times = {f"{a}.event_time": Field("timestamp", False) for a in aliases[:2]}
        if not cross and rng.random() < 0.15:
            conditions[0] += " and " + expressions.atom(rng, times)
    return write(rng, program, "cross_join" if cross else kind, bound, sources, conditions, lateness, own_lateness)


def write(rng, program, kind, bound, sources, conditions, lateness, own_lateness):
    aliases = "abc"[:len(sources)]
    name = program.name("J")
    behind = bound.size and len(sources) == 2 and rng.random() < 0.5
    inputs = [f"{source.name} as {alias}" for source, alias in zip(sources, aliases)]
    for i, condition in enumerate(conditions):
        if condition and not behind:
            inputs[i + 1] += f" on {condition}"
    vpl = f"stream {name} = {kind}({', '.join(inputs)}{f', {bound.option}' if bound.option else ''})"
    if behind:
        vpl += f"\n    .on({conditions[0]})"
    if bound.size:
        vpl += f"\n    {bound.operator()}"
    if own_lateness:
        vpl += f"\n    .allowed_lateness({lateness}ms)"
    joined = bound.on_time(sources[0].name, "a", lateness)
    for i, condition in enumerate(conditions):
        new = aliases[i + 1]
        joined += f"\n    {SQL_JOINS.get(kind, 'join')} {bound.on_time(sources[i + 1].name, new, lateness)}"
        joined += f"\n      on {f'({condition}) and ' if condition else ''}{bound.meets(aliases[:i + 1], new)}"
    fields = {}
    for alias, source in zip(aliases, sources):
        fields |= expressions.qualified(alias, source.fields, nullable=kind in ("left_join", "right_join", "full_join"))
    where = ""
    if rng.random() < 0.3:
        condition = expressions.condition(rng, fields)
        vpl, where = vpl + f"\n    .where({condition})", f"\n    where {condition}"
    emitted = {f"f{i}": expression for i, expression in enumerate(expressions.some_fields(rng, fields, 3)[:8])}
    if rng.random() < 0.2:
        emitted["z"], fields["z"] = expressions.value(rng, fields)
    of = {new: fields.get(old, fields.get("z")) for new, old in emitted.items()}
    vpl += f"\n    .emit({', '.join(f'{new}: {old}' for new, old in emitted.items())})"
    columns = ", ".join(f"{old} as {new}" for new, old in emitted.items())
    sql = (f"create or replace temp table {name} as select event_time, event_time as place, {', '.join(emitted)} from (\n"
           f"    select {bound.time(aliases)} as event_time, {columns}\n    from {joined}{where})")
    # Where nothing is late a row's place is its time.
    placed = lateness == 0 and all(s.placed for s in sources)
    made = Relation(name, of, vpl, [sql, *more_places(program, name)], sources, placed=placed)
    order = ["place"] if placed else []
    query = ", ".join(["event_time as _time", *order, *emitted])
    made.output = Output(list(emitted), f"select {query} from {name}", order, by_place=placed)
    return program.add(made)
