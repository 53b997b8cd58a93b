"""Configuration of graphs: where edges come from, what their ends are. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from recap_exp.configclass import configclass
from recap_exp.data.events.config import EventColumns

Rule = Literal["keep", "drop"]

RULES = ("repeats", "seen", "mirrors", "linked")
"""In the order in which they are applied."""
ENTITY = "entity"
"""The one type of node of triples."""
VIEWER, ITEM = "viewer", "item"
"""The types of node of event logs."""
USER, POST = "user", "post"
"""The types of node of the planted graph."""


@configclass
class EntityConfig:
    """A type of node, with a table of its own."""

    size: int | None = None
    """Rows of the table, where edges hold row numbers; null: the largest row in use and one more, or as many as the vocabulary has."""
    vocabulary: str | None = None
    """A file that gives each row its id, relative to RECAP_DATA: Parquet with a column `id` (further columns are attributes), or text with
    an id a line. Null: made from the edges, ids in sorted order."""

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be at least 1, not {self.size}")


@configclass
class RelationConfig:
    """A type of edge, from one type of node to one."""

    left: str
    """Type of the node that acts: the query side of a translation."""
    right: str


@configclass
class EdgeFiles:
    """The edges of one split: files, which of their rows, and a range of these."""

    files: list[str]
    """Paths or globs, relative to the source's folder."""
    where: dict[str, str | int] = field(default_factory=dict)
    """Only rows whose column has this value."""
    offset: int = 0
    """Edges passed over first, of all files in order."""
    limit: int | None = None
    """Edges at most; null: all that are left."""

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("files must name at least one file")
        if self.offset < 0:
            raise ValueError(f"offset must be at least 0, not {self.offset}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, not {self.limit}")


@configclass
class EdgeColumns:
    """Columns of edge files."""

    lhs: str = "lhs"
    rel: str = "rel"
    rhs: str = "rhs"
    time: str | None = None
    """Any type that sorts; needed to split by time."""


@configclass
class EdgesSource:
    """Parquet edges: left node, relation, right node."""

    kind: Literal["edges"] = "edges"
    folder: str = "."
    """Where the paths of the splits begin, relative to RECAP_DATA."""
    columns: EdgeColumns = field(default_factory=EdgeColumns)
    nodes: Literal["rows", "ids"] = "rows"
    """rows: integers, each a row of its table; ids: of any type, numbered by vocabularies."""
    splits: dict[str, EdgeFiles] = field(default_factory=dict)
    """By name; with `by_time` exactly one, which is then cut."""
    by_time: dict[str, float] | None = None
    """Fractions by split name, in time order; edges of one time stay together, in the later split. Null: splits as given."""

    def __post_init__(self) -> None:
        _check_split_names(self.splits)
        if self.by_time is not None:
            _check_fractions("by_time", self.by_time)
            if self.columns.time is None:
                raise ValueError("columns.time must name a column, for by_time cuts along it")
            if len(self.splits) != 1:
                raise ValueError(f"splits must name one set of files where by_time cuts it, not {len(self.splits)}")


@configclass
class TriplesSource:
    """Text files, a triple a line: head, relation, tail, of any ids. Relations are read off the first split, in sorted order."""

    kind: Literal["triples"] = "triples"
    folder: str = "."
    """Relative to RECAP_DATA, or `package:NAME/PATH`: a folder inside an installed package."""
    splits: dict[str, EdgeFiles] = field(default_factory=dict)
    delimiter: str = "\t"
    order: list[Literal["lhs", "rel", "rhs"]] = field(default_factory=lambda: ["lhs", "rel", "rhs"])  # type: ignore[arg-type]
    """What stands where in a line."""

    def __post_init__(self) -> None:
        _check_split_names(self.splits)
        if sorted(self.order) != ["lhs", "rel", "rhs"]:
            raise ValueError(f"order must name lhs, rel and rhs once each, not {self.order}")
        for name, files in self.splits.items():
            if files.where:
                raise ValueError(f"splits.{name}.where works for Parquet only: text has no columns to name")
        if len(self.delimiter) != 1:
            raise ValueError(f"delimiter must be one character, not {self.delimiter!r}")


@configclass
class EventEdgesSource:
    """An event log as edges: who acts -> what is acted on, a relation for each group of kinds of event. Splits are in time order."""

    kind: Literal["event_edges"] = "event_edges"
    files: list[str] = field(default_factory=list)
    """As the event tables': CSV (also .gz, .zip) or Parquet, relative to RECAP_DATA."""
    columns: EventColumns = field(default_factory=EventColumns)
    time_unit: Literal["s", "ms", "us", "iso"] = "s"
    events: dict[str, list[str]] = field(default_factory=dict)
    """Relation -> kinds of event that are edges of it; every relation of the graph."""
    since: str | None = None
    """ISO 8601, UTC: earlier events are left out. Null: from the first."""
    until: str | None = None
    """ISO 8601, UTC: events at this time and later are left out. Null: to the last."""
    by_time: dict[str, float] = field(default_factory=lambda: {"train": 0.9, "val": 0.05, "test": 0.05})
    """Fractions of the edges by split name, in time order; edges of one time stay together, in the later split."""

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("files must name at least one file")
        if not self.events:
            raise ValueError("events must name at least one relation")
        for name, kinds in self.events.items():
            if not kinds:
                raise ValueError(f"events.{name} must list at least one kind of event")
        _check_fractions("by_time", self.by_time)
        times = [instant(text, key) for key, text in (("since", self.since), ("until", self.until)) if text is not None]
        if len(times) == 2 and times[0] >= times[1]:
            raise ValueError(f"since={self.since} must be before until={self.until}")


@configclass
class PlantedGraphSource:
    """A made graph of known structure: users and posts in communities; who follows, likes, replies follows from them.

    Communities have hidden places, users hidden positions near their own community's. An edge of a relation goes from an active user to a
    popular node of a community that is near the user's position moved by the relation's own translation. `noise` of the edges go to any
    node. Splits are exchangeable draws, and no edge is drawn twice.
    """

    kind: Literal["planted_graph"] = "planted_graph"
    users: int = 1000
    posts: int = 2000
    communities: int = 30
    edges: dict[str, int] = field(default_factory=lambda: {"train": 40_000, "val": 2000, "test": 4000})
    """Distinct edges per split."""
    noise: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for key, least in (("users", 2), ("posts", 2), ("communities", 1), ("seed", 0)):
            if (value := getattr(self, key)) < least:
                raise ValueError(f"{key} must be at least {least}, not {value}")
        if self.communities > min(self.users, self.posts):
            raise ValueError(f"communities must be at most the number of users and of posts, not {self.communities}")
        _check_names("edges", self.edges)
        if not self.edges or min(self.edges.values()) < 1:
            raise ValueError(f"edges must name at least one split, each with at least 1 edge, not {self.edges}")
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise must be in [0, 1], not {self.noise}")


@configclass
class GraphFolderSource:
    """A folder with a manifest.json that `recap-exp data` made of a graph: everything comes from there, as it is."""

    kind: Literal["graph_folder"] = "graph_folder"
    path: str
    """Relative to RECAP_DATA."""


GraphSource = Annotated[
    EdgesSource | TriplesSource | EventEdgesSource | PlantedGraphSource | GraphFolderSource, Field(discriminator="kind")
]


@configclass
class GraphConfig:
    """A graph: where its edges come from, the types of its nodes and edges, and what may not leak between its splits."""

    kind: Literal["graph"] = "graph"
    name: str
    """Short, for tables and the MLflow dataset."""
    source: GraphSource
    entities: dict[str, EntityConfig] = field(default_factory=dict)
    """Types of node. The source edges needs them. Triples have one, `entity`, event_edges viewer and item: named here only to give a
    vocabulary. planted_graph and graph_folder know their own."""
    relations: dict[str, RelationConfig] = field(default_factory=dict)
    """Types of edge, in the order of the numbers that edges hold. The source edges needs them, the others know their own."""
    repeats: Rule = "drop"
    """Of an edge that a split has more than once: drop all but the first."""
    seen: Rule = "drop"
    """Of an edge that an earlier split has already: drop it from the later one."""
    mirrors: Rule = "keep"
    """Of an edge b -> a whose mirror a -> b, of any relation, an earlier split has: drop it from the later one."""
    linked: Rule = "keep"
    """Of an edge a -> b whose pair an earlier split has under another relation: drop it from the later split."""

    def __post_init__(self) -> None:
        for name in (*self.entities, *self.relations):
            if not re.fullmatch(r"\w[\w.:+-]*", name):
                raise ValueError(f"the name {name!r} must begin with a letter, digit or _, and may hold these and . : + - alone")
        for name, relation in self.relations.items():
            for side in (relation.left, relation.right):
                if self.entities and side not in self.entities:
                    raise ValueError(f"relations.{name}: no entity '{side}'; entities are {', '.join(self.entities)}")
        kind = self.source.kind
        if isinstance(self.source, EdgesSource):
            if not self.entities or not self.relations:
                raise ValueError("entities and relations must be given for source.kind=edges")
        elif self.relations:
            raise ValueError(f"relations must be empty: source.kind={kind} knows its own")
        known = {"triples": [ENTITY], "event_edges": [VIEWER, ITEM], "planted_graph": [], "graph_folder": []}.get(kind, self.entities)
        for name, entity in self.entities.items():
            if name not in known:
                raise ValueError(f"entities.{name}: source.kind={kind} has {', '.join(known) or 'its own entities, and takes none'}")
            if entity.size is not None and getattr(self.source, "nodes", "ids") == "ids":
                raise ValueError(f"entities.{name}.size must be null: where nodes are ids, vocabularies say how many there are")
        if isinstance(self.source, GraphFolderSource) and (applied := [r for r in RULES if getattr(self, r) != "keep"]):
            raise ValueError(f"{applied[0]} must be keep for source.kind=graph_folder: its rules were applied when it was made")


def _check_split_names(splits: dict[str, EdgeFiles]) -> None:
    if not splits:
        raise ValueError("splits must name at least one split")
    _check_names("splits", splits)


def _check_names(key: str, names: Iterable[str]) -> None:
    for name in names:
        if not re.fullmatch(r"\w+", name):
            raise ValueError(f"{key}: the name {name!r} may hold letters, digits and _ alone")


def _check_fractions(key: str, fractions: dict[str, float]) -> None:
    _check_names(key, fractions)
    if not fractions or any(not f > 0 for f in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        raise ValueError(f"{key} must be fractions > 0 that sum to 1, not {fractions}")


def entity_types(cfg: GraphConfig) -> dict[str, EntityConfig]:
    """The types of node in order, of sources that know their own too. Empty where only a folder's manifest does."""
    own = {"triples": (ENTITY,), "event_edges": (VIEWER, ITEM), "planted_graph": (USER, POST)}.get(cfg.source.kind, tuple(cfg.entities))
    return {name: cfg.entities.get(name, EntityConfig()) for name in own}


def instant(text: str, key: str = "time") -> datetime:
    """An ISO 8601 time; UTC where it names no zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{key} must be a time such as 2017-01-31T12:00:00, not {text!r}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
