"""A made graph whose structure is known: communities of users and posts in a hidden space, relations that move through it.

Shape letters: U users, P posts, K communities, D dimensions of the hidden space, E draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from recap_exp.data.graph.config import POST, USER, GraphConfig, PlantedGraphSource, RelationConfig, entity_types
from recap_exp.data.graph.raw import Read
from recap_exp.data.graph.workshop import Workshop
from recap_exp.data.made.draws import generator
from recap_exp.errors import ConfigError

RELATIONS = {"follow": (USER, 0.3), "like": (POST, 0.5), "reply": (POST, 0.2)}
"""Type of the right nodes, and share of the edges. Left nodes are users."""
DIM = 8
SPREAD = 0.15
"""Deviation of a user's position from the place of the own community; those have length 1."""
LENGTH = {"follow": 0.3, "like": 0.8, "reply": 0.8}
"""Of the relations' moves: people follow near people."""
SHARPNESS = 6.0
"""Of the choice of a community: in proportion to exp(-SHARPNESS * squared distance)."""
POPULARITY, ACTIVITY = 1.0, 0.5
"""The r-th most popular node, or most active user, is drawn in proportion to r to the power of minus this."""
DRAWS = 2**14
"""Drawn at a time."""
LEAST_NEW = 0.02
"""A round in which fewer of the draws are new says that there are hardly more edges to be had."""


def make_planted_graph(shop: Workshop, cfg: GraphConfig, source: PlantedGraphSource) -> Read:
    """Puts the edges of all splits into `raw`. ConfigError where the world has too few likely edges for them."""
    world = _World(source)
    total, chunk, found = sum(source.edges.values()), 0, 0
    while found < total:
        wanted = int(1.2 * (total - found)) // DRAWS + 1
        shop.insert("drawn", (world.draw(c) for c in range(chunk, chunk + wanted)))
        chunk += wanted
        before, found = found, int(shop.one("SELECT count(*) FROM (SELECT DISTINCT lhs, rel, rhs FROM drawn)")[0])
        if found < total and found - before < LEAST_NEW * wanted * DRAWS:
            fewer = f"this world has hardly more than {found} likely edges: fewer edges, or more users and posts"
            raise ConfigError(f"data.source.edges={source.edges} are {total} edges, but {fewer}")
    # The first draws of an edge, in order; which split gets it is drawn too, for early draws are of popular nodes.
    shop.run(f"""
        CREATE TABLE chosen AS SELECT key, place, lhs, rel, rhs FROM (
            SELECT min(place) AS place, arg_min(key, place) AS key, lhs, rel, rhs FROM drawn GROUP BY lhs, rel, rhs
            ORDER BY place LIMIT {total}
        ) ORDER BY key, place""")
    ends = np.cumsum(list(source.edges.values()))[:-1]
    split = " + ".join(["0", *(f"(rowid >= {end})::INTEGER" for end in ends)])
    shop.run(f"CREATE TABLE raw AS SELECT {split} AS split, rowid AS place, lhs, rel, rhs FROM chosen")
    shop.run("DROP TABLE drawn")
    shop.run("DROP TABLE chosen")
    return Read(
        entities=entity_types(cfg),
        relations={name: RelationConfig(left=USER, right=right) for name, (right, _) in RELATIONS.items()},
        splits=list(source.edges),
        nodes="rows",
        tables={entity: world.table(entity) for entity in (USER, POST)},
        made={"structure": world.to_json()},
    )


class _World:
    """Who is where, how each relation moves, and whom that makes likely."""

    def __init__(self, source: PlantedGraphSource) -> None:
        self.source = source
        rng = generator(source.seed, "graph")
        self.place_KD = rng.standard_normal((source.communities, DIM))
        self.place_KD /= np.linalg.norm(self.place_KD, axis=1, keepdims=True)
        self.community = {USER: _communities(rng, source.users, source), POST: _communities(rng, source.posts, source)}
        self.user_UD = self.place_KD[self.community[USER]] + SPREAD * rng.standard_normal((source.users, DIM))
        moves_RD = rng.standard_normal((len(RELATIONS), DIM))
        moves_RD /= np.linalg.norm(moves_RD, axis=1, keepdims=True)
        self.moves = {name: LENGTH[name] * move for name, move in zip(RELATIONS, moves_RD, strict=True)}
        self.activity_U = np.cumsum(_skewed(rng, source.users, ACTIVITY))
        self.nodes = {entity: _ByCommunity(rng, community, source.communities) for entity, community in self.community.items()}

    def draw(self, chunk: int) -> pa.RecordBatch:
        """Edges drawn independently, with a random key each: columns place, key, lhs, rel, rhs."""
        rng = generator(self.source.seed, "edges", chunk)
        user_E = np.searchsorted(self.activity_U, rng.random(DRAWS) * self.activity_U[-1], side="right")
        rel_E = rng.choice(len(RELATIONS), DRAWS, p=[share for _, share in RELATIONS.values()])
        rhs_E = np.zeros(DRAWS, np.int64)
        for rel, (name, (right, _)) in enumerate(RELATIONS.items()):
            chosen = np.flatnonzero(rel_E == rel)
            likely_EK = np.cumsum(self.likely(self.user_UD[user_E[chosen]], name), axis=1)
            community = (rng.random((len(chosen), 1)) > likely_EK[:, :-1]).sum(axis=1)
            near = self.nodes[right].draw(rng, community)
            anyone = rng.integers(0, len(self.community[right]), len(chosen))
            rhs_E[chosen] = np.where(rng.random(len(chosen)) < self.source.noise, anyone, near)
        key_E = rng.integers(0, 2**62, DRAWS)
        drawn = {
            "place": np.arange(DRAWS) + chunk * DRAWS,
            "key": key_E,
            "lhs": user_E.astype(np.int64),
            "rel": rel_E.astype(np.int32),
            "rhs": rhs_E,
        }
        other = (rhs_E != user_E) | (rel_E != list(RELATIONS).index("follow"))  # nobody follows himself
        return pa.record_batch({name: values[other] for name, values in drawn.items()})

    def likely(self, position_ED: np.ndarray, relation: str) -> np.ndarray:
        """[E, K] probability of each community, from positions moved by the relation."""
        moved_ED = position_ED + self.moves[relation]
        # The squared distance but for a part that is the same for all communities, whose places all have length 1.
        logit_EK = 2 * SHARPNESS * moved_ED @ self.place_KD.T
        odds_EK = np.exp(logit_EK - logit_EK.max(axis=1, keepdims=True))
        return odds_EK / odds_EK.sum(axis=1, keepdims=True)

    def table(self, entity: str) -> pa.Table:
        """Ids and attributes by row."""
        community = self.community[entity]
        return pa.table({"id": [f"{entity}{row}" for row in range(len(community))], "community": community.astype(np.int64)})

    def to_json(self) -> dict[str, Any]:
        """The hidden structure: places, moves, and where each community's users most likely go."""
        likely = {name: self.likely(self.place_KD, name) for name in RELATIONS}
        return {
            "places": np.round(self.place_KD, 4).tolist(),
            "moves": {name: np.round(move, 4).tolist() for name, move in self.moves.items()},
            "goes_to": {name: p.argmax(axis=1).tolist() for name, p in likely.items()},
            "probability": {name: np.round(p.max(axis=1), 3).tolist() for name, p in likely.items()},
        }


class _ByCommunity:
    """Nodes in the order of their communities, with cumulated popularity: a draw is a binary search."""

    def __init__(self, rng: np.random.Generator, community: np.ndarray, communities: int) -> None:
        self.order = np.argsort(community, kind="stable")
        self.upto = np.concatenate([[0.0], np.cumsum(_skewed(rng, len(community), POPULARITY)[self.order])])
        bounds = np.searchsorted(community[self.order], np.arange(communities + 1))
        self.bounds, self.start = bounds, self.upto[bounds]

    def draw(self, rng: np.random.Generator, community_E: np.ndarray) -> np.ndarray:
        """[E] a node of each of these communities."""
        start, end = self.start[community_E], self.start[community_E + 1]
        place = np.searchsorted(self.upto, start + rng.random(len(community_E)) * (end - start), side="right") - 1
        return self.order[np.clip(place, self.bounds[community_E], self.bounds[community_E + 1] - 1)]


def _communities(rng: np.random.Generator, nodes: int, source: PlantedGraphSource) -> np.ndarray:
    """[nodes] community of each; none is empty."""
    return rng.permutation(np.arange(nodes) % source.communities)


def _skewed(rng: np.random.Generator, nodes: int, skew: float) -> np.ndarray:
    """[nodes] weights of a few popular and many other nodes."""
    return rng.permutation(np.arange(1, nodes + 1) ** -skew)
