"""With what the edges of a batch are compared: groups of edges, their candidates, and which candidates are true.

A pure function of the batch and of a random generator, in NumPy; every process of several computes it for the whole batch and keeps its
own edges. Shapes: B edges of the batch, n of a group, E of them here, Q queries here, C chunks here, N candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recap_exp.data.graph.graph import Relation
from recap_exp.errors import ConfigError
from recap_exp.model.twhin.config import NegativesConfig

Side = Literal["left", "right"]
Array = np.ndarray


@dataclass
class Group:
    """Edges here that are asked for their end on one side, among the same candidates, chunk by chunk."""

    side: Side
    entity: str
    """Type of the ends asked for."""
    blocks: list[int]
    """The blocks that the edges come from, in order."""
    candidates_CN: Array
    """Row numbers of the candidates of each chunk that has edges here; with everything=true one chunk, 0 ... rows - 1."""
    chunk: int
    """Edges of a chunk."""
    before: int
    """Edges of the first chunk that are not here, but on processes before."""
    masked_row: Array
    masked_column: Array
    """Where the matrix [Q, N] of scores holds no negatives: true edges, and queries' own nodes."""
    first_Q: Array | None = None
    """An edge of each query, where edges with equal queries share one; None: each edge has its own."""
    query_E: Array | None = None
    """The query of each edge."""
    keep_QD: Array | None = None
    """1 / (1 - dropout) where an element of the moved query stays, else 0."""


@dataclass
class Plan:
    """What is computed here of a batch: its edges in order of their blocks, and the groups."""

    lhs_E: Array
    rel_E: Array
    rhs_E: Array
    counts: list[int]
    """Edges of each block."""
    groups: list[Group]
    """Those that have edges here."""
    shares: list[tuple[int, int]]
    """Edges and candidates of every group of the whole batch."""


class Planner:
    """Forms groups and draws negatives.

    A block is the edges whose relation has the same types on both sides (group=relation: the same relation); a group is the edges with the
    same type on the side asked for (the same relation).
    """

    def __init__(
        self, cfg: NegativesConfig, sizes: Mapping[str, int], relations: Sequence[Relation], degrees: Mapping[str, Array] | None
    ) -> None:
        self.cfg, self.sizes, self.span = cfg, dict(sizes), max(sizes.values())
        kinds = [i if cfg.group == "relation" else (r.left, r.right) for i, r in enumerate(relations)]
        blocks = list(dict.fromkeys(kinds))
        self.block_R = np.array([blocks.index(kind) for kind in kinds])
        self.ends = [relations[kinds.index(block)] for block in blocks]
        """A relation of each block, for its types."""
        members: dict[tuple[int | str, Side, str], list[int]] = {}
        for block, relation in enumerate(self.ends):
            ends: tuple[tuple[Side, str], ...] = (("left", relation.left), ("right", relation.right))
            for side, entity in ends:
                members.setdefault((block if cfg.group == "relation" else entity, side, entity), []).append(block)
        self.groups = [(side, entity, of) for (_, side, entity), of in members.items()]
        self.cumulative: dict[str, Array] = {}
        if cfg.by_degree:
            if degrees is None:
                raise ConfigError(f"model.negatives.by_degree={cfg.by_degree}: needs the degrees of the nodes")
            self.cumulative = {name: np.cumsum(np.asarray(degrees[name], dtype=np.float64) ** cfg.exponent) for name in sizes}
            for name, total in self.cumulative.items():
                if not total[-1] > 0:
                    raise ConfigError(f"model.negatives.by_degree={cfg.by_degree}: no node of type {name} has an edge to be drawn by")

    def plan(
        self, lhs_B: Array, rel_B: Array, rhs_B: Array, rng: np.random.Generator, rank: int, processes: int, dropout: float, dim: int
    ) -> Plan:
        """The part of process `rank`: a contiguous share of the edges in order of their blocks."""
        block_B = self.block_R[rel_B]
        order = np.argsort(block_B, kind="stable")
        lhs_B, rel_B, rhs_B = lhs_B[order], rel_B[order], rhs_B[order]
        bounds = np.searchsorted(block_B[order], np.arange(self.block_R.max() + 2))
        here = slice(len(order) * rank // processes, len(order) * (rank + 1) // processes)
        counts = np.diff(bounds.clip(here.start, here.stop)).tolist()
        nodes = {"left": lhs_B, "right": rhs_B}
        groups: list[Group] = []
        shares = []
        width = self.cfg.in_batch + self.cfg.uniform + self.cfg.by_degree
        for side, entity, blocks in self.groups:
            places = [np.arange(bounds[b], bounds[b + 1]) for b in blocks if bounds[b] < bounds[b + 1]]
            if not places:
                continue
            of_n = np.concatenate(places)
            shares.append((len(of_n), self.sizes[entity] if self.cfg.everything else width))
            known = nodes["left" if side == "right" else "right"][of_n]
            alike = np.array([(r.left if side == "right" else r.right) == entity for r in self.ends])[block_B[order][of_n]]
            own = np.where(alike, known, -1)
            known = known + self.span * rel_B[of_n]
            first, last = np.searchsorted(of_n, [here.start, here.stop]).tolist()
            groups += self._group(side, entity, blocks, known, own, nodes[side][of_n], first, last, rng, dropout, dim)
        return Plan(lhs_B[here], rel_B[here], rhs_B[here], counts, groups, shares)

    def _group(
        self,
        side: Side,
        entity: str,
        blocks: list[int],
        known_n: Array,
        own_n: Array,
        asked_n: Array,
        first: int,
        last: int,
        rng: np.random.Generator,
        dropout: float,
        dim: int,
    ) -> Iterator[Group]:
        """The group whose edges first ... last are here, unless none are; what the other processes need too is drawn in any case."""
        size = len(known_n)
        chunk = size if self.cfg.chunk is None or self.cfg.everything else min(self.cfg.chunk, size)
        drawn_CN = self._draw(entity, asked_n, -(-size // chunk), rng)
        keep_nD = (rng.random((size, dim), dtype=np.float32) >= dropout) / np.float32(1 - dropout) if dropout else None
        if first == last:
            return
        candidates_CN = drawn_CN[first // chunk : -(-last // chunk)]
        group = Group(
            side=side,
            entity=entity,
            blocks=blocks,
            candidates_CN=candidates_CN,
            chunk=chunk,
            before=first % chunk,
            masked_row=np.empty(0, dtype=np.int64),
            masked_column=np.empty(0, dtype=np.int64),
        )
        _, start_q, query_n = np.unique(known_n, return_index=True, return_inverse=True)
        query_E = query_n[first:last]
        row_chunk = (np.arange(first, last) // chunk) - first // chunk
        kept: Array | slice = slice(first, last)
        if self.cfg.everything:
            of_Q, group.first_Q, group.query_E = np.unique(query_E, return_index=True, return_inverse=True)
            query_E, row_chunk, kept = of_Q, np.zeros_like(of_Q), start_q[of_Q]
        if keep_nD is not None:
            group.keep_QD = keep_nD[kept].astype(np.float32)
        pairs = []
        if self.cfg.mask_true:
            pairs.append(_true_pairs(query_n, asked_n, candidates_CN, query_E, row_chunk))
        if self.cfg.mask_own:
            if not self.cfg.mask_true:  # a node that is linked with itself stays: where it is true, it has to be among the candidates
                own_n = np.where(np.isin(query_n, query_n[own_n == asked_n]), -1, own_n)
            pairs.append(_own_pairs(own_n[kept], candidates_CN, row_chunk))
        if pairs:
            width = candidates_CN.shape[1]
            masked = np.unique(np.concatenate([row * width + column for row, column in pairs]))
            group.masked_row, group.masked_column = masked // width, masked % width
        yield group

    def _draw(self, entity: str, asked_n: Array, chunks: int, rng: np.random.Generator) -> Array:
        """Row numbers [chunks, N]."""
        cfg, rows = self.cfg, self.sizes[entity]
        if cfg.everything:
            return np.arange(rows)[None]
        parts = []
        if k := cfg.in_batch:
            found = [np.resize(rng.choice(len(asked_n), min(k, len(asked_n)), replace=False), k) for _ in range(chunks)]
            parts.append(asked_n[np.stack(found)])
        if k := cfg.uniform:
            parts.append(rng.integers(rows, size=(chunks, k)))
        if k := cfg.by_degree:
            total = self.cumulative[entity]
            parts.append(np.searchsorted(total, rng.random((chunks, k)) * total[-1], side="right").clip(max=rows - 1))
        return np.concatenate(parts, axis=1)


def _true_pairs(query_n: Array, asked_n: Array, candidates_CN: Array, query_Q: Array, chunk_Q: Array) -> tuple[Array, Array]:
    """Pairs of a row of the scores and a candidate of its chunk that are an edge of the group.

    query_n, asked_n: the whole group's edges, as numbers of distinct queries and of rows; query_Q, chunk_Q: of each row of the scores.
    """
    width = candidates_CN.shape[1]
    by_asked = np.argsort(asked_n, kind="stable")
    place, edge = _matches(candidates_CN.reshape(-1), asked_n[by_asked])
    query = query_n[by_asked[edge]]
    span = int(query_n.max()) + 1
    key_Q = chunk_Q * span + query_Q
    by_key = np.argsort(key_Q, kind="stable")
    pair, row = _matches((place // width) * span + query, key_Q[by_key])
    return by_key[row], place[pair] % width


def _own_pairs(own_Q: Array, candidates_CN: Array, chunk_Q: Array) -> tuple[Array, Array]:
    """Pairs of a row of the scores and a candidate of its chunk that is the query's own node, by row number; -1: it has another type."""
    width, span = candidates_CN.shape[1], int(candidates_CN.max()) + 2
    key_N = (np.arange(len(candidates_CN))[:, None] * span + candidates_CN).reshape(-1)
    by_key = np.argsort(key_N, kind="stable")
    rows = np.flatnonzero((own_Q >= 0) & (own_Q < span))
    row, place = _matches(chunk_Q[rows] * span + own_Q[rows], key_N[by_key])
    return rows[row], by_key[place] % width


def _matches(wanted: Array, among: Array) -> tuple[Array, Array]:
    """All (i, j) with wanted[i] == among[j]; `among` is sorted."""
    low, high = np.searchsorted(among, wanted, side="left"), np.searchsorted(among, wanted, side="right")
    counts = high - low
    i = np.repeat(np.arange(len(wanted)), counts)
    return i, np.arange(len(i)) + np.repeat(low - (np.cumsum(counts) - counts), counts)
