"""Rows drawn chunk by chunk, each chunk from a random stream of its own."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np

from recap_exp.data.schema import Columns

DrawChunk = Callable[[np.random.Generator, int], Columns]
"""Draws so many rows; arrays depend on the generator and on nothing else."""


def generator(seed: int, stream: str, chunk: int = 0) -> np.random.Generator:
    """The random stream of one chunk of a named stream (a split, or a part of the hidden function); all are independent."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(stream.encode()), chunk)))


def chunks(draw: DrawChunk, seed: int, stream: str, rows: int, chunk_rows: int) -> Iterator[Columns]:
    """`rows` rows in chunks. Every chunk is drawn whole and the last one cut, so that a longer split begins with a shorter one."""
    for chunk, start in enumerate(range(0, rows, chunk_rows)):
        columns = draw(generator(seed, stream, chunk), chunk_rows)
        left = rows - start
        yield columns if left >= chunk_rows else columns.take(slice(0, left))
