"""Rows without signal: the original's random data, and the fork's two halves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recap_exp.data.config import DataConfig
from recap_exp.data.made.config import HalvesSource, RandomSource
from recap_exp.data.made.draws import chunks
from recap_exp.data.schema import DTYPES, Columns, Schema, declared_block
from recap_exp.errors import ConfigError

CHUNK_ROWS = 256
"""About 10 MB in memory at the original's widths."""

HALF = "half"
"""Stored column of the halves: "positive", "negative" or "extra"."""


def uniform_schema(cfg: DataConfig, source: RandomSource | HalvesSource) -> Schema:
    """Blocks, ids and extras as the configuration names them, at the widths that it gives."""
    if not cfg.blocks:
        raise ConfigError(
            f"data.blocks is empty: {source.kind} data has the blocks that the configuration gives it (see conf/data/random.yaml)"
        )
    extras = dict(cfg.extras)
    if isinstance(source, HalvesSource):
        extras.setdefault(HALF, HALF)
    return Schema(
        blocks={name: declared_block(name, block, "made data") for name, block in cfg.blocks.items()},
        ids=dict(cfg.ids),
        labels=tuple(source.label_columns),
        extras=extras,
    )


def draw_uniform(rng: np.random.Generator, rows: int, schema: Schema, digits: bool) -> Columns:
    """Floats uniform in [0, 1); integers, the binary block and extras uniform in 0...9 as in the original; ids uniform in 63 bits;
    labels 0/1 at rate 0.5, or 0...9."""

    def ints(*shape: int, below: int = 10) -> np.ndarray:
        return rng.integers(0, below, size=shape, dtype=np.uint8)

    columns = Columns()
    for name, block in schema.blocks.items():
        shape = (rows, block.width)
        floats = block.kind in ("continuous", "embedding")
        columns.blocks[name] = rng.random(shape, dtype=np.float32) if floats else ints(*shape).astype(DTYPES[block.kind])
    columns.ids = {name: rng.integers(0, 2**63 - 1, size=rows, endpoint=True) for name in schema.ids}
    columns.labels = {label: ints(rows, below=10 if digits else 2).astype(np.int64) for label in schema.labels}
    columns.extras = {name: ints(rows).astype(np.int64) for name in schema.extras}
    return columns


def random_split(source: RandomSource, schema: Schema, split: str) -> Iterator[Columns]:
    """One split of the original's random data."""

    def draw(rng: np.random.Generator, rows: int) -> Columns:
        return draw_uniform(rng, rows, schema, source.labels == "digits")

    return chunks(draw, source.seed, split, source.rows[split], CHUNK_ROWS)


def halves_split(source: HalvesSource, schema: Schema, split: str) -> Iterator[Columns]:
    """One split of the fork's data: the positive half, the negative half, the extra rows; each from a stream of its own."""
    plan: tuple[tuple[str, int, list[str]], ...] = (
        ("positive", source.positive_rows, source.negative_labels),
        ("negative", source.negative_rows, source.positive_labels),
        ("extra", source.extra_rows, []),
    )
    stored = {column: name for name, column in schema.extras.items()}
    for half, rows, zero in plan:

        def draw(rng: np.random.Generator, count: int, half: str = half, zero: list[str] = zero) -> Columns:
            columns = draw_uniform(rng, count, schema, source.labels == "digits")
            columns.labels |= {label: np.zeros(count, np.int64) for label in zero}
            columns.extras[stored[HALF]] = np.full(count, half, dtype=object)
            return columns

        yield from chunks(draw, source.seed, f"{split}/{half}", rows, CHUNK_ROWS)
