"""Rows in random order out of a stream that is too long to hold: interleaved files, then a buffer, both drawn by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, Self, TypeVar

import numpy as np


class Rows(Protocol):
    """Rows of any kind that can be counted, picked and put together."""

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray | slice) -> Self:
        """These rows alone."""

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All rows of the parts, in order."""


R = TypeVar("R", bound=Rows)


def interleave(streams: Sequence[Iterator[R]], width: int = 4) -> Iterator[R]:
    """Chunks from up to `width` files in turn, so that neighbours in a buffer come from several files."""
    waiting = list(streams)
    open_now: list[Iterator[R]] = []
    while waiting or open_now:
        while waiting and len(open_now) < width:
            open_now.append(waiting.pop(0))
        for stream in list(open_now):
            chunk = next(stream, None)
            if chunk is None:
                open_now.remove(stream)
            elif len(chunk):
                yield chunk


def shuffled_batches(chunks: Iterator[R], batch_size: int, buffer_rows: int, rng: np.random.Generator) -> Iterator[R]:
    """Full batches drawn from a buffer of at least `buffer_rows` rows while the stream lasts; the last incomplete one is dropped."""
    held: list[R] = []
    count = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        if count < buffer_rows + batch_size:
            continue
        pool = type(chunk).concatenate(held)
        order = rng.permutation(count)
        out = (count - buffer_rows) // batch_size * batch_size
        for start in range(0, out, batch_size):
            yield pool.take(order[start : start + batch_size])
        held, count = [pool.take(order[out:])], count - out
    if count >= batch_size:
        pool, order = type(held[0]).concatenate(held), rng.permutation(count)
        for start in range(0, count - batch_size + 1, batch_size):
            yield pool.take(order[start : start + batch_size])


def ordered_batches(chunks: Iterator[R], batch_size: int) -> Iterator[R]:
    """Every row once, in the order of the files; the last batch may be smaller."""
    held: list[R] = []
    count = 0
    for chunk in chunks:
        start = 0
        while count + len(chunk) - start >= batch_size:
            stop = start + batch_size - count
            yield type(chunk).concatenate([*held, chunk.take(slice(start, stop))])
            held, count, start = [], 0, stop
        if start < len(chunk):
            held.append(chunk.take(slice(start, None)))
            count += len(chunk) - start
    if count:
        yield type(held[0]).concatenate(held)
