"""Owns random tables that follow from tables, and what they mean in SQL: at each place, a batch query over what the
tables that they read have there.
"""

import expressions
from program import Field, Relation

SQL_JOINS = {"join": "join", "left_join": "left join", "right_join": "right join", "full_join": "full join"}
# How many rows a table may have, about, so that joins of joins remain small.
LARGEST = 40


class Steps:
    """A table statement as it grows: each operator is a table in SQL that reads that of the one before."""

    def __init__(self, name):
        self.name, self.sql, self.count = name, [], 0
        self.vpl = self.table = ""
        # By what the stateful operators that follow group, in SQL, until the next `partition_by`.
        self.partition = None
        self.fields, self.keys, self.parts, self.size, self.ambiguous = {}, [], [], 0, False

    def step(self, operator, query):
        self.count += 1
        self.table = f"{self.name}_{self.count}"
        self.vpl += operator
        self.sql.append(f"create or replace temp table {self.table} as {query}")

    def partitioned(self, rng, most):
        """Fields to group by, and the same in SQL; the partition of an aggregate before this one holds on at times."""
        if self.partition and self.partition == self.keys and rng.random() < 0.5:
            return None, self.keys
        by = partition(rng, self.fields, most)
        if by or self.partition is not None:
            self.vpl += f"\n    .partition_by({', '.join(by)})"
        self.partition = by
        return by, by

    def new(self, prefix):
        """A name that no field has."""
        return f"{prefix}{self.name.lower()}{self.count}"


def derived(rng, program):
    """A table of one to three operators over a table or a join of tables."""
    steps = Steps(program.name("D"))
    if rng.random() < 0.45:
        uses = join(rng, program, steps)
        if uses is None:
            return None
    else:
        table = rng.choice(program.tables())
        uses = [table]
        steps.vpl, steps.table, steps.fields, steps.size = f"table {steps.name} = {table.name}", table.name, dict(table.fields), table.size
        steps.keys, steps.parts = table.keys(), list(table.key)
        steps.ambiguous = table.ambiguous
    operators = [where, select, extend, aggregate, aggregate, aggregate, distinct, top, top]
    for _ in range(rng.choice([1, 1, 2, 3]) if len(uses) == 1 else rng.choice([0, 0, 1, 2])):
        rng.choice(operators)(rng, steps)
    if not steps.sql:
        where(rng, steps)
    steps.sql[-1] = steps.sql[-1].replace(f"table {steps.table} as", f"table {steps.name} as", 1)
    return program.add(Relation(steps.name, steps.fields, steps.vpl, steps.sql, uses, key=steps.parts, size=steps.size,
                                ambiguous=steps.ambiguous))


def join(rng, program, steps):
    """Two or three tables; the key is that of all of them."""
    kind = rng.choice(["join", "join", "left_join", "right_join", "full_join"])
    tables = [rng.choice(program.tables()) for _ in range(3 if rng.random() < 0.2 else 2)]
    size = 1
    for table in tables:
        size *= table.size
    if size > LARGEST * 5:
        return None
    aliases, inputs, seen = "abc"[:len(tables)], [], {}
    steps.size = min(size, max(size // 3, max(t.size for t in tables)))
    for alias, table in zip(aliases, tables):
        fields = expressions.qualified(alias, table.fields, nullable=kind != "join")
        inputs.append(f"{table.name} as {alias}")
        if seen:
            condition = expressions.join_condition(rng, seen, fields)
            if condition is None:
                return None
            inputs[-1] += f" on {condition}"
            place = f"coalesce({', '.join(f'{a}.p' for a in aliases[:aliases.index(alias)])})"
            steps.table += f"\n  {SQL_JOINS[kind]} {table.name} {alias} on {place} = {alias}.p and ({condition})"
        else:
            steps.table = f"{table.name} {alias}"
        seen |= fields
    steps.vpl = f"table {steps.name} = {kind}({', '.join(inputs)})"
    condition = ""
    if rng.random() < 0.3:
        condition = expressions.condition(rng, seen)
        steps.vpl += f"\n    .where({condition})"
    chosen = expressions.some_fields(rng, seen, 3)[:7]
    named = {f"f{i}": field for i, field in enumerate(chosen)}
    keys = [f"{alias}._k{i + 1}" for alias, table in zip(aliases, tables) for i in range(len(table.key))]
    steps.parts = [Field(part.kind, part.nullable or kind != "join") for table in tables for part in table.key]
    # The rows that are alone on either side have one key if both of theirs are null.
    all_null = sum(all(part.nullable for part in table.key) for table in tables)
    steps.ambiguous = any(table.ambiguous for table in tables) or (kind == "full_join" and all_null > 1)
    steps.keys = [f"_k{i + 1}" for i in range(len(keys))]
    columns = [f"{old} as {new}" for old, new in zip(keys, steps.keys)] + [f"{old} as {new}" for new, old in named.items()]
    steps.step(f"\n    .select({', '.join(f'{new}: {old}' for new, old in named.items())})",
               f"select coalesce({', '.join(f'{a}.p' for a in aliases)}) as p, {', '.join(columns)}\n"
               f"  from {steps.table}{f' where {condition}' if condition else ''}")
    steps.fields = {new: seen[old] for new, old in named.items()}
    return tables


def where(rng, steps):
    condition = expressions.condition(rng, steps.fields)
    steps.step(f"\n    .where({condition})", f"select * from {steps.table} where {condition}")


def select(rng, steps):
    """Some of the fields, and now and then a computed one; the key stays what it was."""
    fields = {name: steps.fields[name] for name in expressions.some_fields(rng, steps.fields)}
    items = {name: name for name in fields}
    if rng.random() < 0.4:
        new = steps.new("s")
        items[new], fields[new] = expressions.value(rng, steps.fields)
    columns = ", ".join(["p", *steps.keys, *(f"{value} as {name}" for name, value in items.items())])
    given = ", ".join(name if name == value else f"{name}: {value}" for name, value in items.items())
    steps.step(f"\n    .select({given})", f"select {columns} from {steps.table}")
    steps.fields = fields


def extend(rng, steps):
    value, of = expressions.value(rng, steps.fields)
    if rng.random() < 0.3:
        # A key keeps its values when its field gets others.
        new = rng.choice(list(steps.fields))
        steps.step(f"\n    .extend({new}: {value})", f"select * replace ({value} as {new}) from {steps.table}")
    else:
        new = steps.new("v")
        steps.step(f"\n    .extend({new}: {value})", f"select *, {value} as {new} from {steps.table}")
    steps.fields = steps.fields | {new: of}


def partition(rng, fields, most):
    """What rows are grouped by: none, one or two fields, rather of few values."""
    names = expressions.names(fields, "int", "str", "bool") or list(fields)
    return rng.sample(names, min(len(names), rng.choice(most)))


def aggregate(rng, steps):
    by, group = steps.partitioned(rng, [0, 1, 1, 1, 2])
    rest = {name: of for name, of in steps.fields.items() if name not in group}
    items, fields = {name: (name, name) for name in by or []}, {name: steps.fields[name] for name in by or []}
    for i in range(rng.randint(1, 3)):
        new = steps.new(f"a{i}")
        vpl, sql, fields[new] = expressions.aggregate(rng, steps.fields, rest or steps.fields)
        items[new] = vpl, sql
    keys = [f"_k{i + 1}" for i in range(len(group))]
    columns = ", ".join(["p", *(f"{name} as {key}" for name, key in zip(group, keys)), *(f"{sql} as {new}" for new, (_, sql) in items.items())])
    steps.step(f"\n    .aggregate({', '.join(f'{new}: {vpl}' for new, (vpl, _) in items.items())})",
               f"select {columns} from {steps.table} group by {', '.join(['p', *group])}")
    steps.parts = steps.parts if by is None else [fields[name] for name in by]
    steps.fields, steps.keys, steps.partition, steps.ambiguous = fields, keys, keys, False
    steps.size = min(steps.size, {0: 1, 1: 6}.get(len(group), 20))


def distinct(rng, steps):
    """The different rows; all fields are the key."""
    if len(steps.fields) > 2 and rng.random() < 0.7:
        fields = rng.sample(list(steps.fields), rng.randint(1, 2))
        steps.vpl += f"\n    .select({', '.join(fields)})"
        steps.fields = {name: steps.fields[name] for name in fields}
    if steps.partition:
        steps.vpl += "\n    .partition_by()"
        steps.partition = None
    steps.keys = [f"_k{i + 1}" for i in range(len(steps.fields))]
    keys = ", ".join(f"{name} as {key}" for name, key in zip(steps.fields, steps.keys))
    steps.step("\n    .distinct()", f"select distinct p, {keys}, {', '.join(steps.fields)} from {steps.table}")
    steps.parts, steps.ambiguous = list(steps.fields.values()), False


def top(rng, steps):
    """The greatest of each group, of which null is the least; ties go by the fields in their order, null first as in keys."""
    names = expressions.names(steps.fields, "int", "float", "str", "timestamp")
    if not names:
        return where(rng, steps)
    by, count = rng.choice(names), rng.randint(1, 3)
    _, group = steps.partitioned(rng, [0, 1, 1])
    # Rows that are equal in all fields differ in what they are the key of, which shows in the order of the changes alone.
    order = ", ".join([f"{by} desc nulls last", *(f"{name} nulls first" for name in [*steps.fields, *steps.keys])])
    steps.step(f"\n    .top({count}, by: {by})",
               f"select * from {steps.table}\n"
               f"  qualify row_number() over (partition by {', '.join(['p', *group])} order by {order}) <= {count}")
