"""From the configuration to a prepared graph: read, numbered, cut, freed of leaks, written once and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from recap_exp import paths
from recap_exp.data.files import expand
from recap_exp.data.fingerprint import cached_hash
from recap_exp.data.graph.config import (
    EdgesSource,
    EventEdgesSource,
    GraphConfig,
    GraphFolderSource,
    PlantedGraphSource,
    TriplesSource,
    entity_types,
)
from recap_exp.data.graph.graph import Graph
from recap_exp.data.graph.leakage import apply_rules
from recap_exp.data.graph.raw import Read
from recap_exp.data.graph.triples import triples_folder
from recap_exp.data.graph.vocabulary import given_vocabularies, number_nodes, vocabulary_file
from recap_exp.data.graph.workshop import Workshop
from recap_exp.data.graph.write import write_graph
from recap_exp.data.once import made_once, new_folder
from recap_exp.errors import ConfigError, DataError

VERSION = 2
"""Of how graphs are made: raise it when the same configuration gives other edges, so that kept ones are not reused."""


def prepare_graph(cfg: GraphConfig) -> Graph:
    """The graph that `cfg` describes, in outputs/data under a name that configuration and files determine: made there once.

    Conversion streams: it holds neither edges nor vocabularies in memory (an event log's codes, though). Raises DataError or ConfigError
    that name the file, record, column and value.
    """
    if isinstance(cfg.source, GraphFolderSource):
        return replace(Graph.open(paths.data_path(cfg.source.path)), name=cfg.name)
    config = asdict(cfg)
    origin = {"config": {key: value for key, value in config.items() if key not in ("kind", "name")}, "files": _inputs(cfg)}

    def make(folder: Path) -> Graph:
        with new_folder(folder) as draft, Workshop(draft / "workshop") as shop:
            _make(draft, cfg, shop, origin)
        return Graph.open(folder)

    graph = made_once(cfg.name, {"graph": VERSION, **origin}, Graph.open, make)
    return replace(graph, name=cfg.name)


def _inputs(cfg: GraphConfig) -> dict[str, list[str]]:
    """Hashes of the files that the graph is made of, by what they are for. Raises DataError where one is missing."""
    files: dict[str, Sequence[Path]] = {}
    if isinstance(cfg.source, EdgesSource | TriplesSource):
        folder = triples_folder(cfg.source.folder) if isinstance(cfg.source, TriplesSource) else cfg.source.folder
        files = {f"splits.{name}": expand(split.files, folder) for name, split in cfg.source.splits.items()}
    elif isinstance(cfg.source, EventEdgesSource):
        from recap_exp.data.events.log import log_files

        files = {"logs": log_files(cfg.source)}
    given = {name: entity.vocabulary for name, entity in cfg.entities.items() if entity.vocabulary is not None}
    files |= {f"vocabularies.{name}": [vocabulary_file(path)] for name, path in given.items()}
    return {use: [cached_hash(file) for file in found] for use, found in files.items()}


def _make(draft: Path, cfg: GraphConfig, shop: Workshop, origin: Mapping[str, Any]) -> None:
    types = entity_types(cfg)
    given = given_vocabularies(shop, types)
    sizes = {entity: given.get(entity, e.size) for entity, e in types.items()}
    for entity, rows in given.items():
        if (size := cfg.entities[entity].size) not in (None, rows):
            raise ConfigError(f"data.entities.{entity}.size={size}, but its vocabulary has {rows} ids: set size to null")
    read = _read(shop, cfg, sizes)
    if not shop.has("raw"):
        raise DataError(f"data '{cfg.name}': its files hold no edges; see files, where, offset and limit of data.source.splits")
    if read.by_time:
        _cut(shop, read.by_time)
    times = _times(shop, read)
    if read.nodes == "ids":
        number_nodes(shop, read)
    else:
        shop.run("ALTER TABLE raw RENAME TO edges")
    tables = {entity: _rows(shop, read, number, entity, sizes.get(entity)) for number, entity in enumerate(read.entities)}
    rules = apply_rules(shop, read, cfg)
    splits = {split: {**times.get(split, {}), **rules[split]} for split in read.splits}
    write_graph(draft, cfg.name, shop, read, tables, {**origin, **read.made, "splits": splits})


def _read(shop: Workshop, cfg: GraphConfig, sizes: Mapping[str, int | None]) -> Read:
    """What the source gives; imports what that needs."""
    source = cfg.source
    if isinstance(source, EdgesSource):
        from recap_exp.data.graph.edges import read_edges

        return read_edges(shop, cfg, source, sizes)
    if isinstance(source, TriplesSource):
        from recap_exp.data.graph.triples import read_triples

        return read_triples(shop, cfg, source)
    if isinstance(source, EventEdgesSource):
        from recap_exp.data.graph.events import read_event_edges

        return read_event_edges(shop, cfg, source)
    assert isinstance(source, PlantedGraphSource)
    from recap_exp.data.graph.planted import make_planted_graph

    return make_planted_graph(shop, cfg, source)


def _cut(shop: Workshop, fractions: Mapping[str, float]) -> None:
    """Gives the edges in `raw` their splits by time; edges of one time all go to the later split."""
    count = int(shop.one("SELECT count(*) FROM raw")[0])
    shop.run("CREATE TABLE moments AS SELECT time, sum(count(*)) OVER (ORDER BY time) AS upto FROM raw GROUP BY time")
    places = [min(round(share * count), count - 1) for share in list(accumulate(fractions.values()))[:-1]]
    cuts = [shop.one("SELECT min(time) FROM moments WHERE upto > ?", [place])[0] for place in places]
    later = " + ".join(["0", *("(time >= ?)::INTEGER" for _ in cuts)])
    shop.run(f"CREATE TABLE cut AS SELECT {later} AS split, * EXCLUDE (split) FROM raw", cuts)
    shop.run("DROP TABLE raw")
    shop.run("DROP TABLE moments")
    shop.run("ALTER TABLE cut RENAME TO raw")


def _times(shop: Workshop, read: Read) -> dict[str, dict[str, str]]:
    """The first and last time of each split, where the source knows times."""
    if "time" not in shop.columns("raw"):
        return {}
    found = shop.all("SELECT split, min(time), max(time) FROM raw GROUP BY split")
    return {read.splits[split]: {"from": read.say_time(first), "to": read.say_time(last)} for split, first, last in found}


def _rows(shop: Workshop, read: Read, number: int, entity: str, known: int | None) -> int:
    """Rows of a type's table: as given, as many as the vocabulary has, or the largest row in use and one more."""
    if known is not None:
        return known
    if entity in read.tables:
        return len(read.tables[entity])
    if shop.has(f"nodes_{number}"):
        rows = int(shop.one(f"SELECT count(*) FROM nodes_{number}")[0])
    else:
        ends = [(side, n) for n, r in enumerate(read.relations.values()) for side, t in (("lhs", r.left), ("rhs", r.right)) if t == entity]
        queries = [f"SELECT max({side}) AS row FROM edges WHERE rel = {n}" for side, n in ends] or ["SELECT NULL::BIGINT AS row"]
        rows = int(shop.one(f"SELECT coalesce(max(row), -1) + 1 FROM ({' UNION ALL '.join(queries)})")[0])
    if not rows:
        raise DataError(f"data.entities.{entity}: no edge has a node of this type; leave it out, or give its size or vocabulary")
    return rows
