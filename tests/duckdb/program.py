"""Owns what a random program consists of: relations, each a statement of VPL and the SQL that says what it means.

In SQL a stream has the columns `event_time`, `place`, `part` and `pos` beside its fields, all times in nanoseconds
since 1970. A table has one row for each of its rows **at each place** `p`, with its key in `_k1`, `_k2`, … beside its
fields: so SQL over tables that joins and groups by `p` first is a batch answer over the rows up to every place.
"""

from dataclasses import dataclass, field

SECOND = 1_000_000_000


@dataclass(eq=False)
class Field:
    """`kind` is int, float, str, bool or timestamp."""
    kind: str
    nullable: bool = True


@dataclass(eq=False)
class Relation:
    name: str
    fields: dict
    vpl: str
    sql: list
    uses: list = field(default_factory=list)
    # Of streams: whether their rows have the position of a row of the input, and a place that the contract tells.
    positioned: bool = False
    placed: bool = True
    # Of streams: whether their field `ts` is what the time of their rows was read from.
    timed: bool = False
    # Of types without a time: whether `-i` names their file, or the program.
    by_flag: bool = False
    # Of tables: what the parts of their key are, how many rows they may have, about, and whether two of them may have one key.
    key: list = None
    size: int = 0
    ambiguous: bool = False
    output: object = None

    def keys(self, alias=""):
        return [f"{alias}_k{i + 1}" for i in range(len(self.key))]


@dataclass(eq=False)
class Output:
    """What a stream writes. `query` gives the columns `_time`, then `order`, then the fields; rows that agree in `order`
    may come in any order. What is read of a table (`table` is op, diff or snapshot) has a query that gives all places, and of
    each place, behind a column that is null where there are none, the `keys` and the fields of the table's rows."""
    fields: list
    query: str
    order: list = field(default_factory=list)
    by_place: bool = True
    table: str = None
    keys: int = 0


class Program:
    """The types, relations and options of one case."""

    def __init__(self, rng):
        self.rng = rng
        self.out_of_order = rng.choice([0, 0, 500, 1000, 2000, 4000])
        self.lateness = rng.choice([0, 0, 500, 1500, 3000])
        # What readers ask for beside that.
        self.patience = set()
        self.types, self.references, self.relations = [], [], []
        # One file has the rows of all types.
        self.mixed = rng.random() < 0.2

    def add(self, relation):
        self.relations.append(relation)
        return relation

    def streams(self):
        return [r for r in [*self.types, *self.relations] if r.key is None and r.fields]

    def tables(self):
        return [r for r in self.relations if r.key is not None]

    def name(self, prefix):
        return f"{prefix}{sum(r.name.startswith(prefix) for r in self.relations) + 1}"

    def needed(self, outputs):
        """The types and relations that these read, and themselves, in order."""
        names, found = {r.name for r in outputs}, []
        for relation in reversed([*self.types, *self.references, *self.relations]):
            if relation.name in names:
                found.append(relation)
                names |= {r.name for r in relation.uses}
        return found[::-1]

    def vpl(self, outputs):
        """The program that has these outputs; the last statement of a chain of operators is its output."""
        window = f"window:\n    out_of_order: {self.out_of_order}ms\n    allowed_lateness: {self.lateness}ms\n"
        declared = [*self.types, *self.references]
        return "\n".join([window, *(t.vpl for t in declared), *(r.vpl for r in self.needed(outputs) if r not in declared)]) + "\n"
