"""Owns what a random case consists of: the types, how many streams of which kind, the files, and the flags of the run."""

import inputs
import streams
from program import Program


def make(rng, flags):
    """(program, files, flags)"""
    program = Program(rng)
    program.types = [inputs.make_type(rng, name) for name in "ABC"[:rng.choice([2, 2, 3])]]
    for _ in range(rng.choice([0, 1, 1, 2])):
        streams.selection(rng, program)
    while not any(r.output for r in program.relations) or rng.random() < 0.6:
        streams.join(rng, program)
    files = inputs.make_files(rng, program.types, program.mixed)
    return program, files, rng.choice(flags)
