"""From a scoring's configuration and a run's tasks to one weight a term, paired by name and never by position.

Shape suffixes: N candidates, T tasks, E engagements (the terms of the score).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recap_exp.errors import ConfigError, DataError, nearest
from recap_exp.scoring.config import ScoringConfig


@dataclass(frozen=True, kw_only=True)
class Term:
    """weight x probability of `task`."""

    name: str
    """The engagement's own name in the weight set."""
    task: str
    weight: float


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A weight set resolved against a run: everything that turns probabilities into scores."""

    scoring: str
    """The weight set's name."""
    terms: tuple[Term, ...]
    positive_mapping: bool
    epsilon: float
    unmatched: tuple[str, ...] = ()
    """Engagements left out because the run has no such task."""
    unweighted: tuple[str, ...] = ()
    """Tasks of the run that no engagement names: they don't enter the score."""

    @property
    def weight_E(self) -> np.ndarray:
        """float64 [E]."""
        return np.array([t.weight for t in self.terms], dtype=np.float64)

    @property
    def positive_size(self) -> float:
        """P of the positive mapping: sum of the positive weights."""
        return sum(t.weight for t in self.terms if t.weight > 0)

    @property
    def negative_size(self) -> float:
        """N of the positive mapping: sum of the sizes of the negative weights."""
        return sum(-t.weight for t in self.terms if t.weight < 0)

    def columns(self, tasks: Sequence[str]) -> list[int]:
        """Position of each term's task in `tasks`."""
        at = {task: i for i, task in enumerate(tasks)}
        for term in self.terms:
            if term.task not in at:
                raise ConfigError(f"scoring '{self.scoring}': no probabilities of task '{term.task}'{nearest(term.task, tasks)}")
        return [at[t.task] for t in self.terms]


def resolve(cfg: ScoringConfig, tasks: Sequence[str], probs_NT: np.ndarray | None = None) -> Weights:
    """The weights of `cfg` for a run with these tasks; `probs_NT` (columns as `tasks`) is needed for equal_share alone.

    Raises ConfigError for an engagement without a task, or a task without an engagement, unless cfg.unmatched is 'list' (there too for a
    task that looks misspelled), and where nothing is left. Tasks shared by several engagements are fine: each is a term of its own.
    """
    terms, unmatched = [], []
    for name, engagement in cfg.engagements.items():
        task = engagement.task or name
        if task in tasks:
            terms.append(Term(name=name, task=task, weight=engagement.weight))
        elif cfg.unmatched == "error":
            raise ConfigError(
                f"scoring.engagements.{name}: the run has no task '{task}'{nearest(task, tasks)}; its tasks are {', '.join(tasks)} "
                "(scoring.unmatched=list leaves such engagements out)"
            )
        elif engagement.task and (close := difflib.get_close_matches(task, tasks, n=1, cutoff=0.85)):
            raise ConfigError(f"scoring.engagements.{name}.task='{task}': the run has no such task; did you mean '{close[0]}'?")
        else:
            unmatched.append(name)
    named = {t.task for t in terms}
    unweighted = tuple(t for t in tasks if t not in named)
    if not terms:
        raise ConfigError(
            f"scoring '{cfg.name}': none of its engagements ({', '.join(cfg.engagements)}) is a task of the run ({', '.join(tasks)})"
        )
    if unweighted and cfg.unmatched == "error":
        raise ConfigError(
            f"scoring '{cfg.name}' has no weight for task '{unweighted[0]}'{nearest(unweighted[0], cfg.engagements)}; "
            "give it one (0 counts), or set scoring.unmatched=list"
        )
    weights = Weights(
        scoring=cfg.name,
        terms=tuple(terms),
        positive_mapping=cfg.positive_mapping,
        epsilon=cfg.epsilon,
        unmatched=tuple(unmatched),
        unweighted=unweighted,
    )
    if cfg.weights == "given":
        return weights
    if probs_NT is None:
        raise ConfigError(f"scoring '{cfg.name}': weights=equal_share are set by probabilities, and there are none yet")
    return equal_share(weights, tasks, probs_NT)


def equal_share(weights: Weights, tasks: Sequence[str], probs_NT: np.ndarray) -> Weights:
    """The same signs, sizes inversely proportional to the task's mean probability on this data.

    w'_e = sign(w_e) A / (E' m_e), with m_e the task's mean probability, E' the number of terms with a weight other than 0, and
    A = sum |w_e| m_e the mean absolute contribution of all terms together under the given weights. So every such term contributes
    A/E' on average, all together contribute what they did before, and the score keeps its scale. A weight of 0 stays 0.
    """
    given_E = weights.weight_E
    mean_E = np.asarray(probs_NT, dtype=np.float64)[:, weights.columns(tasks)].mean(axis=0) if len(probs_NT) else np.zeros(len(given_E))
    used_E = given_E != 0
    for term, mean, used in zip(weights.terms, mean_E, used_E, strict=True):
        if used and not mean > 0:
            raise DataError(
                f"scoring '{weights.scoring}': equal_share can't weigh '{term.name}': its task '{term.task}' has mean probability {mean}"
            )
    total = float(np.abs(given_E) @ mean_E)
    sizes_E = np.divide(total / max(used_E.sum(), 1), mean_E, out=np.zeros_like(mean_E), where=used_E)
    terms = tuple(replace(t, weight=float(np.sign(t.weight) * size)) for t, size in zip(weights.terms, sizes_E, strict=True))
    return replace(weights, terms=terms)
