"""Which nodes are nearest to a node. Shape letters: N nodes, M of them trained, Q queries, K neighbours, D width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from recap_exp.data.graph.graph import Graph
from recap_exp.errors import ConfigError, DataError, nearest, require_package
from recap_exp.twhin.table import EntityTable

if TYPE_CHECKING:
    from recap_exp.twhin.finished import FinishedGraphRun

Side = Literal["left", "right"]
Index = Literal["exact", "faiss"]
SIDES: tuple[str, ...] = get_args(Side)
INDEXES: tuple[str, ...] = get_args(Index)

CANDIDATES = 65536
"""Nodes that are scored at a time."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The K nearest trained nodes to one node, nearest first."""

    id: str
    entity: str
    """Type of the node that was asked for."""
    degree: int
    """Ends of training edges that it has; 0: its vector is as it was drawn at the start, and its neighbours mean nothing."""
    of: str
    """Type of its neighbours."""
    ids: list[int | str]
    scores: list[float]
    """Cosine, or what the model says of the edge."""
    degrees: list[int]
    attributes: dict[str, list[object]]
    """Of the neighbours, as far as the graph's vocabulary knows any."""


def neighbours(
    run: FinishedGraphRun,
    ids: Sequence[str],
    entity: str | None = None,
    k: int = 10,
    relation: str | None = None,
    side: Side = "right",
    index: Index = "exact",
) -> list[Neighbours]:
    """For each of `ids` (original ids of nodes) the `k` nearest nodes of its own type by cosine of their vectors, itself left out.

    entity: type of the nodes; may be left out where the ids are of one type alone.
    relation: with it, the `k` nodes to which, by the model's own score, an edge of this relation is likeliest: at its right end, the node
    being the left one, or at its left end (`side`).
    index: what searches by cosine; both compare with every node.

    Raises ConfigError or DataError for an unknown type, id, relation, or a combination that does not go together.
    """
    if k < 1:
        raise ConfigError(f"k must be at least 1, not {k}")
    for key, value, allowed in (("side", side, SIDES), ("index", index, INDEXES)):
        if value not in allowed:
            raise ConfigError(f"{key}='{value}': allowed are {', '.join(allowed)}{nearest(value, allowed)}")
    if index == "faiss":
        require_package("faiss", "index=faiss")
    graph = run.graph
    if relation is None:
        entity = entity or _entity_of(graph, ids)
        rows = [graph.row_of(entity, node) for node in ids]
        found = _by_cosine(EntityTable.read(run.table(entity)), rows, k, index)
        return [_named(run, entity, row, entity, *pair) for row, pair in zip(rows, found, strict=True)]
    if index != "exact":
        raise ConfigError(f"index={index} searches by cosine: leave it out with relation=, where the model's own score decides")
    names = [r.name for r in graph.schema.relations]
    if relation not in names:
        raise ConfigError(f"relation='{relation}': allowed are {', '.join(names)}{nearest(relation, names)}")
    number = names.index(relation)
    ends = {"left": graph.schema.relations[number].left, "right": graph.schema.relations[number].right}
    asked = ends["left" if side == "right" else "right"]
    if entity not in (None, asked):
        raise ConfigError(f"entity='{entity}': relation {relation} asks for its {side} ends, so that the node is a {asked}")
    rows = [graph.row_of(asked, node) for node in ids]
    found = _by_score(run, rows, asked, ends[side], number, side, k)
    return [_named(run, asked, row, ends[side], *pair) for row, pair in zip(rows, found, strict=True)]


def nearest_by_cosine(vectors_MD: np.ndarray, queries_QD: np.ndarray, k: int, index: Index = "exact") -> tuple[np.ndarray, np.ndarray]:
    """Cosines [Q, K] and places among the M vectors [Q, K], nearest first; K = min(k, M). A vector of zeros has cosine 0 with all."""
    vectors_MD, queries_QD = _unit(vectors_MD), _unit(queries_QD)
    k = min(k, len(vectors_MD))
    if index == "faiss":
        import faiss

        flat = faiss.IndexFlatIP(vectors_MD.shape[1])
        flat.add(vectors_MD)
        return flat.search(queries_QD, k)
    cosine_QM = queries_QD @ vectors_MD.T
    place_QK = np.argsort(-cosine_QM, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosine_QM, place_QK, axis=1), place_QK


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32; rows of zeros stay."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.ascontiguousarray(x / np.where(length > 0, length, 1), np.float32)


def _by_cosine(table: EntityTable, rows: list[int], k: int, index: Index) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and scores of the neighbours of each of `rows`."""
    trained_M = np.flatnonzero(table.degree_N > 0)
    cosine_QK, place_QK = nearest_by_cosine(table.vectors_ND[trained_M], table.vectors_ND[rows], k + 1, index)
    return [_without(row, trained_M[place_K], cosine_K, k) for row, place_K, cosine_K in zip(rows, place_QK, cosine_QK, strict=True)]


def _by_score(
    run: FinishedGraphRun, rows: list[int], asked: str, of: str, relation: int, side: Side, k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    import torch

    model = run.model()
    trained_M = np.flatnonzero(run.graph.degrees()[of] > 0)
    with torch.inference_mode():
        x_QW = model.rows({asked: torch.tensor(rows)})[asked]
        query_QW = model.query(x_QW, torch.full((len(rows),), relation), side)
        chunks = torch.from_numpy(trained_M).split(CANDIDATES)
        score_QM = torch.cat([model.scores(query_QW, model.rows({of: chunk})[of]) for chunk in chunks], dim=1).float().numpy()
    place_QK = np.argsort(-score_QM, axis=1, kind="stable")[:, : k + 1]
    own = [row if asked == of else -1 for row in rows]
    return [_without(row, trained_M[place_K], score_M[place_K], k) for row, place_K, score_M in zip(own, place_QK, score_QM, strict=True)]


def _without(row: int, rows_K: np.ndarray, scores_K: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first k but for `row`."""
    others = rows_K != row
    return rows_K[others][:k], scores_K[others][:k]


def _entity_of(graph: Graph, ids: Sequence[str]) -> str:
    """The only type that has nodes of all these ids."""
    types = list(graph.schema.entities)
    if len(types) == 1:
        return types[0]
    found = [entity for entity in types if all(_has(graph, entity, node) for node in ids)]
    if len(found) == 1:
        return found[0]
    what = "nodes of several types" if found else "no nodes of one type"
    raise ConfigError(f"{', '.join(ids)}: {what} have that id; give entity={'|'.join(found or types)}")


def _has(graph: Graph, entity: str, node: str) -> bool:
    try:
        graph.row_of(entity, node)
    except DataError:
        return False
    return True


def _named(run: FinishedGraphRun, entity: str, row: int, of: str, rows_K: np.ndarray, scores_K: np.ndarray) -> Neighbours:
    graph, degrees = run.graph, run.graph.degrees()
    return Neighbours(
        id=str(graph.ids(entity)[row].as_py()),
        entity=entity,
        degree=int(degrees[entity][row]),
        of=of,
        ids=graph.ids(of).take(rows_K).to_pylist(),
        scores=scores_K.tolist(),
        degrees=degrees[of][rows_K].tolist(),
        attributes={name: values[rows_K].tolist() for name, values in graph.attributes(of).items()},
    )
