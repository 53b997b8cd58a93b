"""Data sets that the program makes itself: without signal (random, halves, null) and with a known one (planted)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recap_exp.data.config import DataConfig
    from recap_exp.data.made.config import HalvesSource, PlantedSource, RandomSource
    from recap_exp.data.schema import Columns, Schema

    MadeSource = RandomSource | HalvesSource | PlantedSource
    Splits = dict[str, Callable[[], Iterator[Columns]]]


def make(source: MadeSource, cfg: DataConfig, labels: Sequence[str]) -> tuple[Schema, Splits, dict[str, Any]]:
    """A made data set: its schema, a fresh stream of chunks per split, and what the manifest should know beside the configuration.

    `labels` are the label columns that the experiment needs. The same configuration gives the same rows, bit for bit; splits are
    independent draws; a longer split begins with the rows of a shorter one. ConfigError: a label column or block that the source
    can't make.
    """
    from recap_exp.data.made.sources import make_source

    return make_source(source, cfg, labels)
