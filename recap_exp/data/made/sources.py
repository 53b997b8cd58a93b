"""Which source makes which data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from recap_exp.data.config import DataConfig
from recap_exp.data.made.config import HalvesSource, MadeSource, PlantedSource
from recap_exp.data.made.planted import Planted
from recap_exp.data.made.uniform import halves_split, random_split, uniform_schema
from recap_exp.data.schema import Rows, Schema
from recap_exp.errors import ConfigError, nearest


def make(source: MadeSource, cfg: DataConfig, labels: Sequence[str]) -> tuple[Schema, dict[str, Rows], dict[str, Any]]:
    """A made data set: its schema, its splits, and what the manifest should know beside the configuration.

    `labels` are the label columns that the experiment needs. The same configuration gives the same rows, bit for bit; splits are
    independent draws; a longer split begins with the rows of a shorter one. ConfigError: a label column or block that the source
    can't make.
    """
    _check_labels(source, labels)
    splits: dict[str, Rows]
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


def _check_labels(source: MadeSource, labels: Sequence[str]) -> None:
    key, made = ("rates", list(source.rates)) if isinstance(source, PlantedSource) else ("label_columns", source.label_columns)
    for label in labels:
        if label not in made:
            raise ConfigError(f"{source.kind} data has no label column {label!r}{nearest(label, made)}: add it to data.source.{key}")
