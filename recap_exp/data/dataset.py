"""A data set on disk: which files make which split, what their columns mean, and how to read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recap_exp.data.config import Format, StoredEmbeddingConfig
from recap_exp.data.embeddings import EmbeddingTable
from recap_exp.data.fingerprint import file_hashes, json_sha256
from recap_exp.data.schema import Block, Columns, Schema
from recap_exp.errors import ConfigError, DataError, nearest

MANIFEST = "manifest.json"
VERSION = 1
"""Of the manifest and of what the files mean."""


@dataclass(frozen=True)
class Split:
    """Files in order, and which of their rows belong to the split (Parquet only)."""

    files: tuple[Path, ...]
    where: dict[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """Splits of one format and one schema. `manifest` is what a made or converted set says about itself, {} for other files."""

    name: str
    format: Format
    schema: Schema
    splits: dict[str, Split]
    folder: Path | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, EmbeddingTable] = field(default_factory=dict)
    """Of the schema's blocks, those that are looked up by id rather than read from the files."""

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """The data set that was written into `folder`. Raises DataError where there is none, or where files of it are missing."""
        path = folder / MANIFEST
        try:
            manifest = json.loads(path.read_text())
            if "format" not in manifest and "kind" in manifest:
                raise DataError(f"{folder}: holds a {manifest['kind']}, not rows: data=graph_folder reads it")
            splits = {name: Split(tuple(folder / f["path"] for f in split["files"])) for name, split in manifest["splits"].items()}
            made = cls(manifest["name"], manifest["format"], Schema.from_json(manifest["schema"]), splits, folder, manifest)
        except FileNotFoundError:
            raise DataError(f"{folder}: no data set is here ({MANIFEST} is missing); `recap-exp data` makes one") from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DataError(f"{path}: can't be read as a manifest ({type(error).__name__}: {error})") from error
        if manifest.get("version") != VERSION:
            raise DataError(f"{path}: is of version {manifest.get('version')}, wanted {VERSION}: make the data set anew")
        for file in (f for split in splits.values() for f in split.files if not f.is_file()):
            raise DataError(f"{file}: is missing, although {path} names it")
        return made

    def split(self, name: str) -> Split:
        """One split by name."""
        if name not in self.splits:
            raise DataError(f"data set {self.name} has no split {name!r}{nearest(name, self.splits)}; it has {', '.join(self.splits)}")
        return self.splits[name]

    def rows(self, split: str) -> int | None:
        """Rows of a split, as far as that is known without decoding it: None for TFRecords without a manifest."""
        chosen = self.split(split)
        if self.manifest:
            return self.manifest["splits"][split]["rows"]
        if self.format == "tfrecord":
            return None
        from recap_exp.data import parquet

        return sum(parquet.count(file, chosen.where) for file in chosen.files)

    def digest(self, split: str | None = None) -> str:
        """SHA-256 over the contents of a split's files in order, and its filter; over all splits by name where None.

        Where files lie and what they are called does not enter. The contents are those that the files have, whatever the manifest says.
        """
        if split is None:
            return json_sha256({name: self.digest(name) for name in self.splits})
        return split_digest(list(self.hashes(split).values()), self.split(split).where)

    def hashes(self, split: str, fresh: bool = False) -> dict[str, str]:
        """SHA-256 of each file of a split, in order: see `file_hashes`."""
        return file_hashes(self.split(split).files, fresh)

    def label_rates(self, split: str) -> dict[str, float]:
        """Share of positives (> 0) among the rows where the label is known, by label column; {} without a manifest."""
        self.split(split)
        return dict(self.manifest["splits"][split]["label_rates"]) if self.manifest else {}

    def joined(self, embeddings: Mapping[str, StoredEmbeddingConfig]) -> Dataset:
        """The same rows with a further block for each of `embeddings`. Raises ConfigError or DataError where one can't be had."""
        blocks, tables, ids = dict(self.schema.blocks), dict(self.tables), self.schema.ids
        for name, cfg in embeddings.items():
            key, has = f"data.embeddings.{name}", f"it has {', '.join(ids) or 'none'}{nearest(cfg.id, ids)}"
            if cfg.id not in ids:
                raise ConfigError(f"{key}.id: '{cfg.id}' is no id of data '{self.name}': {has}")
            if name in self.columns:
                raise ConfigError(f"{key}: data '{self.name}' has a block or column of that name already; give it another")
            tables[name] = EmbeddingTable.open(cfg)
            width = tables[name].width
            blocks[name] = Block(kind="embedding", columns=(name,), width=width, use=width)
        return replace(self, schema=replace(self.schema, blocks=blocks), tables=tables)

    @property
    def columns(self) -> set[str]:
        """Names of blocks, and of all columns."""
        schema = self.schema
        carried = {*schema.ids.values(), *schema.labels, *schema.extras.values()}
        return {*schema.blocks, *carried, *(column for block in schema.blocks.values() for column in block.columns)}

    def unknown(self, split: str) -> dict[str, float]:
        """Share of a split's rows whose id has no vector, by the name of each block that is looked up. Reads the ids of all rows."""
        if not self.tables:
            return {}
        by = {name: table.cfg.id for name, table in self.tables.items()}
        missing, rows = dict.fromkeys(self.tables, 0), 0
        for columns in self.read(split, Schema(ids={name: self.schema.ids[name] for name in by.values()})):
            rows += len(columns)
            for name, table in self.tables.items():
                missing[name] += int((~table.known(columns.ids[by[name]])).sum())
        return {name: count / max(rows, 1) for name, count in missing.items()}

    def read(self, split: str, schema: Schema | None = None, files: Sequence[Path] | None = None) -> Iterator[Columns]:
        """The rows of a split, some megabytes at a time, in order; only what `schema` (this one's, or a part of it) names is decoded.

        files: these of the split's files, in this order.
        """
        schema = schema or self.schema
        tables = {name: table for name, table in self.tables.items() if name in schema.blocks}
        needed = {table.cfg.id: self.schema.ids[table.cfg.id] for table in tables.values()}
        stored = replace(schema, blocks={n: b for n, b in schema.blocks.items() if n not in tables}, ids={**schema.ids, **needed})
        for columns in self._read_files(split, stored, files):
            found = {name: table.vectors(columns.ids[table.cfg.id]) for name, table in tables.items()}
            yield replace(
                columns,
                blocks={name: found[name] if name in found else columns.blocks[name] for name in schema.blocks},
                ids={name: columns.ids[name] for name in schema.ids},
            )

    def _read_files(self, split: str, schema: Schema, files: Sequence[Path] | None) -> Iterator[Columns]:
        chosen = self.split(split)
        if self.format == "tfrecord":
            from recap_exp.data import tfrecord

            for file in chosen.files if files is None else files:
                yield from tfrecord.read(file, schema)
        else:
            from recap_exp.data import parquet

            for file in chosen.files if files is None else files:
                yield from parquet.read(file, schema, chosen.where)


def split_digest(hashes: Sequence[str], where: Mapping[str, str | int]) -> str:
    """What makes two splits the same: their files' contents in order, and the filter of their rows."""
    return json_sha256([list(hashes), dict(where)])
