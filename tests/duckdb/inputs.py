"""Owns the input: random event types and rows, the files that they lie in, and what SQL knows of them.

A file is a partition. Its watermark before a row is the greatest time in it so far, whatever the row's type, less the
out-of-orderness; a row's place is the greater of its own time and the watermark with the row itself counted in.
"""

import json
from datetime import datetime, timezone

from program import SECOND, Field, Relation

START = int(datetime(2026, 3, 1, 9, tzinfo=timezone.utc).timestamp()) * SECOND
# Rows of a type without a timestamp hold from the beginning of time.
BEGINNING = int(datetime(1900, 1, 1, tzinfo=timezone.utc).timestamp()) * SECOND
# What readers may ask for beside the program's own, in milliseconds.
PATIENCE = (0, 1000, 3000)
SQL_TYPES = {"int": "bigint", "float": "double", "str": "varchar", "timestamp": "bigint", "bool": "boolean"}


def time_text(nanoseconds):
    seconds, rest = divmod(nanoseconds, SECOND)
    text = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{rest:09}".rstrip("0") if rest else "") + "Z"


def make_type(rng, name, timed=True):
    """Keys of an int and a string, payloads of an int and a float; `n` numbers the rows and is never null."""
    nullable = rng.random() < 0.6
    fields = {"ts": Field("timestamp", False)} if timed else {}
    fields |= {"k": Field("int", rng.random() < 0.6), "g": Field("str", rng.random() < 0.6)}
    fields |= {"x": Field("int", nullable or rng.random() < 0.3), "y": Field("float", nullable)}
    if not nullable or rng.random() < 0.4:
        fields["n"] = Field("int", False)
    lines = [f"    {field}: {of.kind}{'?' if of.nullable else ''}\n" for field, of in fields.items()]
    vpl = f"event {name}:\n" + "".join(lines)
    return Relation(name, fields, vpl, [], positioned=True, timed=timed, by_flag=not timed and rng.random() < 0.5)


def make_row(rng, fields, number, at):
    row = {"k": rng.randint(0, 3), "g": rng.choice("abc"), "x": rng.randint(0, 6), "y": rng.randint(0, 8) / 2, "n": number}
    empty = rng.random() < 0.15
    for name in ("k", "g", "x", "y"):
        if fields[name].nullable and (rng.random() < 0.12 or (empty and name in "xy")):
            row[name] = None
    return ({"ts": at} if "ts" in fields else {}) | {name: row[name] for name in fields if name != "ts"}


def make_rows(rng, types):
    """(type, row) in the order of arrival: many ties in time, rows that come late, and rows that come again."""
    rows, now = [], START + rng.randint(0, 20) * SECOND // 2
    late = rng.choice([0, 0.1, 0.3])
    # A few are long enough for what is held to be forgotten meanwhile.
    longest = 150 if rng.random() < 0.02 else 40
    for number in range(rng.randint(5, longest)):
        now += (rng.choice([0, 0, 1, 1, 2, 3]) if rng.random() < 0.97 else 120) * SECOND // 2
        at = now - (rng.randint(1, 10) * SECOND // 2 if rng.random() < late else 0)
        if rows and rng.random() < 0.08:
            rows.append(rng.choice(rows[-5:]))
        of = rng.choice(types)
        rows.append((of.name, make_row(rng, of.fields, number, at)))
    return rows


def make_files(rng, types, references, mixed):
    """File -> (the type that `-i` says its rows have, None where they say it, "" where the program does; the rows)."""
    files = {f"{of.name}.jsonl": (of.name if of.by_flag else "", make_reference(rng, of)) for of in references}
    if mixed:
        return files | {"mixed.jsonl": (None, make_rows(rng, types))}
    for of in types:
        for part in range(rng.choice([1, 1, 1, 2])):
            files[f"{of.name}{part}.jsonl"] = (of.name, make_rows(rng, [of]))
    return files


def make_reference(rng, of):
    """The file of a type without a timestamp."""
    return [(of.name, make_row(rng, of.fields, number, None)) for number in range(rng.randint(0, 8))]


def write_files(folder, files):
    """Writes the files; the flags that name them."""
    flags = []
    for name, (of_type, rows) in files.items():
        path = folder / name
        with open(path, "w") as file:
            for of, row in rows:
                row = row | {"ts": time_text(row["ts"])} if "ts" in row else row
                file.write(json.dumps({"type": of} | row if of_type is None else row) + "\n")
        if of_type != "":
            flags += ["-i", f"{of_type}={path}" if of_type else str(path)]
    return flags


def placed(rows, out_of_order):
    """The place of each row of a file."""
    greatest, places = BEGINNING, []
    for _, row in rows:
        greatest = max(greatest, row["ts"])
        places.append(max(row["ts"], greatest - out_of_order * SECOND // 1000))
    return places


def load(program, of_types, files):
    """SQL that makes a table of the rows of each of the types, and `places` of all places that any row has."""
    patience = sorted(program.patience)
    by_type = {of.name: [] for of in [*program.types, *program.references]}
    places = set()
    for part, (of_type, rows) in sorted(files.items()):
        if rows and "ts" not in rows[0][1]:
            # Read before the first row that has a time.
            for pos, (of, row) in enumerate(rows):
                by_type[of].append((part, pos, BEGINNING, BEGINNING, *row.values()))
                places.add(BEGINNING)
            continue
        several = [placed(rows, wait) for wait in (program.out_of_order, *patience)]
        places.update(place for of in several for place in of)
        for pos, (of, row) in enumerate(rows):
            by_type[of].append((part, pos, row["ts"], *(of_reader[pos] for of_reader in several), *row.values()))
    statements = []
    for of in of_types:
        readers = ["place", *(f"place_{wait}" for wait in patience if "ts" in of.fields)]
        kinds = {"part": "varchar", "pos": "bigint", "event_time": "bigint"} | dict.fromkeys(readers, "bigint")
        kinds |= {name: SQL_TYPES[field.kind] for name, field in of.fields.items()}
        # DuckDB is twice as quick with a list in JSON as with `values`.
        rows = ",\n  ".join(json.dumps(dict(zip(kinds, row))) for row in by_type[of.name])
        statements.append(f"create or replace temp table {of.name} as select unnest(from_json('[\n  {rows}]',"
                          f"\n  '[{json.dumps(kinds)}]'), recursive := true)")
    values = ", ".join(f"({place})" for place in sorted(places))
    statements.append("create or replace temp table places (p bigint)")
    if values:
        statements.append(f"insert into places values {values}")
    return statements
