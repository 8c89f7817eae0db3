"""Owns what is due of an output, from the rows of its query, and in which order.

The query of what is read of a table gives its rows at every place. What they differ in from those of the place before
is the change at that place; so what is compared with it is right exactly if the changes accumulated up to each place
are the table that a batch query gives over the rows up to it.
"""

from collections import Counter
from itertools import groupby


def by_nulls(order):
    """Null comes first."""
    return [(value is not None, value) for value in order]


def due(rows, output):
    """(order, row) of each row, in order; a row begins with its time, an order with its place."""
    if output.table:
        return of_table(rows, output)
    width = len(output.order)
    pairs = [(row[1:1 + width], (row[0], *row[1 + width:])) for row in rows]
    pairs.sort(key=lambda pair: by_nulls(pair[0]))
    return pairs


def of_table(rows, output):
    """Changes, or what the table has at the last place."""
    shown = 2 + output.keys
    emitted = len(output.fields) - (output.table != "snapshot")
    pairs, before, changed = [], {}, {}
    for place, of_place in groupby(rows, key=lambda row: row[0]):
        now = {}
        for row in of_place:
            if row[1] is not None:
                now.setdefault(row[2:shown], Counter())[row[shown:]] += 1
        for key in sorted(before.keys() | now.keys(), key=by_nulls):
            old, new = before.get(key, Counter()), now.get(key, Counter())
            if old != new:
                changed[key] = place
                pairs += [((place, *key, *rank), (place, name, *row[:emitted])) for rank, name, row in differences(output.table, old, new)]
        before = now
    if output.table != "snapshot":
        return pairs
    last = max((changed[key] for key in before), default=None)
    return [((last, *key), (last, *row[:emitted])) for key in sorted(before, key=by_nulls) for row in before[key].elements()]


def differences(kind, old, new):
    """(rank, op or diff, row) of each change of a key: of the differences, what goes comes before what is new."""
    if kind == "diff":
        # Rows that are the same in everything come or go one by one.
        return [((sign,), sign, row) for sign, rows in ((-1, old - new), (1, new - old)) for row in rows.elements()]
    op = "insert" if not old else "update" if new else "delete"
    return [((), op, row) for row in (new or old)]
