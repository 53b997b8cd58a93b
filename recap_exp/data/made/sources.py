"""Which source makes which data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from recap_exp.data.config import DataConfig
from recap_exp.data.made.config import HalvesSource, PlantedSource, RandomSource
from recap_exp.data.made.planted import Planted
from recap_exp.data.made.uniform import halves_split, random_split, uniform_schema
from recap_exp.data.schema import Columns, Schema
from recap_exp.errors import ConfigError, nearest

Splits = dict[str, Callable[[], Iterator[Columns]]]


def make_source(
    source: RandomSource | HalvesSource | PlantedSource, cfg: DataConfig, labels: Sequence[str]
) -> tuple[Schema, Splits, dict[str, Any]]:
    """See `recap_exp.data.made.make`."""
    _check_labels(source, labels)
    splits: Splits
    made: dict[str, Any] = {}
    if isinstance(source, PlantedSource):
        planted = Planted(source, cfg)
        schema = planted.schema
        splits = {split: partial(planted.split, split) for split in source.rows}
        if planted.hidden:
            made["hidden_function"] = planted.hidden.to_json()
    elif isinstance(source, HalvesSource):
        schema = uniform_schema(cfg, source)
        splits = {split: partial(halves_split, source, schema, split) for split in source.splits}
    else:
        schema = uniform_schema(cfg, source)
        splits = {split: partial(random_split, source, schema, split) for split in source.rows}
    return schema, splits, made


def _check_labels(source: RandomSource | HalvesSource | PlantedSource, labels: Sequence[str]) -> None:
    key, made = ("rates", list(source.rates)) if isinstance(source, PlantedSource) else ("label_columns", source.label_columns)
    for label in labels:
        if label not in made:
            raise ConfigError(f"{source.kind} data has no label column {label!r}{nearest(label, made)}: add it to data.source.{key}")
