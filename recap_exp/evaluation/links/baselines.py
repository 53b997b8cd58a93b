"""What needs no model: candidates ranked by how many training edges they have.

Shapes: E questions, Q those of one pool and perhaps relation, N candidates of the pool, R relations, K queries, X exclusions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from recap_exp.evaluation.links.questions import Pool, Questions, Side

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from recap_exp.data.graph.graph import Graph, GraphSchema


def relation_degrees(graph: Graph, split: str = "train") -> dict[Side, csr_array]:
    """Edges of each relation that a node has, by the side it stands on: [R, rows of the largest table], rows those of the relation's own
    type on that side. Streamed; holds a number for each relation and node that occur together."""
    from scipy.sparse import coo_array, csr_array

    shape = (len(graph.schema.relations), max(graph.schema.entities.values()))
    counts: dict[Side, csr_array] = {"left": csr_array(shape, dtype=np.int64), "right": csr_array(shape, dtype=np.int64)}
    for edges in graph.edges(split):
        ends: dict[Side, np.ndarray] = {"left": edges.lhs, "right": edges.rhs}
        for side in counts:
            counts[side] = counts[side] + coo_array((np.ones(len(edges), np.int64), (edges.rel, ends[side])), shape).tocsr()
    return counts


def side_degrees(schema: GraphSchema, side: Side, degrees_RN: csr_array) -> dict[str, np.ndarray]:
    """Type -> edges of any relation in which a node stands on `side`."""
    found = {}
    for entity, rows in schema.entities.items():
        relations = [i for i, r in enumerate(schema.relations) if (r.left if side == "left" else r.right) == entity]
        found[entity] = np.asarray(degrees_RN[relations].sum(0))[:rows] if relations else np.zeros(rows, np.int64)
    return found


def degree_ranks(asked: Questions, degrees: Mapping[str, np.ndarray]) -> np.ndarray:
    """rank_E of the true ends, candidates in order of their degrees, given by type."""
    rank_E = np.empty(len(asked))
    for pool, chosen_Q in asked.by_pool():
        degree_N = np.concatenate([degrees[entity] for entity in pool.sizes])
        rank_E[chosen_Q] = _ranks_by(degree_N, asked, chosen_Q)
    return rank_E


def relation_degree_ranks(asked: Questions, degrees_RN: csr_array) -> np.ndarray:
    """rank_E of the true ends, candidates in order of their edges of the same relation on the same side."""
    rank_E = np.empty(len(asked))
    for pool, chosen_Q in asked.by_pool():
        for rel in np.unique(asked.rel_E[chosen_Q]):
            of_rel_Q = chosen_Q[asked.rel_E[chosen_Q] == rel]
            rank_E[of_rel_Q] = _ranks_by(_spread(degrees_RN[[rel]].toarray()[0], pool, asked.true_types[rel]), asked, of_rel_Q)
    return rank_E


def true_degrees(asked: Questions, degrees: Mapping[str, np.ndarray]) -> np.ndarray:
    """degree_E of the true ends."""
    degree_E = np.empty(len(asked), np.int64)
    for pool, chosen_Q in asked.by_pool():
        degree_E[chosen_Q] = np.concatenate([degrees[entity] for entity in pool.sizes])[asked.true_E[chosen_Q]]
    return degree_E


def _spread(degree: np.ndarray, pool: Pool, entity: str) -> np.ndarray:
    """The degrees of one type, as those of a pool in which all others have none."""
    degree_N = np.zeros(pool.size, degree.dtype)
    start, size = pool.start(entity), pool.sizes[entity]
    degree_N[start : start + size] = degree[:size]
    return degree_N


def _ranks_by(value_N: np.ndarray, asked: Questions, chosen_Q: np.ndarray) -> np.ndarray:
    """Ranks as of a model that gives each candidate the same score, a whole number, for every question: counted over all candidates, less
    those that do not count, both by binary search."""
    true_Q = value_N[asked.true_E[chosen_Q]]
    ordered_N = np.sort(value_N)
    above_Q, equal_Q = _above_and_equal(ordered_N, true_Q, len(ordered_N))
    lists_K, row_Q = np.unique(asked.exclusions.list_E[chosen_Q], return_inverse=True)
    row_X, node_X = asked.exclusions.of(lists_K)
    base = int(ordered_N[-1]) + 1
    code_X = np.sort(row_X * base + value_N[node_X])  # each list in order of its values
    struck_above_Q, struck_equal_Q = _above_and_equal(code_X, row_Q * base + true_Q, np.searchsorted(code_X, (row_Q + 1) * base))
    others_Q = equal_Q - 1 - (struck_equal_Q - asked.exclusions.hold(asked.true_E)[chosen_Q])
    return 1 + (above_Q - struck_above_Q) + others_Q / 2


def _above_and_equal(ordered: np.ndarray, value_Q: np.ndarray, end: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many values, up to `end`, are above and equal."""
    after_Q = np.searchsorted(ordered, value_Q, "right")
    return end - after_Q, after_Q - np.searchsorted(ordered, value_Q)
