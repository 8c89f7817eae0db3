"""Owns random tables of streams, what may be read of tables, and what both mean in SQL.

A table has at a place, of each key, the row with the greatest time among those whose places are up to it; of equal times
the one that is later in its file, or in the file with the later name; of rows that have no position in a file the one with
the greater columns, from first to last. A row that deletes is one of them, and is not shown.
"""

import expressions
from inputs import PATIENCE
from program import Field, Output, Relation

# How many rows a table with this key has, about.
SIZES = {("k",): 5, ("g",): 4, ("x",): 8, ("k", "g"): 14, ("n",): 20}


def keys_of(source):
    """What may be the key of a table of a stream."""
    known = [key for key in SIZES if set(key) <= source.fields.keys()]
    return known or [(name,) for name in expressions.names(source.fields, "int", "str")]


def base(rng, program):
    """The latest row of each key."""
    source = rng.choice([s for s in [*program.streams(), *program.references] if s.placed and keys_of(s)])
    of_file = source in program.references
    name, vpl, place, condition, extra = program.name("T"), "", "place", "", ""
    if of_file and not source.by_flag:
        vpl += f'\n    .from(file(path: "{source.name}.jsonl"))'
    if source in program.types and rng.random() < 0.3:
        patience = rng.choice(PATIENCE)
        program.patience.add(patience)
        vpl += f"\n    .watermark(out_of_order: {patience}ms)"
        place = f"place_{patience}"
    if rng.random() < 0.25:
        condition = expressions.condition(rng, source.fields)
        vpl += f"\n    .where({condition})"
    key = rng.choice(keys_of(source))
    fields = source.fields
    if rng.random() < 0.2:
        value, of = expressions.value(rng, fields)
        vpl += f"\n    .extend(v{name}: {value})"
        fields, extra = fields | {f"v{name}": of}, f", {value} as v{name}"
    if rng.random() < 0.5:
        chosen = {*key, *expressions.some_fields(rng, fields)}
        fields = {field: of for field, of in fields.items() if field in chosen}
        vpl += f"\n    .select({', '.join(fields)})"
    vpl += f"\n    .key({', '.join(key)})"
    time = ["ts"] if source.timed else []
    operator, gone = deletion(rng, fields, [field for field in fields if field not in (*key, *time)])
    vpl += operator
    lateness = program.lateness
    if not of_file and rng.random() < 0.35:
        lateness = rng.choice([0, 500, 1500, 4000])
        vpl += f"\n    .allowed_lateness({lateness}ms)"
    columns = ", ".join(fields)
    input_rows = f"(select *{extra} from {source.name}{f' where {condition}' if condition else ''})"
    # Rows without a position that agree in time are in the order of their columns.
    own, last = ("part, pos, ", "part desc, pos desc") if source.positioned else ("", ", ".join(f"{field} desc nulls last" for field in fields))
    rows = (f"create or replace temp table {name}_rows as select {own}event_time, {place} as place, {columns},"
            f" {gone} as gone\n  from {input_rows}")
    on_time = f" and event_time + {lateness}000000 >= place"
    keys = ", ".join(f"{part} as _k{i + 1}" for i, part in enumerate(key))
    at_places = (f"create or replace temp table {name} as select p, {keys}, {columns} from (\n"
                 f"    select * from places join {name}_rows on place <= p{on_time}\n"
                 f"    qualify row_number() over (partition by p, {', '.join(key)} order by event_time desc, {last}) = 1)\n"
                 "  where not gone")
    made = Relation(name, dict(fields), f"table {name} = {source.name}{vpl}", [rows, at_places], [source],
                    key=[fields[part] for part in key], size=SIZES.get(key, 10))
    program.add(made)
    if not of_file and rng.random() < 0.15:
        late(program, made, f"event_time + {lateness}000000 < place")
    return made


def deletion(rng, fields, payload):
    """The operator that says which rows delete, if there is one, and the condition that is true of those."""
    gone = "false"
    if payload and all(fields[field].nullable for field in payload):
        gone = "(" + " and ".join(f"{field} is null" for field in payload) + ")"
    if rng.random() < 0.6:
        return "", gone
    deletes = expressions.condition(rng, fields)
    return f"\n    .delete(when: {deletes})", f"{gone} or coalesce({deletes}, false)"


def late(program, table, condition):
    """The rows that were too late for a table; their time is their place."""
    emitted = ", ".join(table.fields)
    output = Output(list(table.fields), f"select place as _time, place, {emitted} from {table.name}_rows where {condition}", ["place"])
    name = program.name("L")
    program.add(Relation(name, {}, f"stream {name} = {table.name}.late()\n    .emit({emitted})", [], [table], output=output))


def read(rng, program, table):
    """What happens to a table, or what it has in the end."""
    # Which row of a key an update replaces is not defined where there are two.
    kind = rng.choice(["diff", "snapshot"] if table.ambiguous else ["op", "op", "diff", "diff", "snapshot"])
    emitted = expressions.some_fields(rng, table.fields) if rng.random() < 0.5 else list(table.fields)
    name = program.name("C")
    operator = {"op": "changes()", "diff": "changes(diff: true)", "snapshot": "snapshot()"}[kind]
    fields = emitted if kind == "snapshot" else [kind, *emitted]
    vpl = f"stream {name} = {table.name}.{operator}\n    .emit({', '.join(fields)})"
    # Whatever is emitted, what changes is the whole row; what is emitted goes first.
    rest = [field for field in table.fields if field not in emitted]
    columns = ", ".join(f"t.{column}" for column in [*table.keys(), *emitted, *rest])
    query = f"select q.p, t.p, {columns} from places q left join {table.name} t on t.p = q.p order by q.p"
    output = Output(fields, query, table=kind, keys=len(table.key))
    program.add(Relation(name, {}, vpl, [], [table], output=output))


def enrich(rng, program, table):
    """A stream with what a table has at the place of each row."""
    source = rng.choice([s for s in program.streams() if s.placed])
    on = [looked_up(rng, source.fields, part.kind) for part in table.key]
    if not on or None in on:
        return None
    name = program.name("E")
    taken = rng.sample(list(table.fields), rng.randint(1, min(3, len(table.fields))))
    names = {field if field not in source.fields else f"e{i}{name}": field for i, field in enumerate(taken)}
    required = rng.random() < 0.25
    defaults = {}
    if not required and rng.random() < 0.4:
        defaults = {new: expressions.literal(rng, table.fields[old].kind) for new, old in names.items()
                    if table.fields[old].kind in ("int", "float", "str") and rng.random() < 0.7}
    vpl = f"stream {name} = {source.name}\n    .enrich({table.name}, on: {listed(on) if len(on) > 1 else on[0]}"
    vpl += f", fields: {listed(taken) if list(names) == taken else mapped(names)}"
    if defaults:
        vpl += f", default: {mapped(defaults) if len(names) > 1 or rng.random() < 0.5 else defaults[list(names)[0]]}"
    vpl += f"{', required: true' if required else ''})"
    fields, found = dict(source.fields), []
    for new, old in names.items():
        of = table.fields[old]
        fields[new] = Field(of.kind, of.nullable or not (required or new in defaults))
        found.append(f"case when t.p is null then {defaults[new]} else t.{old} end as {new}" if new in defaults else f"t.{old} as {new}")
    own = [*(["part", "pos"] if source.positioned else []), "event_time", "place", *source.fields]
    keys = [f"_o{i + 1}" for i in range(len(on))]
    looked = ", ".join([*own, *(f"{value} as {key}" for value, key in zip(on, keys))])
    matches = " and ".join(f"t._k{i + 1} = s.{key}" for i, key in enumerate(keys))
    # Between two places nothing changes.
    sql = (f"create or replace temp table {name} as select s.*, {', '.join(found)}\n"
           f"  from (select {looked} from {source.name}) s asof left join places q on q.p <= s.place\n"
           f"  {'join' if required else 'left join'} {table.name} t on t.p = q.p and {matches}")
    made = Relation(name, fields, vpl, [sql], [source, table], positioned=source.positioned, timed=source.timed)
    if rng.random() < 0.8:
        emitted = expressions.some_fields(rng, fields, 3)
        made.vpl += f"\n    .emit({', '.join(emitted)})"
        order = ["place", *keys, *(["part", "pos"] if source.positioned else [])]
        made.output = Output(emitted, f"select event_time as _time, {', '.join([*order, *emitted])} from {name}", order)
        made.fields = {field: fields[field] for field in emitted}
        made.timed = source.timed and "ts" in emitted
    return program.add(made)


def listed(values):
    return f"[{', '.join(values)}]"


def mapped(values):
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"


def looked_up(rng, fields, kind):
    """A value that may be looked up in a key of this kind."""
    kinds = ("int", "float") if kind == "float" else (kind,)
    names = expressions.names(fields, *kinds)
    if not names:
        return None
    name = rng.choice(names)
    return f"{name} + 1" if fields[name].kind == "int" and rng.random() < 0.15 else name
