"""Files that exist already: globs to splits, column patterns to a schema."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from recap_exp import paths
from recap_exp.data.config import BlockConfig, DataConfig, FilesSource
from recap_exp.data.dataset import Dataset, Split
from recap_exp.data.schema import TRUTH, Block, Schema, declared_block
from recap_exp.errors import ConfigError, DataError, nearest

FIRST_RECORDS = 100
"""Records looked at to tell a misspelt feature from one that a record happens to lack."""


def expand(patterns: Sequence[str], folder: str = ".") -> tuple[Path, ...]:
    """The files that paths or globs (`**` goes into folders) name, relative to `folder` in RECAP_DATA; each glob's matches sorted.

    Raises DataError for a glob without a match.
    """
    found: list[Path] = []
    for pattern in patterns:
        full = paths.data_path(str(Path(folder) / pattern))
        matches = [Path(p) for p in sorted(glob.glob(str(full), recursive=True)) if Path(p).is_file()]
        if not matches:
            root = paths.data_path(folder)
            missing = "" if root.is_dir() else "; that folder does not exist"
            raise DataError(f"no file matches {pattern} in {root}{missing} (RECAP_DATA is where paths begin)")
        found += matches
    return tuple(dict.fromkeys(found))


def open_files(cfg: DataConfig, source: FilesSource, labels: Sequence[str], require_labels: bool) -> Dataset:
    """The data set that `source` describes, its columns checked against the first file of every split."""
    if not source.splits:
        raise ConfigError("data.source.splits is empty: it must name the files of at least one split")
    splits = {name: Split(expand(s.files, source.folder), dict(s.where)) for name, s in source.splits.items()}
    for name, split in splits.items():
        if not split.files:
            raise ConfigError(f"data.source.splits.{name}.files is empty")
        if split.where and source.format == "tfrecord":
            raise ConfigError(f"data.source.splits.{name}.where works for Parquet only: records can't be filtered")
    resolve = _parquet_schema if source.format == "parquet" else _record_schema
    schemas = {name: resolve(split.files[0], cfg, labels, require_labels) for name, split in splits.items()}
    schema = next(iter(schemas.values()))
    for name, other in schemas.items():
        if other.blocks != schema.blocks:
            block = next(b for b in schema.blocks if schema.blocks[b] != other.blocks[b])
            raise DataError(f"{splits[name].files[0]}: block {block} has other columns than in {splits[next(iter(splits))].files[0]}")
    _check_one_source(splits[next(iter(splits))].files[0], schema)
    known = tuple(label for label in labels if all(label in s.labels for s in schemas.values()))
    dataset = Dataset(cfg.name, source.format, Schema(blocks=schema.blocks, ids=schema.ids, labels=known, extras=schema.extras), splits)
    for name, split in splits.items():
        if split.where and not dataset.rows(name):
            raise DataError(f"{split.files[0]}: no row has {_words(split)}, which split {name} wants")
    return dataset


def _check_one_source(file: Path, schema: Schema) -> None:
    """No column feeds two blocks, and none of them is the truth that the data was made from."""
    owner: dict[str, str] = {}
    for name, block in schema.blocks.items():
        for column in block.columns:
            if column.startswith(TRUTH):
                raise DataError(f"{file}: column {column} is the true probability of a label, but block {name} takes it as a feature")
            if column in owner:
                raise DataError(f"{file}: column {column} feeds two blocks, {owner[column]} and {name}: give each one source")
            owner[column] = name


def _words(split: Split) -> str:
    return " and ".join(f"{column} = {value!r}" for column, value in split.where.items())


def present_labels(file: Path, stored: Sequence[str], labels: Sequence[str], required: bool) -> tuple[str, ...]:
    """Those of `labels` that the file has; DataError for a missing one where they are required."""
    for label in labels:
        if required and label not in stored:
            raise DataError(f"{file}: has no label column {label}{nearest(label, stored)}")
    return tuple(label for label in labels if label in stored)


def _parquet_schema(file: Path, cfg: DataConfig, labels: Sequence[str], required: bool) -> Schema:
    from recap_exp.data import parquet

    with parquet.opened(file) as stored:
        arrow = stored.schema_arrow
        names = arrow.names
        blocks = {}
        for name, block in cfg.blocks.items():
            columns = tuple(dict.fromkeys(c for pattern in block.columns for c in _matches(file, name, pattern, names)))
            for column in columns:
                kind = arrow.field(column).type
                if not parquet.is_number(kind.value_type if parquet.is_list(kind) else kind):
                    raise DataError(f"{file}: column {column} of block {name} holds {kind} values, wanted numbers or lists of numbers")
                if column in labels or column in cfg.labels:
                    raise DataError(f"{file}: column {column} is a label, but block {name} takes it as a feature")
            blocks[name] = _block(file, name, block, columns, parquet.lengths(stored, columns))
    for name, column in {**cfg.ids, **cfg.extras}.items():
        if column not in names:
            raise DataError(f"{file}: has no column {column}, which data.ids or data.extras calls {name}{nearest(column, names)}")
    return Schema(blocks=blocks, ids=dict(cfg.ids), labels=present_labels(file, names, labels, required), extras=dict(cfg.extras))


def _matches(file: Path, block: str, pattern: str, names: list[str]) -> list[str]:
    found = [n for n in names if fnmatchcase(n, pattern)] if "*" in pattern or "?" in pattern else [n for n in names if n == pattern]
    if not found:
        raise DataError(f"{file}: has no column {pattern}, which block {block} wants{nearest(pattern, names)}")
    return found


def _block(file: Path, name: str, block: BlockConfig, columns: tuple[str, ...], lengths: list[int | None]) -> Block:
    if None in lengths:
        if lengths.count(None) > 1 or block.width is None:
            raise DataError(
                f"{file}: column {columns[lengths.index(None)]} of block {name} is null in every row: give data.blocks.{name}.width"
            )
        lengths[lengths.index(None)] = block.width - sum(n for n in lengths if n is not None)
    width = sum(n or 0 for n in lengths)
    if block.width is not None and block.width != width:
        raise DataError(f"{file}: block {name} is {width} features wide, data.blocks.{name}.width says {block.width}")
    use = width if block.use is None else block.use
    if use > width:
        raise DataError(f"{file}: block {name} is {width} features wide, data.blocks.{name}.use wants {use}")
    return Block(kind=block.kind, columns=columns, width=width, use=use)


def _record_schema(file: Path, cfg: DataConfig, labels: Sequence[str], required: bool) -> Schema:
    blocks = {name: declared_block(name, block, "TFRecords") for name, block in cfg.blocks.items()}
    names = _feature_names(file)
    wanted = {c: f"block {name}" for name, block in blocks.items() for c in block.columns}
    wanted |= {c: f"data.ids or data.extras ({name})" for name, c in {**cfg.ids, **cfg.extras}.items()}
    for column, reader in wanted.items():
        if column not in names:
            raise DataError(f"{file}: none of the first records has the feature {column}, which {reader} wants{nearest(column, names)}")
    return Schema(blocks=blocks, ids=dict(cfg.ids), labels=present_labels(file, names, labels, required), extras=dict(cfg.extras))


def _feature_names(file: Path) -> list[str]:
    """All features that some of the first records have: a single record may lack one, which is then 0."""
    from recap_exp.data.example import feature_names
    from recap_exp.data.tfrecord import read_records

    names: set[str] = set()
    read = 0
    for read, record in enumerate(islice(read_records(file), FIRST_RECORDS), 1):
        try:
            names.update(feature_names(record))
        except ValueError as error:
            raise DataError(f"{file}: record {read - 1}: {error}") from error
    if not read:
        raise DataError(f"{file}: holds no record")
    return sorted(names)
