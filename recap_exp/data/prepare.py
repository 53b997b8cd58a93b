"""From the configuration to a data set on disk: found, opened, or made once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from recap_exp import paths
from recap_exp.data.config import DataConfig, DatasetSource, EventsSource, FilesSource, Format, Layout
from recap_exp.data.dataset import Dataset
from recap_exp.data.files import open_files, present_labels
from recap_exp.data.fingerprint import cached_hash
from recap_exp.data.made.config import HalvesSource, MadeSource
from recap_exp.data.once import made_once
from recap_exp.data.schema import Rows, Schema
from recap_exp.data.write import write_dataset
from recap_exp.errors import ConfigError

VERSION = 2
"""Of how sets are made: raise it when the same configuration gives other rows, so that kept ones are not reused."""

Built = tuple[Schema, Mapping[str, Rows], Mapping[str, Any]]
"""Schema, splits, and how they were made."""


def prepare(cfg: DataConfig, labels: Sequence[str], require_labels: bool = True) -> Dataset:
    """The data set that `cfg` describes, its schema resolved against the files.

    labels: label columns that the experiment needs. One that the data lacks is an error, or is left out where `require_labels` is off.
    Made sets and sets built from events are written to outputs/data once, under a name that their configuration determines, and reused.
    Blocks that are looked up in tables of embeddings are no part of the files.

    Raises DataError or ConfigError that name the column, file or glob.
    """
    return _stored(cfg, labels, require_labels).joined(cfg.embeddings)


def _stored(cfg: DataConfig, labels: Sequence[str], require_labels: bool) -> Dataset:
    source = cfg.source
    if isinstance(source, FilesSource):
        return open_files(cfg, source, labels, require_labels)
    if isinstance(source, DatasetSource | EventsSource):
        for key in ("blocks", "ids", "extras"):
            if getattr(cfg, key):
                raise ConfigError(f"data.{key} must be empty: data.source.kind={source.kind} says itself what its columns mean")
    if isinstance(source, DatasetSource):
        dataset = Dataset.open(paths.data_path(source.path))
    elif isinstance(source, EventsSource):
        dataset = _built(cfg, source)
    else:
        dataset = _made(cfg, source, labels)
    assert dataset.folder is not None
    present_labels(dataset.folder, dataset.schema.labels, labels, require_labels)
    return replace(dataset, name=cfg.name)


def _made(cfg: DataConfig, source: MadeSource, labels: Sequence[str]) -> Dataset:
    def make() -> Built:
        from recap_exp.data.made.sources import make

        return make(source, cfg, labels)

    if isinstance(source, HalvesSource):
        files, rows = 1, dict.fromkeys(source.splits, source.positive_rows + source.negative_rows + source.extra_rows)
    else:
        files, rows = source.files, dict(source.rows)
    return _once(cfg, make, {}, source.format, files, rows)


def _built(cfg: DataConfig, source: EventsSource) -> Dataset:
    def build() -> Built:
        from recap_exp.data.events.table import build

        return build(source, cfg)

    from recap_exp.data.events.log import log_files

    logs = [cached_hash(file) for file in log_files(source)]
    return _once(cfg, build, {"logs": logs}, "parquet", 1, {}, layout="named")  # its features have names of their own


def _once(
    cfg: DataConfig,
    build: Callable[[], Built],
    inputs: Mapping[str, Any],
    format: Format,
    files: int,
    rows: Mapping[str, int],
    layout: Layout = "packed",
) -> Dataset:
    """The set under the name that configuration and inputs give it; built where it is not there yet."""
    config = asdict(cfg)
    origin = {"config": {key: config[key] for key in ("source", "blocks", "ids", "extras")}, **inputs}

    def make(folder: Path) -> Dataset:
        schema, splits, made = build()
        return write_dataset(folder, cfg.name, schema, splits, format, files, layout, made={**origin, **made}, expected=rows)

    return made_once(cfg.name, {"version": VERSION, **origin}, Dataset.open, make)
