"""Owns what is due of an output, from the rows of its query, and in which order.

The query of what is read of a table gives its rows at every place. What they differ in from those of the place before
is the change at that place; so what is compared with it is right exactly if the changes accumulated up to each place
are the table that a batch query gives over the rows up to it.
"""

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
        now = {row[2:shown]: row[shown:] for row in of_place if row[1] is not None}
        for key in sorted(before.keys() | now.keys(), key=by_nulls):
            old, new = before.get(key), now.get(key)
            if old == new:
                continue
            changed[key] = place
            if output.table == "op":
                op = "insert" if old is None else "delete" if new is None else "update"
                pairs.append(((place, *key), (place, op, *(new or old)[:emitted])))
            if output.table == "diff":
                pairs += [((place, *key, diff), (place, diff, *row[:emitted])) for diff, row in ((-1, old), (1, new)) if row is not None]
        before = now
    if output.table == "snapshot" and before:
        last = max(changed[key] for key in before)
        return [((last, *key), (last, *before[key][:emitted])) for key in sorted(before, key=by_nulls)]
    return pairs
