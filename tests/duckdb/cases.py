"""Owns what a random case consists of: the types, how many streams and tables of which kind, the files, and the flags."""

import derived
import inputs
import streams
import tables
from program import Program


def make(rng, flags):
    """(program, files, flags)"""
    program = Program(rng)
    program.types = [inputs.make_type(rng, name) for name in "ABC"[:rng.choice([2, 2, 3])]]
    of_tables = rng.random() < 0.6
    if of_tables and rng.random() < 0.3:
        program.references = [inputs.make_type(rng, "R", timed=False)]
    for _ in range(rng.choice([0, 1, 1, 2])):
        streams.selection(rng, program)
    for make_stream in (streams.merged, streams.windowed, streams.join):
        if rng.random() < 0.15:
            make_stream(rng, program)
    if of_tables:
        add_tables(rng, program)
    while not any(r.output for r in program.relations) or rng.random() < (0.15 if of_tables else 0.5):
        streams.join(rng, program)
    files = inputs.make_files(rng, program.types, program.references, program.mixed)
    return program, files, rng.choice(flags)


def add_tables(rng, program):
    for _ in range(rng.choice([1, 2, 2, 3])):
        tables.base(rng, program)
        if rng.random() < 0.2:
            tables.enrich(rng, program, rng.choice(program.tables()))
    for _ in range(rng.choice([0, 1, 2, 3, 4])):
        derived.derived(rng, program)
    for table in program.tables():
        if rng.random() < 0.6:
            tables.read(rng, program, table)
        if rng.random() < 0.3:
            tables.enrich(rng, program, table)
