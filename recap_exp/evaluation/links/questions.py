"""What is asked of a model: for an end of an edge and its relation, the other end, among all candidates but those that don't count.

Shapes: E edges asked about, Q some of their questions, K distinct queries, X exclusions of all of them. A *pool* numbers the candidates of
a question: the rows of one type, or those of all types one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from recap_exp.errors import ConfigError, DataError, nearest
from recap_exp.evaluation.links.config import LinkEvaluationConfig, LinkPartitionConfig

if TYPE_CHECKING:
    from recap_exp.data.graph.graph import Edges, Graph, GraphSchema

Side = Literal["left", "right"]
"""The end that is asked for."""
SIDES: dict[str, tuple[Side, ...]] = {"both": ("left", "right"), "left": ("left",), "right": ("right",)}


@dataclass(frozen=True)
class Pool:
    """Candidates: the entities of some types, numbered in order."""

    sizes: dict[str, int]
    """Type -> rows."""

    @property
    def size(self) -> int:
        return sum(self.sizes.values())

    def start(self, entity: str) -> int:
        """The number of a type's first row."""
        names = list(self.sizes)
        return sum(self.sizes[name] for name in names[: names.index(entity)])


@dataclass(frozen=True)
class Exclusions:
    """Lists of candidates that don't count, one for each query, in one sorted array."""

    list_E: np.ndarray
    """Which list is a question's."""
    pairs_X: np.ndarray
    """list * width + candidate."""
    width: int

    def of(self, lists_Q: np.ndarray, first: int = 0, last: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What some lists hold from candidate `first` to before `last`: position in `lists_Q`, candidate."""
        begin_Q = np.searchsorted(self.pairs_X, lists_Q * self.width + first)
        length_Q = np.searchsorted(self.pairs_X, lists_Q * self.width + (self.width if last is None else last)) - begin_Q
        row_X = np.repeat(np.arange(len(lists_Q)), length_Q)
        place_X = np.arange(len(row_X)) + np.repeat(begin_Q - (np.cumsum(length_Q) - length_Q), length_Q)
        return row_X, self.pairs_X[place_X] % self.width

    def hold(self, node_E: np.ndarray) -> np.ndarray:
        """Whether each question's list has a candidate."""
        pair_E = self.list_E * self.width + node_E
        return np.append(self.pairs_X, -1)[np.searchsorted(self.pairs_X, pair_E)] == pair_E


@dataclass(frozen=True)
class Questions:
    """Every edge once, asked for one of its ends."""

    side: Side
    pools: tuple[Pool, ...]
    pool_E: np.ndarray
    """Which pool holds the candidates."""
    rel_E: np.ndarray
    query_E: np.ndarray
    """The row of the known end in the table of its type."""
    query_types: tuple[str, ...]
    """By relation: the known end's type."""
    true_E: np.ndarray
    """The asked end, by its number in the pool."""
    true_types: tuple[str, ...]
    """By relation: the asked end's type."""
    own_E: np.ndarray
    """The known end's number in the pool, which is no candidate; -1 where it is of another type."""
    exclusions: Exclusions
    candidates_E: np.ndarray
    """How many candidates count, the true one among them."""

    def __len__(self) -> int:
        return len(self.rel_E)

    def by_pool(self) -> Iterator[tuple[Pool, np.ndarray]]:
        """Each pool with the questions whose candidates it holds."""
        for number, pool in enumerate(self.pools):
            if len(chosen_Q := np.flatnonzero(self.pool_E == number)):
                yield pool, chosen_Q


def edges_asked(graph: Graph, name: str, partition: LinkPartitionConfig, seed: int = 0) -> Edges:
    """The edges of a partition: its whole split, or the sample of it that the seed determines, in the split's order.

    Raises ConfigError for an unknown split, DataError for an empty one.
    """
    if partition.split not in graph.splits:
        known = ", ".join(graph.splits)
        key = f"evaluation.partitions.{name}.split='{partition.split}'"
        raise ConfigError(f"{key}: {graph.name} has {known}{nearest(partition.split, graph.splits)}")
    total = graph.count(partition.split)
    if not total:
        raise DataError(f"partition {name} has no edges: split '{partition.split}' of {graph.name} is empty")
    chosen = None
    if partition.edges is not None and partition.edges < total:
        chosen = np.sort(np.random.default_rng(seed).choice(total, partition.edges, replace=False))
    parts, seen = [], 0
    for edges in graph.edges(partition.split):
        if chosen is None:
            parts.append(edges)
        else:
            low, high = np.searchsorted(chosen, (seen, seen + len(edges)))
            parts.append(edges.take(chosen[low:high] - seen))
        seen += len(edges)
    return type(parts[0]).concatenate(parts)


def questions(graph: Graph, edges: Edges, cfg: LinkEvaluationConfig) -> dict[Side, Questions]:
    """The questions that `cfg` asks about some edges, by side.

    No candidates are the known end itself and, where filtered, every end that makes another edge of any split with it and the relation. For
    that all splits are streamed once; what stays are the ends of the queries asked. Ends count once however often their edge is there.
    """
    builders = [_Builder(side, graph.schema, edges, cfg.candidates) for side in SIDES[cfg.sides]]
    if cfg.filtered:
        for split in graph.splits:
            for others in graph.edges(split):
                for builder in builders:
                    builder.exclude(others)
    return {builder.side: builder.build() for builder in builders}


class _Builder:
    """Gathers the exclusions of one side's queries."""

    def __init__(self, side: Side, schema: GraphSchema, edges: Edges, candidates: Literal["type", "all"]) -> None:
        self.side, self.edges = side, edges
        relations = schema.relations
        self.query_types = tuple(r.left if side == "right" else r.right for r in relations)
        self.true_types = tuple(r.right if side == "right" else r.left for r in relations)
        if candidates == "all":
            self.pools, pool_of = [Pool(dict(schema.entities))], [0] * len(relations)
        else:
            types = sorted(set(self.true_types))
            self.pools, pool_of = [Pool({t: schema.entities[t]}) for t in types], [types.index(t) for t in self.true_types]
        self.pool_R = np.array(pool_of, np.int64)
        self.true_start_R = np.array([self.pools[p].start(t) for p, t in zip(pool_of, self.true_types, strict=True)], np.int64)
        own = [(self.pools[p], t) for p, t in zip(pool_of, self.query_types, strict=True)]
        self.own_start_R = np.array([pool.start(t) if t in pool.sizes else -1 for pool, t in own], np.int64)
        self.widest = max(pool.size for pool in self.pools)
        keys_E, self.true_E = self._ask(edges)
        self.keys_K, self.list_E = np.unique(keys_E, return_inverse=True)
        query_E, start_E = self._ends(edges)[0], self.own_start_R[edges.rel]
        self.own_E = np.where(start_E >= 0, query_E + start_E, -1)
        self.pairs = [(self.list_E * self.widest + self.own_E)[self.own_E >= 0]]

    def exclude(self, others: Edges) -> None:
        """Ends that are known to be true for a query asked."""
        keys, nodes = self._ask(others)
        place = np.minimum(np.searchsorted(self.keys_K, keys), len(self.keys_K) - 1)
        hit = self.keys_K[place] == keys
        self.pairs.append(_distinct(place[hit] * self.widest + nodes[hit]))

    def build(self) -> Questions:
        exclusions = Exclusions(self.list_E, _distinct(np.concatenate(self.pairs)), self.widest)
        starts = np.searchsorted(exclusions.pairs_X, np.arange(len(self.keys_K) + 1) * self.widest)
        size_E = np.array([pool.size for pool in self.pools], np.int64)[self.pool_R[self.edges.rel]]
        return Questions(
            side=self.side,
            pools=tuple(self.pools),
            pool_E=self.pool_R[self.edges.rel],
            rel_E=self.edges.rel,
            query_E=self._ends(self.edges)[0],
            query_types=self.query_types,
            true_E=self.true_E,
            true_types=self.true_types,
            own_E=self.own_E,
            exclusions=exclusions,
            candidates_E=size_E - np.diff(starts)[self.list_E] + exclusions.hold(self.true_E),  # the true end itself counts
        )

    def _ends(self, edges: Edges) -> Sequence[np.ndarray]:
        """The known and the asked end."""
        return (edges.lhs, edges.rhs) if self.side == "right" else (edges.rhs, edges.lhs)

    def _ask(self, edges: Edges) -> tuple[np.ndarray, np.ndarray]:
        """A number for each edge's query, and its asked end's number in the pool."""
        query, asked = self._ends(edges)
        return query * len(self.pool_R) + edges.rel, asked + self.true_start_R[edges.rel]


def _distinct(numbers: np.ndarray) -> np.ndarray:
    """Sorted, each number >= 0 once; several times as fast as numpy's `unique`, which hashes."""
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=-1) > 0]
