"""Link evaluation of one partition: the model's ranks beside those of the baselines, overall, by side, by relation.

Shapes: E edges, S sides asked for, in the order of `sides`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recap_exp.evaluation.links.baselines import degree_ranks, relation_degree_ranks, relation_degrees, side_degrees, true_degrees
from recap_exp.evaluation.links.config import LinkEvaluationConfig
from recap_exp.evaluation.links.measures import Columns, error, interval, mean, of_chance, of_ranks
from recap_exp.evaluation.links.model import LinkModel
from recap_exp.evaluation.links.questions import Side, edges_asked, questions
from recap_exp.evaluation.links.rank import ranks
from recap_exp.evaluation.links.sampled import sampled

if TYPE_CHECKING:
    from recap_exp.data.graph.graph import Graph

BASELINES = ("degree", "relation_degree", "random")
"""In order of training edges on the side asked for; of those of the same relation; by chance, of which the expectation is exact."""


@dataclass(kw_only=True)
class LinkEvaluation:
    """What one partition says of a model."""

    partition: str
    graph: str
    total: int
    """Edges of the split, of which all or a sample were asked about."""
    relations: tuple[str, ...]
    sides: tuple[Side, ...]
    rel_E: np.ndarray
    columns: dict[str, Columns]
    """Of `model` and of each baseline: the values whose means the measures are."""
    candidates_ES: np.ndarray
    """How many ends counted, the true one among them."""
    degree_ES: np.ndarray
    """Training edges of the true end."""
    sampled: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    """Measure -> 95 % interval, where a sample was asked about."""

    @property
    def edges(self) -> int:
        return len(self.rel_E)

    @property
    def measures(self) -> list[str]:
        """mrr, hits_at_K, mean_rank."""
        return list(self.columns["model"])

    @property
    def notes(self) -> list[str]:
        """What a reader must know."""
        notes = []
        if self.edges < self.total:
            notes.append(f"a fixed sample of {self.edges:,} of {self.total:,} edges")
        if unseen := int((self.degree_ES == 0).sum()):
            notes.append(f"{unseen:,} of {self.degree_ES.size:,} true ends have no training edge: their vectors are as they began")
        return notes

    def by_relation(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each relation that was asked about with its edges, the most frequent first."""
        count_R = np.bincount(self.rel_E, minlength=len(self.relations))
        for rel in np.argsort(-count_R, kind="stable"):
            if count_R[rel]:
                yield self.relations[rel], self.rel_E == rel

    @property
    def metrics(self) -> dict[str, float]:
        """PARTITION/MEASURE with mrr, hits_at_K, mean_rank; each with _left and _right, with _error, its standard error, and of a
        sample with _low and _high; mrr/RELATION; baseline_MEASURE/BASELINE; sampled_auc, sampled_hit_at_K; edges, candidates."""
        model = self.columns["model"]
        found = {"edges": float(self.edges), "candidates": mean(self.candidates_ES)}
        for name, value_ES in model.items():
            found |= {name: mean(value_ES), f"{name}_error": error(value_ES)}
        for name, (low, high) in self.intervals.items():
            found |= {f"{name}_low": low, f"{name}_high": high}
        for s, side in enumerate(self.sides):
            found |= {f"{name}_{side}": mean(value_ES[:, s]) for name, value_ES in model.items()}
        for baseline in BASELINES:
            found |= {f"baseline_{name}/{baseline}": mean(value_ES) for name, value_ES in self.columns[baseline].items()}
        found |= self.sampled
        words = dict(zip(self.relations, metric_words(self.relations), strict=True))
        for relation, of_E in self.by_relation():
            found[f"mrr/{words[relation]}"] = mean(model["mrr"][of_E])
        return {f"{self.partition}/{name}": value for name, value in found.items()}

    def table(self) -> dict[str, list[Any]]:
        """Columns of a table with one row a relation, and all of them at the end; baselines beside, MEASURE_BASELINE in the same units."""
        everything = np.ones(self.edges, bool)
        rows = [self._row(relation, of_E) for relation, of_E in [*self.by_relation(), ("all", everything)]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _row(self, relation: str, of_E: np.ndarray) -> dict[str, Any]:
        row: dict[str, Any] = {"relation": relation, "edges": int(of_E.sum()), "candidates": mean(self.candidates_ES[of_E])}
        for name, value_ES in self.columns["model"].items():
            row |= {name: mean(value_ES[of_E]), f"{name}_error": error(value_ES[of_E])}
        row |= {f"mrr_{side}": mean(self.columns["model"]["mrr"][of_E, s]) for s, side in enumerate(self.sides)}
        return row | {f"{name}_{b}": mean(value_ES[of_E]) for b in BASELINES for name, value_ES in self.columns[b].items()}


class LinkPartition:
    """The questions of one partition, and what baselines answer: all that does not depend on the model, made once."""

    def __init__(self, graph: Graph, name: str, cfg: LinkEvaluationConfig, seed: int = 0) -> None:
        """Streams the graph's edges, of all splits where filtered. Raises ConfigError for an unknown split, DataError for an empty one.

        seed: of the sample and of the sampled measures. The same for runs that are compared: they are then asked the same.
        """
        self.name, self.cfg, self.seed, self.graph = name, cfg, seed, graph
        edges = edges_asked(graph, name, cfg.partitions[name], seed)
        self.total = graph.count(cfg.partitions[name].split)
        self.rel_E = edges.rel
        self.asked = questions(graph, edges, cfg)
        degrees = relation_degrees(graph)
        self.degree_ES = self._stack(true_degrees(q, graph.degrees()) for q in self.asked.values())
        self.candidates_ES = self._stack(q.candidates_E for q in self.asked.values())
        by_degree = self._stack(degree_ranks(q, side_degrees(graph.schema, side, degrees[side])) for side, q in self.asked.items())
        by_relation_degree = self._stack(relation_degree_ranks(q, degrees[side]) for side, q in self.asked.items())
        self.baselines = {
            "degree": of_ranks(by_degree, cfg.hits),
            "relation_degree": of_ranks(by_relation_degree, cfg.hits),
            "random": of_chance(self.candidates_ES, cfg.hits),
        }

    def evaluate(self, model: LinkModel) -> LinkEvaluation:
        """How well a model ranks. Collective where tables are sharded: every process asks, and gets the same numbers. Raises RecapError
        where a score is not finite."""
        cfg = self.cfg
        rank_ES = self._stack(ranks(model, q, cfg.batch_size) for q in self.asked.values())
        columns = of_ranks(rank_ES, cfg.hits)
        original = {}
        if cfg.sampled_pairs is not None:
            original = sampled(model, self.asked.values(), cfg.sampled_pairs, cfg.hits, cfg.batch_size, self.seed)
        sample = len(self.rel_E) < self.total
        return LinkEvaluation(
            partition=self.name,
            graph=self.graph.name,
            total=self.total,
            relations=tuple(r.name for r in self.graph.schema.relations),
            sides=tuple(self.asked),
            rel_E=self.rel_E,
            columns={"model": columns, **self.baselines},
            candidates_ES=self.candidates_ES,
            degree_ES=self.degree_ES,
            sampled=original,
            intervals={name: interval(value_ES, self.seed) for name, value_ES in columns.items()} if sample else {},
        )

    @staticmethod
    def _stack(columns_E: Iterable[np.ndarray]) -> np.ndarray:
        return np.stack(list(columns_E), axis=1)


def metric_words(relations: Sequence[str]) -> list[str]:
    """Names of relations as a metric's last word, all different: MLflow's metrics know letters, digits, space and _ - . : only."""
    words: dict[str, str] = {}
    for relation in relations:
        word = plain = re.sub(r"[^\w\-. :]", "_", relation)
        while word in words.values():
            word = f"{plain}_{len(words)}"
        words[relation] = word
    return list(words.values())
