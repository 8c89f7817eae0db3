"""Owns what is due of an output, from the rows of its query, and in which order."""


def due(rows, output):
    """(order, row) of each row, in order."""
    width = len(output.order)
    pairs = [(row[1:1 + width], (row[0], *row[1 + width:])) for row in rows]
    # Null comes first.
    pairs.sort(key=lambda pair: [(value is not None, value) for value in pair[0]])
    return pairs
