"""Rows in random order out of a stream that is too long to hold: interleaved files, then a buffer, both drawn by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from recap_exp.data.schema import Columns


def concatenate(parts: Sequence[Columns]) -> Columns:
    """Rows of all parts, one after the other. Several files in one part leave `file` naming the first and its neighbours."""
    if len(parts) == 1:
        return parts[0]
    joined = {name: {k: np.concatenate([getattr(p, name)[k] for p in parts]) for k in arrays} for name, arrays in parts[0].groups()}
    files = list(dict.fromkeys(p.file for p in parts))
    records = None if any(p.records is None for p in parts) else np.concatenate([p.records for p in parts])  # type: ignore[misc]
    return Columns(**joined, file=" or ".join(files), records=records)


def interleave(streams: Sequence[Iterator[Columns]], width: int = 4) -> Iterator[Columns]:
    """Chunks from up to `width` files in turn, so that neighbours in a buffer come from several files."""
    waiting = list(streams)
    open_now: list[Iterator[Columns]] = []
    while waiting or open_now:
        while waiting and len(open_now) < width:
            open_now.append(waiting.pop(0))
        for stream in list(open_now):
            chunk = next(stream, None)
            if chunk is None:
                open_now.remove(stream)
            elif len(chunk):
                yield chunk


def shuffled_batches(chunks: Iterator[Columns], batch_size: int, buffer_rows: int, rng: np.random.Generator) -> Iterator[Columns]:
    """Full batches drawn from a buffer of at least `buffer_rows` rows while the stream lasts; the last incomplete one is dropped."""
    held: list[Columns] = []
    count = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        if count < buffer_rows + batch_size:
            continue
        pool = concatenate(held)
        order = rng.permutation(count)
        out = (count - buffer_rows) // batch_size * batch_size
        for start in range(0, out, batch_size):
            yield pool.take(order[start : start + batch_size])
        held, count = [pool.take(order[out:])], count - out
    if count >= batch_size:
        pool, order = concatenate(held), rng.permutation(count)
        for start in range(0, count - batch_size + 1, batch_size):
            yield pool.take(order[start : start + batch_size])


def ordered_batches(chunks: Iterator[Columns], batch_size: int) -> Iterator[Columns]:
    """Every row once, in the order of the files; the last batch may be smaller."""
    held: list[Columns] = []
    count = 0
    for chunk in chunks:
        start = 0
        while count + len(chunk) - start >= batch_size:
            stop = start + batch_size - count
            yield concatenate([*held, chunk.take(slice(start, stop))])
            held, count, start = [], 0, stop
        if start < len(chunk):
            held.append(chunk.take(slice(start, None)))
            count += len(chunk) - start
    if count:
        yield concatenate(held)
